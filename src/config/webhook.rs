//! `[webhook]`: where events are sent to, and the secret that they are signed by.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::Problem;
use super::table::{Table, Text};

/// Where events are sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// The address, `https` or of this machine.
    pub url: String,
    /// What events are signed by: 24 to 64 bytes.
    pub secret: Vec<u8>,
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WebhookSettings(…)")
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
    match is_sendable(text) {
        true => Ok(text.to_owned()),
        false => Err(Problem::new("`url` of [webhook] is no address to send to").remedy(
            "write it as https://hooks.example.org/path; http:// is for this machine alone",
        )),
    }
}

/// Where another service answers than AWS's own.
pub(super) fn endpoint(text: &str) -> Result<String, Problem> {
    match is_sendable(text) {
        true => Ok(text.to_owned()),
        false => Err(Problem::new("`endpoint` of [sns] is no address")
            .remedy("write it as https://HOST; http:// is for this machine alone")),
    }
}

/// Whether something may be sent there: never in the clear but to this machine.
pub(super) fn is_sendable(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let is_here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
    let is_tame = text.bytes().all(|byte| byte.is_ascii_graphic()) && !host.contains('@');
    match scheme {
        "https" => is_tame && !host.is_empty(),
        "http" => is_tame && is_here,
        _ => false,
    }
}

/// A secret as *Standard Webhooks* writes it: `whsec_` and 24 to 64 bytes in Base64.
pub(super) fn secret(text: &str) -> Result<Vec<u8>, Problem> {
    let encoded = text.trim().strip_prefix("whsec_");
    let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes.filter(|bytes| (24..=64).contains(&bytes.len())).ok_or_else(|| {
        Problem::new(
            "the environment variable that `secret_env` of [webhook] names holds no secret",
        )
        .remedy("make one: echo \"whsec_$(openssl rand -base64 32)\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_leave_this_machine_by_tls_alone() {
        for text in [
            "https://a.example/b?c=d",
            "http://127.0.0.1:9/x",
            "http://localhost",
            "http://[::1]:9",
        ] {
            assert!(url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a.example",
            "http://a.example",
            "http://127.0.0.1.a.example",
            "ftp://a",
            "https://",
            "https://u:p@a.example",
            "https://a b",
        ] {
            assert!(url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_is_long_enough() {
        assert_eq!(
            secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").map(|it| it.len()).ok(),
            Some(24)
        );
        for text in ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"]
        {
            assert!(secret(text).is_err(), "{text}");
        }
    }
}
