//! `lacuna metastore create`, `migrate`, `copy FROM [TO]` and `check`.

use crate::cli::args::{Metastore, MetastoreCommand, MetastoreCopy};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::index::check::{CheckTools, check};
use crate::index::copy::{CopyError, CopyLimits, CopyTools, copy};
use crate::wire;

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Metastore) -> Result<Answer, Failure> {
    match &arguments.command {
        MetastoreCommand::Create => run_create(context).await,
        MetastoreCommand::Migrate => run_migrate(context).await,
        MetastoreCommand::Copy(arguments) => run_copy(context, arguments).await,
        MetastoreCommand::Check => run_check(context).await,
    }
}

async fn run_create(context: &Context) -> Result<Answer, Failure> {
    let config = context.config()?;
    let was_changed = wire::create_metastore(&config.metastore).await?;
    prepared(config.metastore.to_string(), was_changed)
}

async fn run_migrate(context: &Context) -> Result<Answer, Failure> {
    let config = context.config()?;
    let was_changed = wire::migrate_metastore(&config.metastore).await?;
    prepared(config.metastore.to_string(), was_changed)
}

fn prepared(metastore: String, was_changed: bool) -> Result<Answer, Failure> {
    let document = documents::MetastorePrepared {
        schema: documents::METASTORE_PREPARED,
        metastore,
        was_changed,
    };
    Answer::new(human::metastore_prepared(&document), &document)
}

async fn run_copy(context: &Context, arguments: &MetastoreCopy) -> Result<Answer, Failure> {
    let config = context.config()?;
    let from = config.metastore_at(&arguments.from, &context.environment)?;
    let to = match &arguments.to {
        Some(to) => config.metastore_at(to, &context.environment)?,
        None => config.metastore.clone(),
    };
    if from == to {
        return Err(Failure::new(Exit::Usage, "both metastores are one")
            .remedy("name another one as TO, or as `metastore.url`"));
    }
    let key = context.key(&config)?;
    let tools = CopyTools {
        from: wire::existing_metastore(&from, &key).await?,
        to: wire::metastore_at(&config, &to, &key).await?,
        observer: context.observer(),
        stop: context.stop.clone(),
        limits: CopyLimits::default(),
        replaces: arguments.replace,
    };
    let report = copy(&tools).await.map_err(refused)?;
    let exit = match (report.was_interrupted, report.is_equal()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Done,
        (false, false) => Exit::Failed,
    };
    let document = documents::MetastoreCopy {
        schema: documents::METASTORE_COPY,
        from: from.to_string(),
        to: to.to_string(),
        is_equal: report.is_equal(),
        report,
    };
    Ok(Answer::new(human::metastore_copy(&document), &document)?.exit(exit))
}

fn refused(error: CopyError) -> Failure {
    let remedy = match &error {
        CopyError::Empty => Some("name another, or fill it with `lacuna index`".to_owned()),
        CopyError::Foreign { .. } => {
            Some("name an empty one, or let the copy remove them with --replace".to_owned())
        }
        CopyError::Damaged { dataset, .. } => {
            Some(format!("run `lacuna index --full {dataset}` on it first"))
        }
        _ => None,
    };
    let failure = Failure::from(error);
    match remedy {
        Some(remedy) => failure.remedy(remedy),
        None => failure,
    }
}

async fn run_check(context: &Context) -> Result<Answer, Failure> {
    let config = context.config()?;
    let tools = CheckTools {
        metastore: wire::existing_metastore(&config.metastore, &context.key(&config)?).await?,
        observer: context.observer(),
        stop: context.stop.clone(),
    };
    let report = check(&tools).await?;
    let exit = match (report.is_sound(), report.was_interrupted) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Interrupted,
        (true, false) => Exit::Done,
    };
    let document = documents::MetastoreCheck {
        schema: documents::METASTORE_CHECK,
        metastore: config.metastore.to_string(),
        is_sound: report.is_sound(),
        report,
    };
    Ok(Answer::new(human::metastore_check(&document), &document)?.exit(exit))
}
