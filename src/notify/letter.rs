//! What mails say: plain text, no identifier of a subject.

use std::fmt::Write as _;

use crate::config::UserSettings;
use crate::domain::identifier::hex;
use crate::domain::link::{Link, LinkAction};
use crate::erase::report::PurgeReport;
use crate::erase::report::wording::{moment, plain};

use super::{Notifier, Occasion};

/// A mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Writes what a user is told of a plan; `rejected` is by whom and why it was.
pub(super) fn write(
    notifier: &Notifier<'_>,
    (user, email): (&UserSettings, &str),
    occasion: Occasion,
    (report, rejected): (&PurgeReport, Option<(&str, &str)>),
) -> Letter {
    let request = plain(&report.request);
    let subject = match occasion {
        Occasion::Decide => format!("To decide: erasure {request}"),
        Occasion::Remind => format!("Expires soon: erasure {request}"),
        Occasion::Expired => format!("Expired: erasure {request}"),
        Occasion::Approved => format!("Approved: erasure {request}"),
        Occasion::Rejected => format!("Rejected: erasure {request}"),
        Occasion::Unfinished => format!("Not finished: erasure {request}"),
        Occasion::Finished => format!("Done: erasure {request}"),
    };
    let expires_at = moment(report.expires_at);
    let mut text = match occasion {
        Occasion::Decide | Occasion::Remind => {
            format!("The erasure {request} waits for your decision until {expires_at}.\n")
        }
        Occasion::Expired => {
            format!(
                "The plan of the erasure {request} expired on {expires_at}. Nothing was erased; plan again.\n"
            )
        }
        Occasion::Approved => format!("The plan of the erasure {request} was approved.\n"),
        Occasion::Rejected => {
            let (by, reason) = rejected.unwrap_or(("", ""));
            format!(
                "The plan of the erasure {request} was rejected by {}: {}\n",
                plain(by),
                plain(reason)
            )
        }
        Occasion::Unfinished => format!(
            "A run of the erasure {request} came to its end, and not everything is done. The page says how far it \
             is; the same command goes on.\n"
        ),
        Occasion::Finished => format!(
            "The erasure {request} is carried out. What remains, and why, says its certificate.\n"
        ),
    };
    let _ = write!(text, "\n{}\n", report.verdict);
    for warning in &report.warnings {
        let _ = writeln!(text, "- {}", warning.text);
    }
    let _ = write!(text, "\nThe plan: {}/plans/{}\n", notifier.origin, report.plan_id);
    if matches!(occasion, Occasion::Decide | Occasion::Remind) {
        links(&mut text, notifier, user, report);
    }
    text.push_str("\nThis mail was sent by Lacuna. It holds no identifier of a person.\n");
    Letter { to: email.to_owned(), subject, text }
}

/// Links to decide without signing in, where they can be signed.
fn links(text: &mut String, notifier: &Notifier<'_>, user: &UserSettings, report: &PurgeReport) {
    let Some(key) = notifier.key else { return };
    let mut nonce = [0; 16];
    // Without random bytes there is no link, and the way by the page is left.
    if getrandom::fill(&mut nonce).is_err() {
        return;
    }
    text.push_str("\nWithout signing in, once, and for you alone:\n");
    for (word, action) in [("Approve", LinkAction::Approve), ("Reject", LinkAction::Reject)] {
        let link = Link {
            plan: report.plan_id,
            by: user.name.clone(),
            action,
            expires_at: report.expires_at,
            nonce: hex(&nonce),
        };
        let _ = writeln!(text, "{word}: {}/decide?link={}", notifier.origin, link.sign(key));
    }
}
