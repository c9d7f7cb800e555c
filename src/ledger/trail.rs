//! The trail of what was decided and done: records written one after the other, each naming the digest of
//! the one before it and of every document that its topic had then.
//!
//! A record tells of all documents of its topic, and not just of the newest. So a run that was killed after
//! a document and before its record leaves nothing out for good: the next record on the topic names both.
//! Of a plan's audit records, which may be very many, it names a roll.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::domain::identifier::hex;
use crate::domain::plan::PlanId;
use crate::domain::trail::{
    ROLL_SCHEMA, Roll, SealedDocument, TRAIL_SCHEMA, TrailAction, TrailHead, TrailRecord,
    TrailTopic,
};

use super::previews::PREVIEWS;
use super::{Ledger, LedgerError, LedgerErrorKind, READS_AT_ONCE, requests, to_bytes};

/// Where the records are.
pub(super) const FOLDER: &str = "trail/";

/// What the names of all documents on a plan begin with, but for the audit records, which a roll names.
pub(super) fn beginnings(id: &PlanId) -> [String; 7] {
    [
        format!("plans/{id}."),
        format!("reports/{id}."),
        format!("decisions/{id}/"),
        format!("finished/{id}."),
        format!("certificates/{id}/"),
        format!("{PREVIEWS}{id}/"),
        format!("{ROLLS}{id}/"),
    ]
}

/// Where the rolls are: of each plan in a folder of its own, by the digest of their bytes.
pub(super) const ROLLS: &str = "rolls/";

impl Ledger {
    /// Writes a record of all documents on a topic at the end of the trail, and answers with the new end.
    /// Where the last record says the same but for the time, none is written.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails: what the record was to tell of is stored all the
    /// same, and the next record on the topic tells of it. A last record that cannot be read is followed like
    /// any other: a verification tells of it, and nothing waits for its repair.
    pub async fn seal(
        &self,
        topic: &TrailTopic,
        action: TrailAction,
    ) -> Result<TrailHead, LedgerError> {
        let documents = match topic {
            TrailTopic::Plan(id) => self.documents_of_plan(id).await?,
            TrailTopic::Request(reference) => {
                self.sealed(self.names(&requests::folder(reference)).await?).await?
            }
        };
        loop {
            let last = self.last_record().await?;
            if let Some((head, Some(record))) = &last
                && (&record.topic, record.action) == (topic, action)
                && record.documents == documents
            {
                return Ok(head.clone());
            }
            let record = TrailRecord {
                schema: TRAIL_SCHEMA.to_owned(),
                sequence: last.as_ref().map_or(0, |(head, _)| head.sequence + 1),
                previous: last.map(|(head, _)| head.digest),
                recorded_at: self.clock.now(),
                action,
                topic: topic.clone(),
                documents: documents.clone(),
                checksum: String::new(),
            };
            let (sequence, bytes) = (record.sequence, checked(record));
            let head = TrailHead { sequence, digest: digest(&bytes) };
            match self.create(&name(sequence), bytes).await {
                Ok(_) => {
                    self.trail_end.fetch_max(sequence + 1, Ordering::Relaxed);
                    return Ok(head);
                }
                // Somebody else's record took the place: ours follows it.
                Err(error) if *error.kind() == LedgerErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Every document on a plan, with its digest; of its audit records a roll, which is stored before.
    async fn documents_of_plan(&self, id: &PlanId) -> Result<Vec<SealedDocument>, LedgerError> {
        let audit = self.sealed(self.names(&format!("audit/{id}/")).await?).await?;
        if !audit.is_empty() {
            let roll = to_bytes(&Roll { schema: ROLL_SCHEMA.to_owned(), documents: audit });
            self.create(&format!("{ROLLS}{id}/{}.json", digest(&roll)), roll).await?;
        }
        let mut names = Vec::new();
        for beginning in beginnings(id) {
            names.extend(self.names(&beginning).await?);
        }
        names.sort_unstable();
        self.sealed(names).await
    }

    /// Documents with the digests that they have now; one that is gone is an error.
    async fn sealed(&self, names: Vec<String>) -> Result<Vec<SealedDocument>, LedgerError> {
        futures::stream::iter(names)
            .map(|name| async move {
                let (_, bytes) = self.read(&name).await?.ok_or_else(|| {
                    LedgerError::tampered(&self.key(&name), "was listed and is gone")
                })?;
                Ok(SealedDocument { name, digest: digest(&bytes) })
            })
            .buffered(READS_AT_ONCE)
            .try_collect()
            .await
    }

    /// The end of the trail, and its record where that can be read; `None` where there is no record.
    async fn last_record(&self) -> Result<Option<(TrailHead, Option<TrailRecord>)>, LedgerError> {
        let end = self.trail_end().await?;
        let Some(sequence) = end.checked_sub(1) else { return Ok(None) };
        let name = name(sequence);
        let Some((_, bytes)) = self.read(&name).await? else {
            return Err(LedgerError::tampered(&self.key(&name), "was there and is gone"));
        };
        let head = TrailHead { sequence, digest: digest(&bytes) };
        Ok(Some((head, self.parse(&name, &bytes).ok())))
    }

    /// The end of the trail; `None` where there is no record.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn trail_head(&self) -> Result<Option<TrailHead>, LedgerError> {
        Ok(self.last_record().await?.map(|(head, _)| head))
    }

    /// How many records there are. Looks ahead from what is known in steps that double, and then halves
    /// the last one: a long trail is not listed to add one record.
    async fn trail_end(&self) -> Result<u64, LedgerError> {
        let mut known = self.trail_end.load(Ordering::Relaxed);
        let mut step = 1;
        let mut missing = loop {
            let probe = known + step - 1;
            if !self.has_record(probe).await? {
                break probe;
            }
            known = probe + 1;
            step *= 2;
        };
        while known < missing {
            let middle = known + (missing - known) / 2;
            if self.has_record(middle).await? {
                known = middle + 1;
            } else {
                missing = middle;
            }
        }
        self.trail_end.fetch_max(known, Ordering::Relaxed);
        Ok(known)
    }

    async fn has_record(&self, sequence: u64) -> Result<bool, LedgerError> {
        Ok(self.current(&self.key(&name(sequence))).await?.is_some())
    }
}

/// The stored bytes of a record, with its checksum.
pub(super) fn checked(mut record: TrailRecord) -> Bytes {
    record.checksum = String::new();
    record.checksum = digest(&to_bytes(&record));
    to_bytes(&record)
}

/// SHA-256 in hexadecimal.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The name of the record in this place.
pub(super) fn name(sequence: u64) -> String {
    format!("{FOLDER}{sequence:010}.json")
}
