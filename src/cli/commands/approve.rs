//! `lacuna approve PLAN` and `lacuna reject PLAN`.

use crate::cli::args::{Approve, Reject};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, human};
use crate::domain::decision::{Exception, Verdict};
use crate::domain::plan::ErasurePlan;
use crate::erase::approval::decide;
use crate::erase::report::wording;
use crate::wire;

use super::{Context, plans};

pub(super) async fn run(context: &Context, arguments: &Approve) -> Result<Answer, Failure> {
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let plan = ledger.plan(&id).await?;
    let mut except = Vec::new();
    for (position, text) in (1..).zip(&arguments.except) {
        except.push(exception(&plan, text, position)?);
    }
    context.terminal.say(&wording::verdict(&plan));
    plans::confirm(context, &id, arguments.confirm.as_deref(), "Approve?")?;
    let verdict = Verdict::Approved { except };
    let decision = decide(&ledger, &id, verdict, &arguments.by, &context.clock).await?;
    Answer::new(human::decision(&decision), &decision)
}

pub(super) async fn reject(context: &Context, arguments: &Reject) -> Result<Answer, Failure> {
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let verdict = Verdict::Rejected { reason: arguments.reason.clone() };
    let decision = decide(&ledger, &id, verdict, &arguments.by, &context.clock).await?;
    Answer::new(human::decision(&decision), &decision)
}

/// The one object of the plan that `KEY` or `DATASET:KEY` names, as reports print it or as it is.
fn exception(plan: &ErasurePlan, text: &str, position: usize) -> Result<Exception, Failure> {
    let mut named = plan.changes.iter().filter(|change| {
        let is_key =
            |text: &str| change.key.as_bytes() == text.as_bytes() || change.key.to_string() == text;
        let below = text.strip_prefix(change.dataset.as_str());
        is_key(text) || below.and_then(|rest| rest.strip_prefix(':')).is_some_and(is_key)
    });
    match (named.next(), named.next()) {
        (Some(change), None) => {
            Ok(Exception { dataset: change.dataset.clone(), key: change.key.clone() })
        }
        (None, _) => {
            let message = format!("--except: object {position} is not in the plan");
            Err(Failure::new(Exit::Usage, message).remedy("write the key as the report does"))
        }
        (Some(_), Some(_)) => {
            let message = format!("--except: object {position} is in several datasets");
            Err(Failure::new(Exit::Usage, message).remedy("write it as DATASET:KEY"))
        }
    }
}
