//! Reads whole windows of records: what a scan does, many records at a time.
//!
//! Every syntax has a quick way of its own and, as the plain reference, [`Plain`]: one record after
//! another, by the cutter and the reader that also a rewrite goes by.

use super::{Broken, Cut, Cutter, Found, Kind, ReadRecord, ScanSink};
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::RowNumber;
use crate::format::{FormatError, LONGEST_RECORD_BYTES, Stopped};

/// Reads the records of one window after another.
pub(in crate::format) trait ReadWindow: Clone + Send {
    /// Reads the records that `window` begins with, as many as end in it, and answers how many bytes
    /// they take. `ended`: nothing follows the window, so that all of it is taken.
    ///
    /// # Errors
    ///
    /// [`Problem`] where the object cannot be read on.
    fn read(
        &mut self,
        window: &[u8],
        ended: bool,
        findings: &mut Findings,
    ) -> Result<usize, Problem>;

    /// Whether a clone can read a window from anywhere: the columns' names were read.
    fn is_settled(&self) -> bool;
}

/// Why an object cannot be read on.
#[derive(Debug)]
pub(in crate::format) enum Problem {
    /// No record can be made of what is there; `at` counts from the start of the window's first
    /// record that was not read.
    Broken {
        /// What is wrong, and where in the record.
        broken: Broken,
        /// Where the record begins in the window.
        start: usize,
    },
    /// Something else.
    Format(FormatError),
}

impl From<FormatError> for Problem {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

/// What stands in a window. Rows and bytes count from its start.
#[derive(Debug, Default)]
pub(in crate::format) struct Findings {
    /// How many rows.
    pub(in crate::format) rows: u64,
    postings: Vec<RowPosting>,
    notes: Vec<Note>,
    /// Added to the places of gaps, in bytes.
    pub(in crate::format) base: u64,
}

/// What is told beside postings.
#[derive(Debug)]
enum Note {
    Gap { row: u64, byte: u64, broken: Broken },
    Foreign { row: u64, count: u32 },
}

impl Note {
    fn row(&self) -> u64 {
        match self {
            Self::Gap { row, .. } | Self::Foreign { row, .. } => *row,
        }
    }
}

impl Findings {
    /// Adds a row that was read.
    pub(in crate::format) fn row(&mut self, found: &Found) {
        let row = self.rows;
        let posting = |&digest| RowPosting { digest, row: RowNumber(row) };
        self.postings.extend(found.digests.iter().map(posting));
        if found.foreign > 0 {
            self.notes.push(Note::Foreign { row, count: found.foreign });
        }
        self.rows += 1;
    }

    /// Adds a row that could not be read; it begins at byte `start` of the window.
    fn gap(&mut self, start: usize, broken: Broken) {
        let byte = self.base + start as u64;
        self.notes.push(Note::Gap { row: self.rows, byte, broken });
        self.rows += 1;
    }

    /// Reads one row by the reader and adds what it says.
    pub(in crate::format) fn read(
        &mut self,
        reader: &mut impl ReadRecord,
        text: &[u8],
        start: usize,
        found: &mut Found,
    ) {
        found.clear();
        match reader.read(text, found) {
            Ok(()) => self.row(found),
            Err(broken) => self.gap(start, broken),
        }
    }

    /// Forgets what was found, but keeps the room for it.
    pub(in crate::format) fn clear(&mut self) {
        self.postings.clear();
        self.notes.clear();
        (self.rows, self.base) = (0, 0);
    }

    /// Tells what was found in a window that begins at this row and byte, in the order of rows.
    pub(in crate::format) fn tell(
        &self,
        first: u64,
        byte: u64,
        sink: &mut dyn ScanSink,
    ) -> Result<(), Stopped> {
        let mut notes = self.notes.iter().peekable();
        for posting in &self.postings {
            while let Some(note) = notes.next_if(|note| note.row() < posting.row.0) {
                note.tell(first, byte, sink);
            }
            let row = RowNumber(first + posting.row.0);
            sink.posting(RowPosting { digest: posting.digest, row })?;
        }
        notes.for_each(|note| note.tell(first, byte, sink));
        Ok(())
    }
}

impl Note {
    fn tell(&self, first: u64, start: u64, sink: &mut dyn ScanSink) {
        let row = RowNumber(first + self.row());
        match self {
            Self::Gap { byte, broken, .. } => sink.gap(RowGap {
                row,
                byte: Some(start + byte),
                reason: format!("{}, at byte {} of the row", broken.reason, broken.at),
            }),
            Self::Foreign { count, .. } => (0..*count).for_each(|_| sink.foreign_value(row)),
        }
    }
}

/// The plain way: a cutter finds a record, a reader reads it.
#[derive(Clone, Debug)]
pub(in crate::format) struct Plain<C, R> {
    pub(in crate::format) cutter: C,
    pub(in crate::format) reader: R,
    settled: bool,
    found: Found,
}

impl<C: Cutter, R: ReadRecord> Plain<C, R> {
    /// By this cutter and this reader; `settled`: no record names the columns.
    pub(in crate::format) fn new(cutter: C, reader: R, settled: bool) -> Self {
        Self { cutter, reader, settled, found: Found::default() }
    }

    /// Reads the record that begins at `start`; answers where it ends with its line ending, or `None`
    /// where its end is not in the window.
    ///
    /// # Errors
    ///
    /// [`Problem`] where the object cannot be read on.
    pub(in crate::format) fn read_one(
        &mut self,
        window: &[u8],
        start: usize,
        ended: bool,
        findings: &mut Findings,
    ) -> Result<Option<usize>, Problem> {
        let rest = &window[start..];
        let cut = self.cutter.cut(rest, ended).map_err(|broken| Problem::Broken { broken, start });
        let Some(Cut { text, ending, kind }) = cut? else {
            self.cutter.restart();
            return Ok(None);
        };
        check_length(text, start)?;
        let record = &rest[..text];
        match kind {
            Kind::Nothing => {}
            Kind::Header => {
                self.reader.header(record)?;
                self.settled = true;
            }
            Kind::Row => findings.read(&mut self.reader, record, start, &mut self.found),
        }
        Ok(Some(start + text + ending))
    }
}

/// Refuses a record that is too long.
pub(in crate::format) fn check_length(length: usize, start: usize) -> Result<(), Problem> {
    if length <= LONGEST_RECORD_BYTES {
        return Ok(());
    }
    let reason = "a record is longer than 64 MiB";
    Err(Problem::Broken { broken: Broken { reason, at: 0 }, start })
}

impl<C: Cutter + Clone, R: ReadRecord + Clone + Send> ReadWindow for Plain<C, R> {
    fn read(
        &mut self,
        window: &[u8],
        ended: bool,
        findings: &mut Findings,
    ) -> Result<usize, Problem> {
        let mut at = 0;
        while at < window.len() {
            match self.read_one(window, at, ended, findings)? {
                Some(end) => at = end,
                None => break,
            }
        }
        Ok(at)
    }

    fn is_settled(&self) -> bool {
        self.settled
    }
}
