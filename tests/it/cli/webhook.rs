//! Events to a webhook, signed, and to a topic: told again until they are taken, and then never again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::flow::document;
use super::{CANARY, Run, lacuna, lake, run};
use crate::support::{python, services};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What was sent.
struct Heard {
    headers: BTreeMap<String, String>,
    body: String,
}

/// A receiver that answers each request with the next of these statuses.
fn receiver(statuses: &'static [u16]) -> (String, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for status in statuses {
            let (stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            reader.read_line(&mut line).expect("a request");
            assert!(line.starts_with("POST /hook "), "{line}");
            let mut headers = BTreeMap::new();
            loop {
                line.clear();
                reader.read_line(&mut line).expect("a header");
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                headers.insert(name.to_lowercase(), value.to_owned());
            }
            let length: usize = headers["content-length"].parse().expect("a length");
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let body = String::from_utf8(body).expect("UTF-8");
            let answer =
                format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nlocation: /x\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).expect("answered");
            sender.send(Heard { headers, body }).expect("somebody listens");
        }
    });
    (url, heard)
}

fn notify(folder: &Path) -> Run {
    let mut command = lacuna(folder);
    let command = command.env("HOOK", SECRET).args(["notify", "--json"]);
    let output = command.output().expect("started");
    Run {
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code().expect("it was not killed"),
    }
}

fn with_webhook(url: &str) -> tempfile::TempDir {
    let folder = lake();
    let file = folder.path().join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let webhook = format!("\n[webhook]\nurl = \"{url}\"\nsecret_env = \"HOOK\"\n");
    std::fs::write(&file, configuration + &webhook).expect("written");
    folder
}

#[test]
fn an_event_is_told_until_it_is_taken_and_then_never_again() {
    let (url, heard) = receiver(&[500, 302, 204, 200, 200, 200]);
    let folder = with_webhook(&url);
    let path = folder.path();
    let heard = || heard.recv_timeout(Duration::from_secs(20)).expect("an event");
    let plan = ["plan", "--subject", "user=u1", "--request", "T-1", "--json"];
    let plan = lacuna(path).env("HOOK", SECRET).args(plan).output().expect("started");
    let plan: Value = serde_json::from_slice(&plan.stdout).expect("JSON");
    let id = plan["plan_id"].as_str().expect("an id");
    let mut ids = Vec::new();
    for status in ["500", "302"] {
        let run = notify(path);
        assert_eq!(run.code, 3, "{}", run.stderr);
        let failed = document(&run, "cli.notify")["failed"][0].clone();
        assert_eq!(failed["reason"], format!("the webhook answered with {status}"));
        ids.push(heard().headers["webhook-id"].clone());
    }
    let sent = document(&notify(path), "cli.notify");
    assert_eq!(
        (&sent["sent"][0]["to"], &sent["sent"][0]["plan"]),
        (&"[webhook]".into(), &id.into())
    );
    let taken = heard();
    ids.push(taken.headers["webhook-id"].clone());
    ids.dedup();
    assert_eq!(ids.len(), 1, "the receiver knows it again");
    let signed = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let signed = signed.map(|name| taken.headers[name].as_str());
    let words = [SECRET, signed[0], signed[1], signed[2], &taken.body];
    python::run("check_hook.py", &words.map(OsStr::new));
    let event: Value = serde_json::from_str(&taken.body).expect("JSON");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/documents/event.v1.json");
    let schema = serde_json::from_slice(&std::fs::read(schema).expect("a schema")).expect("JSON");
    assert!(jsonschema::validator_for(&schema).expect("a schema").is_valid(&event), "{event:#}");
    assert_eq!((&event["occasion"], &event["plan_id"]), (&"decide".into(), &id.into()));
    assert_eq!(document(&notify(path), "cli.notify")["sent"], Value::Array(Vec::new()));

    let approve = ["approve", id, "--by", "ann", "--confirm", &id[..8]];
    let approve = lacuna(path).env("HOOK", SECRET).args(approve).output().expect("started");
    assert!(approve.status.success());
    assert_eq!(document(&notify(path), "cli.notify")["sent"][0]["occasion"], "approved");
    let told = |expected: &str| {
        let event: Value = serde_json::from_str(&heard().body).expect("JSON");
        assert_eq!(event["occasion"], expected);
        event["event_id"].as_str().expect("an id").to_owned()
    };
    let first = told("approved");
    // What is decided once more is told once more, and is another event.
    for (words, expected) in [
        (&["reject", id, "--by", "ann", "--reason", "wait"][..], "rejected"),
        (&["approve", id, "--by", "ann", "--confirm", &id[..8]], "approved"),
    ] {
        let decided = lacuna(path).env("HOOK", SECRET).args(words).output().expect("started");
        assert!(decided.status.success());
        assert_eq!(document(&notify(path), "cli.notify")["sent"][0]["occasion"], expected);
        assert_ne!(told(expected), first);
        assert_eq!(document(&notify(path), "cli.notify")["sent"], Value::Array(Vec::new()));
    }
}

/// A queue that is subscribed to the topic gets the event, once.
#[test]
fn an_event_is_published_to_a_topic() {
    let endpoint = services::dynamodb();
    let folder = lake();
    let path = folder.path();
    let name = services::unique("erasures");
    let topic = |what: &str| {
        let words = [endpoint.as_str(), name.as_str(), what];
        python::run("topic.py", &words.map(OsStr::new))
    };
    topic("make");
    let file = path.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let settings = format!(
        "\n[sns]\ntopic_arn = \"arn:aws:sns:eu-west-1:000000000000:{name}\"\nendpoint = \"{endpoint}\"\n"
    );
    std::fs::write(&file, configuration + &settings).expect("written");
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let notify = || {
        let mut command = lacuna(path);
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        let output = command.args(["notify", "--json"]).output().expect("started");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(output.status.success(), "{answer:#}");
        answer["sent"].as_array().expect("a list").len()
    };
    assert_eq!((notify(), notify()), (1, 0));
    let received: Vec<Value> =
        topic("receive").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(
        (&received[0]["plan_id"], &received[0]["occasion"]),
        (&plan["plan_id"], &"decide".into())
    );
}

#[test]
fn a_webhook_that_cannot_be_is_refused() {
    let folder = with_webhook("http://hooks.example.org/");
    let refused = notify(folder.path());
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no address to send to"), "{}", refused.stderr);
    let folder = with_webhook("http://127.0.0.1:1/");
    let mut command = lacuna(folder.path());
    let output = command.env("HOOK", CANARY).arg("notify").output().expect("started");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && !told.contains(CANARY), "{told}");
    let unset = run(folder.path(), &["notify"]);
    assert!(unset.code == 2 && unset.stderr.contains("`HOOK` is not set"), "{}", unset.stderr);
}
