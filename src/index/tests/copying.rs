//! An index is copied, compared and checked, in groups as small as they can be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use crate::domain::dataset::{Compression, DatasetName, FormatName, ScanSettings};
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::observe::{Event, Observer, Silent, Stop};
use crate::domain::posting::{
    Posting, RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject, Unreadable,
};
use crate::domain::row::{RowCount, RowNumber};
use crate::index::check::{CheckReport, CheckTools, check};
use crate::index::copy::{CopyError, CopyLimits, CopyReport, CopyTools, copy};
use crate::metastore::memory::MemoryMetastore;
use crate::metastore::{
    Metastore, MetastoreError, MetastoreSize, MetastoreStream, ObjectPostings, Recorder, Succession,
};

const ROWS: u64 = 20;

/// A record and its postings.
type Version = (DatasetName, ScannedObject, Vec<RowPosting>);

fn digest(subject: u64) -> IdentifierDigest {
    let mut bytes = [7; 16];
    bytes[..8].copy_from_slice(&subject.to_be_bytes());
    IdentifierDigest::from_bytes(bytes)
}

fn version(dataset: &str, (key, version, etag): (&str, &str, &str), subjects: &[u64]) -> Version {
    let summary = ScanSummary {
        format: FormatName::Jsonl,
        compression: Compression::None,
        rows: RowCount(ROWS),
        gaps: RowGaps::default(),
        foreign_values: 0,
        landmarks: Default::default(),
    };
    let object = ObjectVersion {
        key: ObjectKey::from(key),
        version: VersionId::new(version),
        etag: ETag::new(etag),
        size_bytes: 10,
        modified_at: "2026-03-01T12:00:00Z".parse().expect("a moment"),
    };
    let scanned = ScannedObject {
        object,
        settings: ScanSettings::new("0123456789abcdef"),
        scanned_at: "2026-03-02T12:00:00Z".parse().expect("a moment"),
        outcome: ScanOutcome::Indexed(summary),
    };
    let posting = |(at, subject): (usize, &u64)| RowPosting {
        digest: digest(*subject),
        row: RowNumber(at as u64 % ROWS),
    };
    (DatasetName::new(dataset), scanned, subjects.iter().enumerate().map(posting).collect())
}

async fn record(metastore: &dyn Metastore, (dataset, scanned, postings): &Version) {
    let mut recorder = metastore.record(dataset, &scanned.object).await.expect("begun");
    recorder.append(postings.clone()).await.expect("appended");
    recorder.commit(scanned.clone()).await.expect("committed");
}

async fn filled(versions: &[Version]) -> Arc<MemoryMetastore> {
    let metastore = MemoryMetastore::default();
    for version in versions {
        record(&metastore, version).await;
    }
    Arc::new(metastore)
}

fn tools(from: Arc<dyn Metastore>, to: Arc<dyn Metastore>) -> CopyTools {
    CopyTools {
        from,
        to,
        observer: Arc::new(Silent),
        stop: Stop::default(),
        limits: CopyLimits { postings: 12 * ROWS, versions: 4, held: 5, compared: 3 },
        replaces: false,
    }
}

async fn checked(metastore: Arc<dyn Metastore>) -> CheckReport {
    let tools = CheckTools { metastore, observer: Arc::new(Silent), stop: Stop::default() };
    check(&tools).await.expect("checked")
}

/// Everything that an index holds, as text.
async fn everything(metastore: &dyn Metastore) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for dataset in metastore.datasets().await.expect("datasets") {
        let records: Vec<_> =
            metastore.indexed(&dataset, None).try_collect().await.expect("records");
        all.extend(records.iter().map(|record| format!("{dataset} {record:?}")));
    }
    let digests: Vec<_> = (0..12).map(digest).collect();
    let found: Vec<_> = metastore.lookup(&digests).try_collect().await.expect("postings");
    all.extend(found.iter().map(|posting| format!("{posting:?}")));
    all
}

fn sums(report: &CopyReport) -> (u64, u64, u64) {
    let sum = |number: fn(&crate::index::copy::CopiedDataset) -> u64| {
        report.datasets.iter().map(number).sum::<u64>()
    };
    (sum(|it| it.copied), sum(|it| it.unchanged), sum(|it| it.forgotten))
}

fn any_versions() -> impl Strategy<Value = Vec<Version>> {
    let name = prop_oneof![Just("one"), Just("two")];
    let key = prop_oneof![Just("a"), Just("a/b"), Just("b"), Just("c"), Just("d"), Just("e")];
    let id = prop_oneof![Just("null"), Just("v1"), Just("v2")];
    let etag = prop_oneof![Just("e1"), Just("e2")];
    let subjects = prop::collection::vec(0..12_u64, 0..20);
    let one = (name, key, id, etag, subjects, any::<bool>());
    let one = one.prop_map(|(name, key, id, etag, subjects, is_readable)| {
        let mut version = version(name, (key, id, etag), &subjects);
        if !is_readable && subjects.len() % 5 == 0 {
            let reason = "the gzip stream ends early".to_owned();
            let unreadable = Unreadable { reason, row: None, byte: None };
            version.1.outcome = ScanOutcome::Unreadable(unreadable);
        }
        version
    });
    prop::collection::vec(one, 0..30)
}

/// Whatever an index holds and whatever the other held of it before: afterwards both hold the same.
#[tokio::test]
async fn a_copy_holds_what_the_original_holds() {
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..60 {
        let versions = any_versions().new_tree(&mut runner).expect("a value").current();
        let before = any_versions().new_tree(&mut runner).expect("a value").current();
        let (from, to) = (filled(&versions).await, filled(&before).await);
        let tools = CopyTools { replaces: true, ..tools(from.clone(), to.clone()) };
        if versions.is_empty() {
            let before = everything(&*to).await;
            assert!(matches!(copy(&tools).await, Err(CopyError::Empty)));
            assert_eq!(everything(&*to).await, before);
            continue;
        }
        let report = copy(&tools).await.expect("copied");
        assert!(report.is_equal(), "{report:?}");
        assert_eq!(everything(&*to).await, everything(&*from).await);
        let objects = from.size().await.expect("a size").objects;
        let (copied, unchanged, _) = sums(&report);
        assert_eq!(copied + unchanged, objects);
        assert!(report.datasets.iter().all(|it| it.from == it.to));
        let again = copy(&CopyTools { replaces: false, ..tools }).await.expect("nothing to do");
        assert_eq!((sums(&again), again.is_equal()), ((0, objects, 0), true));
        let check = checked(to).await;
        assert!(check.is_sound() && check.counted_postings == Some(check.postings()));
    }
}

/// Asks for a stop after so many objects.
struct Stopping(Stop, AtomicU64);

impl Observer for Stopping {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Finished { .. }) && self.1.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.request();
        }
    }
}

#[tokio::test]
async fn a_stopped_copy_goes_on_where_it_was() {
    let keys: Vec<String> = (0..20).map(|key| format!("k{key:02}")).collect();
    let versions: Vec<Version> =
        keys.iter().map(|key| version("d", (key, "null", "e"), &[1, 2, 3])).collect();
    let (from, to) = (filled(&versions).await, filled(&[]).await);
    let stop = Stop::default();
    let observer = Arc::new(Stopping(stop.clone(), AtomicU64::new(5)));
    let stopped = CopyTools { stop, observer, ..tools(from.clone(), to.clone()) };
    let report = copy(&stopped).await.expect("stopped");
    assert!(report.was_interrupted && !report.is_equal());
    let (copied, _, _) = sums(&report);
    assert!((5..20).contains(&copied), "{copied}");
    let again = copy(&tools(from.clone(), to.clone())).await.expect("copied");
    assert_eq!((sums(&again), again.is_equal()), ((20 - copied, copied, 0), true));
    assert_eq!(everything(&*to).await, everything(&*from).await);
}

/// What the other index holds besides is not touched, unless that was asked for.
#[tokio::test]
async fn an_index_of_something_else_is_refused_and_left_alone() {
    let from = filled(&[version("d", ("a", "null", "e"), &[1])]).await;
    let mut rescanned = version("d", ("a", "null", "e"), &[2]);
    rescanned.1.settings = ScanSettings::new("another");
    for foreign in [
        version("d", ("b", "null", "e"), &[2]),
        version("d", ("a", "null", "newer"), &[2]),
        version("other", ("a", "null", "e"), &[2]),
        rescanned,
    ] {
        let to = filled(&[foreign]).await;
        let before = everything(&*to).await;
        let tools = tools(from.clone(), to.clone());
        let error = copy(&tools).await.expect_err("refused");
        assert!(matches!(error, CopyError::Foreign { versions: 1, .. }), "{error}");
        assert_eq!(everything(&*to).await, before);
        let report = copy(&CopyTools { replaces: true, ..tools }).await.expect("replaced");
        assert_eq!((sums(&report), report.is_equal()), ((1, 0, 1), true));
        assert_eq!(everything(&*to).await, everything(&*from).await);
    }
}

/// What is wrong with an index that tells postings.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    /// Hides the postings of a subject.
    Hides(u64),
    /// Tells every posting twice.
    Doubles,
    /// Loses what is recorded.
    Loses,
}

#[derive(Clone, Debug)]
struct Lying(Arc<MemoryMetastore>, Wrong);

#[async_trait]
impl Metastore for Lying {
    async fn bind(&self, key: &KeyCheck) -> Result<(), MetastoreError> {
        self.0.bind(key).await
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        let recorder = self.0.record(dataset, object).await?;
        Ok(if self.1 == Wrong::Loses { Box::new(Losing(recorder)) } else { recorder })
    }

    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError> {
        self.0.succeed(succession).await
    }

    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError> {
        self.0.forget(dataset, objects).await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        self.0.lookup(digests)
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        self.0.indexed(dataset, after)
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        let wrong = self.1;
        let told = self.0.postings(dataset, objects).map_ok(move |mut piece| {
            match wrong {
                Wrong::Hides(subject) => piece.postings.retain(|it| it.digest != digest(subject)),
                Wrong::Doubles => piece.postings.extend(piece.postings.clone()),
                Wrong::Nothing | Wrong::Loses => {}
            }
            piece
        });
        told.boxed()
    }

    async fn posting_counts(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<Vec<Option<u64>>, MetastoreError> {
        match self.1 {
            // An index that keeps no such counts.
            Wrong::Doubles => Ok(vec![None; objects.len()]),
            _ => self.0.posting_counts(dataset, objects).await,
        }
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        self.0.datasets().await
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        self.0.size().await
    }
}

struct Losing(Box<dyn Recorder>);

#[async_trait]
impl Recorder for Losing {
    async fn append(&mut self, mut postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        postings.retain(|posting| posting.digest != digest(3));
        self.0.append(postings).await
    }

    async fn commit(self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        self.0.commit(scanned).await
    }
}

fn two_versions() -> [Version; 2] {
    [version("d", ("a", "null", "e"), &[1, 2]), version("d", ("b", "v1", "e"), &[2, 3])]
}

/// Hazard D10: an index that contradicts itself is not copied, and a check names what is wrong.
#[tokio::test]
async fn a_damaged_index_is_refused_by_name() {
    let mut beyond = version("d", ("c", "null", "e"), &[1]);
    beyond.2[0].row = RowNumber(ROWS);
    let [a, b] = two_versions();
    for (versions, wrong, named) in [
        (vec![a.clone(), b.clone()], Wrong::Hides(3), "b"),
        (vec![a.clone(), beyond], Wrong::Nothing, "c"),
    ] {
        let from = Arc::new(Lying(filled(&versions).await, wrong));
        let to = filled(&[]).await;
        let tools = tools(from.clone(), to.clone());
        let error = copy(&tools).await.expect_err("damaged");
        let CopyError::Damaged { key, .. } = &error else { panic!("{error}") };
        assert_eq!(*key, ObjectKey::from(named));
        assert!(everything(&*to).await.is_empty(), "nothing of the group is recorded");
        let report = checked(from).await;
        let damaged: Vec<_> =
            report.datasets[0].damaged.iter().map(|it| it.key.to_string()).collect();
        assert_eq!(damaged, [named]);
        assert!(!report.is_sound());
    }
    // Where records tell no count, the index as a whole does.
    let from = Arc::new(Lying(filled(&two_versions()).await, Wrong::Doubles));
    let report = checked(from).await;
    assert!(report.is_short() && !report.is_sound());
    assert_eq!((report.counted_postings, report.postings()), (Some(4), 8));
}

/// What does not arrive is noticed and named.
#[tokio::test]
async fn a_copy_that_went_wrong_is_told() {
    let from = filled(&two_versions()).await;
    let to = Arc::new(Lying(filled(&[]).await, Wrong::Loses));
    let report = copy(&tools(from, to)).await.expect("copied");
    assert!(!report.is_equal());
    let [copied] = report.datasets.as_slice() else { panic!("one dataset") };
    let [differing] = copied.differing.as_slice() else { panic!("one version: {copied:?}") };
    assert_eq!((differing.key.to_string(), differing.version.as_str()), ("b".into(), "v1"));
    assert!(copied.from.checksum != copied.to.checksum && copied.from.postings == 4);
}
