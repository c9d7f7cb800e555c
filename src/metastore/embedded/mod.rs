//! The index in a folder of this machine: a catalogue in SQLite, and beside it runs of packed postings.
//! It knows postings and catalogue and how to keep both whole through a crash; it never knows an
//! identifier, only the first 64 bits of digests.
//!
//! - A run (`run`) is a file of postings in ascending order, a few bytes each. It is written once, put on
//!   the disk, and only then named by the catalogue, in the transaction that makes the objects visible
//!   whose postings it holds (`flush`). A posting counts if its object is live, whatever runs it is in.
//! - All recordings of a process share one batch in memory (`batch`), so that many small objects cost one
//!   run, and a large one no more memory. What is in a run before its object is committed belongs to an
//!   object that is pending, which nobody sees, and is garbage once its writer is gone (`owner`).
//! - Runs are merged in the background (`merger`), which drops the postings of dead objects. Readers use
//!   the runs that the catalogue names when they begin, and never wait.
//! - An erased subject's postings are taken out of the blocks that hold them, in place (`redo`).
//!
//! All writing of a process goes through one thread (`writer`); writers of several processes wait for
//! each other by SQLite's lock. Postings of forgotten objects go when their runs are merged;
//! [`Metastore::scrub`] sees to that at once, and writes the catalogue anew.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rusqlite::{Connection, OptionalExtension as _};

use self::catalogue::{Choice, PagePosition};
use self::failure::{damaged, failure};
use self::files::Files;
use self::lookup::Search;
use self::merger::Scope;
use self::recorder::EmbeddedRecorder;
use self::run::Run;
use self::writer::{Session, Writer};
use super::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::{Posting, ScannedObject};

mod batch;
mod catalogue;
mod check;
mod dump;
mod failure;
mod files;
mod flush;
mod lookup;
mod merge;
mod merger;
mod owner;
mod recorder;
mod redo;
mod removal;
mod run;
mod runs;
mod schema;
mod succession;
mod writer;

pub use check::IndexCheck;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many records one page of [`Metastore::indexed`] reads at once.
const PAGE: usize = 1000;

/// How often a reader begins anew because runs that it was to read were merged away.
const SNAPSHOTS: usize = 1000;

/// How many keys one snapshot looks up.
const KEYS: usize = 10_000;

/// How many object versions one transaction forgets.
const FORGET: usize = 1000;

/// How an index in a folder is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many postings wait in memory before they are written, 16 bytes each; as many again may come in
    /// while these are written.
    pub postings: usize,
    /// How many runs there may be before some are merged.
    pub runs: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { postings: 2 << 20, runs: 12 }
    }
}

/// The index in a folder.
pub struct Embedded {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

struct Shared {
    files: Arc<Files>,
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
        Self::open_with(folder, Settings::default())
    }

    /// Whether there is an index in this folder.
    pub fn exists(folder: &Path) -> bool {
        schema::catalogue_path(folder).is_file()
    }

    /// Removes the index from a folder, sound or damaged, so that another can be made there. Blocks.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::Unavailable`] where another process writes to it, others where the files
    /// cannot be removed.
    pub fn remove(folder: &Path) -> Result<()> {
        removal::remove(folder)
    }

    /// Opens the index in this folder, to be kept in another way than usual. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Embedded::open`].
    pub fn open_with(folder: &Path, settings: Settings) -> Result<Self> {
        schema::prepare(folder)?;
        let files = Arc::new(Files::new(folder));
        redo::settle_left_over(folder, &files)?;
        let writer = Arc::new(Writer::new(folder, &files, settings)?);
        Ok(Self { shared: Arc::new(Shared { files, readers: Mutex::default() }), writer })
    }

    /// Merges all runs into one, without what is forgotten.
    ///
    /// # Errors
    ///
    /// Where the disk fails or is full; what was indexed stays as it was.
    pub async fn compact(&self) -> Result<()> {
        self.writer.clear(Scope::All).await
    }

    /// Waits until what is due is merged, and until the file of a merge that others made void is gone:
    /// while one is being written, it may hold what was erased in the meantime.
    pub async fn settle(&self) {
        self.writer.settle().await;
    }

    /// Reads the whole index and compares it with itself: every checksum, the order of postings, and the
    /// count of each object's postings.
    ///
    /// # Errors
    ///
    /// Where it cannot be read at all. What is read and found damaged is the answer.
    pub async fn check(&self) -> Result<IndexCheck> {
        check::check(&self.shared).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Session) -> Result<T> + Send + 'static,
    {
        self.writer.run(work).await
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Embedded({})", self.shared.files.folder().display())
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
                None => schema::open_reader(self.files.folder())?,
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
    /// Runs `work` likewise, with the runs that the catalogue names at that moment.
    async fn read_runs<T, F>(self: Arc<Self>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &[Arc<Run>]) -> Result<T> + Send + 'static,
    {
        let mut work = Some(work);
        for _ in 0..SNAPSHOTS {
            let shared = Arc::clone(&self);
            let attempt = move |connection: &Connection| {
                let Some(runs) = runs::open_all(connection, &shared.files)? else {
                    return Ok((work, None));
                };
                let answer = work.take().map(|work| work(connection, &runs)).transpose()?;
                Ok((work, answer))
            };
            let (unused, answer) = Arc::clone(&self).read(attempt).await?;
            match answer {
                Some(answer) => return Ok(answer),
                None => work = unused,
            }
        }
        Err(damaged("no file of a run"))
    }

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
                "the index in {} was filled under another digest key: configure that key, or make the \
                 index anew with `lacuna index --rebuild`",
                self.shared.files.folder().display()
            ),
        ))
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>> {
        let writer = Arc::clone(&self.writer);
        Ok(Box::new(EmbeddedRecorder::begin(writer, dataset, object).await?))
    }

    async fn succeed(&self, succession: &Succession) -> Result<()> {
        self.writer.succeed(succession.clone()).await
    }

    async fn forget(&self, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
        for some in objects.chunks(FORGET) {
            let (dataset, some) = (dataset.clone(), some.to_vec());
            self.write(move |session| bury_all(session, &dataset, &some)).await?;
        }
        Ok(())
    }

    async fn scrub(&self) -> Result<()> {
        self.writer.clear(Scope::Dead).await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        digests.dedup();
        let shared = Arc::clone(&self.shared);
        let pages = stream::try_unfold(Search::new(digests), move |search| {
            let shared = Arc::clone(&shared);
            async move {
                if search.is_over() {
                    return Ok(None);
                }
                let step =
                    move |connection: &Connection, runs: &[Arc<Run>]| search.step(connection, runs);
                shared.read_runs(step).await.map(Some)
            }
        });
        pages.map_ok(|found| stream::iter(found.into_iter().map(Ok))).try_flatten().boxed()
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        dump::postings(&self.shared, dataset, objects)
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

    async fn posting_counts(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<Vec<Option<u64>>> {
        let (dataset, objects) = (dataset.clone(), objects.to_vec());
        let read =
            move |connection: &Connection| catalogue::counts_of(connection, &dataset, &objects);
        Arc::clone(&self.shared).read(read).await
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>> {
        Arc::clone(&self.shared).read(catalogue::datasets).await
    }

    async fn size(&self) -> Result<MetastoreSize> {
        let read =
            |connection: &Connection| Ok((catalogue::totals(connection)?, runs::all(connection)?));
        let ((objects, postings), runs) = Arc::clone(&self.shared).read(read).await?;
        let path = schema::catalogue_path(self.shared.files.folder());
        let catalogue = ["", "-wal"].iter().map(|suffix| {
            let mut path = path.clone().into_os_string();
            path.push(suffix);
            std::fs::metadata(path).map_or(0, |metadata| metadata.len())
        });
        let of_runs = runs.iter().map(|run| run::size_of(run.facts.blocks));
        let size_bytes = catalogue.chain(of_runs).sum();
        Ok(MetastoreSize { objects, postings, size_bytes, runs: Some(runs.len() as u64) })
    }
}

/// The records of a page, and where the next one begins.
fn with_position(page: Vec<ScannedObject>) -> (Vec<ScannedObject>, Option<PagePosition>) {
    let next = page.last().filter(|_| page.len() == PAGE).map(|scanned| {
        PagePosition::Version(scanned.object.key.clone(), scanned.object.version.clone())
    });
    (page, next)
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
    let Some(dataset) = catalogue::known_dataset(connection, dataset)? else { return Ok(()) };
    for object in objects {
        if let Some(number) = catalogue::find(connection, dataset, object)? {
            catalogue::bury(connection, number)?;
        }
    }
    session.nudge_merger();
    Ok(())
}

#[cfg(test)]
mod tests;
