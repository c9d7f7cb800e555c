//! What differs between lake and index: a merge of two listings in the order of keys, in memory that
//! grows with neither.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{self, Peekable, Stream, StreamExt as _};

use super::IndexError;
use crate::domain::coverage::GapKind;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use crate::domain::posting::ScannedObject;
use crate::domain::scope::{Exclusion, Scope};
use crate::lake::{LakeErrorKind, VersionStream};
use crate::metastore::{Metastore, MetastoreError, MetastoreStream};

/// What is to be done about one version.
#[derive(Clone, Debug)]
pub enum Drift {
    /// The index does not know it, or knows it from other settings.
    Scan {
        /// The version.
        listed: ListedVersion,
        /// Every version of its key that was listed with it.
        siblings: Arc<[ListedVersion]>,
    },
    /// The index knows it.
    Unchanged(ScannedObject),
    /// The index knows it, and it was not listed.
    Forget(ObjectVersion),
    /// It was asked for by name, and the lake does not have it, or not so.
    Absent {
        /// The key.
        key: ObjectKey,
        /// What kind of gap it leaves.
        kind: GapKind,
        /// What is wrong, lower case.
        reason: String,
    },
    /// It is not the dataset's. What the index may know of it stays.
    Excluded {
        /// Its key.
        key: ObjectKey,
        /// Why.
        exclusion: Exclusion,
    },
}

/// What decides whether a version needs a scan.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which objects are the dataset's.
    pub scope: Scope,
    /// What a scan has to be made under.
    pub settings: ScanSettings,
    /// Whether everything is scanned again.
    pub is_full: bool,
}

/// Compares what is listed with what is indexed.
///
/// # Errors
///
/// [`IndexError`] where one of the two fails or is not in order; nothing that follows is known then.
pub fn survey(
    listed: VersionStream,
    indexed: MetastoreStream<ScannedObject>,
    rule: Rule,
) -> impl Stream<Item = Result<Drift, IndexError>> {
    let merge = Merge { listed: listed.peekable(), indexed: indexed.peekable(), last: None, rule };
    let groups = stream::unfold(Some(merge), |merge| async move {
        let mut merge = merge?;
        match merge.next().await {
            Ok(None) => None,
            Ok(Some(drifts)) => Some((drifts.into_iter().map(Ok).collect::<Vec<_>>(), Some(merge))),
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    groups.flat_map(stream::iter)
}

struct Merge {
    listed: Peekable<VersionStream>,
    indexed: Peekable<MetastoreStream<ScannedObject>>,
    last: Option<ObjectKey>,
    rule: Rule,
}

impl Merge {
    /// What is to be done about the next key.
    async fn next(&mut self) -> Result<Option<Vec<Drift>>, IndexError> {
        let (listed, indexed) = (self.listed_key().await?, self.indexed_key().await?);
        let key = match (listed, indexed) {
            (Some(listed), Some(indexed)) => listed.min(indexed),
            (Some(key), None) | (None, Some(key)) => key,
            (None, None) => return Ok(None),
        };
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(IndexError::Disorder(key));
        }
        let mut versions = Vec::new();
        let mut drifts = Vec::new();
        while self.listed_key().await?.as_ref() == Some(&key) {
            match self.listed.next().await {
                Some(Ok(version)) => versions.push(version),
                Some(Err(_)) => drifts
                    .push(Drift::Excluded { key: key.clone(), exclusion: Exclusion::NotAnObject }),
                None => break,
            }
        }
        let mut records = Vec::new();
        while self.indexed_key().await?.as_ref() == Some(&key) {
            records.extend(self.indexed.next().await.transpose()?);
        }
        compare(versions, records, &self.rule, &mut drifts);
        self.last = Some(key);
        Ok(Some(drifts))
    }

    /// The key that the listing tells next; an entry that is no object has one too.
    async fn listed_key(&mut self) -> Result<Option<ObjectKey>, IndexError> {
        match Pin::new(&mut self.listed).peek().await {
            None => return Ok(None),
            Some(Ok(version)) => return Ok(Some(version.object.key.clone())),
            Some(Err(error)) if error.kind() == LakeErrorKind::NotAnObject => {
                if let Some(key) = error.key() {
                    return Ok(Some(key.clone()));
                }
            }
            Some(Err(_)) => {}
        }
        match self.listed.next().await {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(None),
        }
    }

    async fn indexed_key(&mut self) -> Result<Option<ObjectKey>, IndexError> {
        match Pin::new(&mut self.indexed).peek().await {
            None => return Ok(None),
            Some(Ok(scanned)) => return Ok(Some(scanned.object.key.clone())),
            Some(Err(_)) => {}
        }
        self.indexed.next().await.transpose().map(|_| None).map_err(IndexError::from)
    }
}

/// What is to be done about versions that come in no order: each is looked up in the index. What they
/// leave out is not known to be gone, so nothing is forgotten.
pub(super) async fn inspect(
    listed: Vec<ListedVersion>,
    metastore: &dyn Metastore,
    dataset: &DatasetName,
    rule: &Rule,
) -> Result<Vec<Drift>, MetastoreError> {
    let keys: Vec<ObjectKey> = listed.iter().map(|listed| listed.object.key.clone()).collect();
    let mut known: HashMap<ObjectKey, Vec<ScannedObject>> = HashMap::new();
    for scanned in metastore.recorded(dataset, &keys).await? {
        known.entry(scanned.object.key.clone()).or_default().push(scanned);
    }
    let mut drifts = Vec::with_capacity(listed.len());
    for version in listed {
        let records = known.get(&version.object.key).map(Vec::as_slice).unwrap_or_default();
        let alone: Arc<[ListedVersion]> = [version].into();
        drifts.extend(alone.iter().map(|version| judge(version, &alone, records, rule)));
    }
    Ok(drifts)
}

/// What is to be done about a version, by what the index knows of its key.
fn judge(
    version: &ListedVersion,
    siblings: &Arc<[ListedVersion]>,
    records: &[ScannedObject],
    rule: &Rule,
) -> Drift {
    let known = records.iter().find(|known| known.object.is_same_version(&version.object));
    match (rule.scope.exclusion(&version.object.key), known) {
        (Some(exclusion), _) => Drift::Excluded { key: version.object.key.clone(), exclusion },
        (None, Some(known)) if !rule.is_full && known.settings == rule.settings => {
            Drift::Unchanged(known.clone())
        }
        (None, _) => Drift::Scan { listed: version.clone(), siblings: Arc::clone(siblings) },
    }
}

/// What is to be done about the versions of one key.
fn compare(
    listed: Vec<ListedVersion>,
    indexed: Vec<ScannedObject>,
    rule: &Rule,
    drifts: &mut Vec<Drift>,
) {
    let siblings: Arc<[ListedVersion]> = listed.into();
    drifts.extend(siblings.iter().map(|version| judge(version, &siblings, &indexed, rule)));
    let is_listed = |known: &ScannedObject| {
        siblings.iter().any(|version| version.object.is_same_version(&known.object))
    };
    let gone = indexed.into_iter().filter(|known| !is_listed(known));
    drifts.extend(gone.map(|known| Drift::Forget(known.object)));
}
