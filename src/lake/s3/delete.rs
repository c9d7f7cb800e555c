//! What goes for good: versions, and the parts of uploads that were given up.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use super::error::{is_denied, is_missing, is_unmet};
use super::scratch::Noted;
use super::{Bucket, call, key_text};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::lake::{LakeError, LakeErrorKind, Lock, Staging, Target, Versioning};

/// How often an upload is aborted before it is given up: parts that were on their way when the first
/// abort came may be stored after it.
const ABORTS: u32 = 8;

impl Bucket {
    /// Removes what an unfinished write left: the parts of its upload, and its stages.
    pub(super) async fn abandon(
        self: &Arc<Self>,
        key: &ObjectKey,
        staging: &Staging,
    ) -> Result<(), LakeError> {
        let noted = Noted::read(key, staging)?;
        self.abandon_upload(key, &noted.upload).await?;
        self.remove_stages(&noted.stages).await
    }

    /// Removes the parts of an upload, and looks whether they are gone.
    pub(super) async fn abandon_upload(
        &self,
        key: &ObjectKey,
        upload: &str,
    ) -> Result<(), LakeError> {
        for attempt in 0..ABORTS {
            self.abort(key, upload).await?;
            if self.holds_no_parts(key, upload).await? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
        }
        let text = "the parts of an abandoned upload are still there: try again later";
        Err(LakeError::about(LakeErrorKind::Unavailable, key, text))
    }

    async fn abort(&self, key: &ObjectKey, upload: &str) -> Result<(), LakeError> {
        let request = self.client.abort_multipart_upload().bucket(&self.name);
        match request.key(key_text(key)?).upload_id(upload).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchUpload") || is_missing(&error) => Ok(()),
            Err(error) => {
                Err(call(key, "aborting an upload", "s3:AbortMultipartUpload").failed(error))
            }
        }
    }

    async fn holds_no_parts(&self, key: &ObjectKey, upload: &str) -> Result<bool, LakeError> {
        let request = self.client.list_parts().bucket(&self.name).max_parts(1);
        match request.key(key_text(key)?).upload_id(upload).send().await {
            Ok(answer) => Ok(answer.parts().is_empty()),
            Err(error) if error.code() == Some("NoSuchUpload") || is_missing(&error) => Ok(true),
            Err(error) => {
                Err(call(key, "listing the parts of an upload", "s3:ListMultipartUploadParts")
                    .failed(error))
            }
        }
    }

    /// Deletes exactly this version. A retention is never bypassed.
    pub(super) async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        key_text(&object.key)?;
        if !object.version.is_null() {
            return self.delete(object, Some(object.version.as_str()), None).await;
        }
        // The null version may have been replaced: what is deleted has to be these bytes. Whether
        // versions are kept is asked anew, since without them a delete marker would take the place.
        let versioning = self.ask_versioning().await?;
        let current = match self.head(Target::Current(&object.key)).await {
            Ok((current, _)) => Some(current),
            Err(error) if error.kind() == LakeErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_current = current.as_ref().is_some_and(|current| current.version.is_null());
        if versioning == Versioning::Never {
            return match current {
                // Replaced: what was to go is gone.
                Some(current) if current.etag != object.etag => Ok(()),
                None => Ok(()),
                Some(_) => self.delete(object, None, Some(object.etag.as_str())).await,
            };
        }
        self.delete_null(object, is_current).await
    }

    /// Deletes the null version of a bucket that keeps versions. Only where it is the current one can
    /// the store be told to compare; beneath another it cannot be replaced without becoming current.
    async fn delete_null(&self, object: &ObjectVersion, is_current: bool) -> Result<(), LakeError> {
        let versions = self.client.head_object().bucket(&self.name).key(key_text(&object.key)?);
        let answer = versions.version_id("null").send().await;
        let etag = match answer {
            Ok(answer) => answer.e_tag().map(super::etag),
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => {
                let call = call(&object.key, "looking at the null version", "s3:GetObjectVersion");
                return Err(call.failed(error));
            }
        };
        if etag.as_ref() != Some(&object.etag) {
            return Ok(());
        }
        let condition = is_current.then(|| object.etag.as_str());
        self.delete(object, Some("null"), condition).await
    }

    /// Deletes a version, or the object where there are no versions, under a condition if there is one.
    pub(super) async fn delete(
        &self,
        object: &ObjectVersion,
        version: Option<&str>,
        if_match: Option<&str>,
    ) -> Result<(), LakeError> {
        let answer = self
            .client
            .delete_object()
            .bucket(&self.name)
            .key(key_text(&object.key)?)
            .set_version_id(version.map(str::to_owned))
            .set_if_match(if_match.map(str::to_owned))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) && error.code() != Some("NoSuchBucket") => Ok(()),
            // Replaced between the look and the deletion.
            Err(error) if if_match.is_some() && is_unmet(&error) => Ok(()),
            Err(error) => {
                let was_denied = is_denied(&error);
                let call = call(&object.key, "deleting a version", "s3:DeleteObjectVersion");
                let error = call.failed(error);
                match was_denied && self.is_locked(object).await {
                    true => Err(locked(&object.key).caused_by(error)),
                    false => Err(error),
                }
            }
        }
    }

    /// Whether a lock explains why a deletion was denied.
    async fn is_locked(&self, object: &ObjectVersion) -> bool {
        match self.head(Target::Version(object)).await {
            Ok((_, head)) => {
                let lock = self.lock(object, &head).await;
                matches!(lock, Ok(Lock::Until(_) | Lock::LegalHold))
            }
            Err(_) => false,
        }
    }
}

fn locked(key: &ObjectKey) -> LakeError {
    let text = "deleting a version: a retention or a legal hold forbids it";
    LakeError::about(LakeErrorKind::Locked, key, text)
}
