//! The bytes of an object version in a lake, as a format wants them: synchronous, sequential reads fast,
//! random reads few. Called off the runtime's threads only.
//!
//! A first read fetches a small window. Reads that go on where the last one ended fetch windows of
//! double the size, and after some of those a stream with read-ahead, so that a jumping reader wastes
//! at most as much as it uses, and a scan pays one request. At most about 16 MiB are held. A reader who
//! says that it jumps gets no more than it asks for, and several of them read at once.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::domain::object::ObjectVersion;
use crate::format::{FormatError, SharedSource, Source, SourceError, checked_range};
use crate::lake::{Lake, LakeError, LakeErrorKind};

/// The size of a first window, in bytes.
const FIRST_WINDOW: u64 = 64 << 10;

/// A reader that has come to windows of this size is sequential.
const LAST_WINDOW: u64 = 1 << 20;

/// How much of an object's end is fetched at once: the footer of a Parquet file stands there.
const TAIL: u64 = 256 << 10;

/// How many bytes of windows are kept.
const KEPT: usize = 4 << 20;

/// How far a stream is read on to reach a later place, rather than asking anew.
const SKIP: u64 = 1 << 20;

/// The size of a piece of read-ahead and how many of them wait: 8 MiB.
const PIECE: usize = 256 << 10;
const PIECES: usize = 32;

/// Reads one object version from a lake.
pub struct LakeSource {
    lake: Arc<dyn Lake>,
    object: ObjectVersion,
    runtime: Handle,
    state: Mutex<State>,
    failure: Mutex<Option<(LakeErrorKind, String)>>,
}

#[derive(Default)]
struct State {
    /// Where the last fetch ended, and how large it was.
    front: u64,
    grown: u64,
    windows: VecDeque<Window>,
    stream: Option<ReadAhead>,
}

struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// What the window has of a range, from its start on.
    fn prefix_of(&self, range: &Range<u64>) -> Option<Bytes> {
        if range.start < self.start || range.start >= self.end() {
            return None;
        }
        let from = usize::try_from(range.start - self.start).ok()?;
        let to = usize::try_from(range.end.min(self.end()) - self.start).ok()?;
        Some(self.bytes.slice(from..to))
    }
}

impl LakeSource {
    /// A source on this version. Nothing is read yet. Called on the runtime, read elsewhere: a read on
    /// a thread of the runtime panics.
    pub fn open(lake: Arc<dyn Lake>, object: ObjectVersion) -> SharedSource {
        Self::new(lake, object)
    }

    pub(super) fn new(lake: Arc<dyn Lake>, object: ObjectVersion) -> Arc<Self> {
        Arc::new(Self {
            lake,
            object,
            runtime: Handle::current(),
            state: Mutex::default(),
            failure: Mutex::default(),
        })
    }

    /// The lake's error, if one was met: a format may have taken it for a fault of the object.
    pub(super) fn failure(&self) -> Option<LakeError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.map(|(kind, message)| LakeError::new(kind, message))
    }

    fn read(&self, state: &mut State, range: &Range<u64>) -> Result<Bytes, LakeError> {
        let prefix = state.windows.iter().rev().find_map(|window| window.prefix_of(range));
        let Some(prefix) = prefix else { return self.fetch(state, range) };
        let reached = range.start + prefix.len() as u64;
        if reached == range.end {
            return Ok(prefix);
        }
        let rest = self.fetch(state, &(reached..range.end))?;
        let mut joined = BytesMut::with_capacity(prefix.len() + rest.len());
        joined.extend_from_slice(&prefix);
        joined.extend_from_slice(&rest);
        Ok(joined.freeze())
    }

    /// A part of the range, from its start on, that needs not be put together from several.
    fn read_part(&self, state: &mut State, range: &Range<u64>) -> Result<Bytes, LakeError> {
        if let Some(prefix) = state.windows.iter().rev().find_map(|window| window.prefix_of(range))
        {
            return Ok(prefix);
        }
        if let Some(stream) = state.stream_to(range.start) {
            return stream.take_part(range);
        }
        self.fetch(state, range)
    }

    fn fetch(&self, state: &mut State, range: &Range<u64>) -> Result<Bytes, LakeError> {
        if let Some(stream) = state.stream_to(range.start) {
            return stream.take(range);
        }
        let is_sequential = range.start == state.front && state.grown > 0;
        state.grown = if is_sequential { state.grown * 2 } else { FIRST_WINDOW };
        if state.grown > LAST_WINDOW {
            let stream = state.stream.insert(self.stream_from(range.start));
            return stream.take(range);
        }
        let window = self.window(range, state.grown, is_sequential);
        let bytes = self.read_range(window.clone())?;
        state.front = window.end;
        let window = Window { start: window.start, bytes };
        let wanted = window.prefix_of(range).unwrap_or_default();
        state.keep(window);
        Ok(wanted)
    }

    /// What is fetched to answer a read of `range`.
    fn window(&self, range: &Range<u64>, size: u64, is_sequential: bool) -> Range<u64> {
        let end_of_object = self.object.size_bytes;
        let tail = end_of_object.saturating_sub(TAIL);
        if range.start >= tail && !is_sequential {
            return tail..end_of_object;
        }
        let end = range.start.saturating_add(size).max(range.end).min(end_of_object);
        range.start..end
    }

    fn read_range(&self, range: Range<u64>) -> Result<Bytes, LakeError> {
        self.runtime.block_on(async {
            let pieces: Vec<Bytes> =
                self.lake.read(&self.object, range.clone()).await?.try_collect().await?;
            let length: usize = pieces.iter().map(Bytes::len).sum();
            if length as u64 != range.end - range.start {
                return Err(self.wrong_length());
            }
            match <[Bytes; 1]>::try_from(pieces) {
                Ok([whole]) => Ok(whole),
                Err(pieces) => Ok(pieces.concat().into()),
            }
        })
    }

    fn wrong_length(&self) -> LakeError {
        wrong_length(&self.object)
    }

    fn stream_from(&self, start: u64) -> ReadAhead {
        let (sender, pieces) = mpsc::channel(PIECES);
        let (lake, object) = (Arc::clone(&self.lake), self.object.clone());
        let task = self.runtime.spawn(read_ahead(lake, object.clone(), start, sender));
        ReadAhead { object, next: start, piece: Bytes::new(), pieces, task }
    }

    fn answer(
        &self,
        offset: u64,
        length: usize,
        read: fn(&Self, &mut State, &Range<u64>) -> Result<Bytes, LakeError>,
    ) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.object.size_bytes)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        read(self, &mut state, &range).map_err(|error| {
            self.note(&error);
            SourceError::new(error)
        })
    }

    fn note(&self, error: &LakeError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| (error.kind(), error.to_string()));
    }
}

impl Source for LakeSource {
    fn size_bytes(&self) -> u64 {
        self.object.size_bytes
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        self.answer(offset, length, Self::read)
    }

    fn read_alone(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.object.size_bytes)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let held = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.windows.iter().rev().find_map(|window| window.prefix_of(&range))
        };
        if let Some(held) = held.filter(|held| held.len() == length) {
            return Ok(held);
        }
        self.read_range(range).map_err(|error| {
            self.note(&error);
            SourceError::new(error)
        })
    }

    fn read_some(&self, offset: u64, at_most: usize) -> Result<Bytes, SourceError> {
        self.answer(offset, at_most, Self::read_part)
    }
}

impl State {
    /// The stream, if it leads to this place.
    fn stream_to(&mut self, offset: u64) -> Option<&mut ReadAhead> {
        self.stream.as_mut().filter(|stream| stream.leads_to(offset))
    }

    fn keep(&mut self, window: Window) {
        if window.bytes.len() > KEPT {
            return;
        }
        self.windows.push_back(window);
        while self.windows.iter().map(|window| window.bytes.len()).sum::<usize>() > KEPT {
            self.windows.pop_front();
        }
    }
}

fn wrong_length(object: &ObjectVersion) -> LakeError {
    let message = "the store sent another number of bytes than the object has; try again";
    LakeError::about(LakeErrorKind::Corrupt, &object.key, message)
}

/// An object from one place on, fetched ahead of its reader.
struct ReadAhead {
    object: ObjectVersion,
    next: u64,
    /// What was received and not yet taken.
    piece: Bytes,
    pieces: mpsc::Receiver<Result<Bytes, LakeError>>,
    task: JoinHandle<()>,
}

impl ReadAhead {
    fn leads_to(&self, offset: u64) -> bool {
        (self.next..=self.next + SKIP).contains(&offset)
    }

    /// What the stream has at hand of a range, at least one byte.
    fn take_part(&mut self, range: &Range<u64>) -> Result<Bytes, LakeError> {
        while self.next < range.start {
            let skipped = usize::try_from(range.start - self.next).unwrap_or(usize::MAX);
            self.take_some(skipped)?;
        }
        let wanted = usize::try_from(range.end - range.start).map_err(|_| self.too_long())?;
        self.take_some(wanted)
    }

    fn take(&mut self, range: &Range<u64>) -> Result<Bytes, LakeError> {
        let first = self.take_part(range)?;
        let wanted = usize::try_from(range.end - range.start).map_err(|_| self.too_long())?;
        if first.len() == wanted {
            return Ok(first);
        }
        let mut joined = BytesMut::with_capacity(wanted);
        joined.extend_from_slice(&first);
        while joined.len() < wanted {
            let more = self.take_some(wanted - joined.len())?;
            joined.extend_from_slice(&more);
        }
        Ok(joined.freeze())
    }

    /// At least one byte, at most `limit`.
    fn take_some(&mut self, limit: usize) -> Result<Bytes, LakeError> {
        while self.piece.is_empty() {
            self.piece =
                self.pieces.blocking_recv().ok_or_else(|| wrong_length(&self.object))??;
        }
        let taken = self.piece.split_to(limit.min(self.piece.len()));
        self.next += taken.len() as u64;
        Ok(taken)
    }

    fn too_long(&self) -> LakeError {
        LakeError::about(LakeErrorKind::Other, &self.object.key, "a range too long for memory")
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_ahead(
    lake: Arc<dyn Lake>,
    object: ObjectVersion,
    start: u64,
    sender: mpsc::Sender<Result<Bytes, LakeError>>,
) {
    let mut stream = match lake.read(&object, start..object.size_bytes).await {
        Ok(stream) => stream,
        Err(error) => return drop(sender.send(Err(error)).await),
    };
    while let Some(piece) = stream.next().await {
        let mut piece = match piece {
            Ok(piece) => piece,
            Err(error) => return drop(sender.send(Err(error)).await),
        };
        while !piece.is_empty() {
            let part = piece.split_to(PIECE.min(piece.len()));
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
        }
    }
}

/// The lake's error beneath a format's, if that is what went wrong.
pub fn lake_error(error: &FormatError) -> Option<&LakeError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<LakeError>() {
            return Some(found);
        }
        cause = match error.downcast_ref::<FormatError>() {
            Some(FormatError::Source(source)) => Some(&*source.0),
            _ => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests;
