//! The command line as people and scripts meet it: what it prints, where, and how it ends.

mod audit;
mod browser;
mod doctor;
mod flow;
mod help;
mod init;
mod mail;
mod many;
mod moving;
mod oidc;
mod openapi;
mod preview;
mod requests;
mod serving;
mod usage;
mod webhook;

use std::path::Path;

use assert_cmd::Command;

/// An identifier that must never be printed.
pub const CANARY: &str = "canary-ann@example.org";

/// The program in a folder, without any setting of whoever runs the tests.
pub fn lacuna(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lacuna"));
    command.current_dir(folder).env("COLUMNS", "100").env("NO_COLOR", "1");
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("LACUNA_")) {
        command.env_remove(name);
    }
    command
}

/// What a run printed and how it ended.
pub struct Run {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl Run {
    /// Standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).expect("one JSON document")
    }
}

/// Runs the program in a folder.
pub fn run(folder: &Path, arguments: &[&str]) -> Run {
    run_with(folder, arguments, "")
}

/// Runs the program with text on its standard input.
pub fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Run {
    let output =
        lacuna(folder).args(arguments).write_stdin(input).output().expect("the program is started");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("it was not killed"),
    }
}

/// A folder with a key, a small lake of JSON lines and CSV, and a configuration of both.
pub fn lake() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    assert_eq!(run(path, &["init"]).code, 0);
    let write = |name: &str, text: &str| {
        let file = path.join(name);
        std::fs::create_dir_all(file.parent().expect("below the folder")).expect("made");
        std::fs::write(file, text).expect("written");
    };
    write("lacuna.toml", CONFIGURATION);
    write(
        "reviews/2026/a.json",
        "{\"user_id\":\"u1\",\"contact\":{\"email\":\"ann@example.org\"},\"text\":\"one\"}\n\
         {\"user_id\":\"u2\",\"contact\":{\"email\":\"bob@example.org\"},\"text\":\"two\"}\n\
         {\"user_id\":\"u1\",\"contact\":{\"email\":\"ann@example.org\"},\"text\":\"three\"}\n",
    );
    write("reviews/2026/b.json", "{\"user_id\":\"u3\",\"text\":\"four\"}\n");
    write("clicks/1.csv", "user,page\nu1,/start\nu4,/end\n");
    folder
}

const CONFIGURATION: &str = r#"
[metastore]
url = "file:.lacuna/index"
[ledger]
location = ".lacuna/ledger"
[identity]
key_file = ".lacuna/digest.key"
[evidence]
signing_key_file = ".lacuna/signing.key"
[[dataset]]
name = "reviews"
location = "reviews"
include = ["**/*.json"]
[[dataset.identifier]]
namespace = "user"
field = "user_id"
type = "string"
[[dataset.identifier]]
namespace = "email"
field = "contact.email"
type = "email"
[[dataset]]
name = "clicks"
location = "clicks"
format = "csv"
[[dataset.identifier]]
namespace = "user"
field = "user"
type = "string"
"#;
