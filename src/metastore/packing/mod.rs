//! Postings packed across subjects into blocks of 4 KiB, a few bytes each.
//!
//! A block knows 64-bit numbers: the first half of a subject's digest, the number that a catalogue
//! gave an object version, a row. It never knows keys, datasets or whole digests, and a collision of
//! two subjects' halves costs a look at a row, no more: whoever acts on a posting matches the row again.

pub mod bits;
pub mod block;
pub mod subject;

/// A posting of one row, in numbers. Ordered by subject, object, row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackedPosting {
    /// The first 64 bits of the subject's digest, big-endian, so that numbers sort as digests do.
    pub subject: u64,
    /// The object version, as the catalogue numbers it.
    pub object: u64,
    /// The row.
    pub row: u64,
}

/// A block is not what was written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub &'static str);
