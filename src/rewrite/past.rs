//! What earlier runs noted about a change.

use crate::domain::edit::Way;
use crate::domain::identifier::{hex, unhex};
use crate::domain::journal::{Effort, Step};
use crate::domain::object::ObjectVersion;
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::domain::stretch::Extent;
use crate::format::Fingerprint;
use crate::lake::{OperationId, Staging};

/// What earlier runs noted about a change, and what the present one adds.
#[derive(Clone, Debug, Default)]
pub struct Past {
    intents: Vec<Intent>,
    staged: Vec<Staging>,
    rewritten: Option<(ObjectVersion, Intent)>,
    effort: Option<Effort>,
    way: Option<Way>,
    verified: Option<ObjectVersion>,
    is_expunged: bool,
    unmatched: Option<RowSet>,
}

/// A write that was about to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Its name.
    pub operation: OperationId,
    /// What the rows that stay held before it, as the note spells it.
    pub fingerprint: String,
    /// How many rows it blanks.
    pub rows: RowCount,
    /// Rows of the plan that it leaves alone.
    pub unmatched: Option<RowSet>,
    /// The part of the new version that the fingerprint is of.
    pub extent: Extent,
}

impl Intent {
    /// The rows that the write blanks, of those that were planned.
    pub fn blanked(&self, planned: &RowSet) -> Option<RowSet> {
        match &self.unmatched {
            None => Some(planned.clone()),
            Some(unmatched) => RowSet::new(planned.iter().filter(|row| !unmatched.contains(*row))),
        }
    }

    /// How many rows were read, as the fingerprint says; `None` where the note is not ours.
    pub fn rows_total(&self) -> Option<RowCount> {
        let bytes = unhex(&self.fingerprint)?;
        let rows = bytes.first_chunk::<8>()?;
        Some(RowCount(u64::from_be_bytes(*rows)))
    }
}

/// A fingerprint as notes spell it: the number of rows, then the digest, in hexadecimal.
pub(super) fn spell(fingerprint: &Fingerprint) -> String {
    let mut text = hex(&fingerprint.rows.0.to_be_bytes());
    text.push_str(&hex(&fingerprint.digest));
    text
}

impl Past {
    /// The past that these steps tell, in the order in which they were noted.
    pub fn of<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Self {
        let mut past = Self::default();
        for step in steps {
            past.add(step);
        }
        past
    }

    /// One more step.
    pub(super) fn add(&mut self, step: &Step) {
        match step {
            Step::Unmatched { rows } => self.unmatched = Some(rows.clone()),
            Step::Intended { operation, fingerprint, rows, extent } => self.intents.push(Intent {
                operation: OperationId::new(operation.as_str()),
                fingerprint: fingerprint.clone(),
                rows: *rows,
                unmatched: self.unmatched.take(),
                extent: extent.clone(),
            }),
            Step::Staged { staging, .. } => self.staged.push(Staging(staging.clone())),
            Step::Rewritten { object, effort } => {
                let intent = self.intents.last().cloned();
                self.rewritten = intent.map(|intent| (object.clone(), intent));
                self.effort = effort.clone();
            }
            Step::Verified { object } => self.verified = Some(object.clone()),
            Step::Expunged { .. } => self.is_expunged = true,
            Step::Done(_) => {}
        }
    }

    /// Writes that may have happened.
    pub(super) fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The write of this name.
    pub(super) fn intent(&self, operation: &OperationId) -> Option<&Intent> {
        self.intents.iter().find(|intent| intent.operation == *operation)
    }

    /// The version that a write is known to have made.
    pub(super) fn rewritten(&self) -> Option<&(ObjectVersion, Intent)> {
        self.rewritten.as_ref()
    }

    /// How the new version came about, and what the run that wrote it took if it was an earlier one.
    pub(super) fn way(&self) -> Option<(&Way, Option<&Effort>)> {
        match &self.way {
            Some(way) => Some((way, None)),
            None => self.effort.as_ref().map(|effort| (&effort.way, Some(effort))),
        }
    }

    /// How the present run made the version that is about to be noted.
    pub(super) fn set_way(&mut self, way: Way) {
        self.way = Some(way);
    }

    /// Whether this version was verified.
    pub(super) fn is_verified(&self, object: &ObjectVersion) -> bool {
        self.verified.as_ref().is_some_and(|verified| verified.is_same_version(object))
    }

    /// Whether all that was to be deleted has been dealt with.
    pub(super) fn is_expunged(&self) -> bool {
        self.is_expunged
    }

    /// Places where unfinished writes may have left bytes; they are handed out once.
    pub(super) fn take_staged(&mut self) -> Vec<Staging> {
        std::mem::take(&mut self.staged)
    }
}

/// The rows of `rows` that are not in `without`.
pub(super) fn difference(rows: &RowSet, without: Option<&RowSet>) -> Option<RowSet> {
    let stays = |row: &RowNumber| without.is_none_or(|without| !without.contains(*row));
    RowSet::new(rows.iter().filter(stays))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(numbers: &[u64]) -> RowSet {
        RowSet::new(numbers.iter().copied().map(RowNumber)).expect("not empty")
    }

    fn intended(operation: &str) -> Step {
        let fingerprint =
            spell(&Fingerprint { rows: RowCount(9), digest: [1; 32], unerased: RowCount(0) });
        Step::Intended {
            operation: operation.to_owned(),
            fingerprint,
            rows: RowCount(1),
            extent: Extent::Whole,
        }
    }

    #[test]
    fn unmatched_rows_belong_to_the_intent_that_follows_them() {
        let steps = [Step::Unmatched { rows: rows(&[3]) }, intended("a"), intended("b")];
        let past = Past::of(&steps);
        let blanked: Vec<_> =
            past.intents().iter().map(|intent| intent.blanked(&rows(&[3, 5]))).collect();
        assert_eq!(blanked, [Some(rows(&[5])), Some(rows(&[3, 5]))]);
        assert_eq!(past.intents()[0].rows_total(), Some(RowCount(9)));
    }

    #[test]
    fn a_damaged_fingerprint_is_no_number_of_rows() {
        let intent = Intent {
            operation: OperationId::new("a"),
            fingerprint: "00ff".to_owned(),
            rows: RowCount(1),
            unmatched: None,
            extent: Extent::Whole,
        };
        assert_eq!(intent.rows_total(), None);
    }
}
