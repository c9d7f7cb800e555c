//! Records one object version. Its postings wait in the batch of the process; what does not fit there
//! goes into runs before, under the number of an object that nobody sees until the commit.

use std::sync::Arc;

use async_trait::async_trait;

use super::batch::lost;
use super::catalogue;
use super::writer::Writer;
use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::{MetastoreError, MetastoreErrorKind, Recorder};

pub(super) struct EmbeddedRecorder {
    writer: Arc<Writer>,
    object: ObjectVersion,
    number: u64,
    is_committing: bool,
}

impl EmbeddedRecorder {
    pub(super) async fn begin(
        writer: Arc<Writer>,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Self, MetastoreError> {
        let number = loop {
            match writer.batch().begin(dataset, object) {
                Some(number) => break number,
                None => writer.reserve_numbers().await?,
            }
        };
        Ok(Self { writer, object: object.clone(), number, is_committing: false })
    }
}

#[async_trait]
impl Recorder for EmbeddedRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        let writer = &self.writer;
        writer.batch().append(self.number, &postings, || writer.flush()).await
    }

    async fn commit(mut self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        if !self.object.is_same_version(&scanned.object) {
            return Err(MetastoreError::new(
                MetastoreErrorKind::Other,
                format!("{}: another version was scanned than was begun", self.object.key),
            ));
        }
        let committed = self.writer.batch().commit(self.number, scanned)?;
        self.is_committing = true;
        self.writer.flush()?;
        committed.await.map_err(|_| lost())?
    }
}

impl Drop for EmbeddedRecorder {
    fn drop(&mut self) {
        if !self.is_committing && self.writer.batch().abandon(self.number) {
            let number = self.number;
            self.writer.post(move |session| catalogue::bury(&session.connection, number));
        }
    }
}
