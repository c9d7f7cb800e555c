//! Decisions on plans, in the order in which they were made.

use crate::domain::decision::{DECISION_SCHEMA, Decision};
use crate::domain::plan::PlanId;

use super::{Created, Ledger, LedgerError, LedgerErrorKind, sequence_of, to_bytes};

impl Ledger {
    /// Stores a decision after all others on its plan, and answers with its place among them, from 0.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn decide(&self, decision: &Decision) -> Result<u32, LedgerError> {
        let folder = folder(&decision.plan);
        let names = self.names(&folder).await?;
        let last = names.iter().filter_map(|name| sequence_of(name, &folder)).max();
        let first = last.map_or(0, |last| last.saturating_add(1));
        self.append(|sequence| format!("{folder}{sequence:06}.json"), first, to_bytes(decision))
            .await
    }

    /// The same for a decision by a link, which decides once: the decision itself says that the link is used.
    /// `None` where it was used before, or is just being used; nothing is stored then.
    ///
    /// # Errors
    ///
    /// As [`decisions`](Self::decisions).
    pub async fn decide_by_link(&self, decision: &Decision) -> Result<Option<u32>, LedgerError> {
        let folder = folder(&decision.plan);
        loop {
            // Whoever writes the next decision has read all before it: where two use one link, the second
            // finds the first one's.
            let before = self.decisions(&decision.plan).await?;
            if before.iter().any(|it| it.link == decision.link) {
                return Ok(None);
            }
            let next = u32::try_from(before.len()).unwrap_or(u32::MAX);
            let name = format!("{folder}{next:06}.json");
            match self.create(&name, to_bytes(decision)).await {
                Ok(Created::New) => return Ok(Some(next)),
                Ok(Created::Before) => return Ok(None),
                Err(error) if *error.kind() == LedgerErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// All decisions on a plan, first to last. The last one counts.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`] where one is damaged, is about
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
