//! Writes a batch: its postings as one run, then one transaction that names the run and makes what was
//! committed visible.

use std::collections::{HashMap, HashSet};

use super::batch::{Commit, Held, Recording, Taken, lost};
use super::catalogue;
use super::failure::again;
use super::merge::Merged;
use super::run::{RunFacts, RunWriter};
use super::runs::{self, DEATHS};
use super::writer::Session;
use crate::domain::posting::ScanOutcome;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many postings of each object went into a run.
type Counts = HashMap<u64, u64>;

impl Session {
    /// Writes what waits, and tells those who wait for it.
    pub(super) fn flush(&mut self) {
        let Some(mut taken) = self.batch.take() else { return };
        let mut lost = std::mem::take(&mut taken.failed);
        match self.write(&mut taken) {
            Ok((counts, answers)) => {
                for ((commit, _), answer) in taken.commits.into_iter().zip(answers) {
                    let _ = commit.reply.send(answer);
                }
                let of = |(number, _): &(u64, Recording)| {
                    (*number, counts.get(number).copied().unwrap_or(0))
                };
                let spilled: Vec<_> = taken.spilling.iter().map(of).collect();
                lost.extend(self.batch.spilled(&spilled, taken.held.postings));
            }
            Err(error) => {
                self.batch.lose(taken.spilling.iter().map(|(number, _)| *number), &error);
                for (commit, recording) in taken.commits {
                    lost.extend(recording.is_pending.then_some(commit.number));
                    let _ = commit.reply.send(Err(again(&error)));
                }
            }
        }
        self.bury_lost(&lost);
    }

    /// Buries recordings that nobody goes on with. What fails here is buried when this writer is gone.
    fn bury_lost(&mut self, lost: &[u64]) {
        if !lost.is_empty() {
            let _ = self.transact(|session| {
                lost.iter().try_for_each(|number| catalogue::bury(&session.connection, *number))
            });
        }
    }

    fn write(&mut self, taken: &mut Taken) -> Result<(Counts, Vec<Result<()>>)> {
        self.begin()?;
        let void = taken.void();
        let (run, counts) = self.write_run(&mut taken.held, &void)?;
        self.await_merges()?;
        let published = self.transact(|session| {
            let cleaned = runs::counter(&session.connection, DEATHS)?;
            if let Some(run) = &run {
                runs::add(&session.connection, run, cleaned)?;
            }
            for (number, recording) in &taken.spilling {
                let count = counts.get(number).copied().unwrap_or(0);
                catalogue::spill(
                    &session.connection,
                    *number,
                    recording,
                    session.writer()?,
                    count,
                )?;
            }
            let commits = taken.commits.iter();
            commits
                .map(|(commit, recording)| session.publish(commit, recording, &counts))
                .collect::<Result<Vec<_>>>()
        });
        if let (Err(_), Some(run)) = (&published, &run) {
            self.drop_unknown(&run.file);
        }
        self.nudge_merger();
        Ok((counts, published?))
    }

    /// Sorts the postings of a batch and writes those that count.
    fn write_run(
        &self,
        held: &mut Held,
        void: &HashSet<u64>,
    ) -> Result<(Option<RunFacts>, Counts)> {
        if held.postings.is_empty() && held.beyond.is_empty() {
            return Ok((None, Counts::new()));
        }
        held.postings.sort_unstable();
        held.beyond.sort_unstable();
        let is_void: Vec<bool> =
            held.objects.iter().map(|object| void.contains(&object.number)).collect();
        let mut counts: Vec<u64> = vec![0; held.objects.len()];
        let mut run = RunWriter::new(&self.files)?;
        let mut last = None;
        let mut take = |place: usize, posting: PackedPosting| {
            if is_void[place] || last.replace(posting) == Some(posting) {
                return Ok(());
            }
            counts[place] += 1;
            run.push(posting)
        };
        let objects = &held.objects;
        let place_of = |posting: &PackedPosting| {
            objects.binary_search_by_key(&posting.object, |object| object.number).unwrap_or(0)
        };
        let mut beyond = held.beyond.iter().copied().peekable();
        for entry in &held.postings {
            let (place, posting) = held.unpack(*entry);
            while let Some(other) = beyond.next_if(|other| *other < posting) {
                take(place_of(&other), other)?;
            }
            take(place, posting)?;
        }
        beyond.try_for_each(|other| take(place_of(&other), other))?;
        let counts = objects.iter().zip(counts).filter(|(_, count)| *count > 0);
        let counts = counts.map(|(object, count)| (object.number, count)).collect();
        Ok((run.finish()?, counts))
    }

    /// Makes one recording visible. What is wrong with it alone is the inner answer.
    fn publish(
        &self,
        commit: &Commit,
        recording: &Recording,
        counts: &Counts,
    ) -> Result<Result<()>> {
        let connection = &self.connection;
        let (dataset, scanned) = (&recording.dataset, &commit.scanned);
        if let ScanOutcome::Unreadable(_) = scanned.outcome {
            if recording.is_pending {
                catalogue::bury(connection, commit.number)?;
            }
            let number = runs::raise(connection, runs::OBJECTS, 1)?.cast_unsigned();
            catalogue::publish(connection, dataset, scanned, (number, 0))?;
            return Ok(Ok(()));
        }
        let mut count = recording.spilled + counts.get(&commit.number).copied().unwrap_or(0);
        if recording.may_repeat {
            count = self.count_again(commit.number)?;
        }
        if !recording.is_pending {
            catalogue::publish(connection, dataset, scanned, (commit.number, count))?;
            return Ok(Ok(()));
        }
        let is_there = catalogue::reveal(connection, dataset, scanned, (commit.number, count))?;
        Ok(if is_there { Ok(()) } else { Err(lost()) })
    }

    /// Counts an object's postings, each once wherever it stands.
    fn count_again(&self, number: u64) -> Result<u64> {
        let mut records = runs::all(&self.connection)?;
        records.retain(|run| (run.facts.lowest..=run.facts.highest).contains(&number));
        let mut postings = Merged::new(runs::open_some(&self.files, &records)?)?;
        let mut count = 0;
        while let Some(posting) = postings.next()? {
            count += u64::from(posting.object == number);
        }
        Ok(count)
    }
}

impl Taken {
    /// Objects whose postings do not count: given up, or unreadable as a whole.
    fn void(&self) -> HashSet<u64> {
        let is_unreadable =
            |commit: &Commit| matches!(commit.scanned.outcome, ScanOutcome::Unreadable(_));
        let unreadable = self.commits.iter().filter(|(commit, _)| is_unreadable(commit));
        let unreadable = unreadable.map(|(commit, _)| commit.number);
        self.held.dropped.iter().copied().chain(unreadable).collect()
    }
}
