//! The index follows a rewrite: postings of the old version become those of the new, less the
//! erased.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use bytes::Bytes;

use super::catalogue::{self, Entry};
use super::failure::{Attempt, damaged};
use super::lock;
use super::pool::{Session, Values, Work};
use super::segments::{Packer, Place, Stored, covering, key_of, number_of};
use crate::domain::posting::ScannedObject;
use crate::metastore::packing::subject::subject_of;
use crate::metastore::{MetastoreError, Succession};

/// How many subjects are dropped at once.
const SUBJECTS: usize = 1000;

/// A succession; one transaction, under the lock that segments are changed under.
pub(super) struct Succeed<'s> {
    pub(super) succession: &'s Succession,
    /// A number for a version that is made from one that is kept.
    pub(super) fresh: i64,
}

#[async_trait]
impl Work for Succeed<'_> {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        lock::take(session, lock::SEGMENTS).await?;
        settle(session).await?;
        self.follow(session).await?;
        settle(session).await
    }
}

impl Succeed<'_> {
    async fn follow(&self, session: &Session) -> Attempt<()> {
        let Succession { dataset, old, new, .. } = self.succession;
        let dataset = catalogue::dataset_id(session, dataset).await?;
        let old_entry = match old.is_same_version(new) {
            true => None,
            false => catalogue::find(session, dataset, old).await?,
        };
        let new_entry = catalogue::find(session, dataset, new).await?;
        match (old_entry, new_entry) {
            (None, None) => Ok(()),
            (old_entry, Some(new_entry)) => {
                self.drop_erased(session, &new_entry).await?;
                match old_entry {
                    Some(old_entry) if !keeps_old(self.succession) => {
                        catalogue::bury(session, &[old_entry.id]).await
                    }
                    _ => Ok(()),
                }
            }
            (Some(old_entry), None) if keeps_old(self.succession) => {
                self.share(session, dataset, &old_entry).await
            }
            (Some(old_entry), None) => {
                let scanned = self.succeeded(&old_entry);
                catalogue::rename(session, dataset, &old_entry, &scanned).await?;
                self.drop_erased(session, &old_entry).await
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
    fn succeeded(&self, old: &Entry) -> ScannedObject {
        old.scanned.succeeded_by(&self.succession.new, &self.succession.landmarks)
    }

    fn erased(&self) -> Vec<u64> {
        let mut erased: Vec<u64> = self.succession.erased.iter().map(subject_of).collect();
        erased.sort_unstable();
        erased.dedup();
        erased
    }

    /// Records the new version beside the old one, whose postings it shares from now on. So the work
    /// follows the rows erased, not the index.
    async fn share(&self, session: &Session, dataset: i64, old: &Entry) -> Attempt<()> {
        let new = &self.succession.new;
        if let Some(replaced) = catalogue::occupant(session, dataset, new).await? {
            catalogue::bury(session, &[replaced.id]).await?;
        }
        let scanned = self.succeeded(old);
        let sql = "INSERT INTO lacuna_objects
                       (id, dataset, key, version, etag, state, shares, postings, scan)
                   VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8)";
        let values: Values<'_> = &[
            &self.fresh,
            &dataset,
            &new.key.as_bytes(),
            &new.version.as_str(),
            &new.etag.as_str(),
            &old.number,
            &old.postings,
            &catalogue::document(&scanned)?,
        ];
        session.execute(sql, values).await?;
        let sql = "INSERT INTO lacuna_masks (number, subject, object)
                   SELECT number, subject, $3 FROM lacuna_masks WHERE number = $1 AND object = $2";
        session.execute(sql, &[&old.number, &old.id, &self.fresh]).await?;
        let fresh = Entry { id: self.fresh, scanned, ..old.clone() };
        self.drop_erased(session, &fresh).await
    }

    /// Removes the erased subjects' postings of a version: physically, unless another version shares
    /// them, which keeps them for itself.
    async fn drop_erased(&self, session: &Session, entry: &Entry) -> Attempt<()> {
        let erased = self.erased();
        let holders = catalogue::holders(session, &[entry.number]).await?;
        let is_shared = holders.values().flatten().any(|holder| holder.id != entry.id);
        let dropped = match is_shared {
            true => mask(session, entry, &erased).await?,
            false => drop_all(session, entry.number, &erased).await?,
        };
        match dropped {
            0 => Ok(()),
            _ => catalogue::count(session, entry.id, -dropped).await,
        }
    }
}

/// Hides the postings of these subjects from a version. Answers how many it had.
async fn mask(session: &Session, entry: &Entry, subjects: &[u64]) -> Attempt<i64> {
    let masks = catalogue::masks(session, &[entry.number]).await?;
    let is_new = |subject: &u64| !masks.contains(&(entry.id, *subject));
    let subjects: Vec<u64> = subjects.iter().copied().filter(is_new).collect();
    let mut had: HashMap<u64, i64> = HashMap::new();
    for some in subjects.chunks(SUBJECTS) {
        for (bytes, _) in covering(session, some).await?.into_values() {
            let stored = Stored::new(&bytes)?;
            for posting in stored.block()?.postings() {
                let is_its = posting.object == entry.number.cast_unsigned();
                if is_its && some.binary_search(&posting.subject).is_ok() {
                    *had.entry(posting.subject).or_default() += 1;
                }
            }
        }
    }
    let keys: Vec<i64> = had.keys().map(|subject| key_of(*subject)).collect();
    let sql = "INSERT INTO lacuna_masks (number, subject, object)
               SELECT $1, subject, $2 FROM unnest($3::bigint[]) subject";
    session.execute(sql, &[&entry.number, &entry.id, &keys]).await?;
    Ok(had.values().sum())
}

/// Removes what is stored of these subjects under a number, physically: their segments are packed anew.
async fn drop_all(session: &Session, number: i64, subjects: &[u64]) -> Attempt<i64> {
    let mut dropped = 0;
    for some in subjects.chunks(SUBJECTS) {
        let gone: HashSet<u64> = some.iter().copied().collect();
        for (place, (bytes, _)) in covering(session, some).await? {
            dropped += drop_from(session, place, &bytes, (number, &gone)).await?;
        }
    }
    Ok(dropped)
}

/// Removes the postings that are hidden from every version of their number.
pub(super) async fn settle(session: &Session) -> Attempt<()> {
    let any = session.query("SELECT FROM lacuna_masks LIMIT 1", &[]).await?;
    if any.is_empty() {
        return Ok(());
    }
    lock::take(session, lock::SEGMENTS).await?;
    let sql = "
        SELECT DISTINCT number, subject FROM lacuna_masks masks
        WHERE NOT EXISTS (
            SELECT FROM (
                SELECT id FROM lacuna_objects
                WHERE id = masks.number AND shares IS NULL AND state = 1
                UNION ALL
                SELECT id FROM lacuna_objects
                WHERE shares IS NOT NULL AND shares = masks.number AND state = 1) holders
            WHERE NOT EXISTS (SELECT FROM lacuna_masks others WHERE others.number = masks.number
                AND others.subject = masks.subject AND others.object = holders.id))";
    let mut hidden: HashMap<i64, Vec<u64>> = HashMap::new();
    for row in session.query(sql, &[]).await? {
        hidden.entry(row.get(0)).or_default().push(number_of(row.get(1)));
    }
    for (number, subjects) in hidden {
        drop_all(session, number, &subjects).await?;
        let keys: Vec<i64> = subjects.iter().map(|subject| key_of(*subject)).collect();
        let sql = "DELETE FROM lacuna_masks WHERE number = $1 AND subject = ANY($2)";
        session.execute(sql, &[&number, &keys]).await?;
    }
    Ok(())
}

/// Removes what a removal of versions left hidden from all.
pub(super) struct Settle;

#[async_trait]
impl Work for Settle {
    type Answer = ();

    async fn attempt(&self, session: &Session) -> Attempt<()> {
        settle(session).await
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
