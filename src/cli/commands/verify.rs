//! `lacuna verify`: reads the lake, trusts neither journal nor index.

use std::collections::HashSet;

use crate::cli::args::Verify;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::erase::verify::{Verification, VerifyOptions, verify_plan, verify_subjects};

use super::{Context, subjects, workshop};

pub(super) async fn run(context: &Context, arguments: &Verify) -> Result<Answer, Failure> {
    let config = context.config()?;
    let options = options(context, arguments.deep.unwrap_or(0))?;
    let tools = workshop::erase_tools(context, &config).await?;
    let (plan, verification) = match &arguments.what.plan {
        Some(plan) => {
            let id = tools.ledger.find_plan(plan).await?;
            let plan = tools.ledger.plan(&id).await?;
            (Some(id), verify_plan(&tools, &plan, &options).await?)
        }
        None => {
            let file = arguments.what.subjects.as_deref();
            let subjects = subjects::read(context, &config, &arguments.what.subject, file)?;
            let identifiers = subjects.iter().flat_map(|subject| &subject.identifiers);
            let digests: HashSet<_> = identifiers.map(|it| it.digest(&tools.key)).collect();
            let datasets: Vec<_> = config.datasets.iter().map(|it| it.name.clone()).collect();
            (None, verify_subjects(&tools, digests, &datasets, &options).await?)
        }
    };
    let exit = exit_of(&verification);
    let document = documents::Verify { schema: documents::VERIFY, plan_id: plan, verification };
    Ok(Answer::new(human::verify(&document), &document)?.exit(exit))
}

/// How to verify: a random seed, which the answer names.
///
/// # Errors
///
/// When the system gives no random bytes.
pub(super) fn options(context: &Context, deep_percent: u8) -> Result<VerifyOptions, Failure> {
    let seed = getrandom::u64()
        .map_err(|_| Failure::new(Exit::Failed, "the system gave no random bytes"))?;
    let concurrency = workshop::OBJECTS_AT_ONCE;
    // 53 bits, so that every reader of JSON sees the same number.
    Ok(VerifyOptions { deep_percent, seed: seed >> 11, concurrency, stop: context.stop.clone() })
}

/// What a verification means to scripts.
pub(super) fn exit_of(verification: &Verification) -> Exit {
    if verification.unexpected().next().is_some() {
        Exit::SubjectsMet
    } else if verification.is_interrupted {
        Exit::Interrupted
    } else if !verification.unreadable.is_empty() {
        Exit::Incomplete
    } else {
        Exit::Done
    }
}
