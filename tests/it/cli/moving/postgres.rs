//! To PostgreSQL and from there.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli::flow::document;
use crate::cli::{lake, run};
use crate::support::postgres::Database;

use super::{FOLDER, found_on, run_on};

#[test]
fn an_index_is_made_where_it_is_wanted() {
    let folder = lake();
    let path = folder.path();
    let database = Database::empty();
    for (metastore, needs_tables) in [(FOLDER, false), (database.url(), true)] {
        let first = run_on(path, metastore, &["metastore", "create", "--json"]);
        assert_eq!(first.code, 0, "{}", first.stderr);
        assert_eq!(document(&first, "cli.metastore")["was_changed"], true);
        for again in ["create", "migrate"] {
            let again = run_on(path, metastore, &["metastore", again, "--json"]);
            assert_eq!(document(&again, "cli.metastore")["was_changed"], false);
        }
        let status = run_on(path, metastore, &["status", "--json"]).json();
        assert_eq!(status["index"]["objects"], 0, "needs tables: {needs_tables}");
    }
    let other = Database::empty();
    let migrated = run_on(path, other.url(), &["metastore", "migrate", "--json"]);
    assert_eq!(document(&migrated, "cli.metastore")["was_changed"], true);
    assert_eq!(run_on(path, "file:other", &["metastore", "migrate"]).code, 0);
    assert!(!path.join("other").exists(), "a folder needs no migration");
}

/// From a folder to PostgreSQL, to another folder and on: the answers stay as they were.
#[test]
fn a_moved_index_answers_as_before() {
    let folder = lake();
    let path = folder.path();
    let (first, second) = (Database::empty(), Database::empty());
    assert_eq!(run(path, &["index"]).code, 0);
    let before = found_on(path, FOLDER);
    assert!(before.as_array().is_some_and(|found| found.len() >= 5), "{before}");
    let mut checksums = std::collections::BTreeSet::new();
    let places = [FOLDER, first.url(), "file:elsewhere", second.url()];
    for pair in places.windows(2) {
        let copy = run(path, &["metastore", "copy", pair[0], pair[1], "--json"]);
        assert_eq!(copy.code, 0, "{}{}", copy.stderr, copy.stdout);
        let copy = document(&copy, "cli.metastore-copy");
        assert_eq!((&copy["is_equal"], &copy["was_interrupted"]), (&true.into(), &false.into()));
        let reviews = &copy["datasets"][1];
        assert_eq!((&reviews["copied"], &reviews["to"]["postings"]), (&2.into(), &7.into()));
        checksums.insert(reviews["to"]["checksum"].as_str().expect("a checksum").to_owned());
        let check = run_on(path, pair[1], &["metastore", "check", "--json"]);
        assert_eq!(check.code, 0, "{}", check.stderr);
        let check = document(&check, "cli.metastore-check");
        assert_eq!((&check["is_sound"], &check["counted_postings"]), (&true.into(), &9.into()));
        assert_eq!(found_on(path, pair[1]), before, "{}", pair[1]);
    }
    assert_eq!(checksums.len(), 1, "whichever index tells it");
    // The index goes on where it is now: nothing is scanned again.
    let index = run_on(path, second.url(), &["index", "--json"]);
    assert_eq!((index.code, &index.json()["datasets"][0]["unchanged"]), (0, &2.into()));
}

/// Hazard D1: a copy that is killed in the middle has copied whole versions, and the next one goes on
/// from there.
#[test]
fn a_killed_copy_goes_on_where_it_was() {
    const OBJECTS: u64 = 400;
    const HOLD: &str = "
        CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT FROM lacuna_objects) THEN PERFORM pg_advisory_xact_lock_shared(4711);
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER hold BEFORE INSERT ON lacuna_objects FOR EACH STATEMENT EXECUTE FUNCTION hold();
        SELECT pg_advisory_lock(4711)";
    let folder = lake();
    let path = folder.path();
    for number in 0..OBJECTS {
        let text = format!("{{\"user_id\":\"n{}\"}}\n{{\"user_id\":\"u1\"}}\n", number % 7);
        std::fs::write(path.join(format!("reviews/{number:05}.json")), text).expect("written");
    }
    assert_eq!(run(path, &["index"]).code, 0);
    let before = found_on(path, FOLDER);
    let database = Database::new();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let client = runtime.block_on(async { database.client().await });
    let number = |sql: &str| -> i64 {
        runtime.block_on(client.query_one(sql, &[])).expect("an answer").get(0)
    };
    // From the second transaction on that records something, each waits for this test.
    runtime.block_on(client.batch_execute(HOLD)).expect("held");
    let mut copying = Command::new(env!("CARGO_BIN_EXE_lacuna"))
        .args(["metastore", "copy", FOLDER, database.url(), "--quiet"])
        .current_dir(path)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let recorded = "SELECT count(*) FROM lacuna_objects WHERE state = 1";
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711
                       AND NOT granted";
    while number(recorded) == 0 || number(waiting) == 0 {
        assert!(copying.try_wait().expect("a state").is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    copying.kill().expect("killed");
    copying.wait().expect("ended");
    let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while number(ended) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let kept = number(recorded).cast_unsigned();
    assert!((1..OBJECTS).contains(&kept), "{kept} recorded when it was killed");
    runtime.block_on(client.batch_execute("DROP FUNCTION hold() CASCADE")).expect("let go");

    let again = run(path, &["metastore", "copy", FOLDER, database.url(), "--json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let again = document(&again, "cli.metastore-copy");
    let sum = |name: &str| -> u64 {
        let datasets = again["datasets"].as_array().expect("a list").iter();
        datasets.map(|dataset| dataset[name].as_u64().expect("a count")).sum()
    };
    assert_eq!((sum("unchanged"), sum("copied")), (kept, OBJECTS + 3 - kept));
    assert_eq!(found_on(path, database.url()), before);
}

/// Hazard D10: a damaged index is not copied; a check names what to index again, and that mends it.
#[test]
fn a_damaged_index_is_refused_and_mended() {
    let folder = lake();
    let path = folder.path();
    let (database, target) = (Database::empty(), Database::empty());
    assert_eq!(run_on(path, database.url(), &["index"]).code, 0);
    let before = found_on(path, database.url());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let damage = |sql: &str| {
        runtime.block_on(async { database.client().await.batch_execute(sql).await }).expect("done");
    };
    let copy = ["metastore", "copy", database.url(), target.url()];
    // A segment is lost, as when a part of the table was restored and another was not.
    damage("DELETE FROM lacuna_segments WHERE run = (SELECT min(id) FROM lacuna_runs)");
    let refused = run(path, &copy);
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("lacuna index --full"), "{}", refused.stderr);
    let status = run_on(path, target.url(), &["status", "--json"]).json();
    assert_eq!(status["index"]["postings"], 2, "those of another dataset alone");
    let check = run_on(path, database.url(), &["metastore", "check", "--json"]);
    assert_eq!(check.code, 1, "{}", check.stderr);
    let check = document(&check, "cli.metastore-check");
    assert_eq!(check["is_sound"], false);
    let check = run_on(path, database.url(), &["metastore", "check"]).stdout;
    let remedy = check.lines().last().and_then(|line| line.strip_prefix("Next: "));
    for command in remedy.expect("a remedy").split(" && ") {
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        assert_eq!(run_on(path, database.url(), &arguments).code, 0, "{command}");
    }
    assert_eq!(run_on(path, database.url(), &["metastore", "check"]).code, 0);
    assert_eq!(run(path, &copy).code, 0);
    assert_eq!(found_on(path, target.url()), before);
    // A segment that cannot be taken apart says so, and names no version.
    damage("UPDATE lacuna_segments SET segment = set_byte(segment, 30, 77)");
    for arguments in [&copy[..], &["metastore", "check"]] {
        let broken = run_on(path, database.url(), arguments);
        assert_eq!(broken.code, 1);
        assert!(broken.stderr.contains("it is damaged"), "{}", broken.stderr);
    }
}
