//! `lacuna completions SHELL`.

use clap::CommandFactory as _;

use crate::cli::args::{Arguments, Completions};
use crate::cli::failure::Failure;
use crate::cli::view::{Answer, documents};

pub(super) fn run(arguments: &Completions) -> Result<Answer, Failure> {
    let mut bytes = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "lacuna", &mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let document = documents::Text { schema: documents::TEXT, text: text.clone() };
    Answer::new(text, &document)
}
