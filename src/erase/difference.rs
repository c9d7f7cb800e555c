//! What is different in a plan from an earlier one of the same request. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::dataset::DatasetName;
use crate::domain::object::ObjectKey;
use crate::domain::plan::{ErasurePlan, PlanId, PlannedChange};

/// How a plan differs from an earlier one of the same request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// The earlier plan.
    pub earlier: PlanId,
    /// Objects that it did not change.
    pub added: u64,
    /// Objects that only it changed.
    pub dropped: u64,
    /// Objects that both change, of another version, in other rows, or in another way.
    pub changed: u64,
    /// Objects that both change, and in the same way.
    pub same: u64,
    /// Rows that go in the earlier plan.
    pub rows_before: u64,
    /// Rows that go now.
    pub rows_now: u64,
    /// What neither reached, or only one of them: before and now.
    pub out_of_reach: [u64; 2],
}

impl Difference {
    /// The difference from `earlier`, whose id is given, to `now`.
    pub fn between((id, earlier): (PlanId, &ErasurePlan), now: &ErasurePlan) -> Self {
        let before: BTreeMap<_, _> = earlier.changes.iter().map(|it| (name(it), it)).collect();
        let mut difference = Self {
            earlier: id,
            added: 0,
            dropped: 0,
            changed: 0,
            same: 0,
            rows_before: rows(earlier),
            rows_now: rows(now),
            out_of_reach: [earlier.out_of_reach.len() as u64, now.out_of_reach.len() as u64],
        };
        for change in &now.changes {
            match before.get(&name(change)) {
                None => difference.added += 1,
                Some(other) if *other == change => difference.same += 1,
                Some(_) => difference.changed += 1,
            }
        }
        difference.dropped = before.len() as u64 - difference.changed - difference.same;
        difference
    }
}

fn name(change: &PlannedChange) -> (&DatasetName, &ObjectKey) {
    (&change.dataset, &change.key)
}

fn rows(plan: &ErasurePlan) -> u64 {
    let rewrites = plan.changes.iter().filter_map(|change| change.rewrite.as_ref());
    rewrites.map(|rewrite| rewrite.rows.count().0).sum()
}
