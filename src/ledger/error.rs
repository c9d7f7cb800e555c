//! What can go wrong with the ledger, by what the caller does about it.

use std::fmt;

use crate::domain::Timestamp;
use crate::lake::LakeError;

use super::lease::Holder;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The ledger refused or failed.
#[derive(Debug)]
pub struct LedgerError {
    kind: LedgerErrorKind,
    message: String,
    source: Option<Source>,
}

/// What a caller can do about a [`LedgerError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerErrorKind {
    /// No document of this name: look at the list of plans.
    Unknown,
    /// More than one plan begins so: give more characters.
    Ambiguous,
    /// The text is no plan id and no beginning of one.
    Malformed,
    /// A document of this name exists with other bytes; documents are written once.
    Conflict,
    /// The stored bytes are not what was stored: restore the ledger, or plan again.
    Tampered,
    /// Another run holds the lease until then: wait, or stop it.
    Held {
        /// Who.
        holder: Holder,
        /// Until when, if it is not renewed.
        until: Timestamp,
    },
    /// The lease was taken over by another run: stop at once.
    Lost,
    /// The store of the ledger refused or failed; the source is a [`LakeError`].
    Lake,
}

impl LedgerError {
    /// An error of this kind. The message says what was attempted and what to do, lower case.
    pub(super) fn new(kind: LedgerErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The bytes of a document are not what its name or schema promises.
    pub(super) fn tampered(key: &impl fmt::Display, what: impl fmt::Display) -> Self {
        Self::new(LedgerErrorKind::Tampered, format!("the ledger's document {key} {what}"))
    }

    /// The same error with its cause.
    #[must_use]
    pub(super) fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> &LedgerErrorKind {
        &self.kind
    }

    /// The error of the ledger's store, where that is the cause.
    pub fn lake(&self) -> Option<&LakeError> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl From<LakeError> for LedgerError {
    fn from(error: LakeError) -> Self {
        Self::new(LedgerErrorKind::Lake, "the ledger's store refused or failed").caused_by(error)
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
