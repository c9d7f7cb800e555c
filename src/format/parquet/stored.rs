//! The pages of a column chunk as they are stored, read in one go from first to last. It knows
//! headers and checksums, and nothing of what a page holds.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::footer::Chunk;
use super::page::{Content, HEADER_BYTES, PageKind, ParsedHeader};
use crate::format::{FormatError, Source};

/// How much is read at once, in bytes.
const BLOCK_BYTES: u64 = 1 << 20;
/// A page of at most so many bytes is read at once where its place is known.
const LONG_BYTES: u64 = 8 << 20;

/// A page that was not yet decompressed.
pub(super) struct StoredPage {
    /// Where its header begins, in bytes from the start of the object.
    pub(super) start: u64,
    pub(super) kind: PageKind,
    pub(super) content: Content,
    /// Its length when decompressed, levels included.
    pub(super) plain_bytes: usize,
    checksum: Option<u32>,
    pub(super) header: Bytes,
    pub(super) body: Bytes,
}

impl StoredPage {
    /// Compares the page with the checksum of its header, if it has one.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where they differ.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let Some(expected) = self.checksum else { return Ok(()) };
        let mut found = flate2::Crc::new();
        found.update(&self.body);
        if found.sum() == expected {
            Ok(())
        } else {
            Err(FormatError::unreadable("a page cannot be decoded: its checksum is wrong"))
        }
    }
}

/// Reads the pages of a chunk.
pub(super) struct StoredPages<'a> {
    source: &'a dyn Source,
    /// Where the next read begins and where the chunk ends.
    next: u64,
    end: u64,
    /// What was read and not yet used.
    held: Bytes,
}

impl<'a> StoredPages<'a> {
    /// The pages of a chunk, which lies within the source.
    pub(super) fn new(source: &'a dyn Source, chunk: &Chunk) -> Self {
        Self::within(source, chunk.pages.clone())
    }

    /// The pages of a stretch of the source, which lies within it.
    pub(super) fn within(source: &'a dyn Source, bytes: Range<u64>) -> Self {
        Self { source, next: bytes.start, end: bytes.end, held: Bytes::new() }
    }

    /// The one page that fills a stretch of the source, which lies within it.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the source fails, or something else fills the stretch.
    pub(super) fn one(
        source: &'a dyn Source,
        bytes: Range<u64>,
    ) -> Result<StoredPage, FormatError> {
        let length = bytes.end - bytes.start;
        let mut pages = Self::within(source, bytes.clone());
        // A long one is read as its header has it: whoever says that it is so long may be wrong.
        if length <= LONG_BYTES {
            pages.held = source.read_alone(bytes.start, length as usize)?;
            pages.next = bytes.end;
        }
        match pages.next()? {
            Some(page) if page.start == bytes.start && pages.left() == 0 => Ok(page),
            _ => Err(FormatError::unreadable("a page of a column is not where it should be")),
        }
    }

    /// Where the next page begins, in bytes from the start of the object.
    fn position(&self) -> u64 {
        self.next - self.held.len() as u64
    }

    /// The next page; `None` at the end of the chunk. Index pages, which hold no entries, are passed
    /// over.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the source fails, a header makes no sense or a page ends beyond the
    /// chunk.
    pub(super) fn next(&mut self) -> Result<Option<StoredPage>, FormatError> {
        while self.left() > 0 {
            let start = self.position();
            let header = self.header()?;
            let whole = header.header_bytes.checked_add(header.stored_bytes);
            let Some(whole) = whole.filter(|&whole| whole <= self.left()) else {
                return Err(FormatError::unreadable("a page ends beyond its column chunk"));
            };
            self.hold(whole)?;
            let mut header_bytes = self.held.split_to(whole as usize);
            let body = header_bytes.split_off(header.header_bytes as usize);
            let Some(kind) = header.kind else { continue };
            return Ok(Some(StoredPage {
                start,
                kind,
                content: header.content,
                plain_bytes: header.plain_bytes as usize,
                checksum: header.checksum,
                header: header_bytes,
                body,
            }));
        }
        Ok(None)
    }

    /// How many bytes of the chunk are not yet used.
    fn left(&self) -> u64 {
        self.end - self.position()
    }

    fn header(&mut self) -> Result<ParsedHeader, FormatError> {
        for length in HEADER_BYTES {
            self.hold(length.min(self.left()))?;
            if let Some(header) = ParsedHeader::parse(&self.held)? {
                return Ok(header);
            }
        }
        Err(FormatError::unreadable("a page header is malformed"))
    }

    /// Makes sure that so many bytes of the chunk are held, which it has.
    fn hold(&mut self, length: u64) -> Result<(), FormatError> {
        let missing = length.saturating_sub(self.held.len() as u64);
        if missing == 0 {
            return Ok(());
        }
        let more = missing.max(BLOCK_BYTES).min(self.end - self.next);
        let more = usize::try_from(more)
            .map_err(|_| FormatError::unreadable("a page is longer than memory"))?;
        let read = self.source.read_at(self.next, more)?;
        self.next += more as u64;
        if self.held.is_empty() {
            self.held = read;
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(self.held.len() + read.len());
        joined.extend_from_slice(&self.held);
        joined.extend_from_slice(&read);
        self.held = joined.freeze();
        Ok(())
    }
}
