//! The request register as text for a terminal.

use std::fmt::Write as _;

use jiff::civil::Date;

use crate::domain::register::{DueDay, DueKind, RegisteredRequest, RequestEntry, RequestState};
use crate::erase::report::wording::{due_day, happened, moment, plain, until};

use super::documents::{Request, RequestCounts, Requests};
use super::human::counted;

pub(in crate::cli) fn list(document: &Requests) -> String {
    let mut text = String::new();
    for entry in &document.requests {
        line(&mut text, entry);
    }
    if document.requests.is_empty() {
        text.push_str("no requests\n");
    }
    for damaged in &document.damaged {
        let _ = writeln!(text, "damaged  {}", plain(damaged));
    }
    text
}

fn line(text: &mut String, entry: &RequestEntry) {
    let request = &entry.request;
    let mark = entry.due.as_ref().map_or(request.state.as_str(), mark);
    let _ = write!(text, "{mark:<9}  {} ({})", request.reference, request.receipt.jurisdiction);
    if let Some(due) = &entry.due {
        let _ = write!(text, ": {}", due_day(due));
    }
    if entry.standing_holds > 0 {
        let _ = write!(text, "; {}", counted(entry.standing_holds, "hold"));
    }
    text.push('\n');
}

/// How pressing it is: overdue, at most 1, 3 or 7 days from the due day, or none of these.
fn mark(due: &DueDay) -> &'static str {
    match due.days_left {
        _ if due.is_overdue => "overdue",
        ..=1 => "T-1",
        2..=3 => "T-3",
        4..=7 => "T-7",
        8.. => "",
    }
}

pub(in crate::cli) fn one(document: &Request) -> String {
    let mut text = String::new();
    let entry = &document.entry;
    let request = &entry.request;
    let receipt = &request.receipt;
    let state = request.state.as_str();
    let _ = writeln!(text, "{} ({}): {state}", request.reference, receipt.jurisdiction);
    let _ = write!(text, "received {}", receipt.received_on);
    for (name, label) in [("channel", &receipt.channel), ("ground", &receipt.ground)] {
        if let Some(label) = label {
            let _ = write!(text, "; {name} {label}");
        }
    }
    text.push('\n');
    if let Some(due) = &entry.due {
        let _ = writeln!(text, "{}", due_day(due));
    }
    parts(&mut text, request, document.today);
    for event in &document.history {
        let happened = happened(&event.happened);
        let (number, at, by) = (event.sequence, moment(event.at), plain(event.by.as_str()));
        let _ = writeln!(text, "  {number}  {at}  {by}: {happened}");
    }
    next(&mut text, document);
    text
}

/// What is held back of the request, and why.
fn parts(text: &mut String, request: &RegisteredRequest, today: Date) {
    for hold in request.standing_holds(today) {
        let extent = plain(&hold.extent.to_string());
        let (number, until) = (hold.number, until(hold.until));
        let _ = writeln!(text, "hold {number} on {extent} ({}){until}", hold.basis);
    }
    for exemption in &request.exemptions {
        let extent = plain(&exemption.extent.to_string());
        let (basis, until) = (exemption.basis.as_str(), until(exemption.until));
        let _ = writeln!(text, "exempt: {extent} ({basis}){until}");
    }
}

fn next(text: &mut String, document: &Request) {
    let request = &document.entry.request;
    let reference = request.reference.as_str();
    let quoted =
        if reference.contains([' ', '#']) { format!("'{reference}'") } else { reference.into() };
    if let Some(hold) = request.standing_holds(document.today).find(|hold| hold.is_of_all()) {
        let number = hold.number;
        let _ = writeln!(
            text,
            "\nNothing is to be erased; another than {} lifts the hold: \
             lacuna request release {quoted} --hold {number}",
            plain(hold.by.as_str()),
        );
        return;
    }
    let awaits = document.entry.due.as_ref().map(|due| due.kind);
    let command = match (request.state, awaits) {
        (RequestState::Open, Some(DueKind::Acknowledgement)) => "acknowledge",
        (RequestState::Open, _) if request.verified_at.is_none() => "verify",
        (RequestState::Open, _) => {
            let _ = writeln!(
                text,
                "\nNext: lacuna plan --subject NAMESPACE=VALUE --request {quoted}, and when all is \
                 done: lacuna request close {quoted}"
            );
            return;
        }
        _ => return,
    };
    let _ = writeln!(text, "\nNext: lacuna request {command} {quoted}");
}

/// One line for `lacuna status`.
pub(in crate::cli) fn counts(counts: &RequestCounts) -> String {
    let mut text = match (counts.open, counts.overdue) {
        (0, _) => "no open requests".to_owned(),
        (open, 0) => format!("{}, none overdue", counted(open, "open request")),
        (open, overdue) => format!("{}, {overdue} overdue", counted(open, "open request")),
    };
    if counts.damaged > 0 {
        let _ = write!(text, "; {} damaged: restore the ledger", counts.damaged);
    }
    if counts.open + counts.damaged > 0 {
        text.push_str("; lacuna status --due");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_mark_tells_how_pressing_it_is() {
        let day = date(2026, 6, 6);
        let of = |days_left, is_overdue| {
            let kind = DueKind::Answer;
            mark(&DueDay { kind, due_on: day, ends_on: day, days_left, is_overdue })
        };
        let marks = [-2, 0, 1, 2, 3, 4, 7, 8].map(|days| of(days, false));
        assert_eq!(marks, ["T-1", "T-1", "T-1", "T-3", "T-3", "T-7", "T-7", ""]);
        assert_eq!(of(-3, true), "overdue");
    }
}
