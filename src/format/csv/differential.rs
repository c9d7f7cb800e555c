//! Random and adversarial records through the quick way and the plain one.

use super::{Csv, Dialect};
use crate::domain::identifier::IdentifierType;
use crate::format::text::differential::{Dice, fields, hold};

const PIECES: &[&str] = &[
    "a",
    "ann",
    "42",
    " ",
    "\"",
    "\"\"",
    "'",
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\\",
    "\\\"",
    "é",
    "",
    "\u{0}",
    "long text of some sixty bytes that goes over the end of a block, surely",
    "a text that fills two blocks and more wherever it begins, with a comma, a semicolon; a tab\t\
     and line endings\nof either\r\nkind in it, so that a block within quotes holds all of them",
];

fn content(dice: &mut Dice) -> String {
    (0..dice.roll(4)).map(|_| dice.pick(PIECES)).collect()
}

fn field(dice: &mut Dice, dialect: &Dialect, out: &mut Vec<u8>) {
    let text = content(dice);
    let quote = char::from(dialect.quote);
    let doubled = text.replace(quote, &format!("{quote}{quote}"));
    let special =
        text.contains([quote, char::from(dialect.delimiter), '\n', '\r']) || dice.once_in(3);
    let text = match dice.roll(40) {
        0 => text,
        1 => format!("{quote}{text}{quote}"),
        2 => format!("{quote}{doubled}{quote}{text}"),
        3 => format!("x{quote}{doubled}{quote}"),
        _ if special => format!("{quote}{doubled}{quote}"),
        _ => text,
    };
    out.extend_from_slice(text.as_bytes());
}

fn object(dice: &mut Dice, dialect: &Dialect, records: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let ending = dice.pick(&["\n", "\r\n", "\r", "\n"]);
    if dialect.header {
        let names = ["id,x,y", "x,id", "x,y,\"id\",z,id", "id", "x,\"a\nb\",id,id"];
        let names = dice.pick(&names).replace(',', &char::from(dialect.delimiter).to_string());
        let names = names.replace('"', &char::from(dialect.quote).to_string());
        out.extend_from_slice(names.as_bytes());
        out.extend_from_slice(ending.as_bytes());
    }
    for _ in 0..records {
        for number in 0..=dice.roll(6) {
            if number > 0 {
                out.push(dialect.delimiter);
            }
            field(dice, dialect, &mut out);
        }
        let ending = if dice.once_in(30) { dice.pick(&["\n", "\r", "\n\n"]) } else { ending };
        out.extend_from_slice(ending.as_bytes());
    }
    if dice.once_in(2) {
        out.pop();
    }
    out
}

/// Hold 60,000 records and more to the plain reader.
#[test]
fn quick_and_plain_records_agree() {
    let dialect = |delimiter, quote, escape, header| Dialect { delimiter, quote, escape, header };
    let dialects = [
        dialect(b',', b'"', None, true),
        dialect(b',', b'"', None, false),
        dialect(b';', b'\'', None, true),
        dialect(b'\t', b'"', None, true),
        dialect(b' ', b'"', None, true),
        dialect(b',', b'"', Some(b'\\'), true),
    ];
    let (mut rows, mut postings) = (0, 0);
    for round in 0..1500u64 {
        let dice = &mut Dice::new(round);
        let dialect = dialects[round as usize % dialects.len()];
        let records = if round.is_multiple_of(10) { 300 } else { 60 };
        let bytes = object(dice, &dialect, records);
        let paths: &[&str] = if dialect.header { &["id", "y"] } else { &["2", "1", "5"] };
        let fields = fields(paths, IdentifierType::String);
        let (more, found) = hold(Csv::new(dialect), !dialect.header, &fields, &bytes, dice);
        rows += more;
        postings += found;
    }
    assert!(rows >= 60_000 && postings >= 30_000, "{rows} rows, {postings} postings");
}

/// Every place of a quote within the blocks.
#[test]
fn every_shift_of_a_record_is_read() {
    let dialect = Dialect { delimiter: b',', quote: b'"', escape: None, header: true };
    let records = [
        "\"a \"\"b\"\"\n,\",\"\",\"id\"",
        "a,\"b\"c,d\r\n\r\n\"\"\"\",\"\"\"\",\"\"",
        "a\"b\",\"c,d",
        "\"open,\n1,2,3",
        "\"a field within quotes, which fills two blocks and more wherever it begins,\nand holds \
         commas, line endings and at its very end a quote of its own\"\"\",\"\"\"id\"\"\",\"\"",
    ];
    let mut dice = Dice::new(1);
    let fields = fields(&["id", "y"], IdentifierType::String);
    for shift in 0..130 {
        for record in records {
            let text = format!("x,id,y\n{},2,3\n{record}\n4,5,6\n", "p".repeat(shift));
            hold(Csv::new(dialect), false, &fields, text.as_bytes(), &mut dice);
        }
    }
}
