//! `lacuna preview`: rows as an approver may see them.

use std::path::Path;

use serde_json::Value;

use super::flow::document;
use super::{CANARY, Run, lake, run};

/// A lake with a canary in one row, indexed, and the id of a plan for `u1`, who has rows in two objects.
fn planned() -> (tempfile::TempDir, String) {
    let folder = lake();
    let path = folder.path();
    let line =
        format!("{{\"user_id\":\"u1\",\"contact\":{{\"email\":\"{CANARY}\"}},\"ages\":[7]}}\n");
    let file = path.join("reviews/2026/a.json");
    let text = std::fs::read_to_string(&file).expect("an object") + &line;
    std::fs::write(&file, text).expect("written");
    assert_eq!(run(path, &["index"]).code, 0);
    let plan = run(path, &["plan", "--json", "--request", "R-1", "--subject", "u1"]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    (folder, id)
}

fn preview(folder: &Path, id: &str, more: &[&str]) -> Run {
    run(folder, &[&["preview", id], more].concat())
}

/// The notes on who looked.
fn notes(folder: &Path, id: &str) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder.join(".lacuna/ledger/previews").join(id)) else {
        return Vec::new();
    };
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a note");
        serde_json::from_slice(&bytes).expect("JSON")
    };
    entries.map(read).collect()
}

#[test]
fn rows_are_shown_masked_and_who_looked_is_noted() {
    let (folder, id) = planned();
    let path = folder.path();
    let mut told = String::new();
    for object in ["reviews:2026/a.json", "1.csv"] {
        let shown = preview(path, &id, &[object, "--by", "officer"]);
        assert_eq!(shown.code, 0, "{}", shown.stderr);
        assert!(
            !shown.stdout.contains(CANARY) && !shown.stdout.contains("ann"),
            "{}",
            shown.stdout
        );
        told += &shown.stdout;
    }
    insta::assert_snapshot!("preview", told);
    let first = preview(path, &id, &["1.csv", "--by", "officer", "--rows", "1", "--json"]);
    let first = document(&first, "cli.preview");
    assert_eq!((&first["rows"][0]["is_theirs"], &first["planned"]), (&true.into(), &1.into()));

    let notes = notes(path, &id);
    assert_eq!(notes.len(), 3);
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/documents/preview.v1.json");
    let schema = std::fs::read(schema).expect("a schema");
    let schema = serde_json::from_slice(&schema).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    for note in &notes {
        assert!(schema.is_valid(note) && note["by"] == "officer", "{note:#}");
    }
    let verified = run(path, &["audit", "verify", "--json"]);
    assert_eq!(verified.json()["is_sound"], true, "{}", verified.stdout);
    let note = path.join(format!(".lacuna/ledger/previews/{id}/000001.json"));
    let text = std::fs::read_to_string(&note).expect("a note");
    std::fs::write(&note, text.replace("officer", "nobody!")).expect("written");
    let verified = run(path, &["audit", "verify"]);
    assert_ne!(verified.code, 0);
    assert!(verified.stdout.contains("000001.json"), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn what_cannot_be_shown_says_why_and_leaves_no_note() {
    let (folder, id) = planned();
    let path = folder.path();
    let refused = |more: &[&str], code: i32, why: &str| {
        let run = preview(path, &id, more);
        assert_eq!(run.code, code, "{more:?}: {}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(why), "{more:?}: {}", run.stderr);
    };
    refused(&["reviews:2026/b.json", "--by", "officer"], 2, "not in the plan");
    refused(&["1.csv", "--by", " "], 2, "the name of who looks");
    refused(&["1.csv"], 2, "--by");
    refused(&["1.csv", "--by", "officer", "--rows", "21"], 2, "--rows");
    assert!(notes(path, &id).is_empty());

    std::fs::write(path.join("clicks/1.csv"), "user,page\nu1,/elsewhere\n").expect("written");
    refused(&["1.csv", "--by", "officer"], 10, "no longer as it was planned");
    let reject = ["reject", &id, "--by", "officer", "--reason", "the wrong person"];
    assert_eq!(run(path, &reject).code, 0);
    refused(&["reviews:2026/a.json", "--by", "officer"], 12, "nothing is to be decided");
}

/// Who looked is part of the evidence that is handed out.
#[test]
fn who_looked_is_packed() {
    let (folder, id) = planned();
    let path = folder.path();
    let ok = |arguments: &[&str]| {
        let run = run(path, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
    };
    ok(&["preview", &id, "1.csv", "--by", "officer"]);
    ok(&["approve", &id, "--by", "officer", "--confirm", &id[..8]]);
    ok(&["erase", &id]);
    ok(&["certificate", &id]);
    ok(&["audit", "export", &id, "--out", "pack.zip"]);
    ok(&["audit", "verify", "--pack", "pack.zip"]);
    let pack = std::fs::read(path.join("pack.zip")).expect("a pack");
    let name = format!("previews/{id}/000000.json");
    assert!(pack.windows(name.len()).any(|it| it == name.as_bytes()), "the note is in the pack");
}
