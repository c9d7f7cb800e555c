use super::*;
use crate::domain::dataset::{EraseAction, FormatName, SupersededPolicy};
use crate::domain::identifier::DigestKey;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let environment = Environment::new(variables.iter().copied(), "/home/lake");
    let source = file::Source { path: Path::new("/home/lake/lacuna.toml"), shown: FILE_NAME, text };
    file::parse(source, &environment)
}

fn told(text: &str) -> String {
    parse(text, &[]).expect_err("a problem").to_string()
}

/// A dataset's table with what is given below it.
fn dataset(rest: &str) -> String {
    format!(
        "[[dataset]]\nname = \"a\"\nlocation = \"data\"\n{rest}\n[[dataset.identifier]]\n\
         namespace = \"user\"\nfield = \"id\"\n"
    )
}

#[test]
fn the_written_template_is_valid() {
    let config = parse(template::CONFIGURATION, &[]).expect("valid");
    assert_eq!(config.datasets.len(), 1);
    assert_eq!(config.metastore, MetastoreSettings::Embedded("/home/lake/.lacuna/index".into()));
    assert_eq!(config.ledger, Location::Directory("/home/lake/.lacuna/ledger".into()));
    assert_eq!(config.datasets[0].location, Location::Directory("/home/lake/data".into()));
    assert_eq!(config.plan, PlanSettings::default());
}

#[test]
fn a_full_file_is_read() {
    let config = parse(include_str!("tests/full.toml"), &[("DATE", "d"), ("REGION", "eu-west-1")])
        .expect("valid");
    let reviews = config.dataset("reviews").expect("configured");
    assert_eq!(reviews.reading.format, Some(FormatName::Jsonl));
    assert_eq!(reviews.location.to_string(), "s3://gdpr-demo/reviews/");
    let keep = vec!["d".parse().expect("a path")];
    assert_eq!(reviews.erase.action, EraseAction::Blank { keep });
    assert_eq!(reviews.erase.superseded, SupersededPolicy::All);
    let clicks = config.dataset("clicks").expect("configured");
    assert_eq!(clicks.location.to_string(), "s3://clicks/raw/");
    assert_eq!(clicks.reading.csv.delimiter, Some(b'\t'));
    assert!(!clicks.reading.csv.header);
    assert_eq!(config.s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.s3.path_style, Some(true));
    assert!(config.signing_key.as_ref().is_some_and(|path| path.ends_with("keys/signing.key")));
    assert!(config.plan.two_people);
    assert_eq!(config.plan.valid_for_seconds, 36 * 60 * 60);
    assert_eq!(config.plan.reserved, ReservedValues::new(["nobody"]));
    let namespaces: Vec<String> =
        config.namespaces().iter().map(|(name, kind)| format!("{name}:{kind:?}")).collect();
    assert_eq!(namespaces, ["user:Integer", "email:Email"]);
}

#[test]
fn an_unknown_key_gets_a_suggestion_and_a_place() {
    let text = dataset("").replace("field", "feild");
    assert_eq!(
        told(&text),
        "the configuration has 2 problems\n  `field` is missing in [[dataset.identifier]] at \
         lacuna.toml:5:1\n  unknown key `feild` in [[dataset.identifier]] at lacuna.toml:7:1; did \
         you mean `field`?"
    );
    assert_eq!(
        told("[metastor]\n"),
        "unknown key `metastor` at lacuna.toml:1:2; did you mean `metastore`?"
    );
}

#[test]
fn problems_say_what_and_where_and_what_to_do() {
    insta::assert_snapshot!(told(include_str!("tests/wrong.toml")));
}

#[test]
fn what_is_not_toml_says_where() {
    let message = told("[metastore]\nurl = \n");
    assert!(message.starts_with("not TOML: ") && message.contains("lacuna.toml:2:"), "{message}");
}

#[test]
fn a_variable_outranks_the_file() {
    let variables = [
        ("LACUNA_METASTORE_URL", "file:/elsewhere"),
        ("LACUNA_IDENTITY_KEY_ENV", "KEY"),
        ("LACUNA_S3_PATH_STYLE", "false"),
        ("LACUNA_PLAN_BLAST_RADIUS", "7"),
    ];
    let text = "[metastore]\nurl = \"file:index\"\n[identity]\nkey_file = \"k\"\n\
                [s3]\npath_style = true\n";
    let config = parse(text, &variables).expect("valid");
    assert_eq!(config.metastore, MetastoreSettings::Embedded("/elsewhere".into()));
    assert_eq!(config.key, KeySource::Variable("KEY".into()));
    assert_eq!(config.s3.path_style, Some(false));
    assert_eq!(config.plan.blast_radius, 7);
}

#[test]
fn a_wrong_variable_is_named_and_its_value_is_not_shown() {
    let error = parse("", &[("LACUNA_PLAN_VALID_FOR", "canary")]).expect_err("wrong");
    let message = error.to_string();
    assert!(
        message.contains("`LACUNA_PLAN_VALID_FOR`") && !message.contains("canary"),
        "{message}"
    );
}

#[test]
fn the_digest_follows_datasets_and_nothing_else() {
    let digest = |text: &str| parse(text, &[]).expect("valid").digest();
    let plain = digest(&dataset(""));
    assert_eq!(plain, digest(&format!("[plan]\nvalid_for = \"1d\"\n{}", dataset(""))));
    assert_ne!(plain, digest(&dataset("include = [\"*.json\"]")));
    assert_ne!(plain, digest(&dataset("erase = { superseded = \"all\" }")));
    assert_ne!(plain, digest(&dataset("").replace("\"id\"", "\"other\"")));
}

#[test]
fn a_key_is_read_from_a_private_file_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("digest.key");
    let environment = Environment::new([("KEY", "beef")], folder.path());
    let mut config = parse("", &[]).expect("valid");
    config.key = KeySource::File(path.clone());
    let told = |config: &Config| match config.digest_key(&environment) {
        Ok(key) => key.check_value().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(told(&config).contains("cannot be read"), "{}", told(&config));
    std::fs::write(&path, format!("{}\n", "aB".repeat(32))).expect("written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("set");
    assert!(told(&config).contains("chmod 600"), "{}", told(&config));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
    assert_eq!(told(&config), DigestKey::new([0xab; 32]).check_value().to_string());
    config.key = KeySource::Variable("KEY".into());
    assert!(told(&config).contains("64 hexadecimal") && !told(&config).contains("beef"));
    config.key = KeySource::Variable("NONE".into());
    assert!(told(&config).contains("is not set"));
}

#[test]
fn the_nearest_file_upwards_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("a/b");
    std::fs::create_dir_all(&inner).expect("made");
    std::fs::write(folder.path().join(FILE_NAME), template::CONFIGURATION).expect("written");
    let config = Config::load(None, &Environment::new([], &inner)).expect("found");
    assert_eq!(config.file, folder.path().join(FILE_NAME));
    let none = Config::load(Some(Path::new("no.toml")), &Environment::new([], &inner));
    assert!(none.expect_err("absent").to_string().contains("no.toml"));
}
