//! The index in a folder of this machine: one SQLite database. It knows postings and catalogue and
//! how to keep both whole through a crash; it never knows an identifier, only digests.
//!
//! Readers have connections of their own and see what was last committed; all writing of a process goes
//! through one thread (`writer`), writers of several processes wait for each other. What
//! is forgotten is overwritten (`secure_delete`) and leaves the log before the call returns. A page
//! that SQLite rearranged may still hold a copy of a few digests in its unused part, so
//! [`Metastore::scrub`] writes the whole database anew (`VACUUM`).

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rusqlite::{Connection, OptionalExtension as _};

use self::catalogue::{Choice, Entry, PagePosition};
use self::failure::failure;
use self::postings::Finder;
use self::recorder::EmbeddedRecorder;
use self::writer::{Session, Writer};
use super::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::{Posting, ScannedObject};
use crate::domain::row::{RowNumber, RowSet};

mod catalogue;
mod failure;
mod owner;
mod packing;
mod postings;
mod recorder;
mod schema;
mod succession;
mod writer;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many records one page of [`Metastore::indexed`] reads at once.
const PAGE: usize = 1000;

/// How many rows one step of [`Metastore::lookup`] reads before it hands them on.
const ROWS: usize = 1 << 20;

/// How many keys one snapshot looks up.
const KEYS: usize = 10_000;

/// How many object versions one transaction forgets.
const FORGET: usize = 1000;

/// The index in a folder.
pub struct Embedded {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    writer: Arc<Writer>,
    readers: Mutex<Vec<Connection>>,
}

impl Embedded {
    /// Opens the index in this folder, and makes both where they are missing. Blocks.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::WrongVersion`] where a newer Lacuna or another program made the database,
    /// [`MetastoreErrorKind::Corrupt`] where it is damaged, others where the folder cannot be used.
    pub fn open(folder: &Path) -> Result<Self> {
        schema::prepare(folder)?;
        let shared = Shared {
            folder: folder.to_owned(),
            writer: Arc::new(Writer::new(folder)?),
            readers: Mutex::new(Vec::new()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether there is an index in this folder, of whatever version.
    pub fn exists(folder: &Path) -> bool {
        schema::catalogue_path(folder).is_file()
    }

    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session) -> Result<T> + Send + 'static,
    {
        self.shared.writer.run(work).await
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Embedded({})", self.shared.folder.display())
    }
}

impl Shared {
    /// Runs `work` on a connection that reads, off the runtime's threads.
    async fn read<T, F>(self: Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let run = move || {
            let pooled = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match pooled {
                Some(connection) => connection,
                None => schema::open_reader(&self.folder)?,
            };
            let answer = within_snapshot(&connection, work);
            self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            answer
        };
        tokio::task::spawn_blocking(run).await.map_err(|error| {
            MetastoreError::new(MetastoreErrorKind::Other, "reading the index was broken off")
                .caused_by(error)
        })?
    }
}

impl Shared {
    /// The records of a dataset from a place on, a page at a time.
    fn pages(
        self: &Arc<Self>,
        dataset: DatasetName,
        start: PagePosition,
        choice: Choice,
    ) -> MetastoreStream<ScannedObject> {
        let shared = Arc::clone(self);
        let pages = stream::try_unfold(Some(start), move |position| {
            let (shared, dataset) = (Arc::clone(&shared), dataset.clone());
            async move {
                let Some(position) = position else { return Ok(None) };
                let read = move |connection: &Connection| {
                    catalogue::page(connection, &dataset, &position, choice, PAGE)
                };
                shared.read(read).await.map(|page| Some(with_position(page)))
            }
        });
        pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten().boxed()
    }
}

fn within_snapshot<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let execute =
        |statement| connection.execute_batch(statement).map_err(|error| failure("be read", error));
    execute("BEGIN")?;
    let answer = work(connection);
    let ended = execute("ROLLBACK");
    let answer = answer?;
    ended.map(|()| answer)
}

#[async_trait]
impl Metastore for Embedded {
    async fn bind(&self, key: &KeyCheck) -> Result<()> {
        let key = key.to_string();
        let known = {
            let shared = Arc::clone(&self.shared);
            shared.read(bound_key).await?
        };
        let bound = match known {
            Some(bound) => bound,
            None => {
                let key = key.clone();
                self.write(move |session| bind_key(&session.connection, key)).await?
            }
        };
        if bound == key {
            return Ok(());
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::WrongKey,
            format!(
                "the index in {} was filled under another digest key: configure that key, or name a \
                 new metastore and index again",
                self.shared.folder.display()
            ),
        ))
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>> {
        let writer = Arc::clone(&self.shared.writer);
        Ok(Box::new(EmbeddedRecorder::new(writer, dataset.clone(), object.clone())))
    }

    async fn succeed(&self, succession: &Succession) -> Result<()> {
        succession::succeed(&self.shared.writer, succession).await?;
        self.shared.writer.purge().await
    }

    async fn forget(&self, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
        self.write(Session::bury_lost_writers).await?;
        for some in objects.chunks(FORGET) {
            let (dataset, some) = (dataset.clone(), some.to_vec());
            self.write(move |session| bury_all(session, &dataset, &some)).await?;
        }
        self.shared.writer.purge().await
    }

    async fn scrub(&self) -> Result<()> {
        self.write(Session::bury_lost_writers).await?;
        self.shared.writer.scrub().await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        digests.dedup();
        let shared = Arc::clone(&self.shared);
        let search = Search { digests: digests.into(), next: 0, after: 0 };
        let pages = stream::try_unfold(search, move |search| {
            let shared = Arc::clone(&shared);
            async move {
                if search.next == search.digests.len() {
                    return Ok(None);
                }
                shared.read(move |connection| search.step(connection)).await.map(Some)
            }
        });
        pages.map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        let start = match after {
            Some(key) => PagePosition::Key(key.clone()),
            None => PagePosition::Start,
        };
        self.shared.pages(dataset.clone(), start, Choice::All)
    }

    async fn recorded(
        &self,
        dataset: &DatasetName,
        keys: &[ObjectKey],
    ) -> Result<Vec<ScannedObject>> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut found = Vec::new();
        for some in keys.chunks(KEYS) {
            let (dataset, some) = (dataset.clone(), some.to_vec());
            let read =
                move |connection: &Connection| catalogue::of_keys(connection, &dataset, &some);
            found.extend(Arc::clone(&self.shared).read(read).await?);
        }
        Ok(found)
    }

    fn flawed(&self, dataset: &DatasetName) -> MetastoreStream<ScannedObject> {
        let pages = self.shared.pages(dataset.clone(), PagePosition::Start, Choice::Flawed);
        // The database tells by a glance; the record itself decides.
        pages.try_filter(|scanned| std::future::ready(!scanned.is_whole())).boxed()
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        let (shared, dataset) = (Arc::clone(&self.shared), dataset.clone());
        let objects: Arc<[ObjectVersion]> = objects.into();
        let pieces = stream::try_unfold((0, None), move |(place, after)| {
            let (shared, dataset, objects) = (shared.clone(), dataset.clone(), objects.clone());
            async move {
                let Some(object) = objects.get(place).cloned() else { return Ok(None) };
                let read = move |connection: &Connection| {
                    catalogue::told(connection, &dataset, &object, after.as_ref())
                };
                let (postings, next) = shared.read(read).await?;
                let next = next.map_or((place + 1, None), |next| (place, Some(next)));
                Ok(Some((ObjectPostings { place, postings }, next)))
            }
        });
        pieces.try_filter(|piece| std::future::ready(!piece.postings.is_empty())).boxed()
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>> {
        Arc::clone(&self.shared).read(catalogue::datasets).await
    }

    async fn size(&self) -> Result<MetastoreSize> {
        let (objects, postings) = Arc::clone(&self.shared).read(catalogue::totals).await?;
        let path = schema::catalogue_path(&self.shared.folder);
        let size_bytes = ["", "-wal"].iter().map(|suffix| {
            let mut path = path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        });
        Ok(MetastoreSize { objects, postings, size_bytes: size_bytes.sum() })
    }
}

/// The records of a page, and where the next one begins.
fn with_position(page: Vec<Entry>) -> (Vec<ScannedObject>, Option<PagePosition>) {
    let next = page.last().filter(|_| page.len() == PAGE).map(|entry| {
        let object = &entry.scanned.object;
        PagePosition::Version(object.key.clone(), object.version.clone())
    });
    (page.into_iter().map(|entry| entry.scanned).collect(), next)
}

fn bound_key(connection: &Connection) -> Result<Option<String>> {
    connection
        .query_row("SELECT value FROM about WHERE name = 'digest key'", [], |row| row.get(0))
        .optional()
        .map_err(|error| failure("be read", error))
}

/// Binds the key unless one is bound, and answers which is.
fn bind_key(connection: &Connection, key: String) -> Result<String> {
    if let Some(bound) = bound_key(connection)? {
        return Ok(bound);
    }
    connection
        .execute("INSERT INTO about (name, value) VALUES ('digest key', ?1)", [&key])
        .map_err(|error| failure("be written", error))?;
    Ok(key)
}

fn bury_all(session: &mut Session, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
    let connection = &session.connection;
    let dataset = catalogue::dataset_id(connection, dataset)?;
    for object in objects {
        if let Some(entry) = catalogue::find(connection, dataset, object)? {
            catalogue::bury(connection, entry.id)?;
        }
    }
    session.litter();
    Ok(())
}

/// A lookup under way. It reads in steps, each a snapshot of its own, so that a slow consumer never
/// holds up the removal of what was forgotten. Object numbers only grow, so a step misses nothing
/// that was there when the lookup began.
struct Search {
    digests: Arc<[IdentifierDigest]>,
    /// Which digest is read next.
    next: usize,
    /// The last object that was read for it.
    after: i64,
}

impl Search {
    fn step(mut self, connection: &Connection) -> Result<(Vec<Posting>, Self)> {
        let mut finder = Finder::new(connection)?;
        let mut objects = Objects { connection, known: HashMap::new() };
        let mut found = Vec::new();
        let mut rows_left = ROWS;
        while let Some(&digest) = self.digests.get(self.next) {
            let mut last = self.after;
            finder.find(&digest, self.after, |object, rows| {
                last = object;
                rows_left = rows_left.saturating_sub(rows.len() + 1);
                found.extend(objects.posting(digest, object, rows)?);
                Ok(rows_left > 0)
            })?;
            if rows_left == 0 {
                self.after = last;
                return Ok((found, self));
            }
            self.next += 1;
            self.after = 0;
        }
        Ok((found, self))
    }
}

/// The live objects that a step of a lookup has met.
struct Objects<'c> {
    connection: &'c Connection,
    known: HashMap<i64, Option<(DatasetName, ObjectVersion)>>,
}

impl Objects<'_> {
    /// The posting, if the object is live.
    fn posting(
        &mut self,
        digest: IdentifierDigest,
        object: i64,
        rows: Vec<RowNumber>,
    ) -> Result<Option<Posting>> {
        let known = match self.known.entry(object) {
            Slot::Occupied(slot) => slot.into_mut(),
            Slot::Vacant(slot) => {
                let live = catalogue::live(self.connection, object)?;
                slot.insert(live.map(|(dataset, entry)| (dataset, entry.scanned.object)))
            }
        };
        Ok(known.as_ref().zip(RowSet::new(rows)).map(|((dataset, object), rows)| Posting {
            digest,
            dataset: dataset.clone(),
            object: object.clone(),
            rows,
        }))
    }
}
