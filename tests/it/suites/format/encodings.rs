//! The formats under test: rows to bytes.

use std::io::{Read as _, Write as _};

use super::*;

/// Every format under test.
pub const FIXTURES: &[Fixture] = &[
    Fixture {
        name: "JSON lines",
        reading: Reading::default,
        encode: |rows| jsonl(rows, "\n", true),
        content: <[u8]>::to_vec,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines, CRLF, no last newline, declared",
        reading: || declared(FormatName::Jsonl),
        encode: |rows| jsonl(rows, "\r\n", false),
        content: <[u8]>::to_vec,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines in gzip members",
        reading: Reading::default,
        encode: |rows| members(&jsonl(rows, "\n", true), 40, gzip),
        content: gunzip,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines in zstd frames",
        reading: Reading::default,
        encode: |rows| members(&jsonl(rows, "\n", true), 70, zstd),
        content: unzstd,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines in bzip2 streams",
        reading: Reading::default,
        encode: |rows| members(&jsonl(rows, "\n", true), 70, bzip2),
        content: unbzip2,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines in lz4 frames",
        reading: Reading::default,
        encode: |rows| members(&jsonl(rows, "\n", true), 70, lz4),
        content: unlz4,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "JSON lines in snappy streams",
        reading: Reading::default,
        encode: |rows| members(&jsonl(rows, "\n", true), 70, snappy),
        content: unsnappy,
        empty_rows_are_blanks: false,
    },
    Fixture {
        name: "CSV",
        reading: Reading::default,
        encode: |rows| csv(rows, b',', "\n", true),
        content: <[u8]>::to_vec,
        empty_rows_are_blanks: true,
    },
    Fixture {
        name: "CSV, CRLF, semicolons, no last newline",
        reading: || declared(FormatName::Csv),
        encode: |rows| {
            let mut bytes = csv(rows, b';', "\r\n", true);
            bytes.truncate(bytes.len() - 2);
            bytes
        },
        content: <[u8]>::to_vec,
        empty_rows_are_blanks: true,
    },
    Fixture {
        name: "TSV in gzip",
        reading: || declared(FormatName::Csv),
        encode: |rows| gzip(&csv(rows, b'\t', "\n", true)),
        content: gunzip,
        empty_rows_are_blanks: true,
    },
];

fn declared(format: FormatName) -> Reading {
    Reading { format: Some(format), csv: CsvDialect::default() }
}

fn jsonl(rows: &[Row], ending: &str, last: bool) -> Vec<u8> {
    let line = |row: &Row| match &row.user {
        Some(user) => serde_json::json!({ "user_id": user, "note": row.note }).to_string(),
        None => serde_json::json!({ "note": row.note }).to_string(),
    };
    let mut text = rows.iter().map(line).collect::<Vec<_>>().join(ending);
    if last && !rows.is_empty() {
        text.push_str(ending);
    }
    text.into_bytes()
}

fn csv(rows: &[Row], delimiter: u8, ending: &str, header: bool) -> Vec<u8> {
    let delimiter = char::from(delimiter);
    let field = |text: &str| match text.contains([delimiter, '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let mut text = String::new();
    if header {
        text.push_str(&format!("note{delimiter}user_id{ending}"));
    }
    for row in rows {
        let user = field(row.user.as_deref().unwrap_or_default());
        text.push_str(&format!("{}{delimiter}{user}{ending}", field(&row.note)));
    }
    text.into_bytes()
}

/// Compressed piece by piece; empty content is one member.
fn members(content: &[u8], piece_bytes: usize, compress: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    if content.is_empty() {
        return compress(content);
    }
    content.chunks(piece_bytes).flat_map(compress).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut content).expect("it is gzip");
    content
}

fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 3).expect("to memory")
}

fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(bytes).expect("it is zstd")
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn unbzip2(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    bzip2::read::MultiBzDecoder::new(bytes).read_to_end(&mut content).expect("it is bzip2");
    content
}

fn lz4(content: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

/// The decoder stops at the end of each frame.
fn unlz4(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(bytes);
    while !decoder.get_ref().is_empty() {
        decoder.read_to_end(&mut content).expect("it is lz4");
    }
    content
}

fn snappy(content: &[u8]) -> Vec<u8> {
    // The writer makes nothing of nothing, not even the identifier of a stream.
    if content.is_empty() {
        return b"\xff\x06\0\0sNaPpY".to_vec();
    }
    let mut stream = Vec::new();
    snap::read::FrameEncoder::new(content).read_to_end(&mut stream).expect("to memory");
    stream
}

fn unsnappy(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    snap::read::FrameDecoder::new(bytes).read_to_end(&mut content).expect("it is snappy");
    content
}
