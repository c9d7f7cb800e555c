//! Small objects as a whole.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;

use super::{
    Base, Lake, LakeError, LakeErrorKind, OperationId, Target, Unobserved, Write, WriteError,
};
use crate::domain::edit::Edit;
use crate::domain::object::{ObjectKey, ObjectVersion};

/// How often a document is read that changes while it is.
const ATTEMPTS: usize = 8;

/// The current version of a document and its bytes; `None` where there is none.
///
/// # Errors
///
/// [`LakeErrorKind::Unsupported`] where it has more than `most_bytes`, [`LakeErrorKind::Drifted`] where
/// it changed again and again while it was read.
pub async fn get(
    lake: &dyn Lake,
    key: &ObjectKey,
    most_bytes: u64,
) -> Result<Option<(ObjectVersion, Bytes)>, LakeError> {
    let mut attempt = 1;
    loop {
        match get_once(lake, key, most_bytes).await {
            Err(error) if error.kind() == LakeErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == LakeErrorKind::Drifted && attempt < ATTEMPTS => {}
            result => return result.map(Some),
        }
        attempt += 1;
    }
}

async fn get_once(
    lake: &dyn Lake,
    key: &ObjectKey,
    most_bytes: u64,
) -> Result<(ObjectVersion, Bytes), LakeError> {
    let object = lake.attributes(Target::Current(key)).await?.object;
    if object.size_bytes > most_bytes {
        let size_bytes = object.size_bytes;
        let message = format!("it has {size_bytes} bytes; a document has at most {most_bytes}");
        return Err(LakeError::about(LakeErrorKind::Unsupported, key, message));
    }
    let mut bytes = BytesMut::new();
    let mut pieces = lake.read(&object, 0..object.size_bytes).await?;
    while let Some(piece) = pieces.try_next().await? {
        bytes.extend_from_slice(&piece);
    }
    if bytes.len() as u64 != object.size_bytes {
        let message = "a read ended before its end";
        return Err(LakeError::about(LakeErrorKind::Corrupt, key, message));
    }
    Ok((object, bytes.freeze()))
}

/// Creates a document where there is none.
///
/// # Errors
///
/// As [`Lake::write`]; [`LakeErrorKind::Drifted`] where there is one.
pub async fn create(
    lake: &dyn Lake,
    key: &ObjectKey,
    bytes: impl Into<Bytes> + Send,
    operation: OperationId,
) -> Result<ObjectVersion, WriteError> {
    let (key, edit) = (key.clone(), Edit::bytes(bytes));
    let observer = Arc::new(Unobserved);
    lake.write(Write { key, base: Base::Absent, edit, operation, observer }).await
}

/// Replaces a document, if it is still this version.
///
/// # Errors
///
/// As [`Lake::write`]; [`LakeErrorKind::Drifted`] where it is another.
pub async fn replace(
    lake: &dyn Lake,
    base: &ObjectVersion,
    bytes: impl Into<Bytes> + Send,
    operation: OperationId,
) -> Result<ObjectVersion, WriteError> {
    let (key, edit) = (base.key.clone(), Edit::bytes(bytes));
    let (base, observer) = (Base::Version(base.clone()), Arc::new(Unobserved));
    lake.write(Write { key, base, edit, operation, observer }).await
}
