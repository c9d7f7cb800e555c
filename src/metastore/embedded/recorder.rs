//! Records one object version: small ones in one transaction, large ones in several, of which only
//! the last makes anything visible.

use std::mem;
use std::sync::Arc;

use async_trait::async_trait;

use super::catalogue::{self, Recording};
use super::postings;
use super::writer::{Session, Writer};
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScanOutcome, ScannedObject};
use crate::metastore::{MetastoreError, MetastoreErrorKind, Recorder};

/// How many postings are held in memory, 24 bytes each.
const BUFFER: usize = 256 * 1024;

pub(super) struct EmbeddedRecorder {
    writer: Arc<Writer>,
    dataset: DatasetName,
    object: ObjectVersion,
    number: i64,
    buffer: Vec<RowPosting>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Everything is in the buffer.
    Buffered,
    /// Something is in the database, as pending.
    Spilled,
    /// A transaction failed or was not waited for; what is in the database is not known.
    Lost,
    /// It was committed.
    Committed,
}

impl EmbeddedRecorder {
    pub(super) fn new(writer: Arc<Writer>, dataset: DatasetName, object: ObjectVersion) -> Self {
        let number = writer.next_recording();
        Self { writer, dataset, object, number, buffer: Vec::new(), state: State::Buffered }
    }

    async fn spill(&mut self) -> Result<(), MetastoreError> {
        let mut batch = mem::take(&mut self.buffer);
        let (dataset, object, number) = (self.dataset.clone(), self.object.clone(), self.number);
        self.state = State::Lost;
        self.buffer = self
            .writer
            .run(move |session| {
                let recording = Recording { writer: session.writer_name()?, number };
                let connection = &session.connection;
                let (id, is_new) = catalogue::pending(connection, &dataset, &object, &recording)?;
                sort(&mut batch);
                let added = postings::add(connection, id, &batch, is_new)?;
                catalogue::count(connection, id, added.cast_signed())?;
                batch.clear();
                Ok(batch)
            })
            .await?;
        self.state = State::Spilled;
        Ok(())
    }
}

fn sort(batch: &mut Vec<RowPosting>) {
    batch.sort_unstable();
    batch.dedup();
}

#[async_trait]
impl Recorder for EmbeddedRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        if self.state == State::Lost {
            return Err(lost());
        }
        self.buffer.extend(postings);
        if self.buffer.len() >= BUFFER { self.spill().await } else { Ok(()) }
    }

    async fn commit(mut self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        if self.state == State::Lost {
            return Err(lost());
        }
        if !self.object.is_same_version(&scanned.object) {
            return Err(MetastoreError::new(
                MetastoreErrorKind::Other,
                format!("{}: another version was scanned than was begun", self.object.key),
            ));
        }
        let last = Last {
            dataset: self.dataset.clone(),
            number: (self.state == State::Spilled).then_some(self.number),
            batch: mem::take(&mut self.buffer),
            scanned,
        };
        self.writer.run(move |session| last.publish(session)).await?;
        self.state = State::Committed;
        Ok(())
    }
}

fn lost() -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::Other,
        "the recording of an object was interrupted: index it again",
    )
}

impl Drop for EmbeddedRecorder {
    fn drop(&mut self) {
        if matches!(self.state, State::Spilled | State::Lost) {
            let number = self.number;
            self.writer.post(move |session| bury(session, number));
        }
    }
}

/// The last transaction of a recording.
struct Last {
    dataset: DatasetName,
    /// The number of the recording, if some of it is in the database.
    number: Option<i64>,
    batch: Vec<RowPosting>,
    scanned: ScannedObject,
}

impl Last {
    fn publish(mut self, session: &mut Session) -> Result<(), MetastoreError> {
        session.litter();
        if let ScanOutcome::Unreadable(_) = self.scanned.outcome {
            if let Some(number) = self.number {
                bury(session, number)?;
            }
            return catalogue::publish(&session.connection, &self.dataset, &self.scanned, None)
                .map(drop);
        }
        let spilled = match self.number {
            Some(number) => Some(find(session, number)?.ok_or_else(lost)?),
            None => None,
        };
        let connection = &session.connection;
        let id = catalogue::publish(connection, &self.dataset, &self.scanned, spilled)?;
        sort(&mut self.batch);
        let added = postings::add(connection, id, &self.batch, spilled.is_none())?;
        catalogue::count(connection, id, added.cast_signed())
    }
}

fn find(session: &Session, number: i64) -> Result<Option<i64>, MetastoreError> {
    match session.known_writer_name() {
        Some(writer) => catalogue::find_pending(&session.connection, &Recording { writer, number }),
        None => Ok(None),
    }
}

/// Undoes what a recording left in the database.
pub(super) fn bury(session: &mut Session, number: i64) -> Result<(), MetastoreError> {
    if let Some(id) = find(session, number)? {
        catalogue::bury(&session.connection, id)?;
        session.litter();
    }
    Ok(())
}
