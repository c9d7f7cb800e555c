//! Which rows an edit may have touched the bytes of, so that a verification reads those and not the
//! whole object.

use serde::{Deserialize, Serialize};

use super::landmark::Landmark;
use super::row::RowNumber;

/// Which part of an object is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All of it.
    #[default]
    Whole,
    /// These rows, ascending by column and row, none of them twice in one column.
    Stretches(Vec<Stretch>),
}

impl Extent {
    /// A note of more stretches than this would be longer than reading everything is slow.
    pub const MOST: usize = 4096;

    /// These stretches, or all of the object where they are too many to take note of.
    pub fn new(stretches: Vec<Stretch>) -> Self {
        if stretches.len() > Self::MOST { Self::Whole } else { Self::Stretches(stretches) }
    }
}

/// Some rows, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Parquet: the number of the column in the schema, whose values in these rows are meant. Text: all
    /// of the row is, and there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The first of the rows.
    pub row: RowNumber,
    /// The row behind the last of them; it need not exist.
    pub end: RowNumber,
    /// Text: where the first row begins, in bytes from the start of the (decompressed) object.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub byte: u64,
}

fn is_zero(byte: &u64) -> bool {
    *byte == 0
}

impl Stretch {
    /// Rows of text from a landmark on.
    pub fn of_text(start: Landmark, end: RowNumber) -> Self {
        Self { column: None, row: start.row, end, byte: start.byte }
    }

    /// Rows of one Parquet column.
    pub fn of_column(column: u32, rows: std::ops::Range<u64>) -> Self {
        let (row, end) = (RowNumber(rows.start), RowNumber(rows.end));
        Self { column: Some(column), row, end, byte: 0 }
    }

    /// Whether the row is one of these.
    pub fn contains(&self, row: RowNumber) -> bool {
        (self.row..self.end).contains(&row)
    }
}
