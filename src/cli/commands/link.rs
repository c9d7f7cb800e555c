//! `lacuna link PLAN`: what an approver is sent, to decide without signing in.

use crate::cli::args::Link as Arguments;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents};
use crate::config::Config;
use crate::domain::access::Right;
use crate::domain::identifier::hex;
use crate::domain::link::{Link, LinkAction};
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Arguments) -> Result<Answer, Failure> {
    let config = context.config()?;
    let key = config.signing_key()?.ok_or_else(|| {
        Failure::new(Exit::Usage, "links are signed, and no key is configured")
            .remedy("make one: lacuna audit key --create .lacuna/signing.key")
            .remedy("and name it in lacuna.toml: [evidence] signing_key_file")
    })?;
    check_approver(&config, &arguments.approver)?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let plan = ledger.plan(&id).await?;
    if context.clock.now() >= plan.expires_at {
        return Err(Failure::new(Exit::NotApproved, "the plan expired; plan again"));
    }
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)
        .map_err(|_| Failure::new(Exit::Failed, "the system gave no random bytes"))?;
    let action = if arguments.reject { LinkAction::Reject } else { LinkAction::Approve };
    let link = Link {
        plan: id,
        by: arguments.approver.clone(),
        action,
        expires_at: plan.expires_at,
        nonce: hex(&nonce),
    };
    let origin = config.server.origin();
    let document = documents::Link {
        schema: documents::LINK,
        url: format!("{origin}/decide?link={}", link.sign(&key)),
        plan: id,
        approver: link.by,
        action,
        expires_at: link.expires_at,
    };
    context
        .terminal
        .say("whoever has this link can decide by it, once: send it to that person alone");
    Answer::new(format!("{}\n", document.url), &document)
}

/// A link for somebody who may not decide would lead nowhere.
fn check_approver(config: &Config, name: &str) -> Result<(), Failure> {
    let user = config.server.users.iter().find(|user| user.name == name);
    match user {
        Some(user) if user.roles.iter().any(|role| role.grants(Right::Decide)) => Ok(()),
        _ => Err(Failure::new(
            Exit::Usage,
            "--approver: no [[server.user]] with the role `approver` has this name",
        )),
    }
}
