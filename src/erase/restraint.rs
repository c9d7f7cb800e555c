//! What the request register has against an erasure: holds, exemptions, the end of the request.

use std::collections::BTreeSet;

use crate::domain::Timestamp;
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::day_of;
use crate::domain::object::ObjectKey;
use crate::domain::plan::{ErasurePlan, Reason};
use crate::domain::register::{Actor, RegisteredRequest, RequestReference, RequestState};
use crate::ledger::{Ledger, LedgerError};

use super::report::wording;

/// Why a plan may not be approved or carried out although nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The person no longer asks for it, or was refused.
    #[error(
        "the request is {} in the register; nothing is to be erased for it, unless \
         `lacuna request reopen` takes it up again",
        .state.as_str()
    )]
    Ended {
        /// What it is.
        state: RequestState,
    },
    /// Two people have to agree, and nobody registered the request.
    #[error(
        "two people have to agree, and the request is in no register; somebody else than who approves \
         registers it: lacuna request add"
    )]
    Unregistered,
    /// Two people have to agree, and this is one and the same.
    #[error("who registered the request does not approve its plan; somebody else has to")]
    SamePerson,
    /// Something was put on hold, or exempted, after the plan was made.
    #[error(
        "dataset {}, which the plan changes, is {}; plan again, so that the plan leaves it",
        wording::plain(.dataset.as_str()),
        wording::reason(.reason)
    )]
    Restrained {
        /// The dataset.
        dataset: DatasetName,
        /// Why it stays.
        reason: Reason,
    },
}

/// What the register has of the request of this reference; `None` where it was never registered.
///
/// # Errors
///
/// [`LedgerError`] where that cannot be read: what may be on hold is not erased.
pub async fn registered(
    ledger: &Ledger,
    reference: &str,
) -> Result<Option<RegisteredRequest>, LedgerError> {
    // What the register would not take as a reference is in no register.
    let Ok(reference) = reference.parse::<RequestReference>() else { return Ok(None) };
    Ok(ledger.request(&reference).await?.map(|(request, _)| request))
}

/// Whether somebody of this name is a second person, beside who registered the request.
pub(super) fn check_two(request: Option<&RegisteredRequest>, by: &str) -> Result<(), Obstacle> {
    let request = request.ok_or(Obstacle::Unregistered)?;
    // A name that could not stand in the register is not that of who did register it.
    match by.parse::<Actor>() {
        Ok(actor) if actor.is_same_as(&request.registered_by) => Err(Obstacle::SamePerson),
        _ => Ok(()),
    }
}

/// What the register has on its request against a plan now; objects that were left out do not matter.
pub(super) fn obstacle(
    request: Option<&RegisteredRequest>,
    plan: &ErasurePlan,
    except: &BTreeSet<(DatasetName, ObjectKey)>,
    now: Timestamp,
) -> Option<Obstacle> {
    let request = request?;
    if matches!(request.state, RequestState::Denied | RequestState::Withdrawn) {
        return Some(Obstacle::Ended { state: request.state });
    }
    let today = day_of(now);
    let going = plan.changes.iter().filter(|change| {
        except.is_empty() || !except.contains(&(change.dataset.clone(), change.key.clone()))
    });
    let datasets: BTreeSet<&DatasetName> = going.map(|change| &change.dataset).collect();
    datasets.into_iter().find_map(|dataset| {
        let reason = request.restraint(dataset, today)?;
        Some(Obstacle::Restrained { dataset: dataset.clone(), reason })
    })
}

#[cfg(test)]
mod tests;
