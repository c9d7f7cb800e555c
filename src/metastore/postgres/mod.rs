//! The index in a PostgreSQL database, for several machines at once. It knows postings and catalogue,
//! and how to keep both whole through lost connections; it never knows an identifier, only digests.
//!
//! Postings are packed across subjects into segments, and segments stand in runs, each ascending by
//! subject; a lookup takes a segment or two of each run. Recording adds runs, `maintenance` merges
//! them. A posting whose version is no longer in the catalogue is dead: nobody sees it, and a merge or
//! a purge leaves it out.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use self::catalogue::PagePosition;
use self::failure::Attempt;
use self::lookup::Lookup;
use self::pool::{Pool, READ, Session, Work};
use self::recorder::PostgresRecorder;
use self::writer::{CollectLost, Writer};
use super::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use crate::domain::dataset::DatasetName;
use crate::domain::identifier::{IdentifierDigest, KeyCheck};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::posting::{Posting, ScannedObject};

mod catalogue;
mod connect;
mod examine;
mod failure;
mod lock;
mod lookup;
mod maintenance;
mod merge;
mod pool;
mod postings;
mod publish;
mod recorder;
mod schema;
mod segments;
mod succession;
mod writer;

pub use connect::PostgresSettings;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many records one page of [`Metastore::indexed`] reads at once.
const PAGE: i64 = 1000;

/// How many object versions one transaction forgets.
const FORGET: usize = 1000;

/// The index in a database.
pub struct Postgres {
    writer: Arc<Writer>,
}

impl Postgres {
    /// A handle on the index; nothing is connected yet.
    pub fn new(settings: PostgresSettings) -> Self {
        Self { writer: Arc::new(Writer::new(Pool::new(settings))) }
    }

    /// Makes the tables, or brings them up to this program's version. Answers whether that changed
    /// anything.
    ///
    /// # Errors
    ///
    /// [`MetastoreErrorKind::WrongVersion`] where a newer Lacuna made them, others where the database
    /// cannot be reached or used.
    pub async fn migrate(&self) -> Result<bool> {
        self.pool().transact(&schema::Migrate).await
    }

    /// Removes every record and posting, and the key that they belong to, sound or damaged; the tables
    /// stay.
    ///
    /// # Errors
    ///
    /// Where the database cannot be reached or used.
    pub async fn clear(&self) -> Result<()> {
        self.pool().transact(&Clear).await
    }

    /// Notes what the keys of each dataset's objects follow (`s3://bucket/`, a folder), for those who
    /// ask in SQL.
    ///
    /// # Errors
    ///
    /// Where the database cannot be reached or used.
    pub async fn note_roots(&self, roots: &[(DatasetName, String)]) -> Result<()> {
        self.pool().transact(&NoteRoots(roots)).await
    }

    fn pool(&self) -> &Pool {
        &self.writer.pool
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Postgres({})", self.pool().shown())
    }
}

#[async_trait]
impl Metastore for Postgres {
    async fn bind(&self, key: &KeyCheck) -> Result<()> {
        let key = key.to_string();
        let bound = self.pool().transact(&Bind(&key)).await?;
        if bound == key {
            return Ok(());
        }
        Err(MetastoreError::new(
            MetastoreErrorKind::WrongKey,
            format!(
                "the index at {} was filled under another digest key: configure that key, or make the \
                 index anew with `lacuna index --rebuild`",
                self.pool().shown()
            ),
        ))
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>> {
        let writer = self.writer.clone();
        Ok(Box::new(PostgresRecorder::new(writer, dataset.clone(), object.clone())))
    }

    async fn succeed(&self, succession: &Succession) -> Result<()> {
        let fresh = self.writer.fresh().await?;
        self.pool().transact(&succession::Succeed { succession, fresh }).await?;
        maintenance::purge_if_due(&self.writer).await
    }

    async fn forget(&self, dataset: &DatasetName, objects: &[ObjectVersion]) -> Result<()> {
        self.pool().transact(&CollectLost).await?;
        for objects in objects.chunks(FORGET) {
            self.pool().transact(&Forget { dataset, objects }).await?;
        }
        self.pool().transact(&succession::Settle).await?;
        maintenance::purge_if_due(&self.writer).await
    }

    async fn scrub(&self) -> Result<()> {
        self.pool().transact(&CollectLost).await?;
        self.pool().transact(&succession::Settle).await?;
        maintenance::purge(&self.writer).await?;
        self.pool().run_alone("VACUUM (FULL) lacuna_segments, lacuna_objects, lacuna_masks").await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        let mut digests = digests.to_vec();
        digests.sort_unstable();
        digests.dedup();
        let (writer, digests): (_, Arc<[_]>) = (self.writer.clone(), digests.into());
        let pages = stream::try_unfold(0, move |start| {
            let (writer, digests) = (writer.clone(), digests.clone());
            async move {
                let end = digests.len().min(start + lookup::PAGE);
                if start == end {
                    return Ok(None);
                }
                let found = writer.pool.transact(&Lookup { digests: &digests[start..end] }).await?;
                Ok(Some((stream::iter(found.into_iter().map(Ok)), end)))
            }
        });
        pages.try_flatten().boxed()
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        let (writer, dataset) = (self.writer.clone(), dataset.clone());
        let start = match after {
            Some(key) => PagePosition::Key(key.clone()),
            None => PagePosition::Start,
        };
        let pages = stream::try_unfold(Some(start), move |position| {
            let (writer, dataset) = (writer.clone(), dataset.clone());
            async move {
                let Some(position) = position else { return Ok(None) };
                let page = writer.pool.transact(&Page { dataset: &dataset, position }).await?;
                let is_full = page.len() as i64 == PAGE;
                let next = page.last().filter(|_| is_full).map(|scanned| {
                    PagePosition::Version(
                        scanned.object.key.clone(),
                        scanned.object.version.clone(),
                    )
                });
                Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        postings::stream(self.writer.clone(), dataset.clone(), objects.to_vec())
    }

    async fn posting_counts(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<Vec<Option<u64>>> {
        self.pool().transact(&postings::Counts { dataset, objects }).await
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>> {
        self.pool().transact(&ListDatasets).await
    }

    async fn size(&self) -> Result<MetastoreSize> {
        self.pool().transact(&Size).await
    }
}

/// Binds the key unless one is bound, and answers which is.
struct Bind<'b>(&'b str);

#[async_trait]
impl Work for Bind<'_> {
    type Answer = String;

    async fn attempt(&self, session: &Session) -> Attempt<String> {
        let known = "SELECT value FROM lacuna_about WHERE name = 'digest key'";
        let rows = session.query(known, &[]).await?;
        if let Some(row) = rows.first() {
            return Ok(row.get(0));
        }
        let sql = "INSERT INTO lacuna_about (name, value) VALUES ('digest key', $1)";
        session.execute(sql, &[&self.0]).await?;
        Ok(self.0.to_owned())
    }
}

struct Clear;

#[async_trait]
impl Work for Clear {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        session.execute("TRUNCATE lacuna_objects, lacuna_runs, lacuna_segments", &[]).await?;
        let sql = "DELETE FROM lacuna_about WHERE name = 'digest key'";
        session.execute(sql, &[]).await.map(drop)
    }
}

struct NoteRoots<'n>(&'n [(DatasetName, String)]);

#[async_trait]
impl Work for NoteRoots<'_> {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let known = "SELECT name, root FROM lacuna_datasets";
        let rows = session.query(known, &[]).await?;
        let is_known = |(name, root): &(DatasetName, String)| {
            rows.iter().any(|row| {
                row.get::<_, &str>(0) == name.as_str()
                    && row.get::<_, Option<&str>>(1) == Some(root.as_str())
            })
        };
        for (name, root) in self.0.iter().filter(|root| !is_known(root)) {
            let sql = "INSERT INTO lacuna_datasets (name, root) VALUES ($1, $2)
                       ON CONFLICT (name) DO UPDATE SET root = excluded.root";
            session.execute(sql, &[&name.as_str(), root]).await?;
        }
        Ok(())
    }
}

struct Forget<'f> {
    dataset: &'f DatasetName,
    objects: &'f [ObjectVersion],
}

#[async_trait]
impl Work for Forget<'_> {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let sql = "UPDATE lacuna_objects SET state = 2 WHERE id IN (
                       SELECT objects.id FROM lacuna_objects objects
                       JOIN unnest($2::bytea[], $3::text[], $4::text[]) AS gone (key, version, etag)
                           USING (key, version, etag)
                       WHERE dataset = (SELECT id FROM lacuna_datasets WHERE name = $1) AND state = 1
                       ORDER BY objects.id FOR UPDATE OF objects)";
        let objects = || self.objects.iter();
        let keys: Vec<&[u8]> = objects().map(|object| object.key.as_bytes()).collect();
        let versions: Vec<&str> = objects().map(|object| object.version.as_str()).collect();
        let etags: Vec<&str> = objects().map(|object| object.etag.as_str()).collect();
        let values: pool::Values<'_> = &[&self.dataset.as_str(), &keys, &versions, &etags];
        session.execute(sql, values).await.map(drop)
    }
}

struct Page<'p> {
    dataset: &'p DatasetName,
    position: PagePosition,
}

#[async_trait]
impl Work for Page<'_> {
    type Answer = Vec<ScannedObject>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<ScannedObject>> {
        catalogue::page(session, self.dataset, &self.position, PAGE).await
    }
}

struct ListDatasets;

#[async_trait]
impl Work for ListDatasets {
    type Answer = Vec<DatasetName>;

    async fn attempt(&self, session: &Session) -> Attempt<Vec<DatasetName>> {
        catalogue::datasets(session).await
    }
}

struct Size;

#[async_trait]
impl Work for Size {
    type Answer = MetastoreSize;

    fn begin(&self) -> &'static str {
        READ
    }

    async fn attempt(&self, session: &Session) -> Attempt<MetastoreSize> {
        let sql = "SELECT count(*), coalesce(sum(postings), 0)::bigint,
                       (SELECT sum(pg_total_relation_size(name::regclass))::bigint
                        FROM unnest(ARRAY['lacuna_about', 'lacuna_datasets', 'lacuna_objects',
                                          'lacuna_masks', 'lacuna_runs', 'lacuna_segments']) name)
                   FROM lacuna_objects WHERE state = 1";
        let rows = session.query(sql, &[]).await?;
        let number =
            |at: usize| rows.first().map_or(0, |row| row.get::<_, i64>(at).cast_unsigned());
        Ok(MetastoreSize {
            objects: number(0),
            postings: number(1),
            size_bytes: number(2),
            runs: None,
        })
    }
}
