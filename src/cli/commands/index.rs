//! `lacuna index [DATASET]...`, by a listing, by an inventory, or of single objects.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use crate::cli::args::Index;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::config::{self, Config};
use crate::domain::dataset::{Dataset, Location};
use crate::index::inventory::Placement;
use crate::index::{self, IndexError, IndexReport, IndexTask, IndexTools, Inventory, Memory};
use crate::wire::{self, Estate, Metastore};

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Index) -> Result<Answer, Failure> {
    let config = context.config()?;
    let datasets = config.select(&arguments.datasets)?;
    if datasets.is_empty() {
        return Err(Failure::new(Exit::Usage, "no dataset is configured")
            .remedy(format!("add a [[dataset]] to {}", config.file.display())));
    }
    if arguments.rebuild {
        wire::empty_metastore(&config.metastore).await?;
    }
    let metastore = context.metastore(&config).await?;
    let run = Run { context, config: &config, metastore: &metastore, is_full: arguments.full };
    let reports = match (&arguments.objects, &arguments.inventory) {
        (Some(list), _) => run.just_objects(&datasets, list).await?,
        (None, Some(manifest)) => {
            let inventory = open_inventory(&config, manifest).await?;
            let datasets = listed_by(&inventory, datasets, arguments)?;
            run.datasets(&datasets, Some(&inventory)).await?
        }
        (None, None) => run.datasets(&datasets, None).await?,
    };
    let exit = exit_of(context, &reports);
    let document = documents::Index { schema: documents::INDEX, datasets: reports };
    Ok(Answer::new(human::index(&document), &document)?.exit(exit))
}

/// What every way of indexing needs.
struct Run<'c> {
    context: &'c Context,
    config: &'c Config,
    metastore: &'c Arc<dyn Metastore>,
    is_full: bool,
}

impl Run<'_> {
    /// One dataset after the other, by a listing or an inventory.
    async fn datasets(
        &self,
        datasets: &[Dataset],
        inventory: Option<&Inventory>,
    ) -> Result<Vec<IndexReport>, Failure> {
        let mut reports = Vec::new();
        for estate in &wire::estates(self.config, datasets).await? {
            let (tools, task) = self.job(estate)?;
            let report = match inventory {
                Some(inventory) => index::run_inventory(&tools, &task, inventory).await,
                None => index::run(&tools, &task).await,
            };
            reports.push(report.map_err(|error| about(error, estate))?);
            if self.context.stop.is_requested() {
                break;
            }
        }
        Ok(reports)
    }

    /// What a list names; answers for the datasets that it names.
    async fn just_objects(
        &self,
        datasets: &[Dataset],
        list: &Path,
    ) -> Result<Vec<IndexReport>, Failure> {
        let input = open_list(list)?;
        let (memory, observer) = (Memory::default(), self.context.observer());
        let mut jobs = Vec::new();
        for estate in &wire::estates(self.config, datasets).await? {
            // All datasets at once have one memory and one terminal.
            let (tools, task) = self.job(estate)?;
            let (memory, observer) = (memory.clone(), observer.clone());
            jobs.push((IndexTools { memory, observer, ..tools }, task));
        }
        let mut reports = index::run_objects(&jobs, input).await?;
        reports.retain(|report| report.coverage.listed > 0);
        Ok(reports)
    }

    fn job(&self, estate: &Estate) -> Result<(IndexTools, IndexTask), Failure> {
        job(self.context, self.config, estate, self.metastore, self.is_full)
    }
}

fn open_list(list: &Path) -> Result<Box<dyn BufRead + Send>, Failure> {
    if list == Path::new("-") {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = File::open(list).map_err(|error| {
        let shown = list.display();
        Failure::new(Exit::Usage, format!("the list {shown} cannot be read: {}", error.kind()))
    })?;
    Ok(Box::new(BufReader::new(file)))
}

async fn open_inventory(config: &Config, manifest: &str) -> Result<Inventory, Failure> {
    let (location, key) = config::file_location(manifest)?;
    let placement = match &location {
        Location::S3 { bucket, .. } => Placement::Bucket(bucket.clone()),
        Location::Directory(_) => Placement::Copy,
    };
    let lake = wire::lake_at(config, &location).await?;
    Ok(Inventory::open(lake, &key, &placement).await?)
}

/// The datasets that lie in the inventory's bucket; those that were named have to.
fn listed_by(
    inventory: &Inventory,
    mut datasets: Vec<Dataset>,
    arguments: &Index,
) -> Result<Vec<Dataset>, Failure> {
    if arguments.datasets.is_empty() {
        datasets.retain(|dataset| inventory.lists(&dataset.location));
    }
    if datasets.is_empty() {
        let bucket = inventory.bucket().escape_debug();
        let text = format!("the inventory is of the bucket `{bucket}`, where no dataset lies");
        return Err(Failure::new(Exit::Usage, text));
    }
    Ok(datasets)
}

fn exit_of(context: &Context, reports: &[IndexReport]) -> Exit {
    if context.stop.is_requested() || reports.iter().any(|report| report.was_interrupted) {
        context
            .terminal
            .say("stopped; what is indexed stays, and the same command goes on from there");
        return Exit::Interrupted;
    }
    let failed: u64 = reports.iter().map(|report| report.coverage.failed).sum();
    if failed > 0 { Exit::Incomplete } else { Exit::Done }
}

/// Brings the index in step with one dataset.
///
/// # Errors
///
/// When the lake cannot be listed or the index fails; what was recorded stays.
pub(super) async fn bring_in_step(
    context: &Context,
    config: &Config,
    estate: &Estate,
    metastore: &Arc<dyn Metastore>,
    is_full: bool,
) -> Result<IndexReport, Failure> {
    let (tools, task) = job(context, config, estate, metastore, is_full)?;
    index::run(&tools, &task).await.map_err(|error| about(error, estate))
}

fn about(error: IndexError, estate: &Estate) -> Failure {
    let dataset = &estate.dataset.name;
    Failure::from(error).about(format!("dataset `{dataset}` cannot be indexed"))
}

/// What indexing one dataset works with, and what it is to do.
fn job(
    context: &Context,
    config: &Config,
    estate: &Estate,
    metastore: &Arc<dyn Metastore>,
    is_full: bool,
) -> Result<(IndexTools, IndexTask), Failure> {
    let tools = IndexTools {
        lake: estate.lake.clone(),
        metastore: metastore.clone(),
        clock: context.clock.clone(),
        observer: context.observer(),
        stop: context.stop.clone(),
        memory: Memory::default(),
    };
    let task = IndexTask {
        dataset: estate.dataset.as_ref().clone(),
        earlier: earlier(config, &estate.dataset),
        key: context.key(config)?,
        is_full,
        concurrency: None,
    };
    Ok((tools, task))
}

/// The datasets that stand before this one in the configuration.
pub(super) fn earlier(config: &Config, dataset: &Dataset) -> Vec<Dataset> {
    config.datasets.iter().take_while(|other| other.name != dataset.name).cloned().collect()
}
