//! CSV, TSV and their kin: records of fields between delimiters (RFC 4180, and what is written
//! beyond it).
//!
//! - A record ends at LF, CR LF or CR outside quotes, as Python's `csv`, pandas and Spark read it.
//!   An empty line is no record and has no number.
//! - Quotes count where a field begins with one; a quote within a field without quotes is content,
//!   as is whatever follows a closing quote up to the delimiter.
//! - Within quotes a quote is doubled or, where the dialect has an escape byte, stands after it.
//! - The first record is the header, if the dialect has one; a record that repeats it is a row. Of
//!   columns that share a name, each is read.
//! - A record with fewer fields than the header has no value in the others; one with more keeps
//!   them.
//!
//! Works on bytes: any encoding that keeps ASCII passes. Knows no compression and no store.

use super::FormatError;
use super::text::{Broken, EraseRecord, Found, Plain, ReadRecord, Syntax};
use crate::domain::dataset::EraseAction;
use crate::domain::field::{BoundFields, FieldPath, Step};
use crate::domain::identifier::RawValue;
use crate::domain::masked::{MaskedRow, Shape};

mod cut;
mod fields;
mod quick;

pub(super) use cut::RecordCutter;
pub(super) use fields::{Dialect, Fields};

/// The syntax of delimited text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Csv {
    dialect: Dialect,
}

impl Csv {
    /// Delimited text of this dialect.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect }
    }
}

impl Syntax for Csv {
    type Cutter = RecordCutter;
    type Reader = Reader;
    type Scanner = quick::Scanner;
    type Eraser = Eraser;

    fn cutter(&self) -> RecordCutter {
        RecordCutter::new(self.dialect)
    }

    fn reader(&self, fields: &BoundFields) -> Result<Reader, FormatError> {
        let mut reader = Reader {
            dialect: self.dialect,
            fields: fields.clone(),
            columns: Vec::new(),
            scratch: Vec::new(),
        };
        if !self.dialect.header {
            reader.bind(numbered(fields.iter().map(|field| field.path())))?;
        }
        Ok(reader)
    }

    fn scanner(&self, fields: &BoundFields) -> Result<quick::Scanner, FormatError> {
        let plain = Plain::new(self.cutter(), self.reader(fields)?, !self.dialect.header);
        Ok(quick::Scanner::new(plain))
    }

    fn eraser(&self, action: &EraseAction) -> Eraser {
        let (paths, redacts) = match action {
            EraseAction::Blank { keep } => (keep.clone(), false),
            EraseAction::Redact { fields } => (fields.clone(), true),
        };
        let columns = match self.dialect.header {
            true => Vec::new(),
            false => numbered(paths.iter()),
        };
        Eraser { dialect: self.dialect, paths, redacts, columns }
    }

    fn show(&self, header: &[u8], text: &[u8], row: &mut MaskedRow) {
        let mut names = Vec::new();
        let mut scratch = Vec::new();
        if self.dialect.header {
            for field in Fields::new(&self.dialect, header) {
                let name = self.dialect.value(&header[field], &mut scratch);
                names.push(String::from_utf8_lossy(name).into_owned());
            }
        }
        for (number, field) in Fields::new(&self.dialect, text).enumerate() {
            let value = self.dialect.value(&text[field], &mut scratch);
            let name = names.get(number).cloned().unwrap_or_else(|| (number + 1).to_string());
            row.push([name.as_str()], || Shape::of_bytes(value));
        }
    }

    fn is_blank(&self, text: &[u8]) -> bool {
        let mut scratch = Vec::new();
        Fields::new(&self.dialect, text)
            .all(|field| self.dialect.value(&text[field], &mut scratch).is_empty())
    }
}

/// A column, from 0, and the place of the path that leads to it.
type Column = (usize, usize);

/// The columns of a header that paths lead to, ascending. A flat record has nothing nested: a path
/// of several names means the column whose name is spelled with dots.
pub(super) fn named<'p>(
    dialect: &Dialect,
    header: &[u8],
    paths: impl Iterator<Item = &'p FieldPath>,
) -> Vec<Column> {
    let names: Vec<Option<String>> = paths.map(column_name).collect();
    let mut scratch = Vec::new();
    let mut columns = Vec::new();
    for (column, field) in Fields::new(dialect, header).enumerate() {
        let name = dialect.value(&header[field], &mut scratch);
        for (place, wanted) in names.iter().enumerate() {
            if wanted.as_ref().is_some_and(|wanted| wanted.as_bytes() == name) {
                columns.push((column, place));
            }
        }
    }
    columns
}

/// The columns of a file without header that paths lead to, ascending.
fn numbered<'p>(paths: impl Iterator<Item = &'p FieldPath>) -> Vec<Column> {
    let column = |path| {
        let name = column_name(path)?;
        let number: usize = name.parse().ok()?;
        (number > 0 && number.to_string() == name).then(|| number - 1)
    };
    let mut columns: Vec<Column> =
        paths.enumerate().filter_map(|(place, path)| Some((column(path)?, place))).collect();
    columns.sort_unstable();
    columns
}

fn column_name(path: &FieldPath) -> Option<String> {
    let mut names = Vec::new();
    for step in path.steps() {
        match step {
            Step::Name(name) => names.push(name.as_str()),
            Step::Each => return None,
        }
    }
    Some(names.join("."))
}

/// Reads the identifiers of records.
#[derive(Clone)]
pub(super) struct Reader {
    dialect: Dialect,
    fields: BoundFields,
    columns: Vec<Column>,
    scratch: Vec<u8>,
}

impl Reader {
    fn bind(&mut self, columns: Vec<Column>) -> Result<(), FormatError> {
        if columns.is_empty() {
            return Err(no_column(&self.fields, self.dialect.header));
        }
        self.columns = columns;
        Ok(())
    }
}

/// No identifier column is there.
pub(super) fn no_column(fields: &BoundFields, header: bool) -> FormatError {
    let names: Vec<String> = fields.iter().map(|field| format!("`{}`", field.path())).collect();
    let names = names.join(", ");
    FormatError::unreadable(match header {
        true => format!("the header has none of the identifier columns {names}"),
        false => format!(
            "{names} is no column of a file without header: there they are named `1`, `2` and so on"
        ),
    })
}

impl Reader {
    /// Adds what stands in a field; `place` is that of the path that leads to it.
    fn digest(&mut self, place: usize, field: &[u8], found: &mut Found) -> Result<(), Broken> {
        let Some(bound) = self.fields.iter().nth(place) else { return Ok(()) };
        let value = self.dialect.value(field, &mut self.scratch);
        let added = found.add(bound.digest(RawValue::Text(value)));
        added.map_err(|reason| Broken { reason, at: 0 })
    }
}

impl ReadRecord for Reader {
    fn header(&mut self, text: &[u8]) -> Result<(), FormatError> {
        let paths = self.fields.iter().map(|field| field.path());
        self.bind(named(&self.dialect, text, paths))
    }

    fn read(&mut self, text: &[u8], found: &mut Found) -> Result<(), Broken> {
        let dialect = self.dialect;
        let mut next = 0;
        for (number, field) in Fields::new(&dialect, text).enumerate() {
            while let Some(&(_, place)) = self.columns.get(next).filter(|&&(at, _)| at == number) {
                self.digest(place, &text[field.clone()], found)?;
                next += 1;
            }
            if next == self.columns.len() {
                break;
            }
        }
        Ok(())
    }
}

/// Erases records.
pub(super) struct Eraser {
    dialect: Dialect,
    paths: Vec<FieldPath>,
    redacts: bool,
    columns: Vec<Column>,
}

impl EraseRecord for Eraser {
    fn header(&mut self, text: &[u8]) {
        self.columns = named(&self.dialect, text, self.paths.iter());
    }

    /// As many fields as before, the erased ones empty, the others byte for byte. A record that
    /// would be an empty line, and thus none, becomes a pair of quotes.
    fn erase(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        let start = out.len();
        for (number, field) in Fields::new(&self.dialect, text).enumerate() {
            if number > 0 {
                out.push(self.dialect.delimiter);
            }
            let named = self.columns.iter().any(|&(column, _)| column == number);
            if named != self.redacts {
                out.extend_from_slice(&text[field]);
            }
        }
        if out.len() == start {
            out.extend_from_slice(&[self.dialect.quote; 2]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
