//! The coverage ledger of a dataset: counted while indexing, or from the index alone.

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

use super::IndexError;
use crate::domain::coverage::{Coverage, CoverageGap, GapKind};
use crate::domain::dataset::{Dataset, DatasetName};
use crate::domain::object::ObjectKey;
use crate::domain::posting::{ScanOutcome, ScannedObject};
use crate::domain::scope::{Exclusion, Scope, TableKind};
use crate::metastore::Metastore;

/// Counts every version once, so that the sums are exact.
pub(super) struct Ledger {
    coverage: Coverage,
    /// By key and reason: what kind of gap it is, and how many versions.
    gaps: BTreeMap<(ObjectKey, String), (GapKind, u64)>,
    /// By rule: an example and how many versions.
    excluded: BTreeMap<Exclusion, (ObjectKey, u64)>,
}

impl Ledger {
    pub(super) fn new(dataset: DatasetName) -> Self {
        let coverage = Coverage::empty(dataset);
        Self { coverage, gaps: BTreeMap::new(), excluded: BTreeMap::new() }
    }

    /// A version that was read to its end, or that cannot be.
    pub(super) fn scanned(&mut self, scanned: &ScannedObject) {
        self.coverage.listed += 1;
        match &scanned.outcome {
            ScanOutcome::Indexed(summary) => {
                self.coverage.indexed += 1;
                self.coverage.rows.0 += summary.rows.0;
                self.coverage.unreadable_rows += summary.gaps.count;
                self.coverage.foreign_values += summary.foreign_values;
            }
            ScanOutcome::Unreadable(unreadable) => {
                self.coverage.unreadable += 1;
                let reason = unreadable.to_string();
                self.gap(&scanned.object.key, GapKind::Unreadable, reason);
            }
        }
    }

    /// A version that could not be read for the moment.
    pub(super) fn failed(&mut self, key: &ObjectKey, kind: GapKind, reason: String) {
        self.coverage.listed += 1;
        self.coverage.failed += 1;
        self.gap(key, kind, reason);
    }

    pub(super) fn excluded(&mut self, key: &ObjectKey, exclusion: Exclusion) {
        self.coverage.listed += 1;
        self.coverage.excluded += 1;
        self.excluded.entry(exclusion).or_insert_with(|| (key.clone(), 0)).1 += 1;
    }

    fn gap(&mut self, key: &ObjectKey, kind: GapKind, reason: String) {
        self.gaps.entry((key.clone(), reason)).or_insert((kind, 0)).1 += 1;
    }

    pub(super) fn finish(self) -> Coverage {
        let mut coverage = self.coverage;
        let rules = self.excluded.into_iter().map(rule);
        let named = self.gaps.into_iter().map(|((key, reason), (kind, versions))| CoverageGap {
            key,
            versions,
            kind,
            reason,
        });
        coverage.gaps = rules.chain(named).collect();
        coverage
    }
}

/// The gap of a rule. One of a table is named by the table's folder, with the slash at its end, so
/// that a plan recognises what lies below.
fn rule((exclusion, (example, versions)): (Exclusion, (ObjectKey, u64))) -> CoverageGap {
    let reason = exclusion.to_string();
    let (key, kind) = match exclusion {
        Exclusion::Table(table) => {
            let format = match table.kind {
                TableKind::Delta => "delta",
                TableKind::Iceberg => "iceberg",
                TableKind::Hudi => "hudi",
            };
            (table.prefix, GapKind::Table { format: format.to_owned() })
        }
        _ => (example, GapKind::Excluded),
    };
    CoverageGap { key, versions, kind, reason }
}

/// What the index knows of a dataset, without a look at the lake: of what was listed and could not be
/// recorded it knows nothing, nor of tables.
///
/// # Errors
///
/// [`IndexError`] where the index fails or a pattern of the configuration cannot be read.
pub async fn coverage(
    metastore: &dyn Metastore,
    dataset: &Dataset,
    earlier: &[Dataset],
) -> Result<Coverage, IndexError> {
    let scope = Scope::new(dataset, earlier, Vec::new())?;
    let mut ledger = Ledger::new(dataset.name.clone());
    let mut records = metastore.indexed(&dataset.name, None);
    while let Some(scanned) = records.try_next().await? {
        match scope.exclusion(&scanned.object.key) {
            Some(exclusion) => ledger.excluded(&scanned.object.key, exclusion),
            None => ledger.scanned(&scanned),
        }
    }
    Ok(ledger.finish())
}
