//! Very many objects, and lists of them.

use super::flow::document;
use super::{lake, run, run_with};

/// Hazard D8: a run that is killed in the middle has recorded whole objects, and the next one goes on
/// from there.
#[test]
fn a_killed_run_is_taken_up_again() {
    let folder = lake();
    let path = folder.path();
    // Nothing is recorded yet where there is no index to ask.
    let recorded = || {
        let status = run(path, &["status", "--json"]);
        if status.code == 0 {
            status.json()["index"]["objects"].as_u64().expect("a count")
        } else {
            0
        }
    };
    let (mut objects, mut kept) = (0, 0);
    // A machine that is done before it is killed gets more to do.
    while kept < 50 || kept >= objects {
        for number in objects..objects + 4000 {
            let text = format!("{{\"user_id\":\"n{}\"}}\n{{\"user_id\":\"u1\"}}\n", number % 7);
            std::fs::write(path.join(format!("reviews/{number:05}.json")), text).expect("written");
        }
        objects += 4000;
        let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_lacuna"))
            .args(["index", "reviews", "--quiet"])
            .current_dir(path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("started");
        let wanted = kept + 50;
        while recorded() < wanted && running.try_wait().expect("a state").is_none() {}
        running.kill().expect("killed");
        running.wait().expect("ended");
        kept = recorded();
    }
    let again = run(path, &["index", "reviews", "--json"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let report = &again.json()["datasets"][0];
    assert_eq!(report["unchanged"].as_u64(), Some(kept));
    assert_eq!(report["coverage"]["indexed"].as_u64(), Some(objects + 2));
    let found = run(path, &["find", "user=n3", "--json"]).json();
    assert_eq!(found.as_array().map(Vec::len), Some((0..objects).filter(|it| it % 7 == 3).count()));
}

/// Objects are taken from standard input and from a file, and a wrong line is wrong usage.
#[test]
fn just_the_objects_of_a_list_are_indexed() {
    let folder = lake();
    let path = folder.path();
    let list = "{\"dataset\":\"reviews\",\"key\":\"2026/a.json\"}\n\
                {\"dataset\":\"clicks\",\"key\":\"1.csv\"}\n";
    let answer = run_with(path, &["index", "--objects", "-", "--json"], list);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let document = document(&answer, "cli.index");
    let counts = |at: usize| document["datasets"][at]["coverage"]["indexed"].as_u64();
    assert_eq!((counts(0), counts(1)), (Some(1), Some(1)));
    std::fs::write(path.join("list"), "{\"dataset\":\"reviews\",\"key\":\"none.json\"}\n")
        .expect("written");
    assert_eq!(run(path, &["index", "--objects", "list"]).code, 3);
    let wrong = run_with(path, &["index", "--objects", "-"], "{\"dataset\":\"reviews\"}\n");
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("line 1") && wrong.stderr.contains("`key`"), "{}", wrong.stderr);
    assert_eq!(run(path, &["index", "reviews", "--objects", "-"]).code, 2);
    assert_eq!(run(path, &["index", "--inventory", "nowhere.json"]).code, 2);
}
