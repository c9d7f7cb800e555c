//! A report in CSV: gzip around rows whose fields are quoted, without a header, keys percent-encoded.

use std::io::{BufRead, BufReader, Read as _};

use flate2::read::MultiGzDecoder;

use super::Problem;
use super::bytes::{SourceReader, lake_error_behind};
use super::row::{Field, Fields};
use crate::domain::Timestamp;
use crate::format::SharedSource;

/// How long a row may be, in bytes: a key has 1,024, encoded three times as many.
const ROW_BYTES: u64 = 64 << 10;

/// How much is decompressed at once, in bytes.
const BUFFER_BYTES: usize = 128 << 10;

/// Tells every row of a file.
pub(super) fn read(
    source: SharedSource,
    columns: &[Option<Field>],
    mut tell: impl FnMut(Fields<'_>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let text = MultiGzDecoder::new(BufReader::new(SourceReader::new(source)));
    let mut text = BufReader::with_capacity(BUFFER_BYTES, text);
    let (mut line, mut row) = (Vec::new(), 0_u64);
    loop {
        row += 1;
        line.clear();
        let read = text.by_ref().take(ROW_BYTES).read_until(b'\n', &mut line);
        let read = read.map_err(|error| match lake_error_behind(error) {
            Ok(error) => Problem::Lake(error),
            Err(_) => Problem::Content("is not whole gzip".to_owned()),
        })?;
        if read == 0 {
            return Ok(());
        }
        let wrong = |what: &str| Problem::Content(format!("is wrong in row {row}: {what}"));
        if read as u64 == ROW_BYTES {
            return Err(wrong("it is too long"));
        }
        let values = split(line.trim_ascii_end()).ok_or_else(|| wrong("a quote is not closed"))?;
        if values.len() != columns.len() {
            return Err(wrong("it has another number of fields than the manifest names"));
        }
        let mut values = Values { columns, values };
        values.decode_key().ok_or_else(|| wrong("its key is not encoded as it should be"))?;
        tell(values.fields().map_err(wrong)?)?;
    }
}

/// The fields of a row (RFC 4180, but for line endings within quotes, which an encoded key never has).
fn split(mut rest: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut values = Vec::new();
    loop {
        let mut value = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let end = memchr::memchr(b'"', rest)?;
                value.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix(b"\"") {
                    Some(after) => {
                        value.push(b'"');
                        rest = after;
                    }
                    None => break,
                }
            }
        }
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        value.extend_from_slice(&rest[..end]);
        values.push(value);
        match rest.get(end + 1..) {
            Some(after) => rest = after,
            None => return Some(values),
        }
    }
}

/// Decodes a key as a form encodes it: a space may be `+`, a plus never stands for itself.
fn decode(mut rest: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut key = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        rest = tail;
        key.push(match first {
            b'%' => {
                let (digits, tail) = rest.split_at_checked(2)?;
                rest = tail;
                digit(digits[0])? << 4 | digit(digits[1])?
            }
            b'+' => b' ',
            other => *other,
        });
    }
    Some(key)
}

/// The values of a row, and what they are.
struct Values<'c> {
    columns: &'c [Option<Field>],
    values: Vec<Vec<u8>>,
}

impl Values<'_> {
    /// Puts the key in place of its encoded form.
    fn decode_key(&mut self) -> Option<()> {
        let at = self.columns.iter().position(|column| *column == Some(Field::Key))?;
        let key = self.values.get_mut(at)?;
        *key = decode(key)?;
        Some(())
    }

    fn fields(&self) -> Result<Fields<'_>, &'static str> {
        let text = |field: Field| match self.value(field) {
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| "a field is not UTF-8"),
            None => Ok(None),
        };
        let is_true = |field| text(field).map(|text| text.map(|text| text == "true"));
        let size = text(Field::Size)?.map(str::parse).transpose();
        let modified_at = text(Field::LastModified)?.map(str::parse::<Timestamp>).transpose();
        Ok(Fields {
            bucket: self.value(Field::Bucket),
            key: self.value(Field::Key),
            version: text(Field::VersionId)?.map(Some),
            is_latest: is_true(Field::IsLatest)?,
            is_delete_marker: is_true(Field::IsDeleteMarker)?.unwrap_or(false),
            // A delete marker has no size.
            size_bytes: size.ok().flatten(),
            modified_at: modified_at.map_err(|_| "its time cannot be read")?,
            etag: text(Field::ETag)?,
            storage_class: text(Field::StorageClass)?,
        })
    }

    fn value(&self, field: Field) -> Option<&[u8]> {
        let at = self.columns.iter().position(|column| *column == Some(field))?;
        self.values.get(at).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_cut_at_commas_outside_of_quotes() {
        let text = |row: &str| {
            let values = split(row.as_bytes())?;
            Some(values.into_iter().map(|value| String::from_utf8(value).unwrap()).collect())
        };
        let row: Option<Vec<String>> = text("\"a\",\"b,\"\"c\"\"\",d,,\"\"");
        assert_eq!(row.unwrap(), ["a", "b,\"c\"", "d", "", ""]);
        assert_eq!(text("").unwrap() as Vec<String>, [""]);
        assert_eq!(text("\"a,b"), None::<Vec<String>>);
    }

    /// C3: a key is decoded once, pluses and all.
    #[test]
    fn a_key_is_decoded_once() {
        let decoded = |text: &str| decode(text.as_bytes());
        assert_eq!(decoded("a/b+c%20d%2Be%252F%C3%BC").unwrap(), "a/b c d+e%2Fü".as_bytes());
        assert!(decoded("%4").is_none() && decoded("%zz").is_none());
    }
}
