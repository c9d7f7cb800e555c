//! What reports say in words: numbers, sizes, moments, reasons, warnings and the verdict. Whatever is
//! not our own text comes out with its control and bidirectional characters escaped.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::civil::Date;

use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, EraseAction};
use crate::domain::edit::Way;
use crate::domain::object::{ObjectKey, is_unprintable};
use crate::domain::plan::{ErasurePlan, Estimate, OutOfReach, Reason, Warning};
use crate::domain::register::{DueDay, Happening};

/// A number with a comma between thousands.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of something: `1 row`, `1,284 rows`.
pub fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// A size in bytes, in binary units, to three digits: `512 B`, `1.21 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits for people")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// What was moved: bytes that were written, copied and read, and how many requests it took.
pub fn effort((written, copied, read, requests): (u64, u64, u64, u64)) -> String {
    format!(
        "{} written, {} copied by the store, {} read, {}",
        size(written),
        size(copied),
        size(read),
        count(requests, "request", "requests"),
    )
}

/// What a rewrite will take: `about 12.3 KiB to write, 980 MiB to copy, 41 requests: …`.
pub fn estimate(estimate: &Estimate) -> String {
    let Estimate { way, written_bytes, copied_bytes, requests } = estimate;
    format!(
        "about {} to write, {} to copy, {}: {}",
        size(*written_bytes),
        size(*copied_bytes),
        count(*requests, "request", "requests"),
        self::way(way),
    )
}

/// How much of the objects is written anew, where that is reckoned and anything is.
pub fn anew(written_bytes: Option<u64>, size_bytes: u64) -> Option<String> {
    let written = written_bytes.filter(|_| size_bytes > 0)?;
    let (written, all) = (size(written), size(size_bytes));
    Some(format!("About {written} of {all} will be written anew; the store copies the rest."))
}

/// How a new version comes about.
pub fn way(way: &Way) -> String {
    match way {
        Way::Rows => "just the changed rows".to_owned(),
        Way::Pages => "just the pages with a changed row".to_owned(),
        Way::Blocks => "just the compressed blocks around a changed row".to_owned(),
        Way::Members { because } => {
            format!("the compressed streams with a changed row: {}", plain(because))
        }
        Way::Chunks { because } => {
            format!("the column chunks with a changed row: {}", plain(because))
        }
        Way::Object { because } => format!("all of the object: {}", plain(because)),
    }
}

/// A moment to the minute, UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A day, UTC.
pub fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Foreign text in one line that can neither move a terminal's cursor nor turn the direction of text.
pub fn plain(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unprintable(character) {
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// Why something stays as it is.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Unreadable { detail } => format!("cannot be read: {}", plain(detail)),
        Reason::UnreadableRows { count: rows } => {
            format!("{} in it cannot be read", count(*rows, "row", "rows"))
        }
        Reason::Locked { until } => format!("locked until {}", moment(*until)),
        Reason::LegalHold => "under legal hold".to_owned(),
        Reason::OnHold { basis, until: last } => {
            format!("on hold for this request ({basis}){}", until(*last))
        }
        Reason::Exempt { basis, until: last } => {
            format!("exempt from this request ({}){}", basis.as_str(), until(*last))
        }
        Reason::Archived { storage_class } => {
            format!("archived in {}; restore it and plan again", plain(storage_class))
        }
        Reason::Table { format } => {
            format!("belongs to a table ({}) that records its content", plain(format))
        }
        Reason::KeptByPolicy => "the dataset's policy keeps superseded versions".to_owned(),
        Reason::OtherDataset => "its dataset is not part of this plan".to_owned(),
        Reason::Denied { detail } => format!("permission is missing: {}", plain(detail)),
        Reason::Unavailable { detail } => plain(detail),
    }
}

/// The last day of something, where there is one.
pub fn until(day: Option<Date>) -> String {
    day.map_or(String::new(), |day| format!(", until {day}"))
}

/// What a request waits for, and until when.
pub fn due_day(due: &DueDay) -> String {
    let what = due.kind.as_str();
    let left = match due.days_left {
        0 => "today".to_owned(),
        days @ 1.. => format!("in {}", count(days.unsigned_abs().into(), "day", "days")),
        days => format!("{} ago", count(days.unsigned_abs().into(), "day", "days")),
    };
    let ends = match due.ends_on == due.due_on {
        true => String::new(),
        false => format!("; the law allows until {}", due.ends_on),
    };
    format!("{what} due {}, {left}{ends}", due.due_on)
}

/// What happened to a request, in a few words.
pub fn happened(happened: &Happening) -> String {
    match happened {
        Happening::Received { received_on, .. } => format!("received on {received_on}"),
        Happening::Acknowledged {} => "acknowledged".to_owned(),
        Happening::Verified {} => "identity verified".to_owned(),
        Happening::Extended { reason, noticed_on } => {
            format!("extended, told on {noticed_on}: {}", plain(reason.as_str()))
        }
        Happening::Held { extent, basis, until: last } => {
            format!("hold on {} ({basis}){}", plain(&extent.to_string()), until(*last))
        }
        Happening::Released { hold } => format!("hold {hold} released"),
        Happening::Exempted { extent, basis, until: last } => {
            let (extent, basis) = (plain(&extent.to_string()), basis.as_str());
            format!("{extent} exempted ({basis}){}", until(*last))
        }
        Happening::Denied { reason, text } => {
            format!("denied ({}): {}", reason.as_str(), plain(text.as_str()))
        }
        Happening::Withdrawn {} => "withdrawn".to_owned(),
        Happening::Closed {} => "closed".to_owned(),
        Happening::Reopened {} => "reopened".to_owned(),
    }
}

/// What the approver should know before deciding.
pub fn warning(warning: &Warning) -> String {
    match warning {
        Warning::SharedRows { rows } => {
            let rows_belong = if rows.0 == 1 {
                "1 row belongs".to_owned()
            } else {
                format!("{} rows belong", number(rows.0))
            };
            format!("{rows_belong} to more than one subject of the request")
        }
        Warning::BlastRadius { dataset, rows, rows_total, limit_percent } => format!(
            "{} of {} in dataset {} will go: more than the {limit_percent} % that need no second look",
            number(rows.0),
            count(rows_total.0, "row", "rows"),
            plain(dataset.as_str()),
        ),
        Warning::Irreversible { dataset } => format!(
            "dataset {}: the store keeps no older versions of what is rewritten; there is no way back",
            plain(dataset.as_str()),
        ),
        Warning::ForeignValues { dataset, count: values } => format!(
            "dataset {}: {} at identifier fields not of the declared type; the configuration may be wrong",
            plain(dataset.as_str()),
            if *values == 1 {
                "1 value is".to_owned()
            } else {
                format!("{} values are", number(*values))
            },
        ),
        Warning::IdentifierInKey { dataset, objects } => format!(
            "dataset {}: {} an identifier of a subject; the key stays as it is",
            plain(dataset.as_str()),
            if *objects == 1 {
                "the key of 1 object holds".to_owned()
            } else {
                format!("the keys of {} objects hold", number(*objects))
            },
        ),
    }
}

/// The whole plan in one sentence.
pub fn verdict(plan: &ErasurePlan) -> String {
    let mut parts = vec![changed(plan)];
    let versions: u64 = plan.changes.iter().map(|change| change.expunge.len() as u64).sum();
    if versions > 0 {
        let versions = count(versions, "superseded version", "superseded versions");
        parts.push(format!("{versions} will be deleted for good"));
    }
    let mut names_objects = true;
    for kind in KINDS {
        let of_kind: Vec<&OutOfReach> =
            plan.out_of_reach.iter().filter(|entry| kind.holds(&entry.reason)).collect();
        if !of_kind.is_empty() {
            parts.push(kind.phrase(&of_kind, names_objects));
            names_objects = false;
        }
    }
    parts.join("; ") + "."
}

fn changed(plan: &ErasurePlan) -> String {
    let rewrites: Vec<_> =
        plan.changes.iter().filter_map(|change| change.rewrite.as_ref()).collect();
    if rewrites.is_empty() {
        let is_known = plan.subjects.iter().any(|subject| subject.rows.0 > 0);
        let nothing = if is_known { "No current row will be changed" } else { "No row was found" };
        return nothing.to_owned();
    }
    let rows = rewrites.iter().map(|rewrite| rewrite.rows.count().0).sum();
    let is_redaction = |action: &EraseAction| matches!(action, EraseAction::Redact { .. });
    let redacted = rewrites.iter().filter(|rewrite| is_redaction(&rewrite.action)).count();
    let done = match redacted {
        0 => "blanked",
        all if all == rewrites.len() => "redacted",
        _ => "blanked or redacted",
    };
    let objects = count(rewrites.len() as u64, "object", "objects");
    format!("{} in {objects} will be {done}", count(rows, "row", "rows"))
}

/// A kind of reason as the verdict sums it up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Locked,
    LegalHold,
    OnHold,
    Exempt,
    Archived,
    Unreadable,
    UnreadableRows,
    Table,
    KeptByPolicy,
    Denied,
    Unavailable,
    OtherDataset,
}

const KINDS: [Kind; 12] = [
    Kind::OnHold,
    Kind::Exempt,
    Kind::Locked,
    Kind::LegalHold,
    Kind::Archived,
    Kind::Unreadable,
    Kind::UnreadableRows,
    Kind::Table,
    Kind::KeptByPolicy,
    Kind::Denied,
    Kind::Unavailable,
    Kind::OtherDataset,
];

impl Kind {
    fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Locked { .. } => Self::Locked,
            Reason::LegalHold => Self::LegalHold,
            Reason::OnHold { .. } => Self::OnHold,
            Reason::Exempt { .. } => Self::Exempt,
            Reason::Archived { .. } => Self::Archived,
            Reason::Unreadable { .. } => Self::Unreadable,
            Reason::UnreadableRows { .. } => Self::UnreadableRows,
            Reason::Table { .. } => Self::Table,
            Reason::KeptByPolicy => Self::KeptByPolicy,
            Reason::Denied { .. } => Self::Denied,
            Reason::Unavailable { .. } => Self::Unavailable,
            Reason::OtherDataset => Self::OtherDataset,
        }
    }

    fn holds(self, reason: &Reason) -> bool {
        Self::of(reason) == self
    }

    fn phrase(self, entries: &[&OutOfReach], names_objects: bool) -> String {
        let objects: BTreeSet<(&DatasetName, &ObjectKey)> =
            entries.iter().map(|entry| (&entry.dataset, &entry.key)).collect();
        let objects = objects.len() as u64;
        let subject = match (names_objects, objects) {
            (true, objects) => count(objects, "object", "objects"),
            (false, objects) => number(objects),
        };
        let verb = if objects == 1 { "is" } else { "are" };
        match self {
            Self::Locked => format!("{subject} {verb} {}", locked(entries)),
            Self::LegalHold => format!("{subject} {verb} under legal hold"),
            Self::OnHold => format!("{subject} {verb} on hold for this request"),
            Self::Exempt => format!("{subject} {verb} exempt from this request"),
            Self::Archived => format!("{subject} {verb} archived"),
            Self::Unreadable => format!("{subject} could not be read"),
            Self::UnreadableRows => format!("{subject} could not be read in every row"),
            Self::Table => {
                let belongs = if objects == 1 { "belongs" } else { "belong" };
                format!("{subject} {belongs} to a table")
            }
            Self::KeptByPolicy => {
                let versions = count(entries.len() as u64, "old version", "old versions");
                format!("the policy keeps {versions}")
            }
            Self::Denied => format!("{subject} may not be read or asked about"),
            Self::Unavailable => format!("{subject} could not be reached or {verb} not indexed"),
            Self::OtherDataset => {
                let lies = if objects == 1 { "lies" } else { "lie" };
                format!("{subject} {lies} in datasets outside this plan")
            }
        }
    }
}

fn locked(entries: &[&OutOfReach]) -> String {
    let days: BTreeSet<String> = entries
        .iter()
        .filter_map(|entry| match entry.reason {
            Reason::Locked { until } => Some(day(until)),
            _ => None,
        })
        .collect();
    match (days.len(), days.last()) {
        (_, None) => "locked".to_owned(),
        (1, Some(day)) => format!("locked until {day}"),
        (_, Some(day)) => format!("locked, the last until {day}"),
    }
}
