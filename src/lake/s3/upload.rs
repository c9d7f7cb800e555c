//! A write in parts: ranges of the old object are copied by the store, the rest is sent.
//!
//! Until the parts are joined, readers of the key see the old object. The parts hold personal data
//! and show in no listing, so that the observer learns of the upload before the first is stored, and
//! whatever fails before the joining ends by aborting it.

use std::sync::Arc;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::connect::sent_once;
use super::parts::{PARTS_MAX, Part, Planner};
use super::read::byte_range;
use super::snapshot::Snapshot;
use super::write::{Job, Pieces, carrying};
use super::{call, encode, key_text};
use crate::domain::object::ObjectVersion;
use crate::lake::{LakeError, LakeErrorKind, Staging, WriteError, WriteOutcome};

/// How many parts are on their way at once.
const PARTS_AT_ONCE: usize = 8;

/// How many bytes the parts on their way hold together, in KiB; a larger part goes alone.
const BUDGET_KIB: u32 = 64 << 10;

/// A part that is to be uploaded, with its share of the memory.
type Order = (i32, Part, OwnedSemaphorePermit);

/// Writes an object in parts.
pub(super) async fn upload(job: Arc<Job>, pieces: Pieces) -> Result<ObjectVersion, WriteError> {
    let staging = begin_unseen(&job).await.map_err(WriteError::unchanged)?;
    let result = run(&job, &staging, pieces).await;
    if result.as_ref().is_err_and(|error| error.outcome == WriteOutcome::Unchanged) {
        // What fails here is in the observer's notes and is abandoned by a later run.
        drop(job.bucket.abandon(&job.key, &staging).await);
    }
    result
}

/// Begins an upload, in a task of its own: a write that is dropped meanwhile would leave an upload
/// behind that nobody has noted.
async fn begin_unseen(job: &Arc<Job>) -> Result<Staging, LakeError> {
    let (sender, receiver) = oneshot::channel();
    let shared = Arc::clone(job);
    tokio::spawn(async move {
        if let Err(Ok(staging)) = sender.send(begin(&shared).await) {
            drop(shared.bucket.abandon(&shared.key, &staging).await);
        }
    });
    receiver.await.unwrap_or_else(|error| {
        let text = "beginning an upload: the program is shutting down";
        Err(LakeError::about(LakeErrorKind::Other, &job.key, text).caused_by(error))
    })
}

/// Begins an upload and has it noted.
async fn begin(job: &Job) -> Result<Staging, LakeError> {
    let request = job.bucket.client.create_multipart_upload();
    let answer = carrying!(request, job).send().await;
    let answer = answer
        .map_err(|error| call(&job.key, "beginning an upload", "s3:PutObject").failed(error))?;
    let Some(id) = answer.upload_id() else {
        let text = "the store begins an upload without naming it";
        return Err(LakeError::about(LakeErrorKind::Unsupported, &job.key, text));
    };
    let staging = Staging(id.to_owned());
    match job.observer.staged(&job.key, &staging).await {
        Ok(()) => Ok(staging),
        Err(error) => {
            drop(job.bucket.abandon(&job.key, &staging).await);
            let text = "the upload could not be noted and is given up";
            Err(LakeError::about(LakeErrorKind::Other, &job.key, text).caused_by(error))
        }
    }
}

async fn run(
    job: &Arc<Job>,
    staging: &Staging,
    pieces: Pieces,
) -> Result<ObjectVersion, WriteError> {
    let (parts, size_bytes) = send(job, staging, pieces).await.map_err(WriteError::unchanged)?;
    still_the_same(job).await.map_err(WriteError::unchanged)?;
    let (if_match, if_none_match) = job.condition();
    let answer = job
        .bucket
        .client
        .complete_multipart_upload()
        .bucket(&job.bucket.name)
        .set_key(job.key.as_str().map(str::to_owned))
        .upload_id(&staging.0)
        .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
        .set_mpu_object_size(i64::try_from(size_bytes).ok())
        .set_if_match(if_match)
        .set_if_none_match(if_none_match)
        .customize()
        .config_override(sent_once())
        .send()
        .await;
    let answer = answer.map_err(|error| {
        call(&job.key, "completing an upload", "s3:PutObject").write_failed(error)
    })?;
    job.committed(answer.e_tag(), answer.version_id(), size_bytes).await
}

/// Stores all parts; what they are, and how many bytes they have together.
async fn send(
    job: &Arc<Job>,
    staging: &Staging,
    pieces: Pieces,
) -> Result<(Vec<CompletedPart>, u64), LakeError> {
    let (shared, staging) = (Arc::clone(job), staging.clone());
    let stored = orders(Arc::clone(job), pieces)
        .map_ok(move |order| store(Arc::clone(&shared), staging.clone(), order).boxed())
        .try_buffer_unordered(PARTS_AT_ONCE)
        .boxed();
    let mut stored: Vec<(i32, u64, CompletedPart)> = stored.try_collect().await?;
    stored.sort_by_key(|(number, _, _)| *number);
    let size_bytes = stored.iter().map(|(_, size, _)| size).sum();
    Ok((stored.into_iter().map(|(_, _, part)| part).collect(), size_bytes))
}

/// Looks again just before the joining: what belongs to the object may have changed while the parts
/// were sent, and the ETag does not tell.
async fn still_the_same(job: &Job) -> Result<(), LakeError> {
    let Some(before) = &job.snapshot else { return Ok(()) };
    let after = job.bucket.snapshot(&before.object).await?;
    if before.carries_the_same(&after) {
        return Ok(());
    }
    let text = "its headers, metadata, tags or access list changed while it was being written";
    Err(LakeError::about(LakeErrorKind::Drifted, &job.key, text))
}

/// Where cutting segments into parts stands.
struct Cutting {
    job: Arc<Job>,
    pieces: Pieces,
    planner: Option<Planner>,
    ready: std::vec::IntoIter<Part>,
    number: i32,
    budget: Arc<Semaphore>,
}

/// The parts in order, each once there is memory for it.
fn orders(job: Arc<Job>, pieces: Pieces) -> BoxStream<'static, Result<Order, LakeError>> {
    let base_bytes = job.source().map(|object| object.size_bytes);
    let cutting = Cutting {
        pieces,
        planner: Some(Planner::new(job.size_bytes, base_bytes)),
        job,
        ready: Vec::new().into_iter(),
        number: 0,
        budget: Arc::new(Semaphore::new(BUDGET_KIB as usize)),
    };
    stream::try_unfold(cutting, |mut cutting| async {
        let Some(part) = cutting.next().await? else { return Ok(None) };
        let number = cutting.count()?;
        let share = match &part {
            Part::Copy(_) => 0,
            Part::Pieces(_) => part.size_bytes().div_ceil(1 << 10),
        };
        let share = u32::try_from(share).unwrap_or(u32::MAX).min(BUDGET_KIB);
        let permit = Arc::clone(&cutting.budget).acquire_many_owned(share).await;
        let permit = permit.map_err(|error| {
            let key = &cutting.job.key;
            LakeError::about(LakeErrorKind::Other, key, "the upload was shut down").caused_by(error)
        })?;
        Ok(Some(((number, part, permit), cutting)))
    })
    .boxed()
}

impl Cutting {
    async fn next(&mut self) -> Result<Option<Part>, LakeError> {
        loop {
            if let Some(part) = self.ready.next() {
                return Ok(Some(part));
            }
            let Some(planner) = &mut self.planner else { return Ok(None) };
            self.ready = match self.pieces.next().await? {
                Some(segment) => planner.push(segment),
                None => self.planner.take().map(Planner::finish).unwrap_or_default(),
            }
            .into_iter();
        }
    }

    /// The number of the next part, from 1.
    fn count(&mut self) -> Result<i32, LakeError> {
        self.number = self.number.saturating_add(1);
        if u64::try_from(self.number).is_ok_and(|number| number <= PARTS_MAX) {
            return Ok(self.number);
        }
        let text = "the new object is too large for an upload of 10,000 parts";
        Err(LakeError::about(LakeErrorKind::Unsupported, &self.job.key, text))
    }
}

/// Stores one part.
async fn store(
    job: Arc<Job>,
    staging: Staging,
    order: Order,
) -> Result<(i32, u64, CompletedPart), LakeError> {
    let (number, part, permit) = order;
    let size_bytes = part.size_bytes();
    let stored = match (part, job.source()) {
        (Part::Copy(range), Some(base)) => copy(&job, &staging, number, (base, range)).await?,
        (Part::Copy(_), None) => {
            let text = "an edit copies from an object that is not there";
            return Err(LakeError::about(LakeErrorKind::Other, &job.key, text));
        }
        (Part::Pieces(pieces), base) => {
            let body = job.bucket.gather(base, pieces).await?;
            put(&job, &staging, number, body).await?
        }
    };
    drop(permit);
    if stored.e_tag().is_none() {
        let text = "the store takes a part without telling its ETag";
        return Err(LakeError::about(LakeErrorKind::Unsupported, &job.key, text));
    }
    Ok((number, size_bytes, stored))
}

/// What has to be told of a part when the parts are joined: the same words of two kinds of answer.
macro_rules! completed {
    ($number:expr, $answer:expr) => {{
        let owned = |text: Option<&str>| text.map(str::to_owned);
        CompletedPart::builder()
            .part_number($number)
            .set_e_tag(owned($answer.e_tag()))
            .set_checksum_crc32(owned($answer.checksum_crc32()))
            .set_checksum_crc32_c(owned($answer.checksum_crc32_c()))
            .set_checksum_crc64_nvme(owned($answer.checksum_crc64_nvme()))
            .set_checksum_sha1(owned($answer.checksum_sha1()))
            .set_checksum_sha256(owned($answer.checksum_sha256()))
            .build()
    }};
}

async fn put(
    job: &Job,
    staging: &Staging,
    number: i32,
    body: bytes::Bytes,
) -> Result<CompletedPart, LakeError> {
    let request = job.bucket.client.upload_part().bucket(&job.bucket.name);
    let answer = request
        .key(key_text(&job.key)?)
        .upload_id(&staging.0)
        .part_number(number)
        .body(body.into())
        .send()
        .await
        .map_err(|error| call(&job.key, "uploading a part", "s3:PutObject").failed(error))?;
    Ok(completed!(number, answer))
}

/// Has the store copy a range of exactly this version.
async fn copy(
    job: &Job,
    staging: &Staging,
    number: i32,
    (base, range): (&ObjectVersion, std::ops::Range<u64>),
) -> Result<CompletedPart, LakeError> {
    let version = job.bucket.version_parameter(&base.version).await?.map(|_| &base.version);
    let request = job.bucket.client.upload_part_copy().bucket(&job.bucket.name);
    let answer = request
        .key(key_text(&job.key)?)
        .upload_id(&staging.0)
        .part_number(number)
        .copy_source(encode::copy_source(&job.bucket.name, key_text(&base.key)?, version))
        .copy_source_if_match(base.etag.as_str())
        .copy_source_range(byte_range(&range))
        .send()
        .await
        .map_err(|error| {
            call(&job.key, "copying a part", "s3:PutObject and s3:GetObjectVersion").failed(error)
        })?;
    match answer.copy_part_result() {
        Some(result) => Ok(completed!(number, result)),
        None => {
            let text = "the store copies a part without telling what it stored";
            Err(LakeError::about(LakeErrorKind::Unsupported, &job.key, text))
        }
    }
}
