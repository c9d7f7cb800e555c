//! The journal of an erasure: progress, for the machine. A run that was killed goes on from it.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::edit::Way;
use super::object::ObjectVersion;
use super::row::{RowCount, RowSet};
use super::stretch::Extent;

/// What the first field of a stored note says.
pub const NOTE_SCHEMA: &str = "lacuna.note.v1";

/// One note on one change of a plan. The latest note of a change says how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// [`NOTE_SCHEMA`].
    pub schema: String,
    /// The change, by its place in the plan, from 0.
    pub change: u32,
    /// The place of the note among those of its change, from 0.
    pub sequence: u32,
    /// The generation of the lease under which it was written.
    pub generation: u64,
    /// When.
    pub noted_at: Timestamp,
    /// How far the change is.
    pub step: Step,
}

/// How far a change is. All but the last come before or after a step of a rewrite; the last ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// Rows of the plan in which none of the subjects stands: the index was wrong about them, or
    /// they are blank already. They stay as they are. Noted before the intent that it belongs to.
    Unmatched {
        /// The rows.
        rows: RowSet,
    },
    /// The rewrite is about to be written under this operation id.
    Intended {
        /// The operation id that the new version will carry.
        operation: String,
        /// The fingerprint of all rows that stay, in hexadecimal, taken before the write: the number
        /// of rows (8 bytes, the highest first), then the digest (32 bytes).
        fingerprint: String,
        /// Rows that will be blanked.
        rows: RowCount,
        /// The part of the new version that the fingerprint is of: whatever the write may touch. Notes
        /// of former versions are of the whole.
        #[serde(default)]
        extent: Extent,
    },
    /// Unfinished bytes lie here.
    Staged {
        /// The operation id.
        operation: String,
        /// The upload id, or the name of a temporary file.
        staging: String,
    },
    /// The new version exists.
    Rewritten {
        /// It.
        object: ObjectVersion,
        /// What it took to write it, where the run that wrote it lived on to tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Effort>,
    },
    /// The new version was read back and is as it should be.
    Verified {
        /// It.
        object: ObjectVersion,
    },
    /// Superseded versions are gone for good.
    Expunged {
        /// How many.
        versions: u64,
    },
    /// The index follows; the change is done.
    Done(Outcome),
}

/// How a change ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// All of it was done.
    Erased {
        /// The version that was rewritten, and the one that took its place.
        rewrite: Option<Replacement>,
        /// Rows that were blanked in the current version.
        rows: RowCount,
        /// What the change took, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        effort: Option<Box<Effort>>,
        /// Versions that were deleted for good.
        expunged: Vec<ObjectVersion>,
        /// Versions with the subjects' rows that could not be deleted, and why.
        retained: Vec<Retained>,
    },
    /// The object is no longer at the planned version, or somebody wrote over ours before all was done.
    /// Whatever was left to do was left undone; the next plan covers it.
    Drifted,
    /// The object is gone.
    Gone,
    /// The approver left it out.
    Excepted,
    /// It could not be done; the same command tries again.
    Failed {
        /// What happened, without personal data.
        detail: String,
    },
}

/// What the change of one object took, from the first look at it to the last, as counted at the client.
/// In the note of the rewrite: what it took until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effort {
    /// How the new version came about.
    #[serde(flatten)]
    pub way: Way,
    /// Bytes that the store copied by itself.
    pub copied_bytes: u64,
    /// Bytes that were sent to the store. They may be more than are new: a part of an upload has a least
    /// size.
    pub written_bytes: u64,
    /// Bytes that were read from the store, to make the new version and to compare it.
    #[serde(default)]
    pub read_bytes: u64,
    /// How often the store was asked for something.
    #[serde(default)]
    pub requests: u64,
}

impl Effort {
    /// The same way, and what an earlier run took on top. Its note tells of all it took until the new
    /// version was there.
    #[must_use]
    pub fn with(mut self, earlier: &Self) -> Self {
        for (mine, theirs) in [
            (&mut self.copied_bytes, earlier.copied_bytes),
            (&mut self.written_bytes, earlier.written_bytes),
            (&mut self.read_bytes, earlier.read_bytes),
            (&mut self.requests, earlier.requests),
        ] {
            *mine = mine.saturating_add(theirs);
        }
        self
    }
}

/// A version and the one that took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The version that was rewritten.
    pub old: ObjectVersion,
    /// The version that the rewrite made.
    pub new: ObjectVersion,
}

/// A version that still exists, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retained {
    /// The version.
    pub object: ObjectVersion,
    /// Why.
    pub reason: super::plan::Reason,
}
