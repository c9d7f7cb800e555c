//! Erasure requests. They hold raw identifiers, so they live in memory only.

use std::collections::BTreeSet;

use super::identifier::Identifier;

/// What one or more people asked for (GDPR Art. 17), as it was handed in.
#[derive(Clone, Debug)]
pub struct ErasureRequest {
    /// The reference that people know it by. No personal data.
    pub reference: String,
    /// Whose records are meant.
    pub subjects: Vec<RequestedSubject>,
}

/// One data subject of a request.
#[derive(Clone, Debug)]
pub struct RequestedSubject {
    /// The subject's place in the request, from 1: how documents refer to it.
    pub ordinal: u32,
    /// A masked form, for people who hold the request to recognise the subject by.
    pub mask: Mask,
    /// The identifiers by which the subject is known; at least one.
    pub identifiers: Vec<Identifier>,
}

/// An identifier as documents may show it: its first character and its kind of shape, no more, such
/// as `a…` or `a…@…`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Mask(String);

impl Mask {
    /// The mask of an identifier's text.
    pub fn of(text: &str) -> Self {
        let first: String =
            text.chars().find(|character| character.is_alphanumeric()).into_iter().collect();
        Self(if text.contains('@') { format!("{first}…@…") } else { format!("{first}…") })
    }

    /// As documents show it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Values that stand for nobody, or for everybody without a name: asking for one of them would erase
/// the rows of a multitude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservedValues(BTreeSet<Vec<u8>>);

/// What programs write where an identifier is missing.
const PLACEHOLDERS: &[&str] = &[
    "-1",
    "anon",
    "anonymous",
    "default",
    "deleted",
    "false",
    "guest",
    "n/a",
    "na",
    "nan",
    "nil",
    "no",
    "none",
    "nobody",
    "noemail",
    "null",
    "redacted",
    "root",
    "system",
    "test",
    "true",
    "undefined",
    "unknown",
    "void",
];

impl Default for ReservedValues {
    fn default() -> Self {
        Self::new(PLACEHOLDERS.iter().copied())
    }
}

impl ReservedValues {
    /// These values in place of the usual ones; ASCII case is ignored. Values of zeros only and values
    /// without a letter or digit are reserved whatever the list says.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self(values.into_iter().map(|value| value.trim().to_ascii_lowercase().into()).collect())
    }

    /// Whether the identifier is one of them.
    pub fn contains(&self, identifier: &Identifier) -> bool {
        let value = identifier.canonical().trim_ascii().to_ascii_lowercase();
        let mut words =
            value.iter().filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
        // Empty, `--`, `0`, `0000`, `00000000-0000-0000-0000-000000000000`.
        words.all(|byte| *byte == b'0')
            || value.len() == 32 && value.iter().all(|byte| *byte == b'f')
            || self.0.contains(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identifier::{IdentifierType, Namespace, RawValue};

    fn is_reserved(kind: IdentifierType, text: &str) -> bool {
        let raw = RawValue::Text(text.as_bytes());
        let identifier = Identifier::new(Namespace::new("user"), kind, raw);
        identifier.is_none_or(|identifier| ReservedValues::default().contains(&identifier))
    }

    /// H6: what stands for nobody is no request.
    #[test]
    fn a_placeholder_is_reserved() {
        for text in
            ["", " ", "0", "-0", "00", "null", "NULL", " None ", "anonymous", "-1", "-", "?"]
        {
            assert!(is_reserved(IdentifierType::String, text), "{text:?}");
        }
        for text in ["0", "0.0", "-1", "-1.0"] {
            assert!(is_reserved(IdentifierType::Integer, text), "{text:?}");
        }
        for text in ["00000000-0000-0000-0000-000000000000", "ffffffffffffffffffffffffffffffff"] {
            assert!(is_reserved(IdentifierType::Uuid, text), "{text:?}");
        }
    }

    #[test]
    fn a_person_is_not() {
        for text in ["u1", "10", "100", "-10", "nullman", "ö", "anonymous7", "'; DROP TABLE x; --"]
        {
            assert!(!is_reserved(IdentifierType::String, text), "{text:?}");
        }
        assert!(!is_reserved(IdentifierType::Email, "null@example.org"));
    }
}
