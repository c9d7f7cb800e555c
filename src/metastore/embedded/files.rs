//! The files beside the catalogue: runs, and redo files. A file counts only once the catalogue names
//! it; whatever it does not name, and no living writer made, is garbage.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::failure::file_failure;
use super::owner::{self, Owner};
use super::run::Run;
use crate::metastore::{MetastoreError, MetastoreErrorKind};

type Result<T> = std::result::Result<T, MetastoreError>;

/// The folder of an index, as this handle on it works there.
pub(super) struct Files {
    folder: PathBuf,
    owner: Mutex<Option<Owner>>,
    named: AtomicU64,
    /// Runs that are open, by their numbers in the catalogue.
    pub(super) open: Mutex<HashMap<i64, Arc<Run>>>,
    #[cfg(test)]
    pub(super) fault: tests::Fault,
}

/// The writer that made a file of this name; `None` where it is no file of an index.
pub(super) fn writer_of(name: &str) -> Option<&str> {
    let (writer, _) = name.strip_suffix(".run").or(name.strip_suffix(".redo"))?.split_once('-')?;
    Some(writer)
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            owner: Mutex::default(),
            named: AtomicU64::new(0),
            open: Mutex::default(),
            #[cfg(test)]
            fault: tests::Fault::default(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The name that what this handle has under way bears. Its lock is taken with the first call.
    pub(super) fn writer(&self) -> Result<String> {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(owner) = &*owner {
            return Ok(owner.name().to_owned());
        }
        let new = Owner::new(&self.folder).map_err(|error| self.lock_failure(error))?;
        Ok(owner.insert(new).name().to_owned())
    }

    /// Whether a writer of this name is at work, here or elsewhere.
    pub(super) fn is_alive(&self, writer: &str) -> Result<bool> {
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if owner.as_ref().is_some_and(|owner| owner.name() == writer) {
            return Ok(true);
        }
        owner::is_alive(&self.folder, writer).map_err(|error| self.lock_failure(error))
    }

    fn lock_failure(&self, error: io::Error) -> MetastoreError {
        let shown = self.folder.display();
        let text = format!("no lock file can be kept in the index {shown}");
        MetastoreError::new(MetastoreErrorKind::Other, text).caused_by(error)
    }

    /// A name that nobody has used: of this writer, and counted.
    pub(super) fn name(&self, kind: &str) -> Result<String> {
        let number = self.named.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{}-{number}.{kind}", self.writer()?))
    }

    pub(super) fn create(&self, name: &str) -> Result<NewFile<'_>> {
        let create = || {
            self.step()?;
            let path = self.folder.join(name);
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
        };
        let file = create().map_err(|error| file_failure("be written", error))?;
        Ok(NewFile { files: self, name: name.to_owned(), file, is_kept: false })
    }

    /// Opens a file; `None` where it is gone.
    pub(super) fn open(&self, name: &str) -> Result<Option<File>> {
        match File::open(self.folder.join(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_failure("be read", error)),
        }
    }

    /// Writes over parts of a file, and answers when they are on the disk.
    pub(super) fn overwrite(&self, name: &str, parts: &[(u64, &[u8])]) -> Result<()> {
        let write = || {
            let file = OpenOptions::new().write(true).open(self.folder.join(name))?;
            for (at, bytes) in parts {
                self.step()?;
                file.write_all_at(bytes, *at)?;
            }
            self.step()?;
            file.sync_data()
        };
        write().map_err(|error| file_failure("be written", error))
    }

    /// Removes a file; one that stays is garbage for the next writer.
    pub(super) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.folder.join(name));
    }

    /// Every file of these kinds, with the writer that made it.
    pub(super) fn list(&self) -> Result<Vec<(String, String)>> {
        let list = || -> io::Result<Vec<(String, String)>> {
            let mut found = Vec::new();
            for entry in std::fs::read_dir(&self.folder)? {
                let Ok(name) = entry?.file_name().into_string() else { continue };
                if let Some(writer) = writer_of(&name) {
                    found.push((writer.to_owned(), name));
                }
            }
            Ok(found)
        };
        list().map_err(|error| file_failure("be read", error))
    }

    /// Where a test lets the disk fail.
    #[cfg(not(test))]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.fault.step()
    }
}

/// A file that is being written; removed when it is dropped before it is kept.
pub(super) struct NewFile<'f> {
    files: &'f Files,
    name: String,
    file: File,
    is_kept: bool,
}

impl NewFile<'_> {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let write = self.files.step().and_then(|()| self.file.write_all(bytes));
        write.map_err(|error| file_failure("be written", error))
    }

    /// Puts the file and its name on the disk. What fails here is lost: a second attempt could succeed
    /// without the bytes that the first one gave up (hazard D9).
    pub(super) fn keep(mut self) -> Result<String> {
        let sync = || {
            self.files.step()?;
            self.file.sync_data()?;
            self.files.step()?;
            File::open(&self.files.folder)?.sync_all()
        };
        sync().map_err(|error| file_failure("be written", error))?;
        self.is_kept = true;
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.files.remove(&self.name);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::atomic::{AtomicI64, Ordering};

    /// Lets the disk be full from the n-th step on.
    #[derive(Debug)]
    pub(in crate::metastore::embedded) struct Fault(AtomicI64);

    impl Default for Fault {
        fn default() -> Self {
            Self(AtomicI64::new(i64::MAX))
        }
    }

    impl Fault {
        pub(in crate::metastore::embedded) fn after(&self, steps: i64) {
            self.0.store(steps, Ordering::SeqCst);
        }

        /// Whether the disk has failed.
        pub(in crate::metastore::embedded) fn was_met(&self) -> bool {
            self.0.load(Ordering::SeqCst) < 0
        }

        pub(super) fn step(&self) -> io::Result<()> {
            match self.0.fetch_sub(1, Ordering::SeqCst) {
                ..=0 => Err(io::ErrorKind::StorageFull.into()),
                _ => Ok(()),
            }
        }
    }
}
