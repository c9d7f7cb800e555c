//! The trail: one record after the other of what was decided and done, each bound to the one before it, so
//! that nothing in it can be changed, taken out or put in between unnoticed. No personal data.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::plan::PlanId;
use super::register::RequestReference;

/// What the first field of a stored record says.
pub const TRAIL_SCHEMA: &str = "lacuna.trail.v1";

/// What the first field of a stored roll says.
pub const ROLL_SCHEMA: &str = "lacuna.roll.v1";

/// A record of the trail. Its stored bytes are canonical: they are the only ones that say the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailRecord {
    /// [`TRAIL_SCHEMA`].
    pub schema: String,
    /// The place in the trail, from 0.
    pub sequence: u64,
    /// SHA-256 of the stored bytes of the record before, in 64 hexadecimal characters; none for the first.
    pub previous: Option<String>,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// What was done.
    pub action: TrailAction,
    /// What it is about.
    pub topic: TrailTopic,
    /// Every document on the topic that there was then, by name.
    pub documents: Vec<SealedDocument>,
    /// SHA-256 of this record's stored bytes as they are with an empty text here: until a next record
    /// follows, nothing else tells that a byte of it flipped.
    pub checksum: String,
}

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TrailTopic {
    /// A plan, and everything that became of it.
    Plan(PlanId),
    /// A request of the register.
    Request(RequestReference),
}

/// What a record is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrailAction {
    /// The plan and its purge report were stored.
    Planned,
    /// Somebody decided on it.
    Decided,
    /// A run of it came to its end; whether something is left to do the documents tell.
    Executed,
    /// A certificate was made.
    Certified,
    /// Something happened to a request of the register.
    Registered,
    /// Somebody is about to look at rows of it, masked.
    Previewed,
}

/// A document as it was when a record was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedDocument {
    /// The name below the ledger's prefix.
    pub name: String,
    /// SHA-256 of its bytes in 64 hexadecimal characters.
    pub digest: String,
}

/// The documents of a folder that may hold very many: a record names the roll instead of each of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// [`ROLL_SCHEMA`].
    pub schema: String,
    /// The documents, by name.
    pub documents: Vec<SealedDocument>,
}

/// The end of a trail, to be kept where the ledger is not: who has it sees when the trail was cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailHead {
    /// The place of the last record.
    pub sequence: u64,
    /// SHA-256 of its stored bytes.
    pub digest: String,
}

impl std::fmt::Display for TrailHead {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.sequence, self.digest)
    }
}

impl std::str::FromStr for TrailHead {
    type Err = NoTrailHead;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sequence, digest) = text.split_once(':').ok_or(NoTrailHead)?;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sequence = sequence.parse().map_err(|_| NoTrailHead)?;
        if !is_digest {
            return Err(NoTrailHead);
        }
        Ok(Self { sequence, digest: digest.to_ascii_lowercase() })
    }
}

/// A text names no place in a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as SEQUENCE:DIGEST, as `lacuna audit verify` prints it")]
pub struct NoTrailHead;
