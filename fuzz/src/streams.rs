//! Compressed streams of every make, and the decoders that they are held against.

use std::io::{Read, Write as _};

use flate2::{Compress, FlushCompress};
use lacuna::domain::dataset::Compression;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use crate::choices::Choices;

/// What content is decompressed to at most, in bytes: more is no case for a fuzzer.
const MOST_BYTES: u64 = 64 << 20;

/// All that Lacuna reads.
pub const CODECS: [Compression; 5] = [
    Compression::Gzip,
    Compression::Zstd,
    Compression::Bzip2,
    Compression::Lz4,
    Compression::Snappy,
];

/// Compresses content in some members, each of its own make.
pub fn compress(codec: Compression, content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut stored = Vec::new();
    let mut rest = content;
    for left in (0..1 + choices.below(4)).rev() {
        let length = if left == 0 { rest.len() } else { choices.any(rest.len() + 1) };
        let (member, after) = rest.split_at(length);
        rest = after;
        stored.extend(match codec {
            Compression::Gzip => gzip(member, choices),
            Compression::Zstd => zstd(member, choices),
            Compression::Bzip2 => bzip2(member, choices),
            Compression::Lz4 => lz4(member, choices),
            Compression::Snappy | Compression::None => snappy(member),
        });
        let is_framed = matches!(codec, Compression::Zstd | Compression::Lz4);
        if is_framed && choices.any(5) == 0 {
            let length = choices.any(9) as u32;
            stored.extend((0x184d_2a50 + choices.any(16) as u32).to_le_bytes());
            stored.extend(length.to_le_bytes());
            stored.extend((0..length).map(|_| choices.any(256) as u8));
        }
    }
    stored
}

/// A gzip member around a deflate stream.
pub fn member(deflated: &[u8], content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let flags = if choices.any(3) == 0 { choices.any(32) as u8 } else { 0 };
    let mut member = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
    if flags & 4 != 0 {
        member.extend([6, 0, b'z', b'z', 2, 0, 9, 9]);
    }
    if flags & 8 != 0 {
        member.extend(b"a name\0");
    }
    if flags & 16 != 0 {
        member.extend(b"a comment\0");
    }
    if flags & 2 != 0 {
        let mut sum = flate2::Crc::new();
        sum.update(&member);
        member.extend((sum.sum() as u16).to_le_bytes());
    }
    let mut sum = flate2::Crc::new();
    sum.update(content);
    member.extend(deflated);
    member.extend(sum.sum().to_le_bytes());
    member.extend((content.len() as u32).to_le_bytes());
    member
}

fn gzip(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let deflated = deflate(content, choices);
    member(&deflated, content, choices)
}

/// Deflate by the usual library, of any level and with flushes of every kind.
pub fn deflate(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let flushes =
        [FlushCompress::None, FlushCompress::Partial, FlushCompress::Sync, FlushCompress::Full];
    let mut compress = Compress::new(flate2::Compression::new(choices.any(10) as u32), false);
    let mut out = Vec::new();
    let mut rest = content;
    for left in (0..1 + choices.any(6)).rev() {
        let length = if left == 0 { rest.len() } else { choices.any(rest.len() + 1) };
        let (piece, after) = rest.split_at(length);
        rest = after;
        let flush = if left == 0 { FlushCompress::Finish } else { flushes[choices.any(4)] };
        let (mut done, mut last) = (0, usize::MAX);
        while done < piece.len() || last == out.capacity() || last == usize::MAX {
            out.reserve(piece.len() / 2 + 64);
            let before = compress.total_in();
            compress.compress_vec(&piece[done..], &mut out, flush).expect("to memory");
            done += (compress.total_in() - before) as usize;
            last = out.len();
        }
    }
    out
}

fn zstd(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let level = choices.any(12) as i32 - 3;
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).expect("to memory");
    encoder.include_checksum(choices.any(2) == 0).expect("a setting");
    if choices.any(2) == 0 {
        encoder.set_pledged_src_size(Some(content.len() as u64)).expect("a setting");
    }
    for piece in content.chunks(1 + choices.any(5000)) {
        encoder.write_all(piece).expect("to memory");
        if choices.any(4) == 0 {
            encoder.flush().expect("to memory");
        }
    }
    encoder.finish().expect("to memory")
}

fn bzip2(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let level = bzip2::Compression::new(1 + choices.any(9) as u32);
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn lz4(content: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
    let modes = [BlockMode::Independent, BlockMode::Linked];
    let info = FrameInfo::new()
        .block_size(sizes[choices.any(4)])
        .block_mode(modes[choices.any(2)])
        .block_checksums(choices.any(2) == 0)
        .content_checksum(choices.any(2) == 0)
        .content_size((choices.any(2) == 0).then_some(content.len() as u64));
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    for piece in content.chunks(1 + choices.any(70_000)) {
        encoder.write_all(piece).expect("to memory");
        if choices.any(4) == 0 {
            encoder.flush().expect("to memory");
        }
    }
    encoder.finish().expect("to memory")
}

fn snappy(content: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("to memory");
    let stream = encoder.into_inner().map_err(|_| "to memory").expect("to memory");
    if stream.is_empty() { b"\xff\x06\x00\x00sNaPpY".to_vec() } else { stream }
}

/// What other readers make of it; `None` where they refuse it, or it is too long.
pub fn decompress(codec: Compression, stored: &[u8]) -> Option<Vec<u8>> {
    match codec {
        Compression::Gzip => all(flate2::read::MultiGzDecoder::new(stored)),
        Compression::Zstd => all(zstd::stream::Decoder::new(stored).ok()?),
        Compression::Bzip2 => all(bzip2::read::MultiBzDecoder::new(stored)),
        Compression::Snappy => all(snap::read::FrameDecoder::new(stored)),
        Compression::Lz4 => lz4_frames(stored),
        Compression::None => Some(stored.to_vec()),
    }
}

/// Frame by frame: the decoder stops at the end of each, and expects the next to be alike.
fn lz4_frames(mut stored: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    while let Some((magic, rest)) = stored.split_first_chunk::<4>() {
        if u32::from_le_bytes(*magic) & !0xf == 0x184d_2a50 {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            stored = rest.get(u32::from_le_bytes(*length) as usize..)?;
            continue;
        }
        let mut decoder = FrameDecoder::new(stored);
        (&mut decoder).take(MOST_BYTES).read_to_end(&mut content).ok()?;
        stored = decoder.into_inner();
    }
    stored.is_empty().then_some(content)
}

fn all(decoder: impl Read) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    decoder.take(MOST_BYTES).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Damages a stream: a changed byte, a cut, bytes that are left out, put in or appended.
pub fn damage(stored: &mut Vec<u8>, choices: &mut Choices<'_>) {
    for _ in 0..1 + choices.any(3) {
        if stored.is_empty() {
            return;
        }
        let at = choices.below(stored.len());
        match choices.below(6) {
            0 => stored[at] ^= 1 << choices.any(8),
            1 => stored[at] = choices.byte(),
            2 => stored.truncate(at),
            3 => drop(stored.drain(at..(at + 1 + choices.any(9)).min(stored.len()))),
            4 => stored.insert(at, choices.byte()),
            _ => stored.extend((0..1 + choices.any(9)).map(|_| choices.any(256) as u8)),
        }
    }
}
