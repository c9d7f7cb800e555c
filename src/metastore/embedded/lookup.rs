//! Finds the postings of subjects. A lookup goes in steps, each in one state of the index, so that a slow
//! consumer holds nothing up. Numbers of objects only grow, so a step misses nothing that was there
//! when the lookup began.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use rusqlite::Connection;

use super::catalogue;
use super::run::Run;
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::IdentifierDigest;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::Posting;
use crate::domain::row::{RowNumber, RowSet};
use crate::metastore::MetastoreError;
use crate::metastore::packing::block::BLOCK_BYTES;
use crate::metastore::packing::subject::subject_of;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many rows one step reads before it hands them on.
const ROWS: usize = 1 << 20;

/// How many blocks of a run are read at first, where a subject goes on through very many.
const BLOCKS: usize = 16;

/// A lookup under way.
pub(super) struct Search {
    digests: Arc<[IdentifierDigest]>,
    /// Which digest is read next.
    next: usize,
    /// The object that is read next for it.
    from: u64,
    /// From which block on that object stands in a run.
    hints: HashMap<i64, usize>,
}

impl Search {
    /// `digests` is without repetition; sorted, it reads each block once.
    pub(super) fn new(digests: Vec<IdentifierDigest>) -> Self {
        Self { digests: digests.into(), next: 0, from: 0, hints: HashMap::new() }
    }

    pub(super) fn is_over(&self) -> bool {
        self.next == self.digests.len()
    }

    pub(super) fn step(
        mut self,
        connection: &Connection,
        runs: &[Arc<Run>],
    ) -> Result<(Vec<Posting>, Self)> {
        let mut objects = Objects { connection, known: HashMap::new() };
        let mut found = Vec::new();
        let mut rows_left = ROWS;
        let mut reader = Reader::new(runs);
        while let Some(&digest) = self.digests.get(self.next) {
            let next = reader.read(subject_of(&digest), (self.from, &mut self.hints), rows_left)?;
            for same in reader.rows.chunk_by(|left, right| left.0 == right.0) {
                found.extend(objects.posting(digest, same)?);
            }
            rows_left = rows_left.saturating_sub(reader.rows.len() + 1);
            match next {
                Some(object) => self.from = object,
                None => {
                    (self.next, self.from) = (self.next + 1, 0);
                    self.hints.clear();
                }
            }
            if rows_left == 0 {
                break;
            }
        }
        Ok((found, self))
    }
}

/// Reads the postings of one subject after the other.
pub(super) struct Reader<'r> {
    runs: &'r [Arc<Run>],
    buffer: Box<[u8; BLOCK_BYTES]>,
    /// Objects and rows of a subject, ascending, each once.
    rows: Vec<(u64, u64)>,
}

/// Where the reading of a run has got to.
struct Position<'r> {
    run: &'r Run,
    next: usize,
    end: usize,
    /// The last object that was met in each block.
    met: Vec<(usize, u64)>,
}

impl Position<'_> {
    fn last(&self) -> Option<u64> {
        self.met.last().map(|(_, object)| *object)
    }
}

impl<'r> Reader<'r> {
    pub(super) fn new(runs: &'r [Arc<Run>]) -> Self {
        Self { runs, buffer: Box::new([0; BLOCK_BYTES]), rows: Vec::new() }
    }

    /// What was read last.
    #[cfg(test)]
    pub(super) fn rows(&self) -> &[(u64, u64)] {
        &self.rows
    }

    /// Reads the postings of a subject from an object on: all, or at least so many rows of whole
    /// objects. Answers the object to go on with.
    pub(super) fn read(
        &mut self,
        subject: u64,
        (from, hints): (u64, &mut HashMap<i64, usize>),
        wanted: usize,
    ) -> Result<Option<u64>> {
        self.rows.clear();
        let mut positions = Vec::new();
        let mut blocks = BLOCKS;
        for run in self.runs {
            let range = run.blocks_of(subject, &mut self.buffer)?;
            let next = hints.get(&run.id).map_or(range.start, |hint| range.start.max(*hint));
            let mut position = Position { run, next, end: range.end, met: Vec::new() };
            self.advance(subject, &mut position, blocks)?;
            positions.push(position);
        }
        let cut = loop {
            let unread = || positions.iter().filter(|it| it.next < it.end);
            if unread().next().is_none() {
                break None;
            }
            let cut = unread().filter_map(Position::last).min().unwrap_or(0);
            let is_known = unread().all(|it| it.last().is_some());
            let whole = || self.rows.iter().filter(|row| (from..cut).contains(&row.0)).count();
            if is_known && self.rows.len() >= wanted && whole() >= wanted {
                break Some(cut);
            }
            blocks *= 2;
            for position in &mut positions {
                self.advance(subject, position, blocks)?;
            }
        };
        self.rows.retain(|(object, _)| *object >= from && cut.is_none_or(|cut| *object < cut));
        self.rows.sort_unstable();
        self.rows.dedup();
        if let Some(cut) = cut {
            // What is behind these blocks was read, or is before the cut.
            for position in &positions {
                let met = position.met.iter().find(|(_, object)| *object >= cut);
                hints.insert(position.run.id, met.map_or(position.next, |(block, _)| *block));
            }
        }
        Ok(cut)
    }

    fn advance(&mut self, subject: u64, position: &mut Position<'_>, blocks: usize) -> Result<()> {
        for _ in 0..blocks {
            if position.next >= position.end {
                break;
            }
            let before = self.rows.len();
            let rows = &mut self.rows;
            let goes_on = position
                .run
                .block(position.next, &mut self.buffer, |block| block.find(subject, rows))?;
            let met = self.rows[before..].last();
            position.met.extend(met.map(|(object, _)| (position.next, *object)));
            position.next = if goes_on { position.next + 1 } else { position.end };
        }
        Ok(())
    }
}

/// The live objects that a step of a lookup has met.
struct Objects<'c> {
    connection: &'c Connection,
    known: HashMap<u64, Option<(DatasetName, ObjectVersion)>>,
}

impl Objects<'_> {
    /// The posting, if the object is live.
    fn posting(
        &mut self,
        digest: IdentifierDigest,
        rows: &[(u64, u64)],
    ) -> Result<Option<Posting>> {
        let number = rows[0].0;
        let known = match self.known.entry(number) {
            Entry::Occupied(slot) => slot.into_mut(),
            Entry::Vacant(slot) => slot.insert(catalogue::live(self.connection, number)?),
        };
        let Some((dataset, object)) = known else { return Ok(None) };
        let rows = RowSet::new(rows.iter().map(|(_, row)| RowNumber(*row)));
        Ok(rows.map(|rows| Posting {
            digest,
            dataset: dataset.clone(),
            object: object.clone(),
            rows,
        }))
    }
}
