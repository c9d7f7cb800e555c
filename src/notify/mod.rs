//! Mails about plans: to approvers what waits for them, with links to decide; to requesters what became of it.
//!
//! Each mail is sent once: the ledger notes it afterwards. Who is killed between the two sends it again, and
//! never not at all.

use async_trait::async_trait;

use crate::config::UserSettings;
use crate::domain::access::Right;
use crate::domain::decision::{Decision, Verdict};
use crate::domain::plan::PlanId;
use crate::domain::signature::SigningKey;
use crate::erase::report::PurgeReport;
use crate::wire::{Clock, Ledger, LedgerError, Mailed, PlanListing, PlanState, PlanSummary};

mod letter;
pub mod smtp;
#[cfg(test)]
mod tests;

pub use letter::Letter;

/// How long before the end of a plan approvers are reminded, in seconds.
const REMINDER_SECONDS: i64 = 24 * 60 * 60;

/// Takes letters to where they are read.
#[async_trait]
pub trait Postman: Send + Sync {
    /// Hands a letter over.
    ///
    /// # Errors
    ///
    /// Where it was not taken; the text tells why.
    async fn send(&self, letter: &Letter) -> Result<(), NotSent>;
}

/// A letter was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotSent(pub String);

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A plan waits for a decision.
    Decide,
    /// It still does, and it expires soon.
    Remind,
    /// It expired undecided, or approved and never begun.
    Expired,
    /// It was rejected.
    Rejected,
    /// A run of it came to its end with something left to do.
    Unfinished,
    /// Nothing is left to do.
    Finished,
}

impl Occasion {
    /// As notes and documents spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Remind => "remind",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Unfinished => "unfinished",
            Self::Finished => "finished",
        }
    }

    /// Who hears of it.
    fn is_for(self, user: &UserSettings) -> bool {
        let may = |right| user.roles.iter().any(|role| role.grants(right));
        match self {
            Self::Decide | Self::Remind => may(Right::Decide),
            Self::Unfinished => may(Right::Request) || may(Right::Operate),
            Self::Expired | Self::Rejected | Self::Finished => may(Right::Request),
        }
    }
}

/// What mails are made from.
pub struct Notifier<'a> {
    /// The ledger.
    pub ledger: &'a Ledger,
    /// The time.
    pub clock: &'a Clock,
    /// Everybody who may sign in.
    pub users: &'a [UserSettings],
    /// Takes the letters.
    pub postman: &'a dyn Postman,
    /// Where people reach the pages, without a slash at its end.
    pub origin: &'a str,
    /// What links are signed by; without it mails have none but to the pages.
    pub key: Option<&'a SigningKey>,
}

/// What was sent, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// The letters that were taken.
    pub sent: Vec<Sent>,
    /// Those that were not, and why; they are tried again the next time.
    pub failed: Vec<(Sent, String)>,
}

/// A letter, by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The plan.
    pub plan: PlanId,
    /// What it is about.
    pub occasion: &'static str,
    /// To whom, by name.
    pub to: String,
}

impl Notifier<'_> {
    /// Sends every mail that is due and was not sent.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; what was sent until then is noted.
    pub async fn notify(&self) -> Result<Notified, LedgerError> {
        let mailed = self.ledger.mailed().await?;
        let mut notified = Notified::default();
        for plan in self.ledger.plans().await? {
            let Some(summary) = &plan.summary else { continue };
            let Some(occasion) = self.occasion(&plan, summary, &mailed).await? else { continue };
            let due = self.users.iter().filter(|user| {
                occasion.is_for(user) && !mailed.has(&plan.id, occasion.as_str(), &user.name)
            });
            let due: Vec<&UserSettings> = due.filter(|user| user.email.is_some()).collect();
            if due.is_empty() {
                continue;
            }
            let report = PurgeReport::new(plan.id, &self.ledger.plan(&plan.id).await?);
            let decision = self.ledger.decisions(&plan.id).await?.pop();
            for user in due {
                self.send(user, occasion, (&report, decision.as_ref()), &mut notified).await?;
            }
        }
        Ok(notified)
    }

    /// What there is to tell of a plan now. How a plan ended is told where somebody was told that it began:
    /// who begins to send mails does not send one of each plan there ever was.
    async fn occasion(
        &self,
        plan: &PlanListing,
        summary: &PlanSummary,
        mailed: &Mailed,
    ) -> Result<Option<Occasion>, LedgerError> {
        let left = summary.expires_at.as_second() - self.clock.now().as_second();
        let is_known = mailed.has_any(&plan.id);
        Ok(match plan.state {
            // Who was never told is told now, and not reminded.
            PlanState::Undecided if is_known && left <= REMINDER_SECONDS => Some(Occasion::Remind),
            PlanState::Undecided => Some(Occasion::Decide),
            PlanState::Rejected if is_known => Some(Occasion::Rejected),
            PlanState::Expired if is_known => Some(Occasion::Expired),
            PlanState::Finished if is_known => Some(Occasion::Finished),
            PlanState::Begun if is_known && self.ledger.has_run(&plan.id).await? => {
                Some(Occasion::Unfinished)
            }
            _ => None,
        })
    }

    async fn send(
        &self,
        user: &UserSettings,
        occasion: Occasion,
        (report, decision): (&PurgeReport, Option<&Decision>),
        notified: &mut Notified,
    ) -> Result<(), LedgerError> {
        let Some(email) = &user.email else { return Ok(()) };
        let reason = decision.and_then(|decision| match &decision.verdict {
            Verdict::Rejected { reason } => Some((decision.by.as_str(), reason.as_str())),
            Verdict::Approved { .. } => None,
        });
        let letter = letter::write(self, (user, email), occasion, (report, reason));
        let (plan, to) = (report.plan_id, user.name.clone());
        let sent = Sent { plan, occasion: occasion.as_str(), to };
        match self.postman.send(&letter).await {
            Ok(()) => {
                self.ledger.note_mail(&plan, occasion.as_str(), &user.name).await?;
                notified.sent.push(sent);
            }
            Err(problem) => notified.failed.push((sent, problem.to_string())),
        }
        Ok(())
    }
}
