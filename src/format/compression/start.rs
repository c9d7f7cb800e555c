//! Which compression is around an object: told by how it begins.

use super::{bzip2, lz4, snappy};
use crate::domain::dataset::Compression;
use crate::format::{FormatError, Source};

/// How many skippable frames are looked past.
const SKIPPABLE_FRAMES: usize = 64;

/// The compression around an object that begins with `head`.
///
/// # Errors
///
/// [`FormatError`] where the store fails.
pub(in crate::format) fn around(
    head: &[u8],
    source: &dyn Source,
) -> Result<Compression, FormatError> {
    if let Some(found) = by_magic(head) {
        return Ok(found);
    }
    if !is_skippable(head) {
        return Ok(Compression::None);
    }
    // Both zstd and lz4 have skippable frames: the first other one tells which it is.
    let mut at = 0u64;
    for _ in 0..SKIPPABLE_FRAMES {
        let left = source.size_bytes().saturating_sub(at).min(8) as usize;
        let frame = source.read_at(at, left)?;
        if !is_skippable(&frame) {
            return Ok(by_magic(&frame).unwrap_or(Compression::Zstd));
        }
        let Some([a, b, c, d]) = frame.get(4..).and_then(|rest| rest.first_chunk::<4>()) else {
            break;
        };
        at += 8 + u64::from(u32::from_le_bytes([*a, *b, *c, *d]));
        if at >= source.size_bytes() {
            break;
        }
    }
    Ok(Compression::Zstd)
}

/// Whether content that begins so is compressed.
pub(in crate::format) fn begins(head: &[u8]) -> bool {
    by_magic(head).is_some() || is_skippable(head)
}

fn by_magic(head: &[u8]) -> Option<Compression> {
    match head {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        _ if head.starts_with(&lz4::MAGIC) => Some(Compression::Lz4),
        _ if head.starts_with(&snappy::IDENTIFIER) => Some(Compression::Snappy),
        _ if bzip2::is_start(head) => Some(Compression::Bzip2),
        _ => None,
    }
}

/// Whether a skippable frame begins so: by any of 16 magic numbers.
pub(super) fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}
