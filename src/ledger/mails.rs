//! Which mails were sent: so that none is sent twice, whoever asks for them how often.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::Timestamp;
use crate::domain::identifier::hex;
use crate::domain::plan::PlanId;

use super::{Ledger, LedgerError, LedgerErrorKind, to_bytes};

const MAIL_SCHEMA: &str = "lacuna.mail.v1";

/// Where the notes are.
const FOLDER: &str = "mails/";

/// That a mail was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MailNote {
    schema: String,
    plan: PlanId,
    /// What it was about.
    occasion: String,
    /// To whom, by the name that the configuration knows them by.
    to: String,
    sent_at: Timestamp,
}

/// The mails that were sent.
#[derive(Clone, Debug, Default)]
pub struct Mailed(BTreeSet<String>);

impl Mailed {
    /// Whether somebody was sent the mail of this occasion.
    pub fn has(&self, plan: &PlanId, occasion: &str, to: &str) -> bool {
        self.0.contains(&name(plan, occasion, to))
    }

    /// Whether anybody was sent a mail about the plan.
    pub fn has_any(&self, plan: &PlanId) -> bool {
        let folder = format!("{FOLDER}{plan}/");
        self.0.range(folder.clone()..).next().is_some_and(|name| name.starts_with(&folder))
    }
}

impl Ledger {
    /// The mails that were sent.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn mailed(&self) -> Result<Mailed, LedgerError> {
        Ok(Mailed(self.names(FOLDER).await?.into_iter().collect()))
    }

    /// Notes that a mail was sent.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails. That somebody else sent
    /// the same at the same time is none.
    pub async fn note_mail(
        &self,
        plan: &PlanId,
        occasion: &str,
        to: &str,
    ) -> Result<(), LedgerError> {
        let note = MailNote {
            schema: MAIL_SCHEMA.to_owned(),
            plan: *plan,
            occasion: occasion.to_owned(),
            to: to.to_owned(),
            sent_at: self.clock.now(),
        };
        match self.create(&name(plan, occasion, to), to_bytes(&note)).await {
            Err(error) if *error.kind() != LedgerErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether a run of the plan came to its end with something left to do, or something done.
    ///
    /// # Errors
    ///
    /// [`LedgerErrorKind::Lake`] where the store fails.
    pub async fn has_run(&self, id: &PlanId) -> Result<bool, LedgerError> {
        self.has_any(&format!("{}{id}/", super::trail::ROLLS)).await
    }
}

/// The name of a note; a digest stands for the recipient, whose name may hold anything.
fn name(plan: &PlanId, occasion: &str, to: &str) -> String {
    format!("{FOLDER}{plan}/{occasion}-{}.json", hex(&Sha256::digest(to)[..8]))
}
