//! What writing takes, tried on scratch objects that go at once.

use super::super::{Bucket, S3Lake, call};
use super::{BucketFacts, Retains, refused};
use crate::clock::Clock;
use crate::domain::finding::{Check, Finding, untried};
use crate::domain::object::ObjectKey;
use crate::domain::scope::PROBE_PREFIX;
use crate::lake::examine::{self, RUN};

const OF_WRITING: &[Check] = &[Check::ConditionalWrites, Check::Uploads];

impl S3Lake {
    pub(super) async fn examine_writing(
        &self,
        prefix: &str,
        facts: &BucketFacts,
        clock: &Clock,
        writes: bool,
    ) -> Vec<Finding> {
        match facts.retains {
            _ if !writes => untried(OF_WRITING, "nothing was to be written"),
            Retains::New => {
                untried(OF_WRITING, "the bucket would retain what is written to try it")
            }
            Retains::Unknown => untried(
                OF_WRITING,
                "whether the bucket would retain what is written to try it is not known",
            ),
            Retains::Nothing => {
                let conditional = examine::conditional_writes(self, prefix.as_bytes(), clock).await;
                let conditional = self.bucket.named(conditional, prefix);
                vec![conditional, self.bucket.examine_uploads(prefix).await]
            }
        }
    }
}

impl Bucket {
    /// The finding with the resource that a missing permission is about.
    fn named(&self, mut found: Finding, prefix: &str) -> Finding {
        if let Some(permission) = found.permission.take() {
            let resource = self.arn_below(prefix);
            found.fix = None;
            return found.lacking(permission.action, resource);
        }
        found
    }

    /// B4: whoever can begin an upload has to be able to break it off.
    async fn examine_uploads(&self, prefix: &str) -> Finding {
        let check = Check::Uploads;
        let key = ObjectKey::from(format!("{prefix}{PROBE_PREFIX}{RUN}-upload").as_str());
        let resource = self.arn_below(prefix);
        let meaning = "objects of some size cannot be rewritten";
        let text = String::from_utf8_lossy(key.as_bytes());
        let asked = self.client.create_multipart_upload().bucket(&self.name).key(text).send().await;
        let upload = match asked {
            Ok(answer) => answer.upload_id,
            Err(error) => {
                let error = call(&key, "beginning an upload", "s3:PutObject").failed(error);
                return refused(check, &error, &resource, meaning);
            }
        };
        let Some(upload) = upload else {
            return Finding::problem(check, "the store begins an upload without naming it");
        };
        match self.abandon_upload(&key, &upload).await {
            Ok(()) => Finding::ok(check, "an upload in parts can be begun and broken off"),
            Err(error) => {
                let meaning = "parts of a broken upload would stay, and one of this trial did";
                refused(check, &error, &resource, meaning)
            }
        }
    }
}
