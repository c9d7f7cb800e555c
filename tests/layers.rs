//! Holds the table of who may import whom: every arrow points down. Adding a line is a decision
//! about the design; `docs/architecture.md` draws the same picture.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A top module and the top modules that it may name.
const TABLE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("aws", &["clock"]),
    ("https", &["domain"]),
    ("format", &["domain"]),
    ("lake", &["domain", "clock", "aws"]),
    ("metastore", &["domain", "clock", "aws"]),
    ("scan", &["domain", "format", "lake"]),
    ("rewrite", &["domain", "format", "lake", "scan"]),
    ("ledger", &["domain", "clock", "lake"]),
    ("index", &["domain", "clock", "format", "lake", "metastore", "scan"]),
    ("erase", &["domain", "clock", "format", "lake", "metastore", "scan", "rewrite", "ledger"]),
    ("vacuum", &["domain", "clock", "format", "lake", "metastore", "scan", "rewrite", "ledger"]),
    ("config", &["domain"]),
    ("wire", &["domain", "clock", "aws", "format", "lake", "metastore", "ledger", "config"]),
    ("notify", &["domain", "aws", "https", "config", "wire", "erase"]),
    ("server", &["domain", "https", "config", "wire", "erase"]),
    ("cli", &["domain", "config", "wire", "index", "erase", "vacuum", "notify", "server"]),
];

#[test]
fn every_arrow_is_in_the_table() {
    let mut wrong = Vec::new();
    for (module, path) in sources() {
        let allowed = TABLE.iter().find(|(name, _)| *name == module).map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            wrong.push(format!("{}: `{module}` is not in the table", path.display()));
            continue;
        };
        let text = fs::read_to_string(&path).expect("a source file is readable");
        for named in modules_named_in(&text) {
            if named != module && is_module(&named) && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{}: `{module}` may not import `{named}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    for (position, (module, allowed)) in TABLE.iter().enumerate() {
        for name in *allowed {
            let below = TABLE.iter().position(|(other, _)| other == name);
            assert!(
                below.is_some_and(|below| below < position),
                "`{module}` may import `{name}`, which does not stand above it in the table"
            );
        }
    }
}

#[test]
fn an_arrow_is_seen_in_every_spelling() {
    let text = "use crate::lake::Lake; // crate::cli\nuse crate::{index, erase::{executor, plan}};\n\
        fn f() { crate::ledger::open(\"crate::vacuum\") }\n#[cfg(test)]\nmod tests { use crate::wire; }";
    let expected = ["erase", "index", "lake", "ledger"].map(String::from);
    assert_eq!(modules_named_in(text), BTreeSet::from(expected));
}

fn is_module(name: &str) -> bool {
    TABLE.iter().any(|(module, _)| *module == name)
}

/// Every source file with the top module it belongs to; the roots of library and command name no arrow.
fn sources() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a source folder is readable") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).ok()?.iter().next()?.to_str()?;
        Some(first.trim_end_matches(".rs").to_owned())
    };
    files
        .into_iter()
        .filter_map(|path| Some((module(&path)?, path)))
        .filter(|(module, path)| {
            !matches!(module.as_str(), "lib" | "main") && !path.ends_with("tests.rs")
        })
        .collect()
}

/// The names that follow `crate::` outside comments, strings and unit tests.
fn modules_named_in(text: &str) -> BTreeSet<String> {
    let code = without_comments_and_strings(text.split("#[cfg(test)]\nmod ").next().unwrap_or(""));
    let mut names = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(names_in_group(group)),
            None => names.extend(first_name(rest)),
        }
    }
    names
}

fn first_name(text: &str) -> Option<String> {
    let end = text.find(|at: char| !at.is_alphanumeric() && at != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first name of each item of a `use crate::{…}` group.
fn names_in_group(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut at_item_start) = (0, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_item_start = true,
            _ if character.is_whitespace() => {}
            _ if at_item_start => {
                names.extend(first_name(&group[at..]));
                at_item_start = false;
            }
            _ => {}
        }
    }
    names
}

fn without_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = ' ';
        for (at, character) in line.char_indices() {
            if !in_string && line[at..].starts_with("//") {
                break;
            }
            if character == '"' && previous != '\\' && previous != '\'' {
                in_string = !in_string;
            } else if !in_string {
                code.push(character);
            }
            previous = character;
        }
        code.push('\n');
    }
    code
}
