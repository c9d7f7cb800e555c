//! Documents written once: requests, plans, purge reports, decisions, the journal, audit records and
//! certificates; and the lease that lets one run at a time carry out an erasure.
//!
//! The ledger knows names and bytes. It never knows what a dataset is or what a plan means, it
//! touches no process and no network but its [`Lake`], and it never holds a raw identifier.
//!
//! | name below the prefix | document |
//! | --- | --- |
//! | `plans/<plan id>.json` | [`ErasurePlan`](crate::domain::plan::ErasurePlan); the name is the digest of the bytes |
//! | `reports/<plan id>.json`, `.txt`, `.html` | the purge report and its renderings |
//! | `decisions/<plan id>/<sequence>.json` | [`Decision`](crate::domain::decision::Decision), from 0 |
//! | `journal/<plan id>/<change>-<sequence>.json` | [`Note`](crate::domain::journal::Note) |
//! | `audit/<plan id>/<change>-<sequence>.json` | [`AuditRecord`](crate::domain::audit::AuditRecord); the last one of a change counts |
//! | `certificates/<plan id>/<sequence>.json`, `.txt`, `.html`, `.pdf` | a certificate; the last one counts |
//! | `certificates/<plan id>/<sequence>.signature.json` | the [`Signature`](crate::domain::signature::Signature) under it |
//! | `previews/<plan id>/<sequence>.json` | a [`PreviewNote`](crate::domain::masked::PreviewNote): who looked at rows |
//! | `finished/<plan id>.json` | nothing is left to do for the plan |
//! | `trail/<sequence>.json` | [`TrailRecord`](crate::domain::trail::TrailRecord), from 0, each bound to the one before it |
//! | `rolls/<plan id>/<digest>.json` | [`Roll`](crate::domain::trail::Roll): the audit records that a record of the trail tells of |
//! | `requests/<digest of the reference>/<sequence>.json` | [`RequestEvent`](crate::domain::register::RequestEvent), from 0 |
//! | `mails/<plan id>/<occasion>-<recipient>.json` | that a mail was sent |
//! | `leftovers/<name>.json` | [`Leftover`]; it goes when the bytes it tells of are dealt with |
//! | `lease.json` | the lease; the only document that changes |

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::domain::identifier::hex;
use crate::domain::object::{ObjectKey, ObjectVersion, Standing};
use crate::lake::{
    Attributes, Base, Lake, LakeError, LakeErrorKind, OperationId, Settled, Target, WriteError,
    WriteOutcome, document, settle,
};

mod decisions;
mod error;
mod evidence;
mod examine;
mod journal;
mod lease;
mod leftovers;
mod mails;
mod pack;
mod plans;
mod previews;
mod progress;
mod requests;
mod trail;
mod verification;

pub use error::{LedgerError, LedgerErrorKind};
pub use lease::{Heartbeat, Holder, Lease, LeaseTerms};
pub use leftovers::{Leftover, LeftoverObserver};
pub use mails::Mailed;
pub use pack::{Pack, PackError, open as open_pack};
pub use plans::{PlanListing, PlanState, PlanSummary, Rendering};
pub use requests::{Register, RegisterError};
pub use verification::{TrailCheck, TrailFinding, TrailReport};

/// How many documents are read at once.
const READS_AT_ONCE: usize = 16;

/// The longest document in bytes: a plan of many millions of rows.
const LONGEST_BYTES: u64 = 2 << 30;

/// The documents below one prefix of a lake. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    lake: Arc<dyn Lake>,
    prefix: Arc<[u8]>,
    clock: Clock,
    /// Records that the trail has at least: where to look for its end.
    trail_end: Arc<AtomicU64>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Ledger").field("lake", &self.lake).finish_non_exhaustive()
    }
}

/// Whether a document was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Created {
    /// It was not.
    New,
    /// It was, with the same bytes.
    Before,
}

impl Ledger {
    /// The ledger below `prefix`, which is empty or ends in `/`.
    pub fn new(lake: Arc<dyn Lake>, prefix: impl Into<Arc<[u8]>>, clock: Clock) -> Self {
        Self { lake, prefix: prefix.into(), clock, trail_end: Arc::default() }
    }

    /// Where it is, as people write it.
    pub fn location(&self) -> &str {
        self.lake.location()
    }

    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new([&self.prefix, name.as_bytes()].concat())
    }

    /// The part of a key below the prefix, where it is text.
    fn name<'a>(&self, key: &'a ObjectKey) -> Option<&'a str> {
        key.as_bytes().strip_prefix(&*self.prefix).and_then(|name| std::str::from_utf8(name).ok())
    }

    /// The names of all current documents that begin so, ascending.
    async fn names(&self, beginning: &str) -> Result<Vec<String>, LedgerError> {
        let mut names = Vec::new();
        let mut listing = self.lake.list(self.key(beginning).as_bytes());
        while let Some(listed) = listing.try_next().await? {
            if listed.standing == Standing::Current
                && let Some(name) = self.name(&listed.object.key)
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Whether any document's name begins so.
    async fn has_any(&self, beginning: &str) -> Result<bool, LedgerError> {
        let mut listing = self.lake.list(self.key(beginning).as_bytes());
        while let Some(listed) = listing.try_next().await? {
            if listed.standing == Standing::Current {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes a document that must not exist yet; the same bytes under the same name are success.
    async fn create(&self, name: &str, bytes: Bytes) -> Result<Created, LedgerError> {
        let key = self.key(name);
        match self.swap(&key, Base::Absent, bytes.clone()).await {
            Ok(_) => return Ok(Created::New),
            Err(error) if error.kind() == LakeErrorKind::Drifted => {}
            Err(error) => return Err(error.into()),
        }
        match self.read(name).await? {
            Some((_, stored)) if stored == bytes => Ok(Created::Before),
            Some(_) => Err(LedgerError::new(
                LedgerErrorKind::Conflict,
                format!(
                    "the ledger has another document {key} already; documents are written once"
                ),
            )),
            None => Err(LedgerError::from(LakeError::about(
                LakeErrorKind::Unavailable,
                &key,
                "the ledger's document was neither written nor found; try again",
            ))),
        }
    }

    /// One compare-and-swap with its outcome settled: an error means that it did not take place, or
    /// that the store could not even be asked.
    async fn swap(
        &self,
        key: &ObjectKey,
        base: Base,
        bytes: Bytes,
    ) -> Result<ObjectVersion, LakeError> {
        let operation = operation_id()?;
        let lake = self.lake.as_ref();
        let written = match &base {
            Base::Absent => document::create(lake, key, bytes, operation.clone()).await,
            Base::Version(base) => document::replace(lake, base, bytes, operation.clone()).await,
        };
        match written {
            Ok(object) => Ok(object),
            Err(WriteError { outcome: WriteOutcome::Unchanged, error }) => Err(error),
            Err(WriteError { outcome: WriteOutcome::Unknown, error }) => {
                match settle(lake, key, &operation).await? {
                    Settled::Committed(object) => Ok(object),
                    // Something else may have been written since, or the store keeps no operation
                    // ids: the caller reads what is there and compares it.
                    Settled::NotCommitted => Err(LakeError::about(
                        LakeErrorKind::Drifted,
                        key,
                        "whether the ledger's document was written is not known",
                    )
                    .caused_by(error)),
                }
            }
        }
    }

    /// The bytes of a document and the version they are; `None` where there is none.
    async fn read(&self, name: &str) -> Result<Option<(ObjectVersion, Bytes)>, LedgerError> {
        Ok(document::get(self.lake.as_ref(), &self.key(name), LONGEST_BYTES).await?)
    }

    async fn current(&self, key: &ObjectKey) -> Result<Option<Attributes>, LakeError> {
        match self.lake.attributes(Target::Current(key)).await {
            Ok(attributes) => Ok(Some(attributes)),
            Err(error) if error.kind() == LakeErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The document of this name; `None` where there is none.
    async fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LedgerError> {
        match self.read(name).await? {
            Some((_, bytes)) => self.parse(name, &bytes).map(Some),
            None => Ok(None),
        }
    }

    fn parse<T: DeserializeOwned>(&self, name: &str, bytes: &[u8]) -> Result<T, LedgerError> {
        serde_json::from_slice(bytes).map_err(|error| {
            let place = format!("cannot be read, line {} column {}", error.line(), error.column());
            LedgerError::tampered(&self.key(name), place)
        })
    }

    /// The documents of these names, in their order, several read at once.
    async fn documents<T: DeserializeOwned>(
        &self,
        names: Vec<String>,
    ) -> Result<Vec<T>, LedgerError> {
        futures::stream::iter(names)
            .map(|name| async move {
                self.document(&name).await?.ok_or_else(|| {
                    LedgerError::tampered(&self.key(&name), "was listed and is gone")
                })
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Writes a document under the first free sequence from `first` on, and returns that.
    async fn append(
        &self,
        name: impl Fn(u32) -> String,
        first: u32,
        bytes: Bytes,
    ) -> Result<u32, LedgerError> {
        let mut sequence = first;
        loop {
            match self.create(&name(sequence), bytes.clone()).await {
                Ok(_) => return Ok(sequence),
                Err(error) if *error.kind() == LedgerErrorKind::Conflict => {
                    sequence = sequence.checked_add(1).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// The stored form of every document: indented JSON, so that people can read the ledger as it lies.
fn to_bytes(document: &impl Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec_pretty(document)
        .unwrap_or_else(|_| unreachable!("no document has a map with keys that are not text"));
    bytes.push(b'\n');
    bytes.into()
}

/// A name for one write, unique for ever.
fn operation_id() -> Result<OperationId, LakeError> {
    random_name().map(OperationId::new)
}

/// 128 random bits in hexadecimal.
fn random_name() -> Result<String, LakeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        LakeError::new(LakeErrorKind::Other, "the system has no random numbers")
            .caused_by(std::io::Error::other(error.to_string()))
    })?;
    Ok(hex(&bytes))
}

/// The sequence number in a name such as `<start>000012.json`.
fn sequence_of(name: &str, start: &str) -> Option<u32> {
    name.strip_prefix(start)?.strip_suffix(".json")?.parse().ok()
}

#[cfg(test)]
mod tests;
