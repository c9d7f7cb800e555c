//! Postings packed into segments: blocks of the packed codec, without their last zeros. It knows
//! numbers and bytes, and the two statements that carry them; never an object's key.

use std::collections::HashMap;
use std::pin::pin;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::SinkExt as _;

use super::failure::{Attempt, damaged};
use super::pool::Session;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::block::{BLOCK_BYTES, Block, BlockBuilder};

/// Two segments, with what a row costs beside them, fill a page of 8 KiB.
const SPARED_BYTES: u16 = 72;

/// How many bytes a message of a COPY has.
const MESSAGE: usize = 256 * 1024;

/// A subject's number as the database sorts it: signed numbers in the order of unsigned ones.
pub(super) fn key_of(number: u64) -> i64 {
    (number ^ (1 << 63)).cast_signed()
}

/// The subject that a key stands for.
pub(super) fn number_of(key: i64) -> u64 {
    key.cast_unsigned() ^ (1 << 63)
}

/// A segment to be stored.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) first: i64,
    pub(super) bytes: Bytes,
}

/// Packs postings of ascending subjects.
#[derive(Debug)]
pub(super) struct Packer {
    builder: BlockBuilder,
    bytes: Vec<u8>,
    full: Vec<Segment>,
    /// How many were taken.
    pub(super) postings: u64,
}

impl Packer {
    pub(super) fn new() -> Self {
        let builder = BlockBuilder::sparing(SPARED_BYTES);
        Self { builder, bytes: Vec::new(), full: Vec::new(), postings: 0 }
    }

    pub(super) fn push(&mut self, posting: PackedPosting) {
        if !self.builder.push(posting) {
            self.cut();
            self.builder.push(posting);
        }
        self.postings += 1;
    }

    fn cut(&mut self) {
        let Some((first, _)) = self.builder.subjects() else { return };
        self.bytes.clear();
        self.builder.finish(&mut self.bytes);
        let length = self.bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let bytes = Bytes::copy_from_slice(&self.bytes[..length]);
        self.full.push(Segment { first: key_of(first), bytes });
    }

    /// The segments that are full by now.
    pub(super) fn take_full(&mut self) -> Vec<Segment> {
        std::mem::take(&mut self.full)
    }

    /// The last segments.
    pub(super) fn finish(mut self) -> Vec<Segment> {
        self.cut();
        self.full
    }
}

/// A segment as it was stored, with the zeros that it was stored without.
pub(super) struct Stored([u8; BLOCK_BYTES]);

impl Stored {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, MetastoreError> {
        let mut stored = Self([0; BLOCK_BYTES]);
        let place = stored.0.get_mut(..bytes.len()).ok_or_else(|| damaged("a segment"))?;
        place.copy_from_slice(bytes);
        Ok(stored)
    }

    /// Its block, the checksum proved.
    pub(super) fn block(&self) -> Result<Block<'_>, MetastoreError> {
        Block::read(&self.0).map_err(|_| damaged("a segment"))
    }
}

/// Begins a run; a `owner` keeps it to itself.
pub(super) async fn begin_run(session: &Session, owner: Option<i64>) -> Attempt<i64> {
    let sql = "INSERT INTO lacuna_runs (owner, segments, postings) VALUES ($1, 0, 0) RETURNING id";
    let rows = session.query(sql, &[&owner]).await?;
    rows.first().map(|row| row.get(0)).ok_or_else(|| damaged("no run").into())
}

/// Notes how large a run has become.
pub(super) async fn end_run(
    session: &Session,
    run: i64,
    (segments, postings): (i32, u64),
) -> Attempt<()> {
    let sql = "UPDATE lacuna_runs SET segments = $2, postings = $3 WHERE id = $1";
    session.execute(sql, &[&run, &i64::from(segments), &postings.cast_signed()]).await.map(drop)
}

/// Stores segments of a run, numbered from `first` on. Answers the number after the last.
pub(super) async fn store(
    session: &Session,
    run: i64,
    first: i32,
    segments: &[Segment],
) -> Attempt<i32> {
    const COPY: &str =
        "COPY lacuna_segments (run, first, number, segment) FROM STDIN (FORMAT binary)";
    if segments.is_empty() {
        return Ok(first);
    }
    let mut sink = pin!(session.client.copy_in::<_, Bytes>(COPY).await?);
    let mut message = BytesMut::with_capacity(MESSAGE + BLOCK_BYTES + 64);
    // The signature of the format, no flags, no extension of the header.
    message.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
    let mut number = first;
    for segment in segments {
        message.put_i16(4);
        message.put_i32(8);
        message.put_i64(run);
        message.put_i32(8);
        message.put_i64(segment.first);
        message.put_i32(4);
        message.put_i32(number);
        message.put_u32(u32::try_from(segment.bytes.len()).unwrap_or(u32::MAX));
        message.put_slice(&segment.bytes);
        number = number.checked_add(1).ok_or_else(|| damaged("a run of too many segments"))?;
        if message.len() >= MESSAGE {
            sink.feed(message.split().freeze()).await?;
            message.reserve(MESSAGE + BLOCK_BYTES + 64);
        }
    }
    message.put_i16(-1);
    sink.feed(message.freeze()).await?;
    sink.finish().await?;
    Ok(number)
}

/// Stores a run of these segments.
pub(super) async fn store_run(
    session: &Session,
    owner: Option<i64>,
    segments: &[Segment],
    postings: u64,
) -> Attempt<i64> {
    let run = begin_run(session, owner).await?;
    let count = store(session, run, 0, segments).await?;
    end_run(session, run, (count, postings)).await?;
    Ok(run)
}

/// Removes runs with their segments.
pub(super) async fn remove_runs(session: &Session, runs: &[i64]) -> Attempt<()> {
    session.execute("DELETE FROM lacuna_segments WHERE run = ANY($1)", &[&runs]).await?;
    session.execute("DELETE FROM lacuna_runs WHERE id = ANY($1)", &[&runs]).await.map(drop)
}

/// Where a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) run: i64,
    pub(super) first: i64,
    pub(super) number: i32,
}

/// The segments that may hold postings of these subjects, each once, and whose they may be.
pub(super) async fn covering(
    session: &Session,
    subjects: &[u64],
) -> Attempt<HashMap<Place, (Bytes, Vec<usize>)>> {
    const PLACES: &str = "
        SELECT wanted.position, runs.id, found.first, found.number
        FROM unnest($1::bigint[]) WITH ORDINALITY wanted (subject, position)
        JOIN lacuna_runs runs ON runs.owner IS NULL
        CROSS JOIN LATERAL (
            (SELECT first, number FROM lacuna_segments WHERE run = runs.id AND first < wanted.subject
             ORDER BY first DESC, number DESC LIMIT 1)
            UNION ALL
            (SELECT first, number FROM lacuna_segments WHERE run = runs.id AND first = wanted.subject)
        ) found";
    const SEGMENTS: &str = "
        SELECT position, segments.segment
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[])
            WITH ORDINALITY place (run, first, number, position)
        JOIN lacuna_segments segments USING (run, first, number)";
    let keys: Vec<i64> = subjects.iter().map(|subject| key_of(*subject)).collect();
    let mut places: HashMap<Place, Vec<usize>> = HashMap::new();
    for row in session.query(PLACES, &[&keys]).await? {
        let position = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let place = Place { run: row.get(1), first: row.get(2), number: row.get(3) };
        places.entry(place).or_default().push(position);
    }
    let mut places: Vec<(Place, Vec<usize>)> = places.into_iter().collect();
    places.sort_unstable_by_key(|(place, _)| *place);
    let runs: Vec<i64> = places.iter().map(|(place, _)| place.run).collect();
    let firsts: Vec<i64> = places.iter().map(|(place, _)| place.first).collect();
    let numbers: Vec<i32> = places.iter().map(|(place, _)| place.number).collect();
    let mut found = HashMap::with_capacity(places.len());
    for row in session.query(SEGMENTS, &[&runs, &firsts, &numbers]).await? {
        let position = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
        let Some((place, wanted)) = places.get_mut(position) else { continue };
        let bytes = Bytes::copy_from_slice(row.get::<_, &[u8]>(1));
        found.insert(*place, (bytes, std::mem::take(wanted)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn subjects_sort_as_digests_do() {
        let subjects = [0, 1, u64::MAX >> 1, 1 << 63, u64::MAX];
        assert!(subjects.map(key_of).is_sorted());
        assert_eq!(subjects.map(key_of).map(number_of), subjects);
        assert_eq!((key_of(0), key_of(u64::MAX)), (i64::MIN, i64::MAX));
    }

    fn is_refused(bytes: &[u8]) -> bool {
        Stored::new(bytes).is_ok_and(|stored| stored.block().is_err())
    }

    fn postings() -> impl Strategy<Value = Vec<PackedPosting>> {
        let subject = prop_oneof![0..50_u64, any::<u64>()];
        let object = prop_oneof![0..9_u64, 0..1_u64 << 40];
        let row = prop_oneof![0..9_u64, any::<u64>()];
        let posting = (subject, object, row).prop_map(|(subject, object, row)| PackedPosting {
            subject,
            object,
            row,
        });
        proptest::collection::vec(posting, 0..3000).prop_map(|mut postings| {
            postings.sort_unstable();
            postings.dedup();
            postings
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn segments_hold_what_was_packed_and_fit_twice_into_a_page(postings in postings()) {
            let mut packer = Packer::new();
            postings.iter().for_each(|posting| packer.push(*posting));
            prop_assert_eq!(packer.postings, postings.len() as u64);
            let segments = packer.finish();
            prop_assert!(segments.is_sorted_by_key(|segment| segment.first));
            let mut unpacked = Vec::new();
            for segment in &segments {
                // Two rows of 24 bytes of header, 24 of columns, and a pointer of 4 each.
                prop_assert!(segment.bytes.len() <= (8192 - 24) / 2 - 4 - 48);
                let stored = Stored::new(&segment.bytes).expect("it fits");
                let block = stored.block().expect("whole");
                prop_assert_eq!(key_of(block.first_subject()), segment.first);
                prop_assert_eq!(number_of(segment.first), block.first_subject());
                unpacked.extend(block.postings());
            }
            prop_assert_eq!(unpacked, postings);
        }

        /// Hazard D10: damage is noticed, whatever bit it strikes.
        #[test]
        fn a_damaged_segment_is_refused(postings in postings(), at in any::<usize>()) {
            let mut packer = Packer::new();
            postings.iter().for_each(|posting| packer.push(*posting));
            for segment in packer.finish() {
                let mut bytes = segment.bytes.to_vec();
                let bit = at % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(is_refused(&bytes));
                bytes.truncate(bit / 8);
                prop_assert!(is_refused(&bytes));
            }
            prop_assert!(Stored::new(&[1; BLOCK_BYTES + 1]).is_err());
        }
    }
}
