//! A lake in a folder of a file system: keys are paths below it, versions are not kept.
//!
//! What it promises and what a file system cannot give:
//!
//! - An ETag is inode, size, modification and change time. A kernel before Linux 6.13 stamps files by
//!   its timer tick, so two changes in place of equal length within one tick look alike there.
//! - A write is a compare-and-swap also against programs that know nothing of Lacuna, where the file
//!   system can exchange two names in one step (ext4, XFS, Btrfs, tmpfs) and keeps extended attributes.
//!   Elsewhere it is one among the processes of Lacuna, by a lock on the folder, and refused where
//!   there are no locks either. What cannot be seen is a program that opened the file before the write
//!   and writes through its handle afterwards.
//! - Symbolic links are never followed, neither at the end of a path nor on the way.
//! - A file with several hard links is never rewritten or deleted: its bytes would live on under the
//!   other name. Snapshots and reflinks of the file system are beyond its sight.
//! - Files named `.lacuna-….tmp` are unfinished writes: never listed, never objects.

mod attributes;
mod commit;
mod examine;
mod path;
mod staging;
mod system;
mod walk;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};

use self::attributes::Inode;
pub use self::examine::OF_FOLDER;
use self::path::Place;
use self::staging::{Temporary, stage};
use self::walk::Walk;
use super::{
    Attributes, ByteStream, Capabilities, Conditions, Lake, LakeError, LakeErrorKind, Staging,
    Target, VersionStream, Versioning, Write, WriteError, bounds,
};
use crate::domain::object::{ListedVersion, ObjectKey, ObjectVersion, Standing};

/// How many bytes a piece of a read or of a copy has at most.
const PIECE_BYTES: u64 = 1 << 20;

/// How many pieces of a read are fetched ahead.
const PIECES_AHEAD: usize = 2;

/// How many objects a listing looks up at a time.
const LISTED_AT_A_TIME: usize = 256;

/// A folder as a lake.
pub struct DirectoryLake {
    root: Arc<Root>,
}

/// The folder, opened once: renaming it does not lead elsewhere.
struct Root {
    folder: OwnedFd,
    location: String,
}

impl DirectoryLake {
    /// The lake in this folder. A symbolic link to a folder is followed here, and nowhere else.
    ///
    /// # Errors
    ///
    /// [`LakeErrorKind::NotFound`] where there is no such folder, [`LakeErrorKind::Denied`] where it
    /// may not be read.
    pub fn new(root: PathBuf) -> Result<Self, LakeError> {
        let location = root.display().to_string();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(&root, flags, Mode::empty()) {
            Ok(folder) => Ok(Self { root: Arc::new(Root { folder, location }) }),
            Err(errno) => Err(LakeError::new(
                system::kind_of(errno),
                format!("the folder {location} cannot be opened"),
            )
            .caused_by(errno)),
        }
    }

    /// A read of one piece: one errand instead of two, which is what a small object costs.
    async fn read_small(
        &self,
        object: ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let read = move |root: &Root| {
            let (file, inode) = root.open_exact(&object)?;
            let object = ObjectVersion { size_bytes: inode.size_bytes, ..object };
            bounds::read_length(&object, &range)?;
            if range.is_empty() {
                return Ok(None);
            }
            read_piece(&file, &inode, range, &object.key).map(Some)
        };
        let piece = self.blocking(read).await?;
        Ok(stream::iter(piece.map(Ok)).boxed())
    }

    /// Carries out blocking work off the runtime's threads.
    async fn blocking<T, F>(&self, work: F) -> Result<T, LakeError>
    where
        T: Send + 'static,
        F: FnOnce(&Root) -> Result<T, LakeError> + Send + 'static,
    {
        let root = self.root.clone();
        off_the_runtime(move || work(&root)).await
    }
}

async fn off_the_runtime<T, F>(work: F) -> Result<T, LakeError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, LakeError> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let message = "work on a file did not come to its end";
        Err(LakeError::new(LakeErrorKind::Other, message).caused_by(error))
    })
}

impl Root {
    /// The regular file at a key, opened to be read, and what is known of it.
    fn open(&self, key: &ObjectKey) -> Result<(OwnedFd, Inode), LakeError> {
        Place::find(self, key)?.open()
    }

    /// The file, if it is still this version.
    fn open_exact(&self, object: &ObjectVersion) -> Result<(OwnedFd, Inode), LakeError> {
        let (file, inode) = self.open(&object.key)?;
        if inode.etag() == object.etag { Ok((file, inode)) } else { Err(drifted(&object.key)) }
    }
}

fn drifted(key: &ObjectKey) -> LakeError {
    LakeError::about(LakeErrorKind::Drifted, key, "the file is no longer the version asked for")
}

/// One piece of a file that is open, which was still the same when the piece had been read.
fn read_piece(
    file: &OwnedFd,
    opened: &Inode,
    range: Range<u64>,
    key: &ObjectKey,
) -> Result<Bytes, LakeError> {
    let piece = system::read_exact(file, &range)
        .map_err(|errno| system::failed(key, "cannot be read", errno))?;
    let now = Inode::of(file).map_err(|errno| system::failed(key, "cannot be read", errno))?;
    match piece {
        _ if !now.is_undisturbed(opened) => Err(drifted(key)),
        Some(piece) => Ok(piece),
        None => Err(LakeError::about(LakeErrorKind::Corrupt, key, "the file ends too early")),
    }
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send {
    let mut from = range.start;
    std::iter::from_fn(move || {
        let start = from;
        from = range.end.min(start.saturating_add(PIECE_BYTES));
        (start < from).then_some(start..from)
    })
}

/// Tells the thread of a write that nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Lake for DirectoryLake {
    fn location(&self) -> &str {
        &self.root.location
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        let marks_operations = self.blocking(attributes::keeps_attributes).await?;
        let conditions = Conditions::Own;
        Ok(Capabilities { versioning: Versioning::Never, marks_operations, conditions })
    }

    /// A folder's names are held in memory while it is listed.
    fn list(&self, prefix: &[u8]) -> VersionStream {
        let walk = Walk::new(self.root.clone(), prefix.to_vec());
        let batches = stream::unfold(Some(walk), |walk| async {
            let mut walk = walk?;
            let work = move || {
                let batch: Vec<_> = walk.by_ref().take(LISTED_AT_A_TIME).collect();
                Ok((batch, walk))
            };
            match off_the_runtime(work).await {
                Ok((batch, _)) if batch.is_empty() => None,
                Ok((batch, walk)) => Some((batch, Some(walk))),
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        batches.flat_map(stream::iter).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        let key = key.clone();
        let found = self.blocking(move |root| Place::find(root, &key)?.object()).await;
        match found {
            Ok(object) => {
                let standing = Standing::Current;
                Ok(vec![ListedVersion { object, standing, storage_class: None }])
            }
            Err(error) if error.kind() == LakeErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        match target {
            Target::Current(key) => {
                let key = key.clone();
                let read = move |root: &Root| {
                    let (file, inode) = root.open(&key)?;
                    attributes::of(&file, &inode, &key)
                };
                self.blocking(read).await
            }
            Target::Version(object) => {
                let object = object.clone();
                let read = move |root: &Root| {
                    let (file, inode) = root.open_exact(&object)?;
                    attributes::of(&file, &inode, &object.key)
                };
                self.blocking(read).await
            }
        }
    }

    /// Each piece is handed over only when the file was still the same after it had been read.
    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        if range.end.saturating_sub(range.start) <= PIECE_BYTES {
            return self.read_small(object.clone(), range).await;
        }
        let exact = object.clone();
        let (file, inode) = self.blocking(move |root| root.open_exact(&exact)).await?;
        let object = ObjectVersion { size_bytes: inode.size_bytes, ..object.clone() };
        bounds::read_length(&object, &range)?;
        let opened = Arc::new((file, inode, object.key));
        let reads = stream::iter(pieces(range)).map(move |piece| {
            let opened = opened.clone();
            off_the_runtime(move || read_piece(&opened.0, &opened.1, piece, &opened.2))
        });
        Ok(reads.buffered(PIECES_AHEAD).boxed())
    }

    /// Dropping the future leaves the outcome unknown: a commit that is under way is not called back.
    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let Write { key, base, edit, operation, observer } = write;
        let temporary = Temporary::new(&operation, &base).map_err(WriteError::unchanged)?;
        let staging = temporary.staging();
        let (prepared_key, prepared_base) = (key.clone(), base.clone());
        let prepare = move |root: &Root| staging::prepare(root, &prepared_key, &prepared_base);
        let prepared = self.blocking(prepare).await.map_err(WriteError::unchanged)?;
        if let Err(error) = observer.staged(&key, &staging).await {
            let message = "the write could not be noted";
            let error = LakeError::about(LakeErrorKind::Other, &key, message).caused_by(error);
            return Err(WriteError::unchanged(error));
        }
        let stopped = Arc::new(AtomicBool::new(false));
        let _stop = StopOnDrop(stopped.clone());
        let work = move || match stage(&prepared, edit, &temporary, &stopped) {
            Ok(staged) => commit::commit(&prepared, staged, &stopped),
            Err(error) => Err(WriteError::unchanged(error)),
        };
        // A panic of the edit ends the thread before anything was published.
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            let message = "the edit stopped before its end";
            let error = LakeError::about(LakeErrorKind::Other, &key, message).caused_by(error);
            Err(WriteError::unchanged(error))
        })
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        let (key, staging) = (key.clone(), staging.clone());
        self.blocking(move |root| commit::abandon(root, &key, &staging)).await
    }

    /// The file is looked at under the folder's lock right before it goes. A foreign program that
    /// replaces it in between loses its file: a file system has no conditional deletion.
    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        let object = object.clone();
        self.blocking(move |root| commit::delete(root, &object)).await
    }
}

impl fmt::Debug for DirectoryLake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DirectoryLake").field("location", &self.root.location).finish()
    }
}
