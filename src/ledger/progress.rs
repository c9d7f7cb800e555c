//! How far a plan is, for who watches it: from listings, so that asking often costs little.

use std::collections::BTreeSet;

use crate::domain::Timestamp;
use crate::domain::plan::PlanId;

use super::{Ledger, LedgerError, PlanState};

impl Ledger {
    /// How far the plan is at the present moment; `expires_at` is what the plan says.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`](super::LedgerErrorKind::Tampered) where a decision on it is
    /// damaged.
    pub async fn state_of(
        &self,
        id: &PlanId,
        expires_at: Timestamp,
    ) -> Result<PlanState, LedgerError> {
        if self.finished_at(id).await?.is_some() {
            return Ok(PlanState::Finished);
        }
        if self.has_begun(id).await? {
            return Ok(PlanState::Begun);
        }
        self.state_before_begin(id, expires_at).await
    }

    /// How many changes of the plan have ended, well or not, in the runs until now. It costs one
    /// listing and reads nothing.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn ended_changes(&self, id: &PlanId) -> Result<u64, LedgerError> {
        let folder = format!("audit/{id}/");
        let names = self.names(&folder).await?;
        let change =
            |name: &String| Some(name.strip_prefix(&folder)?.split_once('-')?.0.to_owned());
        Ok(names.iter().filter_map(change).collect::<BTreeSet<_>>().len() as u64)
    }
}
