//! Moves postings down as they pile up, so that a subject's are read in a query a table, each of at most
//! about a page. See `partition` for how a move stays whole.

use std::sync::Arc;

use super::about::{self, About};
use super::client::{Base, Change, From, Write};
use super::failure::{damaged, lost};
use super::item::{self, Table, key_of, number_of};
use super::partition::{HEAD, Head, Leaving, counts, head, segments};
use super::segments::{Origin, Stored, place_in, size_kib};
use super::writer::Writer;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many segments one move takes at most; their sort keys stand in the head meanwhile.
const SEGMENTS: usize = 1000;

/// When postings move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many KiB a partition has on average when its table is relieved.
    pub(super) partition_kib: u64,
}

/// Moves postings down where a table holds too many: all of the top one, and of the middle one as many
/// partitions, in turn, as it takes.
pub(super) async fn relieve(writer: &Arc<Writer>, mut about: About) -> Result<()> {
    let limit = writer.limits.partition_kib;
    let middle = Table::Middle.partitions();
    if about.sizes_kib[0] <= limit && about.sizes_kib[1] <= limit * middle {
        return Ok(());
    }
    // One lane moves, the other one goes on.
    let Ok(_turn) = writer.moving.try_lock() else { return Ok(()) };
    if about.sizes_kib[0] > limit {
        empty(writer, Table::Top, &Table::Top.partition(0)).await?;
        about = settle(writer, Table::Top, limit).await?;
    }
    for _ in 0..middle {
        if about.sizes_kib[1] <= limit * middle {
            return Ok(());
        }
        let turn = about::take_turn(&writer.base).await?.turn;
        let partition = Table::Middle.partition(turn << 56);
        empty(writer, Table::Middle, &partition).await?;
        about = about::read(&writer.base).await?;
    }
    settle(writer, Table::Middle, limit * middle).await.map(drop)
}

/// Corrects the count of a table that was emptied and is said to hold too much: it counts what lost
/// answers repeated.
async fn settle(writer: &Arc<Writer>, table: Table, limit_kib: u64) -> Result<About> {
    let about = about::read(&writer.base).await?;
    let at = usize::from(table == Table::Middle);
    let excess = about.sizes_kib[at].saturating_sub(limit_kib / 2);
    if about.sizes_kib[at] <= limit_kib {
        return Ok(about);
    }
    let mut change = [0; 3];
    change[at] = -excess.cast_signed();
    about::resize(&writer.base, change).await
}

/// Moves all that a partition holds, a slice after another.
async fn empty(writer: &Arc<Writer>, table: Table, partition: &[u8]) -> Result<()> {
    while let Some((gone, come)) = move_slice(writer, table, partition).await? {
        let (gone, come) = (-gone.cast_signed(), come.cast_signed());
        let change = if table == Table::Top { [gone, come, 0] } else { [0, gone, come] };
        about::resize(&writer.base, change).await?;
    }
    Ok(())
}

/// Moves some segments down; answers how many KiB went and came, or nothing where there was nothing to
/// move or others moved it.
async fn move_slice(
    writer: &Arc<Writer>,
    table: Table,
    partition: &[u8],
) -> Result<Option<(u64, u64)>> {
    let (base, below) = (&*writer.base, table.below().ok_or_else(lost)?);
    let (attempt, head) = begin(base, table, partition).await?;
    if !head.leaving.sorts.is_empty() {
        clear(base, table, partition, &head.leaving).await?;
    }
    let slice = slice(base, table, (partition, &head)).await?;
    if slice.is_empty() {
        return Ok(None);
    }
    let gone = slice.iter().map(|segment| size_kib(segment.length)).sum();
    let sorts: Vec<u8> = slice.iter().flat_map(|segment| segment.sort.clone()).collect();
    let mixing = tokio::task::spawn_blocking(move || {
        let mut postings: Vec<PackedPosting> = Vec::new();
        for segment in &slice {
            postings.extend(segment.block()?.postings());
        }
        postings.sort_unstable();
        postings.dedup();
        Ok::<_, MetastoreError>(place_in(below, &postings, false))
    });
    let copies = mixing.await.map_err(|_| lost())??;
    let origin = Origin::Moved(attempt);
    let keys: Vec<Write> = (0..)
        .zip(&copies)
        .filter_map(|(part, copy)| match copy.clone().write(origin, part) {
            Write::Put(table, item) => Some(Write::Delete(table, key_of(&item))),
            Write::Delete(..) => None,
        })
        .collect();
    let (_, sizes) = writer.store(copies, (origin, 0)).await?;
    let leaving = Leaving { attempt, sorts };
    if !commit(base, table, partition, (&head, &leaving)).await? {
        base.write_all(&keys).await?;
        return Ok(None);
    }
    clear(base, table, partition, &leaving).await?;
    Ok(Some((gone, sizes.iter().sum())))
}

/// Takes the number of an attempt, and the head as it was before anything was read.
async fn begin(base: &Base, table: Table, partition: &[u8]) -> Result<(u64, Head)> {
    let change = Change {
        table,
        key: item::key(partition, HEAD),
        update: "ADD a :one, v :zero",
        condition: "",
        values: vec![(":one", item::number(1)), (":zero", item::number(0))],
    };
    let item = base.update(change).await?.ok_or_else(|| damaged("no head"))?;
    Ok((number_of(&item, "a")?, Head::of(Some(&item))?))
}

/// The next segments of a partition that count.
async fn slice(base: &Base, table: Table, (partition, own): (&[u8], &Head)) -> Result<Vec<Stored>> {
    let above = match table.above() {
        Some(above) => Some(head(base, above, &table.partition_above(partition)).await?),
        None => None,
    };
    let (mut slice, mut from) = (Vec::new(), From::default());
    loop {
        let (items, last) = base.page(table, partition, from).await?;
        for segment in segments(table, &items)? {
            if slice.len() < SEGMENTS && counts(&segment, Some(own), above.as_ref())? {
                slice.push(segment);
            }
        }
        match last {
            Some(after) if slice.is_empty() => {
                from = From { after: Some(after), ..From::default() };
            }
            _ => return Ok(slice),
        }
    }
}

/// Makes the copies count and the originals not, if nothing was moved or removed since.
async fn commit(
    base: &Base,
    table: Table,
    partition: &[u8],
    (old, leaving): (&Head, &Leaving),
) -> Result<bool> {
    let moves = old.moves.with(leaving.attempt);
    let change = Change {
        table,
        key: item::key(partition, HEAD),
        update: "SET v = :next, c = :moves, m = :sorts, l = :attempt",
        condition: "v = :v",
        values: vec![
            (":v", item::number(old.version)),
            (":next", item::number(old.version + 1)),
            (":moves", item::bytes(moves.bytes())),
            (":sorts", item::bytes(leaving.sorts.clone())),
            (":attempt", item::number(leaving.attempt)),
        ],
    };
    if base.update(change).await?.is_some() {
        return Ok(true);
    }
    // The answer to a first sending may have been lost: what is there decides.
    Ok(head(base, table, partition).await?.moves.holds(leaving.attempt))
}

/// Removes the originals of a move.
async fn clear(base: &Base, table: Table, partition: &[u8], leaving: &Leaving) -> Result<()> {
    let gone = leaving.sorts().map(|sort| Write::Delete(table, item::key(partition, sort)));
    base.write_all(&gone.collect::<Vec<_>>()).await?;
    let change = Change {
        table,
        key: item::key(partition, HEAD),
        update: "REMOVE m, l",
        condition: "l = :attempt",
        values: vec![(":attempt", item::number(leaving.attempt))],
    };
    base.update(change).await.map(drop)
}
