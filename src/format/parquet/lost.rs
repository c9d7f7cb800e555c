//! Values that go, as far as it takes to know one of them again. It holds no value.

use std::collections::BTreeSet;

use parquet::basic::Type;

use super::hashed::{ValueHash, hash};

/// How many bits the filter has: with a thousand values, 98 of 100 others are told apart by it.
const FILTER_BITS: usize = 1 << 16;

/// A set of values of one column. It may take another value for one of them, if what stands for both is the
/// same: so it is asked only of what nobody refers to, which may go in any case.
#[derive(Debug)]
pub(super) struct Lost {
    kind: Type,
    values: BTreeSet<ValueHash>,
    /// A bit for each value, so that most of those that are not among them need no search. None as long as
    /// there is no value.
    filter: Vec<u64>,
}

impl Lost {
    /// No values of a column of this type.
    pub(super) fn none_of(kind: Type) -> Self {
        Self { kind, values: BTreeSet::new(), filter: Vec::new() }
    }

    /// Adds a value.
    pub(super) fn add(&mut self, value: ValueHash) {
        self.filter.resize(FILTER_BITS / 64, 0);
        let (word, bit) = place(value);
        self.filter[word] |= bit;
        self.values.insert(value);
    }

    /// Whether a value is among them, by its bytes in the encoding `PLAIN` without length.
    pub(super) fn has(&self, value: &[u8]) -> bool {
        let value = hash(self.kind, value);
        let (word, bit) = place(value);
        self.filter.get(word).is_some_and(|word| word & bit != 0) && self.values.contains(&value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// Where the bit of a value stands. The hash of a number is the number, so that it is spread first.
fn place(value: ValueHash) -> (usize, u64) {
    let spread = u64::from_le_bytes(value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bit = (spread >> (u64::BITS - FILTER_BITS.trailing_zeros())) as usize;
    (bit / 64, 1 << (bit % 64))
}
