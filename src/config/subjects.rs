//! Subjects out of arguments and batch files. Pure: text in, identifiers out. Nothing is guessed,
//! and no message shows a value, only its line.

use std::collections::HashSet;
use std::fmt;

use crate::domain::identifier::{Identifier, IdentifierType, Namespace, RawValue};
use crate::domain::request::{Mask, RequestedSubject, ReservedValues};

mod table;

/// What heads the column of whole subjects (`VALUE` or `NAMESPACE=VALUE`) in a batch file.
pub const SUBJECT_COLUMN: &str = "subject";

/// What subjects can be told in: the configured namespaces, and the values that identify nobody.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    namespaces: Vec<(Namespace, IdentifierType)>,
    reserved: ReservedValues,
}

/// A subject that was understood. Its position among others is not decided yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// How documents show it.
    pub mask: Mask,
    /// By what it is known; at least one.
    pub identifiers: Vec<Identifier>,
}

/// Why a text is not a subject, without the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubjectProblem {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// What stands before `=` looks like a namespace and is none.
    #[error(
        "no such namespace before `=`; configured are: {known}; an identifier that holds `=` is \
         written NAMESPACE=VALUE"
    )]
    UnknownNamespace {
        /// The configured ones.
        known: String,
    },
    /// The value is not of the namespace's type.
    #[error("it is not a value of namespace `{namespace}`, whose type is {kind}")]
    WrongType {
        /// The namespace.
        namespace: Namespace,
        /// Its type.
        kind: &'static str,
    },
    /// The value is of no configured namespace's type.
    #[error("it is not a value of any configured namespace; configured are: {known}")]
    NoNamespace {
        /// The configured ones.
        known: String,
    },
    /// The value identifies nobody.
    #[error("it is reserved: systems write it where they know nobody (see `reserved` in [plan])")]
    Reserved,
    /// The value holds a control character.
    #[error("it holds a control character")]
    ControlCharacter,
    /// White space at an end would be part of the identifier.
    #[error(
        "it begins or ends with white space, which would be part of the identifier; remove it, or \
         quote the value in a CSV file"
    )]
    WhiteSpace,
    /// The bytes are no text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A record is not as CSV has it.
    #[error("{0}")]
    Malformed(&'static str),
}

/// A line of a batch file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// The line, from 1.
    pub line: u64,
    /// Why.
    pub problem: SubjectProblem,
}

impl fmt::Display for RejectedLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

/// Subjects, each once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    subjects: Vec<Subject>,
    seen: HashSet<Vec<Identifier>>,
    /// How many repeated an earlier one and were dropped.
    pub repeated: u64,
}

impl Batch {
    /// Adds a subject, unless one with the same identifiers is there already.
    pub fn add(&mut self, subject: Subject) {
        if self.seen.insert(subject.identifiers.clone()) {
            self.subjects.push(subject);
        } else {
            self.repeated += 1;
        }
    }

    /// Adds those of another batch.
    pub fn extend(&mut self, other: Batch) {
        self.repeated += other.repeated;
        other.subjects.into_iter().for_each(|subject| self.add(subject));
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// The subjects, in order.
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The subjects, numbered from 1.
    pub fn numbered(self) -> Vec<RequestedSubject> {
        let numbered = (1..).zip(self.subjects);
        let request = |(ordinal, subject): (u32, Subject)| RequestedSubject {
            ordinal,
            mask: subject.mask,
            identifiers: subject.identifiers,
        };
        numbered.map(request).collect()
    }
}

impl Vocabulary {
    /// A vocabulary of these namespaces and reserved values.
    pub fn new(namespaces: Vec<(Namespace, IdentifierType)>, reserved: ReservedValues) -> Self {
        Self { namespaces, reserved }
    }

    /// The subject that `VALUE` or `NAMESPACE=VALUE` means. A value alone stands for itself in
    /// every namespace whose type has it.
    ///
    /// # Errors
    ///
    /// When it is empty, reserved, of no namespace's type, or names an unknown namespace.
    pub fn subject(&self, text: &str) -> Result<Subject, SubjectProblem> {
        let (namespace, value) = self.split(text)?;
        let identifiers = match namespace {
            Some(namespace) => vec![self.identifier(namespace, value)?],
            None => self.everywhere(value)?,
        };
        Ok(Subject { mask: Mask::of(value), identifiers })
    }

    /// The subjects of a batch: one a line, or CSV whose header names namespaces.
    ///
    /// # Errors
    ///
    /// Every line that cannot be read. Nothing of the others is returned then: a batch counts as a
    /// whole.
    pub fn batch(&self, bytes: &[u8]) -> Result<Batch, Vec<RejectedLine>> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
            let problem = SubjectProblem::Malformed("the file is UTF-16; save it as UTF-8");
            return Err(vec![RejectedLine { line: 1, problem }]);
        }
        match table::Header::of(bytes, |name| self.column(name)) {
            Some(header) => self.table(&header),
            None => self.lines(bytes),
        }
    }

    fn lines(&self, bytes: &[u8]) -> Result<Batch, Vec<RejectedLine>> {
        let mut outcome = Outcome::default();
        for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() {
                outcome.take(number, self.line(line));
            }
        }
        outcome.end()
    }

    fn line(&self, line: &[u8]) -> Result<Subject, SubjectProblem> {
        let text = std::str::from_utf8(line).map_err(|_| SubjectProblem::NotText)?;
        if text.chars().any(char::is_control) {
            return Err(SubjectProblem::ControlCharacter);
        }
        let subject = self.subject(text)?;
        let trims = |identifier: &Identifier| {
            self.kind(identifier.namespace()) != Some(IdentifierType::String)
        };
        let (_, value) = self.split(text)?;
        let edges = text.trim() != text || value.trim() != value;
        if edges && !subject.identifiers.iter().all(trims) {
            return Err(SubjectProblem::WhiteSpace);
        }
        Ok(subject)
    }

    fn table(&self, header: &table::Header<'_>) -> Result<Batch, Vec<RejectedLine>> {
        let mut outcome = Outcome::default();
        for record in header.records() {
            let subject = record.cells.and_then(|cells| self.record(header, &cells));
            outcome.take(record.line, subject);
        }
        outcome.end()
    }

    fn record(
        &self,
        header: &table::Header<'_>,
        cells: &[String],
    ) -> Result<Subject, SubjectProblem> {
        let mut mask = None;
        let mut identifiers: Vec<Identifier> = Vec::new();
        for (column, cell) in header.columns().iter().zip(cells) {
            if cell.is_empty() {
                continue;
            }
            if cell.chars().any(char::is_control) {
                return Err(SubjectProblem::ControlCharacter);
            }
            let (cell_mask, found) = match column {
                Some(namespace) => (Mask::of(cell), vec![self.identifier(namespace, cell)?]),
                None => {
                    let subject = self.subject(cell)?;
                    (subject.mask, subject.identifiers)
                }
            };
            mask.get_or_insert(cell_mask);
            for identifier in found {
                if !identifiers.contains(&identifier) {
                    identifiers.push(identifier);
                }
            }
        }
        mask.map(|mask| Subject { mask, identifiers }).ok_or(SubjectProblem::Empty)
    }

    /// What a column of this name holds: a namespace's values, or (`None`) whole subjects.
    fn column(&self, name: &str) -> Option<Option<Namespace>> {
        if name == SUBJECT_COLUMN {
            return Some(None);
        }
        let known = self.namespaces.iter().find(|(namespace, _)| namespace.as_str() == name);
        known.map(|(namespace, _)| Some(namespace.clone()))
    }

    fn split<'a>(&self, text: &'a str) -> Result<(Option<&Namespace>, &'a str), SubjectProblem> {
        let Some((prefix, rest)) = text.split_once('=') else { return Ok((None, text)) };
        let known = self.namespaces.iter().find(|(namespace, _)| namespace.as_str() == prefix);
        if let Some((namespace, _)) = known {
            return Ok((Some(namespace), rest));
        }
        // Base64 ends in `=`; whatever else follows a word and `=` was meant as a namespace.
        if is_word(prefix) && rest.bytes().any(|byte| byte != b'=') {
            return Err(SubjectProblem::UnknownNamespace { known: self.known() });
        }
        Ok((None, text))
    }

    fn identifier(&self, namespace: &Namespace, value: &str) -> Result<Identifier, SubjectProblem> {
        if value.is_empty() {
            return Err(SubjectProblem::Empty);
        }
        let kind = self.kind(namespace).unwrap_or(IdentifierType::String);
        let identifier = of_type(namespace, kind, value).ok_or_else(|| {
            SubjectProblem::WrongType { namespace: namespace.clone(), kind: type_name(kind) }
        })?;
        if self.reserved.contains(&identifier) {
            return Err(SubjectProblem::Reserved);
        }
        Ok(identifier)
    }

    fn everywhere(&self, value: &str) -> Result<Vec<Identifier>, SubjectProblem> {
        if value.is_empty() {
            return Err(SubjectProblem::Empty);
        }
        let mut identifiers = Vec::new();
        for (namespace, kind) in &self.namespaces {
            if let Some(identifier) = of_type(namespace, *kind, value) {
                if self.reserved.contains(&identifier) {
                    return Err(SubjectProblem::Reserved);
                }
                identifiers.push(identifier);
            }
        }
        if identifiers.is_empty() {
            return Err(SubjectProblem::NoNamespace { known: self.known() });
        }
        Ok(identifiers)
    }

    fn kind(&self, namespace: &Namespace) -> Option<IdentifierType> {
        self.namespaces.iter().find(|(known, _)| known == namespace).map(|(_, kind)| *kind)
    }

    fn known(&self) -> String {
        let names: Vec<&str> = self.namespaces.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }
}

#[derive(Default)]
struct Outcome {
    batch: Batch,
    rejected: Vec<RejectedLine>,
}

impl Outcome {
    fn take(&mut self, line: u64, subject: Result<Subject, SubjectProblem>) {
        match subject {
            Ok(subject) => self.batch.add(subject),
            Err(problem) => self.rejected.push(RejectedLine { line, problem }),
        }
    }

    fn end(self) -> Result<Batch, Vec<RejectedLine>> {
        if self.rejected.is_empty() { Ok(self.batch) } else { Err(self.rejected) }
    }
}

fn of_type(namespace: &Namespace, kind: IdentifierType, value: &str) -> Option<Identifier> {
    Identifier::new(namespace.clone(), kind, RawValue::Text(value.as_bytes()))
}

fn type_name(kind: IdentifierType) -> &'static str {
    match kind {
        IdentifierType::String => "string (of at most 4096 bytes)",
        IdentifierType::Integer => "integer",
        IdentifierType::Uuid => "uuid",
        IdentifierType::Email => "email",
    }
}

/// Whether a text could name a namespace: a letter, then letters, digits, `_` and `-`.
pub(super) fn is_word(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) && text.bytes().all(inner)
}

#[cfg(test)]
mod tests;
