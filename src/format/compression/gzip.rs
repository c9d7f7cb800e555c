//! gzip, RFC 1952: members of a header, a deflate stream (RFC 1951) and a trailer.
//!
//! As gzip(1) does, zeros after the last member count as padding; anything else there is an error.

use std::sync::Arc;

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::splice::{Checkpoint, Hint};
use super::trace::Trace;
use super::{Input, NEAR_BYTES};
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
    kept: Header,
    any: bool,
    is_padded: bool,
    /// Inflates instead, where an edit is to follow.
    trace: Option<Box<Trace>>,
}

/// The header of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    flags: u8,
    modified: [u8; 4],
    effort: u8,
    system: u8,
}

impl Header {
    /// Whether it has fields that may hold lengths of what follows.
    pub(super) fn has_extra(self) -> bool {
        self.flags & EXTRA != 0
    }

    /// Whether it is what [`Header::kept`] makes of it, but for the effort.
    pub(super) fn is_plain(self) -> bool {
        self.flags & (HEADER_CRC | EXTRA | NAME | COMMENT) == 0
    }

    /// What a rewritten member keeps of it: when, and on which system it was compressed. Name, comment
    /// and extra fields are dropped: they may name a person, or hold sizes that are no longer true.
    pub(super) fn kept(self) -> [u8; 10] {
        let [a, b, c, d] = self.modified;
        [MAGIC[0], MAGIC[1], DEFLATE, 0, a, b, c, d, self.effort, self.system]
    }

    /// Reads the header that comes next.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where there is none, or the store fails.
    pub(super) fn read<S: Source>(input: &mut Input<S>) -> Result<Self, FormatError> {
        let mut reader = HeaderReader { input, crc: Crc::new() };
        let fixed: [u8; 10] = reader.bytes()?;
        if fixed[..2] != MAGIC {
            return Err(reader.fail("bytes that belong to no gzip member follow the last one"));
        }
        let flags = fixed[3];
        if fixed[2] != DEFLATE || flags & RESERVED != 0 {
            return Err(reader.fail("a gzip member is of a kind that RFC 1952 does not have"));
        }
        if flags & EXTRA != 0 {
            let length: [u8; 2] = reader.bytes()?;
            reader.skip(usize::from(u16::from_le_bytes(length)))?;
        }
        for flag in [NAME, COMMENT] {
            if flags & flag != 0 {
                reader.skip_text()?;
            }
        }
        if flags & HEADER_CRC != 0 {
            let expected = (reader.crc.sum() & 0xffff) as u16;
            let stored: [u8; 2] = reader.bytes()?;
            if u16::from_le_bytes(stored) != expected {
                return Err(reader.fail("the checksum of a gzip header does not match"));
            }
        }
        let modified = [fixed[4], fixed[5], fixed[6], fixed[7]];
        Ok(Self { flags, modified, effort: fixed[8], system: fixed[9] })
    }
}

/// Reads a header and keeps its checksum.
struct HeaderReader<'i, S> {
    input: &'i mut Input<S>,
    crc: Crc,
}

impl<S: Source> HeaderReader<'_, S> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let bytes = self.input.array::<N>()?.ok_or_else(|| self.ends_early())?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn skip(&mut self, mut length: usize) -> Result<(), FormatError> {
        while length > 0 {
            let piece = self.input.take(length)?;
            if piece.is_empty() {
                return Err(self.ends_early());
            }
            self.crc.update(&piece);
            length -= piece.len();
        }
        Ok(())
    }

    /// Skips a text that ends in a zero byte.
    fn skip_text(&mut self) -> Result<(), FormatError> {
        loop {
            let piece = self.input.peek()?;
            if piece.is_empty() {
                return Err(self.ends_early());
            }
            let end = memchr::memchr(0, piece);
            let length = end.map_or(piece.len(), |at| at + 1);
            self.crc.update(&piece[..length]);
            self.input.consume(length);
            if end.is_some() {
                return Ok(());
            }
        }
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the gzip stream ends early")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }
}

/// Reads what follows a member's last block, and holds it against the content.
///
/// # Errors
///
/// [`FormatError`] where checksum or length do not match, the object ends, or the store fails.
pub(super) fn trailer<S: Source>(
    input: &mut Input<S>,
    crc: u32,
    length: u64,
) -> Result<(), FormatError> {
    let fail = |input: &Input<S>, reason: &str| {
        Err(FormatError::unreadable_at(reason, None, input.position()))
    };
    let Some([a, b, c, d, e, f, g, h]) = input.array::<8>()? else {
        return fail(input, "the gzip stream ends early");
    };
    if u32::from_le_bytes([a, b, c, d]) != crc {
        return fail(input, "the checksum of a gzip member does not match its content");
    }
    if u32::from_le_bytes([e, f, g, h]) != length as u32 {
        return fail(input, "the length of a gzip member does not match its content");
    }
    Ok(())
}

impl<S: Source> Members<S> {
    pub(super) fn new(input: Input<S>) -> Self {
        let inflate = Decompress::new(false);
        let (crc, kept) = (Crc::new(), Header::default());
        Self { input, inflate, crc, kept, any: false, is_padded: false, trace: None }
    }

    /// Whether nothing was found behind a trailer but another member.
    pub(super) fn is_unpadded(&self) -> bool {
        !self.is_padded
    }

    /// Takes note from now on of places to go on from. The first member is yet to begin.
    pub(super) fn trace(&mut self) {
        self.trace = Some(Box::new(Trace::new()));
    }

    /// A place to go on from before this place of the content, within the member that begins there.
    pub(super) fn checkpoint(&mut self, member: u64, place: u64) -> Option<Arc<Checkpoint>> {
        self.trace.as_mut()?.before(member, place)
    }

    /// Goes on at a place further on.
    pub(super) fn resume(&mut self, (member, checkpoint): &Hint) -> Result<(), FormatError> {
        self.input.piece_bytes = self.input.piece_bytes.min(NEAR_BYTES);
        let trace = Trace::resumed(&mut self.input, member.content, checkpoint)?;
        let trace = trace.ok_or_else(|| self.fail("the gzip stream is not what it was"))?;
        self.trace = Some(Box::new(trace));
        Ok(())
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
        self.kept = Header::read(&mut self.input)?;
        self.any = true;
        match &mut self.trace {
            Some(trace) => trace.begin(),
            None => self.inflate.reset(false),
        }
        self.crc.reset();
        Ok(Some(start))
    }

    fn padding(&mut self) -> Result<Option<u64>, FormatError> {
        self.is_padded = true;
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

    /// Appends a piece of the member; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        if let Some(trace) = &mut self.trace {
            return trace.read(&mut self.input, into, at_most);
        }
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
                trailer(&mut self.input, self.crc.sum(), self.inflate.total_out())?;
                Ok(false)
            }
            Ok(_) if taken > 0 || into.len() > start => Ok(true),
            Ok(_) if ended => Err(self.ends_early()),
            Ok(_) | Err(_) => Err(self.fail("the gzip stream is corrupt")),
        }
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
    header: Option<Header>,
}

impl Encoder {
    fn header(&mut self, out: &mut Vec<u8>) {
        if let Some(kept) = self.header.take() {
            out.extend_from_slice(&Header { effort: 0, ..kept }.kept());
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
