//! Keeps runs few and free of what is dead. Runs of one size are merged when there are several of
//! them; the largest stay as they are, but for a purge.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use super::failure::Attempt;
use super::lock;
use super::merge::{Choice, merge};
use super::pool::{Session, Work};
use super::segments::remove_runs;
use super::writer::Writer;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// A handle merges once at a time.
pub(super) type Turn = Arc<tokio::sync::Mutex<()>>;

/// How many runs of one size are merged into one of the next.
const FAN: usize = 8;

/// Runs of so many segments (32 million postings) are no longer merged.
const LARGE: i64 = 1 << 16;

/// Merges of at most so many segments are waited for.
const SMALL: i64 = 512;

/// With more runs than these, nothing is published before some are merged.
const RUNS: usize = 128;

/// An index of at most so many postings is purged with every removal.
const CHEAP: i64 = 2_000_000;

/// Otherwise one is purged when one posting in so many is dead.
const SHARE: i64 = 4;

/// How often a purge begins anew because runs were merged under it.
const ATTEMPTS: usize = 8;

struct Run {
    id: i64,
    segments: i64,
    postings: i64,
}

/// The runs that everybody sees.
struct ListRuns;

#[async_trait]
impl Work for ListRuns {
    type Answer = Vec<Run>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<Run>> {
        let sql = "SELECT id, segments, postings FROM lacuna_runs WHERE owner IS NULL ORDER BY id";
        let rows = session.query(sql, &[]).await?;
        let run = |row: &tokio_postgres::Row| Run {
            id: row.get(0),
            segments: row.get(1),
            postings: row.get(2),
        };
        Ok(rows.iter().map(run).collect())
    }
}

/// Makes one run out of these, without what is dead.
struct MergeRuns {
    runs: Vec<i64>,
    /// Whether whoever else changes segments is waited for.
    waits: bool,
}

#[async_trait]
impl Work for MergeRuns {
    /// Whether it was done: nobody else was at it, and all runs were there.
    type Answer = bool;

    async fn attempt(&self, session: &Session) -> Attempt<bool> {
        if self.waits {
            lock::take(session, lock::SEGMENTS).await?;
        } else if !lock::try_take(session, lock::SEGMENTS).await? {
            return Ok(false);
        }
        let sql = "SELECT id FROM lacuna_runs WHERE id = ANY($1) AND owner IS NULL";
        if session.query(sql, &[&self.runs]).await?.len() < self.runs.len() {
            return Ok(false);
        }
        let dead: HashSet<i64> = dead(session).await?.iter().filter_map(Dead::number).collect();
        merge(session, &self.runs, Choice::Without(dead)).await?;
        remove_runs(session, &self.runs).await?;
        Ok(true)
    }
}

/// A dead version.
struct Dead {
    id: i64,
    number: i64,
    postings: i64,
    /// Whether another version, which is recorded, shares its postings.
    is_shared: bool,
}

impl Dead {
    /// The number whose postings nobody has any more.
    fn number(&self) -> Option<i64> {
        (!self.is_shared).then_some(self.number)
    }

    /// How many postings nobody has any more.
    fn postings(&self) -> i64 {
        if self.is_shared { 0 } else { self.postings }
    }
}

async fn dead(session: &Session) -> Attempt<Vec<Dead>> {
    let sql = "SELECT id, number, postings,
                   EXISTS (SELECT FROM lacuna_objects WHERE id = number AND state = 1)
                   OR EXISTS (SELECT FROM lacuna_objects holders
                              WHERE holders.shares IS NOT NULL AND holders.shares = number
                                  AND holders.state = 1)
               FROM (SELECT id, coalesce(shares, id) AS number, postings FROM lacuna_objects
                     WHERE state <> 1 AND state = 2) dead";
    let rows = session.query(sql, &[]).await?;
    let dead = rows.iter().map(|row| Dead {
        id: row.get(0),
        number: row.get(1),
        postings: row.get(2),
        is_shared: row.get(3),
    });
    Ok(dead.collect())
}

struct ListDead;

#[async_trait]
impl Work for ListDead {
    type Answer = Vec<Dead>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<Dead>> {
        dead(session).await
    }
}

/// Removes dead versions whose postings are gone.
struct RemoveDead(Vec<i64>);

#[async_trait]
impl Work for RemoveDead {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let sql = "DELETE FROM lacuna_masks WHERE object IN (
                       SELECT id FROM lacuna_objects WHERE id = ANY($1) AND state = 2)";
        session.execute(sql, &[&self.0]).await?;
        let sql = "DELETE FROM lacuna_objects WHERE id = ANY($1) AND state = 2";
        session.execute(sql, &[&self.0]).await.map(drop)
    }
}

/// The runs to be merged next: those of a size of which there are enough, and all smaller ones.
fn choose(runs: &[Run]) -> Option<Vec<&Run>> {
    let size = |run: &Run| run.segments.max(1).ilog2() / 3;
    let small = || runs.iter().filter(|run| run.segments < LARGE);
    (0..=LARGE.ilog2() / 3)
        .find(|wanted| small().filter(|run| size(run) == *wanted).count() >= FAN)
        .map(|wanted| small().filter(|run| size(run) <= wanted).collect())
}

/// Merges what has piled up: a little at once, much beside the caller's work, and too much before it
/// goes on.
pub(super) async fn after_publishing(writer: &Arc<Writer>) -> Result<()> {
    let runs = writer.pool.transact(&ListRuns).await?;
    let Some(chosen) = choose(&runs) else { return Ok(()) };
    if runs.len() > RUNS {
        let _turn = writer.maintenance.lock().await;
        return merge_all(writer).await;
    }
    let Ok(turn) = writer.maintenance.clone().try_lock_owned() else { return Ok(()) };
    // What was published is published, whatever becomes of the merge: the next one tries again.
    if chosen.iter().map(|run| run.segments).sum::<i64>() <= SMALL {
        let runs = chosen.iter().map(|run| run.id).collect();
        drop(writer.pool.transact(&MergeRuns { runs, waits: false }).await);
    } else {
        let writer = writer.clone();
        tokio::spawn(async move {
            let _turn = turn;
            drop(merge_all(&writer).await);
        });
    }
    Ok(())
}

/// Merges until nothing has piled up, or somebody else is at it.
async fn merge_all(writer: &Writer) -> Result<()> {
    loop {
        let runs = writer.pool.transact(&ListRuns).await?;
        let Some(chosen) = choose(&runs) else { return Ok(()) };
        let is_large = chosen.iter().map(|run| run.segments).sum::<i64>() > SMALL;
        let runs = chosen.iter().map(|run| run.id).collect();
        if !writer.pool.transact(&MergeRuns { runs, waits: false }).await? {
            return Ok(());
        }
        if is_large {
            writer.pool.run_alone("VACUUM (SKIP_LOCKED) lacuna_segments").await?;
        }
    }
}

/// Removes the postings of dead versions, where they are enough or the index is small.
pub(super) async fn purge_if_due(writer: &Writer) -> Result<()> {
    let dead: i64 = writer.pool.transact(&ListDead).await?.iter().map(Dead::postings).sum();
    let all: i64 = writer.pool.transact(&ListRuns).await?.iter().map(|run| run.postings).sum();
    if dead == 0 || (all > CHEAP && dead.saturating_mul(SHARE) < all) {
        return Ok(());
    }
    purge(writer).await
}

/// Removes the postings of all versions that are dead by now.
pub(super) async fn purge(writer: &Writer) -> Result<()> {
    let _turn = writer.maintenance.lock().await;
    let dead = writer.pool.transact(&ListDead).await?;
    if dead.iter().any(|dead| dead.postings() > 0) {
        rewrite_all(writer).await?;
    }
    let ids = dead.into_iter().map(|dead| dead.id).collect();
    writer.pool.transact(&RemoveDead(ids)).await?;
    writer.pool.run_alone("VACUUM (SKIP_LOCKED) lacuna_segments, lacuna_objects").await
}

/// Writes every run anew, without what is dead: the small ones together, a large one alone.
async fn rewrite_all(writer: &Writer) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let runs = writer.pool.transact(&ListRuns).await?;
        let (large, small): (Vec<&Run>, Vec<&Run>) =
            runs.iter().partition(|run| run.segments >= LARGE);
        let small: Vec<i64> = small.iter().map(|run| run.id).collect();
        let groups = large.iter().map(|run| vec![run.id]).chain([small]);
        let mut is_done = true;
        for runs in groups.filter(|runs| !runs.is_empty()) {
            is_done &= writer.pool.transact(&MergeRuns { runs, waits: true }).await?;
        }
        if is_done {
            return Ok(());
        }
    }
    let message = "the index is being rearranged all the time, so that what is dead could not be \
                   removed: try again";
    Err(MetastoreError::new(MetastoreErrorKind::Unavailable, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(sizes: &[i64]) -> Option<Vec<i64>> {
        let run = |(id, segments): (i64, &i64)| Run { id, segments: *segments, postings: 0 };
        let runs: Vec<Run> = (0..).zip(sizes).map(run).collect();
        choose(&runs).map(|runs| runs.iter().map(|run| run.id).collect())
    }

    #[test]
    fn equals_are_merged_with_what_is_smaller() {
        assert_eq!(chosen(&[1; 7]), None);
        assert_eq!(chosen(&[1; 8]), Some((0..8).collect()));
        assert_eq!(chosen(&[100, 1, 64, 64, 64, 64, 64, 64, 64, 8]), Some((0..10).collect()));
        assert_eq!(chosen(&[8, 8, 8, 8, 8, 8, 8, 100, 8]), Some(vec![0, 1, 2, 3, 4, 5, 6, 8]));
    }

    #[test]
    fn the_largest_are_left_alone() {
        assert_eq!(chosen(&[LARGE; 20]), None);
        assert_eq!(chosen(&[LARGE - 1; 8]).map(|runs| runs.len()), Some(8));
    }
}
