//! A rebuilt column chunk, taken out of the file of one chunk that the writer made of it. All its
//! offsets count from the chunk's start until it is placed.

use std::ops::Range;

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;

use super::footer::{Chunk, chunk, column, file, group};
use super::page::{PageHeaders, header};
use super::style::Style;
use super::thrift::{I32, I64, LIST, Malformed, STRUCT, Struct, list};
use super::window::Window;
use crate::domain::edit::Segment;
use crate::format::FormatError;

/// The highest field of `ColumnMetaData` whose meaning is known. One beyond it may hold values.
pub(super) const LAST_KNOWN: i16 = chunk::GEOSPATIAL;

/// A chunk as it becomes, whichever way. All its offsets count from its start.
pub(super) struct Renewed {
    /// Its pages, as pieces of the old file or new.
    pub(super) pieces: Vec<Segment>,
    /// Its structure `ColumnMetaData`.
    pub(super) metadata: Vec<u8>,
    /// Its structure `ColumnIndex`, where the old one had one.
    pub(super) column_index: Option<Bytes>,
    /// Its structure `OffsetIndex`, likewise.
    pub(super) offset_index: Option<Bytes>,
    /// Its bloom filter with header, likewise.
    pub(super) bloom: Option<Bytes>,
}

impl From<Rebuilt> for Renewed {
    fn from(rebuilt: Rebuilt) -> Self {
        Self {
            pieces: vec![Segment::Bytes(rebuilt.pages)],
            metadata: rebuilt.metadata,
            column_index: rebuilt.column_index,
            offset_index: rebuilt.offset_index,
            bloom: rebuilt.bloom,
        }
    }
}

/// A chunk as it becomes, all of it new.
pub(super) struct Rebuilt {
    /// Its pages.
    pub(super) pages: Bytes,
    /// Its structure `ColumnMetaData`.
    pub(super) metadata: Vec<u8>,
    /// Its structure `ColumnIndex`, where the old one had one.
    pub(super) column_index: Option<Bytes>,
    /// Its structure `OffsetIndex`, likewise.
    pub(super) offset_index: Option<Bytes>,
    /// Its bloom filter with header, likewise.
    pub(super) bloom: Option<Bytes>,
}

impl Rebuilt {
    /// Takes the chunk out of a file that holds nothing else.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the file or the old chunk's metadata are malformed.
    pub(super) fn new(
        written: Bytes,
        old: &Chunk,
        style: &Style,
        bloom: Option<Sbbf>,
    ) -> Result<Self, FormatError> {
        let footer = footer(&written).ok_or(Malformed)?;
        let fields = Struct::parse(footer)?;
        let groups = fields.list(file::ROW_GROUPS)?.ok_or(Malformed)?;
        let group = Struct::parse(groups.first().ok_or(Malformed)?)?;
        let columns = group.list(group::COLUMNS)?.ok_or(Malformed)?;
        let column = Struct::parse(columns.first().ok_or(Malformed)?)?;
        let mut metadata = column.structure(column::METADATA)?.ok_or(Malformed)?;
        let range = range_of(&metadata)?;
        let pages = slice(&written, &range)?;
        relocate_chunk(&mut metadata, -range.start.cast_signed())?;
        let mut offset_index = taken(&written, &column, INDEXES[1])?
            .filter(|_| style.offset_index)
            .map(|index| relocate_index(&index, -range.start.cast_signed()))
            .transpose()?;
        let column_index = taken(&written, &column, INDEXES[0])?.filter(|_| style.column_index);
        let mut pages = Pages { bytes: pages, moved: Vec::new() };
        if style.checksums {
            pages.add_checksums()?;
            pages.correct(&mut metadata)?;
            offset_index = offset_index.map(|index| pages.correct_index(&index)).transpose()?;
        }
        let metadata = merged(&metadata, old, style)?;
        let offset_index = offset_index.map(Bytes::from);
        let bloom = bloom.map(|bloom| bloom_bytes(&bloom)).transpose()?;
        Ok(Self { pages: pages.bytes, metadata, column_index, offset_index, bloom })
    }

    /// Where its pages lie within themselves, to read them with.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the metadata are malformed.
    pub(super) fn chunk(&self, old: &Chunk) -> Result<Chunk, FormatError> {
        let entries = Struct::parse(&self.metadata)?.required(chunk::NUM_VALUES)?;
        Ok(Chunk { pages: 0..self.pages.len() as u64, entries, ..old.clone() })
    }
}

/// Offset and length fields of the column index and the offset index.
pub(super) const INDEXES: [(i16, i16); 2] = [
    (column::COLUMN_INDEX, column::COLUMN_INDEX_LENGTH),
    (column::OFFSET_INDEX, column::OFFSET_INDEX_LENGTH),
];

fn footer(written: &Bytes) -> Option<&[u8]> {
    let (before, tail) = written.split_at_checked(written.len().checked_sub(8)?)?;
    let length = u32::from_le_bytes(tail.get(..4)?.try_into().ok()?);
    before.get(before.len().checked_sub(length as usize)?..)
}

fn slice(written: &Bytes, range: &Range<u64>) -> Result<Bytes, Malformed> {
    if range.end > written.len() as u64 || range.start > range.end {
        return Err(Malformed);
    }
    Ok(written.slice(range.start as usize..range.end as usize))
}

fn range_of(metadata: &Struct<'_>) -> Result<Range<u64>, Malformed> {
    let data = metadata.required(chunk::DATA_PAGE)?;
    let start = metadata.integer(chunk::DICTIONARY_PAGE)?.map_or(data, |first| first.min(data));
    let end = start.checked_add(metadata.required(chunk::COMPRESSED_SIZE)?).ok_or(Malformed)?;
    let unsigned = |offset| u64::try_from(offset).map_err(|_| Malformed);
    Ok(unsigned(start)?..unsigned(end)?)
}

fn taken(
    written: &Bytes,
    column: &Struct<'_>,
    (offset, length): (i16, i16),
) -> Result<Option<Bytes>, Malformed> {
    let Some(start) = column.integer(offset)? else { return Ok(None) };
    let start = u64::try_from(start).map_err(|_| Malformed)?;
    let length = u64::try_from(column.required(length)?).map_err(|_| Malformed)?;
    slice(written, &(start..start.checked_add(length).ok_or(Malformed)?)).map(Some)
}

/// A bloom filter as it is written, header included.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where it cannot be.
pub(super) fn bloom_bytes(bloom: &Sbbf) -> Result<Bytes, FormatError> {
    let mut bytes = Vec::new();
    bloom
        .write(&mut bytes)
        .map_err(|_| FormatError::unreadable("a bloom filter could not be written"))?;
    Ok(Bytes::from(bytes))
}

/// The old metadata with everything that follows from the values taken from the new.
fn merged(new: &Struct<'_>, old: &Chunk, style: &Style) -> Result<Vec<u8>, Malformed> {
    let column = Struct::parse(&old.raw)?;
    let mut merged = column.structure(column::METADATA)?.ok_or(Malformed)?;
    for id in [
        chunk::ENCODINGS,
        chunk::NUM_VALUES,
        chunk::UNCOMPRESSED_SIZE,
        chunk::COMPRESSED_SIZE,
        chunk::DATA_PAGE,
        chunk::INDEX_PAGE,
        chunk::DICTIONARY_PAGE,
    ] {
        merged.set_from(id, new);
    }
    for id in [chunk::ENCODING_STATS, chunk::SIZE_STATISTICS] {
        if merged.has(id) {
            merged.set_from(id, new);
        }
    }
    match statistics(&merged, new)?.filter(|_| style.statistics) {
        Some(statistics) => merged.set(chunk::STATISTICS, STRUCT, statistics),
        None => merged.remove(chunk::STATISTICS),
    }
    merged.remove_all(&[chunk::GEOSPATIAL, chunk::BLOOM, chunk::BLOOM_LENGTH]);
    merged.keep_up_to(LAST_KNOWN);
    Ok(merged.to_bytes())
}

/// The new statistics, with lowest and highest value only where the old ones had them: a writer
/// leaves them out where it knows of no order.
fn statistics(old: &Struct<'_>, new: &Struct<'_>) -> Result<Option<Vec<u8>>, Malformed> {
    const LIMITS: [i16; 6] = [1, 2, 5, 6, 7, 8];
    let Some(before) = old.structure(chunk::STATISTICS)? else { return Ok(None) };
    let Some(mut after) = new.structure(chunk::STATISTICS)? else { return Ok(None) };
    if !LIMITS[..4].iter().any(|&id| before.has(id)) {
        after.remove_all(&LIMITS);
    }
    Ok(Some(after.to_bytes()))
}

/// Moves the page offsets of a `ColumnMetaData`.
///
/// # Errors
///
/// [`Malformed`] where one leaves 64 bits.
pub(super) fn relocate_chunk(metadata: &mut Struct<'_>, by: i64) -> Result<(), Malformed> {
    for id in [chunk::DATA_PAGE, chunk::INDEX_PAGE, chunk::DICTIONARY_PAGE] {
        // Some writers put 0 for "none".
        let Some(offset) = metadata.integer(id)?.filter(|&offset| offset > 0) else { continue };
        metadata.set_integer(id, I64, offset.checked_add(by).ok_or(Malformed)?);
    }
    Ok(())
}

/// Adds where a rebuilt chunk begins to its page offsets, of which 0 is a true one.
///
/// # Errors
///
/// [`Malformed`] where an offset is none.
pub(super) fn shift_rebuilt(metadata: &mut Struct<'_>, start: u64) -> Result<i64, Malformed> {
    for id in [chunk::DATA_PAGE, chunk::DICTIONARY_PAGE] {
        if let Some(offset) = metadata.integer(id)? {
            let moved = offset.checked_add(start.cast_signed()).ok_or(Malformed)?;
            metadata.set_integer(id, I64, moved);
        }
    }
    Ok(start.cast_signed())
}

/// Notes where a part lies, or that there is none. A length that was not noted before is only added
/// where it has to be.
///
/// # Errors
///
/// [`Malformed`] where it is longer than can be noted.
pub(super) fn set_part(
    fields: &mut Struct<'_>,
    (offset, length): (i16, i16),
    range: Option<&Range<u64>>,
    needs_length: bool,
) -> Result<(), Malformed> {
    let Some(range) = range else {
        fields.remove_all(&[offset, length]);
        return Ok(());
    };
    fields.set_integer(offset, I64, range.start.cast_signed());
    if needs_length || fields.has(length) {
        let bytes = i32::try_from(range.end - range.start).map_err(|_| Malformed)?;
        fields.set_integer(length, I32, i64::from(bytes));
    }
    Ok(())
}

/// Fields of `OffsetIndex` and `PageLocation`.
pub(super) const LOCATIONS: i16 = 1;
pub(super) const OFFSET: i16 = 1;
pub(super) const SIZE: i16 = 2;

/// An `OffsetIndex` with its page offsets moved.
///
/// # Errors
///
/// [`Malformed`] where it is none.
pub(super) fn relocate_index(index: &[u8], by: i64) -> Result<Vec<u8>, Malformed> {
    map_locations(index, |_, location| {
        let offset = location.required(OFFSET)?.checked_add(by).ok_or(Malformed)?;
        location.set_integer(OFFSET, I64, offset);
        Ok(())
    })
}

/// An `OffsetIndex` with its page locations changed.
///
/// # Errors
///
/// [`Malformed`] where it is none.
pub(super) fn map_locations(
    index: &[u8],
    change: impl Fn(usize, &mut Struct<'_>) -> Result<(), Malformed>,
) -> Result<Vec<u8>, Malformed> {
    let mut index = Struct::parse(index)?;
    let mut locations = Vec::new();
    for (at, bytes) in index.list(LOCATIONS)?.ok_or(Malformed)?.into_iter().enumerate() {
        let mut location = Struct::parse(bytes)?;
        change(at, &mut location)?;
        locations.push(location.to_bytes());
    }
    index.set(LOCATIONS, LIST, list(STRUCT, &locations));
    Ok(index.to_bytes())
}

/// The pages of a chunk. The crate writes no checksums, so that they are added here.
struct Pages {
    bytes: Bytes,
    /// Where each data page begins now, and its length with its header.
    moved: Vec<(u64, u64)>,
}

impl Pages {
    fn add_checksums(&mut self) -> Result<(), FormatError> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 64);
        let mut headers = PageHeaders::new(Window::new(&self.bytes, 0, self.bytes.len() as u64));
        while let Some(page) = headers.next()? {
            let body = page.start + page.header_bytes;
            let content = slice(&self.bytes, &(body..body + page.stored_bytes))?;
            let old = slice(&self.bytes, &(page.start..body))?;
            let mut fields = Struct::parse(&old)?;
            let mut checksum = flate2::Crc::new();
            checksum.update(&content);
            let signed = checksum.sum().cast_signed();
            fields.set_integer(header::CHECKSUM, I32, i64::from(signed));
            let start = bytes.len() as u64;
            bytes.extend(fields.to_bytes());
            bytes.extend_from_slice(&content);
            if page.kind != super::page::PageKind::Dictionary {
                self.moved.push((start, bytes.len() as u64 - start));
            }
        }
        self.bytes = Bytes::from(bytes);
        Ok(())
    }

    /// Corrects sizes and offsets for the longer headers.
    fn correct(&self, metadata: &mut Struct<'_>) -> Result<(), Malformed> {
        let grown = self.bytes.len() as i64 - metadata.required(chunk::COMPRESSED_SIZE)?;
        for id in [chunk::COMPRESSED_SIZE, chunk::UNCOMPRESSED_SIZE] {
            metadata.set_integer(id, I64, metadata.required(id)? + grown);
        }
        if let Some(&(first, _)) = self.moved.first() {
            metadata.set_integer(chunk::DATA_PAGE, I64, first.cast_signed());
        }
        Ok(())
    }

    fn correct_index(&self, index: &[u8]) -> Result<Vec<u8>, Malformed> {
        map_locations(index, |at, location| {
            let &(offset, length) = self.moved.get(at).ok_or(Malformed)?;
            location.set_integer(OFFSET, I64, offset.cast_signed());
            location.set_integer(SIZE, I32, length.cast_signed());
            Ok(())
        })
    }
}
