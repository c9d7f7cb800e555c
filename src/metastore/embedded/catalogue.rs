//! The catalogue: which object versions are recorded, and what their scans said.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::failure::{damaged, failure};
use super::postings::{self, CopyPosition};
use super::schema::{DEAD, LIVE, PENDING};
use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{RowPosting, ScanOutcome, ScannedObject};
use crate::metastore::MetastoreError;

type Result<T> = std::result::Result<T, MetastoreError>;

/// What a row of the catalogue keeps as a document.
#[derive(Serialize, Deserialize)]
struct ScanDocument {
    size_bytes: u64,
    modified_at: Timestamp,
    settings: ScanSettings,
    scanned_at: Timestamp,
    outcome: ScanOutcome,
}

fn write_document(scanned: &ScannedObject) -> Result<String> {
    let document = ScanDocument {
        size_bytes: scanned.object.size_bytes,
        modified_at: scanned.object.modified_at,
        settings: scanned.settings.clone(),
        scanned_at: scanned.scanned_at,
        outcome: scanned.outcome.clone(),
    };
    serde_json::to_string(&document).map_err(|_| damaged("a scan"))
}

/// A recording under way: the writer it belongs to, and its number there.
#[derive(Clone, Debug)]
pub(super) struct Recording {
    pub(super) writer: String,
    pub(super) number: i64,
}

/// A row of the catalogue.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) scanned: ScannedObject,
}

const COLUMNS: &str = "id, key, version, etag, scan";

fn entry(row: &Row<'_>) -> Result<Entry> {
    let columns = || -> rusqlite::Result<(i64, Vec<u8>, String, String, String)> {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    };
    let (id, key, version, etag, scan) = columns().map_err(|error| failure("be read", error))?;
    let scan: ScanDocument = serde_json::from_str(&scan).map_err(|_| damaged("a scan"))?;
    let object = ObjectVersion {
        key: ObjectKey::new(key),
        version: VersionId::new(version),
        etag: ETag::new(etag),
        size_bytes: scan.size_bytes,
        modified_at: scan.modified_at,
    };
    let ScanDocument { settings, scanned_at, outcome, .. } = scan;
    Ok(Entry { id, scanned: ScannedObject { object, settings, scanned_at, outcome } })
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

fn known_dataset(connection: &Connection, dataset: &DatasetName) -> Result<Option<i64>> {
    connection
        .query_row("SELECT id FROM datasets WHERE name = ?1", [dataset.as_str()], |row| row.get(0))
        .optional()
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

/// The live row of exactly this version.
pub(super) fn find(
    connection: &Connection,
    dataset: i64,
    object: &ObjectVersion,
) -> Result<Option<Entry>> {
    let occupant = occupant(connection, dataset, object)?;
    Ok(occupant.filter(|entry| entry.scanned.object.etag == object.etag))
}

/// The live row of this key and version id, whatever its ETag.
fn occupant(
    connection: &Connection,
    dataset: i64,
    object: &ObjectVersion,
) -> Result<Option<Entry>> {
    let mut select = connection
        .prepare(&format!(
            "SELECT {COLUMNS} FROM objects
             WHERE dataset = ?1 AND key = ?2 AND version = ?3 AND state = 1"
        ))
        .map_err(|error| failure("be read", error))?;
    let mut rows = select
        .query(params![dataset, object.key.as_bytes(), object.version.as_str()])
        .map_err(|error| failure("be read", error))?;
    match rows.next().map_err(|error| failure("be read", error))? {
        Some(row) => entry(row).map(Some),
        None => Ok(None),
    }
}

/// The live row of this number.
pub(super) fn live(connection: &Connection, id: i64) -> Result<Option<(DatasetName, Entry)>> {
    let mut select = connection
        .prepare(
            "SELECT objects.id, key, version, etag, scan, datasets.name
             FROM objects JOIN datasets ON datasets.id = dataset
             WHERE objects.id = ?1 AND state = 1",
        )
        .map_err(|error| failure("be read", error))?;
    let mut rows = select.query([id]).map_err(|error| failure("be read", error))?;
    let Some(row) = rows.next().map_err(|error| failure("be read", error))? else {
        return Ok(None);
    };
    let name: String = row.get(5).map_err(|error| failure("be read", error))?;
    Ok(Some((DatasetName::new(name), entry(row)?)))
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
            found.push(entry(row)?.scanned);
        }
    }
    Ok(found)
}

/// Some postings of exactly this version, and where the next begin.
pub(super) fn told(
    connection: &Connection,
    dataset: &DatasetName,
    object: &ObjectVersion,
    after: Option<&CopyPosition>,
) -> Result<(Vec<RowPosting>, Option<CopyPosition>)> {
    let Some(dataset) = known_dataset(connection, dataset)? else { return Ok(Default::default()) };
    match find(connection, dataset, object)? {
        Some(entry) => postings::some_of(connection, entry.id, after, 4096),
        None => Ok(Default::default()),
    }
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
) -> Result<Vec<Entry>> {
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

/// The number of a recording's row, made where it has none; and whether it was.
pub(super) fn pending(
    connection: &Connection,
    dataset: &DatasetName,
    object: &ObjectVersion,
    recording: &Recording,
) -> Result<(i64, bool)> {
    if let Some(id) = find_pending(connection, recording)? {
        return Ok((id, false));
    }
    let dataset = dataset_id(connection, dataset)?;
    connection
        .execute(
            "INSERT INTO objects (dataset, key, version, etag, state, writer, recording, postings, scan)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, '')",
            params![
                dataset,
                object.key.as_bytes(),
                object.version.as_str(),
                object.etag.as_str(),
                PENDING,
                recording.writer,
                recording.number
            ],
        )
        .map_err(|error| failure("be written", error))?;
    Ok((connection.last_insert_rowid(), true))
}

/// The number of a recording's row.
pub(super) fn find_pending(connection: &Connection, recording: &Recording) -> Result<Option<i64>> {
    connection
        .query_row(
            "SELECT id FROM objects
             WHERE state <> 1 AND state = ?1 AND writer = ?2 AND recording = ?3",
            params![PENDING, recording.writer, recording.number],
            |row| row.get(0),
        )
        .optional()
        .map_err(|error| failure("be read", error))
}

/// Makes a row live in place of whatever has its key and version id: the pending row `id`, or a new
/// one. Answers its number.
pub(super) fn publish(
    connection: &Connection,
    dataset: &DatasetName,
    scanned: &ScannedObject,
    id: Option<i64>,
) -> Result<i64> {
    let dataset = dataset_id(connection, dataset)?;
    let object = &scanned.object;
    if let Some(replaced) = occupant(connection, dataset, object)? {
        bury(connection, replaced.id)?;
    }
    let scan = write_document(scanned)?;
    let Some(id) = id else {
        connection
            .execute(
                "INSERT INTO objects (dataset, key, version, etag, state, postings, scan)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
                params![
                    dataset,
                    object.key.as_bytes(),
                    object.version.as_str(),
                    object.etag.as_str(),
                    LIVE,
                    scan
                ],
            )
            .map_err(|error| failure("be written", error))?;
        return Ok(connection.last_insert_rowid());
    };
    connection
        .execute(
            "UPDATE objects SET state = ?2, writer = NULL, recording = NULL, scan = ?3 WHERE id = ?1",
            params![id, LIVE, scan],
        )
        .map_err(|error| failure("be written", error))?;
    Ok(id)
}

/// Gives a live row another version, in place of whatever has its key and version id.
pub(super) fn rename(
    connection: &Connection,
    dataset: i64,
    old: Entry,
    new: &ObjectVersion,
) -> Result<()> {
    if let Some(replaced) = occupant(connection, dataset, new)?
        && replaced.id != old.id
    {
        bury(connection, replaced.id)?;
    }
    let scanned = ScannedObject { object: new.clone(), ..old.scanned };
    connection
        .execute(
            "UPDATE objects SET key = ?2, version = ?3, etag = ?4, scan = ?5 WHERE id = ?1",
            params![
                old.id,
                new.key.as_bytes(),
                new.version.as_str(),
                new.etag.as_str(),
                write_document(&scanned)?
            ],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Takes a row and its postings out of every reader's sight; [`sweep`] removes them.
pub(super) fn bury(connection: &Connection, id: i64) -> Result<()> {
    connection
        .execute(
            "UPDATE objects SET state = ?2, writer = NULL, recording = NULL WHERE id = ?1",
            params![id, DEAD],
        )
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Adds to the count of rows that an object's postings name, or takes away.
pub(super) fn count(connection: &Connection, id: i64, change: i64) -> Result<()> {
    connection
        .execute("UPDATE objects SET postings = postings + ?2 WHERE id = ?1", params![id, change])
        .map(drop)
        .map_err(|error| failure("be written", error))
}

/// Removes at most `limit` records of dead objects' postings, and the dead objects that have none
/// left. Answers whether more remains.
pub(super) fn sweep(connection: &Connection, limit: usize) -> Result<bool> {
    let mut left = limit;
    loop {
        let dead: Option<i64> = connection
            .query_row(
                "SELECT id FROM objects WHERE state <> 1 AND state = ?1 LIMIT 1",
                [DEAD],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| failure("be read", error))?;
        let Some(id) = dead else { return Ok(false) };
        if left == 0 {
            return Ok(true);
        }
        let removed = postings::remove_some(connection, id, left)?;
        if removed < left {
            connection
                .execute("DELETE FROM objects WHERE id = ?1", [id])
                .map_err(|error| failure("be written", error))?;
        }
        left -= removed;
    }
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
    connection
        .execute(
            "UPDATE objects SET state = ?2, writer = NULL, recording = NULL
             WHERE state <> 1 AND state = ?1 AND writer = ?3",
            params![PENDING, DEAD, writer],
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
