//! Tells every posting of some versions: one pass over all segments in one state of the index, so that
//! a merge beside it neither hides a posting nor shows one twice. That state is kept for as long as
//! the pass takes: until then the server cannot reuse the room of what is removed meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::sync::mpsc;
use tokio_postgres::Row;

use super::catalogue;
use super::failure::{Attempt, damaged};
use super::pool::{READ, Session, Values, Work};
use super::segments::Stored;
use super::writer::Writer;
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::RowPosting;
use crate::domain::row::RowNumber;
use crate::metastore::packing::subject::digest_of;
use crate::metastore::{MetastoreError, MetastoreErrorKind, MetastoreStream, ObjectPostings};

/// How many versions one statement looks up.
const OBJECTS: usize = 10_000;

const OPEN: &str = "DECLARE lacuna_pass NO SCROLL CURSOR FOR
    SELECT segments.segment FROM lacuna_runs runs
    JOIN lacuna_segments segments ON segments.run = runs.id WHERE runs.owner IS NULL";

/// One page: a megabyte of segments.
const FETCH: &str = "FETCH 256 FROM lacuna_pass";

/// How far a pass has come.
const BEFORE: u8 = 0;
const WITHIN: u8 = 1;
const AFTER: u8 = 2;

/// A page of what was found; `None` at the end, without which the pass was broken off.
type Page = Result<Option<Vec<ObjectPostings>>, MetastoreError>;

/// The postings of these versions of a dataset.
pub(super) fn stream(
    writer: Arc<Writer>,
    dataset: DatasetName,
    objects: Vec<ObjectVersion>,
) -> MetastoreStream<ObjectPostings> {
    let begun = async move {
        let (pages, told) = mpsc::channel::<Page>(1);
        tokio::spawn(async move {
            let came_to = AtomicU8::new(BEFORE);
            let pass = Pass { dataset, objects: objects.into(), pages: pages.clone(), came_to };
            let end = writer.pool.transact(&pass).await.map(|()| None);
            // Whoever no longer listens does not want to know.
            drop(pages.send(end).await);
        });
        stream::try_unfold(told, |mut told| async move {
            let page = told.recv().await.unwrap_or_else(|| Err(broken_off()))?;
            Ok(page.map(|found| (stream::iter(found.into_iter().map(Ok)), told)))
        })
        .try_flatten()
    };
    stream::once(begun).flatten().boxed()
}

fn broken_off() -> MetastoreError {
    let message = "reading the index was broken off: try again";
    MetastoreError::new(MetastoreErrorKind::Unavailable, message)
}

struct Pass {
    dataset: DatasetName,
    objects: Arc<[ObjectVersion]>,
    pages: mpsc::Sender<Page>,
    came_to: AtomicU8,
}

#[async_trait]
impl Work for Pass {
    type Answer = ();

    fn begin(&self) -> &'static str {
        READ
    }

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        match self.came_to.load(Ordering::Relaxed) {
            BEFORE => {}
            // What was told cannot be taken back, and another state of the index would not fit it.
            WITHIN => return Err(broken_off().into()),
            _ => return Ok(()),
        }
        let wanted = Arc::new(self.wanted(session).await?);
        if !wanted.is_empty() {
            session.run(OPEN).await?;
            loop {
                let rows = session.query(FETCH, &[]).await?;
                if rows.is_empty() {
                    break;
                }
                let found = told(rows, wanted.clone()).await?;
                self.came_to.store(WITHIN, Ordering::Relaxed);
                if self.pages.send(Ok(Some(found))).await.is_err() {
                    break;
                }
            }
        }
        self.came_to.store(AFTER, Ordering::Relaxed);
        Ok(())
    }
}

/// The versions that are asked for, by the number that their postings are stored under.
type Wanted = HashMap<u64, Vec<WantedVersion>>;

struct WantedVersion {
    place: usize,
    /// Subjects of whom it has no posting, though some are stored under its number.
    masked: HashSet<u64>,
}

impl Pass {
    async fn wanted(&self, session: &Session) -> Attempt<Wanted> {
        let entries = entries(session, &self.dataset, &self.objects).await?;
        let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
        let mut masked: HashMap<i64, HashSet<u64>> = HashMap::new();
        for (object, subject) in catalogue::masks(session, &numbers).await? {
            masked.entry(object).or_default().insert(subject);
        }
        let mut wanted = Wanted::with_capacity(entries.len());
        for Entry { place, id, number, .. } in entries {
            let masked = masked.remove(&id).unwrap_or_default();
            let versions = wanted.entry(number.cast_unsigned()).or_default();
            versions.push(WantedVersion { place, masked });
        }
        Ok(wanted)
    }
}

/// A recorded version, by its place among those that were asked for.
struct Entry {
    place: usize,
    id: i64,
    number: i64,
    postings: i64,
}

/// Those of the versions that are recorded.
async fn entries(
    session: &Session,
    dataset: &DatasetName,
    objects: &[ObjectVersion],
) -> Attempt<Vec<Entry>> {
    const ENTRIES: &str = "
        SELECT asked.place, objects.id, coalesce(objects.shares, objects.id), objects.postings
        FROM unnest($2::bytea[], $3::text[], $4::text[])
            WITH ORDINALITY AS asked (key, version, etag, place)
        JOIN lacuna_objects objects USING (key, version, etag)
        WHERE dataset = (SELECT id FROM lacuna_datasets WHERE name = $1) AND state = 1";
    let mut entries = Vec::with_capacity(objects.len());
    for (chunk, objects) in objects.chunks(OBJECTS).enumerate() {
        let keys: Vec<&[u8]> = objects.iter().map(|object| object.key.as_bytes()).collect();
        let versions: Vec<&str> = objects.iter().map(|object| object.version.as_str()).collect();
        let etags: Vec<&str> = objects.iter().map(|object| object.etag.as_str()).collect();
        let values: Values<'_> = &[&dataset.as_str(), &keys, &versions, &etags];
        for row in session.query(ENTRIES, values).await? {
            let place = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
            let place = chunk * OBJECTS + place;
            let (id, number, postings) = (row.get(1), row.get(2), row.get(3));
            entries.push(Entry { place, id, number, postings });
        }
    }
    Ok(entries)
}

/// How many postings the records of these versions say they have.
pub(super) struct Counts<'c> {
    pub(super) dataset: &'c DatasetName,
    pub(super) objects: &'c [ObjectVersion],
}

#[async_trait]
impl Work for Counts<'_> {
    type Answer = Vec<Option<u64>>;

    fn begin(&self) -> &'static str {
        READ
    }

    async fn attempt(&self, session: &Session) -> Attempt<Vec<Option<u64>>> {
        let mut counts = vec![None; self.objects.len()];
        for entry in entries(session, self.dataset, self.objects).await? {
            if let Some(count) = counts.get_mut(entry.place) {
                *count = Some(entry.postings.cast_unsigned());
            }
        }
        Ok(counts)
    }
}

/// What these segments hold of the wanted objects. Takes a while.
async fn told(rows: Vec<Row>, wanted: Arc<Wanted>) -> Attempt<Vec<ObjectPostings>> {
    let reading = tokio::task::spawn_blocking(move || {
        let mut found: HashMap<usize, Vec<RowPosting>> = HashMap::new();
        for row in &rows {
            let bytes: &[u8] = row.try_get(0).map_err(|_| damaged("a segment"))?;
            let stored = Stored::new(bytes)?;
            for posting in stored.block()?.postings() {
                let Some(versions) = wanted.get(&posting.object) else { continue };
                let digest = digest_of(posting.subject);
                let told = RowPosting { digest, row: RowNumber(posting.row) };
                for version in versions.iter().filter(|it| !it.masked.contains(&posting.subject)) {
                    found.entry(version.place).or_default().push(told);
                }
            }
        }
        Ok(found)
    });
    let found: Result<_, MetastoreError> = reading.await.map_err(|_| broken_off())?;
    let found = found?.into_iter();
    Ok(found.map(|(place, postings)| ObjectPostings { place, postings }).collect())
}
