//! From a request to an admitted plan, on lakes and an index in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::approval::{Decider, NotAdmitted, NotDecided, admit, decide};
use super::facts::InScope;
use super::lookup::LookupError;
use super::random::{NOW, summary, unreadable};
use super::*;
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::coverage::{Coverage, CoverageGap, GapKind};
use crate::domain::dataset::{
    Dataset, DatasetName, EraseAction, ErasePolicy, Location, Reading, ScanSettings,
    SupersededPolicy,
};
use crate::domain::decision::{Exception, Verdict};
use crate::domain::identifier::{
    DigestKey, Identifier, IdentifierDigest, IdentifierType, KeyCheck, Namespace, RawValue,
};
use crate::domain::journal::{NOTE_SCHEMA, Note, Outcome, Step};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion, VersionId};
use crate::domain::observe::Silent;
use crate::domain::plan::{ErasurePlan, PlanId, Reason, Warning};
use crate::domain::posting::{Posting, ScanOutcome, ScannedObject};
use crate::domain::request::{ErasureRequest, Mask, RequestedSubject, ReservedValues};
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::lake::count::Method;
use crate::lake::fault::{Failure, Fault, When};
use crate::lake::memory::MemoryLake;
use crate::lake::{Estate, Lake, LakeErrorKind, Lock};
use crate::ledger::{Ledger, LedgerErrorKind, Rendering};
use crate::metastore::{
    Metastore, MetastoreError, MetastoreSize, MetastoreStream, ObjectPostings, Recorder, Succession,
};

/// An index in memory that answers what it was given.
#[derive(Debug, Default)]
struct Index {
    postings: Vec<Posting>,
    scanned: BTreeMap<DatasetName, Vec<ScannedObject>>,
    /// Whether it answers with every posting, whatever it is asked.
    answers_anything: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl Metastore for Index {
    async fn bind(&self, _: &KeyCheck) -> Result<(), MetastoreError> {
        Ok(())
    }

    async fn record(
        &self,
        _: &DatasetName,
        _: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        unreachable!("planning records nothing")
    }

    async fn succeed(&self, _: &Succession) -> Result<(), MetastoreError> {
        unreachable!("planning changes nothing")
    }

    async fn forget(&self, _: &DatasetName, _: &[ObjectVersion]) -> Result<(), MetastoreError> {
        unreachable!("planning forgets nothing")
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let digests: std::collections::HashSet<_> = digests.iter().copied().collect();
        let found =
            self.postings.iter().filter(|it| self.answers_anything || digests.contains(&it.digest));
        stream::iter(found.cloned().map(Ok).collect::<Vec<_>>()).boxed()
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        let scanned = self.scanned.get(dataset).cloned().unwrap_or_default();
        let from = scanned.into_iter().filter(|it| after.is_none_or(|key| it.object.key > *key));
        stream::iter(from.map(Ok).collect::<Vec<_>>()).boxed()
    }

    fn postings(&self, _: &DatasetName, _: &[ObjectVersion]) -> MetastoreStream<ObjectPostings> {
        unreachable!("planning asks for subjects, not for versions")
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        Ok(self.scanned.keys().cloned().collect())
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        Ok(MetastoreSize::default())
    }
}

/// One dataset, its lake, an index and a ledger.
pub(super) struct World {
    lake: Arc<MemoryLake>,
    fault: Arc<Fault>,
    pub(super) ledger_lake: Arc<MemoryLake>,
    pub(super) ledger: Ledger,
    pub(super) clock: Clock,
    key: DigestKey,
    index: Index,
    dataset: Dataset,
    coverage: Coverage,
    policy: PlanPolicy,
}

pub(super) fn reviews() -> DatasetName {
    DatasetName::new("reviews")
}

fn identifier(text: &str) -> Identifier {
    let raw = RawValue::Text(text.as_bytes());
    Identifier::new(Namespace::new("user"), IdentifierType::String, raw).expect("an identifier")
}

fn request(subjects: &[&str]) -> ErasureRequest {
    let subjects = (1..).zip(subjects).map(|(ordinal, text)| RequestedSubject {
        ordinal,
        mask: Mask::of(text),
        identifiers: vec![identifier(text)],
    });
    ErasureRequest { reference: "DSR-1".to_owned(), subjects: subjects.collect() }
}

impl World {
    pub(super) fn new(lake: MemoryLake) -> Self {
        let (lake, ledger_lake) = (Arc::new(lake), Arc::new(MemoryLake::unversioned()));
        let clock = Clock::manual(NOW);
        Self {
            fault: Arc::new(Fault::new(lake.clone())),
            ledger: Ledger::new(ledger_lake.clone(), &b""[..], clock.clone()),
            lake,
            ledger_lake,
            clock,
            key: DigestKey::new([7; 32]),
            index: Index::default(),
            dataset: Dataset {
                name: reviews(),
                location: Location::S3 { bucket: "lake".to_owned(), prefix: String::new() },
                include: Vec::new(),
                exclude: Vec::new(),
                reading: Reading::default(),
                identifiers: Vec::new(),
                erase: ErasePolicy::default(),
            },
            coverage: Coverage { rows: RowCount(1000), ..Coverage::empty(reviews()) },
            policy: PlanPolicy {
                configuration: "c0ffee".to_owned(),
                valid_for_seconds: 7 * 86_400,
                blast_radius_percent: 5,
                coverage_floor_percent: 0,
                reserved: ReservedValues::default(),
            },
        }
    }

    fn superseded(mut self, superseded: SupersededPolicy) -> Self {
        self.dataset.erase.superseded = superseded;
        self
    }

    /// Another version of an object, known to the index with these rows of these subjects.
    pub(super) fn indexed(&mut self, key: &str, rows: &[(&str, &[u64])]) -> ObjectVersion {
        let object = self.put(key);
        self.scanned(&object, ScanOutcome::Indexed(summary(0)));
        for (subject, rows) in rows {
            self.posting(&object, subject, rows);
        }
        object
    }

    /// Another version of an object, unknown to the index. No two have the same bytes.
    fn put(&self, key: &str) -> ObjectVersion {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        self.lake.put(&ObjectKey::from(key), format!("object {made}"))
    }

    fn scanned(&mut self, object: &ObjectVersion, outcome: ScanOutcome) {
        let (object, settings) = (object.clone(), ScanSettings::new("s"));
        let scanned = ScannedObject { object, settings, scanned_at: NOW, outcome };
        self.index.scanned.entry(reviews()).or_default().push(scanned);
    }

    fn posting(&mut self, object: &ObjectVersion, subject: &str, rows: &[u64]) {
        self.index.postings.push(Posting {
            digest: identifier(subject).digest(&self.key),
            dataset: reviews(),
            object: object.clone(),
            rows: RowSet::new(rows.iter().copied().map(RowNumber)).expect("rows"),
        });
    }

    pub(super) async fn try_prepare(&self, subjects: &[&str]) -> Result<Prepared, PlanError> {
        self.prepare_on(self.fault.clone(), &request(subjects)).await
    }

    async fn prepare_on(
        &self,
        lake: Arc<dyn Lake>,
        request: &ErasureRequest,
    ) -> Result<Prepared, PlanError> {
        let (dataset, coverage) = (self.dataset.clone(), self.coverage.clone());
        let tools = PlanTools {
            datasets: &[InScope { estate: Estate { dataset: dataset.into(), lake }, coverage }],
            metastore: &self.index,
            ledger: &self.ledger,
            key: &self.key,
            clock: &self.clock,
            observer: &Silent,
        };
        prepare(&tools, request, &self.policy).await
    }

    pub(super) async fn prepare(&self, subjects: &[&str]) -> Prepared {
        self.try_prepare(subjects).await.expect("a plan")
    }

    pub(super) async fn decide(&self, id: &PlanId, verdict: Verdict) -> Result<(), NotDecided> {
        decide(&self.ledger, id, verdict, alone("ann"), &self.clock).await.map(|_| ())
    }

    pub(super) async fn admit(&self, id: &PlanId) -> Result<approval::ApprovedPlan, NotAdmitted> {
        admit(&self.ledger, id, "c0ffee", &self.key.check_value(), &self.clock).await
    }

    /// Everything that the ledger holds.
    async fn ledger_bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let listed: Vec<ListedVersion> =
            self.ledger_lake.list(b"").try_collect().await.expect("listed");
        for listed in listed {
            all.extend_from_slice(listed.object.key.as_bytes());
            let stream = self.ledger_lake.read(&listed.object, 0..listed.object.size_bytes).await;
            let pieces: Vec<Bytes> = stream.expect("read").try_collect().await.expect("read");
            all.extend(pieces.concat());
        }
        all
    }
}

/// Somebody who needs no second person.
pub(super) fn alone(by: &str) -> Decider<'_> {
    Decider { by, is_one_of_two: false, link: None }
}

pub(super) fn yes() -> Verdict {
    Verdict::Approved { except: Vec::new() }
}

fn expunged(plan: &ErasurePlan) -> Vec<VersionId> {
    let all = plan.changes.iter().flat_map(|change| &change.expunge);
    all.map(|expunge| expunge.object.version.clone()).collect()
}

pub(super) fn reasons(plan: &ErasurePlan) -> Vec<Reason> {
    plan.out_of_reach.iter().map(|entry| entry.reason.clone()).collect()
}

/// C1: superseded versions that hold a subject's rows go too, others stay.
#[tokio::test]
async fn superseded_versions_are_found() {
    let mut world = World::new(MemoryLake::versioned());
    let oldest = world.indexed("a", &[("u1", &[1, 2])]);
    let _empty = world.indexed("a", &[]);
    let newer = world.indexed("a", &[("u1", &[1]), ("u2", &[1, 4])]);
    let current = world.indexed("a", &[("u1", &[0, 3]), ("u2", &[3])]);
    let Prepared { plan, report, id } = world.prepare(&["u1", "u2", "u3"]).await;
    assert_eq!(plan.changes.len(), 1);
    let rewrite = plan.changes[0].rewrite.as_ref().expect("a rewrite");
    assert_eq!(rewrite.object, current);
    assert_eq!(rewrite.rows.as_slice(), [RowNumber(0), RowNumber(3)]);
    assert_eq!(expunged(&plan), [oldest.version, newer.version]);
    assert_eq!(plan.out_of_reach, []);
    let counts: Vec<_> = plan.subjects.iter().map(|it| (it.rows.0, it.objects)).collect();
    assert_eq!(counts, [(5, 1), (3, 1), (0, 0)]);
    assert_eq!(plan.warnings, [Warning::SharedRows { rows: RowCount(1) }]);
    assert_eq!((report.rows, report.objects, report.versions), (RowCount(2), 1, 2));
    assert_eq!(report.not_found.len(), 1);
    assert_eq!(
        report.verdict,
        "2 rows in 1 object will be blanked; 2 superseded versions will be deleted for good."
    );
    assert_eq!(world.ledger.plan(&id).await.expect("stored"), plan);
    for rendering in [Rendering::Json, Rendering::Text, Rendering::Html] {
        let stored = world.ledger.report(&id, rendering).await.expect("read").expect("stored");
        assert!(String::from_utf8_lossy(&stored).contains(&id.to_string()));
    }
}

#[tokio::test]
async fn the_policy_decides_on_superseded_versions() {
    let prepared = async |superseded| {
        let mut world = World::new(MemoryLake::versioned()).superseded(superseded);
        let old = world.indexed("a", &[("u1", &[1])]);
        let empty = world.indexed("a", &[]);
        let current = world.indexed("a", &[("u1", &[1])]);
        (world.prepare(&["u1"]).await.plan, old.version, empty.version, current.version)
    };
    let (plan, old, empty, _) = prepared(SupersededPolicy::All).await;
    assert_eq!((expunged(&plan), reasons(&plan)), (vec![old, empty], vec![]));
    let (plan, old, _, current) = prepared(SupersededPolicy::Keep).await;
    assert_eq!(expunged(&plan), []);
    assert_eq!(reasons(&plan), [Reason::KeptByPolicy, Reason::KeptByPolicy]);
    let mut kept: Vec<_> =
        plan.out_of_reach.iter().filter_map(|it| Some(it.object.clone()?.version)).collect();
    kept.sort();
    let mut expected = vec![old, current];
    expected.sort();
    assert_eq!(kept, expected);
}

/// Answers for every key that begins like the one asked for, as a listing by prefix does.
#[derive(Debug)]
struct ByPrefix(Arc<MemoryLake>);

#[async_trait]
impl Lake for ByPrefix {
    fn location(&self) -> &str {
        self.0.location()
    }

    async fn capabilities(&self) -> Result<crate::lake::Capabilities, crate::lake::LakeError> {
        self.0.capabilities().await
    }

    fn list(&self, prefix: &[u8]) -> crate::lake::VersionStream {
        self.0.list(prefix)
    }

    async fn versions(
        &self,
        key: &ObjectKey,
    ) -> Result<Vec<ListedVersion>, crate::lake::LakeError> {
        self.0.list(key.as_bytes()).try_collect().await
    }

    async fn attributes(
        &self,
        target: crate::lake::Target<'_>,
    ) -> Result<crate::lake::Attributes, crate::lake::LakeError> {
        self.0.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: std::ops::Range<u64>,
    ) -> Result<crate::lake::ByteStream, crate::lake::LakeError> {
        self.0.read(object, range).await
    }

    async fn write(&self, _: crate::lake::Write) -> Result<ObjectVersion, crate::lake::WriteError> {
        unreachable!("planning writes to no lake")
    }

    async fn abandon(
        &self,
        _: &ObjectKey,
        _: &crate::lake::Staging,
    ) -> Result<(), crate::lake::LakeError> {
        unreachable!("planning writes to no lake")
    }

    async fn delete_version(&self, _: &ObjectVersion) -> Result<(), crate::lake::LakeError> {
        unreachable!("planning writes to no lake")
    }
}

/// C2: a key that begins like another one is another object, and its versions are not touched.
#[tokio::test]
async fn a_key_is_not_a_prefix() {
    let mut world = World::new(MemoryLake::versioned()).superseded(SupersededPolicy::All);
    world.indexed("key", &[("u1", &[1])]);
    world.indexed("key", &[("u1", &[1])]);
    world.indexed("key2", &[]);
    world.indexed("key2", &[]);
    let lake = Arc::new(ByPrefix(world.lake.clone()));
    let plan = world.prepare_on(lake, &request(&["u1"])).await.expect("a plan").plan;
    let keys: Vec<_> = plan.changes.iter().map(|change| change.key.clone()).collect();
    assert_eq!(keys, [ObjectKey::from("key")]);
    let all = plan.changes.iter().flat_map(|change| &change.expunge);
    assert!(all.map(|expunge| &expunge.object.key).all(|key| *key == ObjectKey::from("key")));
}

/// C4: beneath a delete marker the versions are still there, and so are the rows in them.
#[tokio::test]
async fn versions_beneath_a_delete_marker_are_found() {
    let mut world = World::new(MemoryLake::versioned());
    let first = world.indexed("a", &[("u1", &[1])]);
    let second = world.indexed("a", &[("u1", &[2])]);
    world.lake.delete(&ObjectKey::from("a"));
    let plan = world.prepare(&["u1"]).await.plan;
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].rewrite, None);
    assert_eq!(expunged(&plan), [first.version, second.version]);
}

/// C7, C8: what is locked, held, or not known to be free is named and never deleted.
#[tokio::test]
async fn locked_versions_are_out_of_reach() {
    let locks = [
        (Lock::Until(NOW), Reason::Locked { until: NOW }),
        (Lock::LegalHold, Reason::LegalHold),
        (
            Lock::Unknown,
            Reason::Denied {
                detail: "whether it is locked; permit s3:GetObjectRetention and \
                         s3:GetObjectLegalHold"
                    .to_owned(),
            },
        ),
    ];
    for policy in [SupersededPolicy::Matching, SupersededPolicy::All] {
        for (lock, reason) in locks.clone() {
            let mut world = World::new(MemoryLake::versioned()).superseded(policy);
            let old = world.indexed("a", &[("u1", &[1])]);
            let current = world.indexed("a", &[("u1", &[1])]);
            world.lake.lock(&old, lock.clone());
            world.lake.lock(&current, lock.clone());
            let plan = world.prepare(&["u1"]).await.plan;
            assert_eq!(expunged(&plan), []);
            let rewrite = plan.changes[0].rewrite.as_ref();
            assert_eq!(rewrite.map(|rewrite| &rewrite.object), Some(&current));
            assert_eq!(reasons(&plan), [reason.clone(), reason]);
        }
    }
}

/// E1, E2: what the index does not know of an object is named; a posting of bytes that are gone is
/// harmless.
#[tokio::test]
async fn what_is_not_indexed_is_named() {
    let mut world = World::new(MemoryLake::unversioned());
    world.indexed("overwritten", &[("u1", &[1])]);
    world.put("overwritten");
    world.indexed("gone", &[("u1", &[1])]);
    world.lake.delete(&ObjectKey::from("gone"));
    let plan = world.prepare(&["u1"]).await.plan;
    assert_eq!(plan.changes, []);
    assert_eq!(plan.subjects[0].rows, RowCount(0));
    let detail = "not indexed yet; run `lacuna index` and plan again".to_owned();
    assert_eq!(reasons(&plan), [Reason::Unavailable { detail }]);
    assert_eq!(plan.out_of_reach[0].key, ObjectKey::from("overwritten"));
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    let broken = world.put("broken");
    world.scanned(&broken, ScanOutcome::Unreadable(unreadable()));
    let holed = world.put("holed");
    world.scanned(&holed, ScanOutcome::Indexed(summary(3)));
    world.coverage.gaps = vec![
        CoverageGap {
            key: ObjectKey::from("broken"),
            versions: 1,
            kind: GapKind::Unreadable,
            reason: "the gzip stream ends early".to_owned(),
        },
        CoverageGap {
            key: ObjectKey::from("later"),
            versions: 1,
            kind: GapKind::Unavailable,
            reason: "the store was busy".to_owned(),
        },
        CoverageGap {
            key: ObjectKey::from("left/out"),
            versions: 7,
            kind: GapKind::Excluded,
            reason: "matches no glob of `include`".to_owned(),
        },
    ];
    let plan = world.prepare(&["u1"]).await.plan;
    let named: Vec<_> =
        plan.out_of_reach.iter().map(|it| (it.key.to_string(), it.reason.clone())).collect();
    let unreadable =
        Reason::Unreadable { detail: "the gzip stream ends early (byte 7)".to_owned() };
    let expected = [
        ("broken".to_owned(), unreadable),
        ("holed".to_owned(), Reason::UnreadableRows { count: 3 }),
        ("later".to_owned(), Reason::Unavailable { detail: "the store was busy".to_owned() }),
    ];
    assert_eq!(named, expected);
}

/// C15: files of a table stay as they are, also where the index knows rows in them.
#[tokio::test]
async fn tables_are_out_of_reach() {
    let cases = [
        ("delta", "sales/_delta_log/00.json", "sales/part-0.parquet", "sales2/part-0.json"),
        ("delta", "sales", "sales/part-0.parquet", "sales2/part-0.json"),
        ("delta", "sales/", "sales/part-0.parquet", "sales2/part-0.json"),
        ("hudi", "sales/.hoodie/hoodie.properties", "sales/a.parquet", "sale/a.json"),
        ("iceberg", "metadata/sales/", "metadata/sales/data/a.parquet", "metadata/other.json"),
        ("iceberg", "metadata/sales/metadata/v1.metadata.json", "metadata/sales/a", "metadata/b"),
        ("iceberg", "sales/data/a.parquet", "sales/data/a.parquet", "sales/data/b.parquet"),
    ];
    for (format, named, inside, outside) in cases {
        let mut world = World::new(MemoryLake::versioned());
        world.indexed(inside, &[("u1", &[1])]);
        world.indexed(outside, &[("u1", &[1])]);
        world.coverage.gaps = vec![CoverageGap {
            key: ObjectKey::from(named),
            versions: 2,
            kind: GapKind::Table { format: format.to_owned() },
            reason: "a table".to_owned(),
        }];
        let plan = world.prepare(&["u1"]).await.plan;
        let keys: Vec<_> = plan.changes.iter().map(|change| change.key.to_string()).collect();
        assert_eq!(keys, [outside], "{named}");
        assert!(reasons(&plan).iter().all(|it| matches!(it, Reason::Table { .. })));
        assert_eq!(plan.out_of_reach.iter().map(|it| it.rows.0).sum::<u64>(), 1);
    }
}

/// C10: what lies in an archive is neither rewritten nor deleted.
#[test]
fn archived_versions_are_out_of_reach() {
    use super::facts::{Access, DatasetFacts, Facts, ObjectFacts, SubjectRowSet, VersionFacts};
    use super::random::{object, terms};
    use crate::domain::object::Standing;
    use crate::lake::Versioning;

    let version = |age, standing| VersionFacts {
        object: object("a", age),
        standing,
        scanned: Some(ScanOutcome::Indexed(summary(0))),
        access: Access::Known {
            lock: Lock::Free,
            is_readable: false,
            storage_class: Some("GLACIER".to_owned()),
        },
        rows: vec![SubjectRowSet { ordinal: 1, rows: RowSet::new([RowNumber(1)]).expect("rows") }],
    };
    let versions = vec![version(0, Standing::Current), version(1, Standing::Superseded)];
    let facts = Facts {
        request: "DSR-1".to_owned(),
        gathered_at: NOW,
        subjects: Vec::new(),
        datasets: vec![DatasetFacts {
            name: reviews(),
            policy: ErasePolicy::default(),
            versioning: Versioning::Enabled,
            asks_server: false,
            restraint: None,
            coverage: Coverage::empty(reviews()),
            objects: vec![ObjectFacts { key: ObjectKey::from("a"), versions }],
            unreadable: Vec::new(),
            keys_with_identifier: 0,
        }],
        elsewhere: Vec::new(),
    };
    let plan = planner::plan(&facts, &terms());
    let archived = || Reason::Archived { storage_class: "GLACIER".to_owned() };
    assert_eq!((plan.changes.as_slice(), reasons(&plan)), (&[][..], vec![archived(), archived()]));
}

/// What a store refuses about one object is said of that object, and stops no other.
#[tokio::test]
async fn a_refusal_concerns_one_object() {
    let kinds = [(LakeErrorKind::Denied, true), (LakeErrorKind::Unavailable, false)];
    for method in [Method::Versions, Method::Attributes] {
        for (kind, is_denied) in kinds {
            let mut world = World::new(MemoryLake::versioned());
            world.indexed("a", &[("u1", &[1])]);
            world.indexed("b", &[("u1", &[1])]);
            let (method, when) = (Some(method), When::Before);
            world.fault.fail(Failure { method, call: 1, forever: false, when, kind });
            let plan = world.prepare(&["u1"]).await.plan;
            assert_eq!((plan.changes.len(), plan.out_of_reach.len()), (1, 1));
            assert_eq!(plan.subjects[0].rows, RowCount(2));
            assert_eq!(matches!(reasons(&plan)[0], Reason::Denied { .. }), is_denied);
        }
    }
}

/// H2: an index that answers with somebody else's rows is not believed, and a spelling that is nearly
/// the same finds nothing.
#[tokio::test]
async fn nobody_else_is_planned() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1]), ("u10", &[2]), ("U1", &[3]), (" u1", &[4]), ("u1 ", &[5])]);
    let plan = world.prepare(&["u1"]).await.plan;
    let rewrite = plan.changes[0].rewrite.as_ref().expect("a rewrite");
    assert_eq!(rewrite.rows.as_slice(), [RowNumber(1)]);
    world.index.answers_anything = true;
    let error = world.try_prepare(&["u1"]).await.expect_err("it answers with strangers");
    assert!(matches!(error, PlanError::Lookup(LookupError::Foreign)), "{error}");
}

/// H6: a placeholder is refused before anything is asked, and the message does not repeat it.
#[tokio::test]
async fn placeholders_are_refused() {
    let world = World::new(MemoryLake::versioned());
    for reserved in ["0", "null", "Anonymous", "-1", "--"] {
        let error = world.try_prepare(&["u1", reserved]).await.expect_err("a placeholder");
        assert!(matches!(error, PlanError::Lookup(LookupError::Reserved { ordinal: 2 })));
        let shown = format!("{error} {error:?}").to_lowercase();
        assert!(!shown.contains("null") && !shown.contains("anonymous"), "{shown}");
    }
    assert_eq!(world.index.asked.load(Ordering::Relaxed), 0);
    assert_eq!(world.ledger_bytes().await, b"");
}

/// H7, L5, L11: whatever an identifier is made of, it finds its rows, and nothing that is stored holds
/// it.
#[tokio::test]
async fn identifiers_leave_no_trace() {
    let subjects = [
        "'; DROP TABLE postings; --",
        "%",
        "*)(uid=*",
        "<script>alert('x')</script>",
        "../../canary-4711",
        "canary\u{202e}\u{1b}[31m4711",
        "$(canary4711)",
        "canary-4711@example.org",
    ];
    let subjects = &subjects.map(|text| if text == "%" { "%canary4711%" } else { text });
    let mut world = World::new(MemoryLake::versioned());
    for (row, subject) in (0..).zip(subjects) {
        world.indexed(&format!("objects/{row}"), &[(subject, &[row])]);
    }
    let Prepared { plan, id, .. } = world.prepare(subjects).await;
    assert_eq!(plan.changes.len(), subjects.len());
    world.decide(&id, yes()).await.expect("decided");
    let stored = world.ledger_bytes().await;
    for subject in subjects {
        let found = memchr::memmem::find(&stored, subject.as_bytes());
        assert_eq!(found, None, "{subject:?}");
    }
    assert_eq!(memchr::memmem::find(&stored, b"4711"), None);
}

#[tokio::test]
async fn an_identifier_in_a_key_is_warned_of() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("users/u4/visits.json", &[("u4", &[1])]);
    world.indexed("users/u44/visits.json", &[("u4", &[1])]);
    world.indexed("users/u5/visits.json", &[("u4", &[1]), ("u6", &[1])]);
    let plan = world.prepare(&["u4", "u5", "u6"]).await.plan;
    let warning = Warning::IdentifierInKey { dataset: reviews(), objects: 1 };
    assert!(plan.warnings.contains(&warning), "{:?}", plan.warnings);
}

#[tokio::test]
async fn what_has_no_way_back_is_warned_of() {
    let mut world = World::new(MemoryLake::unversioned());
    world.indexed("a", &[("u1", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])]);
    world.coverage.rows = RowCount(199);
    world.coverage.foreign_values = 3;
    let plan = world.prepare(&["u1"]).await.plan;
    let expected = [
        Warning::BlastRadius {
            dataset: reviews(),
            rows: RowCount(10),
            rows_total: RowCount(199),
            limit_percent: 5,
        },
        Warning::Irreversible { dataset: reviews() },
        Warning::ForeignValues { dataset: reviews(), count: 3 },
    ];
    assert_eq!(plan.warnings, expected);
    world.coverage.rows = RowCount(200);
    let plan = world.prepare(&["u1"]).await.plan;
    assert_eq!(plan.warnings.len(), 2, "a twentieth is within the limit");
}

#[tokio::test]
async fn rows_in_other_datasets_are_named() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    let mut elsewhere = world.index.postings[0].clone();
    elsewhere.dataset = DatasetName::new("clicks");
    world.index.postings.push(elsewhere);
    let plan = world.prepare(&["u1"]).await.plan;
    assert_eq!(reasons(&plan), [Reason::OtherDataset]);
    assert_eq!((plan.subjects[0].rows, plan.subjects[0].objects), (RowCount(2), 2));
}

#[tokio::test]
async fn too_little_coverage_stops_a_plan() {
    let mut world = World::new(MemoryLake::versioned());
    world.policy.coverage_floor_percent = 90;
    world.coverage = Coverage { listed: 100, indexed: 89, failed: 11, ..world.coverage };
    let error = world.try_prepare(&["u1"]).await.expect_err("too little");
    assert!(matches!(error, PlanError::BelowFloor { floor_percent: 90, .. }), "{error}");
    world.coverage = Coverage { listed: 100, indexed: 90, failed: 10, ..world.coverage };
    world.try_prepare(&["u1"]).await.expect("enough");
    world.coverage.failed = 11;
    let error = world.try_prepare(&["u1"]).await.expect_err("sums that differ");
    assert!(matches!(error, PlanError::Unsound(_)), "{error}");
}

/// One plan for thousands: the work follows the rows, not subjects times objects.
#[tokio::test]
async fn ten_thousand_subjects_make_one_plan() {
    let mut world = World::new(MemoryLake::unversioned());
    let names: Vec<String> = (0..10_000).map(|number| format!("user-{number}")).collect();
    for chunk in names.chunks(10).take(200) {
        let rows: Vec<(&str, &[u64])> =
            chunk.iter().map(|name| (name.as_str(), &[0, 5, 11][..])).collect();
        world.indexed(&format!("objects/{}", chunk[0]), &rows);
    }
    let subjects: Vec<&str> = names.iter().map(String::as_str).collect();
    let Prepared { plan, report, .. } = world.prepare(&subjects).await;
    assert_eq!((plan.subjects.len(), plan.changes.len()), (10_000, 200));
    assert_eq!((report.rows, report.not_found.len()), (RowCount(600), 8000));
}

#[tokio::test]
async fn only_an_approved_plan_is_admitted() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    world.indexed("b", &[("u1", &[1])]);
    let Prepared { id, plan, .. } = world.prepare(&["u1"]).await;
    assert!(matches!(world.admit(&id).await, Err(NotAdmitted::NotApproved { .. })));
    let leave = |key: &str| Verdict::Approved {
        except: vec![Exception { dataset: reviews(), key: ObjectKey::from(key) }],
    };
    let error = world.decide(&id, leave("c")).await.expect_err("no such object");
    assert!(matches!(error, NotDecided::NotInPlan { .. }), "{error}");
    world.decide(&id, leave("b")).await.expect("decided");
    let approved = world.admit(&id).await.expect("approved");
    assert_eq!((approved.id(), approved.plan(), approved.approved_by()), (&id, &plan, "ann"));
    let excepted: Vec<_> = plan.changes.iter().map(|it| approved.is_excepted(it)).collect();
    assert_eq!(excepted, [false, true]);
    let rejection = Verdict::Rejected { reason: "not the person".to_owned() };
    world.decide(&id, rejection).await.expect("decided");
    assert!(matches!(world.admit(&id).await, Err(NotAdmitted::Rejected { .. })));
    world.decide(&id, yes()).await.expect("decided");
    world.admit(&id).await.expect("the last decision counts");
    for (by, verdict) in [(" ", yes()), ("ann", Verdict::Rejected { reason: " ".to_owned() })] {
        assert!(decide(&world.ledger, &id, verdict, alone(by), &world.clock).await.is_err());
    }
}

/// A10, E12: another configuration or another key makes a plan stale.
#[tokio::test]
async fn a_plan_of_other_settings_is_not_admitted() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    let id = world.prepare(&["u1"]).await.id;
    world.decide(&id, yes()).await.expect("decided");
    let (ledger, clock) = (&world.ledger, &world.clock);
    let key = world.key.check_value();
    let stale = admit(ledger, &id, "decaf", &key, clock).await;
    assert!(matches!(stale, Err(NotAdmitted::StaleConfiguration)));
    let other = DigestKey::new([8; 32]).check_value();
    let wrong = admit(ledger, &id, "c0ffee", &other, clock).await;
    assert!(matches!(wrong, Err(NotAdmitted::WrongKey)));
}

/// A8: an old plan is neither approved nor begun; what was begun in time is finished.
#[tokio::test]
async fn a_plan_expires() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    let Prepared { id, plan, .. } = world.prepare(&["u1"]).await;
    assert_eq!(plan.expires_at.as_second() - NOW.as_second(), 7 * 86_400);
    world.decide(&id, yes()).await.expect("decided");
    let just_before = Timestamp::from_second(plan.expires_at.as_second() - 1).expect("a moment");
    world.clock.set(just_before);
    world.admit(&id).await.expect("in time");
    world.clock.set(plan.expires_at);
    assert!(matches!(world.admit(&id).await, Err(NotAdmitted::Expired { .. })));
    let late = world.decide(&id, yes()).await.expect_err("too late");
    assert!(matches!(late, NotDecided::Expired { .. }));
    let note = Note {
        schema: NOTE_SCHEMA.to_owned(),
        change: 0,
        sequence: 0,
        generation: 1,
        noted_at: just_before,
        step: Step::Done(Outcome::Drifted),
    };
    world.ledger.note(&id, &note).await.expect("noted");
    let approved = world.admit(&id).await.expect("it was begun in time");
    assert!(approved.has_begun());
}

/// A7: an approval does not carry over to a plan that was changed behind its back.
#[tokio::test]
async fn a_changed_plan_is_not_admitted() {
    let mut world = World::new(MemoryLake::versioned());
    world.indexed("a", &[("u1", &[1])]);
    let Prepared { id, plan, .. } = world.prepare(&["u1"]).await;
    world.decide(&id, yes()).await.expect("decided");
    let mut changed = plan.clone();
    let rewrite = changed.changes[0].rewrite.as_mut().expect("a rewrite");
    rewrite.rows = RowSet::new([RowNumber(2)]).expect("rows");
    world.ledger_lake.put(&ObjectKey::from(&*format!("plans/{id}.json")), changed.to_bytes());
    let Err(NotAdmitted::Ledger(error)) = world.admit(&id).await else { panic!("admitted") };
    assert_eq!(*error.kind(), LedgerErrorKind::Tampered);
}

/// One plan for one state of things, in whatever order an index answers.
#[tokio::test]
async fn the_order_of_answers_does_not_matter() {
    let mut world = World::new(MemoryLake::versioned());
    for key in ["b", "a", "c"] {
        world.indexed(key, &[("u1", &[1, 4]), ("u2", &[2])]);
        world.indexed(key, &[("u2", &[3]), ("u1", &[3])]);
    }
    let mut elsewhere = world.index.postings.clone();
    elsewhere.iter_mut().for_each(|posting| posting.dataset = DatasetName::new("clicks"));
    world.index.postings.extend(elsewhere);
    let first = world.prepare(&["u1", "u2"]).await.id;
    world.index.postings.reverse();
    world.index.scanned.values_mut().for_each(|scanned| scanned.reverse());
    assert_eq!(world.prepare(&["u1", "u2"]).await.id, first);
}

/// The action of the dataset's policy is the plan's.
#[tokio::test]
async fn a_redaction_is_called_one() {
    let mut world = World::new(MemoryLake::versioned());
    let fields = vec!["user_id".parse().expect("a path")];
    world.dataset.erase.action = EraseAction::Redact { fields };
    world.indexed("a", &[("u1", &[1])]);
    let Prepared { plan, report, .. } = world.prepare(&["u1"]).await;
    let rewrite = plan.changes[0].rewrite.as_ref().expect("a rewrite");
    assert_eq!(rewrite.action, world.dataset.erase.action);
    assert_eq!(report.verdict, "1 row in 1 object will be redacted.");
}
