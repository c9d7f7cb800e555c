//! A [`Config`] becomes open stores: the only place that names a backend. What lies above calls the
//! stores that it hands out, and asks it what kind of trouble one of them met.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::aws::Access;
use crate::config::{self, Config, MetastoreSettings};
use crate::domain::dataset::{Dataset, Location};
use crate::domain::identifier::DigestKey;
use crate::lake::directory::DirectoryLake;
use crate::lake::limit::Limit;
use crate::lake::retry::{Patience, Retry};
use crate::lake::s3::{S3Lake, S3Settings};
use crate::lake::{Lake, LakeError, LakeErrorKind, WriteError};
use crate::ledger::{Holder, LeaseTerms, LedgerErrorKind};
use crate::metastore::dynamodb::{DynamoDb, DynamoDbSettings};
use crate::metastore::embedded::Embedded;
use crate::metastore::postgres::{Postgres, PostgresSettings};
use crate::metastore::{MetastoreError, MetastoreErrorKind};

mod disk;
mod examine;

pub use crate::clock::Clock;
pub use crate::lake::Estate;
pub use crate::ledger::{
    Ledger, LedgerError, Mailed, PackError, PlanListing, PlanState, PlanSummary, Register,
    RegisterError, Rendering, TrailCheck, TrailReport, open_pack,
};
pub use crate::metastore::{Metastore, MetastoreSize};
pub use examine::{Examined, Examiner, PlaceKind};

/// A store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A lake.
    #[error("the lake of dataset `{dataset}` cannot be opened")]
    Lake {
        /// The dataset.
        dataset: String,
        /// Why.
        source: LakeError,
    },
    /// The ledger.
    #[error("the ledger cannot be opened")]
    Ledger(#[source] LakeError),
    /// The index.
    #[error("the index {place} cannot be opened")]
    Metastore {
        /// Where it is: `in /a/folder`, `in PostgreSQL`.
        place: String,
        /// Why.
        source: MetastoreError,
    },
}

/// What a store's trouble means to whoever gave the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Permission is missing, or a lock forbids it.
    Denied,
    /// An object is no longer as it was.
    Drifted,
    /// Another run holds the lease.
    Held,
    /// No plan is named so, or the text names none.
    NoSuchPlan,
    /// The index belongs to another digest key.
    WrongKey,
}

/// What trouble an error tells of, if a store's is behind it.
pub fn trouble(error: &(dyn std::error::Error + 'static)) -> Option<Trouble> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(trouble) = trouble_of_one(error) {
            return Some(trouble);
        }
        cause = error.source();
    }
    None
}

fn trouble_of_one(error: &(dyn std::error::Error + 'static)) -> Option<Trouble> {
    if let Some(error) = error.downcast_ref::<LakeError>() {
        return trouble_of_lake(error.kind());
    }
    if let Some(error) = error.downcast_ref::<WriteError>() {
        return trouble_of_lake(error.error.kind());
    }
    if let Some(error) = error.downcast_ref::<LedgerError>() {
        return match error.kind() {
            LedgerErrorKind::Unknown | LedgerErrorKind::Ambiguous | LedgerErrorKind::Malformed => {
                Some(Trouble::NoSuchPlan)
            }
            LedgerErrorKind::Held { .. } | LedgerErrorKind::Lost => Some(Trouble::Held),
            _ => None,
        };
    }
    let error = error.downcast_ref::<MetastoreError>()?;
    (error.kind() == MetastoreErrorKind::WrongKey).then_some(Trouble::WrongKey)
}

fn trouble_of_lake(kind: LakeErrorKind) -> Option<Trouble> {
    match kind {
        LakeErrorKind::Denied | LakeErrorKind::Locked => Some(Trouble::Denied),
        LakeErrorKind::Drifted => Some(Trouble::Drifted),
        _ => None,
    }
}

/// Opens the lakes of these datasets.
///
/// # Errors
///
/// [`WireError::Lake`] for the first that cannot be opened.
pub async fn estates(config: &Config, datasets: &[Dataset]) -> Result<Vec<Estate>, WireError> {
    let mut buckets: BTreeMap<String, Arc<dyn Lake>> = BTreeMap::new();
    let mut estates = Vec::new();
    for dataset in datasets {
        let lake = match &dataset.location {
            Location::S3 { bucket, .. } if buckets.contains_key(bucket) => buckets[bucket].clone(),
            location => {
                let lake = lake(config, location).await.map_err(|source| WireError::Lake {
                    dataset: dataset.name.to_string(),
                    source,
                })?;
                if let Location::S3 { bucket, .. } = location {
                    buckets.insert(bucket.clone(), lake.clone());
                }
                lake
            }
        };
        estates.push(Estate { dataset: Arc::new(dataset.clone()), lake });
    }
    Ok(estates)
}

/// Opens the ledger; a folder is made where it is missing, for its owner alone.
///
/// # Errors
///
/// [`WireError::Ledger`] where it cannot be reached or made.
pub async fn ledger(config: &Config, clock: Clock) -> Result<Ledger, WireError> {
    if let Location::Directory(folder) = &config.ledger {
        make_private(folder).map_err(WireError::Ledger)?;
    }
    let lake = lake(config, &config.ledger).await.map_err(WireError::Ledger)?;
    Ok(Ledger::new(lake, config.ledger.prefix(), clock))
}

/// Opens the index, and checks that it was filled under this key. Tables of a PostgreSQL database are
/// made, or brought up to date; those of DynamoDB are made by [`create_metastore`].
///
/// # Errors
///
/// [`WireError::Metastore`] where it cannot be opened or belongs to another key.
pub async fn metastore(config: &Config, key: &DigestKey) -> Result<Arc<dyn Metastore>, WireError> {
    metastore_at(config, &config.metastore, key).await
}

/// The same for another metastore than the configured one.
///
/// # Errors
///
/// As [`metastore`].
pub async fn metastore_at(
    config: &Config,
    settings: &MetastoreSettings,
    key: &DigestKey,
) -> Result<Arc<dyn Metastore>, WireError> {
    let opened = match settings {
        MetastoreSettings::Embedded(folder) => {
            Embedded::open(folder).map(|index| Arc::new(index) as Arc<dyn Metastore>)
        }
        MetastoreSettings::Postgres(settings) => postgres(settings, &config.datasets).await,
        MetastoreSettings::DynamoDb(settings) => Ok(dynamodb(settings).await),
    };
    bound(opened, settings, key).await
}

/// Opens an index that has to be there: nothing is made, nor brought up to date.
///
/// # Errors
///
/// As [`metastore`].
pub async fn existing_metastore(
    settings: &MetastoreSettings,
    key: &DigestKey,
) -> Result<Arc<dyn Metastore>, WireError> {
    existing(settings, key).await.map_err(|source| unusable(settings, source))
}

async fn existing(
    settings: &MetastoreSettings,
    key: &DigestKey,
) -> Result<Arc<dyn Metastore>, MetastoreError> {
    let metastore = match settings {
        MetastoreSettings::Embedded(folder) if !Embedded::exists(folder) => {
            let message = "there is none: name another, or run `lacuna index`";
            Err(MetastoreError::new(MetastoreErrorKind::Other, message))
        }
        MetastoreSettings::Embedded(folder) => {
            Embedded::open(folder).map(|index| Arc::new(index) as Arc<dyn Metastore>)
        }
        MetastoreSettings::Postgres(settings) => {
            database(settings).map(|index| Arc::new(index) as Arc<dyn Metastore>)
        }
        MetastoreSettings::DynamoDb(settings) => Ok(dynamodb(settings).await),
    }?;
    metastore.bind(&key.check_value()).await?;
    Ok(metastore)
}

async fn bound(
    opened: Result<Arc<dyn Metastore>, MetastoreError>,
    settings: &MetastoreSettings,
    key: &DigestKey,
) -> Result<Arc<dyn Metastore>, WireError> {
    let metastore = opened.map_err(|source| unusable(settings, source))?;
    metastore.bind(&key.check_value()).await.map_err(|source| unusable(settings, source))?;
    Ok(metastore)
}

fn unusable(settings: &MetastoreSettings, source: MetastoreError) -> WireError {
    let place = match settings {
        MetastoreSettings::Embedded(folder) => format!("in {}", folder.display()),
        MetastoreSettings::Postgres(_) => "in PostgreSQL".to_owned(),
        MetastoreSettings::DynamoDb(_) => "in DynamoDB".to_owned(),
    };
    WireError::Metastore { place, source }
}

/// Makes what an index needs before it can be filled: a folder, or tables. Answers whether anything
/// was missing.
///
/// # Errors
///
/// [`WireError::Metastore`] where it cannot be made, or belongs to a newer Lacuna.
pub async fn create_metastore(settings: &MetastoreSettings) -> Result<bool, WireError> {
    let made = match settings {
        MetastoreSettings::Embedded(folder) => {
            let is_missing = !folder.exists();
            Embedded::open(folder).map(|_| is_missing)
        }
        MetastoreSettings::Postgres(_) => return migrate_metastore(settings).await,
        MetastoreSettings::DynamoDb(settings) => connect(settings).await.create().await,
    };
    made.map_err(|source| unusable(settings, source))
}

/// Brings the tables of a database up to this program's version, and makes those that are missing.
/// Answers whether there was anything to do; an index in a folder needs no such step.
///
/// # Errors
///
/// [`WireError::Metastore`] where it cannot be reached, or belongs to a newer Lacuna.
pub async fn migrate_metastore(settings: &MetastoreSettings) -> Result<bool, WireError> {
    let migrated = match settings {
        MetastoreSettings::Embedded(_) | MetastoreSettings::DynamoDb(_) => Ok(false),
        MetastoreSettings::Postgres(settings) => match database(settings) {
            Ok(index) => index.migrate().await,
            Err(error) => Err(error),
        },
    };
    migrated.map_err(|source| unusable(settings, source))
}

/// Removes all that an index holds, sound or damaged, and makes it anew, empty.
///
/// # Errors
///
/// [`WireError::Metastore`] where it cannot be reached, or another process is at work on it.
pub async fn empty_metastore(settings: &MetastoreSettings) -> Result<(), WireError> {
    let emptied = match settings {
        MetastoreSettings::Embedded(folder) => Embedded::remove(folder),
        MetastoreSettings::Postgres(settings) => empty_database(settings).await,
        MetastoreSettings::DynamoDb(settings) => connect(settings).await.delete().await,
    };
    emptied.map_err(|source| unusable(settings, source))?;
    create_metastore(settings).await.map(drop)
}

async fn empty_database(settings: &config::PostgresSettings) -> Result<(), MetastoreError> {
    let index = database(settings)?;
    index.migrate().await?;
    index.clear().await
}

fn database(settings: &config::PostgresSettings) -> Result<Postgres, MetastoreError> {
    let password = settings.password.as_ref().map(config::Password::reveal);
    Ok(Postgres::new(PostgresSettings::new(&settings.url, password)?))
}

async fn dynamodb(settings: &config::DynamoDbSettings) -> Arc<dyn Metastore> {
    Arc::new(connect(settings).await)
}

async fn connect(settings: &config::DynamoDbSettings) -> DynamoDb {
    let config::DynamoDbSettings { prefix, region, endpoint, profile, role_arn } = settings.clone();
    let access = Access { region, profile, role_arn };
    let settings = DynamoDbSettings { endpoint, access, ..DynamoDbSettings::new(prefix) };
    DynamoDb::connect(settings, Clock::system()).await
}

async fn postgres(
    settings: &config::PostgresSettings,
    datasets: &[Dataset],
) -> Result<Arc<dyn Metastore>, MetastoreError> {
    let metastore = database(settings)?;
    metastore.migrate().await?;
    let root = |dataset: &Dataset| {
        let root = match &dataset.location {
            Location::Directory(folder) => format!("{}/", folder.display()),
            Location::S3 { bucket, .. } => format!("s3://{bucket}/"),
        };
        (dataset.name.clone(), root)
    };
    metastore.note_roots(&datasets.iter().map(root).collect::<Vec<_>>()).await?;
    Ok(Arc::new(metastore))
}

/// How many requests of one lake are under way at once: enough to fill a line, few enough that no
/// store complains and no process runs out of open files.
const REQUESTS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// Opens the lake of a place that is no dataset's.
///
/// # Errors
///
/// Where it cannot be opened.
pub async fn lake_at(config: &Config, location: &Location) -> Result<Arc<dyn Lake>, LakeError> {
    lake(config, location).await
}

async fn lake(config: &Config, location: &Location) -> Result<Arc<dyn Lake>, LakeError> {
    let lake: Arc<dyn Lake> = match location {
        Location::Directory(folder) => Arc::new(DirectoryLake::new(folder.clone())?),
        Location::S3 { bucket, .. } => {
            Arc::new(S3Lake::connect(s3_settings(&config.s3, bucket)).await?)
        }
    };
    let limited: Arc<dyn Lake> = Arc::new(Limit::new(lake, REQUESTS));
    // Outside of the limit, so that a pause between two attempts keeps no other request waiting.
    Ok(Arc::new(Retry::new(limited, Patience::default())))
}

fn s3_settings(settings: &config::S3Settings, bucket: &str) -> S3Settings {
    S3Settings {
        region: settings.region.clone(),
        endpoint: settings.endpoint.clone(),
        path_style: settings.path_style,
        profile: settings.profile.clone(),
        role_arn: settings.role_arn.clone(),
        bucket_owner: settings.bucket_owner.clone(),
        ..S3Settings::new(bucket)
    }
}

/// Makes a folder and those above it, readable by its owner alone, where it is missing.
fn make_private(folder: &Path) -> Result<(), LakeError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        let kind = match error.kind() {
            std::io::ErrorKind::PermissionDenied => LakeErrorKind::Denied,
            _ => LakeErrorKind::Other,
        };
        let shown = folder.display();
        LakeError::new(kind, format!("the folder {shown} cannot be made")).caused_by(error)
    })
}

/// This process, as the lease names it. The host's name alone would not do: containers share it
/// without sharing process ids, and ids begin anew when the machine does.
pub fn holder() -> Holder {
    Holder { host: host(), process: std::process::id() }
}

/// How the lease is taken: another process of this machine that is gone is not waited for.
pub fn lease_terms() -> LeaseTerms {
    LeaseTerms { is_alive, ..LeaseTerms::default() }
}

fn host() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let name = read("/proc/sys/kernel/hostname");
    let boot = read("/proc/sys/kernel/random/boot_id");
    let processes = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let boot = boot.get(..8).unwrap_or_default();
    format!("{} ({boot} {})", name.trim(), processes.display())
}

fn is_alive(holder: &Holder) -> Option<bool> {
    if holder.host != host() || holder.process == std::process::id() {
        return None;
    }
    let process = rustix::process::Pid::from_raw(i32::try_from(holder.process).ok()?)?;
    match rustix::process::test_kill_process(process) {
        Err(rustix::io::Errno::SRCH) => Some(false),
        _ => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_gone_is_known_to_be() {
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let process = child.id();
        child.wait().expect("ended");
        assert_eq!(is_alive(&Holder { host: host(), process }), Some(false));
        let parent = std::os::unix::process::parent_id();
        assert_eq!(is_alive(&Holder { host: host(), process: parent }), Some(true));
        assert_eq!(is_alive(&Holder { host: "elsewhere".into(), process }), None);
        assert_eq!(is_alive(&holder()), None);
    }
}
