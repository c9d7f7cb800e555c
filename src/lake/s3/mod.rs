//! Objects on S3, and on stores that speak its language.
//!
//! It knows keys, versions and requests; it never knows what the bytes mean. A retention or a legal
//! hold stays with the version it was put on and is never bypassed; a new version gets what the
//! bucket gives it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::types::BucketVersioningStatus;
use tokio::sync::OnceCell;

use super::count::Meter;
use super::{
    Attributes, ByteStream, Capabilities, Conditions, Lake, LakeError, LakeErrorKind, Staging,
    Target, VersionStream, Versioning, Write, WriteError,
};
use crate::domain::Timestamp;
use crate::domain::object::{ETag, ListedVersion, ObjectKey, ObjectVersion, VersionId};

mod assembly;
mod attributes;
mod connect;
mod delete;
mod encode;
mod error;
mod examine;
mod gather;
mod list;
mod lock;
mod partition;
mod parts;
mod read;
mod scratch;
mod snapshot;
mod stages;
mod upload;
mod write;

pub use connect::S3Settings;
pub use connect::SINGLE_WRITE_LIMIT_BYTES;
use encode::ListingEncoding;
use error::{Call, On};
pub use examine::{BucketFacts, OF_BUCKET, OF_PREFIX};
pub use parts::PART_MIN_BYTES;

/// The user metadata that names the operation which wrote an object.
const OPERATION: &str = "lacuna-operation";

/// One bucket.
#[derive(Clone)]
pub struct S3Lake {
    bucket: Arc<Bucket>,
}

/// A bucket, and what is asked of it once.
struct Bucket {
    client: Client,
    name: String,
    location: String,
    single_write_limit_bytes: u64,
    /// Whether keys are known to be listed in byte order: AWS does so, others may sort by path.
    sorts_by_bytes: bool,
    asked: Arc<Asked>,
    /// Counts what is asked of the bucket.
    meter: Meter,
}

/// What a bucket is asked once.
#[derive(Default)]
struct Asked {
    versioning: OnceCell<Versioning>,
    locking: OnceCell<lock::Locking>,
    /// Of listings of objects, and of versions.
    encodings: [OnceCell<ListingEncoding>; 2],
    /// Whether an upload may have stages.
    stages: OnceCell<bool>,
    /// Set when stages turned out not to work.
    stages_failed: Flag,
}

/// Once set, it stays so.
#[derive(Default)]
struct Flag(AtomicBool);

impl Flag {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl S3Lake {
    /// The bucket of these settings. Credentials, and what the settings leave open, are found as
    /// the AWS tools find them.
    ///
    /// # Errors
    ///
    /// Where the settings name no bucket. The bucket itself is not asked; [`Lake::capabilities`] does.
    pub async fn connect(settings: S3Settings) -> Result<Self, LakeError> {
        let configuration = connect::configuration(&settings).await;
        Self::with_configuration(&configuration, settings)
    }

    /// The same over a configuration of the caller's, for tests and for buckets that share one.
    ///
    /// # Errors
    ///
    /// As [`S3Lake::connect`].
    pub fn with_configuration(
        configuration: &SdkConfig,
        settings: S3Settings,
    ) -> Result<Self, LakeError> {
        if settings.bucket.is_empty() || settings.bucket.contains('/') {
            let text = format!("'{}' is not the name of a bucket", settings.bucket.escape_debug());
            return Err(LakeError::new(LakeErrorKind::Other, text));
        }
        let has_endpoint = connect::endpoint(configuration, &settings).is_some();
        if settings.bucket.ends_with("--x-s3") {
            let text = "directory buckets keep no versions and list in no order: not supported";
            return Err(LakeError::new(LakeErrorKind::Unsupported, text));
        }
        let bucket = Bucket {
            client: connect::client(configuration, &settings),
            location: format!("s3://{}", settings.bucket),
            name: settings.bucket,
            single_write_limit_bytes: settings.single_write_limit_bytes,
            sorts_by_bytes: settings.lists_in_byte_order.unwrap_or(!has_endpoint),
            asked: Arc::default(),
            meter: Meter::default(),
        };
        Ok(Self { bucket: Arc::new(bucket) })
    }
}

impl fmt::Debug for S3Lake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Lake").field("location", &self.bucket.location).finish()
    }
}

#[async_trait]
impl Lake for S3Lake {
    fn location(&self) -> &str {
        &self.bucket.location
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        let versioning = self.bucket.ask_versioning().await?;
        Ok(Capabilities { versioning, marks_operations: true, conditions: Conditions::Server })
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        list::list(Arc::clone(&self.bucket), prefix)
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.bucket.versions(key).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.bucket.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        self.bucket.read(object, range).await
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        write::write(Arc::clone(&self.bucket), write).await
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.bucket.abandon(key, staging).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.bucket.delete_version(object).await
    }

    fn metered(&self, meter: &Meter) -> Option<Arc<dyn Lake>> {
        let bucket = Arc::new(self.bucket.metered(meter));
        Some(Arc::new(Self { bucket }))
    }
}

impl Bucket {
    /// The same bucket, which counts on this meter.
    fn metered(&self, meter: &Meter) -> Self {
        Self {
            client: connect::metered(&self.client, meter),
            name: self.name.clone(),
            location: self.location.clone(),
            single_write_limit_bytes: self.single_write_limit_bytes,
            sorts_by_bytes: self.sorts_by_bytes,
            asked: self.asked.clone(),
            meter: meter.clone(),
        }
    }

    fn call<'a>(&'a self, what: &'static str, permission: &'static str) -> Call<'a> {
        Call { what, permission, on: On::Bucket(&self.location) }
    }

    /// Whether the bucket keeps versions, asked anew.
    async fn ask_versioning(&self) -> Result<Versioning, LakeError> {
        let call = self.call("asking for versioning", "s3:GetBucketVersioning");
        let answer = self.client.get_bucket_versioning().bucket(&self.name).send().await;
        Ok(match answer.map_err(|error| call.failed(error))?.status() {
            None => Versioning::Never,
            Some(BucketVersioningStatus::Enabled) => Versioning::Enabled,
            Some(BucketVersioningStatus::Suspended) => Versioning::Suspended,
            Some(_) => {
                let text = "the bucket's versioning is in a state that is not known";
                return Err(call.error(LakeErrorKind::Unsupported, text));
            }
        })
    }

    /// Whether the bucket keeps versions, asked once. Versioning cannot be taken back, so that an
    /// old answer errs on one side only: it may miss versions that came to be kept meanwhile.
    async fn versioning(&self) -> Result<Versioning, LakeError> {
        self.asked.versioning.get_or_try_init(|| self.ask_versioning()).await.copied()
    }

    /// The version id to name in a request about a version: none for the only version of an object
    /// in a bucket that keeps none, where its ETag has to do.
    async fn version_parameter(&self, version: &VersionId) -> Result<Option<String>, LakeError> {
        let is_nameless = version.is_null() && self.versioning().await? == Versioning::Never;
        Ok((!is_nameless).then(|| version.as_str().to_owned()))
    }
}

/// A call about one object.
fn call<'a>(key: &'a ObjectKey, what: &'static str, permission: &'static str) -> Call<'a> {
    Call { what, permission, on: On::Object(key) }
}

/// The text of a key.
///
/// # Errors
///
/// S3's keys are UTF-8 of 1 to 1,024 bytes.
fn key_text(key: &ObjectKey) -> Result<&str, LakeError> {
    key.as_str().filter(|text| (1..=1024).contains(&text.len())).ok_or_else(|| {
        let text = "not a key that S3 can hold: 1 to 1,024 bytes of UTF-8";
        LakeError::about(LakeErrorKind::Unsupported, key, text)
    })
}

/// An ETag as every answer of the store is to spell it: some stores leave the quotes out of listings.
fn etag(text: &str) -> ETag {
    if text.starts_with('"') || text.starts_with("W/") {
        return ETag::new(text);
    }
    ETag::new(format!("\"{text}\""))
}

/// A moment to the second: answers to `HEAD` do not tell more, and a listing must agree with them.
fn timestamp(moment: Option<&aws_sdk_s3::primitives::DateTime>) -> Option<Timestamp> {
    Timestamp::from_second(moment?.secs()).ok()
}
