//! `lacuna plan`: never writes to the lake.

use crate::cli::args::Plan;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, human};
use crate::erase::report;

use super::{Context, plans};

pub(super) async fn run(context: &Context, arguments: &Plan) -> Result<Answer, Failure> {
    let config = context.config()?;
    let asked = plans::Asked {
        subject: &arguments.whom.subject,
        subjects: arguments.whom.subjects.as_deref(),
        scope: &arguments.scope,
    };
    let prepared = plans::make(context, &config, &asked).await?;
    let text = report::text(&prepared.report);
    Answer::new(human::plan(&text, &prepared.report), &prepared.report)
}
