//! Where identifiers stand: reads the identifier columns of a row group side by side, and tells
//! what it meets in ascending order of rows.

use super::footer::{Footer, RowGroup};
use super::leaf::Leaf;
use super::pages::ColumnChunk;
use super::runs::Runs;
use super::stream::{Entries, Entry};
use crate::domain::field::{BoundField, BoundFields, Digested};
use crate::format::{FormatError, Source};

/// How many rows the columns advance together; what is met in them is held.
const STRIDE_ROWS: u64 = 4096;

/// The identifier columns of a file.
pub(super) struct Finder<'a> {
    source: &'a dyn Source,
    footer: &'a Footer,
    targets: Vec<Target<'a>>,
}

/// A column and the identifier fields that it is.
struct Target<'a> {
    leaf: usize,
    fields: Vec<&'a BoundField>,
}

/// What was met in a row.
struct Meeting {
    row: u64,
    what: Digested,
    /// Whether it may be what a blank leaves in a column that cannot be null.
    may_be_blank: bool,
}

impl<'a> Finder<'a> {
    /// Resolves the fields in a file's schema. Columns that a file does not have are passed over,
    /// since schemas grow, as long as it has one of them.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it has none.
    pub(super) fn new(
        source: &'a dyn Source,
        footer: &'a Footer,
        fields: &'a BoundFields,
    ) -> Result<Self, FormatError> {
        Ok(Self::of(source, footer, targets(footer, fields)?))
    }

    /// Reads these columns, by their place among the leaves, for these fields.
    pub(super) fn of(
        source: &'a dyn Source,
        footer: &'a Footer,
        targets: Vec<(usize, Vec<&'a BoundField>)>,
    ) -> Self {
        let targets = targets.into_iter().map(|(leaf, fields)| Target { leaf, fields }).collect();
        Self { source, footer, targets }
    }

    /// The columns that are read.
    pub(super) fn leaves(&self) -> impl Iterator<Item = usize> {
        self.targets.iter().map(|target| target.leaf)
    }

    /// Tells what stands in those rows of a group that are wanted. Rows count from the group's
    /// first.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the columns cannot be read, and whatever `tell` returns.
    pub(super) fn group(
        &self,
        group: &RowGroup,
        wanted: Option<&Runs>,
        tell: &mut dyn FnMut(u64, Digested) -> Result<(), FormatError>,
    ) -> Result<(), FormatError> {
        let mut columns = Vec::with_capacity(self.targets.len());
        for target in &self.targets {
            columns.push(Column::new(self, target, (group, wanted))?);
        }
        let mut blanks: Option<Runs> = None;
        let mut meetings = Vec::new();
        for start in (0..group.row_count()).step_by(STRIDE_ROWS as usize) {
            let end = start.saturating_add(STRIDE_ROWS);
            for column in &mut columns {
                column.meet(end, wanted, &mut meetings)?;
            }
            meetings.sort_by_key(|meeting| meeting.row);
            for meeting in meetings.drain(..) {
                if meeting.may_be_blank {
                    let blanks = match &mut blanks {
                        Some(known) => known,
                        unknown => {
                            let found = blank_rows(self.source, self.footer, (group, wanted))?;
                            unknown.insert(found)
                        }
                    };
                    if blanks.contains(meeting.row) {
                        continue;
                    }
                }
                tell(meeting.row, meeting.what)?;
            }
            if columns.iter_mut().all(|column| column.ended) {
                break;
            }
        }
        columns.iter_mut().try_for_each(|column| column.finish(group.row_count()))
    }
}

/// The columns of a file that hold identifiers, by their place among its leaves, and the fields that
/// each is.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where there is none.
pub(super) fn targets<'f>(
    footer: &Footer,
    fields: &'f BoundFields,
) -> Result<Vec<(usize, Vec<&'f BoundField>)>, FormatError> {
    let target = |(at, leaf): (usize, &Leaf)| {
        let fields: Vec<_> = fields.iter().filter(|field| leaf.is(field.path())).collect();
        (!fields.is_empty()).then_some((at, fields))
    };
    let targets: Vec<_> = footer.leaves.iter().enumerate().filter_map(target).collect();
    if targets.is_empty() {
        return Err(FormatError::unreadable(
            "none of the dataset's identifier columns exists in the Parquet file",
        ));
    }
    Ok(targets)
}

/// One identifier column of one row group.
struct Column<'a> {
    entries: Entries<'a>,
    leaf: &'a Leaf,
    fields: &'a [&'a BoundField],
    /// The value that was digested last, and what it is: neighbours are often equal.
    last: Option<(Vec<u8>, Vec<Digested>)>,
    text: String,
    ended: bool,
}

impl<'a> Column<'a> {
    fn new(
        finder: &'a Finder<'_>,
        target: &'a Target<'_>,
        (group, wanted): (&'a RowGroup, Option<&Runs>),
    ) -> Result<Self, FormatError> {
        let leaf = &finder.footer.leaves[target.leaf];
        let column = finder.footer.column_chunk(finder.source, group, target.leaf);
        let entries = read(column, wanted)?;
        let fields = &target.fields;
        Ok(Self { entries, leaf, fields, last: None, text: String::new(), ended: false })
    }

    /// Reads on to the row `end`, and notes what stands in the wanted rows.
    fn meet(
        &mut self,
        end: u64,
        wanted: Option<&Runs>,
        meetings: &mut Vec<Meeting>,
    ) -> Result<(), FormatError> {
        // Whether the rows up to this one are wanted.
        let (mut is_wanted, mut until) = (true, if wanted.is_none() { u64::MAX } else { 0 });
        while let Some(entry) = self.entries.peek()? {
            if entry.row >= end {
                return Ok(());
            }
            if let Some(wanted) = wanted.filter(|_| entry.row >= until) {
                (is_wanted, until) = wanted.stretch(entry.row);
            }
            if let Some(value) = entry.value.filter(|_| is_wanted) {
                self.digest(entry, value, meetings);
            }
            self.entries.advance(entry);
        }
        self.ended = true;
        Ok(())
    }

    fn digest(&mut self, entry: Entry, value: usize, meetings: &mut Vec<Meeting>) {
        let values = self.entries.values();
        let bytes = values.bytes(value);
        let known = self.last.as_ref().is_some_and(|(last, _)| last == bytes);
        if !known {
            let mut found = Vec::with_capacity(self.fields.len());
            let raw = self.leaf.meaning.raw(values.get(value), &mut self.text);
            for field in self.fields {
                found.push(raw.map_or(Digested::Foreign, |raw| field.digest(raw)));
            }
            self.last = Some((bytes.to_vec(), found));
        }
        let may_be_blank =
            self.leaf.max_definition() == 0 && values.is_empty_value(value, &self.leaf.descriptor);
        for &what in self.last.iter().flat_map(|(_, found)| found) {
            if what != Digested::Empty {
                meetings.push(Meeting { row: entry.row, what, may_be_blank });
            }
        }
    }

    fn finish(&mut self, rows: u64) -> Result<(), FormatError> {
        if self.entries.peek()?.is_some() {
            return Err(FormatError::unreadable("a column holds other rows than its row group"));
        }
        self.entries.finish(rows)
    }
}

/// The entries of a column, those of wanted rows at least.
fn read<'a>(column: ColumnChunk<'a>, wanted: Option<&Runs>) -> Result<Entries<'a>, FormatError> {
    match wanted {
        Some(wanted) => Entries::within(column, wanted),
        None => Entries::new(column.source, column.leaf, column.chunk),
    }
}

/// The rows of a group that are blank in every column: null or an empty list where that may be,
/// else the type's empty value; of the wanted ones, and maybe of others. Rows count from the group's
/// first.
///
/// # Errors
///
/// [`FormatError`] where a column cannot be read.
pub(super) fn blank_rows(
    source: &dyn Source,
    footer: &Footer,
    (group, wanted): (&RowGroup, Option<&Runs>),
) -> Result<Runs, FormatError> {
    let mut blanks: Option<Runs> = None;
    for (at, leaf) in footer.leaves.iter().enumerate() {
        let entries = read(footer.column_chunk(source, group, at), wanted)?;
        let here = blanks_of(entries, leaf, group.row_count())?;
        let both = blanks.map_or(here.clone(), |blanks| blanks.and(&here));
        if both.is_empty() {
            return Ok(both);
        }
        blanks = Some(both);
    }
    Ok(blanks.unwrap_or_default())
}

fn blanks_of(mut entries: Entries<'_>, leaf: &Leaf, rows: u64) -> Result<Runs, FormatError> {
    let mut blanks = Runs::default();
    while let Some(entry) = entries.peek()? {
        let is_blank = match entry.value {
            Some(_) if leaf.max_definition() > 0 => false,
            Some(value) => entries.values().is_empty_value(value, &leaf.descriptor),
            None => entry.definition == 0,
        };
        if entry.repetition > 0 {
            blanks.unpush(entry.row);
        } else if is_blank {
            blanks.push(entry.row);
        }
        entries.advance(entry);
    }
    entries.finish(rows)?;
    Ok(blanks)
}
