//! Scans a file of JSON lines or CSV again and again, and prints what it costs:
//!
//! ```text
//! cargo build --release --example scan_kernel
//! target/release/examples/scan_kernel FILE 20 memory user_id contact.email
//! ```
//!
//! `memory` reads the file once and scans its bytes, `file` reads it every time. For figures of one
//! thread, run it under `taskset -c 0`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use bytes::Bytes;
use lacuna::domain::dataset::Reading;
use lacuna::domain::field::{BoundFields, IdentifierField};
use lacuna::domain::identifier::{DigestKey, IdentifierType, Namespace};
use lacuna::domain::posting::{RowGap, RowPosting};
use lacuna::domain::row::RowNumber;
use lacuna::format::{ScanSink, Source, SourceError, Stopped, detect};
use rustix::buffer::spare_capacity;

struct Stored {
    file: File,
    size_bytes: u64,
}

impl Source for Stored {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let at = offset + bytes.len() as u64;
            let read = rustix::io::pread(&self.file, spare_capacity(&mut bytes), at);
            if read.map_err(SourceError::new)? == 0 {
                return Err(SourceError::new("the file became shorter"));
            }
        }
        bytes.truncate(length);
        Ok(bytes.into())
    }
}

#[derive(Default)]
struct Counts {
    postings: u64,
    gaps: u64,
    foreign: u64,
    mixed: u8,
}

impl ScanSink for Counts {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.postings += 1;
        self.mixed ^= posting.digest.as_bytes()[0];
        Ok(())
    }

    fn gap(&mut self, _: RowGap) {
        self.gaps += 1;
    }

    fn foreign_value(&mut self, _: RowNumber) {
        self.foreign += 1;
    }
}

/// Seconds of the processor that this process has used, system included, by /proc/self/stat.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let (Some(user), Some(system)) = (ticks(11), ticks(12)) else {
        return Err("/proc/self/stat is not as Linux writes it".into());
    };
    Ok((user + system) / 100.0)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, times, mode, paths @ ..] = &arguments[..] else {
        return Err("usage: scan_kernel FILE TIMES memory|file FIELD…".into());
    };
    let field = |path: &String| {
        Ok::<_, Box<dyn Error>>(IdentifierField {
            namespace: Namespace::new("user"),
            path: path.parse()?,
            kind: IdentifierType::String,
        })
    };
    let fields = paths.iter().map(field).collect::<Result<Vec<_>, _>>()?;
    let fields = BoundFields::new(&fields, &DigestKey::new([1; 32]));
    let source: Box<dyn Source> = match mode.as_str() {
        "memory" => Box::new(Bytes::from(std::fs::read(path)?)),
        _ => {
            let file = File::open(path)?;
            let size_bytes = file.metadata()?.len();
            Box::new(Stored { file, size_bytes })
        }
    };
    let format = detect::open(&*source, &Reading::default(), &fields)?.format;
    let times: u32 = times.parse()?;
    let (start, wall) = (processor_seconds()?, Instant::now());
    let (mut counts, mut rows) = (Counts::default(), 0);
    for _ in 0..times {
        rows += format.scan(&*source, &fields, &mut counts)?.0;
    }
    let (seconds, wall) = (processor_seconds()? - start, wall.elapsed().as_secs_f64());
    let megabytes = source.size_bytes() as f64 * f64::from(times) / 1e6;
    let Counts { postings, gaps, foreign, mixed } = counts;
    println!("{rows} rows, {postings} postings, {gaps} gaps, {foreign} foreign, {mixed}");
    println!("{seconds:.2} CPU s, {wall:.2} s, {:.0} MB a CPU second", megabytes / seconds);
    Ok(())
}
