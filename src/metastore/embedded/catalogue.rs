//! The catalogue: which object versions are recorded, and what their scans said.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::batch::Recording;
use super::failure::{damaged, failure};
use super::runs;
use super::schema::{DEAD, LIVE, PENDING};
use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// What a row of the catalogue keeps as a document.
#[derive(Serialize, Deserialize)]
struct ScanDocument {
    settings: ScanSettings,
    scanned_at: Timestamp,
    outcome: ScanOutcome,
}

fn write_document(scanned: &ScannedObject) -> Result<String> {
    let document = ScanDocument {
        settings: scanned.settings.clone(),
        scanned_at: scanned.scanned_at,
        outcome: scanned.outcome.clone(),
    };
    serde_json::to_string(&document).map_err(|_| damaged("a scan"))
}

const COLUMNS: &str = "key, version, etag, size_bytes, modified_at, scan";

fn entry(row: &Row<'_>) -> Result<ScannedObject> {
    let object = version(row)?;
    let scan: String = row.get(5).map_err(|error| failure("be read", error))?;
    let scan: ScanDocument = serde_json::from_str(&scan).map_err(|_| damaged("a scan"))?;
    let ScanDocument { settings, scanned_at, outcome } = scan;
    Ok(ScannedObject { object, settings, scanned_at, outcome })
}

/// The first five of the columns.
fn version(row: &Row<'_>) -> Result<ObjectVersion> {
    let columns = || -> rusqlite::Result<(Vec<u8>, String, String, i64, String)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let (key, version, etag, size_bytes, modified_at) =
        columns().map_err(|error| failure("be read", error))?;
    Ok(ObjectVersion {
        key: ObjectKey::new(key),
        version: VersionId::new(version),
        etag: ETag::new(etag),
        size_bytes: size_bytes.cast_unsigned(),
        modified_at: modified_at.parse().map_err(|_| damaged("a moment"))?,
    })
}

/// The number of a dataset, made where it has none.
pub(super) fn dataset_id(connection: &Connection, dataset: &DatasetName) -> Result<i64> {
    if let Some(id) = known_dataset(connection, dataset)? {
        return Ok(id);
    }
    connection
        .execute("INSERT INTO datasets (name) VALUES (?1)", [dataset.as_str()])
        .map_err(|error| failure("be written", error))?;
    Ok(connection.last_insert_rowid())
}

pub(super) fn known_dataset(connection: &Connection, dataset: &DatasetName) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM datasets WHERE name = ?1")
        .and_then(|mut select| select.query_row([dataset.as_str()], |row| row.get(0)).optional())
        .map_err(|error| failure("be read", error))
}

/// The names of the datasets that have a record.
pub(super) fn datasets(connection: &Connection) -> Result<Vec<DatasetName>> {
    let select = || -> rusqlite::Result<Vec<String>> {
        connection
            .prepare(
                "SELECT name FROM datasets WHERE EXISTS
                 (SELECT 1 FROM objects WHERE dataset = datasets.id AND state = 1) ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let names = select().map_err(|error| failure("be read", error))?;
    Ok(names.into_iter().map(DatasetName::new).collect())
}

/// The number of exactly this version, where it is live.
pub(super) fn find(
    connection: &Connection,
    dataset: i64,
    object: &ObjectVersion,
) -> Result<Option<u64>> {
    let occupant = occupant(connection, dataset, object)?;
    Ok(occupant.filter(|(_, etag)| etag == object.etag.as_str()).map(|(number, _)| number))
}

/// The number of the live row of this key and version id, and its ETag.
fn occupant(
    connection: &Connection,
    dataset: i64,
    object: &ObjectVersion,
) -> Result<Option<(u64, String)>> {
    connection
        .prepare_cached(
            "SELECT id, etag FROM objects
             WHERE dataset = ?1 AND key = ?2 AND version = ?3 AND state = 1",
        )
        .and_then(|mut select| {
            let place = params![dataset, object.key.as_bytes(), object.version.as_str()];
            let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?));
            select.query_row(place, read).optional()
        })
        .map_err(|error| failure("be read", error))
}

/// What is known of the live row of this number.
pub(super) fn scanned(connection: &Connection, number: u64) -> Result<ScannedObject> {
    let fail = |error| failure("be read", error);
    let mut select = connection
        .prepare(&format!("SELECT {COLUMNS} FROM objects WHERE id = ?1"))
        .map_err(fail)?;
    let mut rows = select.query([number.cast_signed()]).map_err(fail)?;
    let row = rows.next().map_err(fail)?.ok_or_else(|| damaged("no row of an object"))?;
    entry(row)
}

/// The version that has this number, where it is live.
pub(super) fn live(
    connection: &Connection,
    number: u64,
) -> Result<Option<(DatasetName, ObjectVersion)>> {
    let fail = |error| failure("be read", error);
    let mut select = connection
        .prepare_cached(
            "SELECT key, version, etag, size_bytes, modified_at, datasets.name
             FROM objects JOIN datasets ON datasets.id = dataset
             WHERE objects.id = ?1 AND state = 1",
        )
        .map_err(fail)?;
    let mut rows = select.query([number.cast_signed()]).map_err(fail)?;
    let Some(row) = rows.next().map_err(fail)? else { return Ok(None) };
    let name: String = row.get(5).map_err(fail)?;
    Ok(Some((DatasetName::new(name), version(row)?)))
}

/// How many rows the postings of each object name that is in the catalogue, with its state.
pub(super) fn counts(connection: &Connection) -> Result<HashMap<u64, (i64, u64)>> {
    let select = || -> rusqlite::Result<HashMap<u64, (i64, u64)>> {
        connection
            .prepare("SELECT id, state, postings FROM objects")?
            .query_map([], |row| {
                let (id, postings): (i64, i64) = (row.get(0)?, row.get(2)?);
                Ok((id.cast_unsigned(), (row.get(1)?, postings.cast_unsigned())))
            })?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}

/// Every live row of these keys.
pub(super) fn of_keys(
    connection: &Connection,
    dataset: &DatasetName,
    keys: &[ObjectKey],
) -> Result<Vec<ScannedObject>> {
    let Some(dataset) = known_dataset(connection, dataset)? else { return Ok(Vec::new()) };
    let fail = |error| failure("be read", error);
    let mut select = connection
        .prepare(&format!(
            "SELECT {COLUMNS} FROM objects WHERE dataset = ?1 AND key = ?2 AND state = 1"
        ))
        .map_err(fail)?;
    let mut found = Vec::new();
    for key in keys {
        let mut rows = select.query(params![dataset, key.as_bytes()]).map_err(fail)?;
        while let Some(row) = rows.next().map_err(fail)? {
            found.push(entry(row)?);
        }
    }
    Ok(found)
}

/// How many postings each of these versions has; `None` for what is not recorded.
pub(super) fn counts_of(
    connection: &Connection,
    dataset: &DatasetName,
    objects: &[ObjectVersion],
) -> Result<Vec<Option<u64>>> {
    let Some(dataset) = known_dataset(connection, dataset)? else {
        return Ok(vec![None; objects.len()]);
    };
    let fail = |error| failure("be read", error);
    let mut select = connection
        .prepare(
            "SELECT postings FROM objects
             WHERE dataset = ?1 AND key = ?2 AND version = ?3 AND etag = ?4 AND state = 1",
        )
        .map_err(fail)?;
    let mut counts = Vec::with_capacity(objects.len());
    for object in objects {
        let named =
            params![dataset, object.key.as_bytes(), object.version.as_str(), object.etag.as_str()];
        let count = select.query_row(named, |row| row.get::<_, i64>(0)).optional().map_err(fail)?;
        counts.push(count.map(i64::cast_unsigned));
    }
    Ok(counts)
}

/// Which live rows a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// All.
    All,
    /// Those that were not read in every row, and perhaps others.
    Flawed,
}

impl Choice {
    /// The condition on a row. A scan without a gap says so in these words, wherever they stand.
    fn condition(self) -> &'static str {
        match self {
            Self::All => "TRUE",
            Self::Flawed => r#"instr(scan, '"gaps":{"count":0,') = 0"#,
        }
    }
}

/// At most `limit` live rows of a dataset, ascending by key and version, after this key and version.
pub(super) fn page(
    connection: &Connection,
    dataset: &DatasetName,
    after: &PagePosition,
    choice: Choice,
    limit: usize,
) -> Result<Vec<ScannedObject>> {
    let Some(dataset) = known_dataset(connection, dataset)? else { return Ok(Vec::new()) };
    let (condition, key, version): (_, &[u8], &str) = match after {
        PagePosition::Start => ("(key, version) >= (?2, ?3)", b"", ""),
        PagePosition::Key(key) => ("key > ?2 AND ?3 = ''", key.as_bytes(), ""),
        PagePosition::Version(key, version) => {
            ("(key, version) > (?2, ?3)", key.as_bytes(), version.as_str())
        }
    };
    let mut select = connection
        .prepare(&format!(
            "SELECT {COLUMNS} FROM objects
             WHERE dataset = ?1 AND state = 1 AND {condition} AND {}
             ORDER BY key, version LIMIT ?4",
            choice.condition()
        ))
        .map_err(|error| failure("be read", error))?;
    let mut rows = select
        .query(params![dataset, key, version, limit as i64])
        .map_err(|error| failure("be read", error))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(|error| failure("be read", error))? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// Where a listing of the catalogue has got to.
#[derive(Clone, Debug)]
pub(super) enum PagePosition {
    Start,
    /// After every version of this key.
    Key(ObjectKey),
    /// After this version of this key.
    Version(ObjectKey, VersionId),
}

/// Notes that postings of a recording are in a run; its row is made where it has none.
pub(super) fn spill(
    connection: &Connection,
    number: u64,
    recording: &Recording,
    writer: String,
    postings: u64,
) -> Result<()> {
    let Recording { dataset, object, .. } = recording;
    let dataset = dataset_id(connection, dataset)?;
    connection
        .prepare_cached(
            "INSERT INTO objects (id, dataset, key, version, etag, size_bytes, modified_at, state,
                                  writer, postings, scan)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, '', ?6, ?7, ?8, '')
             ON CONFLICT (id) DO UPDATE SET postings = postings + excluded.postings",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                number.cast_signed(),
                dataset,
                object.key.as_bytes(),
                object.version.as_str(),
                object.etag.as_str(),
                PENDING,
                writer,
                postings.cast_signed()
            ])
        })
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Makes a version live, under a number that has no row and with so many postings, in place of
/// whatever has its key and version id.
pub(super) fn publish(
    connection: &Connection,
    dataset: &DatasetName,
    scanned: &ScannedObject,
    (number, postings): (u64, u64),
) -> Result<()> {
    let dataset = make_room(connection, dataset, &scanned.object)?;
    let object = &scanned.object;
    let scan = write_document(scanned)?;
    connection
        .prepare_cached(
            "INSERT INTO objects (id, dataset, key, version, etag, size_bytes, modified_at, state,
                                  postings, scan)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut insert| {
            insert.execute(params![
                number.cast_signed(),
                dataset,
                object.key.as_bytes(),
                object.version.as_str(),
                object.etag.as_str(),
                object.size_bytes.cast_signed(),
                object.modified_at.to_string(),
                LIVE,
                postings.cast_signed(),
                scan
            ])
        })
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Makes a pending row live. Answers whether it is there still.
pub(super) fn reveal(
    connection: &Connection,
    dataset: &DatasetName,
    scanned: &ScannedObject,
    (number, postings): (u64, u64),
) -> Result<bool> {
    make_room(connection, dataset, &scanned.object)?;
    let object = &scanned.object;
    let scan = write_document(scanned)?;
    connection
        .execute(
            "UPDATE objects SET state = ?2, writer = NULL, postings = ?3, size_bytes = ?4,
                                modified_at = ?5, scan = ?6
             WHERE id = ?1 AND state = ?7",
            params![
                number.cast_signed(),
                LIVE,
                postings.cast_signed(),
                object.size_bytes.cast_signed(),
                object.modified_at.to_string(),
                scan,
                PENDING
            ],
        )
        .map(|changed| changed == 1)
        .map_err(|error| failure("be written", error))
}

/// Buries what has the key and version id, and answers the dataset's number.
fn make_room(
    connection: &Connection,
    dataset: &DatasetName,
    object: &ObjectVersion,
) -> Result<i64> {
    let dataset = dataset_id(connection, dataset)?;
    if let Some((replaced, _)) = occupant(connection, dataset, object)? {
        bury(connection, replaced)?;
    }
    Ok(dataset)
}

/// Gives a live row another version, in place of whatever has its key and version id.
pub(super) fn rename(
    connection: &Connection,
    dataset: i64,
    number: u64,
    scanned: &ScannedObject,
) -> Result<()> {
    let new = &scanned.object;
    if let Some((replaced, _)) = occupant(connection, dataset, new)?
        && replaced != number
    {
        bury(connection, replaced)?;
    }
    connection
        .execute(
            "UPDATE objects SET key = ?2, version = ?3, etag = ?4, size_bytes = ?5, modified_at = ?6,
                                scan = ?7
             WHERE id = ?1",
            params![
                number.cast_signed(),
                new.key.as_bytes(),
                new.version.as_str(),
                new.etag.as_str(),
                new.size_bytes.cast_signed(),
                new.modified_at.to_string(),
                write_document(scanned)?
            ],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Takes a row and its postings out of every reader's sight; a merge removes them.
pub(super) fn bury(connection: &Connection, number: u64) -> Result<()> {
    let died = runs::raise(connection, runs::DEATHS, 1)?;
    connection
        .prepare_cached(
            "UPDATE objects SET state = ?2, writer = NULL, died = ?3 WHERE id = ?1 AND state <> ?2",
        )
        .and_then(|mut update| update.execute(params![number.cast_signed(), DEAD, died]))
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Takes rows away from the count of those that an object's postings name.
pub(super) fn shrink(connection: &Connection, number: u64, removed: u64) -> Result<()> {
    connection
        .execute(
            "UPDATE objects SET postings = postings - ?2 WHERE id = ?1",
            params![number.cast_signed(), removed.cast_signed()],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// The numbers of dead objects, ascending.
pub(super) fn dead(connection: &Connection) -> Result<Vec<u64>> {
    let select = || -> rusqlite::Result<Vec<u64>> {
        connection
            .prepare("SELECT id FROM objects WHERE state <> 1 AND state = ?1 ORDER BY id")?
            .query_map([DEAD], |row| row.get(0).map(i64::cast_unsigned))?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}

/// Whether any object is dead.
pub(super) fn has_dead(connection: &Connection) -> Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM objects WHERE state <> 1 AND state = ?1 LIMIT 1")
        .and_then(|mut select| select.exists([DEAD]))
        .map_err(|error| failure("be read", error))
}

/// Removes the rows of dead objects of which no run holds a posting any more.
pub(super) fn forget_dead(connection: &Connection) -> Result<()> {
    connection
        .execute(
            "DELETE FROM objects WHERE state <> 1 AND state = ?1
             AND died <= coalesce((SELECT min(cleaned) FROM runs), died)",
            [DEAD],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// The writers that have something under way.
pub(super) fn writers(connection: &Connection) -> Result<Vec<String>> {
    let select = || -> rusqlite::Result<Vec<String>> {
        connection
            .prepare("SELECT DISTINCT writer FROM objects WHERE state <> 1 AND state = ?1")?
            .query_map([PENDING], |row| row.get(0))?
            .collect()
    };
    select().map_err(|error| failure("be read", error))
}

/// Buries whatever a writer had under way.
pub(super) fn bury_writer(connection: &Connection, writer: &str) -> Result<()> {
    let died = runs::raise(connection, runs::DEATHS, 1)?;
    connection
        .execute(
            "UPDATE objects SET state = ?2, writer = NULL, died = ?4
             WHERE state <> 1 AND state = ?1 AND writer = ?3",
            params![PENDING, DEAD, writer, died],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// How many live objects, and how many rows their postings name.
pub(super) fn totals(connection: &Connection) -> Result<(u64, u64)> {
    connection
        .query_row(
            "SELECT count(*), coalesce(sum(postings), 0) FROM objects WHERE state = 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map(|(objects, rows): (i64, i64)| (objects.cast_unsigned(), rows.cast_unsigned()))
        .map_err(|error| failure("be read", error))
}
