use std::io::Write as _;

use super::*;
use crate::domain::field::IdentifierField;
use crate::domain::identifier::{DigestKey, IdentifierType, Namespace};
use crate::format::Except;

const DECLARED: [Option<FormatName>; 4] =
    [None, Some(FormatName::Jsonl), Some(FormatName::Csv), Some(FormatName::Parquet)];

fn fields() -> BoundFields {
    let field = |path: &str| IdentifierField {
        namespace: Namespace::new("user"),
        path: path.parse().expect("a path"),
        kind: IdentifierType::String,
    };
    BoundFields::new(&[field("id"), field("contact.email")], &DigestKey::new([1; 32]))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn lz4(content: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn snappy(content: &[u8]) -> Vec<u8> {
    // An empty stream is nothing at all for this writer.
    let mut stream = snap::write::FrameEncoder::new(b"\xff\x06\0\0sNaPpY".to_vec());
    stream.write_all(content).expect("to memory");
    stream.into_inner().map_err(|_| "to memory").expect("to memory")
}

fn opened(bytes: &[u8], reading: &Reading) -> Result<(FormatName, Compression), String> {
    let opened = open(&Bytes::copy_from_slice(bytes), reading, &fields());
    opened.map(|opened| (opened.name, opened.compression)).map_err(|error| error.to_string())
}

fn declared(format: Option<FormatName>) -> Reading {
    Reading { format, csv: CsvDialect::default() }
}

fn detected(bytes: &[u8]) -> Result<(FormatName, Compression), String> {
    opened(bytes, &declared(None))
}

fn refusal(bytes: &[u8], format: Option<FormatName>) -> String {
    opened(bytes, &declared(format)).expect_err("it is refused")
}

/// G40: content decides.
#[test]
fn content_tells_the_format() {
    let jsonl = Ok((FormatName::Jsonl, Compression::None));
    let csv = Ok((FormatName::Csv, Compression::None));
    for text in ["{}", " \r\n\t{\"id\":1}\n", "\u{feff}{\"id\":1}", "{", "{\"x\"\n"] {
        assert_eq!(detected(text.as_bytes()), jsonl, "{text:?}");
    }
    for text in [
        "id",
        "id,x\n1,2\n",
        "x,\"id\"\r\n",
        "\u{feff}id,x",
        "x\tid\n",
        "\n\nx;id\n",
        "x|id|y",
        "x\x01id\n",
        "contact.email,x\n",
        "\"a\nb\",id\n",
        "PARENT,id\n",
        "PAR1,id\n",
        "PARE,id\n",
        "ORCID,id\n",
        "BZh,id\n",
        "BZh9,id\n",
        "SEQ,id\n",
        "'{',id\n",
    ] {
        assert_eq!(detected(text.as_bytes()), csv, "{text:?}");
    }
    for text in ["x,y\n", "ID,x\n", "id x\n", "x\nid,y\n", "<id>", "--- id", "\"id", "1"] {
        assert!(refusal(text.as_bytes(), None).contains("set the dataset's `format`"), "{text:?}");
    }
}

/// G27: compression is told by magic number, whatever is in it.
#[test]
fn content_tells_the_compression() {
    let zstd = |content: &[u8]| zstd::bulk::compress(content, 1).expect("to memory");
    let skippable = [&[0x5e, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7][..], &zstd(b"id,x\n")].concat();
    assert_eq!(detected(&gzip(b"{}")), Ok((FormatName::Jsonl, Compression::Gzip)));
    assert_eq!(detected(&gzip(b"id,x\n")), Ok((FormatName::Csv, Compression::Gzip)));
    assert_eq!(detected(&zstd(b"{}")), Ok((FormatName::Jsonl, Compression::Zstd)));
    assert_eq!(detected(&skippable), Ok((FormatName::Csv, Compression::Zstd)));
    for (compress, compression) in [
        (bzip2 as fn(&[u8]) -> Vec<u8>, Compression::Bzip2),
        (lz4, Compression::Lz4),
        (snappy, Compression::Snappy),
    ] {
        assert_eq!(detected(&compress(b"{}")), Ok((FormatName::Jsonl, compression)));
        assert_eq!(detected(&compress(b"id,x\n")), Ok((FormatName::Csv, compression)));
        assert_eq!(detected(&compress(b"")), Ok((FormatName::Jsonl, compression)));
    }
}

/// zstd and lz4 have skippable frames alike: what follows them tells which it is.
#[test]
fn what_follows_skippable_frames_tells_the_compression() {
    let skippable = |length: usize| {
        let head = [&[0x5a, 0x2a, 0x4d, 0x18][..], &(length as u32).to_le_bytes()].concat();
        [head, vec![0; length]].concat()
    };
    for frames in [vec![1], vec![0, 3], vec![1000], vec![7; 60]] {
        let before: Vec<u8> = frames.iter().flat_map(|&length| skippable(length)).collect();
        let then = |frame: Vec<u8>| detected(&[&before[..], &frame].concat());
        assert_eq!(then(lz4(b"{}")), Ok((FormatName::Jsonl, Compression::Lz4)));
        let zstd = zstd::bulk::compress(b"{}", 1).expect("to memory");
        assert_eq!(then(zstd), Ok((FormatName::Jsonl, Compression::Zstd)));
        assert_eq!(then(Vec::new()), Ok((FormatName::Jsonl, Compression::Zstd)));
    }
    let cut = &skippable(9)[..12];
    assert!(refusal(cut, None).contains("ends early"));
    assert!(refusal(&cut[..6], None).contains("ends early"));
}

/// G27, G30, G32: what is not supported is refused by name, declared or not.
#[test]
fn what_is_not_supported_is_refused_by_name() {
    let mut tar = vec![b'x'; 600];
    tar[257..262].copy_from_slice(b"ustar");
    let long = |start: &[u8]| [start, &[0; 20], start, b"\x07"].concat();
    for (bytes, name) in [
        (long(b"\xfd7zXZ\0"), "xz"),
        (long(b"\x02\x21\x4c\x18"), "lz4 (legacy frames)"),
        (long(b"PK\x03\x04"), "zip"),
        (long(b"7z\xbc\xaf\x27\x1c"), "7z"),
        (tar, "tar"),
        (long(b"Obj\x01"), "Avro"),
        (long(b"ORC"), "ORC"),
        (b"PARE\x15\x04 PARE".to_vec(), "encrypted Parquet"),
        (b"\xff\xfei\0d\0".to_vec(), "UTF-16"),
        (b"\xfe\xff\0i\0d".to_vec(), "UTF-16"),
        (b"{\0\"\0i\0".to_vec(), "UTF-16"),
        (b"\0i\0d".to_vec(), "UTF-16"),
        (gzip(&gzip(b"{}")), "another compression"),
        (gzip(&bzip2(b"{}")), "another compression"),
        (bzip2(&lz4(b"{}")), "another compression"),
        (lz4(&snappy(b"{}")), "another compression"),
        (snappy(&long(b"Obj\x01")), "Avro"),
        (gzip(b"PAR1\x15\x04"), "Parquet"),
        (gzip(&long(b"Obj\x01")), "Avro"),
        (b"[{\"id\":1},\n{\"id\":2}]".to_vec(), "JSON array"),
        (b"{\n  \"id\": 1\n}\n".to_vec(), "several lines"),
    ] {
        for format in [None, Some(FormatName::Jsonl)] {
            let reason = refusal(&bytes, format);
            assert!(reason.contains(name), "{name}: {reason}");
        }
    }
}

/// A declaration is taken at its word, unless the content contradicts it.
#[test]
fn a_declaration_is_checked() {
    let as_csv = declared(Some(FormatName::Csv));
    assert_eq!(opened(b"{id},id\n", &as_csv), Ok((FormatName::Csv, Compression::None)));
    assert!(refusal(b"x,y\n", Some(FormatName::Csv)).contains("`id`, `contact.email`"));
    assert!(refusal(b"PAR1\x15\x04PAR1", Some(FormatName::Jsonl)).contains("is Parquet"));
    assert!(refusal(b"PAR1\x15\x04PAR1", Some(FormatName::Csv)).contains("is Parquet"));
    assert!(refusal(b"{}", Some(FormatName::Parquet)).contains("not Parquet"));
    let jsonl = opened(b"id,x\n", &declared(Some(FormatName::Jsonl)));
    assert_eq!(jsonl, Ok((FormatName::Jsonl, Compression::None)), "a gap, row by row");
}

/// G7: the delimiter that shows most identifier columns is meant; a declared one is the only one.
#[test]
fn the_header_tells_the_delimiter() {
    let delimiter = |text: &str, csv: CsvDialect| {
        let source = Bytes::copy_from_slice(text.as_bytes());
        let probe = Probe::new(&source, Compression::None, 1000).expect("readable");
        resolve(&csv, &probe, &fields()).map(|dialect| dialect.delimiter)
    };
    let any = CsvDialect::default();
    assert_eq!(delimiter("id,x;y;z,contact.email\n", any), Some(b','));
    assert_eq!(delimiter("id;x,y;contact.email\n", any), Some(b';'));
    assert_eq!(delimiter("id", any), Some(b','));
    assert_eq!(delimiter("a,b,c|id", any), Some(b'|'));
    assert_eq!(delimiter("x;id\n", CsvDialect { delimiter: Some(b','), ..any }), None);
    assert_eq!(delimiter("x#id\n", CsvDialect { delimiter: Some(b'#'), ..any }), Some(b'#'));
    assert_eq!(delimiter("x,'id'\n", CsvDialect { quote: b'\'', ..any }), Some(b','));

    let headerless = CsvDialect { header: false, ..any };
    let reading = Reading { format: Some(FormatName::Csv), csv: headerless };
    assert!(opened(b"1,2\n", &reading).expect_err("ambiguous").contains("`delimiter`"));
    let csv = CsvDialect { delimiter: Some(b','), ..headerless };
    let reading = Reading { format: Some(FormatName::Csv), csv };
    assert_eq!(opened(b"1,2\n", &reading), Ok((FormatName::Csv, Compression::None)));
    assert!(opened(b"1,2\n", &Reading { format: None, csv }).is_err());
}

/// A header may be long, and far from the start; a member may hold little.
#[test]
fn a_long_header_is_found() {
    let long = format!("{},id\n", "x".repeat(200 << 10));
    assert_eq!(detected(long.as_bytes()), Ok((FormatName::Csv, Compression::None)));
    assert_eq!(detected(&gzip(long.as_bytes())), Ok((FormatName::Csv, Compression::Gzip)));
    let members: Vec<u8> = long.as_bytes().chunks(5000).flat_map(gzip).collect();
    assert_eq!(detected(&members), Ok((FormatName::Csv, Compression::Gzip)));
    let longer = format!("{},id\n", "x".repeat(2 << 20));
    assert!(refusal(longer.as_bytes(), None).contains("not recognised"));
}

/// An object without content has no rows, in whatever format.
#[test]
fn nothing_is_read_as_nothing() {
    for format in DECLARED {
        for bytes in [&b""[..], &gzip(b"")] {
            let source = Bytes::copy_from_slice(bytes);
            let opened = open(&source, &declared(format), &fields()).expect("readable");
            assert_eq!(opened.name, format.unwrap_or(FormatName::Jsonl));
            assert_eq!(rows(&opened, &source), 0);
        }
    }
    assert_eq!(detected(b"\n \n").map(|(name, _)| name), Ok(FormatName::Jsonl));
    let source = Bytes::from_static(b"\n\r\n");
    let opened = open(&source, &declared(Some(FormatName::Csv)), &fields()).expect("readable");
    assert_eq!(rows(&opened, &source), 0);
}

fn rows(opened: &Opened, source: &Bytes) -> u64 {
    opened.format.fingerprint(source, Except::Nothing).expect("readable").rows.0
}

/// L2: a refusal says nothing of the content.
#[test]
fn a_refusal_holds_no_content() {
    for format in DECLARED {
        for bytes in
            [&b"canary,x\n"[..], b"[\"canary\"]", b"\"canary", b"Obj\x01canary", b"PAR1\x01canary"]
        {
            if let Err(reason) = opened(bytes, &declared(format)) {
                assert!(!reason.contains("canary"), "{reason}");
            }
        }
    }
}
