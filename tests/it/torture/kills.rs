//! The program killed at every request it makes: each note of the journal, each step of the lease, each
//! read and write of an object is one, since lake and ledger both lie on S3.

use tempfile::TempDir;

use super::guillotine::{Guillotine, Side};
use super::{deadline, now, number};
use crate::story::Story;
use crate::support::place::{Bucket, Place};
use crate::support::random_lake::{self, Random};

/// A bucket that the program reaches through the proxy, and the test directly.
struct Watched<'a> {
    bucket: &'a Bucket,
    endpoint: String,
}

impl Place for Watched<'_> {
    fn location(&self) -> String {
        self.bucket.location()
    }

    fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.bucket.environment();
        let endpoint = environment.iter_mut().find(|(name, _)| name == "LACUNA_S3_ENDPOINT");
        endpoint.expect("an endpoint").1.clone_from(&self.endpoint);
        environment
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        self.bucket.put(key, bytes);
    }

    fn get(&self, key: &str) -> Vec<u8> {
        self.bucket.get(key)
    }

    fn delete(&self, key: &str) {
        self.bucket.delete(key);
    }

    fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.bucket.all()
    }

    fn unfinished(&self) -> usize {
        self.bucket.unfinished()
    }
}

/// How many points each command was killed at.
#[derive(Debug, Default)]
struct Killed {
    index: u64,
    plan: u64,
    erase: u64,
    vacuum: u64,
    /// The most requests that an erasure made.
    longest_erasure: u64,
    /// Whole sweeps over all requests of an erasure, on one side of them.
    sweeps: u64,
}

/// Where the next kill is.
struct Sweep {
    at: u64,
    side: Side,
}

impl Sweep {
    /// The next point: one request on, and from the start on the other side where that was beyond the end.
    fn go_on(&mut self, was_killed: bool) -> bool {
        self.at += 1;
        if was_killed {
            return false;
        }
        self.at = 1;
        self.side = if self.side == Side::Before { Side::After } else { Side::Before };
        true
    }
}

/// D1, D2: killed at any request, on either side of it, `index`, `plan`, `erase` and `vacuum` run once
/// more end as if nothing had been.
#[test]
#[ignore = "scripts/torture runs it by name, for as long as one likes"]
#[expect(clippy::print_stdout, reason = "who runs this by name wants to see what was tried")]
fn killed_at_every_request_one_more_run_recovers() {
    let seed = number("LACUNA_SEED", 1);
    let deadline = deadline(20);
    let mut killed = Killed::default();
    let mut random = Random(seed);
    let mut sweep = Sweep { at: 1 + random.below(40), side: Side::Before };
    for round in 0.. {
        let seed = seed.wrapping_mul(1000) + round;
        life(seed, (&mut sweep, &mut killed), &mut random, || now() > deadline);
        if now() > deadline {
            break;
        }
    }
    let points = killed.index + killed.plan + killed.erase + killed.vacuum;
    println!("{points} kill points: {killed:?}, seed {seed}");
    assert!(killed.erase > 0 && killed.index > 0, "nothing was killed");
}

/// One lake, its people erased one after another, each with a kill in the middle.
fn life(
    seed: u64,
    (sweep, killed): (&mut Sweep, &mut Killed),
    random: &mut Random,
    is_over: impl Fn() -> bool,
) {
    let (bucket, ledger) = (Bucket::new(seed.is_multiple_of(2)), Bucket::new(false));
    let server = bucket.endpoint();
    let guillotine = Guillotine::before(&server);
    let place = Watched { bucket: &bucket, endpoint: guillotine.endpoint.clone() };
    let home = TempDir::new().expect("a folder");
    let made = random_lake::make(seed, 6, 90, 40);
    let mut story = Story::new(&place, &home, made, "");
    let file = home.path().join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let remote = format!("location = \"{}/ledger/\"", ledger.location());
    let configuration = configuration.replace("location = \".lacuna/ledger\"", &remote);
    std::fs::write(&file, configuration).expect("a configuration");

    let index = |at: u64, side: Side| guillotine.run(story.program.command(&["index"]), at, side);
    for (at, side) in [(sweep.at % 13 + 1, sweep.side), (sweep.at % 7 + 1, Side::After)] {
        killed.index += u64::from(index(at, side).was_killed);
        story.program.run(&["index"]).success();
        std::fs::remove_dir_all(home.path().join(".lacuna/index")).expect("the index goes");
    }
    story.program.run(&["index"]).success();
    story.check_find();
    for subject in 0..story.lake.subjects.len() {
        if subject % 8 == 0 {
            let user = story.lake.subjects[subject].user.clone();
            let plan = ["plan", "--request", "R-0", "--subject", &user];
            let ended = guillotine.run(story.program.command(&plan), 1 + sweep.at % 29, sweep.side);
            killed.plan += u64::from(ended.was_killed);
        }
        let plan = story.approved_plan(&[subject]);
        let erase = |at, side| guillotine.run(story.program.command(&["erase", &plan]), at, side);
        let mut ended = erase(sweep.at, sweep.side);
        killed.longest_erasure = killed.longest_erasure.max(ended.requests);
        killed.sweeps += u64::from(sweep.go_on(ended.was_killed));
        // Whoever recovers may be killed as well: every third point is one of the sweep.
        for again in 0.. {
            killed.erase += u64::from(ended.was_killed);
            if !ended.was_killed || again == 2 {
                break;
            }
            let side = [Side::Before, Side::After][random.index(2)];
            ended = erase(1 + random.below(killed.longest_erasure), side);
        }
        story.program.run(&["erase", &plan]).success();
        story.erased.push(subject);
        if subject % 10 == 9 {
            story.program.run(&["verify", &plan]).success();
            story.check_text();
        }
        if is_over() {
            break;
        }
    }
    story.check();
    for (key, bytes) in ledger.all() {
        for erased in &story.erased {
            let canaries = story.lake.subjects[*erased].canaries();
            let left = canaries.iter().find(|canary| random_lake::holds(&bytes, canary));
            assert!(left.is_none(), "{left:?} is left in the ledger's {key}");
        }
    }
    let before = bucket.all().len();
    let vacuum = story.program.command(&["vacuum"]);
    killed.vacuum += u64::from(guillotine.run(vacuum, sweep.at, sweep.side).was_killed);
    story.program.run(&["vacuum"]).success();
    assert_eq!(bucket.unfinished(), 0);
    assert!(bucket.all().len() >= before, "a vacuum deletes nothing of others");
    let count = story.program.run(&["vacuum", "--json"]).success().json();
    assert_eq!(count["dropped"], 0, "nothing is left to drop");
}
