//! The stages of an upload: begun together, filled and copied one by one, removed at once.

use std::sync::Arc;

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::{StreamExt as _, stream};

use super::connect::sent_once;
use super::parts::Part;
use super::scratch::{Scratch, stage_key};
use super::stages::{Stage, staged};
use super::upload::{Target, copy, put};
use super::write::{Job, Pieces};
use super::{OPERATION, call, etag, key_text};
use crate::domain::object::{ObjectVersion, VersionId};
use crate::lake::{LakeError, LakeErrorKind, Versioning};

/// How many stages are begun at once.
const BEGUN_AT_ONCE: usize = 8;

/// How many segments of an edit are looked at before its first part is stored, and how many new bytes.
const SEGMENTS_MOST: usize = 4096;
const NEW_BYTES_MOST: u64 = 16 << 20;

/// The parts of an upload with stages, where these save something and the bucket allows them. What was
/// looked at of the edit comes again.
pub(super) async fn plan(job: &Job, pieces: &mut Pieces) -> Result<Option<Vec<Part>>, LakeError> {
    let Some(base) = job.source() else { return Ok(None) };
    let Some(segments) = pieces.all_within(SEGMENTS_MOST, NEW_BYTES_MOST).await? else {
        return Ok(None);
    };
    let Some(parts) = staged(&segments, base.size_bytes) else { return Ok(None) };
    Ok(job.bucket.may_stage().await.then_some(parts))
}

/// Begins the uploads of the stages of these parts. They hold nothing yet.
pub(super) async fn begin(job: &Arc<Job>, parts: &[Part]) -> Result<Vec<Scratch>, LakeError> {
    let count = parts.iter().filter(|part| matches!(part, Part::Staged(_))).count();
    let begun: Vec<Result<Scratch, LakeError>> = stream::iter(0..count)
        .map(|number| begin_one(Arc::clone(job), number))
        .buffered(BEGUN_AT_ONCE)
        .collect()
        .await;
    let (stages, failed): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
    let stages: Vec<Scratch> = stages.into_iter().flatten().collect();
    match failed.into_iter().find_map(Result::err) {
        None => Ok(stages),
        Some(error) => {
            // Empty uploads, which nobody was told of.
            drop(job.bucket.remove_stages(&stages).await);
            Err(error)
        }
    }
}

async fn begin_one(job: Arc<Job>, number: usize) -> Result<Scratch, LakeError> {
    let key = stage_key(&job.key, &job.operation, number);
    let head = job.snapshot.as_ref().map(|snapshot| &snapshot.head);
    // As well protected as the object; nothing else of it.
    let answer = job
        .bucket
        .client
        .create_multipart_upload()
        .bucket(&job.bucket.name)
        .key(key_text(&key)?)
        .metadata(OPERATION, job.operation.as_str())
        .set_server_side_encryption(head.and_then(|head| head.server_side_encryption().cloned()))
        .set_ssekms_key_id(head.and_then(|head| head.ssekms_key_id().map(str::to_owned)))
        .set_bucket_key_enabled(head.and_then(|head| head.bucket_key_enabled()))
        .send()
        .await
        .map_err(|error| {
            call(&key, "beginning a stage of an upload", "s3:PutObject").failed(error)
        })?;
    match answer.upload_id() {
        Some(upload) => Ok(Scratch { upload: upload.to_owned(), key }),
        None => {
            let text = "the store begins an upload without naming it";
            Err(LakeError::about(LakeErrorKind::Unsupported, &key, text))
        }
    }
}

/// Makes a stage, has the store copy it into the part of this number, and removes it.
pub(super) async fn store(
    job: &Job,
    (target, number): (&Target<'_>, i32),
    (stage, scratch): (Stage, &Scratch),
    base: &ObjectVersion,
) -> Result<CompletedPart, LakeError> {
    let size_bytes = Part::Staged(stage.clone()).size_bytes();
    let own = Target { key: &scratch.key, upload: &scratch.upload };
    let first = copy(job, &own, 1, (base, stage.range)).await?;
    let patch = job.bucket.gather(Some(base), stage.patch).await?;
    let last = put(job, &own, 2, patch).await?;
    let made = complete(job, scratch, vec![first, last], size_bytes).await?;
    let part = copy(job, target, number, (&made, 0..size_bytes)).await?;
    remove(job, &made).await?;
    Ok(part)
}

/// Joins the parts of a stage. The version in the answer is as the store tells it, and whoever copies
/// from it asks for exactly that.
async fn complete(
    job: &Job,
    scratch: &Scratch,
    parts: Vec<CompletedPart>,
    size_bytes: u64,
) -> Result<ObjectVersion, LakeError> {
    let answer = job
        .bucket
        .client
        .complete_multipart_upload()
        .bucket(&job.bucket.name)
        .key(key_text(&scratch.key)?)
        .upload_id(&scratch.upload)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .if_none_match("*")
        .customize()
        .config_override(sent_once())
        .send()
        .await
        .map_err(|error| {
            call(&scratch.key, "completing a stage of an upload", "s3:PutObject").failed(error)
        })?;
    let Some(tag) = answer.e_tag() else {
        let text = "the store completes an upload without telling its ETag";
        return Err(LakeError::about(LakeErrorKind::Unsupported, &scratch.key, text));
    };
    Ok(ObjectVersion {
        key: scratch.key.clone(),
        version: answer.version_id().map_or_else(VersionId::null, VersionId::new),
        etag: etag(tag),
        size_bytes,
        modified_at: crate::domain::Timestamp::UNIX_EPOCH,
    })
}

/// Deletes a stage that was just made; nobody else knows its name.
async fn remove(job: &Job, made: &ObjectVersion) -> Result<(), LakeError> {
    let keeps_versions = job.bucket.versioning().await? != Versioning::Never;
    let version = keeps_versions.then(|| made.version.as_str());
    job.bucket.delete(made, version, None).await
}
