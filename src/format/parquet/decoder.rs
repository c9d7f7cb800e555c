//! Entries of pages that are at hand: levels and typed values, as the crate's readers decode them. It
//! knows no source.
//!
//! Pages are handed to the crate through a queue, so that whoever reads them may check them before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::leaf::Leaf;
use super::value::Values;
use crate::format::FormatError;

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
        Self::of(&leaf.descriptor)
    }

    /// No entries of a column of this kind.
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        let values = Values::new(column.physical_type());
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

/// Decodes pages that are at hand, by the crate's typed readers.
pub(super) struct Decoder {
    column: ColumnDescPtr,
    queue: Queue,
    reader: ColumnReader,
    started: bool,
}

impl Decoder {
    /// A decoder without a page, which begins at the first entry of a chunk or later in it.
    pub(super) fn new(column: &ColumnDescPtr, is_first: bool) -> Self {
        let (column, queue) = (Arc::clone(column), Queue::default());
        let reader = get_column_reader(Arc::clone(&column), Box::new(queue.clone()));
        Self { column, queue, reader, started: !is_first }
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
        let column = &self.column;
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
///
/// # Errors
///
/// [`FormatError::Unreadable`] where it does.
pub(super) fn believable(page: Page) -> Result<Page, FormatError> {
    match &page {
        Page::DictionaryPage { buf, num_values, .. }
            if *num_values as usize > buf.len().saturating_add(1) =>
        {
            Err(FormatError::unreadable("a dictionary announces more entries than it holds"))
        }
        _ => Ok(page),
    }
}

/// What an error of the crate means. The reason names no content: the crate's own message might.
pub(super) fn reason(error: &ParquetError) -> String {
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
