use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::domain::dataset::Compression;
use crate::domain::edit::Segment;
use crate::domain::field::{Digested, IdentifierField, Step};
use crate::domain::identifier::{DigestKey, IdentifierDigest, IdentifierType, Namespace};
use crate::domain::landmark::Landmarks;
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::{RowNumber, RowSet};
use crate::format::text::Text;
use crate::format::{BlankOrder, Format, LONGEST_RECORD_BYTES, ScanSink, SharedSource, Stopped};

mod oddities;

fn fields(paths: &[&str], kind: IdentifierType) -> BoundFields {
    let field = |path: &&str| IdentifierField {
        namespace: Namespace::new("user"),
        path: path.parse().expect("a path"),
        kind,
    };
    BoundFields::new(&paths.iter().map(field).collect::<Vec<_>>(), &DigestKey::new([1; 32]))
}

fn digest(value: &[u8], kind: IdentifierType) -> IdentifierDigest {
    let fields = fields(&["id"], kind);
    match fields.iter().next().map(|field| field.digest(RawValue::Text(value))) {
        Some(Digested::Identifier(digest)) => digest,
        other => panic!("{other:?}"),
    }
}

fn text(value: &str) -> IdentifierDigest {
    digest(value.as_bytes(), IdentifierType::String)
}

#[derive(Debug, Default, PartialEq)]
struct Told {
    postings: Vec<(u64, IdentifierDigest)>,
    gaps: Vec<(u64, u64)>,
    foreign: Vec<u64>,
    rows: u64,
}

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.postings.push((posting.row.0, posting.digest));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.gaps.push((gap.row.0, gap.byte.expect("a place")));
    }

    fn foreign_value(&mut self, row: RowNumber) {
        self.foreign.push(row.0);
    }
}

fn format() -> Text<Jsonl> {
    Text::new(Jsonl, Compression::None)
}

fn scan(bytes: &[u8], fields: &BoundFields) -> Told {
    let mut told = Told::default();
    let source = Bytes::copy_from_slice(bytes);
    told.rows = format().scan(&source, fields, &mut told).expect("readable").0;
    told
}

/// Scans one line for `id`.
fn ids(line: &[u8]) -> Vec<IdentifierDigest> {
    let told = scan(line, &fields(&["id"], IdentifierType::String));
    assert!(told.gaps.is_empty(), "a gap in {}", String::from_utf8_lossy(line));
    told.postings.into_iter().map(|(_, digest)| digest).collect()
}

fn paths(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().map(|path| path.parse().expect("a path")).collect()
}

/// Blanks row 0 for the subject `a` at `id`.
fn erased(line: &str, action: EraseAction) -> String {
    erased_of(line, action, &fields(&["id", "deep.id", "list[*].id"], IdentifierType::String))
}

fn erased_of(line: &str, action: EraseAction, fields: &BoundFields) -> String {
    let order = BlankOrder {
        rows: RowSet::new([RowNumber(0)]).expect("a row"),
        fields: fields.clone(),
        subjects: Arc::new(HashSet::from([text("a")])),
        action,
        landmarks: Landmarks::default(),
    };
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(line.as_bytes()));
    let edit = format().blank(source, &order).expect("readable").edit.expect("it matches");
    let mut new = String::new();
    for segment in edit {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => new.push_str(&line[range.start as usize..range.end as usize]),
            Segment::Bytes(bytes) => new.push_str(std::str::from_utf8(&bytes).expect("text")),
        }
    }
    new
}

fn keep(kept: &[&str]) -> EraseAction {
    EraseAction::Blank { keep: paths(kept) }
}

fn redact(fields: &[&str]) -> EraseAction {
    EraseAction::Redact { fields: paths(fields) }
}

/// E8, peers R5b, J5: only LF ends a line; every line counts, white or not; a last one need not
/// end.
#[test]
fn a_row_is_a_line() {
    let told = scan(
        b"\xef\xbb\xbf{\"id\":\"a\"}\r\n\n \t\r\n{\"id\":\r\"b\xe2\x80\xa8\"}\n{\"id\":\"c\"}",
        &fields(&["id"], IdentifierType::String),
    );
    let found = vec![(0, text("a")), (3, text("b\u{2028}")), (4, text("c"))];
    assert_eq!(told, Told { postings: found, rows: 5, ..Told::default() });
    for (bytes, rows) in
        [(&b""[..], 0), (b"\n", 1), (b"\n\n", 2), (b"\n ", 2), (b"\xef\xbb\xbf", 0)]
    {
        assert_eq!(scan(bytes, &fields(&["id"], IdentifierType::String)).rows, rows);
    }
}

/// G9: escapes in keys and in values.
#[test]
fn escapes_are_decoded_before_comparison() {
    assert_eq!(ids(br#"{"\u0069\u0064":"\u0061\/\n\ud83d\ude00"}"#), [text("a/\n\u{1f600}")]);
    assert_eq!(ids(br#"{"i\u0064":"a","x\"":1,"\\":{"id":"no"}}"#), [text("a")]);
}

/// G10: what others write against the standard costs nobody's row its place in the index.
#[test]
fn what_is_widely_written_is_read() {
    let lone = digest(b"x\xed\xa0\x80y", IdentifierType::String);
    assert_eq!(ids(br#"{"id":"x\ud800y"}"#), [lone]);
    assert_eq!(
        ids(br#"{"id":"x\ud800\u0061"}"#),
        [digest(b"x\xed\xa0\x80a", IdentifierType::String)]
    );
    assert_eq!(ids(b"{\"name\":\"\xff\xfe\",\"id\":\"a\"}"), [text("a")]);
    assert_eq!(ids(b"{\"id\":\"Andr\xe9\"}"), [digest(b"Andr\xe9", IdentifierType::String)]);
    assert_eq!(ids(br#"{"x":NaN,"y":-Infinity,"z":[Infinity],"id":"a"}"#), [text("a")]);
    assert_eq!(ids(b"{\"x\":\"\t\x01\",\"id\":\"a\\u0000\"}"), [text("a\0")]);
    assert_eq!(ids(b"\xef\xbb\xbf\xef\xbb\xbf{\"id\":\"a\"}"), [text("a")]);
}

/// G8, peers J10: of a repeated key every occurrence counts, at every level.
#[test]
fn every_occurrence_of_a_repeated_key_counts() {
    assert_eq!(ids(br#"{"id":"a","id":null,"id":"b"}"#), [text("a"), text("b")]);
    let deep = fields(&["x.id"], IdentifierType::String);
    let told = scan(br#"{"x":{"id":"a"},"x":3,"x":{"id":"b","id":"c"}}"#, &deep);
    let found: Vec<_> = told.postings.into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(found, [text("a"), text("b"), text("c")]);
}

/// G13: paths lead through objects and arrays; a key of the same name elsewhere means nothing.
#[test]
fn paths_lead_through_objects_and_arrays() {
    let at = |path: &str, line: &str| -> Vec<IdentifierDigest> {
        let told = scan(line.as_bytes(), &fields(&[path], IdentifierType::String));
        told.postings.into_iter().map(|(_, digest)| digest).collect()
    };
    let line = r#"{"id":"a","x":{"id":"b","y":[{"id":"c"},[{"id":"d"}],"e",{"z":{"id":"f"}}]}}"#;
    assert_eq!(at("id", line), [text("a")]);
    assert_eq!(at("x.id", line), [text("b")]);
    assert_eq!(at("x.y[*].id", line), [text("c")]);
    assert_eq!(at("x.y[*]", line), [text("e")]);
    assert_eq!(at("x.y[*][*].id", line), [text("d")]);
    assert_eq!(at("x.y[*].z.id", line), [text("f")]);
    assert_eq!(at("\"x.id\"", r#"{"x.id":"a","x":{"id":"b"}}"#), [text("a")]);
}

/// H1, G11, peers J1, J2, J20: an integer is one however it is written, 0 is one, `true` is none.
#[test]
fn numbers_are_exact() {
    let integer = |line: &str| {
        let told = scan(line.as_bytes(), &fields(&["id"], IdentifierType::Integer));
        (told.postings.into_iter().map(|(_, digest)| digest).next(), told.foreign.len())
    };
    let value = |text: &str| (Some(digest(text.as_bytes(), IdentifierType::Integer)), 0);
    for written in ["42", "42.0", "4.2e1", "4.2E+1", "420e-1", "\"42\"", "\" 0042\""] {
        assert_eq!(integer(&format!("{{\"id\":{written}}}")), value("42"), "{written}");
    }
    assert_eq!(integer(r#"{"id":0}"#), value("0"));
    assert_eq!(integer(r#"{"id":-0}"#), value("0"));
    assert_eq!(integer(r#"{"id":9007199254740993.0}"#), value("9007199254740993"));
    assert_eq!(integer(r#"{"id":18446744073709551617}"#), value("18446744073709551617"));
    for foreign in ["true", "false", "{}", "[]", "[1]", "{\"id\":1}", "4.5", "NaN", "\"x\""] {
        assert_eq!(integer(&format!("{{\"id\":{foreign}}}")), (None, 1), "{foreign}");
    }
    for nobody in ["null", "\"\""] {
        assert_eq!(integer(&format!("{{\"id\":{nobody}}}")), (None, 0), "{nobody}");
    }
}

/// E3, G12, peers J3, J4, J7b, J18: a broken line is a gap of one row, and named by its place; the
/// others are read.
#[test]
fn a_broken_line_is_a_gap_of_one_row() {
    let deep = |depth| ["[".repeat(depth), "]".repeat(depth)].concat();
    let too_deep = format!("{{\"x\":{}}}", deep(walk::DEEPEST));
    for broken in [
        "{",
        "}",
        "{]",
        "{\"id\":\"a\"",
        "{\"id\":\"a\"}}",
        "{\"id\":\"a\"}{\"id\":\"b\"}",
        "{\"id\":\"a\",}",
        "{\"id\" \"a\"}",
        "{id:1}",
        "{'id':1}",
        "{\"id\":}",
        "{\"id\":tru}",
        "{\"id\":01}",
        "{\"id\":1.}",
        "{\"id\":.5}",
        "{\"id\":+1}",
        "{\"id\":-}",
        "{\"id\":1e}",
        "{\"id\":\"\\x\"}",
        "{\"id\":\"\\u12g4\"}",
        "{\"id\":\"a",
        "{\"id\":\"a\\",
        "{\"\\u\":1}",
        "[{\"id\":\"a\"}]",
        "[",
        "nul",
        "{\"a\":[1,]}",
        "{\"a\":[1}",
        "{\"a\":[1 2]}",
        "{,}",
        "\u{a0}{}",
        "{\"id\":\"a\"} x",
        "\u{feff} \u{feff}{}",
        &too_deep,
    ] {
        let object = format!("{{\"id\":\"first\"}}\n{broken}\n{{\"id\":\"last\"}}\n");
        let told = scan(object.as_bytes(), &fields(&["id"], IdentifierType::String));
        let found = vec![(0, text("first")), (2, text("last"))];
        let expected = Told { postings: found, gaps: vec![(1, 15)], rows: 3, ..Told::default() };
        assert_eq!(told, expected, "{broken}");
    }
    let deepest = format!("{{\"x\":{},\"id\":\"a\"}}", deep(walk::DEEPEST - 1));
    assert_eq!(ids(deepest.as_bytes()), [text("a")]);
    for scalar in ["1", "\"id\"", "null", "true", " {} ", "{\"a\":[{},[],\"\"]}"] {
        assert_eq!(ids(scalar.as_bytes()), []);
    }
}

/// L2: what is told of a gap says nothing of the line.
#[test]
fn a_gap_holds_no_content() {
    struct Reasons(Vec<String>);
    impl ScanSink for Reasons {
        fn posting(&mut self, _posting: RowPosting) -> Result<(), Stopped> {
            Ok(())
        }
        fn gap(&mut self, gap: RowGap) {
            self.0.push(gap.reason);
        }
        fn foreign_value(&mut self, _row: RowNumber) {}
    }
    let mut reasons = Reasons(Vec::new());
    let source = Bytes::from_static(b"{\"canary\":canary\n{\"id\":\"canary\\q\"}\ncanary");
    let fields = fields(&["id"], IdentifierType::String);
    format().scan(&source, &fields, &mut reasons).expect("readable");
    assert_eq!(reasons.0.len(), 3);
    assert!(!reasons.0.iter().any(|reason| reason.contains("canary")), "{:?}", reasons.0);
}

/// G34: a record without end is refused, at any length of pieces.
#[test]
fn a_record_has_a_longest_length() {
    let fields = fields(&["id"], IdentifierType::String);
    let mut bytes = vec![b' '; LONGEST_RECORD_BYTES];
    assert_eq!(scan(&bytes, &fields).rows, 1);
    bytes.push(b' ');
    let source = Bytes::from(bytes);
    let refused = format().scan(&source, &fields, &mut Told::default());
    assert!(refused.expect_err("too long").to_string().contains("64 MiB"));
}

/// I1, G15: a blank has the length of the row, keeps its line ending, and says nothing.
#[test]
fn a_blank_has_the_length_of_the_row() {
    let line = "{\"id\":\"a\",\"x\":\"canary\"}\r\n{\"id\":\"b\"}";
    let new = erased(line, keep(&[]));
    assert_eq!(new, format!("{{}}{}\r\n{{\"id\":\"b\"}}", " ".repeat(21)));
    assert_eq!(erased("\u{feff}{\"id\":\"a\"}", keep(&[])), "\u{feff}{}        ");
}

/// Kept members are the bytes they were, and what leads to them stays; nothing else does.
#[test]
fn a_blank_keeps_what_it_may() {
    let line = r#"{"id": "a", "d" : 1.50, "x":{"s":"no","k":[1, 2],"e":{}}, "d":"\u0041"}"#;
    assert_eq!(erased(line, keep(&["d"])).trim_end(), r#"{"d":1.50,"d":"\u0041"}"#);
    assert_eq!(erased(line, keep(&["x.k", "x.q"])).trim_end(), r#"{"x":{"k":[1, 2]}}"#);
    assert_eq!(erased(line, keep(&["x.e", "x.e.y", "d.y"])).trim_end(), r#"{"x":{"e":{}}}"#);
    assert_eq!(erased(line, keep(&["nothing"])).trim_end(), "{}");
    assert_eq!(erased(line, keep(&["d"])).len(), line.len());
    let list = r#"{"list":[{"id":"a","n":1},7,{"id":"b"},[8],{"n":{"m":2}}]}"#;
    let kept = erased(list, keep(&["list[*].n"]));
    assert_eq!(kept.trim_end(), r#"{"list":[{"n":1},{},[],{"n":{"m":2}}]}"#);
}

/// Every occurrence of a redacted field becomes null, and no other byte changes.
#[test]
fn a_redaction_takes_the_values_out() {
    let line = r#"{"id":"abcd", "n": "Ann", "x":[1],"deep":{"id":"a"},"n":"Bob"}"#;
    let new = erased(line, redact(&["id", "n", "deep"]));
    assert_eq!(new, r#"{"id":null  , "n": null , "x":[1],"deep":null      ,"n":null }"#);
    let list = r#"{"list":[{"id":"a","n":1},{"id":"bcde"}]}"#;
    let new = erased(list, redact(&["list[*].id"]));
    assert_eq!(new, r#"{"list":[{"id":null,"n":1},{"id":null  }]}"#);
}

/// A value shorter than `null` borrows white space; where there is none, the row grows.
#[test]
fn a_short_value_borrows_white_space() {
    assert_eq!(erased("{\"id\": \"a\"}\n", redact(&["id"])), "{\"id\":null}\n");
    assert_eq!(erased("{\"id\":\"a\" }", redact(&["id"])), "{\"id\":null}");
    assert_eq!(erased("{\"id\":\"a\",\"n\":1}", redact(&["id"])), "{\"id\":null,\"n\":1}");
    let of = fields(&["id"], IdentifierType::String);
    let new = erased_of("{\"n\":  1  ,\"id\":\"a\"}\nnext", redact(&["id", "n"]), &of);
    assert_eq!(new, "{\"n\": null,\"id\":null}\nnext");
}

/// What a configuration must not say is noticed before it does harm.
#[test]
fn an_erasure_that_would_leave_the_subject_is_refused() {
    let line = Bytes::from_static(b"{\"id\":\"a\",\"deep\":{\"id\":\"a\"}}");
    for action in [keep(&["deep"]), redact(&["deep.id"]), redact(&["n"])] {
        let order = BlankOrder {
            rows: RowSet::new([RowNumber(0)]).expect("a row"),
            fields: fields(&["id", "deep.id"], IdentifierType::String),
            subjects: Arc::new(HashSet::from([text("a")])),
            action,
            landmarks: Landmarks::default(),
        };
        let refused = format().blank(Arc::new(line.clone()), &order).expect_err("it is refused");
        assert!(refused.to_string().contains("would stay"), "{refused}");
    }
}

/// A line that is ordered but broken cannot be matched, so it stays.
#[test]
fn an_ordered_gap_is_unmatched() {
    let order = BlankOrder {
        rows: RowSet::new([0, 1, 2, 9].map(RowNumber)).expect("rows"),
        fields: fields(&["id"], IdentifierType::String),
        subjects: Arc::new(HashSet::from([text("a")])),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    };
    let source: SharedSource = Arc::new(Bytes::from_static(b"{\"id\":\"a\"}\n{\"id\":\"a\"\n\n"));
    let blanking = format().blank(source, &order).expect("readable");
    assert_eq!(blanking.unmatched, [1, 2, 9].map(RowNumber));
    assert_eq!(blanking.blanked, RowSet::new([RowNumber(0)]));
}

/// A naive oracle: what `serde_json` has at a path, keys not repeated.
fn naive(value: &Value, steps: &[Step], found: &mut HashSet<IdentifierDigest>) {
    match (steps, value) {
        ([], Value::String(unit)) if !unit.is_empty() => {
            found.insert(text(unit));
        }
        ([], Value::Number(number)) => {
            found.insert(text(&number.to_string()));
        }
        ([Step::Name(name), rest @ ..], Value::Object(members)) => {
            if let Some(inner) = members.get(name) {
                naive(inner, rest, found);
            }
        }
        ([Step::Each, rest @ ..], Value::Array(elements)) => {
            elements.iter().for_each(|element| naive(element, rest, found));
        }
        _ => {}
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        "[a\"\\\\{}\\[\\],:]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof![4 => "[abc]", 1 => "[a\"\\\\é]{1,3}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Writes a document anew: white space, escapes for any character.
fn respell(value: &Value, choice: &mut impl FnMut() -> u8, out: &mut String) {
    let space = |out: &mut String, choice: &mut dyn FnMut() -> u8| {
        out.push_str(["", " ", "\t", "\r", "", ""][usize::from(choice() % 6)]);
    };
    space(out, choice);
    match value {
        Value::String(text) => respell_text(text, choice, out),
        Value::Array(elements) => {
            out.push('[');
            for (place, element) in elements.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                respell(element, choice, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (place, (key, member)) in members.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                respell_text(key, choice, out);
                out.push(':');
                respell(member, choice, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
    space(out, choice);
}

fn respell_text(text: &str, choice: &mut impl FnMut() -> u8, out: &mut String) {
    out.push('"');
    for unit in text.chars() {
        if choice().is_multiple_of(3) {
            for half in unit.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{half:04x}"));
            }
        } else {
            let quoted = Value::from(unit.to_string()).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        }
    }
    out.push('"');
}

fn line(members: Vec<(String, Value)>, seed: u64) -> (Value, String) {
    let value = Value::Object(members.into_iter().collect());
    let mut state = seed | 1;
    let mut choice = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    let mut text = String::new();
    respell(&value, &mut choice, &mut text);
    (value, text)
}

const PATHS: [&str; 6] = ["a", "a.b", "b[*]", "b[*].a", "a[*][*].c", "c.c.c"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// G9, G13: against `serde_json`, on documents written in any way.
    #[test]
    fn a_scan_agrees_with_a_naive_reader(
        members in prop::collection::vec(("[abc]", any_value()), 0..4),
        seed: u64,
    ) {
        let (value, text) = line(members, seed);
        let told = scan(text.as_bytes(), &fields(&PATHS, IdentifierType::String));
        let mut expected = HashSet::new();
        paths(&PATHS).iter().for_each(|path| naive(&value, path.steps(), &mut expected));
        let found: HashSet<_> = told.postings.iter().map(|&(_, digest)| digest).collect();
        prop_assert_eq!(found, expected, "{}", text);
        prop_assert!(told.gaps.is_empty(), "{text}");
        prop_assert_eq!(told.rows, 1);
    }

    /// G15: a redaction changes nothing but the values at its paths, as `serde_json` sees it.
    #[test]
    fn a_redaction_agrees_with_a_naive_one(
        members in prop::collection::vec(("[abc]", any_value()), 0..4),
        path in prop::sample::select(PATHS.to_vec()),
        seed: u64,
    ) {
        let (mut value, text) = line(members, seed);
        let path: FieldPath = path.parse().expect("a path");
        let mut out = Vec::new();
        let tree = Tree::outermost(std::slice::from_ref(&path));
        let mut walker = Walker::default();
        erase::redact(&mut walker, &tree, text.as_bytes(), &mut out).expect("it is JSON");
        nullify(&mut value, path.steps());
        prop_assert_eq!(serde_json::from_slice::<Value>(&out).expect("still JSON"), value);
        prop_assert!(out.len() >= text.len());
    }

    /// A blank that keeps is a document of just what is kept, as `serde_json` sees it.
    #[test]
    fn a_keeping_blank_agrees_with_a_naive_one(
        members in prop::collection::vec(("[abc]", any_value()), 0..4),
        path in prop::sample::select(PATHS.to_vec()),
        seed: u64,
    ) {
        let (value, text) = line(members, seed);
        let path: FieldPath = path.parse().expect("a path");
        let mut out = Vec::new();
        let tree = Tree::outermost(std::slice::from_ref(&path));
        erase::blank(&mut Walker::default(), &tree, text.as_bytes(), &mut out).expect("it is JSON");
        let kept = serde_json::from_slice::<Value>(&out).expect("still JSON");
        prop_assert_eq!(Some(kept), only(&value, path.steps()));
        prop_assert_eq!(out.len(), text.len());
    }

    /// D13: any bytes are read or refused.
    #[test]
    fn any_line_is_read_or_a_gap(line in "[ \\[\\]{}:,\"\\\\a-cu0-9eE.+-]{0,60}") {
        let told = scan(line.as_bytes(), &fields(&PATHS, IdentifierType::String));
        prop_assert_eq!(told.rows, u64::from(!line.is_empty()));
        let strict = serde_json::from_str::<Value>(&line).is_ok_and(|value| !value.is_array());
        prop_assert!(told.gaps.is_empty() || !strict, "JSON is read");
    }
}

fn nullify(value: &mut Value, steps: &[Step]) {
    match (steps, value) {
        ([], value) => *value = Value::Null,
        ([Step::Name(name), rest @ ..], Value::Object(members)) => {
            if let Some(inner) = members.get_mut(name) {
                nullify(inner, rest);
            }
        }
        ([Step::Each, rest @ ..], Value::Array(elements)) => {
            elements.iter_mut().for_each(|element| nullify(element, rest));
        }
        _ => {}
    }
}

/// What is left of a value when just the path is kept; `None` where that is nothing.
fn only(value: &Value, steps: &[Step]) -> Option<Value> {
    match (steps, value) {
        ([], value) => Some(value.clone()),
        ([Step::Name(name), rest @ ..], Value::Object(members)) => {
            let inner = members.get(name).and_then(|inner| only(inner, rest));
            Some(Value::Object(inner.map(|inner| (name.clone(), inner)).into_iter().collect()))
        }
        ([Step::Each, rest @ ..], Value::Array(elements)) => {
            Some(elements.iter().filter_map(|element| only(element, rest)).collect())
        }
        (_, Value::Object(_)) => Some(Value::Object(Default::default())),
        (_, Value::Array(_)) => Some(Value::Array(Vec::new())),
        _ => None,
    }
}
