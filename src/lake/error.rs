//! What can go wrong with a store, by what the caller does about it.

use std::fmt;
use std::time::Duration;

use crate::domain::object::ObjectKey;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A store refused or failed.
#[derive(Debug)]
pub struct LakeError {
    kind: LakeErrorKind,
    key: Option<ObjectKey>,
    message: String,
    permission: Option<&'static str>,
    pause: Option<Duration>,
    source: Option<Source>,
}

/// What a caller can do about a [`LakeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LakeErrorKind {
    /// No such object or version: nothing to do.
    NotFound,
    /// The object is no longer the version that was asked for, or a precondition failed: plan again.
    Drifted,
    /// Permission is missing: ask for it.
    Denied,
    /// A retention or legal hold forbids it: wait.
    Locked,
    /// The bytes lie in an archive: restore them first.
    Archived,
    /// The store wants fewer requests, or failed for the moment: try again.
    Unavailable,
    /// The store cannot do this at all, or does it wrongly.
    Unsupported,
    /// What was read is not what was stored: fewer bytes, another checksum.
    Corrupt,
    /// What stands at this key holds no object: a symbolic link, a device. It is excluded by name.
    NotAnObject,
    /// Anything else.
    Other,
}

impl LakeError {
    /// An error of this kind. The message says what was attempted and what happened, lower case.
    pub fn new(kind: LakeErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, key: None, message, permission: None, pause: None, source: None }
    }

    /// An error about an object: `message` follows the key.
    pub fn about(kind: LakeErrorKind, key: &ObjectKey, message: impl fmt::Display) -> Self {
        Self { key: Some(key.clone()), ..Self::new(kind, format!("{key}: {message}")) }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error, for want of this permission: `s3:GetObject`.
    #[must_use]
    pub fn lacking(mut self, permission: &'static str) -> Self {
        self.permission = Some(permission);
        self
    }

    /// The same error of a store that wants to be left alone for so long.
    #[must_use]
    pub fn asking_for(mut self, pause: Option<Duration>) -> Self {
        self.pause = pause;
        self
    }

    /// How long the store wants to be left alone, where it says so.
    pub fn pause(&self) -> Option<Duration> {
        self.pause
    }

    /// The permission that is missing, where the store says that one is.
    pub fn permission(&self) -> Option<&'static str> {
        self.permission
    }

    /// The object it is about, where it is about one.
    pub fn key(&self) -> Option<&ObjectKey> {
        self.key.as_ref()
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> LakeErrorKind {
        self.kind
    }
}

impl fmt::Display for LakeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for LakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Whether a failed write may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It certainly did not.
    Unchanged,
    /// It may have; [`settle`](super::settle) finds out.
    Unknown,
}

/// A write failed.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct WriteError {
    /// Whether it may have happened all the same.
    pub outcome: WriteOutcome,
    /// What went wrong.
    pub error: LakeError,
}

impl WriteError {
    /// The write certainly did not happen.
    pub fn unchanged(error: LakeError) -> Self {
        Self { outcome: WriteOutcome::Unchanged, error }
    }

    /// The write may have happened.
    pub fn unknown(error: LakeError) -> Self {
        Self { outcome: WriteOutcome::Unknown, error }
    }
}
