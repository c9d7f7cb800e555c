//! Where an identifier stands in a record: dotted paths, and fields bound to their digests.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::identifier::{
    DigestKey, Digester, IdentifierDigest, IdentifierType, Namespace, RawValue,
};

/// A dotted path into a record: `contact.email`, `devices[*].owner`, `"dotted.name".id`.
///
/// Names match exactly, case included. A name that holds a dot, a bracket or a quote stands in
/// double quotes, a quote within doubled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldPath(Vec<Step>);

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Into the member of this name (CSV: the column; Parquet: the field).
    Name(String),
    /// Into every element of an array: `[*]`.
    Each,
}

impl FieldPath {
    /// The steps from the record inwards; never empty, and the first is a name.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Whether `other` is this path or lies within it.
    pub fn contains(&self, other: &FieldPath) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Each => formatter.write_str("[*]")?,
                Step::Name(name) => {
                    if position > 0 {
                        formatter.write_str(".")?;
                    }
                    if name.is_empty() || name.contains(['.', '[', ']', '"']) {
                        write!(formatter, "\"{}\"", name.replace('"', "\"\""))?;
                    } else {
                        formatter.write_str(name)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A text is not a field path.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{path}` is not a field path: {problem}; write it as `contact.email` or `devices[*].owner`"
)]
pub struct NotAFieldPath {
    path: String,
    problem: &'static str,
}

impl FromStr for FieldPath {
    type Err = NotAFieldPath;

    fn from_str(path: &str) -> Result<Self, NotAFieldPath> {
        let fail = |problem| NotAFieldPath { path: path.to_owned(), problem };
        let mut steps = Vec::new();
        let mut rest = path;
        loop {
            let (name, after) = take_name(rest).map_err(fail)?;
            steps.push(Step::Name(name));
            rest = after;
            while let Some(after) = rest.strip_prefix("[*]") {
                steps.push(Step::Each);
                rest = after;
            }
            if rest.is_empty() {
                return Ok(Self(steps));
            }
            rest = rest.strip_prefix('.').ok_or_else(|| fail("a name ends at `.` or `[*]`"))?;
        }
    }
}

/// The first name of a path and what follows it.
fn take_name(path: &str) -> Result<(String, &str), &'static str> {
    let Some(quoted) = path.strip_prefix('"') else {
        let end = path.find(['.', '[', ']', '"']).unwrap_or(path.len());
        let (name, rest) = path.split_at(end);
        return if name.is_empty() { Err("a name is empty") } else { Ok((name.to_owned(), rest)) };
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quote is not closed")?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Ok((name, after)),
        }
    }
}

impl Serialize for FieldPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FieldPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A field of a dataset that holds identifiers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentifierField {
    /// Whose identifiers they are.
    pub namespace: Namespace,
    /// Where the value stands.
    #[serde(rename = "field")]
    pub path: FieldPath,
    /// What decides its canonical form.
    #[serde(rename = "type")]
    pub kind: IdentifierType,
}

/// The identifier fields of a dataset, ready to digest what a format reads at their paths.
#[derive(Clone, Debug)]
pub struct BoundFields(Vec<BoundField>);

/// One field of [`BoundFields`].
#[derive(Clone, Debug)]
pub struct BoundField {
    path: FieldPath,
    kind: IdentifierType,
    digester: Digester,
}

/// What a value at an identifier field turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digested {
    /// An identifier.
    Identifier(IdentifierDigest),
    /// The empty text, which identifies nobody.
    Empty,
    /// A value that the field's type does not have (`abc` in an integer field): nobody's, but
    /// counted, since it may mean that the configuration is wrong.
    Foreign,
}

impl BoundFields {
    /// The fields bound to digests under the key.
    pub fn new(fields: &[IdentifierField], key: &DigestKey) -> Self {
        let bind = |field: &IdentifierField| BoundField {
            path: field.path.clone(),
            kind: field.kind,
            digester: key.digester(&field.namespace),
        };
        Self(fields.iter().map(bind).collect())
    }

    /// The fields, in the configuration's order.
    pub fn iter(&self) -> std::slice::Iter<'_, BoundField> {
        self.0.iter()
    }
}

impl BoundField {
    /// Where the value stands.
    pub fn path(&self) -> &FieldPath {
        &self.path
    }

    /// Digests a value that stands at the path.
    pub fn digest(&self, raw: RawValue<'_>) -> Digested {
        if matches!(raw, RawValue::Text(b"") | RawValue::Binary(b"")) {
            return Digested::Empty;
        }
        match self.kind.canonical(raw) {
            Some(canonical) => Digested::Identifier(self.digester.digest(&canonical)),
            None => Digested::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_prints_as_it_was_written() {
        for path in [
            "user_id",
            "contact.email",
            "devices[*].owner",
            "grid[*][*]",
            "\"a.b\".c",
            "\"say \"\"hi\"\"\"",
            "\"\"",
        ] {
            assert_eq!(path.parse::<FieldPath>().expect(path).to_string(), path);
        }
    }

    #[test]
    fn what_is_no_path_says_why() {
        for path in ["", ".", "a.", "a..b", "[*]", "a[0]", "a[*]b", "\"open"] {
            assert!(path.parse::<FieldPath>().is_err(), "{path}");
        }
    }

    #[test]
    fn equal_values_of_two_namespaces_have_unrelated_digests() {
        let key = DigestKey::new([7; 32]);
        let field = |namespace: &str| IdentifierField {
            namespace: Namespace::new(namespace),
            path: "id".parse().expect("a path"),
            kind: IdentifierType::String,
        };
        let bound = BoundFields::new(&[field("user"), field("device")], &key);
        let digests: Vec<_> = bound.iter().map(|at| at.digest(RawValue::Text(b"42"))).collect();
        assert_ne!(digests[0], digests[1]);
        assert_eq!(
            bound.iter().next().map(|at| at.digest(RawValue::Text(b""))),
            Some(Digested::Empty)
        );
    }
}
