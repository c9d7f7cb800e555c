//! What lies beside the pages of a column chunk: its bloom filter, its column index and its offset index.
//! It knows where, and not what they say.

use std::ops::Range;

use super::footer::{Chunk, chunk, column, part};
use super::rebuilt::INDEXES;
use super::thrift::{Cursor, Malformed, Struct};
use crate::format::{FormatError, Source};

/// What the footer refers to for a chunk but its pages.
#[derive(Clone, Default)]
pub(super) struct Extras {
    pub(super) bloom: Option<Range<u64>>,
    /// Column index and offset index.
    pub(super) indexes: [Option<Range<u64>>; 2],
}

impl Extras {
    /// What the metadata of a chunk refers to, in a file whose footer begins at `file_end`.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it lies elsewhere or cannot be read.
    pub(super) fn of(
        source: &dyn Source,
        chunk: &Chunk,
        file_end: u64,
    ) -> Result<Self, FormatError> {
        let column = Struct::parse(&chunk.raw)?;
        let mut extras = Self::default();
        for ((offset, length), range) in INDEXES.into_iter().zip(&mut extras.indexes) {
            let offset = column.integer(offset)?.filter(|&offset| offset > 0);
            let length = column.integer(length)?.filter(|&length| length > 0);
            if let (Some(offset), Some(length)) = (offset, length) {
                *range = Some(part(offset, length, file_end)?);
            }
        }
        let metadata = column.structure(column::METADATA)?.ok_or(Malformed)?;
        if let Some(offset) = metadata.integer(chunk::BLOOM)?.filter(|&offset| offset > 0) {
            let length = match metadata.integer(chunk::BLOOM_LENGTH)? {
                Some(length) => length,
                None => bloom_length(source, offset, file_end)?,
            };
            extras.bloom = Some(part(offset, length, file_end)?);
        }
        Ok(extras)
    }
}

/// How many bytes are read to find a bloom filter's header, which is shorter.
const BLOOM_HEADER_BYTES: u64 = 64;
/// The field of `BloomFilterHeader` that holds the size of its bits in bytes.
const BLOOM_SIZE: i16 = 1;

/// The length of a bloom filter's header and of its bits.
fn bloom_header(source: &dyn Source, range: &Range<u64>) -> Result<(i64, i64), FormatError> {
    let length = BLOOM_HEADER_BYTES.min(range.end - range.start);
    let bytes = source.read_at(range.start, length as usize)?;
    let mut cursor = Cursor::new(&bytes);
    let header = Struct::read(&mut cursor)?;
    Ok(((bytes.len() - cursor.left()) as i64, header.required(BLOOM_SIZE)?))
}

fn bloom_length(source: &dyn Source, offset: i64, file_end: u64) -> Result<i64, FormatError> {
    let start = part(offset, 1, file_end)?.start;
    let (header, bits) = bloom_header(source, &(start..file_end))?;
    header.checked_add(bits).ok_or_else(|| Malformed.into())
}

/// How many bytes the bits of a bloom filter take.
///
/// # Errors
///
/// [`FormatError`] where its header cannot be read or tells something else.
pub(super) fn bloom_size(source: &dyn Source, range: &Range<u64>) -> Result<usize, FormatError> {
    let (header, bits) = bloom_header(source, range)?;
    match usize::try_from(bits) {
        Ok(size)
            if size > 0
                && size.is_multiple_of(32)
                && (header as u64).checked_add(size as u64) == Some(range.end - range.start) =>
        {
            Ok(size)
        }
        _ => Err(FormatError::unreadable("a bloom filter of the Parquet file is malformed")),
    }
}
