//! Reads a whole index and tells where it contradicts itself. It knows what a record promises of its
//! postings; it never looks at the lake.

use std::sync::Arc;

use futures::TryStreamExt as _;
use serde::Serialize;

use super::tally::{Tally, fault, tallies};
use crate::domain::dataset::DatasetName;
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::domain::observe::{Event, Observer, Stop};
use crate::domain::posting::ScannedObject;
use crate::metastore::{Metastore, MetastoreError};

/// How many versions are checked in one pass over the index.
const VERSIONS: usize = 100_000;

/// What checking works with.
#[derive(Clone)]
pub struct CheckTools {
    /// The index.
    pub metastore: Arc<dyn Metastore>,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Ends the run after a pass.
    pub stop: Stop,
}

/// What a check read and met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Every dataset that has a record.
    pub datasets: Vec<CheckedDataset>,
    /// Postings that the index counts, where that did not change during the check.
    pub counted_postings: Option<u64>,
    /// Whether it was stopped before its end.
    pub was_interrupted: bool,
}

/// One dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckedDataset {
    /// The dataset.
    pub dataset: DatasetName,
    /// Recorded versions.
    pub objects: u64,
    /// Their postings.
    pub postings: u64,
    /// Versions whose postings are not as recorded.
    pub damaged: Vec<DamagedVersion>,
}

/// A version whose postings are not as recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedVersion {
    /// The object.
    pub key: ObjectKey,
    /// Which of its versions.
    pub version: VersionId,
    /// What is wrong, lower case.
    pub reason: String,
}

impl CheckReport {
    /// Postings that were read.
    pub fn postings(&self) -> u64 {
        self.datasets.iter().map(|it| it.postings).sum()
    }

    /// Whether postings are missing, or there are more than there should be, of nobody knows which
    /// version.
    pub fn is_short(&self) -> bool {
        let are_named = self.datasets.iter().any(|it| !it.damaged.is_empty());
        !are_named && self.counted_postings.is_some_and(|counted| counted != self.postings())
    }

    /// Whether nothing was found to be wrong.
    pub fn is_sound(&self) -> bool {
        !self.is_short() && self.datasets.iter().all(|it| it.damaged.is_empty())
    }
}

/// Checks an index.
///
/// # Errors
///
/// Where the index cannot be read, of the kind [`Corrupt`](crate::metastore::MetastoreErrorKind::Corrupt)
/// where a part of it cannot be taken apart.
pub async fn check(tools: &CheckTools) -> Result<CheckReport, MetastoreError> {
    let before = tools.metastore.size().await?;
    let mut report =
        CheckReport { datasets: Vec::new(), counted_postings: None, was_interrupted: false };
    let objects = Some(before.objects);
    tools.observer.event(Event::Phase {
        name: "checking",
        dataset: None,
        objects,
        size_bytes: None,
    });
    for dataset in tools.metastore.datasets().await? {
        let mut checked = CheckedDataset { dataset, objects: 0, postings: 0, damaged: Vec::new() };
        report.was_interrupted = !check_dataset(tools, &mut checked).await?;
        report.datasets.push(checked);
        if report.was_interrupted {
            break;
        }
    }
    tools.observer.event(Event::PhaseEnded);
    let after = tools.metastore.size().await?;
    let is_still = before.postings == after.postings && before.objects == after.objects;
    if is_still && !report.was_interrupted {
        report.counted_postings = Some(after.postings);
    }
    Ok(report)
}

/// Answers whether it came to the end.
async fn check_dataset(
    tools: &CheckTools,
    checked: &mut CheckedDataset,
) -> Result<bool, MetastoreError> {
    let mut records = tools.metastore.indexed(&checked.dataset, None);
    let mut some = Vec::new();
    while let Some(record) = records.try_next().await? {
        some.push(record);
        if some.len() >= VERSIONS {
            check_some(tools, checked, &std::mem::take(&mut some)).await?;
            if tools.stop.is_requested() {
                return Ok(false);
            }
        }
    }
    check_some(tools, checked, &some).await?;
    Ok(true)
}

async fn check_some(
    tools: &CheckTools,
    checked: &mut CheckedDataset,
    records: &[ScannedObject],
) -> Result<(), MetastoreError> {
    if records.is_empty() {
        return Ok(());
    }
    let metastore = &*tools.metastore;
    let found = faults(metastore, &checked.dataset, records).await?;
    let mut suspects = Vec::new();
    for (record, (tally, fault)) in records.iter().zip(found) {
        checked.objects += 1;
        checked.postings += tally.postings;
        suspects.extend(fault.map(|_| record.clone()));
        let ObjectVersion { key, size_bytes, .. } = &record.object;
        tools.observer.event(Event::Finished { key, size_bytes: *size_bytes });
    }
    if suspects.is_empty() {
        return Ok(());
    }
    // Whoever changes the index meanwhile makes it look damaged: a second look tells.
    let keys: Vec<ObjectKey> = suspects.iter().map(|record| record.object.key.clone()).collect();
    let again = faults(metastore, &checked.dataset, &suspects).await?;
    let now = metastore.recorded(&checked.dataset, &keys).await?;
    for (record, (_, fault)) in suspects.iter().zip(again) {
        if let Some(reason) = fault.filter(|_| now.contains(record)) {
            let ObjectVersion { key, version, .. } = record.object.clone();
            checked.damaged.push(DamagedVersion { key, version, reason });
        }
    }
    Ok(())
}

/// What the postings of these versions come to, and what is wrong with them.
async fn faults(
    metastore: &dyn Metastore,
    dataset: &DatasetName,
    records: &[ScannedObject],
) -> Result<Vec<(Tally, Option<String>)>, MetastoreError> {
    let objects: Vec<ObjectVersion> = records.iter().map(|record| record.object.clone()).collect();
    let tallies = tallies(metastore, dataset, records).await?;
    let counts = metastore.posting_counts(dataset, &objects).await?;
    let both = records.iter().zip(tallies).zip(counts);
    Ok(both.map(|((record, tally), count)| (tally, fault(record, &tally, count))).collect())
}
