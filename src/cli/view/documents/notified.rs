//! What `lacuna notify --json` prints.

use serde::Serialize;

use crate::domain::plan::PlanId;
use crate::notify;

use super::NOTIFIED;

/// The mails and events that were sent, and those that were not.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Notified {
    pub schema: &'static str,
    pub sent: Vec<Mail>,
    pub failed: Vec<FailedMail>,
}

/// A mail or an event.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Mail {
    pub plan: PlanId,
    pub occasion: &'static str,
    /// By name; of an event, to what, in brackets.
    pub to: String,
}

/// One that was not sent.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct FailedMail {
    #[serde(flatten)]
    pub mail: Mail,
    pub reason: String,
}

impl Notified {
    pub fn new(notified: notify::Notified) -> Self {
        let mail = |it: notify::Sent| Mail { plan: it.plan, occasion: it.occasion, to: it.to };
        let failed = notified.failed.into_iter();
        let failed = failed.map(|(it, reason)| FailedMail { mail: mail(it), reason }).collect();
        Self { schema: NOTIFIED, sent: notified.sent.into_iter().map(mail).collect(), failed }
    }
}
