//! The part of a stream that is compressed anew, and its proof.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::walk::Cut;
use super::{Refused, failed};
use crate::format::compression::deflate::{Bits, FIXED_END_BITS, FIXED_HEADER, Place};

/// As other rewritten members.
const LEVEL: u32 = 6;

/// How much room the encoder asks for at a time, in bytes.
const ROOM_BYTES: usize = 64 << 10;

/// A window.
#[derive(Debug)]
pub(super) struct Window {
    /// The cut at which it begins …
    pub(super) start: Place,
    /// … and the one at which the old stream goes on; `None` where it ends with the stream.
    pub(super) end: Option<Place>,
    /// What stands between them, from the phase of the start to the one that the end needs.
    pub(super) bits: Bits,
}

impl Window {
    /// Compresses the new content between two cuts; `before` is the content before the first one.
    pub(super) fn new(
        start: &Cut,
        end: Option<&Cut>,
        before: &[u8],
        content: &[u8],
    ) -> Result<Self, Refused> {
        let (start, end) = (start.place, end.map(|end| end.place));
        let mut bits = Bits::at((start.bit % 8) as u32);
        if start.block.is_some() {
            bits.put(0, FIXED_END_BITS);
        }
        if !content.is_empty() || end.is_none() {
            if bits.phase() > 0 {
                // Not by shifting a finished stream: the length of a stored block depends on its phase.
                bits.put_stored_nothing();
            }
            bits.put_bytes(&compress(before, content, end.is_none())?);
        }
        if let Some(end) = end {
            let header = if end.block.is_some() { FIXED_HEADER.1 } else { 0 };
            bits.put_until(((end.bit + 8 - u64::from(header)) % 8) as u32);
        }
        Ok(Self { start, end, bits })
    }

    /// Reads the window by another decoder than the one that the cuts were found by, and what follows it.
    ///
    /// `tail` is what is stored from the byte on in which the window's end lies; `follows` the content
    /// that it begins with.
    pub(super) fn check(
        &self,
        before: &[u8],
        content: &[u8],
        (tail, follows): (&[u8], &[u8]),
    ) -> Result<(), Refused> {
        let phase = (self.start.bit % 8) as u32;
        let mut bits = Bits::at(0);
        if self.start.block.is_some() {
            bits.put_until(phase + 8 - FIXED_HEADER.1);
            bits.put(FIXED_HEADER.0, FIXED_HEADER.1);
        } else {
            bits.put_until(phase);
        }
        bits.append(&self.bits);
        if let Some(end) = self.end {
            put_header(&mut bits, &end, false);
            let mut more = tail.to_vec();
            if let (1.., Some(first)) = (bits.phase(), more.first_mut()) {
                *first &= u8::MAX << bits.phase();
            }
            let mut rest = Bits::at(bits.phase());
            rest.replace(more);
            bits.append(&rest);
        }
        let expected = content.len() + follows.len();
        let plain = decompress(before, bits.bytes(), expected)?;
        let is_whole = plain.ends == self.end.is_none() || self.end.is_some();
        let is_equal = plain.content.get(..content.len()) == Some(content)
            && plain.content.get(content.len()..expected) == Some(follows);
        if is_whole && is_equal && (self.end.is_some() || plain.content.len() == expected) {
            return Ok(());
        }
        Err(Refused::Reason("what was compressed anew did not read back"))
    }
}

/// Repeats the header of a block that goes on at this place.
pub(super) fn put_header(bits: &mut Bits, place: &Place, goes_on: bool) {
    if let Some(block) = place.block {
        let is_last = u32::from(block.is_last && !goes_on);
        bits.put(FIXED_HEADER.0 | is_last, FIXED_HEADER.1);
    }
}

fn compress(before: &[u8], content: &[u8], ends: bool) -> Result<Vec<u8>, Refused> {
    let mut compress = Compress::new(Compression::new(LEVEL), false);
    if !before.is_empty() {
        compress.set_dictionary(before).map_err(|_| failed())?;
    }
    let (mut out, mut rest) = (Vec::new(), content);
    while !rest.is_empty() {
        out.reserve(ROOM_BYTES);
        let taken = compress.total_in();
        let status = compress.compress_vec(rest, &mut out, FlushCompress::None);
        if !matches!(status, Ok(Status::Ok | Status::BufError)) {
            return Err(failed());
        }
        rest = &rest[(compress.total_in() - taken) as usize..];
    }
    let flush = if ends { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        out.reserve(ROOM_BYTES);
        let status = compress.compress_vec(&[], &mut out, flush).map_err(|_| failed())?;
        // Where there is room left, all that was to come has come.
        let is_done = if ends { status == Status::StreamEnd } else { out.len() < out.capacity() };
        if is_done {
            return Ok(out);
        }
    }
}

/// What a stream's beginning holds.
struct Plain {
    content: Vec<u8>,
    /// Whether its last block ended.
    ends: bool,
}

fn decompress(before: &[u8], stored: &[u8], expected: usize) -> Result<Plain, Refused> {
    let mut inflate = Decompress::new(false);
    if !before.is_empty() {
        inflate.set_dictionary(before).map_err(|_| failed())?;
    }
    let mut content = Vec::with_capacity(expected + ROOM_BYTES);
    let mut rest = stored;
    loop {
        let (taken, length) = (inflate.total_in(), content.len());
        let status = inflate.decompress_vec(rest, &mut content, FlushDecompress::None);
        let status = status.map_err(|_| failed())?;
        let more = (inflate.total_in() - taken) as usize;
        rest = &rest[more..];
        let is_idle = more == 0 && content.len() == length;
        let ends = status == Status::StreamEnd;
        if ends || is_idle || content.len() > expected {
            return Ok(Plain { content, ends });
        }
    }
}
