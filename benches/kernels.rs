//! Kernels by themselves, in memory: `cargo bench`. What a whole command costs is `scripts/bench`'s.
//!
//! Every text object holds records of about 500 bytes, the identifier in the middle, from one seed;
//! throughput is of uncompressed bytes. One thread reads where the format reads with several.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use lacuna::domain::dataset::{EraseAction, FormatName, Reading};
use lacuna::domain::field::{BoundFields, Digested, IdentifierField};
use lacuna::domain::identifier::{DigestKey, IdentifierType, Namespace, RawValue};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::posting::{RowGap, RowPosting};
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::format::detect;
use lacuna::format::{BlankOrder, ScanSink, Stopped};
use lacuna::metastore::packing::PackedPosting;
use lacuna::metastore::packing::block::{Block, BlockBuilder};

const ROWS: u64 = 40_000;

fn main() {
    divan::main();
}

/// A number that looks random and is the same in every run.
fn mixed(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn text(of: impl Fn(u64, u64, &str) -> String) -> Vec<u8> {
    let filler = "a review of some length, as people write them; ".repeat(7);
    (0..ROWS).flat_map(|row| of(row, mixed(row), &filler).into_bytes()).collect()
}

fn jsonl() -> Bytes {
    static MADE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        text(|row, user, filler| {
            format!(
                "{{\"review_id\":\"{row:022}\",\"user_id\":\"{user:022}\",\"stars\":{},\"date\":\
                 \"2018-02-26 01:02:03\",\"text\":\"{filler}\",\"tags\":[\"a\",{{\"id\":1}}],\
                 \"useful\":{},\"note\":\"a \\\"quoted\\\" word\"}}\n",
                row % 5,
                row % 7
            )
        })
    };
    MADE.get_or_init(|| make().into()).clone()
}

fn csv() -> Bytes {
    static MADE: OnceLock<Bytes> = OnceLock::new();
    let make = || {
        let rows = text(|row, user, filler| {
            format!("{row:022},{user:022},{},2018-02-26,\"{filler}\",\"a \"\"b\"\"\"\n", row % 5)
        });
        [b"review_id,user_id,stars,date,text,note\n".to_vec(), rows].concat()
    };
    MADE.get_or_init(|| make().into()).clone()
}

fn gzip() -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(&jsonl()).expect("in memory");
    encoder.finish().expect("in memory").into()
}

fn zstd() -> Bytes {
    zstd::encode_all(&jsonl()[..], 3).expect("in memory").into()
}

/// Counts what it is told, so that nothing is left out as unused.
#[derive(Default)]
struct Count(u64);

impl ScanSink for Count {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.0 += black_box(posting).row.0;
        Ok(())
    }

    fn gap(&mut self, _: RowGap) {
        unreachable!("the records are sound")
    }

    fn foreign_value(&mut self, _: RowNumber) {
        unreachable!("the records are sound")
    }
}

fn field() -> BoundFields {
    let field = IdentifierField {
        namespace: Namespace::new("user"),
        path: "user_id".parse().expect("a path"),
        kind: IdentifierType::String,
    };
    BoundFields::new(&[field], &DigestKey::new([3; 32]))
}

fn scan(bencher: Bencher<'_, '_>, object: Bytes, content_bytes: usize, format: FormatName) {
    let fields = field();
    let reading = Reading { format: Some(format), ..Reading::default() };
    bencher.counter(BytesCount::new(content_bytes)).bench(|| {
        let opened = detect::open(&object, &reading, &fields).expect("it is sound");
        let mut sink = Count::default();
        let rows = opened.format.scan(&object, &fields, &mut sink).expect("it is sound");
        (rows, sink.0)
    });
}

#[divan::bench]
fn scan_jsonl(bencher: Bencher<'_, '_>) {
    scan(bencher, jsonl(), jsonl().len(), FormatName::Jsonl);
}

#[divan::bench]
fn scan_csv(bencher: Bencher<'_, '_>) {
    scan(bencher, csv(), csv().len(), FormatName::Csv);
}

#[divan::bench]
fn scan_gzip_jsonl(bencher: Bencher<'_, '_>) {
    scan(bencher, gzip(), jsonl().len(), FormatName::Jsonl);
}

#[divan::bench]
fn scan_zstd_jsonl(bencher: Bencher<'_, '_>) {
    scan(bencher, zstd(), jsonl().len(), FormatName::Jsonl);
}

/// The limit of the two above: decompression and nothing else.
#[divan::bench]
fn inflate_gzip(bencher: Bencher<'_, '_>) {
    let object = gzip();
    bencher.counter(BytesCount::new(jsonl().len())).bench(|| {
        let mut decoder = flate2::read::MultiGzDecoder::new(&object[..]);
        std::io::copy(&mut decoder, &mut std::io::sink()).expect("it is sound")
    });
}

/// What the next one is spared: all of it once more.
#[divan::bench(sample_count = 5)]
fn deflate_gzip(bencher: Bencher<'_, '_>) {
    bencher.counter(BytesCount::new(jsonl().len())).bench(gzip);
}

/// The edit that erases five rows, the last of them at the end: to be held against `inflate_gzip`.
#[divan::bench]
fn erase_rows_of_gzip_jsonl(bencher: Bencher<'_, '_>) {
    let (object, fields) = (gzip(), field());
    let rows = [5, ROWS / 3, ROWS / 2, ROWS * 2 / 3, ROWS - 5];
    let field = fields.iter().next().expect("one field");
    let subject =
        |row: &u64| match field.digest(RawValue::Text(format!("{:022}", mixed(*row)).as_bytes())) {
            Digested::Identifier(digest) => digest,
            _ => unreachable!("the identifiers are sound"),
        };
    let order = BlankOrder {
        rows: RowSet::new(rows.map(RowNumber)).expect("rows"),
        subjects: Arc::new(rows.iter().map(subject).collect()),
        fields: fields.clone(),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    };
    let reading = Reading { format: Some(FormatName::Jsonl), ..Reading::default() };
    let format = detect::open(&object, &reading, &fields).expect("it is sound").format;
    bencher.counter(BytesCount::new(jsonl().len())).bench(|| {
        let blanking = format.blank(Arc::new(object.clone()), &order).expect("it is sound");
        assert_eq!(blanking.unmatched, []);
        blanking
            .edit
            .map(|edit| edit.map(|segment| segment.map_or(0, |it| it.size_bytes())).sum::<u64>())
    });
}

#[divan::bench]
fn inflate_zstd(bencher: Bencher<'_, '_>) {
    let object = zstd();
    bencher.counter(BytesCount::new(jsonl().len())).bench(|| {
        zstd::stream::copy_decode(&object[..], std::io::sink()).expect("it is sound");
    });
}

/// An identifier of 22 bytes, in bytes of its text.
#[divan::bench]
fn digest_an_identifier(bencher: Bencher<'_, '_>) {
    let fields = field();
    let field = fields.iter().next().expect("one field");
    let identifier = b"V34qejxNsCbcgD8C0HVk-Q";
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench(|| black_box(field.digest(RawValue::Text(black_box(identifier)))));
}

fn postings() -> Vec<PackedPosting> {
    let posting =
        |at| PackedPosting { subject: mixed(at / 3), object: at % 1000, row: mixed(at) % 100_000 };
    let mut postings: Vec<_> = (0..100_000).map(posting).collect();
    postings.sort_unstable();
    postings
}

fn pack(postings: &[PackedPosting]) -> Vec<u8> {
    let (mut builder, mut out) = (BlockBuilder::default(), Vec::new());
    for &posting in postings {
        if !builder.push(posting) {
            builder.finish(&mut out);
            builder.push(posting);
        }
    }
    builder.finish(&mut out);
    out
}

#[divan::bench]
fn pack_postings(bencher: Bencher<'_, '_>) {
    let postings = postings();
    bencher.counter(ItemsCount::new(postings.len())).bench(|| pack(black_box(&postings)));
}

#[divan::bench]
fn find_a_subject_in_a_block(bencher: Bencher<'_, '_>) {
    let postings = postings();
    let packed = pack(&postings);
    let subject = postings[100].subject;
    let mut found = Vec::new();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        found.clear();
        let block = Block::read(&packed[..4096]).expect("it is sound");
        block.find(black_box(subject), &mut found)
    });
}
