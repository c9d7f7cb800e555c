//! Bytes of a version, pinned and counted.

use std::ops::Range;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::error::is_unmet;
use super::{Bucket, call, etag, key_text};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::lake::bounds::read_length;
use crate::lake::{ByteStream, LakeError, LakeErrorKind};

impl Bucket {
    /// The bytes of a version in a range. The stream ends in an error where the store delivers
    /// another number of bytes.
    pub(super) async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let key = key_text(&object.key)?;
        let wanted = read_length(object, &range)?;
        if wanted == 0 {
            return Ok(stream::empty().boxed());
        }
        let answer = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .set_version_id(self.version_parameter(&object.version).await?)
            .if_match(object.etag.as_str())
            .range(byte_range(&range))
            .send()
            .await;
        let answer = match answer {
            Err(error) if is_unmet(&error) => return Err(self.drifted_or_gone(object).await),
            answer => answer
                .map_err(|error| call(&object.key, "reading", "s3:GetObject").failed(error))?,
        };
        check_answer(object, &range, &answer)?;
        let meter = self.meter.clone();
        let count = move |piece: &Result<Bytes, LakeError>| {
            meter.locked().read_bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        };
        Ok(counted(object.key.clone(), answer, wanted).inspect(count).boxed())
    }

    /// Why a condition on a version is unmet: some stores say so of what is not there at all.
    pub(super) async fn drifted_or_gone(&self, object: &ObjectVersion) -> LakeError {
        match self.head_of(&object.key, Some(&object.version), None).await {
            Err(error) if error.kind() == LakeErrorKind::NotFound => error,
            _ => {
                let text = "it is no longer the version that was asked for";
                LakeError::about(LakeErrorKind::Drifted, &object.key, text)
            }
        }
    }

    /// The bytes of a range at once.
    pub(super) async fn read_whole(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<Bytes, LakeError> {
        let capacity = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut stream = self.read(object, range).await?;
        let mut whole = Vec::with_capacity(capacity);
        while let Some(piece) = stream.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.into())
    }
}

/// A range as HTTP spells it, its last byte included. It must not be empty.
pub(super) fn byte_range(range: &Range<u64>) -> String {
    format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
}

/// A store that ignores a condition or a range must not pass unnoticed.
fn check_answer(
    object: &ObjectVersion,
    range: &Range<u64>,
    answer: &GetObjectOutput,
) -> Result<(), LakeError> {
    let about = |kind, text: String| Err(LakeError::about(kind, &object.key, text));
    if answer.e_tag().map(etag).as_ref() != Some(&object.etag) {
        return about(LakeErrorKind::Drifted, "reading: another version was delivered".to_owned());
    }
    let wanted = range.end - range.start;
    let begins_there = match answer.content_range() {
        Some(told) => told.starts_with(&format!("bytes {}-", range.start)),
        None => range.start == 0,
    };
    let promised = answer.content_length().and_then(|length| u64::try_from(length).ok());
    if !begins_there || promised.is_some_and(|length| length != wanted) {
        let text = format!(
            "reading bytes {} to {}: S3 promises another range; the object has {} bytes",
            range.start, range.end, object.size_bytes
        );
        return about(LakeErrorKind::Corrupt, text);
    }
    Ok(())
}

/// The body as a stream that fails where it ends early or goes on too long.
fn counted(key: ObjectKey, answer: GetObjectOutput, wanted: u64) -> ByteStream {
    let state = (answer.body, wanted, key);
    stream::unfold(Some(state), |state| async {
        let (mut body, left, key) = state?;
        let corrupt = |text: String| LakeError::about(LakeErrorKind::Corrupt, &key, text);
        match body.next().await {
            None if left == 0 => None,
            None => {
                Some((Err(corrupt(format!("reading: the body ends {left} bytes early"))), None))
            }
            Some(Err(error)) => {
                let kind = LakeErrorKind::Unavailable;
                let text = format!("reading: the connection broke {left} bytes early");
                Some((Err(LakeError::about(kind, &key, text).caused_by(error)), None))
            }
            Some(Ok(bytes)) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => Some((Ok(bytes), Some((body, left, key)))),
                None => Some((Err(corrupt("reading: the body is too long".to_owned())), None)),
            },
        }
    })
    .boxed()
}
