//! The purge report for a terminal of about 100 columns. Keys stand last in their lines, so that a
//! long one moves nothing else.

use std::fmt::{self, Write as _};

use crate::domain::coverage::Coverage;

use super::wording::{self, count, moment, number, plain, size};
use super::{PurgeReport, ReportedChange, ReportedDataset};

/// The widest line that is wrapped on purpose, in characters.
const WIDTH: usize = 98;

/// What stands before what the rewrite of an object will take.
const ESTIMATE: &str = "                         ";

/// How many lines of a list a terminal shows; the document has all of them.
const LINES_SHOWN: usize = 200;

/// The report as plain text, without colours.
pub fn text(report: &PurgeReport) -> String {
    let mut page = String::new();
    write_page(&mut page, report).unwrap_or_else(|_| unreachable!("a string takes every write"));
    page
}

fn write_page(page: &mut String, report: &PurgeReport) -> fmt::Result {
    writeln!(page, "Purge report for request {}", plain(&report.request))?;
    writeln!(page)?;
    writeln!(page, "  plan      {}", report.plan_id)?;
    writeln!(page, "  planned   {}", moment(report.planned_at))?;
    writeln!(page, "  expires   {}", moment(report.expires_at))?;
    writeln!(page)?;
    wrapped(page, "  ", &report.verdict)?;
    if let Some(anew) = wording::anew(report.written_bytes, report.size_bytes) {
        wrapped(page, "  ", &anew)?;
    }
    write_warnings(page, report)?;
    write_not_found(page, report)?;
    write_subjects(page, report)?;
    for dataset in &report.datasets {
        write_dataset(page, dataset)?;
    }
    write_out_of_reach(page, report)?;
    write_coverage(page, &report.coverage)
}

fn write_warnings(page: &mut String, report: &PurgeReport) -> fmt::Result {
    if report.warnings.is_empty() {
        return Ok(());
    }
    writeln!(page, "\nBefore you decide")?;
    report.warnings.iter().try_for_each(|warning| wrapped(page, "  ! ", &warning.text))
}

fn write_not_found(page: &mut String, report: &PurgeReport) -> fmt::Result {
    if report.not_found.is_empty() {
        return Ok(());
    }
    writeln!(page, "\nNot found")?;
    listed(page, &report.not_found, |page, subject| {
        writeln!(page, "  #{:<6} {}", subject.ordinal, plain(subject.mask.as_str()))
    })
}

fn write_subjects(page: &mut String, report: &PurgeReport) -> fmt::Result {
    if report.subjects.is_empty() {
        return Ok(());
    }
    writeln!(page, "\nSubjects, rows counted in all kept versions")?;
    listed(page, &report.subjects, |page, subject| {
        let rows = count(subject.rows.0, "row", "rows");
        let objects = count(subject.objects, "object", "objects");
        let mask = plain(subject.mask.as_str());
        writeln!(page, "  #{:<6} {mask:<8} {rows:>16} in {objects}", subject.ordinal)
    })
}

fn write_dataset(page: &mut String, dataset: &ReportedDataset) -> fmt::Result {
    let objects = count(dataset.changes.len() as u64, "object", "objects");
    let (rows, total) = (number(dataset.rows.0), count(dataset.rows_total.0, "row", "rows"));
    let name = plain(dataset.dataset.as_str());
    writeln!(page, "\nDataset {name}: {rows} of {total}, in {objects}")?;
    writeln!(
        page,
        "  {:>9} {:>11}  {:>9}  {:<12} {:<13} {:<8} KEY",
        "ROWS", "OF", "SIZE", "FORMAT", "VERSION", "DELETES"
    )?;
    listed(page, &dataset.changes, write_change)
}

fn write_change(page: &mut String, change: &ReportedChange) -> fmt::Result {
    let deletes = match change.expunge.len() as u64 {
        0 => "-".to_owned(),
        versions => number(versions),
    };
    let Some(rewrite) = &change.rewrite else {
        let nothing = "-";
        return writeln!(
            page,
            "  {nothing:>9} {nothing:>11}  {nothing:>9}  {nothing:<12} {nothing:<13} {deletes:<8} {}",
            change.key
        );
    };
    let compression = match rewrite.compression {
        crate::domain::dataset::Compression::None => String::new(),
        compression => format!("+{compression}"),
    };
    let format = format!("{}{compression}", rewrite.format);
    writeln!(
        page,
        "  {:>9} {:>11}  {:>9}  {format:<12} {:<13} {deletes:<8} {}",
        number(rewrite.rows.0),
        number(rewrite.rows_total.0),
        size(rewrite.size_bytes),
        shortened(&plain(rewrite.version.as_str())),
        change.key,
    )?;
    match &rewrite.estimate {
        Some(estimate) => wrapped(page, ESTIMATE, &wording::estimate(estimate)),
        None => Ok(()),
    }
}

fn write_out_of_reach(page: &mut String, report: &PurgeReport) -> fmt::Result {
    if report.out_of_reach.is_empty() {
        return Ok(());
    }
    writeln!(page, "\nOut of reach: stays as it is")?;
    listed(page, &report.out_of_reach, |page, entry| {
        let version = entry.version.as_ref().map(|version| shortened(&plain(version.as_str())));
        let version = version.map(|version| format!(" ({version})")).unwrap_or_default();
        writeln!(page, "  {}: {}{version}", plain(entry.dataset.as_str()), entry.key)?;
        let rows = match entry.rows.0 {
            0 => String::new(),
            rows => format!("{}; ", count(rows, "row known in it", "rows known in it")),
        };
        wrapped(page, "      ", &format!("{rows}{}", entry.text))
    })
}

fn write_coverage(page: &mut String, coverage: &[Coverage]) -> fmt::Result {
    writeln!(page, "\nWhat the index knew, in kept versions of objects")?;
    writeln!(
        page,
        "  {:>11} = {:>11} + {:>10} + {:>10} + {:>8}  DATASET",
        "LISTED", "INDEXED", "UNREADABLE", "EXCLUDED", "FAILED"
    )?;
    for of in coverage {
        let name = plain(of.dataset.as_str());
        writeln!(
            page,
            "  {:>11} = {:>11} + {:>10} + {:>10} + {:>8}  {name} ({:.1} % of what is in scope)",
            number(of.listed),
            number(of.indexed),
            number(of.unreadable),
            number(of.excluded),
            number(of.failed),
            shown_percent(of),
        )?;
        for gap in of.gaps.iter().take(LINES_SHOWN) {
            let versions = count(gap.versions, "version", "versions");
            wrapped(page, "      ", &format!("{versions}, {}: {}", gap.key, plain(&gap.reason)))?;
        }
        write_more(page, of.gaps.len())?;
    }
    Ok(())
}

/// The share that is indexed, to a tenth; 100.0 only where nothing at all is missing.
pub fn shown_percent(coverage: &Coverage) -> f64 {
    let percent = coverage.percent();
    if percent < 100.0 { percent.min(99.9) } else { percent }
}

/// The first lines of a list, and how many more there are.
fn listed<T>(
    page: &mut String,
    items: &[T],
    line: impl Fn(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    items.iter().take(LINES_SHOWN).try_for_each(|item| line(page, item))?;
    write_more(page, items.len())
}

fn write_more(page: &mut String, length: usize) -> fmt::Result {
    match length.saturating_sub(LINES_SHOWN) as u64 {
        0 => Ok(()),
        more => writeln!(page, "  … and {} more; --json and --html name all", number(more)),
    }
}

/// A version id of at most 12 characters; the document has the whole.
fn shortened(version: &str) -> String {
    if version.chars().count() <= 12 {
        return version.to_owned();
    }
    version.chars().take(11).chain(['…']).collect()
}

/// A sentence in lines of at most [`WIDTH`] characters, broken at spaces; `first` stands before it and
/// as much space before the lines that follow.
fn wrapped(page: &mut String, first: &str, sentence: &str) -> fmt::Result {
    let margin = " ".repeat(first.chars().count());
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in sentence.split(' ') {
        let length = line.chars().count() + word.chars().count();
        if !is_empty && length + 1 > WIDTH {
            writeln!(page, "{}", line.trim_end())?;
            line.clone_from(&margin);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(page, "{}", line.trim_end())
}
