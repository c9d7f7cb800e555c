//! Independent readers of Parquet: pyarrow and DuckDB, in the environment that `scripts/services`
//! installs.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The Python that has pyarrow and DuckDB.
#[expect(clippy::disallowed_methods, reason = "tests learn from the environment what is running")]
fn interpreter() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var_os("LACUNA_PYTHON")
        .map_or_else(|| root.join("target/services/venv/bin/python"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: run `scripts/services start` and `eval \"$(scripts/services env)\"`",
        path.display()
    );
    path
}

/// Runs a script of `tests/it/python/`, which has to succeed; answers with what it printed.
pub fn run(script: &str, arguments: &[&OsStr]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python").join(script);
    let output = Command::new(interpreter())
        .arg(script)
        .args(arguments)
        .output()
        .expect("Python is started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the scripts print text")
}

/// The rows of Parquet files, file by file, as both engines read them.
pub fn rows(files: &[PathBuf]) -> Vec<Vec<Value>> {
    let files: Vec<&OsStr> = files.iter().map(|file| file.as_os_str()).collect();
    let text = run("rows.py", &files);
    text.lines().map(|line| serde_json::from_str(line).expect("a list of rows")).collect()
}
