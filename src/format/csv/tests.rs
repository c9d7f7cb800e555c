use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::domain::dataset::Compression;
use crate::domain::edit::{Edit, Segment};
use crate::domain::field::{Digested, IdentifierField};
use crate::domain::identifier::{DigestKey, IdentifierDigest, IdentifierType, Namespace};
use crate::domain::landmark::Landmarks;
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::{RowNumber, RowSet};
use crate::format::text::{Cutter as _, Kind, Text};
use crate::format::{BlankOrder, Blanking, Except, Format, ScanSink, SharedSource, Stopped};

const PLAIN: Dialect = Dialect { delimiter: b',', quote: b'"', escape: None, header: true };
const HEADERLESS: Dialect = Dialect { header: false, ..PLAIN };

fn fields(names: &[&str]) -> BoundFields {
    let field = |name: &&str| IdentifierField {
        namespace: Namespace::new("user"),
        path: name.parse().expect("a path"),
        kind: IdentifierType::String,
    };
    BoundFields::new(&names.iter().map(field).collect::<Vec<_>>(), &DigestKey::new([1; 32]))
}

fn digest(value: &[u8]) -> IdentifierDigest {
    let fields = fields(&["id"]);
    match fields.iter().next().map(|field| field.digest(RawValue::Text(value))) {
        Some(Digested::Identifier(digest)) => digest,
        other => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Told(Vec<(u64, IdentifierDigest)>);

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.0.push((posting.row.0, posting.digest));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        panic!("no row of CSV is a gap: {gap:?}");
    }

    fn foreign_value(&mut self, _row: RowNumber) {}
}

fn format(dialect: Dialect) -> Text<Csv> {
    Text::new(Csv::new(dialect), Compression::None)
}

fn scan(dialect: Dialect, bytes: &[u8], names: &[&str]) -> Result<(Told, u64), FormatError> {
    let mut told = Told::default();
    let source = Bytes::copy_from_slice(bytes);
    let rows = format(dialect).scan(&source, &fields(names), &mut told)?;
    Ok((told, rows.0))
}

/// What is found, and how many rows there are.
fn found(dialect: Dialect, text: &str, expected: &[(u64, &str)], rows: u64) {
    let (told, count) = scan(dialect, text.as_bytes(), &["id"]).expect("readable");
    let expected: Vec<_> = expected.iter().map(|(row, id)| (*row, digest(id.as_bytes()))).collect();
    assert_eq!((told.0, count), (expected, rows), "{text:?}");
}

fn blanking(dialect: Dialect, text: &str, rows: &[u64], action: EraseAction) -> Blanking {
    let order = BlankOrder {
        rows: RowSet::new(rows.iter().copied().map(RowNumber)).expect("a row"),
        fields: fields(&["id", "1"]),
        subjects: Arc::new(HashSet::from([digest(b"a")])),
        action,
        landmarks: Landmarks::default(),
    };
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(text.as_bytes()));
    format(dialect).blank(source, &order).expect("readable")
}

/// The object without the rows of the subject `a`.
fn erased(dialect: Dialect, text: &str, rows: &[u64], action: EraseAction) -> String {
    applied(text, blanking(dialect, text, rows, action).edit.expect("it matches"))
}

fn applied(text: &str, edit: Edit) -> String {
    let mut new = String::new();
    for segment in edit {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => new.push_str(&text[range.start as usize..range.end as usize]),
            Segment::Bytes(bytes) => new.push_str(std::str::from_utf8(&bytes).expect("text")),
        }
    }
    new
}

fn paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().map(|path| path.parse().expect("a path")).collect()
}

/// G1: a quoted line ending does not end a record.
#[test]
fn a_quoted_newline_is_content() {
    found(PLAIN, "x,id\n\"1\n2\r\n\",a\n3,\"b\nc\"\n", &[(0, "a"), (1, "b\nc")], 2);
    found(PLAIN, "\"x\ny\",\"id\"\n1,a", &[(0, "a")], 1);
}

/// G2: LF, CR LF and CR end a record, mixed as they come; the last one need not end; empty lines
/// are none.
#[test]
fn every_line_ending_ends_a_record() {
    found(PLAIN, "id\na\r\nb\rc\n\n\r\n\rd", &[(0, "a"), (1, "b"), (2, "c"), (3, "d")], 4);
    found(PLAIN, "\n\r\nid\n\n", &[], 0);
    found(PLAIN, "id", &[], 0);
    found(PLAIN, "", &[], 0);
}

/// G2: a CR at the end of a piece may be half of a line ending, which is not torn apart.
#[test]
fn a_line_ending_across_pieces_is_one() {
    let mut cutter = RecordCutter::new(HEADERLESS);
    assert_eq!(cutter.cut(b"a\r", false), Ok(None));
    let cut = cutter.cut(b"a\r\nb", false).expect("readable").expect("it ends");
    assert_eq!((cut.text, cut.ending), (1, 2));
    let cut = cutter.cut(b"b\r", true).expect("readable").expect("it ends");
    assert_eq!((cut.text, cut.ending), (1, 1));
}

/// G2: where a blank stood between a CR and an empty line of LF, the two do not become one line ending
/// of the record before: what is kept is as it was.
#[test]
fn a_return_and_a_newline_do_not_meet() {
    for (old, expected) in [
        ("id,n\nb,1\r,\n\nc,2\n", "id,n\nb,1\rc,2\n"),
        ("id,n\nb,1\r,\r\n,\r\n\n", "id,n\nb,1\r"),
        ("id,n\r,\n\n\n,\n\nb,1\r,", "id,n\rb,1\r"),
        ("id,n\nb,1\n,\n\nc,2\n", "id,n\nb,1\n\nc,2\n"),
        ("id,n\r\nb,1\r\n,\r\n\r\nc,2\r,\r\rb,3", "id,n\r\nb,1\r\n\r\nc,2\rb,3"),
    ] {
        assert_eq!(compacted(PLAIN, old), expected, "{old:?}");
    }
}

/// The object without its blanks; what it keeps is as it was.
fn compacted(dialect: Dialect, old: &str) -> String {
    let format = format(dialect);
    let source = Bytes::copy_from_slice(old.as_bytes());
    let done = format.compact(Arc::new(source.clone())).expect("readable");
    let new = applied(old, done.edit.expect("blanks"));
    let print = |source: &Bytes, except| format.fingerprint(source, except).expect("readable");
    let after = print(&Bytes::copy_from_slice(new.as_bytes()), Except::Nothing);
    assert_eq!(print(&source, Except::Blanks).digest, after.digest, "{old:?}");
    new
}

/// G3: files with byte order marks that were put together have some within. Where every row before one
/// goes, it does not become the object's own, but stays its row's.
#[test]
fn a_mark_within_stays_where_it_is() {
    for (old, expected) in [
        (",\n\u{feff}b,1\n", "\u{feff}\u{feff}b,1\n"),
        ("\u{feff},\n,\n\u{feff}b,1\n", "\u{feff}\u{feff}b,1\n"),
        (",\n,\n\u{feff}b,1\n,\n\u{feff}c,1", "\u{feff}\u{feff}b,1\n\u{feff}c,1"),
        (",\na,1\n,\n\u{feff}b,1\n", "a,1\n\u{feff}b,1\n"),
    ] {
        assert_eq!(compacted(HEADERLESS, old), expected, "{old:?}");
    }
}

/// G3: a byte order mark is no part of the first name; other encodings pass as they are.
#[test]
fn encodings_pass() {
    found(PLAIN, "\u{feff}id,x\na,1\n", &[(0, "a")], 1);
    found(PLAIN, "\u{feff}\"id\",x\na,1\n", &[(0, "a")], 1);
    let (told, _) = scan(PLAIN, b"id,n\nAndr\xe9,\x83\x5c\n", &["id"]).expect("readable");
    assert_eq!(told.0, [(0, digest(b"Andr\xe9"))]);
}

/// G4: a short record has no value in what it lacks; a long one shifts nothing.
#[test]
fn ragged_records_shift_nothing() {
    found(PLAIN, "x,id\n1\n1,a,2,3\n,\n1,b\n", &[(1, "a"), (3, "b")], 4);
    assert_eq!(
        erased(PLAIN, "id,x\na,1,2,3\nb\na\n", &[0, 2], EraseAction::default()),
        "id,x\n,,,\nb\n\"\"\n"
    );
}

/// G5: a quote that is not closed makes the object unreadable, with row and byte.
#[test]
fn an_open_quote_is_refused() {
    for (text, row, byte) in [("id\na\n\"b\nc\n", 1, 5), ("id,x\na,\"b\"\"", 0, 7), ("\"id", 0, 0)]
    {
        let refused = scan(PLAIN, text.as_bytes(), &["id"]).err().expect("it is refused");
        let FormatError::Unreadable(why) = refused else { panic!("{refused:?}") };
        assert_eq!(why.reason, "a quote is not closed");
        assert_eq!((why.row, why.byte), (Some(RowNumber(row)), Some(byte)), "{text}");
    }
}

/// G6: without header columns are numbered; of columns of one name each is read; a header that
/// comes again is a row.
#[test]
fn headers_of_every_kind() {
    let (told, rows) = scan(HEADERLESS, b"a,1\nb,2\n", &["1"]).expect("readable");
    assert_eq!((told.0, rows), (vec![(0, digest(b"a")), (1, digest(b"b"))], 2));
    let (told, _) = scan(HEADERLESS, b"a,1\nb,2\n", &["2", "id"]).expect("readable");
    assert_eq!(told.0, [(0, digest(b"1")), (1, digest(b"2"))]);
    found(PLAIN, "id,x,id\na,1,b\nid,x,id\n", &[(0, "a"), (0, "b"), (1, "id"), (1, "id")], 2);
    let (told, _) = scan(PLAIN, b"x,other,id\n1,a,b\n", &["id", "other"]).expect("readable");
    assert_eq!(told.0, [(0, digest(b"a")), (0, digest(b"b"))]);
    let (told, _) = scan(PLAIN, b"contact.email\na\n", &["contact.email"]).expect("readable");
    assert_eq!(told.0, [(0, digest(b"a"))]);
}

/// An object that no identifier column is in is named, never skipped.
#[test]
fn a_header_without_identifier_is_refused() {
    for (dialect, names) in [(PLAIN, &["id", "mail"][..]), (HEADERLESS, &["id", "0", "01", "mail"])]
    {
        let refused = scan(dialect, b"ID,x\na,1\n", names).err().expect("it is refused");
        let message = refused.to_string();
        assert!(message.contains("`id`") && message.contains("`mail`"), "{message}");
        assert!(!message.contains("ID"), "no content: {message}");
    }
    assert!(scan(PLAIN, b"x,id[*]\n1,a\n", &["id[*]"]).is_err(), "nothing is nested");
}

/// G7: delimiters, quotes and escapes.
#[test]
fn dialects() {
    for delimiter in [b'\t', b'|', b';', 1] {
        let text = "x,id\n\"1,\",\"a,\"\"b\"\n".replace(',', &char::from(delimiter).to_string());
        let expected = format!("a{}\"b", char::from(delimiter));
        found(Dialect { delimiter, ..PLAIN }, &text, &[(0, &expected)], 1);
    }
    let escaped = Dialect { escape: Some(b'\\'), ..PLAIN };
    found(escaped, "id,x\n\"a\\\",\\\\\",1\nb\\,1\n", &[(0, "a\",\\"), (1, "b\\")], 2);
    found(Dialect { quote: b'\'', ..PLAIN }, "x,id\n'1,''',\"a\n", &[(0, "\"a")], 1);
    found(
        PLAIN,
        "x,id\n1,a\"b\n2, \"c\"\n3,\"d\"e\"f\n",
        &[(0, "a\"b"), (1, " \"c\""), (2, "de\"f")],
        3,
    );
}

/// G2, I7: a blank has as many fields as the record, and its line ending; no other byte changes.
#[test]
fn a_blank_is_a_record_of_empty_fields() {
    let all = EraseAction::default();
    let text = "\u{feff}id,n\r\na,\"1\n,2\"\r\nb,\"x\"\n\na,9\ra,8";
    let new = erased(PLAIN, text, &[0, 1, 2, 3], all.clone());
    assert_eq!(new, "\u{feff}id,n\r\n,\r\nb,\"x\"\n\n,\r,");
    assert_eq!(erased(PLAIN, "id\na\nb\na", &[0, 1, 2], all.clone()), "id\n\"\"\nb\n\"\"");
    assert_eq!(erased(HEADERLESS, "a,1\nb,2\n", &[0, 1], all), ",\nb,2\n");
}

/// Kept fields are the bytes they were; redacted ones are empty.
#[test]
fn fields_stay_or_go() {
    let text = "n,id,d,n\n \"x\",a,\"1,\"\"\",y\n";
    let keep = |names| EraseAction::Blank { keep: paths(names) };
    let redact = |names| EraseAction::Redact { fields: paths(names) };
    assert_eq!(erased(PLAIN, text, &[0], keep(&["d", "no"])), "n,id,d,n\n,,\"1,\"\"\",\n");
    assert_eq!(erased(PLAIN, text, &[0], redact(&["id", "n"])), "n,id,d,n\n,,\"1,\"\"\",\n");
    assert_eq!(erased(HEADERLESS, "a,1\n", &[0], keep(&["2"])), ",1\n");
    assert_eq!(erased(HEADERLESS, "a\n", &[0], redact(&["1"])), "\"\"\n");
}

/// E4, I10: a row that is not the subject's, is blank already or is not there stays as it is.
#[test]
fn what_does_not_match_stays() {
    let blanking = blanking(PLAIN, "id,n\nb,a\n,\n", &[0, 1, 7], EraseAction::default());
    assert!(blanking.edit.is_none() && blanking.blanked.is_none());
    assert_eq!(blanking.unmatched, [0, 1, 7].map(RowNumber));
}

/// What `csv-core` makes of it: records of fields.
fn oracle(dialect: Dialect, text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = csv_core::ReaderBuilder::new()
        .delimiter(dialect.delimiter)
        .quote(dialect.quote)
        .escape(dialect.escape)
        .double_quote(dialect.escape.is_none())
        .build();
    let (mut out, mut ends) = (vec![0; text.len() + 8], vec![0; text.len() + 8]);
    let (mut records, mut rest) = (Vec::new(), text);
    loop {
        let (result, read, written, fields) = reader.read_record(rest, &mut out, &mut ends);
        rest = &rest[read..];
        match result {
            csv_core::ReadRecordResult::Record => {
                let starts = std::iter::once(0).chain(ends[..fields].iter().copied());
                let spans = starts.zip(&ends[..fields]);
                records.push(spans.map(|(start, &end)| out[start..end].to_vec()).collect());
            }
            csv_core::ReadRecordResult::End => return records,
            csv_core::ReadRecordResult::InputEmpty => {
                // The text ends: tell the reader, which then gives out what it has.
                assert!(rest.is_empty() && read + written <= text.len() * 2);
                return [records, finish(&mut reader, &out[..written], &ends[..fields])].concat();
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The last record, which no line ending ends.
fn finish(reader: &mut csv_core::Reader, out: &[u8], ends: &[usize]) -> Vec<Vec<Vec<u8>>> {
    let (mut more, mut more_ends) = ([0; 8], [0; 8]);
    let (result, _, _, fields) = reader.read_record(&[], &mut more, &mut more_ends);
    if result != csv_core::ReadRecordResult::Record {
        return Vec::new();
    }
    let ends: Vec<usize> = ends.iter().chain(&more_ends[..fields]).copied().collect();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let span = |(start, &end): (usize, &usize)| out[start..end].to_vec();
    vec![starts.zip(&ends).map(span).collect()]
}

/// Our reading of the same, the text coming in pieces; `None` where it is refused.
fn ours(dialect: Dialect, text: &[u8], piece: usize) -> Option<Vec<Vec<Vec<u8>>>> {
    let mut cutter = RecordCutter::new(dialect);
    let (mut records, mut at, mut end) = (Vec::new(), 0, 0);
    let mut scratch = Vec::new();
    while at < text.len() {
        let window = &text[at..end];
        let cut = match window.is_empty() {
            true => None,
            false => cutter.cut(window, end == text.len()).ok()?,
        };
        let Some(cut) = cut else {
            end = (end + piece).min(text.len());
            continue;
        };
        if cut.kind != Kind::Nothing {
            let record = &text[at..at + cut.text];
            let value = |field| dialect.value(&record[field], &mut scratch).to_vec();
            records.push(Fields::new(&dialect, record).map(value).collect());
        }
        at += cut.text + cut.ending;
    }
    Some(records)
}

/// Whether the text ends within quotes, told naively.
fn ends_in_quotes(dialect: Dialect, text: &[u8]) -> bool {
    let (mut quoted, mut start, mut at) = (false, true, 0);
    while at < text.len() {
        let byte = text[at];
        if quoted {
            if dialect.escape == Some(byte) {
                at += 1;
            } else if byte == dialect.quote {
                let doubled = dialect.escape.is_none() && text.get(at + 1) == Some(&byte);
                at += usize::from(doubled);
                quoted = doubled;
            }
        } else {
            quoted = start && byte == dialect.quote;
        }
        start = !quoted && [dialect.delimiter, b'\n', b'\r'].contains(&byte);
        at += 1;
    }
    quoted
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    let delimiter = prop::sample::select(b",\t;|\x01".to_vec());
    let quote = prop::sample::select(b"\"'".to_vec());
    let escape = prop::sample::select(vec![None, None, Some(b'\\')]);
    (delimiter, quote, escape).prop_map(|(delimiter, quote, escape)| Dialect {
        delimiter,
        quote,
        escape,
        header: false,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// G1, G2, G4, G7: `csv-core` reads the same records, whatever the pieces the text comes in.
    #[test]
    fn records_agree_with_csv_core(
        dialect in any_dialect(),
        picks in prop::collection::vec(0..9usize, 0..40),
        piece in 1..9usize,
    ) {
        let alphabet =
            [b"ab\n\r\\", &[dialect.delimiter; 2][..], &[dialect.quote; 2]].concat();
        let text: Vec<u8> = picks.iter().map(|&pick| alphabet[pick]).collect();
        let read = ours(dialect, &text, piece);
        prop_assert_eq!(read.is_none(), ends_in_quotes(dialect, &text));
        if let Some(read) = read {
            prop_assert_eq!(read, oracle(dialect, &text));
        }
    }
}

/// What may be shown of a row: names of columns, shapes of values.
#[test]
fn a_row_is_shown_by_its_columns() {
    let text = Bytes::from("user,\"full, name\",note\nu1,\"Ann \"\"B\"\"\",x,42\nu2,b,c\n");
    let order = BlankOrder {
        rows: RowSet::new([RowNumber(0), RowNumber(1)]).expect("a row"),
        fields: fields(&["user"]),
        subjects: Arc::new(HashSet::from([digest(b"u1")])),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    };
    let shown = format(PLAIN).show(&text, &order).expect("readable");
    let told: Vec<String> = shown
        .iter()
        .map(|row| {
            let fields = row.fields.iter().map(|it| format!("{}={}", it.name, it.value.as_str()));
            format!("{} {} {}", row.row.0, row.is_theirs, fields.collect::<Vec<_>>().join(";"))
        })
        .collect();
    assert_eq!(
        told,
        ["0 true user=x9;xxxx, xxxx=Xxx \"X\";note=x;4=99", "1 false user=x9;xxxx, xxxx=x;note=x",]
    );
}
