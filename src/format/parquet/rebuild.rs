//! One column chunk anew, without the values of some rows: the same codec, encodings, page version
//! and page sizes, and every copy of a value (dictionary, statistics, page index, bloom filter)
//! made from the new values alone. It knows no other column.

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnWriter;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};

use super::check::check;
use super::decoder::Batch;
use super::footer::Chunk;
use super::leaf::{Leaf, Level};
use super::rebuilt::Rebuilt;
use super::runs::Runs;
use super::stream::{ChunkStream, check_rows};
use super::style::Style;
use super::value::Values;
use crate::format::{FormatError, Source};

/// A chunk is held in memory while it is rebuilt; a longer one is refused.
const LONGEST_CHUNK_BYTES: u64 = 2 << 30;

/// What becomes of some rows of a column.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// What lies below these levels is taken out.
    Erase(Level),
    /// The rows are no more.
    Drop,
}

/// A column chunk and what is to change in it.
pub(super) struct Order<'a> {
    pub(super) leaf: &'a Leaf,
    pub(super) chunk: &'a Chunk,
    /// How many rows the chunk holds.
    pub(super) rows: u64,
    /// The rows to change, from the chunk's first.
    pub(super) changed: &'a Runs,
    pub(super) change: Change,
    /// How many bytes the bloom filter has, if there is one.
    pub(super) bloom_bytes: Option<usize>,
    /// Whether the order of the column's values is the one the writer knows.
    pub(super) is_ordered: bool,
}

/// The chunk as it becomes, compared with the old value by value.
///
/// # Errors
///
/// [`FormatError`] where the old chunk cannot be read, or the new one differs in more than it
/// should.
pub(super) fn rebuild(source: &dyn Source, order: &Order<'_>) -> Result<Rebuilt, FormatError> {
    let length = order.chunk.pages.end - order.chunk.pages.start;
    if length > LONGEST_CHUNK_BYTES {
        return Err(FormatError::unreadable("a column chunk is longer than 2 GiB"));
    }
    let held = source.read_at(order.chunk.pages.start, length as usize)?;
    let old = Chunk { pages: 0..length, ..order.chunk.clone() };
    let style = Style::of(&held, &old, order)?;
    let (file, bloom) = write(&held, &old, order, &style)?;
    let rebuilt = Rebuilt::new(Bytes::from(file), &old, &style, bloom)?;
    check(order, (&held, &old), (&rebuilt.pages, &rebuilt.chunk(&old)?))?;
    Ok(rebuilt)
}

/// Writes a file of this one chunk, and the bloom filter.
fn write(
    held: &Bytes,
    old: &Chunk,
    order: &Order<'_>,
    style: &Style,
) -> Result<(Vec<u8>, Option<Sbbf>), FormatError> {
    let mut buffer = Vec::new();
    let mut bloom = order.bloom_bytes.map(|length| Sbbf::new(&vec![0; length]));
    let properties = style.properties(order.leaf).into();
    let mut writer = SerializedFileWriter::new(&mut buffer, order.leaf.alone.clone(), properties)
        .map_err(unwritable)?;
    let mut group = writer.next_row_group().map_err(unwritable)?;
    let column = group.next_column().map_err(unwritable)?;
    let mut column = column.ok_or_else(|| FormatError::unreadable("a column has no type"))?;
    let mut stream = ChunkStream::new(held, order.leaf, old)?;
    let mut batch = Batch::new(order.leaf);
    let mut changing = Changing::new(order);
    while stream.next(&mut batch)? {
        changing.take(&batch);
        changing.pass(false, &mut column, bloom.as_mut())?;
    }
    check_rows(changing.rows, order.rows)?;
    changing.pass(true, &mut column, bloom.as_mut())?;
    column.close().map_err(unwritable)?;
    group.close().map_err(unwritable)?;
    writer.close().map_err(unwritable)?;
    Ok((buffer, bloom))
}

/// The reason names no content: the crate's own message might.
fn unwritable(_: ParquetError) -> FormatError {
    FormatError::unreadable("a column of the Parquet file cannot be written as it was")
}

/// Entries on their way from the old chunk to the new.
struct Changing<'a> {
    order: &'a Order<'a>,
    /// Rows begun so far, of the old chunk.
    rows: u64,
    ready: Batch,
}

impl<'a> Changing<'a> {
    fn new(order: &'a Order<'a>) -> Self {
        Self { order, rows: 0, ready: Batch::new(order.leaf) }
    }

    /// Takes entries over, changed where their row is.
    fn take(&mut self, batch: &Batch) {
        let max = self.order.leaf.max_definition();
        let (mut value, mut plain) = (0, 0);
        for at in 0..batch.len() {
            let (definition, repetition) = (batch.definitions[at], batch.repetitions[at]);
            self.rows += u64::from(repetition == 0);
            let row = self.rows.saturating_sub(1);
            let present = usize::from(definition == max);
            if self.order.changed.contains(row) {
                self.ready.values.extend(&batch.values, plain..value);
                plain = value + present;
                self.change(definition, repetition);
            } else {
                self.ready.definitions.push(definition);
                self.ready.repetitions.push(repetition);
            }
            value += present;
        }
        self.ready.values.extend(&batch.values, plain..value);
    }

    /// Takes over an entry of a changed row.
    fn change(&mut self, definition: i16, repetition: i16) {
        let Change::Erase(level) = self.order.change else { return };
        // A deeper repetition goes on with what is taken out.
        if repetition > level.repetition {
            return;
        }
        let kept = definition.min(level.definition);
        if kept == self.order.leaf.max_definition() {
            self.ready.values.push_empty(&self.order.leaf.descriptor);
        }
        self.ready.definitions.push(kept);
        self.ready.repetitions.push(repetition);
    }

    /// Writes the whole rows that are ready: the last may go on in the next batch.
    fn pass(
        &mut self,
        at_end: bool,
        column: &mut SerializedColumnWriter<'_>,
        bloom: Option<&mut Sbbf>,
    ) -> Result<(), FormatError> {
        let repetitions = &self.ready.repetitions;
        let whole = if at_end || self.order.leaf.descriptor.max_rep_level() == 0 {
            repetitions.len()
        } else {
            repetitions.iter().rposition(|&level| level == 0).unwrap_or(0)
        };
        if whole == 0 {
            return Ok(());
        }
        let max = self.order.leaf.max_definition();
        let values = self.ready.definitions[..whole].iter().filter(|&&level| level == max).count();
        let rest = self.ready.split_off(self.order.leaf, whole, values);
        if let Some(bloom) = bloom {
            (0..values).for_each(|at| bloom.insert(self.ready.values.bytes(at)));
        }
        let written = write_batch(column.untyped(), &self.ready).map_err(unwritable)?;
        self.ready = rest;
        if written == values {
            Ok(())
        } else {
            Err(FormatError::unreadable("a column could not be written whole"))
        }
    }
}

/// Writes entries; how many values.
fn write_batch(column: &mut ColumnWriter<'_>, batch: &Batch) -> ParquetResult<usize> {
    let definitions = Some(batch.definitions.as_slice());
    let repetitions = Some(batch.repetitions.as_slice());
    macro_rules! write {
        ($(($writer:ident, $values:ident)),*) => {
            match (column, &batch.values) {
                $((ColumnWriter::$writer(writer), Values::$values(values)) => {
                    writer.write_batch(values, definitions, repetitions)
                })*
                _ => Err(ParquetError::General("two types in one column".to_owned())),
            }
        };
    }
    write!(
        (BoolColumnWriter, Bool),
        (Int32ColumnWriter, Int32),
        (Int64ColumnWriter, Int64),
        (Int96ColumnWriter, Int96),
        (FloatColumnWriter, Float),
        (DoubleColumnWriter, Double),
        (ByteArrayColumnWriter, Bytes),
        (FixedLenByteArrayColumnWriter, Fixed)
    )
}
