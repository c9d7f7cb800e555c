//! The entries of one column chunk, page by page: levels and typed values. It holds a page at a
//! time.
//!
//! The pages are taken from the crate one by one and handed to its decoder through a queue, so that
//! the source may be borrowed and each page header is checked before the crate acts on it.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::Length as _;
use parquet::file::serialized_reader::SerializedPageReader;

use super::footer::Chunk;
use super::leaf::Leaf;
use super::page::PageHeaders;
use super::pages::{ColumnChunk, PageMap};
use super::runs::Runs;
use super::value::Values;
use super::window::Window;
use crate::format::{FormatError, Source};

/// How many rows are decoded at once, at most.
const BATCH_ROWS: usize = 1024;

/// Some entries of a column: as many levels of either kind, and a value for each present entry.
pub(super) struct Batch {
    pub(super) definitions: Vec<i16>,
    pub(super) repetitions: Vec<i16>,
    pub(super) values: Values,
}

impl Batch {
    /// No entries of this column.
    pub(super) fn new(leaf: &Leaf) -> Self {
        let values = Values::new(leaf.descriptor.physical_type());
        Self { definitions: Vec::new(), repetitions: Vec::new(), values }
    }

    pub(super) fn clear(&mut self) {
        self.definitions.clear();
        self.repetitions.clear();
        self.values.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.definitions.len()
    }

    /// Keeps this many entries and values, and returns the others.
    pub(super) fn split_off(&mut self, leaf: &Leaf, entries: usize, values: usize) -> Self {
        let mut rest = Self::new(leaf);
        rest.definitions = self.definitions.split_off(entries);
        rest.repetitions = self.repetitions.split_off(entries);
        rest.values.extend(&self.values, values..self.values.len());
        self.values.truncate(values);
        rest
    }
}

/// Decodes a column chunk.
pub(super) struct ChunkStream<'a> {
    window: Window<'a>,
    headers: PageHeaders<'a>,
    pages: SerializedPageReader<Window<'a>>,
    decoder: Decoder<'a>,
}

impl<'a> ChunkStream<'a> {
    /// The entries of a chunk, whose pages lie within the source.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its codec cannot be decoded.
    pub(super) fn new(
        source: &'a dyn Source,
        leaf: &'a Leaf,
        chunk: &Chunk,
    ) -> Result<Self, FormatError> {
        Self::of_parts(source, leaf, (chunk, std::slice::from_ref(&chunk.pages)))
    }

    /// The entries of some pages of a chunk, its dictionary first.
    fn of_parts(
        source: &'a dyn Source,
        leaf: &'a Leaf,
        (chunk, parts): (&Chunk, &[Range<u64>]),
    ) -> Result<Self, FormatError> {
        let window = Window::of_parts(source, parts);
        let length = window.len();
        let metadata = ColumnChunkMetaData::builder(Arc::clone(&leaf.descriptor))
            .set_compression(chunk.codec)
            .set_num_values(chunk.entries)
            .set_data_page_offset(0)
            .set_total_compressed_size(length.cast_signed())
            .build();
        let reader = Arc::new(window.clone());
        let pages = metadata.and_then(|chunk| SerializedPageReader::new(reader, &chunk, 0, None));
        let pages = pages.map_err(|error| undecodable(&window, &error))?;
        let headers = PageHeaders::new(window.clone());
        Ok(Self { window, headers, pages, decoder: Decoder::new(leaf, true) })
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
            if self.headers.next()?.is_none() {
                return Ok(false);
            }
            let page = self.pages.get_next_page();
            match page.map_err(|error| undecodable(&self.window, &error))? {
                Some(page) => self.decoder.push(page)?,
                None => return Ok(false),
            }
        }
    }
}

/// Decodes pages that are at hand, by the crate's typed readers.
pub(super) struct Decoder<'a> {
    leaf: &'a Leaf,
    queue: Queue,
    reader: ColumnReader,
    started: bool,
}

impl<'a> Decoder<'a> {
    /// A decoder without a page, which begins at the first entry of a chunk or later in it.
    pub(super) fn new(leaf: &'a Leaf, is_first: bool) -> Self {
        let queue = Queue::default();
        let reader = get_column_reader(Arc::clone(&leaf.descriptor), Box::new(queue.clone()));
        Self { leaf, queue, reader, started: !is_first }
    }

    /// Takes one more page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it is a dictionary that cannot be believed.
    pub(super) fn push(&self, page: Page) -> Result<(), FormatError> {
        self.queue.push(believable(page)?);
        Ok(())
    }

    /// Puts the next entries into the batch; `false` where the pages are at their end.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where they cannot be decoded.
    pub(super) fn next(&mut self, batch: &mut Batch) -> Result<bool, FormatError> {
        batch.clear();
        let levels = decode(&mut self.reader, batch)
            .map_err(|error| FormatError::unreadable(reason(&error)))?;
        if levels > 0 {
            self.complete(batch, levels)?;
        }
        Ok(levels > 0)
    }

    /// Fills in the levels that a column without nulls or lists does not store, and checks the
    /// others.
    fn complete(&mut self, batch: &mut Batch, levels: usize) -> Result<(), FormatError> {
        let column = &self.leaf.descriptor;
        if column.max_def_level() == 0 {
            batch.definitions.resize(levels, 0);
        }
        if column.max_rep_level() == 0 {
            batch.repetitions.resize(levels, 0);
        }
        let within = |levels: &[i16], max: i16| levels.iter().all(|&at| (0..=max).contains(&at));
        let present =
            batch.definitions.iter().filter(|&&level| level == column.max_def_level()).count();
        let sane = batch.definitions.len() == levels
            && batch.repetitions.len() == levels
            && within(&batch.definitions, column.max_def_level())
            && within(&batch.repetitions, column.max_rep_level())
            && batch.values.len() == present
            && (self.started || batch.repetitions.first() == Some(&0));
        self.started = true;
        if sane {
            Ok(())
        } else {
            Err(FormatError::unreadable("a column has levels that its schema does not have"))
        }
    }
}

/// Refuses a dictionary that announces more entries than its bytes can hold: the decoder makes room
/// for them. A value takes a byte at least, but for the one value of a type without length.
fn believable(page: Page) -> Result<Page, FormatError> {
    match &page {
        Page::DictionaryPage { buf, num_values, .. }
            if *num_values as usize > buf.len().saturating_add(1) =>
        {
            Err(FormatError::unreadable("a dictionary announces more entries than it holds"))
        }
        _ => Ok(page),
    }
}

/// The reason names no content: the crate's own message might.
fn undecodable(window: &Window<'_>, error: &ParquetError) -> FormatError {
    window.failed(|| reason(error))
}

fn reason(error: &ParquetError) -> String {
    let kind = match error {
        ParquetError::NYI(_) => "uses an encoding or codec that this version does not read",
        ParquetError::EOF(_) => "ends early",
        _ => "cannot be decoded",
    };
    format!("a column of the Parquet file {kind}")
}

/// Decodes entries of the pages in the queue; how many.
fn decode(decoder: &mut ColumnReader, batch: &mut Batch) -> ParquetResult<usize> {
    let definitions = Some(&mut batch.definitions);
    let repetitions = Some(&mut batch.repetitions);
    macro_rules! read {
        ($(($reader:ident, $values:ident)),*) => {
            match (decoder, &mut batch.values) {
                $((ColumnReader::$reader(reader), Values::$values(values)) => {
                    reader.read_records(BATCH_ROWS, definitions, repetitions, values)
                })*
                _ => Err(ParquetError::General("two types in one column".to_owned())),
            }
        };
    }
    let (_, _, levels) = read!(
        (BoolColumnReader, Bool),
        (Int32ColumnReader, Int32),
        (Int64ColumnReader, Int64),
        (Int96ColumnReader, Int96),
        (FloatColumnReader, Float),
        (DoubleColumnReader, Double),
        (ByteArrayColumnReader, Bytes),
        (FixedLenByteArrayColumnReader, Fixed)
    )?;
    Ok(levels)
}

/// Pages on their way to the decoder, which owns its end of the queue.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<VecDeque<Page>>>);

impl Queue {
    fn push(&self, page: Page) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(page);
    }
}

impl Iterator for Queue {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Queue {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        Err(ParquetError::NYI("pages are not skipped here".to_owned()))
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        Err(ParquetError::NYI("pages are not skipped here".to_owned()))
    }

    /// A row may go on in the next page; rows are counted from the levels, not by the decoder.
    fn at_record_boundary(&mut self) -> ParquetResult<bool> {
        Ok(false)
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
    fn all() -> Self {
        Self { left: None, next: 0, last: 0, begun: 0, expected: None }
    }

    fn of(rows: &Runs) -> Self {
        let mut left: Vec<_> = rows.iter().cloned().collect();
        left.reverse();
        let next = left.last().map_or(0, |run| run.start);
        Self { left: Some(left), next, last: next, begun: 0, expected: Some(rows.count()) }
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
        let Ok(map) = PageMap::of(column, wanted)? else {
            return Self::new(column.source, column.leaf, column.chunk);
        };
        let mut parts = vec![map.dictionary.clone()];
        for page in map.touched(wanted) {
            match parts.last_mut() {
                Some(last) if last.end == page.bytes.start => last.end = page.bytes.end,
                _ => parts.push(page.bytes.clone()),
            }
        }
        let rows = RowCounter::of(&map.rows_around(wanted));
        let stream = ChunkStream::of_parts(column.source, column.leaf, (column.chunk, &parts))?;
        Ok(Self::of(stream, column.leaf, rows))
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

    /// The next entries at once, and what counts their rows: each that begins one has to be counted.
    /// Not to be mixed with [`Entries::peek`].
    ///
    /// # Errors
    ///
    /// As [`ChunkStream::next`].
    pub(super) fn next_batch(&mut self) -> Result<Option<(&Batch, &mut RowCounter)>, FormatError> {
        let has_more = self.stream.next(&mut self.batch)?;
        Ok(has_more.then_some((&self.batch, &mut self.rows)))
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
        check_rows(self.rows.begun, self.rows.expected.unwrap_or(rows))
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
