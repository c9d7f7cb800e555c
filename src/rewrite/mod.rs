//! One object of a plan: planned, rewritten, verified, expunged.
//!
//! Types carry the order. Each step takes the value that the step before it returned, and nothing
//! else makes one, so that calling them out of order does not compile:
//!
//! ```text
//! Planned::rewrite() -> Rewritten::verify() -> Verified::expunge() -> Expunged
//! ```
//!
//! Every step may be interrupted anywhere and begun again from the notes that it left ([`Past`]): it
//! looks at the object first and does only what is still to be done. This module knows one object; it
//! knows no ledger, no index and no clock, and it never decides what belongs into a plan.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::identifier::IdentifierDigest;
use crate::domain::journal::{Effort, Step};
use crate::domain::landmark::Landmarks;
use crate::domain::object::ObjectKey;
use crate::domain::plan::PlannedChange;
use crate::domain::row::RowCount;
use crate::lake::count::Meter;
use crate::lake::{Lake, LakeError, LakeErrorKind};
use crate::scan::DatasetReader;

mod expunge;
mod past;
mod position;
mod reading;
mod seal;
mod verify;
mod write;

pub use expunge::{Ending, Expunged};
pub use past::{Intent, Past};
use seal::Seal;
pub use verify::Verified;
pub use write::Rewritten;

/// How often a step is tried when the store fails for the moment.
const TRIES: u32 = 3;

/// What the rewrite of an object works with. Clones share it.
#[derive(Clone)]
pub struct Site {
    /// The lake of the object.
    pub lake: Arc<dyn Lake>,
    /// Whether the lake leaves the operation id on what it writes.
    pub marks_operations: bool,
    /// Whether the lake keeps superseded versions.
    pub keeps_versions: bool,
    /// How the dataset's objects are read.
    pub reader: DatasetReader,
    /// Whose rows go.
    pub subjects: Arc<HashSet<IdentifierDigest>>,
    /// Takes note of each step before the next.
    pub notes: Arc<dyn Notes>,
    /// The pause before a second try; it doubles before the third.
    pub pause: Duration,
    /// Where reading of the planned version can begin near a row; a hint.
    pub landmarks: Landmarks,
    /// Whether every object is read whole before and after its rewrite, and not just what is touched.
    pub is_deep: bool,
    /// What the lake counts on, for this object alone.
    pub meter: Meter,
}

/// Takes note of how far a change is.
///
/// # Contract
///
/// What `note` answered `Ok` to survives the machine's sudden end. It refuses when the run no longer
/// holds its lease.
#[async_trait]
pub trait Notes: Send + Sync {
    /// Takes note.
    ///
    /// # Errors
    ///
    /// Any error ends the change where it stands.
    async fn note(&self, step: Step) -> Result<(), NoteError>;
}

/// Why a note could not be taken.
pub type NoteError = Box<dyn std::error::Error + Send + Sync>;

/// Why a change does not go on.
#[derive(Debug)]
pub enum Halt {
    /// The object is not as the plan says. It was not touched, or is no longer ours to touch.
    Drifted,
    /// Something went wrong; the same change may be tried again.
    Failed {
        /// What, without personal data.
        detail: String,
    },
    /// The new version is not as it should be. Nothing was deleted.
    Unverified {
        /// What is wrong with it, and what to do.
        detail: String,
        /// In how many of its rows a subject stands.
        subject_rows: RowCount,
    },
    /// A note could not be taken: the whole run ends.
    Notes(NoteError),
}

impl Halt {
    fn failed(detail: impl Into<String>) -> Self {
        Self::Failed { detail: detail.into() }
    }
}

impl From<LakeError> for Halt {
    fn from(error: LakeError) -> Self {
        Self::failed(chain(&error))
    }
}

/// A change that is about to begin, or to go on from where an earlier run left it.
pub struct Planned(Work);

/// What every step hands to the next.
struct Work {
    site: Site,
    change: PlannedChange,
    past: Past,
    /// What this run has written.
    seal: Option<Seal>,
    /// Where reading of the new version can begin near a row, as far as this run knows.
    landmarks: Landmarks,
}

impl Planned {
    /// The change as the plan says and as the notes of earlier runs tell.
    pub fn new(site: Site, change: PlannedChange, past: Past) -> Self {
        let (seal, landmarks) = (None, Landmarks::default());
        Self(Work { site, change, past, seal, landmarks })
    }
}

impl Work {
    fn key(&self) -> &ObjectKey {
        &self.change.key
    }

    /// What the change took so far, where it is known how the new version came about.
    fn effort(&self) -> Option<Effort> {
        let (way, earlier) = self.past.way()?;
        let counts = self.site.meter.counts();
        let effort = Effort {
            way: way.clone(),
            copied_bytes: counts.copied_bytes,
            written_bytes: counts.written_bytes,
            read_bytes: counts.read_bytes,
            requests: counts.requests,
        };
        Some(match earlier {
            Some(earlier) => effort.with(earlier),
            None => effort,
        })
    }

    async fn note(&self, step: Step) -> Result<(), Halt> {
        self.site.notes.note(step).await.map_err(Halt::Notes)
    }
}

/// Calls the store, and again after a pause where it failed for the moment.
async fn patiently<T, F>(pause: Duration, mut call: impl FnMut() -> F) -> Result<T, LakeError>
where
    F: Future<Output = Result<T, LakeError>>,
{
    let mut tries = 1;
    loop {
        match call().await {
            Err(error) if error.kind() == LakeErrorKind::Unavailable && tries < TRIES => {
                tokio::time::sleep(pause * tries).await;
                tries += 1;
            }
            answer => return answer,
        }
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
