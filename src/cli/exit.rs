//! What the process ends with. The codes are a promise to scripts; docs/exit-codes.md tells of
//! each.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done, also when there was nothing to do.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or configuration.
    Usage = 2,
    /// Some objects are not done: run again, or see the report.
    Incomplete = 3,
    /// Not permitted: credentials or policy.
    Denied = 4,
    /// The plan is stale, or objects drifted.
    Stale = 10,
    /// Another run holds the lease.
    Held = 11,
    /// Not approved, rejected, or the approval expired.
    NotApproved = 12,
    /// Verification met a subject's rows.
    SubjectsMet = 13,
    /// Coverage is below the configured floor.
    CoverageTooLow = 14,
    /// A request is overdue.
    Overdue = 15,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        self as u8
    }
}
