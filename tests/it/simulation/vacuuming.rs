//! Vacuum: blanks go, everybody else's records stay in their order, and the index follows.

use std::sync::Arc;

use lacuna::domain::object::{ObjectKey, Standing};
use lacuna::domain::observe::{Silent, Stop};
use lacuna::lake::Estate;
use lacuna::lake::LakeErrorKind;
use lacuna::ledger::{LeaseTerms, Ledger};
use lacuna::vacuum::{VacuumError, VacuumReport, VacuumTools, vacuum};

use super::faults::{Event, Script};
use super::finish;
use super::world::{Known, Shape, World};

fn tools(world: &World, script: &Arc<Script>) -> VacuumTools {
    let erase = world.tools(script);
    VacuumTools {
        datasets: erase.datasets.clone(),
        metastore: erase.metastore.clone(),
        ledger: erase.ledger.clone(),
        key: erase.key.clone(),
        clock: erase.clock.clone(),
        observer: Arc::new(Silent),
        holder: erase.holder.clone(),
        terms: LeaseTerms { is_alive: |_| Some(false), ..LeaseTerms::default() },
        stop: Stop::default(),
        concurrency: 1,
    }
}

pub async fn run(world: &World, script: &Arc<Script>) -> Result<VacuumReport, VacuumError> {
    vacuum(&tools(world, script), std::slice::from_ref(&world.dataset.name)).await
}

/// What a current object has to hold without the targets' rows and their blanks.
fn without_blanks(world: &World, known: &Known) -> Vec<u8> {
    let text = String::from_utf8(known.text(&world.targets)).expect("it is text");
    let is_blank = |line: &str| matches!(line.trim(), "{}" | ",");
    text.split_inclusive('\n').filter(|line| !is_blank(line)).collect::<String>().into_bytes()
}

async fn check(world: &World) {
    let kept = world.kept().await;
    for known in world.known.iter().filter(|known| known.standing == Standing::Current) {
        let current = kept
            .iter()
            .find(|it| it.0.key == known.object.key && it.1 == Standing::Current)
            .expect("it is there");
        let expected = without_blanks(world, known);
        assert_eq!(String::from_utf8_lossy(&current.2), String::from_utf8_lossy(&expected));
    }
}

/// The rows of the index for everybody but the targets are those of the new versions.
pub async fn check_index(world: &World) {
    use futures::TryStreamExt as _;
    use lacuna::metastore::Metastore as _;
    let kept = world.kept().await;
    for person in 2..4 {
        let found: Vec<_> =
            world.metastore.lookup(&[world.digest(person)]).try_collect().await.expect("postings");
        for (object, _, bytes) in kept.iter().filter(|it| it.1 == Standing::Current) {
            let text = String::from_utf8_lossy(bytes);
            let records = text.lines().filter(|line| *line != "u,n");
            let name = format!("person{person}");
            let rows: Vec<u64> = (0..)
                .zip(records)
                .filter(|(_, line)| line.contains(&name))
                .map(|it| it.0)
                .collect();
            let indexed: Vec<u64> = found
                .iter()
                .filter(|posting| posting.object.is_same_version(object))
                .flat_map(|posting| posting.rows.iter().map(|row| row.0))
                .collect();
            assert_eq!(indexed, rows, "{object:?}");
        }
    }
}

#[tokio::test]
async fn blanks_go_and_everything_else_stays() {
    let mut dropped = 0;
    for seed in 0..15 {
        for is_versioned in [true, false] {
            let world = World::new(Shape::new(seed, is_versioned)).await;
            finish(&world, &world.plan()).await;
            let report = run(&world, &Script::quiet()).await.expect("no fault");
            assert_eq!((report.failed.as_slice(), report.drifted.as_slice()), (&[][..], &[][..]));
            dropped += report.dropped.0;
            check(&world).await;
            check_index(&world).await;
            let again = run(&world, &Script::quiet()).await.expect("no fault");
            assert_eq!((again.compacted, again.dropped.0), (0, 0));
        }
    }
    assert!(dropped > 0);
}

/// How many calls an undisturbed vacuum makes.
async fn undisturbed(shape: Shape) -> u64 {
    let world = World::new(shape).await;
    finish(&world, &world.plan()).await;
    let script = Script::quiet();
    let report = run(&world, &script).await.expect("no fault");
    assert!(report.compacted > 0);
    script.calls()
}

/// Nothing is left in the lake or noted as left.
pub async fn check_leftovers(world: &World) {
    assert_eq!(world.lake.unfinished_writes(), 0);
    assert_eq!(leftovers(world).await, 0);
}

/// How many writes are noted as possibly unfinished.
async fn leftovers(world: &World) -> usize {
    let ledger = Ledger::new(world.ledger_lake.clone(), *b"", world.clock.clone());
    ledger.leftovers().await.expect("a ledger").len()
}

/// Killed at any call, on either side of it, the next run ends in the same lake.
#[tokio::test]
async fn a_vacuum_may_die_anywhere() {
    let shape = Shape { objects: 2, ..Shape::new(1, true) };
    for event in [|| Event::KillBefore, || Event::KillAfter, || Event::ErrorAfter] {
        for at in 1..=undisturbed(shape).await {
            let world = World::new(shape).await;
            finish(&world, &world.plan()).await;
            let _ = run(&world, &Script::new(at, event())).await;
            run(&world, &Script::quiet()).await.expect("no fault is left");
            check(&world).await;
            check_leftovers(&world).await;
        }
    }
}

/// B4, J5: what a vacuum that was killed in the middle of a write left behind, other people's rows, is
/// removed by the next vacuum, and also by the next erasure: it may be the rows of its subjects.
#[tokio::test]
async fn bytes_of_a_killed_vacuum_are_removed() {
    let shape = Shape { objects: 2, ..Shape::new(1, true) };
    let mut left_behind = 0;
    for at in 1..=undisturbed(shape).await {
        for erases_next in [true, false] {
            let world = World::new(shape).await;
            let plan = world.plan();
            finish(&world, &plan).await;
            let _ = run(&world, &Script::new(at, Event::KillInside)).await;
            // A probe of conditional writes, which holds no data, may leave a piece of a scratch object.
            if leftovers(&world).await == 0 {
                continue;
            }
            left_behind += world.lake.unfinished_writes();
            if erases_next {
                finish(&world, &plan).await;
            } else {
                run(&world, &Script::quiet()).await.expect("no fault is left");
                check(&world).await;
            }
            check_leftovers(&world).await;
        }
    }
    assert!(left_behind > 0, "the test never left anything behind");
}

/// B11: a vacuum refuses a store that ignores the conditions of writes, before it writes anything.
#[tokio::test]
async fn a_vacuum_refuses_a_store_that_ignores_conditions() {
    let world = World::new(Shape::new(11, false)).await;
    finish(&world, &world.plan()).await;
    let before = world.kept().await;
    let mut tools = tools(&world, &Script::quiet());
    let lake = Arc::new(super::faults::LyingLake(world.lake.clone()));
    tools.datasets = vec![Estate { dataset: world.dataset.clone(), lake }].into();
    let refused = vacuum(&tools, std::slice::from_ref(&world.dataset.name)).await;
    let Err(VacuumError::Lake(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind(), LakeErrorKind::Unsupported);
    assert_eq!(before, world.kept().await);
}

/// E7: a store that gives back something else than was written is found out, and nothing is indexed.
#[tokio::test]
async fn a_garbled_version_is_not_taken_for_compacted() {
    let world = World::new(Shape::new(1, true)).await;
    finish(&world, &world.plan()).await;
    let fresh = world.put(&"fresh.json".into(), vec![2, 2, 3], false);
    let blank = format!("{}{{}}\n", String::from_utf8(fresh.text(&[])).expect("text"));
    let old = world.lake.put(&"fresh.json".into(), blank);
    let mut tools = tools(&world, &Script::quiet());
    let lake = Arc::new(super::faults::TamperedLake::reading(world.lake.clone()));
    tools.datasets = vec![Estate { dataset: world.dataset.clone(), lake }].into();
    let report = vacuum(&tools, std::slice::from_ref(&world.dataset.name)).await.expect("a run");
    let failed = report.failed.iter().find(|it| it.key == old.key).expect("it failed");
    let expected = format!(
        "the new version is not as it should be: its bytes are not those that were written; to go \
         back, make version {} current",
        old.version
    );
    assert_eq!(failed.detail, expected);
}

#[tokio::test]
async fn another_writers_bytes_survive_a_vacuum() {
    let shape = Shape { objects: 2, ..Shape::new(1, false) };
    let mut met = 0;
    for at in 1..60 {
        let world = Arc::new(World::new(shape).await);
        finish(&world, &world.plan()).await;
        let key: ObjectKey = world.plan().changes[0].key.clone();
        let (writer, place) = (world.clone(), key.clone());
        let act = move || drop(writer.put(&place, vec![2, 3], false));
        let script = Script::new(at, Event::Meddle(Box::new(act)));
        let report = run(&world, &script).await.expect("no fault");
        met += u64::from(script.calls() >= at);
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let kept = world.kept().await;
        let current = kept.iter().find(|it| it.0.key == key).expect("it is there");
        if script.calls() >= at {
            let expected = b"{\"u\":\"person2\",\"n\":0}\n{\"u\":\"person3\",\"n\":1}\n";
            assert_eq!(current.2, expected, "call {at}");
        }
    }
    assert!(met > 0);
}

/// A plan that was begun counts on the row numbers that it names.
#[tokio::test]
async fn a_vacuum_waits_for_a_plan_that_was_begun() {
    let world = World::new(Shape::new(3, true)).await;
    let plan = world.plan();
    let _ = world.run(&plan, &[], &Script::new(40, Event::KillBefore)).await;
    assert!(world.has_begun(&plan).await);
    let refused = run(&world, &Script::quiet()).await.expect_err("refused");
    assert!(matches!(refused, VacuumError::PlanBegun(_)), "{refused}");
    finish(&world, &plan).await;
    run(&world, &Script::quiet()).await.expect("nothing is begun any more");
}
