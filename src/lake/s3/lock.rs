//! Whether a version can be deleted. A missing permission is never taken for a missing lock.

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{ObjectLockEventHold, ObjectLockLegalHoldStatus};

use super::error::{is_denied, is_missing};
use super::{Bucket, call, key_text};
use crate::domain::Timestamp;
use crate::domain::object::ObjectVersion;
use crate::lake::{LakeError, Lock};

/// Whether locks can exist in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locking {
    /// The bucket was made without Object Lock.
    Never,
    /// Versions may be locked, or the store does not tell.
    Possible,
}

impl Bucket {
    /// The lock of a version, given its `HEAD`.
    ///
    /// A `HEAD` leaves the headers of a lock out where the permission to see them is missing, so
    /// that their absence alone proves nothing.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html>
    pub(super) async fn lock(
        &self,
        object: &ObjectVersion,
        head: &HeadObjectOutput,
    ) -> Result<Lock, LakeError> {
        let has_hold = head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On)
            || head.object_lock_event_hold() == Some(&ObjectLockEventHold::On);
        if has_hold {
            return Ok(Lock::LegalHold);
        }
        let until = head.object_lock_retain_until_date().map(|date| {
            // Rounded up: not a moment too early.
            let second = date.secs().saturating_add(i64::from(date.subsec_nanos() > 0));
            Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
        });
        if until.is_none() && self.locking().await? == Locking::Never {
            return Ok(Lock::Free);
        }
        let shows_hold = head.object_lock_legal_hold_status().is_some();
        if !shows_hold && !self.proves_no_hold(object).await? {
            return Ok(Lock::Unknown);
        }
        match until {
            Some(moment) => Ok(Lock::Until(moment)),
            None if self.proves_no_retention(object).await? => Ok(Lock::Free),
            None => Ok(Lock::Unknown),
        }
    }

    /// Whether locks can exist in the bucket, asked once.
    pub(super) async fn locking(&self) -> Result<Locking, LakeError> {
        self.asked.locking.get_or_try_init(|| self.ask_locking()).await.copied()
    }

    async fn ask_locking(&self) -> Result<Locking, LakeError> {
        let call = self.call("asking for object lock", "s3:GetBucketObjectLockConfiguration");
        match self.client.get_object_lock_configuration().bucket(&self.name).send().await {
            Ok(_) => Ok(Locking::Possible),
            Err(error) if error.code() == Some("NoSuchBucket") => Err(call.failed(error)),
            Err(error) if is_missing(&error) => Ok(Locking::Never),
            Err(error) if error.code() == Some("NotImplemented") => Ok(Locking::Never),
            Err(error) if is_denied(&error) => Ok(Locking::Possible),
            Err(error) => Err(call.failed(error)),
        }
    }

    /// Whether the store says in so many words that no legal hold stands.
    async fn proves_no_hold(&self, object: &ObjectVersion) -> Result<bool, LakeError> {
        let answer = self
            .client
            .get_object_legal_hold()
            .bucket(&self.name)
            .key(key_text(&object.key)?)
            .set_version_id(self.version_parameter(&object.version).await?)
            .send()
            .await;
        match answer {
            Ok(answer) => {
                let status = answer.legal_hold().and_then(|hold| hold.status());
                Ok(status != Some(&ObjectLockLegalHoldStatus::On))
            }
            Err(error) if says_none(error.code()) => Ok(true),
            Err(error) if is_denied(&error) => Ok(false),
            Err(error) => {
                Err(call(&object.key, "asking for a legal hold", "s3:GetObjectLegalHold")
                    .failed(error))
            }
        }
    }

    /// Whether the store says in so many words that no retention stands.
    async fn proves_no_retention(&self, object: &ObjectVersion) -> Result<bool, LakeError> {
        let answer = self
            .client
            .get_object_retention()
            .bucket(&self.name)
            .key(key_text(&object.key)?)
            .set_version_id(self.version_parameter(&object.version).await?)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(answer.retention().is_none_or(|retention| retention.mode().is_none())),
            Err(error) if says_none(error.code()) => Ok(true),
            Err(error) if is_denied(&error) => Ok(false),
            Err(error) => {
                Err(call(&object.key, "asking for a retention", "s3:GetObjectRetention")
                    .failed(error))
            }
        }
    }
}

/// Whether an answer says that no lock of this kind is set: AWS calls it
/// `NoSuchObjectLockConfiguration`, others have names of their own.
fn says_none(code: Option<&str>) -> bool {
    code.is_some_and(|code| {
        code.starts_with("NoSuchObject") || code == "ObjectLockConfigurationNotFoundError"
    })
}
