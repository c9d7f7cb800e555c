//! A lake in memory, for tests and simulations: strict about the contract, and nothing is kept when it
//! is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream;
use sha2::{Digest as _, Sha256};

use super::segments::{failed_edit, segments};
use super::{
    Attributes, Base, ByteStream, Capabilities, Conditions, Lake, LakeError, LakeErrorKind, Lock,
    OperationId, Staging, Target, VersionStream, Versioning, Write, WriteError, bounds,
};
use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::domain::edit::Segment;
use crate::domain::identifier::hex;
use crate::domain::object::{ETag, ListedVersion, ObjectKey, ObjectVersion, Standing, VersionId};

/// The longest key in bytes, as on S3.
const LONGEST_KEY_BYTES: usize = 1024;

/// How many bytes a piece of a read has at most.
const PIECE_BYTES: usize = 256 << 10;

/// A lake in memory. An ETag is a digest of the bytes, as S3's is.
pub struct MemoryLake {
    versioning: Versioning,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The versions of a key and its delete markers, oldest first.
    objects: BTreeMap<ObjectKey, Vec<Entry>>,
    /// Bytes of unfinished writes.
    staged: BTreeMap<String, BytesMut>,
    /// How many versions were ever made.
    made: u64,
}

enum Entry {
    Kept(Box<Kept>),
    DeleteMarker,
}

struct Kept {
    object: ObjectVersion,
    bytes: Bytes,
    operation: Option<OperationId>,
    carried: BTreeMap<String, String>,
    lock: Lock,
}

impl Entry {
    fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Kept(kept) => Some(kept),
            Self::DeleteMarker => None,
        }
    }
}

impl State {
    fn versions(&self, key: &ObjectKey) -> &[Entry] {
        self.objects.get(key).map_or(&[], Vec::as_slice)
    }

    fn current(&self, key: &ObjectKey) -> Result<&Kept, LakeError> {
        let current = self.versions(key).last().and_then(Entry::kept);
        current.ok_or_else(|| LakeError::about(LakeErrorKind::NotFound, key, "no such object"))
    }

    fn exact(&self, object: &ObjectVersion) -> Result<&Kept, LakeError> {
        let kept = self.versions(&object.key).iter().filter_map(Entry::kept);
        match kept.into_iter().find(|kept| kept.object.version == object.version) {
            None => Err(LakeError::about(LakeErrorKind::NotFound, &object.key, "no such version")),
            Some(kept) if kept.object.etag != object.etag => {
                Err(drifted(&object.key, "it was overwritten"))
            }
            Some(kept) => Ok(kept),
        }
    }

    fn check(&self, key: &ObjectKey, base: &Base) -> Result<(), LakeError> {
        match (base, self.current(key)) {
            (Base::Absent, Err(_)) => Ok(()),
            (Base::Absent, Ok(_)) => Err(drifted(key, "it exists already")),
            (Base::Version(_), Err(gone)) => Err(gone),
            (Base::Version(base), Ok(kept)) if kept.object.is_same_version(base) => Ok(()),
            (Base::Version(_), Ok(_)) => {
                Err(drifted(key, "it is no longer the version to replace"))
            }
        }
    }

    fn listed(&self, key: &ObjectKey) -> Vec<ListedVersion> {
        let newest_first = self.versions(key).iter().rev().enumerate();
        let listed = newest_first.filter_map(|(age, entry)| {
            let standing = if age == 0 { Standing::Current } else { Standing::Superseded };
            let object = entry.kept()?.object.clone();
            Some(ListedVersion { object, standing, storage_class: None })
        });
        listed.collect()
    }

    fn insert(&mut self, kept: Kept, versioning: Versioning) {
        let entries = self.objects.entry(kept.object.key.clone()).or_default();
        match versioning {
            Versioning::Never => entries.clear(),
            Versioning::Enabled => {}
            Versioning::Suspended => {
                entries
                    .retain(|entry| entry.kept().is_none_or(|kept| !kept.object.version.is_null()));
            }
        }
        entries.push(Entry::Kept(Box::new(kept)));
    }
}

fn drifted(key: &ObjectKey, message: &str) -> LakeError {
    LakeError::about(LakeErrorKind::Drifted, key, message)
}

/// S3's limits: a key is 1 to 1024 bytes.
fn check_key(key: &ObjectKey) -> Result<(), LakeError> {
    match key.as_bytes().len() {
        1..=LONGEST_KEY_BYTES => Ok(()),
        length => {
            let message = format!("a key has 1 to {LONGEST_KEY_BYTES} bytes, not {length}");
            Err(LakeError::about(LakeErrorKind::Unsupported, key, message))
        }
    }
}

impl MemoryLake {
    /// A lake that keeps every version.
    pub fn versioned() -> Self {
        Self::new(Versioning::Enabled)
    }

    /// A lake in which overwritten bytes are gone.
    pub fn unversioned() -> Self {
        Self::new(Versioning::Never)
    }

    fn new(versioning: Versioning) -> Self {
        // 2026-01-01T00:00:00Z
        let start = Timestamp::constant(1_767_225_600, 0);
        Self { versioning, clock: Clock::manual(start), state: Mutex::default() }
    }

    /// The same lake, telling the time by this clock; without it, it is always the first of January 2026.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same lake with versioning suspended or taken up again: versions that are kept stay.
    #[must_use]
    pub fn with_versioning(self, versioning: Versioning) -> Self {
        Self { versioning, ..self }
    }

    /// Stores an object as another program does.
    pub fn put(&self, key: &ObjectKey, bytes: impl Into<Bytes>) -> ObjectVersion {
        self.put_attributes(key, bytes, BTreeMap::new())
    }

    /// Stores an object with attributes that a rewrite has to keep.
    pub fn put_attributes(
        &self,
        key: &ObjectKey,
        bytes: impl Into<Bytes>,
        carried: BTreeMap<String, String>,
    ) -> ObjectVersion {
        let mut state = self.state();
        let bytes = bytes.into();
        let object = self.next_version(&mut state, key, &bytes);
        let kept =
            Kept { object: object.clone(), bytes, operation: None, carried, lock: Lock::Free };
        state.insert(kept, self.versioning);
        object
    }

    /// Deletes an object as another program does: where versions are kept, by a delete marker on top.
    pub fn delete(&self, key: &ObjectKey) {
        let mut state = self.state();
        match (self.versioning, state.objects.get_mut(key)) {
            (Versioning::Never, _) => drop(state.objects.remove(key)),
            (_, Some(entries)) => entries.push(Entry::DeleteMarker),
            (_, None) => {}
        }
    }

    /// Puts a lock on a version; `Lock::Free` takes it off. A version that is gone is left alone.
    pub fn lock(&self, object: &ObjectVersion, lock: Lock) {
        let mut state = self.state();
        let entries = state.objects.get_mut(&object.key).into_iter().flatten();
        for entry in entries {
            match entry {
                Entry::Kept(kept) if kept.object.is_same_version(object) => {
                    kept.lock = lock.clone()
                }
                _ => {}
            }
        }
    }

    /// How many unfinished writes hold bytes.
    pub fn unfinished_writes(&self) -> usize {
        self.state().staged.len()
    }

    /// A test that panicked while it held the lock left the state whole: every change is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_version(&self, state: &mut State, key: &ObjectKey, bytes: &Bytes) -> ObjectVersion {
        state.made += 1;
        let version = match self.versioning {
            Versioning::Enabled => VersionId::new(format!("v{:08}", state.made)),
            Versioning::Never | Versioning::Suspended => VersionId::null(),
        };
        ObjectVersion {
            key: key.clone(),
            version,
            etag: ETag::new(format!("\"{}\"", hex(&Sha256::digest(bytes)[..16]))),
            size_bytes: bytes.len() as u64,
            modified_at: self.clock.now(),
        }
    }

    /// Stores the segments out of sight, and answers with their bytes.
    async fn stage(&self, write: Write, name: &str) -> Result<Bytes, LakeError> {
        let Write { key, base, edit, .. } = write;
        let expected = edit.size_bytes();
        let mut segments = std::pin::pin!(segments(edit));
        while let Some(segment) = segments.next().await {
            let segment = segment.map_err(|error| failed_edit(&key, error))?;
            let bytes = self.bytes_of_segment(&key, &base, segment)?;
            self.state().staged.entry(name.to_owned()).or_default().extend_from_slice(&bytes);
        }
        let bytes = self.state().staged.get(name).cloned().unwrap_or_default().freeze();
        if expected.is_some_and(|expected| expected != bytes.len() as u64) {
            let message = "the edit has another length than it said";
            return Err(LakeError::about(LakeErrorKind::Other, &key, message));
        }
        Ok(bytes)
    }

    fn bytes_of_segment(
        &self,
        key: &ObjectKey,
        base: &Base,
        segment: Segment,
    ) -> Result<Bytes, LakeError> {
        match segment {
            Segment::Bytes(bytes) => Ok(bytes),
            Segment::Copy(range) => {
                bounds::copy_length(key, base, &range)?;
                match base {
                    Base::Absent => Ok(Bytes::new()),
                    Base::Version(object) => slice(&self.state().exact(object)?.bytes, &range, key),
                }
            }
        }
    }

    /// The one step that makes the write visible.
    fn commit(&self, commit: Commit, bytes: Bytes) -> Result<ObjectVersion, LakeError> {
        let Commit { key, base, operation } = commit;
        let mut state = self.state();
        state.check(&key, &base)?;
        let carried = match &base {
            Base::Absent => BTreeMap::new(),
            Base::Version(_) => state.current(&key)?.carried.clone(),
        };
        let object = self.next_version(&mut state, &key, &bytes);
        let operation = Some(operation);
        let kept = Kept { object: object.clone(), bytes, operation, carried, lock: Lock::Free };
        state.insert(kept, self.versioning);
        Ok(object)
    }
}

struct Commit {
    key: ObjectKey,
    base: Base,
    operation: OperationId,
}

fn slice(bytes: &Bytes, range: &Range<u64>, key: &ObjectKey) -> Result<Bytes, LakeError> {
    let start = usize::try_from(range.start).ok();
    let end = usize::try_from(range.end).ok().filter(|end| *end <= bytes.len());
    match (start, end) {
        (Some(start), Some(end)) if start <= end => Ok(bytes.slice(start..end)),
        _ => Err(LakeError::about(
            LakeErrorKind::Corrupt,
            key,
            "it is shorter than it was said to be",
        )),
    }
}

#[async_trait]
impl Lake for MemoryLake {
    fn location(&self) -> &str {
        "memory"
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        let (versioning, conditions) = (self.versioning, Conditions::Server);
        Ok(Capabilities { versioning, marks_operations: true, conditions })
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        let state = self.state();
        let from = ObjectKey::new(prefix);
        let keys = state.objects.range(from..).map(|(key, _)| key);
        let keys = keys.take_while(|key| key.as_bytes().starts_with(prefix));
        let listed: Vec<_> = keys.flat_map(|key| state.listed(key)).map(Ok).collect();
        stream::iter(listed).boxed()
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        check_key(key)?;
        Ok(self.state().listed(key))
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        let state = self.state();
        let kept = match target {
            Target::Current(key) => check_key(key).and_then(|()| state.current(key))?,
            Target::Version(object) => check_key(&object.key).and_then(|()| state.exact(object))?,
        };
        Ok(Attributes {
            object: kept.object.clone(),
            operation: kept.operation.clone(),
            storage_class: None,
            is_readable: true,
            lock: kept.lock.clone(),
            carried: kept.carried.clone(),
        })
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        check_key(&object.key)?;
        bounds::read_length(object, &range)?;
        let mut bytes = slice(&self.state().exact(object)?.bytes, &range, &object.key)?;
        let pieces = std::iter::from_fn(move || {
            let length = bytes.len().min(PIECE_BYTES);
            (length > 0).then(|| Ok(bytes.split_to(length)))
        });
        Ok(stream::iter(pieces).boxed())
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        check_key(&write.key).map_err(WriteError::unchanged)?;
        self.state().check(&write.key, &write.base).map_err(WriteError::unchanged)?;
        let staging = Staging(format!("staged-{}", write.operation));
        let noted = write.observer.staged(&write.key, &staging).await;
        noted.map_err(|error| {
            let message = "the write could not be noted";
            let error =
                LakeError::about(LakeErrorKind::Other, &write.key, message).caused_by(error);
            WriteError::unchanged(error)
        })?;
        let Write { key, base, operation, .. } = &write;
        let commit = Commit { key: key.clone(), base: base.clone(), operation: operation.clone() };
        let staged = self.stage(write, &staging.0).await;
        let written = staged.and_then(|bytes| self.commit(commit, bytes));
        self.state().staged.remove(&staging.0);
        written.map_err(WriteError::unchanged)
    }

    async fn abandon(&self, _: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.state().staged.remove(&staging.0);
        Ok(())
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        check_key(&object.key)?;
        let mut state = self.state();
        let Ok(kept) = state.exact(object) else { return Ok(()) };
        let message = match &kept.lock {
            Lock::Until(until) if *until > self.clock.now() => {
                format!("it is locked until {until}")
            }
            Lock::LegalHold => "a legal hold stands on it".to_owned(),
            Lock::Free | Lock::Until(_) | Lock::Unknown => String::new(),
        };
        if !message.is_empty() {
            return Err(LakeError::about(LakeErrorKind::Locked, &object.key, message));
        }
        if let Some(entries) = state.objects.get_mut(&object.key) {
            entries.retain(|entry| {
                entry.kept().is_none_or(|kept| !kept.object.is_same_version(object))
            });
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryLake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = self.state().objects.len();
        formatter
            .debug_struct("MemoryLake")
            .field("versioning", &self.versioning)
            .field("objects", &objects)
            .finish_non_exhaustive()
    }
}
