//! `lacuna erase PLAN`, and the whole way from a subject in one sitting.

use crate::cli::args::Erase;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::config::Config;
use crate::domain::decision::Verdict;
use crate::domain::journal::Outcome;
use crate::domain::plan::PlanId;
use crate::erase::approval::{admit, decide};
use crate::erase::execution::Execution;
use crate::erase::executor::{ExecuteOptions, execute};
use crate::erase::report::{self, PurgeReport};
use crate::wire;

use super::{Context, plans, workshop};

pub(super) async fn run(context: &Context, arguments: &Erase) -> Result<Answer, Failure> {
    let config = context.config()?;
    let Some(plan) = &arguments.what.plan else {
        return one_sitting(context, &config, arguments).await;
    };
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(plan).await?;
    if let Some(given) = &arguments.confirm {
        plans::confirm(context, &id, Some(given), "")?;
    }
    carry_out(context, &config, (&id, arguments.deep), None).await
}

/// Plans, shows the report, asks, approves, carries out.
async fn one_sitting(
    context: &Context,
    config: &Config,
    arguments: &Erase,
) -> Result<Answer, Failure> {
    let by = match arguments.by.as_deref().or_else(|| context.environment.login_name()) {
        Some(by) => by.to_owned(),
        None => {
            return Err(Failure::new(Exit::Usage, "the system does not tell who is logged in")
                .remedy("say who approves: --by WHO"));
        }
    };
    if arguments.confirm.is_none() && !context.terminal.can_ask() {
        return Err(Failure::new(Exit::Usage, "nobody can be asked whether to erase")
            .remedy("without a terminal: lacuna plan, lacuna approve, lacuna erase PLAN"));
    }
    let asked = plans::Asked {
        subject: &arguments.what.subject,
        subjects: arguments.what.subjects.as_deref(),
        scope: &arguments.scope,
    };
    let prepared = plans::make(context, config, &asked).await?;
    context.terminal.show(&report::text(&prepared.report))?;
    if prepared.report.objects == 0 {
        let document = documents::Erase::nothing(prepared.report);
        return Answer::new(human::erase(&document), &document);
    }
    let confirm = arguments.confirm.as_deref();
    plans::confirm(context, &prepared.id, confirm, "Erase these rows for good?")?;
    let ledger = wire::ledger(config, context.clock.clone()).await?;
    let verdict = Verdict::Approved { except: Vec::new() };
    decide(&ledger, &prepared.id, verdict, plans::decider(config, &by), &context.clock).await?;
    let what = (&prepared.id, arguments.deep);
    carry_out(context, config, what, Some(prepared.report)).await
}

async fn carry_out(
    context: &Context,
    config: &Config,
    (id, is_deep): (&PlanId, bool),
    report: Option<PurgeReport>,
) -> Result<Answer, Failure> {
    let tools = workshop::erase_tools(context, config).await?;
    let check = tools.key.check_value();
    let approved = admit(&tools.ledger, id, &config.digest(), &check, &context.clock).await?;
    let options = ExecuteOptions {
        concurrency: workshop::OBJECTS_AT_ONCE,
        is_deep,
        stop: context.stop.clone(),
    };
    let execution = execute(&tools, approved, options).await?;
    if execution.changes.iter().any(|change| has_forgotten(&change.outcome)) {
        // Their postings go from the index's storage as well, if that has not let go of them yet.
        let scrubbed = tools.metastore.scrub().await;
        let about = "the rows are erased, but forgotten postings stay in the index's storage: run \
                     the same command again";
        scrubbed.map_err(|error| Failure::from(error).about(about))?;
    }
    let document = documents::Erase::new(&execution, report);
    Ok(Answer::new(human::erase(&document), &document)?.exit(exit_of(&execution)))
}

/// Whether the index may have forgotten something: an expunged version, one that was written over, one
/// that it was wrong about, one that was gone.
fn has_forgotten(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Erased { .. } | Outcome::Gone)
}

/// The most pressing of what came of the run.
fn exit_of(execution: &Execution) -> Exit {
    let met = |change: &crate::erase::execution::EndedChange| {
        change.is_unverified && change.subject_rows.0 > 0
    };
    if execution.is_interrupted() {
        Exit::Interrupted
    } else if execution.changes.iter().any(met) {
        Exit::SubjectsMet
    } else if execution.failed().next().is_some() {
        Exit::Incomplete
    } else if execution.drifted().next().is_some() {
        Exit::Stale
    } else {
        Exit::Done
    }
}
