//! Rows as runs of neighbours, so that a million blanks in a row take no more room than one.

use std::ops::Range;

/// Rows as ascending runs that neither touch nor overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs(Vec<Range<u64>>);

impl Runs {
    /// Appends a row that is higher than all before.
    pub(super) fn push(&mut self, row: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == row => last.end += 1,
            _ => self.0.push(row..row + 1),
        }
    }

    /// Takes the row out again if it is the last.
    pub(super) fn unpush(&mut self, row: u64) {
        if let Some(last) = self.0.last_mut()
            && last.end == row + 1
        {
            last.end = row;
            if last.is_empty() {
                self.0.pop();
            }
        }
    }

    /// Whether a row is among them.
    pub(super) fn contains(&self, row: u64) -> bool {
        let at = self.0.partition_point(|run| run.end <= row);
        self.0.get(at).is_some_and(|run| run.start <= row)
    }

    /// Whether one of these rows is among them.
    pub(super) fn touches(&self, rows: &Range<u64>) -> bool {
        let at = self.0.partition_point(|run| run.end <= rows.start);
        self.0.get(at).is_some_and(|run| run.start < rows.end) && !rows.is_empty()
    }

    /// Whether a row is among them, and where that ends: the first row after it of which it is not so.
    pub(super) fn stretch(&self, row: u64) -> (bool, u64) {
        match self.0.get(self.0.partition_point(|run| run.end <= row)) {
            Some(run) if run.start <= row => (true, run.end),
            Some(run) => (false, run.start),
            None => (false, u64::MAX),
        }
    }

    /// Appends rows that are higher than all before.
    pub(super) fn push_all(&mut self, rows: Range<u64>) {
        match self.0.last_mut() {
            _ if rows.is_empty() => {}
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.0.push(rows),
        }
    }

    /// The runs, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Range<u64>> {
        self.0.iter()
    }

    /// How many rows.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|run| run.end - run.start).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows that are in both.
    pub(super) fn and(&self, other: &Runs) -> Runs {
        let (mut left, mut right) = (0, 0);
        let mut both = Vec::new();
        while let (Some(one), Some(two)) = (self.0.get(left), other.0.get(right)) {
            let shared = one.start.max(two.start)..one.end.min(two.end);
            if !shared.is_empty() {
                both.push(shared);
            }
            if one.end <= two.end { left += 1 } else { right += 1 }
        }
        Runs(both)
    }
}

impl FromIterator<u64> for Runs {
    fn from_iter<I: IntoIterator<Item = u64>>(rows: I) -> Self {
        let mut runs = Self::default();
        rows.into_iter().for_each(|row| runs.push(row));
        runs
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_sets(
            one in prop::collection::btree_set(0_u64..60, 0..40),
            two in prop::collection::btree_set(0_u64..60, 0..40),
        ) {
            let runs = |set: &BTreeSet<u64>| set.iter().copied().collect::<Runs>();
            let both: BTreeSet<u64> = one.intersection(&two).copied().collect();
            prop_assert_eq!(runs(&one).and(&runs(&two)), runs(&both));
            prop_assert_eq!(runs(&one).count(), one.len() as u64);
            for row in 0..60 {
                prop_assert_eq!(runs(&one).contains(row), one.contains(&row));
                let end = (row..=60).find(|next| one.contains(next) != one.contains(&row));
                let stretch = (one.contains(&row), end.unwrap_or(u64::MAX));
                prop_assert_eq!(runs(&one).stretch(row), stretch);
            }
        }
    }
}
