//! The same documents as text for a terminal.

use std::fmt::Write as _;

use crate::domain::Timestamp;
use crate::domain::coverage::{Coverage, GapKind};
use crate::domain::decision::{Decision, Verdict};
use crate::domain::object::{ObjectKey, VersionId};
use crate::domain::request::RequestedSubject;
use crate::domain::row::RowSet;
use crate::erase::report::PurgeReport;
use crate::erase::report::wording::{count, moment, number, plain, reason};
use crate::wire::PlanState;

use super::documents::{
    AuditExported, AuditKey, AuditVerified, Digest, Erase, FailedMail, Found, Index, Init, Mail,
    MetastoreCheck, MetastoreCopy, MetastorePrepared, Notified, OpenPlan, Status, Vacuum, Verify,
};
use super::progress::human_bytes;
use super::requests;

/// How many gaps of a dataset are shown by name.
const GAPS_SHOWN: usize = 10;

/// How many versions of an index that something is wrong with are shown by name.
const VERSIONS_SHOWN: usize = 20;

/// How many row numbers a line shows.
const ROWS_SHOWN: usize = 12;

pub(in crate::cli) fn init(document: &Init) -> String {
    let Init { configuration, key_file, signing_key_file, .. } = document;
    format!(
        "wrote {configuration}\nwrote {key_file}: keep a copy where the lake is not; without it \
         the index is of no use\nwrote {signing_key_file}: it signs certificates\n\nNext:\n  1. name your data in {configuration}\n  2. lacuna index\n  \
         3. lacuna plan --subject NAMESPACE=VALUE --request REFERENCE\n"
    )
}

pub(in crate::cli) fn digest(document: &Digest) -> String {
    let lines = document.digests.iter().map(|it| format!("{}\t{}\n", it.namespace, it.digest));
    lines.collect()
}

pub(in crate::cli) fn find(subjects: &[RequestedSubject], found: &[Found]) -> String {
    let mut text = String::new();
    for subject in subjects {
        let of_subject = || found.iter().filter(|it| it.subject == subject.ordinal);
        let (ordinal, mask) = (subject.ordinal, subject.mask.as_str());
        let rows: u64 = of_subject().map(|it| it.rows.count().0).sum();
        let versions = of_subject().count() as u64;
        let _ = match versions {
            0 => writeln!(text, "subject {ordinal} ({mask}): not found"),
            _ => writeln!(
                text,
                "subject {ordinal} ({mask}): {} in {}",
                counted(rows, "row"),
                counted(versions, "object version")
            ),
        };
        for it in of_subject() {
            let version = match it.version.is_null() {
                true => String::new(),
                false => format!("  version {}", it.version),
            };
            let _ =
                writeln!(text, "  {}  {}{version}  {}", it.dataset, it.object, rows_of(&it.rows));
        }
    }
    text
}

pub(in crate::cli) fn index(document: &Index) -> String {
    let mut text = String::new();
    for report in &document.datasets {
        let _ = writeln!(
            text,
            "{}: {} scanned ({}), {} unchanged, {} forgotten",
            report.coverage.dataset,
            counted(report.scanned, "version"),
            human_bytes(report.scanned_bytes),
            number(report.unchanged),
            number(report.forgotten),
        );
        if let Some(moment) = report.as_of {
            let _ = writeln!(
                text,
                "  as of {moment}, when the inventory was made; run `lacuna index` for what came later"
            );
        }
        coverage(&mut text, &report.coverage);
    }
    text
}

/// What the index knows of a dataset, and what it does not.
fn coverage(text: &mut String, coverage: &Coverage) {
    let _ = writeln!(
        text,
        "  in scope {}: indexed {}, unreadable {}, failed {}; excluded {}; {}",
        number(coverage.listed - coverage.excluded.min(coverage.listed)),
        number(coverage.indexed),
        number(coverage.unreadable),
        number(coverage.failed),
        number(coverage.excluded),
        counted(coverage.rows.0, "row"),
    );
    if coverage.unreadable_rows > 0 {
        let rows = counted(coverage.unreadable_rows, "row");
        let _ = writeln!(text, "  {rows} of readable objects cannot be read");
    }
    if coverage.foreign_values > 0 {
        let values = counted(coverage.foreign_values, "value");
        let _ = writeln!(text, "  {values} at identifier fields are not of the declared type");
    }
    let named = |kind: &GapKind| *kind != GapKind::Excluded;
    let gaps = || coverage.gaps.iter().filter(|gap| named(&gap.kind));
    for gap in gaps().take(GAPS_SHOWN) {
        let _ = writeln!(text, "  {}: {}", gap.key, plain(&gap.reason));
    }
    let more = gaps().count().saturating_sub(GAPS_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  … and {more} more; --json names all");
    }
}

pub(in crate::cli) fn plan(report_text: &str, report: &PurgeReport) -> String {
    let mut text = report_text.to_owned();
    if report.objects > 0 {
        let prefix = report.plan_id.prefix();
        let _ = writeln!(text, "\nNext: lacuna approve {prefix} --by WHO");
    }
    text
}

pub(in crate::cli) fn show(
    report_text: &str,
    report: &PurgeReport,
    decision: Option<&Decision>,
) -> String {
    match decision {
        None => plan(report_text, report),
        Some(decision) => format!("{report_text}\n{}", self::decision(decision)),
    }
}

pub(in crate::cli) fn decision(decision: &Decision) -> String {
    let prefix = decision.plan.prefix();
    let (by, at) = (plain(&decision.by), moment(decision.decided_at));
    match &decision.verdict {
        Verdict::Approved { except } => {
            let except = match except.len() as u64 {
                0 => String::new(),
                objects => format!(", except for {}", counted(objects, "object")),
            };
            format!("plan {prefix} approved by {by} on {at}{except}\nNext: lacuna erase {prefix}\n")
        }
        Verdict::Rejected { reason } => {
            format!("plan {prefix} rejected by {by} on {at}: {}\n", plain(reason))
        }
    }
}

pub(in crate::cli) fn erase(document: &Erase) -> String {
    let mut text = String::new();
    let counts = &document.counts;
    let prefix = document.plan_id.prefix();
    let _ = writeln!(
        text,
        "plan {prefix}: {} erased in {}; {} deleted for good",
        counted(counts.rows.0, "row"),
        counted(counts.erased, "object"),
        counted(counts.expunged, "superseded version"),
    );
    if let Some(effort) = counts.effort() {
        let _ = writeln!(text, "  {effort}");
    }
    for (count, what) in [
        (counts.gone, "were gone already"),
        (counts.excepted, "were left out by the approver"),
        (counts.left, "are not dealt with yet"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {} {what}", counted(count, "object"));
        }
    }
    for failed in &document.failed {
        let (dataset, object) = (&failed.dataset, &failed.object);
        let _ = writeln!(text, "  failed   {dataset}  {object}: {}", plain(&failed.detail));
    }
    for drifted in &document.drifted {
        let (dataset, object) = (&drifted.dataset, &drifted.object);
        let _ = writeln!(text, "  drifted  {dataset}  {object}: no longer as planned");
    }
    for kept in &document.retained {
        let (key, why) = (&kept.retained.object.key, reason(&kept.retained.reason));
        let version = &kept.retained.object.version;
        let _ = writeln!(text, "  kept     {}  {key}  version {version}: {why}", kept.dataset);
    }
    let _ = match (document.is_finished, document.drifted.is_empty()) {
        (false, _) => writeln!(text, "Next: lacuna erase {prefix}"),
        (true, false) => writeln!(text, "Next: plan again, for what drifted"),
        (true, true) => writeln!(text, "Next: lacuna certificate {prefix}"),
    };
    text
}

pub(in crate::cli) fn verify(document: &Verify) -> String {
    let mut text = String::new();
    let it = &document.verification;
    let _ = writeln!(
        text,
        "read {} in {} of {}, as of {}",
        counted(it.rows.0, "row"),
        counted(it.versions, "version"),
        counted(it.objects, "object"),
        moment(it.ended_at),
    );
    if let Some(sample) = &it.sample {
        let _ = writeln!(
            text,
            "  {} of {} other versions among them, chosen at random by seed {}",
            number(sample.chosen),
            number(sample.eligible),
            sample.seed,
        );
    }
    for met in &it.met {
        let (dataset, key) = (&met.dataset, &met.object.key);
        let why = met.known.as_ref().map(|why| format!(" (known: {})", reason(why)));
        let rows = rows_of(&met.rows);
        let _ = writeln!(text, "  met   {dataset}  {key}  {rows}{}", why.unwrap_or_default());
    }
    for unread in &it.unreadable {
        let (dataset, key) = (&unread.dataset, &unread.key);
        let _ = writeln!(text, "  gap   {dataset}  {key}: {}", plain(&unread.reason));
    }
    if it.is_interrupted {
        text.push_str("stopped before everything was read\n");
    } else if it.met.is_empty() && it.unreadable.is_empty() {
        text.push_str("no row of a subject was met\n");
    }
    text
}

pub(in crate::cli) fn vacuum(document: &Vacuum) -> String {
    let mut text = String::new();
    let it = &document.report;
    let _ = writeln!(
        text,
        "dropped {} from {} of {} looked at; {} became {}",
        counted(it.dropped.0, "blank"),
        number(it.compacted),
        counted(it.objects, "object"),
        human_bytes(it.size_bytes_before),
        human_bytes(it.size_bytes_after),
    );
    for key in &it.drifted {
        let _ = writeln!(text, "  drifted  {key}: somebody changed it meanwhile; left alone");
    }
    for failed in &it.failed {
        let (dataset, key) = (&failed.dataset, &failed.key);
        let _ = writeln!(text, "  failed   {dataset}  {key}: {}", plain(&failed.detail));
    }
    if it.was_interrupted {
        text.push_str("stopped; the same command goes on\n");
    }
    text
}

pub(in crate::cli) fn metastore_prepared(document: &MetastorePrepared) -> String {
    let did = if document.was_changed { "is ready" } else { "was ready already" };
    format!("{} {did}\n", document.metastore)
}

pub(in crate::cli) fn metastore_copy(document: &MetastoreCopy) -> String {
    let mut text = String::new();
    for it in &document.report.datasets {
        let forgotten = match it.forgotten {
            0 => String::new(),
            versions => format!(", {} forgotten", number(versions)),
        };
        let _ = writeln!(
            text,
            "{}: {} copied, {} there already{forgotten}",
            it.dataset,
            counted(it.copied, "version"),
            number(it.unchanged),
        );
        for (name, totals) in [("from", &it.from), ("to", &it.to)] {
            if !document.report.was_interrupted {
                let _ = writeln!(
                    text,
                    "  {name:<4}  {}, {}, checksum {}",
                    counted(totals.objects, "version"),
                    counted(totals.postings, "posting"),
                    totals.checksum
                );
            }
        }
        let differing = it.differing.iter().map(|it| (&it.key, &it.version, it.reason.as_str()));
        versions(&mut text, "differs", differing.collect());
    }
    text.push_str(match (document.report.was_interrupted, document.is_equal) {
        (true, _) => "stopped; the same command goes on from there\n",
        (false, true) => "both indexes are equal\n",
        (false, false) => {
            "the indexes differ: see that nobody changes either, and copy again with --replace\n"
        }
    });
    text
}

pub(in crate::cli) fn metastore_check(document: &MetastoreCheck) -> String {
    let mut text = String::new();
    let report = &document.report;
    let mut remedies = Vec::new();
    for it in &report.datasets {
        let (objects, postings) = (counted(it.objects, "version"), counted(it.postings, "posting"));
        let _ = writeln!(text, "{}: {objects}, {postings}", it.dataset);
        let damaged = it.damaged.iter().map(|it| (&it.key, &it.version, it.reason.as_str()));
        versions(&mut text, "damaged", damaged.collect());
        if !it.damaged.is_empty() {
            remedies.push(format!("lacuna index --full {}", it.dataset));
        }
    }
    if report.is_short() {
        let counted_postings = report.counted_postings.unwrap_or(0);
        let _ = writeln!(
            text,
            "damaged: {} were recorded, and {} are there",
            counted(counted_postings, "posting"),
            number(report.postings()),
        );
        remedies.push("lacuna index --full".to_owned());
    }
    match remedies.as_slice() {
        [] if report.was_interrupted => text.push_str("stopped before everything was read\n"),
        [] => text.push_str("nothing is wrong with the index\n"),
        remedies => {
            let _ = writeln!(text, "Next: {}", remedies.join(" && "));
        }
    }
    text
}

/// Versions of an index, and what is wrong with each.
fn versions(text: &mut String, what: &str, named: Vec<(&ObjectKey, &VersionId, &str)>) {
    for (key, version, reason) in named.iter().take(VERSIONS_SHOWN) {
        let version = match version.is_null() {
            true => String::new(),
            false => format!("  version {version}"),
        };
        let _ = writeln!(text, "  {what}  {key}{version}: {}", plain(reason));
    }
    let more = named.len().saturating_sub(VERSIONS_SHOWN);
    if more > 0 {
        let _ = writeln!(text, "  … and {more} more; --json names all");
    }
}

pub(in crate::cli) fn status(document: &Status, now: Timestamp) -> String {
    let mut text = String::new();
    let index = &document.index;
    let age = match index.last_scanned_at {
        None => "nothing was scanned yet".to_owned(),
        Some(at) => format!("last scan {} ago", span(now.as_second() - at.as_second())),
    };
    let _ = writeln!(
        text,
        "index: {}, {}, {}{}; {age}",
        counted(index.objects, "object version"),
        counted(index.postings, "posting"),
        human_bytes(index.size_bytes),
        index.runs.map_or_else(String::new, |runs| format!(" in {}", counted(runs, "run"))),
    );
    if let Some(bytes) = index.bytes_per_posting {
        let _ = writeln!(text, "  {bytes:.1} bytes a posting");
    }
    for dataset in &document.coverage {
        let percent = dataset.percent();
        let _ = writeln!(text, "{}: {percent:.1} % of what was listed is indexed", dataset.dataset);
        coverage(&mut text, dataset);
    }
    text.push_str(&requests::counts(&document.requests));
    if document.open_plans.is_empty() {
        text.push_str("no open plans\n");
    }
    for plan in &document.open_plans {
        open_plan(&mut text, plan, now);
    }
    let _ = writeln!(text, "\nNext: {}", document.next);
    text
}

fn open_plan(text: &mut String, plan: &OpenPlan, now: Timestamp) {
    let prefix = plan.plan_id.prefix();
    let request = plain(plan.request.as_deref().unwrap_or("damaged"));
    let state = match plan.state {
        PlanState::Undecided => "waits for a decision",
        PlanState::Approved => "is approved",
        PlanState::Begun => "is begun and not finished",
        _ => "is damaged",
    };
    let due = match plan.expires_at {
        Some(at) if plan.state != PlanState::Begun => {
            format!(", expires in {}", span(at.as_second() - now.as_second()))
        }
        _ => String::new(),
    };
    let objects = counted(plan.objects, "object");
    let _ = writeln!(text, "plan {prefix} ({request}): {state}{due}; {objects}; {}", plan.next);
}

/// A span of time in its largest unit: `17 s`, `5 min`, `3 h`, `12 d`.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// `row 3`, `rows 3, 5, 8` or `rows 3, 5, … (90 in all)`.
fn rows_of(rows: &RowSet) -> String {
    let shown: Vec<String> = rows.iter().take(ROWS_SHOWN).map(|row| row.to_string()).collect();
    let all = rows.count().0;
    match (all, all > ROWS_SHOWN as u64) {
        (1, _) => format!("row {}", shown.join(", ")),
        (_, false) => format!("rows {}", shown.join(", ")),
        (_, true) => format!("rows {}, … ({} in all)", shown.join(", "), number(all)),
    }
}

pub(in crate::cli) fn notified(document: &Notified) -> String {
    let mut text = String::new();
    for Mail { plan, occasion, to } in &document.sent {
        let _ = writeln!(text, "sent      {} {occasion}: {}", plan.prefix(), plain(to));
    }
    for FailedMail { mail: Mail { plan, occasion, to }, reason } in &document.failed {
        let (plan, to) = (plan.prefix(), plain(to));
        let _ = writeln!(text, "not sent  {plan} {occasion}: {to}: {reason}");
    }
    if text.is_empty() {
        text.push_str("nothing is due\n");
    }
    text
}

pub(in crate::cli) fn audit_key(document: &AuditKey) -> String {
    let mut text = String::new();
    if let Some(file) = &document.created {
        let _ = writeln!(
            text,
            "wrote {file}: keep it secret, and name it in lacuna.toml: [evidence] signing_key_file"
        );
    }
    let _ = write!(text, "{}\n{}", document.public_key, document.public_key_pem);
    text
}

pub(in crate::cli) fn audit_exported(document: &AuditExported) -> String {
    let AuditExported { file, size_bytes, head, .. } = document;
    let size = human_bytes(*size_bytes);
    format!("wrote {file}, {size}: lacuna audit verify --pack {file}\nthe trail ends at {head}\n")
}

/// What came of a verification of the evidence.
pub(in crate::cli) fn audit_verified(document: &AuditVerified) -> String {
    let report = &document.report;
    let mut text = String::new();
    for finding in &report.findings {
        let _ = writeln!(text, "{} {}", plain(&finding.document), finding.message);
    }
    let unsealed = report.unsealed.len() as u64;
    if unsealed > 0 {
        let documents = count(unsealed, "document is", "documents are");
        let _ = writeln!(
            text,
            "{documents} in no record, and neither is the plan: made before there was a trail, or put \
             there by other means; --json names them"
        );
    }
    if report.unsigned > 0 && (report.signed > 0 || !report.signers.is_empty()) {
        let certificates = count(report.unsigned, "certificate is", "certificates are");
        let _ = writeln!(text, "{certificates} not signed");
    }
    for signer in &report.signers {
        let _ = writeln!(text, "signed by {signer}");
    }
    let records = count(report.records, "record", "records");
    let documents = count(report.documents, "document", "documents");
    let verdict = match report.findings.len() as u64 {
        0 => "all as it was stored".to_owned(),
        findings => count(findings, "finding", "findings"),
    };
    let _ = writeln!(text, "{records}, {documents}: {verdict}");
    if let Some(head) = &report.head {
        let _ = writeln!(text, "the trail ends at {head}");
    }
    text
}

/// `1 row`, `2 rows`, `1,284 rows`.
pub(in crate::cli) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_has_its_plural() {
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1284, "row"), "1,284 rows");
    }
}
