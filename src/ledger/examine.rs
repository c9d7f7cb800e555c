//! Whether a ledger can be relied on.

use super::{Ledger, LedgerError, LedgerErrorKind, PlanListing, PlanState};
use crate::domain::finding::{Check, Finding, told, untried};
use crate::lake::LakeError;

impl Ledger {
    /// Whether the plans are what their names say, and whether a run holds the lease. Reads only.
    pub async fn examine(&self) -> Vec<Finding> {
        match self.plans().await {
            Ok(plans) => vec![judged(&plans), self.examine_lease().await],
            // A lease that is not found in a store that does not answer well proves nothing.
            Err(error) => {
                let rest = untried(&[Check::Lease], "the ledger cannot be read");
                [vec![self.failed(Check::Plans, &error)], rest].concat()
            }
        }
    }

    async fn examine_lease(&self) -> Finding {
        let check = Check::Lease;
        match self.holder().await {
            Ok(None) => Finding::ok(check, "no run holds the lease"),
            Ok(Some((holder, run, until))) => {
                let run = run.prefix();
                let message = format!("{holder} carries out plan {run}, until {until} or longer");
                Finding::note(check, message)
            }
            Err(error) => self.failed(check, &error),
        }
    }

    fn failed(&self, check: Check, error: &LedgerError) -> Finding {
        if *error.kind() == LedgerErrorKind::Tampered {
            return Finding::problem(check, told(error))
                .fix("restore the ledger from a copy; find out who changed it");
        }
        let Some(action) = error.lake().and_then(LakeError::permission) else {
            return Finding::failed(check, error);
        };
        let bucket = self.location().replacen("s3://", "arn:aws:s3:::", 1);
        let resource = format!("{bucket}/{}*", String::from_utf8_lossy(&self.prefix));
        Finding::problem(check, format!("{action} is missing")).lacking(action, resource)
    }
}

/// What it means that the ledger has these plans.
fn judged(plans: &[PlanListing]) -> Finding {
    let check = Check::Plans;
    let is_damaged = |plan: &&PlanListing| plan.state == PlanState::Damaged;
    let damaged: Vec<String> =
        plans.iter().filter(is_damaged).map(|plan| plan.id.prefix()).collect();
    if damaged.is_empty() {
        return Finding::ok(
            check,
            format!("every plan is what its name says ({} in all)", plans.len()),
        );
    }
    let message = format!(
        "plans that are not what their names say, and cannot be carried out: {}",
        damaged.join(", ")
    );
    Finding::problem(check, message)
        .fix("restore the ledger from a copy, or plan again; find out who changed it")
}
