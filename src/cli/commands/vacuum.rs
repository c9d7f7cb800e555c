//! `lacuna vacuum [DATASET]...`.

use crate::cli::args::Vacuum;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::vacuum::vacuum;

use super::{Context, workshop};

pub(super) async fn run(context: &Context, arguments: &Vacuum) -> Result<Answer, Failure> {
    let config = context.config()?;
    let datasets = config.select(&arguments.datasets)?;
    let names: Vec<_> = datasets.into_iter().map(|dataset| dataset.name).collect();
    let tools = workshop::vacuum_tools(context, &config).await?;
    let report = vacuum(&tools, &names).await?;
    let exit = if report.was_interrupted {
        Exit::Interrupted
    } else if !report.failed.is_empty() {
        Exit::Incomplete
    } else {
        Exit::Done
    };
    let document = documents::Vacuum { schema: documents::VACUUM, report };
    Ok(Answer::new(human::vacuum(&document), &document)?.exit(exit))
}
