//! Evidence, for people: what was done, when, by whom, on whose word. No personal data.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dataset::DatasetName;
use super::journal::Outcome;
use super::object::ObjectKey;
use super::plan::PlanId;

/// What the first field of a stored audit record says.
pub const AUDIT_SCHEMA: &str = "lacuna.audit.v1";

/// What became of one object of one plan.
// Unknown fields cannot be denied here: serde does not do it together with `flatten`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// [`AUDIT_SCHEMA`].
    pub schema: String,
    /// The plan that decided it.
    pub plan: PlanId,
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// Who approved the plan.
    pub approved_by: String,
    /// When the change ended.
    pub ended_at: Timestamp,
    /// How it ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}
