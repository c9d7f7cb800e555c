//! The fields of a record.

use std::ops::Range;

/// How a file is delimited, for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Dialect {
    /// Between fields.
    pub(in crate::format) delimiter: u8,
    /// Around fields.
    pub(in crate::format) quote: u8,
    /// Before a quote within quotes; `None`: it is doubled.
    pub(in crate::format) escape: Option<u8>,
    /// Whether the first record names the columns.
    pub(in crate::format) header: bool,
}

impl Dialect {
    /// The next byte within quotes that is not content: a quote or an escape.
    pub(super) fn find_special(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr2(self.quote, self.escape.unwrap_or(self.quote), bytes)
    }

    /// What a field says, without quotes. Borrows from `scratch` where it has to be decoded.
    pub(in crate::format) fn value<'v>(&self, raw: &'v [u8], scratch: &'v mut Vec<u8>) -> &'v [u8] {
        let Some(quoted) = raw.strip_prefix(&[self.quote]) else { return raw };
        match self.find_special(quoted) {
            None => quoted,
            Some(at) if at + 1 == quoted.len() && quoted[at] == self.quote => &quoted[..at],
            Some(_) => {
                scratch.clear();
                self.decode(quoted, scratch);
                scratch
            }
        }
    }

    fn decode(&self, mut rest: &[u8], out: &mut Vec<u8>) {
        while let Some(at) = self.find_special(rest) {
            out.extend_from_slice(&rest[..at]);
            let next = rest.get(at + 1);
            let escapes = Some(rest[at]) == self.escape;
            let doubled = self.escape.is_none() && next == Some(&self.quote);
            rest = &rest[at + 1..];
            match next {
                Some(&byte) if escapes || doubled => {
                    out.push(byte);
                    rest = &rest[1..];
                }
                // After the closing quote everything is content.
                _ => break,
            }
        }
        out.extend_from_slice(rest);
    }

    /// Where the field ends that begins with `text`.
    fn field_end(&self, text: &[u8]) -> usize {
        let closed = if text.first() == Some(&self.quote) { self.closed(text) } else { 0 };
        let rest = text.get(closed..).unwrap_or_default();
        memchr::memchr(self.delimiter, rest).map_or(text.len(), |at| closed + at)
    }

    /// Where the quotes end that `text` begins with.
    fn closed(&self, text: &[u8]) -> usize {
        let mut at = 1;
        while let Some(found) = self.find_special(text.get(at..).unwrap_or_default()) {
            at += found;
            let doubled = self.escape.is_none() && text.get(at + 1) == Some(&self.quote);
            if Some(text[at]) != self.escape && !doubled {
                return at + 1;
            }
            at += 2;
        }
        text.len()
    }
}

/// The byte ranges of a record's fields, quotes included. There is at least one.
pub(in crate::format) struct Fields<'r> {
    dialect: &'r Dialect,
    text: &'r [u8],
    next: Option<usize>,
}

impl<'r> Fields<'r> {
    /// Of this record, without its line ending.
    pub(in crate::format) fn new(dialect: &'r Dialect, text: &'r [u8]) -> Self {
        Self { dialect, text, next: Some(0) }
    }
}

impl Iterator for Fields<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.next?;
        let end = start + self.dialect.field_end(&self.text[start..]);
        self.next = (end < self.text.len()).then_some(end + 1);
        Some(start..end)
    }
}
