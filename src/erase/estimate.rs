//! What a rewrite will take, reckoned before it from what the index knows: rather too much than too
//! little, and no promise. What it took, the audit says. Pure.

use crate::domain::dataset::{Compression, FormatName};
use crate::domain::edit::Way;
use crate::domain::landmark::Landmarks;
use crate::domain::object::ObjectVersion;
use crate::domain::plan::Estimate;
use crate::domain::posting::ScanSummary;
use crate::domain::row::RowSet;
use crate::lake::s3::{PART_MIN_BYTES, SINGLE_WRITE_LIMIT_BYTES};

/// What is written around a row of compressed text, in compressed bytes: the block before it, and blocks
/// to the end of the window of 32 KiB behind it.
const COMPRESSED_BYTES: u64 = 192 << 10;

/// How many rows a Parquet page has where the index does not tell: what most writers put in one.
const PAGE_ROWS: u64 = 20_000;

/// What is written beside the pages of a Parquet file: its footer.
const FOOTER_BYTES: u64 = 64 << 10;

/// Requests of any rewrite, wherever its rows are: a look before and after, places that are sampled
/// twice, the upload's beginning and end, the versions beneath.
const REQUESTS: u64 = 40;

/// Requests for each place that changes: reading it to blank it, for its fingerprint and for the
/// comparison, and its stage or part of the upload.
const REQUESTS_PER_PLACE: u64 = 12;

/// How an object lies in its store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lying<'a> {
    /// The version.
    pub(super) object: &'a ObjectVersion,
    /// What its scan found.
    pub(super) summary: &'a ScanSummary,
    /// Whether a server holds it, which joins parts of a least size.
    pub(super) asks_server: bool,
}

/// What the rewrite of these rows will take.
pub(super) fn estimate(lying: Lying<'_>, rows: &RowSet) -> Estimate {
    let Lying { object, summary, asks_server } = lying;
    let size_bytes = object.size_bytes;
    let way = way(summary.format, summary.compression);
    let mut places = match &way {
        Way::Object { .. } => std::iter::once(0..size_bytes).collect(),
        _ => places(lying, rows),
    };
    if asks_server {
        places = parts(places, size_bytes);
    }
    let new_bytes = places.iter().map(|place| place.end - place.start).fold(0, u64::saturating_add);
    let written_bytes = new_bytes.min(size_bytes);
    let requests = REQUESTS + REQUESTS_PER_PLACE * places.len() as u64;
    Estimate { way, written_bytes, copied_bytes: size_bytes - written_bytes, requests }
}

/// The cheapest way that is open to a format.
fn way(format: FormatName, compression: Compression) -> Way {
    match (format, compression) {
        (FormatName::Parquet, _) => Way::Pages,
        (_, Compression::None) => Way::Rows,
        (_, Compression::Gzip | Compression::Bzip2) => Way::Blocks,
        (_, Compression::Zstd | Compression::Lz4 | Compression::Snappy) => Way::Object {
            because: "it is compressed as one, unless it turns out to be in pieces".to_owned(),
        },
    }
}

/// The ranges of the object that change, ascending, as if all rows were of one length.
fn places(lying: Lying<'_>, rows: &RowSet) -> Vec<std::ops::Range<u64>> {
    let Lying { object, summary, .. } = lying;
    let (size_bytes, total) = (object.size_bytes, summary.rows.0.max(1));
    let group = match summary.format {
        FormatName::Parquet => page_rows(&summary.landmarks, total),
        _ => 1,
    };
    let byte = |row: u64| scaled(size_bytes, row.min(total), total);
    let around = match summary.compression {
        Compression::None => 0,
        _ => COMPRESSED_BYTES,
    };
    let mut places: Vec<std::ops::Range<u64>> = Vec::new();
    for row in rows.iter() {
        let first = row.0 - row.0 % group;
        let start = byte(first).saturating_sub(around / 2);
        let end = byte(first.saturating_add(group)).max(start + 1).saturating_add(around / 2);
        match places.last_mut() {
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => places.push(start..end),
        }
    }
    if summary.format == FormatName::Parquet {
        places.push(size_bytes.saturating_sub(FOOTER_BYTES)..size_bytes);
    }
    places
}

/// How many rows a page of the file has, as the pages of the identifier columns tell.
fn page_rows(landmarks: &Landmarks, total: u64) -> u64 {
    let columns = landmarks.columns.values();
    let pages = columns.map(|column| column.rows.len() as u64 + 1).min();
    pages.map_or(PAGE_ROWS, |pages| total.div_ceil(pages)).clamp(1, total)
}

/// What becomes of the places where an upload's parts have a least size, and a small object is written
/// in one.
fn parts(places: Vec<std::ops::Range<u64>>, size_bytes: u64) -> Vec<std::ops::Range<u64>> {
    if size_bytes < SINGLE_WRITE_LIMIT_BYTES {
        return std::iter::once(0..size_bytes).collect();
    }
    let mut parts: Vec<std::ops::Range<u64>> = Vec::new();
    for place in places {
        let end = place.end.max(place.start.saturating_add(PART_MIN_BYTES));
        match parts.last_mut() {
            // What lies between is too little to be copied.
            Some(last) if place.start < last.end.saturating_add(PART_MIN_BYTES) => {
                last.end = last.end.max(end);
            }
            _ => parts.push(place.start..end),
        }
    }
    parts
}

/// `part` of `total` of some bytes.
fn scaled(bytes: u64, part: u64, total: u64) -> u64 {
    let scaled = u128::from(bytes) * u128::from(part) / u128::from(total.max(1));
    u64::try_from(scaled).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::landmark::Landmark;
    use crate::domain::row::{RowCount, RowNumber};
    use crate::erase::random;

    const GIB: u64 = 1 << 30;

    fn reckoned(summary: &ScanSummary, size_bytes: u64, asks_server: bool) -> Estimate {
        let object = ObjectVersion { size_bytes, ..random::object("a", 0) };
        let rows = [0, 1, 500_000, 999_999].map(RowNumber);
        let rows = RowSet::new(rows).expect("not empty");
        estimate(Lying { object: &object, summary, asks_server }, &rows)
    }

    fn summary(format: FormatName, compression: Compression) -> ScanSummary {
        ScanSummary { format, compression, rows: RowCount(1_000_000), ..random::summary(0) }
    }

    #[test]
    fn text_is_written_by_the_row() {
        let text = summary(FormatName::Jsonl, Compression::None);
        let folder = reckoned(&text, GIB, false);
        assert_eq!((folder.way, folder.written_bytes), (Way::Rows, 4294));
        assert_eq!(folder.copied_bytes, GIB - folder.written_bytes);
        // The last part may be small, which is no reason to reckon less.
        assert_eq!(reckoned(&text, GIB, true).written_bytes, 3 * PART_MIN_BYTES);
        let small = reckoned(&text, SINGLE_WRITE_LIMIT_BYTES - 1, true);
        assert_eq!((small.copied_bytes, small.written_bytes), (0, SINGLE_WRITE_LIMIT_BYTES - 1));
    }

    #[test]
    fn pages_are_as_long_as_the_index_tells() {
        let mut parquet = summary(FormatName::Parquet, Compression::None);
        let unknown = reckoned(&parquet, GIB, false).written_bytes;
        assert!((GIB * 6 / 100..GIB * 7 / 100).contains(&unknown), "{unknown}");
        for page in 1..1000 {
            parquet
                .landmarks
                .push_page(0, Landmark { row: RowNumber(page * 1000), byte: page * GIB / 1000 });
        }
        let known = reckoned(&parquet, GIB, false).written_bytes;
        assert!(known < GIB / 200, "{known}");
    }

    #[test]
    fn what_is_compressed_as_one_is_written_as_one() {
        let lz4 = reckoned(&summary(FormatName::Csv, Compression::Lz4), GIB, true);
        assert_eq!((lz4.written_bytes, lz4.copied_bytes), (GIB, 0));
        let gzip = reckoned(&summary(FormatName::Csv, Compression::Gzip), GIB, false);
        assert!(gzip.written_bytes < 1 << 20 && gzip.way == Way::Blocks);
        let empty = reckoned(&summary(FormatName::Csv, Compression::None), 0, false);
        assert_eq!((empty.written_bytes, empty.copied_bytes), (0, 0));
    }
}
