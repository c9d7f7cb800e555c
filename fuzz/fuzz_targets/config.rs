//! Any bytes as a configuration, as a batch of subjects, and as a field path.
#![no_main]

use std::path::PathBuf;
use std::sync::OnceLock;

use lacuna::config::{Config, Environment};
use lacuna::domain::field::FieldPath;
use lacuna_fuzz::panics;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let (file, environment) = place();
    std::fs::write(file, bytes).expect("a file");
    if let Ok(config) = Config::load(Some(file), environment) {
        assert_eq!(config.digest(), config.clone().digest());
        for dataset in &config.datasets {
            for field in &dataset.identifiers {
                let path: FieldPath = field.path.to_string().parse().expect("as it is shown");
                assert_eq!(path, field.path);
            }
        }
        let _ = config.vocabulary().batch(bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(path) = text.parse::<FieldPath>() {
            assert_eq!(path.to_string().parse::<FieldPath>().expect("as it is shown"), path);
        }
        let _ = known().vocabulary().subject(text);
        let _ = lacuna::config::file_location(text);
        let _ = known().metastore_at(text, environment);
    }
    let _ = known().vocabulary().batch(bytes);
});

/// A file of this process, and an environment without variables.
fn place() -> &'static (PathBuf, Environment) {
    static PLACE: OnceLock<(PathBuf, Environment)> = OnceLock::new();
    PLACE.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = folder.join(format!("lacuna-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let environment = Environment::new([("HOME", "/nowhere")], folder.clone());
        (folder.join("lacuna.toml"), environment)
    })
}

/// A good configuration.
fn known() -> &'static Config {
    static KNOWN: OnceLock<Config> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let (file, environment) = place();
        let file = file.with_file_name("known.toml");
        let text = include_str!("../seeds/config/two_datasets.toml");
        std::fs::write(&file, text).expect("a file");
        Config::load(Some(&file), environment).expect("a good configuration")
    })
}
