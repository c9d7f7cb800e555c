//! Reads postings: of subjects, from the top down, a query a table; or all of them, a table after
//! another.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::about::{self, InUse};
use super::client::{AT_ONCE, Base, From};
use super::item::{Item, Table, heavy_partition};
use super::partition::{self, Head, counts, segments};
use super::segments::Stored;
use crate::metastore::MetastoreError;
use crate::metastore::packing::PackedPosting;

type Result<T> = std::result::Result<T, MetastoreError>;

/// With more wanted subjects than these in one partition, a segment is read through.
const FEW: usize = 24;

/// A posting of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hit {
    pub(super) subject: u64,
    /// The object version's number.
    pub(super) number: u64,
    pub(super) row: u64,
}

/// Subjects that are looked for, by the partition in which they are.
type Wanted = BTreeMap<Vec<u8>, Vec<u64>>;

fn wanted(table: Table, subjects: &[u64]) -> Wanted {
    let mut wanted = Wanted::new();
    for subject in subjects {
        wanted.entry(table.partition(*subject)).or_default().push(*subject);
    }
    wanted
}

/// The postings of these subjects that count; some may come twice. Subjects ascend.
pub(super) async fn find(base: &Base, in_use: InUse, subjects: &[u64]) -> Result<Vec<Hit>> {
    let mut hits = Vec::new();
    let mut above: HashMap<Vec<u8>, Head> = HashMap::new();
    for table in Table::LEVELS {
        let mut wanted = wanted(table, subjects);
        if !in_use.holds(table) {
            let moves_to = |partition: &Vec<u8>, _: &mut Vec<u64>| {
                let head = above.get(&table.partition_above(partition));
                head.is_some_and(|head| !head.moves.is_empty())
            };
            wanted.retain(moves_to);
        }
        let found = matching(base, table, &wanted).await?;
        let heads = match table.below() {
            Some(_) => partition::heads(base, table, wanted.keys().cloned()).await?,
            None => HashMap::new(),
        };
        for (segment, some) in found {
            let over = above.get(&table.partition_above(&segment.partition));
            if counts(&segment, heads.get(&segment.partition), over)? {
                hits.extend(some);
            }
        }
        above = heads;
    }
    if in_use.heavy {
        let heavy = |subject: &u64| (heavy_partition(*subject), vec![*subject]);
        let wanted = subjects.iter().map(heavy).collect();
        let found = matching(base, Table::Top, &wanted).await?;
        hits.extend(found.into_iter().flat_map(|(_, hits)| hits));
    }
    Ok(hits)
}

/// The segments that hold postings of the wanted, with these, whether they count or not.
pub(super) async fn holding(
    base: &Base,
    table: Table,
    subjects: &[u64],
) -> Result<Vec<(Stored, Vec<Hit>)>> {
    matching(base, table, &wanted(table, subjects)).await
}

/// The same of subjects that have partitions of their own.
pub(super) async fn holding_heavy(
    base: &Base,
    subjects: &[u64],
) -> Result<Vec<(Stored, Vec<Hit>)>> {
    let heavy = |subject: &u64| (heavy_partition(*subject), vec![*subject]);
    matching(base, Table::Top, &subjects.iter().map(heavy).collect()).await
}

async fn matching(base: &Base, table: Table, wanted: &Wanted) -> Result<Vec<(Stored, Vec<Hit>)>> {
    let reads: Vec<_> = wanted
        .iter()
        .map(|(partition, subjects)| in_partition(base, table, partition, subjects))
        .collect();
    let found: Vec<Vec<_>> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn in_partition(
    base: &Base,
    table: Table,
    partition: &[u8],
    subjects: &[u64],
) -> Result<Vec<(Stored, Vec<Hit>)>> {
    let mut found = Vec::new();
    let mut from = From::default();
    loop {
        let (items, last) = base.page(table, partition, from).await?;
        for segment in segments(table, &items)? {
            let hits = hits(&segment, subjects)?;
            if !hits.is_empty() {
                found.push((segment, hits));
            }
        }
        match last {
            Some(after) => from = From { after: Some(after), ..From::default() },
            None => return Ok(found),
        }
    }
}

/// The postings of these subjects in a segment.
fn hits(segment: &Stored, subjects: &[u64]) -> Result<Vec<Hit>> {
    let block = segment.block()?;
    let mut hits = Vec::new();
    if subjects.len() > FEW {
        for posting in block.postings() {
            let PackedPosting { subject, object: number, row } = posting;
            if subjects.binary_search(&subject).is_ok() {
                hits.push(Hit { subject, number, row });
            }
        }
        return Ok(hits);
    }
    let mut found = Vec::new();
    for subject in subjects {
        found.clear();
        block.find(*subject, &mut found);
        hits.extend(found.iter().map(|&(number, row)| Hit { subject: *subject, number, row }));
    }
    Ok(hits)
}

/// A walk through all segments, a table after another, from the top down.
pub(super) struct Sweep<'b> {
    base: &'b Base,
    tables: std::slice::Iter<'static, Table>,
    table: Table,
    /// Where the next page of the table begins; `None` where the table is at its end.
    next: Option<Option<Item>>,
    heads: HashMap<Vec<u8>, Head>,
    above: HashMap<Vec<u8>, Head>,
    /// Whether it is asked which segments count.
    cares: bool,
}

/// A segment, and whether it counts.
#[derive(Debug)]
pub(super) struct Swept {
    pub(super) segment: Stored,
    pub(super) counts: bool,
}

impl<'b> Sweep<'b> {
    pub(super) fn new(base: &'b Base) -> Self {
        Self {
            base,
            tables: Table::LEVELS.iter(),
            table: Table::Top,
            next: None,
            heads: HashMap::new(),
            above: HashMap::new(),
            cares: true,
        }
    }

    /// A walk that does not ask which segments count.
    pub(super) fn careless(base: &'b Base) -> Self {
        Self { cares: false, ..Self::new(base) }
    }

    /// The next segments; all are of one table. `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Swept>>> {
        let after = match self.next.take() {
            Some(after) => after,
            None => {
                if !self.begin_table().await? {
                    return Ok(None);
                }
                None
            }
        };
        let (items, last) = self.base.scan(self.table, after).await?;
        let swept = |segment: Stored| {
            let over = self.above.get(&self.table.partition_above(&segment.partition));
            let counts = counts(&segment, self.heads.get(&segment.partition), over)?;
            Ok(Swept { segment, counts })
        };
        let page: Vec<Swept> =
            segments(self.table, &items)?.into_iter().map(swept).collect::<Result<_>>()?;
        self.next = last.map(Some);
        Ok(Some(page))
    }

    /// What moved out of the table is known once the table was read, and read below it.
    async fn begin_table(&mut self) -> Result<bool> {
        // Asked anew at each table: what moved down meanwhile said so before.
        let in_use = about::read(self.base).await?.in_use;
        let Some(table) = self.tables.find(|table| in_use.holds(**table)) else {
            return Ok(false);
        };
        self.table = *table;
        if !self.cares {
            return Ok(true);
        }
        self.above = match table.above() {
            Some(above) => self.heads_of(above).await?,
            None => HashMap::new(),
        };
        self.heads = self.heads_of(*table).await?;
        Ok(true)
    }

    async fn heads_of(&self, table: Table) -> Result<HashMap<Vec<u8>, Head>> {
        if table.below().is_none() {
            return Ok(HashMap::new());
        }
        let first = |number: u64| number << (64 - 8 * table.prefix_bytes().max(1));
        let subjects: HashSet<Vec<u8>> =
            (0..table.partitions()).map(|number| table.partition(first(number))).collect();
        partition::heads(self.base, table, subjects.into_iter()).await
    }
}
