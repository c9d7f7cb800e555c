//! The erasure plan: the document that decides. It is immutable and named by the digest of its
//! bytes; it holds keyed digests and references, no personal data.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::coverage::Coverage;
use super::dataset::{Compression, DatasetName, EraseAction, FormatName, SupersededPolicy};
use super::edit::Way;
use super::identifier::{IdentifierDigest, KeyCheck, hex, unhex};
use super::object::{ObjectKey, ObjectVersion};
use super::register::{Exempting, Label};
use super::request::Mask;
use super::row::{RowCount, RowSet};

/// What the first field of a stored plan says.
pub const PLAN_SCHEMA: &str = "lacuna.plan.v1";

/// What will be done, to which rows of which object versions, for whom; and what cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasurePlan {
    /// [`PLAN_SCHEMA`].
    pub schema: String,
    /// The reference of the request.
    pub request: String,
    /// When the facts were gathered.
    pub planned_at: Timestamp,
    /// Until when it can be approved and begun.
    pub expires_at: Timestamp,
    /// Which configuration it was made under: a digest of datasets and policies, in hexadecimal. A
    /// changed configuration makes the plan stale.
    pub configuration: String,
    /// Which digest key it was made under.
    pub key: KeyCheck,
    /// Everyone who was asked for, found or not, by ordinal.
    pub subjects: Vec<PlannedSubject>,
    /// The work, each object once, by dataset and key.
    pub changes: Vec<PlannedChange>,
    /// What may hold rows of the subjects and stays as it is, by dataset and key.
    pub out_of_reach: Vec<OutOfReach>,
    /// What the index knew of each dataset, by name.
    pub coverage: Vec<Coverage>,
    /// What the approver should know before deciding.
    pub warnings: Vec<Warning>,
}

impl ErasurePlan {
    /// The bytes that are stored, and that name the plan.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .unwrap_or_else(|_| unreachable!("a plan has no map with keys that are not text"));
        bytes.push(b'\n');
        bytes
    }

    /// A subject by its ordinal.
    pub fn subject(&self, ordinal: u32) -> Option<&PlannedSubject> {
        self.subjects.iter().find(|subject| subject.ordinal == ordinal)
    }

    /// The digests of every subject, in order.
    pub fn digests(&self) -> impl Iterator<Item = IdentifierDigest> + '_ {
        self.subjects.iter().flat_map(|subject| subject.digests.iter().copied())
    }
}

/// The name of a plan: SHA-256 of its stored bytes, 64 hexadecimal characters. `sha256sum` of the
/// stored file prints the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId([u8; 32]);

impl PlanId {
    /// The name of the plan that these bytes store.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 8 characters, which people type to confirm.
    pub fn prefix(&self) -> String {
        hex(&self.0[..4])
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PlanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PlanId({self})")
    }
}

/// A text is not a whole plan id.
#[derive(Debug, thiserror::Error)]
#[error("a plan id is 64 hexadecimal characters")]
pub struct NotAPlanId;

impl FromStr for PlanId {
    type Err = NotAPlanId;

    fn from_str(text: &str) -> Result<Self, NotAPlanId> {
        let bytes = unhex(text).ok_or(NotAPlanId)?;
        bytes.try_into().map(Self).map_err(|_| NotAPlanId)
    }
}

impl Serialize for PlanId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PlanId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Someone who was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSubject {
    /// The place in the request, from 1.
    pub ordinal: u32,
    /// A masked form of the first identifier.
    pub mask: Mask,
    /// The digests of all identifiers, ascending.
    pub digests: Vec<IdentifierDigest>,
    /// Rows found, in all kept versions that the plan changes, deletes or cannot reach; 0: not found.
    pub rows: RowCount,
    /// Objects that hold one of these rows.
    pub objects: u64,
}

/// What happens to one object: its current version is rewritten, superseded ones are deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// The rewrite of the current version; absent where only superseded versions hold rows.
    pub rewrite: Option<PlannedRewrite>,
    /// Superseded versions to delete for good, oldest first. The version that the rewrite supersedes is
    /// not among them: it follows from `superseded`.
    pub expunge: Vec<PlannedExpunge>,
    /// What happens to the version that the rewrite supersedes, and why some of the versions beneath
    /// stay.
    pub superseded: SupersededPolicy,
}

/// The rewrite of one object version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRewrite {
    /// The version that is read, and that has to be current when the rewrite is written.
    pub object: ObjectVersion,
    /// Its format.
    pub format: FormatName,
    /// The compression around it.
    pub compression: Compression,
    /// The storage class, where the store has any.
    pub storage_class: Option<String>,
    /// What becomes of the rows.
    pub action: EraseAction,
    /// How many rows the object has.
    pub rows_total: RowCount,
    /// The rows that go.
    pub rows: RowSet,
    /// How many of them are whose, by ordinal; a row of two subjects counts for both.
    pub subjects: Vec<SubjectRows>,
    /// What it will take, about. Plans of former versions do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// What a rewrite will take, reckoned from what the index knows: rather too much than too little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// How the new version is expected to come about.
    #[serde(flatten)]
    pub way: Way,
    /// Bytes to write anew.
    pub written_bytes: u64,
    /// Bytes that the store copies.
    pub copied_bytes: u64,
    /// Requests, those of reading and comparing included.
    pub requests: u64,
}

/// How many rows of an object are one subject's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectRows {
    /// The subject.
    pub ordinal: u32,
    /// The rows.
    pub rows: RowCount,
}

/// A superseded version that is deleted for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedExpunge {
    /// The version.
    pub object: ObjectVersion,
    /// Rows of the subjects in it; 0 where the policy deletes it all the same.
    pub rows: RowCount,
}

/// Something that may hold rows of the subjects and that the plan does not change.
///
/// A version that is rewritten stands here as well where it cannot be deleted once it is superseded
/// (locked, held, kept by the policy), or where some of its rows cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutOfReach {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// The version, where one is meant.
    pub object: Option<ObjectVersion>,
    /// Rows of the subjects known to be in it; 0 where that cannot be known.
    pub rows: RowCount,
    /// Why it stays.
    pub reason: Reason,
}

/// Why the plan does not reach something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It cannot be read as what it should be.
    Unreadable {
        /// What is wrong with it.
        detail: String,
    },
    /// Some of its rows cannot be read, so that whose they are is not known.
    UnreadableRows {
        /// How many.
        count: u64,
    },
    /// A retention forbids deleting it.
    Locked {
        /// Until when.
        until: Timestamp,
    },
    /// A legal hold forbids deleting it.
    LegalHold,
    /// A hold of the request register is on its dataset, on a column of it, or on the whole request.
    OnHold {
        /// Why, as a code of the house.
        basis: Label,
        /// The last day of the hold; `None`: until it is released.
        until: Option<Date>,
    },
    /// The law exempts its dataset, or a column of it, from this request, as the register says.
    Exempt {
        /// The exemption.
        basis: Exempting,
        /// The last day on which it applies; `None`: until further notice.
        until: Option<Date>,
    },
    /// Its bytes lie in an archive.
    Archived {
        /// The storage class.
        storage_class: String,
    },
    /// It belongs to a table whose metadata records it.
    Table {
        /// `delta`, `iceberg` or `hudi`.
        format: String,
    },
    /// The dataset's policy keeps superseded versions.
    KeptByPolicy,
    /// The index knows rows in it, but its dataset is not part of the plan.
    OtherDataset,
    /// Permission to read it, or to see whether it is locked, is missing.
    Denied {
        /// What was denied.
        detail: String,
    },
    /// The store failed for the moment; the next plan may reach it.
    Unavailable {
        /// What happened.
        detail: String,
    },
}

/// What the approver should know before deciding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
pub enum Warning {
    /// A row that goes belongs to more than one subject of the request, or to somebody else as well.
    SharedRows {
        /// How many rows.
        rows: RowCount,
    },
    /// The plan touches a larger share of a dataset than the configuration expects.
    BlastRadius {
        /// The dataset.
        dataset: DatasetName,
        /// Rows that go.
        rows: RowCount,
        /// Rows of the dataset.
        rows_total: RowCount,
        /// The share that needs no second look, in percent.
        limit_percent: u8,
    },
    /// The store keeps no versions: there is no way back.
    Irreversible {
        /// The dataset.
        dataset: DatasetName,
    },
    /// Values at identifier fields that are not of the declared type; the configuration may be wrong.
    ForeignValues {
        /// The dataset.
        dataset: DatasetName,
        /// How many.
        count: u64,
    },
    /// An object's key holds an identifier of a subject; the key stays.
    IdentifierInKey {
        /// The dataset.
        dataset: DatasetName,
        /// How many objects.
        objects: u64,
    },
}
