//! Reads the identifier columns of a whole file and tells what stands where, at the speed of the
//! machine. It builds no values: a dictionary is digested once and its pages yield codes, plain
//! pages are looked at where they lie.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `levels` | which entries have a value, in which rows |
//! | `column`, `decode` | values to digests; a page to findings |
//! | `crew`, `lane` | threads; one column from its first row to its last |
//!
//! `find` reads the same by the crate's typed readers, row by row: it is what this is tested
//! against, and what an erasure matches with.

mod column;
mod crew;
mod decode;
mod lane;
mod levels;

use super::find::{blank_rows, targets};
use super::footer::Footer;
use super::runs::Runs;
use crate::domain::field::BoundFields;
use crate::domain::row::RowNumber;
use crate::format::text::helpers::Busy;
use crate::format::{FormatError, ScanSink, Source};
use column::{Column, Findings};
use crew::Crew;
use decode::Scratch;
use lane::Lane;

/// Fewer entries than this are decoded on the thread that asks for them: a helper costs more.
const FEW_ENTRIES: i64 = 200_000;

/// Tells the sink what stands in the identifier columns, in ascending order of rows.
///
/// # Errors
///
/// [`FormatError`] where a column cannot be read; [`FormatError::Stopped`] where the sink says so.
pub(super) fn scan(
    source: &dyn Source,
    footer: &Footer,
    fields: &BoundFields,
    sink: &mut dyn ScanSink,
) -> Result<(), FormatError> {
    let columns = columns(footer, fields)?;
    let busy = busy(footer, &columns);
    scan_with(busy.as_ref().map_or(0, Busy::count), &columns, (source, footer), sink)
}

/// Threads to decode on, as far as there is work for them and processors are idle. Who reads mostly
/// waits for them, and is not counted then.
fn busy(footer: &Footer, columns: &[Column<'_>]) -> Option<Busy> {
    let chunks = footer
        .groups
        .iter()
        .flat_map(|group| columns.iter().map(|column| &group.chunks[column.at]));
    let entries = chunks.fold(0_i64, |sum, chunk| sum.saturating_add(chunk.entries));
    (entries >= FEW_ENTRIES).then(Busy::helpers)
}

fn columns<'f>(
    footer: &'f Footer,
    fields: &'f BoundFields,
) -> Result<Vec<Column<'f>>, FormatError> {
    let columns = targets(footer, fields)?.into_iter();
    Ok(columns.map(|(at, fields)| Column { at, leaf: &footer.leaves[at], fields }).collect())
}

/// The same with so many helpers.
fn scan_with(
    helpers: usize,
    columns: &[Column<'_>],
    (source, footer): (&dyn Source, &Footer),
    sink: &mut dyn ScanSink,
) -> Result<(), FormatError> {
    let mut teller = Teller { source, footer, sink, blanks: None };
    if helpers == 0 {
        let _own = Busy::own();
        return run(columns, &Crew::alone(), &mut teller);
    }
    std::thread::scope(|scope| run(columns, &Crew::start(scope, helpers), &mut teller))
}

fn run<'c>(
    columns: &'c [Column<'c>],
    crew: &Crew<'c>,
    teller: &mut Teller<'c, '_>,
) -> Result<(), FormatError> {
    let mut scratch = Scratch::default();
    let lane = |column| Lane::new(teller.source, teller.footer, column);
    let mut lanes: Vec<_> = columns.iter().map(lane).collect();
    if let [lane] = &mut lanes[..] {
        while let Some(findings) = lane.next(crew, &mut scratch)? {
            teller.note_pages(lane);
            teller.tell(&findings)?;
            crew.reclaim(findings);
        }
        return Ok(());
    }
    merge(&mut lanes, crew, &mut scratch, teller)
}

/// Tells what several columns hold, row by row: of one row first what the first column holds.
fn merge<'c>(
    lanes: &mut [Lane<'c>],
    crew: &Crew<'c>,
    scratch: &mut Scratch,
    teller: &mut Teller<'_, '_>,
) -> Result<(), FormatError> {
    let mut held: Vec<Findings> = lanes.iter().map(|_| Findings::default()).collect();
    let mut reached = vec![0; lanes.len()];
    let mut merged = Findings::default();
    loop {
        let slowest = (0..lanes.len()).min_by_key(|&lane| reached[lane]).unwrap_or(0);
        if reached[slowest] == u64::MAX {
            return Ok(());
        }
        let next = lanes[slowest].next(crew, scratch)?;
        teller.note_pages(&mut lanes[slowest]);
        match next {
            Some(findings) => {
                held[slowest].append(&findings);
                reached[slowest] = lanes[slowest].reached();
                crew.reclaim(findings);
            }
            None => reached[slowest] = u64::MAX,
        }
        let before = reached.iter().copied().min().unwrap_or(u64::MAX);
        merged.clear();
        held.iter_mut().for_each(|held| held.move_before(before, &mut merged));
        merged.sort();
        teller.tell(&merged)?;
    }
}

/// Hands findings to the sink, but for those of blanks.
struct Teller<'c, 's> {
    source: &'c dyn Source,
    footer: &'c Footer,
    sink: &'s mut dyn ScanSink,
    /// The blank rows of a row group, counted from its first.
    blanks: Option<(usize, Runs)>,
}

impl Teller<'_, '_> {
    fn tell(&mut self, findings: &Findings) -> Result<(), FormatError> {
        if findings.foreign.is_empty() && findings.doubtful.is_empty() {
            return Ok(self.sink.postings(&findings.postings)?);
        }
        let mut blank = Vec::new();
        for &row in &findings.doubtful {
            if blank.last() != Some(&row) && self.is_blank(row)? {
                blank.push(row);
            }
        }
        let is_told = |row: &u64| blank.binary_search(row).is_err();
        let mut foreign = findings.foreign.iter().copied().filter(is_told).peekable();
        for &posting in findings.postings.iter().filter(|posting| is_told(&posting.row.0)) {
            while let Some(row) = foreign.next_if(|&row| row < posting.row.0) {
                self.sink.foreign_value(RowNumber(row));
            }
            self.sink.posting(posting)?;
        }
        foreign.for_each(|row| self.sink.foreign_value(RowNumber(row)));
        Ok(())
    }

    /// Tells where the pages begin that a lane has read.
    fn note_pages(&mut self, lane: &mut Lane<'_>) {
        let (column, places) = lane.places();
        // A file of more columns than this has none that could be told apart.
        let Ok(column) = u32::try_from(column) else { return };
        places.for_each(|page| self.sink.page(column, page));
    }

    /// Whether a row is blank in every column.
    fn is_blank(&mut self, row: u64) -> Result<bool, FormatError> {
        let Some(at) = self.footer.group_of(row) else { return Ok(false) };
        let group = &self.footer.groups[at];
        let blanks = match self.blanks.take() {
            Some((known, blanks)) if known == at => blanks,
            _ => blank_rows(self.source, self.footer, (group, None))?,
        };
        let is_blank = blanks.contains(row - group.rows.start);
        self.blanks = Some((at, blanks));
        Ok(is_blank)
    }
}

#[cfg(test)]
mod tests;
