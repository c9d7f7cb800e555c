//! Which rows match, and which columns of which row groups change for it. It writes nothing.

use super::find::{Finder, blank_rows};
use super::footer::Footer;
use super::leaf::{Leaf, Level};
use super::rewrite::GroupPlan;
use super::runs::Runs;
use crate::domain::dataset::EraseAction;
use crate::domain::field::Digested;
use crate::domain::row::{RowNumber, RowSet};
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
