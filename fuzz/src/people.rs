//! The digest key, the subjects, and what a scan finds of them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::EraseAction;
use lacuna::domain::edit::{Edit, Segment};
use lacuna::domain::field::{BoundFields, IdentifierField};
use lacuna::domain::identifier::{
    DigestKey, Identifier, IdentifierDigest, IdentifierType, Namespace, RawValue,
};
use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::posting::{RowGap, RowPosting};
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::format::{BlankOrder, Format, FormatError, ScanSink, Stopped};

/// The key of every digest here.
pub fn key() -> DigestKey {
    DigestKey::new([3; 32])
}

/// Fields of these paths, all of one namespace.
pub fn fields(paths: &[(&str, IdentifierType)]) -> BoundFields {
    let field = |(path, kind): &(&str, IdentifierType)| IdentifierField {
        namespace: Namespace::new("user"),
        path: path.parse().expect("a path"),
        kind: *kind,
    };
    BoundFields::new(&paths.iter().map(field).collect::<Vec<_>>(), &key())
}

/// The digest of an identifier; `None` where the text is none.
pub fn digest(text: &[u8], kind: IdentifierType) -> Option<IdentifierDigest> {
    let identifier = Identifier::new(Namespace::new("user"), kind, RawValue::Text(text));
    identifier.map(|identifier| identifier.digest(&key()))
}

/// What a scan told.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who stands where.
    pub postings: BTreeSet<(u64, IdentifierDigest)>,
    /// Rows that could not be read.
    pub gaps: BTreeSet<u64>,
    /// Rows with a value that is not of its field's type.
    pub foreign: Vec<u64>,
    /// How many rows there are.
    pub rows: u64,
    /// Where reading can begin.
    pub landmarks: Landmarks,
}

impl ScanSink for Found {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        let last = self.postings.last().map_or(0, |last| last.0);
        assert!(posting.row.0 >= last, "postings are told in ascending order");
        self.postings.insert((posting.row.0, posting.digest));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.gaps.insert(gap.row.0);
    }

    fn foreign_value(&mut self, row: RowNumber) {
        self.foreign.push(row.0);
    }

    fn landmark(&mut self, landmark: Landmark) {
        self.landmarks.push(landmark);
    }

    fn one_member(&mut self, content_bytes: u64) {
        self.landmarks.member_bytes = Some(content_bytes);
    }

    fn page(&mut self, column: u32, page: Landmark) {
        // Every page, however near: a scan's recorder would thin them out.
        self.landmarks.columns.entry(column).or_default().rows.push(page);
    }
}

/// Scans an object.
///
/// # Errors
///
/// As the format.
pub fn scan(
    format: &dyn Format,
    bytes: &Bytes,
    fields: &BoundFields,
) -> Result<Found, FormatError> {
    let mut found = Found::default();
    found.rows = format.scan(bytes, fields, &mut found)?.0;
    Ok(found)
}

/// An order to take these people out of these rows; `None` where there are none.
pub fn order(
    fields: &BoundFields,
    subjects: &HashSet<IdentifierDigest>,
    rows: impl IntoIterator<Item = u64>,
    (action, landmarks): (EraseAction, Landmarks),
) -> Option<BlankOrder> {
    Some(BlankOrder {
        rows: RowSet::new(rows.into_iter().map(RowNumber))?,
        fields: fields.clone(),
        subjects: Arc::new(subjects.clone()),
        action,
        landmarks,
    })
}

/// Carries an edit out, as a lake would.
///
/// # Errors
///
/// As the edit.
pub fn apply(old: &[u8], edit: Edit) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let announced = edit.size_bytes();
    let mut new = Vec::new();
    for segment in edit {
        match segment? {
            Segment::Copy(range) => new.extend(&old[range.start as usize..range.end as usize]),
            Segment::Bytes(bytes) => new.extend(bytes),
        }
    }
    assert!(announced.is_none_or(|size| size == new.len() as u64), "the announced length is true");
    Ok(new.into())
}

/// Whether the bytes stand somewhere in others.
pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
