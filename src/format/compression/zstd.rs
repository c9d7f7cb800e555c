//! zstd, RFC 8878: frames, and skippable frames between them.

use zstd::stream::raw::{
    CParameter, DParameter, Decoder, Encoder as RawEncoder, InBuffer, Operation as _, OutBuffer,
};

use super::Input;
use crate::format::{FormatError, Source};

const MAGIC: u32 = 0xfd2f_b528;

/// The largest window that is read, as a power of two: 128 MiB, which is what `zstd -d` allows and
/// `zstd --long` writes. A decoder holds a whole window in memory.
const WINDOW_LOG: u32 = 27;

/// What zstd(1) compresses with unless told otherwise. Its window is 2 MiB, within the 8 MiB that
/// RFC 8878 asks every decoder to support.
const LEVEL: i32 = 3;

/// The longest frame header in bytes, magic number included.
const HEADER_BYTES: usize = 18;

/// How much room the encoder asks for at a time, in bytes.
const ROOM_BYTES: usize = 64 << 10;

/// The frames of a zstd object.
pub(super) struct Frames<S> {
    input: Input<S>,
    decoder: Decoder<'static>,
    header: FrameHeader,
}

/// What a frame says of itself (RFC 8878, 3.1.1.1).
#[derive(Clone, Copy, Default)]
struct FrameHeader {
    checksum: bool,
    dictionary: u64,
    window_bytes: u64,
    content_bytes: Option<u64>,
}

impl<S: Source> Frames<S> {
    pub(super) fn new(input: Input<S>) -> Result<Self, FormatError> {
        let decoder = Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG))?;
            Ok(decoder)
        });
        let decoder =
            decoder.map_err(|_| FormatError::unreadable("the zstd decoder could not be set up"))?;
        Ok(Self { input, decoder, header: FrameHeader::default() })
    }

    pub(super) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Reads the header of the next frame, past skippable ones; answers where it begins.
    pub(super) fn begin(&mut self) -> Result<Option<u64>, FormatError> {
        loop {
            let start = self.input.position();
            let head = self.input.ahead(HEADER_BYTES)?;
            if head.is_empty() {
                return Ok(None);
            }
            let Some(magic) = head.first_chunk().copied().map(u32::from_le_bytes) else {
                return Err(self.ends_early());
            };
            if super::is_skippable(&magic.to_le_bytes()) {
                if !self.input.skip_frame()? {
                    return Err(self.ends_early());
                }
                continue;
            }
            if magic != MAGIC {
                return Err(self.fail("bytes that belong to no zstd frame follow the last one"));
            }
            let parsed = frame_header(&head[4..]);
            self.header = parsed.ok_or_else(|| self.ends_early())?;
            self.check_header()?;
            self.decoder.reinit().map_err(|_| self.fail("the zstd decoder could not be set up"))?;
            return Ok(Some(start));
        }
    }

    fn check_header(&self) -> Result<(), FormatError> {
        if self.header.dictionary != 0 {
            return Err(self.fail("a zstd frame needs a dictionary, which is not supported"));
        }
        if self.header.window_bytes > 1 << WINDOW_LOG {
            return Err(self.fail("a zstd frame needs a window of more than 128 MiB"));
        }
        Ok(())
    }

    /// Appends a piece of the frame; answers whether it goes on.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        into.reserve(at_most.max(1));
        let start = into.len();
        let piece = self.input.peek()?;
        let ended = piece.is_empty();
        let mut input = InBuffer::around(piece);
        let outcome = {
            let mut output = OutBuffer::around_pos(into, start);
            self.decoder.run(&mut input, &mut output)
        };
        let taken = input.pos();
        self.input.consume(taken);
        match outcome {
            Ok(0) => Ok(false),
            Ok(_) if taken > 0 || into.len() > start => Ok(true),
            Ok(_) if ended => Err(self.ends_early()),
            Ok(_) | Err(_) => Err(self.fail("the zstd stream is corrupt")),
        }
    }

    fn ends_early(&self) -> FormatError {
        self.fail("the zstd stream ends early")
    }

    fn fail(&self, reason: &str) -> FormatError {
        FormatError::unreadable_at(reason, None, self.input.position())
    }

    /// A writer of a frame that says of itself what the old one said: its content's length, where
    /// the new one is known, and a checksum.
    pub(super) fn encoder(
        &self,
        grown: impl Fn(u64) -> Option<i64>,
    ) -> Result<Encoder, FormatError> {
        let old = self.header.content_bytes;
        let new = old.and_then(|bytes| bytes.checked_add_signed(grown(bytes)?));
        let set_up = || {
            let mut encoder = RawEncoder::new(LEVEL)?;
            encoder.set_parameter(CParameter::ChecksumFlag(self.header.checksum))?;
            encoder.set_pledged_src_size(new)?;
            Ok::<_, std::io::Error>(encoder)
        };
        set_up().map(Encoder).map_err(|_| failed())
    }
}

/// Parses what follows the magic number; `None` where it ends early.
fn frame_header(bytes: &[u8]) -> Option<FrameHeader> {
    let (&descriptor, mut rest) = bytes.split_first()?;
    let single_segment = descriptor & 1 << 5 != 0;
    let mut window_bytes = 0;
    if !single_segment {
        let (&window, after) = rest.split_first()?;
        let base = 1u64 << (10 + (window >> 3));
        window_bytes = base + base / 8 * u64::from(window & 7);
        rest = after;
    }
    let (dictionary, rest) = little_endian(rest, [0, 1, 2, 4][usize::from(descriptor & 3)])?;
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(single_segment),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let (stored, _) = little_endian(rest, size_bytes)?;
    let content_bytes = match size_bytes {
        0 => None,
        2 => Some(stored + 256),
        _ => Some(stored),
    };
    let window_bytes = if single_segment { content_bytes? } else { window_bytes };
    Some(FrameHeader {
        checksum: descriptor & 1 << 2 != 0,
        dictionary,
        window_bytes,
        content_bytes,
    })
}

fn little_endian(bytes: &[u8], length: usize) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_at_checked(length)?;
    Some((number.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)), rest))
}

/// Where the seek table of a seekable object begins: a skippable frame at the very end that holds
/// the stored length of every frame (zstd's `contrib/seekable_format`). A rewritten frame makes it
/// untrue.
pub(super) fn seek_table<S: Source>(source: &S) -> Result<Option<u64>, FormatError> {
    const FOOTER_MAGIC: u64 = 0x8f92_eab1;
    const SEEK_TABLE_MAGIC: u32 = 0x184d_2a5e;
    const FOOTER_BYTES: u64 = 9;
    const FRAME_HEADER_BYTES: u64 = 8;
    let size = source.size_bytes();
    if size < FOOTER_BYTES + FRAME_HEADER_BYTES {
        return Ok(None);
    }
    let footer = source.read_at(size - FOOTER_BYTES, FOOTER_BYTES as usize)?;
    let Some((frames, rest)) = little_endian(&footer, 4) else { return Ok(None) };
    let Some((descriptor, rest)) = little_endian(rest, 1) else { return Ok(None) };
    if little_endian(rest, 4).map(|(magic, _)| magic) != Some(FOOTER_MAGIC) {
        return Ok(None);
    }
    let entry_bytes = if descriptor & 0x80 == 0 { 8 } else { 12 };
    let table_bytes = frames * entry_bytes + FOOTER_BYTES;
    let Some(start) = size.checked_sub(table_bytes + FRAME_HEADER_BYTES) else { return Ok(None) };
    let header = source.read_at(start, FRAME_HEADER_BYTES as usize)?;
    let expected = [SEEK_TABLE_MAGIC.to_le_bytes(), (table_bytes as u32).to_le_bytes()].concat();
    Ok((header[..] == expected[..]).then_some(start))
}

fn failed() -> FormatError {
    FormatError::unreadable("the zstd encoder failed")
}

/// Writes one frame.
pub(super) struct Encoder(RawEncoder<'static>);

impl Encoder {
    pub(super) fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            out.reserve(ROOM_BYTES);
            let start = out.len();
            let mut output = OutBuffer::around_pos(out, start);
            self.0.run(&mut input, &mut output).map_err(|_| failed())?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        loop {
            out.reserve(ROOM_BYTES);
            let start = out.len();
            let mut output = OutBuffer::around_pos(out, start);
            if self.0.finish(&mut output, true).map_err(|_| failed())? == 0 {
                return Ok(());
            }
        }
    }
}
