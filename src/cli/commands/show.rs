//! `lacuna show PLAN`: the report follows from the plan, so it is made anew and cannot differ.

use crate::cli::args::Show;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, human};
use crate::erase::report::{self, PurgeReport};
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Show) -> Result<Answer, Failure> {
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let plan = ledger.plan(&id).await?;
    let decisions = ledger.decisions(&id).await?;
    let report = PurgeReport::new(id, &plan);
    if let Some(file) = &arguments.html {
        let path = context.environment.folder().join(file);
        std::fs::write(path, report::html(&report)).map_err(|error| {
            Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))
        })?;
        context.terminal.say(&format!("wrote {}", file.display()));
    }
    let text = report::text(&report);
    Answer::new(human::show(&text, &report, decisions.last()), &report)
}
