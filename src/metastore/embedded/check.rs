//! Compares the index with itself: what a disk or a copy damaged is found here, before somebody relies
//! on it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::failure::failure;
use super::merge::Merged;
use super::run::Run;
use super::runs::{self, PURGES, RunRecord};
use super::schema::LIVE;
use super::{Result, Shared, catalogue};
use crate::metastore::packing::PackedPosting;
use crate::metastore::packing::block::BLOCK_BYTES;

/// How often the check is begun anew as postings were removed under it.
const ATTEMPTS: usize = 16;

/// What a check of the index found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexCheck {
    /// Runs that were read.
    pub runs: u64,
    /// Postings that were read, each once, forgotten ones included.
    pub postings: u64,
    /// What is wrong, lower case; empty where all is well. At most a hundred of each kind.
    pub damage: Vec<String>,
}

/// How much of each kind is named.
const NAMED: usize = 100;

pub(super) async fn check(shared: &Arc<Shared>) -> Result<IndexCheck> {
    let mut checked = IndexCheck::default();
    for _ in 0..ATTEMPTS {
        let purges = |connection: &Connection| runs::counter(connection, PURGES);
        let before = Arc::clone(shared).read(purges).await?;
        checked = Arc::clone(shared).read_runs(check_once).await?;
        let after = Arc::clone(shared).read(purges).await?;
        if checked.damage.is_empty() || before == after {
            break;
        }
    }
    Ok(checked)
}

fn check_once(connection: &Connection, open: &[Arc<Run>]) -> Result<IndexCheck> {
    let mut checked = IndexCheck { runs: open.len() as u64, ..IndexCheck::default() };
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| failure("be read", error))?;
    if answer != "ok" {
        checked.damage.push("the catalogue is damaged".to_owned());
        return Ok(checked);
    }
    for (record, run) in runs::all(connection)?.iter().zip(open) {
        check_run(record, run, &mut checked.damage);
    }
    if checked.damage.is_empty() {
        check_counts(connection, open, &mut checked)?;
    }
    Ok(checked)
}

/// The checksums of a run's blocks, and that its postings ascend between its separators.
fn check_run(record: &RunRecord, run: &Run, damage: &mut Vec<String>) {
    let mut buffer = [0; BLOCK_BYTES];
    let mut last: Option<PackedPosting> = None;
    let mut wrong = Vec::new();
    for block in 0..run.blocks() {
        let separator = run.separator(block);
        let is_gap = block > 0 && run.separator(block - 1) < separator;
        let numbers = record.facts.lowest..=record.facts.highest;
        let read = run.block(block, &mut buffer, |it| {
            let before = last.is_none_or(|last| !is_gap || last.subject < separator);
            it.postings().fold(before, |is_well, posting| {
                let ascends = last.replace(posting).is_none_or(|last| last < posting);
                let lies_within = separator <= posting.subject && numbers.contains(&posting.object);
                is_well && ascends && lies_within
            })
        });
        match read {
            Ok(true) => {}
            Ok(false) => {
                wrong.push(format!("{}: block {block} is out of order", record.facts.file))
            }
            Err(error) => wrong.push(format!("{}: block {block}: {error}", record.facts.file)),
        }
        if wrong.len() == NAMED {
            break;
        }
    }
    damage.append(&mut wrong);
}

/// That each object has as many postings as the catalogue says.
fn check_counts(
    connection: &Connection,
    open: &[Arc<Run>],
    checked: &mut IndexCheck,
) -> Result<()> {
    let mut counts: HashMap<u64, u64> = HashMap::new();
    let mut postings = Merged::new(open.to_vec())?;
    while let Some(posting) = postings.next()? {
        checked.postings += 1;
        *counts.entry(posting.object).or_default() += 1;
    }
    let known = catalogue::counts(connection)?;
    let unknown = counts.keys().filter(|number| !known.contains_key(number)).count();
    if unknown > 0 {
        checked.damage.push(format!("postings of {unknown} objects that nobody recorded"));
    }
    let live = known.iter().filter(|(_, (state, _))| *state == LIVE);
    let wrong =
        live.filter(|(number, (_, count))| counts.get(number).copied().unwrap_or(0) != *count);
    for (number, (_, count)) in wrong.take(NAMED) {
        let found = counts.get(number).copied().unwrap_or(0);
        let named = match catalogue::live(connection, *number)? {
            Some((dataset, object)) => format!("{dataset}: {}", object.key),
            None => format!("object {number}"),
        };
        checked.damage.push(format!("{named}: {found} postings instead of {count}"));
    }
    Ok(())
}
