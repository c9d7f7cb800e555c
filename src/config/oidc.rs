//! `[oidc]`: the identity provider that people sign in by.

use crate::domain::address::SafeAddress;

use super::error::Problem;
use super::secret::SecretVariable;
use super::table::{Table, Text};

/// An identity provider (OpenID Connect Core 1.0), and what Lacuna is to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSettings {
    /// Its address, exactly as its tokens name it.
    pub issuer: String,
    /// By what name it knows Lacuna.
    pub client_id: String,
    /// What proves that name to it; `None` where PKCE alone does.
    pub client_secret: Option<SecretVariable>,
}

/// What `[oidc]` says.
pub(super) struct Written {
    pub issuer: Text,
    pub client_id: Text,
    pub client_secret_env: Option<Text>,
}

pub(super) fn read(root: &mut Table<'_>) -> Option<Written> {
    let mut table = root.table("oidc")?;
    let (issuer, client_id) = (table.required("issuer"), table.required("client_id"));
    let client_secret_env = table.text("client_secret_env");
    table.finish();
    Some(Written { issuer: issuer?, client_id: client_id?, client_secret_env })
}

/// An issuer: an address that may be asked, without query and fragment.
pub(super) fn issuer(text: &str) -> Result<String, Problem> {
    match SafeAddress::parse(text) {
        Some(_) if !text.contains(['?', '#']) => Ok(text.to_owned()),
        _ => Err(Problem::new("`issuer` of [oidc] is no address of an identity provider")
            .remedy("write it as https://login.example.org; http:// is for this machine alone")),
    }
}
