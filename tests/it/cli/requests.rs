//! The request register, from the command line.

use std::path::Path;

use serde_json::Value;

use super::flow::document;
use super::{CANARY, Run, lacuna, lake, run};

/// Runs `lacuna request …` with these words and `--json`; the answer is valid under its schema.
#[track_caller]
fn ok(folder: &Path, words: &str) -> Value {
    let run = request(folder, &format!("{words} --json"));
    assert_eq!(run.code, 0, "{words}: {}", run.stderr);
    let schema = if words.starts_with("list") { "cli.requests" } else { "cli.request" };
    document(&run, schema)
}

/// The same without `--json`; where nobody else is named, eve is who is logged in.
fn request(folder: &Path, words: &str) -> Run {
    let words: Vec<&str> = ["request"].into_iter().chain(words.split(' ')).collect();
    as_eve(folder, &words)
}

fn as_eve(folder: &Path, arguments: &[&str]) -> Run {
    let output = lacuna(folder).env("LOGNAME", "eve").args(arguments).output().expect("started");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("it was not killed"),
    }
}

/// Refused with exit code 2, and nothing is stored.
#[track_caller]
fn refused(folder: &Path, words: &str, why: &str) {
    let before = events(folder);
    let run = request(folder, words);
    assert_eq!(run.code, 2, "{words}: {}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains(why), "{words}: {}", run.stderr);
    assert_eq!(events(folder), before, "{words}");
}

/// The paths of all stored events.
fn events(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(folders) = std::fs::read_dir(folder.join(".lacuna/ledger/requests")) else {
        return Vec::new();
    };
    let folders = folders.map(|entry| entry.expect("an entry").path());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).expect("a folder"));
    let mut files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

fn today(folder: &Path) -> String {
    ok(folder, "list")["today"].as_str().expect("a day").to_owned()
}

#[test]
fn a_request_goes_its_way_and_every_answer_is_as_its_schema_says() {
    let folder = lake();
    let path = folder.path();
    let today = today(path);
    let add = format!("add DSR/17 --received {today} --jurisdiction gdpr --channel web-form");
    let added = ok(path, &format!("{add} --ground gdpr-17-1-b --by ann"));
    assert_eq!((&added["state"], &added["due"]["kind"]), (&"open".into(), &"answer".into()));
    assert_eq!(ok(path, "acknowledge DSR/17 --by ann")["events"], 2);
    assert!(ok(path, "verify DSR/17 --by ann")["verified_at"].is_string());
    let due_on = added["due"]["due_on"].clone();
    let extended = ["extend", "DSR/17", "--reason", "many systems", "--by", "ann", "--json"];
    let extended = run(path, &[&["request"][..], &extended].concat());
    let extended = document(&extended, "cli.request");
    assert!(extended["due"]["due_on"].as_str() > due_on.as_str(), "{extended:#}");
    assert_eq!(extended["extension"]["noticed_on"], today.as_str());

    let hold = "hold DSR/17 --dataset reviews --column contact.email --basis lawsuit --by ann";
    let held = ok(path, &format!("{hold} --until 9999-12-31"));
    assert_eq!((&held["standing_holds"], &held["holds"][0]["number"]), (&1.into(), &4.into()));
    refused(path, "close DSR/17", "release hold 4 first");
    refused(path, "release DSR/17 --by ANN", "somebody else has to");
    let released = ok(path, "release DSR/17 --by bob");
    assert_eq!(released["holds"][0]["release"]["by"], "bob");
    refused(path, "release DSR/17 --by bob", "no hold of the request stands");

    let exempted = ok(path, "exempt DSR/17 --dataset clicks --basis gdpr-17-3-e --by ann");
    assert_eq!(exempted["exemptions"][0]["extent"]["dataset"], "clicks");
    let withdrawn = ok(path, "withdraw DSR/17 --by ann");
    assert_eq!((&withdrawn["state"], &withdrawn["due"]), (&"withdrawn".into(), &Value::Null));
    assert_eq!(ok(path, "reopen DSR/17 --by ann")["state"], "open");
    let deny = "deny DSR/17 --reason unfounded --text nothing --by ann";
    assert_eq!(ok(path, deny)["denial"]["reason"], "unfounded");
    let closed = ok(path, "close DSR/17 --by ann");
    assert_eq!(closed["history"].as_array().map(Vec::len), Some(11));
    assert_eq!(ok(path, "show DSR/17"), closed);
    assert_eq!(ok(path, "list")["requests"], serde_json::json!([]));
    assert_eq!(ok(path, "list --all")["requests"][0]["reference"], "DSR/17");
    assert_eq!(events(path).len(), 11);

    let schema = event_schema();
    for event in events(path) {
        let event = std::fs::read(event).expect("an event");
        let event: Value = serde_json::from_slice(&event).expect("JSON");
        assert!(schema.is_valid(&event), "{event:#}");
    }
}

fn event_schema() -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/documents/request-event.v1.json");
    let schema = std::fs::read_to_string(path).expect("a schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    jsonschema::validator_for(&schema).expect("a schema")
}

#[test]
fn what_may_not_be_is_refused_with_2() {
    let folder = lake();
    let path = folder.path();
    refused(path, "show R-1", "no request of this reference");
    refused(path, "close R-1", "no request of this reference");
    let add = "add R-1 --received 2026-01-31 --jurisdiction";
    assert_eq!(request(path, &format!("{add} gdpr")).code, 0);
    refused(path, &format!("{add} gdpr"), "registered already");
    refused(path, "add R-2 --received 2026-01-31 --jurisdiction other", "give its days");
    refused(path, "add R-2 --received 2026-01-31 --jurisdiction ccpa --days 9", "the law sets");
    refused(path, "add R-2 --received 2999-01-31 --jurisdiction gdpr", "has not come yet");
    refused(path, "add R-2 --received 31.1.2026 --jurisdiction gdpr", "is written as 2026-05-04");
    refused(path, "add =R-2 --received 2026-01-31 --jurisdiction gdpr", "it begins with a letter");
    refused(path, "add R-2 --received 2026-01-31 --jurisdiction mars", "possible are: gdpr");
    let personal = format!("add {CANARY} --received 2026-01-31 --jurisdiction gdpr");
    refused(path, &personal, "letters and digits");
    assert!(!request(path, &personal).stderr.contains(CANARY));
    let late = "extend R-1 --reason many --noticed 2026-03-03";
    refused(path, late, "from 2026-01-31 to 2026-03-02");
    refused(path, "hold R-1 --dataset reveiws --basis tax", "did you mean `reviews`");
    refused(path, "hold R-1 --column x --basis tax", "--dataset");
    refused(
        path,
        "hold R-1 --dataset reviews --column a..b --basis tax",
        "not the path to a field",
    );
    refused(path, "hold R-1 --basis tax --until 2026-01-31", "is past");
    refused(path, "exempt R-1 --dataset reviews --basis ccpa-105-d-1", "possible are: gdpr-17-3-a");
    assert_eq!(request(path, "hold R-1 --basis one --by ann").code, 0);
    assert_eq!(request(path, "hold R-1 --basis two --by ann").code, 0);
    refused(path, "release R-1 --by bob", "--hold NUMBER, one of 1, 2");
    refused(path, "release R-1 --hold 9 --by bob", "those that stand: 1, 2");
    assert_eq!(request(path, "release R-1 --hold 2 --by bob").code, 0);
}

#[test]
fn what_is_due_is_listed_by_day_and_15_tells_of_what_is_overdue() {
    let folder = lake();
    let path = folder.path();
    let today = today(path);
    let empty = run(path, &["status", "--due"]);
    assert_eq!((empty.code, empty.stdout.as_str()), (0, "no requests\n"));
    for days in [30, 7, 3, 1] {
        let term = format!("--received {today} --jurisdiction other --days {days}");
        assert_eq!(request(path, &format!("add days-{days} {term}")).code, 0);
    }
    let due = run(path, &["status", "--due", "--json"]);
    assert_eq!(due.code, 0, "{}", due.stderr);
    document(&due, "cli.requests");
    for (reference, jurisdiction) in [("late", "gdpr"), ("later", "lgpd"), ("done", "gdpr")] {
        let received = format!("--received 2020-01-31 --jurisdiction {jurisdiction}");
        assert_eq!(request(path, &format!("add {reference} {received}")).code, 0);
    }
    assert_eq!(request(path, "close done").code, 0);
    let due = run(path, &["status", "--due"]);
    assert_eq!(due.code, 15, "{}", due.stderr);
    let listed: Vec<Vec<&str>> =
        due.stdout.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    let expected = [
        vec!["overdue", "later"],
        vec!["overdue", "late"],
        vec!["T-1", "days-1"],
        vec!["T-3", "days-3"],
        vec!["T-7", "days-7"],
        vec!["days-30", "(other):"],
    ];
    assert_eq!(listed, expected, "{}", due.stdout);
    let near = run(path, &["status", "--due", "3", "--json"]);
    assert_eq!(near.code, 15);
    let near = document(&near, "cli.requests");
    assert_eq!(near["requests"].as_array().map(Vec::len), Some(4));
    assert_eq!(ok(path, "list --due-within 7")["requests"].as_array().map(Vec::len), Some(5));
    let status = run(path, &["status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stdout.contains("6 open requests, 2 overdue"), "{}", status.stdout);
    let status = document(&run(path, &["status", "--json"]), "cli.status");
    let counts = serde_json::json!({"open": 6, "overdue": 2, "damaged": 0});
    assert_eq!(status["requests"], counts);
}

/// A spreadsheet carries out nothing that somebody wrote into the register.
#[test]
fn csv_is_inert() {
    let folder = lake();
    let path = folder.path();
    for reference in ["R-1", "R-2"] {
        let add = format!("add {reference} --received 2026-01-31 --jurisdiction gdpr");
        assert_eq!(request(path, &add).code, 0);
    }
    let text = "=HYPERLINK(\"x\",1)";
    let deny = ["request", "deny", "R-1", "--reason", "other", "--text", text];
    assert_eq!(as_eve(path, &deny).code, 0);
    let list = request(path, "list --all --csv");
    assert_eq!(list.code, 0, "{}", list.stderr);
    let lines: Vec<&str> = list.stdout.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{}", list.stdout);
    let denied = "R-1,denied,gdpr,2026-01-31,,,,,,0,0,,,\"'=HYPERLINK(\"\"x\"\",1)\"";
    assert!(lines.contains(&denied), "{}", list.stdout);
    let open = "R-2,open,gdpr,2026-01-31,answer,2026-02-28,2026-03-02,-";
    assert!(lines[1].starts_with(open), "{}", list.stdout);
    assert_eq!(request(path, "list --csv --json").code, 2);
}

/// A request that cannot be read may be due: no list looks whole without it.
#[test]
fn a_damaged_request_is_told() {
    let folder = lake();
    let path = folder.path();
    let today = today(path);
    let add = |reference: &str| {
        format!("add {reference} --received {today} --jurisdiction gdpr --by ann")
    };
    assert_eq!(request(path, &add("R-1")).code, 0);
    let first = events(path).remove(0);
    std::fs::write(first, "{}").expect("damaged");
    assert_eq!(request(path, &add("R-2")).code, 0);
    for arguments in [&["status", "--due"][..], &["request", "list"]] {
        let run = run(path, arguments);
        assert_eq!(run.code, 1, "{}", run.stdout);
        assert!(run.stdout.contains("damaged  the ledger's document"), "{}", run.stdout);
        assert!(run.stdout.contains("R-2 (gdpr): answer due"), "{}", run.stdout);
    }
    let csv = request(path, "list --csv");
    assert!(csv.code == 1 && csv.stderr.contains("warning: the ledger's document"));
    assert_eq!(request(path, "verify R-1").code, 1);
    assert!(run(path, &["status"]).stdout.contains("1 open request, none overdue; 1 damaged"));
}

/// Whoever enters an event is named: by flag, by the login name, or not at all and it is refused.
#[test]
fn who_enters_an_event_is_named() {
    let folder = lake();
    let path = folder.path();
    let add = ["request", "add", "R-1", "--received", "2026-01-31", "--jurisdiction", "gdpr"];
    let run_as = |name: Option<&str>, arguments: &[&str]| {
        let mut command = lacuna(path);
        command.env_remove("USER").env_remove("USERNAME").env_remove("LOGNAME");
        command.envs(name.map(|name| ("LOGNAME", name))).args(arguments);
        command.output().expect("started")
    };
    let nameless = run_as(None, &add);
    assert_eq!(nameless.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nameless.stderr).contains("--by WHO"));
    assert!(run_as(Some("eve"), &add).status.success());
    assert_eq!(ok(path, "show R-1")["history"][0]["by"], "eve");
}

#[test]
fn a_request_reads_well() {
    let folder = lake();
    let path = folder.path();
    let mut told = String::new();
    let mut tell = |words: &str| {
        let run = request(path, words);
        told += &format!("$ lacuna request {words}\n{}{}\n", run.stdout, run.stderr);
    };
    tell("add DSR-17 --received 2026-01-31 --jurisdiction gdpr --channel web-form --by ann");
    tell("hold DSR-17 --dataset reviews --column contact.email --basis lawsuit-12 --by ann");
    tell("release DSR-17 --by ann");
    tell("hold DSR-17 --basis lawsuit-13 --by ann");
    tell("release DSR-17 --hold 2 --by bob");
    tell("exempt DSR-17 --dataset clicks --basis gdpr-17-3-b --until 9999-12-31 --by ann");
    tell("verify DSR-17 --by bob");
    tell("list");
    tell("close DSR-17 --by bob");
    tell("release DSR-17 --by bob");
    tell("close DSR-17 --by bob");
    tell("verify DSR-17 --by bob");
    tell("list --all");
    tell("list");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "[time]");
    settings.add_filter(r"[\d,]+ days ago", "[days] ago");
    settings.bind(|| insta::assert_snapshot!("request", told));
}

/// A hold of the register reaches the lake: the plan leaves the dataset, the certificate says why, and what
/// is put on hold after the plan is not erased.
#[test]
fn what_is_on_hold_is_not_erased() {
    let folder = lake();
    let path = folder.path();
    assert_eq!(run(path, &["index"]).code, 0);
    ok(path, "add R-1 --received 2026-01-31 --jurisdiction gdpr --by ann");
    ok(path, "hold R-1 --dataset clicks --basis tax --until 2999-12-31 --by ann");
    let plan = ["plan", "--json", "--request", "R-1", "--subject", "u1"];
    let plan = document(&run(path, &plan), "report");
    let id = plan["plan_id"].as_str().expect("an id");
    assert_eq!(plan["out_of_reach"][0]["reason"]["reason"], "on_hold", "{plan:#}");
    ok(path, "hold R-1 --basis lawsuit-12 --by ann");
    let approve = ["approve", id, "--by", "officer", "--confirm", &id[..8]];
    let refused = run(path, &approve);
    assert_eq!(refused.code, 12, "{}", refused.stderr);
    assert!(refused.stderr.contains("on hold for this request (lawsuit-12)"), "{}", refused.stderr);
    ok(path, "release R-1 --hold 2 --by bob");
    assert_eq!(run(path, &approve).code, 0);
    ok(path, "withdraw R-1 --by ann");
    let lake = || std::fs::read_to_string(path.join("reviews/2026/a.json")).expect("one");
    let refused = run(path, &["erase", id]);
    assert_eq!(refused.code, 12, "{}", refused.stderr);
    assert!(lake().contains("ann@example.org"));
    ok(path, "reopen R-1 --by ann");
    assert_eq!(run(path, &["erase", id]).code, 0);
    assert!(!lake().contains("ann@example.org"));
    assert!(std::fs::read_to_string(path.join("clicks/1.csv")).expect("one").contains("u1,/start"));
    // Also in a version that was written since, the rows of the dataset on hold are known.
    std::fs::write(path.join("clicks/1.csv"), "user,page\nu1,/start\nu4,/end\nu1,/more\n")
        .expect("written");
    assert_eq!(run(path, &["verify", id]).code, 0);
    let certificate = document(&run(path, &["certificate", id, "--json"]), "certificate");
    assert_eq!(certificate["grade"], "complete_with_retained_copies", "{certificate:#}");
    assert_eq!(certificate["remaining"][0]["reason"]["until"], "2999-12-31", "{certificate:#}");
    assert_eq!(run(path, &["audit", "verify"]).code, 0);
    // What is released is no longer kept by law: the same evidence is partial, and says what to do.
    ok(path, "release R-1 --hold 1 --by bob");
    let partial = run(path, &["certificate", id, "--json"]);
    let certificate = document(&partial, "certificate");
    assert_eq!((partial.code, &certificate["grade"]), (3, &"partial".into()), "{certificate:#}");
    let open = certificate["open"].to_string();
    assert!(open.contains("no longer on hold or exempt and needs another plan"), "{open}");
}

/// The page of the register shows commands that run, one after the other.
#[test]
fn the_commands_of_the_page_run() {
    let folder = lake();
    let path = folder.path();
    let file = path.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("one");
    let configuration = configuration.replace("name = \"clicks\"", "name = \"invoices\"");
    std::fs::write(&file, configuration).expect("written");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/requests.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let commands: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("$ lacuna ")).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        // What stands between quotes is one word.
        let parts = command.split('\'').enumerate();
        let words: Vec<&str> = parts
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().collect(),
                _ => vec![part],
            })
            .collect();
        let run = as_eve(path, &words);
        // The request of the page came in long ago.
        let expected = if command.starts_with("status --due") { 15 } else { 0 };
        assert_eq!(run.code, expected, "{command}: {}", run.stderr);
    }
}
