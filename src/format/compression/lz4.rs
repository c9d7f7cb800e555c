//! lz4 frames (LZ4 Frame Format 1.6.4), and skippable frames between them.
//!
//! A frame is read block by block here, not by `lz4_flex`'s own reader, which takes an object cut off
//! between two blocks for one that has ended.

use std::hash::Hasher as _;
use std::io::Write as _;

use bytes::Bytes;
use lz4_flex::block::{decompress_into, decompress_into_with_dict};
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use twox_hash::XxHash32;

use super::Input;
use crate::format::{FormatError, Source};

pub(super) const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

const INDEPENDENT: u8 = 1 << 5;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const CONTENT_BYTES: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const RESERVED: u8 = 1 << 1;
const DICTIONARY: u8 = 1;

/// How far a block may refer to what came before it, in bytes.
const WINDOW_BYTES: usize = 64 << 10;

/// In the length of a block: it is stored as it is.
const PLAIN: u32 = 1 << 31;

/// The frames of an lz4 object.
pub(super) struct Frames<S> {
    input: Input<S>,
    header: FrameHeader,
    /// Over the content of the frame.
    checksum: XxHash32,
    content_bytes: u64,
    /// Room for the content of a block.
    room: Vec<u8>,
    /// What of it was not yet handed out.
    left: std::ops::Range<usize>,
    /// The end of the content before it, where blocks refer to it.
    window: Vec<u8>,
}

/// What a frame says of itself.
#[derive(Clone, Copy)]
struct FrameHeader {
    flags: u8,
    block_size: BlockSize,
    block_bytes: usize,
    content_bytes: Option<u64>,
}

impl FrameHeader {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl<S: Source> Frames<S> {
    pub(super) fn new(input: Input<S>) -> Self {
        let block_size = BlockSize::Max64KB;
        let header = FrameHeader { flags: 0, block_size, block_bytes: 0, content_bytes: None };
        Self {
            input,
            header,
            checksum: XxHash32::with_seed(0),
            content_bytes: 0,
            room: Vec::new(),
            left: 0..0,
            window: Vec::new(),
        }
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Reads the header of the next frame, past skippable ones; answers where it begins.
    pub(super) fn begin(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            let start = self.input.position();
            let head = self.input.ahead(MAGIC.len())?;
            if head.is_empty() {
                return Ok(None);
            }
            let Some(magic) = head.first_chunk::<4>().copied() else {
                return Err(self.ends_early());
            };
            if super::is_skippable(&magic) {
                if !self.input.skip_frame()? {
                    return Err(self.ends_early());
                }
                continue;
            }
            if magic != MAGIC {
                return Err(self.fail("bytes that belong to no lz4 frame follow the last one"));
            }
            self.input.consume(MAGIC.len());
            self.header = self.header()?;
            self.checksum = XxHash32::with_seed(0);
            (self.content_bytes, self.left) = (0, 0..0);
            self.window.clear();
            return Ok(Some(start));
        }
    }

    fn header(&mut self) -> Result<FrameHeader, FormatError> {
        let mut digest = XxHash32::with_seed(0);
        let [flags, sizes] = self.described(&mut digest)?;
        let content_bytes = match flags & CONTENT_BYTES {
            0 => None,
            _ => Some(u64::from_le_bytes(self.described(&mut digest)?)),
        };
        if flags & DICTIONARY != 0 {
            return Err(self.fail("an lz4 frame needs a dictionary, which is not supported"));
        }
        let [stored] = self.input.array()?.ok_or_else(|| self.ends_early())?;
        if stored != (digest.finish() >> 8) as u8 {
            return Err(self.fail("the checksum of an lz4 frame's header does not match"));
        }
        let (block_size, block_bytes) = match sizes {
            0x40 => (BlockSize::Max64KB, 64 << 10),
            0x50 => (BlockSize::Max256KB, 256 << 10),
            0x60 => (BlockSize::Max1MB, 1 << 20),
            0x70 => (BlockSize::Max4MB, 4 << 20),
            _ => return Err(self.unknown()),
        };
        if flags >> 6 != 1 || flags & RESERVED != 0 {
            return Err(self.unknown());
        }
        Ok(FrameHeader { flags, block_size, block_bytes, content_bytes })
    }

    /// Bytes that the header's checksum is about.
    fn described<const N: usize>(&mut self, digest: &mut XxHash32) -> Result<[u8; N], FormatError> {
        let bytes = self.input.array::<N>()?.ok_or_else(|| self.ends_early())?;
        digest.write(&bytes);
        Ok(bytes)
    }

    /// Appends a piece of the frame; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        if self.left.is_empty() && !self.block()? {
            return Ok(false);
        }
        let length = self.left.len().min(at_most.max(1));
        into.extend_from_slice(&self.room[self.left.start..self.left.start + length]);
        self.left.start += length;
        Ok(true)
    }

    /// Reads the next block, or the end of the frame; answers whether it was a block.
    fn block(&mut self) -> Result<bool, FormatError> {
        let length = self.number()?;
        if length == 0 {
            self.end()?;
            return Ok(false);
        }
        let stored_bytes = (length & !PLAIN) as usize;
        if stored_bytes > self.header.block_bytes {
            return Err(self.fail("an lz4 block is longer than its frame allows"));
        }
        let stored = self.input.exactly(stored_bytes)?.ok_or_else(|| self.ends_early())?;
        if self.header.has(BLOCK_CHECKSUMS) && self.number()? != XxHash32::oneshot(0, &stored) {
            return Err(self.fail("the checksum of an lz4 block does not match"));
        }
        self.room.resize(self.header.block_bytes, 0);
        let content_bytes = match length & PLAIN {
            0 => self.decompress(&stored)?,
            _ => {
                self.room[..stored_bytes].copy_from_slice(&stored);
                stored_bytes
            }
        };
        self.left = 0..content_bytes;
        self.content_bytes += content_bytes as u64;
        let content = &self.room[..content_bytes];
        if self.header.has(CONTENT_CHECKSUM) {
            self.checksum.write(content);
        }
        if !self.header.has(INDEPENDENT) {
            let kept = WINDOW_BYTES.saturating_sub(content.len()).min(self.window.len());
            self.window.drain(..self.window.len() - kept);
            self.window.extend_from_slice(&content[content.len().saturating_sub(WINDOW_BYTES)..]);
        }
        Ok(true)
    }

    fn decompress(&mut self, stored: &Bytes) -> Result<usize, FormatError> {
        let outcome = match self.window.is_empty() {
            true => decompress_into(stored, &mut self.room),
            false => decompress_into_with_dict(stored, &mut self.room, &self.window),
        };
        outcome.map_err(|_| self.fail("the lz4 stream is corrupt"))
    }

    fn end(&mut self) -> Result<(), FormatError> {
        if self.header.content_bytes.is_some_and(|bytes| bytes != self.content_bytes) {
            return Err(self.fail("the length of an lz4 frame does not match its content"));
        }
        if self.header.has(CONTENT_CHECKSUM) {
            let stored = self.number()?;
            if u64::from(stored) != self.checksum.finish() {
                return Err(self.fail("the checksum of an lz4 frame does not match its content"));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<u32, FormatError> {
        let bytes = self.input.array()?.ok_or_else(|| self.ends_early())?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the lz4 stream ends early")
    }

    fn unknown(&self) -> FormatError {
        self.fail("an lz4 frame is of a kind that is not known")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }

    /// A writer of a frame of the same shape, which says of itself what the old one said. How hard the
    /// old one was compressed cannot be told; this one is compressed fast.
    pub(super) fn encoder(&self, grown: impl Fn(u64) -> Option<i64>) -> Encoder {
        let old = self.header.content_bytes;
        let linked = !self.header.has(INDEPENDENT);
        let info = FrameInfo::new()
            .content_size(old.and_then(|bytes| bytes.checked_add_signed(grown(bytes)?)))
            .block_size(self.header.block_size)
            .block_mode(if linked { BlockMode::Linked } else { BlockMode::Independent })
            .block_checksums(self.header.has(BLOCK_CHECKSUMS))
            .content_checksum(self.header.has(CONTENT_CHECKSUM));
        Encoder(FrameEncoder::with_frame_info(info, Vec::new()))
    }
}

/// Writes one frame.
pub(super) struct Encoder(FrameEncoder<Vec<u8>>);

impl Encoder {
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.0.write_all(bytes).map_err(|_| failed())?;
        out.append(self.0.get_mut());
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.0.try_finish().map_err(|_| failed())?;
        out.append(self.0.get_mut());
        Ok(())
    }
}

fn failed() -> FormatError {
    FormatError::unreadable("the lz4 encoder failed")
}
