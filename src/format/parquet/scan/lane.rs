//! One identifier column from its first row to its last: reads its pages in order, has them decoded
//! ahead, and tells what was met in ascending order of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::footer::{Footer, RowGroup};
use super::super::page::PageKind;
use super::super::stored::{StoredPage, StoredPages};
use super::super::stream::check_rows;
use super::column::{Column, Findings};
use super::crew::{Crew, Pending};
use super::decode::{Dictionary, Job, PageDecoder, Scratch};
use crate::domain::landmark::Landmark;
use crate::domain::row::RowNumber;
use crate::format::{FormatError, Source};

/// How many entries are decoded at once where nobody decodes ahead: their postings stay in the
/// cache.
const SLICE_ENTRIES: usize = 8 << 10;
/// How many bytes of pages may be decompressed ahead.
const AHEAD_BYTES: usize = 16 << 20;

/// A column on its way through the file.
pub(super) struct Lane<'c> {
    reader: Reader<'c>,
    pending: VecDeque<Handed<'c>>,
    ahead_bytes: usize,
    /// The page that is being decoded, and the row that its rows count from.
    current: Option<(PageDecoder<'c>, u64)>,
    /// Rows of the file begun so far; all but perhaps the last were told.
    begun: u64,
}

enum Handed<'c> {
    /// A page, and its length when decompressed.
    Page(Pending<'c>, usize),
    /// A row group ends with the row before this one.
    GroupEnd(u64),
}

impl<'c> Lane<'c> {
    /// A column of a file, from its first row group on.
    pub(super) fn new(source: &'c dyn Source, footer: &'c Footer, column: &'c Column<'c>) -> Self {
        let groups = footer.groups.iter();
        let reader = Reader { source, column, groups, chunk: None, places: Vec::new() };
        Self { reader, pending: VecDeque::new(), ahead_bytes: 0, current: None, begun: 0 }
    }

    /// The next findings, with rows that count from the file's first; `None` at the end. Their room
    /// goes back to [`Crew::reclaim`].
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the column cannot be read, or has other rows than its row groups.
    pub(super) fn next(
        &mut self,
        crew: &Crew<'c>,
        scratch: &mut Scratch,
    ) -> Result<Option<Findings>, FormatError> {
        loop {
            if let Some(findings) = self.go_on(crew, scratch)? {
                return Ok(Some(findings));
            }
            self.hand_in(crew)?;
            match self.pending.pop_front() {
                None => return Ok(None),
                Some(Handed::GroupEnd(end)) => check_rows(self.begun, end)?,
                Some(Handed::Page(pending, bytes)) => {
                    self.ahead_bytes -= bytes;
                    let from = if self.reader.is_nested() { self.begun } else { 0 };
                    let opened = crew.take_back(pending, scratch)?;
                    self.current = opened.rest.map(|decoder| (decoder, from));
                    if let Some(findings) = opened.findings {
                        return Ok(Some(self.told(findings, from, opened.row)));
                    }
                }
            }
        }
    }

    /// The first row that is not told to its end.
    pub(super) fn reached(&self) -> u64 {
        if self.reader.is_nested() { self.begun.saturating_sub(1) } else { self.begun }
    }

    /// The number of the column, and where pages begin that were read since the last time.
    pub(super) fn places(&mut self) -> (usize, std::vec::Drain<'_, Landmark>) {
        (self.reader.column.at, self.reader.places.drain(..))
    }

    /// What comes next in the page that is being decoded, if there is one.
    fn go_on(
        &mut self,
        crew: &Crew<'c>,
        scratch: &mut Scratch,
    ) -> Result<Option<Findings>, FormatError> {
        let Some((mut decoder, from)) = self.current.take() else { return Ok(None) };
        let mut findings = crew.room();
        let has_more = decoder.next(SLICE_ENTRIES, scratch, &mut findings)?;
        let row = decoder.row();
        if has_more {
            self.current = Some((decoder, from));
        } else {
            scratch.unpacker.reclaim(decoder.into_plain());
        }
        Ok(Some(self.told(findings, from, row)))
    }

    /// Counts the rows of findings from the file's first.
    fn told(&mut self, mut findings: Findings, from: u64, row: u64) -> Findings {
        if from != 0 {
            findings.shift(from);
        }
        self.begun = from.wrapping_add(row);
        findings
    }

    /// Hands pages in, as many as may wait.
    fn hand_in(&mut self, crew: &Crew<'c>) -> Result<(), FormatError> {
        while self.pending.is_empty()
            || (self.pending.len() < crew.depth() && self.ahead_bytes < AHEAD_BYTES)
        {
            match self.reader.next()? {
                None => return Ok(()),
                Some(Next::GroupEnd(end)) => self.pending.push_back(Handed::GroupEnd(end)),
                Some(Next::Page(job)) => {
                    let bytes = job.page.plain_bytes;
                    self.ahead_bytes += bytes;
                    self.pending.push_back(Handed::Page(crew.hand_in(*job), bytes));
                }
            }
        }
        Ok(())
    }
}

/// Reads the data pages of a column, row group by row group.
struct Reader<'c> {
    source: &'c dyn Source,
    column: &'c Column<'c>,
    groups: std::slice::Iter<'c, RowGroup>,
    chunk: Option<ChunkReader<'c>>,
    /// Where pages begin that begin with a row, of chunks that do not tell themselves.
    places: Vec<Landmark>,
}

/// The pages of a chunk that are not yet read.
struct ChunkReader<'c> {
    group: &'c RowGroup,
    pages: StoredPages<'c>,
    dictionary: Option<Arc<Dictionary>>,
    is_first: bool,
    /// The row that the next page begins, of a column with one entry a row.
    row: u64,
}

enum Next<'c> {
    Page(Box<Job<'c>>),
    GroupEnd(u64),
}

impl<'c> Reader<'c> {
    fn is_nested(&self) -> bool {
        self.column.leaf.descriptor.max_rep_level() > 0
    }

    fn next(&mut self) -> Result<Option<Next<'c>>, FormatError> {
        loop {
            let Some(chunk) = &mut self.chunk else {
                let Some(group) = self.groups.next() else { return Ok(None) };
                let pages = StoredPages::new(self.source, &group.chunks[self.column.at]);
                let row = group.rows.start;
                let chunk = ChunkReader { group, pages, dictionary: None, is_first: true, row };
                self.chunk = Some(chunk);
                continue;
            };
            match chunk.pages.next()? {
                None => {
                    let end = chunk.group.rows.end;
                    self.chunk = None;
                    return Ok(Some(Next::GroupEnd(end)));
                }
                Some(page) => {
                    let is_nested = self.column.leaf.descriptor.max_rep_level() > 0;
                    let place = Landmark { row: RowNumber(chunk.row), byte: page.start };
                    if let Some(job) = chunk.take(page, self.column, is_nested)? {
                        if !is_nested && !chunk.group.chunks[self.column.at].has_index {
                            self.places.push(place);
                        }
                        return Ok(Some(Next::Page(Box::new(job))));
                    }
                }
            }
        }
    }
}

impl<'c> ChunkReader<'c> {
    /// What is to be done with a page; `None` where it is the dictionary, which is kept.
    fn take(
        &mut self,
        page: StoredPage,
        column: &'c Column<'c>,
        is_nested: bool,
    ) -> Result<Option<Job<'c>>, FormatError> {
        let PageKind::Data { entries, .. } = page.kind else {
            if self.dictionary.is_some() {
                return Err(FormatError::unreadable("a column chunk has two dictionaries"));
            }
            self.dictionary = Some(Arc::new(Dictionary::new(page)));
            return Ok(None);
        };
        // As many as the field of the page header counts.
        let entries = u32::try_from(entries)
            .map_err(|_| FormatError::unreadable("a page announces more than 2^32 entries"))?;
        let entries = u64::from(entries);
        let row = if is_nested { 0 } else { self.row };
        self.row = self.row.saturating_add(entries);
        if !is_nested && self.row > self.group.rows.end {
            return check_rows(self.row, self.group.rows.end).map(|()| None);
        }
        let is_first = self.is_first;
        self.is_first &= entries == 0;
        let dictionary = self.dictionary.clone();
        let codec = self.group.chunks[column.at].codec;
        Ok(Some(Job { column, codec, page, dictionary, entries, row, is_first }))
    }
}
