use super::{CANARY, lake, run, run_with};

#[test]
fn a_wrong_command_line_says_what_is_wrong() {
    let folder = lake();
    let wrong: &[&[&str]] = &[
        &["plam"],
        &["plan"],
        &["plan", "--subjcet", "x"],
        &["show"],
        &["approve", "0123456789"],
        &["erase"],
        &["erase", "0123456789", "--subject", "x"],
        &["verify", "0123456789", "--deep", "101"],
        &["--color", "sometimes", "status"],
        &["--quiet", "-v", "status"],
        &["completions", "tcsh"],
        &["find", "--config"],
    ];
    let mut told = String::new();
    for arguments in wrong {
        let run = run(folder.path(), arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        told += &format!("$ lacuna {}\n{}\n", arguments.join(" "), run.stderr);
    }
    insta::assert_snapshot!("wrong_usage", told);
}

/// L1, L2: an identifier in an argument or a file is never printed, whatever is wrong with it.
#[test]
fn no_failure_shows_an_identifier() {
    let folder = lake();
    let file = folder.path().join("request.csv");
    std::fs::write(&file, format!("user,email\nu1,{CANARY}\n\"{CANARY}\n")).expect("written");
    let glued = [format!("--subject={CANARY}"), format!("--{CANARY}"), format!("-{CANARY}")];
    let unknown = format!("emial={CANARY}");
    let number = format!("number={CANARY}");
    let wrong: &[&[&str]] = &[
        &[CANARY],
        &["find", &unknown],
        &["find", &number],
        &["find", "--nothing", CANARY],
        &["find", &glued[1]],
        &["find", &glued[2]],
        &["index", &glued[0]],
        &["plan", CANARY],
        &["plan", "--subject", &unknown],
        &["plan", "--subject", CANARY, "--request", CANARY],
        &["plan", "--subjects", "request.csv"],
        &["erase", "--subject", &unknown, "--by", "ann"],
        &["verify", "--subject", &unknown],
        &["verify", "--deep", CANARY],
        &["show", CANARY],
        &["digest", &unknown],
        &["completions", CANARY],
        &["man", CANARY],
        &["--color", CANARY, "status"],
        &["--config", "missing.toml", "find", CANARY],
    ];
    for arguments in wrong {
        let all = [*arguments, &["-v"]].concat();
        let run = run_with(folder.path(), &all, &format!("{unknown}\n"));
        assert_ne!(run.code, 0, "{arguments:?}");
        for printed in [&run.stdout, &run.stderr] {
            assert!(!printed.contains("canary"), "{arguments:?} printed: {printed}");
        }
    }
}

/// H9: a batch with a line that cannot be read is refused as a whole, each such line by number.
#[test]
fn a_batch_that_cannot_be_read_names_its_lines() {
    let folder = lake();
    let batch =
        format!("\u{feff}user=u1\r\n\r\nphone=1\r\nemail=nobody\r\nuser=\t\r\n{CANARY}=1\n");
    let run = run_with(folder.path(), &["find", "--subjects", "-"], &batch);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    insta::assert_snapshot!("rejected_lines", run.stderr);
}

#[test]
fn errors_are_a_document_too() {
    let folder = lake();
    let run = run(folder.path(), &["find", "user=", "--json"]);
    assert_eq!(run.code, 2);
    let document = run.json();
    assert_eq!(document["schema"], "lacuna.cli.error.v1");
    assert_eq!(document["exit_code"], 2);
    assert!(run.stderr.starts_with("error: "));
}

#[test]
fn a_configuration_with_problems_is_refused() {
    let folder = lake();
    let file = folder.path().join("lacuna.toml");
    let text = std::fs::read_to_string(&file).expect("one").replace("format = ", "fromat = ");
    std::fs::write(&file, text).expect("written");
    let run = run(folder.path(), &["find", "u1"]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    insta::assert_snapshot!("wrong_configuration", run.stderr);
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = lake();
    let key = folder.path().join(".lacuna/digest.key");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("set");
    let run = run(folder.path(), &["digest", "u1"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("chmod 600"), "{}", run.stderr);
}
