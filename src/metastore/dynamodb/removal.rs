//! Takes postings out of segments: those of dead numbers, and those of erased subjects. A segment is
//! rewritten on condition that it is as it was read; what moved down meanwhile is met again below,
//! since a removal goes from the top down as well. Before it goes on, no move may be under way that
//! has read what was just removed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::about;
use super::catalogue::{Standing, number_key, standings};
use super::client::{AT_ONCE, Base, Write};
use super::find::{Hit, Sweep, Swept, holding, holding_heavy};
use super::item::{self, Item, Table, bytes_of, eight, number_of};
use super::open;
use super::partition::forbid_moves;
use super::segments::{Stored, size_kib};
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// An index of at most so many KiB is purged with every removal.
const CHEAP_KIB: u64 = 16 * 1024;

/// Otherwise one is purged when one posting in so many is dead.
const SHARE: u64 = 4;

/// About how many postings a KiB holds.
const POSTINGS_A_KIB: u64 = 90;

/// For how many subjects postings are removed at once.
const SUBJECTS: usize = 500;

/// The item that says that a number is dead.
pub(super) fn dead_item(number: u64, postings: u64) -> Item {
    item::item(item::key("dead", number.to_be_bytes()), [("c", item::number(postings))])
}

/// Notes that a number is dead.
pub(super) async fn bury(base: &Base, number: u64, postings: u64) -> Result<()> {
    base.put(Table::Catalogue, dead_item(number, postings), None).await.map(drop)
}

/// The dead numbers and how many postings each had.
async fn dead(base: &Base) -> Result<HashMap<u64, u64>> {
    let items = base.whole(Table::Catalogue, b"dead").await?;
    let dead = items.iter().map(|item| Ok((eight(bytes_of(item, "s")?)?, number_of(item, "c")?)));
    dead.collect()
}

/// Removes the postings of dead numbers, where they are enough or the index is small.
pub(super) async fn purge_if_due(base: &Base) -> Result<()> {
    let dead = dead(base).await?;
    let postings: u64 = dead.values().sum();
    let size_kib = about::read(base).await?.size_kib();
    let is_due = postings / POSTINGS_A_KIB * SHARE >= size_kib;
    if dead.is_empty() || (postings > 0 && size_kib > CHEAP_KIB && !is_due) {
        return Ok(());
    }
    remove_dead(base, dead).await
}

/// Removes the postings of all numbers that are dead by now.
pub(super) async fn purge(base: &Base) -> Result<()> {
    remove_dead(base, dead(base).await?).await
}

async fn remove_dead(base: &Base, dead: HashMap<u64, u64>) -> Result<()> {
    if dead.values().any(|postings| *postings > 0) {
        about::begin_removal(base).await?;
        let goes = |posting: &PackedPosting| dead.contains_key(&posting.object);
        let mut sweep = Sweep::careless(base);
        while let Some(page) = sweep.page().await? {
            let segments = page.into_iter().map(|swept| swept.segment).collect();
            strip_all(base, segments, &goes).await?;
        }
    }
    let gone = |number: &u64| {
        let dead = item::key("dead", number.to_be_bytes());
        [
            Write::Delete(Table::Catalogue, dead),
            Write::Delete(Table::Catalogue, number_key(*number)),
        ]
    };
    base.write_all(&dead.keys().flat_map(gone).collect::<Vec<_>>()).await
}

/// Removes postings from segments of one table, and makes moves fail that have read them.
async fn strip_all(
    base: &Base,
    segments: Vec<Stored>,
    goes: &(impl Fn(&PackedPosting) -> bool + Sync),
) -> Result<Vec<PackedPosting>> {
    let strips: Vec<_> = segments
        .into_iter()
        .map(|segment| async move {
            let place = (segment.table, segment.partition.clone());
            strip(base, segment, goes).await.map(|gone| (place, gone))
        })
        .collect();
    let done: Vec<_> = stream::iter(strips).buffer_unordered(AT_ONCE).try_collect().await?;
    let (mut all, mut touched, mut sizes) = (Vec::new(), BTreeSet::new(), [0; 3]);
    for (place, (gone, kib)) in done {
        if !gone.is_empty() {
            let at = Table::LEVELS.iter().position(|table| *table == place.0);
            sizes[at.unwrap_or(0)] -= kib.cast_signed();
            touched.insert(place);
            all.extend(gone);
        }
    }
    if sizes != [0; 3] {
        about::resize(base, sizes).await?;
    }
    for (table, partition) in touched {
        // Postings of very heavy subjects, and those of the lowest table, never move.
        if table.below().is_some() && partition.len() == table.prefix_bytes() + 1 {
            forbid_moves(base, table, &partition).await?;
        }
    }
    Ok(all)
}

/// Removes postings from a segment; answers which were there, and how many KiB it has less.
async fn strip(
    base: &Base,
    mut segment: Stored,
    goes: &(impl Fn(&PackedPosting) -> bool + Sync),
) -> Result<(Vec<PackedPosting>, u64)> {
    let mut all = Vec::new();
    loop {
        let (gone, stay): (Vec<_>, Vec<_>) = segment.block()?.postings().partition(|it| goes(it));
        if gone.is_empty() {
            return Ok((all, 0));
        }
        all.extend(gone);
        let revision = item::number(segment.revision);
        let before = size_kib(segment.length);
        let rewritten = segment.rewritten(&stay)?;
        let after = match &rewritten {
            Some(item) => size_kib(bytes_of(item, "b")?.len()),
            None => 0,
        };
        let done = match rewritten {
            Some(item) => {
                base.put(segment.table, item, Some(("r = :r", vec![(":r", revision)]))).await?
            }
            None => base.delete(segment.table, segment.key(), ("r = :r", ":r", revision)).await?,
        };
        if done {
            return Ok((all, before.saturating_sub(after)));
        }
        match base.get(segment.table, segment.key()).await? {
            Some(item) => segment = Stored::new(segment.table, &item)?,
            // It was emptied, or moved down, where it is met next.
            None => return Ok((all, 0)),
        }
    }
}

/// Removes the postings of these subjects, which ascend, under a number; answers how many there were.
pub(super) async fn remove_subjects(base: &Base, number: u64, subjects: &[u64]) -> Result<u64> {
    let goes = |posting: &PackedPosting| {
        posting.object == number && subjects.binary_search(&posting.subject).is_ok()
    };
    let is_number = |(_, hits): &(Stored, Vec<Hit>)| hits.iter().any(|hit| hit.number == number);
    let mut gone: HashSet<PackedPosting> = HashSet::new();
    for table in Table::LEVELS {
        // Asked anew at each table: what moved down meanwhile said so before.
        let in_use = about::read(base).await?.in_use;
        for some in subjects.chunks(SUBJECTS) {
            let mut found = Vec::new();
            if in_use.holds(table) {
                found.extend(holding(base, table, some).await?);
            }
            if in_use.heavy && table == Table::Top {
                found.extend(holding_heavy(base, some).await?);
            }
            let found = found.into_iter().filter(is_number).map(|(segment, _)| segment).collect();
            gone.extend(strip_all(base, found, &goes).await?);
        }
    }
    Ok(gone.len() as u64)
}

/// Removes every trace of what is nobody's: dead numbers, numbers that were never published and are
/// not held, copies of moves that were broken off, originals of moves that were not cleared away.
pub(super) async fn scrub(base: &Base) -> Result<()> {
    open::collect_lost(base).await?;
    purge(base).await?;
    about::begin_removal(base).await?;
    let mut known: HashMap<u64, bool> = HashMap::new();
    let mut sweep = Sweep::new(base);
    while let Some(page) = sweep.page().await? {
        judge(base, &page, &mut known).await?;
        let goes = |posting: &PackedPosting| {
            known.get(&posting.object).is_some_and(|is_somebodys| !is_somebodys)
        };
        let (counting, others): (Vec<Swept>, Vec<Swept>) =
            page.into_iter().partition(|swept| swept.counts);
        let mut stale = Vec::new();
        let mut moving = Vec::new();
        for swept in others {
            match is_stale(base, &swept.segment).await? {
                true => stale.push(Write::Delete(swept.segment.table, swept.segment.key())),
                false => moving.push(swept.segment),
            }
        }
        base.write_all(&stale).await?;
        let counting = counting.into_iter().map(|swept| swept.segment);
        strip_all(base, counting.chain(moving).collect(), &goes).await?;
    }
    let nobodys = known.iter().filter(|(_, is_somebodys)| !**is_somebodys);
    let gone = nobodys.map(|(number, _)| Write::Delete(Table::Catalogue, number_key(*number)));
    base.write_all(&gone.collect::<Vec<_>>()).await
}

/// Learns of the numbers of a page whether they are somebody's. Who holds numbers is asked after
/// their postings were seen, and before it is asked who is recorded: held numbers are let go of when
/// they are recorded, not before.
async fn judge(base: &Base, page: &[Swept], known: &mut HashMap<u64, bool>) -> Result<()> {
    let mut unknown = BTreeSet::new();
    for swept in page {
        let numbers = swept.segment.numbers()?.into_iter();
        unknown.extend(numbers.filter(|number| !known.contains_key(number)));
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let held: Vec<Range<u64>> = open::all_held(base).await?;
    for (number, standing) in standings(base, unknown).await? {
        let is_held = held.iter().any(|held| held.contains(&number));
        match standing {
            Standing::Recorded(_) => known.insert(number, true),
            Standing::Nobodys(_) if is_held => None,
            Standing::Nobodys(_) => known.insert(number, false),
        };
    }
    Ok(())
}

/// Whether a segment that does not count never will.
async fn is_stale(base: &Base, segment: &Stored) -> Result<bool> {
    if let (Some(attempt), Some(above)) = (segment.attempt()?, segment.table.above()) {
        let partition = segment.table.partition_above(&segment.partition);
        // A move that is under way fails after this, unless it was carried out by now.
        let head = forbid_moves(base, above, &partition).await?;
        if !head.moves.holds(attempt) {
            return Ok(true);
        }
    }
    let head = super::partition::head(base, segment.table, &segment.partition).await?;
    Ok(head.leaving.holds(&segment.sort))
}
