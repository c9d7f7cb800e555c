//! Somebody else writes, deletes or erases at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use lacuna::domain::journal::Outcome;
use lacuna::domain::object::{ObjectKey, ObjectVersion, Standing};
use lacuna::erase::executor::{ExecuteOptions, execute};
use lacuna::erase::tools::EraseError;
use lacuna::lake::Lake as _;
use lacuna::ledger::LedgerErrorKind;

use super::faults::{Event, Script};
use super::undisturbed;
use super::world::{Shape, World};

/// The key of the first object that the plan rewrites.
fn victim(world: &World) -> ObjectKey {
    let plan = world.plan();
    let rewritten = plan.changes.iter().find(|change| change.rewrite.is_some());
    rewritten.expect("a rewrite").key.clone()
}

/// The version of the object that the plan rewrites.
fn planned_version(world: &World, key: &ObjectKey) -> ObjectVersion {
    let change = world.plan().changes.into_iter().find(|change| change.key == *key);
    change.and_then(|change| change.rewrite).expect("a rewrite").object
}

/// Every object but this one is erased, and strangers' rows are intact.
async fn check_others(world: &World, victim: &ObjectKey) {
    let kept = world.kept().await;
    for known in world.known.iter().filter(|known| known.object.key != *victim) {
        let holds_targets = known.rows(&world.targets).is_some();
        let expected = known.text(&world.targets);
        let is_there = kept.iter().any(|(object, standing, bytes)| {
            object.key == known.object.key && *standing == known.standing && *bytes == expected
        });
        let is_expunged = holds_targets && known.standing == Standing::Superseded;
        assert!(is_there != is_expunged, "{:?}", known.object);
    }
    assert!(world.postings().await.iter().all(|key| key == victim));
}

/// A1, A2, C3: another writer's bytes survive, whenever they come.
#[tokio::test]
async fn another_writers_bytes_survive() {
    let mut drifted = 0;
    for is_versioned in [true, false] {
        for seed in [1, 4] {
            let shape = Shape::new(seed, is_versioned);
            let (calls, _) = undisturbed(shape).await;
            let mut deleted_beneath = 0;
            for at in 1..=calls {
                let world = Arc::new(World::new(shape).await);
                let key = victim(&world);
                let planned = planned_version(&world, &key);
                let was_kept = Arc::new(AtomicBool::new(false));
                let (writer, place) = (world.clone(), key.clone());
                let (beneath, keeps) = (planned.clone(), was_kept.clone());
                let act = move || {
                    let kept = writer.lake.versions(&place).now_or_never().expect("at once");
                    let mut kept = kept.expect("versions").into_iter();
                    keeps.store(
                        kept.any(|it| it.object.is_same_version(&beneath)),
                        Ordering::SeqCst,
                    );
                    writer.put(&place, vec![0, 2, 3, 1], false);
                };
                let script = Script::new(at, Event::Meddle(Box::new(act)));
                let execution = world.run(&world.plan(), &[], &script).await.expect("no fault");
                assert!(execution.is_finished());
                drifted += execution.drifted().count();
                let foreign = b"{\"u\":\"person0\",\"n\":0}\n{\"u\":\"person2\",\"n\":1}\n\
                    {\"u\":\"person3\",\"n\":2}\n{\"u\":\"person1\",\"n\":3}\n";
                let kept = world.kept().await;
                let current = kept.iter().find(|it| it.0.key == key && it.1 == Standing::Current);
                assert_eq!(current.map(|it| it.2.as_slice()), Some(&foreign[..]), "call {at}");
                let is_kept = kept.iter().any(|it| it.0.is_same_version(&planned));
                let was_kept = was_kept.load(Ordering::SeqCst);
                deleted_beneath += u32::from(is_versioned && was_kept && !is_kept);
                check_others(&world, &key).await;
            }
            // C3: beneath somebody else's version nothing is deleted. A store cannot be asked to delete
            // a version on condition of another, so the call right after the last look may be too late.
            assert!(deleted_beneath <= 1, "{deleted_beneath} times");
        }
    }
    assert!(drifted > 0, "the writer never came in between");
}

/// A1: on a lake that leaves no operation id on what it writes, another writer's object that holds what ours
/// would, but for somebody else's rows where ours has blanks, is not taken for ours.
#[tokio::test]
async fn a_lookalike_is_not_taken_for_ours() {
    let shape = Shape { marks_operations: false, ..Shape::new(4, false) };
    let (calls, _) = undisturbed(shape).await;
    let mut drifted = 0;
    for at in 1..=calls {
        let world = World::new(shape).await;
        let key = victim(&world);
        let plan = world.plan();
        let _ = world.run(&plan, &[], &Script::new(at, Event::KillAfter)).await;
        let known = world.known.iter().find(|it| it.object.key == key).expect("the victim");
        let replaced = |owner: &usize| if world.targets.contains(owner) { 2 } else { *owner };
        let written = world.put(&key, known.owners.iter().map(replaced).collect(), known.is_csv);
        let execution = world.run(&plan, &[], &Script::quiet()).await.expect("no fault is left");
        assert!(execution.is_finished(), "call {at}: {:?}", execution.changes);
        drifted += execution.drifted().count();
        let kept = world.kept().await;
        let current = kept.iter().find(|it| it.0.key == key).expect("it is there");
        assert!(current.0.is_same_version(&written.object), "call {at}: it is written over");
    }
    assert!(drifted > 0, "it was never too late");
}

/// A3: an object that is deleted meanwhile is not brought back.
#[tokio::test]
async fn a_deleted_object_stays_deleted() {
    let (mut gone, mut drifted) = (0, 0);
    for is_versioned in [true, false] {
        let shape = Shape::new(1, is_versioned);
        let (calls, _) = undisturbed(shape).await;
        for at in 1..=calls {
            let world = Arc::new(World::new(shape).await);
            let key = victim(&world);
            let (writer, place) = (world.clone(), key.clone());
            let act = move || writer.lake.delete(&place);
            let script = Script::new(at, Event::Meddle(Box::new(act)));
            let execution = world.run(&world.plan(), &[], &script).await.expect("no fault");
            assert!(execution.is_finished());
            gone += execution.tally().gone;
            drifted += execution.tally().drifted;
            let kept = world.kept().await;
            assert!(!kept.iter().any(|it| it.0.key == key && it.1 == Standing::Current));
            check_others(&world, &key).await;
            if execution.changes.iter().any(|it| it.key == key && it.outcome == Outcome::Gone) {
                assert!(!world.postings().await.contains(&key), "its postings are forgotten");
            }
        }
    }
    assert!(gone > 0 && drifted > 0, "{gone} gone, {drifted} drifted");
}

/// A4: deleted and written again with the same bytes, before the run gets there: content decides.
#[tokio::test]
async fn the_same_bytes_again_are_the_same_object() {
    let shape = Shape::new(1, false);
    let (calls, _) = undisturbed(shape).await;
    for at in 1..=calls {
        let world = Arc::new(World::new(shape).await);
        let plan = world.plan();
        let known = world.known[0].clone();
        let key = known.object.key.clone();
        let (writer, bytes) = (world.clone(), known.text(&[]));
        let again = bytes.clone();
        let place = key.clone();
        let act = move || {
            writer.lake.delete(&place);
            writer.lake.put(&place, again);
        };
        let script = Script::new(at, Event::Meddle(Box::new(act)));
        let execution = world.run(&plan, &[], &script).await.expect("no fault");
        assert!(execution.is_finished());
        let kept = world.kept().await;
        let current = kept.iter().find(|it| it.0.key == key).expect("it is there");
        let erased = known.text(&world.targets);
        assert!(current.2 == bytes || current.2 == erased, "call {at}");
        check_others(&world, &key).await;
    }
}

/// D4, D5: a second run takes the lease over while the first stands still; when the first wakes up it
/// changes nothing any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_lost_its_lease_has_no_effect() {
    let shape = Shape { objects: 2, ..Shape::new(1, true) };
    let mut lost = 0;
    let (calls, expected) = undisturbed(shape).await;
    for at in 1..=calls {
        let world = Arc::new(World::new(shape).await);
        let plan = world.plan();
        let (second, second_plan) = (world.clone(), plan.clone());
        let act = move || {
            let run = move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(async {
                    let approved = second.approve(&second_plan, Vec::new()).await;
                    let tools = second.tools(&Script::quiet());
                    execute(&tools, approved, ExecuteOptions::default()).await
                })
            };
            let answer = std::thread::spawn(run).join().expect("no panic");
            assert!(answer.expect("the second run has the lease").is_finished());
        };
        let script = Script::new(at, Event::Meddle(Box::new(act)));
        if let Err(EraseError::Ledger(error)) = world.run(&plan, &[], &script).await {
            lost += u32::from(*error.kind() == LedgerErrorKind::Lost);
        }
        world.check_erased().await;
        let again = super::finish(&world, &plan).await;
        assert_eq!(super::done(&again), super::done(&expected), "call {at}");
    }
    assert!(lost > 0, "the first run never noticed that it had lost its lease");
}
