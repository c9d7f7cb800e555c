//! The canonical form of an identifier: what makes two spellings of one identifier equal.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// An integer identifier of more digits than this is no identifier: it bounds what an exponent such
/// as `1e999999999` can ask for.
const INTEGER_DIGITS: usize = 100;

/// The longest identifier in bytes; a longer value is taken for content in the wrong place.
const LONGEST_BYTES: usize = 4096;

/// A value as a format meets it, decoded (escapes, quotes, dictionaries resolved), not interpreted.
#[derive(Clone, Copy)]
pub enum RawValue<'a> {
    /// Text: a JSON string, a CSV field, a Parquet UTF-8 column. Need not be valid UTF-8.
    Text(&'a [u8]),
    /// A number as it is written, such as `42`, `42.0` or `4.2e1`.
    Number(&'a str),
    /// An integer of a typed column.
    Integer(i128),
    /// Binary content of a typed column: a `uuid` of 16 bytes, or untyped bytes.
    Binary(&'a [u8]),
}

/// What decides the canonical form of the identifiers in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentifierType {
    /// Byte for byte; a number counts as the text it is written as.
    String,
    /// An exact integer of any size: `42`, `"42"`, `42.0`, `4.2e1`, `+42` and `0042` are one.
    Integer,
    /// 128 bits in hexadecimal of either case, with or without dashes, braces or `urn:uuid:`, or
    /// 16 bytes.
    Uuid,
    /// Lower case throughout; dots and `+tags` are kept. Surrounding white space is dropped.
    Email,
}

impl IdentifierType {
    /// The canonical form of a value, or `None` where it is empty or not a value of this type.
    pub fn canonical(self, raw: RawValue<'_>) -> Option<Cow<'_, [u8]>> {
        let text = match raw {
            RawValue::Text(bytes) => Cow::Borrowed(bytes),
            RawValue::Number(lexeme) => Cow::Borrowed(lexeme.as_bytes()),
            RawValue::Integer(value) => Cow::Owned(value.to_string().into_bytes()),
            RawValue::Binary(bytes) if self == Self::Uuid && bytes.len() == 16 => {
                return Some(Cow::Owned(super::hex(bytes).into_bytes()));
            }
            RawValue::Binary(bytes) => Cow::Borrowed(bytes),
        };
        if text.is_empty() || text.len() > LONGEST_BYTES {
            return None;
        }
        match self {
            Self::String => Some(text),
            Self::Integer => integer(text.trim_ascii()).map(Cow::Owned),
            Self::Uuid => uuid(text.trim_ascii()).map(Cow::Owned),
            Self::Email => email(text.trim_ascii()).map(Cow::Owned),
        }
    }
}

/// The exact integer that a decimal text denotes, without leading zeros; never through a float.
fn integer(text: &[u8]) -> Option<Vec<u8>> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mantissa, exponent) = match digits.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&digits[..at], exponent(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|&byte| byte == b'.') {
        Some(at) => (&mantissa[..at], &mantissa[at + 1..]),
        None => (mantissa, &[][..]),
    };
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let mut all: Vec<u8> = whole.iter().chain(fraction).copied().collect();
    let shift = exponent - i64::try_from(fraction.len()).ok()?;
    for _ in shift..0 {
        // A digit to the right of the point: it has to be a zero for the value to be an integer.
        match all.pop() {
            Some(b'0') | None => {}
            Some(_) => return None,
        }
        if all.is_empty() {
            break;
        }
    }
    let start = all.iter().position(|&byte| byte != b'0').unwrap_or(all.len());
    let significant = &all[start..];
    if significant.is_empty() {
        return Some(b"0".to_vec());
    }
    let zeros = usize::try_from(shift.max(0)).ok()?;
    if significant.len().saturating_add(zeros) > INTEGER_DIGITS {
        return None;
    }
    let sign: &[u8] = if negative { b"-" } else { b"" };
    Some([sign, significant, &vec![b'0'; zeros]].concat())
}

fn exponent(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|value: &i64| value.abs() <= 1_000_000)
}

fn uuid(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.to_ascii_lowercase();
    let bare = text.strip_prefix(b"urn:uuid:").unwrap_or(&text);
    let bare = bare.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(bare);
    let dashed = bare.len() == 36;
    if dashed && ![8, 13, 18, 23].iter().all(|&at| bare[at] == b'-') {
        return None;
    }
    let hex: Vec<u8> = bare.iter().copied().filter(|&byte| !(dashed && byte == b'-')).collect();
    (hex.len() == 32 && hex.iter().all(u8::is_ascii_hexdigit)).then_some(hex)
}

fn email(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (local, domain) = text.rsplit_once('@')?;
    (!local.is_empty() && !domain.is_empty()).then(|| text.to_lowercase().into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(kind: IdentifierType, text: &str) -> Option<String> {
        let form = kind.canonical(RawValue::Text(text.as_bytes()))?;
        Some(String::from_utf8(form.into_owned()).expect("these forms are text"))
    }

    #[test]
    fn spellings_of_one_integer_are_equal() {
        for text in ["42", "42.0", "4.2e1", "+42", "0042", " 42 ", "420e-1", "42.000"] {
            assert_eq!(canonical(IdentifierType::Integer, text).as_deref(), Some("42"), "{text}");
        }
        for text in ["-0", "0", "0.0", "0e9", "-0.00"] {
            assert_eq!(canonical(IdentifierType::Integer, text).as_deref(), Some("0"), "{text}");
        }
        let number = IdentifierType::Integer.canonical(RawValue::Number("9007199254740993.0"));
        assert_eq!(number.as_deref(), Some(&b"9007199254740993"[..]));
        let typed = IdentifierType::Integer.canonical(RawValue::Integer(i128::from(i64::MIN)));
        assert_eq!(typed.as_deref(), Some(&b"-9223372036854775808"[..]));
    }

    #[test]
    fn what_is_no_integer_never_becomes_one() {
        for text in [
            "",
            "4.2",
            "42.5",
            "1e-1",
            "abc",
            "4 2",
            "--4",
            ".5",
            "e1",
            "1e",
            "1e999999999",
            "0x2a",
            "４２",
            "1e101",
        ] {
            assert_eq!(canonical(IdentifierType::Integer, text), None, "{text}");
        }
    }

    #[test]
    fn spellings_of_one_uuid_are_equal() {
        let expected = Some("550e8400e29b41d4a716446655440000");
        for text in [
            "550e8400-e29b-41d4-a716-446655440000",
            "550E8400-E29B-41D4-A716-446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
            "550e8400e29b41d4a716446655440000",
        ] {
            assert_eq!(canonical(IdentifierType::Uuid, text).as_deref(), expected, "{text}");
        }
        let bytes = *b"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00";
        let binary = IdentifierType::Uuid.canonical(RawValue::Binary(&bytes));
        assert_eq!(binary.as_deref(), expected.map(str::as_bytes));
        assert_eq!(canonical(IdentifierType::Uuid, "550e8400-e29b-41d4-a716"), None);
        assert_eq!(canonical(IdentifierType::Uuid, "550e8400e-29b-41d4-a716-446655440000"), None);
    }

    #[test]
    fn an_email_ignores_case_and_keeps_dots_and_tags() {
        let form = canonical(IdentifierType::Email, " Ann.B+x@Example.ORG ");
        assert_eq!(form.as_deref(), Some("ann.b+x@example.org"));
        for text in ["ann", "@example.org", "ann@", ""] {
            assert_eq!(canonical(IdentifierType::Email, text), None, "{text}");
        }
    }

    #[test]
    fn a_string_is_compared_byte_for_byte() {
        assert_eq!(canonical(IdentifierType::String, " Ann "), Some(" Ann ".to_owned()));
        assert_eq!(canonical(IdentifierType::String, "0"), Some("0".to_owned()));
        assert_eq!(canonical(IdentifierType::String, ""), None);
        let latin = IdentifierType::String.canonical(RawValue::Text(b"Andr\xe9"));
        assert_eq!(latin.as_deref(), Some(&b"Andr\xe9"[..]));
    }

    proptest! {
        #[test]
        fn a_canonical_form_is_its_own(text in ".{0,40}", kind in kinds()) {
            if let Some(once) = canonical(kind, &text) {
                prop_assert_eq!(canonical(kind, &once), Some(once));
            }
        }

        #[test]
        fn different_integers_stay_different(left: i128, right: i128) {
            let form = |value| IdentifierType::Integer.canonical(RawValue::Integer(value));
            prop_assert_eq!(form(left) == form(right), left == right);
        }
    }

    fn kinds() -> impl Strategy<Value = IdentifierType> {
        prop::sample::select(vec![
            IdentifierType::String,
            IdentifierType::Integer,
            IdentifierType::Uuid,
            IdentifierType::Email,
        ])
    }
}
