//! The journal of a plan: one note a file, so that a note is written whole or not at all.

use std::collections::BTreeMap;

use crate::domain::journal::{NOTE_SCHEMA, Note};
use crate::domain::plan::PlanId;

use super::{Ledger, LedgerError, to_bytes};

impl Ledger {
    /// Stores a note under its change and sequence. The same note again is success.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Conflict`](super::LedgerErrorKind::Conflict) where another note has this
    /// place: another run is at work on the same change.
    pub async fn note(&self, id: &PlanId, note: &Note) -> Result<(), LedgerError> {
        let name = format!("{}{:08}-{:06}.json", folder(id), note.change, note.sequence);
        self.create(&name, to_bytes(note)).await.map(|_| ())
    }

    /// The latest note of each change that has any, by change. It costs one listing and one read a
    /// change, however many notes there are.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Tampered`](super::LedgerErrorKind::Tampered) where a note is damaged or
    /// stands in another's place.
    pub async fn notes(&self, id: &PlanId) -> Result<BTreeMap<u32, Note>, LedgerError> {
        let latest = self.latest_notes(id).await?;
        let names = latest.iter().map(|(&(change, sequence), _)| (change, sequence)).collect();
        let notes = self.documents::<Note>(latest.into_values().collect()).await?;
        self.checked(id, names, notes)
    }

    /// Every note of one change, in order.
    ///
    /// # Errors
    ///
    /// As [`Ledger::notes`].
    pub async fn notes_of(&self, id: &PlanId, change: u32) -> Result<Vec<Note>, LedgerError> {
        let names = self.names(&format!("{}{change:08}-", folder(id))).await?;
        self.documents(names).await
    }

    /// Whether the plan's execution has begun: whether there is any note.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`](super::LedgerErrorKind::Lake) where the store fails.
    pub async fn has_begun(&self, id: &PlanId) -> Result<bool, LedgerError> {
        self.has_any(&folder(id)).await
    }

    /// The names of the latest notes by (change, sequence), one a change.
    async fn latest_notes(&self, id: &PlanId) -> Result<BTreeMap<(u32, u32), String>, LedgerError> {
        let folder = folder(id);
        let mut latest: BTreeMap<u32, (u32, String)> = BTreeMap::new();
        for name in self.names(&folder).await? {
            let Some((change, sequence)) = place(&name, &folder) else {
                return Err(LedgerError::tampered(&self.key(&name), "is no note of a journal"));
            };
            let entry = latest.entry(change).or_insert_with(|| (sequence, name.clone()));
            if entry.0 < sequence {
                *entry = (sequence, name);
            }
        }
        Ok(latest
            .into_iter()
            .map(|(change, (sequence, name))| ((change, sequence), name))
            .collect())
    }

    fn checked(
        &self,
        id: &PlanId,
        places: Vec<(u32, u32)>,
        notes: Vec<Note>,
    ) -> Result<BTreeMap<u32, Note>, LedgerError> {
        let is_in_place = |((change, sequence), note): (&(u32, u32), &Note)| {
            note.change == *change && note.sequence == *sequence && note.schema == NOTE_SCHEMA
        };
        if !places.iter().zip(&notes).all(is_in_place) {
            let what = "holds a note in another's place, or one of another schema";
            return Err(LedgerError::tampered(&self.key(&folder(id)), what));
        }
        Ok(notes.into_iter().map(|note| (note.change, note)).collect())
    }
}

fn folder(id: &PlanId) -> String {
    format!("journal/{id}/")
}

fn place(name: &str, folder: &str) -> Option<(u32, u32)> {
    let (change, sequence) = name.strip_prefix(folder)?.strip_suffix(".json")?.split_once('-')?;
    Some((change.parse().ok()?, sequence.parse().ok()?))
}
