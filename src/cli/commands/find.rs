//! `lacuna find SUBJECT...`: asks the index alone.

use crate::cli::args::Find;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};
use crate::domain::request::ErasureRequest;
use crate::erase::lookup::{self, Found};

use super::{Context, subjects};

pub(super) async fn run(context: &Context, arguments: &Find) -> Result<Answer, Failure> {
    let config = context.config()?;
    let named = &arguments.subject;
    let subjects = subjects::read(context, &config, named, arguments.subjects.as_deref())?;
    let metastore = context.metastore(&config).await?;
    if metastore.datasets().await?.is_empty() {
        context.terminal.warn("the index is empty; fill it with `lacuna index`");
    }
    let key = context.key(&config)?;
    let request = ErasureRequest { reference: "find".to_owned(), subjects };
    let (reserved, now) = (&config.plan.reserved, context.clock.now());
    let found = lookup::lookup(&request, &key, reserved, metastore.as_ref(), now).await?;
    let found = places(found);
    Answer::new(human::find(&request.subjects, &found), &found)
}

/// One entry a subject and object version, by subject, dataset and key.
fn places(found: Found) -> Vec<documents::Found> {
    let mut places = Vec::new();
    for (dataset, objects) in found.datasets_found {
        for version in objects.into_values().flatten() {
            for of_subject in version.rows {
                places.push(documents::Found {
                    subject: of_subject.ordinal,
                    dataset: dataset.clone(),
                    object: version.object.key.clone(),
                    version: version.object.version.clone(),
                    rows: of_subject.rows,
                });
            }
        }
    }
    places.sort_by_key(|place| place.subject);
    places
}
