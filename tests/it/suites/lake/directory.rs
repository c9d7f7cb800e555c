//! The suite against a directory, and what a directory alone can do.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::StreamExt as _;
use lacuna::domain::edit::Segment;
use lacuna::lake::directory::DirectoryLake;
use lacuna::lake::{LakeErrorKind, WriteOutcome};
use proptest::prelude::*;

use super::*;

/// Longer than the timer tick of any usual kernel.
const TICK: Duration = Duration::from_millis(12);

/// A lake in a folder of its own.
pub(crate) struct DirectoryUnderTest;

#[async_trait]
impl LakeUnderTest for DirectoryUnderTest {
    async fn fresh(&self) -> Ground {
        let folder = tempfile::tempdir().expect("a folder");
        let lake = DirectoryLake::new(folder.path().to_owned()).expect("a lake");
        Ground { lake: Arc::new(lake), foreign: Box::new(Beside(folder)) }
    }

    fn holds(&self) -> Holds {
        Holds {
            versions: false,
            keys: &[b"\xff", b"folder/\xfe\xff.json"],
            refuses: &[
                b"",
                b"/",
                b"a//b",
                b"/a/b",
                b"a/b/",
                b"../a",
                b"a/../a/b",
                b"./a/b",
                b"a/./b",
                b"a/b/..",
                b"a/b\0",
                b"..",
                b".lacuna-0123.tmp",
                b"a/.lacuna-0123.tmp",
            ],
            key_below_key: false,
            attributes: &[
                ("mode", "0640"),
                ("xattr:user.team", "erasure"),
                ("xattr:user.bytes", "hex:00ff"),
            ],
            part_bytes: 1 << 20,
        }
    }
}

/// Another program beside a lake in a folder: it writes files in place, as most do.
struct Beside(tempfile::TempDir);

fn path_of(root: &Path, key: &ObjectKey) -> PathBuf {
    root.join(OsStr::from_bytes(key.as_bytes()))
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, name, value, flags).expect("the attribute is set");
}

#[async_trait]
impl Foreign for Beside {
    async fn put(&self, key: &ObjectKey, bytes: &[u8], attributes: &[(&str, &str)]) {
        let path = path_of(self.0.path(), key);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, bytes).expect("a file");
        // Kernels before Linux 6.13 stamp files by their timer tick.
        tokio::time::sleep(TICK).await;
        for (name, value) in attributes {
            match (name.strip_prefix("xattr:"), *value) {
                (Some(name), "hex:00ff") => set_attribute(&path, name, b"\x00\xff"),
                (Some(name), value) => set_attribute(&path, name, value.as_bytes()),
                (None, mode) => {
                    let mode = u32::from_str_radix(mode, 8).expect("a mode");
                    let permissions = std::fs::Permissions::from_mode(mode);
                    std::fs::set_permissions(&path, permissions).expect("the mode is set");
                }
            }
        }
    }

    async fn delete(&self, key: &ObjectKey) {
        std::fs::remove_file(path_of(self.0.path(), key)).expect("the file is deleted");
    }

    async fn leftovers(&self) -> usize {
        let mut folders = vec![self.0.path().to_owned()];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a listing") {
                let entry = entry.expect("an entry");
                let name = entry.file_name();
                count += usize::from(name.as_bytes().starts_with(b".lacuna-"));
                if entry.file_type().expect("a type").is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        count
    }
}

lake_suite!(suite, DirectoryUnderTest);

/// A folder, and the lake in it.
fn ground() -> (tempfile::TempDir, DirectoryLake) {
    let folder = tempfile::tempdir().expect("a folder");
    let lake = DirectoryLake::new(folder.path().to_owned()).expect("a lake");
    (folder, lake)
}

fn put(folder: &tempfile::TempDir, key: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(key);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    std::fs::write(&path, bytes).expect("a file");
    path
}

/// What a listing tells, in its order: a key, or the kind of an error and the key that it names.
async fn told(lake: &DirectoryLake, prefix: &[u8]) -> Vec<(Option<LakeErrorKind>, String)> {
    let tell = |item: Result<ListedVersion, LakeError>| match item {
        Ok(listed) => (None, listed.object.key.to_string()),
        Err(error) => {
            (Some(error.kind()), error.key().map(ToString::to_string).unwrap_or_default())
        }
    };
    lake.list(prefix).map(tell).collect().await
}

/// A folder that is not there is not an empty lake.
#[test]
fn a_missing_folder_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = DirectoryLake::new(folder.path().join("absent")).expect_err("absent");
    assert_eq!(error.kind(), LakeErrorKind::NotFound);
    put(&folder, "file", b"");
    DirectoryLake::new(folder.path().join("file")).expect_err("no folder");
}

/// J2, J9: links and special files are named in their place, and neither followed nor opened.
#[tokio::test]
async fn what_is_no_object_is_named_and_not_followed() {
    let (folder, lake) = ground();
    let elsewhere = tempfile::tempdir().expect("a folder");
    put(&elsewhere, "secret/file", b"elsewhere");
    put(&folder, "a/file", b"x");
    put(&folder, "z", b"x");
    symlink(elsewhere.path().join("secret"), folder.path().join("b")).expect("a link");
    symlink(elsewhere.path().join("secret/file"), folder.path().join("c")).expect("a link");
    symlink("file", folder.path().join("a/inside")).expect("a link");
    symlink("nowhere", folder.path().join("dangling")).expect("a link");
    let fifo = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), pipe, fifo, 0)
        .expect("a pipe");
    let odd = Some(LakeErrorKind::NotAnObject);
    let expected = [
        (None, "a/file"),
        (odd, "a/inside"),
        (odd, "b"),
        (odd, "c"),
        (odd, "dangling"),
        (odd, "pipe"),
        (None, "z"),
    ];
    assert_eq!(told(&lake, b"").await, expected.map(|(kind, key)| (kind, key.to_owned())));
    assert_eq!(told(&lake, b"b/").await, [(odd, "b".to_owned())]);
    let object = current(&lake, &ObjectKey::from("z")).await;
    for key in ["b/file", "b", "c", "a/inside", "pipe", "dangling"] {
        let key = ObjectKey::from(key);
        let forged = ObjectVersion { key: key.clone(), ..object.clone() };
        let attributes = lake.attributes(Target::Current(&key)).await.expect_err("no object");
        assert_eq!(attributes.kind(), LakeErrorKind::NotAnObject, "{key}");
        assert!(bytes_of(&lake, &forged).await.is_err(), "{key}");
        assert!(lake.delete_version(&forged).await.is_err(), "{key}");
        for base in [Base::Absent, Base::Version(forged)] {
            let error = write(&lake, &key, base, Edit::bytes("x")).await.expect_err("no object");
            assert_eq!(error.outcome, WriteOutcome::Unchanged, "{key}");
        }
    }
    let inside = ObjectKey::from("b/new/file");
    write(&lake, &inside, Base::Absent, Edit::bytes("x")).await.expect_err("through a link");
    let secret = elsewhere.path().join("secret");
    assert_eq!(std::fs::read(secret.join("file")).expect("still there"), b"elsewhere");
    assert_eq!(std::fs::read_dir(secret).expect("a listing").count(), 1);
}

/// J2: while a folder is swapped for a link to another all the time, nothing of the other is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swapping_in_a_link_leads_nowhere() {
    let (folder, lake) = ground();
    let elsewhere = tempfile::tempdir().expect("a folder");
    put(&elsewhere, "file", b"secret");
    put(&folder, "real/file", b"honest");
    symlink(elsewhere.path(), folder.path().join("link")).expect("a link");
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let swapper = std::thread::spawn(move || {
        let exchange = rustix::fs::RenameFlags::EXCHANGE;
        while !stop.load(Ordering::SeqCst) {
            let current = rustix::fs::CWD;
            rustix::fs::renameat_with(current, &real, current, &link, exchange).expect("swapped");
        }
    });
    let key = ObjectKey::from("real/file");
    let mut honest = 0;
    for _ in 0..2000 {
        if let Ok(attributes) = lake.attributes(Target::Current(&key)).await
            && let Ok(bytes) = bytes_of(&lake, &attributes.object).await
        {
            assert_eq!(bytes, b"honest");
            honest += 1;
        }
    }
    done.store(true, Ordering::SeqCst);
    swapper.join().expect("no panic");
    assert!(honest > 0);
}

/// J3: bytes with a second name are not called erased.
#[tokio::test]
async fn a_file_with_two_names_is_neither_rewritten_nor_deleted() {
    let (folder, lake) = ground();
    let path = put(&folder, "a", b"bytes");
    std::fs::hard_link(&path, folder.path().join("b")).expect("a link");
    let key = ObjectKey::from("a");
    let object = current(&lake, &key).await;
    assert_eq!(bytes_of(&lake, &object).await.expect("it can be read"), b"bytes");
    let base = Base::Version(object.clone());
    let error = write(&lake, &key, base, Edit::bytes("x")).await.expect_err("two names");
    assert_eq!(error.outcome, WriteOutcome::Unchanged);
    assert_eq!(error.error.kind(), LakeErrorKind::Unsupported);
    assert!(error.to_string().contains("2 hard links"), "{error}");
    let error = lake.delete_version(&object).await.expect_err("two names");
    assert_eq!(error.kind(), LakeErrorKind::Unsupported);
    assert_eq!(std::fs::read(path).expect("still there"), b"bytes");
}

/// J6: a file that nobody may write to is rewritten, keeps its mode and carries its mark.
#[tokio::test]
async fn a_read_only_file_stays_read_only() {
    let (folder, lake) = ground();
    let path = put(&folder, "a", b"bytes");
    set_attribute(&path, "user.team", b"erasure");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).expect("the mode");
    let key = ObjectKey::from("a");
    let before = lake.attributes(Target::Current(&key)).await.expect("there");
    let order = order(&key, Base::Version(before.object), Edit::new(vec![Segment::Copy(1..3)]));
    let operation = order.operation.clone();
    lake.write(order).await.expect("written");
    let after = lake.attributes(Target::Current(&key)).await.expect("there");
    assert_eq!((after.carried, after.operation), (before.carried, Some(operation)));
    assert_eq!(std::fs::read(path).expect("there"), b"yt");
}

/// J6: owner and special mode bits are kept too, or the object is not rewritten.
#[tokio::test]
async fn owner_and_mode_are_kept_or_nothing_is_written() {
    let (folder, lake) = ground();
    let path = put(&folder, "a", b"bytes");
    if std::os::unix::fs::chown(&path, Some(12_345), Some(54_321)).is_err() {
        // Only the superuser gives files away; there is then nobody else's file to keep either.
        return;
    }
    let set = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(&path, set).expect("the mode is set");
    let key = ObjectKey::from("a");
    let before = lake.attributes(Target::Current(&key)).await.expect("there");
    assert_eq!(before.carried.get("owner").map(String::as_str), Some("12345:54321"));
    let base = Base::Version(before.object.clone());
    write(&lake, &key, base, Edit::bytes("x")).await.expect("written");
    let after = lake.attributes(Target::Current(&key)).await.expect("there");
    assert_eq!(after.carried, before.carried);
    let metadata = std::fs::metadata(&path).expect("there");
    assert_eq!(
        (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777),
        (12_345, 54_321, 0o4755)
    );
}

/// What may not be read ends a listing with its name, since it is incomplete; what may not be written
/// to stays as it is.
#[tokio::test]
async fn what_is_not_permitted_is_denied_by_name() {
    let (folder, lake) = ground();
    for key in ["a/file", "b/file", "c"] {
        put(&folder, key, b"bytes");
    }
    let mode = |name: &str, mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(name), permissions).expect("the mode is set");
    };
    mode("b", 0o000);
    if std::fs::read_dir(folder.path().join("b")).is_ok() {
        // Nothing is forbidden to the superuser.
        return;
    }
    let denied = Some(LakeErrorKind::Denied);
    let expected = [(None, "a/file".to_owned()), (denied, "b/".to_owned())];
    assert_eq!(told(&lake, b"").await, expected);
    let inside = lake.attributes(Target::Current(&ObjectKey::from("b/file"))).await;
    assert_eq!(inside.expect_err("denied").kind(), LakeErrorKind::Denied);
    mode("b", 0o755);
    mode("a", 0o555);
    mode("c", 0o000);
    let key = ObjectKey::from("a/file");
    let object = current(&lake, &key).await;
    let base = Base::Version(object.clone());
    let error = write(&lake, &key, base, Edit::bytes("x")).await.expect_err("denied");
    assert_eq!(
        (error.outcome, error.error.kind()),
        (WriteOutcome::Unchanged, LakeErrorKind::Denied)
    );
    let error = lake.delete_version(&object).await.expect_err("denied");
    assert_eq!(error.kind(), LakeErrorKind::Denied);
    assert_eq!(current_bytes(&lake, &key).await, b"bytes");
    let unreadable = lake.attributes(Target::Current(&ObjectKey::from("c"))).await;
    assert_eq!(unreadable.expect_err("denied").kind(), LakeErrorKind::Denied);
    mode("a", 0o755);
}

/// J5: unfinished bytes can be read by nobody else, and are told of before they are there.
#[tokio::test]
async fn unfinished_bytes_are_private_and_announced() {
    let (folder, lake) = ground();
    let path = put(&folder, "sub/a", b"bytes");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("the mode");
    let key = ObjectKey::from("sub/a");
    let notes = Arc::new(Notes::default());
    let (noted, sub) = (notes.clone(), folder.path().join("sub"));
    let look = std::iter::once_with(move || {
        assert_eq!(noted.taken().len(), 1);
        let modes: Vec<u32> = std::fs::read_dir(sub)
            .expect("a listing")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.file_name().as_bytes().starts_with(b".lacuna-"))
            .map(|entry| entry.metadata().expect("metadata").mode() & 0o777)
            .collect();
        assert_eq!(modes, [0o600]);
        Ok(Segment::Copy(0..5))
    });
    let base = Base::Version(current(&lake, &key).await);
    let order = Write { observer: notes, ..order(&key, base, Edit::streamed(look)) };
    lake.write(order).await.expect("written");
    assert_eq!(std::fs::metadata(path).expect("there").mode() & 0o777, 0o666);
    assert_eq!(told(&lake, b"").await, [(None, "sub/a".to_owned())]);
}

/// J7: a file that grows while it is read is drifted, also where the range ends before the growth.
#[tokio::test]
async fn a_file_that_grows_while_it_is_read_drifts() {
    let (folder, lake) = ground();
    let path = put(&folder, "a", &pattern(8 << 20, 1));
    let object = current(&lake, &ObjectKey::from("a")).await;
    let mut stream = lake.read(&object, 0..6 << 20).await.expect("the read begins");
    stream.next().await.expect("a piece").expect("unchanged so far");
    tokio::time::sleep(TICK).await;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("opened");
    std::io::Write::write_all(&mut file, b"more").expect("appended");
    let rest: Vec<_> = stream.collect().await;
    let error = rest.into_iter().find_map(Result::err).expect("it is noticed");
    assert_eq!(error.kind(), LakeErrorKind::Drifted);
}

/// J7: bytes that a foreign program appends while we rewrite are not lost.
#[tokio::test]
async fn what_is_appended_during_a_rewrite_is_not_lost() {
    let (folder, lake) = ground();
    let path = put(&folder, "a", b"bytes");
    let key = ObjectKey::from("a");
    let base = Base::Version(current(&lake, &key).await);
    tokio::time::sleep(TICK).await;
    let appended = path.clone();
    let segment = std::iter::once_with(move || {
        let mut file = std::fs::OpenOptions::new().append(true).open(appended)?;
        std::io::Write::write_all(&mut file, b" and more")?;
        Ok(Segment::Copy(0..5))
    });
    let error = write(&lake, &key, base, Edit::streamed(segment)).await.expect_err("it drifted");
    assert_eq!(error.outcome, WriteOutcome::Unchanged);
    assert_eq!(error.error.kind(), LakeErrorKind::Drifted);
    assert_eq!(std::fs::read(path).expect("there"), b"bytes and more");
}

/// N4: two processes over one folder exclude each other as two writers of one do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lakes_over_one_folder_have_one_winner() {
    let (folder, first) = ground();
    let second = DirectoryLake::new(folder.path().to_owned()).expect("a lake");
    let key = ObjectKey::from("counter");
    create(&first, &key, b"0").await;
    let add = |lake: DirectoryLake| {
        let key = key.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 20 {
                let object = current(&lake, &key).await;
                let Ok(bytes) = bytes_of(&lake, &object).await else { continue };
                let number: u64 =
                    String::from_utf8(bytes).expect("text").parse().expect("a number");
                let edit = Edit::bytes((number + 1).to_string());
                done += u64::from(write(&lake, &key, Base::Version(object), edit).await.is_ok());
            }
        })
    };
    let (left, right) = futures::join!(add(first), add(second));
    left.expect("no panic");
    right.expect("no panic");
    assert_eq!(std::fs::read(folder.path().join("counter")).expect("there"), b"40");
}

/// A tree of folders and files with names around the bytes that sort oddly.
fn trees() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-b.!/0]{1,6}", 0..24)
}

fn blocking<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    /// C2: whatever the tree and the prefix, the listing is what sorting the paths gives.
    #[test]
    fn a_listing_is_the_sorted_paths(names in trees(), prefix in "[a-b./]{0,3}") {
        let (folder, lake) = ground();
        let mut keys = std::collections::BTreeSet::new();
        for name in names {
            let path = folder.path().join(name.trim_matches('/'));
            let is_plain = name.split('/').all(|part| !matches!(part, "" | "." | ".."));
            let made = is_plain
                && std::fs::create_dir_all(path.parent().expect("a folder")).is_ok()
                && std::fs::write(&path, "x").is_ok();
            if made {
                keys.insert(name.into_bytes());
            }
        }
        let listed = blocking(listing(&lake, prefix.as_bytes()));
        let listed: Vec<Vec<u8>> =
            listed.iter().map(|entry| entry.object.key.as_bytes().to_vec()).collect();
        let expected: Vec<Vec<u8>> =
            keys.into_iter().filter(|key| key.starts_with(prefix.as_bytes())).collect();
        prop_assert_eq!(listed, expected);
    }

    /// B5: whatever the edit, the new object is what concatenating its segments gives.
    #[test]
    fn an_edit_is_its_segments(
        size_bytes in 0_u64..300_000,
        pieces in prop::collection::vec((any::<bool>(), 0_u64..300_000, 0_u64..300_000), 0..12),
        is_streamed in any::<bool>(),
    ) {
        let (folder, lake) = ground();
        let old = pattern(usize::try_from(size_bytes).expect("small"), 1);
        put(&folder, "a", &old);
        let mut expected = Vec::new();
        let mut segments = Vec::new();
        for (is_copy, one, other) in pieces {
            let (start, end) = (one.min(other).min(size_bytes), one.max(other).min(size_bytes));
            if is_copy {
                expected.extend_from_slice(&old[start as usize..end as usize]);
                segments.push(Segment::Copy(start..end));
            } else {
                let new = pattern((one / 7) as usize, other);
                expected.extend_from_slice(&new);
                segments.push(Segment::Bytes(new.into()));
            }
        }
        let edit = if is_streamed {
            Edit::streamed(segments.into_iter().map(Ok))
        } else {
            Edit::new(segments)
        };
        let key = ObjectKey::from("a");
        let written = blocking(async {
            let base = Base::Version(current(&lake, &key).await);
            write(&lake, &key, base, edit).await
        });
        prop_assert_eq!(written.expect("written").size_bytes, expected.len() as u64);
        prop_assert!(std::fs::read(folder.path().join("a")).expect("there") == expected);
    }
}
