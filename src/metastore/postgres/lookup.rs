//! Finds the postings of subjects, some hundred at a time, each time in one state of the index.

use std::collections::HashMap;

use async_trait::async_trait;

use super::catalogue;
use super::failure::Attempt;
use super::pool::{READ, Session, Work};
use super::segments::{Stored, covering};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::Posting;
use crate::domain::row::{RowNumber, RowSet};
use crate::metastore::packing::subject::subject_of;

/// How many subjects are looked for at once.
pub(super) const PAGE: usize = 2500;

/// Looks for these subjects, of which none stands here twice.
pub(super) struct Lookup<'d> {
    pub(super) digests: &'d [IdentifierDigest],
}

/// The rows of a subject, by its place among the wanted, and the number that they are stored under.
type Found = HashMap<(usize, i64), Vec<RowNumber>>;

#[async_trait]
impl Work for Lookup<'_> {
    type Answer = Vec<Posting>;

    fn begin(&self) -> &'static str {
        READ
    }

    async fn attempt(&self, session: &Session) -> Attempt<Vec<Posting>> {
        let subjects: Vec<u64> = self.digests.iter().map(subject_of).collect();
        let found = find(session, &subjects).await?;
        let mut numbers: Vec<i64> = found.keys().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let holders = catalogue::holders(session, &numbers).await?;
        let masks = catalogue::masks(session, &numbers).await?;
        let mut postings = Vec::with_capacity(found.len());
        for ((subject, number), rows) in found {
            let Some(rows) = RowSet::new(rows) else { continue };
            let holders = holders.get(&number).into_iter().flatten();
            let shown = holders.filter(|it| !masks.contains(&(it.id, subjects[subject])));
            postings.extend(shown.map(|holder| Posting {
                digest: self.digests[subject],
                dataset: holder.dataset.clone(),
                object: holder.object.clone(),
                rows: rows.clone(),
            }));
        }
        Ok(postings)
    }
}

async fn find(session: &Session, subjects: &[u64]) -> Attempt<Found> {
    let mut found = Found::new();
    let mut rows = Vec::new();
    for (bytes, wanted) in covering(session, subjects).await?.into_values() {
        let stored = Stored::new(&bytes)?;
        let block = stored.block()?;
        for position in wanted {
            let Some(subject) = subjects.get(position) else { continue };
            rows.clear();
            block.find(*subject, &mut rows);
            for (object, row) in &rows {
                let object = object.cast_signed();
                found.entry((position, object)).or_default().push(RowNumber(*row));
            }
        }
    }
    Ok(found)
}
