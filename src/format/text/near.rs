//! Which part of a text is read to erase some of its rows, and where that part lies afterwards.

use bytes::Bytes;

use super::{Cutter, Patch, Records};
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::row::{RowNumber, RowSet};
use crate::domain::stretch::Stretch;
use crate::format::compression::Touched;
use crate::format::{FormatError, Source};

/// The rows to read: each ordered one with its neighbours, and whatever stands between the landmark before
/// them and them; the landmark is at least so many bytes before another one that is before them.
pub(super) fn around(rows: &RowSet, landmarks: &Landmarks, lead_bytes: u64) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for row in rows.iter() {
        let end = RowNumber(row.0.saturating_add(2));
        let start = landmarks.before(RowNumber(row.0.saturating_sub(1)));
        let start = start.and_then(|near| match lead_bytes {
            0 => Some(near),
            _ => before_byte(&landmarks.rows, near.byte.checked_sub(lead_bytes)?),
        });
        let start = start.unwrap_or(Landmark { row: RowNumber(0), byte: 0 });
        match stretches.last_mut() {
            Some(last) if last.end >= start.row => last.end = end,
            _ => stretches.push(Stretch::of_text(start, end)),
        }
    }
    stretches
}

/// The rows that lie in a part that was compressed anew, or a little behind it: from a landmark before it
/// on. `blanked` are the rows of the patches; `passed` are landmarks from which reading led to them, so that
/// they are right.
pub(super) fn covering(touched: &[Touched], blanked: &RowSet, passed: &[Landmark]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for part in touched {
        let last = blanked.as_slice().get(part.last).copied().unwrap_or_default();
        let end = RowNumber(last.0.saturating_add(part.lines).saturating_add(2));
        let start = before_byte(passed, part.start);
        let start = start.unwrap_or(Landmark { row: RowNumber(0), byte: 0 });
        match stretches.last_mut() {
            Some(stretch) if stretch.end >= start.row => stretch.end = stretch.end.max(end),
            _ => stretches.push(Stretch::of_text(start, end)),
        }
    }
    stretches
}

/// The last landmark at or before a place.
fn before_byte(landmarks: &[Landmark], byte: u64) -> Option<Landmark> {
    let after = landmarks.partition_point(|landmark| landmark.byte <= byte);
    after.checked_sub(1).and_then(|at| landmarks.get(at)).copied()
}

/// Tells where places of the old content lie in the new one. Asked in ascending order.
pub(super) struct Shift<'p> {
    patches: std::slice::Iter<'p, Patch>,
    growth: i64,
}

impl<'p> Shift<'p> {
    /// By these patches, ascending.
    pub(super) fn new(patches: &'p [Patch]) -> Self {
        Self { patches: patches.iter(), growth: 0 }
    }

    fn shifted(&mut self, byte: u64) -> u64 {
        while let Some(patch) = self.patches.as_slice().first() {
            if patch.range.start >= byte {
                break;
            }
            self.growth += growth(&patch.range, &patch.bytes);
            self.patches.next();
        }
        byte.saturating_add_signed(self.growth)
    }

    /// The same stretches in the new content.
    pub(super) fn stretches(mut self, before: &[Stretch]) -> Vec<Stretch> {
        let shifted =
            |stretch: &Stretch| Stretch { byte: self.shifted(stretch.byte), ..stretch.clone() };
        before.iter().map(shifted).collect()
    }

    /// The same landmarks in the new content.
    pub(super) fn landmarks(mut self, before: &Landmarks) -> Landmarks {
        let shifted = |it: &Landmark| Landmark { byte: self.shifted(it.byte), ..*it };
        let rows = before.rows.iter().map(shifted).collect();
        let member_bytes = before.member_bytes.map(|bytes| self.shifted(bytes));
        Landmarks { rows, member_bytes, ..Landmarks::default() }
    }
}

fn growth(range: &std::ops::Range<u64>, bytes: &Bytes) -> i64 {
    (bytes.len() as u64).cast_signed() - (range.end - range.start).cast_signed()
}

impl<S: Source, C: Cutter> Records<S, C> {
    /// Goes on to the first row of a stretch, which may have been reached already.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the content ends before that place, or cannot be read.
    pub(super) fn go_to(&mut self, stretch: &Stretch) -> Result<(), FormatError> {
        match self.rows().0 < stretch.row.0 {
            true => self.skip_to(Landmark { row: stretch.row, byte: stretch.byte }),
            false => Ok(()),
        }
    }
}
