//! Tells of a wrong command line without repeating it: an argument may be somebody's identifier.

use std::error::Error as _;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::domain::register::NotAText;

/// The message for a wrong command line. clap's own would show the arguments.
pub(super) fn message(error: &clap::Error) -> String {
    let mut lines = vec![format!("error: {}", what(error))];
    for kind in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg] {
        if let Some(suggestions) = texts(error, kind) {
            lines.push(format!("  did you mean `{}`?", suggestions.join("`, `")));
        }
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        lines.push(format!("\n{}", usage.to_string().trim()));
    }
    lines.push("\nFor more, try `--help`.".to_owned());
    lines.join("\n")
}

fn what(error: &clap::Error) -> String {
    let argument = argument(error);
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let missing = texts(error, ContextKind::InvalidArg).unwrap_or_default().join(", ");
            format!("what is required is missing: {missing}")
        }
        ErrorKind::UnknownArgument => format!("unexpected argument{argument}"),
        ErrorKind::InvalidSubcommand => "no such command".to_owned(),
        ErrorKind::InvalidValue if has_no_value(error) => {
            format!("{} needs a value", argument.trim())
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let known = texts(error, ContextKind::ValidValue).unwrap_or_default();
            let known = match known.as_slice() {
                [] => String::new(),
                known => format!("; possible are: {}", known.join(", ")),
            };
            format!("the value of{argument} cannot be used{known}{}", why(error))
        }
        ErrorKind::ArgumentConflict => {
            let others = texts(error, ContextKind::PriorArg).unwrap_or_default();
            format!("{} cannot be used together with {}", argument.trim(), others.join(", "))
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text".to_owned(),
        _ => format!("the command line cannot be read: {}", error.kind()),
    }
}

/// Why a value cannot be used, where that is told without the value.
fn why(error: &clap::Error) -> String {
    let Some(source) = error.source() else { return String::new() };
    match source.downcast_ref::<NotAText>() {
        Some(problem) => format!(": it {problem}"),
        None if source.is::<jiff::Error>() => ": a day is written as 2026-05-04".to_owned(),
        None => String::new(),
    }
}

fn has_no_value(error: &clap::Error) -> bool {
    texts(error, ContextKind::InvalidValue).is_some_and(|values| values.concat().is_empty())
}

/// The argument that is wrong, where lacuna defines it; what is foreign is not shown.
fn argument(error: &clap::Error) -> String {
    let Some(names) = texts(error, ContextKind::InvalidArg) else { return String::new() };
    let is_known = |name: &String| error.kind() != ErrorKind::UnknownArgument || is_flag(name);
    match names.iter().find(|name| is_known(name)) {
        Some(name) => format!(" `{name}`"),
        None => " (not shown here, since it may be personal)".to_owned(),
    }
}

/// Whether it is a flag's name and nothing else: a value behind `=` would show.
fn is_flag(text: &str) -> bool {
    let name = text.trim_start_matches('-');
    text.starts_with('-')
        && name.len() <= 12
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

fn texts(error: &clap::Error, kind: ContextKind) -> Option<Vec<String>> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(vec![text.clone()]),
        ContextValue::Strings(texts) => Some(texts.clone()),
        ContextValue::StyledStr(text) => Some(vec![text.to_string()]),
        ContextValue::StyledStrs(texts) => Some(texts.iter().map(ToString::to_string).collect()),
        _ => None,
    }
}

/// The command of this name, below the whole command line.
pub(super) fn find<'a>(root: &'a Command, name: &str) -> Option<&'a Command> {
    root.get_subcommands().find(|command| command.get_name() == name)
}
