//! The suite against the index in a folder, and what is true of that one alone.

mod damage;
mod kills;
mod purging;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use lacuna::domain::field::{BoundFields, IdentifierField};
use lacuna::domain::identifier::{DigestKey, IdentifierType, Namespace, RawValue};
use lacuna::domain::landmark::Landmarks;
use lacuna::metastore::embedded::{Embedded, Settings};
use lacuna::metastore::packing::PackedPosting;
use lacuna::metastore::packing::block::{BLOCK_BYTES, Block};
use lacuna::metastore::{Metastore, MetastoreErrorKind, Succession};

use super::{
    Storage, block_on, dataset, digest, indexed, listing, lookup, metastore_suite, object, posting,
    record, rows,
};

struct Folder {
    temporary: tempfile::TempDir,
    settings: Settings,
}

impl Folder {
    fn new() -> Self {
        Self::with(Settings::default())
    }

    /// Where everything is written and merged at once.
    fn busy() -> Self {
        Self::with(BUSY)
    }

    fn with(settings: Settings) -> Self {
        Self { temporary: tempfile::tempdir().expect("a folder"), settings }
    }

    fn path(&self) -> PathBuf {
        self.temporary.path().join("deep/index")
    }

    fn embedded(&self) -> Embedded {
        Embedded::open_with(&self.path(), self.settings).expect("opened")
    }
}

const BUSY: Settings = Settings { postings: 40_000, runs: 3 };

/// Each time the storage is opened, what is there has to be sound.
impl Storage for Folder {
    fn open(&self) -> Arc<dyn Metastore> {
        let embedded = self.embedded();
        let checked = std::thread::scope(|scope| scope.spawn(|| block_on(sound(&embedded))).join());
        checked.expect("sound");
        Arc::new(embedded)
    }
}

async fn sound(metastore: &Embedded) {
    let checked = metastore.check().await.expect("checked");
    assert_eq!(checked.damage, [""; 0]);
}

metastore_suite!(Folder::new());

mod busy {
    use super::{Folder, metastore_suite};

    metastore_suite!(Folder::busy());
}

/// Every posting that stands in a run of the index, in whatever run.
fn postings_on_disk(folder: &Path) -> Vec<PackedPosting> {
    let mut postings = Vec::new();
    for path in runs_on_disk(folder) {
        let bytes = std::fs::read(path).expect("read");
        let blocks = bytes.len() / (BLOCK_BYTES + 8);
        for block in bytes[..blocks * BLOCK_BYTES].chunks(BLOCK_BYTES) {
            postings.extend(Block::read(block).expect("sound").postings());
        }
    }
    postings
}

fn subjects_on_disk(folder: &Path) -> BTreeSet<u64> {
    postings_on_disk(folder).into_iter().map(|posting| posting.subject).collect()
}

fn runs_on_disk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "run")).collect()
}

/// The part of a digest that the index keeps.
fn subject(number: u64) -> u64 {
    u64::from_be_bytes(*digest(number).as_bytes().first_chunk().expect("eight bytes"))
}

/// Whether a subject's number stands anywhere on the disk, in either order of bytes.
fn is_on_disk(bytes: &[u8], number: u64) -> bool {
    let subject = subject(number);
    contains(bytes, &subject.to_le_bytes()) || contains(bytes, &subject.to_be_bytes())
}

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
        let subject: [u8; 8] = *found.as_bytes().first_chunk().expect("eight bytes");
        let subject = u64::from_be_bytes(subject).to_le_bytes();
        assert!(contains(&bytes, &subject), "the test looks at the right files");
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
        let order = Succession {
            dataset: name,
            old,
            new,
            erased,
            keeps_old: false,
            landmarks: Landmarks::default(),
        };
        metastore.succeed(&order).await.expect("succeeded");
        let erased = 19 * 700..19 * 700 + 350;
        metastore.settle().await;
        let left = subjects_on_disk(&folder.path());
        assert!(erased.clone().all(|number| !left.contains(&subject(number))), "at once");
        metastore.scrub().await.expect("scrubbed");
        metastore.settle().await;
        let left = subjects_on_disk(&folder.path());
        assert_eq!(left, (erased.end..20 * 700).map(subject).collect());
        let bytes = bytes_on_disk(&folder.path());
        assert_eq!((0..erased.end).filter(|number| is_on_disk(&bytes, *number)).count(), 0);
        assert!(!contains(&bytes, b"part-18"), "the catalogue forgets as well");
        sound(&metastore).await;
    });
}

/// Hazard D11: an old program does not touch a newer index.
#[test]
fn a_newer_layout_is_refused_and_left_alone() {
    let folder = Folder::new();
    drop(folder.embedded());
    let path = folder.path().join("catalogue.sqlite");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection.pragma_update(None, "user_version", 3).expect("written");
    drop(connection);
    let before = std::fs::read(&path).expect("read");
    let refused = Embedded::open(&folder.path()).expect_err("a newer layout");
    assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    assert!(refused.to_string().contains("use that lacuna"), "{refused}");
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

/// Hazard D11: an index of the first layout is refused by name, and left as it is.
#[test]
fn an_older_layout_is_refused_and_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).expect("made");
    let path = folder.path().join("catalogue.sqlite");
    let fixture = include_str!("../../../../schema/fixtures/v1/embedded.sql");
    let connection = rusqlite::Connection::open(&path).expect("opened");
    connection.execute_batch(fixture).expect("made");
    drop(connection);
    let before = std::fs::read(&path).expect("read");
    let refused = Embedded::open(&folder.path()).expect_err("an older layout");
    assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    assert!(refused.to_string().contains("lacuna index --rebuild"), "{refused}");
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
        assert!(refused.to_string().contains("lacuna index --rebuild"), "{refused}");

        std::fs::remove_file(&path).expect("removed");
        let metastore = folder.embedded();
        let many: Vec<_> = (0..20_000).map(|row| posting(digest(row), row)).collect();
        let scanned = indexed(&object("a", "1", "e"), 20_000);
        record(&metastore, &dataset("d"), scanned, &many).await.expect("recorded");
        drop(metastore);
        let [run] = &runs_on_disk(&folder.path())[..] else { panic!("one run") };
        let mut bytes = std::fs::read(run).expect("read");
        bytes[8192..12_000].fill(0xa5);
        std::fs::write(run, bytes).expect("written");
        let metastore = folder.embedded();
        let all: Vec<_> = (0..20_000).map(digest).collect();
        let found: Result<Vec<_>, _> =
            futures::TryStreamExt::try_collect(metastore.lookup(&all)).await;
        let error = found.expect_err("damaged");
        assert_eq!(error.kind(), MetastoreErrorKind::Corrupt);
        assert!(error.to_string().contains("lacuna index --rebuild"), "{error}");
    });
}

#[test]
fn the_folder_is_its_owners_alone() {
    let folder = Folder::new();
    drop(folder.embedded());
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path()), 0o700);
    assert_eq!(mode(&folder.path().join("catalogue.sqlite")), 0o600);
    block_on(async {
        let scanned = indexed(&object("a", "1", "e"), 1);
        let metastore = folder.embedded();
        record(&metastore, &dataset("d"), scanned, &[posting(digest(1), 0)])
            .await
            .expect("recorded");
    });
    let runs = runs_on_disk(&folder.path());
    assert!(runs.len() == 1 && runs.iter().all(|run| mode(run) == 0o600));
    let file = folder.temporary.path().join("file");
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
        let metastore = Embedded::open_with(Path::new(&folder), BUSY).expect("opened");
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

fn spawn_child(folder: &Path, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let test = format!("suites::metastore::embedded::{test}");
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(CHILD, folder);
    command
}

fn start_child(folder: &Path) -> Child {
    let mut child = spawn_child(folder, "a_recording_that_never_ends")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut told = [0; 8];
    child.stderr.take().expect("its errors").read_exact(&mut told).expect("it writes");
    child
}

/// How many objects there are that nobody sees, and how many postings.
fn pending(folder: &Path) -> (i64, i64) {
    let connection = rusqlite::Connection::open(folder.join("catalogue.sqlite")).expect("opened");
    let count = |query| connection.query_row(query, [], |row| row.get(0)).expect("counted");
    let postings = count("SELECT coalesce(sum(postings), 0) FROM runs");
    (count("SELECT count(*) FROM objects WHERE state <> 1"), postings)
}

/// Hazard D1: what a killed process left is never seen and is collected by a later writer; what a
/// living process is about to record is left alone.
#[test]
fn only_the_dead_are_swept() {
    block_on(async {
        let folder = Folder::busy();
        let metastore = folder.embedded();
        let mut child = start_child(&folder.path());
        record(&metastore, &dataset("d"), indexed(&object("b", "1", "e"), 1), &[])
            .await
            .expect("recorded beside it");
        metastore.scrub().await.expect("scrubbed");
        let (objects, postings) = pending(&folder.path());
        assert!(objects == 1 && postings > 0, "a living writer's postings stay");
        assert_eq!(rows(&metastore, digest(5)).await, [""; 0]);

        child.kill().expect("killed");
        child.wait().expect("ended");
        drop(metastore);
        let metastore = folder.embedded();
        assert!(lookup(&metastore, &[digest(5)]).await.is_empty());
        assert_eq!(listing(&metastore, &dataset("d")).await.len(), 1);
        metastore.scrub().await.expect("swept");
        assert_eq!(pending(&folder.path()), (0, 0));
        assert!(runs_on_disk(&folder.path()).is_empty());
        assert!(!is_on_disk(&bytes_on_disk(&folder.path()), 5));
    });
}

/// Hazard N2: whatever comes, in large pieces or small ones, a lookup has few runs to ask.
#[test]
fn runs_stay_few() {
    block_on(async {
        let folder = Folder::with(Settings { postings: 500, runs: 3 });
        let metastore = folder.embedded();
        for part in 0..60_u64 {
            let count = if part % 20 == 0 { 3000 } else { 5 };
            let postings: Vec<_> = (0..count).map(|row| posting(digest(row % 40), row)).collect();
            let scanned = indexed(&object(&format!("{part}"), "1", "e"), count);
            record(&metastore, &dataset("d"), scanned, &postings).await.expect("recorded");
            let runs = metastore.size().await.expect("a size").runs.expect("it knows");
            assert!(runs <= 2 * 3 + 1, "{runs} runs");
        }
        assert_eq!(lookup(&metastore, &[digest(3)]).await.len(), 60);
        metastore.compact().await.expect("compacted");
        assert_eq!(metastore.size().await.expect("a size").runs, Some(1));
        assert_eq!(runs_on_disk(&folder.path()).len(), 1);
        sound(&metastore).await;
        assert_eq!(lookup(&folder.embedded(), &[digest(3)]).await.len(), 60);
    });
}

/// What was recorded at the same time shares a run.
#[test]
fn small_objects_share_a_run() {
    block_on(async {
        let folder = Folder::with(Settings { runs: 1000, ..Settings::default() });
        let metastore = folder.embedded();
        let name = dataset("d");
        let versions: Vec<_> =
            (0..300_u64).map(|part| object(&format!("{part}"), "1", "e")).collect();
        let mut begun = Vec::new();
        for version in &versions {
            let mut recorder = metastore.record(&name, version).await.expect("begun");
            recorder.append(vec![posting(digest(1), 7)]).await.expect("appended");
            begun.push(recorder.commit(indexed(version, 9)));
        }
        futures::future::try_join_all(begun).await.expect("committed");
        // As each commit waits for the recordings that have begun, there is one run, or a few.
        let runs = metastore.size().await.expect("a size").runs.expect("it knows");
        assert!(runs < 150, "{runs} runs");
        assert_eq!(lookup(&metastore, &[digest(1)]).await.len(), 300);
    });
}

/// What the index tells of whole versions is what was recorded, as far as it knows digests.
#[test]
fn every_posting_of_a_version_is_told_from_all_runs() {
    block_on(async {
        let folder = Folder::busy();
        let metastore = folder.embedded();
        let name = dataset("d");
        let versions: Vec<_> =
            (0..4_u64).map(|part| object(&format!("{part}"), "1", "e")).collect();
        for (part, version) in versions.iter().enumerate() {
            let count = 30_000 * part as u64;
            let postings: Vec<_> = (0..count).map(|row| posting(digest(row % 9999), row)).collect();
            record(&metastore, &name, indexed(version, count), &postings).await.expect("recorded");
        }
        let asked = [versions[3].clone(), object("none", "1", "e"), versions[1].clone()];
        let told: Vec<_> = futures::TryStreamExt::try_collect(metastore.postings(&name, &asked))
            .await
            .expect("told");
        let mut counts = [0; 3];
        for piece in told {
            for found in piece.postings {
                counts[piece.place] += 1;
                let expected = digest(found.row.0 % 9999);
                assert_eq!(found.digest.as_bytes()[..8], expected.as_bytes()[..8]);
                assert_eq!(found.digest.as_bytes()[8..], [0; 8]);
            }
        }
        assert_eq!(counts, [90_000, 0, 30_000]);
    });
}
