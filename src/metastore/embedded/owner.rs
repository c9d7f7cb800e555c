//! Which writers live. A large object is recorded in several transactions; what of it is in the
//! database before the last belongs to a writer, and is garbage once that writer is gone.
//!
//! A writer holds a lock on a file of its own for as long as it lives (`flock`, which the system
//! releases when a process ends, however it ends). Whoever gets the lock knows that the writer is
//! gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::domain::identifier::hex;

/// The proof that a writer lives: its lock file, removed when this is dropped.
#[derive(Debug)]
pub(super) struct Owner {
    name: String,
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// A writer of a new name.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        loop {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map_err(io::Error::other)?;
            let name = hex(&bytes);
            let path = lock_path(folder, &name);
            let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            // Between creation and lock another process may have taken the file for that of a dead
            // writer and removed it; the name is then given up.
            if lock.try_lock().is_ok() && is_same_file(&lock, &path) {
                return Ok(Self { name, path, _lock: lock });
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A file that stays is removed by the next process that asks whether its writer lives.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the writer of this name may still be at work. Removes the lock file of a dead one.
pub(super) fn is_alive(folder: &Path, name: &str) -> io::Result<bool> {
    let path = lock_path(folder, name);
    let file = match OpenOptions::new().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => {
            if is_same_file(&file, &path) {
                std::fs::remove_file(&path)?;
            }
            Ok(false)
        }
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

fn is_same_file(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}

/// The writer whose lock file has this name.
pub(super) fn writer_of(file: &str) -> Option<&str> {
    file.strip_prefix("writer-")?.strip_suffix(".lock")
}

fn lock_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("writer-{name}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_lives_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let owner = Owner::new(folder.path()).expect("an owner");
        assert!(is_alive(folder.path(), owner.name()).expect("asked"));
        let name = owner.name().to_owned();
        drop(owner);
        assert!(!is_alive(folder.path(), &name).expect("asked"));
    }

    #[test]
    fn a_lock_file_without_its_process_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = lock_path(folder.path(), "dead");
        std::fs::write(&path, b"").expect("written");
        assert!(!is_alive(folder.path(), "dead").expect("asked"));
        assert!(!path.exists());
    }
}
