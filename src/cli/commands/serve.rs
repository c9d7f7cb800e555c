//! `lacuna serve`: the pages and the API, until it is stopped.

use crate::cli::args::Serve;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents};
use crate::server;
use crate::wire;

use super::{Context, workshop};

pub(super) async fn run(context: &Context, arguments: &Serve) -> Result<Answer, Failure> {
    let mut settings = context.config()?.server;
    if let Some(listen) = arguments.listen {
        settings.listen = listen;
    }
    let config = context.config()?;
    let secret = config.oidc.as_ref().and_then(|oidc| oidc.client_secret.as_ref());
    let rules = server::Rules {
        datasets: config.datasets.iter().map(|dataset| dataset.name.clone()).collect(),
        two_people: config.plan.two_people,
        link_key: config.signing_key()?.map(|key| key.public()),
        oidc: config.oidc.clone(),
        oidc_secret: secret.map(|it| it.read(&context.environment)).transpose()?,
    };
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let lake = match workshop::erase_tools(context, &config).await {
        Ok(tools) => Some(tools),
        Err(failure) => {
            let why = failure.chain().join(": ");
            context.terminal.say(&format!("rows cannot be shown on the pages: {why}"));
            None
        }
    };
    let listening = server::listen(&settings, rules, ledger, lake, context.clock.clone()).await?;
    let url = listening.url();
    context.terminal.say(&format!("the pages are at {url}; Ctrl-C stops"));
    listening.serve(context.stop.clone()).await?;
    let document = documents::Serve { schema: documents::SERVE, url };
    Answer::new("", &document)
}
