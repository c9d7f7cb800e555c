//! The words of the trade: what an identifier, an object version, a row, a plan are. No I/O, no
//! clock, no configuration; every other module speaks in these types.

pub mod access;
pub mod address;
pub mod audit;
pub mod coverage;
pub mod dataset;
pub mod deadline;
pub mod decision;
pub mod edit;
pub mod field;
pub mod finding;
pub mod identifier;
pub mod journal;
pub mod landmark;
pub mod link;
pub mod masked;
pub mod object;
pub mod observe;
pub mod plan;
pub mod posting;
pub mod register;
pub mod request;
pub mod row;
pub mod scope;
pub mod signature;
pub mod stretch;
pub mod trail;

/// A moment in time, UTC, as it stands in documents (RFC 3339).
pub type Timestamp = jiff::Timestamp;
