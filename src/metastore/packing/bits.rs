//! Bits from the least significant on, in bytes. A block is only ever read through its proven header,
//! so that reads beyond the end, which give zeros, do not happen in a sound one.

use std::ops::Range;

/// Appends bits.
#[derive(Debug)]
pub struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    used: u64,
}

impl BitWriter {
    /// A writer that has room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), pending: 0, used: 0 }
    }

    /// Appends the low `width` bits of a value, which has no others; at most 64.
    pub fn push(&mut self, value: u64, width: u64) {
        if width == 0 {
            return;
        }
        self.pending |= value << self.used;
        let total = self.used + width;
        if total < 64 {
            self.used = total;
            return;
        }
        self.bytes.extend(self.pending.to_le_bytes());
        let taken = 64 - self.used;
        self.pending = if taken == 64 { 0 } else { value >> taken };
        self.used = total - 64;
    }

    /// Appends zeros.
    pub fn zeros(&mut self, mut count: u64) {
        while count > 0 {
            let step = count.min(64);
            self.push(0, step);
            count -= step;
        }
    }

    /// The bytes, the last filled up with zeros.
    pub fn finish(mut self) -> Vec<u8> {
        let rest = usize::try_from(self.used.div_ceil(8)).unwrap_or(8);
        self.bytes.extend(&self.pending.to_le_bytes()[..rest]);
        self.bytes
    }
}

/// How many bits a value needs; 0 for 0.
pub fn width_of(value: u64) -> u64 {
    u64::from(u64::BITS - value.leading_zeros())
}

/// Reads bits.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a>(&'a [u8]);

impl<'a> BitReader<'a> {
    /// Reads the bits of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The `width` bits from `at` on; at most 64.
    pub fn get(&self, at: u64, width: u64) -> u64 {
        if width == 0 {
            return 0;
        }
        let offset = at % 8;
        let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
        let mut value = self.word(start) >> offset;
        if offset + width > 64 {
            value |= self.word(start.saturating_add(8)) << (64 - offset);
        }
        value & (u64::MAX >> (64 - width))
    }

    /// Eight bytes from here on, zeros beyond the end.
    fn word(&self, start: usize) -> u64 {
        if let Some(bytes) = self.0.get(start..).and_then(|rest| rest.first_chunk::<8>()) {
            return u64::from_le_bytes(*bytes);
        }
        let mut bytes = [0; 8];
        let rest = self.0.get(start..).unwrap_or_default();
        bytes[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(bytes)
    }

    /// Where the one number `rank` (from 0) of a range stands.
    pub fn one_at(&self, range: Range<u64>, rank: u64) -> Option<u64> {
        self.select(range, rank, |word| word)
    }

    /// The place just after the zero number `count` (from 1) of a range; its start for 0.
    pub fn after_zeros(&self, range: Range<u64>, count: u64) -> Option<u64> {
        match count.checked_sub(1) {
            None => Some(range.start),
            Some(rank) => self.select(range, rank, |word| !word).map(|at| at + 1),
        }
    }

    /// Where the ones of a range stand, ascending.
    pub fn ones(self, range: Range<u64>) -> impl Iterator<Item = u64> + use<'a> {
        let (mut start, mut word) = (range.start, 0);
        let mut next = range.start;
        std::iter::from_fn(move || {
            while word == 0 {
                if next >= range.end {
                    return None;
                }
                let width = (range.end - next).min(64);
                (start, word) = (next, self.get(next, width));
                next += width;
            }
            let at = start + u64::from(word.trailing_zeros());
            word &= word - 1;
            Some(at)
        })
    }

    /// Where the set bit number `rank` of the range stands, once its words went through `turned`.
    fn select(&self, range: Range<u64>, mut rank: u64, turned: fn(u64) -> u64) -> Option<u64> {
        let mut at = range.start;
        while at < range.end {
            let width = (range.end - at).min(64);
            let mut word = turned(self.get(at, width)) & (u64::MAX >> (64 - width));
            let ones = u64::from(word.count_ones());
            if rank < ones {
                for _ in 0..rank {
                    word &= word - 1;
                }
                return Some(at + u64::from(word.trailing_zeros()));
            }
            rank -= ones;
            at += width;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec((any::<u64>(), 0_u64..=64), 0..80)) {
            let mut writer = BitWriter::with_capacity(0);
            let cut = |value: u64, width| if width == 0 { 0 } else { value >> (64 - width) };
            for (value, width) in &values {
                writer.push(cut(*value, *width), *width);
            }
            let bytes = writer.finish();
            let (reader, mut at) = (BitReader::new(&bytes), 0);
            for (value, width) in &values {
                prop_assert_eq!(reader.get(at, *width), cut(*value, *width));
                at += width;
            }
        }

        #[test]
        fn ones_and_zeros_are_found(bytes in prop::collection::vec(any::<u8>(), 1..40), start in 0_u64..20) {
            let reader = BitReader::new(&bytes);
            let range = start..bytes.len() as u64 * 8;
            let ones: Vec<u64> = range.clone().filter(|at| reader.get(*at, 1) == 1).collect();
            prop_assert!(reader.ones(range.clone()).eq(ones.iter().copied()));
            let zeros: Vec<u64> = range.clone().filter(|at| reader.get(*at, 1) == 0).collect();
            for rank in 0..=ones.len() {
                prop_assert_eq!(reader.one_at(range.clone(), rank as u64), ones.get(rank).copied());
            }
            for count in 1..=zeros.len() + 1 {
                let expected = zeros.get(count - 1).map(|at| at + 1);
                prop_assert_eq!(reader.after_zeros(range.clone(), count as u64), expected);
            }
        }
    }
}
