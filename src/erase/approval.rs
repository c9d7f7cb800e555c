//! Decisions on plans, and the one door between a plan and its execution: only [`admit`] makes an
//! [`ApprovedPlan`], so that nothing can be carried out that nobody approved.

use std::collections::BTreeSet;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::dataset::DatasetName;
use crate::domain::decision::{DECISION_SCHEMA, Decision, Exception, Verdict};
use crate::domain::identifier::KeyCheck;
use crate::domain::object::ObjectKey;
use crate::domain::plan::{ErasurePlan, PlanId, PlannedChange};
use crate::domain::trail::{TrailAction, TrailTopic};
use crate::ledger::{Ledger, LedgerError};

use super::report::wording::plain;
use super::restraint::{Obstacle, check_two, obstacle, registered};

/// A plan that may be carried out. There is no other way to one than [`admit`].
#[derive(Clone, Debug)]
pub struct ApprovedPlan {
    id: PlanId,
    plan: ErasurePlan,
    approved_by: String,
    approved_at: Timestamp,
    except: BTreeSet<(DatasetName, ObjectKey)>,
    has_begun: bool,
}

impl ApprovedPlan {
    /// Its id.
    pub fn id(&self) -> &PlanId {
        &self.id
    }

    /// The plan, exactly as it was approved.
    pub fn plan(&self) -> &ErasurePlan {
        &self.plan
    }

    /// Who approved it.
    pub fn approved_by(&self) -> &str {
        &self.approved_by
    }

    /// When it was approved.
    pub fn approved_at(&self) -> Timestamp {
        self.approved_at
    }

    /// Whether the approver left the object out.
    pub fn is_excepted(&self, change: &PlannedChange) -> bool {
        self.except.contains(&(change.dataset.clone(), change.key.clone()))
    }

    /// Whether an earlier run began it.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }
}

/// A decision could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// Nobody said who decides.
    #[error("a decision needs the name of who decides")]
    Nameless,
    /// A rejection without a reason.
    #[error("a rejection needs a reason")]
    Groundless,
    /// The plan expired before.
    #[error("the plan expired on {}; plan again", super::report::wording::moment(*.at))]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The link was used before.
    #[error("the link was used already; it decides once")]
    Used,
    /// The register has something against it.
    #[error(transparent)]
    Obstructed(#[from] Obstacle),
    /// An object to leave out is not in the plan.
    #[error("the plan changes no object {key} in dataset {}, so it cannot be left out", plain(.dataset.as_str()))]
    NotInPlan {
        /// The dataset.
        dataset: DatasetName,
        /// The object.
        key: ObjectKey,
    },
    /// A text names no object of the plan.
    #[error("object {place} to leave out is not in the plan; write the key as the report does")]
    Unmatched {
        /// The text's place among those that were given, from 1.
        place: usize,
    },
    /// A text names objects of several datasets.
    #[error("object {place} to leave out is in several datasets; write it as DATASET:KEY")]
    Ambiguous {
        /// The text's place among those that were given, from 1.
        place: usize,
    },
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Who decides, and under which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decider<'a> {
    /// The name, as the decision has it.
    pub by: &'a str,
    /// Whether two people have to agree: the request has to be registered, by somebody else than who
    /// approves the plan.
    pub is_one_of_two: bool,
    /// The id of the link that they came by; `None` for who is known otherwise.
    pub link: Option<&'a str>,
}

/// Stores a decision on a plan. A plan may be decided more than once; the last decision counts.
///
/// # Errors
///
/// [`NotDecided`]; the ledger is then as it was.
pub async fn decide(
    ledger: &Ledger,
    id: &PlanId,
    verdict: Verdict,
    decider: Decider<'_>,
    clock: &Clock,
) -> Result<Decision, NotDecided> {
    let by = decider.by.trim();
    if by.is_empty() {
        return Err(NotDecided::Nameless);
    }
    let plan = ledger.plan(id).await?;
    match &verdict {
        Verdict::Approved { except } => {
            check_exceptions(&plan, except)?;
            if clock.now() >= plan.expires_at && !ledger.has_begun(id).await? {
                return Err(NotDecided::Expired { at: plan.expires_at });
            }
            let request = registered(ledger, &plan.request).await?;
            let except = left_out(except);
            if let Some(obstacle) = obstacle(request.as_ref(), &plan, &except, clock.now()) {
                return Err(obstacle.into());
            }
            if decider.is_one_of_two {
                check_two(request.as_ref(), by)?;
            }
        }
        Verdict::Rejected { reason } if reason.trim().is_empty() => {
            return Err(NotDecided::Groundless);
        }
        Verdict::Rejected { .. } => {}
    }
    let decision = Decision {
        schema: DECISION_SCHEMA.to_owned(),
        plan: *id,
        verdict,
        by: by.to_owned(),
        decided_at: clock.now(),
        link: decider.link.map(str::to_owned),
    };
    match decider.link {
        None => drop(ledger.decide(&decision).await?),
        Some(_) if ledger.decide_by_link(&decision).await?.is_none() => {
            return Err(NotDecided::Used);
        }
        Some(_) => {}
    }
    ledger.seal(&TrailTopic::Plan(*id), TrailAction::Decided).await?;
    Ok(decision)
}

fn left_out(except: &[Exception]) -> BTreeSet<(DatasetName, ObjectKey)> {
    except.iter().map(|it| (it.dataset.clone(), it.key.clone())).collect()
}

/// An exception that is misspelt would leave nothing out, and say that it does.
fn check_exceptions(plan: &ErasurePlan, except: &[Exception]) -> Result<(), NotDecided> {
    let changes = plan.changes.iter().map(|change| (&change.dataset, &change.key));
    let changes: BTreeSet<_> = changes.collect();
    match except.iter().find(|it| !changes.contains(&(&it.dataset, &it.key))) {
        None => Ok(()),
        Some(Exception { dataset, key }) => {
            Err(NotDecided::NotInPlan { dataset: dataset.clone(), key: key.clone() })
        }
    }
}

/// The one object of the plan that `KEY` or `DATASET:KEY` names, as reports print it or as it is. `place`
/// is that of the text among those that were given, from 1: messages name it, and not the text.
///
/// # Errors
///
/// [`NotDecided::Unmatched`] or [`NotDecided::Ambiguous`].
pub fn exception(plan: &ErasurePlan, text: &str, place: usize) -> Result<Exception, NotDecided> {
    let change = named(plan, text).map_err(|misnamed| match misnamed {
        Misnamed::Nothing => NotDecided::Unmatched { place },
        Misnamed::Several => NotDecided::Ambiguous { place },
    })?;
    Ok(Exception { dataset: change.dataset.clone(), key: change.key.clone() })
}

/// A text that is to name one object of a plan does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misnamed {
    /// It names none.
    Nothing,
    /// It names objects of several datasets.
    Several,
}

/// The one change of the plan whose object a text names, as [`exception`] has it.
pub(super) fn named<'p>(plan: &'p ErasurePlan, text: &str) -> Result<&'p PlannedChange, Misnamed> {
    let mut named = plan.changes.iter().filter(|change| {
        let is_key =
            |text: &str| change.key.as_bytes() == text.as_bytes() || change.key.to_string() == text;
        let below = text.strip_prefix(change.dataset.as_str());
        is_key(text) || below.and_then(|rest| rest.strip_prefix(':')).is_some_and(is_key)
    });
    match (named.next(), named.next()) {
        (Some(change), None) => Ok(change),
        (None, _) => Err(Misnamed::Nothing),
        (Some(_), Some(_)) => Err(Misnamed::Several),
    }
}

/// A plan may not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// Nobody approved it.
    #[error("the plan is not approved; `lacuna approve {} --by WHO` approves it", .id.prefix())]
    NotApproved {
        /// The plan.
        id: PlanId,
    },
    /// The last decision says no.
    #[error("the plan was rejected by {}", plain(.by))]
    Rejected {
        /// Who.
        by: String,
    },
    /// It was not begun in time.
    #[error("the plan and its approval expired on {}; plan again", super::report::wording::moment(*.at))]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The register has something against it.
    #[error(transparent)]
    Obstructed(#[from] Obstacle),
    /// Datasets or policies changed since it was made.
    #[error("the configuration of datasets changed since the plan was made; plan again")]
    StaleConfiguration,
    /// It was made under another digest key.
    #[error("the plan was made under another digest key; use that key, or plan again")]
    WrongKey,
    /// The ledger refused or failed, or what it holds is not what was stored.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Lets a plan through to its execution.
///
/// The plan has to be, byte for byte, the one that its id names (A7); the last decision on it has to be
/// an approval; the configuration of datasets (A10) and the digest key have to be those that it was made
/// under; and it must not have expired (A8), unless it has been begun: what was begun in time is
/// finished, also when the process was killed and the same command is run again later. Begun means that
/// the journal has a note on it. What the request register has against it stops also what was begun: a
/// hold that was set in the meantime, or that the person withdrew the request.
///
/// # Errors
///
/// [`NotAdmitted`].
pub async fn admit(
    ledger: &Ledger,
    id: &PlanId,
    configuration: &str,
    key: &KeyCheck,
    clock: &Clock,
) -> Result<ApprovedPlan, NotAdmitted> {
    let plan = ledger.plan(id).await?;
    let Some(decision) = ledger.decisions(id).await?.pop() else {
        return Err(NotAdmitted::NotApproved { id: *id });
    };
    let except = match decision.verdict {
        Verdict::Rejected { .. } => return Err(NotAdmitted::Rejected { by: decision.by }),
        Verdict::Approved { except } => except,
    };
    if plan.key != *key {
        return Err(NotAdmitted::WrongKey);
    }
    if plan.configuration != configuration {
        return Err(NotAdmitted::StaleConfiguration);
    }
    let has_begun = ledger.has_begun(id).await?;
    if clock.now() >= plan.expires_at && !has_begun {
        return Err(NotAdmitted::Expired { at: plan.expires_at });
    }
    let except = left_out(&except);
    let request = registered(ledger, &plan.request).await?;
    if let Some(obstacle) = obstacle(request.as_ref(), &plan, &except, clock.now()) {
        return Err(obstacle.into());
    }
    Ok(ApprovedPlan {
        id: *id,
        plan,
        approved_by: decision.by,
        approved_at: decision.decided_at,
        except,
        has_begun,
    })
}
