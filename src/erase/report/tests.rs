//! The purge report: what it says, and what it can never say.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::domain::coverage::{CoverageGap, GapKind};
use crate::domain::edit::Way;
use crate::domain::object::ObjectKey;
use crate::domain::plan::{PlannedExpunge, PlannedSubject};
use crate::domain::row::{RowNumber, RowSet};
use crate::erase::planner;
use crate::erase::random::{self, terms};

/// Keys, references and names that would act where they are shown raw.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'; DROP TABLE postings; --",
    "a&lt;b",
    "\u{1b}[2J\u{1b}]0;owned\u{7}",
    "line\nPlan approved",
    "right\u{202e}txt.exe",
    "javascript:alert(1)",
    "</style><style>*{display:none}",
    "{{7*7}} ${7*7} %s",
];

fn example() -> PurgeReport {
    let plan = example_plan();
    PurgeReport::new(PlanId::of(&plan.to_bytes()), &plan)
}

/// A plan with something of everything.
fn example_plan() -> ErasurePlan {
    let later = Timestamp::constant(1_803_859_200, 0);
    let unreadable = Reason::Unreadable { detail: "the gzip stream ends early".to_owned() };
    let gap = CoverageGap {
        key: ObjectKey::from("reviews/_tmp/part-0"),
        versions: 12,
        kind: GapKind::Excluded,
        reason: "matches no glob of `include`".to_owned(),
    };
    ErasurePlan {
        schema: crate::domain::plan::PLAN_SCHEMA.to_owned(),
        request: "DSR-2026-0117".to_owned(),
        planned_at: random::NOW,
        expires_at: terms().expires_at,
        configuration: terms().configuration,
        key: terms().key,
        subjects: vec![
            subject(1, "ann@example.org", 1290, 5),
            subject(2, "4711", 3, 1),
            subject(3, "Örjan", 0, 0),
        ],
        changes: vec![
            change("clicks", "clicks/2026/11/19/user=ann/a.csv", &[], 2),
            change("reviews", "reviews/2026/11/part-0.json.gz", &[0, 7, 11], 0),
            change("reviews", "reviews/2026/11/\u{1b}[2Jpart-1.json.gz", &[3], 1),
        ],
        out_of_reach: vec![
            reach(
                "clicks",
                "clicks/2025.csv",
                2,
                Reason::Archived { storage_class: "GLACIER".to_owned() },
            ),
            reach("reviews", "reviews/2026/11/part-0.json.gz", 3, Reason::Locked { until: later }),
            reach("reviews", "reviews/broken.json.gz", 0, unreadable),
            reach("reviews", "reviews/holed.json", 0, Reason::UnreadableRows { count: 2 }),
            reach("reviews", "reviews/table", 0, Reason::Table { format: "delta".to_owned() }),
        ],
        coverage: vec![
            Coverage {
                listed: 12_021,
                indexed: 12_020,
                failed: 1,
                rows: RowCount(48_000_312),
                ..Coverage::empty(DatasetName::new("clicks"))
            },
            Coverage {
                listed: 3_014,
                indexed: 3_001,
                unreadable: 1,
                excluded: 12,
                rows: RowCount(912_334),
                unreadable_rows: 2,
                gaps: vec![gap],
                ..Coverage::empty(DatasetName::new("reviews"))
            },
        ],
        warnings: vec![
            Warning::SharedRows { rows: RowCount(1) },
            Warning::Irreversible { dataset: DatasetName::new("clicks") },
        ],
    }
}

fn subject(ordinal: u32, text: &str, rows: u64, objects: u64) -> PlannedSubject {
    let (mask, digests) = (Mask::of(text), vec![random::digest(ordinal)]);
    PlannedSubject { ordinal, mask, digests, rows: RowCount(rows), objects }
}

fn change(dataset: &str, key: &str, rows: &[u64], expunged: usize) -> PlannedChange {
    let rewrite = RowSet::new(rows.iter().copied().map(RowNumber)).map(|rows| PlannedRewrite {
        object: ObjectVersion { size_bytes: 5 << 20, ..random::object(key, 0) },
        format: FormatName::Jsonl,
        compression: Compression::Gzip,
        storage_class: Some("STANDARD".to_owned()),
        action: EraseAction::default(),
        rows_total: RowCount(20_481),
        subjects: vec![SubjectRows { ordinal: 1, rows: rows.count() }],
        rows,
        estimate: Some(Estimate {
            way: Way::Object { because: "the \u{1b}[2J stream is one".to_owned() },
            written_bytes: 5 << 20,
            copied_bytes: 0,
            requests: 61,
        }),
    });
    let expunge = (1..=expunged)
        .rev()
        .map(|age| PlannedExpunge { object: random::object(key, age), rows: RowCount(1) });
    PlannedChange {
        dataset: DatasetName::new(dataset),
        key: ObjectKey::from(key),
        rewrite,
        expunge: expunge.collect(),
        superseded: SupersededPolicy::Matching,
    }
}

fn reach(dataset: &str, key: &str, rows: u64, reason: Reason) -> OutOfReach {
    OutOfReach {
        dataset: DatasetName::new(dataset),
        key: ObjectKey::from(key),
        object: Some(random::object(key, 0)),
        rows: RowCount(rows),
        reason,
    }
}

#[test]
fn the_text_reads_well() {
    assert_snapshot!(text(&example()));
}

#[test]
fn the_page_reads_well() {
    assert_snapshot!(html(&example()));
}

/// L7, L8: no foreign text reaches a browser or a terminal raw.
#[test]
fn hostile_text_is_inert() {
    let clean = html(&example());
    let tags = |page: &str| page.matches('<').count();
    for hostile in HOSTILE {
        let mut report = example();
        report.request = (*hostile).to_owned();
        for dataset in &mut report.datasets {
            dataset.dataset = DatasetName::new(*hostile);
            for change in &mut dataset.changes {
                change.key = ObjectKey::from(*hostile);
            }
        }
        for entry in &mut report.out_of_reach {
            entry.key = ObjectKey::from(*hostile);
            let detail = (*hostile).to_owned();
            entry.text = wording::reason(&Reason::Unreadable { detail });
        }
        for gap in report.coverage.iter_mut().flat_map(|coverage| &mut coverage.gaps) {
            gap.reason = (*hostile).to_owned();
        }
        let page = html(&report);
        assert_eq!(tags(&page), tags(&clean), "{hostile:?} became markup");
        assert!(!page.chars().any(is_active), "{hostile:?} reached the page");
        assert!(!text(&report).chars().any(is_active), "{hostile:?} reached the terminal");
        let lines = text(&report).lines().count();
        assert!(!text(&report).lines().any(|line| line.starts_with("Plan approved")), "{lines}");
    }
}

fn is_active(character: char) -> bool {
    character != '\n' && crate::domain::object::is_unprintable(character)
}

/// The only style the policy allows is the one that is there, and nothing else is allowed at all.
#[test]
fn the_policy_allows_the_style_and_nothing_else() {
    let page = html(&example());
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).expect("a policy");
    let policy = policy.split('"').next().expect("an end");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("'; base-uri 'none'; form-action 'none'"), "{policy}");
    assert_eq!(page.matches("<style>").count(), 1);
    for word in ["<script", "style=", "href=", "src=", "http://", "https://", "url(", "@import"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn numbers_are_written_for_people() {
    use wording::{number, size};
    let numbers = [0, 7, 999, 1000, 1_284, 999_999, 1_000_000, u64::MAX].map(number);
    let expected = ["0", "7", "999", "1,000", "1,284", "999,999", "1,000,000"];
    assert_eq!(numbers[..7], expected);
    assert_eq!(numbers[7], "18,446,744,073,709,551,615");
    let sizes = [0, 1023, 1024, 1_300_000_000, 1 << 40, (1 << 20) - 1, u64::MAX].map(size);
    assert_eq!(
        sizes,
        ["0 B", "1023 B", "1.00 KiB", "1.21 GiB", "1.00 TiB", "1.00 MiB", "16.0 EiB"]
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// L5: a report holds masks and numbers, no digest and nothing else of a subject; its parts agree.
    #[test]
    fn a_report_follows_from_the_plan(facts in random::facts()) {
        let plan = planner::plan(&facts, &terms());
        let report = PurgeReport::new(PlanId::of(&plan.to_bytes()), &plan);
        let json = report.to_json();
        let read: PurgeReport = serde_json::from_slice(&json).expect("a report is read back");
        prop_assert_eq!(&read, &report);
        let of_datasets: u64 = report.datasets.iter().map(|dataset| dataset.rows.0).sum();
        prop_assert_eq!(of_datasets, report.rows.0);
        prop_assert_eq!(report.subjects.len() + report.not_found.len(), plan.subjects.len());
        let digest = random::digest(1).to_string();
        for shown in [String::from_utf8(json).expect("text"), text(&report), html(&report)] {
            prop_assert!(!shown.contains(&digest));
        }
        prop_assert!(text(&report).contains(&report.plan_id.to_string()));
    }
}
