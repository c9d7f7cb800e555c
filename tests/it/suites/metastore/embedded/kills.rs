//! A process is killed while it loads, merges and erases; the next one finds all that was told.

use std::io::{BufRead as _, BufReader};

use super::*;

/// Small enough that batches are written and runs merged all the time.
const SMALL: Settings = Settings { postings: 900, runs: 2 };

const ROWS: u64 = 400;

fn version(number: u64, etag: &str) -> lacuna::domain::object::ObjectVersion {
    object(&format!("{number:05}"), "null", etag)
}

/// Who stands in a row of an object.
fn subject_in(number: u64, row: u64) -> u64 {
    (number * 31 + row * 7) % 1500
}

/// The other process: records objects four at a time, and erases a subject of every third.
#[test]
#[ignore = "started by other tests, in a process of its own"]
#[expect(clippy::disallowed_methods, reason = "a test tells its child process where to work")]
fn a_load_that_never_ends() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    block_on(async {
        let metastore = Embedded::open_with(Path::new(&folder), SMALL).expect("opened");
        let listed = listing(&metastore, &dataset("d")).await;
        let first = listed.last().map_or(0, |last| number_of(last) + 1);
        for group in 0.. {
            let load = (0..4).map(|at| load(&metastore, first + group * 4 + at));
            futures::future::join_all(load).await;
        }
    });
}

fn number_of(scanned: &lacuna::domain::posting::ScannedObject) -> u64 {
    scanned.object.key.as_str().and_then(|key| key.parse().ok()).expect("a number")
}

async fn load(metastore: &Embedded, number: u64) {
    let name = dataset("d");
    let postings: Vec<_> =
        (0..ROWS).map(|row| posting(digest(subject_in(number, row)), row)).collect();
    let scanned = indexed(&version(number, "e"), ROWS);
    record(metastore, &name, scanned, &postings).await.expect("recorded");
    tell(&format!("recorded {number}\n"));
    if number.is_multiple_of(3) {
        let order = Succession {
            dataset: name,
            old: version(number, "e"),
            new: version(number, "f"),
            erased: vec![digest(subject_in(number, 0))],
            keeps_old: false,
            landmarks: Landmarks::default(),
        };
        metastore.succeed(&order).await.expect("succeeded");
        tell(&format!("erased {number}\n"));
    }
}

fn tell(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).expect("told");
}

/// Hazard D1: killed at any moment, what was told is there, whole, and nothing else is.
#[test]
fn what_was_told_survives_a_kill() {
    let folder = Folder::with(SMALL);
    drop(folder.embedded());
    let (mut recorded, mut erased) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..14_u64 {
        let mut child = spawn_child(&folder.path(), "kills::a_load_that_never_ends")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
        // After so many lines it is somewhere between two, in whatever it does then.
        let wanted = 1 + (round * 37) % 23;
        for (count, line) in (1..).zip(lines) {
            note(&line.expect("a line"), (&mut recorded, &mut erased));
            if count == wanted {
                child.kill().expect("killed");
            }
        }
        child.wait().expect("ended");
        block_on(compare(&folder, &recorded, &erased));
    }
    assert!(recorded.len() > 14 && !erased.is_empty());
    block_on(async {
        let metastore = folder.embedded();
        metastore.scrub().await.expect("scrubbed");
        metastore.settle().await;
        let named = metastore.size().await.expect("a size");
        assert_eq!(postings_on_disk(&folder.path()).len() as u64, named.postings);
        assert_eq!(Some(runs_on_disk(&folder.path()).len() as u64), named.runs, "no garbage stays");
    });
}

fn note(line: &str, (recorded, erased): (&mut BTreeSet<u64>, &mut BTreeSet<u64>)) {
    match line.split_once(' ') {
        Some(("recorded", number)) => drop(recorded.insert(number.parse().expect("a number"))),
        Some(("erased", number)) => drop(erased.insert(number.parse().expect("a number"))),
        // What the test harness says.
        _ => {}
    }
}

async fn compare(folder: &Folder, recorded: &BTreeSet<u64>, erased: &BTreeSet<u64>) {
    let metastore = folder.embedded();
    sound(&metastore).await;
    let listed = listing(&metastore, &dataset("d")).await;
    let keys: BTreeSet<u64> = listed.iter().map(number_of).collect();
    assert!(recorded.is_subset(&keys), "{:?}", recorded.difference(&keys));
    let subjects: Vec<_> = (0..1500).map(digest).collect();
    let mut rows: std::collections::BTreeMap<u64, BTreeSet<u64>> = Default::default();
    for posting in lookup(&metastore, &subjects).await {
        let number =
            posting.object.key.as_str().and_then(|key| key.parse().ok()).expect("a number");
        rows.entry(number).or_default().extend(posting.rows.iter().map(|row| row.0));
    }
    for scanned in listed {
        let number = number_of(&scanned);
        let is_erased = scanned.object.etag.as_str() == "f";
        assert!(is_erased || !erased.contains(&number), "object {number}");
        let first = subject_in(number, 0);
        let expected: BTreeSet<u64> =
            (0..ROWS).filter(|row| !is_erased || subject_in(number, *row) != first).collect();
        assert_eq!(rows.remove(&number).unwrap_or_default(), expected, "object {number}");
    }
    assert!(rows.is_empty(), "postings of what is not recorded");
}
