//! CSV at the speed of memory: quotes, delimiters and line endings 64 bytes at once, as bits; only the
//! fields of identifier columns are looked at.
//!
//! That a quote toggles holds as long as every quote that opens stands at the start of a field or
//! after one that closed (so that the two are one, doubled). A record where that does not hold is left to
//! the plain reader, and so is a dialect with an escape byte.

use super::{Reader, RecordCutter};
use crate::format::lanes::{BLOCK_BYTES, Lanes, Work, below, load_at, parity, with_widest};
use crate::format::text::{Findings, Found, Plain, Problem, ReadWindow, check_length};

/// Reads windows of records.
#[derive(Clone)]
pub(in crate::format) struct Scanner {
    plain: Plain<RecordCutter, Reader>,
    found: Found,
}

impl Scanner {
    pub(super) fn new(plain: Plain<RecordCutter, Reader>) -> Self {
        Self { plain, found: Found::default() }
    }

    /// Whether the dialect is one that this is right about.
    fn is_quick(&self) -> bool {
        let dialect = &self.plain.reader.dialect;
        let special = [dialect.quote, dialect.delimiter];
        dialect.escape.is_none()
            && dialect.quote != dialect.delimiter
            && !special.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
    }
}

impl ReadWindow for Scanner {
    fn read(
        &mut self,
        window: &[u8],
        ended: bool,
        findings: &mut Findings,
    ) -> Result<usize, Problem> {
        if !self.is_quick() {
            return self.plain.read(window, ended, findings);
        }
        let last = memchr::memrchr2(b'\n', b'\r', window);
        let lines = &window[..last.map_or(0, |last| last + 1)];
        let until = if ended { window.len() } else { lines.len() };
        let mut at = 0;
        while at < until {
            if self.plain.is_settled() && at < lines.len() {
                let Self { plain, found } = self;
                let reader = &mut plain.reader;
                at = with_widest(Quick { window: lines, start: at, reader, found, findings })?;
            }
            // What the quick way stopped at: a header, an odd record, one that the window cuts off.
            if at < until {
                match self.plain.read_one(window, at, ended, findings)? {
                    Some(end) => at = end,
                    None => break,
                }
            }
        }
        Ok(at)
    }

    fn is_settled(&self) -> bool {
        self.plain.is_settled()
    }
}

/// Reads a window as far as its records are plain; answers where the first one begins that is not
/// read.
struct Quick<'a> {
    window: &'a [u8],
    /// Where the record begins that is being read.
    start: usize,
    reader: &'a mut Reader,
    found: &'a mut Found,
    findings: &'a mut Findings,
}

/// How far the record is read.
#[derive(Clone, Copy)]
struct Progress {
    /// How many delimiters came.
    delimiters: usize,
    /// Which of the wanted columns comes next.
    next: usize,
    /// Where its field begins, if that came.
    field: usize,
}

impl Work for Quick<'_> {
    type Output = Result<usize, Problem>;

    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) -> Self::Output {
        let dialect = self.reader.dialect;
        let (mut inside, mut opens) = (0u64, 1u64);
        let mut progress = self.begin(self.start);
        let mut at = self.start;
        while at < self.window.len() {
            let block = load_at(lanes, self.window, at);
            // The padding of a last block may be a delimiter or a quote.
            let rest = self.window.len() - at;
            let real = if rest < BLOCK_BYTES { below(rest as u32) } else { !0 };
            let quotes = lanes.equal(block, dialect.quote) & real;
            // All of it is within one field, as most blocks of long texts are.
            if quotes | !inside == 0 {
                opens = 0;
                at += BLOCK_BYTES;
                continue;
            }
            let delimiters = lanes.equal(block, dialect.delimiter) & real;
            let mut endings = lanes.at_most(block, b'\r') & real;
            if endings != 0 {
                endings &= lanes.equal(block, b'\n') | lanes.equal(block, b'\r');
            }
            let quoted = if quotes == 0 { 0 } else { parity(quotes) ^ inside };
            inside = if quoted >> 63 == 1 { !0 } else { 0 };
            let may_open = quotes | endings | delimiters;
            let odd = quotes & quoted & !(may_open << 1 | opens);
            opens = may_open >> 63;
            // What follows an odd quote is not certain.
            let certain = if odd == 0 { !0 } else { below(odd.trailing_zeros()) };
            let (mut endings, delimiters) = (endings & !quoted & certain, delimiters & !quoted);
            let mut done = 0;
            while endings != 0 {
                let place = endings.trailing_zeros();
                endings &= endings - 1;
                self.columns(delimiters & below(place) & !done, at, &mut progress)?;
                done = below(place);
                progress = self.end_record(at + place as usize, progress)?;
            }
            if odd != 0 {
                break;
            }
            self.columns(delimiters & !done, at, &mut progress)?;
            at += BLOCK_BYTES;
        }
        self.found.clear();
        Ok(self.start)
    }
}

impl Quick<'_> {
    #[inline(always)]
    fn begin(&mut self, start: usize) -> Progress {
        self.found.clear();
        self.start = start;
        Progress { delimiters: 0, next: 0, field: start }
    }

    /// Goes past delimiters, and reads the wanted fields between them.
    #[inline(always)]
    fn columns(
        &mut self,
        mut mask: u64,
        at: usize,
        progress: &mut Progress,
    ) -> Result<(), Problem> {
        let mut left = mask.count_ones() as usize;
        while let Some(&(column, place)) = self.reader.columns.get(progress.next) {
            // Delimiter `column` (from 1) opens the field, the one after it closes it.
            if progress.delimiters < column {
                let skipped = column - progress.delimiters;
                if skipped > left {
                    break;
                }
                progress.field = at + take(&mut mask, skipped) + 1;
                progress.delimiters = column;
                left -= skipped;
            }
            if left == 0 {
                return Ok(());
            }
            let end = at + mask.trailing_zeros() as usize;
            self.read(place, progress.field..end)?;
            progress.next += 1;
        }
        progress.delimiters += left;
        Ok(())
    }

    fn read(&mut self, place: usize, field: std::ops::Range<usize>) -> Result<(), Problem> {
        let start = self.start;
        let read = self.reader.digest(place, &self.window[field], self.found);
        read.map_err(|broken| Problem::Broken { broken, start })
    }

    #[inline(always)]
    fn end_record(&mut self, end: usize, mut progress: Progress) -> Result<Progress, Problem> {
        if end > self.start {
            check_length(end - self.start, self.start)?;
            // Of columns of one number, each is read.
            while let Some(&(column, place)) = self.reader.columns.get(progress.next)
                && column == progress.delimiters
            {
                self.read(place, progress.field..end)?;
                progress.next += 1;
            }
            self.findings.row(self.found);
        }
        Ok(self.begin(end + 1))
    }
}

/// Takes away the first `count` bits; answers the place of the last one of them.
#[inline(always)]
fn take(mask: &mut u64, count: usize) -> usize {
    for _ in 1..count {
        *mask &= *mask - 1;
    }
    let place = mask.trailing_zeros() as usize;
    *mask &= *mask - 1;
    place
}
