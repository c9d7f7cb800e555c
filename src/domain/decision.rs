//! An approver's yes or no to one plan.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dataset::DatasetName;
use super::object::ObjectKey;
use super::plan::PlanId;

/// What the first field of a stored decision says.
pub const DECISION_SCHEMA: &str = "lacuna.decision.v1";

/// A decision on one plan. A plan may be decided more than once; the last decision counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// [`DECISION_SCHEMA`].
    pub schema: String,
    /// The plan, by the digest of its bytes.
    pub plan: PlanId,
    /// Yes or no.
    pub verdict: Verdict,
    /// Who decided.
    pub by: String,
    /// When.
    pub decided_at: Timestamp,
    /// The [id](super::link::Link::id) of the link that it was decided by; absent for who signed in, or
    /// used the command line. No two decisions have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Yes or no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The plan may be carried out, except for these objects.
    Approved {
        /// What stays as it is.
        except: Vec<Exception>,
    },
    /// The plan may not be carried out.
    Rejected {
        /// Why. No personal data.
        reason: String,
    },
}

/// An object that an approval leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
}
