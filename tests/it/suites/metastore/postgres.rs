//! The suite against a PostgreSQL server, and what is true of that one alone.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use futures::TryStreamExt as _;
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::ObjectKey;
use lacuna::metastore::postgres::{Postgres, PostgresSettings};
use lacuna::metastore::{Metastore, MetastoreErrorKind, ObjectPostings, Succession};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use tokio_postgres::Client;

use super::{
    Storage, block_on, dataset, digest, indexed, listing, lookup, metastore_suite, object,
    object_of, posting, record, rows, told,
};
use crate::support::postgres::Database;
use crate::support::tls::{Authority, Front};

impl Storage for Database {
    fn open(&self) -> Arc<dyn Metastore> {
        Arc::new(self.metastore())
    }
}

metastore_suite!(Database::new());

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("an answer").get(0)
}

/// Postings that lie in segments, whoever sees them.
const STORED: &str = "SELECT coalesce(sum(get_byte(segment, 4) + 256 * get_byte(segment, 5)), 0)
                      FROM lacuna_segments";

/// The decoder in SQL answers what the one in Rust answers.
#[test]
fn sql_and_rust_read_the_same() {
    block_on(async {
        let database = Database::new();
        let metastore = database.metastore();
        let client = database.client().await;
        let mut runner = TestRunner::new(Config::default());
        let subject = prop_oneof![6 => 0..40_u64, 1 => any::<u64>()];
        let row = prop_oneof![3 => 0..2000_u64, 1 => 0..1_u64 << 62];
        let one =
            (subject, row).prop_map(|(subject, row)| (subject, posting(digest(subject), row)));
        let many = proptest::collection::vec(one, 0..4000);
        let mut subjects = BTreeSet::new();
        for object_number in 0..14 {
            let told = many.new_tree(&mut runner).expect("a value").current();
            subjects.extend(told.iter().map(|(subject, _)| *subject).take(60));
            let postings: Vec<_> = told.into_iter().map(|(_, posting)| posting).collect();
            let key = ObjectKey::new([b"a/\xc3\xbc ".as_slice(), &[object_number]].concat());
            let scanned = indexed(&object_of(key, "1", "e"), 99);
            record(&metastore, &dataset("d"), scanned, &postings).await.expect("recorded");
        }
        subjects.extend([41, 42, 43]);
        for subject in subjects {
            let digest = digest(subject);
            let sql = "SELECT s3path, recordline FROM user_objects($1)";
            let found = client.query(sql, &[&digest.to_string()]).await.expect("an answer");
            let mut found: Vec<(String, i64)> =
                found.iter().map(|row| (row.get(0), row.get(1))).collect();
            found.sort();
            let mut expected = Vec::new();
            for posting in lookup(&metastore, &[digest]).await {
                let key = String::from_utf8(posting.object.key.as_bytes().to_vec()).expect("UTF-8");
                let rows = posting.rows.iter().map(|row| row.0.cast_signed());
                // A zero byte cannot stand in a text: such a key is told with escapes.
                let key = key
                    .replace('\u{fc}', if key.ends_with('\0') { "\\303\\274" } else { "\u{fc}" });
                let key = key.replace('\0', "\\000");
                expected.extend(rows.map(|row| (format!("d/{key}"), row)));
            }
            expected.sort();
            assert_eq!(found, expected, "subject {subject}");
        }
        let wrong = client.query("SELECT * FROM user_objects('u4')", &[]).await;
        assert!(format!("{:?}", wrong.expect_err("no digest")).contains("32 hexadecimal"));
    });
}

/// Design promise 4: the erased subjects' postings leave the segments with the call, and the pages
/// and files with the scrub.
#[test]
fn what_is_erased_is_no_longer_stored() {
    block_on(async {
        let database = Database::new();
        let metastore = database.metastore();
        let client = database.client().await;
        let name = dataset("d");
        for part in 0..10_u64 {
            let version = object(&format!("part-{part}"), "1", "e");
            let postings: Vec<_> =
                (0..700).map(|number| posting(digest(part * 700 + number), number)).collect();
            record(&metastore, &name, indexed(&version, 700), &postings).await.expect("recorded");
        }
        assert_eq!(number(&client, STORED).await, 7000);
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
        assert_eq!(number(&client, STORED).await, 7000 - 350);
        let gone: Vec<_> = (0..9).map(|part| object(&format!("part-{part}"), "1", "e")).collect();
        metastore.forget(&name, &gone).await.expect("forgotten");
        assert_eq!(number(&client, STORED).await, 350);
        assert_eq!(number(&client, "SELECT sum(postings)::bigint FROM lacuna_runs").await, 350);
        metastore.scrub().await.expect("scrubbed");
        assert_eq!(number(&client, "SELECT count(*) FROM lacuna_objects").await, 1);
        assert_eq!(number(&client, "SELECT pg_relation_size('lacuna_segments')").await, 8192);
        assert_eq!(rows(&metastore, digest(9 * 700 + 350)).await, ["part-9@2/f: [350]"]);
    });
}

/// A version that is kept and the one made from it share what is stored, SQL sees both as they are,
/// and the erased subjects' postings leave the segments as soon as no version has them.
#[test]
fn kept_versions_share_what_is_stored() {
    block_on(async {
        let database = Database::new();
        let (metastore, client, name) =
            (database.metastore(), database.client().await, dataset("d"));
        let versions = ["v1", "v2", "v3"].map(|version| object("a", version, "e"));
        let postings: Vec<_> = (0..3000).map(|row| posting(digest(row % 300), row)).collect();
        record(&metastore, &name, indexed(&versions[0], 3000), &postings).await.expect("recorded");
        for (at, erased) in [(0, [5, 6]), (1, [6, 7])] {
            let (old, new) = (versions[at].clone(), versions[at + 1].clone());
            let erased = erased.map(digest).to_vec();
            let order = Succession {
                dataset: name.clone(),
                old,
                new,
                erased,
                keeps_old: true,
                landmarks: Landmarks::default(),
            };
            metastore.succeed(&order).await.expect("succeeded");
        }
        assert_eq!(number(&client, STORED).await, 3000, "nothing is stored twice");
        assert_eq!(metastore.size().await.expect("a size").postings, 3000 + 2980 + 2970);
        for (subject, versions) in [(4, 3), (5, 1), (6, 1), (7, 2)] {
            let found = lookup(&metastore, &[digest(subject)]).await;
            assert_eq!(found.len(), versions, "subject {subject}");
            let sql = "SELECT * FROM user_objects($1)";
            let rows = client.query(sql, &[&digest(subject).to_string()]).await.expect("rows");
            assert_eq!(rows.len(), versions * 10, "subject {subject}");
        }
        let masks = "SELECT count(*) FROM lacuna_masks";
        assert_eq!(number(&client, masks).await, 5);
        // The first goes: 5 and 6 are nobody's any more, 7 is the second's.
        for (at, stored, masked) in [(0, 2980, 1), (1, 2970, 0), (2, 0, 0)] {
            metastore.forget(&name, &versions[at..=at]).await.expect("forgotten");
            assert_eq!(number(&client, STORED).await, stored, "after {at}");
            assert_eq!(number(&client, masks).await, masked, "after {at}");
        }
        assert_eq!(number(&client, "SELECT count(*) FROM lacuna_objects").await, 0);
    });
}

/// Many small recordings end in few runs, and nothing is lost on the way.
#[test]
fn runs_are_merged_as_they_pile_up() {
    block_on(async {
        let database = Database::new();
        let metastore = database.metastore();
        for part in 0..200_u64 {
            let version = object(&format!("{part:03}"), "1", &format!("e{part}"));
            let postings: Vec<_> =
                (0..50).map(|row| posting(digest(row * part % 97), row)).collect();
            record(&metastore, &dataset("d"), indexed(&version, 50), &postings)
                .await
                .expect("recorded");
        }
        let client = database.client().await;
        let runs = number(&client, "SELECT count(*) FROM lacuna_runs").await;
        assert!(runs <= 24, "{runs} runs");
        assert_eq!(number(&client, STORED).await, 200 * 50);
        let found = lookup(&metastore, &(0..97).map(digest).collect::<Vec<_>>()).await;
        let rows: u64 = found.iter().map(|posting| posting.rows.count().0).sum();
        assert_eq!(rows, 200 * 50);
    });
}

/// A merge of runs that are read in many pages, one subject filling many of them, loses nothing and
/// repeats nothing; and who reads them all and loses the connection is not told that this was all.
#[test]
fn large_runs_are_merged_and_told_whole() {
    block_on(async {
        let database = Database::new();
        let metastore = database.metastore();
        let name = dataset("d");
        let wide: Vec<_> = (0..400_000).map(|row| posting(digest(row * 7), row)).collect();
        let heavy: Vec<_> = (0..90_000).map(|row| posting(digest(7), row * 3)).collect();
        let gone: Vec<_> = (0..70_000).map(|row| posting(digest(row % 5 * 7), row)).collect();
        for (key, postings) in [("wide", &wide), ("heavy", &heavy), ("gone", &gone)] {
            let scanned = indexed(&object(key, "1", "e"), 400_000);
            record(&metastore, &name, scanned, postings).await.expect("recorded");
        }
        let client = database.client().await;
        assert_eq!(number(&client, "SELECT count(*) FROM lacuna_runs").await, 3);
        metastore.forget(&name, &[object("gone", "1", "e")]).await.expect("forgotten");
        assert_eq!(number(&client, "SELECT count(*) FROM lacuna_runs").await, 1);
        assert_eq!(number(&client, STORED).await, 490_000);
        let asked = ["wide", "heavy", "gone"].map(|key| object(key, "1", "e"));
        let found: Vec<_> = metastore.postings(&name, &asked).try_collect().await.expect("told");
        let expected = [wide.clone(), heavy].into_iter().enumerate();
        let expected = expected.map(|(place, postings)| ObjectPostings { place, postings });
        assert!(told(found, &wide) == told(expected.collect(), &wide), "each posting once");

        let mut pieces = metastore.postings(&name, &asked[..1]);
        pieces.try_next().await.expect("a piece").expect("the first");
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'lacuna'";
        assert!(number(&client, end).await > 0);
        // What was read ahead still comes; then an error, and no end.
        let rest: Result<Vec<_>, _> = pieces.try_collect().await;
        assert_eq!(rest.expect_err("not all").kind(), MetastoreErrorKind::Unavailable);
    });
}

/// Hazard D11: an old program does not touch newer tables, and an empty database gets them.
#[test]
fn newer_tables_are_refused_and_left_alone() {
    block_on(async {
        let database = Database::empty();
        let error = database.metastore().size().await.expect_err("no tables");
        assert_eq!(error.kind(), MetastoreErrorKind::WrongVersion);
        assert!(error.to_string().contains("lacuna index"), "{error}");
        let many = (0..6).map(|_| {
            let metastore = database.metastore();
            tokio::spawn(async move { metastore.migrate().await })
        });
        for migrated in futures::future::join_all(many).await {
            migrated.expect("no panic").expect("migrated, by one of them");
        }
        let client = database.client().await;
        let newer = "UPDATE lacuna_about SET value = '2' WHERE name = 'schema version'";
        client.execute(newer, &[]).await.expect("written");
        let refused = database.metastore().migrate().await.expect_err("newer");
        assert_eq!(refused.kind(), MetastoreErrorKind::WrongVersion);
    });
}

#[test]
fn a_server_that_is_not_there_says_what_to_do() {
    block_on(async {
        let url = "postgres://test@127.0.0.1:1/none?sslmode=disable";
        let metastore = Postgres::new(PostgresSettings::new(url, None).expect("a URL"));
        let error = metastore.migrate().await.expect_err("nobody listens");
        assert_eq!(error.kind(), MetastoreErrorKind::Unavailable);
        assert!(error.to_string().contains("start the server"), "{error}");
    });
}

#[test]
fn tls_is_demanded_where_the_url_says_so() {
    block_on(async {
        let database = Database::new();
        let settings =
            |tail: &str| PostgresSettings::new(&format!("{}?{tail}", database.url()), None);
        // The tests' server offers none: what insists on it fails, what prefers it goes without.
        let opened = |tail: &'static str| {
            let settings = settings(tail).expect("a URL");
            async move { Postgres::new(settings).migrate().await }
        };
        opened("sslmode=prefer").await.expect("without");
        opened("sslmode=disable&connect_timeout=5").await.expect("without");
        opened("sslmode=require").await.expect_err("no TLS there");
        opened("sslmode=verify-full").await.expect_err("no TLS there");
        settings("sslmode=verify").expect_err("no such mode");
        settings("sslmode=verify-full&sslrootcert=/nowhere/ca.pem").expect_err("no certificates");
    });
}

/// Who asks for a checked certificate gets none but that of the right server; who asks for encryption
/// alone gets it from any.
#[test]
fn certificates_are_checked_where_the_url_says_so() {
    block_on(async {
        let database = Database::new();
        let (ours, theirs) = (Authority::new(), Authority::new());
        let (server, name) = database.url().rsplit_once('/').expect("a database");
        let (_, server) = server.rsplit_once('@').expect("a server");
        let front = Front::start(server, ours.certify("DNS:localhost")).await;
        let numbered = Front::start(server, ours.certify("IP:127.0.0.1")).await;
        let stranger = Front::start(server, ours.certify("DNS:db.example.org")).await;
        let opened = async |host: &str, front: &Front, tail: &str, roots: Option<&Authority>| {
            let roots = roots.map(|it| format!("&sslrootcert={}", it.roots().display()));
            let port = front.port;
            let tail = format!("sslmode={tail}{}", roots.unwrap_or_default());
            let url = format!("postgres://test@{host}:{port}/{name}?{tail}");
            Postgres::new(PostgresSettings::new(&url, None).expect("a URL"))
        };
        for (host, front, mode, roots) in [
            ("localhost", &front, "verify-full", Some(&ours)),
            ("127.0.0.1", &numbered, "verify-full", Some(&ours)),
            ("localhost", &front, "require", Some(&ours)),
            ("localhost", &front, "prefer", Some(&ours)),
            ("localhost", &front, "require", None),
            ("127.0.0.1", &stranger, "require", None),
            ("localhost", &stranger, "prefer", None),
        ] {
            let before = front.handshakes();
            let metastore = opened(host, front, mode, roots).await;
            let size = metastore.size().await;
            size.unwrap_or_else(|error| panic!("{host} {mode}: {error:?}"));
            assert_eq!(front.handshakes(), before + 1, "{host} {mode} is encrypted");
        }
        for (host, front, mode, roots) in [
            ("localhost", &front, "verify-full", Some(&theirs)),
            ("localhost", &front, "require", Some(&theirs)),
            ("localhost", &front, "prefer", Some(&theirs)),
            ("localhost", &stranger, "verify-full", Some(&ours)),
            ("127.0.0.1", &front, "verify-full", Some(&ours)),
            ("localhost", &numbered, "verify-full", Some(&ours)),
        ] {
            let refused = opened(host, front, mode, roots).await.size().await;
            let error = refused.expect_err("another's certificate");
            assert!(error.to_string().contains("sslrootcert"), "{host} {mode}: {error:?}");
        }
        // All that an index does, through an encrypted connection.
        let metastore = opened("localhost", &front, "verify-full", Some(&ours)).await;
        let postings: Vec<_> = (0..30_000).map(|row| posting(digest(row % 99), row)).collect();
        let scanned = indexed(&object("a", "1", "e"), 30_000);
        record(&metastore, &dataset("d"), scanned, &postings).await.expect("recorded");
        let found = lookup(&metastore, &[digest(7)]).await;
        assert_eq!(found[0].rows.count().0, 303);
    });
}

/// Hazard C6: a connection that dies at the commit leaves the outcome unknown; it is settled by asking
/// the server. Connections are ended at random while versions are recorded, replaced and rewritten.
#[test]
fn lost_connections_lose_and_repeat_nothing() {
    block_on(async {
        let database = Database::new();
        let stop = Arc::new(AtomicBool::new(false));
        let kills = Arc::new(AtomicI64::new(0));
        let (client, is_stopped, counted) = (database.client().await, stop.clone(), kills.clone());
        let killing = tokio::spawn(async move {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM (
                           SELECT pid FROM pg_stat_activity
                           WHERE datname = current_database() AND pid <> pg_backend_pid()
                               AND application_name = 'lacuna' ORDER BY random() LIMIT 1) one";
            while !is_stopped.load(Ordering::Relaxed) {
                counted.fetch_add(number(&client, sql).await, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(23)).await;
            }
        });
        let metastore = Arc::new(database.metastore());
        // The faster the machine, the more rounds it takes to meet as many ends.
        let (mut is_there, mut last, mut round) = ([false; KEYS], [false; KEYS], 0);
        while round < 6 || kills.load(Ordering::Relaxed) < 6 {
            round += 1;
            last = record_all(&metastore, &format!("e{round}")).await;
            (0..KEYS).for_each(|key| is_there[key] |= last[key]);
        }
        stop.store(true, Ordering::Relaxed);
        killing.await.expect("no panic");
        let listed = listing(&*metastore, &dataset("d")).await;
        for key in 0..KEYS {
            // What was answered with an error may be there or not; with success, it is.
            let name = ObjectKey::from(key.to_string().as_str());
            let of_key: Vec<_> = listed.iter().filter(|it| it.object.key == name).collect();
            assert!(of_key.len() == 1 || (of_key.is_empty() && !is_there[key]), "{key}");
            let etag = format!("e{round}");
            assert!(!last[key] || of_key[0].object.etag.as_str() == etag, "{key}");
        }
        assert_eq!(record_all(&metastore, "last").await, [true; KEYS], "nobody disturbs it now");
        let found = lookup(&*metastore, &[digest(7)]).await;
        assert_eq!(found.len(), KEYS);
        assert!(found.iter().all(|posting| posting.rows.as_slice().len() == 1));
        let metastore = database.metastore();
        assert_eq!(metastore.size().await.expect("a size").postings, 300 * KEYS as u64);
        metastore.scrub().await.expect("scrubbed");
        let stored = number(&database.client().await, STORED).await;
        assert_eq!(stored, 300 * KEYS as i64, "nothing stands twice");
    });
}

const KEYS: usize = 10;

/// Records as many versions at once; which of them were answered with success.
async fn record_all(metastore: &Arc<Postgres>, etag: &str) -> [bool; KEYS] {
    let work = (0..KEYS).map(|key| {
        let (metastore, version) = (metastore.clone(), object(&key.to_string(), "null", etag));
        let postings: Vec<_> = (0..300).map(|row| posting(digest(row), row)).collect();
        tokio::spawn(async move {
            let scanned = indexed(&version, 300);
            record(&*metastore, &dataset("d"), scanned, &postings).await.is_ok()
        })
    });
    let recorded = futures::future::try_join_all(work).await.expect("no panic");
    recorded.try_into().expect("one answer a key")
}

const CHILD: &str = "LACUNA_TEST_INDEX";

/// The other process of the test below: records a large object and never ends, or is killed.
#[test]
#[ignore = "started by another test, in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "a test tells its child process where to work")]
fn a_recording_that_never_ends() {
    let Ok(url) = std::env::var(CHILD) else { return };
    block_on(async {
        let metastore = Postgres::new(PostgresSettings::new(&url, None).expect("a URL"));
        let version = object("large", "null", "e");
        let mut recorder = metastore.record(&dataset("d"), &version).await.expect("begun");
        for part in 0..6 {
            let some = (0..200_000).map(|row| posting(digest(row), part * 200_000 + row)).collect();
            recorder.append(some).await.expect("appended");
        }
        std::io::stderr().write_all(b"written\n").expect("told");
        std::thread::sleep(Duration::from_secs(600));
    });
}

fn start_child(url: &str) -> Child {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "suites::metastore::postgres::a_recording_that_never_ends"])
        .args(["--ignored", "--nocapture"])
        .env(CHILD, url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut told = [0; 8];
    child.stderr.take().expect("its errors").read_exact(&mut told).expect("it writes");
    child
}

/// Hazard D1: what a killed process left is never seen and is collected by a later writer; what a
/// living process is about to record is left alone.
#[test]
fn only_the_dead_are_collected() {
    block_on(async {
        let database = Database::new();
        let client = database.client().await;
        let metastore = database.metastore();
        let mut child = start_child(database.url());
        metastore.forget(&dataset("d"), &[]).await.expect("nothing");
        record(&metastore, &dataset("d"), indexed(&object("b", "1", "e"), 1), &[])
            .await
            .expect("recorded beside it");
        assert!(number(&client, STORED).await > 0, "a living writer's postings stay");
        assert_eq!(rows(&metastore, digest(5)).await, [""; 0]);
        assert_eq!(listing(&metastore, &dataset("d")).await.len(), 1);

        child.kill().expect("killed");
        child.wait().expect("ended");
        // The server notices the end of a connection a moment later.
        while number(&client, STORED).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            metastore.forget(&dataset("d"), &[]).await.expect("collected");
        }
        assert_eq!(number(&client, "SELECT count(*) FROM lacuna_objects").await, 1);
        assert_eq!(listing(&metastore, &dataset("d")).await.len(), 1);
    });
}

/// Hazard D10: a damaged segment is an error with the remedy, never an answer.
#[test]
fn a_damaged_segment_says_what_to_do() {
    block_on(async {
        let database = Database::new();
        let metastore = database.metastore();
        let scanned = indexed(&object("a", "1", "e"), 1);
        record(&metastore, &dataset("d"), scanned, &[posting(digest(1), 0)])
            .await
            .expect("recorded");
        let damage = "UPDATE lacuna_segments SET segment = set_byte(segment, 30, 77)";
        database.client().await.execute(damage, &[]).await.expect("damaged");
        let found: Result<Vec<_>, _> = metastore.lookup(&[digest(1)]).try_collect().await;
        let error = found.expect_err("damaged");
        assert_eq!(error.kind(), MetastoreErrorKind::Corrupt);
        assert!(error.to_string().contains("lacuna index --rebuild"), "{error}");
    });
}
