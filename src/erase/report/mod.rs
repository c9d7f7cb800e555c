//! The purge report: a plan as the approver reads it. It follows from the plan alone, so that what is
//! read and what is approved cannot differ; text and HTML are two renderings of the same document.
//! Pure; it holds no identifier, only masks and digests' ordinals.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::coverage::Coverage;
use crate::domain::dataset::{Compression, DatasetName, EraseAction, FormatName, SupersededPolicy};
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::domain::plan::{
    ErasurePlan, Estimate, OutOfReach, PlanId, PlannedChange, PlannedRewrite, Reason, SubjectRows,
    Warning,
};
use crate::domain::request::Mask;
use crate::domain::row::RowCount;

mod html;
mod text;
pub mod wording;

pub use html::html;
pub(in crate::erase) use html::{STYLE, style_digest};
pub use text::{shown_percent, text};

/// What the first field of a purge report says.
pub const REPORT_SCHEMA: &str = "lacuna.report.v1";

/// A plan as the approver reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeReport {
    /// [`REPORT_SCHEMA`].
    pub schema: String,
    /// The plan.
    pub plan_id: PlanId,
    /// The reference of the request.
    pub request: String,
    /// When the facts were gathered.
    pub planned_at: Timestamp,
    /// Until when it can be approved and begun.
    pub expires_at: Timestamp,
    /// All of it in one sentence.
    pub verdict: String,
    /// Rows that will be blanked or redacted in current versions.
    pub rows: RowCount,
    /// Objects that change: current version rewritten, or superseded versions deleted.
    pub objects: u64,
    /// Superseded versions that are deleted for good.
    pub versions: u64,
    /// The size of all objects that are rewritten, in bytes: what is read at most.
    pub size_bytes: u64,
    /// What is written anew of them, in bytes, about; absent where the plan does not tell of every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// The subjects that were found.
    pub subjects: Vec<ReportedSubject>,
    /// The subjects of whom nothing was found.
    pub not_found: Vec<NotFound>,
    /// The work by dataset.
    pub datasets: Vec<ReportedDataset>,
    /// What the plan does not reach.
    pub out_of_reach: Vec<ReportedReach>,
    /// What the index knew of each dataset.
    pub coverage: Vec<Coverage>,
    /// What to know before deciding.
    pub warnings: Vec<ReportedWarning>,
}

/// A subject that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedSubject {
    /// The place in the request, from 1.
    pub ordinal: u32,
    /// The masked form.
    pub mask: Mask,
    /// Rows in all kept versions.
    pub rows: RowCount,
    /// Objects that hold one of them.
    pub objects: u64,
}

/// A subject of whom nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotFound {
    /// The place in the request, from 1.
    pub ordinal: u32,
    /// The masked form.
    pub mask: Mask,
}

/// The work in one dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedDataset {
    /// Its name.
    pub dataset: DatasetName,
    /// Rows that will be blanked or redacted.
    pub rows: RowCount,
    /// Rows that the index knows in it.
    pub rows_total: RowCount,
    /// What happens to each object.
    pub changes: Vec<ReportedChange>,
}

/// What happens to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedChange {
    /// The object.
    pub key: ObjectKey,
    /// The rewrite of its current version.
    pub rewrite: Option<ReportedRewrite>,
    /// Superseded versions that are deleted, oldest first.
    pub expunge: Vec<VersionId>,
    /// What happens to superseded versions.
    pub superseded: SupersededPolicy,
}

/// The rewrite of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedRewrite {
    /// The version.
    pub version: VersionId,
    /// Its format.
    pub format: FormatName,
    /// The compression around it.
    pub compression: Compression,
    /// The storage class, where the store has any.
    pub storage_class: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What becomes of the rows.
    pub action: EraseAction,
    /// Rows that go.
    pub rows: RowCount,
    /// Rows of the object.
    pub rows_total: RowCount,
    /// How many of them are whose; a row of two subjects counts for both.
    pub subjects: Vec<SubjectRows>,
    /// What it will take, about; absent where the plan does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// Something that the plan does not reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedReach {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// The version, where one is meant.
    pub version: Option<VersionId>,
    /// Rows of the subjects known to be in it; 0 where that cannot be known.
    pub rows: RowCount,
    /// Why it stays.
    pub reason: Reason,
    /// The same for people.
    pub text: String,
}

/// What to know before deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedWarning {
    /// The warning.
    pub warning: Warning,
    /// The same for people.
    pub text: String,
}

impl PurgeReport {
    /// The report on a plan.
    pub fn new(id: PlanId, plan: &ErasurePlan) -> Self {
        let rewrites = || plan.changes.iter().filter_map(|change| change.rewrite.as_ref());
        let (found, missing): (Vec<_>, Vec<_>) =
            plan.subjects.iter().partition(|subject| subject.rows.0 > 0);
        Self {
            schema: REPORT_SCHEMA.to_owned(),
            plan_id: id,
            request: plan.request.clone(),
            planned_at: plan.planned_at,
            expires_at: plan.expires_at,
            verdict: wording::verdict(plan),
            rows: rows_going(rewrites()),
            objects: plan.changes.len() as u64,
            versions: plan.changes.iter().map(|change| change.expunge.len() as u64).sum(),
            size_bytes: rewrites().map(|rewrite| rewrite.object.size_bytes).sum(),
            written_bytes: rewrites()
                .map(|rewrite| rewrite.estimate.as_ref().map(|estimate| estimate.written_bytes))
                .sum(),
            subjects: found
                .into_iter()
                .map(|subject| ReportedSubject {
                    ordinal: subject.ordinal,
                    mask: subject.mask.clone(),
                    rows: subject.rows,
                    objects: subject.objects,
                })
                .collect(),
            not_found: missing
                .into_iter()
                .map(|subject| NotFound { ordinal: subject.ordinal, mask: subject.mask.clone() })
                .collect(),
            datasets: datasets(plan),
            out_of_reach: plan.out_of_reach.iter().map(ReportedReach::new).collect(),
            coverage: plan.coverage.clone(),
            warnings: plan
                .warnings
                .iter()
                .map(|warning| ReportedWarning {
                    text: wording::warning(warning),
                    warning: warning.clone(),
                })
                .collect(),
        }
    }

    /// The document as it is stored and as `--json` prints it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .unwrap_or_else(|_| unreachable!("a report has no map with keys that are not text"));
        bytes.push(b'\n');
        bytes
    }
}

fn rows_going<'a>(rewrites: impl Iterator<Item = &'a PlannedRewrite>) -> RowCount {
    RowCount(rewrites.map(|rewrite| rewrite.rows.count().0).sum())
}

fn datasets(plan: &ErasurePlan) -> Vec<ReportedDataset> {
    let chunks = plan.changes.chunk_by(|left, right| left.dataset == right.dataset);
    let datasets = chunks.filter_map(|changes| {
        let dataset = changes.first()?.dataset.clone();
        let coverage = plan.coverage.iter().find(|coverage| coverage.dataset == dataset);
        Some(ReportedDataset {
            dataset,
            rows: rows_going(changes.iter().filter_map(|change| change.rewrite.as_ref())),
            rows_total: coverage.map(|coverage| coverage.rows).unwrap_or_default(),
            changes: changes.iter().map(ReportedChange::new).collect(),
        })
    });
    datasets.collect()
}

impl ReportedChange {
    fn new(change: &PlannedChange) -> Self {
        let rewrite = change.rewrite.as_ref().map(|rewrite| ReportedRewrite {
            version: rewrite.object.version.clone(),
            format: rewrite.format,
            compression: rewrite.compression,
            storage_class: rewrite.storage_class.clone(),
            size_bytes: rewrite.object.size_bytes,
            action: rewrite.action.clone(),
            rows: rewrite.rows.count(),
            rows_total: rewrite.rows_total,
            subjects: rewrite.subjects.clone(),
            estimate: rewrite.estimate.clone(),
        });
        let expunge = change.expunge.iter().map(|expunge| expunge.object.version.clone());
        Self {
            key: change.key.clone(),
            rewrite,
            expunge: expunge.collect(),
            superseded: change.superseded,
        }
    }
}

impl ReportedReach {
    fn new(entry: &OutOfReach) -> Self {
        let version = |object: &ObjectVersion| object.version.clone();
        Self {
            dataset: entry.dataset.clone(),
            key: entry.key.clone(),
            version: entry.object.as_ref().map(version),
            rows: entry.rows,
            reason: entry.reason.clone(),
            text: wording::reason(&entry.reason),
        }
    }
}

#[cfg(test)]
mod tests;
