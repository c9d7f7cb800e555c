//! The index is wrong: too many rows, too few, other ones.

use lacuna::domain::journal::Outcome;
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::metastore::Metastore as _;

use super::finish;
use super::world::{Shape, World};

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
