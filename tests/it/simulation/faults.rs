//! Stores that fail, die or are interfered with at a chosen call.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::random_lake::Random;
use async_trait::async_trait;
use futures::{FutureExt as _, TryStreamExt as _};
use lacuna::domain::dataset::DatasetName;
use lacuna::domain::edit::{Edit, Segment};
use lacuna::domain::identifier::{IdentifierDigest, KeyCheck};
use lacuna::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use lacuna::domain::posting::{Posting, ScannedObject};
use lacuna::lake::{
    Attributes, Base, ByteStream, Capabilities, Lake, LakeError, LakeErrorKind, Staging, Target,
    VersionStream, Write, WriteError,
};
use lacuna::metastore::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};

/// What happens at the chosen call.
pub enum Event {
    /// The call fails and changes nothing.
    ErrorBefore,
    /// The call takes effect and its answer is lost.
    ErrorAfter,
    /// The process dies before the call.
    KillBefore,
    /// The process dies when the call has taken effect.
    KillAfter,
    /// The process dies in the middle of a write, or before any other call.
    KillInside,
    /// Somebody else does something just before the call.
    Meddle(Box<dyn FnOnce() + Send>),
}

/// Counts the calls of several stores together, and lets the event happen at the chosen one.
pub struct Script {
    calls: AtomicU64,
    at: u64,
    event: Mutex<Option<Event>>,
    is_dead: AtomicBool,
}

/// How one call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Normal,
    FailBefore,
    FailAfter,
    DieInside,
}

impl Script {
    /// Nothing happens; calls are counted.
    pub fn quiet() -> Arc<Self> {
        Self::new(0, Event::ErrorBefore)
    }

    /// The event happens at this call, counted from 1.
    pub fn new(at: u64, event: Event) -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicU64::new(0),
            at,
            event: Mutex::new(Some(event)),
            is_dead: AtomicBool::new(false),
        })
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn turn(&self) -> Turn {
        if self.is_dead.load(Ordering::SeqCst) {
            return Turn::FailBefore;
        }
        if self.calls.fetch_add(1, Ordering::SeqCst) + 1 != self.at {
            return Turn::Normal;
        }
        let kills = |turn| {
            self.is_dead.store(true, Ordering::SeqCst);
            turn
        };
        match self.event.lock().expect("not poisoned").take() {
            None => Turn::Normal,
            Some(Event::ErrorBefore) => Turn::FailBefore,
            Some(Event::ErrorAfter) => Turn::FailAfter,
            Some(Event::KillBefore) => kills(Turn::FailBefore),
            Some(Event::KillAfter) => kills(Turn::FailAfter),
            Some(Event::KillInside) => Turn::DieInside,
            Some(Event::Meddle(act)) => {
                act();
                Turn::Normal
            }
        }
    }
}

fn fault() -> LakeError {
    LakeError::new(LakeErrorKind::Unavailable, "a simulated fault")
}

/// A lake that follows a script.
pub struct ScriptedLake {
    pub inner: Arc<dyn Lake>,
    pub script: Arc<Script>,
    /// Whether finished writes carry their operation id.
    pub marks_operations: bool,
}

impl std::fmt::Debug for ScriptedLake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ScriptedLake")
    }
}

impl ScriptedLake {
    fn after<T>(turn: Turn, answer: Result<T, LakeError>) -> Result<T, LakeError> {
        if turn == Turn::FailAfter { Err(fault()) } else { answer }
    }

    /// Begins the write and leaves it where a first piece of it is staged.
    async fn die_inside(&self, write: Write) -> WriteError {
        let (reached, is_reached) = tokio::sync::oneshot::channel();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let mut reached = Some(reached);
        let edit = Edit::streamed(std::iter::from_fn(move || match reached.take() {
            Some(reached) => {
                let _ = reached.send(());
                Some(Ok(Segment::Bytes("somebody's data".into())))
            }
            None => {
                let _ = wait.recv();
                None
            }
        }));
        let mut writing = self.inner.write(Write { edit, ..write });
        let mut is_reached = std::pin::pin!(is_reached);
        for _ in 0..1000 {
            tokio::select! {
                _ = &mut writing => break,
                _ = tokio::time::sleep(std::time::Duration::from_millis(1)) => {}
            }
            if is_reached.as_mut().now_or_never().is_some() {
                let _ =
                    tokio::time::timeout(std::time::Duration::from_millis(5), &mut writing).await;
                break;
            }
        }
        self.script.is_dead.store(true, Ordering::SeqCst);
        drop(writing);
        drop(release);
        WriteError::unknown(fault())
    }

    fn before(&self) -> Result<Turn, LakeError> {
        match self.script.turn() {
            Turn::FailBefore => Err(fault()),
            Turn::DieInside => {
                self.script.is_dead.store(true, Ordering::SeqCst);
                Err(fault())
            }
            turn => Ok(turn),
        }
    }
}

#[async_trait]
impl Lake for ScriptedLake {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        let turn = self.before()?;
        let mut answer = self.inner.capabilities().await?;
        answer.marks_operations &= self.marks_operations;
        Self::after(turn, Ok(answer))
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        match self.before() {
            Ok(_) => self.inner.list(prefix),
            Err(error) => Box::pin(futures::stream::iter([Err(error)])),
        }
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        let turn = self.before()?;
        Self::after(turn, self.inner.versions(key).await)
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        let turn = self.before()?;
        let mut answer = self.inner.attributes(target).await;
        if let Ok(attributes) = &mut answer
            && !self.marks_operations
        {
            attributes.operation = None;
        }
        Self::after(turn, answer)
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let turn = self.before()?;
        Self::after(turn, self.inner.read(object, range).await)
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let turn = self.script.turn();
        match turn {
            Turn::FailBefore => return Err(WriteError::unchanged(fault())),
            Turn::DieInside => return Err(self.die_inside(write).await),
            Turn::Normal | Turn::FailAfter => {}
        }
        let answer = self.inner.write(write).await;
        if turn == Turn::FailAfter { Err(WriteError::unknown(fault())) } else { answer }
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        let turn = self.before()?;
        Self::after(turn, self.inner.abandon(key, staging).await)
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        let turn = self.before()?;
        Self::after(turn, self.inner.delete_version(object).await)
    }
}

/// A metastore that follows a script where an erasure calls it.
#[derive(Clone)]
pub struct ScriptedMetastore {
    pub inner: Arc<dyn Metastore>,
    pub script: Arc<Script>,
}

impl std::fmt::Debug for ScriptedMetastore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ScriptedMetastore")
    }
}

impl ScriptedMetastore {
    fn failure() -> MetastoreError {
        MetastoreError::new(MetastoreErrorKind::Unavailable, "a simulated fault")
    }
}

#[async_trait]
impl Metastore for ScriptedMetastore {
    async fn bind(&self, key: &KeyCheck) -> Result<(), MetastoreError> {
        self.inner.bind(key).await
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        self.inner.record(dataset, object).await
    }

    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError> {
        let turn = self.script.turn();
        if matches!(turn, Turn::FailBefore | Turn::DieInside) {
            self.script.is_dead.fetch_or(turn == Turn::DieInside, Ordering::SeqCst);
            return Err(Self::failure());
        }
        let answer = self.inner.succeed(succession).await;
        if turn == Turn::FailAfter { Err(Self::failure()) } else { answer }
    }

    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError> {
        let turn = self.script.turn();
        if matches!(turn, Turn::FailBefore | Turn::DieInside) {
            self.script.is_dead.fetch_or(turn == Turn::DieInside, Ordering::SeqCst);
            return Err(Self::failure());
        }
        let answer = self.inner.forget(dataset, objects).await;
        if turn == Turn::FailAfter { Err(Self::failure()) } else { answer }
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        self.inner.lookup(digests)
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        self.inner.indexed(dataset, after)
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        self.inner.postings(dataset, objects)
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        self.inner.datasets().await
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        self.inner.size().await
    }
}

/// A lake that takes the condition of a write and ignores it.
#[derive(Debug)]
pub struct LyingLake(pub Arc<dyn Lake>);

#[async_trait]
impl Lake for LyingLake {
    fn location(&self) -> &str {
        self.0.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.0.capabilities().await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        self.0.list(prefix)
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.0.versions(key).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.0.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        self.0.read(object, range).await
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let current = self.0.attributes(Target::Current(&write.key)).await;
        let base = current.map_or(Base::Absent, |current| Base::Version(current.object));
        self.0.write(Write { base, ..write }).await
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.0.abandon(key, staging).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.0.delete_version(object).await
    }
}

/// A lake that gives back something else than was written, or writes something else than it was told:
/// a store that lies, or a rewriter with a bug.
pub struct TamperedLake {
    pub inner: Arc<dyn Lake>,
    /// What becomes of each byte of a new version when it is read.
    pub read: fn(u8) -> u8,
    /// What becomes of what is written to an object.
    pub write: fn(Vec<Segment>, &mut Random) -> Vec<Segment>,
    pub random: Mutex<Random>,
}

impl TamperedLake {
    /// A lake that reads as it should and writes what `write` makes of an edit.
    pub fn writing(
        inner: Arc<dyn Lake>,
        seed: u64,
        write: fn(Vec<Segment>, &mut Random) -> Vec<Segment>,
    ) -> Self {
        Self { inner, read: |byte| byte, write, random: Mutex::new(Random(seed)) }
    }

    /// A lake that writes as it should and reads new versions with one digit for another.
    pub fn reading(inner: Arc<dyn Lake>) -> Self {
        let read = |byte| if byte == b'2' { b'7' } else { byte };
        Self { inner, read, write: |segments, _| segments, random: Mutex::new(Random(0)) }
    }
}

impl std::fmt::Debug for TamperedLake {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TamperedLake")
    }
}

/// An edit with one of the mistakes that a rewriter could make.
pub fn mistaken(mut segments: Vec<Segment>, random: &mut Random) -> Vec<Segment> {
    let at = random.index(segments.len());
    match random.below(8) {
        0 => {
            segments.remove(at);
        }
        1 => segments.insert(at, segments[at].clone()),
        2 if at > 0 => segments.swap(at, at - 1),
        3 => segments.push(Segment::Bytes("\n".into())),
        4 => segments.push(Segment::Bytes("{\"u\":\"x\"}\n".into())),
        _ => segments[at] = garbled(&segments, at, random),
    }
    segments
}

fn garbled(segments: &[Segment], at: usize, random: &mut Random) -> Segment {
    match &segments[at] {
        Segment::Copy(range) => match random.below(4) {
            0 => Segment::Copy(range.start + 1..range.end),
            1 => Segment::Copy(range.start..range.end - 1),
            2 => Segment::Copy(range.start.saturating_sub(1)..range.end),
            _ => Segment::Copy(range.start + (range.end - range.start) / 2..range.end),
        },
        Segment::Bytes(bytes) => {
            // What the rows held before: the rewriter forgot them.
            if let (Some(Segment::Copy(before)), Some(Segment::Copy(after))) =
                (at.checked_sub(1).map(|before| &segments[before]), segments.get(at + 1))
                && random.below(2) == 0
            {
                return Segment::Copy(before.end..after.start);
            }
            let mut bytes = bytes.to_vec();
            let at = random.index(bytes.len());
            bytes[at] ^= 1 << random.below(7);
            Segment::Bytes(bytes.into())
        }
    }
}

#[async_trait]
impl Lake for TamperedLake {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn capabilities(&self) -> Result<Capabilities, LakeError> {
        self.inner.capabilities().await
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        self.inner.list(prefix)
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        self.inner.versions(key).await
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        self.inner.attributes(target).await
    }

    async fn read(
        &self,
        object: &ObjectVersion,
        range: Range<u64>,
    ) -> Result<ByteStream, LakeError> {
        let pieces = self.inner.read(object, range).await?;
        let attributes = self.inner.attributes(Target::Version(object)).await?;
        if attributes.operation.is_none() {
            return Ok(pieces);
        }
        let read = self.read;
        Ok(Box::pin(pieces.map_ok(move |piece| piece.iter().copied().map(read).collect())))
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let is_probe = write.key.to_string().contains("lacuna-probe");
        if is_probe || matches!(write.base, Base::Absent) {
            return self.inner.write(write).await;
        }
        let segments = write.edit.collect::<Result<Vec<_>, _>>().expect("an edit");
        let segments = (self.write)(segments, &mut self.random.lock().expect("not poisoned"));
        self.inner.write(Write { edit: Edit::new(segments), ..write }).await
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        self.inner.abandon(key, staging).await
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        self.inner.delete_version(object).await
    }
}
