//! Several runs as one ascending list, and the choice of what to merge.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use super::run::{Cursor, Run};
use super::runs::RunRecord;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many runs one merge reads at most.
const MOST: usize = 16;

/// The postings of several runs in ascending order, each once.
pub(super) struct Merged {
    cursors: Vec<Cursor>,
    heads: BinaryHeap<Reverse<(PackedPosting, usize)>>,
    last: Option<PackedPosting>,
}

impl Merged {
    pub(super) fn new(runs: Vec<Arc<Run>>) -> Result<Self> {
        let mut cursors: Vec<Cursor> = runs.into_iter().map(Cursor::new).collect();
        let mut heads = BinaryHeap::with_capacity(cursors.len());
        for (place, cursor) in cursors.iter_mut().enumerate() {
            heads.extend(cursor.next()?.map(|posting| Reverse((posting, place))));
        }
        Ok(Self { cursors, heads, last: None })
    }

    pub(super) fn next(&mut self) -> Result<Option<PackedPosting>> {
        loop {
            let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
            let Reverse((posting, place)) = *head;
            match self.cursors[place].next()? {
                Some(next) => head.0.0 = next,
                None => drop(PeekMut::pop(head)),
            }
            if self.last.replace(posting) != Some(posting) {
                return Ok(Some(posting));
            }
        }
    }
}

/// Which runs to merge, where there are more than `most`: the two smallest, and then each that is no
/// larger than all before it together. So a posting is written anew about as seldom as it can be with
/// so few runs: once of 50 equal runs, 3 times of 1,500, 5 times of 15,000 (of 12 at most).
pub(super) fn surplus(runs: &[RunRecord], most: usize) -> Vec<RunRecord> {
    if runs.len() <= most.max(1) {
        return Vec::new();
    }
    let mut runs = runs.to_vec();
    runs.sort_by_key(|run| run.facts.blocks);
    let (mut sum, mut count) = (0, 0);
    for run in runs.iter().take(MOST) {
        if count >= 2 && run.facts.blocks > sum {
            break;
        }
        sum += run.facts.blocks;
        count += 1;
    }
    runs.truncate(count);
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::embedded::run::RunFacts;

    fn run(id: i64, blocks: u64) -> RunRecord {
        let facts = RunFacts { blocks, ..RunFacts::default() };
        RunRecord { id, facts, cleaned: 0, claim: None }
    }

    /// However runs come, they stay few, and a posting is written anew a few times only.
    #[test]
    fn runs_stay_few_and_are_seldom_written_anew() {
        for sizes in [vec![1], vec![100], vec![1, 1, 1, 5000], vec![1, 3, 17, 400]] {
            let (mut runs, mut read, mut loaded) = (Vec::new(), 0, 0);
            for number in 0..4000 {
                let blocks = sizes[number % sizes.len()];
                loaded += blocks;
                runs.push(run(number as i64, blocks));
                let chosen = surplus(&runs, 12);
                assert!(chosen.len() <= MOST);
                if !chosen.is_empty() {
                    let blocks: u64 = chosen.iter().map(|run| run.facts.blocks).sum();
                    read += blocks;
                    runs.retain(|run| !chosen.iter().any(|chosen| chosen.id == run.id));
                    runs.push(run(chosen[0].id, blocks));
                }
                assert!(runs.len() <= 12);
            }
            assert!(read <= 6 * loaded, "{sizes:?}: {read} read of {loaded}");
        }
    }
}
