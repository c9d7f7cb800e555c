//! Secrets in the environment. The configuration says in which variable one stands; it is read by the command
//! that needs it, so that no other one has to know it.

use std::fmt;

use super::environment::Environment;
use super::error::{ConfigError, Problem};

/// The variable that holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    name: String,
    /// What it has to hold, as a sentence goes on.
    what: &'static str,
}

/// A secret. `Debug` prints none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl SecretVariable {
    pub(super) fn new(name: String, what: &'static str) -> Self {
        Self { name, what }
    }

    /// What the variable holds.
    ///
    /// # Errors
    ///
    /// When it is not set, or is no text.
    pub fn read(&self, environment: &Environment) -> Result<Secret, ConfigError> {
        let text = environment.text(&self.name)?;
        let text = text.ok_or_else(|| {
            Problem::new(format!("the environment variable `{}` is not set", self.name))
                .remedy(format!("it has to hold {}", self.what))
        })?;
        Ok(Secret(text.to_owned()))
    }

    /// That it holds something else.
    pub(super) fn holds_none(&self, remedy: &str) -> Problem {
        let message =
            format!("the environment variable `{}` does not hold {}", self.name, self.what);
        Problem::new(message).remedy(remedy)
    }
}

impl Secret {
    /// The secret itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}
