//! Mails by a real server: they arrive, their links decide, once.

use std::ffi::OsStr;
use std::path::Path;

use serde_json::Value;

use super::flow::document;
use super::serving::Served;
use super::{CANARY, lake, run};
use crate::support::{python, services};

/// An address that no other test's mails go to.
fn fresh_address(folder: &Path) -> String {
    let name = folder.file_name().and_then(OsStr::to_str).expect("a name");
    format!("ann{}@example.org", name.replace('.', "-").to_lowercase())
}

/// A lake whose approver is written to by this server.
fn with_mail(server: &str) -> (tempfile::TempDir, String) {
    let folder = lake();
    let path = folder.path();
    let address = fresh_address(path);
    let token = run(path, &["password", "--token", "--json"]).json();
    let digest = token["setting"].as_str().expect("a line");
    let file = path.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("a configuration");
    let mail = format!(
        "\n[mail]\nserver = \"{server}\"\nfrom = \"Lacuna <lacuna@example.org>\"\n\
         [[server.user]]\nname = \"ann\"\nroles = [\"approver\"]\nemail = \"{address}\"\n{digest}\n"
    );
    std::fs::write(&file, configuration + &mail).expect("written");
    (folder, address)
}

fn mails(address: &str) -> Vec<Value> {
    let told = python::run("read_mail.py", &[services::mailbox().as_os_str(), OsStr::new(address)]);
    told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The path and query of the link behind a word.
fn link(mail: &Value, word: &str) -> String {
    let text = mail["text"].as_str().expect("a text");
    let line = text.lines().find_map(|line| line.strip_prefix(word)).expect("a link");
    let at = line.find("/decide?").expect("a path");
    line[at..].to_owned()
}

/// The mail arrives; HEAD and GET of its links change nothing; of many that send the form at once one decides.
#[test]
fn a_mail_leads_to_one_decision() {
    let (folder, address) = with_mail(&services::smtp());
    let path = folder.path();
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let id = plan["plan_id"].as_str().expect("an id");
    let notified = document(&run(path, &["notify", "--json"]), "cli.notify");
    assert_eq!(notified["sent"][0]["to"], "ann", "{notified:#}");
    let again = run(path, &["notify"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "nothing is due\n"));
    let mails = mails(&address);
    assert_eq!(mails.len(), 1, "{mails:?}");
    let mail = &mails[0];
    assert_eq!(mail["subject"], "To decide: erasure T-1");
    assert_eq!(mail["from"], "Lacuna <lacuna@example.org>");
    assert!(mail["text"].as_str().is_some_and(|text| text.contains("3 rows in 2 objects")));
    let served = Served::start(path);
    let approve = link(mail, "Approve: ");
    for method in ["HEAD", "GET", "GET"] {
        let (status, ..) = served.ask(&format!("{method} {approve}"), &[], "");
        assert_eq!(status, 200, "{method}");
    }
    assert!(!path.join(".lacuna/ledger/decisions").exists(), "to look changes nothing");
    let origin = format!("origin: http://{}", served.address);
    let headers = [origin.as_str(), "content-type: application/x-www-form-urlencoded"];
    let text = approve.split_once('?').expect("a query").1;
    let body = format!("{text}&confirm={}", &id[..8]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| served.ask("POST /decide", &headers, &body).0))
            .collect();
        tries.into_iter().map(|it| it.join().expect("answered")).collect()
    });
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(409)), (1, 99), "{statuses:?}");
    let decisions = path.join(format!(".lacuna/ledger/decisions/{id}"));
    assert_eq!(std::fs::read_dir(decisions).expect("a folder").count(), 1);
    assert_eq!(run(path, &["erase", id]).code, 0);
    assert_eq!(run(path, &["audit", "verify"]).code, 0);
}

/// A link by command is the same as one by mail.
#[test]
fn a_link_is_made_by_command() {
    let (folder, _) = with_mail("smtp://127.0.0.1:1");
    let path = folder.path();
    let plan = run(path, &["plan", "--subject", "user=u1", "--request", "T-1", "--json"]).json();
    let id = plan["plan_id"].as_str().expect("an id");
    let made = run(path, &["link", id, "--approver", "ann", "--reject", "--json"]);
    let made = document(&made, "cli.link");
    assert_eq!((&made["approver"], &made["action"]), (&"ann".into(), &"reject".into()));
    let url = made["url"].as_str().expect("an address");
    let link = &url[url.find("/decide?").expect("a path")..];
    let served = Served::start(path);
    let (status, _, page) = served.ask(&format!("GET {link}"), &[], "");
    assert!(status == 200 && page.contains("name=\"reason\""), "{page}");
    for name in ["bob", CANARY] {
        let refused = run(path, &["link", id, "--approver", name]);
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(!refused.stderr.contains(CANARY));
    }
}

/// No server there: told, nothing is noted, 3. No server configured: 2.
#[test]
fn a_mail_that_is_not_taken_is_told() {
    let (folder, address) = with_mail("smtp://127.0.0.1:1");
    let path = folder.path();
    run(path, &["plan", "--subject", "user=u1", "--request", "T-1"]);
    let notified = run(path, &["notify"]);
    assert_eq!(notified.code, 3, "{}{}", notified.stdout, notified.stderr);
    assert!(notified.stdout.contains("not sent"), "{}", notified.stdout);
    assert!(!notified.stdout.contains(&address), "{}", notified.stdout);
    assert!(!path.join(".lacuna/ledger/mails").exists());
    let file = path.join("lacuna.toml");
    let configuration = std::fs::read_to_string(&file).expect("one");
    std::fs::write(&file, configuration.replace("smtp://127.0.0.1:1", "mail")).expect("written");
    assert_eq!(run(path, &["notify"]).code, 2);
    assert_eq!(run(lake().path(), &["notify"]).code, 2);
}
