//! snappy in frames (google/snappy, `framing_format.txt`): a stream identifier, then chunks of at most
//! 64 KiB of content. Each chunk of data is a member of its own, so that an edit copies all others.
//!
//! A stream has no end mark: cut off between two chunks it is a shorter stream, and nobody can tell.

use bytes::Bytes;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use snap::raw::{Decoder, Encoder as RawEncoder, decompress_len, max_compress_len};

use super::Input;
use crate::format::{FormatError, Source};

/// What a stream begins with: a chunk as well.
pub(super) const IDENTIFIER: [u8; 10] = *b"\xff\x06\0\0sNaPpY";

const COMPRESSED: u8 = 0;
const PLAIN: u8 = 1;
/// Chunks from here on may be skipped, but for the identifier.
const SKIPPABLE: u8 = 0x80;

const CHECKSUM_BYTES: usize = 4;

/// The most content of a chunk, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The chunks of a snappy object.
pub(super) struct Chunks<S> {
    input: Input<S>,
    decoder: Decoder,
    /// Content of the chunk that was not yet handed out; `None` before it is read.
    left: Option<Bytes>,
}

impl<S: Source> Chunks<S> {
    pub(super) fn new(input: Input<S>) -> Self {
        Self { input, decoder: Decoder::new(), left: None }
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Goes on to the next chunk of data; answers where it begins.
    pub(super) fn begin(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            let start = self.input.position();
            let head = self.input.ahead(IDENTIFIER.len())?;
            match *head {
                [] => return Ok(None),
                [COMPRESSED | PLAIN, _, _, _, ..] => {
                    self.left = None;
                    return Ok(Some(start));
                }
                [0xff, ..] if head.starts_with(&IDENTIFIER) => self.input.consume(IDENTIFIER.len()),
                [0xff, ..] if IDENTIFIER.starts_with(head) => return Err(self.ends_early()),
                [SKIPPABLE..=0xfe, a, b, c, ..] => {
                    self.input.consume(4);
                    if !self.input.skip(u64::from(u32::from_le_bytes([a, b, c, 0])))? {
                        return Err(self.ends_early());
                    }
                }
                [COMPRESSED | PLAIN | SKIPPABLE..=0xfe, ..] => return Err(self.ends_early()),
                _ => {
                    return Err(
                        self.fail("bytes that belong to no snappy chunk follow the last one")
                    );
                }
            }
        }
    }

    /// Appends a piece of the chunk; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        let (piece, goes_on) = self.read_piece(at_most.max(1))?;
        into.extend_from_slice(&piece);
        Ok(goes_on)
    }

    /// A piece of the chunk; answers as well whether it goes on.
    pub(super) fn read_piece(&mut self, at_most: usize) -> Result<(Bytes, bool), FormatError> {
        let mut content = match self.left.take() {
            Some(left) => left,
            None => self.content()?,
        };
        let piece = content.split_to(content.len().min(at_most));
        let goes_on = !content.is_empty();
        self.left = Some(content);
        Ok((piece, goes_on))
    }

    fn content(&mut self) -> Result<Bytes, FormatError> {
        let [kind, a, b, c] = self.input.array()?.ok_or_else(|| self.ends_early())?;
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        if !(CHECKSUM_BYTES..=CHECKSUM_BYTES + max_compress_len(CHUNK_BYTES)).contains(&length) {
            return Err(self.corrupt());
        }
        let mut stored = self.input.exactly(length)?.ok_or_else(|| self.ends_early())?;
        let checksum = stored.split_to(CHECKSUM_BYTES);
        let content = match kind {
            COMPRESSED => self.decompress(&stored)?,
            _ => stored,
        };
        if content.len() > CHUNK_BYTES {
            return Err(self.corrupt());
        }
        if checksum != masked_checksum(&content)[..] {
            return Err(self.fail("the checksum of a snappy chunk does not match its content"));
        }
        Ok(content)
    }

    fn decompress(&mut self, stored: &[u8]) -> Result<Bytes, FormatError> {
        let length = decompress_len(stored).ok().filter(|&length| length <= CHUNK_BYTES);
        let mut content = vec![0; length.ok_or_else(|| self.corrupt())?];
        let outcome = self.decoder.decompress(stored, &mut content);
        let written = outcome.map_err(|_| self.corrupt())?;
        content.truncate(written);
        Ok(Bytes::from(content))
    }

    fn corrupt(&self) -> FormatError {
        self.fail("the snappy stream is corrupt")
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the snappy stream ends early")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }
}

/// CRC-32C, turned and shifted, so that a checksum over data with checksums in it stays one.
fn masked_checksum(content: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let sum = crc_fast::checksum(Crc32Iscsi, content) as u32;
    sum.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Writes chunks in the place of one.
pub(super) struct Encoder {
    encoder: RawEncoder,
    content: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { encoder: RawEncoder::new(), content: Vec::new() }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.content.len();
            let (fits, rest) = bytes.split_at(room.min(bytes.len()));
            self.content.extend_from_slice(fits);
            bytes = rest;
            if self.content.len() == CHUNK_BYTES {
                self.chunk(out)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        if self.content.is_empty() { Ok(()) } else { self.chunk(out) }
    }

    /// Writes a chunk, as it is where compression saves less than an eighth, as the format advises.
    fn chunk(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        let compressed = self.encoder.compress_vec(&self.content);
        let compressed =
            compressed.map_err(|_| FormatError::unreadable("the snappy encoder failed"))?;
        let saves = compressed.len() < self.content.len() - self.content.len() / 8;
        let (kind, stored) = if saves { (COMPRESSED, &compressed) } else { (PLAIN, &self.content) };
        let [a, b, c, _] = ((CHECKSUM_BYTES + stored.len()) as u32).to_le_bytes();
        out.extend_from_slice(&[kind, a, b, c]);
        out.extend_from_slice(&masked_checksum(&self.content));
        out.extend_from_slice(stored);
        self.content.clear();
        Ok(())
    }
}
