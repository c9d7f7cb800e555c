//! The records of two indexes side by side, key by key.

use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};

use super::copy::CopyError;
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectKey;
use crate::domain::posting::ScannedObject;
use crate::metastore::{Metastore, MetastoreError, MetastoreStream};

/// The records that both indexes have of one key.
pub(super) struct Pair {
    pub(super) key: ObjectKey,
    pub(super) from: Vec<ScannedObject>,
    pub(super) to: Vec<ScannedObject>,
}

impl Pair {
    /// What the other index has, and this one has not in the same way.
    pub(super) fn foreign(&self) -> impl Iterator<Item = &ScannedObject> {
        self.to.iter().filter(|record| !self.from.contains(record))
    }

    /// What this index has, and the other one has not in the same way.
    pub(super) fn missing(&self) -> impl Iterator<Item = &ScannedObject> {
        self.from.iter().filter(|record| !self.to.contains(record))
    }
}

type Records = stream::Peekable<MetastoreStream<ScannedObject>>;

/// The records of both indexes, key by key.
pub(super) fn side_by_side(
    from: &dyn Metastore,
    to: &dyn Metastore,
    dataset: &DatasetName,
) -> impl Stream<Item = Result<Pair, CopyError>> + use<> {
    let from = from.indexed(dataset, None).peekable();
    let to = to.indexed(dataset, None).peekable();
    stream::try_unfold((from, to), |(mut from, mut to)| async move {
        let of_from = next_key(&mut from).await.map_err(CopyError::From)?;
        let of_to = next_key(&mut to).await.map_err(CopyError::To)?;
        let key = match (of_from, of_to) {
            (None, None) => return Ok(None),
            (Some(key), None) | (None, Some(key)) => key,
            (Some(left), Some(right)) => left.min(right),
        };
        let pair = Pair {
            from: records_of(&mut from, &key).await.map_err(CopyError::From)?,
            to: records_of(&mut to, &key).await.map_err(CopyError::To)?,
            key,
        };
        Ok(Some((pair, (from, to))))
    })
}

async fn next_key(records: &mut Records) -> Result<Option<ObjectKey>, MetastoreError> {
    match std::pin::Pin::new(&mut *records).peek().await {
        None => Ok(None),
        Some(Ok(record)) => Ok(Some(record.object.key.clone())),
        Some(Err(_)) => records.try_next().await.map(|_| None),
    }
}

async fn records_of(
    records: &mut Records,
    key: &ObjectKey,
) -> Result<Vec<ScannedObject>, MetastoreError> {
    let mut found = Vec::new();
    while next_key(records).await?.is_some_and(|next| next == *key) {
        found.extend(records.try_next().await?);
    }
    Ok(found)
}
