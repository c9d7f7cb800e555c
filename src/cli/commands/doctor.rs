//! `lacuna doctor [DATASET]...`: examines what the configuration names, and tells what to do.

use crate::cli::args::Doctor;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, findings};
use crate::config::{Config, KeySource};
use crate::domain::finding::{Check, Finding, Severity};
use crate::domain::identifier::DigestKey;
use crate::domain::observe::Event;
use crate::wire::{Examined, Examiner, PlaceKind};

use super::Context;

pub(super) async fn run(context: &Context, arguments: &Doctor) -> Result<Answer, Failure> {
    let config = context.config()?;
    let datasets = config.select(&arguments.datasets)?;
    let observer = context.observer();
    let phase = Event::Phase { name: "examining", dataset: None, objects: None, size_bytes: None };
    observer.event(phase);
    let mut examiner = Examiner::new(&config, context.clock.clone(), !arguments.read_only);
    let mut places = Vec::new();
    for dataset in &datasets {
        if context.stop.is_requested() {
            break;
        }
        places.extend(examiner.dataset(dataset).await);
    }
    let (key, found) = key(context, &config);
    if !context.stop.is_requested() {
        places.extend(examiner.ledger().await);
        places.push(examiner.metastore(key.as_ref()).await);
        places.push(found);
    }
    observer.event(Event::PhaseEnded);
    let exit = match context.stop.is_requested() {
        true => Exit::Interrupted,
        false => exit_of(&places),
    };
    let document = documents::Doctor {
        schema: documents::DOCTOR,
        configuration: config.file.display().to_string(),
        is_read_only: arguments.read_only,
        counts: documents::FindingCounts::of(&places),
        places,
    };
    Ok(Answer::new(findings::doctor(&document), &document)?.exit(exit))
}

/// The digest key, and whether it can be read.
fn key(context: &Context, config: &Config) -> (Option<DigestKey>, Examined) {
    let location = match &config.key {
        KeySource::File(path) => path.display().to_string(),
        KeySource::Variable(name) => format!("${name}"),
    };
    let place = |finding| Examined::new(PlaceKind::Key, location, vec![finding]);
    match config.digest_key(&context.environment) {
        Ok(key) => {
            let message = match &config.key {
                KeySource::File(_) => "the digest key can be read, and by nobody else",
                KeySource::Variable(_) => "the digest key can be read",
            };
            (Some(key), place(Finding::ok(Check::DigestKey, message)))
        }
        Err(error) => (None, place(Finding::problem(Check::DigestKey, error.to_string()))),
    }
}

/// What an examination means to scripts: a problem before a permission that is missing, and that
/// before a check that broke off.
fn exit_of(places: &[Examined]) -> Exit {
    let all = || places.iter().flat_map(|place| &place.findings);
    let is_problem = |finding: &&Finding| finding.severity == Severity::Problem;
    if all().filter(is_problem).any(|finding| finding.permission.is_none()) {
        Exit::Failed
    } else if all().any(|finding| finding.permission.is_some()) {
        Exit::Denied
    } else if all().any(|finding| finding.is_incomplete) {
        Exit::Incomplete
    } else {
        Exit::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_pressing_finding_decides() {
        let problem = Finding::problem(Check::FreeDisk, "full");
        let denied = Finding::unknown(Check::Tags, "not shown").lacking("s3:GetObjectTagging", "a");
        let broken =
            Finding { is_incomplete: true, ..Finding::unknown(Check::Listing, "broke off") };
        let unknown = Finding::unknown(Check::Excess, "cannot be seen");
        let warning = Finding::warning(Check::Versioning, "suspended");
        let exit = |findings: &[&Finding]| {
            let findings = findings.iter().map(|finding| (*finding).clone()).collect();
            exit_of(&[Examined::new(PlaceKind::Bucket, "s3://b", findings)])
        };
        assert_eq!(exit(&[&problem, &denied, &broken]), Exit::Failed);
        assert_eq!(exit(&[&denied, &broken, &unknown]), Exit::Denied);
        assert_eq!(exit(&[&broken, &warning]), Exit::Incomplete);
        assert_eq!(exit(&[&unknown, &warning]), Exit::Done);
    }
}
