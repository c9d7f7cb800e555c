//! The footer of a Parquet file: what lies where. It knows no values.
//!
//! It is read twice over: the schema by the `parquet` crate, everything else as the fields that are
//! written there, so that whatever is not changed is written again byte for byte. Nothing in it is
//! believed before it is checked: offsets and sizes lie within the file and no two parts overlap.
//! Field numbers are those of `parquet.thrift` in apache/parquet-format.

use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::ParquetMetaDataReader;

use super::leaf::{Leaf, leaves};
use super::pages::ColumnChunk;
use super::thrift::{Malformed, Struct};
use crate::domain::row::RowCount;
use crate::format::{FormatError, Source};

/// The first and the last four bytes of a file.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";
/// The same of a file whose footer is encrypted.
const ENCRYPTED: &[u8; 4] = b"PARE";
/// The length of the footer and the magic bytes.
const TAIL_BYTES: u64 = 8;
/// A longer footer is taken for a wrong one.
const LONGEST_FOOTER_BYTES: u64 = 512 << 20;

/// Fields of `FileMetaData`.
pub(super) mod file {
    pub(in super::super) const SCHEMA: i16 = 2;
    pub(in super::super) const NUM_ROWS: i16 = 3;
    pub(in super::super) const ROW_GROUPS: i16 = 4;
    pub(in super::super) const COLUMN_ORDERS: i16 = 7;
    pub(in super::super) const ENCRYPTION: i16 = 8;
    pub(in super::super) const SIGNING_KEY: i16 = 9;
}

/// The field of `SchemaElement` that counts its children.
const SCHEMA_CHILDREN: i16 = 5;

/// Fields of `RowGroup`.
pub(super) mod group {
    pub(in super::super) const COLUMNS: i16 = 1;
    pub(in super::super) const TOTAL_BYTE_SIZE: i16 = 2;
    pub(in super::super) const NUM_ROWS: i16 = 3;
    pub(in super::super) const SORTING: i16 = 4;
    pub(in super::super) const FILE_OFFSET: i16 = 5;
    pub(in super::super) const COMPRESSED_SIZE: i16 = 6;
    pub(in super::super) const ORDINAL: i16 = 7;
}

/// Fields of `ColumnChunk`.
pub(super) mod column {
    pub(in super::super) const FILE_PATH: i16 = 1;
    pub(in super::super) const FILE_OFFSET: i16 = 2;
    pub(in super::super) const METADATA: i16 = 3;
    pub(in super::super) const OFFSET_INDEX: i16 = 4;
    pub(in super::super) const OFFSET_INDEX_LENGTH: i16 = 5;
    pub(in super::super) const COLUMN_INDEX: i16 = 6;
    pub(in super::super) const COLUMN_INDEX_LENGTH: i16 = 7;
    pub(in super::super) const CRYPTO: i16 = 8;
    pub(in super::super) const ENCRYPTED: i16 = 9;
}

/// Fields of `ColumnMetaData`.
pub(super) mod chunk {
    pub(in super::super) const ENCODINGS: i16 = 2;
    pub(in super::super) const CODEC: i16 = 4;
    pub(in super::super) const NUM_VALUES: i16 = 5;
    pub(in super::super) const UNCOMPRESSED_SIZE: i16 = 6;
    pub(in super::super) const COMPRESSED_SIZE: i16 = 7;
    pub(in super::super) const DATA_PAGE: i16 = 9;
    pub(in super::super) const INDEX_PAGE: i16 = 10;
    pub(in super::super) const DICTIONARY_PAGE: i16 = 11;
    pub(in super::super) const STATISTICS: i16 = 12;
    pub(in super::super) const ENCODING_STATS: i16 = 13;
    pub(in super::super) const BLOOM: i16 = 14;
    pub(in super::super) const BLOOM_LENGTH: i16 = 15;
    pub(in super::super) const SIZE_STATISTICS: i16 = 16;
    pub(in super::super) const GEOSPATIAL: i16 = 17;
}

/// What a file says of itself, checked.
pub(super) struct Footer {
    /// The structure `FileMetaData` as it is written.
    pub(super) bytes: Bytes,
    /// The columns of primitive values, in the schema's order.
    pub(super) leaves: Vec<Leaf>,
    /// The row groups in file order.
    pub(super) groups: Vec<RowGroup>,
    /// How many bytes stand before the footer.
    pub(super) start: u64,
}

/// A row group: a run of rows, column by column.
pub(super) struct RowGroup {
    /// The rows of the file that it holds.
    pub(super) rows: Range<u64>,
    /// One chunk a leaf, in the leaves' order.
    pub(super) chunks: Vec<Chunk>,
    /// The structure `RowGroup` as it is written.
    pub(super) raw: Bytes,
}

impl RowGroup {
    /// How many rows it holds.
    pub(super) fn row_count(&self) -> u64 {
        self.rows.end - self.rows.start
    }
}

/// The values of one leaf in one row group.
#[derive(Clone)]
pub(super) struct Chunk {
    /// Its pages, dictionary included.
    pub(super) pages: Range<u64>,
    /// How its pages are compressed.
    pub(super) codec: Compression,
    /// How many entries its pages hold, nulls and empty lists included.
    pub(super) entries: i64,
    /// Whether the file tells where its pages begin.
    pub(super) has_index: bool,
    /// The structure `ColumnChunk` as it is written.
    pub(super) raw: Bytes,
}

impl Footer {
    /// Reads and checks the footer of a file.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it is none, is encrypted, or contradicts itself.
    pub(super) fn read(source: &dyn Source) -> Result<Self, FormatError> {
        let (start, bytes) = footer_bytes(source)?;
        Self::parse(start, bytes)
    }

    /// Checks a footer that begins at this byte of its file.
    ///
    /// # Errors
    ///
    /// As `read`.
    pub(super) fn parse(start: u64, bytes: Bytes) -> Result<Self, FormatError> {
        let file = Struct::parse(&bytes)?;
        if file.has(file::ENCRYPTION) || file.has(file::SIGNING_KEY) {
            return Err(encrypted());
        }
        check_schema(&file)?;
        let schema = ParquetMetaDataReader::decode_schema(&bytes)
            .map_err(|_| FormatError::unreadable("the schema of the Parquet file is malformed"))?;
        let leaves = leaves(&schema);
        let mut groups = Vec::new();
        let mut row = 0_u64;
        for element in file.list(file::ROW_GROUPS)?.unwrap_or_default() {
            let raw = bytes.slice_ref(element);
            let group = RowGroup::parse(raw, row, (leaves.len(), start))?;
            row = group.rows.end;
            groups.push(group);
        }
        let footer = Self { leaves, groups, start, bytes };
        disjoint(footer.chunks().map(|chunk| chunk.pages.clone()).collect())?;
        Ok(footer)
    }

    /// How many rows the row groups hold. Some writers leave the file's own count at 0, so that it
    /// is not believed.
    pub(super) fn row_count(&self) -> RowCount {
        RowCount(self.groups.last().map_or(0, |group| group.rows.end))
    }

    /// The row group that holds a row.
    pub(super) fn group_of(&self, row: u64) -> Option<usize> {
        let at = self.groups.partition_point(|group| group.rows.end <= row);
        (at < self.groups.len()).then_some(at)
    }

    /// The column of a row group, to find its pages.
    pub(super) fn column_chunk<'a>(
        &'a self,
        source: &'a dyn Source,
        group: &'a RowGroup,
        leaf: usize,
    ) -> ColumnChunk<'a> {
        let (leaf, chunk, rows) = (&self.leaves[leaf], &group.chunks[leaf], group.row_count());
        ColumnChunk { source, leaf, chunk, rows }
    }

    /// The fields of the footer.
    pub(super) fn file(&self) -> Result<Struct<'_>, Malformed> {
        Struct::parse(&self.bytes)
    }

    fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.groups.iter().flat_map(|group| &group.chunks)
    }
}

/// Where the footer begins, and its bytes.
fn footer_bytes(source: &dyn Source) -> Result<(u64, Bytes), FormatError> {
    let size = source.size_bytes();
    if size < TAIL_BYTES + MAGIC.len() as u64 {
        return Err(FormatError::unreadable("the object is too short for a Parquet file"));
    }
    let tail = source.read_at(size - TAIL_BYTES, TAIL_BYTES as usize)?;
    let (length, magic) = tail.split_at(4);
    if magic == ENCRYPTED {
        return Err(encrypted());
    }
    if magic != MAGIC {
        return Err(FormatError::unreadable("the object does not end as a Parquet file does"));
    }
    let length = length.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
    let room = size - TAIL_BYTES - MAGIC.len() as u64;
    if length > room || length > LONGEST_FOOTER_BYTES {
        return Err(FormatError::unreadable("the length of the Parquet footer is wrong"));
    }
    let start = size - TAIL_BYTES - length;
    Ok((start, source.read_at(start, length as usize)?))
}

fn encrypted() -> FormatError {
    FormatError::unreadable("the Parquet file is encrypted (modular encryption)")
}

impl From<Malformed> for FormatError {
    fn from(_: Malformed) -> Self {
        Self::unreadable("the metadata of the Parquet file is malformed")
    }
}

impl RowGroup {
    /// The group that begins with `row`, of a file with (leaves, bytes before the footer).
    fn parse(raw: Bytes, row: u64, file: (usize, u64)) -> Result<Self, FormatError> {
        let group = Struct::parse(&raw)?;
        let count = u64::try_from(group.required(group::NUM_ROWS)?).map_err(|_| Malformed)?;
        let end = row.checked_add(count).filter(|&end| end <= i64::MAX as u64).ok_or(Malformed)?;
        let columns = group.list(group::COLUMNS)?.ok_or(Malformed)?;
        if columns.len() != file.0 {
            return Err(FormatError::unreadable("a row group has other columns than the schema"));
        }
        let chunk = |column| Chunk::parse(raw.slice_ref(column), file.1);
        let chunks = columns.into_iter().map(chunk).collect::<Result<_, _>>()?;
        Ok(Self { rows: row..end, chunks, raw: raw.clone() })
    }
}

impl Chunk {
    fn parse(raw: Bytes, file_end: u64) -> Result<Self, FormatError> {
        let column = Struct::parse(&raw)?;
        if column.has(column::CRYPTO) || column.has(column::ENCRYPTED) {
            return Err(encrypted());
        }
        if column.has(column::FILE_PATH) {
            return Err(FormatError::unreadable("the Parquet file keeps columns in other files"));
        }
        let metadata = column.structure(column::METADATA)?.ok_or(Malformed)?;
        let data = metadata.required(chunk::DATA_PAGE)?;
        // Writers put 0 for a page that is not there, or the dictionary's offset in both places.
        let dictionary = metadata.integer(chunk::DICTIONARY_PAGE)?;
        let pages = [Some(data), dictionary].into_iter().flatten().filter(|&offset| offset > 0);
        let start = pages.min().unwrap_or(0);
        let length = metadata.required(chunk::COMPRESSED_SIZE)?;
        let entries = metadata.required(chunk::NUM_VALUES)?;
        if entries < 0 {
            return Err(Malformed.into());
        }
        let codec = codec(metadata.required(chunk::CODEC)?)?;
        let has_index = column.has(column::OFFSET_INDEX);
        let pages = part(start, length, file_end)?;
        Ok(Self { pages, codec, entries, has_index, raw: raw.clone() })
    }
}

/// A part of the file, which lies between the first magic bytes and the footer.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where it lies elsewhere.
pub(super) fn part(start: i64, length: i64, file_end: u64) -> Result<Range<u64>, FormatError> {
    let range = u64::try_from(start).ok().zip(u64::try_from(length).ok());
    range
        .and_then(|(start, length)| Some(start..start.checked_add(length)?))
        .filter(|range| range.end <= file_end)
        .filter(|range| range.is_empty() || range.start >= MAGIC.len() as u64)
        .ok_or_else(|| FormatError::unreadable("the Parquet footer points outside the file"))
}

/// Refuses parts of which one lies in another: who erases one would leave or destroy the other.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where two overlap.
pub(super) fn disjoint(mut parts: Vec<Range<u64>>) -> Result<(), FormatError> {
    parts.retain(|part| !part.is_empty());
    parts.sort_unstable_by_key(|part| part.start);
    if parts.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err(FormatError::unreadable("parts of the Parquet file overlap"));
    }
    Ok(())
}

fn codec(number: i64) -> Result<Compression, FormatError> {
    Ok(match number {
        0 => Compression::UNCOMPRESSED,
        1 => Compression::SNAPPY,
        2 => Compression::GZIP(Default::default()),
        3 => Compression::LZO,
        4 => Compression::BROTLI(Default::default()),
        5 => Compression::LZ4,
        6 => Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()),
        7 => Compression::LZ4_RAW,
        _ => return Err(FormatError::unreadable("a column has an unknown compression codec")),
    })
}

/// Refuses a schema that announces more than it holds, or is nested deeper than recursion can bear:
/// the crate reads it recursively.
fn check_schema(file: &Struct<'_>) -> Result<(), FormatError> {
    const DEEPEST: usize = 200;
    let mut open: Vec<i64> = Vec::new();
    let elements = file.list(file::SCHEMA)?.ok_or(Malformed)?;
    let count = i64::try_from(elements.len()).map_err(|_| Malformed)?;
    for element in elements {
        let children = Struct::parse(element)?.integer(SCHEMA_CHILDREN)?.unwrap_or(0);
        // The crate makes room for as many as are announced.
        if children < 0 || children > count {
            return Err(Malformed.into());
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(children);
        while open.last().is_some_and(|&left| left <= 0) {
            open.pop();
        }
        if open.len() > DEEPEST {
            return Err(FormatError::unreadable("the Parquet schema is nested too deeply"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G21: what a footer points to lies within the file.
    #[test]
    fn parts_lie_within_the_file() {
        assert_eq!(part(4, 6, 10).expect("within"), 4..10);
        assert_eq!(part(0, 0, 10).expect("nothing"), 0..0);
        for (start, length) in [(4, 7), (-1, 2), (4, -1), (i64::MAX, i64::MAX), (0, 5), (11, 0)] {
            assert!(part(start, length, 10).is_err(), "{start} {length}");
        }
    }

    /// G21: of two parts that overlap, neither can be erased without the other.
    #[test]
    fn parts_do_not_overlap() {
        assert!(disjoint(vec![8..9, 4..8, 5..5, 20..30]).is_ok());
        assert!(disjoint(vec![4..8, 7..9]).is_err());
        assert!(disjoint(vec![4..8, 4..8]).is_err());
    }

    /// A schema of a million levels is refused before anything descends into it.
    #[test]
    fn a_schema_without_bottom_is_refused() {
        use super::super::thrift::{I32, LIST, STRUCT, list};
        let schema = |children, depth| {
            let mut element = Struct::default();
            element.set_integer(SCHEMA_CHILDREN, I32, children);
            let mut file = Struct::default();
            file.set(file::SCHEMA, LIST, list(STRUCT, &vec![element.to_bytes(); depth]));
            check_schema(&file)
        };
        assert!(schema(1, 100).is_ok());
        assert!(schema(1, 1_000_000).is_err());
        assert!(schema(i64::from(i32::MAX), 1).is_err());
    }
}
