//! What can be seen of objects: that they are listed, and what one of them shows.

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata as _, SdkError};
use aws_sdk_s3::types::StorageClass;

use super::super::error::{Failure, is_denied};
use super::super::{Bucket, call, etag, timestamp};
use super::{BucketFacts, Retains, refused, unseen};
use crate::clock::Clock;
use crate::domain::finding::{Check, Finding, untried};
use crate::domain::object::{ObjectKey, ObjectVersion, VersionId};
use crate::lake::{LakeError, Versioning};

/// How many versions are looked at.
const LISTED: i32 = 200;

/// S3 asks for this many seconds before versioning that was just switched on is relied on.
const VERSIONING_SETTLES_SECONDS: i64 = 15 * 60;

/// A version of the listing.
pub(super) struct Sample {
    object: ObjectVersion,
    is_latest: bool,
    is_archived: bool,
}

/// What a listing showed.
pub(super) struct Listed {
    pub(super) findings: Vec<Finding>,
    pub(super) versions: Vec<Sample>,
}

/// What is asked of one object.
const OF_SAMPLE: &[Check] =
    &[Check::AccessList, Check::LockVisible, Check::Reading, Check::ReadingVersions, Check::Tags];

impl Bucket {
    /// Whether objects and their versions can be listed, and some of them.
    pub(super) async fn list_some(&self, prefix: &str, versioning: Option<Versioning>) -> Listed {
        let (current, kept) = futures::join!(self.list_current(prefix), self.list_kept(prefix));
        let mut findings = Vec::new();
        let mut versions = Vec::new();
        match current {
            Ok(listed) => {
                findings.push(Finding::ok(Check::Listing, "objects can be listed"));
                versions = listed;
            }
            Err(error) => {
                let meaning = "nothing can be indexed, and what is missing cannot be told from \
                               what is denied";
                findings.push(refused(Check::Listing, &error, &self.arn(), meaning));
            }
        }
        match kept {
            Ok(listed) => {
                findings
                    .push(Finding::ok(Check::ListingVersions, "every kept version can be listed"));
                versions = listed;
            }
            Err(_) if versioning == Some(Versioning::Never) => {
                findings.push(Finding::ok(
                    Check::ListingVersions,
                    "there are no versions to be listed",
                ));
            }
            Err(error) => {
                let meaning = "superseded versions can be neither indexed nor found to be expunged";
                findings.push(refused(Check::ListingVersions, &error, &self.arn(), meaning));
            }
        }
        Listed { findings, versions }
    }

    async fn list_current(&self, prefix: &str) -> Result<Vec<Sample>, LakeError> {
        let call = self.call("listing", "s3:ListBucket");
        let asked = self.client.list_objects_v2().bucket(&self.name).prefix(prefix);
        let answer = asked.max_keys(LISTED).send().await.map_err(|error| call.failed(error))?;
        let sample = |it: &aws_sdk_s3::types::Object| {
            let class = it.storage_class().map(|class| class.as_str());
            sample(
                (it.key()?, VersionId::null()),
                it.e_tag()?,
                (it.size()?, it.last_modified()),
                class,
            )
        };
        Ok(answer.contents().iter().filter_map(sample).collect())
    }

    async fn list_kept(&self, prefix: &str) -> Result<Vec<Sample>, LakeError> {
        let call = self.call("listing versions", "s3:ListBucketVersions");
        let asked = self.client.list_object_versions().bucket(&self.name).prefix(prefix);
        let answer = asked.max_keys(LISTED).send().await.map_err(|error| call.failed(error))?;
        let sample = |it: &aws_sdk_s3::types::ObjectVersion| {
            let version = it.version_id().map_or_else(VersionId::null, VersionId::new);
            let class = it.storage_class().map(|class| class.as_str());
            let found =
                sample((it.key()?, version), it.e_tag()?, (it.size()?, it.last_modified()), class)?;
            Some(Sample { is_latest: it.is_latest().unwrap_or(false), ..found })
        };
        Ok(answer.versions().iter().filter_map(sample).collect())
    }

    /// C6: S3 does not say since when it keeps versions; the age of a version does.
    pub(super) fn versioning_age(
        &self,
        versioning: Option<Versioning>,
        versions: &[Sample],
        clock: &Clock,
    ) -> Option<Finding> {
        let check = Check::VersioningAge;
        match versioning {
            Some(Versioning::Enabled) => {}
            Some(_) => return None,
            None => return Some(unknown_age("whether versions are kept is not known")),
        }
        let named = versions.iter().filter(|it| !it.object.version.is_null());
        let Some(oldest) = named.map(|it| it.object.modified_at).min() else {
            return Some(unknown_age("no version here tells since when versions are kept"));
        };
        let age = clock.now().as_second() - oldest.as_second();
        Some(match age >= VERSIONING_SETTLES_SECONDS {
            true => Finding::ok(check, format!("versions are kept since {oldest} at least")),
            false => unknown_age("the oldest version looked at is younger than 15 minutes"),
        })
    }

    /// What one object shows, all of which a plan or a rewrite needs.
    pub(super) async fn examine_sample(
        &self,
        prefix: &str,
        facts: &BucketFacts,
        versions: &[Sample],
    ) -> Vec<Finding> {
        let readable = || versions.iter().filter(|sample| !sample.is_archived);
        let Some(sample) = readable().find(|it| it.is_latest).or_else(|| readable().next()) else {
            let why = match versions.is_empty() {
                true => "no object was listed here to try it on",
                false => "all objects looked at are archived",
            };
            return untried(OF_SAMPLE, why);
        };
        let keeps_versions = facts.versioning != Some(Versioning::Never);
        let (object, resource) = (&sample.object, self.arn_below(prefix));
        let (read, version, tags, access, lock) = futures::join!(
            self.examine_reading(sample, &resource),
            self.examine_version(object, &resource, keeps_versions),
            self.examine_tags(object, &resource, keeps_versions),
            self.examine_access(object, &resource, keeps_versions),
            self.examine_lock(object, &resource, facts),
        );
        vec![read, version, tags, access, lock]
    }

    async fn examine_reading(&self, sample: &Sample, resource: &str) -> Finding {
        let check = Check::Reading;
        if !sample.is_latest {
            return Finding::unknown(check, "not tried: no current object was listed here");
        }
        let object = &sample.object;
        let key = String::from_utf8_lossy(object.key.as_bytes());
        let asked = self.client.get_object().bucket(&self.name).key(key);
        let one_byte = (object.size_bytes > 0).then(|| "bytes=0-0".to_owned());
        match asked.set_range(one_byte).send().await {
            Ok(_) => Finding::ok(check, "an object can be read"),
            Err(error) => {
                let error = call(&object.key, "reading", "s3:GetObject").failed(error);
                refused(check, &error, resource, "no object can be indexed or rewritten")
            }
        }
    }

    async fn examine_version(
        &self,
        object: &ObjectVersion,
        resource: &str,
        keeps_versions: bool,
    ) -> Finding {
        let check = Check::ReadingVersions;
        if !keeps_versions {
            return Finding::ok(check, "there are no versions to be read");
        }
        let key = String::from_utf8_lossy(object.key.as_bytes());
        let asked = self.client.get_object().bucket(&self.name).key(key);
        let asked = asked.version_id(object.version.as_str());
        let one_byte = (object.size_bytes > 0).then(|| "bytes=0-0".to_owned());
        match asked.set_range(one_byte).send().await {
            Ok(_) => Finding::ok(check, "a certain version can be read"),
            Err(error) => {
                let error = call(&object.key, "reading", "s3:GetObjectVersion").failed(error);
                refused(check, &error, resource, "no version can be indexed or rewritten")
            }
        }
    }

    async fn examine_tags(
        &self,
        object: &ObjectVersion,
        resource: &str,
        keeps_versions: bool,
    ) -> Finding {
        let permission = ["s3:GetObjectTagging", "s3:GetObjectVersionTagging"];
        let permission = permission[usize::from(keeps_versions)];
        let key = String::from_utf8_lossy(object.key.as_bytes());
        let asked = self.client.get_object_tagging().bucket(&self.name).key(key);
        let version = keeps_versions.then(|| object.version.as_str().to_owned());
        let answer = asked.set_version_id(version).send().await;
        let meaning = "no object can be rewritten, since its tags would be lost";
        shown(answer, (Check::Tags, "its tags can be seen"), |error| {
            let error = call(&object.key, "asking for its tags", permission).failed(error);
            refused(Check::Tags, &error, resource, meaning)
        })
    }

    async fn examine_access(
        &self,
        object: &ObjectVersion,
        resource: &str,
        keeps_versions: bool,
    ) -> Finding {
        let permission = ["s3:GetObjectAcl", "s3:GetObjectVersionAcl"];
        let permission = permission[usize::from(keeps_versions)];
        let key = String::from_utf8_lossy(object.key.as_bytes());
        let asked = self.client.get_object_acl().bucket(&self.name).key(key);
        let version = keeps_versions.then(|| object.version.as_str().to_owned());
        let answer = asked.set_version_id(version).send().await;
        shown(answer, (Check::AccessList, "its access list can be seen"), |error| {
            let error = call(&object.key, "asking for its access list", permission).failed(error);
            let mut found = unseen(Check::AccessList, &error, resource);
            if found.permission.is_some() {
                found.message.push_str(": a rewrite gives an object the bucket's own access list");
            }
            found
        })
    }

    /// C8: an answer without a lock proves nothing where the permission to see locks is missing.
    async fn examine_lock(
        &self,
        object: &ObjectVersion,
        resource: &str,
        facts: &BucketFacts,
    ) -> Finding {
        let check = Check::LockVisible;
        if facts.retains == Retains::Nothing && self.locks_never().await {
            return Finding::ok(check, "there are no locks to be seen");
        }
        let key = String::from_utf8_lossy(object.key.as_bytes()).into_owned();
        let version = Some(object.version.as_str().to_owned());
        let retention = self.client.get_object_retention().bucket(&self.name).key(&key);
        let hold = self.client.get_object_legal_hold().bucket(&self.name).key(&key);
        let (retention, hold) = futures::join!(
            retention.set_version_id(version.clone()).send(),
            hold.set_version_id(version).send(),
        );
        let ok = (check, "retention and legal hold of a version can be seen");
        let retention = shown(retention, ok, |error| {
            self.unseen_lock(object, "s3:GetObjectRetention", error, resource)
        });
        let hold = shown(hold, ok, |error| {
            self.unseen_lock(object, "s3:GetObjectLegalHold", error, resource)
        });
        match (retention.permission.as_ref(), hold.permission.as_ref()) {
            (Some(_), Some(_)) => Finding {
                message: retention.message.replace(
                    "s3:GetObjectRetention is",
                    "s3:GetObjectRetention and s3:GetObjectLegalHold are",
                ),
                fix: Some(format!(
                    "allow s3:GetObjectRetention and s3:GetObjectLegalHold on {resource}"
                )),
                ..retention
            },
            _ => retention.or_worse(hold),
        }
    }

    fn unseen_lock<E: Failure>(
        &self,
        object: &ObjectVersion,
        permission: &'static str,
        error: SdkError<E, HttpResponse>,
        resource: &str,
    ) -> Finding {
        // AWS says so where no lock of this kind is set; others have names of their own.
        let code = error.code().unwrap_or_default();
        if !is_denied(&error)
            && (code.starts_with("NoSuchObject") || code == "ObjectLockConfigurationNotFoundError")
        {
            let message = "retention and legal hold of a version can be seen";
            return Finding::ok(Check::LockVisible, message);
        }
        let error = call(&object.key, "asking for its lock", permission).failed(error);
        let mut found = unseen(Check::LockVisible, &error, resource);
        if found.permission.is_some() {
            found.message.push_str(
                ": whether a version is locked is unknown, which is not the same as unlocked",
            );
        }
        found
    }

    async fn locks_never(&self) -> bool {
        matches!(self.locking().await, Ok(super::super::lock::Locking::Never))
    }
}

fn sample(
    (key, version): (&str, VersionId),
    tag: &str,
    (size, modified): (i64, Option<&aws_sdk_s3::primitives::DateTime>),
    class: Option<&str>,
) -> Option<Sample> {
    let archives = [StorageClass::Glacier, StorageClass::DeepArchive];
    let object = ObjectVersion {
        key: ObjectKey::from(key),
        version,
        etag: etag(tag),
        size_bytes: u64::try_from(size).ok()?,
        modified_at: timestamp(modified)?,
    };
    let is_archived = archives.iter().any(|archive| class == Some(archive.as_str()));
    Some(Sample { object, is_latest: true, is_archived })
}

fn shown<T, E: Failure>(
    answer: Result<T, SdkError<E, HttpResponse>>,
    (check, message): (Check, &str),
    otherwise: impl FnOnce(SdkError<E, HttpResponse>) -> Finding,
) -> Finding {
    match answer {
        Ok(_) => Finding::ok(check, message),
        Err(error) if error.code() == Some("NotImplemented") => {
            Finding::ok(check, "the store knows none")
        }
        Err(error) => otherwise(error),
    }
}

fn unknown_age(why: &str) -> Finding {
    let message =
        format!("{why}; where versioning was switched on just now, S3 may still lose one");
    Finding::unknown(Check::VersioningAge, message)
        .fix("wait 15 minutes after versioning was switched on before anything is erased")
}
