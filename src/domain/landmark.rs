//! Places of an object that a scan takes note of, so that a rewrite can begin near a row instead of at
//! the object's start. A hint: who uses one must be able to do without, and matches the row again.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::row::RowNumber;

/// Where some rows of an object begin. Few, whatever the length of the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Landmarks {
    /// Text: rows and where they begin, both ascending. Stored as one flat list of differences.
    #[serde(with = "differences", skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Landmark>,
    /// Parquet: by the number of an identifier column in the schema, where pages of it begin that
    /// begin with a row; of files that have no page index of their own. The bytes of the other
    /// columns were not read, so that nothing is known of them.
    #[serde(deserialize_with = "numbered", skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<u32, Landmarks>,
    /// Text in gzip: the length of the content in bytes, where all of the object is one member. Its checksum
    /// was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_bytes: Option<u64>,
}

/// A place at which reading can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landmark {
    /// The first row from there on.
    pub row: RowNumber,
    /// The place, in bytes from the start of the (decompressed) object. A record begins there, and
    /// nothing of an earlier row follows.
    pub byte: u64,
}

impl Landmarks {
    /// How far landmarks of text stand apart, in bytes, at least.
    pub const DISTANCE_BYTES: u64 = 1 << 20;

    /// How many landmarks are kept of one object, which bounds its record to some 50 KiB. Of a longer
    /// object than 4 GiB they stand further apart.
    pub const KEPT: usize = 4096;

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty()
    }

    /// Takes note of a place beyond the last one. Where that would be one too many, every other one is
    /// dropped; a place too near to the last one is passed over.
    pub fn push(&mut self, landmark: Landmark) {
        let last = self.rows.last().map_or(0, |last| last.byte);
        if landmark.byte < last.saturating_add(self.distance_bytes()) {
            return;
        }
        if self.rows.len() == Self::KEPT {
            let mut number = 0usize;
            self.rows.retain(|_| {
                number += 1;
                number.is_multiple_of(2)
            });
        }
        self.rows.push(landmark);
    }

    /// Takes note of a page of a column, as [`Landmarks::push`] does of a row.
    pub fn push_page(&mut self, column: u32, page: Landmark) {
        self.columns.entry(column).or_default().push(page);
    }

    /// How far the next one has to be from the last one: as far as they are from one another.
    fn distance_bytes(&self) -> u64 {
        let reach = self.rows.last().map_or(0, |last| last.byte);
        let mean = reach / (self.rows.len().max(1) as u64);
        // Thinning doubles the mean; in between it wanders by what a record overshoots.
        let doublings = (mean / Self::DISTANCE_BYTES).max(1).ilog2();
        Self::DISTANCE_BYTES << doublings
    }

    /// The last landmark at or before a row.
    pub fn before(&self, row: RowNumber) -> Option<Landmark> {
        let after = self.rows.partition_point(|landmark| landmark.row <= row);
        after.checked_sub(1).map(|at| self.rows[at])
    }
}

/// Columns by number. JSON has text for keys, and inside of a tagged enum, where serde holds what it reads
/// before it knows what it is, a number is not read out of it.
fn numbered<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<u32, Landmarks>, D::Error> {
    let named = BTreeMap::<String, Landmarks>::deserialize(deserializer)?;
    let numbered = |(name, landmarks): (String, Landmarks)| match name.parse() {
        Ok(number) => Ok((number, landmarks)),
        Err(_) => Err(D::Error::custom("a column of landmarks is no number")),
    };
    named.into_iter().map(numbered).collect()
}

/// Rows and bytes as differences to the ones before.
mod differences {
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    use super::{Landmark, RowNumber};

    pub(super) fn serialize<S: Serializer>(
        landmarks: &[Landmark],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut last = (0, 0);
        serializer.collect_seq(landmarks.iter().flat_map(|landmark| {
            let (row, byte) = (landmark.row.0, landmark.byte);
            let step = [row.saturating_sub(last.0), byte.saturating_sub(last.1)];
            last = (row, byte);
            step
        }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Landmark>, D::Error> {
        let steps = Vec::<u64>::deserialize(deserializer)?;
        let beyond = || D::Error::custom("landmarks reach beyond the largest row or byte");
        let mut last = (0u64, 0u64);
        let mut landmarks = Vec::with_capacity(steps.len() / 2);
        for step in steps.chunks_exact(2) {
            let row = last.0.checked_add(step[0]).ok_or_else(beyond)?;
            let byte = last.1.checked_add(step[1]).ok_or_else(beyond)?;
            last = (row, byte);
            landmarks.push(Landmark { row: RowNumber(row), byte });
        }
        Ok(landmarks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn landmark(row: u64, byte: u64) -> Landmark {
        Landmark { row: RowNumber(row), byte }
    }

    #[test]
    fn landmarks_are_stored_as_differences() {
        let mut landmarks = Landmarks::default();
        for near in [landmark(10, 5), landmark(1000, 1 << 20), landmark(1001, (1 << 20) + 9)] {
            landmarks.push(near);
        }
        landmarks.push(landmark(2010, (2 << 20) + 7));
        let stored = serde_json::to_string(&landmarks).expect("to memory");
        assert_eq!(stored, r#"{"rows":[1000,1048576,1010,1048583]}"#);
        assert_eq!(serde_json::from_str::<Landmarks>(&stored).expect("it was stored"), landmarks);
        assert_eq!(serde_json::from_str::<Landmarks>("{}").expect("none"), Landmarks::default());
        let beyond = format!(r#"{{"rows":[1,{},1,2]}}"#, u64::MAX);
        assert!(serde_json::from_str::<Landmarks>(&beyond).is_err());
    }

    #[test]
    fn a_row_is_found_behind_its_landmark() {
        let rows = vec![landmark(10, 1 << 20), landmark(20, 2 << 20)];
        let landmarks = Landmarks { rows: rows.clone(), ..Landmarks::default() };
        let before = |row| landmarks.before(RowNumber(row));
        assert_eq!([before(9), before(10), before(19)], [None, Some(rows[0]), Some(rows[0])]);
        assert_eq!(before(1 << 40), Some(rows[1]));
    }

    #[test]
    fn columns_are_stored_apart() {
        let mut landmarks = Landmarks::default();
        for page in [landmark(7, 2 << 20), landmark(8, (2 << 20) + 5), landmark(9, 4 << 20)] {
            landmarks.push_page(3, page);
        }
        let stored = serde_json::to_string(&landmarks).expect("to memory");
        assert_eq!(stored, r#"{"columns":{"3":{"rows":[7,2097152,2,2097152]}}}"#);
        assert_eq!(serde_json::from_str::<Landmarks>(&stored).expect("it was stored"), landmarks);

        // So they are within a tagged enum, where serde reads what it has buffered.
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            Some { landmarks: Landmarks },
        }
        let tagged = Tagged::Some { landmarks };
        let stored = serde_json::to_string(&tagged).expect("to memory");
        assert_eq!(serde_json::from_str::<Tagged>(&stored).expect("it was stored"), tagged);
    }

    /// D12: of an object of any length a bounded number is kept, spread over all of it.
    #[test]
    fn an_object_of_a_tebibyte_keeps_few() {
        let mut landmarks = Landmarks::default();
        let step = Landmarks::DISTANCE_BYTES + 700;
        for number in 1..=1u64 << 20 {
            landmarks.push(landmark(number * 1000, number * step));
        }
        assert!(landmarks.rows.len() <= Landmarks::KEPT);
        assert!(landmarks.rows.len() >= Landmarks::KEPT / 4, "{}", landmarks.rows.len());
        let widest = landmarks.rows.windows(2).map(|pair| pair[1].byte - pair[0].byte).max();
        assert!(widest.expect("several") <= (2 << 40) / Landmarks::KEPT as u64 * 2, "{widest:?}");
        let stored = serde_json::to_string(&landmarks).expect("to memory").len() as u64;
        assert!(stored * 10_000 < (1 << 20) * step, "{stored}");
    }
}
