//! Keys to files, never outside the folder and never through a symbolic link.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::Inode;
use super::staging::is_temporary;
use super::{Root, system};
use crate::domain::object::{ObjectKey, ObjectVersion};
use crate::lake::{LakeError, LakeErrorKind};

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Never waits for the other end of a pipe, and never makes a terminal ours.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Where a key's file is or would be: its folder, opened, and its name in there.
pub(super) struct Place {
    pub(super) folder: OwnedFd,
    pub(super) name: Vec<u8>,
    pub(super) key: ObjectKey,
}

impl Place {
    /// The place of a key whose folder exists.
    pub(super) fn find(root: &Root, key: &ObjectKey) -> Result<Self, LakeError> {
        let (folder, name) = split(key)?;
        let folder = open_folder(root.folder.as_fd(), folder)
            .map_err(|errno| system::failed(key, "its folder cannot be opened", errno))?;
        Ok(Self { folder, name: name.to_vec(), key: key.clone() })
    }

    /// The place of a key, with its folders made where they are missing.
    pub(super) fn make(root: &Root, key: &ObjectKey) -> Result<Self, LakeError> {
        let (folder, name) = split(key)?;
        let folder = make_folders(root.folder.as_fd(), folder).map_err(|errno| match errno {
            Errno::NOTDIR => {
                let message = "a name on the way to it is an object, not a folder";
                LakeError::about(LakeErrorKind::Unsupported, key, message)
            }
            errno => system::failed(key, "its folder cannot be made", errno),
        })?;
        Ok(Self { folder, name: name.to_vec(), key: key.clone() })
    }

    /// What stands at the place.
    pub(super) fn inode(&self) -> Result<Inode, LakeError> {
        let inode = self
            .look(&self.name)
            .map_err(|errno| system::failed(&self.key, "cannot be looked at", errno))?;
        self.check_regular(&inode)?;
        Ok(inode)
    }

    /// What stands under a name of the folder, symbolic links not followed.
    pub(super) fn look(&self, name: &[u8]) -> Result<Inode, Errno> {
        let stat =
            retry_on_intr(|| rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(Inode::from(&stat))
    }

    /// The object at the place.
    pub(super) fn object(&self) -> Result<ObjectVersion, LakeError> {
        Ok(self.inode()?.object(&self.key))
    }

    /// The file at the place, opened to be read. What it is, is asked before it is opened, since
    /// opening a device may do something.
    pub(super) fn open(&self) -> Result<(OwnedFd, Inode), LakeError> {
        self.inode()?;
        let fail = |errno| system::failed(&self.key, "cannot be opened", errno);
        let file = self.open_name(&self.name).map_err(fail)?;
        let inode = Inode::of(&file).map_err(fail)?;
        self.check_regular(&inode)?;
        Ok((file, inode))
    }

    /// The file under a name of the folder, opened to be read.
    pub(super) fn open_name(&self, name: &[u8]) -> Result<OwnedFd, Errno> {
        retry_on_intr(|| rustix::fs::openat(&self.folder, name, FILE, Mode::empty()))
    }

    fn check_regular(&self, inode: &Inode) -> Result<(), LakeError> {
        match inode.file_type {
            FileType::RegularFile => Ok(()),
            FileType::Directory => {
                Err(LakeError::about(LakeErrorKind::NotFound, &self.key, "it is a folder"))
            }
            other => Err(not_an_object(&self.key, other)),
        }
    }
}

/// What stands at a key and can be no object.
pub(super) fn not_an_object(key: &ObjectKey, file_type: FileType) -> LakeError {
    let what = match file_type {
        FileType::Symlink => "a symbolic link; it is not followed",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::BlockDevice | FileType::CharacterDevice => "a device",
        _ => "neither a file nor a folder",
    };
    LakeError::about(LakeErrorKind::NotAnObject, key, format!("it is {what}"))
}

/// The folder and the name of a key, if a directory can hold it.
fn split(key: &ObjectKey) -> Result<(&[u8], &[u8]), LakeError> {
    let bytes = key.as_bytes();
    let refuse = |message| Err(LakeError::about(LakeErrorKind::Unsupported, key, message));
    if bytes.contains(&0) {
        return refuse("a path has no NUL byte");
    }
    for name in bytes.split(|byte| *byte == b'/') {
        match name {
            b"" => return refuse("a path in a directory has no empty name"),
            b"." | b".." => return refuse("a path in a directory has no `.` or `..`"),
            _ => {}
        }
    }
    let end = memchr::memrchr(b'/', bytes);
    let (folder, name) = match end.and_then(|end| bytes.split_at_checked(end)) {
        Some((folder, name)) => (folder, name.get(1..).unwrap_or_default()),
        None => (&b""[..], bytes),
    };
    if is_temporary(name) {
        return refuse("the name is one of an unfinished write");
    }
    Ok((folder, name))
}

/// Opens a folder beneath another. A handle of its own each time, so that a lock on it is one too.
fn open_folder(root: BorrowedFd<'_>, folder: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if folder.is_empty() { b"." } else { folder };
    match by_kernel(root, path) {
        // Not known to the kernel, or forbidden by a sandbox that does not know it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, folder),
        // The kernel could not rule out a race with a rename; the steps can.
        Err(Errno::AGAIN) => step_by_step(root, folder),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
fn by_kernel(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    // With O_NOFOLLOW the kernel would call a symbolic link at the end no folder.
    let flags = FOLDER.difference(OFlags::NOFOLLOW);
    retry_on_intr(|| rustix::fs::openat2(root, path, flags, Mode::empty(), resolve))
}

#[cfg(not(target_os = "linux"))]
fn by_kernel(_: BorrowedFd<'_>, _: &[u8]) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

fn step_by_step(root: BorrowedFd<'_>, folder: &[u8]) -> Result<OwnedFd, Errno> {
    let mut current = open_step(root, b".")?;
    for name in names(folder) {
        current = open_step(current.as_fd(), name)?;
    }
    Ok(current)
}

/// Opens one name, which is a folder and no symbolic link.
fn open_step(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    match retry_on_intr(|| rustix::fs::openat(folder, name, FOLDER, Mode::empty())) {
        // With O_DIRECTORY the kernel calls a symbolic link no folder.
        Err(Errno::NOTDIR) => {
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            Err(if is_link { Errno::LOOP } else { Errno::NOTDIR })
        }
        opened => opened,
    }
}

/// Opens a folder beneath another, making those that are missing and seeing to it that they last.
fn make_folders(root: BorrowedFd<'_>, folder: &[u8]) -> Result<OwnedFd, Errno> {
    let mut current = open_step(root, b".")?;
    for name in names(folder) {
        match retry_on_intr(|| rustix::fs::mkdirat(&current, name, Mode::from_raw_mode(0o777))) {
            Ok(()) => retry_on_intr(|| rustix::fs::fsync(&current))?,
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        current = open_step(current.as_fd(), name)?;
    }
    Ok(current)
}

fn names(folder: &[u8]) -> impl Iterator<Item = &[u8]> {
    folder.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
}

/// Opens a folder by one name, for the listing.
pub(super) fn open_below(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_step(folder.as_fd(), name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// J1: no key leads out of the folder, whatever it looks like.
    #[test]
    fn keys_that_would_lead_elsewhere_are_refused() {
        for key in
            ["", "/", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "a/", "./a", "a/.", "a\0b"]
        {
            let error = split(&ObjectKey::from(key)).expect_err(key);
            assert_eq!(error.kind(), LakeErrorKind::Unsupported, "{key:?}");
        }
        let key = ObjectKey::from("a/b/...");
        assert_eq!(split(&key).expect("a name"), (&b"a/b"[..], &b"..."[..]));
    }

    /// J2: with the kernel's help and without, folders open beneath the root and through no link.
    #[test]
    fn both_ways_of_resolving_agree() {
        let temporary = tempfile::tempdir().expect("a folder");
        let root = temporary.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::write(root.join("file"), "x").expect("a file");
        symlink(temporary.path(), root.join("up")).expect("a link");
        symlink("b", root.join("a/inside")).expect("a link");
        let folder = rustix::fs::open(&root, FOLDER, Mode::empty()).expect("the root");
        for (path, expected) in [
            ("a/b", None),
            ("a", None),
            ("up", Some(Errno::LOOP)),
            ("up/root", Some(Errno::LOOP)),
            ("a/inside", Some(Errno::LOOP)),
            ("file", Some(Errno::NOTDIR)),
            ("none", Some(Errno::NOENT)),
        ] {
            let step = step_by_step(folder.as_fd(), path.as_bytes());
            assert_eq!(step.err(), expected, "{path}");
            let kernel = by_kernel(folder.as_fd(), path.as_bytes());
            if kernel.as_ref().err() != Some(&Errno::NOSYS) {
                assert_eq!(kernel.err(), expected, "{path}");
            }
        }
        let escape = by_kernel(folder.as_fd(), b"..");
        assert!(matches!(escape, Err(Errno::XDEV | Errno::NOSYS)));
    }
}
