//! What has to be the same before and after blanks are dropped, row numbers aside.

use bytes::{Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use crate::domain::edit::{Edit, Segment};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::{RowCount, RowNumber};
use crate::format::detect::Opened;
use crate::format::{FormatError, ScanSink, Source, Stopped};
use crate::scan::DatasetReader;

/// How many bytes are read at once to be hashed.
const PIECE_BYTES: u64 = 1 << 20;

/// Who stands where, in order, row numbers aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trail {
    /// How many rows.
    pub(super) rows: RowCount,
    /// How many of them cannot be read.
    pub(super) unreadable_rows: u64,
    /// SHA-256 over the identifiers of each row that has any, in the order of the rows.
    pub(super) digest: [u8; 32],
}

/// The trail of an object.
pub(super) fn trail_of(
    opened: &Opened,
    source: &dyn Source,
    reader: &DatasetReader,
) -> Result<Trail, FormatError> {
    let mut sink = TrailSink::default();
    let rows = opened.format.scan(source, reader.fields(), &mut sink)?;
    Ok(sink.finish(rows))
}

/// Takes the postings of a scan, in ascending order of rows.
#[derive(Default)]
struct TrailSink {
    row: Option<RowNumber>,
    identifiers: Vec<IdentifierDigest>,
    unreadable_rows: u64,
    hash: Sha256,
}

impl TrailSink {
    /// The trail, when the scan has counted its rows.
    fn finish(mut self, rows: RowCount) -> Trail {
        self.end_row();
        let digest = self.hash.finalize().into();
        Trail { rows, unreadable_rows: self.unreadable_rows, digest }
    }

    fn end_row(&mut self) {
        if self.identifiers.is_empty() {
            return;
        }
        self.identifiers.sort_unstable();
        self.identifiers.dedup();
        self.hash.update((self.identifiers.len() as u64).to_be_bytes());
        for identifier in self.identifiers.drain(..) {
            self.hash.update(identifier.as_bytes());
        }
    }
}

impl ScanSink for TrailSink {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        if self.row != Some(posting.row) {
            self.end_row();
            self.row = Some(posting.row);
        }
        self.identifiers.push(posting.digest);
        Ok(())
    }

    fn gap(&mut self, _: RowGap) {
        self.unreadable_rows += 1;
    }

    fn foreign_value(&mut self, _: RowNumber) {}
}

/// Bytes by length and SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// How many.
    pub(super) size_bytes: u64,
    /// SHA-256 of them.
    pub(super) digest: [u8; 32],
}

/// The bytes that an edit makes of an object, and the first of them, at most so many.
pub(super) fn content_of(
    edit: Edit,
    source: &dyn Source,
    most_held: usize,
) -> Result<(Content, Bytes), FormatError> {
    let mut hash = Sha256::new();
    let mut size_bytes: u64 = 0;
    let mut held = BytesMut::new();
    let mut take = |bytes: &[u8]| {
        hash.update(bytes);
        size_bytes = size_bytes.saturating_add(bytes.len() as u64);
        held.extend_from_slice(&bytes[..bytes.len().min(most_held - held.len())]);
    };
    for segment in edit {
        let segment =
            segment.map_err(|_| FormatError::unreadable("its blanks cannot be dropped"))?;
        match segment {
            Segment::Bytes(bytes) => take(&bytes),
            Segment::Copy(range) => {
                let mut at = range.start;
                while at < range.end {
                    let length = (range.end - at).min(PIECE_BYTES);
                    let length = usize::try_from(length).unwrap_or(usize::MAX);
                    take(&source.read_at(at, length)?);
                    at += length as u64;
                }
            }
        }
    }
    Ok((Content { size_bytes, digest: hash.finalize().into() }, held.freeze()))
}
