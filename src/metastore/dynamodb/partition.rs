//! A partition of postings and its head: which of its segments count, and which moved on.
//!
//! Segments only ever move down, from a partition to those below it, and always so: copies are
//! written below under an attempt's number, where nobody heeds them; then one conditional change of
//! the head above makes the copies count and the originals not; then the originals go. Whoever reads
//! the segments of a partition, then its head, and then the partitions below it, misses nothing: a
//! segment that was gone had left its attempt in the head before.

use std::collections::HashMap;

use super::client::{Base, Change};
use super::failure::damaged;
use super::item::{self, Item, Table, bytes_of, eight, number_of};
use super::segments::Stored;
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// The sort key of a partition's head, before every other.
pub(super) const HEAD: [u8; 1] = [0];

/// How many bytes the sort key of a segment has.
const SORT_BYTES: usize = 13;

/// What stands at a partition's head. One that never moved anything has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Grows with every move, and with every removal from the partition, which no move that began
    /// earlier may overtake.
    pub(super) version: u64,
    /// The attempts whose copies below count.
    pub(super) moves: Moves,
    /// The segments of the last move, which no longer count and are being removed.
    pub(super) leaving: Leaving,
}

/// Sort keys of segments that moved on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaving {
    /// The attempt that moved them.
    pub(super) attempt: u64,
    /// One after another.
    pub(super) sorts: Vec<u8>,
}

impl Leaving {
    pub(super) fn sorts(&self) -> impl Iterator<Item = &[u8]> {
        self.sorts.chunks_exact(SORT_BYTES)
    }

    pub(super) fn holds(&self, sort: &[u8]) -> bool {
        self.sorts().any(|leaving| leaving == sort)
    }
}

impl Head {
    pub(super) fn of(item: Option<&Item>) -> Result<Self> {
        let Some(item) = item else { return Ok(Self::default()) };
        let list = |name| if item.contains_key(name) { bytes_of(item, name) } else { Ok(&[][..]) };
        Ok(Self {
            version: number_of(item, "v")?,
            moves: Moves::read(list("c")?)?,
            leaving: Leaving { attempt: number_of(item, "l")?, sorts: list("m")?.to_vec() },
        })
    }
}

/// Attempts that were carried out: ranges of their numbers, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(Vec<(u64, u64)>);

impl Moves {
    fn read(bytes: &[u8]) -> Result<Self> {
        let range = |bytes: &[u8]| Ok((eight(&bytes[..8])?, eight(&bytes[8..])?));
        match bytes.len() % 16 {
            0 => Ok(Self(bytes.chunks_exact(16).map(range).collect::<Result<_>>()?)),
            _ => Err(damaged("the head of a partition")),
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let range = |(first, last): &(u64, u64)| [first.to_be_bytes(), last.to_be_bytes()].concat();
        self.0.iter().flat_map(range).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn holds(&self, attempt: u64) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&attempt))
    }

    pub(super) fn with(&self, attempt: u64) -> Self {
        let mut numbers: Vec<(u64, u64)> = self.0.clone();
        numbers.push((attempt, attempt));
        numbers.sort_unstable();
        let mut ranges: Vec<(u64, u64)> = Vec::with_capacity(numbers.len());
        for (first, last) in numbers {
            match ranges.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self(ranges)
    }
}

/// The segments among items.
pub(super) fn segments(table: Table, items: &[Item]) -> Result<Vec<Stored>> {
    let is_head = |item: &Item| bytes_of(item, "s").is_ok_and(|sort| sort == HEAD);
    let segments = items.iter().filter(|item| !is_head(item));
    segments.map(|item| Stored::new(table, item)).collect()
}

/// The heads of partitions; those that have none never moved anything.
pub(super) async fn heads(
    base: &Base,
    table: Table,
    partitions: impl Iterator<Item = Vec<u8>>,
) -> Result<HashMap<Vec<u8>, Head>> {
    let keys = partitions.map(|partition| item::key(partition, HEAD)).collect();
    let items = base.get_all(table, keys).await?;
    let head = |item: &Item| Ok((bytes_of(item, "p")?.to_vec(), Head::of(Some(item))?));
    items.iter().map(head).collect()
}

/// The head of a partition.
pub(super) async fn head(base: &Base, table: Table, partition: &[u8]) -> Result<Head> {
    Head::of(base.get(table, item::key(partition, HEAD)).await?.as_ref())
}

/// Makes every move out of this partition fail that began before. Answers the head.
pub(super) async fn forbid_moves(base: &Base, table: Table, partition: &[u8]) -> Result<Head> {
    let change = Change {
        table,
        key: item::key(partition, HEAD),
        update: "ADD v :one",
        condition: "",
        values: vec![(":one", item::number(1))],
    };
    Head::of(base.update(change).await?.as_ref())
}

/// Whether a segment counts, by the heads of its own partition and of the one above.
pub(super) fn counts(segment: &Stored, head: Option<&Head>, above: Option<&Head>) -> Result<bool> {
    let has_arrived = match segment.attempt()? {
        None => true,
        Some(attempt) => above.is_some_and(|above| above.moves.holds(attempt)),
    };
    Ok(has_arrived && !head.is_some_and(|head| head.leaving.holds(&segment.sort)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn moves_are_those_that_were_made(attempts in prop::collection::vec(0..60_u64, 0..80)) {
            let made: BTreeSet<u64> = attempts.iter().copied().collect();
            let moves = attempts.iter().fold(Moves::default(), |moves, at| moves.with(*at));
            let moves = Moves::read(&moves.bytes()).expect("whole");
            for attempt in 0..61 {
                prop_assert_eq!(moves.holds(attempt), made.contains(&attempt));
            }
            let seams = moves.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            prop_assert!(seams, "as few ranges as can be");
        }
    }
}
