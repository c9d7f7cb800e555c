//! `[webhook]`: where events are sent to, and the secret that they are signed by.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::address::SafeAddress;

use super::environment::Environment;
use super::error::{ConfigError, Problem};
use super::secret::SecretVariable;
use super::table::{Table, Text};

/// Where events are sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address, `https` or of this machine.
    pub url: String,
    /// Where the secret is that they are signed by.
    pub secret: SecretVariable,
}

impl WebhookSettings {
    /// What events are signed by: 24 to 64 bytes.
    ///
    /// # Errors
    ///
    /// When the variable is not set, or holds something else.
    pub fn key(&self, environment: &Environment) -> Result<Vec<u8>, ConfigError> {
        let key = bytes_of(self.secret.read(environment)?.as_str());
        let make = "make one: echo \"whsec_$(openssl rand -base64 32)\"";
        Ok(key.ok_or_else(|| self.secret.holds_none(make))?)
    }
}

/// What `[webhook]` says.
pub(super) struct Written {
    pub url: Text,
    pub secret_env: Text,
}

pub(super) fn read(root: &mut Table<'_>) -> Option<Written> {
    let mut table = root.table("webhook")?;
    let (url, secret_env) = (table.required("url"), table.required("secret_env"));
    table.finish();
    Some(Written { url: url?, secret_env: secret_env? })
}

/// An address that events may be sent to.
pub(super) fn url(text: &str) -> Result<String, Problem> {
    match SafeAddress::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(Problem::new("`url` of [webhook] is no address to send to").remedy(
            "write it as https://hooks.example.org/path; http:// is for this machine alone",
        )),
    }
}

/// A secret as *Standard Webhooks* writes it: `whsec_` and 24 to 64 bytes in Base64.
fn bytes_of(secret: &str) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(secret.trim().strip_prefix("whsec_")?).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_enough() {
        assert_eq!(
            bytes_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").map(|it| it.len()),
            Some(24)
        );
        for text in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"]
        {
            assert!(bytes_of(text).is_none(), "{text}");
        }
    }
}
