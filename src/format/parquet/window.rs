//! Stretches of an object as the `parquet` crate reads them. It knows bytes and offsets, no Parquet.
//!
//! The crate turns every error into its own and may lose what was wrong, so that a store's failure
//! is kept here, and [`Window::failed`] tells it from an object that cannot be read.

use std::fmt;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::format::{FormatError, Source, SourceError};

/// How much is read from the source at once, in bytes.
const BLOCK_BYTES: u64 = 1 << 20;
/// The same where the reader jumps from page header to page header.
const SPARSE_BLOCK_BYTES: u64 = 1 << 10;
/// The same where whole pages are read here and there, each at once unless it is very long.
const PAGED_BLOCK_BYTES: u64 = 4 << 20;

/// Stretches of an object, one after another as if nothing lay between them; offsets count from the
/// start of the first. Cloning it gives the same window.
#[derive(Clone)]
pub(super) struct Window<'a> {
    source: &'a dyn Source,
    /// Where each stretch begins in the window, and which bytes of the source it is.
    parts: Arc<[(u64, Range<u64>)]>,
    length: u64,
    block_bytes: u64,
    /// Whether the reader goes on somewhere else after a block.
    is_jumping: bool,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What was read last, and where it begins.
    block: (u64, Bytes),
    failure: Option<SourceError>,
}

impl<'a> Window<'a> {
    /// The bytes `start..start + length` of a source, which lie within it.
    pub(super) fn new(source: &'a dyn Source, start: u64, length: u64) -> Self {
        Self::of_parts(source, std::slice::from_ref(&(start..start + length)))
    }

    /// These stretches of a source, which lie within it.
    pub(super) fn of_parts(source: &'a dyn Source, parts: &[Range<u64>]) -> Self {
        let mut length = 0;
        let mut placed = Vec::with_capacity(parts.len());
        for part in parts.iter().filter(|part| !part.is_empty()) {
            placed.push((length, part.clone()));
            length += part.end - part.start;
        }
        let state = Arc::default();
        let (parts, block_bytes) = (placed.into(), BLOCK_BYTES);
        Self { source, parts, length, block_bytes, is_jumping: false, state }
    }

    /// The same bytes for a reader who wants few of them here and there.
    pub(super) fn sparse(self) -> Self {
        Self { block_bytes: SPARSE_BLOCK_BYTES, is_jumping: true, ..self }
    }

    /// The same bytes for a reader of whole pages, of which each stretch is one or a few.
    pub(super) fn paged(self) -> Self {
        Self { block_bytes: PAGED_BLOCK_BYTES, is_jumping: true, ..self }
    }

    /// Up to `length` bytes from `offset` on, fewer at the end of a stretch.
    pub(super) fn peek(&self, offset: u64, length: u64) -> Result<Bytes> {
        let after = self.parts.partition_point(|(start, _)| *start <= offset);
        let part = after.checked_sub(1).and_then(|at| self.parts.get(at));
        let Some((start, bytes)) = part else { return Ok(Bytes::new()) };
        let place = bytes.start + (offset - start);
        let left = bytes.end.saturating_sub(place);
        let length = length.min(left);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held(&state.block, offset, length) {
            return Ok(held);
        }
        let ahead = length.max(self.block_bytes).min(left);
        let ahead = usize::try_from(ahead).map_err(|_| too_long())?;
        let read = match self.is_jumping {
            true => self.source.read_alone(place, ahead),
            false => self.source.read_at(place, ahead),
        };
        match read {
            Ok(bytes) => state.block = (offset, bytes),
            Err(error) => {
                state.failure = Some(error);
                return Err(ParquetError::General("the store failed".to_owned()));
            }
        }
        held(&state.block, offset, length).ok_or_else(too_long)
    }

    /// What an error of the crate means: the store failed, or `reason`.
    pub(super) fn failed(&self, reason: impl FnOnce() -> String) -> FormatError {
        let failure = self.state.lock().unwrap_or_else(PoisonError::into_inner).failure.take();
        failure.map_or_else(|| FormatError::unreadable(reason()), FormatError::Source)
    }
}

fn held((start, bytes): &(u64, Bytes), offset: u64, length: u64) -> Option<Bytes> {
    let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
    let to = from.checked_add(usize::try_from(length).ok()?)?;
    (to <= bytes.len()).then(|| bytes.slice(from..to))
}

fn too_long() -> ParquetError {
    ParquetError::EOF("a page ends beyond its column chunk".to_owned())
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Window({} parts, {} bytes)", self.parts.len(), self.length)
    }
}

impl Length for Window<'_> {
    fn len(&self) -> u64 {
        self.length
    }
}

impl<'a> ChunkReader for Window<'a> {
    type T = WindowReader<'a>;

    fn get_read(&self, start: u64) -> Result<WindowReader<'a>> {
        Ok(WindowReader { window: self.clone(), offset: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.peek(start, length as u64)?;
        if bytes.len() == length { Ok(bytes) } else { Err(too_long()) }
    }
}

/// Reads a window from an offset on.
pub(super) struct WindowReader<'a> {
    window: Window<'a>,
    offset: u64,
}

impl Read for WindowReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let bytes =
            self.window.peek(self.offset, buffer.len() as u64).map_err(std::io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}
