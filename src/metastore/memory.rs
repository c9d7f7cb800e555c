//! The index in memory: the contract in its plainest form, for tests and simulations to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _};

use super::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{Posting, RowPosting, ScanOutcome, ScannedObject};
use crate::domain::row::{RowNumber, RowSet};

/// An index that is gone with its last clone.
#[derive(Clone, Default)]
pub struct MemoryMetastore(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    key: Option<KeyCheck>,
    records: BTreeMap<Slot, Record>,
}

/// What two live records never share: a version that is overwritten keeps its id.
type Slot = (DatasetName, ObjectKey, VersionId);

#[derive(Clone)]
struct Record {
    scanned: ScannedObject,
    postings: BTreeSet<(IdentifierDigest, RowNumber)>,
}

impl MemoryMetastore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryMetastore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MemoryMetastore")
    }
}

fn slot(dataset: &DatasetName, object: &ObjectVersion) -> Slot {
    (dataset.clone(), object.key.clone(), object.version.clone())
}

impl Tables {
    fn find(&self, dataset: &DatasetName, object: &ObjectVersion) -> Option<&Record> {
        self.records
            .get(&slot(dataset, object))
            .filter(|record| record.scanned.object.is_same_version(object))
    }

    fn forget(&mut self, dataset: &DatasetName, object: &ObjectVersion) {
        if self.find(dataset, object).is_some() {
            self.records.remove(&slot(dataset, object));
        }
    }

    fn succeed(&mut self, succession: &Succession) {
        let Succession { dataset, old, new, erased, keeps_old, landmarks } = succession;
        if self.find(dataset, new).is_none() {
            let Some(record) = self.find(dataset, old) else { return };
            let mut record = record.clone();
            record.scanned = record.scanned.succeeded_by(new, landmarks);
            self.records.insert(slot(dataset, new), record);
        }
        if let Some(record) = self.records.get_mut(&slot(dataset, new)) {
            record.postings.retain(|(digest, _)| !erased.contains(digest));
        }
        if !keeps_old && !old.is_same_version(new) {
            self.forget(dataset, old);
        }
    }

    fn lookup(&self, digest: &IdentifierDigest) -> Vec<Posting> {
        let posting = |((dataset, ..), record): (&Slot, &Record)| {
            let range = (*digest, RowNumber(0))..=(*digest, RowNumber(u64::MAX));
            let rows = RowSet::new(record.postings.range(range).map(|(_, row)| *row))?;
            let object = record.scanned.object.clone();
            Some(Posting { digest: *digest, dataset: dataset.clone(), object, rows })
        };
        self.records.iter().filter_map(posting).collect()
    }
}

#[async_trait]
impl Metastore for MemoryMetastore {
    async fn bind(&self, key: &KeyCheck) -> Result<(), MetastoreError> {
        if self.tables().key.get_or_insert_with(|| key.clone()) == key {
            return Ok(());
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::WrongKey,
            "the index was filled under another digest key",
        ))
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        Ok(Box::new(MemoryRecorder {
            metastore: self.clone(),
            dataset: dataset.clone(),
            object: object.clone(),
            postings: BTreeSet::new(),
        }))
    }

    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError> {
        self.tables().succeed(succession);
        Ok(())
    }

    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError> {
        let mut tables = self.tables();
        objects.iter().for_each(|object| tables.forget(dataset, object));
        Ok(())
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        let digests: BTreeSet<_> = digests.iter().collect();
        let tables = self.tables();
        let found: Vec<_> = digests.into_iter().flat_map(|digest| tables.lookup(digest)).collect();
        stream::iter(found.into_iter().map(Ok)).boxed()
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        let tables = self.tables();
        let found: Vec<_> = tables
            .records
            .iter()
            .filter(|((name, key, _), _)| name == dataset && after.is_none_or(|after| key > after))
            .map(|(_, record)| Ok(record.scanned.clone()))
            .collect();
        stream::iter(found).boxed()
    }

    async fn recorded(
        &self,
        dataset: &DatasetName,
        keys: &[ObjectKey],
    ) -> Result<Vec<ScannedObject>, MetastoreError> {
        let tables = self.tables();
        let is_asked = |(name, key, _): &Slot| name == dataset && keys.contains(key);
        let found = tables.records.iter().filter(|(slot, _)| is_asked(slot));
        Ok(found.map(|(_, record)| record.scanned.clone()).collect())
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        let tables = self.tables();
        let of = |(place, object)| {
            let record = tables.find(dataset, object)?;
            let postings = record.postings.iter();
            let postings = postings.map(|&(digest, row)| RowPosting { digest, row }).collect();
            Some(Ok(ObjectPostings { place, postings }))
        };
        let found: Vec<_> = objects.iter().enumerate().filter_map(of).collect();
        stream::iter(found).boxed()
    }

    async fn posting_counts(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<Vec<Option<u64>>, MetastoreError> {
        let tables = self.tables();
        let count = |object| tables.find(dataset, object).map(|it| it.postings.len() as u64);
        Ok(objects.iter().map(count).collect())
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        let names: BTreeSet<_> =
            self.tables().records.keys().map(|(dataset, ..)| dataset.clone()).collect();
        Ok(names.into_iter().collect())
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        let tables = self.tables();
        let postings = tables.records.values().map(|record| record.postings.len() as u64).sum();
        Ok(MetastoreSize { objects: tables.records.len() as u64, postings, ..Default::default() })
    }
}

struct MemoryRecorder {
    metastore: MemoryMetastore,
    dataset: DatasetName,
    object: ObjectVersion,
    postings: BTreeSet<(IdentifierDigest, RowNumber)>,
}

#[async_trait]
impl Recorder for MemoryRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        self.postings.extend(postings.into_iter().map(|posting| (posting.digest, posting.row)));
        Ok(())
    }

    async fn commit(self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        let Self { metastore, dataset, object, postings } = *self;
        if !object.is_same_version(&scanned.object) {
            return Err(MetastoreError::new(
                MetastoreErrorKind::Other,
                format!("{}: another version was scanned than was begun", object.key),
            ));
        }
        let postings = match scanned.outcome {
            ScanOutcome::Indexed(_) => postings,
            ScanOutcome::Unreadable(_) => BTreeSet::new(),
        };
        let slot = slot(&dataset, &object);
        metastore.tables().records.insert(slot, Record { scanned, postings });
        Ok(())
    }
}
