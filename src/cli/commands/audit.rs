//! `lacuna audit verify`: reads the ledger, and nothing else.

use crate::cli::args::{Audit, AuditCommand};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Audit) -> Result<Answer, Failure> {
    let AuditCommand::Verify(arguments) = &arguments.command;
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let report = ledger.verify_trail(arguments.anchor.as_ref()).await?;
    let document = documents::AuditVerified {
        schema: documents::AUDIT_VERIFIED,
        is_sound: report.is_sound(),
        report,
    };
    let exit = if document.is_sound { Exit::Done } else { Exit::Failed };
    Ok(Answer::new(human::audit_verified(&document), &document)?.exit(exit))
}
