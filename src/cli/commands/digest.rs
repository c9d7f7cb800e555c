//! `lacuna digest SUBJECT`.

use crate::cli::args::Digest;
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents, human};

use super::{Context, subjects};

pub(super) fn run(context: &Context, arguments: &Digest) -> Result<Answer, Failure> {
    let config = context.config()?;
    let key = context.key(&config)?;
    let named = std::slice::from_ref(&arguments.subject);
    let subjects = subjects::read(context, &config, named, None)?;
    let identifiers = subjects.iter().flat_map(|subject| &subject.identifiers);
    let digests = identifiers
        .map(|identifier| documents::NamedDigest {
            namespace: identifier.namespace().clone(),
            digest: identifier.digest(&key),
        })
        .collect();
    let document = documents::Digest { schema: documents::DIGEST, digests };
    Answer::new(human::digest(&document), &document)
}
