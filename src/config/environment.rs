//! The process's environment, read once. Nothing else in Lacuna asks for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::Problem;
use super::suggest::suggestion;

/// Settings that a variable may give, and the setting each stands for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("LACUNA_METASTORE_URL", "metastore.url"),
    ("LACUNA_LEDGER_LOCATION", "ledger.location"),
    ("LACUNA_IDENTITY_KEY_FILE", "identity.key_file"),
    ("LACUNA_IDENTITY_KEY_ENV", "identity.key_env"),
    ("LACUNA_EVIDENCE_SIGNING_KEY_FILE", "evidence.signing_key_file"),
    ("LACUNA_PLAN_VALID_FOR", "plan.valid_for"),
    ("LACUNA_PLAN_COVERAGE_FLOOR", "plan.coverage_floor"),
    ("LACUNA_PLAN_BLAST_RADIUS", "plan.blast_radius"),
    ("LACUNA_SERVER_LISTEN", "server.listen"),
    ("LACUNA_SERVER_URL", "server.url"),
    ("LACUNA_S3_REGION", "s3.region"),
    ("LACUNA_S3_ENDPOINT", "s3.endpoint"),
    ("LACUNA_S3_PATH_STYLE", "s3.path_style"),
    ("LACUNA_S3_PROFILE", "s3.profile"),
    ("LACUNA_S3_ROLE_ARN", "s3.role_arn"),
    ("LACUNA_S3_BUCKET_OWNER", "s3.bucket_owner"),
];

/// What a variable that belongs to the settings begins with; another one is somebody else's.
const GROUPS: &[&str] = &[
    "LACUNA_METASTORE_",
    "LACUNA_LEDGER_",
    "LACUNA_IDENTITY_",
    "LACUNA_EVIDENCE_",
    "LACUNA_PLAN_",
    "LACUNA_SERVER_",
    "LACUNA_S3_",
];

/// The variables and the current folder of a process. It may hold secrets: `Debug` prints none of
/// it.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    folder: PathBuf,
}

impl Environment {
    /// The environment of this process.
    ///
    /// # Errors
    ///
    /// When the current folder is gone or cannot be reached.
    pub fn of_process() -> Result<Self, Problem> {
        let folder = std::env::current_dir().map_err(|error| {
            Problem::new(format!("the current folder cannot be found: {error}"))
        })?;
        Ok(Self { variables: std::env::vars_os().collect(), folder })
    }

    /// An environment of these variables, in this folder.
    pub fn new<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        folder: impl Into<PathBuf>,
    ) -> Self {
        let variables =
            variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, folder: folder.into() }
    }

    /// The current folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The text of a variable; `None` where it is not set or empty.
    ///
    /// # Errors
    ///
    /// When its value is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(value) = self.variables.get(std::ffi::OsStr::new(name)) else {
            return Ok(None);
        };
        match value.to_str() {
            Some("") => Ok(None),
            Some(text) => Ok(Some(text)),
            None => {
                Err(Problem::new(format!("the environment variable `{name}` is not UTF-8 text")))
            }
        }
    }

    /// The name that the person at the terminal is logged in under, where the system tells it.
    pub fn login_name(&self) -> Option<&str> {
        ["LOGNAME", "USER", "USERNAME"].into_iter().find_map(|name| self.text(name).ok().flatten())
    }

    /// Variables that look like settings and are none: a mistyped one must not be passed over.
    pub(super) fn strangers(&self) -> Vec<Problem> {
        let names = self.variables.keys().filter_map(|name| name.to_str());
        names
            .filter(|name| GROUPS.iter().any(|group| name.starts_with(group)))
            .filter(|name| VARIABLES.iter().all(|(known, _)| known != name))
            .map(|name| {
                let problem =
                    Problem::new(format!("unknown setting in the environment variable `{name}`"));
                match suggestion(name, VARIABLES.iter().map(|(known, _)| *known)) {
                    Some(known) => problem.remedy(format!("did you mean `{known}`?")),
                    None => problem.remedy("unset it, or see docs/configuration.md"),
                }
            })
            .collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Environment({} variables)", self.variables.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_variable_is_told() {
        let environment =
            Environment::new([("LACUNA_S3_ENPOINT", "x"), ("LACUNA_CORPUS", "y")], "/");
        let told: Vec<String> = environment.strangers().iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["unknown setting in the environment variable `LACUNA_S3_ENPOINT`; \
              did you mean `LACUNA_S3_ENDPOINT`?"]
        );
    }

    #[test]
    fn debug_shows_no_value() {
        let environment = Environment::new([("SECRET", "canary")], "/");
        assert!(!format!("{environment:?}").contains("canary"));
    }
}
