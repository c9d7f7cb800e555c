//! Reads TOML tables key by key, collects what is wrong with its place, and expands `${NAME}`.

use std::cell::RefCell;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::error::{Place, Problem};
use super::suggest::suggestion;

/// A file that is being read, and the problems met so far.
pub(super) struct Document<'a> {
    pub file: &'a str,
    pub text: &'a str,
    pub environment: &'a Environment,
    pub problems: RefCell<Vec<Problem>>,
}

impl Document<'_> {
    /// Takes note of a problem at a byte of the file.
    pub fn problem(&self, byte: usize, problem: Problem) {
        let place = Place::of(self.file, self.text, byte);
        self.problems.borrow_mut().push(problem.at(place));
    }
}

/// Text of the file and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// With `${NAME}` replaced.
    pub value: String,
    /// As the file has it: what messages may show; nothing where a variable gave it.
    pub written: String,
    /// Where it begins, in bytes.
    pub byte: usize,
    /// The environment variable that gave it, instead of the file.
    variable: Option<&'static str>,
}

impl Text {
    /// The text that an environment variable gives in place of the file.
    pub fn given(variable: &'static str, value: &str) -> Self {
        let variable = Some(variable);
        Self { value: value.to_owned(), written: String::new(), byte: 0, variable }
    }

    /// Takes note of a problem with this text, where it came from.
    pub fn blame(&self, document: &Document<'_>, mut problem: Problem) {
        match self.variable {
            Some(variable) => {
                problem.message =
                    format!("{} in the environment variable `{variable}`", problem.message);
                document.problems.borrow_mut().push(problem);
            }
            None => document.problem(self.byte, problem),
        }
    }
}

/// A default, which no file and no variable gave.
impl From<&str> for Text {
    fn from(value: &str) -> Self {
        Self { value: value.to_owned(), written: value.to_owned(), byte: 0, variable: None }
    }
}

/// One table of the file. Keys are asked for by name; [`Table::finish`] tells of those that nobody
/// asked for.
pub(super) struct Table<'a> {
    pub document: &'a Document<'a>,
    /// The header as people write it: `[[dataset.identifier]]`.
    pub header: String,
    /// Where the table begins, in bytes.
    pub byte: usize,
    entries: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The file's outermost table.
    pub fn root(document: &'a Document<'a>, entries: &'a DeTable<'a>) -> Self {
        Self { document, header: String::new(), byte: 0, entries, asked: Vec::new() }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    /// Whether the key is present; counts as asking for it. Returns where its value begins.
    pub fn present(&mut self, key: &'static str) -> Option<usize> {
        self.get(key).map(|value| value.span().start)
    }

    /// The text at a key.
    pub fn text(&mut self, key: &'static str) -> Option<Text> {
        let value = self.get(key)?;
        self.as_text(key, value)
    }

    /// The text at a key that has to be there.
    pub fn required(&mut self, key: &'static str) -> Option<Text> {
        if !self.entries.contains_key(key) {
            self.asked.push(key);
            let header = &self.header;
            self.problem(self.byte, Problem::new(format!("`{key}` is missing in {header}")));
            return None;
        }
        self.text(key)
    }

    /// The texts of the array at a key; empty where it is absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<Text> {
        let Some(value) = self.get(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().filter_map(|item| self.as_text(key, item)).collect()
            }
            _ => {
                self.mismatch(key, value, "an array of texts");
                Vec::new()
            }
        }
    }

    /// `true` or `false` at a key.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.mismatch(key, value, "true or false");
        }
        flag
    }

    /// A whole number from 0 to 100 at a key.
    pub fn percent(&mut self, key: &'static str) -> Option<u8> {
        let value = self.get(key)?;
        let number = value.get_ref().as_integer().and_then(|integer| {
            u8::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|value| *value <= 100)
        });
        if number.is_none() {
            let message = format!("`{key}` is a whole number of percent, from 0 to 100");
            self.problem(value.span().start, Problem::new(message));
        }
        number
    }

    /// The table at a key.
    pub fn table(&mut self, key: &'static str) -> Option<Table<'a>> {
        let value = self.get(key)?;
        let header = self.header_of(key, false);
        match value.get_ref() {
            DeValue::Table(entries) => Some(self.child(header, value, entries)),
            _ => {
                self.mismatch(key, value, &format!("a table, written {header}"));
                None
            }
        }
    }

    /// The tables of the array at a key; empty where it is absent.
    pub fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.get(key) else { return Vec::new() };
        let header = self.header_of(key, true);
        let DeValue::Array(items) = value.get_ref() else {
            self.mismatch(key, value, &format!("an array of tables, each written {header}"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(entries) => tables.push(self.child(header.clone(), item, entries)),
                _ => self.mismatch(key, item, &format!("a table, written {header}")),
            }
        }
        tables
    }

    /// Tells of every key that nobody asked for.
    pub fn finish(self) {
        for key in self.entries.keys() {
            let name = key.get_ref().as_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = if self.header.is_empty() { "" } else { " in " };
            let shown = name.escape_debug();
            let unknown = format!("unknown key `{shown}`{place}{}", self.header);
            let problem = match suggestion(name, self.asked.iter().copied()) {
                Some(known) => Problem::new(unknown).remedy(format!("did you mean `{known}`?")),
                None => {
                    Problem::new(unknown).remedy(format!("known are: {}", self.asked.join(", ")))
                }
            };
            self.problem(key.span().start, problem);
        }
    }

    /// Takes note of a problem in this table's file.
    pub fn problem(&self, byte: usize, problem: Problem) {
        self.document.problem(byte, problem);
    }

    fn child(
        &self,
        header: String,
        value: &Spanned<DeValue<'_>>,
        entries: &'a DeTable<'a>,
    ) -> Table<'a> {
        let byte = value.span().start;
        Table { document: self.document, header, byte, entries, asked: Vec::new() }
    }

    fn header_of(&self, key: &str, repeated: bool) -> String {
        let outer = self.header.trim_matches(['[', ']']);
        let path = if outer.is_empty() { key.to_owned() } else { format!("{outer}.{key}") };
        if repeated { format!("[[{path}]]") } else { format!("[{path}]") }
    }

    fn mismatch(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        let problem = Problem::new(format!("`{key}` is {expected}, not a value of type {found}"));
        self.problem(value.span().start, problem);
    }

    fn as_text(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let byte = value.span().start;
        let Some(written) = value.get_ref().as_str() else {
            self.mismatch(key, value, "a text in quotes");
            return None;
        };
        match expand(written, self.document.environment) {
            Ok(value) => Some(Text { value, written: written.to_owned(), byte, variable: None }),
            Err(problem) => {
                self.problem(byte, problem);
                None
            }
        }
    }
}

/// The text with each `${NAME}` replaced by the variable's value; `$${` stands for `${` itself.
fn expand(written: &str, environment: &Environment) -> Result<String, Problem> {
    let mut expanded = String::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or_else(|| {
            Problem::new("`${` is not closed")
                .remedy("write `${NAME}`, or `$${` for the characters")
        })?;
        let value = environment.text(name)?.ok_or_else(|| {
            let name = name.escape_debug();
            Problem::new(format!("the environment variable `{name}` is not set"))
                .remedy("set it, or write the value instead")
        })?;
        expanded.push_str(before);
        expanded.push_str(value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded_once() {
        let environment = Environment::new([("A", "${B}"), ("B", "b")], "/");
        let expanded = |text| expand(text, &environment).map_err(|problem| problem.message);
        assert_eq!(expanded("x${A}y${B}"), Ok("x${B}yb".to_owned()));
        assert_eq!(expanded("$${A} $5 }{"), Ok("${A} $5 }{".to_owned()));
        assert!(expanded("${C}").is_err() && expanded("${A").is_err());
    }
}
