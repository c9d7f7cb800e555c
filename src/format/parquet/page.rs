//! Page headers: sizes, encodings, checksums. It knows no values.
//!
//! Field numbers are those of `parquet.thrift` in apache/parquet-format.

use bytes::Bytes;

use super::footer::Chunk;
use super::thrift::{Cursor, Malformed, Struct};
use super::window::Window;
use crate::format::{FormatError, Source};

/// A page that claims to be larger when decompressed is taken for a bomb.
const LARGEST_PAGE_BYTES: i64 = 1 << 30;
/// How much is looked at for a header, at first, then, and at most.
pub(super) const HEADER_BYTES: [u64; 3] = [256, 4 << 10, 16 << 20];

/// Fields of `PageHeader`.
pub(super) mod header {
    pub(in super::super) const TYPE: i16 = 1;
    pub(in super::super) const UNCOMPRESSED_SIZE: i16 = 2;
    pub(in super::super) const COMPRESSED_SIZE: i16 = 3;
    pub(in super::super) const CHECKSUM: i16 = 4;
    pub(in super::super) const DATA: i16 = 5;
    pub(in super::super) const DICTIONARY: i16 = 7;
    pub(in super::super) const DATA_V2: i16 = 8;
}

/// What is worth knowing of a page's header.
#[derive(Clone, Debug)]
pub(super) struct PageHeader {
    pub(super) kind: PageKind,
    /// Where the header begins, from the start of the chunk.
    pub(super) start: u64,
    /// How long the header is, in bytes.
    pub(super) header_bytes: u64,
    /// How long the page is as stored, without its header.
    pub(super) stored_bytes: u64,
    /// How long it is when decompressed, levels included.
    pub(super) plain_bytes: u64,
    pub(super) has_checksum: bool,
    pub(super) content: Content,
    /// The header itself.
    pub(super) raw: Bytes,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKind {
    Dictionary,
    Data {
        /// Whether it is a page of version 2.
        second: bool,
        /// How many entries.
        entries: u64,
        /// The encoding's number in `parquet.thrift`.
        encoding: i64,
        has_statistics: bool,
    },
}

/// Whether the values of a page in this encoding are entries of a dictionary: `PLAIN_DICTIONARY` or
/// `RLE_DICTIONARY`.
pub(super) fn is_coded(encoding: i64) -> bool {
    matches!(encoding, 2 | 8)
}

/// A page header read by itself.
pub(super) struct ParsedHeader {
    /// `None` for an index page, which holds no entries.
    pub(super) kind: Option<PageKind>,
    /// How long the header is, in bytes.
    pub(super) header_bytes: u64,
    /// How long the page is as stored, without its header: at most 1 GiB.
    pub(super) stored_bytes: u64,
    /// How long it is when decompressed, levels included: at most 1 GiB.
    pub(super) plain_bytes: u64,
    /// CRC-32 of the page as stored.
    pub(super) checksum: Option<u32>,
    pub(super) content: Content,
}

/// How the inside of a page is laid out, as far as its header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// How many entries a dictionary holds.
    pub(super) dictionary_entries: u64,
    /// Numbers of the encodings of repetition and definition levels in a page of version 1.
    pub(super) level_encodings: [i64; 2],
    /// Lengths of repetition and definition levels in a page of version 2, in bytes.
    pub(super) level_bytes: [u64; 2],
    /// How many entries of a page of version 2 are null.
    pub(super) nulls: u64,
    /// How many rows a page of version 2 holds.
    pub(super) rows: u64,
    /// Whether what follows the levels of a page of version 2 is stored without compression.
    pub(super) is_plain: bool,
}

impl ParsedHeader {
    /// The header that these bytes begin with; `None` where they hold no whole one.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it is whole but makes no sense.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, FormatError> {
        let mut cursor = Cursor::new(bytes);
        match Struct::read(&mut cursor) {
            Ok(header) => Self::of(&header, (bytes.len() - cursor.left()) as u64).map(Some),
            Err(Malformed) => Ok(None),
        }
    }

    fn of(header: &Struct<'_>, header_bytes: u64) -> Result<Self, FormatError> {
        let size = |id| match header.required(id) {
            Ok(size @ 0..=LARGEST_PAGE_BYTES) => Ok(size.cast_unsigned()),
            Ok(_) => Err(FormatError::unreadable("a page is negative or beyond 1 GiB in size")),
            Err(malformed) => Err(malformed.into()),
        };
        let mut content = Content::default();
        let kind = match header.required(header::TYPE)? {
            0 => Some(data_page(header, (header::DATA, false), &mut content)?),
            1 => None,
            2 => {
                content.dictionary_entries = dictionary_entries(header)?;
                Some(PageKind::Dictionary)
            }
            3 => Some(data_page(header, (header::DATA_V2, true), &mut content)?),
            _ => return Err(FormatError::unreadable("a page is of an unknown kind")),
        };
        let checksum = header.integer(header::CHECKSUM)?.map(|sum| sum as u32);
        let (stored_bytes, plain_bytes) =
            (size(header::COMPRESSED_SIZE)?, size(header::UNCOMPRESSED_SIZE)?);
        Ok(Self { kind, header_bytes, stored_bytes, plain_bytes, checksum, content })
    }
}

/// Walks over the page headers of a chunk.
pub(super) struct PageHeaders<'a> {
    window: Window<'a>,
    at: u64,
}

impl<'a> PageHeaders<'a> {
    /// The headers of a window that holds one chunk.
    pub(super) fn new(window: Window<'a>) -> Self {
        Self { window, at: 0 }
    }

    /// The next page; `None` at the end of the chunk. Index pages, which hold no entries, are
    /// passed over, as the crate does.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the header cannot be read or contradicts the chunk's size.
    pub(super) fn next(&mut self) -> Result<Option<PageHeader>, FormatError> {
        loop {
            let left = self.window_bytes().saturating_sub(self.at);
            if left == 0 {
                return Ok(None);
            }
            let (page, bytes) = self.header()?;
            let (length, stored) = (page.header_bytes, page.stored_bytes);
            if length.checked_add(stored).is_none_or(|whole| whole > left) {
                return Err(FormatError::unreadable("a page ends beyond its column chunk"));
            }
            self.at += length + stored;
            if let Some(kind) = page.kind {
                return Ok(Some(PageHeader {
                    kind,
                    start: self.at - length - stored,
                    header_bytes: length,
                    stored_bytes: stored,
                    plain_bytes: page.plain_bytes,
                    has_checksum: page.checksum.is_some(),
                    content: page.content,
                    // A copy, so that it does not hold on to what was read around it.
                    raw: Bytes::copy_from_slice(bytes.get(..length as usize).unwrap_or_default()),
                }));
            }
        }
    }

    fn window_bytes(&self) -> u64 {
        parquet::file::reader::Length::len(&self.window)
    }

    /// The header at the current place.
    fn header(&self) -> Result<(ParsedHeader, Bytes), FormatError> {
        for length in HEADER_BYTES {
            let peeked = self.window.peek(self.at, length);
            let bytes = peeked
                .map_err(|_| self.window.failed(|| "a page header is malformed".to_owned()))?;
            if let Some(header) = ParsedHeader::parse(&bytes)? {
                return Ok((header, bytes));
            }
        }
        Err(FormatError::unreadable("a page header is malformed"))
    }
}

/// Checks that the pages of a chunk fill it exactly and hold as many entries as it says. Only
/// headers are looked at.
///
/// Some writers left page headers out of a chunk's size (parquet-mr before 1.2.9, IMPALA-694): a
/// copy of so many bytes would lose the last of them.
///
/// # Errors
///
/// [`FormatError`] where they do not, or cannot be read.
pub(super) fn check_size(source: &dyn Source, chunk: &Chunk) -> Result<(), FormatError> {
    let length = chunk.pages.end - chunk.pages.start;
    let mut headers = PageHeaders::new(Window::new(source, chunk.pages.start, length));
    let mut entries = 0_u64;
    while let Some(page) = headers.next()? {
        if let PageKind::Data { entries: more, .. } = page.kind {
            entries = entries.saturating_add(more);
        }
    }
    if entries == chunk.entries.cast_unsigned() {
        Ok(())
    } else {
        Err(FormatError::unreadable("a column chunk records another size than its pages have"))
    }
}

fn dictionary_entries(header: &Struct<'_>) -> Result<u64, Malformed> {
    let dictionary = header.structure(header::DICTIONARY)?.ok_or(Malformed)?;
    u64::try_from(dictionary.required(1)?).map_err(|_| Malformed)
}

/// The page's kind; what is laid out how goes to `content`.
fn data_page(
    header: &Struct<'_>,
    (id, second): (i16, bool),
    content: &mut Content,
) -> Result<PageKind, Malformed> {
    let data = header.structure(id)?.ok_or(Malformed)?;
    let (encoding, statistics) = if second { (4, 8) } else { (2, 5) };
    if second {
        let length = |id| u64::try_from(data.required(id)?).map_err(|_| Malformed);
        content.level_bytes = [length(6)?, length(5)?];
        content.nulls = length(2)?;
        content.rows = length(3)?;
        content.is_plain = data.truth(7)? == Some(false);
    } else {
        content.level_encodings = [data.required(4)?, data.required(3)?];
    }
    Ok(PageKind::Data {
        second,
        entries: u64::try_from(data.required(1)?).map_err(|_| Malformed)?,
        encoding: data.required(encoding)?,
        has_statistics: data.has(statistics),
    })
}
