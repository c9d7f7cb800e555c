//! What an examination found, as text for a terminal.

use std::fmt::Write as _;

use crate::domain::finding::Finding;
use crate::erase::report::wording::plain;
use crate::wire::{Examined, PlaceKind};

use super::documents::{Doctor, FindingCounts};
use super::human::counted;

/// The columns before a message: indent, severity, check.
const SEVERITY_WIDTH: usize = 8;
const CHECK_WIDTH: usize = 20;

pub(in crate::cli) fn doctor(document: &Doctor) -> String {
    let mut text = String::new();
    for place in &document.places {
        let _ = writeln!(text, "{}", heading(place));
        for (at, finding) in place.findings.iter().enumerate() {
            let same = |other: &&Finding| says_the_same(finding, other);
            if !place.findings[..at].iter().any(|told| same(&told)) {
                let alike = place.findings[at..].iter().filter(same);
                let checks: Vec<&str> = alike.map(|alike| alike.check.code()).collect();
                tell(&mut text, finding, &checks);
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{}", summary(&document.counts));
    text
}

fn heading(place: &Examined) -> String {
    let location = plain(&place.location);
    match (place.kind, &place.dataset) {
        (PlaceKind::Bucket, _) => format!("bucket {location}"),
        (PlaceKind::Ledger, _) => format!("ledger {location}"),
        (PlaceKind::Metastore, _) => format!("index {location}"),
        (PlaceKind::Key, _) => format!("digest key {location}"),
        (PlaceKind::Dataset, Some(dataset)) => format!("dataset {dataset} {location}"),
        (PlaceKind::Dataset, None) => format!("dataset {location}"),
    }
}

/// Whether two findings can be told in one line.
fn says_the_same(left: &Finding, right: &Finding) -> bool {
    (left.severity, &left.message, &left.fix) == (right.severity, &right.message, &right.fix)
}

fn tell(text: &mut String, finding: &Finding, checks: &[&str]) {
    let (severity, message) = (finding.severity, plain(&finding.message));
    let _ = match checks {
        [check] => writeln!(text, "  {severity:SEVERITY_WIDTH$} {check:CHECK_WIDTH$} {message}"),
        several => writeln!(text, "  {severity:SEVERITY_WIDTH$} {}: {message}", several.join(", ")),
    };
    if let Some(fix) = &finding.fix {
        let _ = writeln!(text, "  {:SEVERITY_WIDTH$} fix: {}", "", plain(fix));
    }
}

fn summary(counts: &FindingCounts) -> String {
    let FindingCounts { problem, unknown, warning, note, ok } = counts;
    let all = problem + unknown + warning + note + ok;
    format!(
        "{}: {}, {unknown} unknown, {}, {}, {ok} ok",
        counted(all, "finding"),
        counted(*problem, "problem"),
        counted(*warning, "warning"),
        counted(*note, "note"),
    )
}
