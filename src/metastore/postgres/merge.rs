//! Makes one run out of several, or a run without what is dead. Every run is read some segments at a
//! time, so that memory follows neither the runs nor the rows of a subject.

use std::collections::{HashSet, VecDeque};

use tokio_postgres::Row;

use super::failure::{Attempt, damaged};
use super::pool::{Session, Values};
use super::segments::{Packer, Segment, Stored, begin_run, end_run, store};
use crate::metastore::packing::PackedPosting;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// How many segments are read ahead, of all runs together.
const AHEAD: i64 = 2048;

/// Which postings go into the new run.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    /// Every one.
    All,
    /// Those under other numbers than these.
    Without(HashSet<i64>),
}

impl Choice {
    fn is_chosen(&self, posting: &PackedPosting) -> bool {
        match self {
            Self::All => true,
            Self::Without(dead) => !dead.contains(&posting.object.cast_signed()),
        }
    }
}

/// Writes a new run of the chosen postings of these runs, which stay. Answers how many there are.
///
/// Nobody else changes these runs meanwhile: the caller holds [`super::lock::SEGMENTS`], or they
/// belong to a version that only it records.
pub(super) async fn merge(session: &Session, runs: &[i64], choice: Choice) -> Attempt<u64> {
    let mut mill = Mill { readers: readers(session, runs).await?, packer: Packer::new(), choice };
    let (mut run, mut number) = (None, 0);
    loop {
        let rows = mill.next_rows(session).await?;
        let (next, segments) = mill.ground(rows).await?;
        mill = next;
        if !segments.is_empty() {
            let run = *run.insert(run_of(session, run).await?);
            number = store(session, run, number, &segments).await?;
        }
        if mill.readers.iter().all(|reader| reader.is_done) {
            break;
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

/// A reader for each run, which reads ahead as much as its share of all of them.
async fn readers(session: &Session, runs: &[i64]) -> Attempt<Vec<Reader>> {
    const SIZES: &str = "SELECT sized.id, sized.segments FROM unnest($1::bigint[]) run
                         JOIN lacuna_runs sized ON sized.id = run";
    let rows = session.query(SIZES, &[&runs]).await?;
    let sizes: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let all: i64 = sizes.iter().map(|(_, segments)| *segments).sum();
    let reader = |(run, segments): (i64, i64)| {
        let share = (AHEAD * segments).checked_div(all).unwrap_or(0);
        Reader::new(run, share.max(4))
    };
    Ok(sizes.into_iter().map(reader).collect())
}

/// What was read of one run, and where the rest begins.
#[derive(Debug)]
struct Reader {
    run: i64,
    /// How many segments are read at once.
    ahead: i64,
    /// The last segment that was read: its first subject and number.
    last: (i64, i32),
    is_done: bool,
    postings: VecDeque<PackedPosting>,
    /// How many postings came last time.
    came: usize,
}

impl Reader {
    fn new(run: i64, ahead: i64) -> Self {
        let (last, postings) = ((i64::MIN, -1), VecDeque::new());
        Self { run, ahead, last, is_done: false, postings, came: 0 }
    }

    /// Whether little is left of what was read, and more is there.
    fn is_low(&self) -> bool {
        !self.is_done && self.postings.len() <= self.came / 2
    }
}

/// Reads, decodes, chooses, sorts and packs.
struct Mill {
    readers: Vec<Reader>,
    packer: Packer,
    choice: Choice,
}

impl Mill {
    /// The next segments of those runs of which little is left.
    async fn next_rows(&self, session: &Session) -> Attempt<Vec<Row>> {
        const SEGMENTS: &str = "
            SELECT place.position, segments.first, segments.number, segments.segment
            FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::bigint[])
                WITH ORDINALITY place (run, first, number, ahead, position)
            CROSS JOIN LATERAL (
                SELECT first, number, segment FROM lacuna_segments
                WHERE run = place.run AND (first, number) > (place.first, place.number)
                ORDER BY first, number LIMIT place.ahead) segments";
        let low: Vec<&Reader> = self.readers.iter().filter(|reader| reader.is_low()).collect();
        if low.is_empty() {
            return Ok(Vec::new());
        }
        let runs: Vec<i64> = low.iter().map(|reader| reader.run).collect();
        let firsts: Vec<i64> = low.iter().map(|reader| reader.last.0).collect();
        let numbers: Vec<i32> = low.iter().map(|reader| reader.last.1).collect();
        let ahead: Vec<i64> = low.iter().map(|reader| reader.ahead).collect();
        let values: Values<'_> = &[&runs, &firsts, &numbers, &ahead];
        session.query(SEGMENTS, values).await
    }

    async fn ground(mut self, rows: Vec<Row>) -> Attempt<(Self, Vec<Segment>)> {
        let grinding = tokio::task::spawn_blocking(move || {
            self.take(&rows)?;
            self.grind();
            let segments = self.packer.take_full();
            Ok((self, segments))
        });
        let broken = |error| {
            MetastoreError::new(MetastoreErrorKind::Other, "merging postings was broken off")
                .caused_by(error)
        };
        let ground: Result<_, MetastoreError> = grinding.await.map_err(broken)?;
        Ok(ground?)
    }

    /// Takes what was read for the readers that were low.
    fn take(&mut self, rows: &[Row]) -> Result<(), MetastoreError> {
        let mut low: Vec<&mut Reader> =
            self.readers.iter_mut().filter(|reader| reader.is_low()).collect();
        let mut read = vec![0; low.len()];
        let before: Vec<usize> = low.iter().map(|reader| reader.postings.len()).collect();
        for row in rows {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let Some(reader) = low.get_mut(place) else { continue };
            let stored = Stored::new(row.try_get(3).map_err(|_| damaged("a segment"))?)?;
            reader.postings.extend(stored.block()?.postings());
            reader.last = (row.get(1), row.get(2));
            read[place] += 1;
        }
        for ((reader, read), before) in low.into_iter().zip(read).zip(before) {
            reader.is_done = read < reader.ahead;
            reader.came = reader.postings.len() - before;
        }
        Ok(())
    }

    /// Packs what nothing unread can come before: up to the least of the last postings read.
    fn grind(&mut self) {
        let lasts = self.readers.iter().filter(|reader| !reader.is_done);
        let until = lasts.filter_map(|reader| reader.postings.back()).min().copied();
        let mut postings = Vec::new();
        for reader in &mut self.readers {
            let end = match until {
                None => reader.postings.len(),
                Some(until) => reader.postings.partition_point(|posting| *posting <= until),
            };
            postings.extend(reader.postings.drain(..end));
        }
        // What is collected are ascending sequences, which this sort finds and merges.
        postings.sort();
        postings.dedup();
        let chosen = postings.into_iter().filter(|posting| self.choice.is_chosen(posting));
        chosen.for_each(|posting| self.packer.push(posting));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn mill(readers: usize) -> Mill {
        let readers = (0..readers).map(|run| Reader::new(run as i64, 1)).collect();
        Mill { readers, packer: Packer::new(), choice: Choice::All }
    }

    fn unpacked(segments: &[Segment]) -> Vec<PackedPosting> {
        let postings = segments.iter().flat_map(|segment| {
            let stored = Stored::new(&segment.bytes).expect("it fits");
            stored.block().expect("whole").postings().collect::<Vec<_>>()
        });
        postings.collect()
    }

    fn any_runs() -> impl Strategy<Value = Vec<BTreeSet<PackedPosting>>> {
        // Few subjects, so that one fills many a page, and the same posting stands in several runs.
        let posting = (0..4_u64, 0..3_u64, 0..60_u64)
            .prop_map(|(subject, object, row)| PackedPosting { subject, object, row });
        prop::collection::vec(prop::collection::btree_set(posting, 0..120), 1..5)
    }

    proptest! {
        /// However little is read at a time, what comes out is the union, ascending, each once.
        #[test]
        fn runs_are_merged_in_order(runs in any_runs(), page in 1_usize..20) {
            let mut mill = mill(runs.len());
            let mut left: Vec<Vec<PackedPosting>> =
                runs.iter().map(|run| run.iter().copied().collect()).collect();
            let mut most = 0;
            while mill.readers.iter().any(|reader| !reader.is_done) {
                for (reader, left) in mill.readers.iter_mut().zip(&mut left) {
                    if reader.is_low() {
                        let came: Vec<_> = left.drain(..page.min(left.len())).collect();
                        reader.came = came.len();
                        reader.is_done = came.len() < page;
                        reader.postings.extend(came);
                    }
                }
                most = most.max(mill.readers.iter().map(|it| it.postings.len()).max().unwrap_or(0));
                mill.grind();
            }
            let all: BTreeSet<PackedPosting> = runs.iter().flatten().copied().collect();
            prop_assert!(most <= 2 * page, "{} postings of a run are held, {} a page", most, page);
            prop_assert_eq!(unpacked(&mill.packer.finish()), all.into_iter().collect::<Vec<_>>());
        }
    }
}
