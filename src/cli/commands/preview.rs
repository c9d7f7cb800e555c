//! `lacuna preview PLAN OBJECT`: rows that a plan would blank, masked.

use crate::cli::args::preview::Preview as Arguments;
use crate::cli::failure::Failure;
use crate::cli::view::{self, Answer, documents};
use crate::erase::preview::preview;

use super::{Context, workshop};

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let config = context.config()?;
    let tools = workshop::erase_tools(context, &config).await?;
    let id = tools.ledger.find_plan(&arguments.plan).await?;
    let asked = (arguments.object.as_str(), usize::from(arguments.rows));
    let preview = preview(&tools, &id, asked, &arguments.by).await?;
    let document = documents::Preview { schema: documents::PREVIEW, preview };
    Answer::new(view::preview::rows(&document.preview), &document)
}
