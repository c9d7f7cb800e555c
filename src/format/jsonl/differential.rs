//! Random and adversarial lines through the quick way and the plain one.

use super::Jsonl;
use crate::domain::identifier::IdentifierType;
use crate::format::text::differential::{Dice, fields, hold};

/// Everything of `formats.md` that a reader of other people's JSON has to survive, at random.
struct Lines {
    dice: Dice,
    /// How white space is written: not at all, as Python does, wildly.
    style: usize,
    out: Vec<u8>,
}

const KEYS: &[&str] = &[
    "id",
    "id",
    "id",
    "id",
    "id",
    "id",
    "id",
    "id",
    "id",
    "user",
    "deep",
    "i",
    "idx",
    "xid",
    "user",
    "deep",
    "list",
    "a.b",
    "\\u0069d",
    "i\\u0064",
    "id\\\\",
    "\\\"id",
    "",
    "é",
    "ID",
    "other",
    "zeta",
    "key with spaces",
    LONG_KEY,
    ESCAPED_KEY,
    "{",
    "}",
    "a,b:c",
];

/// Keys that fill whole blocks, one of them with an escape amidst it that JSON does not have.
const LONG_KEY: &str = "a key that is so long that there is a whole block within it, wherever it \
    begins, which takes some one hundred and thirty bytes or more";
const ESCAPED_KEY: &str = "a key that is so long that there is a whole block within it, wherever it \
    begins, and \\q stands far from both of its ends, so that it does in most blocks, surely";

const SCALARS: &[&str] = &[
    "0",
    "-0",
    "42",
    "42.0",
    "4.2e1",
    "1E+5",
    "9007199254740993",
    "true",
    "false",
    "null",
    "NaN",
    "Infinity",
    "-Infinity",
    "12345678901234567890123456789012345678901234567890123456789012345",
];

const ODD_SCALARS: &[&str] = &[
    "01", "1.", "-", "+1", ".5", "1e", "tru", "nulll", "True", "1 2", "0x1f", "'id'", "\\", "é",
    "1_0",
];

const PIECES: &[&str] = &[
    "a",
    "ann",
    "bob",
    "42",
    " ",
    "\\\"",
    "\\\\",
    "\\\\\\\"",
    "\\n",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud800",
    "é",
    "\u{2028}",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "{\"id\":\"x\"}",
    "\t",
    "\r",
    "\u{1}",
    "\\/",
    "long text of some sixty bytes that goes over the end of a block, surely",
    "a text that fills two blocks and more wherever it begins, with { and } and [ and ] and : and , \
     in it, and with \\\" and \\\\ in it as well, and \\\"id\\\":\\\"x\\\" too, to be sure of each of them",
];

const DAMAGE: &[u8] = b"{}[]:,\"\\\\ \t\r\n0129eE+-.tfnNI\x00\x1f\x80\xff\xef\xbb\xbfaid";

impl Lines {
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn space(&mut self) {
        if self.style == 2 && self.dice.once_in(3) {
            for _ in 0..self.dice.roll(3) {
                let space = self.dice.pick(&[" ", "\t", "\r", "     "]);
                self.put(space);
            }
            if self.dice.once_in(40) {
                self.put(&" ".repeat(130));
            }
        }
    }

    fn string(&mut self) {
        self.put("\"");
        for _ in 0..self.dice.roll(5) {
            let piece = self.dice.pick(PIECES);
            self.put(piece);
        }
        if self.dice.once_in(30) {
            self.out.push(0x80 + self.dice.roll(0x80) as u8);
        }
        self.put("\"");
    }

    fn value(&mut self, depth: usize) {
        match self.dice.roll(if depth > 4 { 8 } else { 11 }) {
            0..=4 => self.string(),
            5..=6 => {
                let scalar = self.dice.pick(SCALARS);
                self.put(scalar);
            }
            7 if self.dice.once_in(12) => {
                let scalar = self.dice.pick(ODD_SCALARS);
                self.put(scalar);
            }
            7 => {
                let number = self.dice.roll(100_000).to_string();
                self.put(&number);
            }
            8..=9 => self.object(depth + 1),
            _ => self.array(depth + 1),
        }
    }

    fn array(&mut self, depth: usize) {
        self.put("[");
        self.space();
        for number in 0..self.dice.roll(4) {
            if number > 0 {
                self.comma();
            }
            self.value(depth);
            self.space();
        }
        self.put("]");
    }

    fn comma(&mut self) {
        self.put(if self.style == 1 { ", " } else { "," });
        self.space();
    }

    fn object(&mut self, depth: usize) {
        self.put("{");
        self.space();
        for number in 0..self.dice.roll(7) {
            if number > 0 {
                self.comma();
            }
            let key = self.dice.pick(KEYS);
            self.put(&format!("\"{key}\""));
            self.space();
            self.put(if self.style == 1 { ": " } else { ":" });
            self.space();
            self.value(depth);
            self.space();
        }
        self.put("}");
    }

    fn line(&mut self) {
        self.style = self.dice.roll(3);
        let start = self.out.len();
        self.space();
        match self.dice.roll(60) {
            0 => {}
            1 => self.array(0),
            2 => self.value(5),
            3 => self.put("\u{feff}{\"id\":\"a\"}"),
            4 => {
                let depth = 1 + self.dice.roll(70);
                let nest = format!("{}1{}", "{\"id\":".repeat(depth), "}".repeat(depth));
                self.put(&nest);
            }
            _ => self.object(0),
        }
        if self.dice.once_in(4) && self.out.len() > start {
            self.damage(start);
        }
        let ending = self.dice.pick(&["\n", "\n", "\n", "\r\n", " \n", "\r\r\n", "\n\n", ",\n"]);
        self.put(ending);
    }

    fn damage(&mut self, start: usize) {
        for _ in 0..=self.dice.roll(2) {
            let at = start + self.dice.roll(self.out.len() - start);
            let byte = DAMAGE[self.dice.roll(DAMAGE.len())];
            match self.dice.roll(4) {
                0 => self.out[at] = byte,
                1 => self.out.insert(at, byte),
                2 => drop(self.out.remove(at)),
                _ => self.out.truncate(at),
            }
            if self.out.len() <= start {
                return;
            }
        }
    }
}

/// Hold 70,000 lines to the plain reader: same postings, gaps and foreign values, whatever the place of
/// a line in a block, however the windows are cut, on however many threads.
#[test]
fn quick_and_plain_lines_agree() {
    let paths: [&[&str]; 5] = [
        &["id"],
        &["id", "user"],
        &["user.id", "id", "deep.deep.id"],
        &["i", "id", "user", "other", "zeta", "deep.id", "é"],
        &["list[*].id", "id"],
    ];
    let kinds = [IdentifierType::String, IdentifierType::Integer];
    let (mut rows, mut postings) = (0, 0);
    for round in 0..700u64 {
        let mut lines = Lines { dice: Dice::new(round), style: 0, out: Vec::new() };
        for _ in 0..100 {
            lines.line();
        }
        if lines.dice.once_in(2) {
            lines.out.pop();
        }
        let fields = fields(paths[round as usize % 5], kinds[round as usize / 5 % 2]);
        let (more, found) = hold(Jsonl, true, &fields, &lines.out, &mut lines.dice);
        rows += more;
        postings += found;
    }
    assert!(rows >= 70_000 && postings >= 12_000, "{rows} rows, {postings} postings");
}

/// Every place of a line within the blocks, for what is carried from one block to the next.
#[test]
fn every_shift_of_a_line_is_read() {
    let lines = [
        r#"{"a":"\\\"","id":"x\\","b":[{"id":1},["}"]],"id" : 42 , "c":{}, "d":[ ]}"#,
        r#"{"key that is long enough to go over the end of a block of sixty-four bytes":-1.5e-7,"id":"é"}"#,
        r#"{"id":"open"#,
        r#"{"id":12,"id\":3}"#,
        r#"{"id":true,"n":null}"#,
        r#"{"id":"a"} x"#,
        r#"{"id":1234567890123456789012345678901234567890123456789012345678901234567890}"#,
        r#"{"n":[0,10,-1,1.5,1e5,true],"id":007}"#,
        r#"{"n":00,"id":0}"#,
        r#"{"a":{},"b":[],"id":{},"c":[{}],"id":[[]]}"#,
        r#"{"a":{,},"id":1}"#,
        r#"{"a":[}],"id":1}"#,
        r#"{"a":[ ]  ,  "b" : { } , "id"  :  "spaced"  }  "#,
        r#"{"id":"x","t":"sixty-four bytes and more within quotes \\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\" and on","id":2}"#,
    ];
    let fields = fields(&["id"], IdentifierType::String);
    let mut dice = Dice::new(1);
    for shift in 0..130 {
        let long = [LONG_KEY, ESCAPED_KEY].map(|key| format!("{{\"{key}\":1,\"id\":\"z\"}}"));
        for line in lines.into_iter().chain(long.iter().map(String::as_str)) {
            let good = "{\"id\":\"y\"}";
            let text = format!("{{\"{}\":0}}\n{line}\n{good}\n{line}", "p".repeat(shift));
            hold(Jsonl, true, &fields, text.as_bytes(), &mut dice);
        }
    }
}
