//! What the postings of versions come to: counted, held against their records, and summed up so that
//! two indexes can be compared whatever order either tells them in.

use std::fmt;
use std::hash::Hasher as _;

use futures::TryStreamExt as _;
use serde::{Serialize, Serializer};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectVersion;
use crate::domain::posting::{RowPosting, ScanOutcome, ScannedObject};
use crate::metastore::{Metastore, MetastoreError};

/// The postings of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) postings: u64,
    /// How many of them name a row that the record says there is not.
    pub(super) beyond: u64,
    sum: u128,
}

impl Tally {
    /// Counts a posting of a version that has this many rows. A subject counts as the first 64 bits of
    /// its digest, which is what every index knows.
    pub(super) fn add(&mut self, posting: &RowPosting, rows: u64) {
        let mut hasher = SipHasher13::new();
        hasher.write(&posting.digest.as_bytes()[..8]);
        hasher.write(&posting.row.0.to_le_bytes());
        // A sum, so that order does not matter and a posting that stands twice does.
        self.sum = self.sum.wrapping_add(hasher.finish128().as_u128());
        self.postings += 1;
        self.beyond += u64::from(posting.row.0 >= rows);
    }
}

/// What a part of an index comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Recorded versions.
    pub objects: u64,
    /// Their postings.
    pub postings: u64,
    /// Of versions, subjects (64 bits) and rows.
    pub checksum: Checksum,
}

impl Totals {
    pub(super) fn add(&mut self, object: &ObjectVersion, tally: &Tally) {
        let mut hasher = SipHasher13::new();
        for text in [object.key.as_bytes(), object.version.as_str().as_bytes()] {
            hasher.write_usize(text.len());
            hasher.write(text);
        }
        hasher.write(object.etag.as_str().as_bytes());
        hasher.write(&tally.sum.to_le_bytes());
        hasher.write(&tally.postings.to_le_bytes());
        self.checksum.0 = self.checksum.0.wrapping_add(hasher.finish128().as_u128());
        self.postings += tally.postings;
        self.objects += 1;
    }
}

/// A sum that does not depend on the order; printed as 32 hexadecimal characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum(u128);

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How many rows a record says its version has; those of what cannot be read have no posting.
pub(super) fn rows(record: &ScannedObject) -> u64 {
    match &record.outcome {
        ScanOutcome::Indexed(summary) => summary.rows.0,
        ScanOutcome::Unreadable(_) => 0,
    }
}

/// What the postings of each of these recorded versions come to, in one pass.
pub(super) async fn tallies(
    metastore: &dyn Metastore,
    dataset: &DatasetName,
    records: &[ScannedObject],
) -> Result<Vec<Tally>, MetastoreError> {
    let objects: Vec<ObjectVersion> = records.iter().map(|record| record.object.clone()).collect();
    let mut tallies = vec![Tally::default(); records.len()];
    let mut pieces = metastore.postings(dataset, &objects);
    while let Some(piece) = pieces.try_next().await? {
        if let (Some(tally), Some(record)) =
            (tallies.get_mut(piece.place), records.get(piece.place))
        {
            let rows = rows(record);
            piece.postings.iter().for_each(|posting| tally.add(posting, rows));
        }
    }
    Ok(tallies)
}

/// What is wrong with the postings of a version; `recorded` is how many there should be, where that is
/// known.
pub(super) fn fault(
    record: &ScannedObject,
    tally: &Tally,
    recorded: Option<u64>,
) -> Option<String> {
    let Tally { postings, beyond, .. } = *tally;
    if beyond > 0 {
        return Some(match &record.outcome {
            ScanOutcome::Indexed(summary) => {
                let rows = summary.rows.0;
                format!("{beyond} of its postings name rows beyond the {rows} that it has")
            }
            ScanOutcome::Unreadable(_) => {
                format!("it could not be read, and has {postings} postings")
            }
        });
    }
    let recorded = recorded.filter(|recorded| *recorded != postings)?;
    Some(format!("it was recorded with {recorded} postings, and {postings} are there"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identifier::IdentifierDigest;
    use crate::domain::row::RowNumber;

    fn posting(subject: u8, rest: u8, row: u64) -> RowPosting {
        let mut bytes = [rest; 16];
        bytes[..8].fill(subject);
        RowPosting { digest: IdentifierDigest::from_bytes(bytes), row: RowNumber(row) }
    }

    fn tally(postings: &[RowPosting]) -> Tally {
        let mut tally = Tally::default();
        postings.iter().for_each(|posting| tally.add(posting, 10));
        tally
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let (one, two, three) = (posting(1, 0, 3), posting(2, 0, 3), posting(1, 0, 4));
        let sum = tally(&[one, two, three]);
        assert_eq!(sum, tally(&[three, one, two]));
        assert_eq!(sum, tally(&[posting(1, 9, 3), two, three]), "64 bits are what is known");
        for other in [
            &[one, two][..],
            &[one, two, three, three],
            &[one, one, three],
            &[one, two, posting(1, 0, 5)],
            &[posting(3, 0, 3), two, three],
        ] {
            assert_ne!(sum, tally(other));
        }
        assert_eq!(tally(&[posting(1, 0, 9), posting(1, 0, 10), posting(1, 0, 11)]).beyond, 2);
    }
}
