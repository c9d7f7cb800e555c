//! The lake suite against a real server, with versions and without, and what S3 alone can do.

mod listing;
mod service;
mod stages;
mod wire;

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{BucketVersioningStatus, Tag, Tagging, VersioningConfiguration};
use lacuna::lake::s3::{S3Lake, S3Settings};

use super::*;
use crate::support::services;

/// What a lake of the tests writes in one request at most.
const SINGLE_WRITE_BYTES: usize = 5 << 20;

/// A bucket on the S3 server.
pub(crate) struct S3UnderTest {
    /// Whether it keeps versions.
    pub versions: bool,
}

/// A bucket of its own, and a client beside Lacuna's.
pub(crate) struct FreshBucket {
    pub(crate) lake: Arc<S3Lake>,
    pub(crate) client: Client,
    pub(crate) name: String,
}

/// Makes a bucket of its own.
pub(crate) async fn fresh_bucket(versions: bool) -> FreshBucket {
    let configuration = services::s3().configuration().await;
    let client = services::client(&configuration);
    let name = services::unique("lake");
    client.create_bucket().bucket(&name).send().await.expect("a bucket is made");
    if versions {
        set_versioning(&client, &name, BucketVersioningStatus::Enabled).await;
    }
    let lake = S3Lake::with_configuration(&configuration, settings(&name)).expect("a lake");
    FreshBucket { lake: Arc::new(lake), client, name }
}

/// The settings of a lake of the tests.
pub(crate) fn settings(bucket: &str) -> S3Settings {
    let single_write_limit_bytes = SINGLE_WRITE_BYTES as u64;
    S3Settings { single_write_limit_bytes, ..S3Settings::new(bucket) }
}

pub(crate) async fn set_versioning(client: &Client, name: &str, status: BucketVersioningStatus) {
    let wanted = VersioningConfiguration::builder().status(status).build();
    let request = client.put_bucket_versioning().bucket(name).versioning_configuration(wanted);
    request.send().await.expect("versioning is set");
}

#[async_trait]
impl LakeUnderTest for S3UnderTest {
    async fn fresh(&self) -> Ground {
        let FreshBucket { lake, client, name } = fresh_bucket(self.versions).await;
        Ground { lake, foreign: Box::new(Beside { client, name }) }
    }

    fn holds(&self) -> Holds {
        Holds {
            versions: self.versions,
            keys: &[],
            refuses: &[b"", b"\xff", &[b'a'; 1025]],
            key_below_key: true,
            attributes: &[
                ("content-type", "text/csv"),
                ("cache-control", "max-age=60"),
                ("content-disposition", "attachment; filename=\"a b.csv\""),
                ("content-language", "de, en"),
                ("expires", "Thu, 01 Dec 2044 16:00:00 GMT"),
                ("meta:owner", "somebody else"),
                ("meta:empty-ish", "-"),
                ("tag:team", "y z+=/@"),
                ("tag:stufe 1", "gr\u{fc}n"),
            ],
            part_bytes: SINGLE_WRITE_BYTES,
        }
    }

    /// SeaweedFS turns `\\` into `/`; in listings of versions it does not encode control characters,
    /// and there it adds to long names. What Lacuna sends for such keys, the tests of `s3/wire.rs`
    /// show.
    fn spoils(&self, key: &[u8]) -> bool {
        key.contains(&b'\\') || self.versions && (key.contains(&0x1b) || key.len() > 900)
    }
}

/// Another program on the same bucket.
struct Beside {
    client: Client,
    name: String,
}

#[async_trait]
impl Foreign for Beside {
    async fn put(&self, key: &ObjectKey, bytes: &[u8], attributes: &[(&str, &str)]) {
        let key = key.as_str().expect("keys of S3 are text");
        let value = |name: &str| {
            attributes
                .iter()
                .find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let mut request = self.client.put_object().bucket(&self.name).key(key);
        for (name, value) in attributes {
            if let Some(name) = name.strip_prefix("meta:") {
                request = request.metadata(name, *value);
            }
        }
        let expires = value("expires");
        request
            .set_content_type(value("content-type"))
            .set_cache_control(value("cache-control"))
            .set_content_disposition(value("content-disposition"))
            .set_content_language(value("content-language"))
            .body(Bytes::copy_from_slice(bytes).into())
            .customize()
            .mutate_request(move |request| {
                if let Some(expires) = expires.clone() {
                    request.headers_mut().insert("expires", expires);
                }
            })
            .send()
            .await
            .expect("an object is put");
        let tags = attributes.iter().filter_map(|(name, value)| {
            let tag = Tag::builder().key(name.strip_prefix("tag:")?).value(*value);
            Some(tag.build().expect("a tag"))
        });
        let tags: Vec<Tag> = tags.collect();
        if !tags.is_empty() {
            let tagging = Tagging::builder().set_tag_set(Some(tags)).build().expect("tags");
            let request = self.client.put_object_tagging().bucket(&self.name).key(key);
            request.tagging(tagging).send().await.expect("an object is tagged");
        }
    }

    async fn delete(&self, key: &ObjectKey) {
        let key = key.as_str().expect("keys of S3 are text");
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request.send().await.expect("an object is deleted");
    }

    async fn leftovers(&self) -> usize {
        let request = self.client.list_multipart_uploads().bucket(&self.name);
        request.send().await.expect("uploads are listed").uploads().len()
    }
}

lake_suite!(versioned, S3UnderTest { versions: true });
lake_suite!(unversioned, S3UnderTest { versions: false });
