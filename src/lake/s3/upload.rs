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
use super::scratch::Noted;
use super::snapshot::Snapshot;
use super::write::{Job, Pieces, carrying};
use super::{assembly, call, encode, key_text};
use crate::domain::edit::Segment;
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::lake::{LakeError, LakeErrorKind, WriteError, WriteOutcome};

/// How many parts are on their way at once.
const PARTS_AT_ONCE: usize = 8;

/// How many bytes the parts on their way hold together, in KiB; a larger part goes alone.
const BUDGET_KIB: u32 = 64 << 10;

/// A part that is to be uploaded, with its share of the memory.
type Order = (i32, Part, OwnedSemaphorePermit);

/// Writes an object in parts.
pub(super) async fn upload(job: Arc<Job>, mut pieces: Pieces) -> Result<ObjectVersion, WriteError> {
    let parts = assembly::plan(&job, &mut pieces).await.map_err(WriteError::unchanged)?;
    let begun = begin_unseen(&job, parts).await.map_err(WriteError::unchanged)?;
    let result = run(&job, &begun, pieces).await;
    if result.as_ref().is_err_and(|error| error.outcome == WriteOutcome::Unchanged) {
        // What fails here is in the observer's notes and is abandoned by a later run.
        drop(job.bucket.abandon(&job.key, &begun.noted.staging()).await);
    }
    result
}

/// An upload that was begun and noted.
struct Begun {
    noted: Noted,
    /// Its parts, where it has stages.
    parts: Option<Vec<Part>>,
}

/// Begins an upload, in a task of its own: a write that is dropped meanwhile would leave an upload
/// behind that nobody has noted.
async fn begin_unseen(job: &Arc<Job>, parts: Option<Vec<Part>>) -> Result<Begun, LakeError> {
    let (sender, receiver) = oneshot::channel();
    let shared = Arc::clone(job);
    tokio::spawn(async move {
        if let Err(Ok(begun)) = sender.send(begin(&shared, parts).await) {
            drop(shared.bucket.abandon(&shared.key, &begun.noted.staging()).await);
        }
    });
    receiver.await.unwrap_or_else(|error| {
        let text = "beginning an upload: the program is shutting down";
        Err(LakeError::about(LakeErrorKind::Other, &job.key, text).caused_by(error))
    })
}

/// Begins an upload, and those of its stages, and has them noted.
async fn begin(job: &Arc<Job>, parts: Option<Vec<Part>>) -> Result<Begun, LakeError> {
    let upload = begin_one(job).await?;
    let mut begun = Begun { noted: Noted { upload, stages: Vec::new() }, parts: None };
    if let Some(parts) = parts {
        match assembly::begin(job, &parts).await {
            Ok(stages) => {
                begun.noted.stages = stages;
                begun.parts = Some(parts);
            }
            // Nothing was stored; it goes without them.
            Err(_) => job.bucket.asked.stages_failed.set(),
        }
    }
    let staging = begun.noted.staging();
    match job.observer.staged(&job.key, &staging).await {
        Ok(()) => Ok(begun),
        Err(error) => {
            drop(job.bucket.abandon(&job.key, &staging).await);
            let text = "the upload could not be noted and is given up";
            Err(LakeError::about(LakeErrorKind::Other, &job.key, text).caused_by(error))
        }
    }
}

async fn begin_one(job: &Job) -> Result<String, LakeError> {
    let request = job.bucket.client.create_multipart_upload();
    let answer = carrying!(request, job).send().await;
    let answer = answer
        .map_err(|error| call(&job.key, "beginning an upload", "s3:PutObject").failed(error))?;
    answer.upload_id().map(str::to_owned).ok_or_else(|| {
        let text = "the store begins an upload without naming it";
        LakeError::about(LakeErrorKind::Unsupported, &job.key, text)
    })
}

async fn run(job: &Arc<Job>, begun: &Begun, pieces: Pieces) -> Result<ObjectVersion, WriteError> {
    let sent = send(job, begun, pieces).await;
    let (parts, size_bytes) = sent.map_err(WriteError::unchanged)?;
    still_the_same(job).await.map_err(WriteError::unchanged)?;
    let (if_match, if_none_match) = job.condition();
    let answer = job
        .bucket
        .client
        .complete_multipart_upload()
        .bucket(&job.bucket.name)
        .set_key(job.key.as_str().map(str::to_owned))
        .upload_id(&begun.noted.upload)
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

/// Parts as they are joined, and how many bytes they have together.
type Sent = (Vec<CompletedPart>, u64);

/// Stores all parts; with stages, where there are any and they work.
async fn send(job: &Arc<Job>, begun: &Begun, pieces: Pieces) -> Result<Sent, LakeError> {
    let noted = Arc::new(begun.noted.clone());
    if let Some(parts) = &begun.parts {
        let cutting = Cutting::of(Arc::clone(job), Planned::Parts(parts.clone()));
        match send_parts(job, &noted, cutting).await {
            Err(error) if is_about_stages(job, &error) => {
                if error.kind() != LakeErrorKind::Unavailable {
                    job.bucket.asked.stages_failed.set();
                }
            }
            sent => return sent,
        }
        job.bucket.remove_stages(&noted.stages).await?;
    }
    // Parts of the same numbers take the place of what was stored.
    let cutting = Cutting::of(Arc::clone(job), Planned::Pieces(pieces));
    let sent = send_parts(job, &noted, cutting).await?;
    // Requests that were given up may have come to their end meanwhile.
    job.bucket.remove_stages(&noted.stages).await?;
    Ok(sent)
}

/// Whether it was a stage that failed, for want of a permission or because the store is not able to. The
/// object's own drift is neither, whoever meets it.
fn is_about_stages(job: &Job, error: &LakeError) -> bool {
    let is_of_stage = error.key().is_some_and(|key| *key != job.key);
    is_of_stage && !matches!(error.kind(), LakeErrorKind::Drifted | LakeErrorKind::NotFound)
}

async fn send_parts(
    job: &Arc<Job>,
    noted: &Arc<Noted>,
    cutting: Cutting,
) -> Result<Sent, LakeError> {
    let (shared, noted) = (Arc::clone(job), Arc::clone(noted));
    let stored = orders(cutting)
        .map_ok(move |order| store(Arc::clone(&shared), Arc::clone(&noted), order).boxed())
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
    /// What is still to be cut.
    rest: Option<(Pieces, Planner)>,
    ready: std::vec::IntoIter<Part>,
    number: i32,
    budget: Arc<Semaphore>,
}

/// What parts come from.
enum Planned {
    /// An edit that is cut as it comes.
    Pieces(Pieces),
    /// An edit that was cut as a whole.
    Parts(Vec<Part>),
}

/// The parts in order, each once there is memory for it.
fn orders(cutting: Cutting) -> BoxStream<'static, Result<Order, LakeError>> {
    stream::try_unfold(cutting, |mut cutting| async {
        let Some(part) = cutting.next().await? else { return Ok(None) };
        let number = cutting.count()?;
        let share = match &part {
            Part::Copy(_) => 0,
            Part::Pieces(_) => part.size_bytes().div_ceil(1 << 10),
            Part::Staged(stage) => {
                stage.patch.iter().map(Segment::size_bytes).sum::<u64>().div_ceil(1 << 10)
            }
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
    fn of(job: Arc<Job>, planned: Planned) -> Self {
        let base_bytes = job.source().map(|object| object.size_bytes);
        let planner = Planner::new(job.size_bytes, base_bytes);
        let (rest, ready) = match planned {
            Planned::Pieces(pieces) => (Some((pieces, planner)), Vec::new()),
            Planned::Parts(parts) => (None, parts),
        };
        let budget = Arc::new(Semaphore::new(BUDGET_KIB as usize));
        Self { job, rest, ready: ready.into_iter(), number: 0, budget }
    }

    async fn next(&mut self) -> Result<Option<Part>, LakeError> {
        loop {
            if let Some(part) = self.ready.next() {
                return Ok(Some(part));
            }
            let Some((pieces, planner)) = &mut self.rest else { return Ok(None) };
            self.ready = match pieces.next().await? {
                Some(segment) => planner.push(segment),
                None => self.rest.take().map(|(_, planner)| planner.finish()).unwrap_or_default(),
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
    noted: Arc<Noted>,
    order: Order,
) -> Result<(i32, u64, CompletedPart), LakeError> {
    let (number, part, permit) = order;
    let size_bytes = part.size_bytes();
    let target = Target { key: &job.key, upload: &noted.upload };
    let stored = match (part, job.source()) {
        (Part::Copy(range), Some(base)) => copy(&job, &target, number, (base, range)).await?,
        (Part::Staged(stage), Some(base)) => {
            let Some(scratch) = noted.stages.get(stage.number) else {
                let text = "a stage of the upload was not begun";
                return Err(LakeError::about(LakeErrorKind::Other, &job.key, text));
            };
            assembly::store(&job, (&target, number), (stage, scratch), base).await?
        }
        (Part::Copy(_) | Part::Staged(_), None) => {
            let text = "an edit copies from an object that is not there";
            return Err(LakeError::about(LakeErrorKind::Other, &job.key, text));
        }
        (Part::Pieces(pieces), base) => {
            let body = job.bucket.gather(base, pieces).await?;
            put(&job, &target, number, body).await?
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

/// An upload of one key.
pub(super) struct Target<'a> {
    /// The key.
    pub(super) key: &'a ObjectKey,
    /// The upload.
    pub(super) upload: &'a str,
}

/// Stores a part of new bytes.
pub(super) async fn put(
    job: &Job,
    target: &Target<'_>,
    number: i32,
    body: bytes::Bytes,
) -> Result<CompletedPart, LakeError> {
    let request = job.bucket.client.upload_part().bucket(&job.bucket.name);
    let answer = request
        .key(key_text(target.key)?)
        .upload_id(target.upload)
        .part_number(number)
        .body(body.into())
        .send()
        .await
        .map_err(|error| call(target.key, "uploading a part", "s3:PutObject").failed(error))?;
    Ok(completed!(number, answer))
}

/// Has the store copy a range of exactly this version.
pub(super) async fn copy(
    job: &Job,
    target: &Target<'_>,
    number: i32,
    (base, range): (&ObjectVersion, std::ops::Range<u64>),
) -> Result<CompletedPart, LakeError> {
    let version = job.bucket.version_parameter(&base.version).await?.map(|_| &base.version);
    let length = range.end.saturating_sub(range.start);
    let request = job.bucket.client.upload_part_copy().bucket(&job.bucket.name);
    let answer = request
        .key(key_text(target.key)?)
        .upload_id(target.upload)
        .part_number(number)
        .copy_source(encode::copy_source(&job.bucket.name, key_text(&base.key)?, version))
        .copy_source_if_match(base.etag.as_str())
        .copy_source_range(byte_range(&range))
        .send()
        .await
        .map_err(|error| {
            call(target.key, "copying a part", "s3:PutObject and s3:GetObjectVersion").failed(error)
        })?;
    match answer.copy_part_result() {
        Some(result) => {
            job.bucket.meter.locked().copied_bytes += length;
            Ok(completed!(number, result))
        }
        None => {
            let text = "the store copies a part without telling what it stored";
            Err(LakeError::about(LakeErrorKind::Unsupported, target.key, text))
        }
    }
}
