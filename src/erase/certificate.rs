//! The certificate of erasure: what was erased where, when and on whose word; what remains, and why.
//!
//! The grade is computed from everything that is known and cannot be chosen: as long as one thing is
//! open, no certificate says that the erasure is complete. A certificate holds no personal data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::coverage::Coverage;
use crate::domain::dataset::DatasetName;
use crate::domain::deadline::day_of;
use crate::domain::decision::{Decision, Verdict};
use crate::domain::journal::{Note, Outcome, Step};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::plan::{ErasurePlan, OutOfReach, PlanId, PlannedChange, Reason};
use crate::domain::register::RegisteredRequest;
use crate::domain::request::Mask;
use crate::domain::row::RowCount;

use super::execution::Tally;
use super::report::wording::count;
use super::verify::{Sample, Verification};

mod html;
mod pdf;
mod text;

/// What the first field of a stored certificate says.
pub const CERTIFICATE_SCHEMA: &str = "lacuna.certificate.v1";

/// How the rows were erased, in words.
const TECHNIQUE: &str = "Rows of the data subjects were overwritten with blanks in a new version of \
    each object; every other row was compared with what it held before; superseded versions were \
    deleted for good by their version id, unless named below.";

/// How the technique is called in NIST SP 800-88.
const MAPPING: &str = "Clear, by logical means, of individual records (NIST SP 800-88); storage media \
    are not sanitised, and copies outside of the named lakes are not covered.";

/// Evidence of an erasure for the people who asked for it and for auditors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`CERTIFICATE_SCHEMA`].
    pub schema: String,
    /// How far the erasure is complete.
    pub grade: Grade,
    /// Why it is not complete, a sentence each; empty where it is.
    pub open: Vec<String>,
    /// The reference of the request.
    pub request: String,
    /// The plan that was carried out.
    pub plan: PlanId,
    /// When the certificate was made.
    pub issued_at: Timestamp,
    /// Until when it speaks: rows that came later are not covered.
    pub as_of: Timestamp,
    /// Who was asked for, found or not.
    pub subjects: Vec<CertifiedSubject>,
    /// Where was looked.
    pub scope: Vec<Scope>,
    /// How it was done.
    pub method: Method,
    /// On whose word.
    pub approval: Approval,
    /// When the work in the lake was done.
    pub carried_out: CarriedOut,
    /// How many changes ended how, and what they did in all.
    pub counts: Tally,
    /// Every object of the plan, and what became of it.
    pub objects: Vec<CertifiedObject>,
    /// What may still hold rows of the subjects, and why.
    pub remaining: Vec<Remaining>,
    /// How the result was checked; absent where it was not.
    pub verification: Option<Verified>,
}

/// How far an erasure is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Something is open: `open` says what.
    Partial,
    /// All is done, except for copies that may not be deleted yet or that a policy keeps: `remaining`
    /// names them.
    CompleteWithRetainedCopies,
    /// All is done, and nothing known remains.
    Complete,
}

impl Grade {
    /// As people read it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Partial => "partial",
            Self::CompleteWithRetainedCopies => "complete, with retained copies",
            Self::Complete => "complete",
        }
    }
}

/// Someone who was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedSubject {
    /// The place in the request, from 1.
    pub ordinal: u32,
    /// The masked form of the first identifier.
    pub mask: Mask,
    /// Rows that the plan found; 0: the subject was not found.
    pub rows: RowCount,
    /// Objects that held one of them.
    pub objects: u64,
}

/// A dataset that was looked through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The dataset.
    pub dataset: DatasetName,
    /// Where it lies; absent where it is not configured any more.
    pub location: Option<String>,
    /// Kept object versions below the location.
    pub listed: u64,
    /// Of these, in the index.
    pub indexed: u64,
    /// Cannot be read.
    pub unreadable: u64,
    /// Left out by the configuration.
    pub excluded: u64,
    /// Could not be read for the moment.
    pub failed: u64,
    /// Rows that cannot be read in readable versions.
    pub unreadable_rows: u64,
}

/// How an erasure was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// The technique, in words.
    pub technique: String,
    /// What NIST SP 800-88 calls it.
    pub mapping: String,
    /// The program.
    pub tool: String,
    /// Its version.
    pub tool_version: String,
}

/// On whose word it was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Who approved.
    pub by: String,
    /// When.
    pub decided_at: Timestamp,
    /// How many objects the approver left out.
    pub exceptions: u64,
}

/// When the work in the lake was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarriedOut {
    /// When the plan was made.
    pub planned_at: Timestamp,
    /// When the first change ended; absent where none did.
    pub first_ended_at: Option<Timestamp>,
    /// When the last change ended.
    pub last_ended_at: Option<Timestamp>,
}

/// An object of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertifiedObject {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// What became of it; absent where nothing has yet.
    #[serde(flatten)]
    pub outcome: Option<Outcome>,
}

/// Something that may still hold rows of the subjects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remaining {
    /// The dataset.
    pub dataset: DatasetName,
    /// The object.
    pub key: ObjectKey,
    /// The version, where one is meant.
    pub object: Option<ObjectVersion>,
    /// Rows of the subjects known to be in it; 0 where that is not known.
    pub rows: RowCount,
    /// Why it remains.
    pub reason: Reason,
}

/// How the result was checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// What was read, in words.
    pub method: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Objects that were read.
    pub objects: u64,
    /// Versions that were read.
    pub versions: u64,
    /// Rows that were looked at.
    pub rows: RowCount,
    /// Versions in which a subject was met.
    pub met: u64,
    /// Versions that could not be read, or not in every row.
    pub unreadable: u64,
    /// The random share of all other objects that was read, in percent.
    pub sample_percent: u8,
    /// How many versions of other objects were read.
    pub sample_versions: u64,
    /// The share of the other versions that may hold a row all the same, in percent, with 95 %
    /// confidence; absent where it is not known.
    pub sample_bound_percent: Option<f64>,
}

/// Everything a certificate is made of.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The plan's id.
    pub id: PlanId,
    /// The plan.
    pub plan: &'a ErasurePlan,
    /// The decision that counts.
    pub decision: &'a Decision,
    /// The latest note of each change.
    pub notes: &'a BTreeMap<u32, Note>,
    /// The verification, where there was one.
    pub verification: Option<&'a Verification>,
    /// What the register has of the request now; `None` where it was never registered.
    pub request: Option<&'a RegisteredRequest>,
    /// Where each dataset lies.
    pub locations: &'a BTreeMap<DatasetName, String>,
    /// When the certificate is made.
    pub issued_at: Timestamp,
}

impl Certificate {
    /// The certificate that this evidence carries. Its grade is never better than the evidence.
    pub fn of(evidence: &Evidence<'_>) -> Self {
        let plan = evidence.plan;
        let objects: Vec<CertifiedObject> = objects(evidence);
        let mut counts = Tally::default();
        for object in &objects {
            match &object.outcome {
                Some(outcome) => counts.add(outcome),
                None => counts.left += 1,
            }
        }
        let remaining = remaining(plan, &objects);
        let open = open_matters(evidence, &objects, &remaining);
        let grade = match (open.is_empty(), remaining.is_empty()) {
            (false, _) => Grade::Partial,
            (true, false) => Grade::CompleteWithRetainedCopies,
            (true, true) => Grade::Complete,
        };
        Self {
            schema: CERTIFICATE_SCHEMA.to_owned(),
            grade,
            open,
            request: plan.request.clone(),
            plan: evidence.id,
            issued_at: evidence.issued_at,
            as_of: evidence.verification.map_or(plan.planned_at, |it| it.ended_at),
            subjects: subjects(plan),
            scope: plan.coverage.iter().map(|it| scope(it, evidence.locations)).collect(),
            method: method(),
            approval: approval(evidence.decision),
            carried_out: carried_out(evidence),
            counts,
            objects,
            remaining,
            verification: evidence.verification.map(verified),
        }
    }

    /// What happened besides, a line each.
    fn others(&self) -> Vec<String> {
        let counts = &self.counts;
        let lines = [
            (counts.expunged, "superseded version", "superseded versions", "deleted for good"),
            (counts.retained, "version", "versions", "that could not be deleted"),
            (counts.drifted, "object", "objects", "no longer as planned"),
            (counts.gone, "object", "objects", "that had gone"),
            (counts.excepted, "object", "objects", "left out by the approver"),
            (counts.failed, "object", "objects", "that failed"),
            (counts.left, "object", "objects", "not dealt with"),
        ];
        let lines = lines.into_iter().filter(|(number, ..)| *number > 0);
        lines
            .map(|(number, one, many, what)| format!("{} {what}", count(number, one, many)))
            .collect()
    }

    /// The bytes that are stored: indented JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .unwrap_or_else(|_| unreachable!("a certificate has no map with keys but text"));
        bytes.push(b'\n');
        bytes
    }
}

fn subjects(plan: &ErasurePlan) -> Vec<CertifiedSubject> {
    let subject = |subject: &crate::domain::plan::PlannedSubject| CertifiedSubject {
        ordinal: subject.ordinal,
        mask: subject.mask.clone(),
        rows: subject.rows,
        objects: subject.objects,
    };
    plan.subjects.iter().map(subject).collect()
}

fn scope(coverage: &Coverage, locations: &BTreeMap<DatasetName, String>) -> Scope {
    Scope {
        dataset: coverage.dataset.clone(),
        location: locations.get(&coverage.dataset).cloned(),
        listed: coverage.listed,
        indexed: coverage.indexed,
        unreadable: coverage.unreadable,
        excluded: coverage.excluded,
        failed: coverage.failed,
        unreadable_rows: coverage.unreadable_rows,
    }
}

fn method() -> Method {
    Method {
        technique: TECHNIQUE.to_owned(),
        mapping: MAPPING.to_owned(),
        tool: env!("CARGO_PKG_NAME").to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn approval(decision: &Decision) -> Approval {
    let exceptions = match &decision.verdict {
        Verdict::Approved { except } => except.len() as u64,
        Verdict::Rejected { .. } => 0,
    };
    Approval { by: decision.by.clone(), decided_at: decision.decided_at, exceptions }
}

fn carried_out(evidence: &Evidence<'_>) -> CarriedOut {
    let ended = evidence.notes.values().filter(|note| matches!(note.step, Step::Done(_)));
    let moments: Vec<Timestamp> = ended.map(|note| note.noted_at).collect();
    CarriedOut {
        planned_at: evidence.plan.planned_at,
        first_ended_at: moments.iter().min().copied(),
        last_ended_at: moments.iter().max().copied(),
    }
}

fn objects(evidence: &Evidence<'_>) -> Vec<CertifiedObject> {
    let object = |(change, planned): (u32, &PlannedChange)| {
        let outcome = evidence.notes.get(&change).and_then(|note| match &note.step {
            Step::Done(outcome) => Some(outcome.clone()),
            _ => None,
        });
        CertifiedObject { dataset: planned.dataset.clone(), key: planned.key.clone(), outcome }
    };
    (0..).zip(&evidence.plan.changes).map(object).collect()
}

/// What the plan did not reach, and what could not be deleted when it was carried out.
fn remaining(plan: &ErasurePlan, objects: &[CertifiedObject]) -> Vec<Remaining> {
    let left = plan.out_of_reach.iter().map(|left: &OutOfReach| Remaining {
        dataset: left.dataset.clone(),
        key: left.key.clone(),
        object: left.object.clone(),
        rows: left.rows,
        reason: left.reason.clone(),
    });
    let mut remaining: Vec<Remaining> = left.collect();
    for (object, planned) in objects.iter().zip(&plan.changes) {
        let Some(Outcome::Erased { retained, .. }) = &object.outcome else { continue };
        remaining.extend(retained.iter().map(|kept| Remaining {
            dataset: object.dataset.clone(),
            key: object.key.clone(),
            object: Some(kept.object.clone()),
            rows: rows_in(planned, &kept.object),
            reason: kept.reason.clone(),
        }));
    }
    remaining
}

/// The rows that the plan found in a version.
fn rows_in(planned: &PlannedChange, object: &ObjectVersion) -> RowCount {
    let rewritten = planned.rewrite.iter().filter(|it| it.object.is_same_version(object));
    let expunged = planned.expunge.iter().filter(|it| it.object.is_same_version(object));
    let rows = rewritten.map(|it| it.rows.count()).chain(expunged.map(|it| it.rows)).next();
    rows.unwrap_or_default()
}

/// Whether a copy may remain without the erasure being incomplete: the law or a policy keeps it, and
/// it is named.
///
/// A hold or an exemption that the plan found has to stand on the day of the certificate: what was released
/// since is to be planned anew.
fn is_retained_copy(remaining: &Remaining, evidence: &Evidence<'_>) -> bool {
    match &remaining.reason {
        Reason::OnHold { .. } | Reason::Exempt { .. } => evidence.request.is_some_and(|request| {
            request.restraint(&remaining.dataset, day_of(evidence.issued_at)).is_some()
        }),
        Reason::Locked { .. } | Reason::LegalHold | Reason::KeptByPolicy => true,
        Reason::Unreadable { .. }
        | Reason::UnreadableRows { .. }
        | Reason::Archived { .. }
        | Reason::Table { .. }
        | Reason::OtherDataset
        | Reason::Denied { .. }
        | Reason::Unavailable { .. } => false,
    }
}

/// Everything that keeps the erasure from being complete, a sentence each.
fn open_matters(
    evidence: &Evidence<'_>,
    objects: &[CertifiedObject],
    remaining: &[Remaining],
) -> Vec<String> {
    let mut open = Vec::new();
    let mut tell = |number: usize, one: &str, many: &str| {
        if number > 0 {
            open.push(count(number as u64, one, many));
        }
    };
    let those =
        |is: fn(&Option<Outcome>) -> bool| objects.iter().filter(|it| is(&it.outcome)).count();
    tell(
        those(Option::is_none),
        "object was not dealt with yet",
        "objects were not dealt with yet",
    );
    tell(
        those(|outcome| matches!(outcome, Some(Outcome::Failed { .. }))),
        "object could not be rewritten",
        "objects could not be rewritten",
    );
    tell(
        those(|outcome| matches!(outcome, Some(Outcome::Drifted))),
        "object was no longer as planned and needs another plan",
        "objects were no longer as planned and need another plan",
    );
    tell(
        those(|outcome| matches!(outcome, Some(Outcome::Excepted))),
        "object was left out by the approver",
        "objects were left out by the approver",
    );
    let is_lifted =
        |it: &&Remaining| matches!(it.reason, Reason::OnHold { .. } | Reason::Exempt { .. });
    let (lifted, unreached): (Vec<&Remaining>, Vec<&Remaining>) =
        remaining.iter().filter(|it| !is_retained_copy(it, evidence)).partition(is_lifted);
    tell(
        lifted.len(),
        "object or version is no longer on hold or exempt and needs another plan",
        "objects or versions are no longer on hold or exempt and need another plan",
    );
    tell(
        unreached.len(),
        "object or version could not be reached",
        "objects or versions could not be reached",
    );
    open.extend(evidence.plan.coverage.iter().filter_map(coverage_gap));
    if !matches!(evidence.decision.verdict, Verdict::Approved { .. }) {
        open.push("the last decision on the plan is no approval".to_owned());
    }
    open.extend(open_verification(evidence.verification, remaining));
    open
}

fn coverage_gap(coverage: &Coverage) -> Option<String> {
    let unknown = coverage.unreadable + coverage.failed;
    let Coverage { dataset, unreadable_rows, .. } = coverage;
    if coverage.is_balanced() && unknown == 0 && *unreadable_rows == 0 {
        return None;
    }
    Some(format!(
        "dataset `{dataset}`: {unknown} object versions and {unreadable_rows} rows could not be read"
    ))
}

/// What a verification leaves open. Rows in versions that remain for a named reason are no surprise.
fn open_verification(verification: Option<&Verification>, remaining: &[Remaining]) -> Vec<String> {
    let Some(verification) = verification else {
        return vec!["the result was not verified; run `lacuna verify`".to_owned()];
    };
    let mut open = Vec::new();
    let is_named = |object: &ObjectVersion| {
        let versions = remaining.iter().filter_map(|it| it.object.as_ref());
        versions.into_iter().any(|named| named.is_same_version(object))
    };
    let met = verification.unexpected().filter(|met| !is_named(&met.object)).count();
    if met > 0 {
        let versions = count(met as u64, "object version", "object versions");
        open.push(format!("verification met rows of the subjects in {versions}"));
    }
    let is_unread = |it: &&super::verify::Unread| !it.object.as_ref().is_some_and(&is_named);
    let unread = verification.unreadable.iter().filter(is_unread).count();
    if unread > 0 {
        let versions = count(unread as u64, "object version", "object versions");
        open.push(format!("verification could not read {versions}"));
    }
    if verification.is_interrupted {
        open.push("verification was stopped before its end".to_owned());
    }
    open
}

fn verified(verification: &Verification) -> Verified {
    let sample = verification.sample.as_ref();
    let method = match sample {
        Some(_) => {
            "every kept version of every object of the plan was read again, and a random share of \
             all others"
        }
        None => "every kept version of every object of the plan was read again",
    };
    let is_clean = verification.met.is_empty();
    Verified {
        method: method.to_owned(),
        ended_at: verification.ended_at,
        objects: verification.objects,
        versions: verification.versions,
        rows: verification.rows,
        met: verification.met.len() as u64,
        unreadable: verification.unreadable.len() as u64,
        sample_percent: sample.map_or(0, |sample| sample.percent),
        sample_versions: sample.map_or(0, |sample| sample.chosen),
        sample_bound_percent: sample.filter(|_| is_clean).and_then(Sample::bound_percent),
    }
}
