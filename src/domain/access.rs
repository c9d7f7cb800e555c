//! Who may do what: roles of people, and the rights that each role grants.

use serde::{Deserialize, Serialize};

/// What a person is to the process of erasing. A person may have several roles; nothing follows from
/// one role for another, so that requesting, deciding and carrying out can be kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads plans, reports and certificates.
    Viewer,
    /// Also hands in requests and plans them.
    Requester,
    /// Also decides on plans.
    Approver,
    /// Also carries out what was approved.
    Operator,
    /// Also reads and checks the evidence.
    Auditor,
}

/// What one action takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// To read plans, reports, progress and certificates.
    See,
    /// To hand in requests, and to have them planned.
    Request,
    /// To approve and to reject.
    Decide,
    /// To carry out an approved plan, and to have its certificate made.
    Operate,
    /// To read and check the audit trail.
    Audit,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::Viewer, Self::Requester, Self::Approver, Self::Operator, Self::Auditor];

    /// As configurations and pages write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Requester => "requester",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether who has the role has the right. Everybody may see.
    pub fn grants(self, right: Right) -> bool {
        match right {
            Right::See => true,
            Right::Request => self == Self::Requester,
            Right::Decide => self == Self::Approver,
            Right::Operate => self == Self::Operator,
            Right::Audit => self == Self::Auditor,
        }
    }
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 5] = [Self::See, Self::Request, Self::Decide, Self::Operate, Self::Audit];

    /// Who has it, as a sentence names them.
    pub fn holders(self) -> &'static str {
        match self {
            Self::See => "anybody who is signed in",
            Self::Request => "a requester",
            Self::Decide => "an approver",
            Self::Operate => "an operator",
            Self::Audit => "an auditor",
        }
    }
}
