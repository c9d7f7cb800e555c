//! What the rows of a file hold, as one digest. Columns are stored apart, so that each has a digest
//! of its own over its entries, and the file's is that of the columns' in the schema's order. How
//! rows are cut into row groups and pages does not count, nor how they are encoded.
//!
//! Of a part of a file, hashes of the values are digested, of which each is made once where a dictionary
//! repeats it, and all of it by XXH3 of 128 bits: two readings of the same rows are compared, which a
//! fault may make different and nobody an interest in equal ones. SHA-256 took a third of an erasure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_128;

use super::abreast::abreast;
use super::find::blank_rows;
use super::footer::Footer;
use super::hashed::{HashedBatch, HashedEntries};
use super::leaf::{Leaf, Level};
use super::lost::Lost;
use super::plan::{by_group, level};
use super::runs::Runs;
use super::stream::{Entries, Entry, RowCounter};
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
    let parts = Parts { source, footer: &footer, left_out: &left_out, within: within.as_ref() };
    let digests = abreast(footer.leaves.len(), |at| {
        let leaf = &footer.leaves[at];
        let level = except.action().and_then(|action| level(leaf, &footer.leaves, action));
        parts.digest(at, ColumnDigest::new(leaf, level))
    })?;
    let mut file = Sha256::new();
    let mut unerased = BTreeSet::new();
    for (digest, rows) in digests {
        file.update(digest);
        unerased.extend(rows);
    }
    let unerased = RowCount(unerased.len() as u64);
    Ok(Fingerprint { rows: footer.row_count(), digest: file.finalize().into(), unerased })
}

/// What of a file is read.
struct Parts<'a> {
    source: &'a dyn Source,
    footer: &'a Footer,
    /// The rows that do not count, by row group.
    left_out: &'a [Runs],
    /// The rows that are read; all where there are none.
    within: Option<&'a Within>,
}

impl Parts<'_> {
    /// The digest of a column, and the rows of the file that nobody erased.
    fn digest(
        &self,
        at: usize,
        mut column: ColumnDigest<'_>,
    ) -> Result<([u8; 32], Vec<u64>), FormatError> {
        let leaf = &self.footer.leaves[at];
        let mut unerased = Vec::new();
        for (number, (group, left_out)) in self.footer.groups.iter().zip(self.left_out).enumerate()
        {
            let chunk = self.footer.column_chunk(self.source, group, at);
            match self.within {
                None => {
                    let entries = Entries::new(self.source, leaf, chunk.chunk)?;
                    column.add(entries, chunk.rows, left_out)?;
                }
                Some(within) => {
                    let rows = within.get(&(at, number));
                    column.note_unerased(rows, left_out);
                    if let Some(rows) = rows {
                        let entries = HashedEntries::within(chunk, rows)?;
                        let place = (group.rows.start, chunk.rows);
                        column.add_within(entries, place, rows, left_out)?;
                    }
                }
            }
            unerased.extend(column.unerased.drain(..).map(|row| group.rows.start + row));
        }
        Ok((column.finish(), unerased))
    }
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

/// Where entries are read, and which of them count.
struct Here<'a> {
    /// The chunk's first row.
    start: u64,
    rows: &'a Runs,
    left_out: &'a Runs,
    /// The row that was begun last, from the chunk's first, and what it is …
    row: u64,
    is_left_out: bool,
    counts: bool,
    /// … as are those after it, up to this one.
    until: u64,
}

impl Here<'_> {
    /// Goes on to a row, which is higher than the one before.
    fn begin(&mut self, row: u64) {
        self.row = row;
        if row < self.until {
            return;
        }
        let (is_left_out, one) = self.left_out.stretch(row);
        let (is_wanted, two) = self.rows.stretch(row);
        self.is_left_out = is_left_out;
        self.counts = is_wanted && !is_left_out;
        self.until = one.min(two);
    }
}

/// What the entries of a column hold.
pub(super) struct ColumnDigest<'a> {
    leaf: &'a Leaf,
    hasher: Sha256,
    gathered: Vec<u8>,
    /// The hashes of values of a part.
    marks: XxHash3_128,
    /// Rows of earlier row groups that count.
    counted: u64,
    /// Below which levels rows that are left out have to be empty, and those that are not.
    erased: Option<Level>,
    unerased: Vec<u64>,
    structure: Structure,
    /// The values of rows that are left out, where they are wanted.
    lost: Option<Lost>,
}

/// Rows and levels of some entries, told in runs of equal ones: there are fewer of them than values.
#[derive(Default)]
struct Structure {
    hasher: XxHash3_128,
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
        self.go_on(goes_on, levels, row);
        self.count += 1;
        self.next = Some(row + 1);
    }

    /// Takes the entries of some neighbouring rows with one entry each.
    fn take_some(&mut self, levels: (i16, i16), row: u64, count: u64) {
        self.go_on(self.next == Some(row), levels, row);
        self.count += count;
        self.next = Some(row + count);
    }

    fn go_on(&mut self, goes_on: bool, levels: (i16, i16), row: u64) {
        if !goes_on || levels != self.run {
            self.end_run();
            self.run = levels;
        }
        if !goes_on {
            // No level is negative.
            self.tell((-1, -1), row);
        }
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
        self.hasher.write(&told);
    }

    /// The digest, if there was an entry.
    fn finish(mut self) -> Option<u128> {
        self.end_run();
        self.next.map(|_| self.hasher.finish_128())
    }
}

impl<'a> ColumnDigest<'a> {
    /// Nothing of a column; rows that are left out are looked at where it is told below which levels they
    /// have to be empty.
    pub(super) fn new(leaf: &'a Leaf, erased: Option<Level>) -> Self {
        let mut gathered = Vec::new();
        for name in leaf.descriptor.path().parts() {
            gathered.extend((name.len() as u64).to_le_bytes());
            gathered.extend(name.as_bytes());
        }
        gathered.extend(format!("{:?}", leaf.descriptor.physical_type()).into_bytes());
        let hasher = Sha256::new();
        let (marks, structure) = (XxHash3_128::new(), Structure::default());
        let (counted, unerased, lost) = (0, Vec::new(), None);
        Self { leaf, hasher, gathered, marks, counted, erased, unerased, structure, lost }
    }

    /// The same, which also notes the values of rows that are left out.
    pub(super) fn noting_lost(self) -> Self {
        let lost = Lost::none_of(self.leaf.descriptor.physical_type());
        Self { lost: Some(lost), ..self }
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

    /// A row that is left out and not among those that are read is one that nobody erased in this column.
    fn note_unerased(&mut self, rows: Option<&Runs>, left_out: &Runs) {
        if self.erased.is_some() {
            let missed = |row: &u64| !rows.is_some_and(|rows| rows.contains(*row));
            self.unerased.extend(left_out.iter().cloned().flatten().filter(missed));
        }
    }

    /// Digests number, levels and value of each entry of these rows whose row counts, in a chunk which
    /// begins with the row `start` of the file.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the entries cannot be read, or are not those of the rows.
    pub(super) fn add_within(
        &mut self,
        mut entries: HashedEntries<'_>,
        (start, total): (u64, u64),
        rows: &Runs,
        left_out: &Runs,
    ) -> Result<(), FormatError> {
        let is_flat = self.leaf.descriptor.max_rep_level() == 0;
        let (is_left_out, counts) = (false, false);
        let mut here = Here { start, rows, left_out, row: 0, is_left_out, counts, until: 0 };
        while let Some((batch, counter)) = entries.next()? {
            match is_flat {
                true => self.add_flat(&batch, counter, &here),
                false => self.add_nested(&batch, counter, &mut here),
            }
        }
        entries.finish(total)
    }

    /// Entries of a column of which each row has one, a stretch of neighbours at a time.
    fn add_flat(&mut self, batch: &HashedBatch<'_>, counter: &mut RowCounter, here: &Here<'_>) {
        let max = self.leaf.max_definition();
        let (mut at, mut value) = (0, 0);
        while at < batch.definitions.len() {
            let mut neighbours = counter.begin_some((batch.definitions.len() - at) as u64);
            while !neighbours.is_empty() {
                let row = neighbours.start;
                let (is_left_out, one) = here.left_out.stretch(row);
                let (is_wanted, two) = here.rows.stretch(row);
                let end = one.min(two).min(neighbours.end);
                neighbours.start = end;
                let definitions = &batch.definitions[at..at + (end - row) as usize];
                at += definitions.len();
                if is_left_out {
                    for (row, &definition) in (row..end).zip(definitions) {
                        let has_value = definition == max;
                        let found = has_value.then_some(value);
                        let entry = Entry { row, definition, repetition: 0, value: found };
                        self.leave_out(batch, entry);
                        value += usize::from(has_value);
                    }
                    continue;
                }
                let from = value;
                let mut next = here.start + row;
                for same in definitions.chunk_by(|one, two| one == two) {
                    let count = same.len() as u64;
                    value += if same[0] == max { same.len() } else { 0 };
                    if is_wanted {
                        self.structure.take_some((same[0], 0), next, count);
                    }
                    next += count;
                }
                if is_wanted {
                    self.marks.write(batch.hashes[from..value].as_flattened());
                }
            }
        }
    }

    /// Entries of a column of which a row may have several.
    fn add_nested(
        &mut self,
        batch: &HashedBatch<'_>,
        counter: &mut RowCounter,
        here: &mut Here<'_>,
    ) {
        let max = self.leaf.max_definition();
        // Values of entries that count, one after another, and the value that comes next.
        let (mut from, mut value) = (0, 0);
        for (&definition, &repetition) in batch.definitions.iter().zip(batch.repetitions) {
            if repetition == 0 {
                here.begin(counter.begin());
            }
            let has_value = definition == max;
            if here.counts {
                self.structure.take((definition, repetition), here.start + here.row);
            } else {
                self.marks.write(batch.hashes[from..value].as_flattened());
                from = value + usize::from(has_value);
            }
            if here.is_left_out {
                let found = has_value.then_some(value);
                let entry = Entry { row: here.row, definition, repetition, value: found };
                self.leave_out(batch, entry);
            }
            value += usize::from(has_value);
        }
        self.marks.write(batch.hashes[from..value].as_flattened());
    }

    /// Looks at an entry of a row that is left out.
    fn leave_out(&mut self, batch: &HashedBatch<'_>, entry: Entry) {
        if let (Some(lost), Some(value)) = (&mut self.lost, entry.value) {
            lost.add(batch.hashes[value]);
        }
        let is_empty = |value| batch.is_empty_value(value);
        self.look_at_erased(is_empty, entry);
    }

    /// Digests an entry whose row counts, under that number; of another, notes where it still holds
    /// what was to go.
    fn take(&mut self, entries: &Entries<'_>, entry: Entry, number: Option<u64>) {
        let Some(number) = number else {
            let values = entries.values();
            let is_empty = |value| values.is_empty_value(value, &self.leaf.descriptor);
            return self.look_at_erased(is_empty, entry);
        };
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
    fn look_at_erased(&mut self, is_empty: impl Fn(usize) -> bool, entry: Entry) {
        let Some(level) = self.erased else { return };
        let is_deeper = entry.definition > level.definition || entry.repetition > level.repetition;
        if is_deeper || entry.value.is_some_and(|value| !is_empty(value)) {
            self.unerased.push(entry.row);
        }
    }

    /// The digest, and the values of rows that were left out, if they were noted.
    pub(super) fn finish_with_lost(mut self) -> ([u8; 32], Lost) {
        let none = || Lost::none_of(self.leaf.descriptor.physical_type());
        let lost = self.lost.take().unwrap_or_else(none);
        (self.finish(), lost)
    }

    /// The digest.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered);
        if let Some(structure) = self.structure.finish() {
            self.hasher.update(structure.to_le_bytes());
            self.hasher.update(self.marks.finish_128().to_le_bytes());
        }
        self.hasher.finalize().into()
    }
}
