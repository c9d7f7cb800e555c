//! What belongs to an object and not to its bytes, as a rewrite carries it over.

use std::collections::BTreeMap;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::operation::get_object_acl::GetObjectAclOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{Grant, Grantee, Permission};

use super::error::is_denied;
use super::{Bucket, OPERATION, call, encode, etag, key_text, timestamp};
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::lake::{LakeError, LakeErrorKind, OperationId, Target};

/// A version and all that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The version.
    pub(super) object: ObjectVersion,
    /// Its headers.
    pub(super) head: HeadObjectOutput,
    /// Its tags, by name.
    pub(super) tags: Tags,
    /// Who may do what with it.
    pub(super) access: Access,
}

/// The tags of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tags {
    /// These.
    Known(BTreeMap<String, String>),
    /// The permission to see them is missing.
    Denied,
}

/// The access list of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// What every object has: its owner may do everything.
    Default,
    /// Grantees as a request's header spells them, by permission.
    Grants(BTreeMap<&'static str, String>),
    /// The permission to see it is missing.
    Denied,
}

/// The names of permissions on an object, which are also those of `Attributes::carried`.
pub(super) const FULL_CONTROL: &str = "full-control";
pub(super) const READ: &str = "read";
pub(super) const READ_ACP: &str = "read-acp";
pub(super) const WRITE_ACP: &str = "write-acp";

impl Bucket {
    /// The headers of a version, which is that one and no other.
    pub(super) async fn head(
        &self,
        target: Target<'_>,
    ) -> Result<(ObjectVersion, HeadObjectOutput), LakeError> {
        let (key, pinned) = match target {
            Target::Current(key) => (key, None),
            Target::Version(object) => (&object.key, Some(object)),
        };
        let head = match pinned {
            None => self.head_of(key, None, None).await?,
            Some(object) => {
                let found = self.head_of(key, Some(&object.version), Some(&object.etag)).await;
                match found {
                    Err(error) if error.kind() == LakeErrorKind::Drifted => {
                        return Err(self.drifted_or_gone(object).await);
                    }
                    found => found?,
                }
            }
        };
        let object = described(key, &head)?;
        match pinned {
            Some(wanted) if !wanted.is_same_version(&object) => {
                let text = "the store answers for another version than was asked for";
                Err(LakeError::about(LakeErrorKind::Drifted, key, text))
            }
            _ => Ok((object, head)),
        }
    }

    /// The headers of a key, or of a version of it.
    pub(super) async fn head_of(
        &self,
        key: &ObjectKey,
        version: Option<&VersionId>,
        etag: Option<&ETag>,
    ) -> Result<HeadObjectOutput, LakeError> {
        let parameter = match version {
            Some(version) => self.version_parameter(version).await?,
            None => None,
        };
        let permission = match version {
            Some(_) => "s3:GetObjectVersion (s3:ListBucket tells missing from denied)",
            None => "s3:GetObject (s3:ListBucket tells missing from denied)",
        };
        let request = self.client.head_object().bucket(&self.name).key(key_text(key)?);
        let request = request
            .set_version_id(parameter)
            .set_if_match(etag.map(|etag| etag.as_str().to_owned()));
        let answer = request.send().await;
        answer.map_err(|error| call(key, "asking for its attributes", permission).failed(error))
    }

    /// Everything that a rewrite of the current version carries over, if it is still this one.
    ///
    /// # Errors
    ///
    /// [`LakeErrorKind::Drifted`] where it is another or none, [`LakeErrorKind::Denied`] where its
    /// tags cannot be seen, since the rewrite would lose them.
    pub(super) async fn snapshot(&self, base: &ObjectVersion) -> Result<Snapshot, LakeError> {
        let (head, tags, access) = futures::join!(
            self.head(Target::Current(&base.key)),
            self.tags(base),
            self.access(base)
        );
        let drifted = |text| LakeError::about(LakeErrorKind::Drifted, &base.key, text);
        let (object, head) = match head {
            Ok((object, _)) if !object.is_same_version(base) => {
                return Err(drifted("it was overwritten since it was read"));
            }
            Err(error) if error.kind() == LakeErrorKind::NotFound => {
                return Err(drifted("it was deleted since it was read"));
            }
            answer => answer?,
        };
        let (tags, access) = (tags?, access?);
        if tags == Tags::Denied {
            let text = "its tags cannot be seen and would be lost: it takes s3:GetObjectTagging, \
                        and of versions s3:GetObjectVersionTagging";
            return Err(LakeError::about(LakeErrorKind::Denied, &base.key, text));
        }
        if head.missing_meta().is_some_and(|count| count > 0) {
            let text = "it has user metadata that HTTP cannot carry and that would be lost";
            return Err(LakeError::about(LakeErrorKind::Unsupported, &base.key, text));
        }
        Ok(Snapshot { object, head, tags, access })
    }

    /// The tags of a version.
    pub(super) async fn tags(&self, object: &ObjectVersion) -> Result<Tags, LakeError> {
        let request = self.client.get_object_tagging().bucket(&self.name);
        let version = self.version_parameter(&object.version).await?;
        let request = request.key(key_text(&object.key)?).set_version_id(version);
        match request.send().await {
            Ok(answer) => {
                let pair = |tag: &aws_sdk_s3::types::Tag| (tag.key.clone(), tag.value.clone());
                Ok(Tags::Known(answer.tag_set().iter().map(pair).collect()))
            }
            Err(error) if error.code() == Some("NotImplemented") => {
                Ok(Tags::Known(BTreeMap::new()))
            }
            Err(error) if is_denied(&error) => Ok(Tags::Denied),
            Err(error) => {
                Err(call(&object.key, "asking for its tags", "s3:GetObjectTagging").failed(error))
            }
        }
    }

    /// The access list of a version.
    pub(super) async fn access(&self, object: &ObjectVersion) -> Result<Access, LakeError> {
        let request = self.client.get_object_acl().bucket(&self.name);
        let version = self.version_parameter(&object.version).await?;
        let request = request.key(key_text(&object.key)?).set_version_id(version);
        match request.send().await {
            Ok(answer) => Ok(access(&answer)),
            Err(error) if error.code() == Some("NotImplemented") => Ok(Access::Default),
            Err(error) if is_denied(&error) => Ok(Access::Denied),
            Err(error) => {
                Err(call(&object.key, "asking for its access list", "s3:GetObjectAcl")
                    .failed(error))
            }
        }
    }
}

impl Snapshot {
    /// The user metadata of a rewrite: the old, under the name of the new operation.
    pub(super) fn metadata(
        snapshot: Option<&Self>,
        operation: &OperationId,
    ) -> std::collections::HashMap<String, String> {
        let old = snapshot.and_then(|snapshot| snapshot.head.metadata()).cloned();
        let mut metadata = old.unwrap_or_default();
        metadata.insert(OPERATION.to_owned(), operation.as_str().to_owned());
        metadata
    }

    /// The tags as the header of a write spells them; `None` where there are none.
    pub(super) fn tagging(&self) -> Option<String> {
        let Tags::Known(tags) = &self.tags else { return None };
        let pair = |(name, value): (&String, &String)| {
            format!("{}={}", encode::query(name), encode::query(value))
        };
        let pairs: Vec<String> = tags.iter().map(pair).collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }

    /// Who is granted a permission beyond what every object has.
    pub(super) fn grantees(&self, permission: &str) -> Option<String> {
        match &self.access {
            Access::Grants(grants) => grants.get(permission).cloned(),
            Access::Default | Access::Denied => None,
        }
    }

    /// Whether nothing that a rewrite carries over differs.
    pub(super) fn carries_the_same(&self, other: &Self) -> bool {
        self.object.is_same_version(&other.object)
            && self.carried() == other.carried()
            && self.head.metadata() == other.head.metadata()
    }

    /// What a rewrite carries over, by the names of `Attributes::carried`.
    pub(super) fn carried(&self) -> BTreeMap<String, String> {
        let mut carried = headers(&self.head);
        match &self.tags {
            Tags::Known(tags) => {
                let named = tags.iter().map(|(name, value)| (format!("tag:{name}"), value.clone()));
                carried.extend(named);
            }
            Tags::Denied => {
                let note = "not shown: it takes s3:GetObjectTagging or s3:GetObjectVersionTagging";
                carried.insert("tags".to_owned(), note.to_owned());
            }
        }
        match &self.access {
            Access::Default => {}
            Access::Grants(grants) => {
                let named = |(name, who): (&&str, &String)| (format!("acl:{name}"), who.clone());
                carried.extend(grants.iter().map(named));
            }
            Access::Denied => {
                let note = "not shown: it takes s3:GetObjectAcl or s3:GetObjectVersionAcl";
                carried.insert("acl".to_owned(), note.to_owned());
            }
        }
        carried
    }
}

/// Which version a `HEAD` speaks of.
fn described(key: &ObjectKey, head: &HeadObjectOutput) -> Result<ObjectVersion, LakeError> {
    let size_bytes = head.content_length().and_then(|length| u64::try_from(length).ok());
    let modified_at = timestamp(head.last_modified());
    let (Some(tag), Some(size_bytes), Some(modified_at)) = (head.e_tag(), size_bytes, modified_at)
    else {
        let text = "the store does not tell ETag, length and time of an object";
        return Err(LakeError::about(LakeErrorKind::Unsupported, key, text));
    };
    let version = head.version_id().map_or_else(VersionId::null, VersionId::new);
    Ok(ObjectVersion { key: key.clone(), version, etag: etag(tag), size_bytes, modified_at })
}

fn headers(head: &HeadObjectOutput) -> BTreeMap<String, String> {
    let encryption = head.server_side_encryption().map(|encryption| encryption.as_str());
    let with_bucket_key = head.bucket_key_enabled().filter(|enabled| *enabled).map(|_| "true");
    let headers = [
        ("content-type", head.content_type()),
        ("cache-control", head.cache_control()),
        ("content-disposition", head.content_disposition()),
        ("content-encoding", head.content_encoding()),
        ("content-language", head.content_language()),
        ("expires", head.expires_string()),
        ("website-redirect-location", head.website_redirect_location()),
        ("storage-class", head.storage_class().map(|class| class.as_str())),
        ("encryption", encryption),
        ("encryption-key", head.ssekms_key_id()),
        ("encryption-bucket-key", with_bucket_key),
    ];
    let header = |(name, value): (&str, Option<&str>)| Some((name.to_owned(), value?.to_owned()));
    let mut carried: BTreeMap<String, String> = headers.into_iter().filter_map(header).collect();
    for (name, value) in head.metadata().into_iter().flatten() {
        if name != OPERATION {
            carried.insert(format!("meta:{}", name.to_lowercase()), value.clone());
        }
    }
    carried
}

fn access(answer: &GetObjectAclOutput) -> Access {
    let owner = answer.owner().and_then(|owner| owner.id());
    if answer.grants().iter().all(|grant| is_owners(grant, owner)) {
        return Access::Default;
    }
    let mut grants: BTreeMap<&'static str, String> = BTreeMap::new();
    for grant in answer.grants() {
        let (Some(name), Some(who)) = (permission(grant), grant.grantee().and_then(spelled)) else {
            continue;
        };
        let grantees = grants.entry(name).or_default();
        if !grantees.is_empty() {
            grantees.push_str(", ");
        }
        grantees.push_str(&who);
    }
    Access::Grants(grants)
}

fn is_owners(grant: &Grant, owner: Option<&str>) -> bool {
    let id = grant.grantee().and_then(|grantee| grantee.id());
    grant.permission() == Some(&Permission::FullControl) && (owner.is_none() || id == owner)
}

/// The name of a permission. `WRITE` means nothing on an object and no request can grant it.
fn permission(grant: &Grant) -> Option<&'static str> {
    match grant.permission()? {
        Permission::FullControl => Some(FULL_CONTROL),
        Permission::Read => Some(READ),
        Permission::ReadAcp => Some(READ_ACP),
        Permission::WriteAcp => Some(WRITE_ACP),
        _ => None,
    }
}

/// A grantee as a request's header spells it.
fn spelled(grantee: &Grantee) -> Option<String> {
    match (grantee.id(), grantee.uri()) {
        (Some(id), _) => Some(format!("id=\"{id}\"")),
        (None, Some(uri)) => Some(format!("uri=\"{uri}\"")),
        (None, None) => None,
    }
}
