//! What has to be known of a file before the first of its chunks is written anew: how each chunk goes,
//! what stands in the rows around the erased ones, and which values go. Columns are looked at abreast.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::abreast::abreast;
use super::find::Finder;
use super::fingerprint::ColumnDigest;
use super::footer::Footer;
use super::hashed::HashedEntries;
use super::leaf::Level;
use super::lost::Lost;
use super::pages::{ColumnChunk, PageMap};
use super::plan::{by_group, level};
use super::rewrite::GroupPlan;
use super::runs::Runs;
use super::splice::{keeps_lost, obstacle};
use crate::domain::edit::Way;
use crate::domain::row::{RowCount, RowSet};
use crate::domain::stretch::{Extent, Stretch};
use crate::format::{BlankOrder, Fingerprint, FormatError, Source};

/// What becomes of a file when some rows are erased.
pub(super) struct Erasure {
    /// What becomes of each row group.
    pub(super) plans: Vec<GroupPlan>,
    /// The dearest way that a chunk goes.
    pub(super) way: Way,
    /// The rows of each column that share a page with an erased one, or a chunk where that is made
    /// anew.
    pub(super) extent: Extent,
    /// What they hold, but for the erased rows.
    pub(super) fingerprint: Fingerprint,
}

/// How a column chunk without some values is made.
pub(super) enum Means {
    /// It stays as it is, for it holds none of them.
    Copy,
    /// The pages that hold one are written anew.
    Splice(PageMap),
    /// All of it is.
    Rebuild,
}

/// What is to go from a column.
pub(super) struct Doomed {
    /// Below which levels.
    pub(super) level: Level,
    /// The values that stand in the erased rows of any row group.
    pub(super) lost: Lost,
}

/// What becomes of each row group when these rows are erased.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where an identifier would stay, or pages cannot be read.
pub(super) fn erasure(
    source: &dyn Source,
    footer: &Footer,
    order: &BlankOrder,
    rows: &RowSet,
) -> Result<Erasure, FormatError> {
    let levels: Vec<Option<Level>> =
        footer.leaves.iter().map(|leaf| level(leaf, &footer.leaves, &order.action)).collect();
    let finder = Finder::new(source, footer, &order.fields)?;
    if finder.leaves().any(|leaf| levels[leaf].is_none()) {
        return Err(FormatError::unreadable(
            "an identifier column is among those that are to stay; take it out of `keep`, or \
             name it in `fields`",
        ));
    }
    let mut changed = vec![Runs::default(); footer.groups.len()];
    for (at, runs) in by_group(footer, rows) {
        changed[at] = runs;
    }
    let file = File { source, footer, changed };
    let columns = abreast(levels.len(), |leaf| Column::of(&file, leaf, levels[leaf]))?;
    file.assemble(columns)
}

/// A file, and which rows of each row group change, counted from the group's first.
struct File<'a> {
    source: &'a dyn Source,
    footer: &'a Footer,
    changed: Vec<Runs>,
}

impl File<'_> {
    fn chunk(&self, leaf: usize, group: usize) -> ColumnChunk<'_> {
        self.footer.column_chunk(self.source, &self.footer.groups[group], leaf)
    }

    /// Puts together what is known of the columns.
    fn assemble(self, columns: Vec<Column>) -> Result<Erasure, FormatError> {
        let mut digest = Sha256::new();
        let mut stretches = Vec::new();
        let mut way = Way::Pages;
        let mut doomed = Vec::with_capacity(columns.len());
        let mut means: Vec<Vec<Means>> = self.footer.groups.iter().map(|_| Vec::new()).collect();
        for (leaf, column) in columns.into_iter().enumerate() {
            digest.update(column.digest);
            let number = u32::try_from(leaf)
                .map_err(|_| FormatError::unreadable("the Parquet file has too many columns"))?;
            for (group, runs) in self.footer.groups.iter().zip(&column.around) {
                let start = group.rows.start;
                let stretch = |run: &std::ops::Range<u64>| {
                    Stretch::of_column(number, start + run.start..start + run.end)
                };
                stretches.extend(runs.iter().map(stretch));
            }
            if let Some(because) = column.obstacle.filter(|_| way == Way::Pages) {
                let because = format!("a column chunk was not written page by page: {because}");
                way = Way::Chunks { because };
            }
            doomed.push(column.doomed);
            means.iter_mut().zip(column.means).for_each(|(all, means)| all.push(means));
        }
        let doomed: Arc<[Option<Doomed>]> = doomed.into();
        let plan = |(rows, means): (Runs, Vec<Means>)| {
            let is_copied = means.iter().all(|means| matches!(means, Means::Copy));
            if is_copied && rows.is_empty() {
                return GroupPlan::Copy;
            }
            GroupPlan::Erase(rows, Arc::clone(&doomed), means)
        };
        let plans = self.changed.into_iter().zip(means).map(plan).collect();
        let fingerprint = Fingerprint {
            rows: self.footer.row_count(),
            digest: digest.finalize().into(),
            unerased: RowCount(0),
        };
        Ok(Erasure { plans, way, extent: Extent::new(stretches), fingerprint })
    }
}

/// What is known of a column, by row group.
struct Column {
    doomed: Option<Doomed>,
    means: Vec<Means>,
    /// The rows that the edit may touch.
    around: Vec<Runs>,
    digest: [u8; 32],
    /// Why a chunk cannot be written page by page, if one cannot.
    obstacle: Option<&'static str>,
}

impl Column {
    fn of(file: &File<'_>, leaf: usize, level: Option<Level>) -> Result<Self, FormatError> {
        let groups = file.footer.groups.len();
        let mut column = Self {
            doomed: None,
            means: (0..groups).map(|_| Means::Copy).collect(),
            around: vec![Runs::default(); groups],
            digest: ColumnDigest::new(&file.footer.leaves[leaf], None).finish(),
            obstacle: None,
        };
        let Some(level) = level else { return Ok(column) };
        for group in (0..groups).filter(|&group| !file.changed[group].is_empty()) {
            column.touch(file, (leaf, group))?;
        }
        let lost = column.read(file, leaf)?;
        let mut is_wider = false;
        for group in (0..groups).filter(|&group| file.changed[group].is_empty()) {
            if keeps_lost(file.chunk(leaf, group), &lost)? {
                column.touch(file, (leaf, group))?;
                // Whatever refers to an entry that is taken for unused is to be noticed.
                column.around[group] = all_of(file.chunk(leaf, group));
                is_wider = true;
            }
        }
        if is_wider {
            column.read(file, leaf)?;
        }
        column.doomed = Some(Doomed { level, lost });
        Ok(column)
    }

    /// Decides how a chunk goes.
    fn touch(&mut self, file: &File<'_>, (leaf, group): (usize, usize)) -> Result<(), FormatError> {
        let (chunk, changed) = (file.chunk(leaf, group), &file.changed[group]);
        let found = match PageMap::of(chunk, changed)? {
            Ok(map) => match obstacle(chunk, &map, changed)? {
                None => Ok(map),
                Some(because) => Err(because),
            },
            Err(because) => Err(because),
        };
        match found {
            Ok(map) => {
                self.around[group] = map.rows_around(changed);
                self.means[group] = Means::Splice(map);
            }
            Err(because) => {
                self.obstacle.get_or_insert(because);
                self.around[group] = all_of(chunk);
                self.means[group] = Means::Rebuild;
            }
        }
        Ok(())
    }

    /// Digests the rows that the edit may touch, but for those that are erased, of which the values are
    /// answered.
    fn read(&mut self, file: &File<'_>, leaf: usize) -> Result<Lost, FormatError> {
        let mut digest = ColumnDigest::new(&file.footer.leaves[leaf], None).noting_lost();
        for (group, around) in self.around.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let chunk = file.chunk(leaf, group);
            let entries = match &self.means[group] {
                Means::Splice(map) if around.count() < chunk.rows => {
                    HashedEntries::of_pages(chunk, map, around)?
                }
                _ => HashedEntries::of_chunk(chunk)?,
            };
            let start = file.footer.groups[group].rows.start;
            digest.add_within(entries, (start, chunk.rows), around, &file.changed[group])?;
        }
        let (digest, lost) = digest.finish_with_lost();
        self.digest = digest;
        Ok(lost)
    }
}

fn all_of(chunk: ColumnChunk<'_>) -> Runs {
    let mut all = Runs::default();
    all.push_all(0..chunk.rows);
    all
}
