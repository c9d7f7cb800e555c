//! From a request to what the index knows: the last place before `scan` and `rewrite` where a raw
//! identifier is met. What comes out holds digests only.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt as _;

use crate::domain::Timestamp;
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{DigestKey, Identifier, IdentifierDigest};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::Posting;
use crate::domain::request::{ErasureRequest, RequestedSubject, ReservedValues};
use crate::domain::row::{RowNumber, RowSet};
use crate::metastore::{Metastore, MetastoreError};

use super::facts::{SubjectFacts, SubjectRowSet};

/// What the index knows of the subjects of a request.
#[derive(Clone, Debug)]
pub struct Found {
    /// The reference of the request.
    pub request: String,
    /// When the index was asked.
    pub gathered_at: Timestamp,
    /// Everyone who was asked for.
    pub subjects: Vec<SubjectFacts>,
    /// Versions with rows of subjects, by dataset and key.
    pub datasets_found: BTreeMap<DatasetName, BTreeMap<ObjectKey, Vec<FoundVersion>>>,
    /// Of these objects, how many have a key in which an identifier of the subject stands.
    pub keys_with_identifier: BTreeMap<DatasetName, u64>,
}

/// A version with rows of subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundVersion {
    /// The version that the index knows.
    pub object: ObjectVersion,
    /// Whose rows are in it, by ordinal; never empty.
    pub rows: Vec<SubjectRowSet>,
}

/// The index could not be asked for the subjects of a request. No message holds an identifier.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// An identifier stands for nobody, or for everybody without a name.
    #[error(
        "subject {ordinal} of the request is a placeholder that stands for many people; it is \
         refused, see `reserved` in the configuration"
    )]
    Reserved {
        /// The subject.
        ordinal: u32,
    },
    /// The request has no subject, one without identifier, or ordinals out of order.
    #[error("the request cannot be looked up: {0}")]
    Malformed(&'static str),
    /// The index failed.
    #[error("the index could not be read")]
    Metastore(#[from] MetastoreError),
    /// The index answered with what it was not asked for.
    #[error("the index answered with rows of somebody who was not asked for; index again")]
    Foreign,
}

/// Asks the index for all rows of all subjects of a request.
///
/// # Errors
///
/// [`LookupError`]; a reserved identifier is refused before the index is asked.
pub async fn lookup(
    request: &ErasureRequest,
    key: &DigestKey,
    reserved: &ReservedValues,
    metastore: &dyn Metastore,
    now: Timestamp,
) -> Result<Found, LookupError> {
    check(request, reserved)?;
    let subjects: Vec<SubjectFacts> =
        request.subjects.iter().map(|subject| digested(subject, key)).collect();
    let mut owners: HashMap<IdentifierDigest, Vec<u32>> = HashMap::new();
    for subject in &subjects {
        for digest in &subject.digests {
            owners.entry(*digest).or_default().push(subject.ordinal);
        }
    }
    let mut digests: Vec<IdentifierDigest> = owners.keys().copied().collect();
    digests.sort_unstable();
    let mut gathering = Gathering::default();
    let mut postings = metastore.lookup(&digests);
    while let Some(posting) = postings.try_next().await? {
        // H2: whatever an index may answer, only digests of the request lead to a row.
        let ordinals = owners.get(&posting.digest).ok_or(LookupError::Foreign)?;
        gathering.add(posting, ordinals);
    }
    let datasets_found = gathering.finish();
    Ok(Found {
        request: request.reference.clone(),
        gathered_at: now,
        keys_with_identifier: keys_with_identifier(request, &datasets_found),
        subjects,
        datasets_found,
    })
}

fn check(request: &ErasureRequest, reserved: &ReservedValues) -> Result<(), LookupError> {
    if request.subjects.is_empty() {
        return Err(LookupError::Malformed("it names no subject"));
    }
    let mut last = 0;
    for RequestedSubject { ordinal, identifiers, .. } in &request.subjects {
        if *ordinal <= last {
            return Err(LookupError::Malformed("its subjects are not numbered from 1 upwards"));
        }
        last = *ordinal;
        if identifiers.is_empty() {
            return Err(LookupError::Malformed("one of its subjects has no identifier"));
        }
        if identifiers.iter().any(|identifier| reserved.contains(identifier)) {
            return Err(LookupError::Reserved { ordinal: *ordinal });
        }
    }
    Ok(())
}

fn digested(subject: &RequestedSubject, key: &DigestKey) -> SubjectFacts {
    let digests: BTreeSet<IdentifierDigest> =
        subject.identifiers.iter().map(|identifier| identifier.digest(key)).collect();
    SubjectFacts {
        ordinal: subject.ordinal,
        mask: subject.mask.clone(),
        digests: digests.into_iter().collect(),
    }
}

/// Postings on their way into order.
#[derive(Default)]
struct Gathering(BTreeMap<DatasetName, BTreeMap<ObjectKey, Vec<Gathered>>>);

struct Gathered {
    object: ObjectVersion,
    rows: BTreeMap<u32, Vec<RowNumber>>,
}

impl Gathering {
    fn add(&mut self, posting: Posting, ordinals: &[u32]) {
        let Posting { dataset, object, rows, .. } = posting;
        let versions = self.0.entry(dataset).or_default().entry(object.key.clone()).or_default();
        let at = versions.iter().position(|gathered| gathered.object.is_same_version(&object));
        let at = at.unwrap_or_else(|| {
            versions.push(Gathered { object, rows: BTreeMap::new() });
            versions.len() - 1
        });
        for ordinal in ordinals {
            versions[at].rows.entry(*ordinal).or_default().extend(rows.iter());
        }
    }

    fn finish(self) -> BTreeMap<DatasetName, BTreeMap<ObjectKey, Vec<FoundVersion>>> {
        let finish_object = |(key, versions): (ObjectKey, Vec<Gathered>)| {
            (key, versions.into_iter().map(Gathered::finish).collect())
        };
        self.0
            .into_iter()
            .map(|(dataset, objects)| (dataset, objects.into_iter().map(finish_object).collect()))
            .collect()
    }
}

impl Gathered {
    fn finish(self) -> FoundVersion {
        let rows = self.rows.into_iter().filter_map(|(ordinal, rows)| {
            RowSet::new(rows).map(|rows| SubjectRowSet { ordinal, rows })
        });
        FoundVersion { object: self.object, rows: rows.collect() }
    }
}

/// How many of the found objects have a key in which an identifier of a subject with rows stands.
fn keys_with_identifier(
    request: &ErasureRequest,
    found: &BTreeMap<DatasetName, BTreeMap<ObjectKey, Vec<FoundVersion>>>,
) -> BTreeMap<DatasetName, u64> {
    let identifiers: HashMap<u32, &[Identifier]> = request
        .subjects
        .iter()
        .map(|subject| (subject.ordinal, subject.identifiers.as_slice()))
        .collect();
    let names_subject = |(key, versions): (&ObjectKey, &Vec<FoundVersion>)| {
        let ordinals = versions.iter().flat_map(|version| &version.rows).map(|rows| rows.ordinal);
        let ordinals: BTreeSet<u32> = ordinals.collect();
        let mut named = ordinals.iter().filter_map(|ordinal| identifiers.get(ordinal));
        named.any(|all| all.iter().any(|identifier| identifier.stands_in(key.as_bytes())))
    };
    let count = |objects: &BTreeMap<ObjectKey, Vec<FoundVersion>>| {
        objects.iter().filter(|object| names_subject(*object)).count() as u64
    };
    found.iter().map(|(dataset, objects)| (dataset.clone(), count(objects))).collect()
}
