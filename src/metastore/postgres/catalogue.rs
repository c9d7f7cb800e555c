//! The catalogue: which object versions are recorded, and what their scans said.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tokio_postgres::Row;

use super::failure::{Attempt, damaged};
use super::pool::Session;
use super::segments::{number_of, remove_runs};
use crate::domain::Timestamp;
use crate::domain::dataset::{DatasetName, ScanSettings};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::metastore::MetastoreError;

/// What a row of the catalogue keeps as a document.
#[derive(Serialize, Deserialize)]
struct ScanDocument {
    size_bytes: u64,
    modified_at: Timestamp,
    settings: ScanSettings,
    scanned_at: Timestamp,
    outcome: ScanOutcome,
}

/// The document of a scan.
pub(super) fn document(scanned: &ScannedObject) -> Result<String, MetastoreError> {
    let document = ScanDocument {
        size_bytes: scanned.object.size_bytes,
        modified_at: scanned.object.modified_at,
        settings: scanned.settings.clone(),
        scanned_at: scanned.scanned_at,
        outcome: scanned.outcome.clone(),
    };
    serde_json::to_string(&document).map_err(|_| damaged("a scan"))
}

/// A recorded version.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    /// The number that its postings are stored under.
    pub(super) number: i64,
    pub(super) postings: i64,
    pub(super) scanned: ScannedObject,
}

/// An entry of the columns id, postings, key, version, etag, scan, number.
fn entry(row: &Row) -> Result<Entry, MetastoreError> {
    let scan: ScanDocument = serde_json::from_str(row.get(5)).map_err(|_| damaged("a scan"))?;
    let object = ObjectVersion {
        key: ObjectKey::new(row.get::<_, &[u8]>(2)),
        version: VersionId::new(row.get::<_, &str>(3)),
        etag: ETag::new(row.get::<_, &str>(4)),
        size_bytes: scan.size_bytes,
        modified_at: scan.modified_at,
    };
    let ScanDocument { settings, scanned_at, outcome, .. } = scan;
    let scanned = ScannedObject { object, settings, scanned_at, outcome };
    Ok(Entry { id: row.get(0), number: row.get(6), postings: row.get(1), scanned })
}

/// The numbers of datasets, made where they have none.
pub(super) async fn dataset_ids(
    session: &Session,
    names: &[&str],
) -> Attempt<HashMap<String, i64>> {
    let ids = known_datasets(session, names).await?;
    if names.iter().all(|name| ids.contains_key(*name)) {
        return Ok(ids);
    }
    let sql = "INSERT INTO lacuna_datasets (name)
               SELECT DISTINCT name FROM unnest($1::text[]) name ORDER BY name ON CONFLICT DO NOTHING";
    session.execute(sql, &[&names]).await?;
    known_datasets(session, names).await
}

async fn known_datasets(session: &Session, names: &[&str]) -> Attempt<HashMap<String, i64>> {
    let sql = "SELECT name, id FROM lacuna_datasets WHERE name = ANY($1)";
    let rows = session.query(sql, &[&names]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The number of a dataset, made where it has none.
pub(super) async fn dataset_id(session: &Session, dataset: &DatasetName) -> Attempt<i64> {
    let ids = dataset_ids(session, &[dataset.as_str()]).await?;
    ids.get(dataset.as_str()).copied().ok_or_else(|| damaged("no dataset").into())
}

/// The names of the datasets that have a record.
pub(super) async fn datasets(session: &Session) -> Attempt<Vec<DatasetName>> {
    let sql = "SELECT name FROM lacuna_datasets datasets WHERE EXISTS
                 (SELECT 1 FROM lacuna_objects WHERE dataset = datasets.id AND state = 1)
               ORDER BY name COLLATE \"C\"";
    let rows = session.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| DatasetName::new(row.get::<_, &str>(0))).collect())
}

/// The record of this key and version id, whatever its ETag, locked against change.
pub(super) async fn occupant(
    session: &Session,
    dataset: i64,
    object: &ObjectVersion,
) -> Attempt<Option<Entry>> {
    let sql = "SELECT id, postings, key, version, etag, scan, coalesce(shares, id)
               FROM lacuna_objects
               WHERE dataset = $1 AND key = $2 AND version = $3 AND state = 1 FOR UPDATE";
    let values: super::pool::Values<'_> =
        &[&dataset, &object.key.as_bytes(), &object.version.as_str()];
    let rows = session.query(sql, values).await?;
    Ok(rows.first().map(entry).transpose()?)
}

/// The record of exactly this version, locked against change.
pub(super) async fn find(
    session: &Session,
    dataset: i64,
    object: &ObjectVersion,
) -> Attempt<Option<Entry>> {
    let occupant = occupant(session, dataset, object).await?;
    Ok(occupant.filter(|entry| entry.scanned.object.etag == object.etag))
}

/// A recorded version whose postings are stored under a number.
pub(super) struct Holder {
    pub(super) id: i64,
    pub(super) dataset: DatasetName,
    pub(super) object: ObjectVersion,
}

/// The recorded versions whose postings are stored under these numbers.
pub(super) async fn holders(
    session: &Session,
    numbers: &[i64],
) -> Attempt<HashMap<i64, Vec<Holder>>> {
    let sql = "SELECT objects.id, postings, key, version, etag, scan, number, datasets.name
               FROM (SELECT *, id AS number FROM lacuna_objects
                     WHERE id = ANY($1) AND shares IS NULL AND state = 1
                     UNION ALL
                     SELECT *, shares AS number FROM lacuna_objects
                     WHERE shares IS NOT NULL AND shares = ANY($1) AND state = 1) objects
               JOIN lacuna_datasets datasets ON datasets.id = dataset";
    let mut holders: HashMap<i64, Vec<Holder>> = HashMap::with_capacity(numbers.len());
    for row in session.query(sql, &[&numbers]).await? {
        let dataset = DatasetName::new(row.get::<_, &str>(7));
        let Entry { id, number, scanned, .. } = entry(&row)?;
        let holder = Holder { id, dataset, object: scanned.object };
        holders.entry(number).or_default().push(holder);
    }
    Ok(holders)
}

/// Which versions have no posting of which subjects, though some are stored under these numbers.
pub(super) async fn masks(session: &Session, numbers: &[i64]) -> Attempt<HashSet<(i64, u64)>> {
    let sql = "SELECT object, subject FROM lacuna_masks WHERE number = ANY($1)";
    let rows = session.query(sql, &[&numbers]).await?;
    Ok(rows.iter().map(|row| (row.get(0), number_of(row.get(1)))).collect())
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

/// At most `limit` records of a dataset, ascending by key and version, from the position on.
pub(super) async fn page(
    session: &Session,
    dataset: &DatasetName,
    position: &PagePosition,
    limit: i64,
) -> Attempt<Vec<ScannedObject>> {
    macro_rules! page {
        ($condition:literal) => {
            concat!(
                "SELECT objects.id, postings, key, version, etag, scan, coalesce(shares, objects.id)
                 FROM lacuna_objects objects
                 WHERE dataset = (SELECT id FROM lacuna_datasets WHERE name = $1) AND state = 1 AND ",
                $condition,
                " ORDER BY key, version LIMIT $2"
            )
        };
    }
    let name = dataset.as_str();
    let rows = match position {
        PagePosition::Start => session.query(page!("true"), &[&name, &limit]).await?,
        PagePosition::Key(key) => {
            session.query(page!("key > $3"), &[&name, &limit, &key.as_bytes()]).await?
        }
        PagePosition::Version(key, version) => {
            let values: super::pool::Values<'_> =
                &[&name, &limit, &key.as_bytes(), &version.as_str()];
            session.query(page!("(key, version) > ($3, $4)"), values).await?
        }
    };
    let entries = rows.iter().map(entry);
    Ok(entries.map(|entry| entry.map(|entry| entry.scanned)).collect::<Result<_, _>>()?)
}

/// Gives a record another version, in place of whatever has its key and version id.
pub(super) async fn rename(
    session: &Session,
    dataset: i64,
    old: &Entry,
    scanned: &ScannedObject,
) -> Attempt<()> {
    let new = &scanned.object;
    if let Some(replaced) = occupant(session, dataset, new).await?
        && replaced.id != old.id
    {
        bury(session, &[replaced.id]).await?;
    }
    let sql =
        "UPDATE lacuna_objects SET key = $2, version = $3, etag = $4, scan = $5 WHERE id = $1";
    let values: super::pool::Values<'_> = &[
        &old.id,
        &new.key.as_bytes(),
        &new.version.as_str(),
        &new.etag.as_str(),
        &document(scanned)?,
    ];
    session.execute(sql, values).await.map(drop)
}

/// Takes records out of every reader's sight; a purge removes their postings.
pub(super) async fn bury(session: &Session, ids: &[i64]) -> Attempt<()> {
    let sql = "UPDATE lacuna_objects SET state = 2 WHERE id = ANY($1) AND state = 1";
    session.execute(sql, &[&ids]).await.map(drop)
}

/// Removes what was being recorded, postings and all.
pub(super) async fn abandon(session: &Session, ids: &[i64]) -> Attempt<()> {
    let sql = "DELETE FROM lacuna_objects WHERE id = ANY($1) AND state = 0 RETURNING id";
    let rows = session.query(sql, &[&ids]).await?;
    let gone: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let rows = session.query("SELECT id FROM lacuna_runs WHERE owner = ANY($1)", &[&gone]).await?;
    let runs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    if runs.is_empty() { Ok(()) } else { remove_runs(session, &runs).await }
}

/// Adds to the count of rows that a record's postings name.
pub(super) async fn count(session: &Session, id: i64, change: i64) -> Attempt<()> {
    let sql = "UPDATE lacuna_objects SET postings = postings + $2 WHERE id = $1";
    session.execute(sql, &[&id, &change]).await.map(drop)
}
