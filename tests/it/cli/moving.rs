//! `lacuna metastore`: an index is made, moved from one place to another, and checked.

mod postgres;

use std::path::Path;

use super::{Run, lacuna, lake, run};

/// Runs the program with another index than the configured one.
fn run_on(folder: &Path, metastore: &str, arguments: &[&str]) -> Run {
    let output = lacuna(folder)
        .args(arguments)
        .env("LACUNA_METASTORE_URL", metastore)
        .output()
        .expect("the program is started");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("it was not killed"),
    }
}

/// What is found of everybody.
fn found_on(folder: &Path, metastore: &str) -> serde_json::Value {
    let subjects =
        ["find", "--json", "u1", "user=u2", "user=u3", "user=u4", "email=bob@example.org"];
    let found = run_on(folder, metastore, &subjects);
    assert_eq!(found.code, 0, "{}", found.stderr);
    let mut found = found.json();
    found.as_array_mut().expect("a list").sort_by_key(ToString::to_string);
    found
}

const FOLDER: &str = "file:.lacuna/index";

#[test]
fn a_move_reads_well() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    std::fs::create_dir(path.join("other")).expect("made");
    let mut told = String::new();
    let mut tell = |metastore: &str, arguments: &[&str], code: i32| {
        let run = run_on(path, metastore, arguments);
        told += &format!("$ lacuna {}\n{}{}\n", arguments.join(" "), run.stdout, run.stderr);
        assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
    };
    tell(FOLDER, &["metastore", "check"], 0);
    tell("file:new", &["metastore", "create"], 0);
    tell("file:new", &["metastore", "copy", FOLDER], 0);
    tell("file:new", &["metastore", "copy", FOLDER], 0);
    tell(FOLDER, &["metastore", "copy", FOLDER], 2);
    tell(FOLDER, &["metastore", "copy", "file:nowhere"], 1);
    tell(FOLDER, &["metastore", "copy", "file:other"], 1);
    assert!(!path.join("other/catalogue.sqlite").exists(), "nothing is made where nothing is");
    tell("file:empty", &["metastore", "create"], 0);
    tell(FOLDER, &["metastore", "copy", "file:empty", "--replace"], 2);
    tell(FOLDER, &["metastore", "copy", FOLDER, "file:reviews/index"], 2);
    tell(FOLDER, &["metastore", "copy", FOLDER, "mysql://db/index"], 2);
    std::fs::remove_file(path.join("reviews/2026/b.json")).expect("removed");
    tell(FOLDER, &["index", "reviews"], 0);
    tell("file:new", &["metastore", "copy", FOLDER], 2);
    tell("file:new", &["metastore", "copy", FOLDER, "--replace"], 0);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&path.display().to_string(), "[folder]");
    settings.add_filter(r"checksum [0-9a-f]{32}", "checksum [sum]");
    settings.bind(|| insta::assert_snapshot!("moving", told));
    // Another key: what it finds in the index would be nothing.
    assert_eq!(run(path, &["init", "other"]).code, 0);
    let key = "other/.lacuna/digest.key";
    for (from, to) in [(FOLDER, "file:third"), ("file:third", FOLDER)] {
        let wrong = lacuna(path)
            .args(["metastore", "copy", from, to])
            .env("LACUNA_IDENTITY_KEY_FILE", key)
            .output()
            .expect("started");
        assert_eq!(wrong.status.code(), Some(if from == FOLDER { 2 } else { 1 }), "{from}");
    }
}
