//! Values that go, as far as it takes to know one of them again. It holds no value.

use std::collections::HashSet;

use super::hashed::{ValueHash, hash};

/// A set of values of one column. It may take another value for one of them, if their hashes are the
/// same: so it is asked only of what nobody refers to, which may go in any case.
#[derive(Debug, Default)]
pub(super) struct Lost(HashSet<ValueHash>);

impl Lost {
    /// Adds a value.
    pub(super) fn add(&mut self, value: ValueHash) {
        self.0.insert(value);
    }

    /// Whether a value is among them, by its bytes in the encoding `PLAIN` without length.
    pub(super) fn has(&self, value: &[u8]) -> bool {
        self.0.contains(&hash(value))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
