//! Any number of erasures from seeds, each through a storm: faults, deaths, damaged reads and other
//! writers at any call, several of them in one run, and sometimes two runs at once.
//!
//! `LACUNA_SEEDS` says how many, `LACUNA_SEED` where they begin; with it alone one seed is replayed.
//! Everything follows from the seed: two runs take turns call by call, as the seed has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use lacuna::domain::dataset::SupersededPolicy;
use lacuna::domain::journal::Outcome;
use lacuna::domain::object::{ObjectKey, ObjectVersion, Standing};
use lacuna::domain::plan::ErasurePlan;
use lacuna::erase::execution::Execution;
use lacuna::erase::executor::{ExecuteOptions, execute};
use lacuna::erase::tools::EraseTools;
use lacuna::lake::Lake as _;
use lacuna::ledger::LeaseTerms;

use super::faults::{Event, Script, Turnstile, is_probe};
use super::world::{Known, Shape, World};
use crate::support::random_lake::Random;

/// How many seeds are tried where nobody says otherwise.
const SEEDS: u64 = 300;

/// What may happen, as bits of a mask.
const FAULTS: u64 = 1;
const DEATHS: u64 = 2;
const OTHERS: u64 = 4;
const DAMAGE: u64 = 8;

/// What other writers did to an object.
#[derive(Default)]
struct Meddled {
    /// What they wrote, and whether it was still there when they were done.
    written: Vec<(ObjectVersion, Vec<u8>)>,
    /// The last thing was a deletion.
    is_deleted: bool,
    /// The planned bytes were written once more, so that they may have been erased since.
    is_again: bool,
}

/// Everything that other writers did.
type Meddling = Arc<Mutex<BTreeMap<ObjectKey, Meddled>>>;

/// How much came of the seeds.
#[derive(Debug, Default)]
struct Sums {
    erased: u64,
    drifted: u64,
    gone: u64,
    runs: u64,
    broken_off: u64,
    calls: u64,
    /// Seeds after which nothing could tell whether a change went well.
    unsettled: u64,
    events: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Sums {
    fn flipped_bits(&self) -> u64 {
        let events = self.events.lock().expect("not poisoned");
        events.get("flipped bit").copied().unwrap_or(0)
    }
}

#[expect(clippy::disallowed_methods, reason = "who runs this by name says how much of it")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// D1-D6, D16, A1-A4, B1, B4, C3: whatever happens, one more run ends it: every target is blank in
/// every version that the plan covers, everybody else's records are as they were byte for byte, and
/// no other writer's work is lost.
#[test]
#[expect(clippy::print_stdout, reason = "who runs many seeds wants to see what was tried")]
fn any_seed_ends_well() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let first = number("LACUNA_SEED");
    let count = number("LACUNA_SEEDS").unwrap_or(if first.is_some() { 1 } else { SEEDS });
    let first = first.unwrap_or(0);
    let mut sums = Sums::default();
    for seed in first..first + count {
        let trial = std::panic::AssertUnwindSafe(|| runtime.block_on(weather(seed, &mut sums)));
        if let Err(panic) = std::panic::catch_unwind(trial) {
            println!("replay it with LACUNA_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
    println!("{count} seeds from {first}: {sums:?}");
    if count >= SEEDS {
        let events = sums.events.lock().expect("not poisoned");
        assert!(events.len() == NAMES.len(), "something never happened: {events:?}");
        assert!(sums.unsettled * 100 <= count, "{} of {count} were not settled", sums.unsettled);
        assert!(sums.erased > count && sums.drifted > 0 && sums.gone > 0 && sums.broken_off > 0);
    }
}

/// One seed: a lake, a plan, some runs through the storm, and two when it is over.
async fn weather(seed: u64, sums: &mut Sums) {
    let mut random = Random(seed);
    let shape = Shape {
        seed,
        is_versioned: random.below(2) == 0,
        marks_operations: random.below(5) > 0,
        policy: [SupersededPolicy::Matching, SupersededPolicy::Keep]
            [usize::from(random.below(5) == 0)],
        objects: 1 + random.index(4),
    };
    let world = Arc::new(World::new(shape).await);
    let plan = world.plan();
    let meddling = Meddling::default();
    let before = sums.flipped_bits();
    for _ in 0..1 + random.below(3) {
        let kinds = 1 + random.below(15);
        let rate = [120, 40, 15, 6][random.index(4)];
        let storm = |random: &mut Random| Storm {
            random: Random(random.below(u64::MAX)),
            kinds,
            rate,
            world: world.clone(),
            plan: plan.clone(),
            meddling: meddling.clone(),
            events: sums.events.clone(),
        };
        let storms: Vec<Storm> =
            (0..1 + usize::from(random.below(3) == 0)).map(|_| storm(&mut random)).collect();
        let answers = at_once(&world, &plan, storms, &mut random, sums).await;
        sums.runs += answers.len() as u64;
        sums.broken_off += answers.iter().filter(|answer| answer.is_none()).count() as u64;
        check_nobody_is_harmed(&world, &meddling).await;
    }
    // The storm is over.
    let last = world.run(&plan, &[], &Script::quiet()).await.expect("no fault is left");
    // Where what was read before a write was damaged on its way, and somebody has deleted the version that the
    // new one could be held against, nothing tells that the new one is right: it is not taken for right, and it
    // is named.
    if sums.flipped_bits() > before && !last.is_finished() {
        let kept = kept(&world).await;
        for change in last.failed() {
            let planned = plan.changes.iter().find(|it| it.key == change.key);
            let planned = planned.and_then(|it| it.rewrite.as_ref()).expect("a rewrite");
            let is_kept = kept.iter().any(|it| it.0.is_same_version(&planned.object));
            let is_settled = !shape.is_versioned || is_kept;
            assert!(change.is_unverified && !is_settled, "{change:?}");
        }
        check_nobody_is_harmed(&world, &meddling).await;
        sums.unsettled += 1;
        return;
    }
    assert!(last.is_finished(), "{:?}", last.changes);
    let before = world.kept().await;
    let again = world.run(&plan, &[], &Script::quiet()).await.expect("no fault is left");
    assert_eq!((&again, before), (&last, world.kept().await), "a finished plan has nothing to do");
    check_nobody_is_harmed(&world, &meddling).await;
    check_end(&world, &last, &meddling).await;
    sums.runs += 2;
    let tally = last.tally();
    (sums.erased, sums.drifted, sums.gone) =
        (sums.erased + tally.erased, sums.drifted + tally.drifted, sums.gone + tally.gone);
}

/// Runs the plan through these storms, all at once, call by call as the seed has it.
async fn at_once(
    world: &Arc<World>,
    plan: &ErasurePlan,
    storms: Vec<Storm>,
    random: &mut Random,
    sums: &mut Sums,
) -> Vec<Option<Execution>> {
    let turnstile = Turnstile::new(random.below(u64::MAX), storms.len());
    let several = storms.len() > 1;
    // Whether a run takes whoever holds the lease for dead.
    let takes_over = random.below(3) > 0;
    let runs = storms.into_iter().enumerate().map(|(at, storm)| {
        let mut script = Script::of(storm.chooser());
        script.turnstile = several.then(|| (turnstile.clone(), at));
        let script = Arc::new(script);
        let (world, turnstile, plan) = (world.clone(), turnstile.clone(), plan.clone());
        async move {
            let approved = world.approve(&plan, Vec::new()).await;
            let mut tools: EraseTools = world.tools(&script);
            if !takes_over && at > 0 {
                tools.terms = LeaseTerms { is_alive: |_| Some(true), ..tools.terms };
            }
            let options = ExecuteOptions { concurrency: 1, ..ExecuteOptions::default() };
            let answer = execute(&tools, approved, options).await;
            turnstile.leave(at);
            (answer.ok(), script.calls())
        }
    });
    let answers = futures::future::join_all(runs).await;
    sums.calls += answers.iter().map(|answer| answer.1).sum::<u64>();
    answers.into_iter().map(|answer| answer.0).collect()
}

/// What may happen at a call of a run.
struct Storm {
    random: Random,
    kinds: u64,
    /// Something happens at one call in so many.
    rate: u64,
    world: Arc<World>,
    plan: ErasurePlan,
    meddling: Meddling,
    events: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

const NAMES: [&str; 8] = [
    "error before",
    "error after",
    "killed before",
    "killed after",
    "killed inside",
    "meddled with",
    "flipped bit",
    "ends early",
];

impl Storm {
    fn chooser(mut self) -> Box<dyn FnMut(u64) -> Option<Event> + Send> {
        Box::new(move |_| self.event())
    }

    fn event(&mut self) -> Option<Event> {
        if self.random.below(self.rate) > 0 {
            return None;
        }
        let which = self.random.index(NAMES.len());
        let kind = [FAULTS, FAULTS, DEATHS, DEATHS, DEATHS, OTHERS, DAMAGE, DAMAGE][which];
        // A death ends a run: where deaths are as likely as anything, little else happens.
        if self.kinds & kind == 0 || (kind == DEATHS && self.random.below(3) > 0) {
            return None;
        }
        *self.events.lock().expect("not poisoned").entry(NAMES[which]).or_default() += 1;
        Some(match which {
            0 => Event::ErrorBefore,
            1 => Event::ErrorAfter,
            2 => Event::KillBefore,
            3 => Event::KillAfter,
            4 => Event::KillInside,
            5 => self.meddle(),
            6 => Event::FlippedBit(self.random.index(1 << 20)),
            _ => Event::EndsEarly(self.random.index(1 << 20)),
        })
    }

    /// Another writer does something to an object of the plan, or to one that is no concern of it.
    fn meddle(&mut self) -> Event {
        let known = self.random.index(self.world.known.len());
        let change = self.random.index(self.plan.changes.len().max(1));
        let key = match self.plan.changes.get(change) {
            Some(change) if self.random.below(4) > 0 => change.key.clone(),
            _ => self.world.known[known].object.key.clone(),
        };
        let what = self.random.below(5);
        let owners = (0..1 + self.random.below(5)).map(|_| self.random.index(4)).collect();
        let (world, meddling) = (self.world.clone(), self.meddling.clone());
        Event::Meddle(Box::new(move || {
            let mut meddling = meddling.lock().expect("not poisoned");
            meddle(&world, &key, (what, owners), meddling.entry(key.clone()).or_default());
        }))
    }
}

fn meddle(
    world: &World,
    key: &ObjectKey,
    (what, owners): (u64, Vec<usize>),
    meddled: &mut Meddled,
) {
    let versions = world.lake.versions(key).now_or_never().expect("at once").expect("versions");
    match what {
        0 => {
            world.lake.delete(key);
            meddled.is_deleted = true;
        }
        1 => {
            let planned = world.known.iter().rev().find(|known| known.object.key == *key);
            let bytes = planned.expect("a known object").text(&[]);
            world.lake.delete(key);
            let object = world.lake.put(key, bytes.clone());
            meddled.written.push((object, bytes));
            (meddled.is_deleted, meddled.is_again) = (false, true);
        }
        2 if versions.len() > 1 => {
            let oldest = versions.last().expect("a version").object.clone();
            let deleted = world.lake.delete_version(&oldest).now_or_never().expect("at once");
            deleted.expect("an old version is deleted");
            meddled.written.retain(|(object, _)| !object.is_same_version(&oldest));
        }
        _ => {
            let written = world.put(key, owners, false);
            let bytes = written.text(&[]);
            // The same bytes again, where no versions are kept, are the planned object.
            let is_same = |known: &Known| known.object.is_same_version(&written.object);
            meddled.is_again |= world.known.iter().any(is_same);
            meddled.written.push((written.object, bytes));
            meddled.is_deleted = false;
        }
    }
}

/// Every kept version, but for the scratch objects of probes: what a killed run leaves of one goes with
/// the next probe of the same plan, and holds no data.
async fn kept(world: &World) -> Vec<(ObjectVersion, Standing, Vec<u8>)> {
    let mut kept = world.kept().await;
    kept.retain(|(object, ..)| !is_probe(&object.key));
    kept
}

/// At any moment: every kept version is one that somebody wrote, whole, or one of those without the
/// targets' rows; every version of other writers that could be kept is; postings outlive rows.
async fn check_nobody_is_harmed(world: &World, meddling: &Meddling) {
    let kept = kept(world).await;
    let undisturbed = |known: &Known| {
        let meddling = meddling.lock().expect("not poisoned");
        !meddling.get(&known.object.key).is_some_and(|it| it.is_again || it.is_deleted)
    };
    world.check_postings_outlive_rows_of(undisturbed).await;
    let meddling = meddling.lock().expect("not poisoned");
    for (object, _, bytes) in &kept {
        let is_of = |known: &&Known| known.object.key == object.key;
        let known = world.known.iter().filter(is_of);
        let mut right = known.flat_map(|known| [known.text(&[]), known.text(&world.targets)]);
        let foreign = meddling.get(&object.key).into_iter().flat_map(|it| &it.written);
        let is_right = right.any(|text| text == *bytes) || foreign.clone().any(|it| it.1 == *bytes);
        assert!(is_right, "{object:?} is nobody's: {}", String::from_utf8_lossy(bytes));
    }
    for (key, meddled) in meddling.iter() {
        let now = kept.iter().find(|it| it.0.key == *key && it.1 == Standing::Current);
        let last = meddled.written.last();
        match now {
            None => assert!(meddled.is_deleted || last.is_none(), "{key} is gone"),
            Some(_) if meddled.is_deleted => panic!("{key} is back"),
            Some((_, _, bytes)) if !meddled.is_again => {
                assert!(
                    last.is_none_or(|last| last.1 == *bytes),
                    "what was written to {key} is lost"
                );
            }
            Some(_) => {}
        }
        if world.shape.is_versioned {
            for (object, bytes) in &meddled.written {
                let is_there = kept.iter().any(|it| it.0.is_same_version(object) && it.2 == *bytes);
                assert!(is_there, "{object:?} of another writer is lost");
            }
        }
    }
}

/// In the end: what nobody else touched is erased wherever the plan says so, and nothing is left over.
async fn check_end(world: &World, last: &Execution, meddling: &Meddling) {
    let touched: BTreeSet<ObjectKey> =
        meddling.lock().expect("not poisoned").keys().cloned().collect();
    let kept = kept(world).await;
    for change in &last.changes {
        let is_fine =
            matches!(change.outcome, Outcome::Erased { .. }) || touched.contains(&change.key);
        assert!(is_fine, "{}: {:?}", change.key, change.outcome);
    }
    let keeps = world.shape.policy == SupersededPolicy::Keep;
    for known in world.known.iter().filter(|known| !touched.contains(&known.object.key)) {
        let is_same =
            |it: &&(ObjectVersion, Standing, Vec<u8>)| it.0.is_same_version(&known.object);
        let old = kept.iter().find(is_same);
        let holds_targets = known.rows(&world.targets).is_some();
        let is_current = known.standing == Standing::Current;
        // Of an object without versions the old bytes are gone with the rewrite in any case.
        let stays = !holds_targets || (keeps && world.shape.is_versioned);
        assert_eq!(old.is_some(), stays, "{:?}", known.object);
        assert!(old.is_none_or(|old| old.2 == known.text(&[])), "{:?} changed", known.object);
        if is_current && holds_targets {
            let current = kept
                .iter()
                .find(|it| it.0.key == known.object.key && it.1 == Standing::Current)
                .expect("it is there");
            assert_eq!(current.2, known.text(&world.targets), "{}", known.object.key);
        }
    }
    let count = kept.iter().filter(|it| !touched.contains(&it.0.key)).count();
    let known = world.known.iter().filter(|known| !touched.contains(&known.object.key));
    let expected = known.map(|known| {
        let holds_targets = known.rows(&world.targets).is_some();
        let keeps_old = keeps && world.shape.is_versioned;
        match known.standing {
            Standing::Current if holds_targets && keeps_old => 2,
            Standing::Superseded if holds_targets && !keeps_old => 0,
            _ => 1,
        }
    });
    assert_eq!(count, expected.sum::<usize>(), "no version is missing or new");
    if !keeps {
        let postings = world.postings().await;
        assert!(postings.is_subset(&touched), "{postings:?}");
    }
    assert_eq!(world.lake.unfinished_writes(), 0);
}

/// What the oracle is there to see, done on purpose.
#[test]
fn the_oracle_of_a_storm_sees_every_harm() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let harms: [fn(&World, &ObjectKey, &mut Meddled); 4] = [
        // Nothing: the oracle is content.
        |_, _, _| {},
        // Another writer's object is overwritten.
        |world, key, meddled| {
            let written = world.put(key, vec![2, 3], false);
            meddled.written.push((written.object, b"what was written".to_vec()));
        },
        // A stranger's row is blanked as well.
        |world, key, _| drop(world.lake.put(key, &b"{}\n{}\n"[..])),
        // The object is gone.
        |world, key, _| world.lake.delete(key),
    ];
    for (at, harm) in harms.into_iter().enumerate() {
        let trial = std::panic::AssertUnwindSafe(|| {
            runtime.block_on(async {
                let world = World::new(Shape::new(1, false)).await;
                let plan = world.plan();
                let last = world.run(&plan, &[], &Script::quiet()).await.expect("no fault");
                let key = plan.changes[0].key.clone();
                let meddling = Meddling::default();
                let mut meddled = Meddled::default();
                harm(&world, &key, &mut meddled);
                if !meddled.written.is_empty() {
                    meddling.lock().expect("not poisoned").insert(key, meddled);
                }
                check_nobody_is_harmed(&world, &meddling).await;
                check_end(&world, &last, &meddling).await;
            });
        });
        assert_eq!(std::panic::catch_unwind(trial).is_err(), at > 0, "harm {at}");
    }
}
