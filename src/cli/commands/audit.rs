//! `lacuna audit …`: the evidence. It reads the ledger, or a pack, and nothing else.

use std::path::Path;

use crate::cli::args::audit::{Audit, AuditCommand, AuditExport, AuditKey, AuditVerify};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::config::signing_key_in;
use crate::domain::trail::TrailHead;
use crate::erase::report::wording::plain;
use crate::wire::{self, Ledger, TrailCheck, TrailReport};

use super::{Context, init};

pub(super) async fn run(context: &Context, arguments: &Audit) -> Result<Answer, Failure> {
    match &arguments.command {
        AuditCommand::Verify(arguments) => verify(context, arguments).await,
        AuditCommand::Export(arguments) => export(context, arguments).await,
        AuditCommand::Key(arguments) => key(context, arguments),
    }
}

async fn verify(context: &Context, arguments: &AuditVerify) -> Result<Answer, Failure> {
    let given = TrailCheck { anchor: arguments.anchor.clone(), signer: arguments.key, only: None };
    let report = match &arguments.pack {
        Some(file) => verify_pack(context, file, given).await?,
        None => {
            let config = context.config()?;
            let configured = || Ok::<_, Failure>(config.signing_key()?.map(|key| key.public()));
            let signer = if given.signer.is_some() { given.signer } else { configured()? };
            let ledger = wire::ledger(&config, context.clock.clone()).await?;
            ledger.verify_trail(&TrailCheck { signer, ..given }).await?
        }
    };
    let document = documents::AuditVerified {
        schema: documents::AUDIT_VERIFIED,
        is_sound: report.is_sound(),
        report,
    };
    let exit = if document.is_sound { Exit::Done } else { Exit::Failed };
    Ok(Answer::new(human::audit_verified(&document), &document)?.exit(exit))
}

/// What a pack says is held against its own end of the trail and against the one that was kept elsewhere.
async fn verify_pack(
    context: &Context,
    file: &Path,
    given: TrailCheck,
) -> Result<TrailReport, Failure> {
    let path = context.environment.folder().join(file);
    let bytes = std::fs::read(&path).map_err(|error| {
        Failure::new(Exit::Usage, format!("{} cannot be read: {error}", file.display()))
    })?;
    let (pack, ledger) = wire::open_pack(&bytes, context.clock.clone())?;
    let own = pack.check();
    let mut report =
        ledger.verify_trail(&TrailCheck { signer: given.signer, ..own.clone() }).await?;
    if given.anchor.is_some() {
        let kept = TrailCheck { anchor: given.anchor, ..own };
        let further = ledger.verify_trail(&kept).await?;
        let new: Vec<_> =
            further.findings.into_iter().filter(|it| !report.findings.contains(it)).collect();
        report.findings.extend(new);
    }
    Ok(report)
}

async fn export(context: &Context, arguments: &AuditExport) -> Result<Answer, Failure> {
    let config = context.config()?;
    let ledger = wire::ledger(&config, context.clock.clone()).await?;
    let id = ledger.find_plan(&arguments.plan).await?;
    let (pack, bytes) = ledger.pack(&id).await?;
    prove(context, &bytes, &pack.head).await?;
    let default = || format!("evidence-{}.zip", id.prefix()).into();
    let file = arguments.out.clone().unwrap_or_else(default);
    init::create(&context.environment.folder().join(&file), &bytes, 0o644)?;
    let document = documents::AuditExported {
        schema: documents::AUDIT_EXPORTED,
        file: file.display().to_string(),
        size_bytes: bytes.len() as u64,
        plan: id,
        request: pack.request,
        head: pack.head,
    };
    Answer::new(human::audit_exported(&document), &document)
}

/// Nobody is given a pack that does not hold.
async fn prove(context: &Context, bytes: &[u8], head: &TrailHead) -> Result<(), Failure> {
    let (pack, ledger): (_, Ledger) = wire::open_pack(bytes, context.clock.clone())?;
    let report = ledger.verify_trail(&pack.check()).await?;
    match report.findings.first() {
        None if pack.head == *head => Ok(()),
        None => Err(Failure::new(Exit::Failed, "the pack is not what was packed; try again")),
        Some(finding) => {
            let (document, message) = (plain(&finding.document), &finding.message);
            let count = report.findings.len();
            let what = format!(
                "the evidence is not sound ({count}), so it is not packed: {document} {message}"
            );
            Err(Failure::new(Exit::Failed, what).remedy("all that is wrong: lacuna audit verify"))
        }
    }
}

fn key(context: &Context, arguments: &AuditKey) -> Result<Answer, Failure> {
    let key = match &arguments.create {
        Some(file) => {
            let path = context.environment.folder().join(file);
            init::create_key(&path)?;
            signing_key_in(&path)?
        }
        None => context.config()?.signing_key()?.ok_or_else(|| {
            Failure::new(Exit::Usage, "certificates are not signed: no key is configured")
                .remedy("make one: lacuna audit key --create .lacuna/signing.key")
                .remedy("and name it in lacuna.toml: [evidence] signing_key_file")
        })?,
    };
    let document = documents::AuditKey {
        schema: documents::AUDIT_KEY,
        public_key: key.public(),
        public_key_pem: key.public().to_pem(),
        created: arguments.create.as_ref().map(|file| file.display().to_string()),
    };
    Answer::new(human::audit_key(&document), &document)
}
