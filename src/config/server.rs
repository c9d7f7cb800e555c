//! `[server]` and `[[server.user]]`: where the pages are served, and to whom.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use crate::domain::access::Role;

use super::error::Problem;
use super::table::{Table, Text};

/// The port of the pages where none is configured.
const PORT: u16 = 8620;

/// Where the pages are served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// The address to listen at: this machine's own unless another is configured.
    pub listen: SocketAddr,
    /// The origin under which people reach the pages, such as `https://erasure.example.org`, where a
    /// proxy stands before them; without a slash at its end.
    pub url: Option<String>,
    /// For how long somebody stays signed in without doing anything, in seconds.
    pub idle_seconds: u64,
    /// Who may sign in.
    pub users: Vec<UserSettings>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)),
            url: None,
            idle_seconds: 30 * 60,
            users: Vec::new(),
        }
    }
}

impl ServerSettings {
    /// Where people reach the pages, without a slash at its end.
    pub fn origin(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("http://{}", self.listen))
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSettings {
    /// The name, as decisions and the audit trail have it.
    pub name: String,
    /// At least one role.
    pub roles: BTreeSet<Role>,
    /// By what a password is known; nobody signs in to the pages without.
    pub password: Option<PasswordHash>,
    /// By what a token for the API is known: SHA-256 of it, in 64 hexadecimal characters.
    pub token: Option<String>,
    /// Where mails to them go, and by what an identity provider may know them; none are sent to who has no
    /// address.
    pub email: Option<String>,
    /// By what the identity provider knows them for good.
    pub subject: Option<String>,
}

/// An argon2id hash in the PHC text form. It tells little, and that is not printed either.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// The hash of this text form, if it is one of argon2id.
    pub fn parse(text: &str) -> Option<Self> {
        let hash = argon2::PasswordHash::new(text).ok()?;
        (hash.algorithm.as_str() == "argon2id" && hash.hash.is_some())
            .then(|| Self(text.to_owned()))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PasswordHash(…)")
    }
}

/// Reads `[server]`; what the environment gives for `listen` and `url` is put in by the caller.
pub(super) fn read(root: &mut Table<'_>) -> (ServerSettings, Option<Text>, Option<Text>) {
    let mut settings = ServerSettings::default();
    let Some(mut table) = root.table("server") else { return (settings, None, None) };
    let listen = table.text("listen");
    let url = table.text("url");
    if let Some(text) = table.text("idle") {
        let seconds = super::file::duration("idle", &text.value);
        settings.idle_seconds = checked(&table, &text, seconds).unwrap_or(settings.idle_seconds);
    }
    for mut user in table.tables("user") {
        let read = read_user(&mut user);
        user.finish();
        settings.users.extend(read);
    }
    check_names(&table, &settings.users);
    table.finish();
    (settings, listen, url)
}

fn read_user(table: &mut Table<'_>) -> Option<UserSettings> {
    let name = table.required("name");
    let name = name.and_then(|text| checked(table, &text, name_of(&text.value)));
    let mut roles = BTreeSet::new();
    for text in table.texts("roles") {
        let known = Role::ALL.map(Role::as_str);
        let role = Role::named(&text.value).ok_or_else(|| {
            Problem::new(format!("`{}` is no role", text.written.escape_debug()))
                .remedy(format!("known are: {}", known.join(", ")))
        });
        roles.extend(checked(table, &text, role));
    }
    if roles.is_empty() {
        let problem = Problem::new("a [[server.user]] has no role");
        table.problem(table.byte, problem.remedy("write roles = [\"viewer\"], or others"));
    }
    let password = table.text("password_hash").and_then(|text| {
        let hash = PasswordHash::parse(&text.value).ok_or_else(|| {
            Problem::new("`password_hash` is no argon2id hash").remedy("make one: lacuna password")
        });
        checked(table, &text, hash)
    });
    let token = table.text("token_digest").and_then(|text| {
        let is_digest =
            text.value.len() == 64 && text.value.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = is_digest.then(|| text.value.to_ascii_lowercase()).ok_or_else(|| {
            Problem::new("`token_digest` is no SHA-256 digest in 64 hexadecimal characters")
                .remedy("make a token and its digest: lacuna password --token")
        });
        checked(table, &text, digest)
    });
    let email = table.text("email");
    let email = email.and_then(|text| checked(table, &text, super::mail::address(&text.value)));
    let subject = table.text("subject").and_then(|text| {
        let subject = match text.value.trim().is_empty() {
            true => Err(Problem::new("`subject` of a [[server.user]] is empty")
                .remedy("write what the identity provider calls them, or leave it out")),
            false => Ok(text.value.clone()),
        };
        checked(table, &text, subject)
    });
    Some(UserSettings { name: name?, roles, password, token, email, subject })
}

/// A name that documents, pages and mails can carry.
fn name_of(text: &str) -> Result<String, Problem> {
    let is_tame = |character: char| {
        character.is_alphanumeric() || matches!(character, ' ' | '.' | '-' | '_' | '@' | '\'')
    };
    if text.trim() == text && !text.is_empty() && text.len() <= 128 && text.chars().all(is_tame) {
        return Ok(text.to_owned());
    }
    Err(Problem::new("`name` of a [[server.user]] cannot be used")
        .remedy("use at most 128 letters, digits, spaces and . - _ @ '"))
}

fn check_names(table: &Table<'_>, users: &[UserSettings]) {
    let (mut seen, mut subjects) = (BTreeSet::new(), BTreeSet::new());
    for user in users {
        if !seen.insert(user.name.to_lowercase()) {
            let problem = Problem::new(format!("two [[server.user]] are named `{}`", user.name));
            table.problem(table.byte, problem.remedy("give each a name of its own"));
        }
        if user.subject.as_ref().is_some_and(|subject| !subjects.insert(subject)) {
            let problem = Problem::new("two [[server.user]] have the same `subject`");
            table.problem(table.byte, problem.remedy("a subject is one person's"));
        }
    }
}

/// An address to listen at: `127.0.0.1:8620`, `[::1]:8620`, or just `:8620` for this machine alone.
pub(super) fn address(text: &str) -> Result<SocketAddr, Problem> {
    let full = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    full.parse().map_err(|_| {
        Problem::new("`listen` is no address and port")
            .remedy("write it as 127.0.0.1:8620; 0.0.0.0:8620 is every address of this machine")
    })
}

/// An origin: `http` or `https`, a host, perhaps a port, nothing behind.
pub(super) fn origin(text: &str) -> Result<String, Problem> {
    let wrong = || {
        Problem::new("`url` of [server] is no origin")
            .remedy("write it as https://erasure.example.org, without a path")
    };
    let text = text.strip_suffix('/').unwrap_or(text);
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let host = host.ok_or_else(wrong)?;
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(wrong());
    }
    Ok(text.to_ascii_lowercase())
}

fn checked<T>(table: &Table<'_>, text: &Text, value: Result<T, Problem>) -> Option<T> {
    value.map_err(|problem| text.blame(table.document, problem)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_is_one() {
        for text in ["https://a.example", "http://127.0.0.1:8620", "http://[::1]:8620/"] {
            assert!(origin(text).is_ok(), "{text}");
        }
        for text in ["a.example", "ftp://a", "https://", "https://a/b", "https://a@b", "https://a?"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn without_an_address_it_is_this_machine() {
        let here = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(address(":9000").ok(), Some(here(9000)));
        assert_eq!(ServerSettings::default().listen, here(PORT));
        assert!(address("localhost").is_err());
    }
}
