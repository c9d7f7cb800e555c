//! The index follows a rewrite: postings of the old version become those of the new, less the
//! erased.

use std::collections::HashSet;
use std::sync::Arc;

use super::catalogue::{self, Entry, Recording};
use super::postings::{self, CopyPosition};
use super::recorder::bury;
use super::writer::{Session, Writer};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::ScannedObject;
use crate::metastore::{MetastoreError, MetastoreErrorKind, Succession};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many records of postings one transaction copies.
const COPY: usize = 50_000;

/// How often a copy is begun anew when the old version's record changes under it.
const ATTEMPTS: usize = 8;

/// Carries out a succession, but for the removal of what died by it.
pub(super) async fn succeed(writer: &Arc<Writer>, succession: &Succession) -> Result<()> {
    let succession = Arc::new(succession.clone());
    for _ in 0..ATTEMPTS {
        let order = Arc::clone(&succession);
        let Some(old) = writer.run(move |session| settle(session, &order)).await? else {
            return Ok(());
        };
        if copy(writer, &succession, old).await? {
            return Ok(());
        }
    }
    Err(MetastoreError::new(
        MetastoreErrorKind::Unavailable,
        format!(
            "{}: its record changes all the time, so the index could not follow its rewrite: \
             try again",
            succession.old.key
        ),
    ))
}

/// Does all that one transaction can do; answers the record of the old version where its postings
/// are to be copied.
fn settle(session: &mut Session, succession: &Succession) -> Result<Option<Entry>> {
    let Succession { dataset, old, new, erased, .. } = succession;
    let connection = &session.connection;
    let number = catalogue::dataset_id(connection, dataset)?;
    let old_entry = match old.is_same_version(new) {
        true => None,
        false => catalogue::find(connection, number, old)?,
    };
    let new_entry = catalogue::find(connection, number, new)?;
    match (old_entry, new_entry) {
        (None, None) => {}
        (old_entry, Some(new_entry)) => {
            drop_subjects(session, new_entry.id, erased)?;
            if let Some(old_entry) = old_entry
                && !keeps_old(succession)
            {
                catalogue::bury(&session.connection, old_entry.id)?;
            }
        }
        (Some(old_entry), None) if keeps_old(succession) => return Ok(Some(old_entry)),
        (Some(old_entry), None) => {
            let id = old_entry.id;
            catalogue::rename(connection, number, old_entry, new)?;
            drop_subjects(session, id, erased)?;
        }
    }
    session.litter();
    Ok(None)
}

/// A version that was overwritten in place is gone, whatever the caller says.
fn keeps_old(succession: &Succession) -> bool {
    let Succession { old, new, keeps_old, .. } = succession;
    *keeps_old && (&old.key, &old.version) != (&new.key, &new.version)
}

fn drop_subjects(session: &Session, id: i64, erased: &[IdentifierDigest]) -> Result<()> {
    let removed = postings::remove_subjects(&session.connection, id, erased)?;
    catalogue::count(&session.connection, id, -removed.cast_signed())
}

/// Copies the old version's postings to a pending record of the new one and makes it live. Answers
/// `false` where the old version's record was replaced meanwhile.
async fn copy(writer: &Arc<Writer>, succession: &Arc<Succession>, old: Entry) -> Result<bool> {
    let number = writer.next_recording();
    let _undo = Undo { writer: Arc::clone(writer), number };
    let erased: Arc<HashSet<_>> = Arc::new(succession.erased.iter().copied().collect());
    let mut position = None;
    loop {
        let step = Step {
            succession: Arc::clone(succession),
            old: old.id,
            erased: Arc::clone(&erased),
            number,
            after: position.take(),
        };
        position = writer.run(move |session| step.run(session)).await?;
        if position.is_none() {
            break;
        }
    }
    let scanned = ScannedObject { object: succession.new.clone(), ..old.scanned };
    let order = Arc::clone(succession);
    writer.run(move |session| publish(session, &order, old.id, (&scanned, number))).await
}

struct Step {
    succession: Arc<Succession>,
    old: i64,
    erased: Arc<HashSet<IdentifierDigest>>,
    number: i64,
    after: Option<CopyPosition>,
}

impl Step {
    fn run(self, session: &mut Session) -> Result<Option<CopyPosition>> {
        let Succession { dataset, new, .. } = &*self.succession;
        let recording = Recording { writer: session.writer_name()?, number: self.number };
        let connection = &session.connection;
        let (id, _) = catalogue::pending(connection, dataset, new, &recording)?;
        let copied = postings::copy_some(
            connection,
            (self.old, id),
            &self.erased,
            self.after.as_ref(),
            COPY,
        )?;
        catalogue::count(connection, id, copied.rows.cast_signed())?;
        Ok(copied.next)
    }
}

fn publish(
    session: &mut Session,
    succession: &Succession,
    old: i64,
    (scanned, number): (&ScannedObject, i64),
) -> Result<bool> {
    let recording = Recording { writer: session.writer_name()?, number };
    let connection = &session.connection;
    let is_unchanged = catalogue::live(connection, old)?
        .is_some_and(|(_, entry)| entry.scanned.object.is_same_version(&succession.old));
    let pending = catalogue::find_pending(connection, &recording)?;
    let (true, Some(id)) = (is_unchanged, pending) else { return Ok(false) };
    let dataset = catalogue::dataset_id(connection, &succession.dataset)?;
    if catalogue::find(connection, dataset, &succession.new)?.is_some() {
        // Somebody scanned the new version meanwhile, which is worth more than a copy.
        return Ok(false);
    }
    catalogue::publish(connection, &succession.dataset, scanned, Some(id))?;
    session.litter();
    Ok(true)
}

/// Buries a recording that is still pending when this is dropped.
struct Undo {
    writer: Arc<Writer>,
    number: i64,
}

impl Drop for Undo {
    fn drop(&mut self) {
        let number = self.number;
        self.writer.post(move |session| bury(session, number));
    }
}
