//! The coverage ledger: of everything in scope, what the index knows and what it does not.

use serde::{Deserialize, Serialize};

use super::dataset::DatasetName;
use super::object::ObjectKey;
use super::row::RowCount;

/// What the index knows of one dataset. The sums are exact:
/// `listed = indexed + unreadable + excluded + failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// The dataset.
    pub dataset: DatasetName,
    /// Kept object versions below the dataset's location.
    pub listed: u64,
    /// Versions whose postings are in the index.
    pub indexed: u64,
    /// Versions that cannot be read; each is named in `gaps`.
    pub unreadable: u64,
    /// Versions that the configuration leaves out, or that belong to another dataset or to a table.
    pub excluded: u64,
    /// Versions that could not be read for the moment; each is named in `gaps`.
    pub failed: u64,
    /// Rows of the indexed versions, blanks included.
    pub rows: RowCount,
    /// Rows of indexed versions that could not be read.
    pub unreadable_rows: u64,
    /// Values at identifier fields that are not of the declared type.
    pub foreign_values: u64,
    /// What is not indexed and why; excluded versions by rule, the others by name.
    pub gaps: Vec<CoverageGap>,
}

impl Coverage {
    /// A ledger of a dataset in which nothing was listed.
    pub fn empty(dataset: DatasetName) -> Self {
        Self {
            dataset,
            listed: 0,
            indexed: 0,
            unreadable: 0,
            excluded: 0,
            failed: 0,
            rows: RowCount(0),
            unreadable_rows: 0,
            foreign_values: 0,
            gaps: Vec::new(),
        }
    }

    /// Whether the sums are exact.
    pub fn is_balanced(&self) -> bool {
        self.listed == self.indexed + self.unreadable + self.excluded + self.failed
    }

    /// The share of the versions in scope that are indexed, in percent; 100 where nothing is in scope.
    pub fn percent(&self) -> f64 {
        let in_scope = self.listed - self.excluded.min(self.listed);
        if in_scope == 0 {
            return 100.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let percent = self.indexed as f64 * 100.0 / in_scope as f64;
        percent
    }
}

/// Something in scope, or near it, that the index does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageGap {
    /// The object, or an example of the objects that a rule excludes.
    pub key: ObjectKey,
    /// How many versions.
    pub versions: u64,
    /// What kind of gap it is: what a plan concludes from it.
    pub kind: GapKind,
    /// Why, without any content.
    pub reason: String,
}

/// What kind of gap it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// Versions that cannot be read as what they should be; they count as `unreadable`.
    Unreadable,
    /// Versions that could not be read for the moment; they count as `failed`.
    Unavailable,
    /// Versions that may not be read; they count as `failed`.
    Denied,
    /// Versions whose bytes lie in an archive; they count as `failed`.
    Archived {
        /// The storage class.
        storage_class: String,
    },
    /// Versions that the configuration leaves out, or that belong to another dataset; they count as
    /// `excluded`, and a plan does not deal with them.
    Excluded,
    /// Versions that belong to a table whose metadata records them; they count as `excluded`.
    Table {
        /// `delta`, `iceberg` or `hudi`.
        format: String,
    },
}
