//! Decisions on plans, in the order in which they were made.

use crate::domain::decision::{DECISION_SCHEMA, Decision};
use crate::domain::plan::PlanId;

use super::{Ledger, LedgerError, sequence_of, to_bytes};

impl Ledger {
    /// Stores a decision after all others on its plan, and answers with its place among them, from 0.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn decide(&self, decision: &Decision) -> Result<u32, LedgerError> {
        let folder = folder(&decision.plan);
        let names = self.names(&folder).await?;
        let last = names.iter().filter_map(|name| sequence_of(name, &folder)).max();
        let first = last.map_or(0, |last| last.saturating_add(1));
        self.append(|sequence| format!("{folder}{sequence:06}.json"), first, to_bytes(decision))
            .await
    }

    /// All decisions on a plan, first to last. The last one counts.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`](super::LedgerErrorKind::Tampered) where one is damaged, is about
    /// another plan, or is missing between others.
    pub async fn decisions(&self, id: &PlanId) -> Result<Vec<Decision>, LedgerError> {
        let folder = folder(id);
        let names = self.names(&folder).await?;
        for (expected, name) in names.iter().enumerate() {
            if sequence_of(name, &folder).map(|sequence| sequence as usize) != Some(expected) {
                let what = "is not the next decision on its plan: one is missing or out of place";
                return Err(LedgerError::tampered(&self.key(name), what));
            }
        }
        let decisions: Vec<Decision> = self.documents(names).await?;
        match decisions.iter().find(|it| it.plan != *id || it.schema != DECISION_SCHEMA) {
            Some(_) => Err(LedgerError::tampered(
                &self.key(&folder),
                "holds a decision on another plan, or one of another schema",
            )),
            None => Ok(decisions),
        }
    }
}

fn folder(id: &PlanId) -> String {
    format!("decisions/{id}/")
}
