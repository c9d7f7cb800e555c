//! What a write has written, byte for byte, so that the store can be held to it.
//!
//! The rows that an edit touches are compared by their content elsewhere. This module knows no rows: new
//! bytes are read back and compared by digest, and of what the store copied some places are, which were
//! read in the old version before the write. The digest is XXH3 of 128 bits: it finds what a fault changed,
//! lives as long as the run, and takes a tenth of what SHA-256 takes.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use twox_hash::XxHash3_128;

use crate::domain::edit::{Edit, Segment};
use crate::domain::object::ObjectVersion;
use crate::lake::{Lake, LakeError, OperationId};

/// How many places of the old version are compared with the new one.
const SAMPLES: usize = 8;

/// How long each of them is, in bytes.
const SAMPLE_BYTES: u64 = 4 << 10;

/// Clones share what is recorded.
#[derive(Clone)]
pub(super) struct Seal {
    samples: Arc<[Sample]>,
    written: Arc<Mutex<Recording>>,
}

/// A place of the old version.
struct Sample {
    range: Range<u64>,
    digest: u128,
}

#[derive(Default)]
struct Recording {
    /// How long the new object is so far.
    size_bytes: u64,
    /// Runs of new bytes, by their place in the new object.
    runs: Vec<(Range<u64>, XxHash3_128)>,
    /// Ranges of the old object, and where they come to lie.
    copies: Vec<(Range<u64>, u64)>,
}

impl Recording {
    fn take(&mut self, segment: &Segment) {
        let start = self.size_bytes;
        self.size_bytes = start.saturating_add(segment.size_bytes());
        match segment {
            Segment::Copy(range) => match self.copies.last_mut() {
                Some((last, at))
                    if last.end == range.start && *at + (last.end - last.start) == start =>
                {
                    last.end = range.end;
                }
                _ => self.copies.push((range.clone(), start)),
            },
            Segment::Bytes(bytes) => {
                match self.runs.last_mut() {
                    Some((run, _)) if run.end == start => run.end = self.size_bytes,
                    _ => self.runs.push((start..self.size_bytes, XxHash3_128::new())),
                }
                if let Some((_, digest)) = self.runs.last_mut() {
                    digest.write(bytes);
                }
            }
        }
    }

    /// Where a range of the old object lies in the new one, if all of it was copied.
    fn place(&self, old: &Range<u64>) -> Option<Range<u64>> {
        let within =
            |(copy, _): &&(Range<u64>, u64)| copy.start <= old.start && old.end <= copy.end;
        let (copy, at) = self.copies.iter().find(within)?;
        let start = at + (old.start - copy.start);
        Some(start..start + (old.end - old.start))
    }
}

impl Seal {
    /// Reads some places of the version that is about to be rewritten, chosen by the name of the write.
    pub(super) async fn of(
        lake: &dyn Lake,
        base: &ObjectVersion,
        operation: &OperationId,
    ) -> Result<Self, LakeError> {
        let mut samples = Vec::with_capacity(SAMPLES);
        for range in places(base.size_bytes, operation) {
            let digest = digest(lake, base, range.clone()).await?;
            samples.push(Sample { range, digest });
        }
        Ok(Self { samples: samples.into(), written: Arc::default() })
    }

    /// The same edit; whatever of it is consumed is recorded.
    pub(super) fn record(&self, edit: Edit) -> Edit {
        let written = self.written.clone();
        edit.observed(move |segment| {
            written.lock().unwrap_or_else(PoisonError::into_inner).take(segment);
        })
    }

    /// What is wrong with the new version, if it does not hold what was written.
    pub(super) async fn broken_by(
        &self,
        lake: &dyn Lake,
        object: &ObjectVersion,
    ) -> Result<Option<&'static str>, LakeError> {
        let (size_bytes, runs, samples) = self.expectations();
        if object.size_bytes != size_bytes {
            return Ok(Some("it has another length than was written"));
        }
        for (range, expected) in runs {
            if digest(lake, object, range).await? != expected {
                return Ok(Some("it does not hold the bytes that were written"));
            }
        }
        for (range, expected) in samples {
            if digest(lake, object, range).await? != expected {
                return Ok(Some("bytes that were to be copied have changed"));
            }
        }
        Ok(None)
    }

    #[expect(clippy::type_complexity, reason = "two lists of the same kind, taken apart at once")]
    fn expectations(&self) -> (u64, Vec<(Range<u64>, u128)>, Vec<(Range<u64>, u128)>) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let run =
            |(range, digest): &(Range<u64>, XxHash3_128)| (range.clone(), digest.finish_128());
        let sample = |sample: &Sample| Some((written.place(&sample.range)?, sample.digest));
        let runs = written.runs.iter().map(run).collect();
        (written.size_bytes, runs, self.samples.iter().filter_map(sample).collect())
    }
}

/// Places spread over an object, one in each of equal shares of it.
fn places(size_bytes: u64, operation: &OperationId) -> Vec<Range<u64>> {
    let share = size_bytes / SAMPLES as u64;
    if share < SAMPLE_BYTES {
        return Vec::from_iter((size_bytes > 0).then_some(0..size_bytes));
    }
    let seed = Sha256::digest(operation.as_str());
    let place = |(number, four): (usize, &[u8])| {
        let random = four.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let start = share * number as u64 + random % (share - SAMPLE_BYTES + 1);
        start..start + SAMPLE_BYTES
    };
    seed.chunks_exact(32 / SAMPLES).enumerate().map(place).collect()
}

async fn digest(
    lake: &dyn Lake,
    object: &ObjectVersion,
    range: Range<u64>,
) -> Result<u128, LakeError> {
    let mut digest = XxHash3_128::new();
    let mut pieces = lake.read(object, range).await?;
    while let Some(piece) = pieces.try_next().await? {
        digest.write(&piece);
    }
    Ok(digest.finish_128())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn places_lie_within_the_object_and_apart() {
        let operation = OperationId::new("0123456789abcdef0123456789abcdef");
        for size in [0, 1, 4096, 8 * 4096 - 1, 8 * 4096, 1 << 20, (1 << 40) + 7] {
            let places = places(size, &operation);
            assert!(places.iter().all(|place| place.end <= size && !place.is_empty()), "{size}");
            assert!(places.windows(2).all(|pair| pair[0].end <= pair[1].start), "{size}");
            assert_eq!(places.is_empty(), size == 0);
        }
    }

    #[test]
    fn neighbours_are_recorded_as_one() {
        let mut recording = Recording::default();
        for segment in [
            Segment::Copy(0..10),
            Segment::Copy(10..20),
            Segment::Bytes(Bytes::from_static(b"ab")),
            Segment::Bytes(Bytes::from_static(b"c")),
            Segment::Copy(25..40),
        ] {
            recording.take(&segment);
        }
        assert_eq!(recording.copies, [(0..20, 0), (25..40, 23)]);
        assert_eq!(recording.size_bytes, 38);
        let (range, digest) = &recording.runs[0];
        let expected = XxHash3_128::oneshot(b"abc");
        assert_eq!((range, digest.finish_128()), (&(20..23), expected));
        assert_eq!(recording.place(&(26..30)), Some(24..28));
        assert_eq!(recording.place(&(18..21)), None);
    }
}
