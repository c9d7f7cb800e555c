//! `lacuna approve PLAN` and `lacuna reject PLAN`.

use crate::cli::args::{Approve, Reject};
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, human};
use crate::domain::decision::Verdict;
use crate::erase::approval::{decide, exception};
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
    let decider = plans::decider(&config, &arguments.by);
    let verdict = Verdict::Approved { except };
    let decision = decide(&ledger, &id, verdict, decider, &context.clock).await?;
    Answer::new(human::decision(&decision), &decision)
}

pub(super) async fn reject(context: &Context, arguments: &Reject) -> Result<Answer, Failure> {
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let decider = plans::decider(&config, &arguments.by);
    let verdict = Verdict::Rejected { reason: arguments.reason.clone() };
    let decision = decide(&ledger, &id, verdict, decider, &context.clock).await?;
    Answer::new(human::decision(&decision), &decision)
}
