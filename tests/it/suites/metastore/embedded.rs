//! The suite against the index in a folder, and what is true of that one alone.

use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lacuna::domain::field::{BoundFields, IdentifierField};
use lacuna::domain::identifier::{DigestKey, IdentifierType, Namespace, RawValue};
use lacuna::metastore::embedded::Embedded;
use lacuna::metastore::{Metastore, MetastoreErrorKind, Succession};

use super::{
    Storage, block_on, dataset, digest, indexed, listing, lookup, metastore_suite, object, posting,
    record, rows,
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("deep/index")
    }

    fn embedded(&self) -> Embedded {
        Embedded::open(&self.path()).expect("opened")
    }
}

impl Storage for Folder {
    fn open(&self) -> Arc<dyn Metastore> {
        Arc::new(self.embedded())
    }
}

metastore_suite!(Folder::new());

/// Every byte of every file of the index.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let mut file = std::fs::File::open(entry.expect("an entry").path()).expect("opened");
        file.read_to_end(&mut bytes).expect("read");
    }
    bytes
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(bytes, needle).is_some()
}

/// Hazard E10: the index holds digests, never what they were made of.
#[test]
fn no_raw_identifier_is_on_the_disk() {
    block_on(async {
        let folder = Folder::new();
        let metastore = folder.embedded();
        let field = IdentifierField {
            namespace: Namespace::new("email"),
            path: "email".parse().expect("a path"),
            kind: IdentifierType::String,
        };
        let fields = BoundFields::new(&[field], &DigestKey::new([5; 32]));
        let canary = "canary-7f3a@example.org";
        let bound = fields.iter().next().expect("a field");
        let lacuna::domain::field::Digested::Identifier(found) =
            bound.digest(RawValue::Text(canary.as_bytes()))
        else {
            panic!("an identifier");
        };
        let scanned = indexed(&object("a", "1", "e"), 1);
        record(&metastore, &dataset("d"), scanned, &[posting(found, 0)]).await.expect("recorded");
        let bytes = bytes_on_disk(&folder.path());
        assert!(contains(&bytes, found.as_bytes()), "the test looks at the right files");
        assert!(!contains(&bytes, canary.as_bytes()));
        assert!(!contains(&bytes, b"example.org"));
    });
}

/// Design promise 4: erased means gone from the index itself, free pages and log included.
#[test]
fn what_is_forgotten_leaves_no_byte() {
    block_on(async {
        let folder = Folder::new();
        let metastore = folder.embedded();
        let name = dataset("d");
        for part in 0..20_u64 {
            let version = object(&format!("part-{part}"), "1", "e");
            let postings: Vec<_> =
                (0..700).map(|number| posting(digest(part * 700 + number), number)).collect();
            record(&metastore, &name, indexed(&version, 700), &postings).await.expect("recorded");
        }
        let gone: Vec<_> = (0..19).map(|part| object(&format!("part-{part}"), "1", "e")).collect();
        metastore.forget(&name, &gone).await.expect("forgotten");
        let (old, new) = (object("part-19", "1", "e"), object("part-19", "2", "f"));
        let erased: Vec<_> = (19 * 700..19 * 700 + 350).map(digest).collect();
        let order = Succession { dataset: name, old, new, erased, keeps_old: false };
        metastore.succeed(&order).await.expect("succeeded");
        let remain = |range: Range<u64>| {
            let bytes = bytes_on_disk(&folder.path());
            range.filter(|number| contains(&bytes, digest(*number).as_bytes())).count()
        };
        // Pages that SQLite rearranged hold copies of a few.
        assert!(remain(0..19 * 700 + 350) < 50);
        metastore.scrub().await.expect("scrubbed");
        assert_eq!(remain(0..19 * 700 + 350), 0);
        assert_eq!(remain(19 * 700 + 350..20 * 700), 350);
    });
}

/// Hazard D11: an old program does not touch a newer index.
#[test]
fn a_newer_layout_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(folder.embedded());
    let path = folder.path().join("catalogue.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection.pragma_update(None, "user_version", 2).expect("written");
    drop(connection);
    let before = std::fs::read(&path).expect("read");
    let refused = Embedded::open(&folder.path()).expect_err("a newer layout");
    assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    assert!(refused.to_string().contains("use that lacuna"), "{refused}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).expect("made");
    let path = folder.path().join("catalogue.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection.execute_batch("CREATE TABLE theirs (a)").expect("made");
    drop(connection);
    let before = std::fs::read(&path).expect("read");
    let refused = Embedded::open(&folder.path()).expect_err("not ours");
    assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

/// Hazard D10: what is damaged is called so, with the remedy.
#[test]
fn a_damaged_database_says_what_to_do() {
    block_on(async {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.path()).expect("made");
        let path = folder.path().join("catalogue.sqlite");
        std::fs::write(&path, [b'x'; 8192]).expect("written");
        let refused = Embedded::open(&folder.path()).expect_err("not a database");
        assert_eq!(refused.kind(), MetastoreErrorKind::Corrupt);
        assert!(refused.to_string().contains("lacuna index --full"), "{refused}");

        std::fs::remove_file(&path).expect("removed");
        let metastore = folder.embedded();
        let many: Vec<_> = (0..20_000).map(|row| posting(digest(row), row)).collect();
        let scanned = indexed(&object("a", "1", "e"), 20_000);
        record(&metastore, &dataset("d"), scanned, &many).await.expect("recorded");
        drop(metastore);
        let mut bytes = std::fs::read(&path).expect("read");
        let length = bytes.len();
        bytes[8192..length].fill(0xa5);
        std::fs::write(&path, bytes).expect("written");
        let error = Embedded::open(&folder.path()).expect("opened").size().await.err();
        let metastore = folder.embedded();
        let found: Result<Vec<_>, _> = futures::TryStreamExt::try_collect(
            metastore.lookup(&(0..20_000).map(digest).collect::<Vec<_>>()),
        )
        .await;
        let errors: Vec<_> = [error, found.err()].into_iter().flatten().collect();
        assert!(!errors.is_empty());
        assert!(
            errors.iter().all(|error| error.kind() == MetastoreErrorKind::Corrupt),
            "{errors:?}"
        );
    });
}

#[test]
fn the_folder_is_its_owners_alone() {
    let folder = Folder::new();
    drop(folder.embedded());
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path()), 0o700);
    assert_eq!(mode(&folder.path().join("catalogue.sqlite")), 0o600);
    let file = folder.0.path().join("file");
    std::fs::write(&file, b"").expect("written");
    let refused = Embedded::open(&file).expect_err("a file");
    assert!(refused.to_string().contains("is not a folder"), "{refused}");
}

/// Several processes may make the index at the same moment.
#[test]
fn many_open_a_new_index_at_once() {
    for _ in 0..5 {
        let folder = Folder::new();
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..8).map(|_| scope.spawn(|| folder.embedded())).collect();
            for opened in opening {
                opened.join().expect("opened");
            }
        });
    }
}

const CHILD: &str = "LACUNA_TEST_INDEX";

/// The other process of the tests below: records a large object and never ends, or is killed.
#[test]
#[ignore = "started by other tests, in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "a test tells its child process where to work")]
fn a_recording_that_never_ends() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    block_on(async {
        let metastore = Embedded::open(Path::new(&folder)).expect("opened");
        let version = object("large", "null", "e");
        let mut recorder = metastore.record(&dataset("d"), &version).await.expect("begun");
        for part in 0..6 {
            let some = (0..100_000).map(|row| posting(digest(row), part * 100_000 + row)).collect();
            recorder.append(some).await.expect("appended");
        }
        std::io::stderr().write_all(b"written\n").expect("told");
        std::thread::sleep(std::time::Duration::from_secs(600));
    });
}

fn start_child(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "suites::metastore::embedded::a_recording_that_never_ends"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut told = [0; 8];
    child.stderr.take().expect("its errors").read_exact(&mut told).expect("it writes");
    child
}

fn pending(folder: &Path) -> (i64, i64) {
    let connection = rusqlite::Connection::open(folder.join("catalogue.sqlite")).expect("opened");
    let count = |query| connection.query_row(query, [], |row| row.get(0)).expect("counted");
    (count("SELECT count(*) FROM objects WHERE state <> 1"), count("SELECT count(*) FROM postings"))
}

/// Hazard D1: what a killed process left is never seen and is collected by a later writer; what a
/// living process is about to record is left alone.
#[test]
fn only_the_dead_are_swept() {
    block_on(async {
        let folder = Folder::new();
        let metastore = folder.embedded();
        let mut child = start_child(&folder.path());
        metastore.forget(&dataset("d"), &[]).await.expect("nothing");
        record(&metastore, &dataset("d"), indexed(&object("b", "1", "e"), 1), &[])
            .await
            .expect("recorded beside it");
        assert!(pending(&folder.path()).1 > 0, "a living writer's postings stay");
        assert_eq!(rows(&metastore, digest(5)).await, [""; 0]);

        child.kill().expect("killed");
        child.wait().expect("ended");
        drop(metastore);
        let metastore = folder.embedded();
        assert!(lookup(&metastore, &[digest(5)]).await.is_empty());
        assert_eq!(listing(&metastore, &dataset("d")).await.len(), 1);
        metastore.forget(&dataset("d"), &[]).await.expect("swept");
        assert_eq!(pending(&folder.path()), (0, 0));
        assert!(!contains(&bytes_on_disk(&folder.path()), digest(5).as_bytes()));
    });
}
