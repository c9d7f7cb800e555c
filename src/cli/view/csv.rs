//! Lists as CSV (RFC 4180) that a spreadsheet can open without carrying anything out.

use std::fmt::Display;

use crate::domain::register::RequestEntry;

use super::documents::Requests;

/// The requests of a list, one a line, below a line of names.
pub(in crate::cli) fn requests(document: &Requests) -> String {
    let mut text = String::from(
        "reference,state,jurisdiction,received_on,due,due_on,ends_on,days_left,is_overdue,\
         standing_holds,exemptions,ground,channel,remark\r\n",
    );
    for entry in &document.requests {
        text.push_str(&cells(entry).join(","));
        text.push_str("\r\n");
    }
    text
}

fn cells(entry: &RequestEntry) -> [String; 14] {
    let (request, due) = (&entry.request, entry.due.as_ref());
    let denial = request.denial.as_ref().map(|denial| &denial.text);
    let remark = denial.or(request.extension.as_ref().map(|extension| &extension.reason));
    [
        cell(request.reference.as_str()),
        cell(request.state.as_str()),
        cell(request.receipt.jurisdiction.as_str()),
        request.receipt.received_on.to_string(),
        due.map_or(String::new(), |due| cell(due.kind.as_str())),
        shown(due.map(|due| due.due_on)),
        shown(due.map(|due| due.ends_on)),
        // A number of our own: negative ones stay numbers.
        shown(due.map(|due| due.days_left)),
        shown(due.map(|due| due.is_overdue)),
        entry.standing_holds.to_string(),
        request.exemptions.len().to_string(),
        cell(request.receipt.ground.as_ref().map_or("", |ground| ground.as_str())),
        cell(request.receipt.channel.as_ref().map_or("", |channel| channel.as_str())),
        cell(remark.map_or("", |remark| remark.as_str())),
    ]
}

fn shown(value: Option<impl Display>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

/// A text as one cell. A spreadsheet takes what begins so for a formula: an apostrophe before it
/// makes it a text.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_is_a_text() {
        let table = [
            ("", ""),
            ("a b", "a b"),
            ("a=b", "a=b"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\tx", "'\tx"),
            ("\r=1", "\"'\r=1\""),
            ("\n=1", "\"'\n=1\""),
            ("=a(\"b\",1)", "\"'=a(\"\"b\"\",1)\""),
            ("one, two", "\"one, two\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
        ];
        for (text, expected) in table {
            assert_eq!(cell(text), expected, "{text:?}");
        }
    }
}
