//! `lacuna audit verify`, over the evidence of a whole story.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::flow::document;
use super::{CANARY, Run, lake, run};
use crate::support::python;

/// Plans, approves, erases and certifies; then a request is registered, and the trail is held against it all.
fn story() -> tempfile::TempDir {
    let folder = lake();
    let path = folder.path();
    let ok = |arguments: &[&str]| {
        let run = run(path, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}{}", run.stdout, run.stderr);
        run
    };
    ok(&["index"]);
    let plan = ok(&["plan", "--json", "--request", "R-1", "--subject", "ann@example.org"]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    ok(&["approve", &id, "--by", "officer", "--confirm", &id[..8]]);
    ok(&["erase", &id]);
    ok(&["certificate", &id]);
    let words = "request add R-1 --received 2026-05-04 --jurisdiction gdpr --by officer";
    ok(&words.split(' ').collect::<Vec<_>>());
    folder
}

fn verify(folder: &Path, more: &[&str]) -> Run {
    run(folder, &[&["audit", "verify"], more].concat())
}

/// All documents of the ledger but the lease, which is no evidence.
fn documents(folder: &Path) -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    for kind in
        ["plans", "reports", "decisions", "audit", "certificates", "finished", "requests", "trail"]
    {
        walk(&folder.join(".lacuna/ledger").join(kind), &mut files);
    }
    files.sort();
    files
}

/// The certificate on paper says what the text says, names the digest of what is signed, and is kept as evidence.
#[test]
fn a_certificate_is_printed() {
    let folder = story();
    let path = folder.path();
    let plans = std::fs::read_dir(path.join(".lacuna/ledger/certificates")).expect("a folder");
    let plan = plans.last().expect("a plan").expect("an entry").path();
    let id = plan.file_name().and_then(|name| name.to_str()).expect("an id");
    let made = run(path, &["certificate", id, "--pdf", "certificate.pdf"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let file = path.join("certificate.pdf");
    let told = python::run("read_pdf.py", &[file.as_os_str()]);
    let told: Value = serde_json::from_str(&told).expect("JSON");
    assert_eq!(
        (&told["title"], &told["language"]),
        (&"Certificate of erasure R-1".into(), &"en".into())
    );
    let pages = told["pages"].as_array().expect("pages");
    let printed: String = pages.iter().filter_map(Value::as_str).collect();
    let dense = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(pages.len(), 1);
    assert!(dense(&printed).starts_with(&dense(&made.stdout)), "{printed}");
    let last = |extension: &str| {
        let names = std::fs::read_dir(&plan).expect("a folder").map(|it| it.expect("one").path());
        let is_one = |path: &PathBuf| {
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            stem.len() == 6 && path.extension().is_some_and(|it| it == extension)
        };
        names.filter(is_one).max().expect("a certificate")
    };
    let digest = Sha256::digest(std::fs::read(last("json")).expect("a certificate"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(printed.contains(&digest), "{printed}");
    let paper = last("pdf");
    let stored = std::fs::read(&paper).expect("stored");
    assert_eq!(stored, std::fs::read(file).expect("written"));
    assert_eq!(verify(path, &[]).code, 0);
    std::fs::write(paper, &stored[1..]).expect("spoilt");
    assert_eq!(verify(path, &[]).code, 1);
}

#[test]
fn a_whole_story_is_verified() {
    let folder = story();
    let path = folder.path();
    let answer = verify(path, &["--json"]);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let document = document(&answer, "cli.audit-verify");
    assert_eq!((&document["is_sound"], &document["records"]), (&true.into(), &5.into()));
    assert!(document["unsealed"].as_array().is_some_and(Vec::is_empty));
    let head = &document["head"];
    let digest = head["digest"].as_str().expect("a digest");
    let anchor = format!("{}:{digest}", head["sequence"]);
    let answer = verify(path, &["--anchor", &anchor]);
    assert_eq!(answer.code, 0, "{}{}", answer.stdout, answer.stderr);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(digest, "[digest]");
    settings.add_filter("signed by [0-9a-f]{64}", "signed by [key]");
    settings.bind(|| insta::assert_snapshot!("audit_verify", answer.stdout));
    let trail = std::fs::read(path.join(".lacuna/ledger/trail/0000000002.json")).expect("one");
    let signature = format!(".lacuna/ledger/certificates/{}/000000.signature.json", plan(path));
    let signature = std::fs::read(path.join(signature)).expect("one");
    for (schema, bytes) in [("trail", trail), ("roll", a_roll(path)), ("signature", signature)] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/documents");
        let schema = std::fs::read(root.join(format!("{schema}.v1.json"))).expect("a schema");
        let schema = serde_json::from_slice(&schema).expect("JSON");
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let document = serde_json::from_slice(&bytes).expect("JSON");
        assert!(validator.is_valid(&document), "{document:#}");
    }
}

/// The id of the only plan.
fn plan(folder: &Path) -> String {
    let mut plans = std::fs::read_dir(folder.join(".lacuna/ledger/plans")).expect("a folder");
    let file = plans.next().expect("a plan").expect("an entry").file_name();
    file.to_str().and_then(|name| name.strip_suffix(".json")).expect("an id").to_owned()
}

fn a_roll(folder: &Path) -> Vec<u8> {
    let mut folders = std::fs::read_dir(folder.join(".lacuna/ledger/rolls")).expect("a folder");
    let folder = folders.next().expect("a plan's").expect("an entry").path();
    let roll = std::fs::read_dir(folder).expect("a folder").next().expect("a roll");
    std::fs::read(roll.expect("an entry").path()).expect("a file")
}

/// Whatever document is changed by a byte or taken away: 1, and it is named.
#[test]
fn a_changed_document_is_named() {
    let folder = story();
    let path = folder.path();
    let documents = documents(path);
    assert!(documents.len() >= 14, "{documents:?}");
    for file in documents {
        let bytes = std::fs::read(&file).expect("a file");
        let mut wrong = bytes.clone();
        let middle = wrong.len() / 2;
        wrong[middle] ^= 1;
        std::fs::write(&file, wrong).expect("written");
        let answer = verify(path, &[]);
        let name = file.file_name().expect("a name").to_str().expect("UTF-8");
        assert_eq!(answer.code, 1, "{name}: {}{}", answer.stdout, answer.stderr);
        assert!(answer.stdout.contains(name), "{name}: {}", answer.stdout);
        std::fs::write(&file, bytes).expect("written");
    }
    assert_eq!(verify(path, &[]).code, 0);
}

#[test]
fn an_anchor_that_is_none_is_refused() {
    let folder = lake();
    for anchor in ["", CANARY, "1:", "1:00"] {
        let answer = verify(folder.path(), &["--anchor", anchor]);
        assert_eq!(answer.code, 2, "{anchor:?}");
        assert!(!answer.stderr.contains("canary"), "{}", answer.stderr);
    }
    // Nothing was done yet: nothing is wrong, and an anchor is missed.
    assert_eq!(verify(folder.path(), &[]).code, 0);
    let anchor = format!("3:{}", "0".repeat(64));
    assert_eq!(verify(folder.path(), &["--anchor", &anchor]).code, 1);
}

/// The evidence of a plan leaves the ledger as one file, and is verified where nothing else is: by Lacuna, and
/// the signature by OpenSSL.
#[test]
fn a_pack_is_verified_elsewhere() {
    let folder = story();
    let path = folder.path();
    let id = plan(path);
    let exported = run(path, &["audit", "export", &id, "--out", "DSR-17.zip", "--json"]);
    assert_eq!(exported.code, 0, "{}{}", exported.stdout, exported.stderr);
    let exported = document(&exported, "cli.audit-export");
    let key = document(&run(path, &["audit", "key", "--json"]), "cli.audit-key");
    let key = key["public_key"].as_str().expect("a key");
    assert_eq!(run(path, &["audit", "export", &id, "--out", "DSR-17.zip"]).code, 1);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let pack = elsewhere.path().join("pack.zip");
    std::fs::copy(path.join("DSR-17.zip"), &pack).expect("copied");
    let head = &exported["head"];
    let anchor = format!("{}:{}", head["sequence"], head["digest"].as_str().expect("a digest"));
    let verify = ["audit", "verify", "--pack", "pack.zip", "--anchor", &anchor, "--key", key];
    let answer = run(elsewhere.path(), &[&verify[..], &["--json"]].concat());
    let report = document(&answer, "cli.audit-verify");
    assert_eq!((answer.code, &report["signed"]), (0, &1.into()), "{report:#}");
    // Another key, an end of another trail, a byte that flipped.
    let other = "0".repeat(64);
    let wrong = run(elsewhere.path(), &["audit", "verify", "--pack", "pack.zip", "--key", &other]);
    assert_eq!(wrong.code, 1, "{}", wrong.stdout);
    assert!(wrong.stdout.contains("another key"), "{}", wrong.stdout);
    let anchor = format!("1:{other}");
    let wrong =
        run(elsewhere.path(), &["audit", "verify", "--pack", "pack.zip", "--anchor", &anchor]);
    assert_eq!(wrong.code, 1, "{}", wrong.stdout);
    let mut bytes = std::fs::read(&pack).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(elsewhere.path().join("wrong.zip"), bytes).expect("written");
    let wrong = run(elsewhere.path(), &["audit", "verify", "--pack", "wrong.zip"]);
    assert!(matches!(wrong.code, 1 | 2), "{}{}", wrong.stdout, wrong.stderr);
    let wrong = run(elsewhere.path(), &["audit", "verify", "--pack", "missing.zip"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
}

/// Evidence that is not sound is not packed.
#[test]
fn what_was_changed_is_not_packed() {
    let folder = story();
    let path = folder.path();
    let id = plan(path);
    let decision = path.join(format!(".lacuna/ledger/decisions/{id}/000000.json"));
    let text = std::fs::read_to_string(&decision).expect("one");
    std::fs::write(&decision, text.replace("officer", "somebody")).expect("written");
    let exported = run(path, &["audit", "export", &id]);
    assert_eq!(exported.code, 1, "{}", exported.stdout);
    assert!(exported.stderr.contains("decisions/"), "{}", exported.stderr);
    assert!(!path.join(format!("evidence-{}.zip", &id[..8])).exists());
}

#[test]
fn a_key_that_signs_is_made_and_never_overwritten() {
    let folder = lake();
    let path = folder.path();
    let key = run(path, &["audit", "key", "--create", "other.key"]);
    assert_eq!(key.code, 0, "{}", key.stderr);
    let first = std::fs::read_to_string(path.join("other.key")).expect("one");
    assert!(!key.stdout.contains(first.trim()), "the private key was shown");
    assert_eq!(run(path, &["audit", "key", "--create", "other.key"]).code, 1);
    assert_eq!(std::fs::read_to_string(path.join("other.key")).expect("one"), first);
    let file = path.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("one");
    let without = configuration.replace("signing_key_file", "# signing_key_file");
    std::fs::write(&file, &without).expect("written");
    assert_eq!(run(path, &["audit", "key"]).code, 2);
    std::fs::write(&file, configuration.replace("signing.key", "missing.key")).expect("written");
    assert_eq!(run(path, &["audit", "key"]).code, 2);
    std::fs::write(&file, configuration).expect("written");
}
