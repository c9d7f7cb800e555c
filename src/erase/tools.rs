//! What every workflow of an erasure works with.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::domain::dataset::{Dataset, DatasetName};
use crate::domain::identifier::DigestKey;
use crate::domain::landmark::Landmarks;
use crate::domain::observe::Observer;
use crate::domain::plan::PlannedChange;
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::domain::scope::{InvalidGlob, Scope};
use crate::lake::tables::table_roots;
use crate::lake::{Estate, Lake, LakeError, LakeErrorKind};
use crate::ledger::{Holder, LeaseTerms, Ledger, LedgerError};
use crate::metastore::{Metastore, MetastoreError};
use crate::scan::DatasetReader;

/// What every workflow of an erasure works with. Clones share it.
#[derive(Clone)]
pub struct EraseTools {
    /// The configured datasets, each with its lake.
    pub datasets: Arc<[Estate]>,
    /// The index.
    pub metastore: Arc<dyn Metastore>,
    /// Where plans, journal and evidence are kept.
    pub ledger: Ledger,
    /// The key of the identifiers' digests.
    pub key: DigestKey,
    /// The time.
    pub clock: Clock,
    /// Hears of progress.
    pub observer: Arc<dyn Observer>,
    /// Who takes the lease.
    pub holder: Holder,
    /// How the lease is taken.
    pub terms: LeaseTerms,
    /// The pause before a second try when a store fails for the moment; half a second is usual.
    pub pause: Duration,
}

impl EraseTools {
    /// The dataset of this name, with its lake.
    pub fn estate(&self, name: &DatasetName) -> Option<&Estate> {
        self.datasets.iter().find(|estate| estate.dataset.name == *name)
    }

    /// Which keys are the dataset's: asks the lake for the tables in it.
    pub(super) async fn scope(&self, estate: &Estate) -> Result<Scope, EraseError> {
        let before = self.datasets.iter().map(|other| &other.dataset);
        let before = before.take_while(|other| other.name != estate.dataset.name);
        let earlier: Vec<Dataset> = before.map(|other| other.as_ref().clone()).collect();
        let lake = estate.lake.as_ref();
        let tables = table_roots(lake, &estate.dataset.location).await;
        let tables = tables.map_err(|error| EraseError::lake(lake, error))?;
        Ok(Scope::new(&estate.dataset, &earlier, tables)?)
    }

    /// How a dataset's objects are read.
    pub(super) fn reader(&self, dataset: &Dataset) -> DatasetReader {
        DatasetReader::new(dataset, &self.key)
    }

    /// What the index knows of where reading can begin near a row: nothing, where it does not answer.
    pub(super) async fn landmarks(&self, planned: &PlannedChange) -> Landmarks {
        let Some(rewrite) = &planned.rewrite else { return Landmarks::default() };
        let keys = std::slice::from_ref(&planned.key);
        let recorded = self.metastore.recorded(&planned.dataset, keys).await;
        let mut recorded = recorded.unwrap_or_default().into_iter();
        match recorded.find(|it| it.object.is_same_version(&rewrite.object)) {
            Some(ScannedObject { outcome: ScanOutcome::Indexed(summary), .. }) => summary.landmarks,
            _ => Landmarks::default(),
        }
    }
}

/// An erasure, or a part of one, could not go on as a whole. What concerns one object alone is no such
/// error: it is an outcome of that object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The ledger refused or failed; the lease may be another run's.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A lake refused or failed as a whole, or does not honour conditional writes.
    #[error("{location}: {error}")]
    Lake {
        /// Which lake.
        location: String,
        /// What it answered.
        #[source]
        error: LakeError,
    },
    /// The index refused or failed.
    #[error(transparent)]
    Metastore(#[from] MetastoreError),
    /// A pattern of the configuration cannot be read.
    #[error(transparent)]
    Pattern(#[from] InvalidGlob),
    /// The plan names a dataset that the configuration does not have.
    #[error("the configuration has no dataset `{dataset}`; restore it, or plan again")]
    NoDataset {
        /// The dataset.
        dataset: DatasetName,
    },
    /// What was asked for cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
}

impl EraseError {
    pub(super) fn lake(lake: &dyn Lake, error: LakeError) -> Self {
        Self::Lake { location: lake.location().to_owned(), error }
    }

    /// What kind of lake error it is, where a lake or the ledger's store is the cause.
    pub fn lake_kind(&self) -> Option<LakeErrorKind> {
        match self {
            Self::Lake { error, .. } => Some(error.kind()),
            Self::Ledger(error) => error.lake().map(LakeError::kind),
            _ => None,
        }
    }
}
