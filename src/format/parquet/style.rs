//! How a column chunk is written: what its page headers and metadata say, turned into settings for
//! the writer, so that the new chunk is written as the old one was.

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};

use super::footer::{Chunk, chunk, column};
use super::leaf::Leaf;
use super::page::{PageHeaders, PageKind};
use super::rebuild::Order;
use super::thrift::{Malformed, Struct};
use super::window::Window;
use crate::format::FormatError;

/// No dictionary is larger: a page is not.
const NO_LIMIT: usize = 1 << 30;
/// How many entries the writer takes before it looks at a page's size, at most.
const WRITE_BATCH: usize = 1024;

/// How a chunk is written.
#[derive(Debug)]
pub(super) struct Style {
    codec: Compression,
    /// The size of the dictionary in bytes, if there is one.
    dictionary: Option<usize>,
    /// The encoding of pages without dictionary, if there are any.
    plain: Option<Encoding>,
    /// Whether data pages are of version 2.
    second: bool,
    /// The largest data page in bytes and in entries.
    page_bytes: usize,
    page_entries: usize,
    /// Whether pages carry checksums.
    pub(super) checksums: bool,
    page_statistics: bool,
    pub(super) statistics: bool,
    pub(super) column_index: bool,
    pub(super) offset_index: bool,
}

impl Style {
    /// How this chunk is written, whose pages are held.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its page headers are malformed.
    pub(super) fn of(held: &Bytes, old: &Chunk, order: &Order<'_>) -> Result<Self, FormatError> {
        let mut style = Self::of_metadata(old, order.is_ordered)?;
        let mut headers = PageHeaders::new(Window::new(held, 0, old.pages.end));
        let kind = order.leaf.descriptor.physical_type();
        while let Some(page) = headers.next()? {
            style.checksums |= page.has_checksum;
            match page.kind {
                PageKind::Dictionary => style.dictionary = Some(page.plain_bytes as usize),
                PageKind::Data { second, entries, encoding, has_statistics } => {
                    style.second |= second;
                    style.page_statistics |= has_statistics;
                    style.page_bytes = style.page_bytes.max(page.plain_bytes as usize);
                    style.page_entries = style.page_entries.max(entries as usize);
                    if !matches!(encoding, DICTIONARY | RLE_DICTIONARY) {
                        style.plain = style.plain.or(Some(writable(encoding, kind)));
                    }
                }
            }
        }
        style.page_statistics &= style.statistics;
        Ok(style)
    }

    fn of_metadata(old: &Chunk, is_ordered: bool) -> Result<Self, Malformed> {
        let column = Struct::parse(&old.raw)?;
        let metadata = column.structure(column::METADATA)?.ok_or(Malformed)?;
        Ok(Self {
            codec: old.codec,
            dictionary: None,
            plain: None,
            second: false,
            page_bytes: 1,
            page_entries: 1,
            checksums: false,
            page_statistics: false,
            statistics: is_ordered && metadata.has(chunk::STATISTICS),
            column_index: is_ordered && column.has(column::COLUMN_INDEX),
            offset_index: column.has(column::OFFSET_INDEX),
        })
    }

    /// The settings that make the writer write so.
    pub(super) fn properties(&self, leaf: &Leaf) -> WriterProperties {
        let version =
            if self.second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let statistics = match (self.statistics, self.column_index || self.page_statistics) {
            (_, true) => EnabledStatistics::Page,
            (true, false) => EnabledStatistics::Chunk,
            (false, false) => EnabledStatistics::None,
        };
        // Values beyond the old dictionary's size went to plain pages; without such pages all
        // fitted.
        let limit = match (self.dictionary, self.plain) {
            (Some(size), Some(_)) => size.max(1),
            _ => NO_LIMIT,
        };
        let plain = self.plain.unwrap_or(Encoding::PLAIN);
        WriterProperties::builder()
            .set_writer_version(version)
            .set_compression(self.codec)
            .set_dictionary_enabled(self.dictionary.is_some())
            .set_dictionary_page_size_limit(limit)
            .set_encoding(writable(i64::from(plain as i32), leaf.descriptor.physical_type()))
            .set_data_page_size_limit(self.page_bytes)
            .set_data_page_row_count_limit(self.page_entries)
            .set_write_batch_size(self.page_entries.min(WRITE_BATCH))
            .set_statistics_enabled(statistics)
            .set_statistics_truncate_length(None)
            .set_write_page_header_statistics(self.page_statistics)
            .set_offset_index_disabled(!self.offset_index)
            .build()
    }
}

/// Numbers of encodings in `parquet.thrift`.
const DICTIONARY: i64 = 2;
const RLE_DICTIONARY: i64 = 8;

/// The encoding of this number, where the crate writes it for the type; else plain.
fn writable(number: i64, kind: Type) -> Encoding {
    let is_binary = matches!(kind, Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
    match number {
        3 if kind == Type::BOOLEAN => Encoding::RLE,
        5 if matches!(kind, Type::INT32 | Type::INT64) => Encoding::DELTA_BINARY_PACKED,
        6 if kind == Type::BYTE_ARRAY => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 if is_binary => Encoding::DELTA_BYTE_ARRAY,
        9 if !matches!(kind, Type::BOOLEAN | Type::INT96 | Type::BYTE_ARRAY) => {
            Encoding::BYTE_STREAM_SPLIT
        }
        _ => Encoding::PLAIN,
    }
}
