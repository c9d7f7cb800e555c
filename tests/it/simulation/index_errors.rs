//! The index is wrong: too many rows, too few, other ones.

use std::io::Write as _;

use flate2::write::GzEncoder;
use lacuna::domain::dataset::{Compression, FormatName};
use lacuna::domain::journal::Outcome;
use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::object::ObjectVersion;
use lacuna::domain::plan::{PlannedChange, PlannedRewrite, SubjectRows};
use lacuna::domain::posting::{RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject};
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::metastore::Metastore as _;

use super::finish;
use super::world::{Shape, World};
use crate::support::random_lake::{self, Wrap};

/// E4: an index that names strangers' rows as well costs time, and no stranger a row.
#[tokio::test]
async fn rows_that_the_index_named_by_mistake_stay() {
    for seed in 0..20 {
        for is_versioned in [true, false] {
            let world = World::new(Shape::new(seed, is_versioned)).await;
            let mut plan = world.plan();
            for rewrite in plan.changes.iter_mut().filter_map(|change| change.rewrite.as_mut()) {
                let every = (0..rewrite.rows_total.0).map(RowNumber);
                rewrite.rows = RowSet::new(every).expect("rows");
            }
            finish(&world, &plan).await;
            world.check_erased().await;
        }
    }
}

/// Promise 5: where the index knows two people as one, because their digests begin alike, the end of one
/// loses no posting of the other: the object is no longer indexed, and the next run scans it.
#[tokio::test]
async fn an_object_that_the_index_was_wrong_about_is_scanned_again() {
    for is_versioned in [true, false] {
        let world = World::new(Shape::new(1, is_versioned)).await;
        let mut plan = world.plan();
        let change = plan.changes.iter_mut().find(|change| {
            change.rewrite.as_ref().is_some_and(|it| it.rows.count() < it.rows_total)
        });
        let change = change.expect("an object of others as well");
        let rewrite = change.rewrite.as_mut().expect("a rewrite");
        let every = (0..rewrite.rows_total.0).map(RowNumber);
        rewrite.rows = RowSet::new(every).expect("rows");
        let wrong = change.key.clone();
        let execution = finish(&world, &plan).await;
        let name = &plan.changes[0].dataset;
        for change in &execution.changes {
            let Outcome::Erased { rewrite: Some(replacement), .. } = &change.outcome else {
                continue;
            };
            let keys = std::slice::from_ref(&change.key);
            let recorded = world.metastore.recorded(name, keys).await.expect("records");
            let is_recorded = recorded.iter().any(|it| it.object.is_same_version(&replacement.new));
            assert_eq!(is_recorded, change.key != wrong, "{}", change.key);
        }
        world.check_erased().await;
    }
}

/// A11, E4: rows that the index did not know are more than was approved: nothing is written.
#[tokio::test]
async fn rows_that_the_index_missed_need_another_approval() {
    let mut failed = 0;
    for seed in 0..20 {
        let world = World::new(Shape::new(seed, false)).await;
        let mut plan = world.plan();
        let mut wrong = Vec::new();
        for change in &mut plan.changes {
            let rewrite = change.rewrite.as_mut().expect("a rewrite");
            if let Some(fewer) = RowSet::new(rewrite.rows.iter().skip(1)) {
                rewrite.rows = fewer;
                wrong.push(change.key.clone());
            }
        }
        let execution = world.run_deep(&plan).await;
        for ended in &execution.changes {
            let known = world.known.iter().find(|known| known.object.key == ended.key);
            let known = known.expect("it is known");
            if !wrong.contains(&ended.key) {
                continue;
            }
            failed += 1;
            let Outcome::Failed { detail } = &ended.outcome else { panic!("{:?}", ended.outcome) };
            assert!(detail.contains("1 more rows; run `lacuna index --full`"), "{detail}");
            assert_eq!(world.bytes(&known.object).await, known.text(&[]));
        }
    }
    assert!(failed > 0);
}

/// I10: an object that is blank already counts as erased, with no row, and is not written.
#[tokio::test]
async fn an_object_without_the_subjects_is_not_written() {
    let world = World::new(Shape::new(0, true)).await;
    let mut plan = world.plan();
    let stranger = world.put(&"clean.json".into(), vec![2, 3, 2], false);
    world.index(&stranger).await;
    let mut change = plan.changes[0].clone();
    change.key = stranger.object.key.clone();
    change.expunge.clear();
    let mut rewrite = world.rewrite(&stranger, RowSet::new([RowNumber(1)]).expect("a row"));
    rewrite.object = stranger.object.clone();
    change.rewrite = Some(rewrite);
    plan.changes.push(change);
    let execution = finish(&world, &plan).await;
    let ended = execution.changes.last().expect("it ended");
    let erased = Outcome::Erased {
        rewrite: None,
        rows: lacuna::domain::row::RowCount(0),
        effort: None,
        expunged: Vec::new(),
        retained: Vec::new(),
    };
    assert_eq!(ended.outcome, erased);
    let kept = world.kept().await;
    assert!(kept.iter().any(|(object, ..)| object.is_same_version(&stranger.object)));
}

const LONG_ROWS: u64 = 4000;

/// The one row of a long object that is the first target's.
const LONG_ROW: RowNumber = RowNumber(3000);

/// A long object in one gzip member of many blocks.
fn long_object(erased: bool) -> Vec<u8> {
    let mut text = Vec::new();
    for row in 0..LONG_ROWS {
        let person = if row == LONG_ROW.0 { 0 } else { 2 + row % 2 };
        let line = format!("{{\"u\":\"person{person}\",\"n\":{row}}}");
        let blank = format!("{:<1$}", "{}", line.len());
        text.extend(if erased && person == 0 { blank } else { line }.bytes());
        text.push(b'\n');
    }
    text
}

fn in_blocks(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    for piece in text.chunks(10_000) {
        encoder.write_all(piece).expect("to memory");
        encoder.flush().expect("to memory");
    }
    encoder.finish().expect("to memory")
}

/// Records the long object with these landmarks, and answers with the change that a plan has for it.
async fn long_change(world: &World, object: &ObjectVersion, landmarks: Landmarks) -> PlannedChange {
    let name = &world.dataset.name;
    let mut recorder = world.metastore.record(name, object).await.expect("a recorder");
    let posting = RowPosting { digest: world.digest(0), row: LONG_ROW };
    recorder.append(vec![posting]).await.expect("postings");
    let scanned = ScannedObject {
        object: object.clone(),
        settings: world.dataset.scan_settings(),
        scanned_at: world.clock.now(),
        outcome: ScanOutcome::Indexed(ScanSummary {
            format: FormatName::Jsonl,
            compression: Compression::Gzip,
            rows: RowCount(LONG_ROWS),
            gaps: RowGaps::default(),
            foreign_values: 0,
            landmarks,
        }),
    };
    recorder.commit(scanned).await.expect("a record");
    let rows = RowSet::new([LONG_ROW]).expect("a row");
    let rewrite = PlannedRewrite {
        object: object.clone(),
        format: FormatName::Jsonl,
        compression: Compression::Gzip,
        storage_class: None,
        action: world.dataset.erase.action.clone(),
        rows_total: RowCount(LONG_ROWS),
        subjects: vec![SubjectRows { ordinal: 1, rows: rows.count() }],
        rows,
        estimate: None,
    };
    PlannedChange {
        dataset: name.clone(),
        key: object.key.clone(),
        rewrite: Some(rewrite),
        expunge: Vec::new(),
        superseded: world.shape.policy,
    }
}

/// E4: landmarks that are wrong, in whatever way, cost time and never an erasure: where what is to be
/// compared does not begin where one says so, all of the object is read and compared.
#[tokio::test]
async fn wrong_landmarks_cost_time_and_no_erasure() {
    let text = long_object(false);
    let right = |row: usize| {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let end = ends.map(|(at, _)| at as u64).nth(row - 1).expect("a row");
        (row as u64, end + 1)
    };
    // The last two: the row is reached from a right one, and what its block begins with from a wrong one.
    let places: [&[(u64, u64)]; 7] = [
        &[],
        &[(0, 83)],
        &[(1, 41), (2000, 41_000)],
        &[(2500, 7)],
        &[(2999, u64::MAX / 2)],
        &[(2980, 5), right(2998)],
        &[(2980, right(1).1), right(2998)],
    ];
    for places in places {
        let world = World::new(Shape { objects: 1, ..Shape::new(0, false) }).await;
        let object = world.lake.put(&"long.json".into(), in_blocks(&long_object(false)));
        let place = |&(row, byte): &(u64, u64)| Landmark { row: RowNumber(row), byte };
        let rows = places.iter().map(place).collect();
        let landmarks = Landmarks { rows, ..Landmarks::default() };
        let change = long_change(&world, &object, landmarks).await;
        let plan = lacuna::domain::plan::ErasurePlan { changes: vec![change], ..world.plan() };
        let execution = finish(&world, &plan).await;
        let outcome = &execution.changes[0].outcome;
        assert!(matches!(outcome, Outcome::Erased { rows: RowCount(1), .. }), "{outcome:?}");
        let kept = world.kept().await;
        let now = kept.iter().find(|it| it.0.key == object.key).expect("it is there");
        assert!(random_lake::unwrapped(Wrap::Gzip, &now.2) == long_object(true), "{places:?}");
    }
}
