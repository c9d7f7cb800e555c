//! From the index to the certificate, each answer held against its published schema.

use std::path::Path;

use lacuna::metastore::packing::block::{BLOCK_BYTES, Block};
use serde_json::Value;

use super::{Run, lacuna, lake, run, run_with};

/// The document of a run, valid under the schema of this name.
pub(super) fn document(run: &Run, schema: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/documents");
    let text = std::fs::read_to_string(path.join(format!("{schema}.v1.json"))).expect("a schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let document = run.json();
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}\n{document:#}");
    document
}

/// Plans and approves; answers with the plan's id.
fn approved(folder: &Path, subject: &str) -> String {
    let plan = run(folder, &["plan", "--json", "--request", "R-1", "--subject", subject]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    let approve = run(folder, &["approve", &id, "--by", "officer", "--confirm", &id[..8]]);
    assert_eq!(approve.code, 0, "{}", approve.stderr);
    id
}

#[test]
fn every_answer_is_as_its_schema_says() {
    let folder = lake();
    let path = folder.path();
    let ok = |arguments: &[&str], schema: &str| {
        let run = run(path, arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        document(&run, schema)
    };
    assert_eq!(ok(&["status", "--json"], "cli.status")["next"], "lacuna index");
    let index = ok(&["index", "--json"], "cli.index");
    assert_eq!(index["datasets"][0]["scanned"], 2);
    assert_eq!(ok(&["index", "--json"], "cli.index")["datasets"][0]["unchanged"], 2);
    assert_eq!(
        ok(&["index", "--full", "reviews", "--json"], "cli.index")["datasets"][0]["scanned"],
        2
    );
    let found = ok(&["find", "--json", "u1", "user=u9"], "cli.find");
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    ok(&["digest", "--json", "ann@example.org"], "cli.digest");
    let plan = ["plan", "--json", "--request", "R-1", "--subject", "u1", "--subject", "user=u9"];
    let plan = ok(&plan, "report");
    assert_eq!(plan["not_found"][0]["ordinal"], 2);
    let id = plan["plan_id"].as_str().expect("an id");
    assert_eq!(ok(&["show", &id[..8], "--json"], "report"), plan);
    ok(&["approve", id, "--by", "officer", "--confirm", &id[..8], "--json"], "decision");
    let status = ok(&["status", "--json"], "cli.status");
    assert_eq!(status["next"], format!("lacuna erase {}", &id[..8]));
    assert_eq!(ok(&["erase", id, "--json"], "cli.erase")["counts"]["rows"], 3);
    ok(&["verify", id, "--deep", "100", "--json"], "cli.verify");
    ok(&["verify", "--subject", "u1", "--json"], "cli.verify");
    let certificate = ok(&["certificate", id, "--json"], "certificate");
    assert_eq!(certificate["grade"], "complete");
    assert_eq!(ok(&["vacuum", "--json"], "cli.vacuum")["dropped"], 3);
    ok(&["man", "--json"], "cli.text");
    let init = run(path, &["init", "other", "--json"]);
    document(&init, "cli.init");
    ok(&["demo", "--dir", "demo", "--json"], "cli.demo");
    document(&run(path, &["find", "user=", "--json"]), "cli.error");
}

#[test]
fn a_story_reads_well() {
    let folder = lake();
    let path = folder.path();
    let mut told = String::new();
    let mut tell = |arguments: &[&str]| {
        let run = run(path, arguments);
        told += &format!("$ lacuna {}\n{}{}\n", arguments.join(" "), run.stdout, run.stderr);
        run
    };
    tell(&["index"]);
    tell(&["find", "u1"]);
    let id = approved(path, "u1");
    tell(&["show", &id]);
    tell(&["erase", &id]);
    tell(&["erase", &id]);
    tell(&["verify", &id]);
    tell(&["vacuum"]);
    tell(&["status"]);
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(&id, "[plan]");
    settings.add_filter(&id[..8], "[plan]");
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[time]");
    settings.add_filter(r"\d+ s ago", "[age]");
    settings.add_filter(r"\S+ \S+ read, \d+ requests", "[size] read, [number of] requests");
    settings.add_filter(r"postings, [0-9.]+ KiB", "postings, [size]");
    settings.add_filter(r"in \d+ runs?;", "in [runs];");
    settings.add_filter(r"[0-9.]+ bytes a posting", "[bytes] a posting");
    settings.bind(|| insta::assert_snapshot!("story", told));
}

/// 10: the configuration changed after the plan was made (A10); an object changed (A1).
#[test]
fn a_stale_plan_ends_with_10() {
    let folder = lake();
    let path = folder.path();
    let id = approved(path, "u1");
    let file = path.join("lacuna.toml");
    let before = std::fs::read_to_string(&file).expect("one");
    std::fs::write(&file, before.replace("[\"**/*.json\"]", "[\"**/*.json\", \"x\"]"))
        .expect("written");
    let erase = run(path, &["erase", &id]);
    assert_eq!(erase.code, 10, "{}", erase.stderr);
    assert!(std::fs::read_to_string(path.join("clicks/1.csv")).expect("one").contains("u1"));
    std::fs::write(&file, before).expect("written");
    std::fs::write(path.join("clicks/1.csv"), "user,page\nu5,/\nu1,/start\n").expect("written");
    let erase = run(path, &["erase", &id]);
    assert_eq!(erase.code, 10, "{}", erase.stderr);
    assert!(erase.stdout.contains("drifted"), "{}", erase.stdout);
    assert!(std::fs::read_to_string(path.join("clicks/1.csv")).expect("one").contains("u1"));
}

/// 11: another process holds the lease.
#[test]
fn a_held_lease_ends_with_11() {
    let folder = lake();
    let path = folder.path();
    let id = approved(path, "u1");
    let moment = "2999-01-01T00:00:00Z";
    let lease = serde_json::json!({
        "schema": "lacuna.lease.v1", "holder": {"host": "elsewhere", "process": 1}, "token": "t",
        "run": id, "generation": 1, "heartbeat_at": moment, "expires_at": moment, "released": false,
    });
    std::fs::write(path.join(".lacuna/ledger/lease.json"), lease.to_string()).expect("written");
    let erase = run(path, &["erase", &id]);
    assert_eq!(erase.code, 11, "{}", erase.stderr);
}

/// 12: nobody approved, somebody rejected, the confirmation is another plan's.
#[test]
fn what_is_not_approved_ends_with_12() {
    let folder = lake();
    let path = folder.path();
    let plan = run(path, &["plan", "--json", "--subject", "u1"]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    assert_eq!(run(path, &["erase", &id]).code, 12);
    assert_eq!(run(path, &["certificate", &id]).code, 12);
    let wrong = ["approve", &id, "--by", "officer", "--confirm", "00000000"];
    assert_eq!(run(path, &wrong).code, 12);
    assert_eq!(run(path, &["approve", &id, "--by", "officer"]).code, 2);
    let reject = ["reject", &id, "--by", "officer", "--reason", "the wrong person", "--json"];
    document(&run(path, &reject), "decision");
    assert_eq!(run(path, &["erase", &id]).code, 12);
    let sitting = ["erase", "--subject", "u1", "--by", "officer", "--confirm", "00000000"];
    assert_eq!(run(path, &sitting).code, 12);
    assert_eq!(run(path, &["erase", "--subject", "u1", "--by", "officer"]).code, 2);
    assert!(std::fs::read_to_string(path.join("clicks/1.csv")).expect("one").contains("u1"));
}

#[test]
fn an_object_that_the_approver_leaves_out_stays() {
    let folder = lake();
    let path = folder.path();
    let plan = run(path, &["plan", "--json", "--subject", "u1"]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    let approve = ["approve", &id, "--by", "officer", "--confirm", &id[..8], "--except"];
    assert_eq!(run(path, &[&approve[..], &["nothing.csv"]].concat()).code, 2);
    assert_eq!(run(path, &[&approve[..], &["clicks:1.csv"]].concat()).code, 0);
    let erase = run(path, &["erase", &id, "--json"]);
    assert_eq!((erase.code, &erase.json()["counts"]["excepted"]), (0, &Value::from(1)));
    assert!(std::fs::read_to_string(path.join("clicks/1.csv")).expect("one").contains("u1"));
    let certificate = run(path, &["certificate", &id]);
    assert!(certificate.stdout.contains("partial"), "{}", certificate.stdout);
    assert_ne!(certificate.code, 0);
}

/// 13: a subject's rows are there, also where the index knows nothing of them.
#[test]
fn a_subject_that_is_met_ends_with_13() {
    let folder = lake();
    let verify = run(folder.path(), &["verify", "--subject", "u1", "--json"]);
    assert_eq!(verify.code, 13, "{}", verify.stderr);
    assert_eq!(document(&verify, "cli.verify")["met"].as_array().map(Vec::len), Some(2));
}

/// 14: too little of a dataset is indexed.
#[test]
fn coverage_below_the_floor_ends_with_14() {
    let folder = lake();
    let path = folder.path();
    let file = path.join("lacuna.toml");
    let text = std::fs::read_to_string(&file).expect("one");
    std::fs::write(&file, format!("{text}\n[plan]\ncoverage_floor = 90\n")).expect("written");
    std::fs::write(path.join("reviews/broken.json"), b"PAR1 this is no JSON PAR1")
        .expect("written");
    let plan = run(path, &["plan", "--subject", "u1"]);
    assert_eq!(plan.code, 14, "{}{}", plan.stdout, plan.stderr);
}

/// D8: the second signal ends at once, with 130.
#[test]
fn two_interrupts_end_with_130() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let folder = lake();
    let program = lacuna(folder.path()).get_program().to_owned();
    let mut child = Command::new(program)
        .current_dir(folder.path())
        .args(["find", "--subjects", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let interrupt = |id: u32| {
        let id = rustix::process::Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("sent");
    };
    // `wait` would close the input, and so end the command by itself.
    let input = child.stdin.take();
    // It waits for its input; give it time to listen for signals first.
    std::thread::sleep(std::time::Duration::from_millis(700));
    interrupt(child.id());
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("UTF-8");
    assert!(first.contains("stopping at the next safe boundary"), "{first}");
    interrupt(child.id());
    assert_eq!(child.wait().expect("ended").code(), Some(130));
    drop(input);
}

/// H7: no character of an identifier has a meaning anywhere on the way.
#[test]
fn metacharacters_are_found_and_erased() {
    let folder = lake();
    let path = folder.path();
    let users =
        ["'; DROP TABLE postings; --", "100%", "*", "a|b", "$(id)", "../../x", "u_1", "é\u{202e}x"];
    let rows: String =
        users.iter().map(|user| format!("{}\n", serde_json::json!({ "user_id": user }))).collect();
    std::fs::write(path.join("reviews/odd.json"), &rows).expect("written");
    assert_eq!(run(path, &["index"]).code, 0);
    for (row, user) in users.iter().enumerate().filter(|(_, user)| **user != "*") {
        let found =
            run_with(path, &["find", "--json", "--subjects", "-"], &format!("user={user}\n"));
        assert_eq!(found.code, 0, "{user}: {}", found.stderr);
        assert_eq!(found.json()[0]["rows"], serde_json::json!([row]), "{user}");
        assert_eq!(found.json().as_array().map(Vec::len), Some(1), "{user}");
    }
    let id = approved(path, "user=100%");
    assert_eq!(run(path, &["erase", &id]).code, 0);
    let after = std::fs::read_to_string(path.join("reviews/odd.json")).expect("one");
    let kept = |text: &str| text.lines().filter(|line| !line.trim().eq("{}")).count();
    assert_eq!((kept(&after), after.len()), (users.len() - 1, rows.len()));
    assert!(!after.contains("100%"));
}

/// D8: one signal ends at a safe boundary, and the same command goes on from there.
#[test]
fn an_interrupted_command_goes_on() {
    let folder = lake();
    let path = folder.path();
    for object in 0..300 {
        let row = "{\"user_id\":\"u1\",\"text\":\"x\"}\n";
        std::fs::write(path.join(format!("reviews/{object}.json")), row).expect("written");
    }
    let interrupted = |arguments: &[&str], after: u64| {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_lacuna"))
            .current_dir(path)
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("started");
        std::thread::sleep(std::time::Duration::from_millis(after));
        let id = i32::try_from(child.id()).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("an id");
        // It may have ended already; what counts is what the next run finds.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        child.wait().expect("ended");
    };
    interrupted(&["index"], 60);
    assert_eq!(run(path, &["index"]).code, 0);
    let id = approved(path, "u1");
    for after in [30, 60, 120] {
        interrupted(&["erase", &id], after);
    }
    let erase = run(path, &["erase", &id, "--json"]);
    assert_eq!(erase.code, 0, "{}", erase.stderr);
    assert_eq!(document(&erase, "cli.erase")["counts"]["rows"], 303);
    assert_eq!(run(path, &["verify", &id]).code, 0);
}

/// C15: a plan leaves a table's files alone, and says so.
#[test]
fn a_table_is_out_of_reach() {
    let folder = lake();
    let path = folder.path();
    std::fs::create_dir_all(path.join("reviews/metadata/_delta_log")).expect("made");
    let row = "{\"user_id\":\"u1\"}\n";
    std::fs::write(path.join("reviews/metadata/_delta_log/0.json"), "{}\n").expect("written");
    std::fs::write(path.join("reviews/metadata/part.json"), row).expect("written");
    let plan = run(path, &["plan", "--json", "--request", "R-1", "--subject", "u1"]);
    assert_eq!(plan.code, 0, "{}", plan.stderr);
    let plan = document(&plan, "report");
    assert_eq!(plan["rows"], 3);
    assert_eq!(plan["out_of_reach"][0]["key"], "metadata/");
    assert_eq!(plan["out_of_reach"][0]["reason"]["reason"], "table");
}

/// D10: nothing is answered from a damaged index, and one command makes it anew.
#[test]
fn a_damaged_index_is_made_anew() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    let expected = run(path, &["find", "--json", "u1"]).json();
    let index = path.join(".lacuna/index");
    for kind in ["sqlite", "run"] {
        let entries = std::fs::read_dir(&index).expect("a folder");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let name = paths.find(|path| path.extension().is_some_and(|it| it == kind));
        let name = name.expect("a catalogue, and a run or more");
        std::fs::write(index.join("notes.txt"), "somebody's").expect("written");
        let mut bytes = std::fs::read(&name).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle - 8..].fill(0x5a);
        bytes[..64.min(middle)].fill(0x5a);
        std::fs::write(&name, bytes).expect("written");
        let refused = run(path, &["find", "--json", "u1"]);
        assert_eq!(refused.code, 1, "{}: {}", name.display(), refused.stderr);
        assert!(refused.stderr.contains("lacuna index --rebuild"), "{}", refused.stderr);
        let rebuilt = run(path, &["index", "--rebuild"]);
        assert_eq!(rebuilt.code, 0, "{}", rebuilt.stderr);
        assert_eq!(run(path, &["find", "--json", "u1"]).json(), expected);
        assert!(index.join("notes.txt").exists(), "what is not the index's stays");
    }
}

/// Promise 4: the postings of an object that is gone when the erasure comes go from the index's files too,
/// and not only from its answers.
#[test]
fn what_the_index_forgets_is_not_on_the_disk() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    let digest = run(path, &["digest", "--json", "u3"]).json();
    let digest = digest["digests"][0]["digest"].as_str().expect("a digest").to_owned();
    let subject = u64::from_str_radix(&digest[..16], 16).expect("hexadecimal");
    // A block spells out its first subject alone; the others have to be unpacked.
    let is_packed = |block: &[u8]| {
        Block::read(block).is_ok_and(|block| block.postings().any(|it| it.subject == subject))
    };
    let holds = |bytes: Vec<u8>| {
        let raw = [subject.to_le_bytes(), subject.to_be_bytes()];
        raw.iter().any(|raw| memchr::memmem::find(&bytes, raw).is_some())
            || bytes.chunks_exact(BLOCK_BYTES).any(is_packed)
    };
    let is_on_disk = || {
        let entries = std::fs::read_dir(path.join(".lacuna/index")).expect("a folder");
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read(entry.expect("an entry").path()).expect("a file")
        };
        entries.map(read).any(holds)
    };
    assert!(is_on_disk(), "the test looks for the right bytes");
    let id = approved(path, "user=u3");
    std::fs::remove_file(path.join("reviews/2026/b.json")).expect("removed");
    let erased = run(path, &["erase", &id]);
    assert_eq!(run(path, &["find", "user=u3", "--json"]).json(), serde_json::json!([]));
    assert!(!is_on_disk(), "{}{}", erased.stdout, erased.stderr);
}
