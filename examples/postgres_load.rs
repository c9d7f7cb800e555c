//! Loads random postings into an empty PostgreSQL metastore and looks subjects up again:
//!
//! ```text
//! createdb lacuna_bench
//! cargo run --release --example postgres_load -- postgres://user@host/lacuna_bench 10000000
//! ```
//!
//! Postings are of random subjects, a third as many as postings, in objects of 100,000 rows; eight
//! objects are recorded at once.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lacuna::domain::Timestamp;
use lacuna::domain::dataset::{Compression, DatasetName, FormatName, ScanSettings};
use lacuna::domain::identifier::IdentifierDigest;
use lacuna::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use lacuna::domain::posting::{RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject};
use lacuna::domain::row::{RowCount, RowNumber};
use lacuna::metastore::Metastore;
use lacuna::metastore::postgres::{Postgres, PostgresSettings};

const ROWS: u64 = 100_000;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(postings)) = (arguments.next(), arguments.next()) else {
        return Err("usage: postgres_load URL POSTINGS".into());
    };
    let postings: u64 = postings.parse()?;
    let settings = PostgresSettings::new(&url, None)?;
    let metastore = Arc::new(Postgres::new(settings.clone()));
    metastore.migrate().await?;
    let subjects = postings / 3;
    let began = Instant::now();
    stream::iter(0..postings / ROWS)
        .map(|part| Ok((part, metastore.clone())))
        .try_for_each_concurrent(8, async |(part, metastore)| {
            load(&metastore, part, subjects).await
        })
        .await?;
    let took = began.elapsed();
    let size = metastore.size().await?;
    println!("loaded      {} postings in {took:.1?}", size.postings);
    println!("            {:.0} postings/s", size.postings as f64 / took.as_secs_f64());
    println!("            {:.1} bytes a posting", size.size_bytes as f64 / size.postings as f64);
    let fresh = Postgres::new(settings);
    look_up(&fresh, subjects, "as loaded").await?;
    let began = Instant::now();
    metastore.scrub().await?;
    let size = metastore.size().await?;
    println!("scrubbed    in {:.1?}", began.elapsed());
    println!("            {:.1} bytes a posting", size.size_bytes as f64 / size.postings as f64);
    look_up(&fresh, subjects, "scrubbed").await
}

async fn load(metastore: &Postgres, part: u64, subjects: u64) -> Result<()> {
    let scanned = scanned(part)?;
    let mut recorder = metastore.record(&DatasetName::new("bench"), &scanned.object).await?;
    let mut random = part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let postings = (0..ROWS).map(|row| {
        random = mixed(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        RowPosting { digest: digest(random % subjects), row: RowNumber(row) }
    });
    recorder.append(postings.collect()).await?;
    Ok(recorder.commit(scanned).await?)
}

async fn look_up(metastore: &Postgres, subjects: u64, when: &str) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    for number in 0..4000_u64 {
        let began = Instant::now();
        let found: Vec<_> =
            metastore.lookup(&[digest(mixed(number) % subjects)]).try_collect().await?;
        // The first ones prepare statements and warm the caches.
        if number >= 1000 {
            times.push(began.elapsed());
        }
        drop(found);
    }
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("lookup      {when}: p50 {median:.0?}, p99 {late:.0?}");
    for _ in 0..3 {
        let many: Vec<_> = (0..10_000).map(|number| digest(mixed(!number) % subjects)).collect();
        let began = Instant::now();
        let found: Vec<_> = metastore.lookup(&many).try_collect().await?;
        println!("10,000      {when}: {:.0?}, {} postings", began.elapsed(), found.len());
    }
    Ok(())
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
fn mixed(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn digest(subject: u64) -> IdentifierDigest {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(subject + 1).to_be_bytes());
    bytes[8..].copy_from_slice(&mixed(!subject).to_be_bytes());
    IdentifierDigest::from_bytes(bytes)
}

fn scanned(part: u64) -> Result<ScannedObject> {
    let moment: Timestamp = "2026-03-01T12:00:00Z".parse()?;
    Ok(ScannedObject {
        object: ObjectVersion {
            key: ObjectKey::from(format!("year=2026/part-{part:08}.json.gz").as_str()),
            version: VersionId::null(),
            etag: ETag::new(format!("\"{:032x}\"", mixed(part))),
            size_bytes: 50 << 20,
            modified_at: moment,
        },
        settings: ScanSettings::new("0123456789abcdef"),
        scanned_at: moment,
        outcome: ScanOutcome::Indexed(ScanSummary {
            format: FormatName::Jsonl,
            compression: Compression::Gzip,
            rows: RowCount(ROWS),
            gaps: RowGaps::default(),
            foreign_values: 0,
            landmarks: Default::default(),
        }),
    })
}
