//! gzip, RFC 1952: members of a header, a deflate stream (RFC 1951) and a trailer.
//!
//! As gzip(1) does, zeros after the last member count as padding; anything else there is an error.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::Input;
use crate::format::{FormatError, Source};

const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;
const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// What gzip(1) compresses with unless told otherwise.
const LEVEL: u32 = 6;

/// How much room the encoder asks for at a time, in bytes.
const ROOM_BYTES: usize = 64 << 10;

/// The members of a gzip object.
pub(super) struct Members<S> {
    input: Input<S>,
    inflate: Decompress,
    crc: Crc,
    kept: KeptHeader,
    any: bool,
}

/// What a rewritten member keeps of its header: when, and on which system it was compressed. Name,
/// comment and extra fields are dropped: they may name a person, or hold sizes that are no longer
/// true.
#[derive(Clone, Copy, Default)]
struct KeptHeader {
    modified: [u8; 4],
    system: u8,
}

impl<S: Source> Members<S> {
    pub(super) fn new(input: Input<S>) -> Self {
        let inflate = Decompress::new(false);
        Self { input, inflate, crc: Crc::new(), kept: KeptHeader::default(), any: false }
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Reads the header of the next member; answers where it begins.
    pub(super) fn begin(&mut self) -> Result<Option<u64>, FormatError> {
        match self.input.peek()?.first() {
            None => return Ok(None),
            Some(0) if self.any => return self.padding(),
            Some(_) => {}
        }
        let start = self.input.position();
        self.header()?;
        self.any = true;
        self.inflate.reset(false);
        self.crc.reset();
        Ok(Some(start))
    }

    fn padding(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            let piece = self.input.take(usize::MAX)?;
            if piece.is_empty() {
                return Ok(None);
            }
            if piece.iter().any(|&byte| byte != 0) {
                return Err(self.fail("bytes that belong to no gzip member follow the last one"));
            }
        }
    }

    fn header(&mut self) -> Result<(), FormatError> {
        let mut crc = Crc::new();
        let fixed: [u8; 10] = self.header_bytes(&mut crc)?;
        if fixed[..2] != MAGIC {
            return Err(self.fail("bytes that belong to no gzip member follow the last one"));
        }
        let flags = fixed[3];
        if fixed[2] != DEFLATE || flags & RESERVED != 0 {
            return Err(self.fail("a gzip member is of a kind that RFC 1952 does not have"));
        }
        self.kept =
            KeptHeader { modified: [fixed[4], fixed[5], fixed[6], fixed[7]], system: fixed[9] };
        if flags & EXTRA != 0 {
            let length: [u8; 2] = self.header_bytes(&mut crc)?;
            self.skip(usize::from(u16::from_le_bytes(length)), &mut crc)?;
        }
        for flag in [NAME, COMMENT] {
            if flags & flag != 0 {
                self.skip_text(&mut crc)?;
            }
        }
        if flags & HEADER_CRC != 0 {
            let expected = (crc.sum() & 0xffff) as u16;
            let stored: [u8; 2] = self.header_bytes(&mut crc)?;
            if u16::from_le_bytes(stored) != expected {
                return Err(self.fail("the checksum of a gzip header does not match"));
            }
        }
        Ok(())
    }

    fn header_bytes<const N: usize>(&mut self, crc: &mut Crc) -> Result<[u8; N], FormatError> {
        let bytes = self.input.array::<N>()?.ok_or_else(|| self.ends_early())?;
        crc.update(&bytes);
        Ok(bytes)
    }

    fn skip(&mut self, mut length: usize, crc: &mut Crc) -> Result<(), FormatError> {
        while length > 0 {
            let piece = self.input.take(length)?;
            if piece.is_empty() {
                return Err(self.ends_early());
            }
            crc.update(&piece);
            length -= piece.len();
        }
        Ok(())
    }

    /// Skips a text that ends in a zero byte.
    fn skip_text(&mut self, crc: &mut Crc) -> Result<(), FormatError> {
        loop {
            let piece = self.input.peek()?;
            if piece.is_empty() {
                return Err(self.ends_early());
            }
            let end = memchr::memchr(0, piece);
            let length = end.map_or(piece.len(), |at| at + 1);
            crc.update(&piece[..length]);
            self.input.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    /// Appends a piece of the member; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        into.reserve(at_most.max(1));
        let start = into.len();
        let consumed = self.inflate.total_in();
        let piece = self.input.peek()?;
        let outcome = self.inflate.decompress_vec(piece, into, FlushDecompress::None);
        let taken = (self.inflate.total_in() - consumed) as usize;
        let ended = piece.is_empty();
        self.input.consume(taken);
        self.crc.update(&into[start..]);
        match outcome {
            Ok(Status::StreamEnd) => {
                self.trailer()?;
                Ok(false)
            }
            Ok(_) if taken > 0 || into.len() > start => Ok(true),
            Ok(_) if ended => Err(self.ends_early()),
            Ok(_) | Err(_) => Err(self.fail("the gzip stream is corrupt")),
        }
    }

    fn trailer(&mut self) -> Result<(), FormatError> {
        let trailer = self.input.array::<8>()?.ok_or_else(|| self.ends_early())?;
        let [a, b, c, d, e, f, g, h] = trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum() {
            return Err(self.fail("the checksum of a gzip member does not match its content"));
        }
        if u32::from_le_bytes([e, f, g, h]) != self.inflate.total_out() as u32 {
            return Err(self.fail("the length of a gzip member does not match its content"));
        }
        Ok(())
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the gzip stream ends early")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }

    pub(super) fn encoder(&self) -> Encoder {
        let compress = Compress::new(Compression::new(LEVEL), false);
        Encoder { compress, crc: Crc::new(), header: Some(self.kept) }
    }
}

/// Writes one member.
pub(super) struct Encoder {
    compress: Compress,
    crc: Crc,
    header: Option<KeptHeader>,
}

impl Encoder {
    fn header(&mut self, out: &mut Vec<u8>) {
        if let Some(kept) = self.header.take() {
            out.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0]);
            out.extend_from_slice(&kept.modified);
            out.extend_from_slice(&[0, kept.system]);
        }
    }

    pub(super) fn write(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.header(out);
        self.crc.update(bytes);
        while !bytes.is_empty() {
            let before = self.compress.total_in();
            self.step(bytes, out, FlushCompress::None)?;
            bytes = &bytes[(self.compress.total_in() - before) as usize..];
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        self.header(out);
        while self.step(&[], out, FlushCompress::Finish)? != Status::StreamEnd {}
        out.extend_from_slice(&self.crc.sum().to_le_bytes());
        out.extend_from_slice(&(self.compress.total_in() as u32).to_le_bytes());
        Ok(())
    }

    fn step(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        flush: FlushCompress,
    ) -> Result<Status, FormatError> {
        out.reserve(ROOM_BYTES);
        let before = (self.compress.total_in(), out.len());
        let status = self.compress.compress_vec(bytes, out, flush);
        let idle = before == (self.compress.total_in(), out.len());
        match status {
            Ok(status) if !idle || status == Status::StreamEnd => Ok(status),
            _ => Err(FormatError::unreadable("the gzip encoder failed")),
        }
    }
}
