//! Which rows match, and which columns of which row groups change for it. It writes nothing.

use std::sync::Arc;

use super::find::{Finder, blank_rows};
use super::footer::Footer;
use super::leaf::{Leaf, Level};
use super::pages::{ColumnChunk, PageMap};
use super::rewrite::{GroupPlan, Means};
use super::runs::Runs;
use super::splice::obstacle;
use crate::domain::dataset::EraseAction;
use crate::domain::edit::Way;
use crate::domain::field::Digested;
use crate::domain::row::{RowNumber, RowSet};
use crate::domain::stretch::{Extent, Stretch};
use crate::format::{BlankOrder, FormatError, Source};

/// The ordered rows that hold an identifier of the subjects, and those that do not.
///
/// # Errors
///
/// [`FormatError`] where the identifier columns cannot be read.
pub(super) fn matches(
    source: &dyn Source,
    footer: &Footer,
    order: &BlankOrder,
) -> Result<(Vec<RowNumber>, Vec<RowNumber>), FormatError> {
    let finder = Finder::new(source, footer, &order.fields)?;
    let mut matched: Vec<RowNumber> = Vec::new();
    for (group, wanted) in by_group(footer, &order.rows) {
        let group = &footer.groups[group];
        finder.group(group, Some(&wanted), &mut |row, what| {
            if let Digested::Identifier(digest) = what
                && order.subjects.contains(&digest)
            {
                matched.push(RowNumber(group.rows.start + row));
            }
            Ok(())
        })?;
    }
    matched.dedup();
    let found = RowSet::new(matched.iter().copied());
    let misses = |row: &RowNumber| !found.as_ref().is_some_and(|found| found.contains(*row));
    Ok((matched, order.rows.iter().filter(misses).collect()))
}

/// The rows by row group, counted from each group's first; rows beyond the file are left out.
pub(super) fn by_group(footer: &Footer, rows: &RowSet) -> Vec<(usize, Runs)> {
    let mut groups: Vec<(usize, Runs)> = Vec::new();
    for RowNumber(row) in rows.iter() {
        let Some(group) = footer.group_of(row) else { break };
        let local = row - footer.groups[group].rows.start;
        match groups.last_mut() {
            Some((last, runs)) if *last == group => runs.push(local),
            _ => groups.push((group, Runs::from_iter([local]))),
        }
    }
    groups
}

/// What becomes of a file when some rows are erased.
pub(super) struct Erasure {
    /// What becomes of each row group.
    pub(super) plans: Vec<GroupPlan>,
    /// The dearest way that a chunk goes.
    pub(super) way: Way,
    /// The rows of each column that share a page with an erased one, or a chunk where that is made
    /// anew.
    pub(super) extent: Extent,
}

/// What becomes of each row group when these rows are erased.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where an identifier would stay.
pub(super) fn erasure(
    source: &dyn Source,
    footer: &Footer,
    order: &BlankOrder,
    rows: &RowSet,
) -> Result<Erasure, FormatError> {
    let levels: Arc<[Option<Level>]> =
        footer.leaves.iter().map(|leaf| level(leaf, &footer.leaves, &order.action)).collect();
    let finder = Finder::new(source, footer, &order.fields)?;
    if finder.leaves().any(|leaf| levels[leaf].is_none()) {
        return Err(FormatError::unreadable(
            "an identifier column is among those that are to stay; take it out of `keep`, or \
             name it in `fields`",
        ));
    }
    let mut plans: Vec<_> = footer.groups.iter().map(|_| GroupPlan::Copy).collect();
    let mut stretches = vec![Vec::new(); footer.leaves.len()];
    let mut way = Way::Pages;
    for (at, runs) in by_group(footer, rows) {
        let group = &footer.groups[at];
        let mut all = Vec::with_capacity(levels.len());
        for leaf in 0..levels.len() {
            let column = footer.column_chunk(source, group, leaf);
            let means = match levels[leaf] {
                None => Means::Copy,
                Some(_) => means(column, &runs, &mut way)?,
            };
            let touched = match &means {
                Means::Copy => Runs::default(),
                Means::Splice(map) => map.rows_around(&runs),
                Means::Rebuild => Runs::from_iter(0..group.row_count()),
            };
            let number = u32::try_from(leaf)
                .map_err(|_| FormatError::unreadable("the Parquet file has too many columns"))?;
            stretches[leaf].extend(touched.iter().map(|run| {
                Stretch::of_column(number, group.rows.start + run.start..group.rows.start + run.end)
            }));
            all.push(means);
        }
        plans[at] = GroupPlan::Erase(runs, Arc::clone(&levels), all);
    }
    Ok(Erasure { plans, way, extent: Extent::new(stretches.concat()) })
}

/// How a chunk is made without these rows' values, by which the way may become a dearer one.
fn means(column: ColumnChunk<'_>, rows: &Runs, way: &mut Way) -> Result<Means, FormatError> {
    let because = match PageMap::of(column, rows)? {
        Ok(map) => match obstacle(column, &map, rows)? {
            None => return Ok(Means::Splice(map)),
            Some(because) => because,
        },
        Err(because) => because,
    };
    if *way == Way::Pages {
        let because = format!("a column chunk was not written page by page: {because}");
        *way = Way::Chunks { because };
    }
    Ok(Means::Rebuild)
}

/// Below which levels a leaf is erased; `None` where it stays.
pub(super) fn level(leaf: &Leaf, leaves: &[Leaf], action: &EraseAction) -> Option<Level> {
    match action {
        EraseAction::Blank { keep } => {
            let stays = |leaf: &Leaf| keep.iter().any(|path| leaf.is_within(path));
            if stays(leaf) {
                return None;
            }
            let kept = leaves.iter().filter(|other| stays(other));
            Some(kept.map(|other| leaf.shared_with(other)).max().unwrap_or_default())
        }
        EraseAction::Redact { fields } => {
            fields.iter().filter_map(|path| leaf.level_above(path)).min()
        }
    }
}

/// What becomes of each row group when its blanks go, and how many those are.
///
/// # Errors
///
/// [`FormatError`] where a column cannot be read.
pub(super) fn compaction(
    source: &dyn Source,
    footer: &Footer,
) -> Result<(Vec<GroupPlan>, u64), FormatError> {
    let mut dropped = 0;
    let mut plans = Vec::with_capacity(footer.groups.len());
    for group in &footer.groups {
        let blanks = blank_rows(source, footer, (group, None))?;
        let count = blanks.count();
        dropped += count;
        plans.push(match count {
            0 => GroupPlan::Copy,
            _ if count == group.row_count() => GroupPlan::Omit,
            _ => GroupPlan::Drop(blanks),
        });
    }
    Ok((plans, dropped))
}
