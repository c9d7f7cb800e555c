//! What becomes of the levels of a page, and of its values by number, when rows change. It knows no value.

use std::ops::Range;

use super::super::levels::Levels;
use super::super::thrift::Malformed;
use super::page::{Balance, Task};
use super::values::Fate;
use crate::format::FormatError;

/// The levels of a page as they become, and what becomes of its values.
pub(super) struct Changed {
    pub(super) levels: Levels,
    pub(super) fates: Vec<Fate>,
    pub(super) balance: Balance,
    /// How many values there were.
    pub(super) values: usize,
}

/// Takes what lies below the task's levels out of the changed rows.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where the page holds other rows.
pub(super) fn change(
    task: &Task<'_>,
    old: &Levels,
    (entries, rows): (u64, &Range<u64>),
) -> Result<Changed, FormatError> {
    let max = task.leaf.max_definition().unsigned_abs();
    let kept_level = (task.level.repetition.unsigned_abs(), task.level.definition.unsigned_abs());
    let mut changed = Changed {
        levels: Levels::default(),
        fates: Vec::new(),
        balance: Balance::new(task.leaf),
        values: 0,
    };
    if task.leaf.descriptor.max_rep_level() == 0 {
        return changed.flat(task, old, (entries, rows));
    }
    changed.levels.repetitions.reserve_exact(old.repetitions.len());
    changed.levels.definitions.reserve_exact(old.definitions.len());
    let mut runs = task.changed.iter().skip_while(|run| run.end <= rows.start).peekable();
    let (mut next, mut is_changed) = (rows.start, false);
    for entry in 0..usize::try_from(entries).map_err(|_| Malformed)? {
        let repetition = old.repetitions.get(entry).copied().unwrap_or(0);
        let definition = old.definitions.get(entry).copied().unwrap_or(max);
        if repetition == 0 {
            while runs.next_if(|run| run.end <= next).is_some() {}
            is_changed = runs.peek().is_some_and(|run| run.start <= next);
            next += 1;
        }
        let value = changed.values;
        changed.values += usize::from(definition == max);
        if !is_changed {
            changed.keep(task, repetition, definition);
            continue;
        }
        changed.balance.count((repetition, definition), -1);
        changed.balance.nulls -= i64::from(definition != max);
        // A deeper repetition goes on with what is taken out.
        let stays = repetition <= kept_level.0;
        let kept = definition.min(kept_level.1);
        if definition == max {
            changed.fates.push(Fate { at: value, is_emptied: stays && kept == max });
        }
        if stays {
            changed.balance.count((repetition, kept), 1);
            changed.balance.nulls += i64::from(kept != max);
            changed.keep(task, repetition, kept);
        }
    }
    let begins = old.repetitions.first().is_none_or(|&first| first == 0);
    if next == rows.end && begins { Ok(changed) } else { Err(other_rows()) }
}

fn other_rows() -> FormatError {
    FormatError::unreadable("a page holds other rows than it should")
}

impl Changed {
    /// The same for a column of which each row has one entry, that stays one: only those of changed rows are
    /// looked at.
    fn flat(
        mut self,
        task: &Task<'_>,
        old: &Levels,
        (entries, rows): (u64, &Range<u64>),
    ) -> Result<Self, FormatError> {
        if entries != rows.end.saturating_sub(rows.start) {
            return Err(other_rows());
        }
        let max = task.leaf.max_definition().unsigned_abs();
        let kept_level = task.level.definition.unsigned_abs();
        let is_required = max == 0;
        let present = |entries: &[u16]| entries.iter().filter(|&&level| level == max).count();
        self.levels.definitions.clone_from(&old.definitions);
        let mut at = 0;
        let runs = task.changed.iter().skip_while(|run| run.end <= rows.start);
        for run in runs.take_while(|run| run.start < rows.end) {
            let from =
                usize::try_from(run.start.saturating_sub(rows.start)).map_err(|_| Malformed)?;
            let to = usize::try_from(run.end.min(rows.end) - rows.start).map_err(|_| Malformed)?;
            self.values += match old.definitions.get(at..from) {
                Some(between) if !is_required => present(between),
                _ => from - at,
            };
            for entry in from..to {
                let definition = old.definitions.get(entry).copied().unwrap_or(max);
                let kept = definition.min(kept_level);
                self.balance.count((0, definition), -1);
                self.balance.count((0, kept), 1);
                self.balance.nulls += i64::from(kept != max) - i64::from(definition != max);
                if definition == max {
                    self.fates.push(Fate { at: self.values, is_emptied: kept == max });
                    self.values += 1;
                }
                if let Some(level) = self.levels.definitions.get_mut(entry) {
                    *level = kept;
                }
            }
            at = to;
        }
        self.values += match old.definitions.get(at..) {
            Some(rest) if !is_required => present(rest),
            _ => usize::try_from(entries).map_err(|_| Malformed)? - at,
        };
        Ok(self)
    }

    fn keep(&mut self, task: &Task<'_>, repetition: u16, definition: u16) {
        if task.leaf.descriptor.max_rep_level() > 0 {
            self.levels.repetitions.push(repetition);
        }
        if task.leaf.max_definition() > 0 {
            self.levels.definitions.push(definition);
        }
    }
}
