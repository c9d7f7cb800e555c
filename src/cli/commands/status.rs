//! `lacuna status`: reads index and ledger, not the lake; with `--due` the ledger alone.

use futures::TryStreamExt as _;

use crate::cli::args::Status;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::config::Config;
use crate::domain::Timestamp;
use crate::domain::deadline::day_of;
use crate::index;
use crate::wire::{self, Metastore, MetastoreSize, PlanListing, PlanState};

use super::index::earlier;
use super::{Context, request};

pub(super) async fn run(context: &Context, arguments: &Status) -> Result<Answer, Failure> {
    if let Some(within) = arguments.due {
        return request::due(context, within).await;
    }
    let config = context.config()?;
    let metastore = context.metastore(&config).await?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let mut coverage = Vec::new();
    for dataset in &config.datasets {
        let earlier = earlier(&config, dataset);
        coverage.push(index::coverage(metastore.as_ref(), dataset, &earlier).await?);
    }
    let size = metastore.size().await?;
    let plans: Vec<documents::OpenPlan> =
        ledger.plans().await?.into_iter().filter_map(open_plan).collect();
    let register = ledger.register_of_all().await?;
    let document = documents::Status {
        schema: documents::STATUS,
        configuration: config.file.display().to_string(),
        index: documents::IndexSize {
            objects: size.objects,
            postings: size.postings,
            size_bytes: size.size_bytes,
            bytes_per_posting: bytes_per_posting(&size),
            runs: size.runs,
            last_scanned_at: last_scanned_at(metastore.as_ref(), &config).await?,
        },
        coverage,
        requests: request::counts(&register, day_of(context.clock.now())),
        next: next(size.objects, &plans),
        open_plans: plans,
    };
    Answer::new(human::status(&document, context.clock.now()), &document)
}

fn bytes_per_posting(size: &MetastoreSize) -> Option<f64> {
    (size.postings > 0).then(|| size.size_bytes as f64 / size.postings as f64)
}

async fn last_scanned_at(
    metastore: &dyn Metastore,
    config: &Config,
) -> Result<Option<Timestamp>, Failure> {
    let mut last = None;
    for dataset in &config.datasets {
        let mut records = metastore.indexed(&dataset.name, None);
        while let Some(record) = records.try_next().await? {
            last = last.max(Some(record.scanned_at));
        }
    }
    Ok(last)
}

/// A plan that waits for something; `None` where nothing is left to do.
fn open_plan(listing: PlanListing) -> Option<documents::OpenPlan> {
    let prefix = listing.id.prefix();
    let next = match listing.state {
        PlanState::Undecided => format!("lacuna show {prefix}"),
        PlanState::Approved | PlanState::Begun => format!("lacuna erase {prefix}"),
        PlanState::Damaged => "restore the ledger, or plan again".to_owned(),
        PlanState::Rejected | PlanState::Expired | PlanState::Finished => return None,
    };
    let summary = listing.summary.as_ref();
    Some(documents::OpenPlan {
        plan_id: listing.id,
        state: listing.state,
        request: summary.map(|summary| summary.request.clone()),
        expires_at: summary.map(|summary| summary.expires_at),
        subjects: summary.map_or(0, |summary| summary.subjects),
        objects: summary.map_or(0, |summary| summary.objects),
        next,
    })
}

fn next(indexed: u64, plans: &[documents::OpenPlan]) -> String {
    let begun = plans.iter().find(|plan| plan.state == PlanState::Begun);
    match begun.or(plans.first()) {
        Some(plan) => plan.next.clone(),
        None if indexed == 0 => "lacuna index".to_owned(),
        None => "lacuna plan --subject NAMESPACE=VALUE --request REFERENCE".to_owned(),
    }
}
