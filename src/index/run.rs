//! One run: survey, scan what is new, record it, forget what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use super::coverage::Ledger;
use super::survey::{Drift, survey};
use super::{IndexError, IndexReport, IndexTask, IndexTools};
use crate::domain::Timestamp;
use crate::domain::coverage::GapKind;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use crate::domain::observe::Event;
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::lake::{LakeError, LakeErrorKind, tables};
use crate::metastore::MetastoreError;
use crate::scan::{DatasetReader, ScanError, is_gone, scan_object};

/// How many objects are scanned at once, as far as [`Memory`](super::Memory) has room: enough to hide
/// the way to a store.
const OBJECTS_AT_ONCE: usize = 64;

/// How many objects may wait beside these for the index to be on its disk, which it is for all of them
/// at once: the more wait, the less each costs.
const COMMITS_AT_ONCE: usize = 512;

/// More would take every thread that blocks, and leave none to read for them.
const OBJECTS_AT_MOST: usize = 200;

/// How many versions are forgotten at once.
const FORGET: usize = 500;

/// How many keys are looked at again at once, before what is gone is forgotten.
const LOOKS: usize = 16;

/// How often an object that changes under the scan is looked at again.
const ROUNDS: usize = 3;

/// Brings the index in step with the lake, for one dataset.
///
/// Every kept version is indexed, superseded ones too. What did not change since the last run and was
/// scanned under the same settings is not read. A version that cannot be read is recorded as such;
/// one that could not be read for the moment is counted as failed and tried again by the next run. A
/// version is forgotten only when the lake, asked for its key again, has it no more.
///
/// # Errors
///
/// [`IndexError`] where the lake cannot be listed or the index fails; what was recorded stays.
pub async fn run(tools: &IndexTools, task: &IndexTask) -> Result<IndexReport, IndexError> {
    tools.metastore.bind(&task.key.check_value()).await?;
    let dataset = &task.dataset;
    tools.observer.event(phase("listing", task, None));
    let census = tables::census(&*tools.lake, &dataset.location).await?;
    tools.observer.event(Event::PhaseEnded);
    let listed = tools.lake.list(dataset.location.prefix());
    let indexed = tools.metastore.indexed(&dataset.name, None);
    let drifts = survey(listed, indexed, task.rule(census.tables)?);
    work_off(tools, task, Plan { origin: Origin::Lake, entries: Some(census.entries) }, drifts)
        .await
}

/// What a run works off.
pub(super) struct Plan {
    pub(super) origin: Origin,
    /// How many entries there are, where that is known.
    pub(super) entries: Option<u64>,
}

/// Where a run learns what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a listing of the lake: what it leaves out is gone.
    Lake,
    /// From whoever asked for single objects: what is not there is missing.
    Request,
    /// From a report of this moment: what is not there is gone since.
    Report(Timestamp),
}

/// Does what drifts ask for, until nothing changes any more under the scan.
pub(super) async fn work_off(
    tools: &IndexTools,
    task: &IndexTask,
    plan: Plan,
    drifts: impl Stream<Item = Result<Drift, IndexError>>,
) -> Result<IndexReport, IndexError> {
    tools.observer.event(phase("scanning", task, plan.entries));
    let mut run = Run::new(tools, task, plan.origin);
    let mut ended = run.pump(drifts).await;
    for _ in 0..ROUNDS {
        if ended.is_err() || run.changed.is_empty() || run.was_interrupted {
            break;
        }
        let again = run.look_again().await;
        ended = run.pump(stream::iter(again.into_iter().map(Ok))).await;
    }
    tools.observer.event(Event::PhaseEnded);
    ended?;
    Ok(run.finish())
}

fn phase<'t>(name: &'static str, task: &'t IndexTask, objects: Option<u64>) -> Event<'t> {
    Event::Phase { name, dataset: Some(&task.dataset.name), objects, size_bytes: None }
}

struct Run<'t> {
    tools: &'t IndexTools,
    task: &'t IndexTask,
    origin: Origin,
    scanner: Arc<Scanner>,
    /// Held by an object while it is scanned.
    slots: Arc<Semaphore>,
    ledger: Ledger,
    gone: Vec<ObjectVersion>,
    changed: Vec<Changed>,
    scanned: u64,
    unchanged: u64,
    forgotten: u64,
    scanned_bytes: u64,
    was_interrupted: bool,
}

/// A version that was no longer as it was listed when it was read.
struct Changed {
    listed: ListedVersion,
    siblings: Arc<[ListedVersion]>,
}

/// How the scan of one version ended.
enum Outcome {
    Recorded(ScannedObject),
    Changed(Changed),
    Failed(ListedVersion, LakeError),
    BrokenOff(ListedVersion),
}

type InFlight = JoinSet<Result<Outcome, MetastoreError>>;

/// The next outcome; `None` where nothing is in flight.
async fn next_outcome(in_flight: &mut InFlight) -> Result<Option<Outcome>, MetastoreError> {
    outcome_of(in_flight.join_next().await)
}

/// The same without waiting: an outcome that is there already.
fn try_next_outcome(in_flight: &mut InFlight) -> Result<Option<Outcome>, MetastoreError> {
    outcome_of(in_flight.try_join_next())
}

type Joined = Result<Result<Outcome, MetastoreError>, JoinError>;

fn outcome_of(joined: Option<Joined>) -> Result<Option<Outcome>, MetastoreError> {
    match joined {
        None => Ok(None),
        Some(Ok(outcome)) => outcome.map(Some),
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Nobody cancels a task while the run waits for it.
        Some(Err(_)) => Ok(None),
    }
}

fn concurrency(task: &IndexTask) -> usize {
    task.concurrency.unwrap_or(OBJECTS_AT_ONCE).clamp(1, OBJECTS_AT_MOST)
}

impl<'t> Run<'t> {
    fn new(tools: &'t IndexTools, task: &'t IndexTask, origin: Origin) -> Self {
        let scanner = Scanner {
            tools: tools.clone(),
            dataset: task.dataset.name.clone(),
            reader: DatasetReader::new(&task.dataset, &task.key),
            settings: task.dataset.scan_settings(),
        };
        Self {
            tools,
            task,
            origin,
            scanner: Arc::new(scanner),
            slots: Arc::new(Semaphore::new(concurrency(task))),
            ledger: Ledger::new(task.dataset.name.clone()),
            gone: Vec::new(),
            changed: Vec::new(),
            scanned: 0,
            unchanged: 0,
            forgotten: 0,
            scanned_bytes: 0,
            was_interrupted: false,
        }
    }

    /// Does what the drifts ask for. Objects in flight are brought to their end, whatever happens.
    async fn pump(
        &mut self,
        drifts: impl Stream<Item = Result<Drift, IndexError>>,
    ) -> Result<(), IndexError> {
        let mut in_flight = InFlight::new();
        let ended = self.take_all(drifts, &mut in_flight).await;
        while let Some(outcome) = next_outcome(&mut in_flight).await? {
            self.note(outcome);
        }
        ended?;
        self.forget_gone().await
    }

    async fn take_all(
        &mut self,
        drifts: impl Stream<Item = Result<Drift, IndexError>>,
        in_flight: &mut InFlight,
    ) -> Result<(), IndexError> {
        let limit = concurrency(self.task) + COMMITS_AT_ONCE;
        let mut drifts = std::pin::pin!(drifts);
        while let Some(drift) = drifts.next().await.transpose()? {
            if self.tools.stop.is_requested() {
                self.was_interrupted = true;
                return Ok(());
            }
            if in_flight.len() >= limit
                && let Some(outcome) = next_outcome(in_flight).await?
            {
                self.note(outcome);
            }
            self.take(drift, in_flight).await?;
            while let Some(outcome) = try_next_outcome(in_flight)? {
                self.note(outcome);
            }
        }
        Ok(())
    }

    async fn take(&mut self, drift: Drift, in_flight: &mut InFlight) -> Result<(), IndexError> {
        match drift {
            Drift::Scan { listed, siblings } => {
                let size_bytes = listed.object.size_bytes;
                self.tools.observer.event(Event::Found { size_bytes });
                let scanner = Arc::clone(&self.scanner);
                let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
                let memory = self.tools.memory.take(size_bytes).await;
                in_flight.spawn(scanner.scan(Changed { listed, siblings }, (slot, memory)));
            }
            Drift::Unchanged(scanned) => {
                self.unchanged += 1;
                self.ledger.scanned(&scanned);
                self.tools.observer.event(Event::Passed);
            }
            Drift::Excluded { key, exclusion } => {
                self.ledger.excluded(&key, exclusion);
                self.tools.observer.event(Event::Passed);
            }
            Drift::Absent { key, kind, reason } => self.absent(&key, kind, &reason),
            Drift::Forget(object) => {
                self.gone.push(object);
                if self.gone.len() >= FORGET {
                    self.forget_gone().await?;
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Recorded(scanned) => {
                self.scanned += 1;
                self.scanned_bytes += scanned.object.size_bytes;
                self.ledger.scanned(&scanned);
                if let ScanOutcome::Unreadable(unreadable) = &scanned.outcome {
                    self.notice(&scanned.object.key, &unreadable.to_string());
                }
                self.finished(&scanned.object);
            }
            Outcome::Changed(changed) => {
                self.finished(&changed.listed.object);
                self.changed.push(changed);
            }
            Outcome::Failed(listed, error) => self.refused(&listed, &error),
            Outcome::BrokenOff(listed) => {
                self.failed(&listed.object, GapKind::Unavailable, "the scan was broken off");
            }
        }
    }

    fn refused(&mut self, listed: &ListedVersion, error: &LakeError) {
        let kind = gap_of(error, listed.storage_class.as_deref());
        self.failed(&listed.object, kind, &reason_of(error));
    }

    fn failed(&mut self, object: &ObjectVersion, kind: GapKind, reason: &str) {
        self.ledger.failed(&object.key, kind, reason.to_owned());
        self.notice(&object.key, reason);
        self.finished(object);
    }

    fn absent(&mut self, key: &ObjectKey, kind: GapKind, reason: &str) {
        self.ledger.failed(key, kind, reason.to_owned());
        self.notice(key, reason);
        self.tools.observer.event(Event::Passed);
    }

    fn notice(&self, key: &ObjectKey, message: &str) {
        self.tools.observer.event(Event::Notice { key: Some(key), message });
    }

    fn finished(&self, object: &ObjectVersion) {
        let ObjectVersion { key, size_bytes, .. } = object;
        self.tools.observer.event(Event::Finished { key, size_bytes: *size_bytes });
    }

    /// Forgets what the lake has no more. The listing alone does not decide: a version that another
    /// run recorded after this one's listing passed its key was not listed either.
    async fn forget_gone(&mut self) -> Result<(), IndexError> {
        let mut by_key: BTreeMap<ObjectKey, Vec<ObjectVersion>> = BTreeMap::new();
        for object in self.gone.drain(..) {
            by_key.entry(object.key.clone()).or_default().push(object);
        }
        let lake = &self.tools.lake;
        let looks = by_key.into_iter().map(|(key, objects)| async move {
            let kept = match lake.versions(&key).await {
                Err(error) if error.kind() == LakeErrorKind::NotAnObject => Ok(Vec::new()),
                kept => kept,
            };
            (kept, key, objects)
        });
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS).collect().await;
        let mut confirmed = Vec::new();
        for (kept, key, objects) in looks {
            match kept {
                Ok(kept) => confirmed.extend(objects.into_iter().filter(|object| {
                    !kept.iter().any(|version| version.object.is_same_version(object))
                })),
                Err(error) => self.notice(
                    &key,
                    &format!("the lake does not tell whether it is gone: {}", reason_of(&error)),
                ),
            }
        }
        if confirmed.is_empty() {
            return Ok(());
        }
        self.tools.metastore.forget(&self.task.dataset.name, &confirmed).await?;
        self.forgotten += confirmed.len() as u64;
        Ok(())
    }

    /// What the keys hold now whose objects changed while they were read.
    async fn look_again(&mut self) -> Vec<Drift> {
        let mut by_key: BTreeMap<ObjectKey, Vec<Changed>> = BTreeMap::new();
        for changed in self.changed.drain(..) {
            by_key.entry(changed.listed.object.key.clone()).or_default().push(changed);
        }
        let mut drifts = Vec::new();
        for (key, changed) in by_key {
            match self.tools.lake.versions(&key).await {
                Ok(now) if self.origin == Origin::Lake => {
                    drifts.extend(newcomers(&now.into(), &changed));
                }
                Ok(now) => drifts.extend(self.remaining(&now.into(), changed)),
                Err(error) => {
                    for changed in changed {
                        self.refused(&changed.listed, &error);
                    }
                }
            }
        }
        drifts
    }

    /// Of the versions that were named one by one, those that the lake still has under their version id.
    fn remaining(&self, now: &Arc<[ListedVersion]>, changed: Vec<Changed>) -> Vec<Drift> {
        let mut drifts = Vec::new();
        for Changed { listed, .. } in changed {
            let is_same = |other: &&ListedVersion| other.object.version == listed.object.version;
            match now.iter().find(is_same) {
                Some(now) => {
                    let alone = [now.clone()].into();
                    drifts.push(Drift::Scan { listed: now.clone(), siblings: alone });
                }
                None if self.origin == Origin::Request => {
                    drifts.push(Drift::Absent {
                        key: listed.object.key.clone(),
                        kind: GapKind::Unavailable,
                        reason: "it is gone since it was looked up".to_owned(),
                    });
                }
                None => {}
            }
        }
        drifts
    }

    fn finish(mut self) -> IndexReport {
        for changed in std::mem::take(&mut self.changed) {
            let reason = "it changed while it was read; index again";
            self.failed(&changed.listed.object, GapKind::Unavailable, reason);
        }
        let as_of = match self.origin {
            Origin::Report(moment) => Some(moment),
            Origin::Lake | Origin::Request => None,
        };
        IndexReport {
            coverage: self.ledger.finish(),
            as_of,
            scanned: self.scanned,
            unchanged: self.unchanged,
            forgotten: self.forgotten,
            scanned_bytes: self.scanned_bytes,
            was_interrupted: self.was_interrupted,
        }
    }
}

/// Of the versions that a key has now: those that were not listed before, and those that changed and
/// are there all the same. All others were dealt with already.
fn newcomers(now: &Arc<[ListedVersion]>, changed: &[Changed]) -> Vec<Drift> {
    let is_same =
        |left: &ListedVersion, right: &ListedVersion| left.object.is_same_version(&right.object);
    let is_due = |version: &&ListedVersion| {
        let was_listed = changed
            .iter()
            .all(|changed| changed.siblings.iter().any(|other| is_same(other, version)));
        !was_listed || changed.iter().any(|changed| is_same(&changed.listed, version))
    };
    now.iter()
        .filter(is_due)
        .map(|listed| Drift::Scan { listed: listed.clone(), siblings: Arc::clone(now) })
        .collect()
}

/// What kind of gap an error leaves.
pub(super) fn gap_of(error: &LakeError, storage_class: Option<&str>) -> GapKind {
    match error.kind() {
        LakeErrorKind::Denied => GapKind::Denied,
        LakeErrorKind::Archived => {
            let class = storage_class.unwrap_or("archive");
            GapKind::Archived { storage_class: class.to_owned() }
        }
        _ => GapKind::Unavailable,
    }
}

/// What is wrong, in words that hold no key: the gap names it.
pub(super) fn reason_of(error: &LakeError) -> String {
    let reason = match error.kind() {
        LakeErrorKind::Denied => "access to it is denied; grant the permission and index again",
        LakeErrorKind::Archived => "it lies in an archive; restore it and index again",
        LakeErrorKind::Unavailable => "the store did not answer; index again",
        LakeErrorKind::Corrupt => "the store sent other bytes than it holds; index again",
        LakeErrorKind::NotFound | LakeErrorKind::Drifted => "it changed; index again",
        LakeErrorKind::NotAnObject => "it is a link or no regular file",
        _ => return format!("the store failed: {error}"),
    };
    reason.to_owned()
}

/// What a scan holds: its place among those at once, and its memory.
type Held = (Option<OwnedSemaphorePermit>, Option<OwnedSemaphorePermit>);

/// Scans single versions.
struct Scanner {
    tools: IndexTools,
    dataset: DatasetName,
    reader: DatasetReader,
    settings: ScanSettings,
}

impl Scanner {
    async fn scan(self: Arc<Self>, target: Changed, held: Held) -> Result<Outcome, MetastoreError> {
        let object = target.listed.object.clone();
        let mut recorder = self.tools.metastore.record(&self.dataset, &object).await?;
        let mut scan = scan_object(Arc::clone(&self.tools.lake), &self.reader, &object);
        while let Some(postings) = scan.next().await {
            recorder.append(postings).await?;
        }
        let outcome = match scan.finish().await {
            Ok(summary) => ScanOutcome::Indexed(summary),
            Err(ScanError::Unreadable(unreadable)) => ScanOutcome::Unreadable(unreadable),
            Err(ScanError::Lake(error)) if is_gone(&error) => {
                return Ok(Outcome::Changed(target));
            }
            Err(ScanError::Lake(error)) => return Ok(Outcome::Failed(target.listed, error)),
            Err(ScanError::Stopped) => return Ok(Outcome::BrokenOff(target.listed)),
        };
        let scanned = ScannedObject {
            object,
            settings: self.settings.clone(),
            scanned_at: self.tools.clock.now(),
            outcome,
        };
        drop(held);
        recorder.commit(scanned.clone()).await?;
        Ok(Outcome::Recorded(scanned))
    }
}
