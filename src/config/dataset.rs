//! The `[[dataset]]` tables, each checked alone and all of them against each other.

use std::path::Path;

use globset::GlobBuilder;

use crate::domain::dataset::{
    CsvDialect, Dataset, DatasetName, EraseAction, ErasePolicy, FormatName, Reading,
    SupersededPolicy,
};
use crate::domain::field::{FieldPath, IdentifierField};
use crate::domain::identifier::{IdentifierType, Namespace};

use super::error::Problem;
use super::location;
use super::suggest::suggestion;
use super::table::{Table, Text};

/// Every dataset of the file, with the byte where its table begins.
pub(super) fn read_all(root: &mut Table<'_>, base: &Path) -> Vec<(Dataset, usize)> {
    let mut datasets = Vec::new();
    for mut table in root.tables("dataset") {
        let byte = table.byte;
        let dataset = read(&mut table, base);
        table.finish();
        datasets.extend(dataset.map(|dataset| (dataset, byte)));
    }
    check_names(root, &datasets);
    check_namespaces(root, &datasets);
    check_places(root, &datasets);
    datasets
}

fn read(table: &mut Table<'_>, base: &Path) -> Option<Dataset> {
    let name = table.required("name").and_then(|text| checked(table, &text, tame(&text)));
    let location = table.required("location");
    let location =
        location.and_then(|text| checked(table, &text, location::parse(&text.value, base)));
    let include = globs(table, "include");
    let exclude = globs(table, "exclude");
    let reading = Reading { format: format(table), csv: csv(table) };
    let identifiers = identifiers(table);
    let erase = erase(table, &identifiers);
    Some(Dataset {
        name: DatasetName::new(name?),
        location: location?,
        include,
        exclude,
        reading,
        identifiers,
        erase,
    })
}

/// The value, or a note of what is wrong with the text it came from.
fn checked<T>(table: &Table<'_>, text: &Text, value: Result<T, Problem>) -> Option<T> {
    value.map_err(|problem| text.blame(table.document, problem)).ok()
}

/// A name that can stand in a path, a URL and a terminal.
fn tame(text: &Text) -> Result<String, Problem> {
    let name = &text.value;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let begins_well = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins_well && name.len() <= 64 && name.bytes().all(inner) {
        return Ok(name.clone());
    }
    let shown = text.written.escape_debug();
    Err(Problem::new(format!("`{shown}` is no name for a dataset"))
        .remedy("use up to 64 letters, digits, `_`, `-` and `.`, beginning with a letter or digit"))
}

fn globs(table: &mut Table<'_>, key: &'static str) -> Vec<String> {
    let texts = table.texts(key);
    let mut globs = Vec::new();
    for text in texts {
        match GlobBuilder::new(&text.value).literal_separator(true).build() {
            Ok(_) => globs.push(text.value),
            Err(error) => {
                let shown = text.written.escape_debug();
                let what = error.kind();
                text.blame(
                    table.document,
                    Problem::new(format!("`{shown}` in `{key}` is not a glob: {what}")),
                );
            }
        }
    }
    globs
}

/// The value that one of these words stands for.
fn word<T: Copy>(table: &Table<'_>, text: &Text, what: &str, words: &[(&str, T)]) -> Option<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
        return Some(*value);
    }
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let problem = Problem::new(format!("unknown {what} `{}`", text.written.escape_debug()));
    let problem = match suggestion(&text.value, known.iter().copied()) {
        Some(close) => problem.remedy(format!("did you mean `{close}`?")),
        None => problem.remedy(format!("known are: {}", known.join(", "))),
    };
    text.blame(table.document, problem);
    None
}

fn format(table: &mut Table<'_>) -> Option<FormatName> {
    let text = table.text("format")?;
    let words = [FormatName::Jsonl, FormatName::Csv, FormatName::Parquet];
    let words = words.map(|format| (format.as_str(), format));
    if let later @ ("avro" | "orc") = text.value.as_str() {
        let problem = Problem::new(format!("the format `{later}` is not supported yet"));
        text.blame(table.document, problem.remedy("known are: jsonl, csv, parquet"));
        return None;
    }
    word(table, &text, "format", &words)
}

fn csv(table: &mut Table<'_>) -> CsvDialect {
    let mut dialect = CsvDialect::default();
    let Some(mut table) = table.table("csv") else { return dialect };
    dialect.delimiter = byte(&mut table, "delimiter");
    dialect.quote = byte(&mut table, "quote").unwrap_or(dialect.quote);
    dialect.escape = byte(&mut table, "escape");
    dialect.header = table.flag("header").unwrap_or(dialect.header);
    if dialect.delimiter == Some(dialect.quote) || dialect.delimiter.is_some_and(is_line_ending) {
        let problem = Problem::new("the delimiter is also the quote or a line ending");
        table.problem(table.byte, problem.remedy("choose another delimiter in [dataset.csv]"));
    }
    table.finish();
    dialect
}

fn is_line_ending(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn byte(table: &mut Table<'_>, key: &'static str) -> Option<u8> {
    let text = table.text(key)?;
    let value = match text.value.as_bytes() {
        [byte] if byte.is_ascii() => Ok(*byte),
        _ => Err(Problem::new(format!("`{key}` is one ASCII character"))),
    };
    checked(table, &text, value)
}

fn identifiers(table: &mut Table<'_>) -> Vec<IdentifierField> {
    let tables = table.tables("identifier");
    if tables.is_empty() {
        let problem = Problem::new("the dataset names no identifier")
            .remedy("add [[dataset.identifier]] with namespace, field and type");
        table.problem(table.byte, problem);
    }
    let mut fields: Vec<IdentifierField> = Vec::new();
    for mut table in tables {
        let field = identifier(&mut table);
        let byte = table.byte;
        if let Some(field) = &field
            && fields
                .iter()
                .any(|known| known.path == field.path && known.namespace == field.namespace)
        {
            let path = &field.path;
            table.problem(byte, Problem::new(format!("the field `{path}` is named twice")));
        }
        table.finish();
        fields.extend(field);
    }
    fields
}

fn identifier(table: &mut Table<'_>) -> Option<IdentifierField> {
    let namespace = table.required("namespace");
    let namespace = namespace.and_then(|text| checked(table, &text, namespace_name(&text)));
    let mut elsewhere = false;
    for selector in ["key", "tag", "sidecar"] {
        if let Some(byte) = table.present(selector) {
            elsewhere = true;
            let problem =
                Problem::new(format!("identifiers in `{selector}` are not supported yet"));
            table.problem(byte, problem.remedy("name a `field` of the records instead"));
        }
    }
    let path = if elsewhere { table.text("field") } else { table.required("field") };
    let path = path.and_then(|text| checked(table, &text, field_path(&text)));
    let kind = table.text("type").map_or(Some(IdentifierType::String), |text| {
        let words = [
            ("string", IdentifierType::String),
            ("integer", IdentifierType::Integer),
            ("uuid", IdentifierType::Uuid),
            ("email", IdentifierType::Email),
        ];
        word(table, &text, "type of identifier", &words)
    });
    Some(IdentifierField { namespace: namespace?, path: path?, kind: kind? })
}

fn namespace_name(text: &Text) -> Result<Namespace, Problem> {
    let shown = text.written.escape_debug();
    if !super::subjects::is_word(&text.value) || text.value.len() > 64 {
        return Err(Problem::new(format!("`{shown}` is no name for a namespace"))
            .remedy("use up to 64 letters, digits, `_` and `-`, beginning with a letter"));
    }
    if text.value == super::subjects::SUBJECT_COLUMN {
        return Err(Problem::new(format!("`{shown}` cannot name a namespace"))
            .remedy("it heads the column of subjects in batch files; choose another name"));
    }
    Ok(Namespace::new(text.value.as_str()))
}

fn field_path(text: &Text) -> Result<FieldPath, Problem> {
    text.value
        .parse()
        .map_err(|error: crate::domain::field::NotAFieldPath| Problem::new(error.to_string()))
}

fn field_paths(table: &mut Table<'_>, key: &'static str) -> Vec<(FieldPath, Text)> {
    let mut paths = Vec::new();
    for text in table.texts(key) {
        if let Some(path) = checked(table, &text, field_path(&text)) {
            paths.push((path, text));
        }
    }
    paths
}

fn erase(table: &mut Table<'_>, identifiers: &[IdentifierField]) -> ErasePolicy {
    let Some(mut table) = table.table("erase") else { return ErasePolicy::default() };
    let keep = field_paths(&mut table, "keep");
    let fields_at = table.present("fields").unwrap_or(table.byte);
    let fields = field_paths(&mut table, "fields");
    let action = table.text("action");
    let superseded = table.text("superseded");
    let superseded = superseded.and_then(|text| {
        let words = [
            ("matching", SupersededPolicy::Matching),
            ("all", SupersededPolicy::All),
            ("keep", SupersededPolicy::Keep),
        ];
        word(&table, &text, "policy for superseded versions", &words)
    });
    let action = match action.as_ref().map(|text| text.value.as_str()) {
        None | Some("blank") => blank(&table, keep, &fields, identifiers),
        Some("redact") => redact(&table, (fields, fields_at), &keep, identifiers),
        Some(_) => action.and_then(|text| unknown_action(&table, &text)),
    };
    table.finish();
    ErasePolicy { action: action.unwrap_or_default(), superseded: superseded.unwrap_or_default() }
}

fn unknown_action(table: &Table<'_>, text: &Text) -> Option<EraseAction> {
    if text.value == "delete" {
        let problem = Problem::new("`action = \"delete\"` is not supported yet");
        text.blame(table.document, problem.remedy("use \"blank\" or \"redact\""));
        return None;
    }
    word(table, text, "action", &[("blank", ()), ("redact", ())]);
    None
}

fn blank(
    table: &Table<'_>,
    keep: Vec<(FieldPath, Text)>,
    fields: &[(FieldPath, Text)],
    identifiers: &[IdentifierField],
) -> Option<EraseAction> {
    if let Some((_, text)) = fields.first() {
        let problem = Problem::new("`fields` belongs to `action = \"redact\"`");
        text.blame(table.document, problem.remedy("set the action, or use `keep`"));
    }
    for (path, text) in &keep {
        // Either direction would let the identifier stay, or leave unclear whether it does.
        let held = identifiers
            .iter()
            .find(|field| path.contains(&field.path) || field.path.contains(path));
        if let Some(field) = held {
            let message =
                format!("`keep` holds `{path}`, where the identifier `{}` stands", field.path);
            let problem = Problem::new(message)
                .remedy("a blank row must not name its subject: take it out of `keep`");
            text.blame(table.document, problem);
        }
    }
    Some(EraseAction::Blank { keep: keep.into_iter().map(|(path, _)| path).collect() })
}

fn redact(
    table: &Table<'_>,
    (fields, fields_at): (Vec<(FieldPath, Text)>, usize),
    keep: &[(FieldPath, Text)],
    identifiers: &[IdentifierField],
) -> Option<EraseAction> {
    if let Some((_, text)) = keep.first() {
        let problem = Problem::new("`keep` belongs to `action = \"blank\"`");
        text.blame(table.document, problem.remedy("set the action, or use `fields`"));
    }
    for identifier in identifiers {
        let path = &identifier.path;
        if fields.iter().all(|(field, _)| !field.contains(path)) {
            let message = format!("`fields` lacks `{path}`, where an identifier stands");
            let problem = Problem::new(message).remedy(
                "add it: a redacted row that still names its subject would be found, and erased, \
                 again and again",
            );
            table.problem(fields_at, problem);
        }
    }
    Some(EraseAction::Redact { fields: fields.into_iter().map(|(path, _)| path).collect() })
}

fn check_names(root: &Table<'_>, datasets: &[(Dataset, usize)]) {
    for (position, (dataset, byte)) in datasets.iter().enumerate() {
        let name = &dataset.name;
        if datasets[..position].iter().any(|(earlier, _)| earlier.name == *name) {
            let problem = Problem::new(format!("two datasets are named `{name}`"));
            root.problem(*byte, problem.remedy("rename one of them"));
        }
    }
}

fn check_namespaces(root: &Table<'_>, datasets: &[(Dataset, usize)]) {
    let mut seen: Vec<&IdentifierField> = Vec::new();
    for (dataset, byte) in datasets {
        for field in &dataset.identifiers {
            match seen.iter().find(|known| known.namespace == field.namespace) {
                Some(known) if known.kind != field.kind => {
                    let (name, namespace) = (&dataset.name, &field.namespace);
                    let message =
                        format!("namespace `{namespace}` has another type in dataset `{name}`");
                    let problem = Problem::new(message).remedy(
                        "equal values of one namespace mean one person, so it has one type \
                         everywhere",
                    );
                    root.problem(*byte, problem);
                }
                Some(_) => {}
                None => seen.push(field),
            }
        }
    }
}

/// Where one location lies within another, the index gives an object to the dataset that stands
/// first; it cannot do so where only a symbolic link leads from one to the other.
fn check_places(root: &Table<'_>, datasets: &[(Dataset, usize)]) {
    for (position, (dataset, byte)) in datasets.iter().enumerate() {
        let alias = datasets[..position]
            .iter()
            .find(|(earlier, _)| location::is_alias(&earlier.location, &dataset.location));
        if let Some((earlier, _)) = alias {
            let message = format!(
                "datasets `{}` and `{}` lie in one place under two names",
                earlier.name, dataset.name
            );
            let problem = Problem::new(message)
                .remedy("a symbolic link leads there: write the folder it leads to instead");
            root.problem(*byte, problem);
        }
    }
}
