//! `lacuna notify`: reads the ledger, sends mails and events, notes that they were sent.

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::notify::smtp::Smtp;
use crate::notify::sns::Topic;
use crate::notify::webhook::Webhook;
use crate::notify::{Herald, Notifier, Postman};
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context) -> Result<Answer, Failure> {
    let config = context.config()?;
    if config.mail.is_none() && config.webhook.is_none() && config.topic.is_none() {
        let message = "neither a mail server nor a webhook nor a topic is configured";
        return Err(Failure::new(Exit::Usage, message).remedy(
            "name one in lacuna.toml: [mail] server and from, [webhook] url, or [sns] topic_arn",
        ));
    }
    let (clock, environment) = (&context.clock, &context.environment);
    let postman = match &config.mail {
        Some(mail) => {
            let login = mail.login.as_ref();
            let password = login.map(|login| login.password.read(environment)).transpose()?;
            let smtp = Smtp::new(mail, password.as_ref());
            Some(smtp.map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?)
        }
        None => None,
    };
    let webhook = match &config.webhook {
        Some(settings) => {
            Some(Webhook { url: &settings.url, key: settings.key(environment)?, clock })
        }
        None => None,
    };
    let topic = match &config.topic {
        Some(settings) => Some(Topic::new(settings).await),
        None => None,
    };
    let topic = topic.iter().map(|it| it as &dyn Herald);
    let heralds: Vec<_> = webhook.iter().map(|it| it as &dyn Herald).chain(topic).collect();
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let key = config.signing_key()?;
    let origin = config.server.origin();
    let notifier = Notifier {
        ledger: &ledger,
        clock,
        users: &config.server.users,
        postman: postman.as_ref().map(|it| it as &dyn Postman),
        heralds: &heralds,
        origin: &origin,
        key: key.as_ref(),
    };
    let document = documents::Notified::new(notifier.notify().await?);
    let exit = if document.failed.is_empty() { Exit::Done } else { Exit::Incomplete };
    Ok(Answer::new(human::notified(&document), &document)?.exit(exit))
}
