//! Mails about plans: to approvers what waits for them, with links to decide; to requesters what became of it. And
//! the same as events for programs.
//!
//! Each is sent once: the ledger notes it afterwards. Who is killed between the two sends it again, and
//! never not at all.

use async_trait::async_trait;

use crate::config::UserSettings;
use crate::domain::access::Right;
use crate::domain::decision::{Decision, Verdict};
use crate::domain::plan::PlanId;
use crate::domain::signature::SigningKey;
use crate::erase::report::PurgeReport;
use crate::wire::{Clock, Ledger, LedgerError, Mailed, PlanListing, PlanState, PlanSummary};

mod event;
mod letter;
pub mod smtp;
pub mod sns;
#[cfg(test)]
mod tests;
pub mod webhook;

pub use event::{EVENT_SCHEMA, Event, Herald};
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
    /// It was approved; told to programs alone, which may carry it out.
    Approved,
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
            Self::Approved => "approved",
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
            Self::Approved => false,
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
    /// Takes the letters; without one there are none.
    pub postman: Option<&'a dyn Postman>,
    /// Take the events.
    pub heralds: &'a [&'a dyn Herald],
    /// Where people reach the pages, without a slash at its end.
    pub origin: &'a str,
    /// What links are signed by; without it mails have none but to the pages.
    pub key: Option<&'a SigningKey>,
}

/// What was sent, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// The letters and events that were taken.
    pub sent: Vec<Sent>,
    /// Those that were not, and why; they are tried again the next time.
    pub failed: Vec<(Sent, String)>,
}

/// A letter or an event, by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The plan.
    pub plan: PlanId,
    /// What it is about.
    pub occasion: &'static str,
    /// To whom, by name; of an event, to what, in brackets.
    pub to: String,
}

impl Notifier<'_> {
    /// Sends every mail and every event that is due and was not sent.
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
            let matter = self.matter(&plan.id, occasion).await?;
            let is_due = |to: &str| !mailed.has(&plan.id, &matter.noted, to);
            let due = self.users.iter().filter(|user| {
                let is_reached = self.postman.is_some() && user.email.is_some();
                is_reached && occasion.is_for(user) && is_due(&user.name)
            });
            let due: Vec<&UserSettings> = due.collect();
            let heralds = self.heralds.iter().filter(|herald| is_due(&noted(**herald)));
            let heralds: Vec<&dyn Herald> = heralds.copied().collect();
            if due.is_empty() && heralds.is_empty() {
                continue;
            }
            let report = PurgeReport::new(plan.id, &self.ledger.plan(&plan.id).await?);
            let rejected = matter.decision.as_ref().and_then(rejection);
            let event = Event::new(self, (occasion, &matter.noted), (&report, rejected));
            for herald in heralds {
                let outcome = herald.tell(&event).await;
                self.note(&matter, noted(herald), outcome, &mut notified).await?;
            }
            for user in due {
                let outcome = self.send(user, occasion, (&report, rejected)).await;
                self.note(&matter, user.name.clone(), outcome, &mut notified).await?;
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
            PlanState::Approved if is_known => Some(Occasion::Approved),
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
        what: (&PurgeReport, Option<(&str, &str)>),
    ) -> Result<(), NotSent> {
        let (Some(email), Some(postman)) = (&user.email, self.postman) else { return Ok(()) };
        postman.send(&letter::write(self, (user, email), occasion, what)).await
    }

    /// What there is to tell, and by what name its notes go: a decision that is made once more, after another
    /// one, is told once more.
    async fn matter(&self, plan: &PlanId, occasion: Occasion) -> Result<Matter, LedgerError> {
        let mut decisions = match occasion {
            Occasion::Approved | Occasion::Rejected => self.ledger.decisions(plan).await?,
            _ => Vec::new(),
        };
        let noted = match decisions.len() {
            0 | 1 => occasion.as_str().to_owned(),
            number => format!("{}-{number}", occasion.as_str()),
        };
        Ok(Matter { plan: *plan, occasion, noted, decision: decisions.pop() })
    }

    /// Notes what was taken.
    async fn note(
        &self,
        matter: &Matter,
        to: String,
        outcome: Result<(), NotSent>,
        notified: &mut Notified,
    ) -> Result<(), LedgerError> {
        let sent = Sent { plan: matter.plan, occasion: matter.occasion.as_str(), to };
        match outcome {
            Ok(()) => {
                self.ledger.note_mail(&matter.plan, &matter.noted, &sent.to).await?;
                notified.sent.push(sent);
            }
            Err(problem) => notified.failed.push((sent, problem.to_string())),
        }
        Ok(())
    }
}

/// Something to tell of a plan.
struct Matter {
    plan: PlanId,
    occasion: Occasion,
    /// By what name the notes on it go.
    noted: String,
    /// The decision that it is about, where it is about one.
    decision: Option<Decision>,
}

/// The name that notes have of a herald: no user's, since it stands in brackets.
fn noted(herald: &dyn Herald) -> String {
    format!("[{}]", herald.name())
}

/// Who rejected, and why.
fn rejection(decision: &Decision) -> Option<(&str, &str)> {
    match &decision.verdict {
        Verdict::Rejected { reason } => Some((decision.by.as_str(), reason.as_str())),
        Verdict::Approved { .. } => None,
    }
}
