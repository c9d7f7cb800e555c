//! The index follows a rewrite: postings of the old version become those of the new, less the
//! erased.

use std::collections::HashSet;

use rusqlite::Connection;

use super::catalogue;
use super::failure::again;
use super::merge::Merged;
use super::redo::{self, Pair};
use super::run::RunWriter;
use super::runs::{self, DEATHS};
use super::writer::{Order, Session};
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::subject::subject_of;
use crate::metastore::{MetastoreError, Succession};

type Result<T> = std::result::Result<T, MetastoreError>;

/// What is left to do for a succession.
enum Step {
    Done,
    /// The postings of the version with this number are to be copied.
    Copy(u64),
}

impl Session {
    /// Carries out successions: those that copy nothing together, the others one by one.
    pub(super) fn succeed_all(&mut self, orders: Vec<Order>) {
        let together = self.begin().and_then(|()| self.settle_all(&orders));
        let copies = match together {
            Ok(steps) => steps,
            Err(error) => {
                for order in orders {
                    let _ = order.reply.send(Err(again(&error)));
                }
                return;
            }
        };
        for (order, is_copy) in orders.into_iter().zip(copies) {
            let answer = if is_copy { self.succeed_alone(&order.succession) } else { Ok(()) };
            let _ = order.reply.send(answer);
        }
        self.nudge_merger();
    }

    /// Does what needs no copy; answers which ones do.
    fn settle_all(&mut self, orders: &[Order]) -> Result<Vec<bool>> {
        let (copies, has_removed) = self.transact(|session| {
            let mut pairs = Vec::new();
            let mut copies = Vec::with_capacity(orders.len());
            for order in orders {
                let step = settle(&session.connection, &order.succession, &mut pairs)?;
                copies.push(matches!(step, Step::Copy(_)));
            }
            Ok((copies, session.take_out(pairs)?))
        })?;
        self.carry_out(has_removed)?;
        Ok(copies)
    }

    fn succeed_alone(&mut self, succession: &Succession) -> Result<()> {
        let mut files = Vec::new();
        let ended = self.transact(|session| {
            let mut pairs = Vec::new();
            match settle(&session.connection, succession, &mut pairs)? {
                Step::Done => session.take_out(pairs),
                Step::Copy(old) => session.copy(succession, old, &mut files).map(|()| false),
            }
        });
        if ended.is_err() {
            files.iter().for_each(|file| self.drop_unknown(file));
        }
        self.carry_out(ended?)
    }

    /// Takes the postings of these pairs out of the runs and of the counts. Answers whether any goes
    /// when the transaction has ended.
    fn take_out(&self, mut pairs: Vec<Pair>) -> Result<bool> {
        pairs.sort_unstable();
        pairs.dedup();
        let mut removed = redo::take_out(&self.connection, &self.files, &pairs)?;
        removed.sort_unstable_by_key(|posting| posting.object);
        for same in removed.chunk_by(|left, right| left.object == right.object) {
            catalogue::shrink(&self.connection, same[0].object, same.len() as u64)?;
        }
        Ok(!removed.is_empty())
    }

    /// Has the redo file carried out that the last transaction named.
    fn carry_out(&mut self, has_removed: bool) -> Result<()> {
        if has_removed { self.transact(|_| Ok(())) } else { Ok(()) }
    }

    /// Copies the old version's postings, less the erased, to a number of its own.
    fn copy(&self, succession: &Succession, old: u64, files: &mut Vec<String>) -> Result<()> {
        let connection = &self.connection;
        let number = runs::raise(connection, runs::OBJECTS, 1)?.cast_unsigned();
        let erased: HashSet<u64> = succession.erased.iter().map(subject_of).collect();
        let mut records = runs::all(connection)?;
        records.retain(|run| (run.facts.lowest..=run.facts.highest).contains(&old));
        let mut postings = Merged::new(runs::open_some(&self.files, &records)?)?;
        let mut run = RunWriter::new(&self.files)?;
        let mut count = 0;
        while let Some(posting) = postings.next()? {
            if posting.object == old && !erased.contains(&posting.subject) {
                run.push(PackedPosting { object: number, ..posting })?;
                count += 1;
            }
        }
        let cleaned = runs::counter(connection, DEATHS)?;
        if let Some(run) = run.finish()? {
            files.push(run.file.clone());
            runs::add(connection, &run, cleaned)?;
        }
        let scanned = catalogue::scanned(connection, old)?;
        let scanned = scanned.succeeded_by(&succession.new, &succession.landmarks);
        catalogue::publish(connection, &succession.dataset, &scanned, (number, count))
    }
}

/// Does all that the catalogue alone can do, and adds the postings that are to go to `pairs`.
fn settle(connection: &Connection, succession: &Succession, pairs: &mut Vec<Pair>) -> Result<Step> {
    let Succession { dataset, old, new, erased, .. } = succession;
    let Some(dataset) = catalogue::known_dataset(connection, dataset)? else {
        return Ok(Step::Done);
    };
    let old_number = match old.is_same_version(new) {
        true => None,
        false => catalogue::find(connection, dataset, old)?,
    };
    let new_number = catalogue::find(connection, dataset, new)?;
    let remains = match (old_number, new_number) {
        (None, None) => return Ok(Step::Done),
        (Some(old), None) if keeps_old(succession) => return Ok(Step::Copy(old)),
        (Some(old), None) => {
            let scanned = catalogue::scanned(connection, old)?;
            let scanned = scanned.succeeded_by(new, &succession.landmarks);
            catalogue::rename(connection, dataset, old, &scanned)?;
            old
        }
        (old, Some(new)) => {
            if let Some(old) = old.filter(|_| !keeps_old(succession)) {
                catalogue::bury(connection, old)?;
            }
            new
        }
    };
    pairs.extend(erased.iter().map(|digest| (subject_of(digest), remains)));
    Ok(Step::Done)
}

/// A version that was overwritten in place is gone, whatever the caller says.
fn keeps_old(succession: &Succession) -> bool {
    let Succession { old, new, keeps_old, .. } = succession;
    *keeps_old && (&old.key, &old.version) != (&new.key, &new.version)
}
