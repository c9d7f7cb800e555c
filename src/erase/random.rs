//! Random facts, for the property tests of everything that is decided from facts.

use proptest::collection::vec;
use proptest::prelude::*;

use super::facts::{
    Access, DatasetFacts, Elsewhere, Facts, ObjectFacts, SubjectFacts, SubjectRowSet, VersionFacts,
};
use super::planner::PlanTerms;
use crate::domain::Timestamp;
use crate::domain::coverage::{Coverage, CoverageGap, GapKind};
use crate::domain::dataset::{
    Compression, DatasetName, EraseAction, ErasePolicy, FormatName, ScanSettings, SupersededPolicy,
};
use crate::domain::identifier::{DigestKey, IdentifierDigest};
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, Standing, VersionId};
use crate::domain::plan::Reason;
use crate::domain::posting::{RowGaps, ScanOutcome, ScanSummary, ScannedObject, Unreadable};
use crate::domain::register::Exempting;
use crate::domain::request::Mask;
use crate::domain::row::{RowCount, RowNumber, RowSet};
use crate::lake::{Lock, Versioning};

/// 2026-11-20T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_795_132_800, 0);

const ROWS_TOTAL: u64 = 12;

pub(crate) fn terms() -> PlanTerms {
    PlanTerms {
        expires_at: Timestamp::constant(1_795_132_800 + 7 * 86_400, 0),
        configuration: "c0ffee".to_owned(),
        key: DigestKey::new([7; 32]).check_value(),
        blast_radius_percent: 20,
    }
}

pub(crate) fn object(key: &str, age: usize) -> ObjectVersion {
    ObjectVersion {
        key: ObjectKey::from(key),
        version: VersionId::new(format!("v{age}")),
        etag: ETag::new(format!("\"e{age}\"")),
        size_bytes: 1000 + age as u64,
        modified_at: Timestamp::constant(1_795_000_000 - age as i64, 0),
    }
}

pub(crate) fn summary(gaps: u64) -> ScanSummary {
    ScanSummary {
        format: FormatName::Jsonl,
        compression: Compression::None,
        rows: RowCount(ROWS_TOTAL),
        gaps: RowGaps { count: gaps, first: Vec::new() },
        foreign_values: 0,
        landmarks: Landmarks::default(),
    }
}

pub(crate) fn digest(ordinal: u32) -> IdentifierDigest {
    IdentifierDigest::from_bytes([u8::try_from(ordinal).unwrap_or(255); 16])
}

fn subjects(count: u32) -> Vec<SubjectFacts> {
    let subject =
        |ordinal| SubjectFacts { ordinal, mask: Mask::of("ann"), digests: vec![digest(ordinal)] };
    (1..=count).map(subject).collect()
}

fn scanned() -> impl Strategy<Value = Option<ScanOutcome>> {
    prop_oneof![
        8 => (0..3u64).prop_map(|gaps| Some(ScanOutcome::Indexed(summary(gaps / 2)))),
        1 => Just(None),
        1 => Just(Some(ScanOutcome::Unreadable(unreadable()))),
    ]
}

pub(crate) fn unreadable() -> Unreadable {
    Unreadable { reason: "the gzip stream ends early".to_owned(), row: None, byte: Some(7) }
}

fn access() -> impl Strategy<Value = Access> {
    let lock = prop_oneof![
        6 => Just(Lock::Free),
        1 => Just(Lock::Until(NOW)),
        1 => Just(Lock::LegalHold),
        1 => Just(Lock::Unknown),
    ];
    prop_oneof![
        9 => (lock, prop::bool::weighted(0.9)).prop_map(|(lock, is_readable)| Access::Known {
            lock,
            is_readable,
            storage_class: (!is_readable).then(|| "GLACIER".to_owned()),
        }),
        1 => Just(Access::Denied { detail: "reading its attributes".to_owned() }),
        1 => Just(Access::Unavailable { detail: "the store is busy".to_owned() }),
        1 => Just(Access::NotAsked),
    ]
}

/// Rows of up to three subjects; now and then beyond the end, as of a damaged index.
fn rows() -> impl Strategy<Value = Vec<SubjectRowSet>> {
    let set = vec(prop_oneof![40 => 0..ROWS_TOTAL, 1 => Just(ROWS_TOTAL)], 0..4);
    vec(set, 3).prop_map(|sets| {
        let sets = (1..).zip(sets).filter_map(|(ordinal, rows)| {
            let rows = RowSet::new(rows.into_iter().map(RowNumber))?;
            Some(SubjectRowSet { ordinal, rows })
        });
        sets.collect()
    })
}

fn object_facts(key: String) -> impl Strategy<Value = ObjectFacts> {
    let version = (scanned(), access(), rows());
    (vec(version, 1..5), prop::bool::weighted(0.8)).prop_map(move |(versions, has_current)| {
        let versions = versions.into_iter().enumerate().map(|(age, (scanned, access, rows))| {
            let is_current = age == 0 && has_current;
            let is_unreadable = matches!(scanned, Some(ScanOutcome::Unreadable(_)));
            VersionFacts {
                object: object(&key, age),
                standing: if is_current { Standing::Current } else { Standing::Superseded },
                access,
                rows: if is_unreadable || scanned.is_none() { Vec::new() } else { rows },
                scanned,
            }
        });
        ObjectFacts { key: ObjectKey::from(key.as_str()), versions: versions.collect() }
    })
}

fn gap() -> impl Strategy<Value = CoverageGap> {
    let kind = prop::sample::select(vec![
        GapKind::Unreadable,
        GapKind::Unavailable,
        GapKind::Denied,
        GapKind::Archived { storage_class: "DEEP_ARCHIVE".to_owned() },
        GapKind::Excluded,
        GapKind::Table { format: "delta".to_owned() },
    ]);
    let key = prop::sample::select(vec!["a/0", "a/_delta_log/0.json", "b", "z/gap", "z/other"]);
    (kind, key).prop_map(|(kind, key)| CoverageGap {
        key: ObjectKey::from(key),
        versions: 1,
        kind,
        reason: "for a reason".to_owned(),
    })
}

fn dataset(name: &'static str) -> impl Strategy<Value = DatasetFacts> {
    let keys = ["a/0", "a/00", "a0", "b/\u{1b}[2J", "b/1"];
    let objects = prop::sample::subsequence(keys.to_vec(), 0..=keys.len()).prop_flat_map(|keys| {
        keys.into_iter().map(|key| object_facts(key.to_owned())).collect::<Vec<_>>()
    });
    let policy = prop::sample::select(vec![
        SupersededPolicy::Matching,
        SupersededPolicy::All,
        SupersededPolicy::Keep,
    ]);
    let versioning =
        prop::sample::select(vec![Versioning::Enabled, Versioning::Suspended, Versioning::Never]);
    (objects, policy, versioning, vec(gap(), 0..3), 0..2u64, 0..400u64).prop_map(
        move |(objects, superseded, versioning, gaps, keys_with_identifier, rows)| DatasetFacts {
            name: DatasetName::new(name),
            policy: ErasePolicy { action: EraseAction::default(), superseded },
            versioning,
            asks_server: rows % 2 == 0,
            restraint: restraint(rows),
            coverage: Coverage {
                rows: RowCount(rows),
                gaps,
                ..Coverage::empty(DatasetName::new(name))
            },
            objects,
            unreadable: vec![ScannedObject {
                object: object("z/broken", 0),
                settings: ScanSettings::new("s"),
                scanned_at: NOW,
                outcome: ScanOutcome::Unreadable(unreadable()),
            }],
            keys_with_identifier,
        },
    )
}

/// Now and then what the register has against an erasure.
fn restraint(seed: u64) -> Option<Reason> {
    let (basis, until) =
        ("lawsuit-1".parse().expect("a code"), Some(jiff::civil::date(2030, 1, 1)));
    match seed % 7 {
        0 => Some(Reason::OnHold { basis, until: None }),
        1 => Some(Reason::Exempt { basis: Exempting::Obligation, until }),
        _ => None,
    }
}

pub(crate) fn facts() -> impl Strategy<Value = Facts> {
    let elsewhere = (rows(), any::<bool>()).prop_map(|(rows, is_there)| {
        let dataset = DatasetName::new("other");
        let found = Elsewhere { dataset, object: object("there", 0), rows };
        if is_there && !found.rows.is_empty() { vec![found] } else { Vec::new() }
    });
    (dataset("first"), dataset("second"), elsewhere).prop_map(|(first, second, elsewhere)| Facts {
        request: "DSR-1".to_owned(),
        gathered_at: NOW,
        subjects: subjects(4),
        datasets: vec![first, second],
        elsewhere,
    })
}
