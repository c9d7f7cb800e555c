//! The listing of a dataset in the order of keys: the shards are read side by side, a page at a time,
//! and merged.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::future::try_join_all;

use super::catalogue::{CUT, DIGEST, Entry, SHARDS, shard_partition, sort_floor};
use super::client::{Base, From};
use super::item::{Item, Table, bytes_of};
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectKey;
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// A listing that goes on from page to page.
pub(super) struct Listing {
    base: Arc<Base>,
    after: Option<ObjectKey>,
    shards: Vec<Shard>,
}

struct Shard {
    partition: Vec<u8>,
    /// Where the next page begins; `None` where there is none.
    from: Option<From>,
    /// What was read and not told: sort keys and entries.
    ahead: VecDeque<(Vec<u8>, Entry)>,
}

impl Shard {
    /// Reads until something is ahead, and all that has to be put in order with it.
    async fn fill(&mut self, base: &Base) -> Result<()> {
        while !self.is_filled() {
            let Some(from) = self.from.take() else { return Ok(()) };
            let (items, last) = base.page(Table::Catalogue, &self.partition, from).await?;
            for item in &items {
                self.ahead.push_back((sort_of(item)?, Entry::of(item)?));
            }
            self.from = last.map(|after| From { after: Some(after), ..From::default() });
        }
        Ok(())
    }

    fn is_filled(&self) -> bool {
        let (Some((first, _)), Some((last, _))) = (self.ahead.front(), self.ahead.back()) else {
            return false;
        };
        !last.starts_with(beginning(first))
    }

    /// The entries that agree with the first in what of a sort key is in order.
    fn group(&self) -> usize {
        let Some((first, _)) = self.ahead.front() else { return 0 };
        self.ahead.iter().take_while(|(sort, _)| sort.starts_with(beginning(first))).count()
    }

    /// Puts the first entries in order.
    fn settle(&mut self) {
        let group = self.group();
        if group > 1 {
            let order = |entry: &Entry| (entry.slot.key.clone(), entry.slot.version.clone());
            self.ahead.make_contiguous()[..group].sort_by_cached_key(|(_, entry)| order(entry));
        }
    }
}

/// What of a sort key is in the order of keys: not the digest of the version, and no digest of a key.
fn beginning(sort: &[u8]) -> &[u8] {
    &sort[..sort.len().saturating_sub(DIGEST).min(CUT)]
}

fn sort_of(item: &Item) -> Result<Vec<u8>> {
    bytes_of(item, "s").map(<[u8]>::to_vec)
}

impl Listing {
    pub(super) fn new(base: Arc<Base>, dataset: &DatasetName, after: Option<ObjectKey>) -> Self {
        let shard = |shard| Shard {
            partition: shard_partition(dataset, shard),
            from: Some(From { sort: after.as_ref().map(sort_floor), ..From::default() }),
            ahead: VecDeque::new(),
        };
        Self { base, shards: (0..SHARDS).map(shard).collect(), after }
    }

    /// The next entries, in order; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Entry>>> {
        let mut page = Vec::new();
        loop {
            if self.shards.iter().any(|shard| !shard.is_filled() && shard.from.is_some()) {
                if !page.is_empty() {
                    return Ok(Some(page));
                }
                let base = &self.base;
                try_join_all(self.shards.iter_mut().map(|shard| shard.fill(base))).await?;
            }
            self.shards.iter_mut().for_each(Shard::settle);
            let first = |shard: &Shard| {
                shard
                    .ahead
                    .front()
                    .map(|(_, entry)| (entry.slot.key.clone(), entry.slot.version.clone()))
            };
            let firsts = self.shards.iter().enumerate();
            let firsts = firsts.filter_map(|(at, shard)| Some((first(shard)?, at)));
            let Some((_, at)) = firsts.min() else { break };
            let Some((_, entry)) = self.shards[at].ahead.pop_front() else { break };
            if self.after.as_ref().is_none_or(|after| entry.slot.key > *after) {
                page.push(entry);
            }
        }
        Ok((!page.is_empty()).then_some(page))
    }
}
