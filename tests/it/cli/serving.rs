//! The pages and the API of the real program, over real connections.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{CANARY, lake, run, run_with};

pub(super) const PASSWORD: &str = "several words in a row";

/// A server that is stopped when the test is over.
pub(super) struct Served {
    child: Child,
    pub(super) address: String,
}

impl Served {
    pub(super) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// The same with these variables of the environment.
    pub(super) fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lacuna"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .envs(variables.iter().copied())
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut told = String::new();
        let stderr = child.stderr.take().expect("piped");
        BufReader::new(stderr).read_line(&mut told).expect("a line");
        let (_, rest) = told.split_once("http://").unwrap_or_else(|| panic!("it said {told}"));
        let address = rest.split(';').next().unwrap_or_default().to_owned();
        Self { child, address }
    }

    /// Sends a request, and answers with the status line, the head and the body.
    pub(super) fn ask(&self, request: &str, headers: &[&str], body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let mut text =
            format!("{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(text.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.expect("a status"), head.to_owned(), body.to_owned())
    }

    fn stop(mut self) -> i32 {
        let process = Pid::from_child(&self.child);
        kill_process(process, Signal::INT).expect("it runs");
        self.child.wait().expect("it ends").code().expect("by itself")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds an approver by password and a viewer by token; answers with the token.
pub(super) fn with_users(folder: &Path) -> String {
    let hashed = run_with(folder, &["password", "--json"], &format!("{PASSWORD}\n"));
    assert_eq!(hashed.code, 0, "{}", hashed.stderr);
    let token = run(folder, &["password", "--token", "--json"]).json();
    let hash = hashed.json()["setting"].as_str().expect("a line").to_owned();
    let digest = token["setting"].as_str().expect("a line");
    let file = folder.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let users = format!(
        "\n[[server.user]]\nname = \"ann\"\nroles = [\"approver\", \"requester\"]\n{hash}\n\
         [[server.user]]\nname = \"robot\"\nroles = [\"viewer\"]\n{digest}\n"
    );
    std::fs::write(&file, configuration + &users).expect("written");
    token["token"].as_str().expect("a token").to_owned()
}

/// The whole way: planned by command, approved on the page, carried out by command, read on the page.
#[test]
fn a_plan_is_approved_on_the_page() {
    let folder = lake();
    let path = folder.path();
    let token = with_users(path);
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let id = plan["plan_id"].as_str().expect("an id").to_owned();
    let served = Served::start(path);
    let origin = format!("origin: http://{}", served.address);
    let form = "content-type: application/x-www-form-urlencoded";
    let sign_in = "name=ann&password=several+words+in+a+row";
    let (status, head, _) = served.ask("POST /sign-in", &[&origin, form], sign_in);
    assert_eq!(status, 303, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap_or_default());
    let (status, _, page) = served.ask(&format!("GET /plans/{id}"), &[&cookie], "");
    assert_eq!(status, 200);
    assert!(page.contains("T-1") && page.contains("2026/a.json") && !page.contains("u1<"));
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").expect("a form");
    let form_token = rest.split('"').next().unwrap_or_default();
    let fields = format!("form_token={form_token}&confirm={}", &id[..8]);
    let approve = format!("POST /plans/{id}/approve");
    assert_eq!(served.ask(&approve, &[&origin, form, &cookie], &fields).0, 303);
    assert_eq!(run(path, &["erase", &id]).code, 0);
    assert_eq!(run(path, &["certificate", &id]).code, 0);
    let authorization = format!("authorization: Bearer {token}");
    let ask = |what: &str| served.ask(&format!("GET {what}"), &[&authorization], "");
    let (status, _, text) = ask(&format!("/api/v1/plans/{id}/progress"));
    let progress: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (status, &progress["state"], &progress["ended"]),
        (200, &"finished".into(), &progress["objects"])
    );
    let (status, _, text) = ask(&format!("/api/v1/plans/{id}/certificate"));
    let certificate: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &certificate["approval"]["by"]), (200, &"ann".into()));
    let (status, _, page) = served.ask(&format!("GET /plans/{id}/certificate"), &[&cookie], "");
    assert!(status == 200 && page.contains("ann") && !page.contains(CANARY));
    assert_eq!(served.stop(), 0);
}

#[test]
fn nobody_is_served_where_nobody_may_sign_in() {
    let folder = lake();
    let served = run(folder.path(), &["serve"]);
    assert_eq!(served.code, 2, "{}", served.stderr);
    assert!(served.stderr.contains("[[server.user]]"), "{}", served.stderr);
    with_users(folder.path());
    let open = run(folder.path(), &["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(open.code, 2, "{}", open.stderr);
}

#[test]
fn a_password_is_long_and_never_printed() {
    let folder = lake();
    let short = run_with(folder.path(), &["password"], "fourteen chars");
    assert_eq!(short.code, 2, "{}", short.stderr);
    let long = run_with(folder.path(), &["password"], PASSWORD);
    assert!(long.code == 0 && long.stdout.starts_with("password_hash = \"$argon2id$v=19$m=19456"));
    assert!(!long.stdout.contains(PASSWORD));
}

#[test]
fn what_is_wrong_with_a_user_is_told_by_place() {
    let folder = lake();
    let file = folder.path().join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let users = "\n[server]\nlisten = \"here\"\nurl = \"example.org\"\nidle = \"x\"\n\
        [[server.user]]\nname = \"<b>\"\nroles = [\"boss\"]\npassword_hash = \"secret\"\ntoken_digest = \"1\"\n\
        [[server.user]]\nname = \"ann\"\nroles = []\n[[server.user]]\nname = \"Ann\"\nroles = [\"viewer\"]\n";
    std::fs::write(&file, configuration + users).expect("written");
    let failed = run(folder.path(), &["status"]);
    assert_eq!(failed.code, 2);
    insta::assert_snapshot!("server_problems", failed.stderr);
}
