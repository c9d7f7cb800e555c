//! `lacuna man [COMMAND]`.

use clap::CommandFactory as _;

use crate::cli::args::{Arguments, Man};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::usage;
use crate::cli::view::{Answer, documents};

pub(super) fn run(arguments: &Man) -> Result<Answer, Failure> {
    let mut root = Arguments::command();
    root.build();
    let command = match &arguments.command {
        None => root,
        Some(name) => usage::find(&root, name).cloned().ok_or_else(|| {
            Failure::new(Exit::Usage, "no such command").remedy("`lacuna help` lists them")
        })?,
    };
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command).render(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let document = documents::Text { schema: documents::TEXT, text: text.clone() };
    Answer::new(text, &document)
}
