//! Sixteen executors and sixteen other writers on the same hundred objects of a versioned bucket.
//!
//! The oracle is the history of each object, which the bucket keeps whole: every version follows from the
//! one before by one step of one of them, every step that was acknowledged is there, and none twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use futures::StreamExt as _;
use lacuna::clock::Clock;
use lacuna::domain::coverage::Coverage;
use lacuna::domain::dataset::{
    Compression, Dataset, DatasetName, EraseAction, ErasePolicy, FormatName, Location, Reading,
    SupersededPolicy,
};
use lacuna::domain::decision::Verdict;
use lacuna::domain::field::IdentifierField;
use lacuna::domain::identifier::{DigestKey, Identifier, IdentifierType, Namespace, RawValue};
use lacuna::domain::journal::Outcome;
use lacuna::domain::object::{ObjectKey, ObjectVersion};
use lacuna::domain::observe::Silent;
use lacuna::domain::plan::{
    ErasurePlan, PLAN_SCHEMA, PlannedChange, PlannedRewrite, PlannedSubject, SubjectRows,
};
use lacuna::domain::request::Mask;
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::erase::approval::{Decider, admit, decide};
use lacuna::erase::executor::{ExecuteOptions, execute};
use lacuna::erase::tools::EraseTools;
use lacuna::lake::memory::MemoryLake;
use lacuna::lake::s3::{S3Lake, S3Settings};
use lacuna::lake::{Estate, Lake as _, LakeErrorKind, Target};
use lacuna::ledger::{Holder, LeaseTerms, Ledger};
use lacuna::metastore::memory::MemoryMetastore;
use tokio::task::JoinSet;

use super::{deadline, now, number};
use crate::support::random_lake::Random;
use crate::support::services;

/// Who decides.
const OFFICER: Decider<'static> = Decider { by: "officer", is_one_of_two: false, link: None };

const OBJECTS: usize = 100;
const EXECUTORS: u64 = 16;
const WRITERS: u64 = 16;
const PEOPLE: usize = 24;

/// What is known of what was done, by key.
#[derive(Debug, Default)]
struct Done {
    /// Lines whose writing was acknowledged.
    appended: Vec<(String, String)>,
    /// Lines of which nobody knows: the answer was an error other than a conflict.
    unsure: BTreeSet<String>,
    /// Versions that an executor made, and for whom.
    erased: BTreeMap<(String, String), usize>,
    conflicts: u64,
    drifted: u64,
    nothing_to_do: u64,
    again: u64,
}

type Shared = Arc<Mutex<Done>>;

/// A2, B1, D4: no lost update, no double effect.
#[test]
#[ignore = "scripts/torture runs it by name, for as long as one likes"]
#[expect(clippy::print_stdout, reason = "who runs this by name wants to see what was tried")]
fn executors_and_writers_lose_nothing_and_do_nothing_twice() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (seed, deadline) = (number("LACUNA_SEED", 1), deadline(10));
        let (client, bucket) = versioned_bucket().await;
        let keys: Vec<String> = (0..OBJECTS).map(|at| format!("c/o{at}.json")).collect();
        for (at, key) in keys.iter().enumerate() {
            let lines: String =
                (0..3).map(|row| line((at + row) % PEOPLE, "start", row as u64)).collect();
            let put = client.put_object().bucket(&bucket).key(key);
            put.body(lines.into_bytes().into()).send().await.expect("an object");
        }
        let done = Shared::default();
        let mut tasks = JoinSet::new();
        let keys = Arc::new(keys);
        for number in 0..WRITERS {
            let writer = Writer {
                client: client.clone(),
                bucket: bucket.clone(),
                keys: keys.clone(),
                random: Random(seed.wrapping_mul(100) + number),
                name: format!("w{number}"),
                done: done.clone(),
            };
            tasks.spawn(writer.write(deadline));
        }
        for number in 0..EXECUTORS {
            let seed = seed.wrapping_mul(100) + 50 + number;
            let executor = Executor::new(&bucket, keys.clone(), seed, done.clone()).await;
            tasks.spawn(executor.erase(deadline));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("nobody panicked");
        }
        let done = Arc::into_inner(done).expect("everybody is done").into_inner().expect("whole");
        let versions = check_history(&client, &bucket, &keys, &done).await;
        let (appended, erased, unsure) =
            (done.appended.len(), done.erased.len(), done.unsure.len());
        println!(
            "{appended} lines appended, {erased} objects erased from, {versions} versions in one \
             line of succession each; {} conflicts of writers, {} drifted, {} had nothing to do, \
             {} runs went on, {unsure} unsure, seed {seed}",
            done.conflicts, done.drifted, done.nothing_to_do, done.again,
        );
        assert!(!done.appended.is_empty() && !done.erased.is_empty() && done.drifted > 0);
    });
}

async fn versioned_bucket() -> (Client, String) {
    let client = services::client(&services::s3().configuration().await);
    let name = services::unique("torture");
    client.create_bucket().bucket(&name).send().await.expect("a bucket");
    let enabled = VersioningConfiguration::builder();
    let enabled = enabled.status(BucketVersioningStatus::Enabled).build();
    let asked = client.put_bucket_versioning().bucket(&name).versioning_configuration(enabled);
    asked.send().await.expect("versioning");
    (client, name)
}

fn line(owner: usize, writer: &str, number: u64) -> String {
    format!("{{\"u\":\"person{owner}\",\"w\":\"{writer}\",\"n\":{number}}}\n")
}

/// A program that adds lines: reads, and writes on condition that nobody wrote meanwhile.
struct Writer {
    client: Client,
    bucket: String,
    keys: Arc<Vec<String>>,
    random: Random,
    name: String,
    done: Shared,
}

impl Writer {
    async fn write(mut self, deadline: Instant) {
        let mut number = 0;
        while now() < deadline {
            let key = self.keys[self.random.index(OBJECTS)].clone();
            number += 1;
            let line = line(self.random.index(PEOPLE), &self.name, number);
            self.append(&key, &line).await;
            // Executors do ten times as much for each object, and are to be as many.
            tokio::time::sleep(Duration::from_millis(self.random.below(400))).await;
        }
    }

    /// Tries until the line is there.
    async fn append(&self, key: &str, line: &str) {
        loop {
            let got = self.client.get_object().bucket(&self.bucket).key(key).send().await;
            let got = got.expect("an object");
            let etag = got.e_tag().expect("an ETag").to_owned();
            let mut bytes = got.body.collect().await.expect("its bytes").to_vec();
            bytes.extend(line.bytes());
            let put = self.client.put_object().bucket(&self.bucket).key(key).if_match(etag);
            let answer = put.body(bytes.into()).send().await;
            let mut done = self.done.lock().expect("not poisoned");
            match answer {
                Ok(_) => {
                    done.appended.push((key.to_owned(), line.to_owned()));
                    return;
                }
                Err(error) if is_conflict(&error) => done.conflicts += 1,
                Err(_) => {
                    done.unsure.insert(line.to_owned());
                    return;
                }
            }
        }
    }
}

fn is_conflict(error: &aws_sdk_s3::error::SdkError<PutObjectError>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    matches!(status, Some(409 | 412))
}

/// Erases one person after another from some of the objects, each by a plan of its own.
struct Executor {
    lake: Arc<S3Lake>,
    tools: EraseTools,
    keys: Arc<Vec<String>>,
    random: Random,
    seed: u64,
    done: Shared,
}

fn key() -> DigestKey {
    DigestKey::new([5; 32])
}

fn clock() -> Clock {
    Clock::manual("2026-11-20T12:00:00Z".parse().expect("a moment"))
}

impl Executor {
    async fn new(bucket: &str, keys: Arc<Vec<String>>, seed: u64, done: Shared) -> Self {
        let configuration = services::s3().configuration().await;
        let lake = S3Lake::with_configuration(&configuration, S3Settings::new(bucket));
        let lake = Arc::new(lake.expect("a lake"));
        let estate = Estate { dataset: Arc::new(dataset(bucket)), lake: lake.clone() };
        let ledger = Arc::new(MemoryLake::unversioned());
        let tools = EraseTools {
            datasets: vec![estate].into(),
            metastore: Arc::new(MemoryMetastore::default()),
            ledger: Ledger::new(ledger, *b"", clock()),
            key: key(),
            clock: clock(),
            observer: Arc::new(Silent),
            holder: Holder { host: format!("host{seed}"), process: 1 },
            terms: LeaseTerms::default(),
            pause: Duration::from_millis(20),
        };
        Self { lake, tools, keys, random: Random(seed), seed, done }
    }

    async fn erase(mut self, deadline: Instant) {
        let mut number = 0;
        while now() < deadline {
            number += 1;
            let person = self.random.index(PEOPLE);
            let mut chosen = BTreeSet::new();
            while chosen.len() < 3 {
                chosen.insert(self.keys[self.random.index(OBJECTS)].clone());
            }
            let mut changes = Vec::new();
            for key in chosen {
                changes.extend(self.change(&key, person).await);
            }
            if changes.is_empty() {
                self.done.lock().expect("not poisoned").nothing_to_do += 1;
                continue;
            }
            self.carry_out(&self.plan(number, person, changes), person).await;
        }
    }

    /// What is to be done with an object as it is now.
    async fn change(&self, key: &str, person: usize) -> Option<PlannedChange> {
        let key = ObjectKey::from(key);
        let object = self.lake.attributes(Target::Current(&key)).await.expect("an object").object;
        let text = match self.text(&object).await {
            Some(text) => text,
            // Somebody was quicker.
            None => return None,
        };
        let name = format!("\"person{person}\"");
        let lines = || (0..).zip(text.lines());
        let rows = lines().filter(|(_, line)| line.contains(&name)).map(|(row, _)| RowNumber(row));
        let rows = RowSet::new(rows)?;
        let rewrite = PlannedRewrite {
            object,
            format: FormatName::Jsonl,
            compression: Compression::None,
            storage_class: None,
            action: EraseAction::default(),
            rows_total: RowCount(lines().count() as u64),
            subjects: vec![SubjectRows { ordinal: 1, rows: rows.count() }],
            rows,
            estimate: None,
        };
        Some(PlannedChange {
            dataset: DatasetName::new("d"),
            key,
            rewrite: Some(rewrite),
            expunge: Vec::new(),
            superseded: SupersededPolicy::Keep,
        })
    }

    async fn text(&self, object: &ObjectVersion) -> Option<String> {
        let mut pieces = match self.lake.read(object, 0..object.size_bytes).await {
            Ok(pieces) => pieces,
            Err(error) if error.kind() == LakeErrorKind::Drifted => return None,
            Err(error) => panic!("{error}"),
        };
        let mut text = Vec::new();
        while let Some(piece) = pieces.next().await {
            text.extend(piece.expect("its bytes"));
        }
        Some(String::from_utf8(text).expect("text"))
    }

    fn plan(&self, number: u64, person: usize, changes: Vec<PlannedChange>) -> ErasurePlan {
        let text = format!("person{person}");
        let raw = RawValue::Text(text.as_bytes());
        let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
        ErasurePlan {
            schema: PLAN_SCHEMA.to_owned(),
            request: format!("R-{}-{number}", self.seed),
            planned_at: self.tools.clock.now(),
            expires_at: "2026-11-27T12:00:00Z".parse().expect("a moment"),
            configuration: "c".to_owned(),
            key: key().check_value(),
            subjects: vec![PlannedSubject {
                ordinal: 1,
                mask: Mask::of("p"),
                digests: vec![identifier.expect("an identifier").digest(&key())],
                rows: RowCount(1),
                objects: 1,
            }],
            changes,
            out_of_reach: Vec::new(),
            coverage: vec![Coverage::empty(DatasetName::new("d"))],
            warnings: Vec::new(),
        }
    }

    /// Carries a plan out; the same command again where something failed for the moment.
    async fn carry_out(&self, plan: &ErasurePlan, person: usize) {
        let ledger = &self.tools.ledger;
        let id = ledger.put_plan(plan).await.expect("a plan");
        let verdict = Verdict::Approved { except: Vec::new() };
        decide(ledger, &id, verdict, OFFICER, &self.tools.clock).await.expect("a decision");
        for attempt in 0..5 {
            let check = key().check_value();
            let approved = admit(ledger, &id, &plan.configuration, &check, &self.tools.clock).await;
            let options = ExecuteOptions { concurrency: 2, ..ExecuteOptions::default() };
            let run = execute(&self.tools, approved.expect("admitted"), options).await;
            let Ok(execution) = run else { continue };
            self.done.lock().expect("not poisoned").again += u64::from(attempt > 0);
            if !execution.is_finished() {
                continue;
            }
            let mut done = self.done.lock().expect("not poisoned");
            for change in &execution.changes {
                match &change.outcome {
                    Outcome::Erased { rewrite: Some(replacement), .. } => {
                        let version = replacement.new.version.as_str().to_owned();
                        let twice = done.erased.insert((change.key.to_string(), version), person);
                        assert_eq!(twice, None, "one version is of one erasure");
                    }
                    Outcome::Drifted => done.drifted += 1,
                    other => panic!("{}: {other:?}", change.key),
                }
            }
            return;
        }
        panic!("a plan did not come to its end in five runs");
    }
}

fn dataset(bucket: &str) -> Dataset {
    Dataset {
        name: DatasetName::new("d"),
        location: Location::S3 { bucket: bucket.to_owned(), prefix: "c/".to_owned() },
        include: Vec::new(),
        exclude: Vec::new(),
        reading: Reading::default(),
        identifiers: vec![IdentifierField {
            namespace: Namespace::new("user"),
            path: "u".parse().expect("a path"),
            kind: IdentifierType::String,
        }],
        erase: ErasePolicy { action: EraseAction::default(), superseded: SupersededPolicy::Keep },
    }
}

/// One version of an object, as the bucket keeps it.
struct Kept {
    version: String,
    lines: Vec<String>,
    is_current: bool,
}

impl Kept {
    fn blanks(&self) -> usize {
        self.lines.iter().filter(|line| is_blank(line)).count()
    }
}

fn is_blank(line: &str) -> bool {
    line.trim_end() == "{}"
}

/// Holds the history of every object against what was acknowledged; answers with the number of versions.
async fn check_history(client: &Client, bucket: &str, keys: &[String], done: &Done) -> usize {
    let mut count = 0;
    for key in keys {
        let mut kept = history(client, bucket, key).await;
        // Lines are only added, and blanks only become more: the order is in the content.
        kept.sort_by_key(|kept| (kept.lines.len() + kept.blanks(), kept.lines.len()));
        for both in kept.windows(2) {
            check_step(key, (&both[0], &both[1]), done);
        }
        let last = kept.last().expect("a version");
        assert!(last.is_current, "{key}: the last version is the current one");
        check_lines(key, last, done);
        let appended = done.appended.iter().filter(|(other, _)| other == key).count();
        let erased = done.erased.keys().filter(|(other, _)| other == key).count();
        let unsure = done.unsure.iter().filter(|line| last.lines.contains(line)).count();
        assert_eq!(kept.len(), 1 + appended + erased + unsure, "{key}: a version for each step");
        count += kept.len();
    }
    count
}

/// One version follows from the one before by one step: a line more, or somebody's lines blanked.
fn check_step(key: &str, (one, two): (&Kept, &Kept), done: &Done) {
    let person = done.erased.get(&(key.to_owned(), two.version.clone()));
    let changed = one.lines.iter().zip(&two.lines).filter(|(a, b)| a != b);
    match person {
        None => {
            assert_eq!(changed.count(), 0, "{key} {}: a writer changes no line", two.version);
            assert_eq!(one.lines.len() + 1, two.lines.len(), "{key} {}: one line", two.version);
        }
        Some(person) => {
            assert_eq!(one.lines.len(), two.lines.len(), "{key} {}: no line", two.version);
            let name = format!("\"person{person}\"");
            let mut blanked = 0;
            for (before, after) in changed {
                assert!(before.contains(&name) && is_blank(after), "{key}: {before} -> {after}");
                assert_eq!(before.len(), after.len());
                blanked += 1;
            }
            assert!(blanked > 0, "{key} {}: an erasure that does nothing", two.version);
            assert!(!two.lines.iter().any(|line| line.contains(&name)), "{key}: somebody is left");
        }
    }
}

/// Every acknowledged line is there once, or is blank.
fn check_lines(key: &str, last: &Kept, done: &Done) {
    let mut lines: Vec<&String> = last.lines.iter().filter(|line| !is_blank(line)).collect();
    lines.sort();
    let distinct: BTreeSet<_> = lines.iter().collect();
    assert_eq!(distinct.len(), lines.len(), "{key}: a line is there twice");
    let appended = done.appended.iter().filter(|(other, _)| other == key);
    let missing = appended.filter(|(_, line)| !distinct.contains(&&line.trim_end().to_owned()));
    let most = last.lines.iter().filter(|line| is_blank(line)).count();
    assert!(missing.count() <= most, "{key}: more lines are missing than were blanked");
}

async fn history(client: &Client, bucket: &str, key: &str) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut next = (None, None);
    loop {
        let asked = client.list_object_versions().bucket(bucket).prefix(key);
        let page = asked.set_key_marker(next.0).set_version_id_marker(next.1).send().await;
        let page = page.expect("a listing");
        for version in page.versions().iter().filter(|version| version.key() == Some(key)) {
            let id = version.version_id().expect("a version").to_owned();
            let asked = client.get_object().bucket(bucket).key(key).version_id(&id).send().await;
            let bytes = asked.expect("a version").body.collect().await.expect("its bytes").to_vec();
            let text = String::from_utf8(bytes).expect("text");
            let lines = text.lines().map(str::to_owned).collect();
            let is_current = version.is_latest() == Some(true);
            kept.push(Kept { version: id, lines, is_current });
        }
        if page.is_truncated() != Some(true) {
            return kept;
        }
        let marker = |marker: Option<&str>| marker.map(str::to_owned);
        next = (marker(page.next_key_marker()), marker(page.next_version_id_marker()));
    }
}
