//! The fault loop: every call that a command makes of lake, index and ledger fails in turn, once, with
//! its answer lost, and for good. The same command, run again without faults, does all of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use lacuna::domain::coverage::Coverage;
use lacuna::domain::identifier::{Identifier, IdentifierType, Namespace, RawValue};
use lacuna::domain::object::{ObjectKey, Standing};
use lacuna::domain::observe::{Silent, Stop};
use lacuna::domain::plan::ErasurePlan;
use lacuna::domain::posting::Posting;
use lacuna::domain::request::{ErasureRequest, Mask, RequestedSubject, ReservedValues};
use lacuna::erase::facts::InScope;
use lacuna::erase::verify::{VerifyOptions, verify_plan};
use lacuna::erase::{PlanPolicy, PlanTools, Prepared, prepare};
use lacuna::index::{IndexReport, IndexTask, IndexTools, Memory, run};
use lacuna::metastore::Metastore as _;
use lacuna::metastore::memory::MemoryMetastore;

use super::faults::{Event, Script};
use super::world::{Shape, World};
use super::{done, finish, undisturbed, vacuuming};

/// What becomes of a call.
const WAYS: [fn(u64) -> Arc<Script>; 3] = [
    |at| Script::new(at, Event::ErrorBefore),
    |at| Script::new(at, Event::ErrorAfter),
    Script::failing_from,
];

fn shapes() -> impl Iterator<Item = Shape> {
    let shape = |(seed, is_versioned)| Shape { objects: 2, ..Shape::new(seed, is_versioned) };
    [(1, true), (2, false), (8, true)].into_iter().map(shape)
}

async fn index(world: &World, script: &Arc<Script>) -> Result<IndexReport, String> {
    let tools = world.tools(script);
    let tools = IndexTools {
        lake: tools.datasets[0].lake.clone(),
        metastore: tools.metastore,
        clock: world.clock.clone(),
        observer: Arc::new(Silent),
        stop: Stop::default(),
        memory: Memory::default(),
    };
    let task = IndexTask {
        dataset: (*world.dataset).clone(),
        earlier: Vec::new(),
        key: world.key.clone(),
        is_full: false,
        concurrency: Some(1),
    };
    run(&tools, &task).await.map_err(|error| error.to_string())
}

/// Everything that the index holds of anybody.
async fn postings(world: &World) -> BTreeSet<String> {
    let everybody: Vec<_> = (0..4).map(|person| world.digest(person)).collect();
    let found = world.metastore.lookup(&everybody).try_collect::<Vec<Posting>>().await;
    found.expect("postings").iter().map(|posting| format!("{posting:?}")).collect()
}

/// A world of which nothing is indexed.
async fn fresh(shape: Shape) -> World {
    let mut world = World::new(shape).await;
    world.metastore = MemoryMetastore::default();
    world
}

#[tokio::test]
async fn an_index_run_survives_the_failure_of_every_call() {
    for shape in shapes() {
        let world = fresh(shape).await;
        let script = Script::quiet();
        let expected = index(&world, &script).await.expect("no fault");
        let (calls, all) = (script.calls(), postings(&world).await);
        assert!(calls > 5 && !all.is_empty());
        for at in 1..=calls {
            for way in WAYS {
                let world = fresh(shape).await;
                let _ = index(&world, &way(at)).await;
                assert!(postings(&world).await.is_subset(&all), "call {at}: nothing is made up");
                let again = index(&world, &Script::quiet()).await.expect("no fault is left");
                assert_eq!(again.coverage, expected.coverage, "call {at} of {calls}");
                assert_eq!(postings(&world).await, all, "call {at} of {calls}");
            }
        }
    }
}

async fn plan(
    world: &World,
    coverage: &Coverage,
    script: &Arc<Script>,
) -> Result<Prepared, String> {
    let tools = world.tools(script);
    let estate = tools.datasets[0].clone();
    let subject = |(ordinal, target): (u32, &usize)| {
        let text = format!("person{target}");
        let raw = RawValue::Text(text.as_bytes());
        let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
        let identifiers = vec![identifier.expect("an identifier")];
        RequestedSubject { ordinal, mask: Mask::of(&text), identifiers }
    };
    let request = ErasureRequest {
        reference: "R-1".to_owned(),
        subjects: (1..).zip(&world.targets).map(subject).collect(),
    };
    let policy = PlanPolicy {
        configuration: "c".to_owned(),
        valid_for_seconds: 7 * 24 * 3600,
        blast_radius_percent: 100,
        coverage_floor_percent: 0,
        reserved: ReservedValues::default(),
    };
    let datasets = [InScope { estate, coverage: coverage.clone() }];
    let tools = PlanTools {
        datasets: &datasets,
        metastore: &*tools.metastore,
        ledger: &tools.ledger,
        key: &world.key,
        clock: &world.clock,
        observer: &Silent,
    };
    prepare(&tools, &request, &policy).await.map_err(|error| error.to_string())
}

/// Every version that a plan names, to be dealt with or out of reach.
fn named(plan: &ErasurePlan) -> BTreeSet<(ObjectKey, String)> {
    let changes = plan.changes.iter().flat_map(|change| {
        let rewrite = change.rewrite.iter().map(|rewrite| &rewrite.object);
        rewrite.chain(change.expunge.iter().map(|expunge| &expunge.object))
    });
    let all = changes.chain(plan.out_of_reach.iter().filter_map(|it| it.object.as_ref()));
    all.map(|object| (object.key.clone(), object.version.to_string())).collect()
}

/// A plan that comes of it names the same versions as the one that an undisturbed run makes.
#[tokio::test]
async fn a_plan_run_survives_the_failure_of_every_call() {
    for shape in shapes() {
        let world = fresh(shape).await;
        let coverage = index(&world, &Script::quiet()).await.expect("no fault").coverage;
        let script = Script::quiet();
        let expected = plan(&world, &coverage, &script).await.expect("no fault");
        assert!(!expected.plan.changes.is_empty());
        for at in 1..=script.calls() {
            for way in WAYS {
                let world = fresh(shape).await;
                index(&world, &Script::quiet()).await.expect("no fault");
                let before = world.kept().await;
                // What could not be asked for the moment is out of reach, and named so.
                let first = plan(&world, &coverage, &way(at)).await;
                let first = first.inspect(|it| assert_eq!(named(&it.plan), named(&expected.plan)));
                let again = plan(&world, &coverage, &Script::quiet()).await;
                assert_eq!(again.expect("no fault is left").id, expected.id, "call {at}");
                let stored = world.tools(&Script::quiet()).ledger.plans().await.expect("plans");
                let made: BTreeSet<_> = first.iter().map(|it| it.id).chain([expected.id]).collect();
                let ids: Vec<_> = stored.iter().map(|listing| listing.id).collect();
                assert!(ids.contains(&expected.id), "call {at}");
                // One whose last answer was lost is stored, and nobody was told of it.
                assert!(made.iter().all(|id| ids.contains(id)) && ids.len() <= 2, "call {at}");
                assert_eq!(before, world.kept().await, "a plan changes nothing");
            }
        }
    }
}

#[tokio::test]
async fn an_erase_run_survives_the_failure_of_every_call() {
    for shape in shapes() {
        let (calls, expected) = undisturbed(shape).await;
        for at in 1..=calls {
            for way in WAYS {
                let world = World::new(shape).await;
                let plan = world.plan();
                let _ = world.run(&plan, &[], &way(at)).await;
                world.check_postings_outlive_rows().await;
                let execution = finish(&world, &plan).await;
                world.check_erased().await;
                assert_eq!(done(&execution), done(&expected), "call {at} of {calls}");
            }
        }
    }
}

/// Whatever fails, a verification never says that all is well where it is not, and changes nothing.
#[tokio::test]
async fn a_verify_run_survives_the_failure_of_every_call() {
    for shape in shapes() {
        let world = World::new(shape).await;
        let plan = world.plan();
        let script = Script::quiet();
        let before = verified(&world, &plan, &script).await.expect("no fault");
        assert!(!before, "the subjects are still there");
        let calls = script.calls();
        finish(&world, &plan).await;
        let kept = world.kept().await;
        for at in 1..=calls {
            for way in WAYS {
                let full = World::new(shape).await;
                assert_ne!(verified(&full, &full.plan(), &way(at)).await, Some(true), "call {at}");
                let _ = verified(&world, &plan, &way(at)).await;
                assert_eq!(verified(&world, &plan, &Script::quiet()).await, Some(true));
            }
        }
        assert_eq!(kept, world.kept().await);
    }
}

/// Whether the plan's subjects are met nowhere; `None` where nothing can be said.
async fn verified(world: &World, plan: &ErasurePlan, script: &Arc<Script>) -> Option<bool> {
    let options = VerifyOptions { deep_percent: 100, concurrency: 1, ..VerifyOptions::default() };
    let answer = verify_plan(&world.tools(script), plan, &options).await;
    answer.ok().map(|verification| verification.is_clean())
}

#[tokio::test]
async fn a_vacuum_run_survives_the_failure_of_every_call() {
    for shape in shapes() {
        let erased = async || {
            let world = World::new(shape).await;
            finish(&world, &world.plan()).await;
            world
        };
        let world = erased().await;
        let script = Script::quiet();
        vacuuming::run(&world, &script).await.expect("no fault");
        let expected = current(&world).await;
        for at in 1..=script.calls() {
            for way in WAYS {
                let world = erased().await;
                let _ = vacuuming::run(&world, &way(at)).await;
                vacuuming::run(&world, &Script::quiet()).await.expect("no fault is left");
                assert_eq!(current(&world).await, expected, "call {at}");
                // An object whose record failed is not indexed, which the next run of the index sees.
                index(&world, &Script::quiet()).await.expect("no fault is left");
                vacuuming::check_index(&world).await;
                vacuuming::check_leftovers(&world).await;
            }
        }
    }
}

/// The current objects.
async fn current(world: &World) -> Vec<(ObjectKey, Vec<u8>)> {
    let kept = world.kept().await.into_iter().filter(|it| it.1 == Standing::Current);
    kept.map(|(object, _, bytes)| (object.key, bytes)).collect()
}
