//! Signing in by a real identity provider, in a real browser.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::serving::Served;
use super::{lacuna, lake};
use crate::support::{python, services};

/// What the provider takes for the client's secret: any.
const SECRET: &[(&str, &str)] = &[("OIDC", "a+secret/with=signs")];

/// A lake whose users are known to the provider: ann by her address, bob for good, under another address.
fn with_provider(issuer: &str) -> tempfile::TempDir {
    let folder = lake();
    let file = folder.path().join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let more = format!(
        "\n[oidc]\nissuer = \"{issuer}\"\nclient_id = \"lacuna\"\n\
         client_secret_env = \"OIDC\"\n\
         [[server.user]]\nname = \"Ann\"\nroles = [\"approver\"]\nemail = \"Ann@example.org\"\n\
         [[server.user]]\nname = \"Bob\"\nroles = [\"viewer\"]\nemail = \"b@example.org\"\nsubject = \"s-bob\"\n"
    );
    std::fs::write(&file, configuration + &more).expect("written");
    folder
}

/// Where somebody ends who opens a page and signs in.
fn sign_in(served: &Served, page: &str, subject: &str) -> (String, String) {
    let url = format!("http://{}", served.address);
    let told = python::run("sign_in.py", &[url.as_str(), page, subject].map(OsStr::new));
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let text = |name: &str| told[name].as_str().expect("a text").to_owned();
    (text("path"), text("text"))
}

fn planned(folder: &Path) -> String {
    let mut command = lacuna(folder);
    command.envs(SECRET.iter().copied());
    let words = ["plan", "--subject", "user=u1", "--request", "T-1", "--json"];
    let output = command.args(words).output().expect("started");
    let plan: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    plan["plan_id"].as_str().expect("an id").to_owned()
}

#[test]
fn the_provider_says_who_somebody_is_and_the_file_what_they_may() {
    let folder = with_provider(&services::oidc());
    let path = folder.path();
    let page = format!("/plans/{}", planned(path));
    let served = Served::start_with(path, SECRET);
    let (ended, text) = sign_in(&served, &page, "s-ann");
    assert_eq!(ended, page, "the page that was asked for");
    assert!(text.contains("Ann (approver)") && text.contains("Approve"), "{text}");
    let (ended, text) = sign_in(&served, "/", "s-bob");
    assert_eq!(ended, "/");
    assert!(text.contains("Bob (viewer)"), "{text}");
    for subject in ["s-eve", "nobody"] {
        let (ended, text) = sign_in(&served, "/", subject);
        assert!(ended.starts_with("/sign-in/oidc/callback?"), "{ended}");
        assert!(!text.contains("Sign out"), "{text}");
        let why = if subject == "nobody" { "let nobody in" } else { "this server does not" };
        assert!(text.contains(why), "{text}");
    }
    // What nobody began here, and what another browser began.
    let (status, ..) = served.ask("GET /sign-in/oidc/callback?state=x&code=y", &[], "");
    assert_eq!(status, 422);
    let (status, head, _) = served.ask("GET /sign-in/oidc?to=/", &[], "");
    let place = head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place");
    let state = place.split(['?', '&']).find_map(|it| it.strip_prefix("state=")).expect("a state");
    assert!(status == 303 && place.contains("code_challenge_method=S256"), "{head}");
    let back = format!("GET /sign-in/oidc/callback?state={state}&code=y");
    let (status, head, _) = served.ask(&back, &["cookie: lacuna-sign-in=another"], "");
    assert!(status == 422 && !head.contains("lacuna="), "{head}");
}

#[test]
fn a_provider_that_is_not_there_keeps_people_out() {
    let folder = with_provider("http://127.0.0.1:1");
    let served = Served::start_with(folder.path(), SECRET);
    let (status, ..) = served.ask("GET /sign-in", &[], "");
    assert_eq!(status, 200);
    let (status, _, page) = served.ask("GET /sign-in/oidc", &[], "");
    assert!(status == 502 && page.contains("does not answer"), "{page}");
}
