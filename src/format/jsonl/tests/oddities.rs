//! G10: what JSONTestSuite (Seriot, *Parsing JSON is a minefield*, 2016) tries on parsers, in cases of
//! our own, each with its verdict: the row is read with what stands at its identifier field, or it is a
//! named gap of one row.
//!
//! The rule behind the verdicts: what tells where the identifier stands has to be certain, or the row is
//! a gap. What is odd inside a value of somebody else's field costs nobody a place in the index.

use super::*;

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    /// `a` stands in it.
    Read,
    /// It is read, and holds no identifier.
    Nobody,
    /// It is a named gap.
    Gap,
}

use Verdict::{Gap, Nobody, Read};

/// Values at another field of a row that names `a`.
const VALUES: &[(&[u8], Verdict)] = &[
    // Numbers as the grammar has them, of any size: nobody computes with them.
    (b"0", Read),
    (b"-0", Read),
    (b"-0.0e-0", Read),
    (b"123e65", Read),
    (b"0e+1", Read),
    (b"1E22", Read),
    (b"123.456e-789", Read),
    (b"1e99999999999999999999", Read),
    (b"-1e-99999999999999999999", Read),
    (b"100000000000000000000000000000000000000000", Read),
    (b"0.00000000000000000000000000000000000000000000000000000000000000000000000000001", Read),
    // Numbers as Python, Perl or JavaScript write what JSON has no number for.
    (b"NaN", Read),
    (b"Infinity", Read),
    (b"-Infinity", Read),
    // Everything else is no number.
    (b"-NaN", Gap),
    (b"+Infinity", Gap),
    (b"-Infinit", Gap),
    (b"Inf", Gap),
    (b"nan", Gap),
    (b"NaNx", Gap),
    (b"+1", Gap),
    (b"++1", Gap),
    (b"--1", Gap),
    (b"-", Gap),
    (b"- 1", Gap),
    (b"-01", Gap),
    (b"012", Gap),
    (b"00", Gap),
    (b".5", Gap),
    (b"-.5", Gap),
    (b"1.", Gap),
    (b"1.e3", Gap),
    (b"0.e1", Gap),
    (b"1e", Gap),
    (b"1e+", Gap),
    (b"1eE2", Gap),
    (b"1e1.5", Gap),
    (b"0.1.2", Gap),
    (b"1 000", Gap),
    (b"1_000", Gap),
    (b"1,000", Gap),
    (b"0x2a", Gap),
    (b"0b1", Gap),
    (b"1n", Gap),
    (b"1a", Gap),
    (b"1/2", Gap),
    (b"\xef\xbc\x91", Gap),
    (b"1\0", Gap),
    (b"1\xe5", Gap),
    // Literals.
    (b"true", Read),
    (b"null", Read),
    (b"True", Gap),
    (b"TRUE", Gap),
    (b"nul", Gap),
    (b"nulll", Gap),
    (b"undefined", Gap),
    (b"None", Gap),
    (b"", Gap),
    // Strings: escapes of every kind, well-formed or not, where nobody looks.
    (br#""\"\\\/\b\f\n\r\t\u0041\uD834\uDd1e""#, Read),
    (br#""\ud800""#, Read),
    (br#""\uDFAA\uD834""#, Read),
    (br#""\uD888\u1234""#, Read),
    (br#""\uD800\n""#, Read),
    (br#""\x41\a\'\u12\u{41}""#, Read),
    (b"\"\\\x01\"", Read),
    (br#""\\\\""#, Read),
    (br#""\\\""#, Gap),
    (br#""\"#, Gap),
    (b"\"", Gap),
    (b"\"open", Gap),
    (b"'x'", Gap),
    (b"`x`", Gap),
    (b"x", Gap),
    (b"\"x\" \"y\"", Gap),
    (b"\"x\"y", Gap),
    (b"\\u0022x\"", Gap),
    (b"\xe2\x80\x9cx\xe2\x80\x9d", Gap),
    // Bytes in strings: control characters, line separators, non-characters, byte order marks.
    (b"\"\0\x01\x1f\t\r\x7f\"", Read),
    (b"\"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xef\xbf\xbe\xf4\x8f\xbf\xbf\"", Read),
    // Invalid UTF-8: alone, cut off, overlong, beyond U+10FFFF, a surrogate, Latin-1.
    (b"\"\xff\"", Read),
    (b"\"\xe0\xff\"", Read),
    (b"\"\xc0\xaf\"", Read),
    (b"\"\xfc\x80\x80\x80\x80\x80\"", Read),
    (b"\"\xf4\xbf\xbf\xbf\"", Read),
    (b"\"\xed\xa0\x80\"", Read),
    (b"\"\xe9", Gap),
    (b"\"Andr\xe9\"", Read),
    // Arrays and objects.
    (b"[]", Read),
    (b"[ ]", Read),
    (b"[null, 1, \"1\", {}]", Read),
    (b"[1,2\r,\t3]", Read),
    (b"{\"id\":\"b\"}", Read),
    (b"{\"\":0,\"\":1}", Read),
    (b"{\"\\u0000\":0,\"\xff\":1}", Read),
    (b"{\"a\\x\":1}", Read),
    (b"[1,]", Gap),
    (b"[,1]", Gap),
    (b"[1,,2]", Gap),
    (b"[,]", Gap),
    (b"[1 2]", Gap),
    (b"[1:2]", Gap),
    (b"[\"x\": 1]", Gap),
    (b"[", Gap),
    (b"[1", Gap),
    (b"[1}", Gap),
    (b"]", Gap),
    (b"[]]", Gap),
    (b"[[]", Gap),
    (b"[\"\",\n\"\"]", Gap),
    (b"{]", Gap),
    (b"{\"x\"}", Gap),
    (b"{\"x\":}", Gap),
    (b"{\"x\",1}", Gap),
    (b"{:1}", Gap),
    (b"{1:1}", Gap),
    (b"{x:1}", Gap),
    (b"{'x':1}", Gap),
    (b"{null:null}", Gap),
    (b"{\"x\"::1}", Gap),
    (b"{\"x\":1,}", Gap),
    (b"{\"x\":1,,\"y\":2}", Gap),
    (b"{,\"x\":1}", Gap),
    (b"{\"x\":1 \"y\":2}", Gap),
    (b"{\"x\":1 2}", Gap),
    (b"{\"x\" \"y\":1}", Gap),
    (b"{\"x\":1", Gap),
    (b"{{}:1}", Gap),
    (b"{[]:1}", Gap),
    // White space is blank, tab and CR; comments are none.
    (b" \t\r1\r\t ", Read),
    (b"\x0c1", Gap),
    (b"\x0b1", Gap),
    (b"\xc2\xa01", Gap),
    (b"\xe2\x81\xa01", Gap),
    (b"\xef\xbb\xbf1", Gap),
    (b"1\0", Gap),
    (b"/**/1", Gap),
    (b"1/**/", Gap),
    (b"1//", Gap),
    (b"1#", Gap),
];

/// Whole lines.
const LINES: &[(&[u8], Verdict)] = &[
    (b"", Nobody),
    (b" \t\r", Nobody),
    (b"1", Nobody),
    (b"-0.5e1", Nobody),
    (b"\"a\"", Nobody),
    (b"\"\xff\"", Nobody),
    (b"null", Nobody),
    (b"NaN", Nobody),
    (b"{}", Nobody),
    (b"{\"ID\":\"a\"}", Nobody),
    (b"{\"id \":\"a\"}", Nobody),
    (b"{\"x\":\"{\\\"id\\\":\\\"a\\\"}\"}", Nobody),
    (b"{\"\\u0069\\u0064\":\"\\u0061\"}", Read),
    (b"{\"id\":\"b\",\"id\":\"a\"}", Read),
    (b"{\"id\":{\"id\":\"b\"},\"id\":\"a\"}", Read),
    (b"\xef\xbb\xbf{\"id\":\"a\"}", Read),
    (b" {\"id\":\"a\"} ", Read),
    (b"{\"id\":\"a\"}\r", Read),
    (b"{\"id\":\"a\"}\r\r", Read),
    // An odd escape in the identifier itself, or in a key where identifiers stand: uncertain.
    (b"{\"id\":\"a\\x\"}", Gap),
    (b"{\"id\":\"a\\u12\"}", Gap),
    (b"{\"i\\x\":1,\"id\":\"a\"}", Gap),
    (b"{\"\\uZZZZ\":1,\"id\":\"a\"}", Gap),
    // More than one document, or none.
    (b"{\"id\":\"a\"}{\"id\":\"b\"}", Gap),
    (b"{\"id\":\"a\"} {\"id\":\"b\"}", Gap),
    (b"{\"id\":\"a\"},", Gap),
    (b"{\"id\":\"a\"}}", Gap),
    (b"{\"id\":\"a\"}]", Gap),
    (b"{\"id\":\"a\"}#", Gap),
    (b"{\"id\":\"a\"}/**/", Gap),
    (b"{\"id\":\"a\"}//x", Gap),
    (b"{\"id\":\"a\"}\0", Gap),
    (b"\0{\"id\":\"a\"}", Gap),
    (b"\x1e{\"id\":\"a\"}", Gap),
    (b"\xff\xfe{\"id\":\"a\"}", Gap),
    (b"{\0\"\0i\0d\0\"\0:\0\"\0a\0\"\0}\0", Gap),
    (b"\xe5", Gap),
    (b"<id>a</id>", Gap),
    (b"id: a", Gap),
    (b"data: {\"id\":\"a\"}", Gap),
    (b"_cb({\"id\":\"a\"})", Gap),
    (b"[]", Gap),
    (b"[{\"id\":\"a\"}]", Gap),
    (b"][", Gap),
    (b"*", Gap),
    (b"\xef\xbb", Gap),
    (b"\xef\xbb\xbf", Nobody),
];

/// Holds a line between two others to its verdict: what a scan tells, and what a blanking does.
fn check(line: &[u8], verdict: Verdict) {
    let what = line.escape_ascii().to_string();
    let object = [b"{\"id\":\"first\"}\n", line, b"\n{\"id\":\"last\"}\n"].concat();
    let rows = 3 + line.iter().filter(|&&byte| byte == b'\n').count() as u64;
    let fields = fields(&["id"], IdentifierType::String);
    let told = scan(&object, &fields);
    assert_eq!(told.rows, rows, "{what}");
    assert_eq!(told.postings.first(), Some(&(0, text("first"))), "{what}");
    assert_eq!(told.postings.last(), Some(&(rows - 1, text("last"))), "{what}");
    assert_eq!(told.postings.contains(&(1, text("a"))), verdict == Read, "{what}");
    assert_eq!(told.gaps.first() == Some(&(1, 15)), verdict == Gap, "{what}");

    let order = BlankOrder {
        rows: RowSet::new([RowNumber(1)]).expect("a row"),
        fields: fields.clone(),
        subjects: Arc::new(HashSet::from([text("a")])),
        action: keep(&[]),
        landmarks: Landmarks::default(),
    };
    let source: SharedSource = Arc::new(Bytes::from(object.clone()));
    let blanking = format().blank(source, &order).expect("readable");
    let Some(edit) = blanking.edit else {
        assert_ne!(verdict, Read, "{what}");
        return assert_eq!(blanking.unmatched, [RowNumber(1)]);
    };
    assert_eq!(verdict, Read, "{what}");
    let mut new = Vec::new();
    for segment in edit {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => {
                new.extend_from_slice(&object[range.start as usize..range.end as usize]);
            }
            Segment::Bytes(bytes) => new.extend_from_slice(&bytes),
        }
    }
    assert_eq!(new.len(), object.len(), "{what}");
    let after = scan(&new, &fields);
    let expected = vec![(0, text("first")), (2, text("last"))];
    assert_eq!((after.postings, after.gaps), (expected, vec![]), "{what}");
}

#[test]
fn every_oddity_of_json_has_its_verdict() {
    for (value, verdict) in VALUES {
        for (before, after) in [
            (&b"{\"id\":\"a\",\"x\":"[..], &b"}"[..]),
            (b"{\"x\":", b",\"id\":\"a\"}"),
            (b"{\"x\":[1,", b"],\"y\":{},\"id\":\"a\"}"),
            (
                b"{\"some key that fills most of a block of sixty-four bytes\":1,\"x\":",
                b",\"id\":\"a\"}",
            ),
        ] {
            check(&[before, value, after].concat(), *verdict);
        }
    }
    for (line, verdict) in LINES {
        check(line, *verdict);
    }
}

/// Depth: JSON parsers stop at 128 to 1,024; what is deeper than 512 is a gap, at any depth without a
/// stack overflow.
#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"x\":", "}"), ("[{\"id\":", "}]")] {
        let levels = open.matches(['[', '{']).count();
        for depth in [1, 60, 61, 62, 63, 64, 127, 128, 129, 255, 256, 500, 511, 512, 100_000] {
            let nests = depth / levels;
            let value = [&open.repeat(nests), "1", &close.repeat(nests)].concat();
            let verdict = if nests * levels < walk::DEEPEST { Read } else { Gap };
            check(format!("{{\"x\":{value},\"id\":\"a\"}}").as_bytes(), verdict);
            check(format!("{{\"id\":\"a\",\"x\":{value}}}").as_bytes(), verdict);
            check(format!("{{\"id\":\"a\",\"x\":{}", open.repeat(nests)).as_bytes(), Gap);
        }
    }
}
