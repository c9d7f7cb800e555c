//! Which format an object has, and which compression is around it: told by content, never by the
//! key, and asked once an object. What is known but not supported is refused by name.

use std::sync::Arc;

use bytes::Bytes;

use super::compression::{self, Content, Input, MemberStart};
use super::csv::{Csv, Dialect, Fields, RecordCutter, named, no_column};
use super::jsonl::Jsonl;
use super::parquet::ParquetFormat;
use super::text::{Cutter as _, Kind, Text};
use super::{Format, FormatError, Source};
use crate::domain::dataset::{Compression, CsvDialect, FormatName, Reading};
use crate::domain::field::BoundFields;

mod magic;

/// How much of the stored bytes is looked at for a magic number. That of tar stands at byte 257.
const HEAD_BYTES: usize = 512;

/// How much content is looked at, in bytes: a little first, since most often that decides. A header
/// longer than the last is not recognised.
const PROBES_BYTES: [usize; 2] = [64 << 10, 1 << 20];

/// What may delimit fields, in the order of preference.
const DELIMITERS: [u8; 5] = [b',', b'\t', b';', b'|', 1];

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An object whose format is known.
#[derive(Clone)]
pub struct Opened {
    /// Reads and rewrites it.
    pub format: Arc<dyn Format>,
    /// The name of the format. An object without content has the one that is declared, else JSON
    /// lines.
    pub name: FormatName,
    /// What is around it.
    pub compression: Compression,
}

/// Tells the format of an object.
///
/// A declared format is taken at its word, unless the content contradicts it. Without one, content
/// that begins with `{` is JSON lines, and content whose first record names an identifier column,
/// between delimiters of the dialect or usual ones, is CSV.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where the format is not recognised or not supported, with the
/// reason.
pub fn open(
    source: &dyn Source,
    reading: &Reading,
    fields: &BoundFields,
) -> Result<Opened, FormatError> {
    let head_bytes = usize::try_from(source.size_bytes()).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
    let head = if head_bytes == 0 { Bytes::new() } else { source.read_at(0, head_bytes)? };
    if magic::is_parquet(&head, source)? {
        return match reading.format {
            None | Some(FormatName::Parquet) => Ok(Opened {
                format: Arc::new(ParquetFormat::new()),
                name: FormatName::Parquet,
                compression: Compression::None,
            }),
            Some(other) => Err(contradiction(other, "Parquet")),
        };
    }
    let compression = compression::around(&head, source)?;
    if compression == Compression::None {
        magic::refuse(&head, source)?;
    }
    for limit in PROBES_BYTES {
        let probe = Probe::new(source, compression, limit)?;
        match probe.recognise(compression, reading, fields) {
            Err(_) if !probe.whole && limit != PROBES_BYTES[PROBES_BYTES.len() - 1] => {}
            outcome => return outcome,
        }
    }
    Err(FormatError::unreadable(NOT_RECOGNISED))
}

fn contradiction(declared: FormatName, found: &str) -> FormatError {
    FormatError::unreadable(format!(
        "the dataset's `format` is `{declared}`, but the object is {found}"
    ))
}

/// The first bytes of the content.
struct Probe {
    bytes: Vec<u8>,
    /// Whether that is all of it.
    whole: bool,
}

impl Probe {
    fn new(
        source: &dyn Source,
        compression: Compression,
        limit: usize,
    ) -> Result<Self, FormatError> {
        let input = Input::new(source, 0, limit);
        let mut content = Content::new(input, compression, MemberStart::default())?;
        let mut bytes = Vec::new();
        let mut whole = true;
        while whole && content.begin()?.is_some() {
            whole = bytes.len() < limit;
            while whole && content.read(&mut bytes, limit)? {
                whole = bytes.len() < limit;
            }
        }
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Self { bytes, whole })
    }

    fn recognise(
        &self,
        compression: Compression,
        reading: &Reading,
        fields: &BoundFields,
    ) -> Result<Opened, FormatError> {
        if compression != Compression::None {
            self.refuse_nested(compression)?;
        }
        let name = self.name(reading, fields)?;
        let format: Arc<dyn Format> = match name {
            FormatName::Csv if !self.bytes.is_empty() => {
                let dialect = self.dialect(&reading.csv, fields)?;
                Arc::new(Text::new(Csv::new(dialect), compression))
            }
            // Every format reads nothing alike.
            FormatName::Jsonl | FormatName::Csv | FormatName::Parquet => {
                Arc::new(Text::new(Jsonl, compression))
            }
        };
        Ok(Opened { format, name, compression })
    }

    /// Whether there is nothing to tell a format by.
    fn is_empty(&self) -> bool {
        self.whole && self.bytes.trim_ascii().is_empty()
    }

    fn refuse_nested(&self, compression: Compression) -> Result<(), FormatError> {
        let outer = format!("{compression} holds");
        if compression::begins(&self.bytes) {
            return Err(FormatError::unreadable(format!("{outer} another compression")));
        }
        if self.bytes.starts_with(magic::PARQUET) {
            return Err(FormatError::unreadable(format!(
                "{outer} Parquet, which is not supported"
            )));
        }
        match magic::unsupported(&self.bytes, &[]) {
            Some(name) => {
                Err(FormatError::unreadable(format!("{outer} {name}, which is not supported")))
            }
            None => Ok(()),
        }
    }

    fn name(&self, reading: &Reading, fields: &BoundFields) -> Result<FormatName, FormatError> {
        if self.is_empty() {
            return Ok(reading.format.unwrap_or(FormatName::Jsonl));
        }
        if magic::is_utf16(&self.bytes) {
            return Err(FormatError::unreadable(
                "the text is UTF-16 or UTF-32, which is not supported",
            ));
        }
        let start = self.bytes.trim_ascii_start();
        match reading.format {
            Some(FormatName::Parquet) => Err(contradiction(FormatName::Parquet, "not Parquet")),
            Some(FormatName::Csv) => Ok(FormatName::Csv),
            None if !matches!(start.first(), Some(b'{' | b'[')) => {
                let dialect = resolve(&reading.csv, self, fields);
                let known = reading.csv.header && dialect.is_some();
                let fail = || FormatError::unreadable(NOT_RECOGNISED);
                known.then_some(FormatName::Csv).ok_or_else(fail)
            }
            None | Some(FormatName::Jsonl) => {
                refuse_other_json(start)?;
                Ok(FormatName::Jsonl)
            }
        }
    }

    fn dialect(&self, csv: &CsvDialect, fields: &BoundFields) -> Result<Dialect, FormatError> {
        if let Some(dialect) = resolve(csv, self, fields) {
            return Ok(dialect);
        }
        if csv.header && self.is_empty() {
            let CsvDialect { delimiter, quote, escape, header } = *csv;
            return Ok(Dialect {
                delimiter: delimiter.unwrap_or(DELIMITERS[0]),
                quote,
                escape,
                header,
            });
        }
        Err(match (csv.header, csv.delimiter) {
            (true, Some(_)) => no_column(fields, true),
            (true, None) => {
                let FormatError::Unreadable(mut problem) = no_column(fields, true) else {
                    return Err(FormatError::unreadable(NOT_RECOGNISED));
                };
                problem.reason.push_str(" between any of the usual delimiters; set `delimiter`");
                FormatError::Unreadable(problem)
            }
            (false, _) => {
                FormatError::unreadable("a file without header needs a `delimiter`; set it")
            }
        })
    }
}

const NOT_RECOGNISED: &str = "the format is not recognised: it is not JSON lines, and its first \
    line names no identifier column; set the dataset's `format`";

/// JSON that is not a document a line would be nothing but gaps.
fn refuse_other_json(start: &[u8]) -> Result<(), FormatError> {
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if start.first() == Some(&b'[') {
        return Err(FormatError::unreadable(
            "the object is a JSON array, not JSON lines; write it as one document a line",
        ));
    }
    if line.trim_ascii() == b"{" && line.len() < start.len() {
        return Err(FormatError::unreadable(
            "the object is JSON spread over several lines, not JSON lines; \
             write it as one document a line",
        ));
    }
    Ok(())
}

/// The dialect, with the delimiter that shows the most identifier columns in the header; `None`
/// where none shows any.
fn resolve(csv: &CsvDialect, probe: &Probe, fields: &BoundFields) -> Option<Dialect> {
    let with = |delimiter| {
        let CsvDialect { quote, escape, header, .. } = *csv;
        Dialect { delimiter, quote, escape, header }
    };
    if !csv.header {
        return csv.delimiter.map(with);
    }
    let candidates: &[u8] = match &csv.delimiter {
        Some(delimiter) => std::slice::from_ref(delimiter),
        None => &DELIMITERS,
    };
    let shown = |dialect: &Dialect| {
        let header = header(dialect, probe)?;
        let columns = named(dialect, header, fields.iter().map(|field| field.path())).len();
        (columns > 0).then(|| (columns, Fields::new(dialect, header).count()))
    };
    // `max_by_key` answers the last of equals; the first is preferred.
    let ranked = candidates.iter().rev().map(|&delimiter| with(delimiter));
    let ranked = ranked.filter_map(|dialect| Some((shown(&dialect)?, dialect)));
    ranked.max_by_key(|&(shown, _)| shown).map(|(_, dialect)| dialect)
}

/// The first record that is not empty.
fn header<'p>(dialect: &Dialect, probe: &'p Probe) -> Option<&'p [u8]> {
    let mut cutter = RecordCutter::new(*dialect);
    let mut rest = &probe.bytes[..];
    while !rest.is_empty() {
        let cut = cutter.cut(rest, probe.whole).ok()??;
        if cut.kind == Kind::Header {
            return Some(&rest[..cut.text]);
        }
        rest = &rest[cut.text + cut.ending..];
    }
    None
}

#[cfg(test)]
mod tests;
