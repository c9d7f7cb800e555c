//! The index: postings by object version. A metastore knows neither lakes nor formats, and it is a
//! hint: whoever acts on it looks at the row again.

pub mod dynamodb;
pub mod embedded;
pub mod memory;
pub mod packing;
pub mod postgres;

use std::collections::BTreeSet;
use std::fmt;
use std::future::ready;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};

use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::{Posting, RowPosting, ScannedObject};

/// A stream of what a metastore holds.
pub type MetastoreStream<T> = BoxStream<'static, Result<T, MetastoreError>>;

/// Keeps the postings of scanned object versions.
///
/// # Contract
///
/// - An object version is named by dataset, key, version id and ETag. Its record and its postings
///   appear and disappear together: a reader sees all of them or none.
/// - What a call has answered `Ok` to survives the machine's sudden end.
/// - Several processes may use one metastore at once: readers never wait for a writer, writers wait
///   for each other.
/// - Every call may be repeated: doing it twice is doing it once.
/// - A scan that was begun and never committed leaves nothing that a reader could meet.
/// - A subject may be known by the first 64 bits of its digest alone. Two digests that begin alike
///   (2.7 % probable anywhere among a billion) are then one subject to the index: a lookup of either
///   finds the rows of both, [`Metastore::succeed`] takes the postings of both away, and
///   [`Metastore::postings`] answers digests whose second half is zero. Whoever acts on a posting looks
///   at the row, and whoever meets a row without the subject lets the version be scanned again.
#[async_trait]
pub trait Metastore: Send + Sync + fmt::Debug {
    /// Opens the metastore for digests under the key with this check value; the first caller fixes it.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::WrongKey`] where the metastore was filled under another key.
    async fn bind(&self, key: &KeyCheck) -> Result<(), MetastoreError>;

    /// Begins to record a version. Nothing of it is visible before [`Recorder::commit`].
    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError>;

    /// Lets `new` take the place of `old` in the index after a rewrite that kept all row numbers: the
    /// postings of `old`, less those of the erased subjects, become those of `new`.
    ///
    /// Where `old` is kept in the lake (`keeps_old`), its own record and postings stay as they are. Where
    /// `old` is unknown, or `new` is recorded already, what remains to be done is done: the erased
    /// subjects have no posting in `new`, and unless kept, `old` is forgotten.
    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError>;

    /// Forgets versions, records and postings, at once. Storage that keeps the postings of many versions
    /// together may hold theirs until it is written anew, which it is when they are many, and by
    /// [`Metastore::scrub`].
    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError>;

    /// Removes every trace of what was forgotten before, wherever the storage may keep copies that
    /// nobody reads: the end of an erasure. Its work follows the size of the index.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::Unavailable`] where another process uses the index all the time.
    async fn scrub(&self) -> Result<(), MetastoreError> {
        Ok(())
    }

    /// The postings of these identifiers. Those of one identifier in one object version come as one
    /// [`Posting`]; the order is not defined.
    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting>;

    /// Every recorded version of a dataset, in ascending byte order of keys, from the first key
    /// greater than `after` on.
    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject>;

    /// Every recorded version of these keys, in no defined order.
    ///
    /// What is asked for a few keys must not cost a walk through a million records: an implementation
    /// that can look a key up does so. This one is correct and slow.
    async fn recorded(
        &self,
        dataset: &DatasetName,
        keys: &[ObjectKey],
    ) -> Result<Vec<ScannedObject>, MetastoreError> {
        let keys: BTreeSet<&ObjectKey> = keys.iter().collect();
        let is_asked = |scanned: &ScannedObject| ready(keys.contains(&scanned.object.key));
        self.indexed(dataset, None).try_filter(is_asked).try_collect().await
    }

    /// Every recorded version of a dataset that was not read in every row
    /// ([`ScannedObject::is_whole`]), in ascending byte order of keys. It need not be quicker than
    /// [`Metastore::indexed`], which this implementation asks.
    fn flawed(&self, dataset: &DatasetName) -> MetastoreStream<ScannedObject> {
        let is_flawed = |scanned: &ScannedObject| ready(!scanned.is_whole());
        self.indexed(dataset, None).try_filter(is_flawed).boxed()
    }

    /// Every posting of these versions, each named once, in pieces of bounded size and in no defined
    /// order; each posting once, and of what is not recorded, none. Its work may follow the size of the whole index, not that of the versions: ask
    /// for many at once. Digests are as far known as the metastore knows them, the rest is zero.
    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings>;

    /// How many postings the record of each of these versions says that it has, in their order; `None`
    /// where it is not recorded, or where the metastore keeps no such count, as this implementation.
    /// [`Metastore::postings`] tells as many, or the index is damaged.
    async fn posting_counts(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<Vec<Option<u64>>, MetastoreError> {
        let _ = dataset;
        Ok(vec![None; objects.len()])
    }

    /// The names of all datasets that have a record.
    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError>;

    /// How large the index is.
    async fn size(&self) -> Result<MetastoreSize, MetastoreError>;
}

/// Takes the postings of one object version. Dropping it without [`Recorder::commit`] undoes it.
#[async_trait]
pub trait Recorder: Send {
    /// Takes some postings, in any order; repetitions count once.
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError>;

    /// Makes the version's record and all its postings visible at once, in place of whatever was
    /// recorded for the same version before, and of any other version that this one overwrote: one
    /// with the same key and version id, but another ETag.
    async fn commit(self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError>;
}

/// Some postings of an object version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPostings {
    /// The version, by its place among those that were asked for.
    pub place: usize,
    /// Some of its postings.
    pub postings: Vec<RowPosting>,
}

/// How the index follows a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// The dataset of both versions.
    pub dataset: DatasetName,
    /// The version that was rewritten.
    pub old: ObjectVersion,
    /// The version that the rewrite made.
    pub new: ObjectVersion,
    /// Whose rows were blanked.
    pub erased: Vec<IdentifierDigest>,
    /// Whether the old version still exists.
    pub keeps_old: bool,
    /// Where reading of the new version can begin near a row; none where that is not known. They take the
    /// place of those of the old version, which need not be true any more.
    pub landmarks: Landmarks,
}

/// How large an index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetastoreSize {
    /// Recorded object versions, unreadable ones included.
    pub objects: u64,
    /// Rows that postings name.
    pub postings: u64,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// In how many sorted runs the postings lie, each of which a lookup asks; where it knows.
    pub runs: Option<u64>,
}

/// A metastore refused or failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct MetastoreError {
    kind: MetastoreErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What a caller can do about a [`MetastoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetastoreErrorKind {
    /// It was filled under another digest key: use that key, or index into a new one.
    WrongKey,
    /// It was written by a newer Lacuna, or holds something else: use that version.
    WrongVersion,
    /// Its content is damaged: index again.
    Corrupt,
    /// Another process holds it for too long, or it cannot be reached: try again.
    Unavailable,
    /// Anything else.
    Other,
}

impl MetastoreError {
    /// An error of this kind. The message says what was attempted and what to do, lower case.
    pub fn new(kind: MetastoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> MetastoreErrorKind {
        self.kind
    }
}
