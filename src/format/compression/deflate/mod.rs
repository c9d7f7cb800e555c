//! Deflate (RFC 1951) as a row of blocks and symbols whose places are known to the bit.
//!
//! A library inflates faster and tells no places, so that it does whatever reads all of an object; this
//! is for whoever has to cut a stream. It knows no gzip, no rows and no edits.

mod bits;
mod codes;
mod inflate;
mod output;
#[cfg(test)]
pub(super) mod tests;

pub(super) use bits::{Bits, FIXED_END_BITS, FIXED_HEADER};
pub(super) use inflate::{Inflate, Place, Stop};
pub(super) use output::Output;

/// How far back a match may reach, in bytes of content.
pub(super) const REACH_BYTES: u64 = 32 << 10;

/// Why a stream cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// It goes on beyond the last byte.
    EndsEarly,
    /// It is no deflate stream.
    Corrupt,
}
