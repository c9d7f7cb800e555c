//! What the file system knows of a file beside its bytes: inode, owner, mode, extended attributes, and
//! the mark that a write of Lacuna leaves.

use std::collections::BTreeMap;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::{Errno, retry_on_intr};

use super::{Root, system};
use crate::domain::Timestamp;
use crate::domain::identifier::hex;
use crate::domain::object::{ETag, ObjectKey, ObjectVersion, VersionId};
use crate::lake::{Attributes, LakeError, LakeErrorKind, Lock, OperationId};

/// The extended attribute that names the write which made a file. Its value is the operation id, once
/// the bytes are complete followed by size and modification time: a program that changes the file in
/// place inherits the attribute, but not its truth.
const MARK: &str = "user.lacuna.operation";

/// Attributes that vouch for the bytes of a file and are wrong for any other.
const BOUND_TO_CONTENT: [&[u8]; 2] = [b"security.ima", b"security.evm"];

/// The longest list of names, and the longest value, that Linux has (`limits.h`).
const LONGEST_ATTRIBUTE_BYTES: usize = 64 << 10;

/// A file, as the file system sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) number: u64,
    pub(super) size_bytes: u64,
    /// Modification time in nanoseconds since 1970.
    modified: i128,
    /// Change time (of the inode) in nanoseconds since 1970.
    changed: i128,
    pub(super) links: u64,
    pub(super) file_type: FileType,
    mode: u32,
    owner: (u32, u32),
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

impl From<&Stat> for Inode {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_lossless,
        reason = "the fields have other types on other systems"
    )]
    fn from(stat: &Stat) -> Self {
        Self {
            number: stat.st_ino as u64,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            links: stat.st_nlink as u64,
            file_type: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode as u32 & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
        }
    }
}

impl Inode {
    /// Of a file that is open.
    pub(super) fn of(file: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::from(&retry_on_intr(|| rustix::fs::fstat(&file))?))
    }

    /// The ETag: [`Inode::content`] and the change time.
    pub(super) fn etag(&self) -> ETag {
        ETag::new(format!("{}-{:x}", self.content(), self.changed))
    }

    /// What an ETag says of the bytes alone. A change of mode or a rename leaves it as it is.
    pub(super) fn content(&self) -> String {
        format!("{:x}-{:x}-{:x}", self.number, self.size_bytes, self.modified)
    }

    /// Whether the bytes that were opened are still what is read. An inode that lost its name changed
    /// by that, not in its bytes.
    pub(super) fn is_undisturbed(&self, opened: &Self) -> bool {
        let same_bytes = self.content() == opened.content();
        same_bytes && (self.changed == opened.changed || self.links == 0)
    }

    /// The version of a key that the file is.
    pub(super) fn object(&self, key: &ObjectKey) -> ObjectVersion {
        ObjectVersion {
            key: key.clone(),
            version: VersionId::null(),
            etag: self.etag(),
            size_bytes: self.size_bytes,
            modified_at: self.modified_at(),
        }
    }

    /// A time that no calendar has counts as the nearest that one has.
    fn modified_at(&self) -> Timestamp {
        let nearest = if self.modified < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Timestamp::from_nanosecond(self.modified).unwrap_or(nearest)
    }
}

/// What an ETag of a directory says of the bytes alone.
pub(super) fn content_of(etag: &ETag) -> &str {
    etag.as_str().rsplit_once('-').map_or("", |(content, _)| content)
}

/// Whether the file system of a lake keeps extended attributes, asked without writing any.
pub(super) fn keeps_attributes(root: &Root) -> Result<bool, LakeError> {
    match value(&root.folder, MARK.as_bytes()) {
        Ok(_) => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => {
            let message = format!("the folder {} cannot be looked at", root.location);
            Err(LakeError::new(system::kind_of(errno), message).caused_by(errno))
        }
    }
}

/// The value of an extended attribute, if there is one.
fn value(file: &OwnedFd, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let mut value = Vec::with_capacity(LONGEST_ATTRIBUTE_BYTES);
    match rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value)) {
        Ok(_) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// The extended attributes that belong to the object, by name.
fn extended(file: &OwnedFd) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Errno> {
    let mut list = Vec::with_capacity(LONGEST_ATTRIBUTE_BYTES);
    match rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut list)) {
        Ok(_) => {}
        Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(errno) => return Err(errno),
    }
    let names = list.split(|byte| *byte == 0).filter(|name| {
        !name.is_empty() && *name != MARK.as_bytes() && !BOUND_TO_CONTENT.contains(name)
    });
    let mut attributes = BTreeMap::new();
    for name in names {
        if let Some(value) = value(file, name)? {
            attributes.insert(name.to_vec(), value);
        }
    }
    Ok(attributes)
}

/// Everything known of an open file.
pub(super) fn of(file: &OwnedFd, inode: &Inode, key: &ObjectKey) -> Result<Attributes, LakeError> {
    let fail = |errno| system::failed(key, "its attributes cannot be read", errno);
    let mut carried = BTreeMap::from([
        ("mode".to_owned(), format!("{:04o}", inode.mode)),
        ("owner".to_owned(), format!("{}:{}", inode.owner.0, inode.owner.1)),
    ]);
    for (name, value) in extended(file).map_err(fail)? {
        let name = ObjectKey::new(name).to_string();
        carried.insert(format!("xattr:{name}"), shown(&value));
    }
    Ok(Attributes {
        object: inode.object(key),
        operation: operation(file, inode).map_err(fail)?,
        storage_class: None,
        is_readable: true,
        lock: Lock::Free,
        carried,
    })
}

/// A value as text, or in hexadecimal where it is none.
fn shown(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("hex:{}", hex(value)),
    }
}

fn sealed_mark(operation: &OperationId, inode: &Inode) -> String {
    format!("{operation} {} {}", inode.size_bytes, inode.modified)
}

/// The write that made the file as it is now, where it was one of Lacuna.
fn operation(file: &OwnedFd, inode: &Inode) -> Result<Option<OperationId>, Errno> {
    let Some(operation) = marked(file)? else { return Ok(None) };
    let sealed = sealed_mark(&operation, inode);
    let is_true = value(file, MARK.as_bytes())?.is_some_and(|value| value == sealed.as_bytes());
    Ok(is_true.then_some(operation))
}

/// The write that a file's mark names, complete or not; `None` also where there are no attributes.
pub(super) fn marked(file: &OwnedFd) -> Result<Option<OperationId>, Errno> {
    let mark = match value(file, MARK.as_bytes()) {
        Err(Errno::OPNOTSUPP) => None,
        mark => mark?,
    };
    let text = mark.and_then(|mark| String::from_utf8(mark).ok());
    Ok(text.and_then(|text| text.split(' ').next().map(OperationId::new)))
}

/// Marks a file that has no bytes yet as one of this write. `false` where the file system keeps no
/// attributes.
pub(super) fn mark(file: &OwnedFd, operation: &OperationId) -> Result<bool, Errno> {
    match set(file, MARK.as_bytes(), operation.as_str().as_bytes()) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Marks a file whose bytes are complete.
pub(super) fn seal(file: &OwnedFd, operation: &OperationId) -> Result<(), Errno> {
    let inode = Inode::of(file)?;
    set(file, MARK.as_bytes(), sealed_mark(operation, &inode).as_bytes())
}

fn set(file: &OwnedFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()))
}

/// Gives the new file what belongs to the object: extended attributes (access lists among them), owner
/// and mode. In this order: a mode may forbid to set attributes, and a new owner takes mode bits away.
///
/// # Errors
///
/// [`LakeErrorKind::Denied`] where the process may not: an object never changes hands silently.
pub(super) fn carry(
    from: &OwnedFd,
    inode: &Inode,
    to: &OwnedFd,
    key: &ObjectKey,
) -> Result<(), LakeError> {
    let fail = |what: &str| {
        let message = format!("its {what} cannot be kept, so it is not rewritten");
        move |errno| LakeError::about(system::kind_of(errno), key, message).caused_by(errno)
    };
    let existing = extended(to).map_err(fail("extended attributes"))?;
    for (name, value) in extended(from).map_err(fail("extended attributes"))? {
        if existing.get(&name) != Some(&value) {
            set(to, &name, &value).map_err(fail("extended attributes"))?;
        }
    }
    let new = Inode::of(to).map_err(fail("owner"))?;
    if new.owner != inode.owner {
        let (user, group) = inode.owner;
        let owner = Some(Uid::from_raw(user));
        retry_on_intr(|| rustix::fs::fchown(to, owner, Some(Gid::from_raw(group))))
            .map_err(fail("owner"))?;
    }
    retry_on_intr(|| rustix::fs::fchmod(to, Mode::from_raw_mode(inode.mode)))
        .map_err(fail("mode"))?;
    let kept = Inode::of(to).map_err(fail("mode"))?;
    if (kept.mode, kept.owner) == (inode.mode, inode.owner) {
        return Ok(());
    }
    let message = "its mode and owner cannot be kept, so it is not rewritten";
    Err(LakeError::about(LakeErrorKind::Denied, key, message))
}
