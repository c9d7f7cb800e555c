//! The API against its own description, by a tester that knows nothing else.

use std::path::Path;
use std::process::Command;

use super::serving::Served;
use super::{lake, run};
use crate::support::services;

/// Adds somebody with every role that the API knows, by token; answers with the token.
fn with_program(folder: &Path, name: &str) -> String {
    let token = run(folder, &["password", "--token", "--json"]).json();
    let digest = token["setting"].as_str().expect("a line");
    let file = folder.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let roles = "[\"viewer\", \"requester\", \"approver\", \"operator\", \"auditor\"]";
    let user = format!("\n[[server.user]]\nname = \"{name}\"\nroles = {roles}\n{digest}\n");
    std::fs::write(&file, configuration + &user).expect("written");
    token["token"].as_str().expect("a token").to_owned()
}

/// Whatever it sends, no answer is a failure of the server, and each is as the description says. Two callers,
/// since each may ask only so often in a minute.
#[test]
fn an_outside_tester_finds_no_failure() {
    let folder = lake();
    let path = folder.path();
    let tokens = ["one", "two"].map(|name| with_program(path, name));
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let plan = plan["plan_id"].as_str().expect("an id");
    let add = "request add T-1 --received 2026-11-20 --jurisdiction gdpr --by ann";
    assert_eq!(run(path, &add.split(' ').collect::<Vec<_>>()).code, 0);
    let settings = format!("[parameters]\n\"path.plan\" = \"{plan}\"\n");
    std::fs::write(path.join("schemathesis.toml"), settings).expect("written");
    let served = Served::start(path);
    let description = format!("http://{}/api/v1/openapi.json", served.address);
    for (token, phase) in tokens.iter().zip(["coverage", "fuzzing"]) {
        let output = Command::new(services::schemathesis())
            .args(["run", &description, "--phases", phase, "--max-examples", "15", "--seed", "1"])
            .args(["--checks", CHECKS, "--header", &format!("Authorization: Bearer {token}")])
            .current_dir(path)
            .output()
            .expect("started");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{phase}: {told}");
        assert!(told.contains("Tested: 13") || told.contains("13 passed"), "{phase}: {told}");
    }
    let decided = path.join(format!(".lacuna/ledger/decisions/{plan}/000000.json"));
    assert!(decided.exists(), "it got as far as to a decision");
    assert_eq!(run(path, &["audit", "verify"]).code, 0, "all that it entered is sound");
}

const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
