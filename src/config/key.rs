//! The digest key: where it is, and how it is read without being shown.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::domain::identifier::{DigestKey, unhex};
use crate::domain::signature::SigningKey;

use super::Config;
use super::environment::Environment;
use super::error::{ConfigError, Problem};
use super::secret::SecretVariable;

/// Where the digest key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file, as an absolute path.
    File(PathBuf),
    /// In the environment variable of this name.
    Variable(String),
}

/// A key file holds 64 characters and a line ending; whatever is much longer is another file.
const LONGEST_KEY_FILE: u64 = 1024;

/// What to do without the digest key.
const LOST: &str = "`lacuna init` writes a new key; an index needs the key it was made with";

impl Config {
    /// Reads the digest key.
    ///
    /// # Errors
    ///
    /// When it is missing, not 64 hexadecimal characters, or in a file that others can read.
    pub fn digest_key(&self, environment: &Environment) -> Result<DigestKey, ConfigError> {
        let (text, place) = match &self.key {
            KeySource::File(path) => {
                (read(path, LOST)?, format!("the key file {}", path.display()))
            }
            KeySource::Variable(name) => {
                let what = "the digest key, 64 hexadecimal characters";
                let text = SecretVariable::new(name.clone(), what).read(environment)?;
                (text.as_str().to_owned(), format!("the environment variable `{name}`"))
            }
        };
        Ok(DigestKey::new(key_bytes(&text, &place, LOST)?))
    }

    /// Reads the key that signs certificates; `None` where none is configured.
    ///
    /// # Errors
    ///
    /// When it is missing, not 64 hexadecimal characters, or in a file that others can read.
    pub fn signing_key(&self) -> Result<Option<SigningKey>, ConfigError> {
        self.signing_key.as_deref().map(signing_key_in).transpose()
    }
}

/// The key that signs, from its file.
///
/// # Errors
///
/// As [`Config::signing_key`].
pub fn signing_key_in(path: &Path) -> Result<SigningKey, ConfigError> {
    let remedy = "a new one is written by `lacuna audit key --create`";
    let text = read(path, remedy)?;
    let place = format!("the key file {}", path.display());
    let key = SigningKey::new(&key_bytes(&text, &place, remedy)?);
    let refused = || Problem::new(format!("{place} holds no key that can sign")).remedy(remedy);
    Ok(key.ok_or_else(refused)?)
}

fn key_bytes(text: &str, place: &str, remedy: &str) -> Result<[u8; 32], Problem> {
    let bytes = unhex(text.trim()).and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| {
        Problem::new(format!("{place} does not hold 64 hexadecimal characters")).remedy(remedy)
    })
}

fn read(path: &Path, remedy: &str) -> Result<String, Problem> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Problem::new(format!("the key file {shown} cannot be read: {error}")).remedy(remedy)
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Problem::new(format!("the key file {shown} is not a file")));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Problem::new(format!("the key file {shown} can be read by other users"))
            .remedy(format!("run: chmod 600 {shown}")));
    }
    let mut text = String::new();
    file.take(LONGEST_KEY_FILE).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
