//! What the rows of a file hold, as one digest. Columns are stored apart, so that each has a digest
//! of its own over its entries, and the file's is that of the columns' in the schema's order. How
//! rows are cut into row groups and pages does not count, nor how they are encoded.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};

use super::find::blank_rows;
use super::footer::Footer;
use super::leaf::{Leaf, Level};
use super::plan::{by_group, level};
use super::runs::Runs;
use super::stream::Entries;
use crate::domain::row::RowCount;
use crate::format::{Except, Fingerprint, FormatError, Source};

/// How much is gathered before it is digested, in bytes.
const GATHERED_BYTES: usize = 64 << 10;

/// The fingerprint of a file.
///
/// # Errors
///
/// [`FormatError`] where it cannot be read.
pub(super) fn fingerprint(
    source: &dyn Source,
    except: Except<'_>,
) -> Result<Fingerprint, FormatError> {
    let footer = Footer::read(source)?;
    let left_out = left_out(source, &footer, except)?;
    let mut file = Sha256::new();
    let mut unerased = BTreeSet::new();
    for (at, leaf) in footer.leaves.iter().enumerate() {
        let level = except.action().and_then(|action| level(leaf, &footer.leaves, action));
        let mut column = ColumnDigest::new(leaf, level);
        for (group, left_out) in footer.groups.iter().zip(&left_out) {
            let entries = Entries::new(source, leaf, &group.chunks[at])?;
            column.add(entries, group.row_count(), left_out)?;
            unerased.extend(column.unerased.drain(..).map(|row| group.rows.start + row));
        }
        file.update(column.finish());
    }
    let unerased = RowCount(unerased.len() as u64);
    Ok(Fingerprint { rows: footer.row_count(), digest: file.finalize().into(), unerased })
}

/// The rows that do not count, by row group, counted from each group's first.
fn left_out(
    source: &dyn Source,
    footer: &Footer,
    except: Except<'_>,
) -> Result<Vec<Runs>, FormatError> {
    let mut left_out = vec![Runs::default(); footer.groups.len()];
    match except {
        Except::Nothing => {}
        Except::Rows(rows) | Except::Erased(rows, _) => {
            for (group, runs) in by_group(footer, rows) {
                left_out[group] = runs;
            }
        }
        Except::Blanks => {
            for (group, runs) in footer.groups.iter().zip(&mut left_out) {
                *runs = blank_rows(source, footer, group)?;
            }
        }
    }
    Ok(left_out)
}

struct ColumnDigest<'a> {
    leaf: &'a Leaf,
    hasher: Sha256,
    gathered: Vec<u8>,
    /// Rows of earlier row groups that count.
    counted: u64,
    /// Below which levels rows that are left out have to be empty, and those that are not.
    erased: Option<Level>,
    unerased: Vec<u64>,
}

impl<'a> ColumnDigest<'a> {
    fn new(leaf: &'a Leaf, erased: Option<Level>) -> Self {
        let mut gathered = Vec::new();
        for name in leaf.descriptor.path().parts() {
            gathered.extend((name.len() as u64).to_le_bytes());
            gathered.extend(name.as_bytes());
        }
        gathered.extend(format!("{:?}", leaf.descriptor.physical_type()).into_bytes());
        let hasher = Sha256::new();
        Self { leaf, hasher, gathered, counted: 0, erased, unerased: Vec::new() }
    }

    /// Digests rank, levels and value of each entry whose row counts.
    fn add(
        &mut self,
        mut entries: Entries<'_>,
        rows: u64,
        left_out: &Runs,
    ) -> Result<(), FormatError> {
        let mut row = None;
        let mut counts = false;
        let mut rank = self.counted;
        while let Some(entry) = entries.peek()? {
            if row != Some(entry.row) {
                rank += u64::from(counts);
                row = Some(entry.row);
                counts = !left_out.contains(entry.row);
            }
            if !counts && let Some(level) = self.erased {
                let values = entries.values();
                let holds = |value| !values.is_empty_value(value, &self.leaf.descriptor);
                let is_deeper =
                    entry.definition > level.definition || entry.repetition > level.repetition;
                if is_deeper || entry.value.is_some_and(holds) {
                    self.unerased.push(entry.row);
                }
            }
            if counts {
                self.gathered.extend(rank.to_le_bytes());
                self.gathered.extend(entry.definition.to_le_bytes());
                self.gathered.extend(entry.repetition.to_le_bytes());
                if let Some(value) = entry.value {
                    let bytes = entries.values().bytes(value);
                    self.gathered.extend((bytes.len() as u64).to_le_bytes());
                    self.gathered.extend_from_slice(bytes);
                }
                if self.gathered.len() >= GATHERED_BYTES {
                    self.hasher.update(&self.gathered);
                    self.gathered.clear();
                }
            }
            entries.advance(entry);
        }
        self.counted = rank + u64::from(counts);
        entries.finish(rows)
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.gathered);
        self.hasher.finalize().into()
    }
}
