//! The small lake of `lacuna demo`: invented people in reviews (JSON lines), orders (CSV) and clicks
//! (Parquet), plain and compressed, always the same.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use flate2::write::GzEncoder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Objects of each dataset; every third is gzip, every third zstd, the rest plain.
const OBJECTS_EACH: u64 = 9;

/// Rows of each object.
const ROWS_EACH: u64 = 400;

/// How many people there are.
const PEOPLE: u64 = 60;

/// The configuration of the demonstration.
pub const CONFIGURATION: &str = r#"[metastore]
url = "file:.lacuna/index"

[ledger]
location = ".lacuna/ledger"

[identity]
key_file = ".lacuna/digest.key"

[[dataset]]
name = "reviews"
location = "lake/reviews"
[[dataset.identifier]]
namespace = "user"
field = "author.id"
type = "string"
[[dataset.identifier]]
namespace = "email"
field = "author.contacts[*].email"
type = "email"
[dataset.erase]
keep = ["date"]

[[dataset]]
name = "orders"
location = "lake/orders"
[[dataset.identifier]]
namespace = "user"
field = "customer"
type = "string"
[[dataset.identifier]]
namespace = "email"
field = "email"
type = "email"

[[dataset]]
name = "clicks"
location = "lake/clicks"
[[dataset.identifier]]
namespace = "user"
field = "visitor.id"
type = "string"
"#;

/// The people whom the demonstration erases, as the request names them.
pub fn subjects() -> [String; 3] {
    [format!("user={}", user(3)), format!("email={}", email(17)), format!("user={}", user(42))]
}

/// Somebody who is still there when the three are erased.
pub fn another_subject() -> String {
    format!("user={}", user(7))
}

/// Writes the lake below `root`, which it creates.
///
/// # Errors
///
/// Whatever the file system answers.
pub fn write(root: &Path) -> io::Result<()> {
    let mut random = Random(2018);
    for number in 0..OBJECTS_EACH {
        let folder = format!("year=2026/month={}/day={}", 1 + number % 3, 1 + number * 3);
        let reviews = lines(&mut random, review);
        store(root, &format!("reviews/{folder}/part-{number}.json"), number, reviews.as_bytes())?;
        let orders = format!("order,date,customer,email,total\r\n{}", lines(&mut random, order));
        store(root, &format!("orders/{folder}/part-{number}.csv"), number, orders.as_bytes())?;
        let path = root.join(format!("clicks/{folder}/part-{number}.parquet"));
        clicks(&path, number, &mut random)?;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014): the lake is the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

const GIVEN: [&str; 12] = [
    "ann", "bela", "chidi", "dara", "emre", "fatou", "goro", "hana", "ines", "jose", "kofi", "lena",
];

fn user(person: u64) -> String {
    format!("u-{:08x}", Random(person).below(u64::from(u32::MAX)))
}

fn email(person: u64) -> String {
    format!("{}.{person}@example.org", Random(person).of(&GIVEN))
}

fn lines(random: &mut Random, line: fn(u64, &mut Random) -> String) -> String {
    (0..ROWS_EACH).map(|row| line(row, random)).collect()
}

fn date(random: &mut Random) -> String {
    format!("2026-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28))
}

fn review(_: u64, random: &mut Random) -> String {
    let person = random.below(PEOPLE);
    let word = random.of(&["splendid", "so-so", "late, but fine", "broken \\u2014 twice"]);
    format!(
        "{{\"date\":\"{}\",\"author\":{{\"id\":\"{}\",\"contacts\":[{{\"email\":\"{}\"}},\
         {{\"phone\":\"+49 {}\"}}]}},\"stars\":{},\"text\":\"{word}\"}}\n",
        date(random),
        user(person),
        email(person),
        random.below(10_000_000),
        1 + random.below(5),
    )
}

fn order(row: u64, random: &mut Random) -> String {
    let person = random.below(PEOPLE);
    let (user, email, date) = (user(person), email(person), date(random));
    let total = random.below(20_000);
    format!("{row},{date},{user},\"{email}\",\"{},{:02}\"\r\n", total / 100, total % 100)
}

fn clicks(path: &Path, number: u64, random: &mut Random) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    parquet_file(fs::File::create(path)?, number, random).map_err(io::Error::other)
}

fn parquet_file(file: fs::File, number: u64, random: &mut Random) -> Result<(), ParquetError> {
    let schema = parse_message_type(
        "message click { required int64 at (TIMESTAMP(MICROS, true)); \
         optional group visitor { optional binary id (UTF8); } optional binary page (UTF8); }",
    )?;
    let codec = match number % 3 {
        0 => Compression::SNAPPY,
        1 => Compression::ZSTD(ZstdLevel::default()),
        _ => Compression::UNCOMPRESSED,
    };
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
    let people: Vec<u64> = (0..ROWS_EACH).map(|_| random.below(PEOPLE)).collect();
    for half in people.chunks(people.len() / 2) {
        let mut group = writer.next_row_group()?;
        let mut column = group.next_column()?.ok_or_else(missing)?;
        let times: Vec<i64> = half.iter().map(|_| random.below(1 << 50).cast_signed()).collect();
        column.typed::<Int64Type>().write_batch(&times, None, None)?;
        column.close()?;
        let text = |text: String| ByteArray::from(text.into_bytes());
        let ids: Vec<ByteArray> = half.iter().map(|person| text(user(*person))).collect();
        let mut column = group.next_column()?.ok_or_else(missing)?;
        column.typed::<ByteArrayType>().write_batch(&ids, Some(&vec![2; half.len()]), None)?;
        column.close()?;
        let pages: Vec<ByteArray> =
            half.iter().map(|_| text(format!("/{}", random.of(&["", "cart", "help"])))).collect();
        let mut column = group.next_column()?.ok_or_else(missing)?;
        column.typed::<ByteArrayType>().write_batch(&pages, Some(&vec![1; half.len()]), None)?;
        column.close()?;
        group.close()?;
    }
    writer.close().map(|_| ())
}

fn missing() -> ParquetError {
    ParquetError::General("the schema has three columns".to_owned())
}

/// Stores an object plain, as gzip or as zstd, by its number, with the suffix that goes with it.
fn store(root: &Path, key: &str, number: u64, bytes: &[u8]) -> io::Result<()> {
    let (suffix, bytes) = match number % 3 {
        0 => ("", bytes.to_vec()),
        1 => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes)?;
            (".gz", encoder.finish()?)
        }
        _ => (".zst", zstd::encode_all(bytes, 0)?),
    };
    let path = root.join(format!("{key}{suffix}"));
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(path, bytes)
}
