//! Where bytes of unfinished writes lie, for writes that no journal of a plan tells of. A note is
//! written before the first byte is stored and goes when the bytes are published or removed, so that
//! whatever a killed run left in a lake is found by the next one.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::object::ObjectKey;
use crate::lake::{Lake, LakeErrorKind, ObserverError, Staging, WriteObserver};

use super::{Ledger, LedgerError, random_name, to_bytes};

const FOLDER: &str = "leftovers/";
const LEFTOVER_SCHEMA: &str = "lacuna.leftover.v1";

/// Where an unfinished write keeps, or kept, its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leftover {
    schema: String,
    /// The name of the note: 32 hexadecimal characters.
    id: String,
    /// The lake, by its [`Lake::location`].
    pub location: String,
    /// The key that was to be written.
    pub key: ObjectKey,
    /// What [`Lake::abandon`] needs to remove the bytes.
    pub staging: Staging,
}

impl Leftover {
    /// The name of its document.
    pub(super) fn name(&self) -> String {
        format!("{FOLDER}{}.json", self.id)
    }
}

impl Ledger {
    /// Notes where bytes of a write are about to lie.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn note_leftover(
        &self,
        location: &str,
        key: &ObjectKey,
        staging: &Staging,
    ) -> Result<Leftover, LedgerError> {
        let leftover = Leftover {
            schema: LEFTOVER_SCHEMA.to_owned(),
            id: random_name()?,
            location: location.to_owned(),
            key: key.clone(),
            staging: staging.clone(),
        };
        self.create(&leftover.name(), to_bytes(&leftover)).await?;
        Ok(leftover)
    }

    /// Every note that was not dismissed.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`](super::LedgerErrorKind::Tampered) where a note is damaged or stands
    /// in another's place.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, LedgerError> {
        let names = self.names(FOLDER).await?;
        let leftovers: Vec<Leftover> = self.documents(names.clone()).await?;
        let is_in_place = |(name, leftover): (&String, &Leftover)| {
            *name == leftover.name() && leftover.schema == LEFTOVER_SCHEMA
        };
        if names.iter().zip(&leftovers).all(is_in_place) {
            return Ok(leftovers);
        }
        let what = "holds a note in another's place, or one of another schema";
        Err(LedgerError::tampered(&self.key(FOLDER), what))
    }

    /// Removes a note whose bytes are published or gone. Where the store of the ledger forbids to
    /// delete, the note stays: to abandon what is gone is no error, so it costs the next run a call.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn dismiss(&self, leftover: &Leftover) -> Result<(), LedgerError> {
        let key = self.key(&leftover.name());
        for listed in self.lake.versions(&key).await? {
            match self.lake.delete_version(&listed.object).await {
                Err(error)
                    if !matches!(error.kind(), LakeErrorKind::Locked | LakeErrorKind::Denied) =>
                {
                    return Err(error.into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Notes in the ledger where the writes that it observes keep their bytes.
#[derive(Debug)]
pub struct LeftoverObserver {
    ledger: Ledger,
    location: String,
    noted: Mutex<Vec<Leftover>>,
}

impl LeftoverObserver {
    /// An observer of writes to this lake.
    pub fn new(ledger: &Ledger, lake: &dyn Lake) -> Self {
        let location = lake.location().to_owned();
        Self { ledger: ledger.clone(), location, noted: Mutex::default() }
    }

    /// What was noted since this was asked last.
    pub fn take(&self) -> Vec<Leftover> {
        std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl WriteObserver for LeftoverObserver {
    async fn staged(&self, key: &ObjectKey, staging: &Staging) -> Result<(), ObserverError> {
        let leftover = self.ledger.note_leftover(&self.location, key, staging).await?;
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(leftover);
        Ok(())
    }
}
