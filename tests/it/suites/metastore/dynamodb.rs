//! The suite against a server that speaks DynamoDB, and what is true of that one alone.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures::TryStreamExt as _;
use lacuna::clock::Clock;
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::ObjectKey;
use lacuna::metastore::memory::MemoryMetastore;
use lacuna::metastore::{Metastore, MetastoreErrorKind, Succession};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, TestRunner};

use super::model::{DATASETS, any_call, apply, compare};
use super::{
    Storage, block_on, dataset, digest, indexed, listing, lookup, metastore_suite, object,
    object_of, posting, record, rows,
};
use crate::support::dynamodb::{Fate, Proxy, Tables};
use crate::support::services;

impl Storage for Tables {
    fn open(&self) -> Arc<dyn Metastore> {
        tokio::task::block_in_place(|| {
            let runtime = tokio::runtime::Handle::current();
            runtime.block_on(async { Arc::new(self.metastore().await) as Arc<dyn Metastore> })
        })
    }
}

metastore_suite!(Tables::new());

fn binary(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Design promise 4: the erased subjects' postings leave the tables with the call, and so do those of
/// forgotten versions where the index is small.
#[test]
fn what_is_erased_is_no_longer_stored() {
    block_on(async {
        let tables = Tables::new();
        let metastore = tables.metastore().await;
        let name = dataset("d");
        for part in 0..10_u64 {
            let version = object(&format!("part-{part}"), "1", "e");
            let postings: Vec<_> =
                (0..700).map(|number| posting(digest(part * 700 + number), number)).collect();
            record(&metastore, &name, indexed(&version, 700), &postings).await.expect("recorded");
        }
        assert_eq!(tables.stored().await, 7000);
        let (old, new) = (object("part-9", "1", "e"), object("part-9", "2", "f"));
        let erased: Vec<_> = (9 * 700..9 * 700 + 350).map(digest).collect();
        let order = Succession {
            dataset: name.clone(),
            old,
            new,
            erased,
            keeps_old: false,
            landmarks: Landmarks::default(),
        };
        metastore.succeed(&order).await.expect("succeeded");
        assert_eq!(tables.stored().await, 7000 - 350);
        let gone: Vec<_> = (0..9).map(|part| object(&format!("part-{part}"), "1", "e")).collect();
        metastore.forget(&name, &gone).await.expect("forgotten");
        assert_eq!(tables.stored().await, 350);
        let slots = tables.items("catalogue").await;
        assert_eq!(slots.iter().filter(|item| item.contains_key("e")).count(), 1);
        assert_eq!(rows(&metastore, digest(9 * 700 + 350)).await, ["part-9@2/f: [350]"]);
    });
}

/// What piles up moves down, table by table, beside writers and readers; nothing is lost, nothing
/// stands twice, and what is removed is gone wherever it moved to.
#[test]
fn postings_move_down_as_they_pile_up() {
    block_on(async {
        let tables = Tables::moving(2);
        let name = dataset("d");
        let first = indexed(&object("first", "1", "e"), 9);
        let seen: Vec<_> = (0..40).map(|row| posting(digest(row), row)).collect();
        let metastore = Arc::new(tables.metastore().await);
        record(&*metastore, &name, first, &seen).await.expect("recorded");
        let stop = Arc::new(AtomicBool::new(false));
        let (reader, is_stopped) = (Arc::new(tables.metastore().await), stop.clone());
        let reading = tokio::spawn(async move {
            let subjects: Vec<_> = (0..40).map(digest).collect();
            let mut lookups = 0;
            while !is_stopped.load(Ordering::Relaxed) || lookups == 0 {
                let found = lookup(&*reader, &subjects).await;
                let first = found.iter().filter(|it| it.object.key == ObjectKey::from("first"));
                assert_eq!(first.count(), 40, "none is missed while it moves");
                lookups += 1;
            }
        });
        let handles = [metastore.clone(), Arc::new(tables.metastore().await)];
        let work = (0..8_u64).map(|part| {
            let (metastore, name) = (handles[usize::from(part % 2 == 0)].clone(), name.clone());
            tokio::spawn(async move {
                let version = object(&format!("part-{part}"), "1", "e");
                let postings: Vec<_> =
                    (0..1500).map(|row| posting(digest(row * 8 + part), row)).collect();
                record(&*metastore, &name, indexed(&version, 1500), &postings).await
            })
        });
        for recorded in futures::future::try_join_all(work).await.expect("no panic") {
            recorded.expect("recorded");
        }
        stop.store(true, Ordering::Relaxed);
        reading.await.expect("it saw all");
        assert!(tables.stored_in("middle").await > 0, "something moved");
        assert_eq!(tables.stored().await, 8 * 1500 + 40, "nothing stands twice");
        for number in [0, 39, 40, 7777, 11_999] {
            assert_eq!(
                lookup(&*metastore, &[digest(number)]).await.len(),
                1 + usize::from(number < 40)
            );
        }
        let parts: Vec<_> = (0..8).map(|part| object(&format!("part-{part}"), "1", "e")).collect();
        let told = postings_of(&*metastore, "d", &parts).await;
        assert!(told.values().all(|rows| rows.len() == 1500), "each once");
        metastore.forget(&name, &parts).await.expect("forgotten");
        assert_eq!(tables.stored().await, 40);
    });
}

/// Subjects are erased and versions forgotten by one handle while another one records, and moves what
/// was recorded: what was removed does not come back with a copy, and nothing else goes.
#[test]
fn moves_and_removals_do_not_undo_each_other() {
    block_on(async {
        let tables = Tables::moving(2);
        let name = dataset("d");
        let (send, mut receive) = tokio::sync::mpsc::channel(2);
        let (writer, of_writer) = (tables.metastore().await, name.clone());
        let recording = tokio::spawn(async move {
            for part in 0..6_u64 {
                let version = object(&format!("{part:02}"), "null", "e");
                let postings: Vec<_> = (0..198).map(|row| posting(digest(row), row)).collect();
                let scanned = indexed(&version, 198);
                record(&writer, &of_writer, scanned, &postings).await.expect("recorded");
                send.send((part, version)).await.expect("somebody listens");
            }
        });
        let metastore = tables.metastore().await;
        while let Some((part, version)) = receive.recv().await {
            if part % 3 == 0 {
                metastore.forget(&name, &[version]).await.expect("forgotten");
                continue;
            }
            let new = object(&format!("{part:02}"), "null", "f");
            let erased = (0..33).map(|number| digest(number * 6 + part)).collect();
            let dataset = name.clone();
            let order = Succession {
                dataset,
                old: version,
                new,
                erased,
                keeps_old: false,
                landmarks: Landmarks::default(),
            };
            metastore.succeed(&order).await.expect("succeeded");
        }
        recording.await.expect("no panic");
        let subjects: Vec<_> = (0..198).map(digest).collect();
        let found = lookup(&metastore, &subjects).await;
        assert_eq!(found.len(), 4 * 165);
        for found in found {
            let part: u64 = found.object.key.as_str().expect("UTF-8").parse().expect("a number");
            assert!(!part.is_multiple_of(3) && found.rows.first().0 % 6 != part, "{found:?}");
        }
        assert_eq!(metastore.size().await.expect("a size").postings, 4 * 165);
        assert_eq!(tables.stored().await, 4 * 165, "nothing is left of the others");
    });
}

/// The rows of the postings of each of these versions, by place.
async fn postings_of(
    metastore: &dyn Metastore,
    name: &str,
    objects: &[lacuna::domain::object::ObjectVersion],
) -> BTreeMap<usize, Vec<(lacuna::domain::identifier::IdentifierDigest, u64)>> {
    let told: Vec<_> =
        metastore.postings(&dataset(name), objects).try_collect().await.expect("postings");
    let mut found: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for some in told {
        let rows = some.postings.into_iter().map(|posting| (posting.digest, posting.row.0));
        found.entry(some.place).or_default().extend(rows);
    }
    found.values_mut().for_each(|rows| rows.sort_unstable());
    found
}

#[test]
fn the_postings_of_versions_are_told() {
    block_on(async {
        let tables = Tables::new();
        let (metastore, name) = (tables.metastore().await, dataset("d"));
        let versions: Vec<_> =
            (0..4).map(|number| object(&format!("{number}"), "1", "e")).collect();
        for (number, version) in (0..).zip(&versions[..3]) {
            let postings: Vec<_> =
                (0..3000).map(|row| posting(digest(row % 50 + number), row)).collect();
            record(&metastore, &name, indexed(version, 3000), &postings).await.expect("recorded");
        }
        let told = postings_of(&metastore, "d", &versions[1..]).await;
        assert_eq!(
            told.keys().copied().collect::<Vec<_>>(),
            [0, 1],
            "of what is not recorded, none"
        );
        for (place, rows) in told {
            let number = place as u64 + 1;
            let mut expected: Vec<_> = (0..3000)
                .map(|row| {
                    let mut known = [0; 16];
                    known[..8].copy_from_slice(&digest(row % 50 + number).as_bytes()[..8]);
                    (lacuna::domain::identifier::IdentifierDigest::from_bytes(known), row)
                })
                .collect();
            expected.sort_unstable();
            assert_eq!(rows, expected);
        }
        assert!(postings_of(&metastore, "other", &versions).await.is_empty());
    });
}

/// Hazard B14: a key has as many bytes as a sort key may have, of every value; listings keep the order
/// of bytes also where keys agree beyond what is compared.
#[test]
fn the_longest_keys_are_kept_and_listed_in_order() {
    block_on(async {
        let tables = Tables::new();
        let (metastore, name) = (Arc::new(tables.metastore().await), dataset("d"));
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for filling in [b'a', 0, 0xff] {
            for tail in [&b"c"[..], b"b", b"\0", b"\xff", b"", b"bb"] {
                keys.push([&vec![filling; 1022], tail].concat());
            }
            keys.extend([
                vec![filling; 1007],
                vec![filling; 1008],
                vec![filling; 991],
                vec![filling],
            ]);
        }
        let work = keys.iter().map(|key| {
            let (metastore, name, key) = (metastore.clone(), name.clone(), key.clone());
            async move {
                let version = object_of(ObjectKey::new(key), "null", "e");
                record(&*metastore, &name, indexed(&version, 1), &[posting(digest(1), 7)]).await
            }
        });
        futures::future::try_join_all(work).await.expect("recorded");
        keys.sort_unstable();
        let told = |scanned: &[lacuna::domain::posting::ScannedObject]| -> Vec<Vec<u8>> {
            scanned.iter().map(|scanned| scanned.object.key.as_bytes().to_vec()).collect()
        };
        assert!(told(&listing(&*metastore, &name).await) == keys);
        for at in [0, 3, 9, 12, keys.len() - 1] {
            let after = ObjectKey::new(keys[at].as_slice());
            let rest: Vec<_> =
                metastore.indexed(&name, Some(&after)).try_collect().await.expect("a listing");
            assert!(told(&rest) == keys[at + 1..]);
            let found = metastore.recorded(&name, &[after]).await.expect("a record");
            assert!(told(&found) == [keys[at].clone()]);
        }
        assert_eq!(lookup(&*metastore, &[digest(1)]).await.len(), keys.len());
    });
}

const CHILD: &str = "LACUNA_TEST_INDEX";

/// The other process of the test below: records a large object and never ends, or is killed.
#[test]
#[ignore = "started by another test, in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "a test tells its child process where to work")]
fn a_recording_that_never_ends() {
    let Ok(prefix) = std::env::var(CHILD) else { return };
    block_on(async {
        let configuration = services::configuration(&services::dynamodb(), "test", "test").await;
        let settings = lacuna::metastore::dynamodb::DynamoDbSettings::new(prefix);
        let metastore = lacuna::metastore::dynamodb::DynamoDb::with_configuration(
            &configuration,
            settings,
            Clock::system(),
        );
        let version = object("large", "null", "e");
        let mut recorder = metastore.record(&dataset("d"), &version).await.expect("begun");
        // Few subjects: their segments are few and full.
        for part in 0..6 {
            let some =
                (0..100_000).map(|row| posting(digest(row % 5), part * 100_000 + row)).collect();
            recorder.append(some).await.expect("appended");
        }
        std::io::stderr().write_all(b"written\n").expect("told");
        std::thread::sleep(Duration::from_secs(600));
    });
}

fn start_child(prefix: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "suites::metastore::dynamodb::a_recording_that_never_ends"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, prefix)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut told = [0; 8];
    child.stderr.take().expect("its errors").read_exact(&mut told).expect("it writes");
    child
}

/// The tables, an hour from now.
async fn an_hour_later(tables: &Tables) -> impl Metastore {
    let hour = Duration::from_secs(60 * 60);
    let later = Clock::manual(Clock::system().now() + hour);
    tables.metastore_at(&services::dynamodb(), later).await
}

/// Hazard D1: what a killed process left is never seen and is collected once nobody can expect it back;
/// what a living process is about to record is left alone.
#[test]
fn only_the_dead_are_collected() {
    block_on(async {
        let tables = Tables::new();
        let (metastore, name) = (tables.metastore().await, dataset("d"));
        let mut child = start_child(&tables.prefix);
        let beside = indexed(&object("b", "1", "e"), 1);
        record(&metastore, &name, beside, &[]).await.expect("recorded beside it");
        metastore.forget(&name, &[]).await.expect("nothing");
        metastore.scrub().await.expect("scrubbed");
        let held = tables.stored().await;
        assert!(held > 0, "a living writer's postings stay");
        assert_eq!(rows(&metastore, digest(3)).await, [""; 0]);
        child.kill().expect("killed");
        child.wait().expect("ended");
        metastore.forget(&name, &[]).await.expect("nothing");
        assert_eq!(tables.stored().await, held, "it may yet come back");

        let later = an_hour_later(&tables).await;
        later.forget(&name, &[]).await.expect("collected");
        assert_eq!(tables.stored().await, 0);
        assert_eq!(listing(&metastore, &name).await.len(), 1);
        let open = tables.items("catalogue").await;
        let is_left = |item: &&_| {
            matches!(crate::support::dynamodb::Item::get(item, "p"),
            Some(AttributeValue::B(p)) if [&b"open"[..], b"dead"].contains(&p.as_ref()))
        };
        assert_eq!(open.iter().filter(is_left).count(), 0);
    });
}

/// A writer that was taken for gone and comes back publishes nothing: its postings may be gone.
#[test]
fn who_was_taken_for_gone_publishes_nothing() {
    block_on(async {
        let tables = Tables::new();
        let (metastore, name) = (tables.metastore().await, dataset("d"));
        let version = object("a", "null", "e");
        let mut recorder = metastore.record(&name, &version).await.expect("begun");
        for part in 0..6 {
            let some =
                (0..100_000).map(|row| posting(digest(row % 5), part * 100_000 + row)).collect();
            recorder.append(some).await.expect("appended");
        }
        assert!(tables.stored().await > 0);
        an_hour_later(&tables).await.forget(&name, &[]).await.expect("collected");
        assert_eq!(tables.stored().await, 0);
        recorder.commit(indexed(&version, 9)).await.expect_err("it was taken for gone");
        assert_eq!(listing(&metastore, &name).await, []);
        assert_eq!(lookup(&metastore, &[digest(1)]).await, []);
        metastore.scrub().await.expect("scrubbed");
        assert_eq!(tables.stored().await, 0, "what it stored since is nobody's");
    });
}

/// A scrub removes what nobody can name any more: copies of a move that was broken off, and postings
/// under numbers that were never published.
#[test]
fn a_scrub_removes_what_is_nobodys() {
    block_on(async {
        let tables = Tables::moving(3);
        let (metastore, name) = (tables.metastore().await, dataset("d"));
        for part in 0..3 {
            let version = object(&format!("{part}"), "1", "e");
            let some: Vec<_> = (0..200).map(|row| posting(digest(row), row)).collect();
            record(&metastore, &name, indexed(&version, 200), &some).await.expect("recorded");
        }
        let stored = tables.stored().await;
        assert_eq!(stored, 600);
        let client = tables.client().await;
        let segment = tables.items("middle").await.into_iter().find(|item| item.contains_key("b"));
        let segment = segment.expect("something moved");
        // A copy of a move that was never carried out, and a segment under a number of nobody's.
        let mut copy = segment.clone();
        let sort = [&[2], 999_u64.to_be_bytes().as_slice(), &[0; 4]].concat();
        copy.insert("s".into(), binary(&sort));
        client
            .put_item()
            .table_name(tables.name("middle"))
            .set_item(Some(copy))
            .send()
            .await
            .expect("put");
        let mut stray = Vec::new();
        let mut block = lacuna::metastore::packing::block::BlockBuilder::default();
        block.push(lacuna::metastore::packing::PackedPosting {
            subject: 5,
            object: 99_999 << 16,
            row: 1,
        });
        block.finish(&mut stray);
        let sort = [&[1], 99_999_u64.to_be_bytes().as_slice(), &[0; 4]].concat();
        let asked = client.put_item().table_name(tables.name("top")).item("p", binary(&[0]));
        let asked = asked.item("s", binary(&sort)).item("b", binary(&stray));
        asked.item("r", AttributeValue::N("0".into())).send().await.expect("put");
        assert!(tables.stored().await > stored);
        let before = lookup(&metastore, &[digest(7)]).await;
        assert_eq!(before.len(), 3);
        metastore.scrub().await.expect("scrubbed");
        assert_eq!(tables.stored().await, stored);
        assert_eq!(lookup(&metastore, &[digest(7)]).await, before);
    });
}

/// Hazard D10: a damaged segment is an error with the remedy, never an answer.
#[test]
fn a_damaged_segment_says_what_to_do() {
    block_on(async {
        let tables = Tables::new();
        let metastore = tables.metastore().await;
        let scanned = indexed(&object("a", "1", "e"), 1);
        record(&metastore, &dataset("d"), scanned, &[posting(digest(1), 0)])
            .await
            .expect("recorded");
        let mut segment = tables.items("top").await.remove(0);
        let Some(AttributeValue::B(bytes)) = segment.get("b") else { panic!("a segment") };
        let mut bytes = bytes.as_ref().to_vec();
        bytes[30] ^= 77;
        segment.insert("b".into(), binary(&bytes));
        let asked = tables.client().await.put_item().table_name(tables.name("top"));
        asked.set_item(Some(segment)).send().await.expect("damaged");
        let found: Result<Vec<_>, _> = metastore.lookup(&[digest(1)]).try_collect().await;
        let error = found.expect_err("damaged");
        assert_eq!(error.kind(), MetastoreErrorKind::Corrupt);
        assert!(error.to_string().contains("lacuna index --rebuild"), "{error}");
    });
}

#[test]
fn tables_are_made_when_asked_for_and_not_before() {
    block_on(async {
        let tables = Tables::missing();
        let metastore = tables.metastore().await;
        let key = lacuna::domain::identifier::DigestKey::new([1; 32]).check_value();
        let error = metastore.bind(&key).await.expect_err("no tables");
        assert_eq!(error.kind(), MetastoreErrorKind::WrongVersion);
        assert!(error.to_string().contains("lacuna metastore create"), "{error}");
        for _ in 0..2 {
            metastore.create().await.expect("made, or there");
        }
        metastore.bind(&key).await.expect("bound");
        let asked = tables.client().await.update_item().table_name(tables.name("catalogue"));
        let asked = asked.key("p", binary(b"about")).key("s", binary(b"about"));
        let asked = asked.update_expression("SET layout = :two");
        let two = AttributeValue::N("2".into());
        asked.expression_attribute_values(":two", two).send().await.expect("written");
        let refused = metastore.bind(&key).await.expect_err("newer");
        assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    });
}

#[test]
fn a_server_that_is_not_there_says_what_to_do() {
    block_on(async {
        let metastore = Tables::missing().metastore_at("http://127.0.0.1:1", Clock::system()).await;
        let error = metastore.datasets().await.expect_err("nobody listens");
        assert_eq!(error.kind(), MetastoreErrorKind::Unavailable);
        assert!(error.to_string().contains("metastore.url"), "{error}");
    });
}

/// Records, lets one version follow another, forgets a third; postings move down meanwhile.
async fn change_it_all(metastore: &dyn Metastore) -> Result<(), lacuna::metastore::MetastoreError> {
    let name = dataset("d");
    let postings: Vec<_> = (20..60).map(|row| posting(digest(row), row)).collect();
    record(metastore, &name, indexed(&object("b", "1", "e"), 60), &postings).await?;
    let (old, new) = (object("a", "1", "e"), object("a", "2", "f"));
    let erased = [3, 4, 30].map(digest).to_vec();
    let dataset = name.clone();
    let order =
        Succession { dataset, old, new, erased, keeps_old: false, landmarks: Landmarks::default() };
    metastore.succeed(&order).await?;
    metastore.forget(&name, &[object("c", "1", "e")]).await
}

/// Hazard D1: a process that dies after any of its writes leaves an index that tells what was true
/// before or after each call; the same calls again end as if it had not died, and nothing is left over.
#[test]
fn death_after_any_write_is_made_good() {
    block_on(async {
        let name = dataset("d");
        for survives in (0..).step_by(5) {
            let tables = Tables::moving(1);
            let metastore = tables.metastore().await;
            for key in ["a", "c"] {
                let postings: Vec<_> = (0..40).map(|row| posting(digest(row), row)).collect();
                let scanned = indexed(&object(key, "1", "e"), 60);
                record(&metastore, &name, scanned, &postings).await.expect("recorded");
            }
            let (writes, has_died) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
            let dies = has_died.clone();
            let proxy = Proxy::start(move |operation| {
                let is_write = !matches!(operation, "Query" | "GetItem" | "Scan" | "BatchGetItem");
                if is_write && writes.fetch_add(1, Ordering::Relaxed) >= survives {
                    dies.store(true, Ordering::Relaxed);
                }
                if dies.load(Ordering::Relaxed) { Fate::Refuse } else { Fate::Pass }
            });
            let dying = tables.metastore_at(&proxy.endpoint, Clock::system()).await;
            drop(change_it_all(&dying).await);
            drop(dying);
            let metastore = tables.metastore().await;
            let others: Vec<_> = (5..30).map(digest).collect();
            let found = lookup(&metastore, &others).await;
            let count =
                |key: &str| found.iter().filter(|it| it.object.key == ObjectKey::from(key)).count();
            assert_eq!(count("a"), 25, "after {survives} writes");
            assert!([0, 10].contains(&count("b")), "all of it or nothing: {}", count("b"));
            assert!([0, 25].contains(&count("c")), "all of it or nothing: {}", count("c"));

            change_it_all(&metastore).await.expect("done");
            an_hour_later(&tables).await.scrub().await.expect("scrubbed");
            assert_eq!(tables.stored().await, 37 + 40, "after {survives} writes");
            assert_eq!(metastore.size().await.expect("a size").postings, 37 + 40);
            assert_eq!(rows(&metastore, digest(3)).await, [""; 0]);
            assert_eq!(rows(&metastore, digest(30)).await, ["b@1/e: [30]"]);
            assert_eq!(rows(&metastore, digest(31)).await, ["a@2/f: [31]", "b@1/e: [31]"]);
            if !has_died.load(Ordering::Relaxed) {
                assert!(survives > 30, "{survives} writes are all there are");
                return;
            }
        }
    });
}

/// Random calls through a proxy that does something to every so many requests end like the model.
async fn ends_like_the_model(decide: impl Fn(&str) -> Fate + Send + Sync + 'static) {
    let tables = Tables::moving(1);
    let proxy = Proxy::start(decide);
    let metastore = tables.metastore_at(&proxy.endpoint, Clock::system()).await;
    let model = MemoryMetastore::default();
    let mut runner = TestRunner::new(Config::default());
    let sequence = proptest::collection::vec((0..2_usize, any_call()), 12..30);
    for _ in 0..2 {
        let calls = sequence.new_tree(&mut runner).expect("a sequence").current();
        for (at, call) in &calls {
            apply(&metastore, DATASETS[*at], call).await;
            apply(&model, DATASETS[*at], call).await;
        }
        compare(&metastore, &model, &calls).await;
    }
    compare(&tables.metastore().await, &model, &[]).await;
}

/// Hazard C6: an answer is lost after the server did what it was asked. What became of the request is
/// settled by looking, so that every call ends as if the answer had come.
#[test]
fn lost_answers_lose_and_repeat_nothing() {
    block_on(async {
        let (asked, lost) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        let counted = lost.clone();
        let decide = move |operation: &str| {
            let is_write = !matches!(operation, "Query" | "GetItem" | "Scan" | "BatchGetItem");
            if is_write && asked.fetch_add(1, Ordering::Relaxed) % 7 == 3 {
                counted.fetch_add(1, Ordering::Relaxed);
                return Fate::LoseAnswer;
            }
            Fate::Pass
        };
        ends_like_the_model(decide).await;
        assert!(lost.load(Ordering::Relaxed) > 10);
    });
}

/// Throttled requests, and batches of which some is left undone, are sent again until they are done.
#[test]
fn what_is_throttled_is_sent_again() {
    block_on(async {
        let (asked, throttled) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        let counted = throttled.clone();
        let decide = move |operation: &str| {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            match number % 6 {
                1 => {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Fate::Throttle
                }
                2 | 4 if operation == "BatchWriteItem" => Fate::LeaveUndone,
                _ => Fate::Pass,
            }
        };
        ends_like_the_model(decide).await;
        assert!(throttled.load(Ordering::Relaxed) > 10);
    });
}
