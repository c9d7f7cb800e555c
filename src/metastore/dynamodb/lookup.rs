//! Finds the postings of subjects, a page of subjects at a time, each page as of one moment.
//!
//! The moment is when the reader asks how often something was published, before he reads segments. A
//! version counts if it was published by then and is recorded still when its number is looked up after
//! the segments. Where it seems that one took another's place meanwhile, or postings were removed, the
//! page is read again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::about;
use super::catalogue::{Standing, standings};
use super::client::{Base, pause};
use super::find::find;
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::Posting;
use crate::domain::row::{RowNumber, RowSet};
use crate::metastore::MetastoreError;
use crate::metastore::packing::subject::subject_of;

type Result<T> = std::result::Result<T, MetastoreError>;

/// How many subjects are looked for at once.
pub(super) const PAGE: usize = 1000;

/// How often a page is read again; then what was true at the last moment is the answer.
const ATTEMPTS: u32 = 6;

/// The postings of these identifiers, which ascend and none of which stands here twice.
pub(super) async fn look(base: Arc<Base>, digests: &[IdentifierDigest]) -> Result<Vec<Posting>> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (found, is_certain) = look_once(&base, digests).await?;
        if is_certain || attempt == ATTEMPTS {
            return Ok(found);
        }
        pause(attempt).await;
    }
}

/// What is found, and whether nothing came in between.
async fn look_once(base: &Base, digests: &[IdentifierDigest]) -> Result<(Vec<Posting>, bool)> {
    let mut asked: BTreeMap<u64, Vec<IdentifierDigest>> = BTreeMap::new();
    for digest in digests {
        asked.entry(subject_of(digest)).or_default().push(*digest);
    }
    let subjects: Vec<u64> = asked.keys().copied().collect();
    let before = about::read(base).await?;
    let mut rows: BTreeMap<(u64, u64), Vec<RowNumber>> = BTreeMap::new();
    for hit in find(base, before.in_use, &subjects).await? {
        rows.entry((hit.subject, hit.number)).or_default().push(RowNumber(hit.row));
    }
    let standings = standings(base, rows.keys().map(|(_, number)| *number)).await?;
    let after = about::read(base).await?;
    let is_newer = |standing: &Standing| match standing {
        Standing::Recorded(entry) => entry.published > before.published,
        Standing::Nobodys(published) => published.is_some_and(|at| at > before.published),
    };
    let is_certain = before.removals == after.removals && !standings.values().any(is_newer);
    let mut found = Vec::new();
    for ((subject, number), rows) in rows {
        let Some(Standing::Recorded(entry)) = standings.get(&number) else { continue };
        let Some(rows) = RowSet::new(rows) else { continue };
        if entry.published > before.published {
            continue;
        }
        for digest in asked.get(&subject).into_iter().flatten() {
            found.push(Posting {
                digest: *digest,
                dataset: entry.slot.dataset.clone(),
                object: entry.scanned.object.clone(),
                rows: rows.clone(),
            });
        }
    }
    Ok((found, is_certain))
}
