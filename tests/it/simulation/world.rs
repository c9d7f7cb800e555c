//! A small lake in memory whose every row and owner is known, a plan over it, and the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use lacuna::clock::Clock;
use lacuna::domain::Timestamp;
use lacuna::domain::coverage::Coverage;
use lacuna::domain::dataset::{
    Compression, Dataset, DatasetName, EraseAction, ErasePolicy, FormatName, Location, Reading,
    SupersededPolicy,
};
use lacuna::domain::decision::{Exception, Verdict};
use lacuna::domain::field::IdentifierField;
use lacuna::domain::identifier::{
    DigestKey, Identifier, IdentifierDigest, IdentifierType, Namespace, RawValue,
};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::{ObjectKey, ObjectVersion, Standing};
use lacuna::domain::observe::Silent;
use lacuna::domain::plan::{
    ErasurePlan, PLAN_SCHEMA, PlanId, PlannedChange, PlannedExpunge, PlannedRewrite,
    PlannedSubject, SubjectRows,
};
use lacuna::domain::posting::{RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject};
use lacuna::domain::request::Mask;
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::erase::approval::{ApprovedPlan, Decider, admit, decide};
use lacuna::erase::execution::Execution;
use lacuna::erase::executor::{ExecuteOptions, execute};
use lacuna::erase::tools::{EraseError, EraseTools};
use lacuna::lake::Estate;
use lacuna::lake::Lake;
use lacuna::lake::memory::MemoryLake;
use lacuna::ledger::{Holder, LeaseTerms, Ledger};
use lacuna::metastore::Metastore;
use lacuna::metastore::memory::MemoryMetastore;

use super::faults::{Script, ScriptedLake, ScriptedMetastore};
use crate::support::random_lake::Random;

/// Who decides.
const OFFICER: Decider<'static> = Decider { by: "officer", is_one_of_two: false, link: None };

/// How many people there are; the last of them is a stranger to every request.
const PEOPLE: usize = 4;

/// One version of an object, with the owner of each row.
#[derive(Clone)]
pub struct Known {
    pub object: ObjectVersion,
    pub owners: Vec<usize>,
    pub is_csv: bool,
    pub standing: Standing,
}

impl Known {
    /// The rows of these people.
    pub fn rows(&self, people: &[usize]) -> Option<RowSet> {
        let rows = (0..).zip(&self.owners).filter(|(_, owner)| people.contains(owner));
        RowSet::new(rows.map(|(row, _)| RowNumber(row)))
    }

    /// What it has to hold when these people are erased.
    pub fn text(&self, erased: &[usize]) -> Vec<u8> {
        let mut text = if self.is_csv { b"u,n\n".to_vec() } else { Vec::new() };
        for (row, owner) in self.owners.iter().enumerate() {
            let line = record(self.is_csv, row, *owner);
            match (erased.contains(owner), self.is_csv) {
                (false, _) => text.extend(line.as_bytes()),
                (true, true) => text.extend(b","),
                (true, false) => text.extend(format!("{:<1$}", "{}", line.len()).as_bytes()),
            }
            text.push(b'\n');
        }
        text
    }
}

fn record(is_csv: bool, row: usize, owner: usize) -> String {
    if is_csv {
        format!("person{owner},{row}")
    } else {
        format!("{{\"u\":\"person{owner}\",\"n\":{row}}}")
    }
}

/// How a world is made.
#[derive(Clone, Copy)]
pub struct Shape {
    pub seed: u64,
    pub is_versioned: bool,
    pub marks_operations: bool,
    pub policy: SupersededPolicy,
    pub objects: usize,
}

impl Shape {
    pub fn new(seed: u64, is_versioned: bool) -> Self {
        let policy = SupersededPolicy::Matching;
        Self { seed, is_versioned, marks_operations: true, policy, objects: 3 }
    }
}

/// A lake, its index, a ledger, and a plan.
pub struct World {
    pub shape: Shape,
    pub lake: Arc<MemoryLake>,
    pub metastore: MemoryMetastore,
    pub ledger_lake: Arc<MemoryLake>,
    pub known: Vec<Known>,
    pub targets: Vec<usize>,
    pub clock: Clock,
    pub key: DigestKey,
    pub dataset: Arc<Dataset>,
}

impl World {
    /// Makes objects, some with superseded versions or a delete marker, and indexes them all.
    pub async fn new(shape: Shape) -> Self {
        let start: Timestamp = "2026-11-20T12:00:00Z".parse().expect("a moment");
        let lake =
            if shape.is_versioned { MemoryLake::versioned() } else { MemoryLake::unversioned() };
        let mut world = Self {
            shape,
            lake: Arc::new(lake),
            metastore: MemoryMetastore::default(),
            ledger_lake: Arc::new(MemoryLake::unversioned()),
            known: Vec::new(),
            targets: vec![0, 1],
            clock: Clock::manual(start),
            key: DigestKey::new([9; 32]),
            dataset: Arc::new(dataset(shape.policy)),
        };
        world.fill();
        for known in &world.known {
            world.index(known).await;
        }
        world
    }

    fn fill(&mut self) {
        let mut random = Random(self.shape.seed);
        for at in 0..self.shape.objects {
            let is_csv = random.below(2) == 0;
            let key =
                ObjectKey::from(format!("o{at}.{}", if is_csv { "csv" } else { "json" }).as_str());
            let versions = if self.shape.is_versioned { 1 + random.index(3) } else { 1 };
            for _ in 0..versions {
                let owners = (0..1 + random.index(6)).map(|_| random.index(PEOPLE)).collect();
                let known = self.put(&key, owners, is_csv);
                self.known.push(known);
            }
            let is_hidden = self.shape.is_versioned && random.below(5) == 0;
            if is_hidden {
                self.lake.delete(&key);
            }
            self.settle_standing(&key, is_hidden);
        }
    }

    /// Writes a version as another program does.
    pub fn put(&self, key: &ObjectKey, owners: Vec<usize>, is_csv: bool) -> Known {
        let object = ObjectVersion {
            key: key.clone(),
            version: lacuna::domain::object::VersionId::null(),
            etag: lacuna::domain::object::ETag::new(""),
            size_bytes: 0,
            modified_at: Timestamp::UNIX_EPOCH,
        };
        let mut known = Known { object, owners, is_csv, standing: Standing::Current };
        known.object = self.lake.put(key, known.text(&[]));
        known
    }

    fn settle_standing(&mut self, key: &ObjectKey, is_hidden: bool) {
        let mut versions: Vec<&mut Known> =
            self.known.iter_mut().filter(|known| known.object.key == *key).collect();
        let last = versions.len() - 1;
        for (at, known) in versions.iter_mut().enumerate() {
            let is_current = at == last && !is_hidden;
            known.standing = if is_current { Standing::Current } else { Standing::Superseded };
        }
    }

    pub fn digest(&self, person: usize) -> IdentifierDigest {
        let text = format!("person{person}");
        let raw = RawValue::Text(text.as_bytes());
        Identifier::new(Namespace::new("user"), IdentifierType::String, raw)
            .expect("an identifier")
            .digest(&self.key)
    }

    /// Puts a version into the index, with what it holds.
    pub async fn index(&self, known: &Known) {
        let name = &self.dataset.name;
        let mut recorder = self.metastore.record(name, &known.object).await.expect("a recorder");
        let postings = (0..).zip(&known.owners);
        let postings = postings
            .map(|(row, owner)| RowPosting { digest: self.digest(*owner), row: RowNumber(row) });
        recorder.append(postings.collect()).await.expect("postings");
        let scanned = ScannedObject {
            object: known.object.clone(),
            settings: self.dataset.scan_settings(),
            scanned_at: self.clock.now(),
            outcome: ScanOutcome::Indexed(ScanSummary {
                format: format_name(known),
                compression: Compression::None,
                rows: RowCount(known.owners.len() as u64),
                gaps: RowGaps::default(),
                foreign_values: 0,
                landmarks: Landmarks::default(),
            }),
        };
        recorder.commit(scanned).await.expect("a record");
    }

    /// The tools, with stores that follow the script.
    pub fn tools(&self, script: &Arc<Script>) -> EraseTools {
        let lake = ScriptedLake {
            inner: self.lake.clone(),
            script: script.clone(),
            marks_operations: self.shape.marks_operations,
        };
        let ledger = ScriptedLake {
            inner: self.ledger_lake.clone(),
            script: script.clone(),
            marks_operations: true,
        };
        let metastore =
            ScriptedMetastore { inner: Arc::new(self.metastore.clone()), script: script.clone() };
        EraseTools {
            datasets: vec![Estate { dataset: self.dataset.clone(), lake: Arc::new(lake) }].into(),
            metastore: Arc::new(metastore),
            ledger: Ledger::new(Arc::new(ledger), *b"", self.clock.clone()),
            key: self.key.clone(),
            clock: self.clock.clone(),
            observer: Arc::new(Silent),
            holder: Holder { host: "here".to_owned(), process: 1 },
            // Whoever held the lease is dead: the simulation kills before it runs again.
            terms: LeaseTerms { is_alive: |_| Some(false), ..LeaseTerms::default() },
            pause: Duration::ZERO,
        }
    }

    /// The plan that a sound index leads to.
    pub fn plan(&self) -> ErasurePlan {
        let mut changes: BTreeMap<ObjectKey, PlannedChange> = BTreeMap::new();
        for known in &self.known {
            let Some(rows) = known.rows(&self.targets) else { continue };
            let change = changes.entry(known.object.key.clone()).or_insert_with(|| PlannedChange {
                dataset: self.dataset.name.clone(),
                key: known.object.key.clone(),
                rewrite: None,
                expunge: Vec::new(),
                superseded: self.shape.policy,
            });
            match known.standing {
                Standing::Current => change.rewrite = Some(self.rewrite(known, rows)),
                Standing::Superseded if self.shape.policy == SupersededPolicy::Keep => {}
                Standing::Superseded => change
                    .expunge
                    .push(PlannedExpunge { object: known.object.clone(), rows: rows.count() }),
            }
        }
        let now = self.clock.now();
        ErasurePlan {
            schema: PLAN_SCHEMA.to_owned(),
            request: "R-1".to_owned(),
            planned_at: now,
            expires_at: "2026-11-27T12:00:00Z".parse().expect("a moment"),
            configuration: "c".to_owned(),
            key: self.key.check_value(),
            subjects: self.targets.iter().map(|target| self.subject(*target)).collect(),
            changes: changes.into_values().collect(),
            out_of_reach: Vec::new(),
            coverage: vec![Coverage::empty(self.dataset.name.clone())],
            warnings: Vec::new(),
        }
    }

    /// A plan that rewrites just this version.
    pub fn plan_with(&self, known: &Known) -> ErasurePlan {
        let rows = known.rows(&self.targets).expect("a target's row");
        let change = PlannedChange {
            dataset: self.dataset.name.clone(),
            key: known.object.key.clone(),
            rewrite: Some(self.rewrite(known, rows)),
            expunge: Vec::new(),
            superseded: self.shape.policy,
        };
        ErasurePlan { changes: vec![change], ..self.plan() }
    }

    pub fn rewrite(&self, known: &Known, rows: RowSet) -> PlannedRewrite {
        PlannedRewrite {
            object: known.object.clone(),
            format: format_name(known),
            compression: Compression::None,
            storage_class: None,
            action: EraseAction::default(),
            rows_total: RowCount(known.owners.len() as u64),
            subjects: vec![SubjectRows { ordinal: 1, rows: rows.count() }],
            rows,
            estimate: None,
        }
    }

    fn subject(&self, person: usize) -> PlannedSubject {
        PlannedSubject {
            ordinal: person as u32 + 1,
            mask: Mask::of("p"),
            digests: vec![self.digest(person)],
            rows: RowCount(1),
            objects: 1,
        }
    }

    /// Carries out the plan under a script, approved except for these keys.
    pub async fn run(
        &self,
        plan: &ErasurePlan,
        except: &[ObjectKey],
        script: &Arc<Script>,
    ) -> Result<Execution, EraseError> {
        self.run_with(plan, except, (script, false)).await
    }

    /// Reads every object whole.
    pub async fn run_deep(&self, plan: &ErasurePlan) -> Execution {
        let execution = self.run_with(plan, &[], (&Script::quiet(), true)).await;
        execution.expect("no fault")
    }

    async fn run_with(
        &self,
        plan: &ErasurePlan,
        except: &[ObjectKey],
        (script, is_deep): (&Arc<Script>, bool),
    ) -> Result<Execution, EraseError> {
        let except = except
            .iter()
            .map(|key| Exception { dataset: self.dataset.name.clone(), key: key.clone() });
        let approved = self.approve(plan, except.collect()).await;
        let options = ExecuteOptions { concurrency: 1, is_deep, ..ExecuteOptions::default() };
        execute(&self.tools(script), approved, options).await
    }

    pub async fn approve(&self, plan: &ErasurePlan, except: Vec<Exception>) -> ApprovedPlan {
        let ledger = Ledger::new(self.ledger_lake.clone(), *b"", self.clock.clone());
        let id = ledger.put_plan(plan).await.expect("a plan");
        let verdict = Verdict::Approved { except };
        decide(&ledger, &id, verdict, OFFICER, &self.clock).await.expect("a decision");
        let key = self.key.check_value();
        admit(&ledger, &id, &plan.configuration, &key, &self.clock).await.expect("admitted")
    }

    /// Whether the journal has a note on the plan.
    pub async fn has_begun(&self, plan: &ErasurePlan) -> bool {
        let ledger = Ledger::new(self.ledger_lake.clone(), *b"", self.clock.clone());
        ledger.has_begun(&PlanId::of(&plan.to_bytes())).await.expect("a ledger")
    }

    /// The bytes of a version.
    pub async fn bytes(&self, object: &ObjectVersion) -> Vec<u8> {
        let pieces = self.lake.read(object, 0..object.size_bytes).await.expect("it is there");
        let pieces: Vec<_> = pieces.try_collect().await.expect("it is read");
        pieces.concat()
    }

    /// Every kept version of every key.
    pub async fn kept(&self) -> Vec<(ObjectVersion, Standing, Vec<u8>)> {
        let listed: Vec<_> = self.lake.list(b"").try_collect().await.expect("a listing");
        let mut kept = Vec::new();
        for version in listed {
            let bytes = self.bytes(&version.object).await;
            kept.push((version.object, version.standing, bytes));
        }
        kept
    }

    /// The keys that still have postings of the targets.
    pub async fn postings(&self) -> BTreeSet<ObjectKey> {
        let digests: Vec<_> = self.targets.iter().map(|target| self.digest(*target)).collect();
        let postings: Vec<_> =
            self.metastore.lookup(&digests).try_collect().await.expect("postings");
        postings.into_iter().map(|posting| posting.object.key).collect()
    }

    /// Promise 5, D16: at any moment, a kept version that holds a target's row has its postings.
    pub async fn check_postings_outlive_rows(&self) {
        self.check_postings_outlive_rows_of(|_| true).await;
    }

    /// The same of just some versions.
    pub async fn check_postings_outlive_rows_of(&self, of: impl Fn(&Known) -> bool) {
        let digests: Vec<_> = self.targets.iter().map(|target| self.digest(*target)).collect();
        let postings: Vec<_> =
            self.metastore.lookup(&digests).try_collect().await.expect("postings");
        let kept = self.kept().await;
        let known = self.known.iter().filter(|known| of(known));
        for known in known.filter(|known| known.rows(&self.targets).is_some()) {
            let is_kept = kept.iter().any(|it| it.0.is_same_version(&known.object));
            let is_indexed =
                postings.iter().any(|posting| posting.object.is_same_version(&known.object));
            assert!(is_indexed || !is_kept, "{:?}", known.object);
        }
    }

    /// ORACLE-3 for a plan that was carried out in full: targets are blank or gone wherever they were,
    /// everybody else's rows are as they were, byte for byte, and no version is missing or new.
    pub async fn check_erased(&self) {
        let mut expected: Vec<(ObjectKey, Standing, Vec<u8>)> = Vec::new();
        for known in &self.known {
            let holds_targets = known.rows(&self.targets).is_some();
            match known.standing {
                Standing::Superseded if holds_targets => {}
                standing => {
                    expected.push((known.object.key.clone(), standing, known.text(&self.targets)))
                }
            }
        }
        expected.sort_by(|left, right| (&left.0, &left.2).cmp(&(&right.0, &right.2)));
        let mut kept: Vec<_> = self
            .kept()
            .await
            .into_iter()
            .map(|(object, standing, bytes)| (object.key, standing, bytes))
            .collect();
        kept.sort_by(|left, right| (&left.0, &left.2).cmp(&(&right.0, &right.2)));
        assert_eq!(readable(&kept), readable(&expected));
        assert_eq!(self.postings().await, BTreeSet::new());
        assert_eq!(self.lake.unfinished_writes(), 0);
    }
}

fn readable(kept: &[(ObjectKey, Standing, Vec<u8>)]) -> Vec<(String, Standing, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    kept.iter().map(|(key, standing, bytes)| (key.to_string(), *standing, text(bytes))).collect()
}

fn format_name(known: &Known) -> FormatName {
    if known.is_csv { FormatName::Csv } else { FormatName::Jsonl }
}

fn dataset(superseded: SupersededPolicy) -> Dataset {
    Dataset {
        name: DatasetName::new("d"),
        location: Location::S3 { bucket: "b".to_owned(), prefix: String::new() },
        include: Vec::new(),
        exclude: Vec::new(),
        reading: Reading::default(),
        identifiers: vec![IdentifierField {
            namespace: Namespace::new("user"),
            path: "u".parse().expect("a path"),
            kind: IdentifierType::String,
        }],
        erase: ErasePolicy { action: EraseAction::default(), superseded },
    }
}
