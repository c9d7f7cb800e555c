//! The first step: the new version is written, if the object still is as the plan says.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::domain::edit::{Edit, EditError, Segment, Way};
use crate::domain::identifier::hex;
use crate::domain::journal::Step;
use crate::domain::landmark::Landmarks;
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::domain::plan::PlannedRewrite;
use crate::domain::row::{RowCount, RowSet};
use crate::domain::stretch::Extent;
use crate::format::{Blanking, Fingerprint};
use crate::lake::{
    Base, LakeErrorKind, ObserverError, OperationId, Staging, Write, WriteError, WriteObserver,
    WriteOutcome,
};

use crate::scan::{ScanError, is_gone};

use super::past::{Intent, difference, spell};
use super::position::Position;
use super::reading::Reader;
use super::seal::Seal;
use super::{Halt, Notes, Planned, TRIES, Work, chain, patiently};

/// A change whose current version is free of the subjects, as far as the write's answer tells.
pub struct Rewritten {
    pub(super) work: Work,
    pub(super) made: Made,
}

/// What the first step found or did.
#[derive(Clone, Debug)]
pub(super) enum Made {
    /// This version, by this write.
    Version(ObjectVersion, Intent),
    /// Nothing: reading showed that no subject stands in the planned version.
    Clean,
    /// Nothing: the plan rewrites nothing here.
    Nothing,
    /// Nothing: the planned version and the key are gone. Versions beneath may remain.
    Gone,
}

/// How one attempt to write ended.
enum Attempt {
    Written(ObjectVersion, Intent),
    Clean,
    /// It failed; the object tells what that means.
    Trouble {
        detail: String,
        may_pass: bool,
    },
}

impl Planned {
    /// Writes the new version, or finds that an earlier run did.
    ///
    /// Only what has to change is read, and its neighbourhood. All of the planned version is, before the
    /// first byte is written, where the site asks for it, or where a planned row turns out to be nobody's.
    ///
    /// # Errors
    ///
    /// [`Halt`]. The object was then not changed by this call, or it was and the next call finds it.
    pub async fn rewrite(self) -> Result<Rewritten, Halt> {
        let Self(mut work) = self;
        work.abandon_leftovers().await?;
        let made = work.make().await?;
        Ok(Rewritten { work, made })
    }
}

impl Work {
    /// Removes what unfinished writes of earlier runs left. Comes before anything is settled, so that
    /// a write that is settled as not committed stays so.
    async fn abandon_leftovers(&mut self) -> Result<(), Halt> {
        for staging in self.past.take_staged() {
            let lake = &self.site.lake;
            patiently(self.site.pause, || lake.abandon(&self.change.key, &staging)).await?;
        }
        Ok(())
    }

    async fn make(&mut self) -> Result<Made, Halt> {
        // Its work in the lake was done: a later write of somebody else is no drift.
        if self.past.is_expunged()
            && let Some((object, intent)) = self.past.rewritten().cloned()
        {
            return Ok(Made::Version(object, intent));
        }
        let Some(planned) = self.change.rewrite.clone() else {
            return Ok(Made::Nothing);
        };
        let mut trouble: Option<String> = None;
        let mut tries = 0;
        loop {
            match self.look(&planned).await? {
                Position::Drifted => return Err(Halt::Drifted),
                Position::Gone => return Ok(Made::Gone),
                Position::Ours(object, intent) => {
                    self.note_rewritten(&object).await?;
                    return Ok(Made::Version(object, intent));
                }
                Position::Planned if tries == TRIES => {
                    return Err(Halt::failed(trouble.unwrap_or_default()));
                }
                Position::Planned => {}
            }
            match self.attempt(&planned).await? {
                Attempt::Clean => return Ok(Made::Clean),
                Attempt::Written(object, intent) => {
                    self.note_rewritten(&object).await?;
                    return Ok(Made::Version(object, intent));
                }
                Attempt::Trouble { detail, may_pass } => {
                    trouble = Some(detail);
                    tries = if may_pass { tries + 1 } else { TRIES };
                    tokio::time::sleep(self.site.pause * tries).await;
                    self.abandon_leftovers().await?;
                }
            }
        }
    }

    async fn note_rewritten(&mut self, object: &ObjectVersion) -> Result<(), Halt> {
        if let Some((known, _)) = self.past.rewritten()
            && known.is_same_version(object)
        {
            return Ok(());
        }
        self.note(Step::Rewritten { object: object.clone(), effort: self.effort() }).await
    }

    /// Blanks, notes and writes, once.
    async fn attempt(&mut self, planned: &PlannedRewrite) -> Result<Attempt, Halt> {
        let (edit, intent, manner) = match self.prepare(planned).await? {
            Prepared::Clean => return Ok(Attempt::Clean),
            Prepared::Trouble { detail, may_pass } => {
                return Ok(Attempt::Trouble { detail, may_pass });
            }
            Prepared::Edit(edit, intent, manner) => (edit, *intent, manner),
        };
        let lake = self.site.lake.clone();
        let seal = match Seal::of(&*lake, &planned.object, &intent.operation).await {
            Ok(seal) => seal,
            Err(error) => {
                let may_pass = is_gone(&error) || error.kind() == LakeErrorKind::Unavailable;
                return Ok(Attempt::Trouble { detail: chain(&error), may_pass });
            }
        };
        self.note_intent(&intent).await?;
        let observer = Arc::new(StagingNotes {
            notes: self.site.notes.clone(),
            operation: intent.operation.clone(),
            staged: Mutex::default(),
        });
        let write = Write {
            key: self.key().clone(),
            base: Base::Version(planned.object.clone()),
            edit: seal.record(edit),
            operation: intent.operation.clone(),
            observer: observer.clone(),
        };
        let answer = lake.write(write).await;
        for step in observer.take() {
            self.past.add(&step);
        }
        Ok(match answer {
            Ok(object) => {
                self.past.set_way(manner.way);
                self.seal = Some(seal);
                self.landmarks = manner.landmarks;
                Attempt::Written(object, intent)
            }
            Err(error) => Attempt::Trouble { may_pass: may_pass(&error), detail: chain(&error) },
        })
    }

    /// Everything that comes before the intent is noted.
    async fn prepare(&self, planned: &PlannedRewrite) -> Result<Prepared, Halt> {
        let reader = self.site.reader(&planned.object);
        let mut blanking = match reader.blank(planned.rows.clone(), &planned.action).await {
            Ok(blanking) => blanking,
            Err(error) => return Ok(error.into()),
        };
        // Where the index was wrong about one row it may be about others.
        if self.site.is_deep || !blanking.is_as_ordered() {
            match self.read_whole(&reader, planned, &mut blanking).await? {
                None => {}
                Some(prepared) => return Ok(prepared),
            }
        }
        if blanking.way == Way::Rows
            && let Some(edit) = blanking.edit.take()
        {
            match confirmed(&reader, planned, edit).await {
                Ok(edit) => blanking.edit = Some(edit),
                Err(prepared) => return Ok(prepared),
            }
        }
        let Some(rows) = blanking.blanked.clone() else { return Ok(Prepared::Clean) };
        let fingerprint = match blanking.fingerprint.take() {
            Some(fingerprint) => fingerprint,
            None => {
                // Where versions are kept, the superseded one settles what a damaged note cannot.
                let is_alone = blanking.way == Way::Rows && !self.site.keeps_versions;
                match expected(&reader, &rows, &blanking.before, is_alone).await {
                    Ok(fingerprint) => fingerprint,
                    Err(prepared) => return Ok(prepared),
                }
            }
        };
        let Some(edit) = blanking.edit else { return Ok(Prepared::Clean) };
        let intent = Intent {
            operation: fresh_operation()?,
            fingerprint: spell(&fingerprint),
            rows: rows.count(),
            unmatched: difference(&planned.rows, Some(&rows)),
            extent: blanking.after,
        };
        let manner = Manner { way: blanking.way, landmarks: blanking.landmarks };
        Ok(Prepared::Edit(edit, Box::new(intent), manner))
    }

    /// Reads all of the planned version. A subject's row that the plan does not name means that the index
    /// was wrong, and that more would go than was approved.
    async fn read_whole(
        &self,
        reader: &Reader,
        planned: &PlannedRewrite,
        blanking: &mut Blanking,
    ) -> Result<Option<Prepared>, Halt> {
        let found = match reader.find().await {
            Ok(found) => found,
            Err(error) => return Ok(Some(error.into())),
        };
        let Some(rows) = found.rows else {
            // Against the index's word and the plan's: who believes it forgets where the subjects stand.
            return Ok(Some(match reader.find().await {
                Ok(again) if again == found => Prepared::Clean,
                Ok(_) => Prepared::differs(),
                Err(error) => error.into(),
            }));
        };
        if let Some(surplus) = difference(&rows, Some(&planned.rows)) {
            return Err(index_is_wrong(surplus.count()));
        }
        if blanking.blanked.as_ref() != Some(&rows) {
            return Err(blanking_disagrees(&rows, blanking.blanked.as_ref()));
        }
        (blanking.before, blanking.after) = (Extent::Whole, Extent::Whole);
        blanking.fingerprint = None;
        Ok(None)
    }

    /// Notes the intent, in the journal and in the past of this run.
    async fn note_intent(&mut self, intent: &Intent) -> Result<(), Halt> {
        let unmatched = intent.unmatched.clone().map(|rows| Step::Unmatched { rows });
        let intended = Step::Intended {
            operation: intent.operation.as_str().to_owned(),
            fingerprint: intent.fingerprint.clone(),
            rows: intent.rows,
            extent: intent.extent.clone(),
        };
        for step in unmatched.into_iter().chain([intended]) {
            self.note(step.clone()).await?;
            self.past.add(&step);
        }
        Ok(())
    }
}

/// What is known of the new version before it is written, and is of use once it is.
struct Manner {
    way: Way,
    landmarks: Landmarks,
}

/// What comes of preparing a write.
enum Prepared {
    Edit(Edit, Box<Intent>, Manner),
    Clean,
    Trouble { detail: String, may_pass: bool },
}

impl Prepared {
    /// Reading the same bytes twice did not lead to the same.
    fn differs() -> Self {
        let detail = "two readings of the rows to erase differ: the store, the network or this \
                      machine's memory changes bytes; nothing was written";
        Self::Trouble { detail: detail.to_owned(), may_pass: true }
    }
}

/// The object could not be read: the look that follows tells whether it is still there.
impl From<ScanError> for Prepared {
    fn from(error: ScanError) -> Self {
        let may_pass = match &error {
            ScanError::Lake(error) => is_gone(error) || error.kind() == LakeErrorKind::Unavailable,
            ScanError::Unreadable(_) | ScanError::Stopped => false,
        };
        Self::Trouble { detail: chain(&error), may_pass }
    }
}

/// The edit of a text, if reading its rows once more leads to the same one. A bit that changes on its way to
/// us can make a line ending content: then the row after it would go with the row that is to go, and where
/// the lake keeps no versions nothing would bring it back.
async fn confirmed(
    reader: &Reader,
    planned: &PlannedRewrite,
    edit: Edit,
) -> Result<Edit, Prepared> {
    let trouble = |detail: String| Prepared::Trouble { detail, may_pass: true };
    let all = |edit: Edit| edit.collect::<Result<Vec<Segment>, EditError>>();
    let again = reader.blank(planned.rows.clone(), &planned.action).await?;
    let first = all(edit).map_err(|error| trouble(chain(&*error)))?;
    let second = again.edit.map(all).transpose().map_err(|error| trouble(chain(&*error)))?;
    if second.as_ref() == Some(&first) {
        return Ok(Edit::new(first));
    }
    Err(Prepared::differs())
}

/// What the rows that the write may touch have to hold afterwards; where it `is_alone`, nothing else will
/// tell, so that it is read twice.
async fn expected(
    reader: &Reader,
    rows: &RowSet,
    before: &Extent,
    is_alone: bool,
) -> Result<Fingerprint, Prepared> {
    let read = || reader.fingerprint(Some(rows.clone()), before.clone());
    let fingerprint = read().await?;
    if is_alone && read().await? != fingerprint {
        return Err(Prepared::differs());
    }
    Ok(fingerprint)
}

/// Whether the same write may succeed a little later. An unknown outcome is settled by the look that
/// follows, and so is a precondition that failed: it may have been our own write that broke it.
fn may_pass(error: &WriteError) -> bool {
    error.outcome == WriteOutcome::Unknown
        || matches!(error.error.kind(), LakeErrorKind::Unavailable | LakeErrorKind::Drifted)
}

fn index_is_wrong(surplus: RowCount) -> Halt {
    Halt::failed(format!(
        "the index is wrong about this object: {surplus} more rows; run `lacuna index --full` and \
         plan again"
    ))
}

fn blanking_disagrees(found: &RowSet, blanked: Option<&RowSet>) -> Halt {
    let blanked = blanked.map_or(RowCount(0), RowSet::count);
    Halt::failed(format!(
        "a scan found the subjects in {} rows, but blanking would change {blanked}; nothing was \
         written; this is a defect of Lacuna, please report it",
        found.count()
    ))
}

/// A name that no other write has: 128 random bits.
fn fresh_operation() -> Result<OperationId, Halt> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Halt::failed(format!("the system gives no random bytes: {error}")))?;
    Ok(OperationId::new(hex(&bytes)))
}

/// Notes where the bytes of an unfinished write lie.
struct StagingNotes {
    notes: Arc<dyn Notes>,
    operation: OperationId,
    staged: Mutex<Vec<Step>>,
}

impl StagingNotes {
    fn take(&self) -> Vec<Step> {
        std::mem::take(&mut *self.staged.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl WriteObserver for StagingNotes {
    async fn staged(&self, _: &ObjectKey, staging: &Staging) -> Result<(), ObserverError> {
        let step = Step::Staged {
            operation: self.operation.as_str().to_owned(),
            staging: staging.0.clone(),
        };
        self.notes.note(step.clone()).await?;
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Ok(())
    }
}
