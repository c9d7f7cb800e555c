//! Postings packed into segments: blocks of the packed codec, without their last zeros, one an item,
//! placed as deep in the tables as they fill an item there.

use super::client::Write;
use super::failure::damaged;
use super::item::{self, Item, Table, bytes_of, eight, heavy_partition, number_of};
use crate::domain::posting::RowPosting;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::block::{BLOCK_BYTES, Block, BlockBuilder};
use crate::metastore::packing::subject::subject_of;

type Result<T> = std::result::Result<T, MetastoreError>;

/// What an item takes beside its segment: with it, it is read as one unit of 4 KiB.
const SPARED_BYTES: u16 = 64;

/// How many postings fill an item of 1 KiB, the unit that writes are billed by.
const POSTINGS: u64 = 90;

/// The first byte of the sort key of segments that somebody recorded.
const RECORDED: u8 = 1;

/// The first byte of the sort key of segments that were moved down.
const MOVED: u8 = 2;

/// A segment to be stored.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) table: Table,
    pub(super) partition: Vec<u8>,
    pub(super) bytes: Vec<u8>,
}

/// Where a segment comes from: with its part, its sort key within the partition.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// Recorded under this number.
    Recorded(u64),
    /// Moved down from the partition above in this attempt.
    Moved(u64),
}

impl Origin {
    fn sort_key(self, part: u32) -> Vec<u8> {
        let (kind, number) = match self {
            Self::Recorded(number) => (RECORDED, number),
            Self::Moved(attempt) => (MOVED, attempt),
        };
        [&[kind], number.to_be_bytes().as_slice(), &part.to_be_bytes()].concat()
    }
}

impl Segment {
    /// The write that stores it.
    pub(super) fn write(self, origin: Origin, part: u32) -> Write {
        let key = item::key(self.partition, origin.sort_key(part));
        let rest = [("b", item::bytes(self.bytes)), ("r", item::number(0))];
        Write::Put(self.table, item::item(key, rest))
    }

    /// How many KiB it is billed as.
    pub(super) fn size_kib(&self) -> u64 {
        size_kib(self.bytes.len())
    }
}

/// How many KiB a segment of so many bytes is billed as.
pub(super) fn size_kib(bytes: usize) -> u64 {
    (bytes as u64 + u64::from(SPARED_BYTES)).div_ceil(1024)
}

/// The postings of an object, as segments hold them.
pub(super) fn packed(
    number: u64,
    postings: &[RowPosting],
) -> impl Iterator<Item = PackedPosting> + use<'_> {
    postings.iter().map(move |posting| PackedPosting {
        subject: subject_of(&posting.digest),
        object: number,
        row: posting.row.0,
    })
}

/// The deepest table in which postings of random subjects fill an item of each partition.
fn table_for(postings: usize) -> Table {
    let fills = |table: &Table| postings as u64 >= table.partitions() * POSTINGS;
    Table::LEVELS.into_iter().rev().find(fills).unwrap_or(Table::Top)
}

/// Ascending postings as segments, each in the deepest table that they fill.
pub(super) fn place(postings: &[PackedPosting]) -> Vec<Segment> {
    place_in(table_for(postings.len()), postings, true)
}

/// Ascending postings as segments of a table. What one subject fills alone gets a partition of its
/// own, where that is asked for.
pub(super) fn place_in(
    table: Table,
    postings: &[PackedPosting],
    divides_heavy: bool,
) -> Vec<Segment> {
    let mut packer = Packer { table, divides_heavy, builder: builder(), segments: Vec::new() };
    let mut partition = Vec::new();
    for posting in postings {
        if packer.builder.subjects().is_none_or(|(_, last)| last != posting.subject) {
            let next = table.partition(posting.subject);
            if next != partition {
                packer.cut(&partition, false);
                partition = next;
            }
        }
        if !packer.builder.push(*posting) {
            packer.cut(&partition, true);
            packer.builder.push(*posting);
        }
    }
    packer.cut(&partition, false);
    packer.segments
}

fn builder() -> BlockBuilder {
    BlockBuilder::sparing(SPARED_BYTES)
}

struct Packer {
    table: Table,
    divides_heavy: bool,
    builder: BlockBuilder,
    segments: Vec<Segment>,
}

impl Packer {
    fn cut(&mut self, partition: &[u8], is_full: bool) {
        let Some((first, last)) = self.builder.subjects() else { return };
        let (table, partition) = match is_full && first == last && self.divides_heavy {
            true => (Table::Top, heavy_partition(first)),
            false => (self.table, partition.to_vec()),
        };
        let mut bytes = Vec::with_capacity(BLOCK_BYTES);
        self.builder.finish(&mut bytes);
        let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(length);
        self.segments.push(Segment { table, partition, bytes });
    }
}

/// A segment as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) table: Table,
    pub(super) partition: Vec<u8>,
    pub(super) sort: Vec<u8>,
    /// Grows with every change, so that a change can be made on condition of the last one.
    pub(super) revision: u64,
    /// The length of its bytes as they are stored.
    pub(super) length: usize,
    block: Box<[u8; BLOCK_BYTES]>,
}

impl Stored {
    pub(super) fn new(table: Table, item: &Item) -> Result<Self> {
        let bytes = bytes_of(item, "b")?;
        let mut block = Box::new([0; BLOCK_BYTES]);
        block.get_mut(..bytes.len()).ok_or_else(|| damaged("a segment"))?.copy_from_slice(bytes);
        Ok(Self {
            table,
            partition: bytes_of(item, "p")?.to_vec(),
            sort: bytes_of(item, "s")?.to_vec(),
            revision: number_of(item, "r")?,
            length: bytes.len(),
            block,
        })
    }

    pub(super) fn key(&self) -> Item {
        item::key(self.partition.clone(), self.sort.clone())
    }

    /// Its block, the checksum proved.
    pub(super) fn block(&self) -> Result<Block<'_>> {
        Block::read(&*self.block).map_err(|_| damaged("a segment"))
    }

    /// The attempt that moved it here, if it was not recorded here.
    pub(super) fn attempt(&self) -> Result<Option<u64>> {
        match self.sort.as_slice() {
            [MOVED, rest @ ..] => eight(rest.get(..8).unwrap_or_default()).map(Some),
            _ => Ok(None),
        }
    }

    /// The object numbers in it.
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let postings = self.block()?.postings();
        let mut numbers: Vec<u64> = postings.map(|posting| posting.object).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// The item with just these of its postings, as a write on condition of the revision.
    pub(super) fn rewritten(&self, postings: &[PackedPosting]) -> Result<Option<Item>> {
        let segments = place_in(self.table, postings, false);
        match segments.as_slice() {
            [] => Ok(None),
            [segment] => {
                let rest = [
                    ("b", item::bytes(segment.bytes.clone())),
                    ("r", item::number(self.revision + 1)),
                ];
                Ok(Some(item::item(self.key(), rest)))
            }
            // A part of what filled a segment fits into one.
            _ => Err(damaged("an overfull segment")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn postings() -> impl Strategy<Value = Vec<PackedPosting>> {
        let subject = prop_oneof![1 => 0..3_u64, 6 => any::<u64>()];
        let row = prop_oneof![0..9_u64, any::<u64>()];
        let posting = (subject, 0..1_u64 << 40, row)
            .prop_map(|(subject, object, row)| PackedPosting { subject, object, row });
        proptest::collection::btree_set(posting, 0..3000).prop_map(|set| set.into_iter().collect())
    }

    fn stored(segment: &Segment) -> Stored {
        let Write::Put(table, item) = segment.clone().write(Origin::Recorded(7), 3) else {
            unreachable!("a put")
        };
        Stored::new(table, &item).expect("whole")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn segments_hold_what_was_placed_where_it_is_looked_for(
            postings in postings(),
            at in 0..3_usize,
        ) {
            let table = Table::LEVELS[at];
            let mut unpacked = BTreeSet::new();
            for segment in place_in(table, &postings, true) {
                let stored = stored(&segment);
                let names: usize = stored.key().keys().map(String::len).sum();
                let size = names + stored.partition.len() + stored.sort.len() + stored.length + 4;
                prop_assert!(size <= 4096, "one unit of reading");
                for posting in stored.block().expect("whole").postings() {
                    let here = (segment.table, segment.partition.clone());
                    let is_heavy = here == (Table::Top, heavy_partition(posting.subject));
                    prop_assert!(is_heavy || here == (table, table.partition(posting.subject)));
                    prop_assert!(unpacked.insert(posting), "once");
                }
            }
            prop_assert!(unpacked.into_iter().eq(postings));
        }

        /// Hazard D10: damage is noticed, whatever bit it strikes.
        #[test]
        fn a_damaged_segment_is_refused(postings in postings(), at in any::<usize>()) {
            for segment in place(&postings) {
                let mut damaged = segment.clone();
                let bit = at % (damaged.bytes.len() * 8);
                damaged.bytes[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(stored(&damaged).block().is_err());
                damaged.bytes.truncate(bit / 8);
                prop_assert!(stored(&damaged).block().is_err());
            }
        }
    }

    /// Issue 3: a thousand postings of an object cost tens of writes.
    #[test]
    fn a_thousand_postings_cost_tens_of_units() {
        let mut number = 1_u64;
        let mut next = || {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            number
        };
        let mut units = |count: u64| {
            let mut postings: Vec<PackedPosting> =
                (0..count).map(|row| PackedPosting { subject: next(), object: 5, row }).collect();
            postings.sort_unstable();
            place(&postings).iter().map(Segment::size_kib).sum::<u64>()
        };
        assert!(units(1000) <= 20, "{}", units(1000));
        for count in [30_000, 500_000] {
            let each = units(count) * 1000 / count;
            assert!(each <= 20, "{each} units a thousand of {count}");
        }
    }

    #[test]
    fn partitions_lie_below_one_another() {
        let subject = 0x1234_5678_9abc_def0;
        assert_eq!(Table::Top.partition(subject), [0]);
        assert_eq!(Table::Middle.partition(subject), [8, 0x12]);
        assert_eq!(Table::Bottom.partition(subject), [16, 0x12, 0x34]);
        for table in [Table::Middle, Table::Bottom] {
            let above = table.partition_above(&table.partition(subject));
            assert_eq!(above, table.above().expect("a table").partition(subject));
        }
    }
}
