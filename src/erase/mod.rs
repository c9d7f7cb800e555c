//! From a request to a plan, and from an approved plan to erased rows.
//!
//! ```text
//! ErasureRequest ─► lookup ─► facts ─► planner ─► check ─► report      prepare(): stored in the ledger
//!                                                          approval    decide(), admit() ─► ApprovedPlan
//! ApprovedPlan ─► executor ─► verify ─► certificate
//! ```
//!
//! `planner`, `check` and `report` are pure: they know no store, no index and no clock. Nothing here
//! prints, and nothing but `lookup` meets a raw identifier.

pub mod approval;
pub mod check;
pub mod difference;
pub mod facts;
pub mod lookup;
pub mod planner;
pub mod prepare;
pub mod preview;
pub mod report;
pub mod restraint;

pub use prepare::{PlanError, PlanPolicy, PlanTools, Prepared, prepare};

pub mod certificate;
mod estimate;
pub mod execution;
pub mod executor;
mod notebook;
pub mod tools;
pub mod verify;

#[cfg(test)]
mod random;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod tests;
