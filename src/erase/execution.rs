//! What came of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::dataset::DatasetName;
use crate::domain::journal::{Effort, Outcome, Retained};
use crate::domain::object::ObjectKey;
use crate::domain::plan::{ErasurePlan, PlanId};
use crate::domain::row::RowCount;
use crate::rewrite::Ending;

use super::report::wording;

/// What came of a run over a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The plan.
    pub plan: PlanId,
    /// Every change that has ended, by its place in the plan.
    pub changes: Vec<EndedChange>,
    /// Changes that were not begun, because a stop was asked for.
    pub left: u64,
}

/// A change that has ended, in this run or an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedChange {
    /// Its place in the plan, from 0.
    pub change: u32,
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether it failed because the new version was not as it should be.
    pub is_unverified: bool,
    /// In how many rows of the new version a subject was met.
    pub subject_rows: RowCount,
}

/// How many changes ended how, and what they did in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Changes that were carried out.
    pub erased: u64,
    /// Objects that were no longer as planned.
    pub drifted: u64,
    /// Objects that were gone.
    pub gone: u64,
    /// Objects that the approver left out.
    pub excepted: u64,
    /// Changes that could not be carried out; the same command tries again.
    pub failed: u64,
    /// Changes that were not begun.
    pub left: u64,
    /// Rows that were blanked.
    pub rows: RowCount,
    /// Bytes of the new versions.
    pub size_bytes: u64,
    /// Versions that were deleted for good.
    pub expunged: u64,
    /// Versions with the subjects' rows that are still there.
    pub retained: u64,
    /// What it took, in bytes that were sent to the lakes; as of those below, of changes that tell.
    #[serde(default)]
    pub written_bytes: u64,
    /// Bytes that the lakes copied by themselves.
    #[serde(default)]
    pub copied_bytes: u64,
    /// Bytes that were read.
    #[serde(default)]
    pub read_bytes: u64,
    /// Requests to the lakes.
    #[serde(default)]
    pub requests: u64,
}

/// A change as a run leaves it.
#[derive(Clone, Debug)]
pub(super) struct Handled {
    pub(super) outcome: Outcome,
    is_unverified: bool,
    subject_rows: RowCount,
}

impl Handled {
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, is_unverified: false, subject_rows: RowCount(0) }
    }

    pub(super) fn failed(detail: impl Into<String>) -> Self {
        Self::new(Outcome::Failed { detail: detail.into() })
    }

    pub(super) fn unverified(detail: String, subject_rows: RowCount) -> Self {
        Self { is_unverified: true, subject_rows, ..Self::failed(detail) }
    }

    /// A change whose work in lake and index is done.
    pub(super) fn of(ending: Ending) -> Self {
        if ending.was_gone && ending.expunged.is_empty() && ending.retained.is_empty() {
            return Self::new(Outcome::Gone);
        }
        Self::new(Outcome::Erased {
            rewrite: ending.replacement,
            rows: ending.rows,
            effort: ending.effort.map(Box::new),
            expunged: ending.expunged,
            retained: ending.retained,
        })
    }
}

impl Execution {
    pub(super) fn new(id: PlanId, plan: &ErasurePlan, handled: BTreeMap<u32, Handled>) -> Self {
        let left = plan.changes.len().saturating_sub(handled.len()) as u64;
        let changes = handled.into_iter().filter_map(|(change, handled)| {
            let planned = plan.changes.get(change as usize)?;
            Some(EndedChange {
                change,
                dataset: planned.dataset.clone(),
                key: planned.key.clone(),
                outcome: handled.outcome,
                is_unverified: handled.is_unverified,
                subject_rows: handled.subject_rows,
            })
        });
        Self { plan: id, changes: changes.collect(), left }
    }

    /// Whether nothing is left to do for the plan: the same command would change nothing.
    pub fn is_finished(&self) -> bool {
        self.left == 0 && self.failed().next().is_none()
    }

    /// Whether a stop was asked for before the last change was begun.
    pub fn is_interrupted(&self) -> bool {
        self.left > 0
    }

    /// Changes that could not be carried out.
    pub fn failed(&self) -> impl Iterator<Item = &EndedChange> {
        self.changes.iter().filter(|it| matches!(it.outcome, Outcome::Failed { .. }))
    }

    /// Objects that were no longer as planned: the next plan covers them.
    pub fn drifted(&self) -> impl Iterator<Item = &EndedChange> {
        self.changes.iter().filter(|it| it.outcome == Outcome::Drifted)
    }

    /// Versions with the subjects' rows that are still there, and why.
    pub fn retained(&self) -> impl Iterator<Item = (&EndedChange, &Retained)> {
        self.changes.iter().flat_map(|it| match &it.outcome {
            Outcome::Erased { retained, .. } => retained.iter().map(|kept| (it, kept)).collect(),
            _ => Vec::new(),
        })
    }

    /// How many changes ended how, and what they did in all.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { left: self.left, ..Tally::default() };
        for change in &self.changes {
            tally.add(&change.outcome);
        }
        tally
    }
}

impl Tally {
    /// Counts one more outcome.
    pub(super) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Erased { rewrite, rows, expunged, retained, effort } => {
                self.erased += 1;
                self.rows.0 += rows.0;
                self.size_bytes += rewrite.as_ref().map_or(0, |it| it.new.size_bytes);
                self.expunged += expunged.len() as u64;
                self.retained += retained.len() as u64;
                effort.iter().for_each(|effort| self.add_effort(effort));
            }
            Outcome::Drifted => self.drifted += 1,
            Outcome::Gone => self.gone += 1,
            Outcome::Excepted => self.excepted += 1,
            Outcome::Failed { .. } => self.failed += 1,
        }
    }

    fn add_effort(&mut self, effort: &Effort) {
        for (sum, more) in [
            (&mut self.written_bytes, effort.written_bytes),
            (&mut self.copied_bytes, effort.copied_bytes),
            (&mut self.read_bytes, effort.read_bytes),
            (&mut self.requests, effort.requests),
        ] {
            *sum = sum.saturating_add(more);
        }
    }

    /// What it took, in words: `12.3 MiB written, 980 MiB copied by the store, 41 requests`.
    pub fn effort(&self) -> Option<String> {
        let Self { written_bytes, copied_bytes, read_bytes, requests, .. } = *self;
        let effort = (written_bytes, copied_bytes, read_bytes, requests);
        (requests > 0).then(|| wording::effort(effort))
    }
}
