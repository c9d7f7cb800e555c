//! Kept versions, page by page, in ascending byte order of keys.

use std::sync::Arc;

use aws_sdk_s3::types::EncodingType;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::encode::{ListingEncoding, PROBE};
use super::partition::{self, KeyRange};
use super::{Bucket, etag, key_text, timestamp};
use crate::domain::object::{ETag, ListedVersion, ObjectKey, ObjectVersion, Standing, VersionId};
use crate::lake::{LakeError, LakeErrorKind, VersionStream, Versioning};

/// A listing of all that begins with a prefix.
pub(super) struct Listing {
    pub(super) bucket: Arc<Bucket>,
    pub(super) prefix: String,
    keeps_versions: bool,
    encoding: ListingEncoding,
}

/// Where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Keys up to this one are left out, unless the rest says otherwise.
    pub(super) after: Option<String>,
    token: Option<String>,
    version: Option<String>,
}

/// One answer of the store.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Its versions, in byte order of keys, newest first.
    pub(super) versions: Vec<ListedVersion>,
    /// What keys with the delimiter were summed up as, in byte order.
    pub(super) prefixes: Vec<String>,
    /// Where the next page begins, if there is one.
    pub(super) next: Option<Cursor>,
}

/// Every kept version of every key that begins with `prefix`.
pub(super) fn list(bucket: Arc<Bucket>, prefix: &[u8]) -> VersionStream {
    match std::str::from_utf8(prefix) {
        Ok(prefix) => {
            let prefix = prefix.to_owned();
            stream::once(begin(bucket, prefix)).try_flatten().boxed()
        }
        Err(_) => {
            let text =
                format!("{}: listing: S3's keys are UTF-8, the prefix is not", bucket.location);
            stream::once(async { Err(LakeError::new(LakeErrorKind::Unsupported, text)) }).boxed()
        }
    }
}

async fn begin(bucket: Arc<Bucket>, prefix: String) -> Result<VersionStream, LakeError> {
    // Asked anew: a bucket may have come to keep versions since the last time.
    let versioning = bucket.ask_versioning().await?;
    let listing = Arc::new(Listing::new(bucket, prefix, versioning).await?);
    if listing.bucket.sorts_by_bytes {
        return partition::list(listing).await;
    }
    // A store that sorts by path would lose keys at the seams of ranges.
    Ok(listing.range(KeyRange::default()))
}

impl Listing {
    async fn new(
        bucket: Arc<Bucket>,
        prefix: String,
        versioning: Versioning,
    ) -> Result<Self, LakeError> {
        let keeps_versions = versioning != Versioning::Never;
        let encoding = bucket.listing_encoding(keeps_versions).await?;
        Ok(Self { bucket, prefix, keeps_versions, encoding })
    }

    /// The versions of a range of keys. It fails where the store does not sort by bytes across pages.
    pub(super) fn range(self: Arc<Self>, range: KeyRange) -> VersionStream {
        let start = Cursor { after: range.after.clone(), ..Cursor::default() };
        let state = (self, Some(start), range);
        stream::try_unfold(state, |(listing, cursor, mut range)| async {
            let Some(cursor) = cursor else { return Ok(None) };
            let page = listing.page(&listing.prefix, None, &cursor).await?;
            if page.next.as_ref() == Some(&cursor) {
                return Err(listing.broken("the listing does not advance"));
            }
            let (versions, is_last) = range.clip(page.versions);
            range.advance(&versions).map_err(|text| listing.broken(text))?;
            let next = page.next.filter(|_| !is_last);
            Ok(Some((stream::iter(versions.into_iter().map(Ok)), (listing, next, range))))
        })
        .try_flatten()
        .boxed()
    }

    /// One page. With a delimiter, keys that hold it after the prefix are summed up.
    pub(super) async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        cursor: &Cursor,
    ) -> Result<Page, LakeError> {
        let mut page = if self.keeps_versions {
            self.versions_page(prefix, delimiter, cursor).await?
        } else {
            self.objects_page(prefix, delimiter, cursor).await?
        };
        // Some stores list what merely shares a folder with the prefix.
        let belongs =
            |listed: &ListedVersion| listed.object.key.as_bytes().starts_with(prefix.as_bytes());
        page.versions.retain(belongs);
        page.versions.sort_by(|left, right| place_of(left).cmp(&place_of(right)));
        page.prefixes.sort();
        Ok(page)
    }

    async fn versions_page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        cursor: &Cursor,
    ) -> Result<Page, LakeError> {
        let request = self.bucket.client.list_object_versions().bucket(&self.bucket.name);
        let answer = request
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_key_marker(cursor.after.clone())
            .set_version_id_marker(cursor.version.clone())
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| self.call().failed(error))?;
        let versions = answer.versions().iter().map(|version| self.version(version));
        let prefixes = answer.common_prefixes().iter().filter_map(|common| common.prefix());
        let next = match answer.next_key_marker() {
            Some(marker) if answer.is_truncated() == Some(true) => Some(Cursor {
                after: Some(self.decode(marker)?),
                token: None,
                version: answer.next_version_id_marker().map(str::to_owned),
            }),
            _ => self.no_next(answer.is_truncated())?,
        };
        Ok(Page {
            versions: versions.collect::<Result<_, _>>()?,
            prefixes: prefixes.map(|prefix| self.decode(prefix)).collect::<Result<_, _>>()?,
            next,
        })
    }

    async fn objects_page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        cursor: &Cursor,
    ) -> Result<Page, LakeError> {
        let request = self.bucket.client.list_objects_v2().bucket(&self.bucket.name);
        let answer = request
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_start_after(cursor.after.clone())
            .set_continuation_token(cursor.token.clone())
            .encoding_type(EncodingType::Url)
            .send()
            .await
            .map_err(|error| self.call().failed(error))?;
        let versions = answer.contents().iter().map(|object| self.object(object));
        let prefixes = answer.common_prefixes().iter().filter_map(|common| common.prefix());
        let next = match answer.next_continuation_token() {
            Some(token) if answer.is_truncated() == Some(true) => {
                Some(Cursor { token: Some(token.to_owned()), ..cursor.clone() })
            }
            _ => self.no_next(answer.is_truncated())?,
        };
        Ok(Page {
            versions: versions.collect::<Result<_, _>>()?,
            prefixes: prefixes.map(|prefix| self.decode(prefix)).collect::<Result<_, _>>()?,
            next,
        })
    }

    /// A listing that is cut off without telling where it goes on would end in silence.
    fn no_next(&self, is_truncated: Option<bool>) -> Result<Option<Cursor>, LakeError> {
        if is_truncated == Some(true) {
            return Err(self.broken("the listing breaks off and does not say where it goes on"));
        }
        Ok(None)
    }

    fn version(
        &self,
        version: &aws_sdk_s3::types::ObjectVersion,
    ) -> Result<ListedVersion, LakeError> {
        let object = self.listed(version.key(), version.e_tag(), version.size());
        let (Some((key, etag, size_bytes)), Some(id), Some(modified_at)) =
            (object?, version.version_id(), timestamp(version.last_modified()))
        else {
            return Err(self.broken("the listing holds an entry without key, ETag, size or time"));
        };
        let standing = match version.is_latest() {
            Some(true) => Standing::Current,
            _ => Standing::Superseded,
        };
        Ok(ListedVersion {
            object: ObjectVersion {
                key,
                version: VersionId::new(id),
                etag,
                size_bytes,
                modified_at,
            },
            standing,
            storage_class: version.storage_class().map(|class| class.as_str().to_owned()),
        })
    }

    fn object(&self, object: &aws_sdk_s3::types::Object) -> Result<ListedVersion, LakeError> {
        let listed = self.listed(object.key(), object.e_tag(), object.size());
        let (Some((key, etag, size_bytes)), Some(modified_at)) =
            (listed?, timestamp(object.last_modified()))
        else {
            return Err(self.broken("the listing holds an entry without key, ETag, size or time"));
        };
        Ok(ListedVersion {
            object: ObjectVersion {
                key,
                version: VersionId::null(),
                etag,
                size_bytes,
                modified_at,
            },
            standing: Standing::Current,
            storage_class: object.storage_class().map(|class| class.as_str().to_owned()),
        })
    }

    /// What both kinds of entry tell.
    fn listed(
        &self,
        key: Option<&str>,
        tag: Option<&str>,
        size: Option<i64>,
    ) -> Result<Option<(ObjectKey, ETag, u64)>, LakeError> {
        let (Some(key), Some(tag), Some(size)) = (key, tag, size) else { return Ok(None) };
        let Ok(size_bytes) = u64::try_from(size) else { return Ok(None) };
        Ok(Some((ObjectKey::from(self.decode(key)?.as_str()), etag(tag), size_bytes)))
    }

    fn decode(&self, text: &str) -> Result<String, LakeError> {
        self.encoding
            .decode(text)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| self.broken("the listing holds a key that is not encoded as promised"))
    }

    fn broken(&self, text: &str) -> LakeError {
        self.call().error(LakeErrorKind::Unsupported, text)
    }

    fn call(&self) -> super::Call<'_> {
        match self.keeps_versions {
            true => self.bucket.call("listing versions", "s3:ListBucketVersions"),
            false => self.bucket.call("listing", "s3:ListBucket"),
        }
    }
}

/// Where an entry belongs: its key, and the current version before the others, since some stores
/// list a `null` version last. Otherwise the store knows best what came after what.
fn place_of(listed: &ListedVersion) -> (&ObjectKey, bool) {
    (&listed.object.key, listed.standing != Standing::Current)
}

impl Bucket {
    /// Every kept version of exactly this key.
    pub(super) async fn versions(
        self: &Arc<Self>,
        key: &ObjectKey,
    ) -> Result<Vec<ListedVersion>, LakeError> {
        let (prefix, versioning) = (key_text(key)?.to_owned(), self.versioning().await?);
        let listing = Listing::new(Arc::clone(self), prefix, versioning).await?;
        let mut versions = Vec::new();
        let mut cursor = Some(Cursor::default());
        // A key sorts before all that it begins, in every store's order.
        while let Some(here) = cursor {
            let page = listing.page(&listing.prefix, None, &here).await?;
            let is_over = page.versions.iter().any(|listed| listed.object.key != *key);
            versions.extend(page.versions.into_iter().filter(|listed| listed.object.key == *key));
            if page.next.as_ref() == Some(&here) {
                return Err(listing.broken("the listing does not advance"));
            }
            cursor = page.next.filter(|_| !is_over);
        }
        Ok(versions)
    }

    /// How the store encodes keys in listings of a kind, found out once: an endpoint that encodes as a path
    /// would otherwise turn the pluses of keys into spaces.
    async fn listing_encoding(&self, keeps_versions: bool) -> Result<ListingEncoding, LakeError> {
        let probe = async {
            let (says_url, repeated) = self.probe_encoding(keeps_versions).await?;
            Ok(ListingEncoding::detect(says_url, repeated.as_deref()))
        };
        self.asked.encodings[usize::from(keeps_versions)].get_or_try_init(|| probe).await.copied()
    }

    async fn probe_encoding(
        &self,
        keeps_versions: bool,
    ) -> Result<(bool, Option<String>), LakeError> {
        let url = EncodingType::Url;
        if keeps_versions {
            let call = self.call("listing versions", "s3:ListBucketVersions");
            let request = self.client.list_object_versions().bucket(&self.name).prefix(PROBE);
            let answer = request.max_keys(1).encoding_type(url.clone()).send().await;
            let answer = answer.map_err(|error| call.failed(error))?;
            return Ok((answer.encoding_type() == Some(&url), answer.prefix().map(str::to_owned)));
        }
        let call = self.call("listing", "s3:ListBucket");
        let request = self.client.list_objects_v2().bucket(&self.name).prefix(PROBE);
        let answer = request.max_keys(1).encoding_type(url.clone()).send().await;
        let answer = answer.map_err(|error| call.failed(error))?;
        Ok((answer.encoding_type() == Some(&url), answer.prefix().map(str::to_owned)))
    }
}
