//! What the rows of a file hold, as one digest. Columns are stored apart, so that each has a digest
//! of its own over its entries, and the file's is that of the columns' in the schema's order. How
//! rows are cut into row groups and pages does not count, nor how they are encoded.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::find::blank_rows;
use super::footer::Footer;
use super::leaf::{Leaf, Level};
use super::pages::ColumnChunk;
use super::plan::{by_group, level};
use super::runs::Runs;
use super::stream::{Entries, Entry};
use super::value::Values;
use crate::domain::row::RowCount;
use crate::domain::stretch::{Extent, Stretch};
use crate::format::{Except, Fingerprint, FormatError, Source};

/// How much is gathered before it is digested, in bytes.
const GATHERED_BYTES: usize = 64 << 10;

/// The fingerprint of a file, or of some pages of it.
///
/// # Errors
///
/// [`FormatError`] where it cannot be read, or does not have the rows of the extent.
pub(super) fn fingerprint(
    source: &dyn Source,
    except: Except<'_>,
    extent: &Extent,
) -> Result<Fingerprint, FormatError> {
    let footer = Footer::read(source)?;
    let left_out = left_out(source, &footer, except)?;
    let within = match extent {
        Extent::Whole => None,
        Extent::Stretches(stretches) => Some(rows_within(&footer, stretches)?),
    };
    let mut file = Sha256::new();
    let mut unerased = BTreeSet::new();
    for (at, leaf) in footer.leaves.iter().enumerate() {
        let level = except.action().and_then(|action| level(leaf, &footer.leaves, action));
        let mut column = ColumnDigest::new(leaf, level);
        for (number, (group, left_out)) in footer.groups.iter().zip(&left_out).enumerate() {
            let chunk = footer.column_chunk(source, group, at);
            match &within {
                None => {
                    let entries = Entries::new(source, leaf, chunk.chunk)?;
                    column.add(entries, chunk.rows, left_out)?;
                }
                Some(within) => {
                    let rows = within.get(&(at, number));
                    column.add_within(chunk, group.rows.start, rows, left_out)?;
                }
            }
            unerased.extend(column.unerased.drain(..).map(|row| group.rows.start + row));
        }
        file.update(column.finish());
    }
    let unerased = RowCount(unerased.len() as u64);
    Ok(Fingerprint { rows: footer.row_count(), digest: file.finalize().into(), unerased })
}

/// Rows by leaf and row group, counted from each group's first.
type Within = BTreeMap<(usize, usize), Runs>;

/// The rows of the stretches.
fn rows_within(footer: &Footer, stretches: &[Stretch]) -> Result<Within, FormatError> {
    let missing = || FormatError::unreadable("the Parquet file does not have the rows to compare");
    let mut within = Within::new();
    for stretch in stretches {
        let column = stretch.column.and_then(|column| usize::try_from(column).ok());
        let column = column.filter(|&column| column < footer.leaves.len()).ok_or_else(missing)?;
        let (mut row, end) = (stretch.row.0, stretch.end.0);
        if row > end || end > footer.row_count().0 {
            return Err(missing());
        }
        while row < end {
            let at = footer.group_of(row).ok_or_else(missing)?;
            let group = &footer.groups[at].rows;
            let to = end.min(group.end);
            let rows = within.entry((column, at)).or_default();
            rows.push_all(row - group.start..to - group.start);
            row = to;
        }
    }
    Ok(within)
}

/// The rows that do not count, by row group, counted from each group's first.
fn left_out(
    source: &dyn Source,
    footer: &Footer,
    except: Except<'_>,
) -> Result<Vec<Runs>, FormatError> {
    let mut left_out = vec![Runs::default(); footer.groups.len()];
    match except {
        Except::Nothing => {}
        Except::Rows(rows) | Except::Erased(rows, _) => {
            for (group, runs) in by_group(footer, rows) {
                left_out[group] = runs;
            }
        }
        Except::Blanks => {
            for (group, runs) in footer.groups.iter().zip(&mut left_out) {
                *runs = blank_rows(source, footer, (group, None))?;
            }
        }
    }
    Ok(left_out)
}

struct ColumnDigest<'a> {
    leaf: &'a Leaf,
    hasher: Sha256,
    gathered: Vec<u8>,
    /// Rows of earlier row groups that count.
    counted: u64,
    /// Below which levels rows that are left out have to be empty, and those that are not.
    erased: Option<Level>,
    unerased: Vec<u64>,
    structure: Structure,
}

/// Rows and levels of some entries, told in runs of equal ones: there are fewer of them than values.
#[derive(Default)]
struct Structure {
    hasher: Sha256,
    /// The levels of the run, and how many entries it has.
    run: (i16, i16),
    count: u64,
    /// The row behind the last one, if there was one.
    next: Option<u64>,
}

impl Structure {
    fn take(&mut self, levels: (i16, i16), row: u64) {
        let goes_on = match levels.1 {
            0 => self.next == Some(row),
            _ => self.next == Some(row + 1),
        };
        if !goes_on || levels != self.run {
            self.end_run();
            self.run = levels;
        }
        if !goes_on {
            // No level is negative.
            self.tell((-1, -1), row);
        }
        self.count += 1;
        self.next = Some(row + 1);
    }

    fn end_run(&mut self) {
        if self.count > 0 {
            self.tell(self.run, self.count);
            self.count = 0;
        }
    }

    fn tell(&mut self, (definition, repetition): (i16, i16), number: u64) {
        let mut told = [0; 12];
        told[..2].copy_from_slice(&definition.to_le_bytes());
        told[2..4].copy_from_slice(&repetition.to_le_bytes());
        told[4..].copy_from_slice(&number.to_le_bytes());
        self.hasher.update(told);
    }

    /// The digest, if there was an entry.
    fn finish(mut self) -> Option<[u8; 32]> {
        self.end_run();
        self.next.map(|_| self.hasher.finalize().into())
    }
}

impl<'a> ColumnDigest<'a> {
    fn new(leaf: &'a Leaf, erased: Option<Level>) -> Self {
        let mut gathered = Vec::new();
        for name in leaf.descriptor.path().parts() {
            gathered.extend((name.len() as u64).to_le_bytes());
            gathered.extend(name.as_bytes());
        }
        gathered.extend(format!("{:?}", leaf.descriptor.physical_type()).into_bytes());
        let hasher = Sha256::new();
        let (unerased, structure) = (Vec::new(), Structure::default());
        Self { leaf, hasher, gathered, counted: 0, erased, unerased, structure }
    }

    /// Digests rank, levels and value of each entry whose row counts.
    fn add(
        &mut self,
        mut entries: Entries<'_>,
        rows: u64,
        left_out: &Runs,
    ) -> Result<(), FormatError> {
        let mut row = None;
        let mut counts = false;
        let mut rank = self.counted;
        while let Some(entry) = entries.peek()? {
            if row != Some(entry.row) {
                rank += u64::from(counts);
                row = Some(entry.row);
                counts = !left_out.contains(entry.row);
            }
            self.take(&entries, entry, counts.then_some(rank));
            entries.advance(entry);
        }
        self.counted = rank + u64::from(counts);
        entries.finish(rows)
    }

    /// Digests number, levels and value of each entry of these rows of a chunk, which begins with the
    /// row `start` of the file, whose row counts. A row that is left out and not among them is one
    /// that nobody erased in this column.
    fn add_within(
        &mut self,
        column: ColumnChunk<'_>,
        start: u64,
        rows: Option<&Runs>,
        left_out: &Runs,
    ) -> Result<(), FormatError> {
        if self.erased.is_some() {
            let missed = |row: &u64| !rows.is_some_and(|rows| rows.contains(*row));
            self.unerased.extend(left_out.iter().cloned().flatten().filter(missed));
        }
        let Some(rows) = rows else { return Ok(()) };
        let mut entries = Entries::within(column, rows)?;
        let (mut row, mut is_left_out, mut counts) = (0, false, false);
        while let Some((batch, counter)) = entries.next_batch()? {
            // Values of entries that count, one after another, and the value that comes next.
            let (mut from, mut value) = (0, 0);
            for at in 0..batch.len() {
                let (definition, repetition) = (batch.definitions[at], batch.repetitions[at]);
                if repetition == 0 {
                    row = counter.begin();
                    is_left_out = left_out.contains(row);
                    counts = !is_left_out && rows.contains(row);
                }
                let has_value = definition == self.leaf.max_definition();
                if counts {
                    self.structure.take((definition, repetition), start + row);
                } else {
                    self.gather(&batch.values, from..value);
                    from = value + usize::from(has_value);
                }
                if is_left_out {
                    let entry =
                        Entry { row, definition, repetition, value: has_value.then_some(value) };
                    self.look_at_erased(&batch.values, entry);
                }
                value += usize::from(has_value);
            }
            self.gather(&batch.values, from..value);
        }
        entries.finish(column.rows)
    }

    fn gather(&mut self, values: &Values, range: Range<usize>) {
        if !range.is_empty() {
            values.append_to(range, &mut self.gathered);
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// Digests an entry whose row counts, under that number; of another, notes where it still holds
    /// what was to go.
    fn take(&mut self, entries: &Entries<'_>, entry: Entry, number: Option<u64>) {
        let Some(number) = number else { return self.look_at_erased(entries.values(), entry) };
        self.gathered.extend(number.to_le_bytes());
        self.gathered.extend(entry.definition.to_le_bytes());
        self.gathered.extend(entry.repetition.to_le_bytes());
        if let Some(value) = entry.value {
            let bytes = entries.values().bytes(value);
            self.gathered.extend((bytes.len() as u64).to_le_bytes());
            self.gathered.extend_from_slice(bytes);
        }
        if self.gathered.len() >= GATHERED_BYTES {
            self.hasher.update(&self.gathered);
            self.gathered.clear();
        }
    }

    /// Notes where an entry of a row that is left out still holds what was to go.
    fn look_at_erased(&mut self, values: &Values, entry: Entry) {
        let Some(level) = self.erased else { return };
        let holds = |value| !values.is_empty_value(value, &self.leaf.descriptor);
        let is_deeper = entry.definition > level.definition || entry.repetition > level.repetition;
        if is_deeper || entry.value.is_some_and(holds) {
            self.unerased.push(entry.row);
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered);
        if let Some(structure) = self.structure.finish() {
            self.hasher.update(structure);
        }
        self.hasher.finalize().into()
    }
}
