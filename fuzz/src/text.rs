//! JSON lines and CSV, compressed or not: texts of every oddity, an erasure, and what has to be true of
//! it. Records are told apart here by a reader that shares no code with Lacuna's.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::{Compression, CsvDialect, EraseAction, FormatName, Reading};
use lacuna::domain::edit::Edit;
use lacuna::domain::field::BoundFields;
use lacuna::domain::identifier::{IdentifierDigest, IdentifierType};
use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::format::detect::{self, Opened};
use lacuna::format::{Except, Format, FormatError};

use crate::choices::Choices;
use crate::people::{Found, apply, digest, fields, order, scan};
use crate::streams;

/// Where identifiers stand in the JSON lines made here.
pub fn json_fields() -> BoundFields {
    fields(&[
        ("id", IdentifierType::String),
        ("user.id", IdentifierType::String),
        ("list[*].id", IdentifierType::Integer),
        ("\"a.b\"", IdentifierType::Email),
        ("i", IdentifierType::Uuid),
    ])
}

/// And in CSV.
pub fn csv_fields(header: bool) -> BoundFields {
    let names = if header { ["id", "y"] } else { ["1", "3"] };
    fields(&[(names[0], IdentifierType::String), (names[1], IdentifierType::Integer)])
}

/// How the dataset is declared.
pub fn reading(format: FormatName, csv: CsvDialect) -> Reading {
    Reading { format: Some(format), csv }
}

const JSON: [&str; 64] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\n",
    "\n",
    "\r\n",
    "\"",
    "\\",
    " ",
    "\t",
    "\"id\":",
    "\"id\":",
    "\"user\":{",
    "\"list\":[{",
    "\"a.b\":",
    "\"i\":",
    "\"ann\"",
    "\"bob\"",
    "\"7\"",
    "7",
    "7.0",
    "70e-1",
    "-0",
    "null",
    "true",
    "NaN",
    "-Infinity",
    "\"A@b.c\"",
    "\"a@B.C \"",
    "\"00000000-0000-0000-0000-000000000007\"",
    "\"0000000000000000000000000000000A\"",
    "\"\\u0061nn\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"i\\u0064\":",
    "{\"id\":\"ann\"}\n",
    "{\"id\":\"bob\",\"n\":1}\n",
    "{\"user\":{\"id\":\"ann\"},\"n\":[1,2]}\n",
    "{\"list\":[{\"id\":7},{\"id\":8}]}\n",
    "{\"id\":\"bob\",\"id\":\"ann\"}\n",
    "\u{feff}",
    "\u{2028}",
    "9007199254740993",
    "1e400",
    "\"\"",
    "{}",
    "{}  \n",
    "[]",
    "\n\n",
    "x",
    "\u{0}",
    "\"deep\":[[[[[[[[[[",
    "]]]]]]]]]]",
    "\"a text of some seventy bytes that ends beyond the end \
     of any block\"",
    "\"\\\\\"",
    "\"\\\"\"",
    "'",
    "/**/",
    "é",
    "\"id\" :",
];

const CSV: [&str; 32] = [
    ",",
    ",",
    ",",
    "\n",
    "\n",
    "\r\n",
    "\r",
    "\"",
    "\"\"",
    "ann",
    "bob",
    "7",
    "07",
    " ",
    "\\",
    "\\\"",
    ";",
    "\t",
    "|",
    "'",
    "\"a,b\"",
    "\"a\nb\"",
    "\"a\"\"b\"",
    "\"ann\"",
    "id,x,y\n",
    "x,id\n",
    "ann,1,7\n",
    "bob,2,8\r\n",
    "\"ann\",\"\n\",\"7\"\n",
    "é",
    "\u{feff}",
    "a text of some seventy bytes that ends beyond the end of any block of text",
];

/// JSON lines: the input itself, or of usual and unusual pieces, or good lines with some damage.
pub fn json(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => choices.rest().to_vec(),
        1 | 2 => pieces(&JSON, choices),
        _ => {
            let count = 1 + choices.below(40);
            lines(count, choices)
        }
    }
}

/// Good lines, of the given number.
pub fn lines(count: usize, choices: &mut Choices<'_>) -> Vec<u8> {
    let mut text = Vec::new();
    for at in 0..count {
        let who = ["ann", "bob", "eve", "kim", "lea", "joe"][choices.any(6)];
        let line = match choices.any(6) {
            0 => format!(
                "{{\"id\":\"{who}\",\"n\":{at},\"t\":\"{}\"}}",
                "pad ".repeat(choices.any(30))
            ),
            1 => format!("{{\"n\":{at},\"user\":{{\"id\":\"{who}\"}}}}"),
            2 => format!(
                "{{\"list\":[{{\"id\":{}}},{{\"id\":{at}}}],\"x\":\"{:x}\"}}",
                choices.any(5),
                choices.any(1 << 30)
            ),
            3 => format!("{{ \"id\" : \"{who}\" , \"deep\":{{\"a\":[1,2,{{\"b\":null}}]}} }}"),
            4 => format!("{{\"x\":\"{:x}{:x}\"}}", choices.any(1 << 30), choices.any(1 << 30)),
            _ => format!("{{\"a.b\":\"{who}@x.org\",\"id\":\"other{}\"}}", choices.any(50)),
        };
        text.extend(line.bytes());
        text.extend(if choices.any(9) == 0 { &b"\r\n"[..] } else { b"\n" });
    }
    if choices.any(3) == 0 {
        text.pop();
    }
    text
}

/// CSV of usual and unusual pieces, or the input itself.
pub fn csv(choices: &mut Choices<'_>) -> Vec<u8> {
    match choices.below(4) {
        0 => choices.rest().to_vec(),
        1 => [b"x,id,y\n", &pieces(&CSV, choices)[..]].concat(),
        2 => pieces(&CSV, choices),
        _ => {
            let mut text = b"id,x,y\n".to_vec();
            for at in 0..choices.below(40) {
                let who = ["ann", "\"ann\"", "bob", "", "\"b\"\"b\"", "eve,"][choices.any(6)];
                let note = ["1", "\"a\nb\"", "x y", "", "\"\"", "\",\""][choices.any(6)];
                let ending = ["\n", "\r\n", "\n\n", "\r"][choices.any(4)];
                text.extend(format!("{who},{note},{}{ending}", at % 9).bytes());
            }
            text
        }
    }
}

fn pieces(of: &[&str], choices: &mut Choices<'_>) -> Vec<u8> {
    let count = 1 + choices.below(120);
    (0..count).flat_map(|_| choices.pick(of).bytes()).collect()
}

/// What there is to say of an object that cannot be read.
pub type Refused = FormatError;

/// Erases some of the people that a scan finds, and asks everything that has to be true then.
///
/// # Errors
///
/// Where the object cannot be read, which is no finding by itself.
pub fn erase(
    bytes: &Bytes,
    (reading, fields): (&Reading, &BoundFields),
    choices: &mut Choices<'_>,
) -> Result<Opened, Refused> {
    let opened = detect::open(bytes, reading, fields)?;
    let format = &*opened.format;
    let found = scan(format, bytes, fields)?;
    let whole = format.fingerprint(bytes, Except::Nothing).expect("what is scanned is readable");
    assert_eq!(whole.rows.0, found.rows, "rows are counted alike");
    let subjects = subjects(&found, choices);
    let is_theirs = |it: &&(u64, IdentifierDigest)| subjects.contains(&it.1);
    let theirs: BTreeSet<u64> = found.postings.iter().filter(is_theirs).map(|it| it.0).collect();
    let ordered: BTreeSet<u64> = match choices.below(3) {
        0 => theirs.clone(),
        1 => (0..found.rows + 2).collect(),
        _ => (0..found.rows + 2).filter(|_| choices.any(3) > 0).collect(),
    };
    let landmarks = hints(&found, bytes.len(), choices);
    let are_wrong = landmarks != found.landmarks;
    let action = EraseAction::default();
    let Some(order) = order(fields, &subjects, ordered.iter().copied(), (action, landmarks)) else {
        return Ok(opened);
    };
    let source = Arc::new(bytes.clone());
    let blanking = format.blank(source, &order).expect("what is scanned can be blanked");
    let expected: BTreeSet<u64> = theirs.intersection(&ordered).copied().collect();
    let rows = blanking.blanked.iter().flat_map(|rows| rows.iter()).map(|row| row.0);
    let rows: BTreeSet<u64> = rows.collect();
    let shown = format.show(bytes, &order).expect("what is scanned can be shown");
    let shown: BTreeSet<u64> =
        shown.iter().filter(|row| row.is_theirs).map(|row| row.row.0).collect();
    assert!(are_wrong || shown == expected, "the subjects' ordered rows are shown as theirs");
    if are_wrong && rows != expected {
        // A place that is wrong in its row number alone may lead to other rows of the subjects.
        changes_only(format, (bytes, blanking.edit), &theirs);
        return Ok(opened);
    }
    assert_eq!(rows, expected, "the subjects' ordered rows are blanked");
    let unmatched: BTreeSet<u64> = blanking.unmatched.iter().map(|row| row.0).collect();
    assert_eq!(unmatched, &ordered - &expected, "the others are told");
    let (Some(edit), Some(blanked)) = (blanking.edit, blanking.blanked) else {
        assert!(expected.is_empty(), "rows that are blanked make an edit");
        return Ok(opened);
    };
    let new = apply(bytes, edit).expect("an edit that succeeds");
    let print =
        |file: &Bytes, extent| format.fingerprint_within(file, Except::Rows(&blanked), extent);
    match (print(bytes, &blanking.before), print(&new, &blanking.after)) {
        (Ok(before), Ok(after)) => assert_eq!(before, after, "in its surroundings"),
        (before, after) => panic!("{before:?}, {after:?}: {:?}", order.landmarks),
    }
    let erased = Except::Erased(&blanked, &order.action);
    let after = format.fingerprint(&new, erased).expect("readable");
    let before = format.fingerprint(bytes, Except::Rows(&blanked)).expect("readable");
    assert_eq!(before, after, "everybody else's rows, and nothing of the subjects'");
    let reopened = detect::open(&new, reading, fields);
    // A header alone tells a format no less; but a first record may have, which is blank now.
    if let Ok(reopened) = reopened {
        assert_eq!(reopened.compression, opened.compression);
    }
    let again = scan(format, &new, fields).expect("what is written is readable");
    let others = |found: &Found| {
        let is_other = |row: &u64| !expected.contains(row);
        let postings: BTreeSet<_> =
            found.postings.iter().filter(|it| is_other(&it.0)).copied().collect();
        let foreign: Vec<u64> = found.foreign.iter().copied().filter(is_other).collect();
        (found.rows, found.gaps.clone(), postings, foreign)
    };
    assert_eq!(others(&again), others(&found), "everybody else is where they were");
    let left = again.postings.iter().any(|it| expected.contains(&it.0));
    assert!(!left, "nobody is left in a blank");
    compare_records(bytes, &new, (&opened, reading), &expected);
    let nothing = format.blank(Arc::new(new.clone()), &order).expect("readable");
    assert!(nothing.edit.is_none() && nothing.blanked.is_none(), "a second time there is nothing");
    compact(&opened, &new);
    Ok(opened)
}

/// Holds an edit to leave all rows alone but these.
fn changes_only(format: &dyn Format, (bytes, edit): (&Bytes, Option<Edit>), rows: &BTreeSet<u64>) {
    let Some(edit) = edit else { return };
    let new = apply(bytes, edit).expect("an edit that succeeds");
    let rows = RowSet::new(rows.iter().copied().map(RowNumber));
    let print = |file: &Bytes| format.fingerprint(file, Except::from(rows.as_ref()));
    let (before, after) = (print(bytes).expect("readable"), print(&new).expect("readable"));
    assert_eq!(before, after, "nobody else's rows");
}

fn subjects(found: &Found, choices: &mut Choices<'_>) -> HashSet<IdentifierDigest> {
    let people: BTreeSet<IdentifierDigest> = found.postings.iter().map(|it| it.1).collect();
    let one_in = 1 + choices.below(4);
    let mut subjects: HashSet<_> =
        people.into_iter().filter(|_| choices.any(one_in) == 0).collect();
    subjects.extend(digest(b"nobody", IdentifierType::String));
    subjects
}

/// Landmarks as the scan told them, with some wrong ones in between, or just wrong ones.
fn hints(found: &Found, length: usize, choices: &mut Choices<'_>) -> Landmarks {
    let mut landmarks = found.landmarks.clone();
    match choices.below(4) {
        0 => {
            let count = 1 + choices.any(4);
            let mut ascending = |below: usize| {
                let mut places: Vec<u64> = (0..count).map(|_| choices.any(below) as u64).collect();
                places.sort_unstable();
                places
            };
            let rows = ascending(found.rows as usize + 2);
            let places = rows.into_iter().zip(ascending(length + 9));
            landmarks.rows =
                places.map(|(row, byte)| Landmark { row: RowNumber(row), byte }).collect();
        }
        1 => landmarks.member_bytes = Some(choices.any(length * 3 + 1) as u64),
        _ => {}
    }
    landmarks
}

/// Compacting drops blanks and keeps the others.
fn compact(opened: &Opened, file: &Bytes) {
    let format = &*opened.format;
    let done = format.compact(Arc::new(file.clone())).expect("readable");
    let before = format.fingerprint(file, Except::Blanks).expect("readable");
    let Some(edit) = done.edit else {
        assert_eq!(done.dropped.0, 0);
        return;
    };
    let new = apply(file, edit).expect("an edit that succeeds");
    let after = format.fingerprint(&new, Except::Nothing).expect("readable");
    assert_eq!(after.rows.0 + done.dropped.0, before.rows.0);
    assert_eq!(after.digest, before.digest, "what is kept is as it was: {file:?} -> {new:?}");
}

/// Record by record, by another reader: others' are the same bytes, and the blanked ones are blank.
fn compare_records(
    old: &Bytes,
    new: &Bytes,
    (opened, reading): (&Opened, &Reading),
    blanked: &BTreeSet<u64>,
) {
    let content = |bytes: &Bytes| match opened.compression {
        Compression::None => bytes.to_vec(),
        codec => streams::decompress(codec, bytes).expect("others read what is written"),
    };
    let (old, new) = (content(old), content(new));
    let (before, after): (Vec<_>, Vec<_>) = match opened.name {
        FormatName::Csv => match csv_records(&old, &new, &reading.csv) {
            Some(both) => both,
            None => return,
        },
        _ => (
            old.split_inclusive(|&it| it == b'\n').collect(),
            new.split_inclusive(|&it| it == b'\n').collect(),
        ),
    };
    assert_eq!(before.len(), after.len(), "as many records");
    for (row, (one, two)) in before.iter().zip(&after).enumerate() {
        if !blanked.contains(&(row as u64)) {
            assert!(one == two, "row {row} of somebody else changed");
        } else if opened.name == FormatName::Csv {
            let is_blank = |byte: &u8| b"\r\n\"',;\t|\x01".contains(byte);
            assert!(two.iter().all(is_blank), "row {row} is not blank");
        } else {
            let two = two.strip_prefix(b"\xef\xbb\xbf").unwrap_or(two);
            assert_eq!(two.trim_ascii(), b"{}", "row {row} is not blank");
            assert!(one.len() == two.len() || row == 0, "row {row} has another length");
        }
    }
}

type Records<'t> = (Vec<&'t [u8]>, Vec<&'t [u8]>);

/// Records of a plain dialect with a header, without it and without empty lines; `None` of others.
fn csv_records<'t>(old: &'t [u8], new: &'t [u8], dialect: &CsvDialect) -> Option<Records<'t>> {
    let delimiter = dialect.delimiter?;
    if dialect.escape.is_some() || !dialect.header {
        return None;
    }
    let records = |text| {
        let mut records = split_csv(text, (delimiter, dialect.quote));
        // The header is the first of them.
        if !records.is_empty() {
            records.remove(0);
        }
        records
    };
    Some((records(old), records(new)))
}

/// A quote opens a field only at its beginning; within quotes a doubled one is one.
fn split_csv(text: &[u8], (delimiter, quote): (u8, u8)) -> Vec<&[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let (mut records, mut start, mut at) = (Vec::new(), 0, 0);
    let (mut is_quoted, mut is_field_start) = (false, true);
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if is_quoted {
            if byte == quote {
                if text.get(at) == Some(&quote) { at += 1 } else { is_quoted = false }
            }
        } else if byte == quote && is_field_start {
            (is_quoted, is_field_start) = (true, false);
        } else if byte == b'\n' || byte == b'\r' {
            // An empty line is no record, and a line ending of two bytes is one.
            if at - 1 > start {
                records.push(&text[start..at - 1]);
            }
            (start, is_field_start) = (at, true);
        } else {
            is_field_start = byte == delimiter;
        }
    }
    if start < text.len() {
        records.push(&text[start..]);
    }
    records
}

/// What another parser makes of each line: what it reads is no gap, and whom it meets is posted.
pub fn compare_with_serde(text: &[u8], fields: &BoundFields) {
    let bytes = Bytes::copy_from_slice(text);
    let reading = reading(FormatName::Jsonl, CsvDialect::default());
    let Ok(opened) = detect::open(&bytes, &reading, fields) else { return };
    if opened.compression != Compression::None {
        return;
    }
    let Ok(found) = scan(&*opened.format, &bytes, fields) else { return };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    for (row, line) in (0..).zip(text.split(|&byte| byte == b'\n')) {
        let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(line) else { continue };
        assert!(!found.gaps.contains(&row), "row {row} is readable");
        let user = members.get("user").and_then(|user| user.get("id"));
        for value in [members.get("id"), user].into_iter().flatten() {
            let digest =
                value.as_str().and_then(|text| digest(text.as_bytes(), IdentifierType::String));
            if let Some(digest) = digest {
                assert!(found.postings.contains(&(row, digest)), "row {row} has somebody");
            }
        }
    }
}
