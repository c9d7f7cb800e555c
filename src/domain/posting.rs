//! What the index holds: which rows of which object version are whose.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dataset::{Compression, DatasetName, FormatName, ScanSettings};
use super::identifier::IdentifierDigest;
use super::landmark::Landmarks;
use super::object::ObjectVersion;
use super::row::{RowCount, RowNumber, RowSet};

/// "This identifier stands in these rows of this object version."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Whose rows.
    pub digest: IdentifierDigest,
    /// The dataset the object belongs to.
    pub dataset: DatasetName,
    /// The version that the rows are counted in.
    pub object: ObjectVersion,
    /// The rows.
    pub rows: RowSet,
}

/// One identifier met in one row, as a scan tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowPosting {
    /// The identifier's digest.
    pub digest: IdentifierDigest,
    /// The row it stands in.
    pub row: RowNumber,
}

/// An object version that was scanned, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScannedObject {
    /// The version that was read.
    pub object: ObjectVersion,
    /// The settings it was read under.
    pub settings: ScanSettings,
    /// When the scan ended.
    pub scanned_at: Timestamp,
    /// What was found.
    pub outcome: ScanOutcome,
}

impl ScannedObject {
    /// The record of the version that a rewrite made of this one, which kept all row numbers.
    #[must_use]
    pub fn succeeded_by(&self, new: &ObjectVersion, landmarks: &Landmarks) -> Self {
        let mut succeeded = Self { object: new.clone(), ..self.clone() };
        if let ScanOutcome::Indexed(summary) = &mut succeeded.outcome {
            summary.landmarks = landmarks.clone();
        }
        succeeded
    }

    /// Whether every row was read.
    pub fn is_whole(&self) -> bool {
        match &self.outcome {
            ScanOutcome::Indexed(summary) => summary.gaps.count == 0,
            ScanOutcome::Unreadable(_) => false,
        }
    }
}

/// What came of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum ScanOutcome {
    /// The object was read to its end; its postings are in the index.
    Indexed(ScanSummary),
    /// The object as a whole cannot be read; it has no postings.
    Unreadable(Unreadable),
}

/// What is known of an object that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// The format it turned out to have.
    pub format: FormatName,
    /// The compression around it.
    pub compression: Compression,
    /// How many rows, blanks included.
    pub rows: RowCount,
    /// Rows that could not be read.
    pub gaps: RowGaps,
    /// Values at identifier fields that are not of the field's type.
    pub foreign_values: u64,
    /// Where reading can begin near a row. Records of former versions have none.
    #[serde(default, skip_serializing_if = "Landmarks::is_empty")]
    pub landmarks: Landmarks,
}

/// Rows of a readable object that could not be read: all counted, the first few by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowGaps {
    /// How many rows.
    pub count: u64,
    /// The first of them, at most [`RowGaps::NAMED`].
    pub first: Vec<RowGap>,
}

impl RowGaps {
    /// How many gaps are kept by name.
    pub const NAMED: usize = 16;

    /// Counts one more gap.
    pub fn push(&mut self, gap: RowGap) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(gap);
        }
    }
}

/// A row that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowGap {
    /// The row.
    pub row: RowNumber,
    /// Where it begins, in bytes from the start of the (decompressed) object, where that is known.
    pub byte: Option<u64>,
    /// What is wrong with it, lower case, without any of its content.
    pub reason: String,
}

/// Why an object as a whole cannot be read, without any of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// What is wrong, lower case: `the gzip stream ends early`.
    pub reason: String,
    /// The row at which reading ended, where that is known.
    pub row: Option<RowNumber>,
    /// The byte of the stored or decompressed object at which reading ended, where that is known.
    pub byte: Option<u64>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)?;
        match (self.row, self.byte) {
            (Some(row), Some(byte)) => write!(formatter, " (row {row}, byte {byte})"),
            (Some(row), None) => write!(formatter, " (row {row})"),
            (None, Some(byte)) => write!(formatter, " (byte {byte})"),
            (None, None) => Ok(()),
        }
    }
}
