//! A look at rows that a plan would blank, for whoever has to decide about them: read when they ask, masked,
//! kept nowhere, and noted in the trail before the first byte is read.

use std::sync::Arc;

use serde::Serialize;

use crate::domain::dataset::DatasetName;
use crate::domain::masked::{MaskedRow, PREVIEW_SCHEMA, PreviewNote};
use crate::domain::object::ObjectVersion;
use crate::domain::plan::PlanId;
use crate::domain::row::{RowCount, RowSet};
use crate::format::BlankOrder;
use crate::ledger::{LedgerError, PlanState};
use crate::scan::{ScanError, is_gone, on_object};

use super::approval::named;
use super::report::wording::{count, number};
use super::tools::EraseTools;

/// More rows than this are not shown at once.
pub const MOST_ROWS: usize = 20;

/// Rows of one object, masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The plan.
    pub plan_id: PlanId,
    /// The dataset that the object is in.
    pub dataset: DatasetName,
    /// The object version that was read.
    pub object: ObjectVersion,
    /// How many rows of it the plan would blank.
    pub planned: RowCount,
    /// The first of them.
    pub rows: Vec<MaskedRow>,
}

/// What is to be said of a row that the plan is wrong about.
pub const NOBODY_HERE: &str =
    "none of the plan's subjects stands in this row: it would stay as it is";

impl Preview {
    /// How many rows are shown of how many.
    pub fn shown(&self) -> String {
        let planned = count(self.planned.0, "row", "rows");
        match self.rows.len() as u64 {
            all if all == self.planned.0 => format!("{planned} that would be blanked, masked"),
            some => format!("{} of the {planned} that would be blanked, masked", number(some)),
        }
    }
}

/// There is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum NoPreview {
    /// Nobody said who looks.
    #[error("a preview needs the name of who looks, since it is noted")]
    Nameless,
    /// Nothing is to be decided any more.
    #[error("nothing is to be decided about the plan any more, so that no rows are shown")]
    Settled,
    /// A text names no object of the plan, or several.
    #[error(
        "the object is not in the plan, or in several datasets; write it as DATASET:KEY, as the report does"
    )]
    NotInPlan,
    /// The plan blanks no row of the object.
    #[error("the plan deletes old versions of this object and blanks no row of it")]
    NoRows,
    /// The configuration has no such dataset any more.
    #[error("the configuration has no dataset `{dataset}`; restore it, or plan again")]
    NoDataset {
        /// The dataset.
        dataset: DatasetName,
    },
    /// The object changed since.
    #[error("the object is no longer as it was planned; plan again")]
    Drifted,
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ScanError),
    /// The ledger refused or failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Shows the first rows that a plan would blank in the object that `KEY` or `DATASET:KEY` names, at most
/// [`MOST_ROWS`]. That they are about to be shown to somebody is noted before.
///
/// # Errors
///
/// [`NoPreview`].
pub async fn preview(
    tools: &EraseTools,
    id: &PlanId,
    (object, most): (&str, usize),
    by: &str,
) -> Result<Preview, NoPreview> {
    let by = by.trim();
    if by.is_empty() {
        return Err(NoPreview::Nameless);
    }
    let plan = tools.ledger.plan(id).await?;
    let state = tools.ledger.state_of(id, plan.expires_at).await?;
    if !matches!(state, PlanState::Undecided | PlanState::Approved) {
        return Err(NoPreview::Settled);
    }
    let change = named(&plan, object).map_err(|_| NoPreview::NotInPlan)?;
    let rewrite = change.rewrite.as_ref().ok_or(NoPreview::NoRows)?;
    let Some(estate) = tools.estate(&change.dataset) else {
        return Err(NoPreview::NoDataset { dataset: change.dataset.clone() });
    };
    let rows = RowSet::new(rewrite.rows.iter().take(most.clamp(1, MOST_ROWS)));
    let rows = rows.ok_or(NoPreview::NoRows)?;
    let note = PreviewNote {
        schema: PREVIEW_SCHEMA.to_owned(),
        plan: *id,
        dataset: change.dataset.clone(),
        object: rewrite.object.clone(),
        rows: rows.count(),
        by: by.to_owned(),
        at: tools.clock.now(),
    };
    tools.ledger.note_preview(&note).await?;
    let reader = tools.reader(&estate.dataset);
    let order = BlankOrder {
        rows,
        fields: reader.fields().clone(),
        subjects: Arc::new(plan.digests().collect()),
        action: rewrite.action.clone(),
        landmarks: tools.landmarks(change).await,
    };
    let read = on_object(estate.lake.clone(), &reader, &rewrite.object, move |opened, source| {
        opened.format.show(&**source, &order)
    });
    let rows = read.await.map_err(|error| match error {
        ScanError::Lake(error) if is_gone(&error) => NoPreview::Drifted,
        error => error.into(),
    })?;
    Ok(Preview {
        plan_id: *id,
        dataset: note.dataset,
        object: note.object,
        planned: rewrite.rows.count(),
        rows,
    })
}
