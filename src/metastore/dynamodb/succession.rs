//! How the index follows a rewrite: the new version takes the old one's number, and with it the
//! postings; where the old one is kept, its postings are copied.

use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::about;
use super::catalogue::{Entry, Slot, entry, number_item};
use super::client::{Base, Change, Write, pause};
use super::failure::{contended, lost};
use super::find::Sweep;
use super::item::{self, Table};
use super::publish::{self, put_always, replace, vacate};
use super::recorder::{BUFFER, Spilled};
use super::removal::{self, dead_item, remove_subjects};
use super::writer::Writer;
use crate::domain::object::ObjectVersion;
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::subject::subject_of;
use crate::metastore::{MetastoreError, Succession};

type Result<T> = std::result::Result<T, MetastoreError>;

/// How often a succession is tried that others come in between of.
const ATTEMPTS: u32 = 12;

/// Carries out a succession.
pub(super) async fn succeed(writer: &Arc<Writer>, succession: &Succession) -> Result<()> {
    let mut erased: Vec<u64> = succession.erased.iter().map(subject_of).collect();
    erased.sort_unstable();
    erased.dedup();
    for attempt in 0..ATTEMPTS {
        if try_once(writer, succession, &erased).await? {
            return removal::purge_if_due(&writer.base).await;
        }
        pause(attempt).await;
    }
    Err(contended())
}

/// A version that was overwritten in place is gone, whatever the caller says.
fn keeps_old(succession: &Succession) -> bool {
    let Succession { old, new, keeps_old, .. } = succession;
    *keeps_old && (&old.key, &old.version) != (&new.key, &new.version)
}

async fn find(
    base: &Base,
    succession: &Succession,
    object: &ObjectVersion,
) -> Result<Option<Entry>> {
    let entry = entry(base, &Slot::new(&succession.dataset, object)).await?;
    Ok(entry.filter(|entry| entry.scanned.object.etag == object.etag))
}

/// Whether it was done: nobody came in between.
async fn try_once(writer: &Arc<Writer>, succession: &Succession, erased: &[u64]) -> Result<bool> {
    let (base, Succession { old, new, .. }) = (&*writer.base, succession);
    let old_entry = match old.is_same_version(new) {
        true => None,
        false => find(base, succession, old).await?,
    };
    match (old_entry, find(base, succession, new).await?) {
        (None, None) => Ok(true),
        (old_entry, Some(new_entry)) => {
            drop_erased(base, &new_entry, erased).await?;
            match old_entry {
                Some(old_entry) if !keeps_old(succession) => bury(base, &old_entry).await,
                _ => Ok(true),
            }
        }
        (Some(old_entry), None) if keeps_old(succession) => {
            copy(writer, succession, (&old_entry, erased)).await
        }
        (Some(old_entry), None) => {
            let Some(renamed) = rename(base, succession, &old_entry).await? else {
                return Ok(false);
            };
            drop_erased(base, &renamed, erased).await?;
            Ok(true)
        }
    }
}

/// Empties the slot of an entry, whose number is dead then.
async fn bury(base: &Base, entry: &Entry) -> Result<bool> {
    let dead = put_always(base, dead_item(entry.number, entry.postings))?;
    base.transact(vec![vacate(base, entry)?, dead]).await
}

/// Gives an entry's number to the new version. `None` where somebody came in between, or a lost answer
/// says so: then it is looked at anew.
async fn rename(base: &Base, succession: &Succession, old: &Entry) -> Result<Option<Entry>> {
    let new = &succession.new;
    let scanned = old.scanned.succeeded_by(new, &succession.landmarks);
    let slot = Slot::new(&succession.dataset, new);
    let renamed = Entry { slot, scanned, ..old.clone() };
    let is_done = if renamed.slot == old.slot {
        let condition = ("n = :n", vec![(":n", item::number(old.number))]);
        base.put(Table::Catalogue, renamed.item()?, Some(condition)).await?
    } else {
        let occupant = entry(base, &renamed.slot).await?;
        let mut writes: Vec<TransactWriteItem> = replace(base, renamed.item()?, occupant.as_ref())?;
        writes.push(put_always(base, number_item(old.number, &renamed.slot))?);
        writes.push(vacate(base, old)?);
        base.transact(writes).await?
    };
    Ok(is_done.then_some(renamed))
}

/// Removes the erased subjects' postings of a version.
async fn drop_erased(base: &Base, entry: &Entry, erased: &[u64]) -> Result<()> {
    if erased.is_empty() {
        return Ok(());
    }
    about::begin_removal(base).await?;
    let is_true = AttributeValue::Bool(true);
    change_entry(base, entry, "SET x = :x", vec![(":x", is_true)]).await?;
    let gone = remove_subjects(base, entry.number, erased).await?;
    // Whoever died over an earlier removal left the count as it was before.
    let left = match entry.is_miscounted {
        true => count(base, entry.number).await?,
        false => entry.postings.saturating_sub(gone),
    };
    change_entry(base, entry, "SET c = :c REMOVE x", vec![(":c", item::number(left))]).await
}

/// Changes an entry's item, if it still has its number.
async fn change_entry(
    base: &Base,
    entry: &Entry,
    update: &str,
    mut values: Vec<(&str, AttributeValue)>,
) -> Result<()> {
    values.push((":n", item::number(entry.number)));
    let (table, key) = (Table::Catalogue, entry.slot.item_key());
    base.update(Change { table, key, update, condition: "n = :n", values }).await.map(drop)
}

/// How many postings a number has, by a walk through all.
async fn count(base: &Base, number: u64) -> Result<u64> {
    let (mut count, mut sweep) = (0, Sweep::new(base));
    while let Some(page) = sweep.page().await? {
        for swept in page.iter().filter(|swept| swept.counts) {
            let postings = swept.segment.block()?.postings();
            count += postings.filter(|it| it.object == number).count() as u64;
        }
    }
    Ok(count)
}

/// Records the new version with the postings of the old one, which stays.
async fn copy(
    writer: &Arc<Writer>,
    succession: &Succession,
    (old, erased): (&Entry, &[u64]),
) -> Result<bool> {
    let base = &*writer.base;
    let mut spilled = Spilled::begin(writer).await?;
    let mut buffer: Vec<PackedPosting> = Vec::new();
    let mut sweep = Sweep::new(base);
    while let Some(page) = sweep.page().await? {
        for swept in page.iter().filter(|swept| swept.counts) {
            for posting in swept.segment.block()?.postings() {
                let is_erased = erased.binary_search(&posting.subject).is_ok();
                if posting.object == old.number && !is_erased {
                    buffer.push(PackedPosting { object: spilled.number(), ..posting });
                }
            }
        }
        if buffer.len() >= BUFFER {
            store(&mut spilled, std::mem::take(&mut buffer)).await?;
        }
    }
    store(&mut spilled, buffer).await?;
    // Where the old one was replaced meanwhile, some of its postings may have been gone.
    let still = entry(base, &old.slot).await?;
    if still.is_none_or(|still| still.number != old.number) {
        return Ok(false);
    }
    let slot = Slot::new(&succession.dataset, &succession.new);
    let own = number_item(spilled.number(), &slot);
    base.write_all(&[Write::Put(Table::Catalogue, own)]).await?;
    let about = about::publish(base, spilled.sizes_kib).await?;
    let new = Entry {
        slot,
        number: spilled.number(),
        published: about.published,
        postings: spilled.postings,
        is_miscounted: false,
        scanned: old.scanned.succeeded_by(&succession.new, &succession.landmarks),
    };
    publish::reveal(base, &spilled.held, &[new]).await?;
    spilled.is_published = true;
    Ok(true)
}

async fn store(spilled: &mut Spilled, mut postings: Vec<PackedPosting>) -> Result<()> {
    let sorting = tokio::task::spawn_blocking(move || {
        postings.sort_unstable();
        postings.dedup();
        postings
    });
    spilled.store(sorting.await.map_err(|_| lost())?).await
}
