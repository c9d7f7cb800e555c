//! The entries of one column chunk, page by page: levels and typed values. It holds a page at a
//! time.

use std::ops::Range;
use std::sync::Arc;

use parquet::column::page::{Page, PageReader as _};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::Length as _;
use parquet::file::serialized_reader::SerializedPageReader;

use super::decoder::{Batch, Decoder, reason};
use super::footer::Chunk;
use super::leaf::Leaf;
use super::page::PageHeaders;
use super::pages::{ColumnChunk, PageMap};
use super::runs::Runs;
use super::value::Values;
use super::window::Window;
use crate::format::{FormatError, Source};

/// The pages of a column chunk, or some of them, decompressed one by one.
pub(super) struct Pages<'a> {
    window: Window<'a>,
    headers: PageHeaders<'a>,
    pages: SerializedPageReader<Window<'a>>,
}

impl<'a> Pages<'a> {
    /// All of a chunk, which lies within the source.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its codec cannot be decoded.
    pub(super) fn all(
        source: &'a dyn Source,
        leaf: &Leaf,
        chunk: &Chunk,
    ) -> Result<Self, FormatError> {
        let length = chunk.pages.end - chunk.pages.start;
        Self::within(Window::new(source, chunk.pages.start, length), leaf, chunk)
    }

    /// Those that hold a wanted row, and before them the dictionary, where they need it.
    ///
    /// # Errors
    ///
    /// As [`Pages::all`].
    pub(super) fn of(
        column: ColumnChunk<'a>,
        map: &PageMap,
        wanted: &Runs,
    ) -> Result<Self, FormatError> {
        let mut parts: Vec<Range<u64>> = Vec::new();
        parts.extend(map.needs_dictionary(wanted).then(|| map.dictionary.clone()));
        for page in map.touched(wanted) {
            match parts.last_mut() {
                Some(last) if last.end == page.bytes.start => last.end = page.bytes.end,
                _ => parts.push(page.bytes.clone()),
            }
        }
        let window = Window::of_parts(column.source, &parts).paged();
        Self::within(window, column.leaf, column.chunk)
    }

    fn within(window: Window<'a>, leaf: &Leaf, chunk: &Chunk) -> Result<Self, FormatError> {
        let length = window.len();
        let metadata = ColumnChunkMetaData::builder(Arc::clone(&leaf.descriptor))
            .set_compression(chunk.codec)
            .set_num_values(chunk.entries)
            .set_data_page_offset(0)
            .set_total_compressed_size(length.cast_signed())
            .build();
        let reader = Arc::new(window.clone());
        let pages = metadata.and_then(|chunk| SerializedPageReader::new(reader, &chunk, 0, None));
        let pages = pages.map_err(|error| window.failed(|| reason(&error)))?;
        let headers = PageHeaders::new(window.clone());
        Ok(Self { window, headers, pages })
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it cannot be read or decompressed.
    pub(super) fn next(&mut self) -> Result<Option<Page>, FormatError> {
        // Each header is checked before the crate acts on it.
        if self.headers.next()?.is_none() {
            return Ok(None);
        }
        let page = self.pages.get_next_page();
        page.map_err(|error| self.window.failed(|| reason(&error)))
    }
}

/// Decodes a column chunk.
pub(super) struct ChunkStream<'a> {
    pages: Pages<'a>,
    decoder: Decoder,
}

impl<'a> ChunkStream<'a> {
    /// The entries of a chunk, whose pages lie within the source.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its codec cannot be decoded.
    pub(super) fn new(
        source: &'a dyn Source,
        leaf: &Leaf,
        chunk: &Chunk,
    ) -> Result<Self, FormatError> {
        Ok(Self::of(Pages::all(source, leaf, chunk)?, leaf))
    }

    fn of(pages: Pages<'a>, leaf: &Leaf) -> Self {
        Self { pages, decoder: Decoder::new(&leaf.descriptor, true) }
    }

    /// Puts the next entries into the batch, whole rows where a page holds them whole; `false` at
    /// the end of the chunk.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the pages cannot be read or decoded.
    pub(super) fn next(&mut self, batch: &mut Batch) -> Result<bool, FormatError> {
        loop {
            if self.decoder.next(batch)? {
                return Ok(true);
            }
            match self.pages.next()? {
                Some(page) => self.decoder.push(page)?,
                None => return Ok(false),
            }
        }
    }
}

/// The entries of a column chunk one by one, with their rows.
pub(super) struct Entries<'a> {
    stream: ChunkStream<'a>,
    leaf: &'a Leaf,
    batch: Batch,
    /// The next entry of the batch, and the next value.
    at: usize,
    value: usize,
    rows: RowCounter,
}

/// Which rows the entries belong to.
pub(super) struct RowCounter {
    /// The rows that are read, last first; `None` where all of the chunk's are.
    left: Option<Vec<Range<u64>>>,
    /// The row that the next entry begins, if it begins one, and the row before.
    next: u64,
    last: u64,
    /// How many were begun, and how many there should be.
    begun: u64,
    expected: Option<u64>,
}

impl RowCounter {
    /// All rows of a chunk, from its first.
    pub(super) fn all() -> Self {
        Self { left: None, next: 0, last: 0, begun: 0, expected: None }
    }

    /// These rows.
    pub(super) fn of(rows: &Runs) -> Self {
        let mut left: Vec<_> = rows.iter().cloned().collect();
        left.reverse();
        let next = left.last().map_or(0, |run| run.start);
        Self { left: Some(left), next, last: next, begun: 0, expected: Some(rows.count()) }
    }

    /// Counts as many neighbouring rows as there are, at most so many and at least one.
    pub(super) fn begin_some(&mut self, most: u64) -> Range<u64> {
        let start = self.begin();
        let end = match &self.left {
            Some(left) => left.last().map_or(0, |run| run.end),
            None => u64::MAX,
        };
        // Whether the row that comes next is the neighbour.
        let goes_on = start.checked_add(1) == Some(self.next);
        let more = if goes_on { (most - 1).min(end.saturating_sub(self.next)) } else { 0 };
        if more > 0 {
            self.begun += more - 1;
            self.next += more - 1;
            self.begin();
        }
        start..start.saturating_add(1 + more)
    }

    /// Whether as many rows were begun as there should be: those of the chunk, unless only some were to be.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there were more or fewer.
    pub(super) fn check(&self, rows: u64) -> Result<(), FormatError> {
        check_rows(self.begun, self.expected.unwrap_or(rows))
    }

    /// Counts a row; its number.
    pub(super) fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.last = self.next;
        self.next = self.next.saturating_add(1);
        let Some(left) = &mut self.left else { return self.last };
        while left.last().is_some_and(|run| run.end <= self.next) {
            left.pop();
            // Beyond the last there are none: the count at the end tells.
            self.next = left.last().map_or(u64::MAX, |run| run.start);
        }
        self.last
    }
}

/// One entry of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which row of the chunk it belongs to, from 0.
    pub(super) row: u64,
    pub(super) definition: i16,
    pub(super) repetition: i16,
    /// Where its value stands in [`Entries::values`], if it has one.
    pub(super) value: Option<usize>,
}

impl<'a> Entries<'a> {
    /// As [`ChunkStream::new`].
    ///
    /// # Errors
    ///
    /// As [`ChunkStream::new`].
    pub(super) fn new(
        source: &'a dyn Source,
        leaf: &'a Leaf,
        chunk: &Chunk,
    ) -> Result<Self, FormatError> {
        Ok(Self::of(ChunkStream::new(source, leaf, chunk)?, leaf, RowCounter::all()))
    }

    /// The entries of the pages that hold a wanted row, or of all where the pages do not tell.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the pages cannot be found or decoded.
    pub(super) fn within(column: ColumnChunk<'a>, wanted: &Runs) -> Result<Self, FormatError> {
        match PageMap::of(column, wanted)? {
            Ok(map) => Self::of_pages(column, &map, wanted),
            Err(_) => Self::new(column.source, column.leaf, column.chunk),
        }
    }

    /// The entries of the pages that hold a wanted row.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its codec cannot be decoded.
    pub(super) fn of_pages(
        column: ColumnChunk<'a>,
        map: &PageMap,
        wanted: &Runs,
    ) -> Result<Self, FormatError> {
        let rows = RowCounter::of(&map.rows_around(wanted));
        let pages = Pages::of(column, map, wanted)?;
        Ok(Self::of(ChunkStream::of(pages, column.leaf), column.leaf, rows))
    }

    fn of(stream: ChunkStream<'a>, leaf: &'a Leaf, rows: RowCounter) -> Self {
        Self { stream, leaf, batch: Batch::new(leaf), at: 0, value: 0, rows }
    }

    /// The entry that `advance` takes next; `None` at the end. Values of earlier entries may be
    /// gone.
    ///
    /// # Errors
    ///
    /// As [`ChunkStream::next`].
    pub(super) fn peek(&mut self) -> Result<Option<Entry>, FormatError> {
        if self.at == self.batch.len() {
            (self.at, self.value) = (0, 0);
            if !self.stream.next(&mut self.batch)? {
                self.batch.clear();
                return Ok(None);
            }
        }
        let definition = self.batch.definitions[self.at];
        let repetition = self.batch.repetitions[self.at];
        // The first entry of a chunk begins a row, so that there is one to belong to.
        let row = if repetition == 0 { self.rows.next } else { self.rows.last };
        let value = (definition == self.leaf.max_definition()).then_some(self.value);
        Ok(Some(Entry { row, definition, repetition, value }))
    }

    /// Steps over the entry that was seen last.
    pub(super) fn advance(&mut self, entry: Entry) {
        self.at += 1;
        self.value += usize::from(entry.value.is_some());
        if entry.repetition == 0 {
            self.rows.begin();
        }
    }

    /// The values that entries point into.
    pub(super) fn values(&self) -> &Values {
        &self.batch.values
    }

    /// Checks at the end that there were as many rows as there should be: those of the chunk, unless
    /// only some of its pages were read.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there were more or fewer.
    pub(super) fn finish(&self, rows: u64) -> Result<(), FormatError> {
        self.rows.check(rows)
    }
}

/// Whether a column has the rows of its row group.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where it has not.
pub(super) fn check_rows(found: u64, expected: u64) -> Result<(), FormatError> {
    if found == expected {
        Ok(())
    } else {
        Err(FormatError::unreadable("a column holds other rows than its row group"))
    }
}
