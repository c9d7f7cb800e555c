//! bzip2: streams of blocks, each stream with a level, checksums and an end of its own. pbzip2 writes
//! a stream for every block, and `cat` joins any.
//!
//! The format has no specification; what is read is what bzip2(1) 1.0.8 reads.

mod blocks;
mod edit;
#[cfg(test)]
mod tests;
mod trace;

use std::sync::Arc;

use bzip2::{Action, Compress, Compression, Decompress, Error, Status};

use super::{Checkpoint, Input};
use crate::format::{FormatError, Source};
pub(super) use edit::splice;
use trace::Trace;

/// `BZh`, the level, and what a block or the end of the stream begins with.
const HEADER_BYTES: usize = 4;

/// When to give up the usual sorting for one that repetition does not slow down; 0 stands for 30, which
/// is what bzip2(1) has.
const WORK_FACTOR: u32 = 0;

/// How much room the encoder asks for at a time, in bytes.
const ROOM_BYTES: usize = 64 << 10;

/// The streams of a bzip2 object.
pub(super) struct Streams<S> {
    input: Input<S>,
    decompress: Decompress,
    level: u32,
    /// Reads instead, where an edit is to follow.
    trace: Option<Box<Trace>>,
}

/// Whether an object that begins so is a bzip2 stream: `BZh9` alone is text as well.
pub(super) fn is_start(head: &[u8]) -> bool {
    /// The digits of pi, before a block, and those of its square root, at the end of a stream.
    const NEXT: [&[u8]; 2] =
        [&[0x31, 0x41, 0x59, 0x26, 0x53, 0x59], &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90]];
    let rest = head.get(HEADER_BYTES..).unwrap_or_default();
    level(head).is_some() && NEXT.iter().any(|next| rest.starts_with(next))
}

/// The level in a stream's header: the length of its blocks, in 100,000 bytes.
fn level(header: &[u8]) -> Option<u32> {
    match header {
        [b'B', b'Z', b'h', level @ b'1'..=b'9', ..] => Some(u32::from(level - b'0')),
        _ => None,
    }
}

impl<S: Source> Streams<S> {
    pub(super) fn new(input: Input<S>) -> Self {
        Self { input, decompress: Decompress::new(false), level: 9, trace: None }
    }

    /// Takes note from now on of where blocks begin. The first stream is yet to begin.
    pub(super) fn trace(&mut self) {
        self.trace = Some(Box::new(Trace::new()));
    }

    /// The block that a place of the content lies in, of the stream that begins there.
    pub(super) fn checkpoint(&mut self, stream: u64, place: u64) -> Option<Arc<Checkpoint>> {
        self.trace.as_mut()?.before(stream, place)
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Goes on to the next stream; answers where it begins.
    pub(super) fn begin(&mut self) -> Result<Option<u64>, FormatError> {
        let start = self.input.position();
        let header = self.input.ahead(HEADER_BYTES)?;
        if header.is_empty() {
            return Ok(None);
        }
        let (level, cut) = (level(header), header.len() < HEADER_BYTES);
        match level {
            Some(level) => self.level = level,
            None if cut => return Err(self.ends_early()),
            None => {
                return Err(self.fail("bytes that belong to no bzip2 stream follow the last one"));
            }
        }
        match &mut self.trace {
            Some(trace) => {
                trace.begin(self.level);
                self.input.consume(HEADER_BYTES);
            }
            None => self.decompress = Decompress::new(false),
        }
        Ok(Some(start))
    }

    /// Appends a piece of the stream; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        if let Some(trace) = &mut self.trace {
            return trace.read(&mut self.input, into);
        }
        into.reserve(at_most.max(1));
        let start = into.len();
        let consumed = self.decompress.total_in();
        let piece = self.input.peek()?;
        let outcome = self.decompress.decompress_vec(piece, into);
        let taken = (self.decompress.total_in() - consumed) as usize;
        let ended = piece.is_empty();
        self.input.consume(taken);
        match outcome {
            Ok(Status::StreamEnd) => Ok(false),
            Ok(Status::MemNeeded) => Err(self.fail("there is not enough memory for a bzip2 block")),
            Ok(_) if taken > 0 || into.len() > start => Ok(true),
            Ok(_) if ended => Err(self.ends_early()),
            Ok(_) | Err(Error::Data | Error::DataMagic | Error::Param | Error::Sequence) => {
                Err(self.fail("the bzip2 stream is corrupt"))
            }
        }
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the bzip2 stream ends early")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }

    /// A writer of a stream of the same level.
    pub(super) fn encoder(&self) -> Encoder {
        Encoder(Compress::new(Compression::new(self.level), WORK_FACTOR))
    }
}

/// Writes one stream.
pub(super) struct Encoder(Compress);

impl Encoder {
    pub(super) fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        while !bytes.is_empty() {
            let before = self.0.total_in();
            self.step(bytes, out, Action::Run)?;
            bytes = &bytes[(self.0.total_in() - before) as usize..];
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        while self.step(&[], out, Action::Finish)? != Status::StreamEnd {}
        Ok(())
    }

    fn step(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        action: Action,
    ) -> Result<Status, FormatError> {
        out.reserve(ROOM_BYTES);
        let before = (self.0.total_in(), out.len());
        let status = self.0.compress_vec(bytes, out, action);
        let idle = before == (self.0.total_in(), out.len());
        match status {
            Ok(status) if !idle || status == Status::StreamEnd => Ok(status),
            _ => Err(FormatError::unreadable("the bzip2 encoder failed")),
        }
    }
}
