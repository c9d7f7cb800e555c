//! The bytes of a part: new ones, and small ranges of the old object, read together where they lie
//! close to each other.

use std::ops::Range;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::Bucket;
use crate::domain::edit::Segment;
use crate::domain::object::ObjectVersion;
use crate::lake::{LakeError, LakeErrorKind};

/// Ranges no further apart than this are read in one request.
const GAP_MAX_BYTES: u64 = 256 << 10;

/// How many bytes may be read in vain, beside as many as are wanted.
const WASTE_FREE_BYTES: u64 = 4 << 20;

/// How many requests at once.
const READS_AT_ONCE: usize = 4;

impl Bucket {
    /// The pieces of a part as bytes.
    pub(super) async fn gather(
        &self,
        base: Option<&ObjectVersion>,
        pieces: Vec<Segment>,
    ) -> Result<Bytes, LakeError> {
        if let [Segment::Bytes(bytes)] = pieces.as_slice() {
            return Ok(bytes.clone());
        }
        let spans = spans(&pieces);
        let mut reads = Vec::with_capacity(spans.len());
        for (span, base) in spans.iter().zip(base.into_iter().cycle()) {
            reads.push(self.read_whole(base, span.clone()).boxed());
        }
        let read = stream::iter(reads).buffered(READS_AT_ONCE);
        let contents: Vec<Bytes> = read.try_collect().await?;
        let whole = assemble(&pieces, &spans, &contents);
        let size: u64 = pieces.iter().map(Segment::size_bytes).sum();
        if whole.len() as u64 != size {
            let text = format!("{size} bytes were to be put together, there are {}", whole.len());
            return Err(LakeError::new(LakeErrorKind::Corrupt, text));
        }
        Ok(whole)
    }
}

/// What to read for the copied pieces, in their order. Every piece lies in one span, those after it
/// in the same or a later one.
fn spans(pieces: &[Segment]) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    let (mut wanted, mut waste) = (0u64, 0u64);
    for piece in pieces {
        let Segment::Copy(range) = piece else { continue };
        wanted = wanted.saturating_add(range.end - range.start);
        if let Some(span) = spans.last_mut()
            && let Some(gap) = range.start.checked_sub(span.end)
            && gap <= GAP_MAX_BYTES
            && waste + gap <= wanted + WASTE_FREE_BYTES
        {
            waste += gap;
            span.end = range.end;
        } else {
            spans.push(range.clone());
        }
    }
    spans
}

/// Puts the pieces together from what was read for their spans.
fn assemble(pieces: &[Segment], spans: &[Range<u64>], contents: &[Bytes]) -> Bytes {
    let size: u64 = pieces.iter().map(Segment::size_bytes).sum();
    let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut read = spans.iter().zip(contents).peekable();
    for piece in pieces {
        match piece {
            Segment::Bytes(bytes) => whole.extend_from_slice(bytes),
            Segment::Copy(range) => {
                while read.next_if(|(span, _)| !holds(span, range)).is_some() {}
                let within = read.peek().and_then(|(span, content)| {
                    let start = usize::try_from(range.start - span.start).ok()?;
                    let end = usize::try_from(range.end - span.start).ok()?;
                    content.get(start..end)
                });
                whole.extend_from_slice(within.unwrap_or_default());
            }
        }
    }
    whole.into()
}

fn holds(span: &Range<u64>, range: &Range<u64>) -> bool {
    span.start <= range.start && range.end <= span.end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece() -> impl Strategy<Value = Segment> {
        prop_oneof![
            (0..1_000_000u64, 0..9_000u64)
                .prop_map(|(start, len)| Segment::Copy(start..start + len)),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Segment::Bytes(bytes.into())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn pieces_are_put_together_as_they_stand(
            mut pieces in prop::collection::vec(piece(), 0..40),
            is_ascending in any::<bool>(),
        ) {
            if is_ascending {
                pieces.sort_by_key(|piece| match piece {
                    Segment::Copy(range) => range.start,
                    Segment::Bytes(_) => 0,
                });
            }
            let old: Vec<u8> = (0..1_009_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
            let slice = |range: &Range<u64>| &old[range.start as usize..range.end as usize];
            let spans = spans(&pieces);
            let contents: Vec<Bytes> =
                spans.iter().map(|span| Bytes::copy_from_slice(slice(span))).collect();
            let expected: Vec<u8> = pieces
                .iter()
                .flat_map(|piece| match piece {
                    Segment::Copy(range) => slice(range).to_vec(),
                    Segment::Bytes(bytes) => bytes.to_vec(),
                })
                .collect();
            prop_assert_eq!(assemble(&pieces, &spans, &contents), expected);
            let read: u64 = spans.iter().map(|span| span.end - span.start).sum();
            let wanted: u64 = pieces.iter().map(Segment::size_bytes).sum();
            prop_assert!(read <= 2 * wanted + WASTE_FREE_BYTES);
        }
    }
}
