//! Moves an index to another metastore, group by group of versions, and compares the two at the end. It
//! knows records and postings; it never looks at the lake, nor scans anything again.
//!
//! What is there already with the same record is passed over, so a copy that was broken off goes on
//! where it was. Nobody else should change either index meanwhile; who does is noticed at the end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::pairs::side_by_side;
use super::tally::{self, Tally, Totals, tallies};
use crate::domain::dataset::DatasetName;
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::domain::observe::{Event, Observer, Stop};
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::{Metastore, MetastoreError, Recorder};

/// How many recordings are committed at once: indexes publish together what is ready together.
const COMMITS: usize = 64;

/// How many versions are forgotten at once.
const FORGET: usize = 500;

/// How many postings a row is taken to have before any was seen.
const POSTINGS_A_ROW: u64 = 4;

/// What copying works with.
#[derive(Clone)]
pub struct CopyTools {
    /// The index that is read.
    pub from: Arc<dyn Metastore>,
    /// The index that is written.
    pub to: Arc<dyn Metastore>,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Ends the run after the group in flight.
    pub stop: Stop,
    /// How much is dealt with at once.
    pub limits: CopyLimits,
    /// Whether the other index loses what this one does not have, or has otherwise; if not, an index that
    /// holds such a thing is refused.
    pub replaces: bool,
}

/// How much is dealt with at once. Every group costs a pass over the index, so groups are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyLimits {
    /// Postings of a group, as far as they can be told from the rows of its versions.
    pub postings: u64,
    /// Versions of a group.
    pub versions: usize,
    /// Postings held in memory, 24 bytes each.
    pub held: usize,
    /// Versions that are compared in one pass.
    pub compared: usize,
}

impl Default for CopyLimits {
    fn default() -> Self {
        Self { postings: 4 << 20, versions: 20_000, held: 2 << 20, compared: 100_000 }
    }
}

/// What a copy did, and how the two indexes compare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// Every dataset that either index knows.
    pub datasets: Vec<CopiedDataset>,
    /// Whether it was stopped before its end; then nothing was compared.
    pub was_interrupted: bool,
}

impl CopyReport {
    /// Whether both indexes were compared and are equal.
    pub fn is_equal(&self) -> bool {
        !self.was_interrupted && self.datasets.iter().all(|it| it.differing.is_empty())
    }
}

/// One dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopiedDataset {
    /// The dataset.
    pub dataset: DatasetName,
    /// Versions that were copied in this run.
    pub copied: u64,
    /// Versions that were there already.
    pub unchanged: u64,
    /// Versions that the other index forgot, since this one does not have them so.
    pub forgotten: u64,
    /// What the index that was read comes to.
    pub from: Totals,
    /// What the index that was written comes to.
    pub to: Totals,
    /// Versions that are not the same in both.
    pub differing: Vec<DifferingVersion>,
}

/// A version that is not the same in both indexes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DifferingVersion {
    /// The object.
    pub key: ObjectKey,
    /// Which of its versions.
    pub version: VersionId,
    /// How they differ, lower case.
    pub reason: String,
}

/// Why copying ended early. What was copied until then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The index that is read failed.
    #[error("the index cannot be copied from")]
    From(#[source] MetastoreError),
    /// The index that is written failed.
    #[error("the index cannot be copied to")]
    To(#[source] MetastoreError),
    /// There is nothing to copy, which is more likely a mistake than meant; nothing was changed.
    #[error("the index to be copied from is empty")]
    Empty,
    /// The other index holds something else; nothing was changed.
    #[error(
        "the index to be copied to holds {versions} object versions of dataset `{dataset}` that the \
         other has not, or has another record of; the first is of {first}"
    )]
    Foreign {
        /// The dataset.
        dataset: DatasetName,
        /// How many versions.
        versions: u64,
        /// The first of them.
        first: ObjectKey,
    },
    /// The index that is read contradicts itself.
    #[error("the index to be copied from is damaged at {key} of dataset `{dataset}`: {reason}")]
    Damaged {
        /// The dataset.
        dataset: DatasetName,
        /// The object.
        key: ObjectKey,
        /// What is wrong.
        reason: String,
    },
}

/// Copies an index and compares the two. Both were bound to the same key before.
///
/// # Errors
///
/// [`CopyError`] where an index fails, is damaged, or holds what the copy would have to remove.
pub async fn copy(tools: &CopyTools) -> Result<CopyReport, CopyError> {
    let mut names = tools.from.datasets().await.map_err(CopyError::From)?;
    if names.is_empty() {
        return Err(CopyError::Empty);
    }
    names.extend(tools.to.datasets().await.map_err(CopyError::To)?);
    names.sort_unstable();
    names.dedup();
    if !tools.replaces {
        for name in &names {
            refuse_foreign(tools, name).await?;
        }
    }
    let mut report = once(tools, &names).await?;
    if !tools.replaces || report.was_interrupted || report.is_equal() {
        return Ok(report);
    }
    // A record that is the same in both may have other postings: an erasure can take some away and
    // leave the record as it is.
    for copied in &report.datasets {
        forget_differing(tools, copied).await?;
    }
    let first = std::mem::replace(&mut report, once(tools, &names).await?);
    for (copied, first) in report.datasets.iter_mut().zip(first.datasets) {
        copied.copied += first.copied;
        copied.unchanged = copied.unchanged.saturating_sub(first.copied);
        copied.forgotten += first.forgotten;
    }
    Ok(report)
}

/// Copies what is missing, and compares.
async fn once(tools: &CopyTools, names: &[DatasetName]) -> Result<CopyReport, CopyError> {
    let objects = tools.from.size().await.map_err(CopyError::From)?.objects;
    let mut report = CopyReport { datasets: Vec::new(), was_interrupted: false };
    tools.observer.event(phase("copying", objects));
    for name in names {
        let mut run = Run::new(tools, name.clone());
        let done = run.copy().await;
        report.datasets.push(run.report);
        report.was_interrupted = !done?;
        if report.was_interrupted {
            break;
        }
    }
    tools.observer.event(Event::PhaseEnded);
    if report.was_interrupted {
        return Ok(report);
    }
    tools.observer.event(phase("comparing", objects));
    for copied in &mut report.datasets {
        if !compare(tools, copied).await? {
            report.was_interrupted = true;
            break;
        }
    }
    tools.observer.event(Event::PhaseEnded);
    Ok(report)
}

async fn forget_differing(tools: &CopyTools, copied: &CopiedDataset) -> Result<(), CopyError> {
    let keys: Vec<ObjectKey> = copied.differing.iter().map(|it| it.key.clone()).collect();
    let versions: HashSet<(&ObjectKey, &VersionId)> =
        copied.differing.iter().map(|it| (&it.key, &it.version)).collect();
    let records = tools.to.recorded(&copied.dataset, &keys).await.map_err(CopyError::To)?;
    let objects = records.into_iter().map(|record| record.object);
    let objects: Vec<ObjectVersion> =
        objects.filter(|object| versions.contains(&(&object.key, &object.version))).collect();
    for some in objects.chunks(FORGET) {
        tools.to.forget(&copied.dataset, some).await.map_err(CopyError::To)?;
    }
    Ok(())
}

fn phase(name: &'static str, objects: u64) -> Event<'static> {
    Event::Phase { name, dataset: None, objects: Some(objects), size_bytes: None }
}

async fn refuse_foreign(tools: &CopyTools, dataset: &DatasetName) -> Result<(), CopyError> {
    let (mut versions, mut first) = (0, None);
    let mut pairs = std::pin::pin!(side_by_side(&*tools.from, &*tools.to, dataset));
    while let Some(pair) = pairs.try_next().await? {
        let foreign = pair.foreign().count() as u64;
        if foreign > 0 {
            first.get_or_insert_with(|| pair.key.clone());
        }
        versions += foreign;
    }
    match first {
        None => Ok(()),
        Some(first) => Err(CopyError::Foreign { dataset: dataset.clone(), versions, first }),
    }
}

/// The copy of one dataset.
struct Run<'t> {
    tools: &'t CopyTools,
    report: CopiedDataset,
    group: Vec<ScannedObject>,
    /// Rows of the group.
    rows: u64,
    /// Rows and postings of the groups before.
    seen: (u64, u64),
}

impl<'t> Run<'t> {
    fn new(tools: &'t CopyTools, dataset: DatasetName) -> Self {
        let (from, to) = (Totals::default(), Totals::default());
        let (copied, unchanged, forgotten, differing) = (0, 0, 0, Vec::new());
        let report = CopiedDataset { dataset, copied, unchanged, forgotten, from, to, differing };
        Self { tools, report, group: Vec::new(), rows: 0, seen: (0, 0) }
    }

    /// Copies what is missing. Answers whether it came to the end.
    async fn copy(&mut self) -> Result<bool, CopyError> {
        let (tools, dataset) = (self.tools, self.report.dataset.clone());
        let mut foreign = Vec::new();
        let mut pairs = std::pin::pin!(side_by_side(&*tools.from, &*tools.to, &dataset));
        while let Some(pair) = pairs.try_next().await? {
            foreign.extend(pair.foreign().map(|record| record.object.clone()));
            if foreign.len() >= FORGET {
                self.forget(&mut foreign).await?;
            }
            let missing: Vec<ScannedObject> = pair.missing().cloned().collect();
            for _ in missing.len()..pair.from.len() {
                self.report.unchanged += 1;
                tools.observer.event(Event::Passed);
            }
            for record in missing {
                self.rows += tally::rows(&record);
                self.group.push(record);
                if self.is_full() {
                    // What takes the same place has to be gone before, not after.
                    self.forget(&mut foreign).await?;
                    self.copy_group().await?;
                    if tools.stop.is_requested() {
                        return Ok(false);
                    }
                }
            }
        }
        self.forget(&mut foreign).await?;
        self.copy_group().await?;
        Ok(!tools.stop.is_requested())
    }

    fn is_full(&self) -> bool {
        let limits = &self.tools.limits;
        let (rows, postings) = self.seen;
        let a_row = if rows == 0 { POSTINGS_A_ROW } else { postings.div_ceil(rows).max(1) };
        let postings = self.rows.saturating_mul(a_row);
        postings >= limits.postings || self.group.len() >= limits.versions
    }

    async fn forget(&mut self, foreign: &mut Vec<ObjectVersion>) -> Result<(), CopyError> {
        if self.tools.replaces && !foreign.is_empty() {
            let to = &self.tools.to;
            to.forget(&self.report.dataset, foreign).await.map_err(CopyError::To)?;
            self.report.forgotten += foreign.len() as u64;
        }
        foreign.clear();
        Ok(())
    }

    /// Records what was collected, each version whole or not at all.
    async fn copy_group(&mut self) -> Result<(), CopyError> {
        let group = std::mem::take(&mut self.group);
        let rows = std::mem::take(&mut self.rows);
        if group.is_empty() {
            return Ok(());
        }
        let (tools, dataset) = (self.tools, &self.report.dataset);
        let sinks = fill(tools, dataset, &group).await?;
        self.seen.0 += rows;
        self.seen.1 += sinks.iter().map(|sink| sink.tally.postings).sum::<u64>();
        // Postings that were told while their record changed need not be those of either.
        let keys: Vec<ObjectKey> = group.iter().map(|record| record.object.key.clone()).collect();
        let now = tools.from.recorded(dataset, &keys).await.map_err(CopyError::From)?;
        let now: HashMap<_, _> =
            now.iter().map(|record| (place_of(&record.object), record)).collect();
        let is_still = |record: &ScannedObject| now.get(&place_of(&record.object)) == Some(&record);
        let ready = group.into_iter().zip(sinks).filter(|(record, _)| is_still(record));
        let committing = ready.map(|(record, sink)| sink.commit(tools, dataset, record));
        let mut committed = stream::iter(committing).buffer_unordered(COMMITS);
        while let Some(object) = committed.try_next().await? {
            self.report.copied += 1;
            let ObjectVersion { key, size_bytes, .. } = &object;
            tools.observer.event(Event::Finished { key, size_bytes: *size_bytes });
        }
        Ok(())
    }
}

/// What two live records of a dataset never share.
fn place_of(object: &ObjectVersion) -> (ObjectKey, VersionId) {
    (object.key.clone(), object.version.clone())
}

/// Reads the postings of a group, and refuses what contradicts its record.
async fn fill(
    tools: &CopyTools,
    dataset: &DatasetName,
    group: &[ScannedObject],
) -> Result<Vec<Sink>, CopyError> {
    let objects: Vec<ObjectVersion> = group.iter().map(|record| record.object.clone()).collect();
    let mut sinks: Vec<Sink> = group.iter().map(|_| Sink::default()).collect();
    let mut held = 0;
    let mut pieces = tools.from.postings(dataset, &objects);
    while let Some(piece) = pieces.try_next().await.map_err(CopyError::From)? {
        let (Some(sink), Some(record)) = (sinks.get_mut(piece.place), group.get(piece.place))
        else {
            continue;
        };
        held += piece.postings.len();
        sink.take(piece.postings, tally::rows(record));
        if held >= tools.limits.held {
            for (sink, record) in sinks.iter_mut().zip(group) {
                sink.spill(tools, dataset, record).await?;
            }
            held = 0;
        }
    }
    let counts = tools.from.posting_counts(dataset, &objects).await.map_err(CopyError::From)?;
    for ((sink, record), count) in sinks.iter().zip(group).zip(counts) {
        if let Some(reason) = tally::fault(record, &sink.tally, count) {
            // Whoever changes the index meanwhile makes it look damaged.
            let key = std::slice::from_ref(&record.object.key);
            let now = tools.from.recorded(dataset, key).await.map_err(CopyError::From)?;
            if now.contains(record) {
                let (dataset, key) = (dataset.clone(), record.object.key.clone());
                return Err(CopyError::Damaged { dataset, key, reason });
            }
        }
    }
    Ok(sinks)
}

/// The postings of one version on their way.
#[derive(Default)]
struct Sink {
    recorder: Option<Box<dyn Recorder>>,
    postings: Vec<RowPosting>,
    tally: Tally,
}

impl Sink {
    fn take(&mut self, postings: Vec<RowPosting>, rows: u64) {
        postings.iter().for_each(|posting| self.tally.add(posting, rows));
        self.postings.extend(postings);
    }

    /// Hands on what is held. Nothing of it is seen before the commit.
    async fn spill(
        &mut self,
        tools: &CopyTools,
        dataset: &DatasetName,
        record: &ScannedObject,
    ) -> Result<(), CopyError> {
        let postings = std::mem::take(&mut self.postings);
        if postings.is_empty() {
            return Ok(());
        }
        let recorder = match &mut self.recorder {
            Some(recorder) => recorder,
            none => {
                let begun = tools.to.record(dataset, &record.object).await;
                none.insert(begun.map_err(CopyError::To)?)
            }
        };
        recorder.append(postings).await.map_err(CopyError::To)
    }

    async fn commit(
        mut self,
        tools: &CopyTools,
        dataset: &DatasetName,
        record: ScannedObject,
    ) -> Result<ObjectVersion, CopyError> {
        self.spill(tools, dataset, &record).await?;
        let recorder = match self.recorder {
            Some(recorder) => recorder,
            None => tools.to.record(dataset, &record.object).await.map_err(CopyError::To)?,
        };
        let object = record.object.clone();
        recorder.commit(record).await.map_err(CopyError::To)?;
        Ok(object)
    }
}

/// Compares both indexes. Answers whether it came to the end.
async fn compare(tools: &CopyTools, copied: &mut CopiedDataset) -> Result<bool, CopyError> {
    let dataset = copied.dataset.clone();
    let mut both = Vec::new();
    let mut pairs = std::pin::pin!(side_by_side(&*tools.from, &*tools.to, &dataset));
    while let Some(pair) = pairs.try_next().await? {
        let reason = "the index copied to has no such record";
        copied.differing.extend(pair.missing().map(|record| differs(&record.object, reason)));
        let reason = "the index copied from has no such record";
        copied.differing.extend(pair.foreign().map(|record| differs(&record.object, reason)));
        both.extend(pair.from.into_iter().filter(|record| pair.to.contains(record)));
        if both.len() >= tools.limits.compared {
            compare_postings(tools, copied, &std::mem::take(&mut both)).await?;
            if tools.stop.is_requested() {
                return Ok(false);
            }
        }
    }
    compare_postings(tools, copied, &both).await?;
    Ok(true)
}

fn differs(object: &ObjectVersion, reason: &str) -> DifferingVersion {
    let ObjectVersion { key, version, .. } = object.clone();
    DifferingVersion { key, version, reason: reason.to_owned() }
}

async fn compare_postings(
    tools: &CopyTools,
    copied: &mut CopiedDataset,
    records: &[ScannedObject],
) -> Result<(), CopyError> {
    if records.is_empty() {
        return Ok(());
    }
    let from = tallies(&*tools.from, &copied.dataset, records).await.map_err(CopyError::From)?;
    let to = tallies(&*tools.to, &copied.dataset, records).await.map_err(CopyError::To)?;
    for ((record, from), to) in records.iter().zip(&from).zip(&to) {
        let object = &record.object;
        copied.from.add(object, from);
        copied.to.add(object, to);
        if from != to {
            let reason = match (from.postings, to.postings) {
                (from, to) if from == to => "its postings are others".to_owned(),
                (from, to) => format!("it has {from} postings in one and {to} in the other"),
            };
            copied.differing.push(differs(object, &reason));
        }
        let ObjectVersion { key, size_bytes, .. } = object;
        tools.observer.event(Event::Finished { key, size_bytes: *size_bytes });
    }
    Ok(())
}
