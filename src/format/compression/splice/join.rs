//! Puts a new stream together: parts of the old one, which need not begin or end with a byte, and windows.

use std::ops::Range;

use bytes::Bytes;

use super::Refused;
use super::window::{Window, put_header};
use crate::domain::edit::Segment;
use crate::format::compression::deflate::{Bits, Place};

/// The segments of the new object, in the making.
pub(super) struct Join {
    segments: Vec<Segment>,
    bits: Bits,
}

/// A bit of the old stream, and the byte that it lies in if that begins before.
#[derive(Clone, Copy)]
struct At {
    bit: u64,
    byte: u8,
}

impl From<Place> for At {
    fn from(place: Place) -> Self {
        Self { bit: place.bit, byte: place.byte }
    }
}

impl Join {
    pub(super) fn new() -> Self {
        Self { segments: Vec::new(), bits: Bits::at(0) }
    }

    /// Adds bytes of the old object.
    pub(super) fn copy(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        self.flush();
        match self.segments.last_mut() {
            Some(Segment::Copy(last)) if last.end == range.start => last.end = range.end,
            _ => self.segments.push(Segment::Copy(range)),
        }
    }

    /// Adds new bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bits.put_bytes(bytes);
    }

    /// Adds a stream that begins and ends with these bytes of the old object, with windows in it.
    pub(super) fn stream(&mut self, stored: Range<u64>, windows: &[Window]) -> Result<(), Refused> {
        let mut at = At { bit: stored.start.saturating_mul(8), byte: 0 };
        let mut resumed: Option<Place> = None;
        for window in windows {
            let start = window.start;
            if let Some(end) = resumed.take() {
                // The block that goes on there may be cut again, and does not end the stream then.
                let is_cut = start.block.is_some_and(|block| Some(block) == end.block);
                put_header(&mut self.bits, &end, is_cut);
            }
            at = self.make_inner(at, &start)?;
            self.bits_to(at, start.into())?;
            self.bits.append(&window.bits);
            let Some(end) = window.end else { return Ok(()) };
            (at, resumed) = (end.into(), Some(end));
        }
        if let Some(end) = resumed {
            put_header(&mut self.bits, &end, false);
        }
        self.bits_to(at, At { bit: stored.end.saturating_mul(8), byte: 0 })
    }

    /// Where a block is cut that is the last one and has its header in the old stream: it is not the
    /// last one any more.
    fn make_inner(&mut self, at: At, start: &Place) -> Result<At, Refused> {
        let Some(block) = start.block.filter(|block| block.is_last && block.bit >= at.bit) else {
            return Ok(at);
        };
        self.bits_to(at, At { bit: block.bit, byte: block.byte })?;
        self.bits.put(0, 1);
        Ok(At { bit: block.bit + 1, byte: block.byte })
    }

    /// Adds bits of the old stream, which come to stand at the phase that they had.
    fn bits_to(&mut self, from: At, to: At) -> Result<(), Refused> {
        let (phase, end) = ((from.bit % 8) as u32, (to.bit % 8) as u32);
        if self.bits.phase() != phase || from.bit > to.bit {
            return Err(Refused::Reason("its compressed blocks could not be put together again"));
        }
        if from.bit / 8 == to.bit / 8 {
            self.bits.put(u32::from(to.byte) >> phase, end - phase);
            return Ok(());
        }
        if phase > 0 {
            self.bits.put(u32::from(from.byte) >> phase, 8 - phase);
        }
        self.copy(from.bit.div_ceil(8)..to.bit / 8);
        self.bits.put(u32::from(to.byte), end);
        Ok(())
    }

    fn flush(&mut self) {
        let bytes = self.bits.take_full();
        if !bytes.is_empty() {
            self.segments.push(Segment::Bytes(Bytes::from(bytes)));
        }
    }

    /// The segments.
    pub(super) fn finish(mut self) -> Vec<Segment> {
        self.flush();
        self.segments
    }
}
