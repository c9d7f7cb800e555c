//! Drops blanks, renumbers, scans again: many objects.
//!
//! Each object on its own: the bytes to be written are checked against the rows that stay, the blanks
//! are dropped by a compare-and-swap, the new version is read back and compared, and only then scanned
//! into the index. No journal is kept, since no order of dying harms: a version that was written and
//! not indexed is found by the next run of the index, and postings of the version before it point to
//! nothing. What is noted in the ledger is where the bytes of an unfinished write lie; every run first
//! removes what earlier ones left.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::clock::Clock;
use crate::domain::dataset::{Dataset, DatasetName};
use crate::domain::identifier::DigestKey;
use crate::domain::object::{ObjectKey, ObjectVersion, Standing};
use crate::domain::observe::{Event, Observer, Stop};
use crate::domain::plan::PlanId;
use crate::domain::row::RowCount;
use crate::domain::scope::{InvalidGlob, Scope};
use crate::lake::probe::ensure_conditional_writes;
use crate::lake::tables::table_roots;
use crate::lake::{Estate, Lake, LakeError, LakeErrorKind};
use crate::ledger::{Holder, Lease, LeaseTerms, Ledger, LedgerError, PlanState};
use crate::metastore::{Metastore, MetastoreError};
use crate::scan::DatasetReader;

mod compact;
mod expected;
mod preview;
mod trail;

/// What a vacuum works with.
#[derive(Clone)]
pub struct VacuumTools {
    /// The configured datasets, each with its lake.
    pub datasets: Arc<[Estate]>,
    /// The index.
    pub metastore: Arc<dyn Metastore>,
    /// Where plans are, and the lease.
    pub ledger: Ledger,
    /// The key of the identifiers' digests.
    pub key: DigestKey,
    /// The time.
    pub clock: Clock,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Who takes the lease.
    pub holder: Holder,
    /// How the lease is taken.
    pub terms: LeaseTerms,
    /// Asked between objects.
    pub stop: Stop,
    /// How many objects are dealt with at once; at least one.
    pub concurrency: usize,
}

/// What a vacuum did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VacuumReport {
    /// Objects that were looked at.
    pub objects: u64,
    /// Of these, those that had blanks and have none any more.
    pub compacted: u64,
    /// Blanks that were dropped.
    pub dropped: RowCount,
    /// Bytes of the compacted objects before.
    pub size_bytes_before: u64,
    /// Bytes of the compacted objects after.
    pub size_bytes_after: u64,
    /// Objects that somebody changed meanwhile, and that were left alone.
    pub drifted: Vec<ObjectKey>,
    /// Objects that could not be compacted, and why.
    pub failed: Vec<NotCompacted>,
    /// Whether it was stopped before the last object.
    pub was_interrupted: bool,
}

/// An object that could not be compacted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCompacted {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// Why, without any content.
    pub detail: String,
}

/// A vacuum could not go on as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VacuumError {
    /// A plan was begun and is not finished: its row numbers have to stay true.
    #[error("plan {} was begun and is not finished; run `lacuna erase {}` first", .0.prefix(), .0.prefix())]
    PlanBegun(PlanId),
    /// The configuration has no such dataset.
    #[error("the configuration has no dataset `{0}`")]
    NoDataset(DatasetName),
    /// The ledger refused or failed; the lease may be another run's.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A lake could not be listed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The index refused or failed.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// A pattern of the configuration cannot be read.
    #[error(transparent)]
    Pattern(#[from] InvalidGlob),
}

/// Drops the blanks of every current object of these datasets, and scans what changed.
///
/// # Errors
///
/// [`VacuumError`]. What was compacted until then stays compacted. What concerns one object alone is
/// named in the report.
pub async fn vacuum(
    tools: &VacuumTools,
    datasets: &[DatasetName],
) -> Result<VacuumReport, VacuumError> {
    refuse_while_begun(&tools.ledger).await?;
    let run = PlanId::of(b"lacuna vacuum");
    let lease = tools.ledger.acquire(tools.holder.clone(), run, tools.terms).await?;
    let heartbeat = lease.keep();
    let report = run_under(tools, datasets, &lease).await;
    drop(heartbeat);
    // Whoever took the lease over in the meantime has it; an unreleased one runs out.
    let _ = lease.release().await;
    report
}

async fn run_under(
    tools: &VacuumTools,
    datasets: &[DatasetName],
    lease: &Lease,
) -> Result<VacuumReport, VacuumError> {
    abandon_leftovers(tools).await?;
    let mut report = VacuumReport::default();
    let mut proven = HashSet::new();
    for name in datasets {
        let holding = tools.datasets.iter().find(|holding| holding.dataset.name == *name);
        let holding = holding.ok_or_else(|| VacuumError::NoDataset(name.clone()))?;
        if proven.insert(holding.lake.location().to_owned()) {
            let prefix = holding.dataset.location.prefix();
            ensure_conditional_writes(holding.lake.as_ref(), prefix, "vacuum").await?;
        }
        dataset(tools, holding, lease, &mut report).await?;
    }
    Ok(report)
}

/// Removes what killed runs left in the lakes. What lies in a lake that is no longer configured stays
/// noted.
async fn abandon_leftovers(tools: &VacuumTools) -> Result<(), VacuumError> {
    for leftover in tools.ledger.leftovers().await? {
        let mut lakes = tools.datasets.iter().map(|holding| &holding.lake);
        let Some(lake) = lakes.find(|lake| lake.location() == leftover.location) else { continue };
        lake.abandon(&leftover.key, &leftover.staging).await?;
        tools.ledger.dismiss(&leftover).await?;
    }
    Ok(())
}

/// A plan that was begun counts on the row numbers of the versions that it names.
async fn refuse_while_begun(ledger: &Ledger) -> Result<(), VacuumError> {
    let plans = ledger.plans().await?;
    match plans.iter().find(|plan| plan.state == PlanState::Begun) {
        Some(begun) => Err(VacuumError::PlanBegun(begun.id)),
        None => Ok(()),
    }
}

/// A dataset under vacuum.
struct Site<'a> {
    tools: &'a VacuumTools,
    lease: &'a Lease,
    dataset: &'a Dataset,
    lake: Arc<dyn Lake>,
    reader: DatasetReader,
}

/// What came of one object.
enum Compacted {
    /// It has no blanks.
    Untouched,
    /// It had some.
    Dropped { rows: RowCount, size_bytes: u64 },
    /// It is no longer as it was listed.
    Drifted,
    /// It could not be compacted.
    Failed(String),
}

async fn dataset(
    tools: &VacuumTools,
    estate: &Estate,
    lease: &Lease,
    report: &mut VacuumReport,
) -> Result<(), VacuumError> {
    let Estate { dataset, lake } = estate;
    let name = &dataset.name;
    let objects = current_objects(tools, dataset, lake).await?;
    tools.observer.event(Event::Phase {
        name: "vacuuming",
        dataset: Some(name),
        objects: Some(objects.len() as u64),
        size_bytes: Some(objects.iter().map(|object| object.size_bytes).sum()),
    });
    let reader = DatasetReader::new(dataset, &tools.key);
    let site = Site { tools, lease, dataset, lake: lake.clone(), reader };
    let total = objects.len() as u64;
    let before = report.objects;
    let mut compacted = futures::stream::iter(objects)
        .take_while(|_| std::future::ready(!tools.stop.is_requested()))
        .map(|object| {
            let site = &site;
            async move { site.compact(&object).await.map(|compacted| (object, compacted)) }
        })
        .buffer_unordered(tools.concurrency.max(1));
    while let Some((object, compacted)) = compacted.try_next().await? {
        report.count(name, &object, compacted);
        let (key, size_bytes) = (&object.key, object.size_bytes);
        tools.observer.event(Event::Finished { key, size_bytes });
    }
    report.was_interrupted |= report.objects - before < total;
    tools.observer.event(Event::PhaseEnded);
    Ok(())
}

/// The current version of every object of the dataset.
async fn current_objects(
    tools: &VacuumTools,
    dataset: &Dataset,
    lake: &Arc<dyn Lake>,
) -> Result<Vec<ObjectVersion>, VacuumError> {
    let before = tools.datasets.iter().map(|other| &other.dataset);
    let before = before.take_while(|other| other.name != dataset.name);
    let earlier: Vec<Dataset> = before.map(|other| other.as_ref().clone()).collect();
    let tables = table_roots(lake.as_ref(), &dataset.location).await?;
    let scope = Scope::new(dataset, &earlier, tables)?;
    let mut listing = lake.list(dataset.location.prefix());
    let mut objects = Vec::new();
    let mut seen = HashSet::new();
    loop {
        match listing.try_next().await {
            Ok(None) => return Ok(objects),
            Ok(Some(listed)) => {
                let is_wanted = listed.standing == Standing::Current
                    && scope.exclusion(&listed.object.key).is_none();
                if is_wanted && seen.insert(listed.object.key.clone()) {
                    objects.push(listed.object);
                }
            }
            Err(error) if error.kind() == LakeErrorKind::NotAnObject => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl VacuumReport {
    fn count(&mut self, dataset: &DatasetName, object: &ObjectVersion, compacted: Compacted) {
        self.objects += 1;
        match compacted {
            Compacted::Untouched => {}
            Compacted::Dropped { rows, size_bytes } => {
                self.compacted += 1;
                self.dropped.0 += rows.0;
                self.size_bytes_before += object.size_bytes;
                self.size_bytes_after += size_bytes;
            }
            Compacted::Drifted => self.drifted.push(object.key.clone()),
            Compacted::Failed(detail) => self.failed.push(NotCompacted {
                dataset: dataset.clone(),
                key: object.key.clone(),
                detail,
            }),
        }
    }
}
