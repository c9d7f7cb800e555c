//! What programs are told: the same occasions as in mails, as documents. No identifier of a subject.

use async_trait::async_trait;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::Timestamp;
use crate::domain::identifier::hex;
use crate::domain::plan::PlanId;
use crate::erase::report::PurgeReport;

use super::{NotSent, Notifier, Occasion};

/// What the first field of an event says.
pub const EVENT_SCHEMA: &str = "lacuna.event.v1";

/// Tells programs.
#[async_trait]
pub trait Herald: Send + Sync {
    /// What it is: one word.
    fn name(&self) -> &'static str;

    /// Hands an event over.
    ///
    /// # Errors
    ///
    /// Where it was not taken; the text tells why.
    async fn tell(&self, event: &Event) -> Result<(), NotSent>;
}

/// That something is to be known of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// [`EVENT_SCHEMA`].
    pub schema: &'static str,
    /// The same whenever the same is told again: 32 hexadecimal characters.
    pub event_id: String,
    /// What it is about, as [`Occasion::as_str`] spells it.
    pub occasion: &'static str,
    /// The plan.
    pub plan_id: PlanId,
    /// The reference of its request.
    pub request: String,
    /// The purge report in one line.
    pub verdict: String,
    /// When the plan was made.
    pub planned_at: Timestamp,
    /// Until when it can be decided and begun.
    pub expires_at: Timestamp,
    /// Why it was rejected, where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The plan's page.
    pub page: String,
}

impl Event {
    /// What there is to tell of a plan, by the name that notes have of it; `rejected` is by whom and why it was.
    pub(super) fn new(
        notifier: &Notifier<'_>,
        (occasion, noted): (Occasion, &str),
        (report, rejected): (&PurgeReport, Option<(&str, &str)>),
    ) -> Self {
        let id = Sha256::digest(format!("{} {noted}", report.plan_id));
        Self {
            schema: EVENT_SCHEMA,
            event_id: hex(&id[..16]),
            occasion: occasion.as_str(),
            plan_id: report.plan_id,
            request: report.request.clone(),
            verdict: report.verdict.clone(),
            planned_at: report.planned_at,
            expires_at: report.expires_at,
            reason: rejected.map(|(_, reason)| reason.to_owned()),
            page: format!("{}/plans/{}", notifier.origin, report.plan_id),
        }
    }

    /// As it is sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self)
            .unwrap_or_else(|_| unreachable!("an event has no map with keys that are not text"))
    }
}
