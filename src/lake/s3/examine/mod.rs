//! What a bucket lets Lacuna do, and what happens in it besides. Every question has its answer, if
//! only that the store does not tell; nothing of it is remembered.

mod clock;
mod lifecycle;
mod objects;
mod settings;
mod writing;

use std::sync::Arc;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;

use self::clock::Dates;
use super::error::Failure;
use super::{Bucket, S3Lake};
use crate::clock::Clock;
use crate::domain::finding::{Check, Finding, told, untried};
use crate::lake::{LakeError, LakeErrorKind, Versioning};

/// What of a bucket decides how what lies in it is examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketFacts {
    /// Whether it answers at all.
    is_reached: bool,
    /// Whether it keeps versions, where it tells.
    versioning: Option<Versioning>,
    /// What becomes of a new version.
    retains: Retains,
}

/// What a bucket does with a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retains {
    /// It can be deleted at once.
    Nothing,
    /// It is locked by default.
    New,
    /// The store does not tell.
    Unknown,
}

/// What is asked of a bucket as a whole.
pub const OF_BUCKET: &[Check] = &[
    Check::Clock,
    Check::Excess,
    Check::MfaDelete,
    Check::Notifications,
    Check::ObjectLock,
    Check::Replication,
    Check::RequesterPays,
    Check::Versioning,
];

/// What is asked of what lies below a prefix.
pub const OF_PREFIX: &[Check] = &[
    Check::AccessList,
    Check::ConditionalWrites,
    Check::IncompleteUploads,
    Check::LifecycleAbort,
    Check::LifecycleRules,
    Check::Listing,
    Check::ListingVersions,
    Check::LockVisible,
    Check::Reading,
    Check::ReadingVersions,
    Check::Tags,
    Check::Uploads,
    Check::VersioningAge,
];

impl S3Lake {
    /// What holds for the bucket as a whole. Writes nothing.
    pub async fn examine(&self, clock: &Clock) -> (Vec<Finding>, BucketFacts) {
        let dates = Dates::default();
        let bucket = self.bucket.dated(&dates);
        let mut findings = vec![bucket.kind()];
        let (versioning, opened) = bucket.examine_versioning().await;
        let is_reached = opened.is_ok();
        let mut facts = BucketFacts { is_reached, versioning, retains: Retains::Unknown };
        match opened {
            Ok(found) => findings.extend(found),
            Err(error) => {
                findings
                    .push(Finding::problem(Check::Open, told(&error)).fix(
                        "check bucket, region, endpoint and credentials; then run this again",
                    ));
                findings.extend(dates.finding(clock).or_else(|| unreached(&[Check::Clock]).pop()));
                let rest = OF_BUCKET.iter().copied().filter(|check| *check != Check::Clock);
                findings.extend(unreached(&rest.collect::<Vec<_>>()));
                return (findings, facts);
            }
        }
        let (lock, replication, notifications, payment) = futures::join!(
            bucket.examine_object_lock(),
            bucket.examine_replication(),
            bucket.examine_notifications(),
            bucket.examine_payment(),
        );
        let (retains, lock) = lock;
        facts.retains = retains;
        findings.extend(lock);
        findings.extend([replication, notifications, payment]);
        let silent = "the store's answers bear no date to compare this machine's clock with";
        let clock = dates.finding(clock);
        findings.push(clock.unwrap_or_else(|| Finding::unknown(Check::Clock, silent)));
        (findings, facts)
    }

    /// What holds for what lies below a prefix. Unless it `writes`, it leaves everything as it is;
    /// what it writes are scratch objects, which it removes.
    pub async fn examine_below(
        &self,
        prefix: &[u8],
        facts: &BucketFacts,
        clock: &Clock,
        writes: bool,
    ) -> Vec<Finding> {
        let Ok(prefix) = std::str::from_utf8(prefix) else {
            return untried(OF_PREFIX, "S3's keys are UTF-8, and the prefix is not");
        };
        if !facts.is_reached {
            return unreached(OF_PREFIX);
        }
        let bucket = &self.bucket;
        let (listed, lifecycle, uploads) = futures::join!(
            bucket.list_some(prefix, facts.versioning),
            bucket.examine_lifecycle(prefix),
            bucket.examine_unfinished(prefix),
        );
        let mut findings = listed.findings;
        findings.extend(bucket.versioning_age(facts.versioning, &listed.versions, clock));
        findings.extend(lifecycle);
        findings.push(uploads);
        findings.extend(bucket.examine_sample(prefix, facts, &listed.versions).await);
        findings.extend(self.examine_writing(prefix, facts, clock, writes).await);
        findings
    }
}

fn unreached(checks: &[Check]) -> Vec<Finding> {
    untried(checks, "the bucket is not reached")
}

impl Bucket {
    /// The same bucket, whose answers' dates are noted.
    fn dated(&self, dates: &Dates) -> Arc<Self> {
        let interceptor = dates.clone();
        let client = self.client.config().to_builder().interceptor(interceptor).build();
        Arc::new(Self {
            client: aws_sdk_s3::Client::from_conf(client),
            ..self.metered(&self.meter)
        })
    }

    /// The bucket as policies name it.
    fn arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.name)
    }

    /// The objects below a prefix as policies name them.
    fn arn_below(&self, prefix: &str) -> String {
        format!("arn:aws:s3:::{}/{prefix}*", self.name)
    }

    /// A question that the store did not answer.
    fn unanswered<E: Failure>(
        &self,
        check: Check,
        (what, permission): (&'static str, &'static str),
        error: SdkError<E, HttpResponse>,
    ) -> Finding {
        unseen(check, &self.call(what, permission).failed(error), &self.arn())
    }
}

/// A question that was not answered: for want of a permission, or for another reason.
fn unseen(check: Check, error: &LakeError, resource: &str) -> Finding {
    match error.permission() {
        Some(action) => Finding::unknown(check, format!("not shown: {action} is missing"))
            .lacking(action, resource),
        None => Finding::failed(check, error),
    }
}

/// Something that has to be permitted and is not, or failed for another reason.
fn refused(check: Check, error: &LakeError, resource: &str, meaning: &str) -> Finding {
    // Of the key of an encryption the store tells in words alone.
    if error.kind() == LakeErrorKind::Denied && told(error).contains("kms:") {
        let message = format!("kms:Decrypt is missing: {meaning}");
        let key = "the KMS key that encrypts the objects";
        return Finding::problem(check, message).lacking("kms:Decrypt", key);
    }
    match error.permission() {
        Some(action) => Finding::problem(check, format!("{action} is missing: {meaning}"))
            .lacking(action, resource),
        None => Finding::failed(check, error),
    }
}
