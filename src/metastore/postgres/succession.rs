//! The index follows a rewrite: postings of the old version become those of the new, less the
//! erased.

use std::collections::HashSet;

use async_trait::async_trait;
use bytes::Bytes;

use super::catalogue::{self, Entry};
use super::failure::{Attempt, damaged};
use super::lock;
use super::merge::{Choice, merge};
use super::pool::{Session, Values, Work};
use super::segments::{Packer, Place, Stored, covering, subject_of};
use crate::domain::posting::ScannedObject;
use crate::metastore::{MetastoreError, Succession};

/// How many subjects are dropped at once.
const SUBJECTS: usize = 1000;

/// A succession; one transaction, under the lock that segments are changed under.
pub(super) struct Succeed<'s> {
    pub(super) succession: &'s Succession,
    /// A number for a copy.
    pub(super) fresh: i64,
}

#[async_trait]
impl Work for Succeed<'_> {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        let Succession { dataset, old, new, .. } = self.succession;
        lock::take(session, lock::SEGMENTS).await?;
        let dataset = catalogue::dataset_id(session, dataset).await?;
        let old_entry = match old.is_same_version(new) {
            true => None,
            false => catalogue::find(session, dataset, old).await?,
        };
        let new_entry = catalogue::find(session, dataset, new).await?;
        match (old_entry, new_entry) {
            (None, None) => Ok(()),
            (old_entry, Some(new_entry)) => {
                self.drop_erased(session, new_entry.id).await?;
                match old_entry {
                    Some(old_entry) if !keeps_old(self.succession) => {
                        catalogue::bury(session, &[old_entry.id]).await
                    }
                    _ => Ok(()),
                }
            }
            (Some(old_entry), None) if keeps_old(self.succession) => {
                self.copy(session, dataset, &old_entry).await
            }
            (Some(old_entry), None) => {
                catalogue::rename(session, dataset, &old_entry, new).await?;
                self.drop_erased(session, old_entry.id).await
            }
        }
    }
}

/// A version that was overwritten in place is gone, whatever the caller says.
fn keeps_old(succession: &Succession) -> bool {
    let Succession { old, new, keeps_old, .. } = succession;
    *keeps_old && (&old.key, &old.version) != (&new.key, &new.version)
}

impl Succeed<'_> {
    fn erased(&self) -> Vec<u64> {
        let mut erased: Vec<u64> = self.succession.erased.iter().map(subject_of).collect();
        erased.sort_unstable();
        erased.dedup();
        erased
    }

    /// Records the new version with the postings of the old one, which stays.
    async fn copy(&self, session: &Session, dataset: i64, old: &Entry) -> Attempt<()> {
        let new = &self.succession.new;
        if let Some(replaced) = catalogue::occupant(session, dataset, new).await? {
            catalogue::bury(session, &[replaced.id]).await?;
        }
        let mut postings = 0;
        if old.postings > 0 {
            let rows = session.query("SELECT id FROM lacuna_runs WHERE owner IS NULL", &[]).await?;
            let runs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let erased = self.erased().into_iter().collect();
            let choice = Choice::Copy { old: old.id, new: self.fresh, erased };
            postings = merge(session, &runs, choice).await?;
        }
        let scanned = ScannedObject { object: new.clone(), ..old.scanned.clone() };
        let sql =
            "INSERT INTO lacuna_objects (id, dataset, key, version, etag, state, postings, scan)
                   VALUES ($1, $2, $3, $4, $5, 1, $6, $7)";
        let values: Values<'_> = &[
            &self.fresh,
            &dataset,
            &new.key.as_bytes(),
            &new.version.as_str(),
            &new.etag.as_str(),
            &postings.cast_signed(),
            &catalogue::document(&scanned)?,
        ];
        session.execute(sql, values).await.map(drop)
    }

    /// Removes the erased subjects' postings of a version, physically: their segments are packed anew.
    async fn drop_erased(&self, session: &Session, object: i64) -> Attempt<()> {
        let erased = self.erased();
        let mut dropped = 0;
        for some in erased.chunks(SUBJECTS) {
            let gone: HashSet<u64> = some.iter().copied().collect();
            for (place, (bytes, _)) in covering(session, some).await? {
                dropped += drop_from(session, place, &bytes, (object, &gone)).await?;
            }
        }
        match dropped {
            0 => Ok(()),
            _ => catalogue::count(session, object, -dropped).await,
        }
    }
}

/// Packs a segment anew without these subjects' postings of a version; answers how many there were.
async fn drop_from(
    session: &Session,
    place: Place,
    bytes: &Bytes,
    (object, gone): (i64, &HashSet<u64>),
) -> Attempt<i64> {
    let Some((packed, dropped)) = without(bytes, object, gone)? else { return Ok(0) };
    let here: Values<'_> = &[&place.run, &place.first, &place.number];
    let sql = "DELETE FROM lacuna_segments WHERE run = $1 AND first = $2 AND number = $3";
    session.execute(sql, here).await?;
    let segments = packed.finish();
    match segments.as_slice() {
        [] => {}
        [segment] => {
            let sql = "INSERT INTO lacuna_segments (run, first, number, segment)
                       VALUES ($1, $2, $3, $4)";
            let bytes: &[u8] = &segment.bytes;
            session.execute(sql, &[&place.run, &segment.first, &place.number, &bytes]).await?;
        }
        // A part of what filled a segment fits into one.
        _ => return Err(damaged("an overfull segment").into()),
    }
    let sql =
        "UPDATE lacuna_runs SET segments = segments - $2, postings = postings - $3 WHERE id = $1";
    let fewer = i64::from(segments.is_empty());
    session.execute(sql, &[&place.run, &fewer, &dropped]).await?;
    Ok(dropped)
}

fn without(
    bytes: &[u8],
    object: i64,
    gone: &HashSet<u64>,
) -> Result<Option<(Packer, i64)>, MetastoreError> {
    let stored = Stored::new(bytes)?;
    let (mut packer, mut dropped) = (Packer::new(), 0);
    for posting in stored.block()?.postings() {
        if posting.object == object.cast_unsigned() && gone.contains(&posting.subject) {
            dropped += 1;
        } else {
            packer.push(posting);
        }
    }
    Ok((dropped > 0).then_some((packer, dropped)))
}
