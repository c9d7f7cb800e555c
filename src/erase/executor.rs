//! Carries out an approved plan: many objects, each on its own, resumable at any point.
//!
//! Everything that a second run needs is in the journal before the step it tells of. A change that is
//! done is not looked at again; one that was begun is settled by looking at the object. What fails for
//! one object stops no other; what makes notes impossible (the lease is lost, the ledger's store
//! fails) ends the run.

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::task::JoinSet;

use crate::domain::audit::{AUDIT_SCHEMA, AuditRecord};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::journal::{Note, Outcome, Replacement, Step};
use crate::domain::object::ObjectVersion;
use crate::domain::observe::{Event, Stop};
use crate::domain::plan::{ErasurePlan, PlanId, PlannedChange};
use crate::domain::trail::{TrailAction, TrailTopic};
use crate::lake::count::{Meter, metered};
use crate::lake::probe::ensure_conditional_writes;
use crate::lake::{Estate, Versioning};
use crate::ledger::Lease;
use crate::metastore::{MetastoreError, MetastoreErrorKind, Succession};
use crate::rewrite::{Ending, Halt, Past, Planned, Site};

use super::approval::ApprovedPlan;
use super::execution::{Execution, Handled};
use super::notebook::Notebook;
use super::tools::{EraseError, EraseTools};

/// How many runs may fail on one object before it is left for a new plan.
pub const MOST_FAILURES: usize = 8;

/// How often the index is asked to follow before the change counts as failed.
const INDEX_TRIES: u32 = 3;

/// How a plan is carried out.
#[derive(Clone, Debug)]
pub struct ExecuteOptions {
    /// How many objects are dealt with at once; at least one.
    pub concurrency: usize,
    /// Whether every object is read whole before and after its rewrite: what the index missed in it is met
    /// then, at the price of two readings.
    pub is_deep: bool,
    /// Asked between objects.
    pub stop: Stop,
}

impl Default for ExecuteOptions {
    fn default() -> Self {
        Self { concurrency: 4, is_deep: false, stop: Stop::default() }
    }
}

/// Carries out an approved plan, or goes on with it, or finds that nothing is left to do.
///
/// # Errors
///
/// [`EraseError`] where the run as a whole cannot go on: another run holds the lease, a lake does not
/// honour conditional writes, the ledger fails. The same call goes on from there.
pub async fn execute(
    tools: &EraseTools,
    approved: ApprovedPlan,
    options: ExecuteOptions,
) -> Result<Execution, EraseError> {
    let lease = tools.ledger.acquire(tools.holder.clone(), *approved.id(), tools.terms).await?;
    let heartbeat = lease.keep();
    let run = Run { is_deep: options.is_deep, ..Run::new(tools, approved, lease.clone()) };
    let execution = Arc::new(run).carry_out(&options).await;
    drop(heartbeat);
    // Whoever took the lease over in the meantime has it; an unreleased one runs out.
    let _ = lease.release().await;
    execution
}

/// One run over one plan.
struct Run {
    tools: EraseTools,
    id: PlanId,
    plan: ErasurePlan,
    approved: ApprovedPlan,
    lease: Lease,
    subjects: Arc<HashSet<IdentifierDigest>>,
    is_deep: bool,
}

impl Run {
    fn new(tools: &EraseTools, approved: ApprovedPlan, lease: Lease) -> Self {
        let plan = approved.plan().clone();
        let subjects = Arc::new(plan.digests().collect());
        let (tools, id, is_deep) = (tools.clone(), *approved.id(), false);
        Self { tools, id, plan, approved, lease, subjects, is_deep }
    }

    async fn carry_out(self: Arc<Self>, options: &ExecuteOptions) -> Result<Execution, EraseError> {
        self.abandon_leftovers().await?;
        let latest = self.tools.ledger.notes(&self.id).await?;
        let mut handled = self.already_done(&latest);
        let open: Vec<u32> = self
            .changes()
            .map(|(change, _)| change)
            .filter(|it| !handled.contains_key(it))
            .collect();
        self.prove_lakes(&open).await?;
        self.tell_phase(&open);
        self.clone().work_off(open, options, &mut handled).await?;
        self.tools.observer.event(Event::PhaseEnded);
        let execution = Execution::new(self.id, &self.plan, handled);
        if execution.is_finished() {
            self.tools.ledger.finish(&self.id).await?;
        }
        self.tools.ledger.seal(&TrailTopic::Plan(self.id), TrailAction::Executed).await?;
        Ok(execution)
    }

    fn changes(&self) -> impl Iterator<Item = (u32, &PlannedChange)> {
        (0..).zip(&self.plan.changes)
    }

    /// What earlier runs ended for good. A failed change is open: it is tried again.
    fn already_done(&self, latest: &BTreeMap<u32, Note>) -> BTreeMap<u32, Handled> {
        let ended = latest.iter().filter_map(|(&change, note)| match &note.step {
            Step::Done(outcome) if !matches!(outcome, Outcome::Failed { .. }) => {
                Some((change, Handled::new(outcome.clone())))
            }
            _ => None,
        });
        ended.collect()
    }

    /// Removes what a killed vacuum left in the lakes: it may be rows of the subjects. What lies
    /// in a lake that is no longer configured stays noted.
    async fn abandon_leftovers(&self) -> Result<(), EraseError> {
        for leftover in self.tools.ledger.leftovers().await? {
            let mut lakes = self.tools.datasets.iter().map(|estate| &estate.lake);
            let Some(lake) = lakes.find(|lake| lake.location() == leftover.location) else {
                continue;
            };
            lake.abandon(&leftover.key, &leftover.staging)
                .await
                .map_err(|error| EraseError::lake(&**lake, error))?;
            self.tools.ledger.dismiss(&leftover).await?;
        }
        Ok(())
    }

    /// Proves once a lake that it honours conditional writes, before the first of them matters.
    async fn prove_lakes(&self, open: &[u32]) -> Result<(), EraseError> {
        let mut proven = HashSet::new();
        for (change, planned) in self.changes() {
            if planned.rewrite.is_none() || open.binary_search(&change).is_err() {
                continue;
            }
            let Some(estate) = self.tools.estate(&planned.dataset) else {
                return Err(EraseError::NoDataset { dataset: planned.dataset.clone() });
            };
            if proven.insert(estate.lake.location().to_owned()) {
                self.prove(estate).await?;
            }
        }
        Ok(())
    }

    async fn prove(&self, estate: &Estate) -> Result<(), EraseError> {
        let lake = estate.lake.as_ref();
        let prefix = estate.dataset.location.prefix();
        ensure_conditional_writes(lake, prefix, &self.id.to_string())
            .await
            .map_err(|error| EraseError::lake(lake, error))
    }

    fn tell_phase(&self, open: &[u32]) {
        let sizes = self.changes().filter(|(change, _)| open.binary_search(change).is_ok());
        self.tools.observer.event(Event::Phase {
            name: "erasing",
            dataset: None,
            objects: Some(open.len() as u64),
            size_bytes: Some(sizes.map(|(_, planned)| size_bytes(planned)).sum()),
        });
    }

    /// Works off the open changes, several at once, until all have ended or a stop is asked for.
    async fn work_off(
        self: Arc<Self>,
        open: Vec<u32>,
        options: &ExecuteOptions,
        handled: &mut BTreeMap<u32, Handled>,
    ) -> Result<(), EraseError> {
        let mut waiting = open.into_iter();
        let mut at_work: JoinSet<Result<(u32, Handled), EraseError>> = JoinSet::new();
        let mut fatal = None;
        loop {
            let is_stopped = options.stop.is_requested() || fatal.is_some();
            while !is_stopped && at_work.len() < options.concurrency.max(1) {
                let Some(change) = waiting.next() else { break };
                let run = self.clone();
                at_work.spawn(async move { run.close(change).await.map(|it| (change, it)) });
            }
            match at_work.join_next().await {
                None => break,
                Some(Ok(Ok((change, it)))) => {
                    handled.insert(change, it);
                }
                Some(Ok(Err(error))) => fatal = fatal.or(Some(error)),
                // The work itself is caught in `close`; this is a defect in the bookkeeping.
                Some(Err(defect)) => {
                    fatal = fatal.or(Some(EraseError::Refused(defect.to_string())))
                }
            }
        }
        fatal.map_or(Ok(()), Err)
    }

    /// Brings one change to its end and puts that on record: evidence first, then the journal, so that
    /// a change which the journal calls done is in evidence.
    async fn close(&self, change: u32) -> Result<Handled, EraseError> {
        let planned = &self.plan.changes[change as usize];
        let notes = self.tools.ledger.notes_of(&self.id, change).await?;
        if let Some(given_up) = given_up(&notes) {
            return Ok(Handled::new(given_up));
        }
        let notebook = Arc::new(Notebook::new(&self.tools, &self.lease, self.id, change, &notes));
        let handled = if self.approved.is_excepted(planned) {
            Handled::new(Outcome::Excepted)
        } else {
            self.work(planned, &notes, notebook.clone()).await?
        };
        let record = AuditRecord {
            schema: AUDIT_SCHEMA.to_owned(),
            plan: self.id,
            dataset: planned.dataset.clone(),
            key: planned.key.clone(),
            approved_by: self.approved.approved_by().to_owned(),
            ended_at: self.tools.clock.now(),
            outcome: handled.outcome.clone(),
        };
        self.tools.ledger.append_audit(&self.id, change, &record).await?;
        notebook.write(Step::Done(handled.outcome.clone())).await?;
        self.tools
            .observer
            .event(Event::Finished { key: &planned.key, size_bytes: size_bytes(planned) });
        Ok(handled)
    }

    /// The work on one object. A panic in it is that object's failure, nobody else's.
    async fn work(
        &self,
        planned: &PlannedChange,
        notes: &[Note],
        notebook: Arc<Notebook>,
    ) -> Result<Handled, EraseError> {
        let steps = AssertUnwindSafe(self.steps(planned, notes, notebook));
        match steps.catch_unwind().await {
            Ok(answer) => answer,
            Err(_) => Ok(Handled::failed("the work on this object panicked; please report it")),
        }
    }

    async fn steps(
        &self,
        planned: &PlannedChange,
        notes: &[Note],
        notebook: Arc<Notebook>,
    ) -> Result<Handled, EraseError> {
        let Some(estate) = self.tools.estate(&planned.dataset) else {
            return Err(EraseError::NoDataset { dataset: planned.dataset.clone() });
        };
        let capabilities = match estate.lake.capabilities().await {
            Ok(capabilities) => capabilities,
            Err(error) => return Ok(Handled::failed(error.to_string())),
        };
        let meter = Meter::default();
        let site = Site {
            lake: metered(&estate.lake, &meter),
            meter,
            marks_operations: capabilities.marks_operations,
            keeps_versions: capabilities.versioning != Versioning::Never,
            reader: self.tools.reader(&estate.dataset),
            subjects: self.subjects.clone(),
            notes: notebook.clone(),
            pause: self.tools.pause,
            landmarks: self.tools.landmarks(planned).await,
            is_deep: self.is_deep,
        };
        let past = Past::of(notes.iter().map(|note| &note.step));
        match in_the_lake(site, planned, past).await {
            Ok(ending) => Ok(self.in_the_index(planned, ending).await),
            Err(Halt::Drifted) => Ok(Handled::new(Outcome::Drifted)),
            Err(Halt::Failed { detail }) => Ok(Handled::failed(detail)),
            Err(Halt::Unverified { detail, subject_rows }) => {
                Ok(Handled::unverified(detail, subject_rows))
            }
            Err(Halt::Notes(error)) => Err(notebook.error(error)),
        }
    }

    /// Lets the index follow, last of all: a posting outlives the rows it points to.
    async fn in_the_index(&self, planned: &PlannedChange, ending: Ending) -> Handled {
        let mut tries = 1;
        loop {
            match self.follow(planned, &ending).await {
                Ok(()) => return Handled::of(ending),
                Err(error)
                    if error.kind() == MetastoreErrorKind::Unavailable && tries < INDEX_TRIES =>
                {
                    tokio::time::sleep(self.tools.pause * tries).await;
                    tries += 1;
                }
                Err(error) => {
                    return Handled::failed(format!("the index could not follow: {error}"));
                }
            }
        }
    }

    async fn follow(&self, planned: &PlannedChange, ending: &Ending) -> Result<(), MetastoreError> {
        let metastore = &self.tools.metastore;
        let mut forgotten = ending.expunged.clone();
        let is_retained = |object: &ObjectVersion| {
            ending.retained.iter().any(|it| it.object.is_same_version(object))
        };
        if let Some(Replacement { old, new }) = ending.succession() {
            let keeps_old = is_retained(old);
            forgotten.retain(|object| !object.is_same_version(old));
            let succession = Succession {
                dataset: planned.dataset.clone(),
                old: old.clone(),
                new: new.clone(),
                erased: self.plan.digests().collect(),
                keeps_old: keeps_old || old.is_same_version(new),
                landmarks: ending.landmarks.clone(),
            };
            metastore.succeed(&succession).await?;
        }
        // What the index was wrong about is scanned again, the postings of others with it.
        let is_lost = ending.was_gone || ending.index_was_wrong;
        let lost = planned.rewrite.iter().map(|rewrite| &rewrite.object).filter(|_| is_lost);
        forgotten.extend(lost.filter(|object| !is_retained(object)).cloned());
        if forgotten.is_empty() {
            return Ok(());
        }
        metastore.forget(&planned.dataset, &forgotten).await
    }
}

/// The steps of one object, in the order that their types allow.
async fn in_the_lake(site: Site, planned: &PlannedChange, past: Past) -> Result<Ending, Halt> {
    let rewritten = Planned::new(site, planned.clone(), past).rewrite().await?;
    let verified = rewritten.verify().await?;
    Ok(verified.expunge().await?.into_ending())
}

/// The last failure of a change that failed too often to be tried again.
fn given_up(notes: &[Note]) -> Option<Outcome> {
    let failures = notes.iter().filter_map(|note| match &note.step {
        Step::Done(Outcome::Failed { detail }) => Some(detail),
        _ => None,
    });
    let (count, last) = failures.fold((0, None), |(count, _), detail| (count + 1, Some(detail)));
    let detail = last.filter(|_| count >= MOST_FAILURES)?;
    let detail = format!("given up after {count} runs, plan again: {detail}");
    Some(Outcome::Failed { detail })
}

fn size_bytes(planned: &PlannedChange) -> u64 {
    planned.rewrite.as_ref().map_or(0, |rewrite| rewrite.object.size_bytes)
}
