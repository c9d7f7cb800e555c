//! Values that go, as far as it takes to know one of them again. It holds no value.

use std::collections::BTreeSet;

use parquet::basic::Type;

use super::hashed::{ValueHash, hash};

/// A set of values of one column. It may take another value for one of them, if what stands for both is the
/// same: so it is asked only of what nobody refers to, which may go in any case.
#[derive(Debug)]
pub(super) struct Lost {
    kind: Type,
    values: BTreeSet<ValueHash>,
}

impl Lost {
    /// No values of a column of this type.
    pub(super) fn none_of(kind: Type) -> Self {
        Self { kind, values: BTreeSet::new() }
    }

    /// Adds a value.
    pub(super) fn add(&mut self, value: ValueHash) {
        self.values.insert(value);
    }

    /// Whether a value is among them, by its bytes in the encoding `PLAIN` without length.
    pub(super) fn has(&self, value: &[u8]) -> bool {
        self.values.contains(&hash(self.kind, value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
