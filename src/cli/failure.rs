//! Why a command failed, and which exit code that is.

use std::error::Error;

use crate::config::{ConfigError, Problem};
use crate::erase::approval::{NotAdmitted, NotDecided};
use crate::erase::lookup::LookupError;
use crate::erase::prepare::PlanError;
use crate::erase::preview::NoPreview;
use crate::erase::tools::EraseError;
use crate::index::copy::CopyError;
use crate::index::{IndexError, InventoryError};
use crate::server::ServeError;
use crate::vacuum::VacuumError;
use crate::wire::{self, PackError, RegisterError, Trouble};

use super::exit::Exit;

/// Causes that libraries put between two that say something.
const EMPTY_WORDS: &[&str] = &["other", "service error", "unhandled error"];

/// Why a command failed. Deliberately no [`Error`] itself, so that `?` takes any.
#[derive(Debug)]
pub(super) struct Failure {
    error: Box<dyn Error + Send + Sync>,
    exit: Exit,
    remedies: Vec<String>,
}

impl Failure {
    /// A failure with a message of its own: lower case, no full stop, no personal data.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { error: message.into().into(), exit, remedies: Vec::new() }
    }

    /// The same failure with one more thing to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }

    /// The same failure as the cause of one that says what was attempted.
    #[must_use]
    pub fn about(self, attempt: impl Into<String>) -> Self {
        let error = Attempt { attempt: attempt.into(), source: self.error };
        Self { error: Box::new(error), ..self }
    }

    /// What the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What to do about it.
    pub fn remedies(&self) -> &[String] {
        &self.remedies
    }

    /// The message and its causes, outermost first, each once.
    pub fn chain(&self) -> Vec<String> {
        let mut chain = vec![self.error.to_string()];
        let mut source = self.error.source();
        while let Some(error) = source {
            let text = error.to_string();
            let is_empty = EMPTY_WORDS.contains(&text.as_str());
            if !is_empty && chain.iter().all(|told| !told.contains(&text)) {
                chain.push(text);
            }
            source = error.source();
        }
        chain
    }
}

/// What was attempted, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
struct Attempt {
    attempt: String,
    source: Box<dyn Error + Send + Sync>,
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let exit = exit_of(&error);
        Self { error: Box::new(error), exit, remedies: Vec::new() }
    }
}

/// The exit code that an error means: the one place that maps errors to codes.
fn exit_of(error: &(dyn Error + 'static)) -> Exit {
    if error.is::<ConfigError>() {
        return Exit::Usage;
    }
    let code = of_workflow(error).or_else(|| of_evidence(error)).or_else(|| of_store(error));
    code.unwrap_or(Exit::Failed)
}

/// The code of an error that a workflow itself decided on. An error that only passes on another's
/// shows that one's causes and not itself as a cause, so it is looked into here.
fn of_workflow(error: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<NotAdmitted>() {
        return match error {
            NotAdmitted::NotApproved { .. }
            | NotAdmitted::Rejected { .. }
            | NotAdmitted::Obstructed(_)
            | NotAdmitted::Expired { .. } => Some(Exit::NotApproved),
            NotAdmitted::StaleConfiguration => Some(Exit::Stale),
            NotAdmitted::WrongKey => Some(Exit::Usage),
            NotAdmitted::Ledger(error) => of_store(error),
        };
    }
    if let Some(error) = error.downcast_ref::<NotDecided>() {
        return match error {
            NotDecided::Expired { .. } | NotDecided::Obstructed(_) => Some(Exit::NotApproved),
            NotDecided::Ledger(error) => of_store(error),
            _ => Some(Exit::Usage),
        };
    }
    if let Some(error) = error.downcast_ref::<PlanError>() {
        return match error {
            PlanError::BelowFloor { .. } => Some(Exit::CoverageTooLow),
            PlanError::Lookup(error) => of_workflow(error),
            PlanError::Facts(error) => of_store(error),
            PlanError::Ledger(error) => of_store(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<IndexError>() {
        return match error {
            IndexError::Lake(error) => of_store(error),
            IndexError::Metastore(error) => of_store(error),
            IndexError::Pattern(_) | IndexError::List(_) => Some(Exit::Usage),
            IndexError::Inventory(error) => of_workflow(error),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<InventoryError>() {
        return match error {
            InventoryError::Lake(error) => of_store(error),
            _ => Some(Exit::Usage),
        };
    }
    if let Some(ServeError::Nobody | ServeError::Nameless { .. }) = error.downcast_ref() {
        return Some(Exit::Usage);
    }
    if let Some(CopyError::Empty | CopyError::Foreign { .. }) = error.downcast_ref() {
        return Some(Exit::Usage);
    }
    if let Some(error) = error.downcast_ref::<EraseError>() {
        return match error {
            EraseError::Ledger(error) => of_store(error),
            EraseError::Metastore(error) => of_store(error),
            EraseError::Pattern(_) | EraseError::NoDataset { .. } => Some(Exit::Usage),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<VacuumError>() {
        return match error {
            VacuumError::PlanBegun(_) => Some(Exit::Incomplete),
            VacuumError::Ledger(error) => of_store(error),
            VacuumError::Lake(error) => of_store(error),
            VacuumError::Metastore(error) => of_store(error),
            VacuumError::NoDataset(_) | VacuumError::Pattern(_) => Some(Exit::Usage),
        };
    }
    match error.downcast_ref::<LookupError>()? {
        LookupError::Reserved { .. } | LookupError::Malformed(_) => Some(Exit::Usage),
        _ => None,
    }
}

/// The code of what the request register refused, or why it failed; of a file that is no evidence; and of rows
/// that cannot be shown.
fn of_evidence(error: &(dyn Error + 'static)) -> Option<Exit> {
    if error.is::<PackError>() {
        return Some(Exit::Usage);
    }
    if let Some(error) = error.downcast_ref::<NoPreview>() {
        return match error {
            NoPreview::Ledger(error) => of_store(error),
            NoPreview::Read(error) => of_store(error),
            NoPreview::Drifted => Some(Exit::Stale),
            NoPreview::Settled => Some(Exit::NotApproved),
            _ => Some(Exit::Usage),
        };
    }
    match error.downcast_ref::<RegisterError>()? {
        RegisterError::Refused(_) => Some(Exit::Usage),
        RegisterError::Ledger(error) => of_store(error),
    }
}

/// The code of what a store answered.
fn of_store(error: &(dyn Error + 'static)) -> Option<Exit> {
    Some(match wire::trouble(error)? {
        Trouble::Denied => Exit::Denied,
        Trouble::Drifted => Exit::Stale,
        Trouble::Held => Exit::Held,
        Trouble::NoSuchPlan | Trouble::WrongKey => Exit::Usage,
    })
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        ConfigError::from(problem).into()
    }
}
