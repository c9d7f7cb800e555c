//! One compare-and-swap write: in one request where the new object is small, else in parts.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use aws_sdk_s3::config::http::HttpRequest;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};

use super::connect::sent_once;
use super::parts::OBJECT_MAX_BYTES;
use super::snapshot::Snapshot;
use super::{Bucket, call, etag, key_text, upload};
use crate::domain::edit::{EditError, Segment};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::lake::bounds::copy_length;
use crate::lake::segments::segments;
use crate::lake::{
    Base, LakeError, LakeErrorKind, OperationId, Target, Write, WriteError, WriteObserver,
};

/// A write, and what it carries over.
pub(super) struct Job {
    pub(super) bucket: Arc<Bucket>,
    pub(super) key: ObjectKey,
    pub(super) base: Base,
    /// The base and all that belongs to it; none for a creation.
    pub(super) snapshot: Option<Snapshot>,
    pub(super) operation: OperationId,
    pub(super) observer: Arc<dyn WriteObserver>,
    /// The size of the new object, where the edit tells.
    pub(super) size_bytes: Option<u64>,
}

/// Sets on a request that begins a new object everything that belongs to it and not to its bytes.
/// A macro, since the two requests that do so share no type.
macro_rules! carrying {
    ($request:expr, $job:expr) => {{
        let job = $job;
        let snapshot = job.snapshot.as_ref();
        let head = snapshot.map(|snapshot| &snapshot.head);
        let text =
            |get: fn(&HeadObjectOutput) -> Option<&str>| head.and_then(get).map(str::to_owned);
        let grant = |permission| snapshot.and_then(|snapshot| snapshot.grantees(permission));
        $request
            .bucket(&job.bucket.name)
            .set_key(job.key.as_str().map(str::to_owned))
            .set_metadata(Some(Snapshot::metadata(snapshot, &job.operation)))
            .set_content_type(text(HeadObjectOutput::content_type))
            .set_cache_control(text(HeadObjectOutput::cache_control))
            .set_content_disposition(text(HeadObjectOutput::content_disposition))
            .set_content_encoding(text(HeadObjectOutput::content_encoding))
            .set_content_language(text(HeadObjectOutput::content_language))
            .set_website_redirect_location(text(HeadObjectOutput::website_redirect_location))
            .set_storage_class(head.and_then(|head| head.storage_class().cloned()))
            .set_server_side_encryption(
                head.and_then(|head| head.server_side_encryption().cloned()),
            )
            .set_ssekms_key_id(text(HeadObjectOutput::ssekms_key_id))
            .set_bucket_key_enabled(head.and_then(HeadObjectOutput::bucket_key_enabled))
            .set_tagging(snapshot.and_then(Snapshot::tagging))
            .set_grant_full_control(grant($crate::lake::s3::snapshot::FULL_CONTROL))
            .set_grant_read(grant($crate::lake::s3::snapshot::READ))
            .set_grant_read_acp(grant($crate::lake::s3::snapshot::READ_ACP))
            .set_grant_write_acp(grant($crate::lake::s3::snapshot::WRITE_ACP))
            .customize()
            .config_override(sent_once())
            .map_request(job.expiring())
    }};
}
pub(super) use carrying;

/// Makes the edit the current version of its key, if the key is still as the base says.
pub(super) async fn write(bucket: Arc<Bucket>, write: Write) -> Result<ObjectVersion, WriteError> {
    let Write { key, base, edit, operation, observer } = write;
    let size_bytes = edit.size_bytes();
    let snapshot =
        prepare(&bucket, &key, &base, size_bytes).await.map_err(WriteError::unchanged)?;
    let limit = bucket.single_write_limit_bytes.min(5 << 30);
    let job = Job { bucket, key, base, snapshot, operation, observer, size_bytes };
    let mut pieces = Pieces::new(&job, Box::pin(segments(edit)));
    if size_bytes.is_none_or(|size| size < limit)
        && let Some(whole) = pieces.whole_within(limit).await.map_err(WriteError::unchanged)?
    {
        return job.put(whole).await;
    }
    upload::upload(Arc::new(job), pieces).await
}

async fn prepare(
    bucket: &Bucket,
    key: &ObjectKey,
    base: &Base,
    size_bytes: Option<u64>,
) -> Result<Option<Snapshot>, LakeError> {
    key_text(key)?;
    if size_bytes.is_some_and(|size| size > OBJECT_MAX_BYTES) {
        let text = "the new object would be larger than 5 TiB, more than Lacuna writes";
        return Err(LakeError::about(LakeErrorKind::Unsupported, key, text));
    }
    match base {
        Base::Absent => Ok(None),
        Base::Version(object) if object.key != *key => {
            let text = "the base of a write is a version of another key";
            Err(LakeError::about(LakeErrorKind::Other, key, text))
        }
        Base::Version(object) => bucket.snapshot(object).await.map(Some),
    }
}

impl Job {
    /// What the store has to compare: the ETag that the key must have, or that it must have none.
    pub(super) fn condition(&self) -> (Option<String>, Option<String>) {
        match &self.base {
            Base::Absent => (None, Some("*".to_owned())),
            Base::Version(object) => (Some(object.etag.as_str().to_owned()), None),
        }
    }

    /// The version that copies refer to.
    pub(super) fn source(&self) -> Option<&ObjectVersion> {
        match &self.base {
            Base::Absent => None,
            Base::Version(object) => Some(object),
        }
    }

    /// Carries the `Expires` header over as it stands: the SDK would take nothing but a date.
    pub(super) fn expiring(
        &self,
    ) -> impl Fn(HttpRequest) -> Result<HttpRequest, std::io::Error> + Send + Sync + 'static {
        let head = self.snapshot.as_ref().map(|snapshot| &snapshot.head);
        let expires = head.and_then(|head| head.expires_string()).map(str::to_owned);
        move |mut request: HttpRequest| {
            if let Some(expires) = &expires {
                let inserted = request.headers_mut().try_insert("expires", expires.clone());
                inserted.map_err(std::io::Error::other)?;
            }
            Ok(request)
        }
    }

    /// Writes the whole object in one request.
    async fn put(&self, pieces: Vec<Segment>) -> Result<ObjectVersion, WriteError> {
        let body = self.bucket.gather(self.source(), pieces).await;
        let body: Bytes = body.map_err(WriteError::unchanged)?;
        let size_bytes = body.len() as u64;
        let (if_match, if_none_match) = self.condition();
        let request = self
            .bucket
            .client
            .put_object()
            .set_if_match(if_match)
            .set_if_none_match(if_none_match)
            .body(body.into());
        let answer = carrying!(request, self).send().await;
        let answer = answer
            .map_err(|error| call(&self.key, "writing", "s3:PutObject").write_failed(error))?;
        self.committed(answer.e_tag(), answer.version_id(), size_bytes).await
    }

    /// The version that a write made, which the store has confirmed.
    pub(super) async fn committed(
        &self,
        tag: Option<&str>,
        version: Option<&str>,
        size_bytes: u64,
    ) -> Result<ObjectVersion, WriteError> {
        let found = match tag {
            Some(tag) => self.look_at(etag(tag), version, size_bytes).await,
            None => {
                let text = "the store confirms a write without telling its ETag";
                Err(LakeError::about(LakeErrorKind::Unsupported, &self.key, text))
            }
        };
        let object = found.map_err(WriteError::unknown)?;
        if object.size_bytes != size_bytes {
            let size = object.size_bytes;
            let text = format!("{size_bytes} bytes were written, and the store holds {size}");
            let error = LakeError::about(LakeErrorKind::Corrupt, &self.key, text);
            return Err(WriteError::unknown(error));
        }
        Ok(object)
    }

    async fn look_at(
        &self,
        etag: ETag,
        version: Option<&str>,
        size_bytes: u64,
    ) -> Result<ObjectVersion, LakeError> {
        let version = version.map_or_else(VersionId::null, VersionId::new);
        let modified_at = crate::domain::Timestamp::UNIX_EPOCH;
        let key = self.key.clone();
        let told = ObjectVersion { key, version, etag, size_bytes, modified_at };
        Ok(self.bucket.head(Target::Version(&told)).await?.0)
    }
}

type Segments = Pin<Box<dyn Stream<Item = Result<Segment, EditError>> + Send>>;

/// The segments of an edit, checked as they come.
pub(super) struct Pieces {
    key: ObjectKey,
    base: Base,
    segments: Segments,
    /// Segments that were looked at already.
    ahead: VecDeque<Segment>,
    promised_bytes: Option<u64>,
    seen_bytes: u64,
    /// Whether the edit has come to its end, after which it must not be asked again.
    is_over: bool,
}

impl Pieces {
    fn new(job: &Job, segments: Segments) -> Self {
        Self {
            key: job.key.clone(),
            base: job.base.clone(),
            segments,
            ahead: VecDeque::new(),
            promised_bytes: job.size_bytes,
            seen_bytes: 0,
            is_over: false,
        }
    }

    /// The next segment.
    pub(super) async fn next(&mut self) -> Result<Option<Segment>, LakeError> {
        match self.ahead.pop_front() {
            Some(segment) => Ok(Some(segment)),
            None => self.pull().await,
        }
    }

    /// All segments, where they are no more than these, and no more new bytes. They come again.
    pub(super) async fn all_within(
        &mut self,
        segments: usize,
        new_bytes: u64,
    ) -> Result<Option<Vec<Segment>>, LakeError> {
        let is_new = |segment: &&Segment| matches!(segment, Segment::Bytes(_));
        let mut left = new_bytes;
        for segment in self.ahead.iter().filter(is_new) {
            left = left.saturating_sub(segment.size_bytes());
        }
        while self.ahead.len() < segments && left > 0 {
            match self.pull().await? {
                Some(segment) => {
                    if is_new(&&segment) {
                        left = left.saturating_sub(segment.size_bytes());
                    }
                    self.ahead.push_back(segment);
                }
                None => return Ok(Some(self.ahead.iter().cloned().collect())),
            }
        }
        Ok(None)
    }

    /// All segments, where they come to less than a limit; else they are kept for later.
    async fn whole_within(&mut self, limit: u64) -> Result<Option<Vec<Segment>>, LakeError> {
        while self.seen_bytes < limit {
            match self.pull().await? {
                Some(segment) => self.ahead.push_back(segment),
                None => return Ok(Some(std::mem::take(&mut self.ahead).into())),
            }
        }
        Ok(None)
    }

    async fn pull(&mut self) -> Result<Option<Segment>, LakeError> {
        if self.is_over {
            return Ok(None);
        }
        match self.segments.next().await {
            Some(Ok(segment)) => {
                if let Segment::Copy(range) = &segment {
                    copy_length(&self.key, &self.base, range)?;
                }
                self.seen_bytes = self.seen_bytes.saturating_add(segment.size_bytes());
                Ok(Some(segment))
            }
            Some(Err(error)) => {
                let text = "the new content could not be made";
                Err(LakeError::about(LakeErrorKind::Other, &self.key, text).caused_by(error))
            }
            None if self.promised_bytes.is_some_and(|promised| promised != self.seen_bytes) => {
                let text = "the edit has another length than it told";
                Err(LakeError::about(LakeErrorKind::Other, &self.key, text))
            }
            None => {
                self.is_over = true;
                Ok(None)
            }
        }
    }
}
