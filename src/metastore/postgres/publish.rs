//! The transaction that makes recorded versions visible.

use std::collections::HashMap;

use async_trait::async_trait;

use super::catalogue;
use super::failure::{Attempt, damaged};
use super::merge::{Choice, merge};
use super::pool::{Session, Values, Work};
use super::recorder::lost;
use super::segments::{Segment, remove_runs, store_run};
use super::writer::{Job, Spilled, pack, packed};
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

/// Versions with their postings, packed together.
pub(super) struct Publish {
    versions: Vec<Version>,
    segments: Vec<Segment>,
    postings: u64,
}

struct Version {
    id: i64,
    dataset: String,
    scanned: ScannedObject,
    postings: u64,
    /// Whether parts of it are stored already.
    is_spilled: bool,
    /// Its last part, where it may repeat what is stored already.
    repeating: Option<(Vec<Segment>, u64)>,
}

impl Publish {
    /// Packs versions under their numbers. Takes a while.
    pub(super) fn pack(jobs: Vec<Job>, ids: Vec<i64>, postings: Vec<Vec<RowPosting>>) -> Self {
        let mut all: Vec<PackedPosting> = Vec::with_capacity(postings.iter().map(Vec::len).sum());
        let mut versions = Vec::with_capacity(jobs.len());
        for ((job, id), rest) in jobs.into_iter().zip(ids).zip(postings) {
            let may_repeat = |spilled: &Spilled| spilled.may_repeat(&rest);
            let repeats = job.spilled.as_ref().is_some_and(may_repeat);
            if !repeats {
                all.extend(packed(id, &rest));
            }
            versions.push(Version {
                id,
                dataset: job.dataset.to_string(),
                scanned: job.scanned,
                postings: job.spilled.as_ref().map_or(0, |spilled| spilled.postings),
                is_spilled: job.spilled.is_some(),
                repeating: repeats.then(|| pack(packed(id, &rest))),
            });
        }
        all.sort_unstable();
        all.dedup();
        let mut counts: HashMap<i64, u64> = HashMap::new();
        for posting in &all {
            *counts.entry(posting.object.cast_signed()).or_default() += 1;
        }
        for version in &mut versions {
            version.postings += counts.get(&version.id).copied().unwrap_or(0);
        }
        let (segments, postings) = pack(all.into_iter());
        Self { versions, segments, postings }
    }
}

#[async_trait]
impl Work for Publish {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let names: Vec<&str> = self.versions.iter().map(|version| &*version.dataset).collect();
        let datasets = catalogue::dataset_ids(session, &names).await?;
        let dataset = |version: &Version| datasets.get(&version.dataset).copied();
        let datasets: Option<Vec<i64>> = self.versions.iter().map(dataset).collect();
        let datasets = datasets.ok_or_else(|| damaged("no dataset"))?;
        bury_occupants(session, &datasets, &self.versions).await?;
        let (spilled, fresh): (Vec<_>, Vec<_>) =
            self.versions.iter().zip(&datasets).partition(|(version, _)| version.is_spilled);
        insert(session, &fresh).await?;
        for (version, _) in spilled {
            reveal(session, version).await?;
        }
        if self.segments.is_empty() {
            return Ok(());
        }
        store_run(session, None, &self.segments, self.postings).await.map(drop)
    }
}

/// Buries whatever has the key and version id of one of these.
async fn bury_occupants(session: &Session, datasets: &[i64], versions: &[Version]) -> Attempt<()> {
    // In one order, so that two transactions wait for each other in a line.
    let sql = "UPDATE lacuna_objects SET state = 2 WHERE id IN (
                   SELECT objects.id FROM lacuna_objects objects
                   JOIN unnest($1::bigint[], $2::bytea[], $3::text[]) AS place (dataset, key, version)
                       USING (dataset, key, version)
                   WHERE state = 1 ORDER BY objects.id FOR UPDATE OF objects)";
    let objects = || versions.iter().map(|version| &version.scanned.object);
    let keys: Vec<&[u8]> = objects().map(|object| object.key.as_bytes()).collect();
    let ids: Vec<&str> = objects().map(|object| object.version.as_str()).collect();
    session.execute(sql, &[&datasets, &keys, &ids]).await.map(drop)
}

async fn insert(session: &Session, versions: &[(&Version, &i64)]) -> Attempt<()> {
    if versions.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO lacuna_objects (id, dataset, key, version, etag, state, postings, scan)
               SELECT id, dataset, key, version, etag, 1, postings, scan
               FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::text[],
                           $6::bigint[], $7::text[])
                   AS fresh (id, dataset, key, version, etag, postings, scan)";
    let objects = || versions.iter().map(|(version, _)| &version.scanned.object);
    let ids: Vec<i64> = versions.iter().map(|(version, _)| version.id).collect();
    let datasets: Vec<i64> = versions.iter().map(|(_, dataset)| **dataset).collect();
    let keys: Vec<&[u8]> = objects().map(|object| object.key.as_bytes()).collect();
    let names: Vec<&str> = objects().map(|object| object.version.as_str()).collect();
    let etags: Vec<&str> = objects().map(|object| object.etag.as_str()).collect();
    let counts: Vec<i64> =
        versions.iter().map(|(version, _)| version.postings.cast_signed()).collect();
    let scans: Vec<String> = versions
        .iter()
        .map(|(version, _)| catalogue::document(&version.scanned))
        .collect::<Result<_, MetastoreError>>()?;
    let values: Values<'_> = &[&ids, &datasets, &keys, &names, &etags, &counts, &scans];
    session.execute(sql, values).await.map(drop)
}

/// Makes a version visible whose parts are stored already.
async fn reveal(session: &Session, version: &Version) -> Attempt<()> {
    let mut count = version.postings;
    match &version.repeating {
        None => {
            let sql = "UPDATE lacuna_runs SET owner = NULL WHERE owner = $1";
            session.execute(sql, &[&version.id]).await?;
        }
        Some((segments, postings)) => {
            store_run(session, Some(version.id), segments, *postings).await?;
            let sql = "SELECT id FROM lacuna_runs WHERE owner = $1";
            let rows = session.query(sql, &[&version.id]).await?;
            let runs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            count = merge(session, &runs, Choice::All).await?;
            remove_runs(session, &runs).await?;
        }
    }
    let sql = "UPDATE lacuna_objects SET state = 1, writer = NULL, postings = $2, scan = $3
               WHERE id = $1 AND state = 0";
    let scan = catalogue::document(&version.scanned)?;
    match session.execute(sql, &[&version.id, &count.cast_signed(), &scan]).await? {
        1 => Ok(()),
        _ => Err(lost().into()),
    }
}
