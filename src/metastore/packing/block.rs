//! One block of packed postings: some hundreds of postings in 4 KiB, found without decoding them.
//!
//! ```text
//! 0   u32  CRC-32 of everything after it
//! 4   u16  postings               6   u16  subjects
//! 8   u64  the first subject      16  u8   low bits of a subject
//! 17  u8   bits of an object      18  u8   bits of a row       19  u8  zero
//! 20  u32  bits of the high parts
//! 24  u64  the lowest object      32  u64  the lowest row
//! 40  bits: a flag a posting (a subject begins), the high parts, the low parts, objects, rows; zeros
//! ```
//!
//! Integers are little-endian, bits run from the least significant. The distinct subjects are an
//! Elias-Fano list (Elias 1974, Fano 1971) of their distances from the first; objects and rows are
//! distances from the lowest of the block, each in equally many bits.

use std::ops::Range;

use super::bits::{BitReader, BitWriter, width_of};
use super::{Corrupt, PackedPosting};

/// The size of a block in bytes: a page of most disks and file systems.
pub const BLOCK_BYTES: usize = 4096;

const HEADER_BYTES: usize = 40;

/// Bits that the body of a block can hold.
const BODY_BITS: u64 = ((BLOCK_BYTES - HEADER_BYTES) * 8) as u64;

/// Collects ascending postings until a block is full.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    postings: Vec<PackedPosting>,
    subjects: u64,
    objects: Option<(u64, u64)>,
    rows: Option<(u64, u64)>,
    spared_bits: u64,
}

impl BlockBuilder {
    /// A builder that leaves this many bytes at the end of every block zero, for a store that keeps a
    /// block without its last zeros.
    pub fn sparing(bytes: u16) -> Self {
        Self { spared_bits: u64::from(bytes) * 8, ..Self::default() }
    }

    /// Takes a posting, if it still fits. Postings come in ascending order.
    pub fn push(&mut self, posting: PackedPosting) -> bool {
        let is_new = self.postings.last().is_none_or(|last| last.subject != posting.subject);
        let subjects = self.subjects + u64::from(is_new);
        let objects = widened(self.objects, posting.object);
        let rows = widened(self.rows, posting.row);
        let count = self.postings.len() as u64 + 1;
        let first = self.postings.first().map_or(posting.subject, |first| first.subject);
        let fixed = self.spared_bits + count * (1 + span_width(objects) + span_width(rows));
        let largest = posting.subject - first;
        // The bound needs no division, and is exceeded by the last postings of a block only.
        if fixed + SubjectList::bound(subjects, largest) > BODY_BITS
            && fixed + SubjectList::of(subjects, largest).total_bits() > BODY_BITS
            || count > u64::from(u16::MAX)
        {
            return false;
        }
        self.postings.push(posting);
        (self.subjects, self.objects, self.rows) = (subjects, Some(objects), Some(rows));
        true
    }

    /// The first and last subject, where there is any posting.
    pub fn subjects(&self) -> Option<(u64, u64)> {
        Some((self.postings.first()?.subject, self.postings.last()?.subject))
    }

    /// Appends the block of what was taken to `out`, and begins the next. Without a posting there is no
    /// block.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let Some((first, last)) = self.subjects() else { return };
        let ((lowest_object, _), (lowest_row, _)) =
            (self.objects.unwrap_or_default(), self.rows.unwrap_or_default());
        let object_bits = span_width(self.objects.unwrap_or_default());
        let row_bits = span_width(self.rows.unwrap_or_default());
        let list = SubjectList::of(self.subjects, last - first);
        let mut body = BitWriter::with_capacity(BLOCK_BYTES);
        let mut distinct = Vec::with_capacity(self.postings.len());
        for (at, posting) in self.postings.iter().enumerate() {
            let is_new = at == 0 || self.postings[at - 1].subject != posting.subject;
            body.push(u64::from(is_new), 1);
            if is_new {
                distinct.push(posting.subject - first);
            }
        }
        list.write(&distinct, &mut body);
        for posting in &self.postings {
            body.push(posting.object - lowest_object, object_bits);
        }
        for posting in &self.postings {
            body.push(posting.row - lowest_row, row_bits);
        }
        let start = out.len();
        out.extend([0; 4]);
        out.extend(low16(self.postings.len() as u64).to_le_bytes());
        out.extend(low16(self.subjects).to_le_bytes());
        out.extend(first.to_le_bytes());
        out.extend([list.low_bits, object_bits, row_bits].map(low8));
        out.push(0);
        out.extend(low32(list.high_bits).to_le_bytes());
        out.extend(lowest_object.to_le_bytes());
        out.extend(lowest_row.to_le_bytes());
        out.extend(body.finish());
        out.resize(start + BLOCK_BYTES, 0);
        seal(&mut out[start..]);
        self.postings.clear();
        (self.subjects, self.objects, self.rows) = (0, None, None);
    }
}

/// Appends a block without a posting: it stands where all that a block held was taken out.
pub fn push_empty(out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + BLOCK_BYTES, 0);
    seal(&mut out[start..]);
}

fn seal(block: &mut [u8]) {
    let checksum = crc32fast::hash(&block[4..]);
    block[..4].copy_from_slice(&checksum.to_le_bytes());
}

fn widened(span: Option<(u64, u64)>, value: u64) -> (u64, u64) {
    span.map_or((value, value), |(low, high)| (low.min(value), high.max(value)))
}

fn span_width((low, high): (u64, u64)) -> u64 {
    width_of(high - low)
}

// What is narrowed here was bounded by the size of a block before.
fn low8(value: u64) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn low16(value: u64) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn low32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// How an Elias-Fano list of ascending distances is laid out.
#[derive(Clone, Copy, Debug)]
struct SubjectList {
    count: u64,
    low_bits: u64,
    high_bits: u64,
}

impl SubjectList {
    /// The layout for `count` distances up to `largest`, which is one of them.
    fn of(count: u64, largest: u64) -> Self {
        let low_bits = (largest / count.max(1)).checked_ilog2().map_or(0, u64::from);
        Self { count, low_bits, high_bits: count + (largest >> low_bits) + 1 }
    }

    /// No fewer bits than the list of as many distances takes: the low part has at most
    /// `log2(largest) - log2(count)` bits, and then the high parts at most three a distance.
    fn bound(count: u64, largest: u64) -> u64 {
        let bits = |value: u64| value.checked_ilog2().map_or(0, u64::from);
        count * (3 + bits(largest).saturating_sub(bits(count))) + 2
    }

    fn total_bits(self) -> u64 {
        self.high_bits + self.count * self.low_bits
    }

    /// High parts in unary, each a one after as many zeros as it grew; then the low parts.
    fn write(self, distances: &[u64], out: &mut BitWriter) {
        let mut bucket = 0;
        for distance in distances {
            let high = distance >> self.low_bits;
            out.zeros(high - bucket);
            out.push(1, 1);
            bucket = high;
        }
        let used = distances.len() as u64 + bucket;
        out.zeros(self.high_bits - used);
        for distance in distances {
            out.push(distance & mask(self.low_bits), self.low_bits);
        }
    }
}

fn mask(bits: u64) -> u64 {
    1_u64.checked_shl(u32::try_from(bits).unwrap_or(u32::MAX)).map_or(u64::MAX, |over| over - 1)
}

/// A block as it was read, its checksum proved.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    bits: BitReader<'a>,
    count: u64,
    first: u64,
    list: SubjectList,
    object_bits: u64,
    row_bits: u64,
    lowest_object: u64,
    lowest_row: u64,
}

impl<'a> Block<'a> {
    /// Reads the header of a block.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] where the checksum is wrong or the header cannot be a block's.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Corrupt> {
        let (header, body) = bytes
            .split_at_checked(HEADER_BYTES)
            .filter(|_| bytes.len() == BLOCK_BYTES)
            .ok_or(Corrupt("a block is cut short"))?;
        if crc32fast::hash(&bytes[4..]) != u32::from_le_bytes(field(header, 0)) {
            return Err(Corrupt("the checksum of a block is wrong"));
        }
        let block = Self {
            bits: BitReader::new(body),
            count: u16::from_le_bytes(field(header, 4)).into(),
            first: u64::from_le_bytes(field(header, 8)),
            list: SubjectList {
                count: u16::from_le_bytes(field(header, 6)).into(),
                low_bits: header[16].into(),
                high_bits: u32::from_le_bytes(field(header, 20)).into(),
            },
            object_bits: header[17].into(),
            row_bits: header[18].into(),
            lowest_object: u64::from_le_bytes(field(header, 24)),
            lowest_row: u64::from_le_bytes(field(header, 32)),
        };
        block.is_sound().then_some(block).ok_or(Corrupt("a block's header is wrong"))
    }

    fn is_sound(&self) -> bool {
        let widths = [self.list.low_bits, self.object_bits, self.row_bits];
        let bits = self.count * (1 + self.object_bits + self.row_bits) + self.list.total_bits();
        let is_empty = self.count == 0 && self.list.count == 0 && self.list.high_bits == 0;
        (is_empty || (1..=self.count).contains(&self.list.count))
            && widths.iter().all(|bits| *bits <= 64)
            && bits <= BODY_BITS
    }

    /// The lowest subject; in an empty block it means nothing.
    pub fn first_subject(&self) -> u64 {
        self.first
    }

    /// Whether it holds no posting.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Appends the objects and rows of a subject to `out`. Answers whether postings of the subject
    /// may go on in the next block: it is the last of this one, or lies after it.
    pub fn find(&self, subject: u64, out: &mut Vec<(u64, u64)>) -> bool {
        let Some(distance) = subject.checked_sub(self.first) else { return false };
        match self.position_of(distance) {
            Some(position) => {
                let range = self.postings_of(position);
                let ends_block = range.end == self.count;
                out.extend(range.map(|at| (self.object(at), self.row(at))));
                ends_block
            }
            None => self.last_distance().is_none_or(|last| last < distance),
        }
    }

    /// Every posting, ascending.
    pub fn postings(&self) -> impl Iterator<Item = PackedPosting> + use<'a> {
        let block = *self;
        let mut distances = block.distances();
        let mut subject = block.first;
        (0..block.count).map(move |at| {
            if block.bits.get(at, 1) == 1 {
                subject = block.first.wrapping_add(distances.next().unwrap_or(0));
            }
            PackedPosting { subject, object: block.object(at), row: block.row(at) }
        })
    }

    fn object(&self, at: u64) -> u64 {
        let start = self.count + self.list.total_bits();
        self.lowest_object
            .wrapping_add(self.bits.get(start + at * self.object_bits, self.object_bits))
    }

    fn row(&self, at: u64) -> u64 {
        let start = self.count * (1 + self.object_bits) + self.list.total_bits();
        self.lowest_row.wrapping_add(self.bits.get(start + at * self.row_bits, self.row_bits))
    }

    /// The place of a distance in the list of subjects.
    fn position_of(&self, distance: u64) -> Option<u64> {
        let bucket = checked_shift(distance, self.list.low_bits);
        let high = self.count..self.count + self.list.high_bits;
        // Before the bucket stand `bucket` zeros, and as many ones as there are smaller distances.
        let mut at = self.bits.after_zeros(high.clone(), bucket)?;
        let mut position = at - high.start - bucket;
        while at < high.end && self.bits.get(at, 1) == 1 {
            if self.low_part(position) == distance & mask(self.list.low_bits) {
                return Some(position);
            }
            (at, position) = (at + 1, position + 1);
        }
        None
    }

    fn low_part(&self, position: u64) -> u64 {
        let start = self.count + self.list.high_bits;
        self.bits.get(start + position * self.list.low_bits, self.list.low_bits)
    }

    fn last_distance(&self) -> Option<u64> {
        let position = self.list.count.checked_sub(1)?;
        let high = self.count..self.count + self.list.high_bits;
        let bucket =
            self.bits.one_at(high.clone(), position)?.checked_sub(high.start + position)?;
        Some(checked_unshift(bucket, self.list.low_bits) | self.low_part(position))
    }

    /// The distances of all subjects from the first, ascending.
    fn distances(&self) -> impl Iterator<Item = u64> + use<'a> {
        let block = *self;
        let high = block.count..block.count + block.list.high_bits;
        let mut position = 0;
        self.bits.ones(high.clone()).map(move |at| {
            let bucket = at - high.start - position;
            let low = block.low_part(position);
            position += 1;
            checked_unshift(bucket, block.list.low_bits) | low
        })
    }

    /// Where the postings of the subject at this place of the list stand.
    fn postings_of(&self, position: u64) -> Range<u64> {
        let flags = 0..self.count;
        let start = self.bits.one_at(flags.clone(), position).unwrap_or(self.count);
        let end = self.bits.one_at(flags, position + 1).unwrap_or(self.count);
        start..end
    }
}

fn checked_shift(value: u64, bits: u64) -> u64 {
    u32::try_from(bits).ok().and_then(|bits| value.checked_shr(bits)).unwrap_or(0)
}

fn checked_unshift(value: u64, bits: u64) -> u64 {
    u32::try_from(bits).ok().and_then(|bits| value.checked_shl(bits)).unwrap_or(0)
}

fn field<const N: usize>(header: &[u8], at: usize) -> [u8; N] {
    header.get(at..at + N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The postings as one block after another.
    fn blocks_of(postings: &BTreeSet<PackedPosting>) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        let mut bytes = Vec::new();
        for posting in postings {
            if !builder.push(*posting) {
                builder.finish(&mut bytes);
                assert!(builder.push(*posting), "an empty block holds any posting");
            }
        }
        builder.finish(&mut bytes);
        bytes
    }

    /// Numbers of every size, dense and sparse, so that every width occurs.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..4, 0_u64..1000, any::<u64>(), (0_u32..64).prop_map(|it| u64::MAX >> it)]
    }

    fn postings(most: usize) -> impl Strategy<Value = BTreeSet<PackedPosting>> {
        let posting = (number(), number(), number())
            .prop_map(|(subject, object, row)| PackedPosting { subject, object, row });
        prop::collection::btree_set(posting, 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_bound_is_never_below(count in 1_u64..70_000, largest in any::<u64>(), shift in 0_u32..64) {
            let largest = largest >> shift;
            let exact = SubjectList::of(count, largest).total_bits();
            prop_assert!(SubjectList::bound(count, largest) >= exact);
        }

        #[test]
        fn blocks_answer_as_their_list(postings in postings(2000), strangers in prop::collection::vec(number(), 8)) {
            let bytes = blocks_of(&postings);
            let blocks: Result<Vec<_>, _> = bytes.chunks(BLOCK_BYTES).map(Block::read).collect();
            let blocks = blocks.expect("sound");
            prop_assert!(blocks.iter().flat_map(Block::postings).eq(postings.iter().copied()));
            let subjects = postings.iter().map(|posting| posting.subject).chain(strangers);
            for subject in subjects {
                let mut found = Vec::new();
                for block in &blocks {
                    block.find(subject, &mut found);
                }
                let expected = postings.iter().filter(|posting| posting.subject == subject);
                let expected: Vec<_> =
                    expected.map(|posting| (posting.object, posting.row)).collect();
                prop_assert_eq!(found, expected);
            }
        }

        /// D10: whatever byte is damaged, the block is refused.
        #[test]
        fn a_damaged_byte_is_found(postings in postings(200), at in 0..BLOCK_BYTES, with in 1_u8..) {
            let mut bytes = blocks_of(&postings);
            bytes[at] ^= with;
            prop_assert!(Block::read(&bytes[..BLOCK_BYTES]).is_err());
        }
    }

    /// What is taken out of a block leaves room for the rest, whatever it is.
    #[test]
    fn a_part_of_a_block_is_a_block() {
        let strategy = (postings(1500), any::<u64>());
        proptest!(ProptestConfig::with_cases(32), |((postings, seed) in strategy)| {
            let bytes = blocks_of(&postings);
            for block in bytes.chunks(BLOCK_BYTES) {
                let all: Vec<_> = Block::read(block).expect("sound").postings().collect();
                let mut random = seed;
                let mut rest = all;
                while rest.len() > 1 {
                    rest.retain(|_| {
                        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(99);
                        random >> 61 != 0
                    });
                    let mut builder = BlockBuilder::default();
                    prop_assert!(rest.iter().all(|posting| builder.push(*posting)));
                }
            }
        });
    }

    #[test]
    fn an_empty_block_holds_nothing() {
        let mut bytes = Vec::new();
        push_empty(&mut bytes);
        let block = Block::read(&bytes).expect("sound");
        assert!(block.is_empty() && block.postings().count() == 0);
        let mut found = Vec::new();
        assert!([0, 1, u64::MAX].iter().all(|subject| block.find(*subject, &mut found)));
        assert_eq!(found, []);
    }

    /// Random subjects take few bytes a posting.
    #[test]
    fn random_subjects_take_few_bytes() {
        let mut number = 1_u64;
        let mut next = || {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            number
        };
        let subjects: Vec<u64> = (0..60_000).map(|_| next()).collect();
        let postings: BTreeSet<_> = (0..200_000)
            .map(|_| PackedPosting {
                subject: subjects[(next() >> 33) as usize % subjects.len()],
                object: (next() >> 33) % 100,
                row: (next() >> 33) % 100_000,
            })
            .collect();
        let bytes = blocks_of(&postings).len() / postings.len();
        assert!(bytes < 6, "{bytes} bytes a posting");
    }
}
