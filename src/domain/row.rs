//! Rows: their numbers, and sets of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a record within its object, from 0 in file order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RowNumber(pub u64);

impl fmt::Display for RowNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// How many records there are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RowCount(pub u64);

impl fmt::Display for RowCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A set of rows of one object: ascending, without repetition, never empty.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<RowNumber>", into = "Vec<RowNumber>")]
pub struct RowSet(Vec<RowNumber>);

impl RowSet {
    /// The set of these rows in any order, repetitions allowed; `None` where there are none.
    pub fn new(rows: impl IntoIterator<Item = RowNumber>) -> Option<Self> {
        let mut rows: Vec<RowNumber> = rows.into_iter().collect();
        if !rows.is_sorted() {
            rows.sort_unstable();
        }
        rows.dedup();
        (!rows.is_empty()).then_some(Self(rows))
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RowNumber> + Clone + '_ {
        self.0.iter().copied()
    }

    /// The rows as a slice, ascending.
    pub fn as_slice(&self) -> &[RowNumber] {
        &self.0
    }

    /// How many rows; at least one.
    pub fn count(&self) -> RowCount {
        RowCount(self.0.len() as u64)
    }

    /// The lowest row.
    pub fn first(&self) -> RowNumber {
        self.0[0]
    }

    /// The highest row.
    pub fn last(&self) -> RowNumber {
        self.0[self.0.len() - 1]
    }

    /// Whether the row is in the set.
    pub fn contains(&self, row: RowNumber) -> bool {
        self.0.binary_search(&row).is_ok()
    }

    /// The rows of both sets.
    pub fn union(&self, other: &RowSet) -> RowSet {
        let mut rows = [self.as_slice(), other.as_slice()].concat();
        rows.sort_unstable();
        rows.dedup();
        Self(rows)
    }
}

/// The rows of a document are not a row set.
#[derive(Debug, thiserror::Error)]
#[error("a row set is ascending, without repetition, and never empty")]
pub struct NotARowSet;

impl TryFrom<Vec<RowNumber>> for RowSet {
    type Error = NotARowSet;

    fn try_from(rows: Vec<RowNumber>) -> Result<Self, NotARowSet> {
        if rows.is_empty() || !rows.is_sorted_by(|left, right| left < right) {
            return Err(NotARowSet);
        }
        Ok(Self(rows))
    }
}

impl From<RowSet> for Vec<RowNumber> {
    fn from(set: RowSet) -> Self {
        set.0
    }
}

impl fmt::Debug for RowSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RowSet({} rows, {}..={})", self.count(), self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_sorted_and_without_repetition() {
        let set = RowSet::new([5, 1, 5, 3].map(RowNumber)).expect("not empty");
        assert_eq!(set.as_slice(), [1, 3, 5].map(RowNumber));
        assert!(set.contains(RowNumber(3)) && !set.contains(RowNumber(2)));
        assert_eq!(RowSet::new([]), None);
    }

    #[test]
    fn a_document_cannot_smuggle_in_another_order() {
        assert!(serde_json::from_str::<RowSet>("[1,2,9223372036854775808]").is_ok());
        for text in ["[]", "[2,1]", "[1,1]", "[-1]"] {
            assert!(serde_json::from_str::<RowSet>(text).is_err(), "{text}");
        }
    }
}
