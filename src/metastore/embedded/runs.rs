//! Which runs there are, what of them is due to be merged, and the index's counters.

use std::sync::{Arc, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::{damaged, failure};
use super::files::Files;
use super::run::{Run, RunFacts};
use super::schema::DEAD;
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// Counts objects: the last number that was given to one.
pub(super) const OBJECTS: &str = "objects";
/// Counts objects that died.
pub(super) const DEATHS: &str = "deaths";
/// The number of deaths when the catalogue was last written anew.
pub(super) const SCRUBBED: &str = "scrubbed";
/// Counts rounds of removing postings from runs.
pub(super) const PURGES: &str = "purges";

/// A run as the catalogue knows it.
#[derive(Clone, Debug)]
pub(super) struct RunRecord {
    pub(super) id: i64,
    pub(super) facts: RunFacts,
    pub(super) cleaned: i64,
    pub(super) claim: Option<String>,
}

pub(super) fn all(connection: &Connection) -> Result<Vec<RunRecord>> {
    let select = || -> rusqlite::Result<Vec<RunRecord>> {
        connection
            .prepare_cached(
                "SELECT id, file, blocks, postings, lowest, highest, cleaned, claim FROM runs
                 ORDER BY id",
            )?
            .query_map([], |row| {
                let number = |column| row.get(column).map(i64::cast_unsigned);
                let facts = RunFacts {
                    file: row.get(1)?,
                    blocks: number(2)?,
                    postings: number(3)?,
                    lowest: number(4)?,
                    highest: number(5)?,
                };
                Ok(RunRecord { id: row.get(0)?, facts, cleaned: row.get(6)?, claim: row.get(7)? })
            })?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}

/// Opens every run that the catalogue names; `None` where one is gone, as a merge since takes it away.
pub(super) fn open_all(connection: &Connection, files: &Files) -> Result<Option<Vec<Arc<Run>>>> {
    let records = all(connection)?;
    let mut known = files.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut runs = Vec::with_capacity(records.len());
    let mut has_new = known.len() != records.len();
    for record in &records {
        if let Some(run) = known.remove(&record.id) {
            runs.push(run);
            continue;
        }
        let Some(file) = files.open(&record.facts.file)? else { return Ok(None) };
        runs.push(Arc::new(Run::new(record.id, file, record.facts.blocks)?));
        has_new = true;
    }
    if has_new {
        let now = runs.iter().map(|run| (run.id, Arc::clone(run))).collect();
        *files.open.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
    Ok(Some(runs))
}

/// Opens runs for a writer, under whose lock none can go.
pub(super) fn open_some(files: &Files, records: &[RunRecord]) -> Result<Vec<Arc<Run>>> {
    let open = |record: &RunRecord| {
        let file = files.open(&record.facts.file)?.ok_or_else(|| damaged("no file of a run"))?;
        Run::new(record.id, file, record.facts.blocks).map(Arc::new)
    };
    records.iter().map(open).collect()
}

pub(super) fn add(connection: &Connection, facts: &RunFacts, cleaned: i64) -> Result<()> {
    connection
        .execute(
            "INSERT INTO runs (file, blocks, postings, lowest, highest, cleaned)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                facts.file,
                facts.blocks.cast_signed(),
                facts.postings.cast_signed(),
                facts.lowest.cast_signed(),
                facts.highest.cast_signed(),
                cleaned
            ],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

pub(super) fn remove(connection: &Connection, run: i64) -> Result<()> {
    connection
        .execute("DELETE FROM runs WHERE id = ?1", [run])
        .map(drop)
        .map_err(|error| failure("be written", error))
}

pub(super) fn claim(connection: &Connection, run: i64, claim: &str) -> Result<()> {
    connection
        .execute("UPDATE runs SET claim = ?2 WHERE id = ?1", params![run, claim])
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Notes that a run lost postings, and that a merge which reads it now is void.
pub(super) fn shrink(connection: &Connection, run: i64, removed: u64) -> Result<()> {
    connection
        .execute(
            "UPDATE runs SET postings = postings - ?2, claim = NULL WHERE id = ?1",
            params![run, removed.cast_signed()],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// At most how many postings of a run belong to dead objects.
pub(super) fn dead_in(connection: &Connection, run: &RunRecord) -> Result<u64> {
    let (lowest, highest) = (run.facts.lowest.cast_signed(), run.facts.highest.cast_signed());
    connection
        .prepare_cached(
            "SELECT coalesce(sum(postings), 0) FROM objects
             WHERE state <> 1 AND state = ?1 AND id BETWEEN ?2 AND ?3 AND died > ?4",
        )
        .and_then(|mut select| {
            select.query_row(params![DEAD, lowest, highest, run.cleaned], |row| row.get(0))
        })
        .map(i64::cast_unsigned)
        .map_err(|error| failure("be read", error))
}

/// Notes which runs hold no posting of anything that is dead by now.
pub(super) fn mark_clean(connection: &Connection) -> Result<()> {
    let deaths = counter(connection, DEATHS)?;
    for run in all(connection)? {
        if dead_in(connection, &run)? == 0 {
            connection
                .execute("UPDATE runs SET cleaned = ?2 WHERE id = ?1", [run.id, deaths])
                .map_err(|error| failure("be written", error))?;
        }
    }
    Ok(())
}

pub(super) fn counter(connection: &Connection, name: &str) -> Result<i64> {
    connection
        .prepare_cached("SELECT value FROM counters WHERE name = ?1")
        .and_then(|mut select| select.query_row([name], |row| row.get(0)).optional())
        .map(Option::unwrap_or_default)
        .map_err(|error| failure("be read", error))
}

/// Raises a counter and answers what it is then.
pub(super) fn raise(connection: &Connection, name: &str, by: i64) -> Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO counters VALUES (?1, ?2)
             ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
        )
        .and_then(|mut raise| raise.query_row(params![name, by], |row| row.get(0)))
        .map_err(|error| failure("be written", error))
}

/// The redo files that are not carried out yet.
pub(super) fn redos(connection: &Connection) -> Result<Vec<String>> {
    let select = || -> rusqlite::Result<Vec<String>> {
        connection
            .prepare_cached("SELECT file FROM redo")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}
