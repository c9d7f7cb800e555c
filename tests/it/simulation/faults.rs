//! Stores that fail, die or are interfered with at a chosen call.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::support::random_lake::Random;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use lacuna::domain::dataset::DatasetName;
use lacuna::domain::edit::{Edit, Segment};
use lacuna::domain::identifier::{IdentifierDigest, KeyCheck};
use lacuna::domain::object::{ListedVersion, ObjectKey, ObjectVersion};
use lacuna::domain::posting::{Posting, RowPosting, ScannedObject};
use lacuna::lake::{
    Attributes, Base, ByteStream, Capabilities, Lake, LakeError, LakeErrorKind, Staging, Target,
    VersionStream, Write, WriteError,
};
use lacuna::metastore::{
    Metastore, MetastoreError, MetastoreErrorKind, MetastoreSize, MetastoreStream, ObjectPostings,
    Recorder, Succession,
};
use tokio::sync::oneshot;

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
    /// A read answers with this bit changed, counted from its end where it has fewer. Other calls go well.
    FlippedBit(usize),
    /// A read ends early, as if that were all, after this many bytes. Other calls go well.
    EndsEarly(usize),
}

/// Says what happens at a call, by its number from 1.
pub type Chooser = Box<dyn FnMut(u64) -> Option<Event> + Send>;

/// Counts the calls of several stores together, and lets events happen at the chosen ones.
pub struct Script {
    calls: AtomicU64,
    choose: Mutex<Chooser>,
    is_dead: AtomicBool,
    /// Where calls wait until it is their turn, where several runs take turns.
    pub turnstile: Option<(Arc<Turnstile>, usize)>,
}

/// How one call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Normal,
    FailBefore,
    FailAfter,
    DieInside,
    FlippedBit(usize),
    EndsEarly(usize),
}

impl Script {
    /// Nothing happens; calls are counted.
    pub fn quiet() -> Arc<Self> {
        Self::choosing(Box::new(|_| None))
    }

    /// The event happens at this call, counted from 1.
    pub fn new(at: u64, event: Event) -> Arc<Self> {
        let mut event = Some(event);
        Self::choosing(Box::new(move |call| if call == at { event.take() } else { None }))
    }

    /// Every call from this one on fails and changes nothing.
    pub fn failing_from(at: u64) -> Arc<Self> {
        Self::choosing(Box::new(move |call| (call >= at).then_some(Event::ErrorBefore)))
    }

    /// What happens is chosen at each call.
    pub fn choosing(choose: Chooser) -> Arc<Self> {
        Arc::new(Self::of(choose))
    }

    /// The same, for somebody who has yet to say where its calls wait.
    pub fn of(choose: Chooser) -> Self {
        Self {
            calls: AtomicU64::new(0),
            choose: Mutex::new(choose),
            is_dead: AtomicBool::new(false),
            turnstile: None,
        }
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Waits for the turn of this call, where several runs take turns, and says how it goes.
    async fn turn(&self) -> Turn {
        if let Some((turnstile, run)) = &self.turnstile {
            turnstile.pass(*run).await;
        }
        self.turn_at_once()
    }

    fn turn_at_once(&self) -> Turn {
        if self.is_dead.load(Ordering::SeqCst) {
            return Turn::FailBefore;
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let kills = |turn| {
            self.is_dead.store(true, Ordering::SeqCst);
            turn
        };
        let event = (self.choose.lock().expect("not poisoned"))(call);
        match event {
            None => Turn::Normal,
            Some(Event::ErrorBefore) => Turn::FailBefore,
            Some(Event::ErrorAfter) => Turn::FailAfter,
            Some(Event::KillBefore) => kills(Turn::FailBefore),
            Some(Event::KillAfter) => kills(Turn::FailAfter),
            Some(Event::KillInside) => Turn::DieInside,
            Some(Event::FlippedBit(bit)) => Turn::FlippedBit(bit),
            Some(Event::EndsEarly(bytes)) => Turn::EndsEarly(bytes),
            Some(Event::Meddle(act)) => {
                act();
                Turn::Normal
            }
        }
    }
}

/// Where the calls of several runs wait, so that one at a time goes on: which, a seed decides.
pub struct Turnstile(Mutex<Queues>);

struct Queues {
    random: Random,
    /// Of each run the calls that wait; `None` where it has ended.
    waiting: Vec<Option<VecDeque<oneshot::Sender<()>>>>,
}

impl Turnstile {
    /// For this many runs.
    pub fn new(seed: u64, runs: usize) -> Arc<Self> {
        let waiting = (0..runs).map(|_| Some(VecDeque::new())).collect();
        Arc::new(Self(Mutex::new(Queues { random: Random(seed), waiting })))
    }

    async fn pass(&self, run: usize) {
        // Who is left of a run that ended need not wait.
        let _ = self.queue_up(run).await;
    }

    fn queue_up(&self, run: usize) -> oneshot::Receiver<()> {
        let (go, is_due) = oneshot::channel();
        let mut queues = self.0.lock().expect("not poisoned");
        if let Some(waiting) = &mut queues.waiting[run] {
            waiting.push_back(go);
            queues.let_one_pass();
        }
        is_due
    }

    /// A run makes no more calls.
    pub fn leave(&self, run: usize) {
        let mut queues = self.0.lock().expect("not poisoned");
        queues.waiting[run] = None;
        queues.let_one_pass();
    }
}

impl Queues {
    /// While every run waits for something, one of them goes on. One that waits for several things may
    /// go on with one that it has no use for any more, so that the next has to follow.
    fn let_one_pass(&mut self) {
        loop {
            let mut runs: Vec<_> = self.waiting.iter_mut().flatten().collect();
            runs.iter_mut().for_each(|waiting| waiting.retain(|go| !go.is_closed()));
            if runs.is_empty() || runs.iter().any(|waiting| waiting.is_empty()) {
                return;
            }
            let chosen = self.random.index(runs.len());
            if let Some(go) = runs[chosen].pop_front() {
                let _ = go.send(());
            }
        }
    }
}

pub fn is_probe(key: &ObjectKey) -> bool {
    key.to_string().contains("lacuna-probe")
}

fn fault() -> LakeError {
    LakeError::new(LakeErrorKind::Unavailable, "a simulated fault")
}

/// What a read answers, with the damage that the turn has for it.
async fn damaged(read: ByteStream, turn: Turn) -> Result<ByteStream, LakeError> {
    let pieces: Vec<Bytes> = read.try_collect().await?;
    let mut bytes = pieces.concat();
    match turn {
        Turn::EndsEarly(length) => bytes.truncate(length % bytes.len().max(1)),
        Turn::FlippedBit(bit) if !bytes.is_empty() => {
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        _ => {}
    }
    Ok(stream::iter([Ok(bytes.into())]).boxed())
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

    async fn before(&self) -> Result<Turn, LakeError> {
        self.judged(self.script.turn().await)
    }

    fn judged(&self, turn: Turn) -> Result<Turn, LakeError> {
        match turn {
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
        let turn = self.before().await?;
        let mut answer = self.inner.capabilities().await?;
        answer.marks_operations &= self.marks_operations;
        Self::after(turn, Ok(answer))
    }

    fn list(&self, prefix: &[u8]) -> VersionStream {
        match self.judged(self.script.turn_at_once()) {
            Ok(Turn::FailAfter) => {
                let broken = futures::stream::iter([Err(fault())]);
                Box::pin(self.inner.list(prefix).take(1).chain(broken))
            }
            Ok(_) => self.inner.list(prefix),
            Err(error) => Box::pin(futures::stream::iter([Err(error)])),
        }
    }

    async fn versions(&self, key: &ObjectKey) -> Result<Vec<ListedVersion>, LakeError> {
        let turn = self.before().await?;
        Self::after(turn, self.inner.versions(key).await)
    }

    async fn attributes(&self, target: Target<'_>) -> Result<Attributes, LakeError> {
        let turn = self.before().await?;
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
        let turn = self.before().await?;
        let read = self.inner.read(object, range).await;
        match turn {
            Turn::FlippedBit(_) | Turn::EndsEarly(_) => damaged(read?, turn).await,
            // The answer breaks off behind its first piece.
            Turn::FailAfter => Ok(read?.take(1).chain(stream::iter([Err(fault())])).boxed()),
            _ => read,
        }
    }

    async fn write(&self, write: Write) -> Result<ObjectVersion, WriteError> {
        let turn = self.script.turn().await;
        match turn {
            Turn::FailBefore => return Err(WriteError::unchanged(fault())),
            // What a probe of conditional writes leaves behind is nobody's data.
            Turn::DieInside if is_probe(&write.key) => {
                self.script.is_dead.store(true, Ordering::SeqCst);
                return Err(WriteError::unknown(fault()));
            }
            Turn::DieInside => return Err(self.die_inside(write).await),
            _ => {}
        }
        let answer = self.inner.write(write).await;
        if turn == Turn::FailAfter { Err(WriteError::unknown(fault())) } else { answer }
    }

    async fn abandon(&self, key: &ObjectKey, staging: &Staging) -> Result<(), LakeError> {
        let turn = self.before().await?;
        Self::after(turn, self.inner.abandon(key, staging).await)
    }

    async fn delete_version(&self, object: &ObjectVersion) -> Result<(), LakeError> {
        let turn = self.before().await?;
        Self::after(turn, self.inner.delete_version(object).await)
    }
}

/// A metastore that follows a script.
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

fn failure() -> MetastoreError {
    MetastoreError::new(MetastoreErrorKind::Unavailable, "a simulated fault")
}

impl Script {
    /// A call of a metastore, or of a recorder.
    async fn through<T>(
        &self,
        call: impl Future<Output = Result<T, MetastoreError>> + Send,
    ) -> Result<T, MetastoreError> {
        let turn = self.turn().await;
        if matches!(turn, Turn::FailBefore | Turn::DieInside) {
            self.is_dead.fetch_or(turn == Turn::DieInside, Ordering::SeqCst);
            return Err(failure());
        }
        let answer = call.await;
        if turn == Turn::FailAfter { Err(failure()) } else { answer }
    }

    /// A call that answers item by item: it fails at once, or behind its first item.
    fn stream<T: Send + 'static>(&self, items: MetastoreStream<T>) -> MetastoreStream<T> {
        match self.turn_at_once() {
            Turn::FailBefore => stream::iter([Err(failure())]).boxed(),
            Turn::DieInside => {
                self.is_dead.store(true, Ordering::SeqCst);
                stream::iter([Err(failure())]).boxed()
            }
            Turn::FailAfter => items.take(1).chain(stream::iter([Err(failure())])).boxed(),
            _ => items,
        }
    }
}

/// A recorder that follows a script.
struct ScriptedRecorder {
    inner: Box<dyn Recorder>,
    script: Arc<Script>,
}

#[async_trait]
impl Recorder for ScriptedRecorder {
    async fn append(&mut self, postings: Vec<RowPosting>) -> Result<(), MetastoreError> {
        self.script.clone().through(self.inner.append(postings)).await
    }

    async fn commit(self: Box<Self>, scanned: ScannedObject) -> Result<(), MetastoreError> {
        self.script.through(self.inner.commit(scanned)).await
    }
}

#[async_trait]
impl Metastore for ScriptedMetastore {
    async fn bind(&self, key: &KeyCheck) -> Result<(), MetastoreError> {
        self.script.through(self.inner.bind(key)).await
    }

    async fn record(
        &self,
        dataset: &DatasetName,
        object: &ObjectVersion,
    ) -> Result<Box<dyn Recorder>, MetastoreError> {
        let inner = self.script.through(self.inner.record(dataset, object)).await?;
        Ok(Box::new(ScriptedRecorder { inner, script: self.script.clone() }))
    }

    async fn succeed(&self, succession: &Succession) -> Result<(), MetastoreError> {
        self.script.through(self.inner.succeed(succession)).await
    }

    async fn forget(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> Result<(), MetastoreError> {
        self.script.through(self.inner.forget(dataset, objects)).await
    }

    fn lookup(&self, digests: &[IdentifierDigest]) -> MetastoreStream<Posting> {
        self.script.stream(self.inner.lookup(digests))
    }

    fn indexed(
        &self,
        dataset: &DatasetName,
        after: Option<&ObjectKey>,
    ) -> MetastoreStream<ScannedObject> {
        self.script.stream(self.inner.indexed(dataset, after))
    }

    async fn recorded(
        &self,
        dataset: &DatasetName,
        keys: &[ObjectKey],
    ) -> Result<Vec<ScannedObject>, MetastoreError> {
        self.script.through(self.inner.recorded(dataset, keys)).await
    }

    fn postings(
        &self,
        dataset: &DatasetName,
        objects: &[ObjectVersion],
    ) -> MetastoreStream<ObjectPostings> {
        self.script.stream(self.inner.postings(dataset, objects))
    }

    async fn datasets(&self) -> Result<Vec<DatasetName>, MetastoreError> {
        self.script.through(self.inner.datasets()).await
    }

    async fn size(&self) -> Result<MetastoreSize, MetastoreError> {
        self.script.through(self.inner.size()).await
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

/// The last line of what is copied last is lost.
pub fn shortened(mut segments: Vec<Segment>, _: &mut Random) -> Vec<Segment> {
    if let Some(Segment::Copy(range)) = segments.last_mut()
        && range.end - range.start > 60
    {
        range.end -= "{\"u\":\"person2\",\"n\":20}\n".len() as u64;
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
        if is_probe(&write.key) || matches!(write.base, Base::Absent) {
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
