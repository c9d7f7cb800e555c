//! Makes one run out of several, or a run without what is dead. It reads a window of subjects at a
//! time, of all runs, so that its memory follows the window; a window is never narrower than one
//! subject, however many rows that has.

use std::collections::HashSet;
use std::sync::Arc;

use tokio_postgres::Row;

use super::failure::{Attempt, damaged};
use super::pool::Session;
use super::segments::{Packer, Segment, Stored, begin_run, end_run, number_of, store};
use crate::metastore::packing::PackedPosting;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// How many segments a window has.
const WINDOW: usize = 2048;

/// Which postings go into the new run.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// Every one.
    All,
    /// Those of other versions than these.
    Without(HashSet<i64>),
    /// Those of the version `old`, less these subjects', as postings of the version `new`.
    Copy { old: i64, new: i64, erased: HashSet<u64> },
}

impl Choice {
    fn choose(&self, posting: PackedPosting) -> Option<PackedPosting> {
        let object = posting.object.cast_signed();
        match self {
            Self::All => Some(posting),
            Self::Without(dead) => (!dead.contains(&object)).then_some(posting),
            Self::Copy { old, new, erased } => {
                let is_chosen = object == *old && !erased.contains(&posting.subject);
                is_chosen.then(|| PackedPosting { object: new.cast_unsigned(), ..posting })
            }
        }
    }
}

/// Writes a new run of the chosen postings of these runs, which stay. Answers how many there are.
///
/// Nobody else changes these runs meanwhile: the caller holds [`super::lock::SEGMENTS`], or they
/// belong to a version that only it records.
pub(super) async fn merge(session: &Session, runs: &[i64], choice: Choice) -> Attempt<u64> {
    const FIRSTS: &str = "SELECT first FROM lacuna_segments WHERE run = ANY($1) ORDER BY first";
    const SEGMENTS: &str = "SELECT segments.segment FROM unnest($1::bigint[]) run
        CROSS JOIN LATERAL (SELECT segment FROM lacuna_segments
            WHERE run = run.run AND first >= $2 AND ($3::bigint IS NULL OR first < $3)
            ORDER BY first, number) segments";
    let firsts = session.query(FIRSTS, &[&runs]).await?;
    let firsts: Vec<i64> = firsts.iter().map(|row| row.get(0)).collect();
    let mut mill = Mill { carry: Vec::new(), packer: Packer::new(), choice: Arc::new(choice) };
    let (mut run, mut number) = (None, 0);
    for (from, until) in windows(&firsts) {
        let rows = session.query(SEGMENTS, &[&runs, &from, &until]).await?;
        let (next, segments) = mill.ground(rows, until.map(number_of)).await?;
        mill = next;
        if !segments.is_empty() {
            let run = *run.insert(run_of(session, run).await?);
            number = store(session, run, number, &segments).await?;
        }
    }
    let postings = mill.packer.postings;
    let segments = mill.packer.finish();
    if postings > 0 {
        let run = run_of(session, run).await?;
        number = store(session, run, number, &segments).await?;
        end_run(session, run, (number, postings)).await?;
    }
    Ok(postings)
}

async fn run_of(session: &Session, run: Option<i64>) -> Attempt<i64> {
    match run {
        Some(run) => Ok(run),
        None => begin_run(session, None).await,
    }
}

/// Where each window begins and the next one does.
fn windows(firsts: &[i64]) -> Vec<(i64, Option<i64>)> {
    let mut starts: Vec<i64> = firsts.iter().copied().step_by(WINDOW).collect();
    starts.dedup();
    let ends = starts.iter().skip(1).copied().map(Some).chain([None]);
    starts.iter().copied().zip(ends).collect()
}

/// Decodes, chooses, sorts and packs; what lies beyond a window waits for the next.
struct Mill {
    carry: Vec<PackedPosting>,
    packer: Packer,
    choice: Arc<Choice>,
}

impl Mill {
    async fn ground(mut self, rows: Vec<Row>, until: Option<u64>) -> Attempt<(Self, Vec<Segment>)> {
        let grinding = tokio::task::spawn_blocking(move || {
            let segments = self.grind(&rows, until)?;
            Ok((self, segments))
        });
        let broken = |error| {
            MetastoreError::new(MetastoreErrorKind::Other, "merging postings was broken off")
                .caused_by(error)
        };
        let ground: Result<_, MetastoreError> = grinding.await.map_err(broken)?;
        Ok(ground?)
    }

    fn grind(&mut self, rows: &[Row], until: Option<u64>) -> Result<Vec<Segment>, MetastoreError> {
        let mut postings = std::mem::take(&mut self.carry);
        for row in rows {
            let bytes: &[u8] = row.try_get(0).map_err(|_| damaged("a segment"))?;
            let stored = Stored::new(bytes)?;
            let chosen =
                stored.block()?.postings().filter_map(|posting| self.choice.choose(posting));
            postings.extend(chosen);
        }
        // What is collected are ascending sequences, which this sort finds and merges.
        postings.sort();
        postings.dedup();
        if let Some(until) = until {
            let end = postings.partition_point(|posting| posting.subject < until);
            self.carry = postings.split_off(end);
        }
        postings.into_iter().for_each(|posting| self.packer.push(posting));
        Ok(self.packer.take_full())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_every_subject_once() {
        assert_eq!(windows(&[]), []);
        assert_eq!(windows(&[i64::MIN]), [(i64::MIN, None)]);
        let many: Vec<i64> = (0..5000).collect();
        assert_eq!(windows(&many), [(0, Some(2048)), (2048, Some(4096)), (4096, None)]);
        let heavy = [vec![1; 3], vec![7; 9000], vec![8; 3]].concat();
        assert_eq!(windows(&heavy), [(1, Some(7)), (7, None)]);
    }
}
