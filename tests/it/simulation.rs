//! Erasures on lakes in memory, with a fault, a death or another writer at every call there is.
//!
//! The oracle (ORACLE-3): targets are blank in every kept version that the plan covers, all other
//! records are byte-identical, and nobody else's write is lost.

mod every_call;
mod evidence;
mod faults;
mod index_errors;
mod interference;
mod storm;
mod vacuuming;
mod world;

use std::sync::Arc;

use lacuna::domain::dataset::SupersededPolicy;
use lacuna::domain::journal::Outcome;
use lacuna::domain::object::ObjectKey;
use lacuna::domain::object::Standing;
use lacuna::domain::observe::Stop;
use lacuna::domain::plan::{ErasurePlan, Reason};
use lacuna::erase::execution::{Execution, Tally};
use lacuna::erase::executor::{ExecuteOptions, MOST_FAILURES, execute};
use lacuna::erase::tools::EraseError;
use lacuna::lake::Estate;
use lacuna::lake::LakeErrorKind;

use faults::{Event, Script};
use world::{Known, Shape, World};

/// Runs the plan to its end once the faults are over.
async fn finish(world: &World, plan: &ErasurePlan) -> Execution {
    let execution = world.run(plan, &[], &Script::quiet()).await.expect("no fault is left");
    assert!(execution.is_finished(), "{:?}", execution.changes);
    execution
}

/// How many calls an undisturbed run makes, and what comes of it.
async fn undisturbed(shape: Shape) -> (u64, Execution) {
    let world = World::new(shape).await;
    let script = Script::quiet();
    let execution = world.run(&world.plan(), &[], &script).await.expect("no fault");
    (script.calls(), execution)
}

/// What was done in all, without what it took: whoever was disturbed did some of it twice.
fn done(execution: &Execution) -> Tally {
    let tally = execution.tally();
    Tally { written_bytes: 0, copied_bytes: 0, read_bytes: 0, requests: 0, ..tally }
}

/// Lets the event happen at every call in turn, then runs again without, and consults the oracle.
async fn sweep(shape: Shape, event: fn() -> Event) {
    let (calls, expected) = undisturbed(shape).await;
    for at in 1..=calls {
        let world = World::new(shape).await;
        let plan = world.plan();
        // Whatever comes of it: the second run has to mend it.
        let _ = world.run(&plan, &[], &Script::new(at, event())).await;
        world.check_postings_outlive_rows().await;
        let execution = finish(&world, &plan).await;
        world.check_erased().await;
        assert_eq!(done(&execution), done(&expected), "call {at} of {calls}");
    }
}

#[tokio::test]
async fn an_undisturbed_run_erases_and_nothing_else() {
    for seed in 0..40 {
        for is_versioned in [true, false] {
            let world = World::new(Shape::new(seed, is_versioned)).await;
            let plan = world.plan();
            finish(&world, &plan).await;
            world.check_erased().await;
        }
    }
}

/// D1, D2, D3: killed at any call, on either side of it, the same command ends in the same state.
#[tokio::test]
async fn killed_anywhere_the_same_command_ends_in_the_same_state() {
    for seed in 0..2 {
        for is_versioned in [true, false] {
            let shape = Shape { objects: 2, ..Shape::new(seed, is_versioned) };
            sweep(shape, || Event::KillBefore).await;
            sweep(shape, || Event::KillAfter).await;
        }
    }
}

/// B1: a reply that is lost after the call took effect makes no object drift and nothing happen twice.
#[tokio::test]
async fn a_lost_reply_anywhere_changes_nothing() {
    for seed in 2..4 {
        for is_versioned in [true, false] {
            let shape = Shape { objects: 2, ..Shape::new(seed, is_versioned) };
            sweep(shape, || Event::ErrorAfter).await;
            sweep(shape, || Event::ErrorBefore).await;
        }
    }
}

/// D2, on a lake that leaves no operation id on what it writes: the write is settled by content.
#[tokio::test]
async fn a_lake_without_operation_ids_is_settled_by_content() {
    for is_versioned in [true, false] {
        let shape = Shape { marks_operations: false, ..Shape::new(7, is_versioned) };
        sweep(shape, || Event::KillAfter).await;
    }
}

/// B4, J5: what a write that was killed half way left behind is removed by the next run.
#[tokio::test]
async fn bytes_of_a_killed_write_are_removed() {
    let shape = Shape { objects: 2, ..Shape::new(1, true) };
    let (calls, _) = undisturbed(shape).await;
    let mut left_behind = 0;
    for at in 1..=calls {
        let world = World::new(shape).await;
        let plan = world.plan();
        let _ = world.run(&plan, &[], &Script::new(at, Event::KillInside)).await;
        // A probe of conditional writes, which holds no data, may leave a piece of a scratch object.
        let has_begun = world.has_begun(&plan).await;
        left_behind += if has_begun { world.lake.unfinished_writes() } else { 0 };
        finish(&world, &plan).await;
        if has_begun {
            world.check_erased().await;
        }
    }
    assert!(left_behind > 0, "the test never left anything behind");
}

/// I10: a finished plan run again touches nothing and tells the same.
#[tokio::test]
async fn a_finished_plan_has_nothing_left_to_do() {
    let world = World::new(Shape::new(3, true)).await;
    let plan = world.plan();
    let first = finish(&world, &plan).await;
    let before = world.kept().await;
    let second = finish(&world, &plan).await;
    assert_eq!(first, second);
    assert_eq!(before, world.kept().await);
}

/// D8: a stop ends the run between two objects, and the same command does the rest.
#[tokio::test]
async fn a_stop_ends_between_two_objects() {
    let mut interrupted = 0;
    for at in 1..60 {
        let world = World::new(Shape { objects: 4, ..Shape::new(5, true) }).await;
        let plan = world.plan();
        let stop = Stop::default();
        let asked = stop.clone();
        let script = Script::new(at, Event::Meddle(Box::new(move || asked.request())));
        let approved = world.approve(&plan, Vec::new()).await;
        let options = ExecuteOptions { concurrency: 1, stop, ..ExecuteOptions::default() };
        let stopped = execute(&world.tools(&script), approved, options).await.expect("no fault");
        interrupted += u64::from(stopped.is_interrupted());
        assert!(stopped.failed().next().is_none(), "a stop fails nothing");
        assert_eq!(world.lake.unfinished_writes(), 0);
        finish(&world, &plan).await;
        world.check_erased().await;
    }
    assert!(interrupted > 0);
}

/// What the approver left out stays as it is, and is on record as left out.
#[tokio::test]
async fn an_exception_is_left_alone() {
    let world = World::new(Shape::new(11, false)).await;
    let plan = world.plan();
    let key = plan.changes[0].key.clone();
    let known = world.known.iter().find(|known| known.object.key == key).expect("it is known");
    let execution =
        world.run(&plan, std::slice::from_ref(&key), &Script::quiet()).await.expect("no fault");
    assert!(execution.is_finished());
    assert_eq!(execution.changes[0].outcome, Outcome::Excepted);
    assert_eq!(world.bytes(&known.object).await, known.text(&[]));
    assert!(world.postings().await.contains(&key));
}

/// A policy that keeps superseded versions is honoured, and they are named as retained.
#[tokio::test]
async fn a_policy_that_keeps_versions_is_honoured_and_named() {
    let shape = Shape { policy: SupersededPolicy::Keep, ..Shape::new(3, true) };
    let world = World::new(shape).await;
    let plan = world.plan();
    let rewrites = plan.changes.iter().filter(|change| change.rewrite.is_some()).count();
    let before = world.kept().await.len();
    let execution = finish(&world, &plan).await;
    let retained: Vec<_> = execution.retained().map(|(_, kept)| kept.reason.clone()).collect();
    assert_eq!(retained, vec![Reason::KeptByPolicy; rewrites]);
    assert_eq!(world.kept().await.len(), before + rewrites);
}

/// C7: a locked version stays and is named with the date; the new version is written all the same.
#[tokio::test]
async fn a_locked_version_is_retained_and_named() {
    let (world, _, plan) =
        with_fresh(Shape { objects: 1, ..Shape::new(0, true) }, vec![2, 0, 3]).await;
    let rewrite = plan.changes[0].rewrite.as_ref().expect("a rewrite");
    let until = "2027-03-01T00:00:00Z".parse().expect("a moment");
    world.lake.lock(&rewrite.object, lacuna::lake::Lock::Until(until));
    let execution = finish(&world, &plan).await;
    let retained: Vec<_> = execution.retained().map(|(_, kept)| kept.clone()).collect();
    assert_eq!(retained.len(), 1);
    assert!(retained[0].object.is_same_version(&rewrite.object));
    assert_eq!(retained[0].reason, Reason::Locked { until });
    // Its rows are still there, so its postings are too.
    assert!(world.postings().await.contains(&rewrite.object.key));
}

/// D7: an object that fails in every run is given up, and stops no other.
#[tokio::test]
async fn an_object_that_always_fails_is_given_up() {
    let world = World::new(Shape::new(11, false)).await;
    let mut plan = world.plan();
    // A row less than there are: the index was wrong.
    let rewrite = plan.changes[0].rewrite.as_mut().expect("a rewrite");
    let kept: Vec<_> = rewrite.rows.iter().skip(1).collect();
    rewrite.rows = lacuna::domain::row::RowSet::new(kept).expect("it had more than one row");
    for _ in 0..MOST_FAILURES {
        let execution = world.run_deep(&plan).await;
        assert_eq!(
            (execution.failed().count(), execution.tally().erased),
            (1, plan.changes.len() as u64 - 1)
        );
    }
    let execution = world.run_deep(&plan).await;
    let Some(Outcome::Failed { detail }) = execution.failed().map(|it| it.outcome.clone()).next()
    else {
        panic!("it failed before");
    };
    assert!(detail.starts_with("given up"), "{detail}");
}

/// C2: a key that another key begins with keeps its versions.
#[tokio::test]
async fn a_key_that_begins_like_another_is_another() {
    let world = World::new(Shape { objects: 1, ..Shape::new(1, true) }).await;
    let key = world.known[0].object.key.clone();
    let longer = ObjectKey::from(format!("{key}x").as_str());
    for owners in [vec![0, 2], vec![1, 3]] {
        world.put(&longer, owners, false);
    }
    let plan = world.plan();
    finish(&world, &plan).await;
    let kept = world.kept().await;
    assert_eq!(kept.iter().filter(|(object, ..)| object.key == longer).count(), 2);
}

/// B11: a store that takes the condition of a write and ignores it is refused before anything is
/// written to an object.
#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let world = World::new(Shape::new(11, false)).await;
    let plan = world.plan();
    let before = world.kept().await;
    let approved = world.approve(&plan, Vec::new()).await;
    let mut tools = world.tools(&Script::quiet());
    let lake = Arc::new(faults::LyingLake(world.lake.clone()));
    let estate = Estate { lake, ..tools.datasets[0].clone() };
    tools.datasets = vec![estate].into();
    let refused = execute(&tools, approved, ExecuteOptions::default()).await.expect_err("refused");
    assert_eq!(refused.lake_kind(), Some(LakeErrorKind::Unsupported));
    assert_eq!(before, world.kept().await);
}

/// B8, E7: a new version that does not hold what it should is a failure; nothing is deleted, and the
/// version to go back to is named.
#[tokio::test]
async fn a_garbled_version_is_not_taken_for_done() {
    let (world, fresh, plan) = with_fresh(Shape::new(1, true), vec![2, 0, 3]).await;
    let approved = world.approve(&plan, Vec::new()).await;
    let mut tools = world.tools(&Script::quiet());
    let lake = Arc::new(faults::TamperedLake::reading(world.lake.clone()));
    let estate = Estate { lake, ..tools.datasets[0].clone() };
    tools.datasets = vec![estate].into();
    let execution = execute(&tools, approved, ExecuteOptions::default()).await.expect("a run");
    let failed = execution.failed().next().expect("it failed");
    assert!(failed.is_unverified);
    let Outcome::Failed { detail } = &failed.outcome else { panic!("{:?}", failed.outcome) };
    assert!(detail.contains(fresh.object.version.as_str()), "{detail}");
    assert_eq!(world.bytes(&fresh.object).await, fresh.text(&[]));
    assert!(world.postings().await.contains(&fresh.object.key));
    // The same command on a sound lake finds that the version is as it should be, and goes on.
    finish(&world, &plan).await;
}

/// E7: whatever mistake a rewriter makes, the verification finds it, or what stands there is right.
#[tokio::test]
async fn mistakes_of_a_rewriter_are_found() {
    let mut found = 0;
    for seed in 0..400 {
        let world = World::new(Shape { objects: 2, ..Shape::new(seed % 10, true) }).await;
        let plan = world.plan();
        let execution = run_mistaken(&world, &plan, seed, &Script::quiet()).await;
        found += right_or_failed(&world, execution.expect("a run"), seed).await;
    }
    assert!(found > 300, "{found}");
}

/// E7, D2: also where the run that made it was killed before it could look.
#[tokio::test]
async fn mistakes_of_a_killed_rewriter_are_found() {
    let mut found = 0;
    for seed in 0..12 {
        let shape = Shape { objects: 2, ..Shape::new(seed % 10, true) };
        let (calls, _) = undisturbed(shape).await;
        for at in 1..=calls {
            let world = World::new(shape).await;
            let plan = world.plan();
            let script = Script::new(at, Event::KillAfter);
            if let Ok(execution) = run_mistaken(&world, &plan, seed, &script).await {
                right_or_failed(&world, execution, seed).await;
                continue;
            }
            let approved = world.approve(&plan, Vec::new()).await;
            let tools = world.tools(&Script::quiet());
            let execution = execute(&tools, approved, ExecuteOptions::default()).await;
            found += right_or_failed(&world, execution.expect("a run"), seed).await;
        }
    }
    assert!(found > 20, "{found}");
}

/// A world and its plan, with one object more in both, whose rows are these people's.
async fn with_fresh(shape: Shape, owners: Vec<usize>) -> (World, Known, ErasurePlan) {
    let world = World::new(shape).await;
    let fresh = world.put(&"fresh.json".into(), owners, false);
    world.index(&fresh).await;
    let plan = world.plan_with(&fresh);
    (world, fresh, plan)
}

/// E4, B8: a bit that flips in two readings in a row, in the very name that is looked for, makes no object clean:
/// its postings would be forgotten, and the person with them.
#[tokio::test]
async fn two_damaged_readings_make_no_object_clean() {
    let shape = Shape { objects: 1, ..Shape::new(1, true) };
    let mut finished = 0;
    for at in 1.. {
        let (world, fresh, plan) = with_fresh(shape, vec![2, 0]).await;
        let text = String::from_utf8(fresh.text(&[])).expect("text");
        let bit = 8 * (text.find("person0").expect("the target") + 2);
        let damage = move |call| (call == at || call == at + 1).then_some(Event::FlippedBit(bit));
        let script = Script::choosing(Box::new(damage));
        // A probe of the lake may not survive it.
        let execution = world.run(&plan, &[], &script).await;
        world.check_postings_outlive_rows().await;
        finished += u64::from(execution.is_ok_and(|execution| execution.is_finished()));
        if script.calls() < at {
            break;
        }
        let last = world.run(&plan, &[], &Script::quiet()).await.expect("no fault is left");
        assert!(last.is_finished(), "call {at}: {:?}", last.changes);
        let kept = world.kept().await;
        let now = kept.iter().find(|it| it.0.key == fresh.object.key && it.1 == Standing::Current);
        assert_eq!(now.expect("it is there").2, fresh.text(&world.targets), "call {at}");
    }
    assert!(finished > 10, "{finished}");
}

/// E7, D2: what the store copied far from any erased row is proved too, though nobody is left who knows what
/// was written: the superseded version tells.
#[tokio::test]
async fn what_was_copied_is_proved_after_a_kill() {
    let shape = Shape { objects: 1, ..Shape::new(1, true) };
    let mut found = 0;
    for at in 1.. {
        let (world, fresh, plan) = with_fresh(shape, [vec![0], vec![2; 20]].concat()).await;
        let script = Script::new(at, Event::KillAfter);
        let mistakes = faults::TamperedLake::writing(world.lake.clone(), 0, faults::shortened);
        let done = run_on(&world, &plan, mistakes, &script).await;
        if done.is_ok() {
            break;
        }
        let is_written = async || {
            let kept = world.kept().await;
            kept.iter().filter(|it| it.0.key == fresh.object.key).count() > 1
        };
        if !is_written().await {
            continue;
        }
        let approved = world.approve(&plan, Vec::new()).await;
        let tools = world.tools(&Script::quiet());
        let execution = execute(&tools, approved, ExecuteOptions::default()).await.expect("a run");
        let failed = execution.failed().find(|change| change.key == fresh.object.key);
        assert!(failed.is_some_and(|change| change.is_unverified), "killed after call {at}");
        assert_eq!(world.bytes(&fresh.object).await, fresh.text(&[]));
        found += 1;
    }
    assert!(found > 0);
}

/// Runs a plan on a lake that makes mistakes as it writes.
async fn run_mistaken(
    world: &World,
    plan: &ErasurePlan,
    seed: u64,
    script: &Arc<Script>,
) -> Result<Execution, EraseError> {
    let inner = faults::TamperedLake::writing(world.lake.clone(), seed, faults::mistaken);
    run_on(world, plan, inner, script).await
}

async fn run_on(
    world: &World,
    plan: &ErasurePlan,
    inner: faults::TamperedLake,
    script: &Arc<Script>,
) -> Result<Execution, EraseError> {
    let approved = world.approve(plan, Vec::new()).await;
    let mut tools = world.tools(script);
    let lake = Arc::new(faults::ScriptedLake {
        inner: Arc::new(inner),
        script: script.clone(),
        marks_operations: true,
    });
    let estate = Estate { lake, ..tools.datasets[0].clone() };
    tools.datasets = vec![estate].into();
    execute(&tools, approved, ExecuteOptions::default()).await
}

/// Every object that is said to be erased holds what it should; how many failed.
async fn right_or_failed(world: &World, execution: Execution, seed: u64) -> usize {
    let kept = world.kept().await;
    let mut failed = 0;
    for change in &execution.changes {
        let known = world.known.iter().rev().find(|known| known.object.key == change.key);
        let expected = known.expect("it is known").text(&world.targets);
        match &change.outcome {
            Outcome::Erased { rewrite: Some(replacement), .. } => {
                let new = kept.iter().find(|it| it.0.is_same_version(&replacement.new));
                // What holds nothing is as good a blank as any, and no line is a row in CSV.
                let is_csv = change.key.to_string().ends_with(".csv");
                let text = |bytes: &[u8]| -> Vec<String> {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let line = |line: &str| match line.trim_matches(['{', '}', ',', ' ']) {
                        "" => String::new(),
                        _ => line.to_owned(),
                    };
                    let mut lines: Vec<_> = text.split('\n').map(line).collect();
                    lines.truncate(lines.len() - usize::from(text.ends_with('\n')));
                    lines.retain(|line| !is_csv || !line.is_empty());
                    lines
                };
                let bytes = new.map(|it| text(&it.2));
                assert_eq!(bytes, Some(text(&expected)), "seed {seed}");
            }
            Outcome::Failed { .. } => failed += 1,
            _ => {}
        }
    }
    failed
}
