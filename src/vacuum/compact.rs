//! One object: its blanks are dropped, the new version is compared and scanned into the index.

use std::sync::Arc;

use crate::domain::identifier::hex;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::lake::{
    Base, LakeError, LakeErrorKind, OperationId, Settled, Write, WriteError, WriteOutcome, settle,
};
use crate::ledger::LeftoverObserver;
use crate::scan::{ScanError, is_gone, on_object, scan_object};

use super::expected::Expected;
use super::{Compacted, Site, VacuumError};

/// How often an unknown outcome is asked about.
const TRIES: u32 = 3;

impl Site<'_> {
    /// Drops the blanks of one object. What goes wrong with it alone is an answer, no error.
    pub(super) async fn compact(&self, object: &ObjectVersion) -> Result<Compacted, VacuumError> {
        let expected = match self.expect(object).await {
            Ok(Some(expected)) => expected,
            Ok(None) => return Ok(Compacted::Untouched),
            Err(error) => return Ok(unread(error)),
        };
        self.lease.check().await?;
        let new = match self.write(object).await? {
            Ok(new) => new,
            Err(compacted) => return Ok(compacted),
        };
        let rows = expected.dropped;
        match self.check(&new, expected).await {
            Ok(None) => {}
            Ok(Some(problem)) => return Ok(Compacted::Failed(unverified(object, problem))),
            Err(error) => return Ok(unread(error)),
        }
        match self.index(object, &new).await? {
            Ok(()) => Ok(Compacted::Dropped { rows, size_bytes: new.size_bytes }),
            Err(error) => Ok(unread(error)),
        }
    }

    /// What the object has to become; `None` where it has no blanks.
    async fn expect(&self, object: &ObjectVersion) -> Result<Option<Expected>, ScanError> {
        let reader = self.reader.clone();
        on_object(self.lake.clone(), &self.reader, object, move |opened, source| {
            Expected::of(opened, source, &reader)
        })
        .await
    }

    /// Writes the object without its blanks, if it is still this version.
    async fn write(
        &self,
        object: &ObjectVersion,
    ) -> Result<Result<ObjectVersion, Compacted>, VacuumError> {
        let made = on_object(self.lake.clone(), &self.reader, object, |opened, source| {
            Ok(opened.format.compact(source.clone())?.edit)
        });
        let edit = match made.await {
            Ok(Some(edit)) => edit,
            Ok(None) => return Ok(Err(Compacted::Untouched)),
            Err(error) => return Ok(Err(unread(error))),
        };
        let operation = fresh_operation()?;
        let observer = Arc::new(LeftoverObserver::new(&self.tools.ledger, self.lake.as_ref()));
        let write = Write {
            key: object.key.clone(),
            base: Base::Version(object.clone()),
            edit,
            operation: operation.clone(),
            observer: observer.clone(),
        };
        let written = self.lake.write(write).await;
        for leftover in observer.take() {
            // Before the outcome is settled, so that what is settled as not committed stays so.
            if written.is_err()
                && let Err(error) = self.lake.abandon(&leftover.key, &leftover.staging).await
            {
                let detail = "what an unfinished write left could not be removed; run it again";
                return Ok(Err(Compacted::Failed(format!("{detail}: {error}"))));
            }
            self.tools.ledger.dismiss(&leftover).await?;
        }
        match written {
            Ok(new) => Ok(Ok(new)),
            Err(error) => Ok(self.settle(object, &operation, error).await),
        }
    }

    async fn settle(
        &self,
        object: &ObjectVersion,
        operation: &OperationId,
        failure: WriteError,
    ) -> Result<ObjectVersion, Compacted> {
        if failure.outcome == WriteOutcome::Unchanged {
            return Err(match failure.error {
                error if is_gone(&error) => Compacted::Drifted,
                error => Compacted::Failed(error.to_string()),
            });
        }
        let mut last = failure.error;
        for _ in 0..TRIES {
            match settle(self.lake.as_ref(), &object.key, operation).await {
                Ok(Settled::Committed(new)) => return Ok(new),
                Ok(Settled::NotCommitted) => return Err(Compacted::Failed(last.to_string())),
                Err(error) => last = error,
            }
        }
        Err(Compacted::Failed(format!("whether it was written is not known: {last}")))
    }

    /// What is wrong with the new version, if anything.
    async fn check(
        &self,
        new: &ObjectVersion,
        expected: Expected,
    ) -> Result<Option<&'static str>, ScanError> {
        let reader = self.reader.clone();
        let checked = on_object(self.lake.clone(), &self.reader, new, move |_, source| {
            expected.problem(source, &reader)
        });
        match checked.await {
            Err(ScanError::Unreadable(_)) => Ok(Some("it cannot be read")),
            checked => checked,
        }
    }

    /// Scans the new version into the index, and forgets the old one where it is gone.
    async fn index(
        &self,
        old: &ObjectVersion,
        new: &ObjectVersion,
    ) -> Result<Result<(), ScanError>, VacuumError> {
        let metastore = &self.tools.metastore;
        let name = &self.dataset.name;
        let mut recorder = metastore.record(name, new).await?;
        let mut scan = scan_object(self.lake.clone(), &self.reader, new);
        while let Some(postings) = scan.next().await {
            recorder.append(postings).await?;
        }
        let summary = match scan.finish().await {
            Ok(summary) => summary,
            Err(error) => return Ok(Err(error)),
        };
        let scanned = ScannedObject {
            object: new.clone(),
            settings: self.dataset.scan_settings(),
            scanned_at: self.tools.clock.now(),
            outcome: ScanOutcome::Indexed(summary),
        };
        recorder.commit(scanned).await?;
        let kept = match self.lake.versions(&old.key).await {
            Ok(kept) => kept,
            Err(error) => return Ok(Err(error.into())),
        };
        if !kept.iter().any(|listed| listed.object.is_same_version(old)) {
            metastore.forget(name, std::slice::from_ref(old)).await?;
        }
        Ok(Ok(()))
    }
}

fn unread(error: ScanError) -> Compacted {
    match error {
        ScanError::Lake(error) if is_gone(&error) => Compacted::Drifted,
        error => Compacted::Failed(error.to_string()),
    }
}

fn unverified(old: &ObjectVersion, problem: &str) -> String {
    if old.version.is_null() {
        return format!("the new version is not as it should be: {problem}; restore a backup");
    }
    format!(
        "the new version is not as it should be: {problem}; to go back, make version {} current",
        old.version
    )
}

/// A name that no other write has: 128 random bits.
fn fresh_operation() -> Result<OperationId, LakeError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        LakeError::new(LakeErrorKind::Other, format!("the system gives no random bytes: {error}"))
    })?;
    Ok(OperationId::new(hex(&bytes)))
}
