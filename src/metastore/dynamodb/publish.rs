//! Makes recorded versions visible. Postings are stored first; then the slots are given their numbers,
//! in transactions on condition that nobody took the writer for gone.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem};

use super::about::{self, About};
use super::catalogue::{Entry, Slot, entries, number_item};
use super::client::{Base, Write, pause};
use super::failure::{contended, damaged, lost};
use super::item::{self, Item, Table};
use super::open::{self, Held, IS_HELD};
use super::recorder::{Spilled, sorted};
use super::removal::dead_item;
use super::segments::{Origin, place};
use super::writer::{Job, Writer};
use crate::domain::posting::{RowPosting, ScannedObject};
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many slots one transaction changes: with what each replaces, fewer than a hundred writes.
const SLOTS: usize = 49;

/// How many bytes one transaction has at most; DynamoDB takes 4 MB.
const TRANSACTION_BYTES: usize = 2 << 20;

/// What an entry takes beside its document: its key twice, at most.
const ITEM_BYTES: usize = 4 * 1024;

/// How often slots are tried that others change.
const ATTEMPTS: u32 = 12;

/// Publishes versions: all of one batch, none of which has the slot of another.
pub(super) async fn publish(writer: &Arc<Writer>, mut jobs: Vec<Job>) -> Result<About> {
    if let Some(spilled) = jobs.first_mut().and_then(|job| job.spilled.take()) {
        let job = jobs.pop().ok_or_else(lost)?;
        return publish_spilled(writer, (job, spilled)).await;
    }
    let count = jobs.len() as u64;
    let first = writer.take_numbers(count).await?;
    let held = writer.holdings.begin(&writer.base, first..first + count).await?;
    let published = publish_held(writer, &held, jobs).await;
    writer.holdings.end(&held);
    if published.is_err() {
        // Where this fails, another writer collects it once patience is at an end.
        drop(open::give_up(&writer.base, &held).await);
    }
    published
}

async fn publish_spilled(
    writer: &Arc<Writer>,
    (job, mut spilled): (Job, Spilled),
) -> Result<About> {
    let number = spilled.number();
    let rest = job.postings;
    let sorting = tokio::task::spawn_blocking(move || sorted(number, &rest));
    let rest = spilled.unseen(sorting.await.map_err(|_| lost())?).await?;
    spilled.store(rest).await?;
    let slot = Slot::new(&job.dataset, &job.scanned.object);
    writer.note_datasets([job.dataset].into()).await?;
    let own = number_item(number, &slot);
    writer.base.write_all(&[Write::Put(Table::Catalogue, own)]).await?;
    let about = about::publish(&writer.base, spilled.sizes_kib).await?;
    let (published, postings) = (about.published, spilled.postings);
    let entry =
        Entry { slot, number, published, postings, is_miscounted: false, scanned: job.scanned };
    reveal(&writer.base, &spilled.held, &[entry]).await?;
    spilled.is_published = true;
    Ok(about)
}

async fn publish_held(writer: &Arc<Writer>, held: &Held, mut jobs: Vec<Job>) -> Result<About> {
    let postings: Vec<_> = jobs.iter_mut().map(|job| mem::take(&mut job.postings)).collect();
    let first = held.0.start;
    let packing = tokio::task::spawn_blocking(move || {
        let (all, counts) = pack(first, postings);
        (place(&all), counts)
    });
    let (segments, counts) = packing.await.map_err(|_| lost())?;
    writer.note_datasets(jobs.iter().map(|job| job.dataset.clone()).collect()).await?;
    let slots: Vec<Slot> =
        jobs.iter().map(|job| Slot::new(&job.dataset, &job.scanned.object)).collect();
    let numbers: Vec<Write> = held
        .0
        .clone()
        .zip(&slots)
        .map(|(number, slot)| Write::Put(Table::Catalogue, number_item(number, slot)))
        .collect();
    let stored = writer.store(segments, (Origin::Recorded(first), 0));
    let (stored, ()) = futures::future::try_join(stored, writer.base.write_all(&numbers)).await?;
    let about = about::publish(&writer.base, stored.1).await?;
    let entry = |((number, slot), scanned): ((u64, Slot), ScannedObject)| Entry {
        slot,
        number,
        published: about.published,
        postings: counts.get(&number).copied().unwrap_or(0),
        is_miscounted: false,
        scanned,
    };
    let scans = jobs.into_iter().map(|job| job.scanned);
    let entries: Vec<Entry> = held.0.clone().zip(slots).zip(scans).map(entry).collect();
    reveal(&writer.base, held, &entries).await?;
    Ok(about)
}

/// The postings of objects under numbers from `first` on, ascending, and how many each has.
fn pack(first: u64, postings: Vec<Vec<RowPosting>>) -> (Vec<PackedPosting>, HashMap<u64, u64>) {
    let mut all: Vec<PackedPosting> = Vec::with_capacity(postings.iter().map(Vec::len).sum());
    for (number, postings) in (first..).zip(postings) {
        all.extend(super::segments::packed(number, &postings));
    }
    all.sort_unstable();
    all.dedup();
    let mut counts = HashMap::new();
    for posting in &all {
        *counts.entry(posting.object).or_default() += 1;
    }
    (all, counts)
}

/// Gives slots their entries; the last transaction lets go of the numbers.
pub(super) async fn reveal(base: &Base, held: &Held, all: &[Entry]) -> Result<()> {
    let mut rest = all;
    while !rest.is_empty() {
        let (some, left) = rest.split_at(fitting(rest)?);
        reveal_some(base, held, some, left.is_empty()).await?;
        rest = left;
    }
    Ok(())
}

/// How many of these entries fit into one transaction; at least one does.
fn fitting(entries: &[Entry]) -> Result<usize> {
    let mut bytes = 0;
    for (count, entry) in entries.iter().take(SLOTS).enumerate() {
        bytes += item::bytes_of(&entry.item()?, "d")?.len() + ITEM_BYTES;
        if count > 0 && bytes > TRANSACTION_BYTES {
            return Ok(count);
        }
    }
    Ok(entries.len().min(SLOTS))
}

async fn reveal_some(base: &Base, held: &Held, some: &[Entry], is_last: bool) -> Result<()> {
    let mut occupants: HashMap<Slot, Entry> = HashMap::new();
    for attempt in 0..ATTEMPTS {
        let mut writes = vec![held_write(base, held, is_last)?];
        for entry in some {
            writes.extend(replace(base, entry.item()?, occupants.get(&entry.slot))?);
        }
        let done = base.transact(writes).await;
        if let Ok(true) = done {
            return Ok(());
        }
        // It was not done, or a lost answer said so: what is there decides.
        occupants = entries(base, some.iter().map(|entry| &entry.slot)).await?;
        let is_there = |entry: &Entry| {
            occupants.get(&entry.slot).is_some_and(|there| there.number == entry.number)
        };
        if some.iter().all(is_there) {
            return Ok(());
        }
        done?;
        let item = base.get(Table::Catalogue, held.key()).await?;
        if item.is_none_or(|item| item::is_set(&item, "taken")) {
            return Err(lost());
        }
        if attempt > 0 {
            pause(attempt).await;
        }
    }
    Err(contended())
}

/// On condition that the numbers are held; the last write of all lets them go.
fn held_write(base: &Base, held: &Held, is_last: bool) -> Result<TransactWriteItem> {
    let broken = |_| damaged("a write");
    let table = base.name(Table::Catalogue);
    let writes = TransactWriteItem::builder();
    Ok(match is_last {
        true => {
            let delete = Delete::builder().table_name(table).set_key(Some(held.key()));
            writes.delete(delete.condition_expression(IS_HELD).build().map_err(broken)?)
        }
        false => {
            let check = ConditionCheck::builder().table_name(table).set_key(Some(held.key()));
            writes.condition_check(check.condition_expression(IS_HELD).build().map_err(broken)?)
        }
    }
    .build())
}

/// The writes that put an item into its slot in place of this entry, whose number is dead then.
pub(super) fn replace(
    base: &Base,
    item: Item,
    occupant: Option<&Entry>,
) -> Result<Vec<TransactWriteItem>> {
    let put = Put::builder().table_name(base.name(Table::Catalogue)).set_item(Some(item));
    let Some(occupant) = occupant else {
        let put = put.condition_expression("attribute_not_exists(p)");
        return Ok(vec![transact_put(put)?]);
    };
    let put = put
        .condition_expression("n = :old")
        .expression_attribute_values(":old", item::number(occupant.number));
    let dead = dead_item(occupant.number, occupant.postings);
    Ok(vec![transact_put(put)?, put_always(base, dead)?])
}

/// A write of an item of the catalogue, whatever was there.
pub(super) fn put_always(base: &Base, item: Item) -> Result<TransactWriteItem> {
    transact_put(Put::builder().table_name(base.name(Table::Catalogue)).set_item(Some(item)))
}

fn transact_put(put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem> {
    let put = put.build().map_err(|_| damaged("a write"))?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A write that empties a slot of this entry.
pub(super) fn vacate(base: &Base, entry: &Entry) -> Result<TransactWriteItem> {
    let delete = Delete::builder()
        .table_name(base.name(Table::Catalogue))
        .set_key(Some(entry.slot.item_key()))
        .condition_expression("n = :old")
        .expression_attribute_values(":old", item::number(entry.number));
    let delete = delete.build().map_err(|_| damaged("a write"))?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}
