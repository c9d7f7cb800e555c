//! Subjects from arguments, files and standard input. A value is never shown, only its place.

use std::io::Read as _;
use std::path::Path;

use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::config::subjects::Batch;
use crate::domain::identifier::Identifier;
use crate::domain::request::RequestedSubject;

use super::Context;

/// The subjects that were named, each once, numbered from 1.
///
/// # Errors
///
/// When one of them cannot be read; nothing is done then for the others either.
pub(super) fn read(
    context: &Context,
    config: &Config,
    arguments: &[String],
    file: Option<&Path>,
) -> Result<Vec<RequestedSubject>, Failure> {
    if config.datasets.is_empty() {
        return Err(Failure::new(Exit::Usage, "no dataset is configured")
            .remedy(format!("add a [[dataset]] to {}", config.file.display())));
    }
    let vocabulary = config.vocabulary();
    let mut batch = Batch::default();
    for (position, argument) in (1..).zip(arguments) {
        let subject = vocabulary.subject(argument).map_err(|problem| {
            Failure::new(Exit::Usage, format!("subject {position} cannot be used: {problem}"))
        })?;
        batch.add(subject);
    }
    if let Some(file) = file {
        batch.extend(read_file(context, &vocabulary, file)?);
    }
    if batch.is_empty() {
        return Err(Failure::new(Exit::Usage, "no subject is named"));
    }
    if batch.repeated > 0 {
        let repeated = batch.repeated;
        context.terminal.say(&format!("{repeated} subjects were named more than once"));
    }
    Ok(batch.numbered())
}

fn read_file(
    context: &Context,
    vocabulary: &crate::config::subjects::Vocabulary,
    file: &Path,
) -> Result<Batch, Failure> {
    let is_stdin = file == Path::new("-");
    let shown = if is_stdin { "standard input".into() } else { file.display().to_string() };
    let mut bytes = Vec::new();
    let read = if is_stdin {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        let path = context.environment.folder().join(file);
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(Exit::Usage, format!("{shown} cannot be read: {error}")))?;
    vocabulary.batch(&bytes).map_err(|rejected| {
        let lines: Vec<String> =
            rejected.iter().map(|line| format!("\n  {shown}, {line}")).collect();
        let count = match rejected.len() {
            1 => "1 line".to_owned(),
            several => format!("{several} lines"),
        };
        let message =
            format!("{count} of {shown} cannot be read; nothing was done{}", lines.concat());
        Failure::new(Exit::Usage, message).remedy("mend or remove these lines; nothing is guessed")
    })
}

/// Refuses a reference that holds an identifier of the request: it would be stored.
///
/// # Errors
///
/// When it does.
pub(super) fn check_reference(
    reference: &str,
    subjects: &[RequestedSubject],
) -> Result<(), Failure> {
    let holds = |identifier: &Identifier| identifier.stands_in(reference.as_bytes());
    if subjects.iter().flat_map(|subject| &subject.identifiers).any(holds) {
        return Err(Failure::new(Exit::Usage, "the reference of the request names a subject")
            .remedy("plans and reports keep the reference: use one without personal data"));
    }
    Ok(())
}
