//! Lakes made from a seed, whose every row and owner is known: the naive oracle of the whole story.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, FrameDecoder, FrameEncoder, FrameInfo};
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// SplitMix64 (Steele, Lea, Flood 2014): one number replays a lake.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("an index fits")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Jsonl,
    Csv,
    Parquet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrap {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Lz4,
    Snappy,
}

const WRAPS: [Wrap; 6] =
    [Wrap::Plain, Wrap::Gzip, Wrap::Lz4, Wrap::Zstd, Wrap::Snappy, Wrap::Bzip2];

/// An object with everything that is known of it.
pub struct MadeObject {
    pub kind: Kind,
    pub wrap: Wrap,
    /// The key below the lake's root.
    pub key: String,
    /// What is stored.
    pub bytes: Vec<u8>,
    /// The owner of each row, by subject; `None`: nobody's.
    pub owners: Vec<Option<usize>>,
    /// Text formats: what stands before the first record.
    head: Vec<u8>,
    /// Text formats: each record with its line ending.
    records: Vec<Vec<u8>>,
}

impl MadeObject {
    /// The rows of these subjects, ascending.
    pub fn rows_of(&self, subjects: &[usize]) -> Vec<u64> {
        let owned = |owner: &Option<usize>| owner.is_some_and(|owner| subjects.contains(&owner));
        (0..).zip(&self.owners).filter(|(_, owner)| owned(owner)).map(|(row, _)| row).collect()
    }

    /// Text formats: what the object has to hold, decompressed, once the subjects are erased.
    pub fn expected_text(&self, erased: &[usize]) -> Vec<u8> {
        let mut text = self.head.clone();
        for (record, owner) in self.records.iter().zip(&self.owners) {
            match owner {
                Some(owner) if erased.contains(owner) => text.extend(blank(self.kind, record)),
                _ => text.extend(record),
            }
        }
        text
    }
}

/// The blank that formats.md promises for a record.
fn blank(kind: Kind, record: &[u8]) -> Vec<u8> {
    let end = record.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    let (content, ending) = record.split_at(end);
    let mut new = match kind {
        Kind::Jsonl => {
            let mut blank = b"{}".to_vec();
            blank.resize(content.len(), b' ');
            blank
        }
        Kind::Csv => b",".repeat(CSV_COLUMNS - 1),
        Kind::Parquet => unreachable!("Parquet has no records of text"),
    };
    new.extend(ending);
    new
}

/// A lake and the people in it.
pub struct MadeLake {
    pub objects: Vec<MadeObject>,
    pub subjects: Vec<Subject>,
}

/// One person, known by two identifiers and recognisable by a secret that stands in every row.
#[derive(Clone, Debug)]
pub struct Subject {
    pub user: String,
    pub email: String,
    pub secret: String,
}

impl Subject {
    /// Every byte string that must be gone.
    pub fn canaries(&self) -> [&str; 3] {
        [&self.user, &self.email, &self.secret]
    }
}

const CSV_COLUMNS: usize = 5;

/// The configuration that reads these lakes: the URL of the index, and the lake's root without a slash
/// at its end.
pub fn configuration(metastore: &str, location: &str, tail: &str) -> String {
    let dataset = |name: &str, user: &str, email: &str| {
        format!(
            "[[dataset]]\nname = \"{name}\"\nlocation = \"{location}/{name}/\"\n\
             [[dataset.identifier]]\nnamespace = \"user\"\nfield = \"{user}\"\ntype = \"string\"\n\
             [[dataset.identifier]]\nnamespace = \"email\"\nfield = \"{email}\"\ntype = \"email\"\n\n"
        )
    };
    format!(
        "[metastore]\nurl = \"{metastore}\"\n[ledger]\nlocation = \".lacuna/ledger\"\n\
         [identity]\nkey_file = \".lacuna/digest.key\"\n[plan]\nblast_radius = 100\n\n{}{}{}{tail}",
        dataset("events", "user.id", "user.contacts[*].email"),
        dataset("people", "user_id", "email"),
        dataset("facts", "owner.id", "owner.email"),
    )
}

/// A lake of `objects` objects with up to `rows` rows each, over `subjects` people.
pub fn make(seed: u64, objects: usize, rows: usize, subjects: usize) -> MadeLake {
    let mut random = Random(seed);
    let subjects: Vec<Subject> = (0..subjects).map(|at| subject(at, &mut random)).collect();
    let objects = (0..objects).map(|at| object(at, rows, &subjects, &mut random)).collect();
    MadeLake { objects, subjects }
}

fn subject(at: usize, random: &mut Random) -> Subject {
    let tag = |random: &mut Random| format!("{:012x}", random.below(1 << 48));
    Subject {
        user: format!("cuser{at}x{}", tag(random)),
        email: format!("cmail{at}x{}@example.org", tag(random)),
        secret: format!("csecret{at}x{}", tag(random)),
    }
}

fn object(at: usize, most: usize, subjects: &[Subject], random: &mut Random) -> MadeObject {
    let kind = [Kind::Jsonl, Kind::Csv, Kind::Parquet][at % 3];
    let wrap = match kind {
        Kind::Parquet => Wrap::Plain,
        // Shifted for CSV, so that a lake of few objects has each compression around either.
        _ => WRAPS[(at / 3 + at % 3 * 3) % WRAPS.len()],
    };
    let count = 1 + random.index(most);
    let owners: Vec<Option<usize>> =
        (0..count).map(|_| (random.below(5) > 0).then(|| random.index(subjects.len()))).collect();
    let day = random.below(28);
    let odd = ["", " with space", "+plus%25", "ünïcode", "a=b&c"][at % 5];
    let (folder, suffix) = match kind {
        Kind::Jsonl => ("events", "json"),
        Kind::Csv => ("people", "csv"),
        Kind::Parquet => ("facts", "parquet"),
    };
    let key = format!("{folder}/day={day}{odd}/part-{at}.{suffix}");
    let mut made = MadeObject {
        kind,
        wrap,
        key,
        bytes: Vec::new(),
        owners,
        head: Vec::new(),
        records: Vec::new(),
    };
    match kind {
        Kind::Parquet => made.bytes = parquet_file(&made.owners, subjects, random),
        _ => text_object(&mut made, subjects, random),
    }
    made
}

fn text_object(made: &mut MadeObject, subjects: &[Subject], random: &mut Random) {
    let ending: &[u8] = if random.below(2) == 0 { b"\n" } else { b"\r\n" };
    if made.kind == Kind::Csv {
        made.head = [b"\xef\xbb\xbfrow,user_id,note,email,secret", ending].concat();
    }
    let last = made.owners.len() - 1;
    for (row, owner) in made.owners.iter().enumerate() {
        let owner = owner.map(|owner| &subjects[owner]);
        let mut record = match made.kind {
            Kind::Jsonl => json_record(row, owner, random),
            _ => csv_record(row, owner, random),
        };
        if row < last || random.below(3) > 0 {
            record.extend(ending);
        }
        made.records.push(record);
    }
    let text = made.expected_text(&[]);
    made.bytes = wrapped(made.wrap, &text, random);
}

fn json_record(row: usize, owner: Option<&Subject>, random: &mut Random) -> Vec<u8> {
    let stranger = format!("stranger{}", random.below(1000));
    let Some(owner) = owner else {
        return match random.below(4) {
            0 => b"{}".to_vec(),
            1 => format!("{{\"row\":{row},\"user\":null,\"note\":\"\\ud83d\\ude00 caf\u{e9}\"}}")
                .into(),
            2 => {
                format!("{{\"user\":{{\"id\":\"\",\"contacts\":[]}},\"id\":\"{stranger}\"}}").into()
            }
            _ => format!("{{\"user\":{{\"id\":\"{stranger}\"}},\"n\":1e400,\"row\":{row}}}").into(),
        };
    };
    let Subject { user, email, secret } = owner;
    let escaped = format!("\\u{:04x}{}", u32::from(user.as_bytes()[0]), &user[1..]);
    match random.below(4) {
        0 => format!("{{\"row\":{row},\"user\":{{\"id\":\"{user}\",\"name\":\"{secret}\"}}}}"),
        1 => format!("{{\"user\":{{\"id\":\"{escaped}\"}},\"a\":[1,{{\"id\":2}}],\"s\":\"{secret}\"}}"),
        2 => format!(
            "{{ \"user\" : {{\"contacts\":[{{\"phone\":1}},{{\"email\":\"{}\"}}]}} ,\"s\":\"{secret}\"}}",
            email.to_uppercase()
        ),
        _ => format!("{{\"user\":{{\"id\":\"{stranger}\",\"id\":\"{user}\"}},\"s\":\"{secret}\\n\"}}"),
    }
    .into()
}

fn csv_record(row: usize, owner: Option<&Subject>, random: &mut Random) -> Vec<u8> {
    let Some(Subject { user, email, secret }) = owner else {
        return format!("{row},stranger{},\"a \"\"note\"\"\nof two lines\",,x", random.below(1000))
            .into();
    };
    match random.below(3) {
        0 => format!("{row},{user},plain,,{secret}"),
        1 => format!("{row},\"{user}\",\"with, comma\",{email},\"{secret}\""),
        _ => format!("{row},,\"line\r\nbreak\",\"{}\",{secret}", email.to_uppercase()),
    }
    .into()
}

/// The text in one to three members or frames.
fn wrapped(wrap: Wrap, text: &[u8], random: &mut Random) -> Vec<u8> {
    if wrap == Wrap::Plain {
        return text.to_vec();
    }
    let pieces = 1 + random.index(3);
    let length = text.len().div_ceil(pieces).max(1);
    text.chunks(length).flat_map(|piece| compressed(wrap, piece)).collect()
}

fn compressed(wrap: Wrap, piece: &[u8]) -> Vec<u8> {
    match wrap {
        Wrap::Plain => piece.to_vec(),
        Wrap::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(piece).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        Wrap::Zstd => zstd::encode_all(piece, 3).expect("memory takes it"),
        Wrap::Bzip2 => {
            let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::best());
            encoder.write_all(piece).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        Wrap::Lz4 => {
            let info = FrameInfo::new().block_mode(BlockMode::Linked).content_checksum(true);
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(piece).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        Wrap::Snappy => {
            let mut bytes = Vec::new();
            let mut encoder = snap::read::FrameEncoder::new(piece);
            encoder.read_to_end(&mut bytes).expect("memory takes it");
            bytes
        }
    }
}

/// What an object of text holds, decompressed.
pub fn unwrapped(wrap: Wrap, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match wrap {
        Wrap::Plain => return bytes.to_vec(),
        Wrap::Gzip => MultiGzDecoder::new(bytes).read_to_end(&mut text),
        Wrap::Zstd => return zstd::decode_all(bytes).expect("whole zstd frames"),
        Wrap::Bzip2 => MultiBzDecoder::new(bytes).read_to_end(&mut text),
        Wrap::Lz4 => return unlz4(bytes),
        Wrap::Snappy => snap::read::FrameDecoder::new(bytes).read_to_end(&mut text),
    }
    .expect("whole streams");
    text
}

/// The decoder stops at the end of each frame.
fn unlz4(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut decoder = FrameDecoder::new(bytes);
    while !decoder.get_ref().is_empty() {
        decoder.read_to_end(&mut text).expect("whole lz4 frames");
    }
    text
}

const FACTS: &str = "message fact { required int64 row; optional group owner { optional binary id (UTF8); \
    optional binary email (UTF8); } optional binary secret (UTF8); required binary place; }";

fn parquet_file(owners: &[Option<usize>], subjects: &[Subject], random: &mut Random) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(FACTS).expect("a schema"));
    let codec = match random.below(3) {
        0 => Codec::SNAPPY,
        1 => Codec::ZSTD(ZstdLevel::default()),
        _ => Codec::UNCOMPRESSED,
    };
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_writer_version(
            [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0][random.index(2)],
        )
        .set_dictionary_enabled(random.below(2) == 0)
        .set_bloom_filter_enabled(random.below(2) == 0)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_data_page_row_count_limit(16)
        .set_write_batch_size(8)
        .build();
    let mut writer =
        SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).expect("a writer");
    let mut first = 0;
    for group in owners.chunks(1 + owners.len() / (1 + random.index(3))) {
        row_group(&mut writer, first, group, subjects);
        first += group.len();
    }
    writer.into_inner().expect("a footer")
}

/// One of a subject's texts.
type Text = fn(&Subject) -> &str;

fn row_group(
    writer: &mut SerializedFileWriter<Vec<u8>>,
    first: usize,
    owners: &[Option<usize>],
    subjects: &[Subject],
) {
    let mut group = writer.next_row_group().expect("a row group");
    let mut column = group.next_column().expect("a column").expect("row");
    let numbers: Vec<i64> = (first..first + owners.len()).map(|row| row as i64).collect();
    column.typed::<Int64Type>().write_batch(&numbers, None, None).expect("numbers");
    column.close().expect("a chunk");
    let people: Vec<Option<&Subject>> =
        owners.iter().map(|owner| owner.map(|owner| &subjects[owner])).collect();
    // The deepest level of each optional text, and what of a subject stands in it.
    let texts: [(i16, Text); 3] = [(2, |of| &of.user), (2, |of| &of.email), (1, |of| &of.secret)];
    for (level, text) in texts {
        let levels: Vec<i16> =
            people.iter().map(|of| if of.is_some() { level } else { 0 }).collect();
        let values: Vec<ByteArray> = people
            .iter()
            .flatten()
            .map(|of| ByteArray::from(text(of).as_bytes().to_vec()))
            .collect();
        let mut column = group.next_column().expect("a column").expect("a text");
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).expect("texts");
        column.close().expect("a chunk");
    }
    let mut column = group.next_column().expect("a column").expect("place");
    let place =
        |of: &Option<&Subject>| of.map_or("nowhere", |of| &of.secret[..]).as_bytes().to_vec();
    let places: Vec<ByteArray> = people.iter().map(|of| ByteArray::from(place(of))).collect();
    column.typed::<ByteArrayType>().write_batch(&places, None, None).expect("places");
    column.close().expect("a chunk");
    group.close().expect("a row group");
}

/// Everything an object's bytes can be made to show: the bytes themselves, decompressed text, and
/// every decompressed page of Parquet.
pub fn everything_in(made: &MadeObject, bytes: &[u8]) -> Vec<u8> {
    let mut all = bytes.to_vec();
    match made.kind {
        Kind::Parquet => all.extend(pages(bytes)),
        _ => all.extend(unwrapped(made.wrap, bytes)),
    }
    all
}

fn pages(bytes: &[u8]) -> Vec<u8> {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(bytes)).expect("Parquet");
    let mut all = Vec::new();
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).expect("a row group");
        for column in 0..group.num_columns() {
            let mut pages = group.get_column_page_reader(column).expect("pages");
            while let Some(page) = pages.get_next_page().expect("a page") {
                all.extend_from_slice(page.buffer());
            }
        }
    }
    all
}

/// Whether `needle` stands in `haystack`.
pub fn holds(haystack: &[u8], needle: &str) -> bool {
    memchr::memmem::find(haystack, needle.as_bytes()).is_some()
}
