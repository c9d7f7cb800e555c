//! Many objects: keeps the index in step with the lake. It knows which versions are new, which are
//! gone and which were scanned under other settings; it never knows what stands in them.
//!
//! The unit of work is one object version: it is recorded whole or not at all, so a run may end anywhere
//! and the next one goes on from there, without a note of its own.

use std::sync::Arc;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::coverage::Coverage;
use crate::domain::dataset::Dataset;
use crate::domain::identifier::DigestKey;
use crate::domain::object::ObjectKey;
use crate::domain::observe::{Observer, Stop};
use crate::domain::scope::{InvalidGlob, Scope, TableRoot};
use crate::lake::{Lake, LakeError};
use crate::metastore::{Metastore, MetastoreError};

pub mod check;
pub mod copy;
mod coverage;
pub mod inventory;
mod memory;
mod objects;
mod pairs;
mod run;
mod survey;
mod tally;

pub use coverage::coverage;
pub use inventory::{Inventory, InventoryError, run_inventory};
pub use memory::Memory;
pub use objects::{ListError, NamedObject, read_objects, run_objects};
pub use run::run;
pub use survey::{Drift, Rule, survey};
pub use tally::{Checksum, Totals};

/// What indexing works with.
#[derive(Clone)]
pub struct IndexTools {
    /// Where the objects are: the lake of the dataset's location.
    pub lake: Arc<dyn Lake>,
    /// Where postings go.
    pub metastore: Arc<dyn Metastore>,
    /// Tells when a scan ended.
    pub clock: Clock,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Ends the run after the objects in flight.
    pub stop: Stop,
    /// What the objects in flight share.
    pub memory: Memory,
}

/// What to index and how.
#[derive(Clone, Debug)]
pub struct IndexTask {
    /// The dataset.
    pub dataset: Dataset,
    /// The datasets that stand before it in the configuration: their objects are not this one's.
    pub earlier: Vec<Dataset>,
    /// The key of the digests.
    pub key: DigestKey,
    /// Whether to scan again what did not change.
    pub is_full: bool,
    /// How many objects are scanned at once, as far as there is memory for them; `None`: 64.
    pub concurrency: Option<usize>,
}

impl IndexTask {
    /// What decides whether a version needs a scan, in a lake with these tables.
    fn rule(&self, tables: Vec<TableRoot>) -> Result<Rule, InvalidGlob> {
        Ok(Rule {
            scope: Scope::new(&self.dataset, &self.earlier, tables)?,
            settings: self.dataset.scan_settings(),
            is_full: self.is_full,
        })
    }
}

/// What a run of indexing did.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct IndexReport {
    /// What the index knows of the dataset now. Of an interrupted run: of what it came to.
    pub coverage: Coverage,
    /// The moment that it speaks of, where a report took the place of the listing: what was written
    /// later is not in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// Versions that were read in this run, unreadable ones included.
    pub scanned: u64,
    /// Versions that needed no reading.
    pub unchanged: u64,
    /// Versions that the lake no longer has and the index forgot.
    pub forgotten: u64,
    /// Bytes of the versions read, as stored.
    pub scanned_bytes: u64,
    /// Whether the run was stopped before it came to the end of the listing.
    pub was_interrupted: bool,
}

/// Why indexing a dataset ended early. What was recorded until then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The lake could not be listed.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The index failed.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// A pattern of the configuration cannot be read.
    #[error(transparent)]
    Pattern(#[from] InvalidGlob),
    /// The list of objects cannot be read.
    #[error(transparent)]
    List(#[from] ListError),
    /// The report that takes the place of the listing cannot be read.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// The store does not list keys in the order of their bytes, so what is gone cannot be told.
    #[error("the listing is not in order at {0}; this store cannot be indexed")]
    Disorder(ObjectKey),
}

#[cfg(test)]
mod tests;
