//! The files below a folder, in ascending byte order of their keys.

use std::sync::Arc;
use std::vec;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::{Errno, retry_on_intr};

use super::attributes::Inode;
use super::path::{not_an_object, open_below};
use super::staging::is_temporary;
use super::{Root, system};
use crate::domain::object::{ListedVersion, ObjectKey, Standing};
use crate::lake::{LakeError, LakeErrorKind};

/// A walk through the folders, one folder of each depth open at a time.
///
/// A file that appears or goes while the walk is under way may or may not be met.
pub(super) struct Walk {
    root: Arc<Root>,
    prefix: Vec<u8>,
    is_begun: bool,
    levels: Vec<Level>,
}

struct Level {
    folder: OwnedFd,
    /// What the keys of its entries begin with: empty, or ending in `/`.
    path: Vec<u8>,
    entries: vec::IntoIter<Entry>,
}

/// An entry of a folder. A sub-folder's name ends in `/`: so `a.b` comes before what is in `a`, as the
/// order of keys wants it.
struct Entry {
    name: Vec<u8>,
    is_folder: bool,
}

impl Walk {
    pub(super) fn new(root: Arc<Root>, prefix: Vec<u8>) -> Self {
        Self { root, prefix, is_begun: false, levels: Vec::new() }
    }

    /// Opens a folder and lines up what is in it.
    fn enter(&mut self, folder: OwnedFd, path: Vec<u8>) -> Result<(), LakeError> {
        let entries = self.entries(&folder, &path).map_err(|errno| {
            let key = ObjectKey::new(path.as_slice());
            LakeError::about(system::kind_of(errno), &key, "the folder cannot be listed")
                .caused_by(errno)
        })?;
        self.levels.push(Level { folder, path, entries: entries.into_iter() });
        Ok(())
    }

    fn entries(&self, folder: &OwnedFd, path: &[u8]) -> Result<Vec<Entry>, Errno> {
        let mut entries = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let Some(is_folder) = is_folder(folder, name, entry.file_type())? else { continue };
            let end: &[u8] = if is_folder { b"/" } else { b"" };
            let name = [name, end].concat();
            if self.is_wanted(path, &name) {
                entries.push(Entry { name, is_folder });
            }
        }
        entries.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(entries)
    }

    /// Whether a key that begins so, or a folder on the way to one, may begin with the prefix. What is
    /// no folder counts as one here, since a symbolic link may pose as one.
    fn is_wanted(&self, path: &[u8], name: &[u8]) -> bool {
        let mut full = [path, name].concat();
        if full.starts_with(&self.prefix) {
            return true;
        }
        if full.last() != Some(&b'/') {
            full.push(b'/');
        }
        self.prefix.starts_with(&full)
    }

    fn begin(&mut self) -> Result<(), LakeError> {
        let root = self.root.clone();
        let folder = open_below(&root.folder, b".").map_err(|errno| {
            let message = format!("the folder {} cannot be listed", root.location);
            LakeError::new(system::kind_of(errno), message).caused_by(errno)
        })?;
        self.enter(folder, Vec::new())
    }

    /// The next step of the walk: `None` where it has nothing to tell.
    fn step(&mut self) -> Option<Result<ListedVersion, LakeError>> {
        let level = self.levels.last_mut()?;
        let Some(entry) = level.entries.next() else {
            self.levels.pop();
            return None;
        };
        let path = [level.path.as_slice(), &entry.name].concat();
        if !entry.is_folder {
            return self.file(path, &entry.name);
        }
        let name = entry.name.strip_suffix(b"/").unwrap_or(&entry.name);
        match open_below(&level.folder, name) {
            Ok(folder) => self.enter(folder, path).err().map(Err),
            Err(Errno::NOENT) => None,
            Err(Errno::LOOP | Errno::NOTDIR) => Some(Err(changed(path))),
            Err(errno) => {
                let key = ObjectKey::new(path);
                let message = "the folder cannot be opened";
                let error = LakeError::about(system::kind_of(errno), &key, message);
                Some(Err(error.caused_by(errno)))
            }
        }
    }

    fn file(&self, path: Vec<u8>, name: &[u8]) -> Option<Result<ListedVersion, LakeError>> {
        let folder = &self.levels.last()?.folder;
        let look = || rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let inode = match retry_on_intr(look) {
            Ok(stat) => Inode::from(&stat),
            Err(Errno::NOENT) => return None,
            Err(errno) => {
                let key = ObjectKey::new(path);
                return Some(Err(system::failed(&key, "cannot be looked at", errno)));
            }
        };
        match inode.file_type {
            FileType::RegularFile if is_temporary(name) => None,
            FileType::RegularFile if !path.starts_with(&self.prefix) => None,
            FileType::RegularFile => {
                let object = inode.object(&ObjectKey::new(path));
                let standing = Standing::Current;
                Some(Ok(ListedVersion { object, standing, storage_class: None }))
            }
            FileType::Directory => Some(Err(changed(path))),
            other => Some(Err(not_an_object(&ObjectKey::new(path), other))),
        }
    }
}

/// Whether an entry is a folder; `None` where it is gone.
fn is_folder(folder: &OwnedFd, name: &[u8], hint: FileType) -> Result<Option<bool>, Errno> {
    if hint != FileType::Unknown {
        return Ok(Some(hint == FileType::Directory));
    }
    match retry_on_intr(|| rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn changed(path: Vec<u8>) -> LakeError {
    let message = "a file became a folder, or a folder a file, while it was listed; list again";
    LakeError::about(LakeErrorKind::Unavailable, &ObjectKey::new(path), message)
}

impl Iterator for Walk {
    type Item = Result<ListedVersion, LakeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.is_begun {
            self.is_begun = true;
            if let Err(error) = self.begin() {
                return Some(Err(error));
            }
        }
        while !self.levels.is_empty() {
            let Some(told) = self.step() else { continue };
            // What is no object is left out by name; after anything else the listing has a hole.
            if told.as_ref().is_err_and(|error| error.kind() != LakeErrorKind::NotAnObject) {
                self.levels.clear();
            }
            return Some(told);
        }
        None
    }
}
