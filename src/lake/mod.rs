//! Objects and their versions, in a directory, on S3 or in memory. A lake knows no format.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::domain::Timestamp;
use crate::domain::dataset::Dataset;
use crate::domain::edit::Edit;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};

pub(crate) mod bounds;
pub mod count;
pub mod directory;
pub mod document;
pub mod error;
pub(crate) mod examine;
pub mod fault;
pub mod limit;
pub mod memory;
pub mod probe;
pub mod retry;
pub mod s3;
pub mod segments;
pub mod tables;
pub use error::{LakeError, LakeErrorKind, WriteError, WriteOutcome};

/// A stream of pieces of an object.
pub type ByteStream = BoxStream<'static, Result<Bytes, LakeError>>;

/// A stream of kept versions.
pub type VersionStream = BoxStream<'static, Result<ListedVersion, LakeError>>;

/// A dataset and the lake that holds it. Workflows are given some of these.
#[derive(Clone, Debug)]
pub struct Estate {
    /// The dataset.
    pub dataset: Arc<Dataset>,
    /// Its lake; datasets of one place share it.
    pub lake: Arc<dyn Lake>,
}

/// A store of objects: one bucket, or one folder.
///
/// # Contract
///
/// - Keys are bytes and come back as they are stored; no key is normalised, and one that the store
///   cannot hold is an error.
/// - Every read is pinned: it returns bytes of the version asked for, or [`LakeErrorKind::Drifted`]
///   or [`LakeErrorKind::NotFound`], never bytes of another.
/// - A write is a compare-and-swap with three outcomes: `Ok` (committed), [`WriteOutcome::Unchanged`]
///   and [`WriteOutcome::Unknown`]. Unknown is settled by [`settle`], never by the error's kind.
/// - A write keeps what belongs to the object and not to its bytes: content type and headers, user
///   metadata, tags, storage class, encryption settings, access list; in a directory owner, mode and
///   extended attributes.
/// - Nothing of an unfinished write is ever visible to readers of the key.
#[async_trait]
pub trait Lake: Send + Sync + fmt::Debug {
    /// The bucket or folder, as people write it: `s3://bucket`, `/data/lake`.
    fn location(&self) -> &str;

    /// What the store can do. Asks the store, writes nothing.
    async fn capabilities(&self) -> Result<Capabilities, LakeError>;

    /// Every kept version of every key that begins with `prefix`, in ascending byte order of keys,
    /// the versions of a key newest first. Delete markers are left out. A store without versions
    /// lists its objects, each [`Standing::Current`](crate::domain::object::Standing::Current).
    ///
    /// An entry that can be no object, such as a symbolic link, is an error of the kind
    /// [`LakeErrorKind::NotAnObject`] that names its key, in its place; the listing goes on after it.
    /// Any other error ends the listing, which is then incomplete.
    fn list(&self, prefix: &[u8]) -> VersionStream;

    /// Every kept version of exactly this key, newest first; empty where there is none.
    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError>;

    /// What is known of the current version of a key, or of `version`.
    ///
    /// # Errors
    ///
    /// [`LakeErrorKind::NotFound`] where there is none, also under a delete marker.
    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError>;

    /// The bytes of a version in `range`, as a stream. An empty range is an empty stream.
    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError>;

    /// Makes the edit the current version of its key, if the key is still as `base` says.
    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError>;

    /// Removes what an unfinished write left: parts of an upload, a temporary file. Nothing to
    /// remove is success.
    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError>;

    /// Deletes exactly this version for good, leaving no delete marker. A version that is gone
    /// already is success. In a store without versions it deletes the object, if it is still this one.
    ///
    /// # Errors
    ///
    /// [`LakeErrorKind::Locked`] where a retention or legal hold forbids it; it is never bypassed.
    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError>;

    /// The same lake, counting on this meter what it asks of its store; `None` where it cannot tell and a
    /// call is as good as a request. [`count::metered`] is what callers want.
    fn metered(&self, _meter: &count::Meter) -> Option<Arc<dyn Lake>> {
        None
    }
}

/// Which version of a key is meant.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// Whatever is current.
    Current(&'a ObjectKey),
    /// Exactly this version.
    Version(&'a ObjectVersion),
}

/// What a store can do, asked once at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether overwriting keeps the old version.
    pub versioning: Versioning,
    /// Whether a finished write carries its operation id, so that [`settle`] can recognise it.
    pub marks_operations: bool,
    /// Whose word it is that a write happens only under its conditions.
    pub conditions: Conditions,
}

/// Whose word it is that a write happens only under its conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conditions {
    /// The lake's own: it compares and swaps by itself, and refuses where it cannot. There is nothing
    /// to prove at run time.
    Own,
    /// A server's. Some take conditions and ignore them, so that [`probe::ensure_conditional_writes`]
    /// has to come before the first write that matters.
    Server,
}

/// Whether overwriting an object keeps the old version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versioning {
    /// Overwritten bytes are gone.
    Never,
    /// Every version is kept.
    Enabled,
    /// Old versions are kept, new writes replace the `null` version.
    Suspended,
}

/// What is known of a version beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The version.
    pub object: ObjectVersion,
    /// The operation that wrote it, where Lacuna did.
    pub operation: Option<OperationId>,
    /// The storage class, where the store has any.
    pub storage_class: Option<String>,
    /// Whether its bytes can be read now; not so in an archive.
    pub is_readable: bool,
    /// Until when it cannot be deleted.
    pub lock: Lock,
    /// What a rewrite carries over, for people and tests to compare: lower-case names
    /// (`content-type`, `meta:owner`, `tag:team`, `mode`).
    pub carried: BTreeMap<String, String>,
}

/// Whether a version can be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Nothing forbids it.
    Free,
    /// Not before this moment.
    Until(Timestamp),
    /// Not while a legal hold stands.
    LegalHold,
    /// The store does not tell, for want of a permission. Not the same as free.
    Unknown,
}

/// One compare-and-swap write.
pub struct Write {
    /// The key.
    pub key: ObjectKey,
    /// What the key has to hold for the write to happen, and what the edit's copies refer to.
    pub base: Base,
    /// The new bytes.
    pub edit: Edit,
    /// The name of this write, left on the object.
    pub operation: OperationId,
    /// Told where unfinished bytes will lie before the first of them is stored.
    pub observer: Arc<dyn WriteObserver>,
}

impl fmt::Debug for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, base, edit, operation, .. } = self;
        formatter
            .debug_struct("Write")
            .field("key", key)
            .field("base", base)
            .field("edit", edit)
            .field("operation", operation)
            .finish_non_exhaustive()
    }
}

/// What a key has to hold for a write to happen.
#[derive(Clone, Debug)]
pub enum Base {
    /// Nothing.
    Absent,
    /// This version, as the current one.
    Version(ObjectVersion),
}

/// Learns where the bytes of an unfinished write lie, so that a later run can [`Lake::abandon`] them.
#[async_trait]
pub trait WriteObserver: Send + Sync {
    /// Called before the first byte is stored, once a write that needs staging at all, of all places
    /// together.
    ///
    /// # Errors
    ///
    /// Any error ends the write as [`WriteOutcome::Unchanged`].
    async fn staged(&self, key: &ObjectKey, staging: &Staging) -> Result<(), ObserverError>;
}

/// Why a [`WriteObserver`] could not take note.
pub type ObserverError = Box<dyn std::error::Error + Send + Sync>;

/// A [`WriteObserver`] for writes whose leftovers need no note, such as small documents.
#[derive(Clone, Copy, Debug)]
pub struct Unobserved;

#[async_trait]
impl WriteObserver for Unobserved {
    async fn staged(&self, _: &ObjectKey, _: &Staging) -> Result<(), ObserverError> {
        Ok(())
    }
}

/// Where the bytes of an unfinished write lie: an upload id, the name of a temporary file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Staging(pub String);

/// The name of one write, unique for ever: 32 hexadecimal characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct OperationId(Arc<str>);

impl OperationId {
    /// An operation id read back, or made by a caller who knows it to be unique.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// As it stands on the object.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What became of a write whose outcome was unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It took place; this is the version it made.
    Committed(ObjectVersion),
    /// The current version is another's, or there is none.
    NotCommitted,
}

/// Settles a write by looking at the object: whether its current version carries the operation's name.
///
/// # Errors
///
/// Whatever the store answers; the outcome is then still unknown.
pub async fn settle(
    lake: &dyn Lake,
    key: &ObjectKey,
    operation: &OperationId,
) -> Result<Settled, LakeError> {
    match lake.attributes(Target::Current(key)).await {
        Ok(attributes) if attributes.operation.as_ref() == Some(operation) => {
            Ok(Settled::Committed(attributes.object))
        }
        Ok(_) => Ok(Settled::NotCommitted),
        Err(error) if error.kind() == LakeErrorKind::NotFound => Ok(Settled::NotCommitted),
        Err(error) => Err(error),
    }
}
