//! Cuts the content of an object into records, whatever its compression, in bounded memory.

use std::collections::VecDeque;

use crate::domain::dataset::Compression;
use crate::domain::landmark::Landmark;
use crate::domain::row::{RowCount, RowNumber};
use crate::format::compression::{Content, Hint, Input, MemberStart, PIECE_BYTES, Resume};
use crate::format::{FormatError, LONGEST_RECORD_BYTES, Source};

/// What may stand before the first record, and is no part of it.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Finds where records end.
pub(in crate::format) trait Cutter: Send + 'static {
    /// The record that `window` begins with; `None` where its end is not in the window. Called
    /// again with a longer window then. `ended`: nothing follows the window, which is not empty.
    ///
    /// # Errors
    ///
    /// [`Broken`] where no record can be made of what is there, nor of anything after it.
    fn cut(&mut self, window: &[u8], ended: bool) -> Result<Option<Cut>, Broken>;

    /// Whether the next record is the header.
    fn awaits_header(&self) -> bool {
        false
    }

    /// Forgets how far a record was searched for its end: its window is not the last one, longer.
    fn restart(&mut self);
}

/// Where a record ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Cut {
    /// The length of the record in bytes, without its line ending.
    pub(in crate::format) text: usize,
    /// The length of its line ending.
    pub(in crate::format) ending: usize,
    /// What it is.
    pub(in crate::format) kind: Kind,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Kind {
    /// It names the columns and is no row.
    Header,
    /// A row.
    Row,
    /// Nothing, such as an empty line of CSV.
    Nothing,
}

/// Why a record cannot be read, without any of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Broken {
    /// What is wrong, lower case.
    pub(in crate::format) reason: &'static str,
    /// Where, in bytes from the start of the record.
    pub(in crate::format) at: usize,
}

/// A record.
pub(in crate::format) struct Record<'a> {
    /// Without its line ending.
    pub(in crate::format) text: &'a [u8],
    /// Its line ending.
    pub(in crate::format) ending: &'a [u8],
    /// Its place, if it is a row; `None` for a header.
    pub(in crate::format) row: Option<RowNumber>,
    /// Where it begins in the content.
    pub(in crate::format) start: u64,
    /// The member that it begins in.
    pub(in crate::format) member: MemberStart,
}

/// The records of an object, in order.
pub(in crate::format) struct Records<S, C> {
    content: Content<S>,
    cutter: C,
    buffer: Vec<u8>,
    /// Where the next record begins in the buffer …
    at: usize,
    /// … and in the content.
    offset: u64,
    /// The members that the bytes from `at` on lie in.
    members: VecDeque<MemberStart>,
    within_member: bool,
    ended: bool,
    rows: u64,
}

impl<S: Source, C: Cutter> Records<S, C> {
    /// # Errors
    ///
    /// [`FormatError`] where the source cannot be read.
    pub(in crate::format) fn new(
        source: S,
        compression: Compression,
        cutter: C,
    ) -> Result<Self, FormatError> {
        let input = Input::new(source, 0, PIECE_BYTES);
        let content = Content::new(input, compression, MemberStart::default())?;
        Self::of(content, cutter)
    }

    /// The same records, and places near them from which an edit can go on.
    ///
    /// # Errors
    ///
    /// As `new`.
    pub(in crate::format) fn traced(
        source: S,
        compression: Compression,
        cutter: C,
    ) -> Result<Self, FormatError> {
        let input = Input::new(source, 0, PIECE_BYTES);
        let mut content = Content::new(input, compression, MemberStart::default())?;
        content.trace();
        Self::of(content, cutter)
    }

    /// Makes [`Records::skip_to`] go on from these places.
    pub(in crate::format) fn resume_from(&mut self, resume: Resume) {
        self.content.resume_from(resume);
    }

    fn of(content: Content<S>, cutter: C) -> Result<Self, FormatError> {
        let mut records = Self {
            content,
            cutter,
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            members: VecDeque::new(),
            within_member: false,
            ended: false,
            rows: 0,
        };
        records.skip_byte_order_mark()?;
        Ok(records)
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), FormatError> {
        while self.buffer.len() < BYTE_ORDER_MARK.len() && !self.ended {
            self.fill()?;
        }
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.consume(BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// From where an edit of a record can go on that begins here, in this member.
    pub(in crate::format) fn hint(&mut self, member: MemberStart, start: u64) -> Option<Hint> {
        self.content.hint(member, start)
    }

    /// How many rows came so far.
    pub(in crate::format) fn rows(&self) -> RowCount {
        RowCount(self.rows)
    }

    /// How much of the content was passed so far, in bytes.
    pub(in crate::format) fn position(&self) -> u64 {
        self.offset
    }

    /// The header, if one is to come; then it is read.
    ///
    /// # Errors
    ///
    /// As `next`.
    pub(in crate::format) fn header(&mut self) -> Result<Option<Record<'_>>, FormatError> {
        if self.cutter.awaits_header() { self.next() } else { Ok(None) }
    }

    /// Goes on at a place further on, where this row begins.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where no record begins at that place, or the content cannot be read that far.
    pub(in crate::format) fn skip_to(&mut self, place: Landmark) -> Result<(), FormatError> {
        match place.byte.checked_sub(self.offset) {
            None => return Err(self.no_record()),
            Some(0) => {}
            Some(_) => {
                self.skip_bytes(place.byte - 1)?;
                if !matches!(self.buffer.get(self.at), Some(b'\n' | b'\r')) {
                    return Err(self.no_record());
                }
                self.consume(1);
            }
        }
        self.cutter.restart();
        self.rows = place.row.0;
        Ok(())
    }

    /// Goes on at this byte of the content, and has it at hand.
    fn skip_bytes(&mut self, byte: u64) -> Result<(), FormatError> {
        let buffered = (self.buffer.len() - self.at) as u64;
        if byte > self.offset.saturating_add(buffered)
            && !self.ended
            && let Some(member) = self.content.seek(byte)?
        {
            self.buffer.clear();
            (self.at, self.offset) = (0, self.content.position());
            self.within_member = true;
            if self.members.back() != Some(&member) {
                self.members.push_back(member);
            }
        }
        loop {
            let left = usize::try_from(byte - self.offset).unwrap_or(usize::MAX);
            self.consume(left.min(self.buffer.len() - self.at));
            if self.at < self.buffer.len() {
                return Ok(());
            }
            if self.ended {
                return Err(self.no_record());
            }
            self.fill()?;
        }
    }

    fn no_record(&self) -> FormatError {
        self.unreadable(Broken { reason: "no record begins where one was said to", at: 0 })
    }

    /// The next record that is a header or a row.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the object cannot be read on.
    pub(in crate::format) fn next(&mut self) -> Result<Option<Record<'_>>, FormatError> {
        loop {
            let Some(cut) = self.cut()? else { return Ok(None) };
            let (at, start, length) = (self.at, self.offset, cut.text + cut.ending);
            let member = self.member();
            self.consume(length);
            let row = match cut.kind {
                Kind::Nothing => continue,
                Kind::Header => None,
                Kind::Row => Some(RowNumber(self.rows)),
            };
            self.rows += u64::from(row.is_some());
            let (text, ending) = self.buffer[at..at + length].split_at(cut.text);
            return Ok(Some(Record { text, ending, row, start, member }));
        }
    }

    fn cut(&mut self) -> Result<Option<Cut>, FormatError> {
        loop {
            let window = &self.buffer[self.at..];
            if window.is_empty() && self.ended {
                return Ok(None);
            }
            let cut =
                if window.is_empty() { Ok(None) } else { self.cutter.cut(window, self.ended) };
            let cut = cut.map_err(|broken| self.unreadable(broken))?;
            let length = cut.map_or(window.len(), |cut| cut.text);
            if length > LONGEST_RECORD_BYTES {
                let reason = "a record is longer than 64 MiB";
                return Err(self.unreadable(Broken { reason, at: 0 }));
            }
            if cut.is_some() {
                return Ok(cut);
            }
            self.fill()?;
        }
    }

    fn unreadable(&self, broken: Broken) -> FormatError {
        let byte = self.offset + broken.at as u64;
        FormatError::unreadable_at(broken.reason, Some(RowNumber(self.rows)), byte)
    }

    fn consume(&mut self, length: usize) {
        self.at += length;
        self.offset += length as u64;
    }

    /// The member that the next record begins in. Forgets those before it.
    fn member(&mut self) -> MemberStart {
        while self.members.get(1).is_some_and(|second| second.content <= self.offset) {
            self.members.pop_front();
        }
        self.members.front().copied().unwrap_or_default()
    }

    /// Reads at least one byte more, unless the object ends.
    fn fill(&mut self) -> Result<(), FormatError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let before = self.buffer.len();
        while self.buffer.len() == before && !self.ended {
            if self.within_member {
                self.within_member = self.content.read(&mut self.buffer, PIECE_BYTES)?;
            } else {
                self.next_member()?;
            }
        }
        Ok(())
    }

    fn next_member(&mut self) -> Result<(), FormatError> {
        let Some(member) = self.content.begin()? else {
            self.ended = true;
            return Ok(());
        };
        self.within_member = true;
        self.member();
        if self.members.back().is_some_and(|last| last.content == member.content) {
            // The last one is empty: millions of such must not pile up.
            self.members.pop_back();
        }
        self.members.push_back(member);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;

    use super::*;

    struct Whole;

    impl Cutter for Whole {
        fn cut(&mut self, window: &[u8], ended: bool) -> Result<Option<Cut>, Broken> {
            Ok(ended.then_some(Cut { text: window.len(), ending: 0, kind: Kind::Row }))
        }

        fn restart(&mut self) {}
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("to memory");
        encoder.finish().expect("to memory")
    }

    /// Members without content cost no memory, however many there are.
    #[test]
    fn empty_members_do_not_pile_up() {
        let stored = [gzip(b"a"), gzip(b"").repeat(5000), gzip(b"b")].concat();
        let mut records =
            Records::new(Bytes::from(stored), Compression::Gzip, Whole).expect("gzip");
        let record = records.next().expect("readable").expect("one record");
        assert_eq!((record.text, record.member), (&b"ab"[..], MemberStart::default()));
        assert_eq!(records.members.len(), 2);
    }
}
