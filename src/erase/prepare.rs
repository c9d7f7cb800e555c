//! The way from a request to a stored plan. It reads lakes and index and writes to the ledger only.

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::DigestKey;
use crate::domain::observe::Observer;
use crate::domain::plan::{ErasurePlan, PlanId};
use crate::domain::request::{ErasureRequest, ReservedValues};
use crate::domain::trail::{TrailAction, TrailTopic};
use crate::ledger::{Ledger, LedgerError, Rendering};
use crate::metastore::Metastore;

use super::check::{CheckNote, Severity, check, is_sound};
use super::facts::{FactsError, InScope, gather};
use super::lookup::{LookupError, lookup};
use super::planner::{PlanTerms, plan};
use super::report::{PurgeReport, html, text};
use super::restraint::registered;

/// What planning works with.
#[derive(Clone, Copy)]
pub struct PlanTools<'a> {
    /// The datasets in scope, each indexed just before.
    pub datasets: &'a [InScope],
    /// The index.
    pub metastore: &'a dyn Metastore,
    /// Where plan and report go.
    pub ledger: &'a Ledger,
    /// The key of the identifiers' digests.
    pub key: &'a DigestKey,
    /// The time.
    pub clock: &'a Clock,
    /// Hears of progress.
    pub observer: &'a dyn Observer,
}

/// How plans are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanPolicy {
    /// The digest of datasets and policies, in hexadecimal: a plan under another one is stale.
    pub configuration: String,
    /// For how long a plan can be approved and begun, in seconds.
    pub valid_for_seconds: u64,
    /// The share of a dataset's rows that may go without a warning, in percent.
    pub blast_radius_percent: u8,
    /// The coverage of a dataset below which no plan is made, in percent.
    pub coverage_floor_percent: u8,
    /// Values that stand for nobody and are refused as subjects.
    pub reserved: ReservedValues,
}

/// A plan that is stored and waits for a decision.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its id.
    pub id: PlanId,
    /// The plan.
    pub plan: ErasurePlan,
    /// The plan as the approver reads it.
    pub report: PurgeReport,
}

/// No plan was made. Nothing is stored, unless the ledger failed in the middle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The request cannot be looked up: reserved or malformed, or the index failed.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Index or lakes could not be asked.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The index knows too little of a dataset.
    #[error(
        "dataset {dataset} is indexed to {percent:.1} %, less than the {floor_percent} % that the \
         configuration demands; see `lacuna status`"
    )]
    BelowFloor {
        /// The dataset.
        dataset: DatasetName,
        /// How much of it is indexed, in percent.
        percent: f64,
        /// How much has to be.
        floor_percent: u8,
    },
    /// The second look found the plan wrong: a defect of Lacuna, or an index that contradicts itself.
    #[error("the plan is wrong and was not stored: {}", fatal(.0))]
    Unsound(Vec<CheckNote>),
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

fn fatal(notes: &[CheckNote]) -> String {
    let mut fatal = notes.iter().filter(|note| note.severity == Severity::Fatal);
    let first = fatal.next().map(|note| note.message.clone()).unwrap_or_default();
    match fatal.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

/// Looks up, gathers facts, plans, checks, reports; stores plan and report. Writes to no lake.
///
/// # Errors
///
/// [`PlanError`].
pub async fn prepare(
    tools: &PlanTools<'_>,
    request: &ErasureRequest,
    policy: &PlanPolicy,
) -> Result<Prepared, PlanError> {
    check_floor(tools.datasets, policy.coverage_floor_percent)?;
    let now = tools.clock.now();
    let found = lookup(request, tools.key, &policy.reserved, tools.metastore, now).await?;
    let mut facts = gather(tools.datasets, tools.metastore, found, tools.observer).await?;
    if let Some(registered) = registered(tools.ledger, &facts.request).await? {
        facts.restrain(&registered);
    }
    let terms = PlanTerms {
        expires_at: later(now, policy.valid_for_seconds),
        configuration: policy.configuration.clone(),
        key: tools.key.check_value(),
        blast_radius_percent: policy.blast_radius_percent,
    };
    let plan = plan(&facts, &terms);
    let notes = check(&plan, &facts, &terms);
    if !is_sound(&notes) {
        return Err(PlanError::Unsound(notes));
    }
    store(tools.ledger, plan).await
}

/// Stores the report before the plan: what can be approved can be read.
async fn store(ledger: &Ledger, plan: ErasurePlan) -> Result<Prepared, PlanError> {
    let id = PlanId::of(&plan.to_bytes());
    let report = PurgeReport::new(id, &plan);
    ledger.put_report(&id, Rendering::Json, report.to_json()).await?;
    ledger.put_report(&id, Rendering::Text, text(&report)).await?;
    ledger.put_report(&id, Rendering::Html, html(&report)).await?;
    ledger.put_plan(&plan).await?;
    ledger.seal(&TrailTopic::Plan(id), TrailAction::Planned).await?;
    Ok(Prepared { id, plan, report })
}

fn check_floor(datasets: &[InScope], floor_percent: u8) -> Result<(), PlanError> {
    let below = datasets.iter().find(|it| it.coverage.percent() < f64::from(floor_percent));
    match below {
        None => Ok(()),
        Some(it) => Err(PlanError::BelowFloor {
            dataset: it.estate.dataset.name.clone(),
            percent: it.coverage.percent(),
            floor_percent,
        }),
    }
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let second = now.as_second().saturating_add(seconds);
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}
