//! Every place that a configuration names, examined: datasets and their buckets, the ledger, the
//! index. One that cannot be reached is a finding and keeps nothing else from being examined.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{disk, existing, s3_settings};
use crate::clock::Clock;
use crate::config::{Config, MetastoreSettings};
use crate::domain::dataset::{Dataset, DatasetName, Location};
use crate::domain::finding::{Check, Finding, told, untried};
use crate::domain::identifier::DigestKey;
use crate::lake::directory::{DirectoryLake, OF_FOLDER};
use crate::lake::s3::{BucketFacts, OF_BUCKET, OF_PREFIX, S3Lake};
use crate::lake::{LakeError, LakeErrorKind};
use crate::ledger::Ledger;
use crate::metastore::embedded::Embedded;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// What a place is to Lacuna.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlaceKind {
    /// A bucket as a whole, for all that lies in it.
    Bucket,
    /// A dataset.
    Dataset,
    /// The ledger.
    Ledger,
    /// The index.
    Metastore,
    /// The digest key.
    Key,
}

/// A place and what was found there, the worst first.
#[derive(Clone, Debug, Serialize)]
pub struct Examined {
    /// What it is.
    pub kind: PlaceKind,
    /// The dataset, where it is one.
    pub dataset: Option<DatasetName>,
    /// Where it is, as people write it.
    pub location: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

impl Examined {
    /// A place and what was found there.
    pub fn new(kind: PlaceKind, location: impl Into<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| (finding.severity, finding.check.code()));
        Self { kind, dataset: None, location: location.into(), findings }
    }
}

/// Examines places.
pub struct Examiner<'c> {
    config: &'c Config,
    clock: Clock,
    writes: bool,
    buckets: BTreeMap<String, Option<(S3Lake, BucketFacts)>>,
}

impl<'c> Examiner<'c> {
    /// Examines what this configuration names. Unless it `writes`, it leaves everything as it is;
    /// what it writes are scratch objects, which it removes.
    pub fn new(config: &'c Config, clock: Clock, writes: bool) -> Self {
        Self { config, clock, writes, buckets: BTreeMap::new() }
    }

    /// A dataset, and before it its bucket, where that was not met before.
    pub async fn dataset(&mut self, dataset: &Dataset) -> Vec<Examined> {
        let mut examined = Vec::new();
        let findings = match &dataset.location {
            Location::S3 { bucket, prefix } => {
                examined.extend(self.bucket(bucket).await);
                self.below(bucket, prefix.as_bytes()).await
            }
            Location::Directory(folder) => {
                let why = "a rewrite keeps the old file until the new one is complete";
                self.folder(folder, why).await
            }
        };
        let place = Examined::new(PlaceKind::Dataset, dataset.location.to_string(), findings);
        examined.push(Examined { dataset: Some(dataset.name.clone()), ..place });
        examined
    }

    /// The ledger, and before it its bucket, where that was not met before.
    pub async fn ledger(&mut self) -> Vec<Examined> {
        let mut examined = Vec::new();
        let location = &self.config.ledger;
        let mut findings = match location {
            Location::S3 { bucket, prefix } => {
                examined.extend(self.bucket(bucket).await);
                self.below(bucket, prefix.as_bytes()).await
            }
            Location::Directory(folder) if !folder.exists() => {
                let found = no_ledger(folder);
                examined.push(Examined::new(PlaceKind::Ledger, location.to_string(), found));
                return examined;
            }
            Location::Directory(folder) => {
                let why = "plans, journals and evidence are kept here";
                let mut found = self.folder(folder, why).await;
                found.push(disk::mode(folder));
                found
            }
        };
        findings.extend(match super::lake(self.config, location).await {
            Ok(lake) => Ledger::new(lake, location.prefix(), self.clock.clone()).examine().await,
            Err(error) => {
                let checks = [Check::Lease, Check::Plans];
                checks.map(|check| Finding::failed(check, &error)).into()
            }
        });
        examined.push(Examined::new(PlaceKind::Ledger, location.to_string(), findings));
        examined
    }

    /// The index, as far as it can be used without the digest key where that is not given.
    pub async fn metastore(&self, key: Option<&DigestKey>) -> Examined {
        let settings = &self.config.metastore;
        let mut findings = match settings {
            MetastoreSettings::Embedded(folder) => embedded(folder),
            MetastoreSettings::Postgres(settings) => match super::database(settings) {
                Ok(index) => index.examine().await,
                Err(error) => vec![unusable(&error)],
            },
            MetastoreSettings::DynamoDb(settings) => {
                super::connect(settings).await.examine(self.writes).await
            }
        };
        let is_there = findings.iter().any(|it| it.check == Check::Layout && it.is_good());
        findings.extend(self.opened(key, is_there).await);
        Examined::new(PlaceKind::Metastore, settings.to_string(), findings)
    }

    /// Whether the index opens with the key; its own state was examined before.
    async fn opened(&self, key: Option<&DigestKey>, is_there: bool) -> Vec<Finding> {
        let check = Check::DigestKey;
        let Some(key) = key else {
            return untried(&[check], "the digest key cannot be read");
        };
        if !is_there {
            return untried(&[check], "no index can be opened");
        }
        let settings = &self.config.metastore;
        // The first who opens tables with a key notes which it is.
        if !self.writes && !matches!(settings, MetastoreSettings::Embedded(_)) {
            return untried(&[check], "nothing was to be written");
        }
        match existing(settings, key).await {
            Ok(metastore) => match metastore.size().await {
                Ok(size) => {
                    let message = format!(
                        "the index belongs to the digest key; {} object versions are in it",
                        size.objects
                    );
                    vec![Finding::ok(check, message)]
                }
                Err(error) => vec![unusable(&error)],
            },
            Err(error) => vec![unusable(&error)],
        }
    }

    /// A bucket as a whole, where it was not met before.
    async fn bucket(&mut self, name: &str) -> Option<Examined> {
        if self.buckets.contains_key(name) {
            return None;
        }
        let settings = s3_settings(&self.config.s3, name);
        let (opened, mut findings) = match S3Lake::connect(settings).await {
            Ok(lake) => {
                let (findings, facts) = lake.examine(&self.clock).await;
                (Some((lake, facts)), findings)
            }
            Err(error) => {
                let rest = untried(OF_BUCKET, "the bucket cannot be opened");
                (None, [vec![closed(&error)], rest].concat())
            }
        };
        findings.push(self.owner());
        self.buckets.insert(name.to_owned(), opened);
        Some(Examined::new(PlaceKind::Bucket, format!("s3://{name}"), findings))
    }

    /// B12.
    fn owner(&self) -> Finding {
        let check = Check::BucketOwner;
        match &self.config.s3.bucket_owner {
            Some(_) => Finding::ok(check, "every request names the account that owns the bucket"),
            None => Finding::note(
                check,
                "the account that has to own the bucket is not named: a bucket of the same name \
                 in other hands would be taken for it",
            )
            .fix("set bucket_owner under [s3] to the account's 12 digits"),
        }
    }

    async fn below(&self, bucket: &str, prefix: &[u8]) -> Vec<Finding> {
        match self.buckets.get(bucket) {
            Some(Some((lake, facts))) => {
                lake.examine_below(prefix, facts, &self.clock, self.writes).await
            }
            _ => untried(OF_PREFIX, "the bucket cannot be opened"),
        }
    }

    async fn folder(&self, folder: &Path, why: &str) -> Vec<Finding> {
        match DirectoryLake::new(folder.to_owned()) {
            Ok(lake) => {
                let mut findings = lake.examine(&self.clock, self.writes).await;
                findings.push(disk::free(folder, why));
                findings
            }
            Err(error) => {
                let rest = untried(OF_FOLDER, "the folder cannot be opened");
                [vec![closed(&error)], rest].concat()
            }
        }
    }
}

/// Why a lake cannot be opened.
fn closed(error: &LakeError) -> Finding {
    let check = match error.kind() {
        LakeErrorKind::Unsupported => Check::BucketKind,
        _ => Check::Open,
    };
    Finding::problem(check, told(error)).fix(match error.kind() {
        LakeErrorKind::NotFound => "make the folder, or mend `location`",
        LakeErrorKind::Denied => "let this user read the folder (chmod u+rx)",
        _ => "mend `location`",
    })
}

/// What an index says that cannot be used.
fn unusable(error: &MetastoreError) -> Finding {
    let check = match error.kind() {
        MetastoreErrorKind::WrongKey => Check::DigestKey,
        MetastoreErrorKind::WrongVersion => Check::Layout,
        _ => Check::Open,
    };
    Finding::problem(check, told(error))
}

/// The folder itself, or the nearest above it that is there.
fn existing_above(folder: &Path) -> &Path {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"))
}

/// A ledger that is not there yet.
fn no_ledger(folder: &Path) -> Vec<Finding> {
    let message = "there is no ledger yet: it is made when the first plan is";
    let why = "plans, journals and evidence will be kept here";
    let found = vec![Finding::note(Check::Open, message), disk::free(existing_above(folder), why)];
    let rest = [Check::ConditionalWrites, Check::Lease, Check::Listing, Check::Mode, Check::Plans];
    [found, untried(&rest, "there is no ledger yet")].concat()
}

/// The folder of an index.
fn embedded(folder: &Path) -> Vec<Finding> {
    let above = existing_above(folder);
    let why = "a merge takes as much again as the runs it reads";
    let mut findings = vec![disk::free(above, why), disk::kind(above)];
    if !Embedded::exists(folder) {
        let message = "there is no index yet: `lacuna index` makes it";
        findings.push(Finding::note(Check::Open, message));
        findings.extend(untried(&[Check::Layout, Check::Mode], "there is no index yet"));
        return findings;
    }
    findings.push(disk::mode(folder));
    match Embedded::open(folder) {
        Ok(_) => {
            findings.push(Finding::ok(Check::Open, "the index opens, and can be written to"));
            findings.push(Finding::ok(Check::Layout, "the index has the layout of this program"));
        }
        Err(error) => findings.push(unusable(&error)),
    }
    findings
}
