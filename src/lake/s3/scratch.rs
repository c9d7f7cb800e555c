//! Objects that a write keeps for a moment: the stages of its upload. They hold other people's data, so
//! that they are noted before they are begun to be filled, and go for good as soon as they were copied.

use std::sync::Arc;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::error::is_missing;
use super::lock::Locking;
use super::{Bucket, key_text};
use crate::domain::object::ObjectKey;
use crate::domain::scope::STAGE_PREFIX;
use crate::lake::{LakeError, LakeErrorKind, OperationId, Staging};

/// How many stages are removed at once.
const REMOVED_AT_ONCE: usize = 8;

/// Where the bytes of an unfinished write lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Noted {
    /// The upload of the new object.
    pub(super) upload: String,
    /// Its stages, in their order.
    pub(super) stages: Vec<Scratch>,
}

/// A stage: an object that is made by an upload of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scratch {
    /// Its key.
    pub(super) key: ObjectKey,
    /// The upload that makes it.
    pub(super) upload: String,
}

impl Noted {
    /// As a journal keeps it: the name of the upload alone, where there are no stages.
    pub(super) fn staging(&self) -> Staging {
        if self.stages.is_empty() {
            return Staging(self.upload.clone());
        }
        let text = serde_json::to_string(self);
        Staging(text.unwrap_or_else(|_| unreachable!("it has no map with keys that are not text")))
    }

    /// Read back from a journal.
    ///
    /// # Errors
    ///
    /// Where it names what no write of ours keeps: nothing of it is removed then.
    pub(super) fn read(key: &ObjectKey, staging: &Staging) -> Result<Self, LakeError> {
        if !staging.0.starts_with('{') {
            return Ok(Self { upload: staging.0.clone(), stages: Vec::new() });
        }
        let foreign = |text: &str| LakeError::about(LakeErrorKind::Other, key, text.to_owned());
        let noted: Self = serde_json::from_str(&staging.0).map_err(|error| {
            foreign("the note of an unfinished write cannot be read").caused_by(error)
        })?;
        if !noted.stages.iter().all(|stage| is_stage_of(&stage.key, key)) {
            return Err(foreign(
                "the note of an unfinished write names an object that is no part of it",
            ));
        }
        Ok(noted)
    }
}

/// The key of a stage: beside the object, so that whoever may write the one may write the other, and
/// under a name that no scope takes in.
pub(super) fn stage_key(object: &ObjectKey, operation: &OperationId, number: usize) -> ObjectKey {
    let name = format!("{STAGE_PREFIX}{operation}-{number}");
    ObjectKey::new([folder(object), name.as_bytes()].concat())
}

/// What stands before the last name of a key.
fn folder(key: &ObjectKey) -> &[u8] {
    let bytes = key.as_bytes();
    &bytes[..bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1)]
}

/// Whether a key can be that of a stage of this object. A damaged note must not remove anything else.
fn is_stage_of(stage: &ObjectKey, object: &ObjectKey) -> bool {
    let name = stage.as_bytes().strip_prefix(folder(object));
    let name = name.and_then(|name| name.strip_prefix(STAGE_PREFIX.as_bytes()));
    name.is_some_and(|name| !name.is_empty() && !name.contains(&b'/'))
}

impl Bucket {
    /// Whether stages do no harm in this bucket: what a retention would keep, replication would copy, or a
    /// notification would tell of, is never made. Where the store does not tell, they are not made either.
    /// Asked once.
    pub(super) async fn may_stage(&self) -> bool {
        let asked = self.asked.stages.get_or_try_init(|| async {
            let keeps = self.locking().await? != Locking::Never;
            Ok::<bool, LakeError>(
                !keeps && self.replicates_nothing().await && self.tells_nobody().await,
            )
        });
        asked.await.copied().unwrap_or(false) && !self.asked.stages_failed.get()
    }

    async fn replicates_nothing(&self) -> bool {
        match self.client.get_bucket_replication().bucket(&self.name).send().await {
            Ok(answer) => answer.replication_configuration().is_none(),
            Err(error) => error.code() == Some("NotImplemented") || is_missing(&error),
        }
    }

    async fn tells_nobody(&self) -> bool {
        let request = self.client.get_bucket_notification_configuration().bucket(&self.name);
        match request.send().await {
            Ok(answer) => {
                answer.topic_configurations().is_empty()
                    && answer.queue_configurations().is_empty()
                    && answer.lambda_function_configurations().is_empty()
                    && answer.event_bridge_configuration().is_none()
            }
            Err(error) => error.code() == Some("NotImplemented"),
        }
    }

    /// Removes stages for good: their parts, and every version of them.
    pub(super) async fn remove_stages(
        self: &Arc<Self>,
        stages: &[Scratch],
    ) -> Result<(), LakeError> {
        let removals: Vec<_> =
            stages.iter().map(|stage| self.remove_stage(stage).boxed()).collect();
        stream::iter(removals).buffer_unordered(REMOVED_AT_ONCE).try_collect().await
    }

    async fn remove_stage(self: &Arc<Self>, stage: &Scratch) -> Result<(), LakeError> {
        key_text(&stage.key)?;
        // First of all its upload, so that nothing comes after what is listed.
        self.abandon_upload(&stage.key, &stage.upload).await?;
        for listed in self.versions(&stage.key).await? {
            self.delete_version(&listed.object).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(key: &str) -> Scratch {
        Scratch { key: ObjectKey::from(key), upload: "u-1".to_owned() }
    }

    #[test]
    fn a_note_is_read_back() {
        let object = ObjectKey::from("a b/c+d");
        let operation = OperationId::new("0123");
        let key = stage_key(&object, &operation, 7);
        assert_eq!(key, ObjectKey::from("a b/.lacuna-stage-0123-7"));
        assert_eq!(stage_key(&ObjectKey::from("c"), &operation, 0).as_bytes()[..7], *b".lacuna");
        for stages in [Vec::new(), vec![Scratch { key, upload: "u\"2".to_owned() }]] {
            let noted = Noted { upload: "upload/+=".to_owned(), stages };
            assert_eq!(Noted::read(&object, &noted.staging()).expect("ours"), noted);
        }
        let plain = Noted { upload: "u".to_owned(), stages: Vec::new() };
        assert_eq!(plain.staging(), Staging("u".to_owned()));
    }

    /// A note is foreign text: it must not be able to name anybody's object.
    #[test]
    fn a_damaged_note_removes_nothing() {
        let object = ObjectKey::from("a/b");
        for key in [
            "a/b",
            "a/.lacuna-stage-",
            "x/.lacuna-stage-1-0",
            "a/.lacuna-stage-1/b",
            ".lacuna-stage-1",
        ] {
            let noted = Noted { upload: "u".to_owned(), stages: vec![stage(key)] };
            assert!(Noted::read(&object, &noted.staging()).is_err(), "{key}");
        }
        for text in ["{", "{}", "{\"upload\":1,\"stages\":[]}"] {
            assert!(Noted::read(&object, &Staging(text.to_owned())).is_err(), "{text}");
        }
    }
}
