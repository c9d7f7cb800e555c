//! Batch files in CSV (RFC 4180), read strictly: what is not plainly one record is rejected.

use crate::domain::identifier::Namespace;

use super::SubjectProblem;

/// A file whose first line names columns.
pub(super) struct Header<'a> {
    columns: Vec<Option<Namespace>>,
    delimiter: u8,
    body: &'a [u8],
}

/// One record below the header.
pub(super) struct Record {
    /// The line it begins at, from 1.
    pub line: u64,
    /// Its cells, as many as there are columns.
    pub cells: Result<Vec<String>, SubjectProblem>,
}

impl<'a> Header<'a> {
    /// The header of a file whose first line consists of nothing but known names, in quotes or not.
    pub fn of(bytes: &'a [u8], known: impl Fn(&str) -> Option<Option<Namespace>>) -> Option<Self> {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        let first = std::str::from_utf8(bytes.get(..end)?).ok()?.trim();
        let body = bytes.get(end + 1..).unwrap_or_default();
        [b',', b';', b'\t'].into_iter().find_map(|delimiter| {
            let names = first.split(char::from(delimiter)).map(str::trim);
            let columns: Option<Vec<_>> = names.map(|name| known(unquoted(name))).collect();
            columns.map(|columns| Self { columns, delimiter, body })
        })
    }

    /// What each column holds: a namespace's values, or whole subjects.
    pub fn columns(&self) -> &[Option<Namespace>] {
        &self.columns
    }

    /// The records, blank lines left out.
    pub fn records(&self) -> Vec<Record> {
        let mut reader = Reader { rest: self.body, delimiter: self.delimiter, line: 2 };
        let mut records = Vec::new();
        while !reader.rest.is_empty() {
            let line = reader.line;
            if reader.skip_blank_line() {
                continue;
            }
            let cells = reader.record().and_then(|cells| self.texts(cells));
            if cells.is_err() {
                reader.skip_line(line);
            }
            records.push(Record { line, cells });
        }
        records
    }

    fn texts(&self, cells: Vec<Vec<u8>>) -> Result<Vec<String>, SubjectProblem> {
        if cells.len() != self.columns.len() {
            let problem = "it has another number of fields than the header";
            return Err(SubjectProblem::Malformed(problem));
        }
        let text = |cell| String::from_utf8(cell).map_err(|_| SubjectProblem::NotText);
        cells.into_iter().map(text).collect()
    }
}

fn unquoted(name: &str) -> &str {
    name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name)
}

struct Reader<'a> {
    rest: &'a [u8],
    delimiter: u8,
    line: u64,
}

/// What stands after a field.
enum After {
    Field,
    Record,
}

impl Reader<'_> {
    /// Passes over a line of nothing but white space; answers whether it was one.
    fn skip_blank_line(&mut self) -> bool {
        let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
        let blank = self.rest[..end]
            .iter()
            .all(|byte| byte.is_ascii_whitespace() && *byte != self.delimiter);
        if blank {
            self.advance((end + 1).min(self.rest.len()));
        }
        blank
    }

    /// Goes on after the line at which a record could not be read, unless it is behind already.
    fn skip_line(&mut self, begun: u64) {
        if self.line == begun {
            let end = self.rest.iter().position(|&byte| byte == b'\n');
            self.advance(end.map_or(self.rest.len(), |end| end + 1));
        }
    }

    fn advance(&mut self, count: usize) {
        let (passed, rest) = self.rest.split_at(count);
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.rest = rest;
    }

    fn record(&mut self) -> Result<Vec<Vec<u8>>, SubjectProblem> {
        let mut cells = Vec::new();
        loop {
            let (cell, after) =
                if self.rest.first() == Some(&b'"') { self.quoted()? } else { self.plain()? };
            cells.push(cell);
            if matches!(after, After::Record) {
                return Ok(cells);
            }
        }
    }

    fn plain(&mut self) -> Result<(Vec<u8>, After), SubjectProblem> {
        let ends = |&byte: &u8| byte == self.delimiter || byte == b'\n';
        let end = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        let field = &self.rest[..end];
        if field.contains(&b'"') {
            return Err(SubjectProblem::Malformed("a quote stands inside an unquoted field"));
        }
        let is_last = self.rest.get(end) != Some(&self.delimiter);
        let field = if is_last { field.strip_suffix(b"\r").unwrap_or(field) } else { field };
        let field = field.to_vec();
        Ok((field, self.after(end)?))
    }

    fn quoted(&mut self) -> Result<(Vec<u8>, After), SubjectProblem> {
        let mut field = Vec::new();
        let mut at = 1;
        loop {
            match (self.rest.get(at), self.rest.get(at + 1)) {
                (Some(b'"'), Some(b'"')) => {
                    field.push(b'"');
                    at += 2;
                }
                (Some(b'"'), _) => return Ok((field, self.after(at + 1)?)),
                (Some(byte), _) => {
                    field.push(*byte);
                    at += 1;
                }
                (None, _) => return Err(SubjectProblem::Malformed("a quote is not closed")),
            }
        }
    }

    /// Goes past the field's end at `at` and what ends it.
    fn after(&mut self, at: usize) -> Result<After, SubjectProblem> {
        let (length, after) = match self.rest.get(at..).unwrap_or_default() {
            [] => (0, After::Record),
            [b'\n', ..] => (1, After::Record),
            [b'\r', b'\n', ..] => (2, After::Record),
            [b'\r'] => (1, After::Record),
            [byte, ..] if *byte == self.delimiter => (1, After::Field),
            _ => return Err(SubjectProblem::Malformed("something follows a closing quote")),
        };
        self.advance(at + length);
        Ok(after)
    }
}
