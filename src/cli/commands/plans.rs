//! What several commands do with plans: name one, confirm one, make one.

use std::path::Path;
use std::sync::Arc;

use crate::cli::args::Scope;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::domain::plan::PlanId;
use crate::domain::request::ErasureRequest;
use crate::erase::approval::Decider;
use crate::erase::facts::InScope;
use crate::erase::prepare::{PlanPolicy, PlanTools, Prepared, prepare};
use crate::wire::{self, Metastore};

use super::{Context, index, subjects};

/// Whose records, under which reference, where.
pub(super) struct Asked<'a> {
    pub subject: &'a [String],
    pub subjects: Option<&'a Path>,
    pub scope: &'a Scope,
}

/// Brings the index in step, then plans, and stores the plan.
///
/// # Errors
///
/// When a subject cannot be read, a store fails, coverage is below the floor, or a stop was asked
/// for.
pub(super) async fn make(
    context: &Context,
    config: &Config,
    asked: &Asked<'_>,
) -> Result<Prepared, Failure> {
    let datasets = config.select(&asked.scope.datasets)?;
    let subjects = subjects::read(context, config, asked.subject, asked.subjects)?;
    let now = context.clock.now();
    let reference = asked
        .scope
        .request
        .clone()
        .unwrap_or_else(|| now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    subjects::check_reference(&reference, &subjects)?;
    let request = ErasureRequest { reference, subjects };
    let key = context.key(config)?;
    let metastore = context.metastore(config).await?;
    let ledger = wire::ledger(config, context.clock.clone()).await?;
    let datasets = in_step(context, config, &datasets, &metastore).await?;
    let observer = context.observer();
    let tools = PlanTools {
        datasets: &datasets,
        metastore: metastore.as_ref(),
        ledger: &ledger,
        key: &key,
        clock: &context.clock,
        observer: observer.as_ref(),
    };
    Ok(prepare(&tools, &request, &policy(config)).await?)
}

fn policy(config: &Config) -> PlanPolicy {
    PlanPolicy {
        configuration: config.digest(),
        valid_for_seconds: config.plan.valid_for_seconds,
        blast_radius_percent: config.plan.blast_radius,
        coverage_floor_percent: config.plan.coverage_floor,
        reserved: config.plan.reserved.clone(),
    }
}

/// The datasets with what the index knows of each, after a look at the lake.
async fn in_step(
    context: &Context,
    config: &Config,
    datasets: &[crate::domain::dataset::Dataset],
    metastore: &Arc<dyn Metastore>,
) -> Result<Vec<InScope>, Failure> {
    let mut tools = Vec::new();
    for estate in wire::estates(config, datasets).await? {
        let report = index::bring_in_step(context, config, &estate, metastore, false).await?;
        if report.was_interrupted {
            return Err(Failure::new(Exit::Interrupted, "stopped; no plan was made")
                .remedy("what was indexed stays; the same command goes on from there"));
        }
        tools.push(InScope { estate, coverage: report.coverage });
    }
    Ok(tools)
}

/// Who decides, under the rule of the configuration.
pub(super) fn decider<'a>(config: &Config, by: &'a str) -> Decider<'a> {
    Decider { by, is_one_of_two: config.plan.two_people, link: None }
}

/// Makes sure that this very plan is meant: by the first characters of its id, given or typed.
///
/// # Errors
///
/// When they are not those of the plan, or nobody can be asked.
pub(super) fn confirm(
    context: &Context,
    id: &PlanId,
    given: Option<&str>,
    question: &str,
) -> Result<(), Failure> {
    let typed = match given {
        Some(given) => Some(given.to_owned()),
        None if context.terminal.can_ask() => context
            .terminal
            .ask(&format!("{question} Type the first 8 characters of the plan's id:"))?,
        None => {
            return Err(Failure::new(Exit::Usage, "the plan has to be confirmed")
                .remedy(format!("add --confirm {}, or use a terminal", id.prefix())));
        }
    };
    let typed = typed.unwrap_or_default().to_ascii_lowercase();
    if typed.len() >= 8 && id.to_string().starts_with(&typed) {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NotApproved,
        "not confirmed: these are not the first 8 characters of the plan's id",
    )
    .remedy(format!("nothing was done; the plan is kept: lacuna show {}", id.prefix())))
}
