//! `[mail]`: by which server mails are sent, and from whom.

use crate::domain::address::is_this_machine;

use super::error::Problem;
use super::secret::SecretVariable;
use super::table::{Table, Text};

/// How mails are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// The server.
    pub server: MailServer,
    /// The sender, as mails show it: `Lacuna <lacuna@example.org>`.
    pub from: String,
    /// Who Lacuna is to the server, and the variable of the environment with the password; `None` where the
    /// server asks for neither.
    pub login: Option<MailLogin>,
}

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Its name or address.
    pub host: String,
    /// Its port; `None`: that of the protocol.
    pub port: Option<u16>,
    /// How the connection is kept from others.
    pub security: MailSecurity,
}

/// How a connection to a mail server is kept from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte (`smtps://`).
    Tls,
    /// STARTTLS, and nothing without it (`smtp://`).
    StartTls,
    /// None: the server is on this machine (`smtp://127.0.0.1:25`).
    Local,
}

/// Who Lacuna is to a mail server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailLogin {
    /// The name.
    pub user: String,
    /// Where the password is.
    pub password: SecretVariable,
}

/// What `[mail]` says; the rest is put in by the caller, who knows the environment.
pub(super) struct Written {
    pub server: Text,
    pub from: Text,
    pub user: Option<Text>,
    pub password_env: Option<Text>,
}

pub(super) fn read(root: &mut Table<'_>) -> Option<Written> {
    let mut table = root.table("mail")?;
    let (server, from) = (table.required("server"), table.required("from"));
    let (user, password_env) = (table.text("user"), table.text("password_env"));
    table.finish();
    Some(Written { server: server?, from: from?, user, password_env })
}

/// A server as `smtps://HOST`, `smtp://HOST` or `smtp://HOST:PORT`.
pub(super) fn server(text: &str) -> Result<MailServer, Problem> {
    let wrong = || {
        Problem::new("`server` of [mail] is no mail server")
            .remedy("write it as smtps://mail.example.org or smtp://mail.example.org:587")
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
        None => (rest, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    let security = match scheme {
        "smtps" => MailSecurity::Tls,
        "smtp" if is_this_machine(host) => MailSecurity::Local,
        "smtp" => MailSecurity::StartTls,
        _ => return Err(wrong()),
    };
    Ok(MailServer { host: host.to_owned(), port, security })
}

/// A mail address: what can be told without asking its server.
pub(super) fn address(text: &str) -> Result<String, Problem> {
    let is_one = text
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'));
    let is_tame = |it: char| !it.is_control() && !it.is_whitespace() && !"<>,;".contains(it);
    if is_one && text.len() <= 254 && text.chars().all(is_tame) {
        return Ok(text.to_owned());
    }
    Err(Problem::new("`email` of a [[server.user]] is no mail address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_this_machine_without_tls() {
        let of = |text: &str| server(text).ok().map(|it| (it.host, it.port, it.security));
        let table = [
            ("smtps://mail.example.org", "mail.example.org", None, MailSecurity::Tls),
            ("smtp://mail.example.org/", "mail.example.org", None, MailSecurity::StartTls),
            (
                "smtp://mail.example.org:2525",
                "mail.example.org",
                Some(2525),
                MailSecurity::StartTls,
            ),
            ("smtp://10.0.0.1:25", "10.0.0.1", Some(25), MailSecurity::StartTls),
            ("smtp://127.0.0.1:25", "127.0.0.1", Some(25), MailSecurity::Local),
            ("smtp://localhost", "localhost", None, MailSecurity::Local),
            ("smtps://localhost", "localhost", None, MailSecurity::Tls),
        ];
        for (text, host, port, security) in table {
            assert_eq!(of(text), Some((host.to_owned(), port, security)), "{text}");
        }
        for text in ["", "mail", "http://a", "smtp://", "smtp://a:b", "smtp://u@a", "smtp://a/b"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn only_an_address_is_one() {
        assert!(address("ann@example.org").is_ok());
        for text in ["", "ann", "ann@host", "@a.b", "a@b.c, d@e.f", "a b@c.d", "a@b.c\nBcc: x@y.z"]
        {
            assert!(address(text).is_err(), "{text:?}");
        }
    }
}
