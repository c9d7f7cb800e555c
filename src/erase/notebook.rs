//! The journal of one change within one run.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Clock;
use crate::domain::journal::{NOTE_SCHEMA, Note, Step};
use crate::domain::plan::PlanId;
use crate::lake::{LakeError, LakeErrorKind};
use crate::ledger::{Lease, Ledger, LedgerError};
use crate::rewrite::{NoteError, Notes};

use super::tools::{EraseError, EraseTools};

/// How often a note is written before the run gives up.
const TRIES: u32 = 3;

/// Writes the notes of one change under the run's lease. Before a step that changes the lake for good
/// it makes sure that the lease is still this run's.
pub(super) struct Notebook {
    ledger: Ledger,
    lease: Lease,
    clock: Clock,
    plan: PlanId,
    change: u32,
    pause: Duration,
    /// The sequence of the next note. Held while a note is written, so that notes keep their order.
    next: tokio::sync::Mutex<u32>,
    /// The first error of the ledger, which crosses the rewrite as a mere text.
    failure: Mutex<Option<LedgerError>>,
}

impl Notebook {
    /// Goes on after the notes of earlier runs.
    pub(super) fn new(
        tools: &EraseTools,
        lease: &Lease,
        plan: PlanId,
        change: u32,
        notes: &[Note],
    ) -> Self {
        let next = notes.last().map_or(0, |note| note.sequence.saturating_add(1));
        Self {
            ledger: tools.ledger.clone(),
            lease: lease.clone(),
            clock: tools.clock.clone(),
            plan,
            change,
            pause: tools.pause,
            next: tokio::sync::Mutex::new(next),
            failure: Mutex::default(),
        }
    }

    /// Writes one note.
    pub(super) async fn write(&self, step: Step) -> Result<(), LedgerError> {
        let mut next = self.next.lock().await;
        if matches!(step, Step::Intended { .. } | Step::Verified { .. }) {
            self.lease.check().await?;
        }
        let note = Note {
            schema: NOTE_SCHEMA.to_owned(),
            change: self.change,
            sequence: *next,
            generation: self.lease.generation(),
            noted_at: self.clock.now(),
            step,
        };
        let mut tries = 1;
        loop {
            match self.ledger.note(&self.plan, &note).await {
                Ok(()) => break,
                Err(error) if is_passing(&error) && tries < TRIES => {
                    tokio::time::sleep(self.pause * tries).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
        *next = next.saturating_add(1);
        Ok(())
    }

    /// The error of the ledger behind an error of the rewrite.
    pub(super) fn error(&self, error: NoteError) -> EraseError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or_else(|| EraseError::Refused(error.to_string()), EraseError::Ledger)
    }
}

fn is_passing(error: &LedgerError) -> bool {
    error.lake().is_some_and(|error: &LakeError| error.kind() == LakeErrorKind::Unavailable)
}

#[async_trait]
impl Notes for Notebook {
    async fn note(&self, step: Step) -> Result<(), NoteError> {
        match self.write(step).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let text = error.to_string();
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(error);
                Err(text.into())
            }
        }
    }
}
