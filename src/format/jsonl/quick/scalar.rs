//! Numbers, literals and strings, one by one.

use super::super::walk::{Scalar, number_length};

/// Whether a byte is white space within a line.
pub(super) fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// The next place that is not white space.
pub(super) fn skip_blank(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(is_blank) {
        at += 1;
    }
    at
}

/// Whether these first bytes of a text, of which `others` are no digits, are a number without sign and
/// exponent.
#[inline(always)]
pub(super) fn is_decimal(text: &[u8], length: u32, others: u64) -> bool {
    let whole = if others == 0 { length } else { others.trailing_zeros() };
    let fraction_fits = others == 0
        || (others & (others - 1) == 0 && whole + 1 < length && text[whole as usize] == b'.');
    fraction_fits && (whole == 1 || (whole > 1 && text[0] != b'0'))
}

/// Whether the text begins with a number or a literal, and something that may follow one.
pub(super) fn is_scalar(text: &[u8]) -> bool {
    let length = match text.first() {
        Some(b'-' | b'0'..=b'9') => number_length(text),
        _ => None,
    };
    let length = length.or_else(|| scalar(text).map(|(_, length)| length));
    length.is_some_and(|length| text.get(length).is_some_and(ends_scalar))
}

fn ends_scalar(byte: &u8) -> bool {
    matches!(byte, b',' | b'}' | b']' | b'\n' | b' ' | b'\t' | b'\r')
}

/// The string, number or literal that the text begins with, and its length.
pub(super) fn scalar(text: &[u8]) -> Option<(Scalar<'_>, usize)> {
    const LITERALS: [(&[u8], Scalar<'static>); 6] = [
        (b"true", Scalar::Literal),
        (b"false", Scalar::Literal),
        (b"null", Scalar::Null),
        (b"NaN", Scalar::Literal),
        (b"Infinity", Scalar::Literal),
        (b"-Infinity", Scalar::Literal),
    ];
    if text.first() == Some(&b'"') {
        let (length, escaped) = string_length(text)?;
        return Some((Scalar::Text { raw: &text[1..length - 1], escaped }, length));
    }
    if let Some(length) = number_length(text) {
        return Some((Scalar::Number(std::str::from_utf8(&text[..length]).ok()?), length));
    }
    let literal = LITERALS.iter().find(|(word, _)| text.starts_with(word));
    literal.map(|&(word, scalar)| (scalar, word.len()))
}

/// The length of the string that the text begins with, quotes included, and whether a backslash is in
/// it.
fn string_length(text: &[u8]) -> Option<(usize, bool)> {
    let (mut at, mut escaped) = (1, false);
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some((at + 1, escaped));
        }
        escaped = true;
        at += 2;
    }
}
