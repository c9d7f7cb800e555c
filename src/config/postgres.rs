//! A PostgreSQL database as a metastore: its URL, and its password from where PostgreSQL's own
//! clients find it. A password never stands in the file.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::environment::Environment;
use super::error::Problem;

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// `postgres://user@host:port/database?sslmode=…`, without a password.
    pub url: String,
    /// The password, where one was found.
    pub password: Option<Password>,
}

/// A secret: `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(<secret>)")
    }
}

const REMEDY: &str = "write postgres://USER@HOST:PORT/DATABASE?sslmode=verify-full";

/// The database that a URL names. Its password is looked for later, by [`find_password`].
pub(super) fn settings(url: &str) -> Result<PostgresSettings, Problem> {
    let parts = Parts::of(url).filter(|parts| !parts.host.is_empty() && !parts.database.is_empty());
    let parts = parts.ok_or_else(|| {
        Problem::new("the metastore's url is not that of a database").remedy(REMEDY)
    })?;
    if parts.has_password {
        return Err(Problem::new("a password stands in the metastore's url").remedy(
            "take it out; the password is read from the variable PGPASSWORD, or from the file that \
             PGPASSFILE names, or ~/.pgpass",
        ));
    }
    if parts.user.is_empty() {
        return Err(Problem::new("the metastore's url names no user").remedy(REMEDY));
    }
    Ok(PostgresSettings { url: url.to_owned(), password: None })
}

/// What of a URL a password file asks for.
struct Parts<'u> {
    user: &'u str,
    has_password: bool,
    host: &'u str,
    port: &'u str,
    database: &'u str,
}

impl<'u> Parts<'u> {
    fn of(url: &'u str) -> Option<Self> {
        let (_, rest) = url.split_once("://")?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/')?;
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) =
            login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let place = place.split(',').next().unwrap_or_default();
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (place, "5432"),
        };
        let has_password = password.is_some()
            || query.split('&').any(|pair| pair.to_ascii_lowercase().starts_with("password="));
        Some(Self { user, has_password, host, port, database })
    }
}

/// The password as PostgreSQL's own clients find it: in `PGPASSWORD`, or in the file that `PGPASSFILE`
/// names, or in `~/.pgpass`.
pub(super) fn find_password(
    url: &str,
    environment: &Environment,
) -> Result<Option<Password>, Problem> {
    if let Some(password) = environment.text("PGPASSWORD")? {
        return Ok(Some(Password(password.to_owned())));
    }
    let Some(parts) = Parts::of(url) else { return Ok(None) };
    let named = environment.text("PGPASSFILE")?.map(|file| environment.folder().join(file));
    let home = environment.text("HOME")?.map(|home| PathBuf::from(home).join(".pgpass"));
    let Some(file) = named.or(home) else { return Ok(None) };
    let Ok(about) = std::fs::metadata(&file) else { return Ok(None) };
    if about.permissions().mode() & 0o077 != 0 {
        let shown = file.display();
        return Err(Problem::new(format!("others may read the password file {shown}"))
            .remedy(format!("run `chmod 600 {shown}`")));
    }
    let text = std::fs::read_to_string(&file).map_err(|error| {
        Problem::new(format!("the password file {} cannot be read: {error}", file.display()))
    })?;
    Ok(text.lines().find_map(|line| password_of(line, &parts)).map(Password))
}

/// The password of a line `host:port:database:user:password`, if the line is meant for this place.
fn password_of(line: &str, parts: &Parts<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    let [host, port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let wanted = [parts.host, parts.port, parts.database, parts.user];
    let fits = [host, port, database, user]
        .iter()
        .zip(wanted)
        .all(|(field, wanted)| field == "*" || field == wanted);
    fits.then_some(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_url_is_refused() {
        for url in ["postgres://u:p@h/d", "postgres://u:@h/d", "postgres://u@h/d?password=p"] {
            let problem = settings(url).expect_err(url).to_string();
            assert!(problem.contains("PGPASSWORD"), "{problem}");
        }
        for url in ["postgres://", "postgres:h/d", "postgres://u@h", "postgres://u@/d"] {
            let problem = settings(url).expect_err(url).to_string();
            assert!(problem.contains("not that of a database"), "{problem}");
        }
        assert!(settings("postgres://h/d").expect_err("no user").to_string().contains("no user"));
        assert!(settings("postgresql://u@h:1/d?sslmode=require").is_ok());
        assert!(settings("postgres://u@[::1]:5433/d").is_ok());
    }

    #[test]
    fn the_password_is_found_where_others_find_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pass");
        let text = "# h:1:d:u:no\nh:2:d:u:no\nh:5432:*:x\\:y:p\\:w:\\\\x\n*:*:*:u:plain\n";
        std::fs::write(&file, text).expect("written");
        let mode = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
        };
        let path = file.to_str().expect("UTF-8");
        let environment = Environment::new([("PGPASSFILE", path)], "/");
        let found = |url: &str| {
            let password = find_password(url, &environment).expect("read");
            password.map(|password| password.reveal().to_owned())
        };
        mode(0o600);
        assert_eq!(found("postgres://u@h:1/d").as_deref(), Some("plain"));
        assert_eq!(found("postgres://x:y@h/d"), None);
        assert_eq!(found("postgres://nobody@h/d"), None);
        mode(0o640);
        assert!(find_password("postgres://u@h/d", &environment).is_err());
        let given = Environment::new([("PGPASSWORD", "given"), ("PGPASSFILE", path)], "/");
        let password = find_password("postgres://u@h/d", &given).expect("read").expect("found");
        assert_eq!(password.reveal(), "given");
        assert!(!format!("{password:?}").contains("given"));
    }
}
