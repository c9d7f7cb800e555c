//! Magic numbers: what the first bytes of an object give away. A text may begin with any printable
//! characters (`PARENT_ID,…`, `ORCID,…`), so a magic number of printable ones counts only where the
//! end of the object bears it out.

use crate::format::{FormatError, Source};

/// Both ends of a Parquet file.
pub(super) const PARQUET: &[u8] = b"PAR1";

/// Both ends of a Parquet file with an encrypted footer.
const ENCRYPTED_PARQUET: &[u8] = b"PARE";

/// The start of an ORC file, and its end but for one byte.
const ORC: &[u8] = b"ORC";

/// Where a tar archive names itself (POSIX.1-1988).
const TAR_MAGIC_AT: usize = 257;

/// What begins with bytes that no text begins with, and is not supported.
const UNSUPPORTED: [(&[u8], &str); 14] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"\x02\x21\x4c\x18", "lz4 (legacy frames)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x1f\x9d", "compress (.Z)"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"\x5d\0\0", "lzma"),
    (b"Obj\x01", "Avro"),
    (b"SEQ\x04", "a Hadoop sequence file"),
    (b"SEQ\x05", "a Hadoop sequence file"),
    (b"SEQ\x06", "a Hadoop sequence file"),
    (b"ARROW1\0\0", "Arrow"),
];

/// Whether the object is a Parquet file, cut off or not: text may begin with `PAR1`, but the length
/// that follows is hardly ever printable.
pub(super) fn is_parquet(head: &[u8], source: &dyn Source) -> Result<bool, FormatError> {
    Ok(head.starts_with(PARQUET) && (tail(source)?.ends_with(PARQUET) || !is_text(head)))
}

/// Refuses by name what is known but not supported.
pub(super) fn refuse(head: &[u8], source: &dyn Source) -> Result<(), FormatError> {
    let printable = head.starts_with(ENCRYPTED_PARQUET) || head.starts_with(ORC);
    let tail = if printable { tail(source)? } else { Vec::new() };
    match unsupported(head, &tail) {
        Some(name) => {
            Err(FormatError::unreadable(format!("the object is {name}, which is not supported")))
        }
        None => Ok(()),
    }
}

/// What begins and ends so and is not supported.
pub(super) fn unsupported(head: &[u8], tail: &[u8]) -> Option<&'static str> {
    if head.starts_with(ENCRYPTED_PARQUET) && (tail.ends_with(ENCRYPTED_PARQUET) || !is_text(head))
    {
        return Some("encrypted Parquet");
    }
    let orc_end = tail.split_last().is_some_and(|(_, rest)| rest.ends_with(ORC));
    if head.starts_with(ORC) && (orc_end || !is_text(head)) {
        return Some("ORC");
    }
    if head.get(TAR_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"ustar")) {
        return Some("a tar archive");
    }
    let known = |(start, _): &&(&[u8], &str)| head.starts_with(start) && !is_text(head);
    UNSUPPORTED.iter().find(known).map(|&(_, name)| name)
}

/// Whether the text has two or four bytes a character: by its byte order mark, or because a zero
/// byte stands beside the first character.
pub(super) fn is_utf16(head: &[u8]) -> bool {
    matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 0, 0xfe, 0xff, ..])
        || matches!(head, [0, byte, ..] | [byte, 0, ..] if *byte != 0)
        || matches!(head, [0, 0, 0, byte, ..] if *byte != 0)
}

/// Whether the first bytes look like text of any ASCII-compatible encoding. `\x01` delimits fields
/// in Hive's text files.
fn is_text(head: &[u8]) -> bool {
    let control = |byte: &u8| *byte < 0x20 && !matches!(byte, 1 | b'\t' | b'\n' | b'\r' | 0x0c);
    !head.iter().any(control)
}

/// The last bytes of the object.
fn tail(source: &dyn Source) -> Result<Vec<u8>, FormatError> {
    let size = source.size_bytes();
    let length = size.min(8);
    Ok(source.read_at(size - length, length as usize)?.to_vec())
}
