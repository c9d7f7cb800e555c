//! Bytes to rows and back. A format knows how long an object is and how to get a range of its bytes;
//! it knows no store, no index and no plan.

pub mod parquet;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::domain::dataset::EraseAction;
use crate::domain::edit::{Edit, Way};
use crate::domain::field::BoundFields;
use crate::domain::identifier::IdentifierDigest;
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::masked::MaskedRow;
use crate::domain::posting::{RowGap, RowPosting, Unreadable};
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::domain::stretch::Extent;

mod compression;
mod csv;
pub mod detect;
mod jsonl;
mod lanes;
mod text;

/// The bytes of one object version, which do not change while it is read.
///
/// # Contract
///
/// `read_at` returns exactly `length` bytes or an error, never fewer: an object that ends early is
/// an error. Sequential reads are fast, whatever their size; others cost a round trip.
pub trait Source: Send + Sync {
    /// The length in bytes, as stored.
    fn size_bytes(&self) -> u64;

    /// `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`SourceError`] where the store fails, the object is no longer the one that was opened, or the
    /// range lies beyond its end.
    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError>;

    /// As `read_at`, for a reader who goes on somewhere else: nothing beyond the range is read.
    ///
    /// # Errors
    ///
    /// As `read_at`.
    fn read_alone(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        self.read_at(offset, length)
    }

    /// What is at hand from `offset` on without copying: at least one byte, at most `at_most`, which is
    /// at least one.
    ///
    /// # Errors
    ///
    /// As `read_at` of `at_most` bytes.
    fn read_some(&self, offset: u64, at_most: usize) -> Result<Bytes, SourceError> {
        self.read_at(offset, at_most)
    }
}

/// A source that an edit can hold on to.
pub type SharedSource = Arc<dyn Source>;

impl Source for Bytes {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.size_bytes())?;
        Ok(self.slice(range.start as usize..range.end as usize))
    }
}

impl<T: Source + ?Sized> Source for &T {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        (**self).read_at(offset, length)
    }

    fn read_alone(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        (**self).read_alone(offset, length)
    }

    fn read_some(&self, offset: u64, at_most: usize) -> Result<Bytes, SourceError> {
        (**self).read_some(offset, at_most)
    }
}

impl<T: Source + ?Sized> Source for Arc<T> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        (**self).read_at(offset, length)
    }

    fn read_alone(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        (**self).read_alone(offset, length)
    }

    fn read_some(&self, offset: u64, at_most: usize) -> Result<Bytes, SourceError> {
        (**self).read_some(offset, at_most)
    }
}

/// The range that `read_at` asks for, if it lies within the object.
///
/// # Errors
///
/// [`SourceError`] where it ends beyond `size_bytes`.
pub fn checked_range(
    offset: u64,
    length: usize,
    size_bytes: u64,
) -> Result<Range<u64>, SourceError> {
    match offset.checked_add(length as u64) {
        Some(end) if end <= size_bytes => Ok(offset..end),
        _ => Err(SourceError::new(format!(
            "{length} bytes from byte {offset} lie beyond the end of an object of {size_bytes} bytes"
        ))),
    }
}

/// The store failed under a format. It carries the store's own error, so that the caller can react
/// to its kind.
#[derive(Debug, thiserror::Error)]
#[error("the object could not be read")]
pub struct SourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl SourceError {
    /// From any error or message.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }
}

/// Why a format could not do its work. Never holds content of the object.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes are not what they should be; reading them again will not help.
    #[error("{0}")]
    Unreadable(Unreadable),
    /// The store failed; reading again may help.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The receiver of a scan's postings gave up.
    #[error("the scan was stopped by its receiver")]
    Stopped,
}

impl FormatError {
    /// The object is unreadable as a whole, for this reason.
    pub fn unreadable(reason: impl Into<String>) -> Self {
        Self::Unreadable(Unreadable { reason: reason.into(), row: None, byte: None })
    }

    /// The object is unreadable from this place on.
    pub fn unreadable_at(reason: impl Into<String>, row: Option<RowNumber>, byte: u64) -> Self {
        Self::Unreadable(Unreadable { reason: reason.into(), row, byte: Some(byte) })
    }
}

/// Receives what a scan finds, in ascending order of rows.
pub trait ScanSink {
    /// An identifier stands in a row. The same pair may come more than once.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where the receiver wants no more; the scan ends with [`FormatError::Stopped`].
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped>;

    /// Several at once, which is what [`ScanSink::posting`] would be told one after another.
    ///
    /// # Errors
    ///
    /// As [`ScanSink::posting`].
    fn postings(&mut self, postings: &[RowPosting]) -> Result<(), Stopped> {
        postings.iter().try_for_each(|&posting| self.posting(posting))
    }

    /// A row could not be read.
    fn gap(&mut self, gap: RowGap);

    /// A value at an identifier field is not of the field's type.
    fn foreign_value(&mut self, row: RowNumber);

    /// Reading can begin here. Told in ascending order, about every
    /// [`Landmarks::DISTANCE_BYTES`](crate::domain::landmark::Landmarks::DISTANCE_BYTES) or more often.
    fn landmark(&mut self, _landmark: Landmark) {}

    /// All of the object is one gzip member with so much content, whose checksum is right. Told last,
    /// and only of an object that has landmarks.
    fn one_member(&mut self, _content_bytes: u64) {}

    /// A page of a Parquet column begins here, with a row. Told in ascending order for each column,
    /// whose number is its place in the schema.
    fn page(&mut self, _column: u32, _page: Landmark) {}
}

/// The receiver of a scan wants no more.
#[derive(Debug)]
pub struct Stopped;

impl From<Stopped> for FormatError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Which rows to blank, and for whom.
#[derive(Clone, Debug)]
pub struct BlankOrder {
    /// Rows that the index holds to be the subjects'. A hint: each is matched again.
    pub rows: RowSet,
    /// Where identifiers stand in a row.
    pub fields: BoundFields,
    /// Whose rows are to go.
    pub subjects: Arc<HashSet<IdentifierDigest>>,
    /// What becomes of them.
    pub action: EraseAction,
    /// Where reading can begin near a row, as a scan of this version told. A hint: where it is missing or
    /// wrong, more is read.
    pub landmarks: Landmarks,
}

/// The answer to a [`BlankOrder`].
#[derive(Debug)]
pub struct Blanking {
    /// The new object; `None` where no row is to change.
    pub edit: Option<Edit>,
    /// The rows that hold an identifier of the subjects, and that the edit blanks.
    pub blanked: Option<RowSet>,
    /// Ordered rows that hold none: blank already, or the index was wrong. The edit leaves them alone.
    pub unmatched: Vec<RowNumber>,
    /// How many rows hold one and were not ordered, of those that were read on the way to the ordered ones:
    /// the index was wrong, about them or about where rows are. The edit leaves them alone. Parquet does not
    /// look for them.
    pub surplus: RowCount,
    /// How the edit makes the new object.
    pub way: Way,
    /// Every row any byte of which the edit may have touched, in the old object …
    pub before: Extent,
    /// … and the same rows in the new one.
    pub after: Extent,
    /// What the rows of `before` hold, but for the blanked ones, where that came to be known on the way.
    pub fingerprint: Option<Fingerprint>,
    /// The order's landmarks as they are true of the new object; none where that is not known.
    pub landmarks: Landmarks,
}

impl Blanking {
    /// Whether all ordered rows held a subject, and no other row that was read.
    pub fn is_as_ordered(&self) -> bool {
        self.unmatched.is_empty() && self.surplus == RowCount(0)
    }

    /// Nothing is to change.
    pub(crate) fn nothing(unmatched: Vec<RowNumber>) -> Self {
        Self {
            edit: None,
            blanked: None,
            unmatched,
            surplus: RowCount(0),
            way: Way::Rows,
            before: Extent::default(),
            after: Extent::default(),
            fingerprint: None,
            landmarks: Landmarks::default(),
        }
    }
}

/// The answer to a compaction.
#[derive(Debug)]
pub struct Compaction {
    /// The new object; `None` where no row is blank.
    pub edit: Option<Edit>,
    /// How many blanks go.
    pub dropped: RowCount,
}

/// Which rows a [`Fingerprint`] leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Except<'a> {
    /// None of them.
    Nothing,
    /// These; rows that the object does not have are no matter.
    Rows(&'a RowSet),
    /// As `Rows`; and those that still hold something that this action takes are counted.
    Erased(&'a RowSet, &'a EraseAction),
    /// Those that [`Format::compact`] drops.
    Blanks,
}

impl<'a> Except<'a> {
    /// The rows that are named.
    pub(crate) fn rows(self) -> Option<&'a RowSet> {
        match self {
            Self::Rows(rows) | Self::Erased(rows, _) => Some(rows),
            Self::Nothing | Self::Blanks => None,
        }
    }

    /// What was done to them.
    pub(crate) fn action(self) -> Option<&'a EraseAction> {
        match self {
            Self::Erased(_, action) => Some(action),
            Self::Nothing | Self::Rows(_) | Self::Blanks => None,
        }
    }
}

impl<'a> From<Option<&'a RowSet>> for Except<'a> {
    fn from(rows: Option<&'a RowSet>) -> Self {
        rows.map_or(Self::Nothing, Self::Rows)
    }
}

/// What the rows of an object hold, but for some of them.
///
/// Rows are numbered by their rank among those that are not left out. So an object without its blanks
/// has the digest of the object before, blanks left out. Where rows are blanked in place the same rows
/// are left out on both sides, and equal ranks are equal numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many rows were read, those left out included; in Parquet all that the file has.
    pub rows: RowCount,
    /// SHA-256 over rank and content of every row not left out; of a part of the object, over number
    /// and content, or in Parquet over XXH3 of 128 bits of these. In text the content is the bytes of the
    /// record, line ending included. In Parquet it is levels and values, typed; columns are
    /// stored apart there, so that each is digested by itself, and then their digests in order.
    pub digest: [u8; 32],
    /// Rows of [`Except::Erased`] that hold what the action takes.
    pub unerased: RowCount,
}

/// One format, reading one kind of compression: what `detect::open` answers for an object.
///
/// # Contract
///
/// - Everything works in memory that does not grow with the object or its rows. Rows of a
///   [`BlankOrder`] and the bytes that replace them may be held; a single record has a cap of
///   [`LONGEST_RECORD_BYTES`].
/// - Bytes are foreign: nothing panics, nothing loops, and no error holds content of the object.
/// - `scan`, `blank`, `compact` and `fingerprint` count rows alike.
/// - `blank` digests the identifiers of each ordered row again and changes a row only where one of
///   `subjects` stands in it. Whatever is not in a changed row stays byte-identical (text) or keeps its
///   place, type and value (Parquet; pages without a changed row stay byte-identical, or column chunks
///   where [`Way::Chunks`] is the answer).
///   Row count, order and numbers stay.
/// - `blank` answers with the rows that its edit may have touched. Whatever is not among them is copied,
///   byte for byte and in order: so the old object's [`Fingerprint`] within [`Blanking::before`] and the
///   new one's within [`Blanking::after`], both but for the blanked rows, are equal.
/// - What `blank` writes, `scan` reads: with no posting of the subjects and equally many rows.
/// - What `compact` writes has no blanks, and with nothing left out the digest that the object had
///   with its blanks left out.
/// - `blank` and `compact` are deterministic.
pub trait Format: Send + Sync {
    /// Reads the whole object once and tells the sink what stands where.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the object as a whole cannot be trusted; what the sink was
    /// told until then is void.
    fn scan(
        &self,
        source: &dyn Source,
        fields: &BoundFields,
        sink: &mut dyn ScanSink,
    ) -> Result<RowCount, FormatError>;

    /// Answers with the object as it is without the subjects' rows.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the object cannot be read or rewritten.
    fn blank(&self, source: SharedSource, order: &BlankOrder) -> Result<Blanking, FormatError>;

    /// The ordered rows that the object has, ascending and masked, whether the subjects stand in them or
    /// not. What is to become of them does not count. All of them are held.
    ///
    /// # Errors
    ///
    /// As `scan`.
    fn show(&self, source: &dyn Source, order: &BlankOrder) -> Result<Vec<MaskedRow>, FormatError>;

    /// Answers with the object without its blanks. Rows are renumbered by it.
    ///
    /// # Errors
    ///
    /// As `blank`.
    fn compact(&self, source: SharedSource) -> Result<Compaction, FormatError>;

    /// What the rows hold, but for those in `except`.
    ///
    /// # Errors
    ///
    /// As `scan`.
    fn fingerprint(
        &self,
        source: &dyn Source,
        except: Except<'_>,
    ) -> Result<Fingerprint, FormatError> {
        self.fingerprint_within(source, except, &Extent::Whole)
    }

    /// What the rows in a part of the object hold, but for those in `except`, which is not
    /// [`Except::Blanks`] unless the part is the whole. Reads little more than that part.
    ///
    /// # Errors
    ///
    /// As `scan`; and [`FormatError::Unreadable`] where the object does not have these rows there.
    fn fingerprint_within(
        &self,
        source: &dyn Source,
        except: Except<'_>,
        extent: &Extent,
    ) -> Result<Fingerprint, FormatError>;
}

/// The longest record in bytes; an object with a longer one is unreadable.
pub const LONGEST_RECORD_BYTES: usize = 64 << 20;
