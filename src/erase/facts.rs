//! What the planner decides on: everything that index and lakes say about the subjects' rows, as plain
//! values. Gathering asks index and lakes and decides nothing; the planner decides and asks nobody.

use std::collections::BTreeMap;
use std::future::ready;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::domain::Timestamp;
use crate::domain::coverage::Coverage;
use crate::domain::dataset::{DatasetName, ErasePolicy, SupersededPolicy};
use crate::domain::deadline::day_of;
use crate::domain::identifier::IdentifierDigest;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion, Standing};
use crate::domain::observe::{Event, Observer};
use crate::domain::plan::Reason;
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::domain::register::RegisteredRequest;
use crate::domain::request::Mask;
use crate::domain::row::RowSet;
use crate::lake::{
    Attributes, Conditions, Estate, LakeError, LakeErrorKind, Lock, Target, Versioning,
};
use crate::metastore::{Metastore, MetastoreError};

use super::lookup::{Found, FoundVersion};

/// How many keys are asked about at once.
const KEYS_AT_ONCE: usize = 32;

/// A dataset in scope: what it is, where it lies, and what the index knows of it.
#[derive(Clone, Debug)]
pub struct InScope {
    /// The dataset, and the lake that holds it.
    pub estate: Estate,
    /// What the index knows of it, computed just now.
    pub coverage: Coverage,
}

/// Everything a plan is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The reference of the request.
    pub request: String,
    /// When they were gathered.
    pub gathered_at: Timestamp,
    /// Everyone who was asked for, by ordinal.
    pub subjects: Vec<SubjectFacts>,
    /// The datasets in scope, by name.
    pub datasets: Vec<DatasetFacts>,
    /// What the index knows in datasets that are not in scope, by dataset and key.
    pub elsewhere: Vec<Elsewhere>,
}

/// Someone who was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectFacts {
    /// The place in the request, from 1.
    pub ordinal: u32,
    /// The masked form.
    pub mask: Mask,
    /// The digests of all identifiers, ascending, without repetition.
    pub digests: Vec<IdentifierDigest>,
}

/// What is known of one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetFacts {
    /// Its name.
    pub name: DatasetName,
    /// What an erasure does to it.
    pub policy: ErasePolicy,
    /// Whether its store keeps overwritten bytes.
    pub versioning: Versioning,
    /// Whether its lake asks a server, and what is copied or written goes in parts of a least size.
    pub asks_server: bool,
    /// Why its rows are not to be erased for this request, as the register says; `None` where they are.
    pub restraint: Option<Reason>,
    /// What the index knows of it.
    pub coverage: Coverage,
    /// Objects with a row of a subject in a version, by key.
    pub objects: Vec<ObjectFacts>,
    /// Versions of other objects that cannot be read, or not in every row, by key.
    pub unreadable: Vec<ScannedObject>,
    /// Objects of `objects` whose key holds an identifier of the subject.
    pub keys_with_identifier: u64,
}

/// What is known of one object with a row of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFacts {
    /// The key.
    pub key: ObjectKey,
    /// Its kept versions, newest first.
    pub versions: Vec<VersionFacts>,
}

/// What is known of one kept version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionFacts {
    /// The version.
    pub object: ObjectVersion,
    /// Whether readers of the key get it.
    pub standing: Standing,
    /// What the index knows of it; `None` where it was never scanned.
    pub scanned: Option<ScanOutcome>,
    /// What its store says of it.
    pub access: Access,
    /// Whose rows are in it, by ordinal; empty where it holds none.
    pub rows: Vec<SubjectRowSet>,
}

/// The rows of one subject in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRowSet {
    /// The subject.
    pub ordinal: u32,
    /// The rows of all the subject's identifiers.
    pub rows: RowSet,
}

/// What a store says of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// It was asked and answered.
    Known {
        /// Whether it can be deleted.
        lock: Lock,
        /// Whether its bytes can be read now.
        is_readable: bool,
        /// The storage class, where the store has any.
        storage_class: Option<String>,
    },
    /// It was not asked, since nothing is to happen to the version.
    NotAsked,
    /// Asking is not permitted.
    Denied {
        /// What was denied.
        detail: String,
    },
    /// It could not be asked for the moment.
    Unavailable {
        /// What happened.
        detail: String,
    },
}

/// Rows of subjects in a dataset that is not in scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The dataset.
    pub dataset: DatasetName,
    /// The version that the index knows.
    pub object: ObjectVersion,
    /// Whose rows are in it, by ordinal.
    pub rows: Vec<SubjectRowSet>,
}

/// Facts could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The index failed.
    #[error("the index could not be read")]
    Metastore(#[from] MetastoreError),
    /// A lake could not even be asked what it can do.
    #[error("dataset {dataset} cannot be reached")]
    Lake {
        /// The dataset.
        dataset: DatasetName,
        /// Why.
        #[source]
        source: LakeError,
    },
}

/// Gathers what is known of the found rows, and of everything that may hold more of them.
///
/// # Errors
///
/// [`FactsError`] where the index or a whole lake cannot be asked. What a lake refuses about single
/// objects is a fact.
pub async fn gather(
    datasets: &[InScope],
    metastore: &dyn Metastore,
    found: Found,
    observer: &dyn Observer,
) -> Result<Facts, FactsError> {
    let Found { request, gathered_at, subjects, mut datasets_found, keys_with_identifier } = found;
    let mut facts = Vec::new();
    let mut tools: Vec<&InScope> = datasets.iter().collect();
    tools.sort_by(|left, right| left.estate.dataset.name.cmp(&right.estate.dataset.name));
    for tool in tools {
        let name = &tool.estate.dataset.name;
        let objects = datasets_found.remove(name).unwrap_or_default();
        let keys = keys_with_identifier.get(name).copied().unwrap_or_default();
        facts.push(gather_dataset(tool, metastore, objects, observer).await?.with_keys(keys));
    }
    let elsewhere = datasets_found.into_iter().flat_map(|(dataset, objects)| {
        objects.into_values().flatten().map(move |found| Elsewhere {
            dataset: dataset.clone(),
            object: found.object,
            rows: found.rows,
        })
    });
    Ok(Facts { request, gathered_at, subjects, datasets: facts, elsewhere: elsewhere.collect() })
}

impl Facts {
    /// Adds what the register has against erasing for the request, on the day on which the facts were
    /// gathered.
    pub fn restrain(&mut self, request: &RegisteredRequest) {
        let today = day_of(self.gathered_at);
        for dataset in &mut self.datasets {
            dataset.restraint = request.restraint(&dataset.name, today);
        }
    }
}

impl DatasetFacts {
    fn with_keys(self, keys_with_identifier: u64) -> Self {
        Self { keys_with_identifier, ..self }
    }
}

/// What was found in one dataset: versions by key.
type FoundObjects = BTreeMap<ObjectKey, Vec<FoundVersion>>;

async fn gather_dataset(
    tool: &InScope,
    metastore: &dyn Metastore,
    found: FoundObjects,
    observer: &dyn Observer,
) -> Result<DatasetFacts, FactsError> {
    let name = &tool.estate.dataset.name;
    let capabilities = tool.estate.lake.capabilities().await;
    let capabilities =
        capabilities.map_err(|source| FactsError::Lake { dataset: name.clone(), source })?;
    let catalogue = read_catalogue(metastore, name, &found).await?;
    observer.event(Event::Phase {
        name: "planning",
        dataset: Some(name),
        objects: Some(found.len() as u64),
        size_bytes: None,
    });
    let catalogue = &catalogue;
    let objects = futures::stream::iter(found)
        .map(|(key, versions)| async move {
            let scanned = catalogue.affected.get(&key).map(Vec::as_slice).unwrap_or_default();
            let size_bytes = versions.iter().map(|version| version.object.size_bytes).sum();
            let facts = gather_object(tool, &key, versions, scanned).await;
            observer.event(Event::Finished { key: &key, size_bytes });
            facts
        })
        .buffered(KEYS_AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    observer.event(Event::PhaseEnded);
    Ok(DatasetFacts {
        name: name.clone(),
        policy: tool.estate.dataset.erase.clone(),
        versioning: capabilities.versioning,
        asks_server: capabilities.conditions == Conditions::Server,
        restraint: None,
        coverage: tool.coverage.clone(),
        objects: objects.into_iter().filter(|object| !object.versions.is_empty()).collect(),
        unreadable: catalogue.unreadable.clone(),
        keys_with_identifier: 0,
    })
}

/// What the index's catalogue says beside postings.
#[derive(Default)]
struct Catalogue {
    /// Of the objects with rows: every version that was scanned.
    affected: BTreeMap<ObjectKey, Vec<ScannedObject>>,
    /// Of the others: what could not be read.
    unreadable: Vec<ScannedObject>,
}

/// Work that follows the objects found, not the size of the index; only what is flawed is looked for
/// everywhere.
async fn read_catalogue(
    metastore: &dyn Metastore,
    dataset: &DatasetName,
    found: &FoundObjects,
) -> Result<Catalogue, MetastoreError> {
    let mut catalogue = Catalogue::default();
    let keys: Vec<ObjectKey> = found.keys().cloned().collect();
    for scanned in metastore.recorded(dataset, &keys).await? {
        catalogue.affected.entry(scanned.object.key.clone()).or_default().push(scanned);
    }
    let is_other = |scanned: &ScannedObject| ready(!found.contains_key(&scanned.object.key));
    catalogue.unreadable = metastore.flawed(dataset).try_filter(is_other).try_collect().await?;
    catalogue.unreadable.sort_by(|left, right| {
        let place = |scanned: &ScannedObject| {
            (scanned.object.key.clone(), scanned.object.modified_at, scanned.object.version.clone())
        };
        place(left).cmp(&place(right))
    });
    Ok(catalogue)
}

/// What is known of one object. A posting whose version the lake no longer lists dangles: its rows
/// are gone, and it is left out.
async fn gather_object(
    tool: &InScope,
    key: &ObjectKey,
    found: Vec<FoundVersion>,
    scanned: &[ScannedObject],
) -> ObjectFacts {
    let listed = match tool.estate.lake.versions(key).await {
        // C2: exactly this key, whatever a store that lists by prefix may answer.
        Ok(listed) => listed.into_iter().filter(|listed| listed.object.key == *key),
        Err(error) if error.kind() == LakeErrorKind::NotFound => {
            return ObjectFacts { key: key.clone(), versions: Vec::new() };
        }
        Err(error) => return unlisted(key, found, scanned, &error),
    };
    let mut rows = found;
    let mut versions = Vec::new();
    for ListedVersion { object, standing, .. } in listed {
        let at = rows.iter().position(|found| found.object.is_same_version(&object));
        let version = VersionFacts {
            scanned: outcome_of(&object, scanned),
            access: Access::NotAsked,
            rows: at.map(|at| rows.swap_remove(at).rows).unwrap_or_default(),
            object,
            standing,
        };
        versions.push(version);
    }
    if versions.iter().all(|version| version.rows.is_empty()) {
        // Every posting dangles. What the index does not know of the key stays a fact.
        versions.retain(|version| version.scanned.is_none());
    }
    let mut known = Vec::new();
    for mut version in versions {
        if is_to_be_asked(&version, tool.estate.dataset.erase.superseded) {
            let Some(access) = ask(tool, &version.object).await else { continue };
            version.access = access;
        }
        known.push(version);
    }
    ObjectFacts { key: key.clone(), versions: known }
}

/// Whether the plan may do something to the version, or has to say why it does not.
fn is_to_be_asked(version: &VersionFacts, superseded: SupersededPolicy) -> bool {
    let holds_rows = !version.rows.is_empty() || version.scanned.is_none();
    match (version.standing, superseded) {
        (Standing::Current, _) | (_, SupersededPolicy::Matching) => holds_rows,
        (Standing::Superseded, SupersededPolicy::All) => true,
        (Standing::Superseded, SupersededPolicy::Keep) => false,
    }
}

/// What the store says of a version; `None` where it is gone since it was listed.
async fn ask(tool: &InScope, object: &ObjectVersion) -> Option<Access> {
    match tool.estate.lake.attributes(Target::Version(object)).await {
        Ok(Attributes { lock, is_readable, storage_class, .. }) => {
            Some(Access::Known { lock, is_readable, storage_class })
        }
        Err(error) if error.kind() == LakeErrorKind::NotFound => None,
        Err(error) => Some(refusal(&error)),
    }
}

fn refusal(error: &LakeError) -> Access {
    let detail = error.to_string();
    match error.kind() {
        LakeErrorKind::Denied => Access::Denied { detail },
        _ => Access::Unavailable { detail },
    }
}

/// What is known of an object whose versions cannot be listed: what the index says.
fn unlisted(
    key: &ObjectKey,
    found: Vec<FoundVersion>,
    scanned: &[ScannedObject],
    error: &LakeError,
) -> ObjectFacts {
    let versions = found.into_iter().map(|found| VersionFacts {
        scanned: outcome_of(&found.object, scanned),
        access: refusal(error),
        standing: Standing::Superseded,
        object: found.object,
        rows: found.rows,
    });
    ObjectFacts { key: key.clone(), versions: versions.collect() }
}

fn outcome_of(object: &ObjectVersion, scanned: &[ScannedObject]) -> Option<ScanOutcome> {
    let same = scanned.iter().find(|scanned| scanned.object.is_same_version(object));
    same.map(|scanned| scanned.outcome.clone())
}
