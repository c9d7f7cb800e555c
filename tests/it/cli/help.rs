use super::run;

const COMMANDS: &[&str] = &[
    "init",
    "demo",
    "doctor",
    "index",
    "status",
    "find",
    "request",
    "plan",
    "show",
    "preview",
    "approve",
    "reject",
    "notify",
    "link",
    "erase",
    "verify",
    "certificate",
    "audit",
    "vacuum",
    "metastore",
    "serve",
    "password",
    "digest",
    "completions",
    "man",
];

const REQUEST_COMMANDS: &[&str] = &[
    "add",
    "list",
    "show",
    "acknowledge",
    "verify",
    "extend",
    "hold",
    "release",
    "exempt",
    "deny",
    "withdraw",
    "close",
    "reopen",
];

#[test]
fn help_is_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = run(folder.path(), &["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("help", help.stdout);
    for command in COMMANDS {
        let help = run(folder.path(), &[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains("Example"), "{command} has no example");
        insta::assert_snapshot!(format!("help_{command}"), help.stdout);
    }
    for command in REQUEST_COMMANDS {
        let help = run(folder.path(), &["request", command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains("Example"), "{command} has no example");
        insta::assert_snapshot!(format!("help_request_{command}"), help.stdout);
    }
    for command in ["verify", "export", "key"] {
        let help = run(folder.path(), &["audit", command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains("Example"), "{command} has no example");
        insta::assert_snapshot!(format!("help_audit_{command}"), help.stdout);
    }
    for command in ["create", "migrate", "copy", "check"] {
        let help = run(folder.path(), &["metastore", command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
        assert!(help.stdout.contains("Example"), "{command} has no example");
        insta::assert_snapshot!(format!("help_metastore_{command}"), help.stdout);
    }
}

#[test]
fn the_list_of_commands_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let help = run(folder.path(), &["help"]).stdout;
    let section = help.split("Commands:").nth(1).expect("a list").split("\n\n").next();
    let listed: Vec<&str> = section
        .expect("a list")
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert_eq!(listed, COMMANDS);
}

#[test]
fn a_manual_page_and_completions_are_printed() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(run(folder.path(), &["man"]).stdout.contains(".TH lacuna 1"));
    assert!(run(folder.path(), &["man", "plan"]).stdout.contains("purge report"));
    assert_eq!(run(folder.path(), &["man", "nothing"]).code, 2);
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(folder.path(), &["completions", shell]).stdout.contains("lacuna"));
    }
}

/// A reader that has enough is no failure.
#[test]
fn a_closed_pipe_ends_quietly() {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_lacuna"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
    assert_eq!((child.wait().expect("ended").code(), stderr.as_str()), (Some(0), ""));
}
