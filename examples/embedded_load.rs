//! Loads random postings into a new index in a folder, looks subjects up, and takes some out:
//!
//! ```text
//! cargo run --release --example embedded_load -- /tmp/index 100000000
//! ```
//!
//! Postings are of random subjects, a third as many as postings, in objects of 100,000 rows; 64 objects
//! are recorded at once, as `lacuna index` does. The CPU of making the postings counts as well: a run
//! with 0 for the third argument tells how much that is, as it records none of them.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use lacuna::domain::Timestamp;
use lacuna::domain::dataset::{Compression, DatasetName, FormatName, ScanSettings};
use lacuna::domain::identifier::IdentifierDigest;
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use lacuna::domain::posting::{RowGaps, RowPosting, ScanOutcome, ScanSummary, ScannedObject};
use lacuna::domain::row::{RowCount, RowNumber};
use lacuna::metastore::embedded::Embedded;
use lacuna::metastore::{Metastore, Succession};

const ROWS: u64 = 100_000;

/// How many postings are handed over at once, as a scan does.
const PIECE: u64 = 8192;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(folder), Some(postings)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: embedded_load FOLDER POSTINGS [0]".into());
    };
    let postings: u64 = postings.parse()?;
    let (folder, is_recorded) = (Path::new(folder), arguments.get(2).is_none());
    let subjects = (postings / 3).max(1);
    let index = Arc::new(Embedded::open(folder)?);
    let (began, cpu) = (Instant::now(), cpu());
    stream::iter(0..postings / ROWS)
        .map(|part| Ok((part, Arc::clone(&index))))
        .try_for_each_concurrent(64, async |(part, index)| {
            // On a task of its own, so that all cores take part.
            tokio::spawn(load(index, part, subjects, is_recorded)).await?
        })
        .await?;
    let (took, used) = (began.elapsed(), self::cpu() - cpu);
    println!("loaded      {postings} postings in {took:.1?}, {used:.1?} of CPU");
    println!("            {:.0} postings/s", postings as f64 / took.as_secs_f64());
    println!("            {:.0} ns of CPU a posting", used.as_nanos() as f64 / postings as f64);
    println!("            {} MiB resident at most", peak_mib());
    if !is_recorded {
        return Ok(());
    }
    tell_size(&index, "as loaded").await?;
    look_up(&Embedded::open(folder)?, subjects, "as loaded").await?;
    let (began, before) = (Instant::now(), self::cpu());
    index.compact().await?;
    println!("compacted   in {:.1?}, {:.1?} of CPU", began.elapsed(), self::cpu() - before);
    tell_size(&index, "compacted").await?;
    look_up(&Embedded::open(folder)?, subjects, "compacted").await?;
    erase(&index, subjects, 1).await?;
    erase(&index, subjects, 1000).await?;
    let began = Instant::now();
    let checked = index.check().await?;
    println!("checked     in {:.1?}: {:?}", began.elapsed(), checked.damage);
    Ok(())
}

async fn load(index: Arc<Embedded>, part: u64, subjects: u64, is_recorded: bool) -> Result<()> {
    let scanned = scanned(part)?;
    let mut recorder = index.record(&DatasetName::new("bench"), &scanned.object).await?;
    let mut random = part.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for first in (0..ROWS).step_by(usize::try_from(PIECE)?) {
        let rows = first..ROWS.min(first + PIECE);
        let piece: Vec<_> = rows
            .map(|row| {
                random = mixed(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
                RowPosting { digest: digest(random % subjects), row: RowNumber(row) }
            })
            .collect();
        if is_recorded {
            recorder.append(piece).await?;
        } else {
            std::hint::black_box(piece);
        }
    }
    Ok(recorder.commit(scanned).await?)
}

async fn tell_size(index: &Embedded, when: &str) -> Result<()> {
    let size = index.size().await?;
    let bytes = size.size_bytes as f64 / size.postings as f64;
    println!("size        {when}: {bytes:.2} bytes a posting, {:?} runs", size.runs.unwrap_or(0));
    Ok(())
}

async fn look_up(index: &Embedded, subjects: u64, when: &str) -> Result<()> {
    let mut times: Vec<Duration> = Vec::new();
    for number in 0..24_000_u64 {
        let began = Instant::now();
        let found: Vec<_> = index.lookup(&[digest(mixed(number) % subjects)]).try_collect().await?;
        // The first ones prepare statements and warm the caches.
        if number >= 4000 {
            times.push(began.elapsed());
        }
        drop(found);
    }
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    println!("lookup      {when}: p50 {median:.1?}, p99 {late:.1?}");
    for _ in 0..3 {
        let many: Vec<_> = (0..10_000).map(|number| digest(mixed(!number) % subjects)).collect();
        let began = Instant::now();
        let found: Vec<_> = index.lookup(&many).try_collect().await?;
        println!("10,000      {when}: {:.1?}, {} postings", began.elapsed(), found.len());
    }
    Ok(())
}

/// Takes subjects out of every object that they stand in, all at once.
async fn erase(index: &Embedded, subjects: u64, count: u64) -> Result<()> {
    let erased: Vec<_> = (0..count).map(|it| digest(mixed(it + count) % subjects)).collect();
    let found: Vec<_> = index.lookup(&erased).try_collect().await?;
    let mut orders: Vec<Succession> = Vec::new();
    for posting in found {
        match orders.iter_mut().find(|order| order.old == posting.object) {
            Some(order) => order.erased.push(posting.digest),
            None => orders.push(Succession {
                dataset: posting.dataset,
                new: ObjectVersion {
                    etag: ETag::new(format!("{}-{count}", posting.object.etag.as_str())),
                    ..posting.object.clone()
                },
                old: posting.object,
                erased: vec![posting.digest],
                keeps_old: false,
                landmarks: Landmarks::default(),
            }),
        }
    }
    let began = Instant::now();
    futures::future::try_join_all(orders.iter().map(|order| index.succeed(order))).await?;
    println!("purged      {count} subjects in {} objects: {:.0?}", orders.len(), began.elapsed());
    Ok(())
}

/// What this process has used of all cores.
fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
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
