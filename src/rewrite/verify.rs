//! The second step: the new version is read back from the store and compared with what was noted.

use crate::domain::journal::Step;
use crate::domain::object::ObjectVersion;
use crate::domain::row::{RowCount, RowSet};
use crate::scan::{ScanError, is_gone};

use super::past::{Intent, spell};
use super::write::{Made, Rewritten};
use super::{Halt, Work};

/// A change whose current version was read back and is as it should be.
pub struct Verified {
    pub(super) work: Work,
    pub(super) made: Made,
}

impl Rewritten {
    /// Reads the new version back: as many rows as before, no subject in any of them, and every row
    /// that was to stay holds what it held before the write.
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
        let found = reader.find().await.map_err(unreadable)?;
        if let Some(rows) = found.rows {
            return Err(self.unverified(rows.count(), "subjects still stand in it"));
        }
        if Some(found.total) != intent.rows_total() {
            return Err(self.unverified(RowCount(0), "it has another number of rows than before"));
        }
        let planned = self.change.rewrite.as_ref().map(|rewrite| &rewrite.rows);
        let blanked: Option<RowSet> = planned.and_then(|rows| intent.blanked(rows));
        let planned = self.change.rewrite.as_ref().map(|rewrite| &rewrite.action);
        let action = planned.cloned().unwrap_or_default();
        let held = reader.erased_fingerprint(blanked, action).await.map_err(unreadable)?;
        if held.unerased > RowCount(0) {
            return Err(self.unverified(held.unerased, "rows that should be blank are not"));
        }
        if spell(&held) != intent.fingerprint {
            return Err(self.unverified(RowCount(0), "rows that should have stayed have changed"));
        }
        Ok(())
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
