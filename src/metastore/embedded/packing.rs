//! Row numbers packed as the gaps between them, in variable-length integers (LEB128): seven bits a
//! byte, lowest first, the high bit set on all bytes but the last.
//!
//! The first row stands in the key of the table; what is packed are the rows after it, each as its
//! distance from the one before, less one.

use crate::domain::row::RowNumber;

/// The rows after the first. `rows` is ascending and without repetition.
pub(super) fn pack(rows: &[RowNumber]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(rows.len().saturating_sub(1));
    for pair in rows.windows(2) {
        push(pair[1].0 - pair[0].0 - 1, &mut packed);
    }
    packed
}

fn push(mut gap: u64, packed: &mut Vec<u8>) {
    while gap >= 0x80 {
        packed.push((gap & 0x7f) as u8 | 0x80);
        gap >>= 7;
    }
    packed.push(gap as u8);
}

/// Adds `first` and the packed rows after it to `rows`; `None` where the bytes are not packed rows.
pub(super) fn unpack(first: RowNumber, packed: &[u8], rows: &mut Vec<RowNumber>) -> Option<()> {
    let mut last = first.0;
    rows.push(first);
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        let gap = take(byte, &mut bytes)?;
        last = last.checked_add(gap)?.checked_add(1)?;
        rows.push(RowNumber(last));
    }
    Some(())
}

fn take(first: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut gap = u64::from(first & 0x7f);
    let mut byte = first;
    let mut shift = 0;
    while byte & 0x80 != 0 {
        byte = bytes.next()?;
        shift += 7;
        let bits = u64::from(byte & 0x7f);
        if shift > 63 || (bits << shift) >> shift != bits {
            return None;
        }
        gap |= bits << shift;
    }
    Some(gap)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Hazard E9: row numbers beyond 32 bits, up to the last of 64.
        #[test]
        fn rows_come_back_as_they_were(
            rows in proptest::collection::btree_set(
                prop_oneof![0..300u64, any::<u64>(), (u64::MAX - 3)..=u64::MAX], 1..50,
            ),
        ) {
            let rows: Vec<_> = rows.into_iter().map(RowNumber).collect();
            let mut unpacked = Vec::new();
            prop_assert!(unpack(rows[0], &pack(&rows), &mut unpacked).is_some());
            prop_assert_eq!(unpacked, rows);
        }

        #[test]
        fn foreign_bytes_do_no_harm(first: u64, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut rows = Vec::new();
            if unpack(RowNumber(first), &bytes, &mut rows).is_some() {
                prop_assert!(rows.is_sorted_by(|left, right| left < right));
            }
        }
    }

    #[test]
    fn what_ends_early_or_runs_over_is_refused() {
        let mut rows = Vec::new();
        assert!(unpack(RowNumber(0), &[0x80], &mut rows).is_none());
        assert!(unpack(RowNumber(u64::MAX), &[0], &mut rows).is_none());
        let too_long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert!(unpack(RowNumber(0), &too_long, &mut rows).is_none());
    }
}
