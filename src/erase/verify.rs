//! Reads the lake again and looks for the subjects. It trusts neither the journal nor the index: what
//! it says is what the objects said while it read them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, SupersededPolicy};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion, Standing};
use crate::domain::observe::{Event, Stop};
use crate::domain::plan::{ErasurePlan, PlannedChange, Reason};
use crate::domain::row::{RowCount, RowSet};
use crate::lake::LakeErrorKind;
use crate::scan::{Found, ScanError, find_rows};

use super::tools::{EraseError, EraseTools};
use crate::lake::Estate;

/// How a verification reads.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The share of all other objects that is read as well, in percent, 0 to 100.
    pub deep_percent: u8,
    /// Which ones: the same seed chooses the same objects.
    pub seed: u64,
    /// How many versions are read at once; at least one.
    pub concurrency: usize,
    /// Asked between versions.
    pub stop: Stop,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { deep_percent: 0, seed: 0, concurrency: 4, stop: Stop::default() }
    }
}

/// What a verification read and met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// When it began.
    pub begun_at: Timestamp,
    /// When it ended: what it says holds as of then.
    pub ended_at: Timestamp,
    /// Objects of which at least one version was read to its end.
    pub objects: u64,
    /// Versions that were read to their end, superseded ones included.
    pub versions: u64,
    /// Rows that were looked at.
    pub rows: RowCount,
    /// Objects outside of the plan.
    pub sample: Option<Sample>,
    /// Versions in which a subject was met.
    pub met: Vec<Met>,
    /// What could not be read, or not in every row.
    pub unreadable: Vec<Unread>,
    /// Whether it was stopped before everything was read.
    pub is_interrupted: bool,
}

/// A random share of the objects outside of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The share, in percent.
    pub percent: u8,
    /// Which seed chose them.
    pub seed: u64,
    /// Versions that could have been chosen.
    pub eligible: u64,
    /// Versions that were chosen.
    pub chosen: u64,
}

impl Sample {
    /// Where none of the chosen holds a row: the share of the others that may hold one all the same, in
    /// percent, with 95 % confidence (the rule of three). `None` where nothing was chosen.
    pub fn bound_percent(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        let bound = 300.0 / self.chosen as f64;
        match self.chosen {
            0 => None,
            chosen if chosen == self.eligible => Some(0.0),
            _ => Some(bound.min(100.0)),
        }
    }
}

/// A version in which a subject was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Met {
    /// The dataset.
    pub dataset: DatasetName,
    /// The version.
    pub object: ObjectVersion,
    /// Whether readers of the key get it.
    pub standing: Standing,
    /// The rows.
    pub rows: RowSet,
    /// Why the plan left it, where it did.
    pub known: Option<Reason>,
}

/// Something that could not be read, or not in every row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// The version, where one is meant.
    pub object: Option<ObjectVersion>,
    /// Why, without any content.
    pub reason: String,
}

impl Verification {
    /// Versions with rows of a subject that the plan did not name as left.
    pub fn unexpected(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| met.known.is_none())
    }

    /// Whether everything was read, in every row, and no subject was met.
    pub fn is_clean(&self) -> bool {
        self.met.is_empty() && self.unreadable.is_empty() && !self.is_interrupted
    }
}

/// Looks for the subjects of a plan in every kept version of every object that the plan changes, and
/// in a random share of all others.
///
/// # Errors
///
/// [`EraseError`] where a lake cannot be listed or a dataset is not configured any more. An object
/// that cannot be read is no error: it is named in the answer.
pub async fn verify_plan(
    tools: &EraseTools,
    plan: &ErasurePlan,
    options: &VerifyOptions,
) -> Result<Verification, EraseError> {
    let mut reading = Reading::begin(tools, plan.digests().collect(), options, Some(plan));
    let mut planned: BTreeMap<&DatasetName, BTreeSet<&ObjectKey>> = BTreeMap::new();
    for change in &plan.changes {
        planned.entry(&change.dataset).or_default().insert(&change.key);
    }
    for (name, keys) in &planned {
        let estate = estate(tools, name)?;
        reading.read_keys(estate, keys).await;
    }
    if options.deep_percent > 0 {
        reading.sample = Some(Sample {
            percent: options.deep_percent,
            seed: options.seed,
            eligible: 0,
            chosen: 0,
        });
        for coverage in &plan.coverage {
            let estate = estate(tools, &coverage.dataset)?;
            let planned = planned.get(&coverage.dataset);
            reading.read_all(estate, |key| planned.is_none_or(|keys| !keys.contains(key))).await?;
        }
    }
    Ok(reading.end())
}

/// Looks for these subjects in every kept version of every object of these datasets.
///
/// # Errors
///
/// As [`verify_plan`].
pub async fn verify_subjects(
    tools: &EraseTools,
    subjects: HashSet<IdentifierDigest>,
    datasets: &[DatasetName],
    options: &VerifyOptions,
) -> Result<Verification, EraseError> {
    let mut reading = Reading::begin(tools, subjects, options, None);
    for name in datasets {
        reading.read_all(estate(tools, name)?, |_| true).await?;
    }
    Ok(reading.end())
}

fn estate<'a>(tools: &'a EraseTools, name: &DatasetName) -> Result<&'a Estate, EraseError> {
    tools.estate(name).ok_or_else(|| EraseError::NoDataset { dataset: name.clone() })
}

/// A verification under way.
struct Reading<'a> {
    tools: &'a EraseTools,
    subjects: Arc<HashSet<IdentifierDigest>>,
    options: &'a VerifyOptions,
    plan: Option<&'a ErasurePlan>,
    answer: Verification,
    sample: Option<Sample>,
    seen: HashSet<(DatasetName, ObjectKey)>,
}

impl<'a> Reading<'a> {
    fn begin(
        tools: &'a EraseTools,
        subjects: HashSet<IdentifierDigest>,
        options: &'a VerifyOptions,
        plan: Option<&'a ErasurePlan>,
    ) -> Self {
        let now = tools.clock.now();
        tools.observer.event(Event::Phase {
            name: "verifying",
            dataset: None,
            objects: None,
            size_bytes: None,
        });
        Self {
            tools,
            subjects: Arc::new(subjects),
            options,
            plan,
            answer: Verification {
                begun_at: now,
                ended_at: now,
                objects: 0,
                versions: 0,
                rows: RowCount(0),
                sample: None,
                met: Vec::new(),
                unreadable: Vec::new(),
                is_interrupted: false,
            },
            sample: None,
            seen: HashSet::new(),
        }
    }

    /// Reads every kept version of these keys.
    async fn read_keys(&mut self, estate: &Estate, keys: &BTreeSet<&ObjectKey>) {
        for key in keys {
            if self.is_stopped() {
                return;
            }
            match estate.lake.versions(key).await {
                Ok(kept) => self.read(estate, futures::stream::iter(kept)).await,
                Err(error) => self.unread(estate, key, None, error.to_string()),
            }
        }
    }

    /// Reads the kept versions of the dataset's objects whose key passes, or a share of them.
    async fn read_all(
        &mut self,
        estate: &Estate,
        is_wanted: impl Fn(&ObjectKey) -> bool,
    ) -> Result<(), EraseError> {
        let lake = estate.lake.as_ref();
        let scope = self.tools.scope(estate).await?;
        let mut listing = lake.list(estate.dataset.location.prefix());
        let mut wanted = Vec::new();
        loop {
            match listing.try_next().await {
                Ok(None) => break,
                Ok(Some(listed)) => {
                    let key = &listed.object.key;
                    if scope.exclusion(key).is_none() && is_wanted(key) && self.chooses(estate, key)
                    {
                        wanted.push(listed);
                    }
                }
                Err(error) if error.kind() == LakeErrorKind::NotAnObject => {}
                Err(error) => return Err(EraseError::lake(lake, error)),
            }
        }
        self.read(estate, futures::stream::iter(wanted)).await;
        Ok(())
    }

    /// Whether a version of this key is read, where a share of them is.
    fn chooses(&mut self, estate: &Estate, key: &ObjectKey) -> bool {
        let Some(sample) = &mut self.sample else { return true };
        sample.eligible += 1;
        let mut hash = Sha256::new();
        hash.update(sample.seed.to_be_bytes());
        hash.update(estate.dataset.name.as_str().as_bytes());
        hash.update([0]);
        hash.update(key.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let draw = u64::from_be_bytes(*hash.first_chunk().unwrap_or(&[0; 8]));
        let is_chosen = draw % 100 < u64::from(sample.percent);
        sample.chosen += u64::from(is_chosen);
        is_chosen
    }

    async fn read(&mut self, estate: &Estate, versions: impl Stream<Item = ListedVersion> + Unpin) {
        let stop = self.options.stop.clone();
        let tools = self.tools;
        let subjects = self.subjects.clone();
        let reader = tools.reader(&estate.dataset);
        let mut read = versions
            .take_while(|_| std::future::ready(!stop.is_requested()))
            .map(|listed| {
                let (lake, subjects) = (estate.lake.clone(), subjects.clone());
                let reader = &reader;
                async move {
                    let found = find_rows(lake, reader, &listed.object, subjects).await;
                    (listed, found)
                }
            })
            .buffer_unordered(self.options.concurrency.max(1));
        while let Some((listed, found)) = read.next().await {
            tools.observer.event(Event::Finished {
                key: &listed.object.key,
                size_bytes: listed.object.size_bytes,
            });
            self.take(estate, listed, found);
        }
        self.is_stopped();
    }

    fn take(&mut self, estate: &Estate, listed: ListedVersion, found: Result<Found, ScanError>) {
        let ListedVersion { object, standing, .. } = listed;
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let key = object.key.clone();
                return self.unread(estate, &key, Some(object), error.to_string());
            }
        };
        self.answer.versions += 1;
        self.answer.rows.0 = self.answer.rows.0.saturating_add(found.summary.rows.0);
        let dataset = estate.dataset.name.clone();
        if self.seen.insert((dataset.clone(), object.key.clone())) {
            self.answer.objects += 1;
        }
        let gaps = found.summary.gaps.count;
        if gaps > 0 {
            let reason = format!("{gaps} of its rows cannot be read");
            self.unread(estate, &object.key.clone(), Some(object.clone()), reason);
        }
        let rows = found.rows.into_values().reduce(|all, rows| all.union(&rows));
        if let Some(rows) = rows {
            let known = self.plan.and_then(|plan| known(plan, &dataset, &object, standing));
            self.answer.met.push(Met { dataset, object, standing, rows, known });
        }
    }

    fn unread(
        &mut self,
        estate: &Estate,
        key: &ObjectKey,
        object: Option<ObjectVersion>,
        reason: String,
    ) {
        let dataset = estate.dataset.name.clone();
        self.answer.unreadable.push(Unread { dataset, key: key.clone(), object, reason });
    }

    fn is_stopped(&mut self) -> bool {
        self.answer.is_interrupted |= self.options.stop.is_requested();
        self.answer.is_interrupted
    }

    fn end(self) -> Verification {
        self.tools.observer.event(Event::PhaseEnded);
        let mut answer = self.answer;
        answer.ended_at = self.tools.clock.now();
        answer.sample = self.sample;
        answer.met.sort_by(|left, right| place(&left.object).cmp(&place(&right.object)));
        answer.unreadable.sort_by(|left, right| left.key.cmp(&right.key));
        answer
    }
}

fn place(object: &ObjectVersion) -> (&ObjectKey, &str) {
    (&object.key, object.version.as_str())
}

/// Why the plan left this version, where it did.
fn known(
    plan: &ErasurePlan,
    dataset: &DatasetName,
    object: &ObjectVersion,
    standing: Standing,
) -> Option<Reason> {
    // What is on hold or exempt is so with its dataset, whatever version of it has the rows by now.
    let named = plan.out_of_reach.iter().find(|left| {
        left.dataset == *dataset
            && (matches!(left.reason, Reason::OnHold { .. } | Reason::Exempt { .. })
                || left.object.as_ref().is_some_and(|left| left.is_same_version(object)))
    });
    let keeps = |change: &&PlannedChange| {
        change.dataset == *dataset
            && change.key == object.key
            && change.superseded == SupersededPolicy::Keep
            && change.rewrite.as_ref().is_some_and(|it| it.object.is_same_version(object))
    };
    match named {
        Some(left) => Some(left.reason.clone()),
        None if standing == Standing::Superseded => {
            plan.changes.iter().find(keeps).map(|_| Reason::KeptByPolicy)
        }
        None => None,
    }
}
