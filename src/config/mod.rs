//! File, environment and flags become one checked [`Config`]. The only module that reads the
//! environment; it hands out plain data and opens no store.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::dataset::{Dataset, DatasetName, Location};
use crate::domain::identifier::{IdentifierType, Namespace, hex};
use crate::domain::object::ObjectKey;
use crate::domain::request::ReservedValues;

mod dataset;
mod dynamodb;
mod environment;
mod error;
mod file;
mod key;
mod location;
mod mail;
mod oidc;
mod postgres;
mod secret;
mod server;
pub mod subjects;
mod suggest;
mod table;
pub mod template;
mod topic;
mod webhook;

pub use dynamodb::DynamoDbSettings;
pub use environment::{Environment, VARIABLES};
pub use error::{ConfigError, Place, Problem};
pub use key::{KeySource, signing_key_in};
pub use mail::{MailLogin, MailSecurity, MailServer, MailSettings};
pub use oidc::OidcSettings;
pub use postgres::{Password, PostgresSettings};
pub use secret::{Secret, SecretVariable};
pub use server::{PasswordHash, ServerSettings, UserSettings};
pub use topic::TopicSettings;
pub use webhook::WebhookSettings;

/// The file that is looked for in the current folder and those above it.
pub const FILE_NAME: &str = "lacuna.toml";

/// Every setting, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where the index is.
    pub metastore: MetastoreSettings,
    /// Where plans, reports, decisions, journals and audits are: a folder, or a bucket and prefix.
    pub ledger: Location,
    /// Where the digest key is.
    pub key: KeySource,
    /// The file of the key that signs certificates, as an absolute path; `None`: they are not signed.
    pub signing_key: Option<PathBuf>,
    /// How plans are made.
    pub plan: PlanSettings,
    /// How S3 is reached.
    pub s3: S3Settings,
    /// Where the pages are served, and to whom.
    pub server: ServerSettings,
    /// How mails are sent; `None`: none are.
    pub mail: Option<MailSettings>,
    /// By which identity provider people sign in; `None`: by none.
    pub oidc: Option<OidcSettings>,
    /// Where events are sent to; `None`: nowhere.
    pub webhook: Option<WebhookSettings>,
    /// The topic that events are published to; `None`: none.
    pub topic: Option<TopicSettings>,
    /// The datasets, in the file's order.
    pub datasets: Vec<Dataset>,
}

/// Where an index is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetastoreSettings {
    /// A folder of this machine, as an absolute path.
    Embedded(PathBuf),
    /// A PostgreSQL database.
    Postgres(PostgresSettings),
    /// Tables of DynamoDB.
    DynamoDb(DynamoDbSettings),
}

/// The URL, without its parameters.
impl fmt::Display for MetastoreSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(folder) => write!(formatter, "file:{}", folder.display()),
            Self::Postgres(settings) => {
                formatter.write_str(settings.url.split(['?', '#']).next().unwrap_or_default())
            }
            Self::DynamoDb(settings) => write!(formatter, "dynamodb://{}", settings.prefix),
        }
    }
}

/// How plans are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// For how long a plan can be approved and begun, in seconds.
    pub valid_for_seconds: u64,
    /// The coverage below which no plan is made, in percent.
    pub coverage_floor: u8,
    /// The share of a dataset's rows that a plan may touch without a warning, in percent.
    pub blast_radius: u8,
    /// Whether who registered a request may not approve its plan.
    pub two_people: bool,
    /// Values that identify nobody (`unknown`, `0`) and are refused as subjects.
    pub reserved: ReservedValues,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            valid_for_seconds: 7 * 24 * 60 * 60,
            coverage_floor: 0,
            blast_radius: 5,
            two_people: false,
            reserved: ReservedValues::default(),
        }
    }
}

/// How S3 is reached; what is `None` is found as the AWS SDK finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Settings {
    /// The region.
    pub region: Option<String>,
    /// The URL of a server that speaks S3, instead of AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path and not in the host name.
    pub path_style: Option<bool>,
    /// The profile of the AWS configuration files.
    pub profile: Option<String>,
    /// The role to assume.
    pub role_arn: Option<String>,
    /// The account that has to own the buckets.
    pub bucket_owner: Option<String>,
}

/// The lake of a single file that an argument names, by path or `s3://BUCKET/KEY`, and its key there.
///
/// # Errors
///
/// Where the text names none, or a file of this machine that does not exist.
pub fn file_location(text: &str) -> Result<(Location, ObjectKey), ConfigError> {
    Ok(location::file(text)?)
}

impl Config {
    /// Reads and checks the configuration: `file` where it is given, else the nearest `lacuna.toml`
    /// from the current folder upwards.
    ///
    /// # Errors
    ///
    /// Every problem of the file and of the variables that stand for settings, with its place.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let (path, shown) = match file {
            Some(file) => (environment.folder().join(file), file.display().to_string()),
            None => find(environment)?,
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Problem::new(format!("the configuration {shown} cannot be read: {error}"))
                .remedy("write one with `lacuna init`, or name another with --config FILE")
        })?;
        file::parse(file::Source { path: &path, shown: &shown, text: &text }, environment)
    }

    /// The metastore that an argument names, in the way of `metastore.url`.
    ///
    /// # Errors
    ///
    /// Where it names none, or one that lies where a dataset or the ledger is.
    pub fn metastore_at(
        &self,
        url: &str,
        environment: &Environment,
    ) -> Result<MetastoreSettings, ConfigError> {
        let base = self.file.parent().unwrap_or(Path::new("/"));
        let mut settings = location::metastore(url, base)?;
        match &mut settings {
            MetastoreSettings::Postgres(settings) => {
                settings.password = postgres::find_password(&settings.url, environment)?;
            }
            MetastoreSettings::DynamoDb(_) => {}
            MetastoreSettings::Embedded(folder) => {
                let place = Location::Directory(folder.clone());
                let datasets = self.datasets.iter().map(|dataset| &dataset.location);
                if datasets.chain([&self.ledger]).any(|other| location::overlap(other, &place)) {
                    let problem =
                        Problem::new("the metastore lies where a dataset or the ledger is");
                    return Err(problem.remedy("name a folder of its own").into());
                }
            }
        }
        Ok(settings)
    }

    /// The dataset of this name.
    pub fn dataset(&self, name: &str) -> Option<&Dataset> {
        self.datasets.iter().find(|dataset| dataset.name.as_str() == name)
    }

    /// The datasets of these names in the file's order; all of them where no name is given.
    ///
    /// # Errors
    ///
    /// When a name is not configured.
    pub fn select(&self, names: &[String]) -> Result<Vec<Dataset>, ConfigError> {
        for name in names {
            if self.dataset(name).is_none() {
                let known: Vec<&str> = self.datasets.iter().map(|at| at.name.as_str()).collect();
                let shown = name.escape_debug();
                let problem = Problem::new(format!("no dataset is named `{shown}`"));
                return Err(match suggest::suggestion(name, known.iter().copied()) {
                    Some(close) => problem.remedy(format!("did you mean `{close}`?")),
                    None => problem.remedy(format!("configured are: {}", known.join(", "))),
                }
                .into());
            }
        }
        let wanted = |name: &DatasetName| {
            names.is_empty() || names.iter().any(|wanted| wanted == name.as_str())
        };
        Ok(self.datasets.iter().filter(|dataset| wanted(&dataset.name)).cloned().collect())
    }

    /// The namespaces of all datasets and the type of each, in the order of their first mention.
    pub fn namespaces(&self) -> Vec<(Namespace, IdentifierType)> {
        let mut namespaces: Vec<(Namespace, IdentifierType)> = Vec::new();
        for field in self.datasets.iter().flat_map(|dataset| &dataset.identifiers) {
            if namespaces.iter().all(|(known, _)| *known != field.namespace) {
                namespaces.push((field.namespace.clone(), field.kind));
            }
        }
        namespaces
    }

    /// What subjects can be told in.
    pub fn vocabulary(&self) -> subjects::Vocabulary {
        subjects::Vocabulary::new(self.namespaces(), self.plan.reserved.clone())
    }

    /// What decides which records are whose and what becomes of them, as a digest: SHA-256 over all
    /// datasets with their policies, 64 hexadecimal characters. A plan made under another value is
    /// stale.
    pub fn digest(&self) -> String {
        let documents: Vec<DigestedDataset> = self.datasets.iter().map(digested).collect();
        let bytes = serde_json::to_vec(&documents).unwrap_or_else(|_| {
            unreachable!("the document has no map with keys that are not text")
        });
        hex(&Sha256::digest(bytes))
    }
}

/// A dataset as the configuration's digest sees it. The order of the fields is part of the digest.
#[derive(Serialize)]
struct DigestedDataset<'a> {
    name: &'a DatasetName,
    location: String,
    include: &'a [String],
    exclude: &'a [String],
    reading: &'a crate::domain::dataset::Reading,
    identifiers: &'a [crate::domain::field::IdentifierField],
    erase: &'a crate::domain::dataset::ErasePolicy,
}

fn digested(dataset: &Dataset) -> DigestedDataset<'_> {
    DigestedDataset {
        name: &dataset.name,
        location: dataset.location.to_string(),
        include: &dataset.include,
        exclude: &dataset.exclude,
        reading: &dataset.reading,
        identifiers: &dataset.identifiers,
        erase: &dataset.erase,
    }
}

/// The nearest configuration from the current folder upwards, and how messages name it.
fn find(environment: &Environment) -> Result<(PathBuf, String), ConfigError> {
    for folder in environment.folder().ancestors() {
        let path = folder.join(FILE_NAME);
        if path.is_file() {
            let nearest = folder == environment.folder();
            let shown = if nearest { FILE_NAME.to_owned() } else { path.display().to_string() };
            return Ok((path, shown));
        }
    }
    Err(Problem::new(format!("no {FILE_NAME} in the current folder or one above it"))
        .remedy("write one with `lacuna init`, or name one with --config FILE")
        .into())
}

#[cfg(test)]
mod tests;
