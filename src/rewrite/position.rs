//! Where an object stands, seen from a change: still as planned, rewritten by us, or neither.

use crate::domain::object::ObjectVersion;
use crate::domain::plan::PlannedRewrite;
use crate::domain::row::RowCount;
use crate::lake::{LakeError, LakeErrorKind, Target};

use super::past::{Intent, spell};
use super::reading::is_about_content;
use super::{Halt, Work, patiently};

/// Where an object stands.
#[derive(Debug)]
pub(super) enum Position {
    /// Its current version is the planned one.
    Planned,
    /// Its current version is what one of our writes made.
    Ours(ObjectVersion, Intent),
    /// Its current version is somebody else's, or the planned version lies beneath a delete marker.
    Drifted,
    /// There is no current version, and the planned one is not kept either.
    Gone,
}

impl Work {
    /// Looks where the object stands. The store decides, never an error code or a note alone.
    pub(super) async fn look(&self, planned: &PlannedRewrite) -> Result<Position, Halt> {
        let lake = &self.site.lake;
        let target = Target::Current(self.key());
        let current = match patiently(self.site.pause, || lake.attributes(target)).await {
            Ok(current) => current,
            Err(error) if error.kind() == LakeErrorKind::NotFound => {
                return Ok(self.look_beneath(&planned.object).await?);
            }
            Err(error) => return Err(error.into()),
        };
        if current.object.is_same_version(&planned.object) {
            return Ok(Position::Planned);
        }
        let marked = current.operation.as_ref().and_then(|operation| self.past.intent(operation));
        if let Some(intent) = marked {
            return Ok(Position::Ours(current.object, intent.clone()));
        }
        if let Some((object, intent)) = self.past.rewritten()
            && object.is_same_version(&current.object)
        {
            return Ok(Position::Ours(current.object, intent.clone()));
        }
        if self.site.marks_operations {
            return Ok(Position::Drifted);
        }
        self.recognise(current.object, planned).await
    }

    /// There is no current version: whether the planned one is still kept.
    async fn look_beneath(&self, planned: &ObjectVersion) -> Result<Position, LakeError> {
        let lake = &self.site.lake;
        let kept = patiently(self.site.pause, || lake.versions(self.key())).await?;
        let is_kept = kept.iter().any(|listed| listed.object.is_same_version(planned));
        Ok(if is_kept { Position::Drifted } else { Position::Gone })
    }

    /// Tells by its content whether a version is ours, on a lake that does not mark operations: no
    /// subject stands in it, the rows that were to go hold nothing, and all others what they held.
    async fn recognise(
        &self,
        current: ObjectVersion,
        planned: &PlannedRewrite,
    ) -> Result<Position, Halt> {
        if self.past.intents().is_empty() {
            return Ok(Position::Drifted);
        }
        let reader = self.site.reader(&current);
        match reader.find().await {
            Ok(found) if found.rows.is_none() => {}
            Ok(_) => return Ok(Position::Drifted),
            Err(error) if is_about_content(&error) => return Ok(Position::Drifted),
            Err(error) => return Err(error.into()),
        }
        for intent in self.past.intents() {
            let blanked = intent.blanked(&planned.rows);
            let (action, extent) = (planned.action.clone(), intent.extent.clone());
            let held = reader.erased_fingerprint(blanked, action, extent).await?;
            if held.unerased == RowCount(0) && spell(&held) == intent.fingerprint {
                return Ok(Position::Ours(current, intent.clone()));
            }
        }
        Ok(Position::Drifted)
    }
}
