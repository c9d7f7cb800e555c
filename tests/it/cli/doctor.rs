//! `lacuna doctor`: what it finds, what it calls it, and that it leaves everything as it was.

mod buckets;
mod stores;

use std::path::Path;

use serde_json::Value;

use super::{Run, flow, lacuna, lake, run};

/// Runs the program with this in its environment.
pub(super) fn run_in(folder: &Path, environment: &[(String, String)], arguments: &[&str]) -> Run {
    let output = lacuna(folder)
        .args(arguments)
        .envs(environment.iter().cloned())
        .output()
        .expect("the program is started");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("it was not killed"),
    }
}

/// The findings of a place, which is a valid document.
pub(super) fn findings(run: &Run, kind: &str) -> Vec<Value> {
    let document = flow::document(run, "cli.doctor");
    let places = document["places"].as_array().expect("places").iter();
    let of_kind = places.filter(|place| place["kind"] == kind);
    of_kind.flat_map(|place| place["findings"].as_array().expect("findings").clone()).collect()
}

/// The finding of a check; there is one.
#[track_caller]
pub(super) fn of<'f>(findings: &'f [Value], check: &str) -> &'f Value {
    let mut found = findings.iter().filter(|finding| finding["check"] == check);
    let first = found.next().unwrap_or_else(|| panic!("no {check} in {findings:#?}"));
    assert!(found.next().is_none(), "{check} is told twice: {findings:#?}");
    first
}

/// How bad the finding of a check is.
#[track_caller]
pub(super) fn severity<'f>(findings: &'f [Value], check: &str) -> &'f str {
    of(findings, check)["severity"].as_str().expect("a severity")
}

/// Every file and folder below a folder, with its bytes.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    crate::support::place::files_below(folder)
}

/// A report without what differs from machine to machine.
fn steady(folder: &Path, text: &str) -> String {
    let text =
        text.replace(&folder.canonicalize().expect("a path").display().to_string(), "[home]");
    let text = text.replace(&folder.display().to_string(), "[home]");
    let mut lines = Vec::new();
    let mut skips_fix = false;
    for line in text.lines() {
        let is_fix = line.trim_start().starts_with("fix: ");
        let depends = ["free-disk", "file-system", "extended-attributes", "exchange"];
        let is_machines = depends.iter().any(|check| line.contains(&format!(" {check} ")));
        if is_machines || (is_fix && skips_fix) || line.contains(" findings: ") {
            skips_fix = true;
            continue;
        }
        skips_fix = false;
        let apart = line.find("store's are ").filter(|_| line.ends_with(" s apart"));
        lines.push(match apart {
            Some(at) => format!("{}store's are [n] s apart", &line[..at]),
            None => line.to_owned(),
        });
    }
    lines.join("\n")
}

#[test]
fn what_the_doctor_says_of_folders_reads_well() {
    let folder = lake();
    let path = folder.path();
    let mut told = String::new();
    let mut tell = |arguments: &[&str], code: i32| {
        let run = run(path, arguments);
        assert_eq!(run.code, code, "{arguments:?}: {}{}", run.stdout, run.stderr);
        let printed = steady(path, &format!("{}{}", run.stdout, run.stderr));
        told += &format!("$ lacuna {}\n{printed}\n\n", arguments.join(" "));
    };
    tell(&["doctor"], 0);
    tell(&["index", "--quiet"], 0);
    tell(&["plan", "--subject", "u1", "--request", "R-1", "--json", "--quiet"], 0);
    tell(&["doctor", "clicks", "--read-only"], 0);
    tell(&["doctor", "clocks"], 2);
    std::fs::rename(path.join("clicks"), path.join("elsewhere")).expect("moved");
    tell(&["doctor", "clicks"], 1);
    let report = told.find("$ lacuna plan").expect("it ran");
    let next = told[report..].find("$ lacuna doctor").expect("it ran") + report;
    told.replace_range(report..next, "");
    insta::assert_snapshot!("doctor_folders", told);
}

#[test]
fn an_examination_leaves_everything_as_it_was() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    let plan = run(path, &["plan", "--subject", "u1", "--request", "R-1"]);
    assert_eq!(plan.code, 0);
    for below in ["reviews", "clicks", ".lacuna/ledger"] {
        let before = everything(&path.join(below));
        for arguments in [&["doctor", "--json"][..], &["doctor", "--read-only", "--json"]] {
            let run = run(path, arguments);
            assert_eq!(run.code, 0, "{}", run.stdout);
            assert_eq!(everything(&path.join(below)), before, "{below}");
        }
    }
    let read = run(path, &["doctor", "--read-only", "--json"]);
    let folders = findings(&read, "dataset");
    let untried: Vec<&Value> =
        folders.iter().filter(|finding| finding["check"] == "conditional-writes").collect();
    assert_eq!(untried.len(), 2);
    assert!(untried.iter().all(|finding| finding["severity"] == "unknown"));
}

/// One place that is out of order keeps no other from being examined.
#[test]
fn every_place_is_examined_whatever_the_others_are_like() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    std::fs::rename(path.join("reviews"), path.join("elsewhere")).expect("moved");
    let key = path.join(".lacuna/digest.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("set");
    let doctor = run(path, &["doctor", "--json"]);
    assert_eq!(doctor.code, 1);
    let places = doctor.json()["places"].as_array().expect("places").len();
    assert_eq!(places, 5);
    assert_eq!(severity(&findings(&doctor, "key"), "digest-key"), "problem");
    let index = findings(&doctor, "metastore");
    assert_eq!((severity(&index, "layout"), severity(&index, "digest-key")), ("ok", "unknown"));
    let datasets = findings(&doctor, "dataset");
    let worst: Vec<&str> = datasets
        .iter()
        .filter(|it| it["check"] == "open")
        .filter_map(|it| it["severity"].as_str())
        .collect();
    assert_eq!(worst, ["problem", "ok"]);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("set");
    std::fs::write(path.join("other.key"), "ab".repeat(32)).expect("written");
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path.join("other.key"), mode).expect("set");
    let other = [("LACUNA_IDENTITY_KEY_FILE".to_owned(), "other.key".to_owned())];
    let doctor = run_in(path, &other, &["doctor", "clicks", "--json"]);
    assert_eq!(severity(&findings(&doctor, "metastore"), "digest-key"), "problem");
    assert_eq!(doctor.code, 1);
}

#[test]
fn a_plan_that_was_changed_is_a_problem() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    let plan = run(path, &["plan", "--json", "--request", "R-1", "--subject", "u1"]);
    let id = plan.json()["plan_id"].as_str().expect("an id").to_owned();
    let sound = run(path, &["doctor", "--json"]);
    assert_eq!(severity(&findings(&sound, "ledger"), "plans"), "ok");
    let file = path.join(format!(".lacuna/ledger/plans/{id}.json"));
    let text = std::fs::read_to_string(&file).expect("a plan").replace("R-1", "R-2");
    std::fs::write(&file, text).expect("written");
    let changed = run(path, &["doctor", "--json"]);
    let ledger = findings(&changed, "ledger");
    assert_eq!((changed.code, severity(&ledger, "plans")), (1, "problem"));
    assert!(of(&ledger, "plans")["message"].as_str().expect("text").contains(&id[..8]));
}
