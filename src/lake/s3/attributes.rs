//! What is known of a version beside its bytes.

use std::collections::BTreeMap;

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::StorageClass;

use super::snapshot::{Snapshot, Tags};
use super::{Bucket, OPERATION};
use crate::lake::{Attributes, LakeError, OperationId, Target};

impl Bucket {
    /// What is known of the current version of a key, or of a given one.
    pub(super) async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        let (object, head) = self.head(target).await?;
        let has_tags = head.tag_count().is_some_and(|count| count > 0);
        let (tags, access, lock) = futures::join!(
            async {
                match has_tags {
                    true => self.tags(&object).await,
                    false => Ok(Tags::Known(BTreeMap::new())),
                }
            },
            self.access(&object),
            self.lock(&object, &head)
        );
        let snapshot = Snapshot { object, head, tags: tags?, access: access? };
        let head = &snapshot.head;
        let operation = head.metadata().and_then(|metadata| metadata.get(OPERATION));
        Ok(Attributes {
            operation: operation.map(|text| OperationId::new(text.as_str())),
            storage_class: Some(
                head.storage_class().unwrap_or(&StorageClass::Standard).to_string(),
            ),
            is_readable: is_readable(head),
            lock: lock?,
            carried: snapshot.carried(),
            object: snapshot.object,
        })
    }
}

/// Whether the bytes can be read now. A restored object is readable although its class says archive.
fn is_readable(head: &HeadObjectOutput) -> bool {
    let is_archived = head.archive_status().is_some()
        || matches!(head.storage_class(), Some(StorageClass::Glacier | StorageClass::DeepArchive));
    !is_archived || head.restore().is_some_and(|text| text.contains("ongoing-request=\"false\""))
}
