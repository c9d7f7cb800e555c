//! The table of postings: a digest, an object's number in the catalogue, rows. It knows nothing of
//! what an object is, so that another way of keeping postings can take its place.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::failure::{damaged, failure};
use super::packing::{pack, unpack};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::RowPosting;
use crate::domain::row::RowNumber;
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// Adds postings to an object and answers how many were not there already. `postings` is sorted and
/// without repetition. `is_first` says that the object has none yet, which saves looking.
pub(super) fn add(
    connection: &Connection,
    object: i64,
    postings: &[RowPosting],
    is_first: bool,
) -> Result<u64> {
    let mut table = Inserter::new(connection).map_err(|error| failure("be written", error))?;
    let mut added = 0;
    let mut rows = Vec::new();
    for group in postings.chunk_by(|left, right| left.digest == right.digest) {
        rows.clear();
        rows.extend(group.iter().map(|posting| posting.row));
        let digest = &group[0].digest;
        added += if is_first {
            table.insert(digest, object, &rows)?
        } else {
            table.merge(digest, object, &rows)?
        };
    }
    Ok(added)
}

struct Inserter<'c> {
    connection: &'c Connection,
    insert: rusqlite::Statement<'c>,
    last: rusqlite::Statement<'c>,
}

impl<'c> Inserter<'c> {
    fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            insert: connection.prepare("INSERT INTO postings VALUES (?1, ?2, ?3, ?4)")?,
            last: connection.prepare(
                "SELECT first_row, rows FROM postings WHERE digest = ?1 AND object = ?2
                 ORDER BY first_row DESC LIMIT 1",
            )?,
        })
    }

    fn insert(
        &mut self,
        digest: &IdentifierDigest,
        object: i64,
        rows: &[RowNumber],
    ) -> Result<u64> {
        let Some(first) = rows.first() else { return Ok(0) };
        self.insert
            .execute(params![digest.as_bytes(), object, stored(*first), pack(rows)])
            .map_err(|error| failure("be written", error))?;
        Ok(rows.len() as u64)
    }

    /// Appends where the rows lie beyond those that are there, as they do when a scan tells them;
    /// otherwise all rows of the pair are put together anew.
    fn merge(&mut self, digest: &IdentifierDigest, object: i64, rows: &[RowNumber]) -> Result<u64> {
        let last = self
            .last
            .query_row(params![digest.as_bytes(), object], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| failure("be read", error))?;
        let Some((first, packed)) = last else { return self.insert(digest, object, rows) };
        let packed: Vec<u8> = packed;
        let mut there = Vec::new();
        unpack(read(first), &packed, &mut there).ok_or_else(|| damaged("postings"))?;
        let is_beyond = there.last() < rows.first() && rows.last() <= Some(&LAST_IN_ORDER);
        if is_beyond {
            return self.insert(digest, object, rows);
        }
        let mut all = rows_of(self.connection, digest, object)?;
        let before = all.len();
        all.extend_from_slice(rows);
        all.sort_unstable();
        all.dedup();
        remove(self.connection, digest, object)?;
        self.insert(digest, object, &all)?;
        Ok((all.len() - before) as u64)
    }
}

/// Row numbers above this one are stored as negative numbers and so out of order.
const LAST_IN_ORDER: RowNumber = RowNumber(i64::MAX as u64);

fn stored(row: RowNumber) -> i64 {
    row.0.cast_signed()
}

fn read(stored: i64) -> RowNumber {
    RowNumber(stored.cast_unsigned())
}

fn rows_of(
    connection: &Connection,
    digest: &IdentifierDigest,
    object: i64,
) -> Result<Vec<RowNumber>> {
    let mut rows = Vec::new();
    let mut select = connection
        .prepare("SELECT first_row, rows FROM postings WHERE digest = ?1 AND object = ?2")
        .map_err(|error| failure("be read", error))?;
    let mut found = select
        .query(params![digest.as_bytes(), object])
        .map_err(|error| failure("be read", error))?;
    while let Some(row) = found.next().map_err(|error| failure("be read", error))? {
        let (first, packed) = chunk(row, 0)?;
        unpack(first, &packed, &mut rows).ok_or_else(|| damaged("postings"))?;
    }
    Ok(rows)
}

/// The first row and the packed others, in two columns from `column` on.
fn chunk(row: &rusqlite::Row<'_>, column: usize) -> Result<(RowNumber, Vec<u8>)> {
    let columns = || Ok((read(row.get(column)?), row.get(column + 1)?));
    columns().map_err(|error| failure("be read", error))
}

fn remove(connection: &Connection, digest: &IdentifierDigest, object: i64) -> Result<()> {
    connection
        .execute(
            "DELETE FROM postings WHERE digest = ?1 AND object = ?2",
            params![digest.as_bytes(), object],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Removes an object's postings of these identifiers and answers how many rows they named.
pub(super) fn remove_subjects(
    connection: &Connection,
    object: i64,
    digests: &[IdentifierDigest],
) -> Result<u64> {
    let mut removed = 0;
    for digest in digests {
        let rows = rows_of(connection, digest, object)?.len() as u64;
        if rows > 0 {
            remove(connection, digest, object)?;
            removed += rows;
        }
    }
    Ok(removed)
}

/// Removes at most `limit` records of an object's postings, whatever they hold, and answers how many
/// went.
pub(super) fn remove_some(connection: &Connection, object: i64, limit: usize) -> Result<usize> {
    connection
        .execute(
            "DELETE FROM postings WHERE (digest, object, first_row) IN
             (SELECT digest, object, first_row FROM postings INDEXED BY by_object
              WHERE object = ?1 LIMIT ?2)",
            params![object, limit as i64],
        )
        .map_err(|error| failure("be written", error))
}

/// Where a copy of an object's postings has got to.
#[derive(Clone, Debug)]
pub(super) struct CopyPosition {
    digest: [u8; 16],
    first_row: i64,
}

/// What a step of a copy did.
pub(super) struct CopyStep {
    /// Rows that the copied postings name.
    pub(super) rows: u64,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<CopyPosition>,
}

/// Copies at most `limit` records of the postings of `from` to `to`, without those of some
/// identifiers.
pub(super) fn copy_some(
    connection: &Connection,
    (from, to): (i64, i64),
    without: &HashSet<IdentifierDigest>,
    after: Option<&CopyPosition>,
    limit: usize,
) -> Result<CopyStep> {
    let mut table = Inserter::new(connection).map_err(|error| failure("be written", error))?;
    let batch = records_of(connection, from, after, limit)?;
    let is_last = batch.len() < limit;
    let next = batch.last().map(|(digest, first, _)| CopyPosition {
        digest: *digest.as_bytes(),
        first_row: stored(*first),
    });
    let mut rows = 0;
    let mut unpacked = Vec::new();
    for (digest, first, packed) in batch {
        if !without.contains(&digest) {
            unpacked.clear();
            unpack(first, &packed, &mut unpacked).ok_or_else(|| damaged("postings"))?;
            rows += table.insert(&digest, to, &unpacked)?;
        }
    }
    Ok(CopyStep { rows, next: next.filter(|_| !is_last) })
}

/// At most `limit` records of an object's postings, and where the next begin.
pub(super) fn some_of(
    connection: &Connection,
    object: i64,
    after: Option<&CopyPosition>,
    limit: usize,
) -> Result<(Vec<RowPosting>, Option<CopyPosition>)> {
    let records = records_of(connection, object, after, limit)?;
    let next = records.last().filter(|_| records.len() == limit).map(|(digest, first, _)| {
        CopyPosition { digest: *digest.as_bytes(), first_row: stored(*first) }
    });
    let (mut found, mut rows) = (Vec::new(), Vec::new());
    for (digest, first, packed) in records {
        rows.clear();
        unpack(first, &packed, &mut rows).ok_or_else(|| damaged("postings"))?;
        found.extend(rows.iter().map(|row| RowPosting { digest, row: *row }));
    }
    Ok((found, next))
}

type Record = (IdentifierDigest, RowNumber, Vec<u8>);

fn records_of(
    connection: &Connection,
    object: i64,
    after: Option<&CopyPosition>,
    limit: usize,
) -> Result<Vec<Record>> {
    let (digest, first_row) = match after {
        Some(position) => (&position.digest[..], position.first_row),
        None => (&[][..], i64::MIN),
    };
    let select = || -> rusqlite::Result<Vec<Record>> {
        connection
            .prepare(
                "SELECT digest, first_row, rows FROM postings INDEXED BY by_object
                 WHERE object = ?1 AND (digest, first_row) > (?2, ?3)
                 ORDER BY digest, first_row LIMIT ?4",
            )?
            .query_map(params![object, digest, first_row, limit as i64], |row| {
                let digest = IdentifierDigest::from_bytes(row.get(0)?);
                Ok((digest, read(row.get(1)?), row.get(2)?))
            })?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}

/// Reads the postings of one identifier, object by object.
pub(super) struct Finder<'c>(rusqlite::Statement<'c>);

impl<'c> Finder<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self> {
        connection
            .prepare(
                "SELECT object, first_row, rows FROM postings
                 WHERE digest = ?1 AND object > ?2 ORDER BY object",
            )
            .map(Self)
            .map_err(|error| failure("be read", error))
    }

    /// Hands the rows of each object numbered above `after` to `take`, until it answers `false`.
    pub(super) fn find(
        &mut self,
        digest: &IdentifierDigest,
        after: i64,
        mut take: impl FnMut(i64, Vec<RowNumber>) -> Result<bool>,
    ) -> Result<()> {
        let mut found = self
            .0
            .query(params![digest.as_bytes(), after])
            .map_err(|error| failure("be read", error))?;
        let mut open: Option<(i64, Vec<RowNumber>)> = None;
        while let Some(row) = found.next().map_err(|error| failure("be read", error))? {
            let object = row.get(0).map_err(|error| failure("be read", error))?;
            let (first, packed) = chunk(row, 1)?;
            if let Some((finished, rows)) = open.take_if(|(number, _)| *number != object)
                && !take(finished, rows)?
            {
                return Ok(());
            }
            let (_, rows) = open.get_or_insert_with(|| (object, Vec::new()));
            unpack(first, &packed, rows).ok_or_else(|| damaged("postings"))?;
        }
        match open {
            Some((object, rows)) => take(object, rows).map(drop),
            None => Ok(()),
        }
    }
}
