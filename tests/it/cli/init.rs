use std::os::unix::fs::PermissionsExt as _;

use super::{lake, run};

#[test]
fn init_writes_what_the_other_commands_need() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = run(folder.path(), &["init", "erasure"]);
    assert_eq!((init.code, init.stderr.as_str()), (0, ""));
    insta::assert_snapshot!("init", init.stdout);
    let home = folder.path().join("erasure");
    let key = home.join(".lacuna/digest.key");
    let text = std::fs::read_to_string(&key).expect("a key");
    assert!(text.len() == 65 && text.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(key.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::read_to_string(home.join(".lacuna/.gitignore")).expect("one").lines().last(),
        Some("*")
    );
    let digest = run(&home, &["digest", "user=42"]);
    assert_eq!((digest.code, digest.stderr.as_str()), (0, ""));
}

#[test]
fn init_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("lacuna.toml"), "mine").expect("written");
    let init = run(folder.path(), &["init"]);
    assert_eq!(init.code, 2);
    assert!(init.stderr.contains("exists already"), "{}", init.stderr);
    assert!(!folder.path().join(".lacuna").exists());
    std::fs::remove_file(folder.path().join("lacuna.toml")).expect("removed");
    assert_eq!(run(folder.path(), &["init"]).code, 0);
    let key = folder.path().join(".lacuna/digest.key");
    let before = std::fs::read(&key).expect("a key");
    std::fs::remove_file(folder.path().join("lacuna.toml")).expect("removed");
    assert_eq!(run(folder.path(), &["init"]).code, 2);
    assert_eq!(std::fs::read(&key).expect("a key"), before);
}

#[test]
fn two_keys_differ_and_a_digest_follows_its_key() {
    let (left, right) = (lake(), lake());
    let digest = |folder: &tempfile::TempDir| run(folder.path(), &["digest", "user=u1"]).stdout;
    assert_eq!(digest(&left), digest(&left));
    assert_ne!(digest(&left), digest(&right));
}
