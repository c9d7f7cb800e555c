//! The last step in the lake: superseded versions are deleted for good, oldest first.

use crate::domain::dataset::SupersededPolicy;
use crate::domain::journal::{Effort, Replacement, Retained, Step};
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ListedVersion, ObjectVersion, Standing};
use crate::domain::plan::Reason;
use crate::domain::row::RowCount;
use crate::lake::{LakeError, LakeErrorKind, Lock, Target};

use super::verify::Verified;
use super::write::Made;
use super::{Halt, Work, chain, patiently};

/// A change whose work in the lake is done.
#[derive(Debug)]
pub struct Expunged(Ending);

impl Expunged {
    /// How it ended.
    pub fn into_ending(self) -> Ending {
        self.0
    }
}

/// How the work on one object ended in the lake.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The version that was rewritten and the one that took its place; `None` where none was.
    pub replacement: Option<Replacement>,
    /// Rows that were blanked in the current version.
    pub rows: RowCount,
    /// What the change took, where it is known how the new version came about.
    pub effort: Option<Effort>,
    /// Where reading of the new version can begin near a row; none where that is not known.
    pub landmarks: Landmarks,
    /// Whether the index named rows of the planned version in which no subject stands. What else it says
    /// of the version may be as wrong, or right and another subject's whose digest begins alike.
    pub index_was_wrong: bool,
    /// Superseded versions of the plan that are gone for good.
    pub expunged: Vec<ObjectVersion>,
    /// Versions with the subjects' rows that are still there, and why.
    pub retained: Vec<Retained>,
    /// Whether the object was gone before anything was done to it.
    pub was_gone: bool,
}

impl Ending {
    /// Which version's postings become which other's; none where the index was wrong about the old one.
    pub fn succession(&self) -> Option<&Replacement> {
        self.replacement.as_ref().filter(|_| !self.index_was_wrong)
    }
}

impl Verified {
    /// Deletes for good what the plan names, and the version that the rewrite superseded unless the
    /// policy keeps it. The store is asked right before each deletion: a version that became current,
    /// or a current version that is not ours, ends the change as drifted.
    ///
    /// # Errors
    ///
    /// [`Halt`]. What was deleted until then stays deleted; the next run goes on.
    pub async fn expunge(self) -> Result<Expunged, Halt> {
        let Self { work, made } = self;
        let doomed = work.doomed(&made);
        let mut expunged = Vec::new();
        let mut retained = Vec::new();
        for object in doomed {
            match work.expunge_one(&made, &object).await? {
                None => expunged.push(object),
                Some(reason) => retained.push(Retained { object, reason }),
            }
        }
        if !work.past.is_expunged() {
            work.note(Step::Expunged { versions: expunged.len() as u64 }).await?;
        }
        retained.extend(work.kept_by_policy(&made).await?);
        Ok(Expunged(work.ending(made, expunged, retained)))
    }
}

impl Work {
    /// What is to be deleted, oldest first.
    fn doomed(&self, made: &Made) -> Vec<ObjectVersion> {
        let planned = self.change.expunge.iter().map(|planned| planned.object.clone());
        let keeps = self.change.superseded == SupersededPolicy::Keep;
        let superseded = matches!(made, Made::Version(..)) && !keeps && self.site.keeps_versions;
        planned.chain(self.planned_version().filter(|_| superseded).cloned()).collect()
    }

    fn planned_version(&self) -> Option<&ObjectVersion> {
        self.change.rewrite.as_ref().map(|rewrite| &rewrite.object)
    }

    async fn versions(&self) -> Result<Vec<ListedVersion>, LakeError> {
        let lake = &self.site.lake;
        patiently(self.site.pause, || lake.versions(self.key())).await
    }

    /// Deletes one version; the answer says why it stays, if it does.
    async fn expunge_one(
        &self,
        made: &Made,
        object: &ObjectVersion,
    ) -> Result<Option<Reason>, Halt> {
        let kept = self.versions().await?;
        let Some(listed) = kept.iter().find(|listed| listed.object.is_same_version(object)) else {
            return Ok(None);
        };
        if self.past.is_expunged() {
            return self.reason_to_stay(object).await.map(Some);
        }
        if listed.standing == Standing::Current || !self.is_ours_on_top(made, &kept) {
            return Err(Halt::Drifted);
        }
        let lake = &self.site.lake;
        match patiently(self.site.pause, || lake.delete_version(object)).await {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == LakeErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == LakeErrorKind::Locked => {
                self.reason_to_stay(object).await.map(Some)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the current version is the one that was verified.
    fn is_ours_on_top(&self, made: &Made, kept: &[ListedVersion]) -> bool {
        let expected = match made {
            Made::Version(object, _) => Some(object),
            Made::Clean => self.planned_version(),
            Made::Nothing | Made::Gone => return true,
        };
        let current = kept.iter().find(|listed| listed.standing == Standing::Current);
        match (expected, current) {
            (Some(expected), Some(current)) => current.object.is_same_version(expected),
            _ => false,
        }
    }

    /// Why a version that should go is still there.
    async fn reason_to_stay(&self, object: &ObjectVersion) -> Result<Reason, Halt> {
        let lake = &self.site.lake;
        let target = Target::Version(object);
        Ok(match patiently(self.site.pause, || lake.attributes(target)).await {
            Ok(attributes) => match attributes.lock {
                Lock::Until(until) => Reason::Locked { until },
                Lock::LegalHold => Reason::LegalHold,
                Lock::Free | Lock::Unknown => Reason::Denied {
                    detail: "the store refuses to delete it and does not say until when".to_owned(),
                },
            },
            Err(error) => Reason::Denied { detail: chain(&error) },
        })
    }

    /// The version that the rewrite superseded, where the policy keeps it and the lake still has it.
    async fn kept_by_policy(&self, made: &Made) -> Result<Option<Retained>, Halt> {
        let keeps = self.change.superseded == SupersededPolicy::Keep && self.site.keeps_versions;
        let (true, Made::Version(..), Some(old)) = (keeps, made, self.planned_version()) else {
            return Ok(None);
        };
        let kept = self.versions().await?;
        let is_kept = kept.iter().any(|listed| listed.object.is_same_version(old));
        let reason = Reason::KeptByPolicy;
        Ok(is_kept.then(|| Retained { object: old.clone(), reason }))
    }

    fn ending(&self, made: Made, expunged: Vec<ObjectVersion>, retained: Vec<Retained>) -> Ending {
        let old = self.planned_version().cloned();
        let was_gone = matches!(made, Made::Gone);
        let index_was_wrong = match &made {
            Made::Version(_, intent) => intent.unmatched.is_some(),
            Made::Clean => true,
            Made::Nothing | Made::Gone => false,
        };
        let (replacement, rows) = match (made, old) {
            (Made::Version(new, intent), Some(old)) => {
                (Some(Replacement { old, new }), intent.rows)
            }
            _ => (None, RowCount(0)),
        };
        let effort = self.effort().filter(|_| replacement.is_some());
        Ending {
            replacement,
            rows,
            effort,
            landmarks: self.landmarks.clone(),
            index_was_wrong,
            expunged,
            retained,
            was_gone,
        }
    }
}
