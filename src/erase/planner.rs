//! Decides what happens to which object, from facts alone: synchronous, deterministic, without any
//! store. Equal facts under equal terms give equal bytes.
//!
//! The rules, each version of an object with a row of a subject by itself:
//!
//! | version | what happens |
//! | --- | --- |
//! | of a dataset that the register keeps for this request | out of reach |
//! | the store refuses to tell of it | out of reach |
//! | current, readable | rewritten; where the store keeps it and it cannot be deleted then, that is out of reach as well |
//! | superseded (also beneath a delete marker) | deleted, unless locked, held, in an archive or kept by the policy |
//! | never scanned | out of reach: nobody knows what is in it |
//! | not readable, wholly or in some rows | out of reach, unless it is deleted anyway |

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::Timestamp;
use crate::domain::coverage::{CoverageGap, GapKind};
use crate::domain::dataset::{DatasetName, SupersededPolicy};
use crate::domain::identifier::KeyCheck;
use crate::domain::object::{ObjectKey, ObjectVersion, Standing};
use crate::domain::plan::{
    ErasurePlan, OutOfReach, PLAN_SCHEMA, PlannedChange, PlannedExpunge, PlannedRewrite,
    PlannedSubject, Reason, SubjectRows, Warning,
};
use crate::domain::posting::{ScanOutcome, ScanSummary, ScannedObject};
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::lake::{Lock, Versioning};

use super::estimate::{Lying, estimate};
use super::facts::{Access, DatasetFacts, Facts, ObjectFacts, SubjectRowSet, VersionFacts};

/// What a plan is made under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanTerms {
    /// Until when it can be approved and begun.
    pub expires_at: Timestamp,
    /// The digest of datasets and policies, in hexadecimal.
    pub configuration: String,
    /// Which digest key the index is under.
    pub key: KeyCheck,
    /// The share of a dataset's rows that may go without a second look, in percent.
    pub blast_radius_percent: u8,
}

/// Decides.
pub fn plan(facts: &Facts, terms: &PlanTerms) -> ErasurePlan {
    let mut tally = Tally::default();
    let mut parts = Parts::default();
    let mut warnings = vec![];
    for dataset in &facts.datasets {
        let before = tally.rows_going;
        let tables = tables(&dataset.coverage.gaps);
        for object in &dataset.objects {
            match tables.iter().find(|table| table.holds(&object.key)) {
                Some(table) => plan_table_file(dataset, object, table, (&mut parts, &mut tally)),
                None => plan_object(dataset, object, &mut parts, &mut tally),
            }
        }
        plan_unreadable(dataset, &mut parts);
        plan_gaps(dataset, &mut parts);
        let going = RowCount(tally.rows_going - before);
        warnings.extend(dataset_warnings(dataset, &parts.changes, going, terms));
    }
    plan_elsewhere(facts, &mut parts, &mut tally);
    parts
        .changes
        .sort_by(|left, right| (&left.dataset, &left.key).cmp(&(&right.dataset, &right.key)));
    parts.out_of_reach.sort_by(|left, right| reach_order(left).cmp(&reach_order(right)));
    parts.out_of_reach.dedup();
    if tally.rows_shared > 0 {
        warnings.insert(0, Warning::SharedRows { rows: RowCount(tally.rows_shared) });
    }
    ErasurePlan {
        schema: PLAN_SCHEMA.to_owned(),
        request: facts.request.clone(),
        planned_at: facts.gathered_at,
        expires_at: terms.expires_at,
        configuration: terms.configuration.clone(),
        key: terms.key.clone(),
        subjects: tally.subjects(facts),
        changes: parts.changes,
        out_of_reach: parts.out_of_reach,
        coverage: facts.datasets.iter().map(|dataset| dataset.coverage.clone()).collect(),
        warnings,
    }
}

/// The order of what is out of reach: by dataset and key, oldest version first, the whole object
/// before its versions.
fn reach_order(entry: &OutOfReach) -> impl Ord + '_ {
    let version = entry.object.as_ref().map(|object| (object.modified_at, &object.version));
    (&entry.dataset, &entry.key, version, matches!(entry.reason, Reason::UnreadableRows { .. }))
}

/// What the plan is made of, as it grows.
#[derive(Default)]
struct Parts {
    changes: Vec<PlannedChange>,
    out_of_reach: Vec<OutOfReach>,
}

impl Parts {
    fn leave(&mut self, dataset: &DatasetName, object: &ObjectVersion, left: Left) {
        self.out_of_reach.push(OutOfReach {
            dataset: dataset.clone(),
            key: object.key.clone(),
            object: Some(object.clone()),
            rows: left.rows,
            reason: left.reason,
        });
    }
}

/// Why a version stays, with what is known to be in it.
struct Left {
    rows: RowCount,
    reason: Reason,
}

/// Sums over the plan.
#[derive(Default)]
struct Tally {
    rows_of: BTreeMap<u32, u64>,
    objects_of: BTreeMap<u32, BTreeSet<(DatasetName, ObjectKey)>>,
    rows_going: u64,
    rows_shared: u64,
}

impl Tally {
    fn count(&mut self, dataset: &DatasetName, object: &ObjectVersion, rows: &[SubjectRowSet]) {
        for SubjectRowSet { ordinal, rows } in rows {
            *self.rows_of.entry(*ordinal).or_default() += rows.count().0;
            let place = (dataset.clone(), object.key.clone());
            self.objects_of.entry(*ordinal).or_default().insert(place);
        }
    }

    fn subjects(&self, facts: &Facts) -> Vec<PlannedSubject> {
        let subjects = facts.subjects.iter().map(|subject| PlannedSubject {
            ordinal: subject.ordinal,
            mask: subject.mask.clone(),
            digests: subject.digests.clone(),
            rows: RowCount(self.rows_of.get(&subject.ordinal).copied().unwrap_or_default()),
            objects: self.objects_of.get(&subject.ordinal).map_or(0, |places| places.len() as u64),
        });
        subjects.collect()
    }
}

/// A table whose metadata records the files below it.
struct Table<'a> {
    /// What the coverage ledger names: the folder, a file of its metadata, or a file of the table.
    named: &'a [u8],
    /// The folder, with a slash at its end; empty where the whole lake is the table.
    root: Vec<u8>,
    format: &'a str,
}

impl Table<'_> {
    fn holds(&self, key: &ObjectKey) -> bool {
        key.as_bytes() == self.named || key.as_bytes().starts_with(&self.root)
    }
}

/// The tables that the coverage ledger names.
fn tables(gaps: &[CoverageGap]) -> Vec<Table<'_>> {
    let tables = gaps.iter().filter_map(|gap| {
        let GapKind::Table { format } = &gap.kind else { return None };
        let metadata: &[u8] = match format.as_str() {
            "delta" => b"_delta_log",
            "hudi" => b".hoodie",
            _ => b"metadata",
        };
        let named = gap.key.as_bytes();
        let names: Vec<&[u8]> = named.split(|byte| *byte == b'/').collect();
        let is_folder = named.is_empty() || named.ends_with(b"/");
        let mark = names.iter().rposition(|name| !is_folder && *name == metadata);
        let mut root = names[..mark.unwrap_or(names.len())].join(&b'/');
        if !root.is_empty() && !root.ends_with(b"/") {
            root.push(b'/');
        }
        Some(Table { named, root, format })
    });
    tables.collect()
}

/// C15: a file of a table stays as it is, even where the index holds rows of it.
fn plan_table_file(
    dataset: &DatasetFacts,
    object: &ObjectFacts,
    table: &Table<'_>,
    (parts, tally): (&mut Parts, &mut Tally),
) {
    for version in &object.versions {
        let rows = union(&version.rows).as_ref().map_or(RowCount(0), RowSet::count);
        tally.count(&dataset.name, &version.object, &version.rows);
        let reason = Reason::Table { format: table.format.to_owned() };
        parts.leave(&dataset.name, &version.object, Left { rows, reason });
    }
}

/// What is to happen to one version.
enum Fate {
    /// Nothing: it holds nothing of the subjects.
    Stays,
    /// It is rewritten; and where it is kept then, this is why.
    Rewritten(Box<PlannedRewrite>, Option<Reason>),
    /// It is deleted.
    Expunged,
    /// It stays although it may hold rows.
    Left(Reason),
}

fn plan_object(dataset: &DatasetFacts, object: &ObjectFacts, parts: &mut Parts, tally: &mut Tally) {
    let fates: Vec<Fate> = object.versions.iter().map(|version| fate(dataset, version)).collect();
    let is_rewritten = fates.iter().any(|fate| matches!(fate, Fate::Rewritten(..)));
    let mut rewrite = None;
    let mut expunge = Vec::new();
    for (version, fate) in object.versions.iter().zip(fates) {
        let union = union(&version.rows);
        let rows = union.as_ref().map_or(RowCount(0), RowSet::count);
        tally.count(&dataset.name, &version.object, &version.rows);
        let fate = match fate {
            Fate::Stays | Fate::Left(_) if is_rewritten => swept(dataset, version).unwrap_or(fate),
            fate => fate,
        };
        let is_deleted = matches!(fate, Fate::Expunged);
        match fate {
            Fate::Stays => {}
            Fate::Rewritten(planned, kept) => {
                tally.rows_going += rows.0;
                tally.rows_shared += shared(&version.rows);
                rewrite = Some(*planned);
                if let Some(reason) = kept {
                    parts.leave(&dataset.name, &version.object, Left { rows, reason });
                }
            }
            Fate::Expunged => {
                tally.rows_going += rows.0;
                expunge.push(PlannedExpunge { object: version.object.clone(), rows });
            }
            Fate::Left(reason) => {
                parts.leave(&dataset.name, &version.object, Left { rows, reason });
            }
        }
        if let Some(reason) = unreadable_rows(version.scanned.as_ref())
            && !is_deleted
        {
            let left = Left { rows: RowCount(0), reason };
            parts.leave(&dataset.name, &version.object, left);
        }
    }
    // Versions come newest first; a run that is stopped midway leaves the newest ones.
    expunge.reverse();
    if rewrite.is_some() || !expunge.is_empty() {
        parts.changes.push(PlannedChange {
            dataset: dataset.name.clone(),
            key: object.key.clone(),
            rewrite,
            expunge,
            superseded: dataset.policy.superseded,
        });
    }
}

/// What is to happen to a version, as if it were alone.
fn fate(dataset: &DatasetFacts, version: &VersionFacts) -> Fate {
    if let Some(reason) = dataset.restraint.as_ref().filter(|_| !version.rows.is_empty()) {
        return Fate::Left(reason.clone());
    }
    let summary = match &version.scanned {
        Some(ScanOutcome::Indexed(_)) | None if version.rows.is_empty() => {
            return unknown(version);
        }
        Some(ScanOutcome::Indexed(summary)) => summary,
        Some(ScanOutcome::Unreadable(unreadable)) => {
            return Fate::Left(Reason::Unreadable { detail: unreadable.to_string() });
        }
        None => return Fate::Left(stale("the index holds rows of it, but no record")),
    };
    let last = version.rows.iter().map(|subject| subject.rows.last()).max();
    if last.is_some_and(|last| last.0 >= summary.rows.0) {
        return Fate::Left(stale("the index holds rows beyond its end"));
    }
    if version.standing == Standing::Current {
        return rewritten(dataset, version, summary);
    }
    match dataset.policy.superseded {
        SupersededPolicy::Keep => {
            Fate::Left(refused(&version.access, false).unwrap_or(Reason::KeptByPolicy))
        }
        SupersededPolicy::Matching | SupersededPolicy::All => {
            refused(&version.access, true).map_or(Fate::Expunged, Fate::Left)
        }
    }
}

/// The fate of a version without a known row.
fn unknown(version: &VersionFacts) -> Fate {
    if version.scanned.is_some() {
        return Fate::Stays;
    }
    match &version.access {
        Access::Known { is_readable: false, storage_class, .. } => {
            Fate::Left(archived(storage_class.as_deref()))
        }
        Access::Denied { detail } => Fate::Left(Reason::Denied { detail: detail.clone() }),
        _ => Fate::Left(Reason::Unavailable {
            detail: "not indexed yet; run `lacuna index` and plan again".to_owned(),
        }),
    }
}

fn rewritten(dataset: &DatasetFacts, version: &VersionFacts, summary: &ScanSummary) -> Fate {
    let Access::Known { is_readable, storage_class, .. } = &version.access else {
        return Fate::Left(refused(&version.access, false).unwrap_or_else(not_asked));
    };
    if !is_readable {
        return Fate::Left(archived(storage_class.as_deref()));
    }
    let Some(rows) = union(&version.rows) else { return Fate::Stays };
    let lying = Lying { object: &version.object, summary, asks_server: dataset.asks_server };
    let estimate = Some(estimate(lying, &rows));
    let subjects = version
        .rows
        .iter()
        .map(|subject| SubjectRows { ordinal: subject.ordinal, rows: subject.rows.count() });
    let rewrite = PlannedRewrite {
        object: version.object.clone(),
        format: summary.format,
        compression: summary.compression,
        storage_class: storage_class.clone(),
        action: dataset.policy.action.clone(),
        rows_total: summary.rows,
        rows,
        subjects: subjects.collect(),
        estimate,
    };
    let kept = match dataset.policy.superseded {
        _ if !is_kept(dataset.versioning, &version.object) => None,
        SupersededPolicy::Keep => Some(Reason::KeptByPolicy),
        SupersededPolicy::Matching | SupersededPolicy::All => refused(&version.access, true),
    };
    Fate::Rewritten(Box::new(rewrite), kept)
}

/// What becomes of a superseded version of a rewritten object where the policy sweeps them all; `None`
/// where it does not, or where it cannot be deleted.
fn swept(dataset: &DatasetFacts, version: &VersionFacts) -> Option<Fate> {
    let is_swept = version.standing == Standing::Superseded
        && dataset.policy.superseded == SupersededPolicy::All
        && refused(&version.access, true).is_none();
    is_swept.then_some(Fate::Expunged)
}

/// Whether the version is still there after the rewrite.
fn is_kept(versioning: Versioning, object: &ObjectVersion) -> bool {
    match versioning {
        Versioning::Never => false,
        Versioning::Enabled => true,
        // A write replaces the `null` version and keeps every other.
        Versioning::Suspended => !object.version.is_null(),
    }
}

/// Why the version cannot be deleted (`deleting`), or cannot be dealt with at all.
fn refused(access: &Access, deleting: bool) -> Option<Reason> {
    match access {
        Access::Denied { detail } => Some(Reason::Denied { detail: detail.clone() }),
        Access::Unavailable { detail } => Some(Reason::Unavailable { detail: detail.clone() }),
        Access::NotAsked => deleting.then(not_asked),
        Access::Known { .. } if !deleting => None,
        Access::Known { lock: Lock::Until(until), .. } => Some(Reason::Locked { until: *until }),
        Access::Known { lock: Lock::LegalHold, .. } => Some(Reason::LegalHold),
        // C8: what may be locked is not free.
        Access::Known { lock: Lock::Unknown, .. } => Some(Reason::Denied {
            detail: "whether it is locked; permit s3:GetObjectRetention and s3:GetObjectLegalHold"
                .to_owned(),
        }),
        Access::Known { lock: Lock::Free, is_readable: false, storage_class } => {
            Some(archived(storage_class.as_deref()))
        }
        Access::Known { lock: Lock::Free, is_readable: true, .. } => None,
    }
}

fn archived(storage_class: Option<&str>) -> Reason {
    Reason::Archived { storage_class: storage_class.unwrap_or("archive").to_owned() }
}

fn stale(what: &str) -> Reason {
    Reason::Unavailable { detail: format!("{what}; run `lacuna index --full` and plan again") }
}

fn not_asked() -> Reason {
    Reason::Unavailable { detail: "its store was not asked; plan again".to_owned() }
}

fn unreadable_rows(scanned: Option<&ScanOutcome>) -> Option<Reason> {
    match scanned {
        Some(ScanOutcome::Indexed(summary)) if summary.gaps.count > 0 => {
            Some(Reason::UnreadableRows { count: summary.gaps.count })
        }
        _ => None,
    }
}

/// Versions of objects without a known row that cannot be read, wholly or in some rows.
fn plan_unreadable(dataset: &DatasetFacts, parts: &mut Parts) {
    for ScannedObject { object, outcome, .. } in &dataset.unreadable {
        let reason = match outcome {
            ScanOutcome::Unreadable(unreadable) => {
                Some(Reason::Unreadable { detail: unreadable.to_string() })
            }
            outcome => unreadable_rows(Some(outcome)),
        };
        if let Some(reason) = reason {
            parts.leave(&dataset.name, object, Left { rows: RowCount(0), reason });
        }
    }
}

/// What the coverage ledger names and no version above speaks for.
fn plan_gaps(dataset: &DatasetFacts, parts: &mut Parts) {
    let with_rows = dataset.objects.iter().map(|object| &object.key);
    let unreadable = dataset.unreadable.iter().map(|scanned| &scanned.object.key);
    let named: BTreeSet<&ObjectKey> = with_rows.chain(unreadable).collect();
    for CoverageGap { key, kind, reason, .. } in &dataset.coverage.gaps {
        let detail = reason.clone();
        let reason = match kind {
            GapKind::Excluded => continue,
            GapKind::Table { format } => Reason::Table { format: format.clone() },
            _ if named.contains(key) => continue,
            GapKind::Unreadable => Reason::Unreadable { detail },
            GapKind::Unavailable => Reason::Unavailable { detail },
            GapKind::Denied => Reason::Denied { detail },
            GapKind::Archived { storage_class } => {
                Reason::Archived { storage_class: storage_class.clone() }
            }
        };
        let (dataset, key) = (dataset.name.clone(), key.clone());
        let entry = OutOfReach { dataset, key, object: None, rows: RowCount(0), reason };
        parts.out_of_reach.push(entry);
    }
}

fn plan_elsewhere(facts: &Facts, parts: &mut Parts, tally: &mut Tally) {
    for found in &facts.elsewhere {
        let rows = union(&found.rows).as_ref().map_or(RowCount(0), RowSet::count);
        tally.count(&found.dataset, &found.object, &found.rows);
        parts.leave(&found.dataset, &found.object, Left { rows, reason: Reason::OtherDataset });
    }
}

fn dataset_warnings(
    dataset: &DatasetFacts,
    changes: &[PlannedChange],
    rows: RowCount,
    terms: &PlanTerms,
) -> Vec<Warning> {
    let name = || dataset.name.clone();
    let coverage = &dataset.coverage;
    let mut rewrites = changes
        .iter()
        .filter(|change| change.dataset == dataset.name)
        .filter_map(|change| change.rewrite.as_ref());
    let is_irreversible = rewrites.any(|rewrite| !is_kept(dataset.versioning, &rewrite.object));
    let limit_percent = terms.blast_radius_percent;
    let share = u128::from(rows.0) * 100;
    let limit = u128::from(coverage.rows.0) * u128::from(limit_percent);
    let warnings = [
        (share > limit).then(|| Warning::BlastRadius {
            dataset: name(),
            rows,
            rows_total: coverage.rows,
            limit_percent,
        }),
        is_irreversible.then(|| Warning::Irreversible { dataset: name() }),
        (coverage.foreign_values > 0)
            .then(|| Warning::ForeignValues { dataset: name(), count: coverage.foreign_values }),
        (dataset.keys_with_identifier > 0).then(|| Warning::IdentifierInKey {
            dataset: name(),
            objects: dataset.keys_with_identifier,
        }),
    ];
    warnings.into_iter().flatten().collect()
}

/// The rows of all subjects together.
fn union(subjects: &[SubjectRowSet]) -> Option<RowSet> {
    match subjects {
        [only] => Some(only.rows.clone()),
        several => RowSet::new(several.iter().flat_map(|subject| subject.rows.iter())),
    }
}

/// How many rows are more than one subject's.
fn shared(subjects: &[SubjectRowSet]) -> u64 {
    if subjects.len() < 2 {
        return 0;
    }
    let mut rows: Vec<RowNumber> =
        subjects.iter().flat_map(|subject| subject.rows.iter()).collect();
    rows.sort_unstable();
    rows.chunk_by(|left, right| left == right).filter(|same| same.len() > 1).count() as u64
}
