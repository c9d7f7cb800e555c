//! `lacuna notify`: reads the ledger, sends mails, notes that they were sent.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::notify::Notifier;
use crate::notify::smtp::Smtp;
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context) -> Result<Answer, Failure> {
    let config = context.config()?;
    let settings = config.mail.as_ref().ok_or_else(|| {
        Failure::new(Exit::Usage, "no mail server is configured")
            .remedy("name it in lacuna.toml: [mail] server and from")
    })?;
    let postman =
        Smtp::new(settings).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let key = config.signing_key()?;
    let origin = config.server.origin();
    let notifier = Notifier {
        ledger: &ledger,
        clock: &context.clock,
        users: &config.server.users,
        postman: &postman,
        origin: &origin,
        key: key.as_ref(),
    };
    let document = documents::Notified::new(notifier.notify().await?);
    let exit = if document.failed.is_empty() { Exit::Done } else { Exit::Incomplete };
    Ok(Answer::new(human::notified(&document), &document)?.exit(exit))
}
