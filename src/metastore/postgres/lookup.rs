//! Finds the postings of subjects, some hundred at a time, each time in one state of the index.

use std::collections::HashMap;

use async_trait::async_trait;

use super::catalogue;
use super::failure::Attempt;
use super::pool::{READ, Session, Work};
use super::segments::{Stored, covering, subject_of};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::Posting;
use crate::domain::row::{RowNumber, RowSet};

/// How many subjects are looked for at once.
pub(super) const PAGE: usize = 2500;

/// Looks for these subjects, of which none stands here twice.
pub(super) struct Lookup<'d> {
    pub(super) digests: &'d [IdentifierDigest],
}

/// The rows of a subject, by its place among the wanted, in an object.
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
        let mut ids: Vec<i64> = found.keys().map(|(_, object)| *object).collect();
        ids.sort_unstable();
        ids.dedup();
        let live =
            if ids.is_empty() { HashMap::new() } else { catalogue::live(session, &ids).await? };
        let posting = |((subject, object), rows): ((usize, i64), Vec<RowNumber>)| {
            let (dataset, object) = live.get(&object)?;
            let (dataset, object) = (dataset.clone(), object.clone());
            Some(Posting {
                digest: self.digests[subject],
                dataset,
                object,
                rows: RowSet::new(rows)?,
            })
        };
        Ok(found.into_iter().filter_map(posting).collect())
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
