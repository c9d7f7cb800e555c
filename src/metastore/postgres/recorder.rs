//! Records one object version: small ones in one transaction together with others, large ones in
//! several, of which only the last makes anything visible.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;

use super::catalogue;
use super::failure::Attempt;
use super::pool::{Session, Work};
use super::segments::{Segment, store_run};
use super::writer::{Job, Spilled, Writer, pack, packed};
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScanOutcome, ScannedObject};
use crate::metastore::{MetastoreError, MetastoreErrorKind, Recorder};

/// How many postings are held in memory, 24 bytes each.
const BUFFER: usize = 512 * 1024;

pub(super) struct PostgresRecorder {
    writer: Arc<Writer>,
    dataset: DatasetName,
    object: ObjectVersion,
    buffer: Vec<RowPosting>,
    spilled: Option<Spilled>,
    is_lost: bool,
}

impl PostgresRecorder {
    pub(super) fn new(writer: Arc<Writer>, dataset: DatasetName, object: ObjectVersion) -> Self {
        Self { writer, dataset, object, buffer: Vec::new(), spilled: None, is_lost: false }
    }

    /// Stores what is in the buffer, unless most of it was said before.
    async fn spill(&mut self) -> Result<(), MetastoreError> {
        let mut buffer = mem::take(&mut self.buffer);
        let sorting = tokio::task::spawn_blocking(move || {
            buffer.sort_unstable();
            buffer.dedup();
            buffer
        });
        self.is_lost = true;
        let buffer = sorting.await.map_err(|_| lost())?;
        if buffer.len() > BUFFER / 2 {
            self.store(&buffer).await?;
        } else {
            self.buffer = buffer;
        }
        self.is_lost = false;
        Ok(())
    }

    async fn store(&mut self, postings: &[RowPosting]) -> Result<(), MetastoreError> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => {
                let begun = self.writer.begin(&self.dataset, &self.object).await?;
                none.insert(Spilled::new(begun))
            }
        };
        let (segments, count) = pack(packed(spilled.id, postings));
        let store = Store { id: spilled.id, segments, postings: count };
        self.writer.pool.transact(&store).await?;
        spilled.add(postings);
        Ok(())
    }
}

#[async_trait]
impl Recorder for PostgresRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        if self.is_lost {
            return Err(lost());
        }
        self.buffer.extend(postings);
        if self.buffer.len() >= BUFFER { self.spill().await } else { Ok(()) }
    }

    async fn commit(mut self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        if self.is_lost {
            return Err(lost());
        }
        if !self.object.is_same_version(&scanned.object) {
            let message =
                format!("{}: another version was scanned than was begun", self.object.key);
            return Err(MetastoreError::new(MetastoreErrorKind::Other, message));
        }
        let mut postings = mem::take(&mut self.buffer);
        if let ScanOutcome::Unreadable(_) = scanned.outcome {
            // What was spilled goes when this is dropped.
            let job =
                Job { dataset: self.dataset.clone(), scanned, postings: Vec::new(), spilled: None };
            return self.writer.publish(job).await;
        }
        if self.spilled.is_some() {
            postings.sort_unstable();
            postings.dedup();
        }
        let spilled = self.spilled.clone();
        let job = Job { dataset: self.dataset.clone(), scanned, postings, spilled };
        self.writer.publish(job).await?;
        self.spilled = None;
        Ok(())
    }
}

/// What was interrupted cannot go on.
pub(super) fn lost() -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::Other,
        "the recording of an object was interrupted: index it again",
    )
}

impl Drop for PostgresRecorder {
    fn drop(&mut self) {
        if let (Some(spilled), Ok(runtime)) = (&self.spilled, tokio::runtime::Handle::try_current())
        {
            let (writer, id) = (self.writer.clone(), spilled.id);
            // Where this fails, another writer collects it once this one is gone.
            runtime.spawn(async move { drop(writer.pool.transact(&Abandon { id }).await) });
        }
    }
}

/// Stores a run of a version that is being recorded.
struct Store {
    id: i64,
    segments: Vec<Segment>,
    postings: u64,
}

#[async_trait]
impl Work for Store {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let sql = "SELECT 1 FROM lacuna_objects WHERE id = $1 AND state = 0 FOR UPDATE";
        if session.query(sql, &[&self.id]).await?.is_empty() {
            return Err(lost().into());
        }
        store_run(session, Some(self.id), &self.segments, self.postings).await.map(drop)
    }
}

/// Removes what was recorded of a version.
struct Abandon {
    id: i64,
}

#[async_trait]
impl Work for Abandon {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        catalogue::abandon(session, &[self.id]).await
    }
}
