//! Holds what the documentation says against what there is: tests that it names, pages that it links
//! to, commands and flags that it shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod iam;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).expect("a folder of pages");
    let docs = docs.map(|entry| entry.expect("an entry").path());
    docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain([root().join("README.md")])
        .map(|path| (path.clone(), fs::read_to_string(path).expect("a page")))
        .collect()
}

/// Every file of Rust below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("one").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The names of all functions in the sources and tests.
fn functions() -> BTreeSet<String> {
    let files = ["src", "tests"].into_iter().flat_map(|folder| sources(&root().join(folder)));
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source");
        for (at, found) in text.match_indices("fn ") {
            let name =
                text[at + found.len()..].split(|it: char| !it.is_alphanumeric() && it != '_');
            names.extend(name.take(1).map(str::to_owned));
        }
    }
    names
}

/// What stands between backticks outside of blocks of code.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn every_test_that_the_invariants_name_exists() {
    let text = fs::read_to_string(root().join("docs/invariants.md")).expect("a page");
    let functions = functions();
    let is_name = |name: &&str| {
        name.contains('_')
            && name.bytes().all(|it| it.is_ascii_lowercase() || it == b'_' || it.is_ascii_digit())
    };
    let named: Vec<&str> = quoted(&text).into_iter().filter(is_name).collect();
    assert!(named.len() > 50, "{} tests are named", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !functions.contains(**name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}

#[test]
fn every_link_leads_somewhere() {
    for (page, text) in pages() {
        for (at, found) in text.match_indices("](") {
            let target = text[at + found.len()..].split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let path = page.parent().expect("a folder").join(file);
            assert!(path.exists(), "{}: {target} leads nowhere", page.display());
        }
    }
}

/// The command lines that a page shows at a prompt, continued lines joined.
fn shown_commands(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.filter(|line| line.starts_with("lacuna ")).map(str::to_owned).collect()
}

#[test]
fn every_command_and_flag_that_is_shown_exists() {
    let mut seen = 0;
    for (page, text) in pages() {
        for command in shown_commands(&text) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let before_comment = words.iter().take_while(|word| !matches!(**word, "#" | "|" | ">"));
            let words: Vec<&str> = before_comment.copied().collect();
            // Of these commands the second word is a command as well, and not an argument.
            let depth = if matches!(words[..], ["request" | "audit", ..]) { 2 } else { 1 };
            let subcommands: Vec<&str> =
                words.iter().take_while(|word| is_subcommand(word)).take(depth).copied().collect();
            let help = Command::new(env!("CARGO_BIN_EXE_lacuna"))
                .args(&subcommands)
                .arg("--help")
                .output()
                .expect("the program is started");
            assert!(help.status.success(), "{}: {command}", page.display());
            let help = String::from_utf8_lossy(&help.stdout).into_owned();
            for flag in words.iter().filter(|word| word.starts_with("--")) {
                let name = flag.split('=').next().unwrap_or_default();
                assert!(help.contains(name), "{}: `{command}` has no {name}", page.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} commands are shown");
}

fn is_subcommand(word: &str) -> bool {
    word.bytes().all(|it| it.is_ascii_lowercase())
}
