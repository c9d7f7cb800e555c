//! The new bytes of an object, in a file beside it that nobody takes for one.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::{self, Inode, content_of};
use super::path::Place;
use super::{Root, drifted, system};
use crate::domain::edit::{Edit, Segment};
use crate::domain::object::ObjectKey;
use crate::lake::segments::failed_edit;
use crate::lake::{Base, LakeError, LakeErrorKind, OperationId, Staging, bounds};

const PREFIX: &str = ".lacuna-";
const SUFFIX: &str = ".tmp";

/// Copies of at most this many bytes go through memory, together with the new bytes around them.
const SMALL_COPY_BYTES: u64 = 64 << 10;

/// How many bytes are gathered before they are written.
const GATHERED_BYTES: usize = 1 << 20;

/// The name of a temporary file, and which bytes the write replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Temporary {
    pub(super) operation: OperationId,
    /// What the ETag of the base says of its bytes; empty where there is no base.
    pub(super) base: String,
}

/// Whether an operation id may stand in a file name.
fn is_nameable(operation: &str) -> bool {
    (1..=64).contains(&operation.len())
        && operation
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// Whether a name is that of an unfinished write.
pub(super) fn is_temporary(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let operation = name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(SUFFIX));
    operation.is_some_and(is_nameable)
}

impl Temporary {
    pub(super) fn new(operation: &OperationId, base: &Base) -> Result<Self, LakeError> {
        if !is_nameable(operation.as_str()) {
            let message = "an operation id of a directory is 1 to 64 letters, digits, `-` and `_`";
            return Err(LakeError::new(LakeErrorKind::Unsupported, message));
        }
        let base = match base {
            Base::Absent => String::new(),
            Base::Version(object) => content_of(&object.etag).to_owned(),
        };
        Ok(Self { operation: operation.clone(), base })
    }

    /// As a journal keeps it: the operation id, a space, and the base's part of its ETag.
    pub(super) fn staging(&self) -> Staging {
        Staging(format!("{} {}", self.operation, self.base))
    }

    /// Read back from a journal; `None` where it is none of a directory.
    pub(super) fn read(staging: &Staging) -> Option<Self> {
        let (operation, base) = staging.0.split_once(' ')?;
        let operation = is_nameable(operation).then(|| OperationId::new(operation))?;
        Some(Self { operation, base: base.to_owned() })
    }

    pub(super) fn name(&self) -> String {
        format!("{PREFIX}{}{SUFFIX}", self.operation)
    }
}

/// A write whose base was found to be what it should be.
pub(super) struct Prepared {
    pub(super) place: Place,
    pub(super) base: Base,
    /// The old file, opened.
    pub(super) old: Option<(OwnedFd, Inode)>,
}

/// Looks at the base before anything is stored.
pub(super) fn prepare(root: &Root, key: &ObjectKey, base: &Base) -> Result<Prepared, LakeError> {
    let base = base.clone();
    match &base {
        Base::Absent => {
            let place = Place::make(root, key)?;
            match place.look(&place.name) {
                Err(Errno::NOENT) => Ok(Prepared { place, base, old: None }),
                Err(errno) => Err(system::failed(key, "cannot be looked at", errno)),
                Ok(_) => Err(exists(key)),
            }
        }
        Base::Version(object) => {
            let place = Place::find(root, key)?;
            let (file, inode) = place.open()?;
            if object.key != *key || inode.etag() != object.etag {
                return Err(drifted(key));
            }
            check_links(key, &inode)?;
            Ok(Prepared { place, base, old: Some((file, inode)) })
        }
    }
}

pub(super) fn exists(key: &ObjectKey) -> LakeError {
    LakeError::about(LakeErrorKind::Drifted, key, "it exists already")
}

/// J3: bytes with a second name are not gone when they are replaced under the first.
pub(super) fn check_links(key: &ObjectKey, inode: &Inode) -> Result<(), LakeError> {
    if inode.links <= 1 {
        return Ok(());
    }
    let message = format!(
        "it has {} hard links and its bytes would stay under the others; remove those first",
        inode.links
    );
    Err(LakeError::about(LakeErrorKind::Unsupported, key, message))
}

/// A temporary file. It goes when it is dropped, unless its name holds something else by then.
pub(super) struct Staged<'a> {
    pub(super) place: &'a Place,
    pub(super) temporary: &'a Temporary,
    pub(super) file: OwnedFd,
    /// Whether it carries the operation's name.
    pub(super) is_marked: bool,
    is_ours: bool,
}

impl Staged<'_> {
    pub(super) fn name(&self) -> String {
        self.temporary.name()
    }

    /// The name no longer holds the new bytes: dropping this removes nothing.
    pub(super) fn leave(&mut self) {
        self.is_ours = false;
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if self.is_ours {
            // What cannot be removed now is removed by `abandon`: the journal has its name.
            let _ = rustix::fs::unlinkat(&self.place.folder, self.name(), AtFlags::empty());
        }
    }
}

/// Stores the new bytes beside the object, complete and durable, with everything that belongs to it.
pub(super) fn stage<'a>(
    prepared: &'a Prepared,
    edit: Edit,
    temporary: &'a Temporary,
    stopped: &AtomicBool,
) -> Result<Staged<'a>, LakeError> {
    let key = &prepared.place.key;
    let fail = |errno| system::failed_write(key, errno);
    let staged = create(&prepared.place, temporary)?;
    fill(prepared, &staged, edit, stopped)?;
    // Before the mode is kept, which may forbid to set attributes.
    if staged.is_marked {
        attributes::seal(&staged.file, &temporary.operation).map_err(fail)?;
    }
    if let Some((old, opened)) = &prepared.old {
        if !Inode::of(old).map_err(fail)?.is_undisturbed(opened) {
            return Err(drifted(key));
        }
        attributes::carry(old, opened, &staged.file, key)?;
    }
    retry_on_intr(|| rustix::fs::fsync(&staged.file)).map_err(fail)?;
    Ok(staged)
}

/// Writes every segment of the edit.
fn fill(
    prepared: &Prepared,
    staged: &Staged<'_>,
    edit: Edit,
    stopped: &AtomicBool,
) -> Result<(), LakeError> {
    let key = &prepared.place.key;
    let expected = edit.size_bytes();
    let mut writer = Writer { prepared, staged, gathered: Vec::new() };
    for segment in edit {
        check_running(key, stopped)?;
        writer.segment(segment.map_err(|error| failed_edit(key, error))?)?;
    }
    writer.flush()?;
    let inode = Inode::of(&staged.file).map_err(|errno| system::failed_write(key, errno))?;
    if expected.is_some_and(|expected| expected != inode.size_bytes) {
        let message = "the edit has another length than it said";
        return Err(LakeError::about(LakeErrorKind::Other, key, message));
    }
    Ok(())
}

/// A write that nobody waits for any more is not finished.
pub(super) fn check_running(key: &ObjectKey, stopped: &AtomicBool) -> Result<(), LakeError> {
    if stopped.load(Ordering::SeqCst) {
        return Err(LakeError::about(LakeErrorKind::Other, key, "the write was given up"));
    }
    Ok(())
}

fn create<'a>(place: &'a Place, temporary: &'a Temporary) -> Result<Staged<'a>, LakeError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let fail = |errno| system::failed_write(&place.key, errno);
    let open = || rustix::fs::openat(&place.folder, temporary.name(), flags, mode);
    let file = retry_on_intr(open).map_err(fail)?;
    let mut staged = Staged { place, temporary, file, is_marked: false, is_ours: true };
    staged.is_marked = attributes::mark(&staged.file, &temporary.operation).map_err(fail)?;
    Ok(staged)
}

/// Gathers small pieces, so that an edit of many small changes costs few calls.
struct Writer<'a> {
    prepared: &'a Prepared,
    staged: &'a Staged<'a>,
    gathered: Vec<u8>,
}

impl Writer<'_> {
    fn segment(&mut self, segment: Segment) -> Result<(), LakeError> {
        let key = &self.prepared.place.key;
        let fail = |errno| system::failed_write(key, errno);
        let range = match segment {
            Segment::Bytes(bytes) => return self.gather(&bytes),
            Segment::Copy(range) => range,
        };
        let length = bounds::copy_length(key, &self.prepared.base, &range)?;
        let Some((old, _)) = &self.prepared.old else { return Ok(()) };
        let is_whole = if length <= SMALL_COPY_BYTES {
            match system::read_exact(old, &range).map_err(fail)? {
                None => false,
                Some(piece) => self.gather(&piece).map(|()| true)?,
            }
        } else {
            self.flush()?;
            system::copy(old, range, &self.staged.file).map_err(fail)?
        };
        if is_whole { Ok(()) } else { Err(drifted(key)) }
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<(), LakeError> {
        if self.gathered.len() + bytes.len() > GATHERED_BYTES {
            self.flush()?;
        }
        if bytes.len() > GATHERED_BYTES {
            return self.store(bytes);
        }
        self.gathered.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LakeError> {
        self.store(&self.gathered)?;
        self.gathered.clear();
        Ok(())
    }

    fn store(&self, bytes: &[u8]) -> Result<(), LakeError> {
        let key = &self.prepared.place.key;
        system::write_all(&self.staged.file, bytes)
            .map_err(|errno| system::failed_write(key, errno))
    }
}
