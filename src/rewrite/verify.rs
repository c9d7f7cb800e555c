//! The second step: the new version is read back from the store and compared with what was noted.

use crate::domain::journal::Step;
use crate::domain::object::ObjectVersion;
use crate::domain::row::RowCount;
use crate::domain::stretch::Extent;
use crate::scan::{ScanError, is_gone};

use super::past::{Intent, spell};
use super::reading::Reader;
use super::seal::Seal;
use super::write::{Made, Rewritten};
use super::{Halt, Work, patiently};

/// A change whose current version was read back and is as it should be.
pub struct Verified {
    pub(super) work: Work,
    pub(super) made: Made,
}

impl Rewritten {
    /// Reads the new version back: the rows that the write may have touched hold what they held before,
    /// those that were to go hold nothing, and what was copied is what it was. All of it is read where
    /// the write may have touched all of it, or where the run that wrote it did not live on.
    ///
    /// # Errors
    ///
    /// [`Halt::Unverified`] where it is not so. The superseded version is still there, if the lake
    /// keeps any.
    pub async fn verify(self) -> Result<Verified, Halt> {
        let Self { work, made } = self;
        if let Made::Version(object, intent) = &made
            && !work.past.is_expunged()
            && !work.past.is_verified(object)
        {
            work.compare(object, intent).await?;
            work.note(Step::Verified { object: object.clone() }).await?;
        }
        Ok(Verified { work, made })
    }
}

impl Work {
    async fn compare(&self, object: &ObjectVersion, intent: &Intent) -> Result<(), Halt> {
        let reader = self.site.reader(object);
        let is_near = intent.extent != Extent::Whole;
        match &self.seal {
            Some(seal) if is_near => self.compare_bytes(seal, object).await?,
            // Nobody is left who knows what was written.
            _ => self.compare_subjects(&reader).await?,
        }
        let is_proved =
            self.seal.is_none() && self.compare_with_superseded(&reader, intent).await?;
        let planned = self.change.rewrite.as_ref();
        let blanked = planned.and_then(|rewrite| intent.blanked(&rewrite.rows));
        let action = planned.map(|rewrite| rewrite.action.clone()).unwrap_or_default();
        let held = reader.erased_fingerprint(blanked, action, intent.extent.clone()).await;
        let held = held.map_err(unreadable)?;
        if held.unerased > RowCount(0) {
            return Err(self.unverified(held.unerased, "rows that should be blank are not"));
        }
        let problem = if Some(held.rows) != intent.rows_total() {
            "it has another number of rows than before"
        } else if spell(&held) != intent.fingerprint {
            "rows that should have stayed have changed"
        } else {
            return Ok(());
        };
        // What was noted may be what is wrong.
        if is_proved || self.seal.is_some() && self.compare_with_superseded(&reader, intent).await?
        {
            return Ok(());
        }
        Err(self.unverified(RowCount(0), problem))
    }

    async fn compare_bytes(&self, seal: &Seal, object: &ObjectVersion) -> Result<(), Halt> {
        let lake = &self.site.lake;
        let broken = patiently(self.site.pause, || seal.broken_by(&**lake, object)).await;
        match broken.map_err(|error| unreadable(ScanError::Lake(error)))? {
            Some(problem) => Err(self.unverified(RowCount(0), problem)),
            None => Ok(()),
        }
    }

    /// Compares all rows but the blanked ones with those of the version before, if the lake still has it.
    /// That proves the ranges that the store copied, and more than what was noted before the write does:
    /// a note tells what was read then, which may have been damaged on its way.
    async fn compare_with_superseded(&self, new: &Reader, intent: &Intent) -> Result<bool, Halt> {
        let Some(planned) = self.change.rewrite.as_ref() else { return Ok(false) };
        let blanked = intent.blanked(&planned.rows);
        let old = self.site.reader(&planned.object);
        let before = match old.fingerprint(blanked.clone(), Extent::Whole).await {
            Ok(before) => before,
            Err(ScanError::Lake(error)) if is_gone(&error) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let after = new.fingerprint(blanked, Extent::Whole).await.map_err(unreadable)?;
        if before == after {
            Ok(true)
        } else {
            Err(self.unverified(RowCount(0), "rows that should have stayed have changed"))
        }
    }

    async fn compare_subjects(&self, reader: &Reader) -> Result<(), Halt> {
        match reader.find().await.map_err(unreadable)?.rows {
            Some(rows) => Err(self.unverified(rows.count(), "subjects still stand in it")),
            None => Ok(()),
        }
    }

    fn unverified(&self, subject_rows: RowCount, problem: &str) -> Halt {
        let old = self.change.rewrite.as_ref().map(|rewrite| rewrite.object.version.as_str());
        let detail = match old {
            Some(version) if version != "null" => format!(
                "the new version is not as it should be: {problem}; nothing was deleted; to go \
                 back, make version {version} current again"
            ),
            _ => format!(
                "the new version is not as it should be: {problem}; the lake keeps no version to \
                 go back to; restore the object from a backup"
            ),
        };
        Halt::Unverified { detail, subject_rows }
    }
}

/// The new version could not be read back. When it is no longer current, somebody wrote after us.
fn unreadable(error: ScanError) -> Halt {
    match error {
        ScanError::Lake(error) if is_gone(&error) => Halt::Drifted,
        ScanError::Unreadable(unreadable) => Halt::Unverified {
            detail: format!("the new version cannot be read: {unreadable}"),
            subject_rows: RowCount(0),
        },
        other => other.into(),
    }
}
