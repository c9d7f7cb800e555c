//! Decompresses pages. It knows codecs and sizes, and nothing of what a page holds.
//!
//! A page never takes more room than its header announces, whatever its bytes would unfold to.

use std::io::Read;

use bytes::Bytes;
use parquet::basic::Compression;

use super::page::PageKind;
use super::stored::StoredPage;
use crate::format::FormatError;

/// The bytes of a page as they mean something: levels and values.
pub(super) enum Plain {
    /// Stored so.
    Stored(Bytes),
    /// Decompressed.
    Unpacked(Vec<u8>),
}

impl Plain {
    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Unpacked(bytes) => bytes,
        }
    }
}

/// Decompresses one page after another, and keeps room for the next.
#[derive(Default)]
pub(super) struct Unpacker {
    snappy: snap::raw::Decoder,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    spare: Vec<u8>,
}

impl Unpacker {
    /// Checks and decompresses a page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its checksum, its bytes or its length are wrong.
    pub(super) fn unpack(
        &mut self,
        codec: Compression,
        page: &StoredPage,
    ) -> Result<Plain, FormatError> {
        page.check()?;
        let levels = levels(page)?;
        let is_second = matches!(page.kind, PageKind::Data { second: true, .. });
        if codec == Compression::UNCOMPRESSED || (is_second && page.content.is_plain) {
            return Ok(Plain::Stored(page.body.clone()));
        }
        let mut plain = std::mem::take(&mut self.spare);
        plain.clear();
        let reserved = plain.try_reserve_exact(page.plain_bytes);
        reserved.map_err(|_| FormatError::unreadable("a page is longer than memory"))?;
        let (stored, packed) = page.body.split_at_checked(levels).ok_or_else(undecodable)?;
        plain.extend_from_slice(stored);
        // Nothing is stored where every entry is null.
        if page.plain_bytes > levels {
            self.decompress(codec, packed, (&mut plain, page.plain_bytes))?;
        }
        if plain.len() != page.plain_bytes {
            return Err(FormatError::unreadable(
                "a page cannot be decoded: it has another length than it announces",
            ));
        }
        Ok(Plain::Unpacked(plain))
    }

    /// Takes back the room of a page that is done with.
    pub(super) fn reclaim(&mut self, plain: Plain) {
        if let Plain::Unpacked(bytes) = plain {
            self.spare = bytes;
        }
    }

    /// Appends to a buffer until it has this length.
    fn decompress(
        &mut self,
        codec: Compression,
        packed: &[u8],
        (plain, length): (&mut Vec<u8>, usize),
    ) -> Result<(), FormatError> {
        let from = plain.len();
        match codec {
            Compression::SNAPPY => {
                plain.resize(length, 0);
                let written = self.snappy.decompress(packed, &mut plain[from..]);
                let written = written.map_err(|_| undecodable())?;
                plain.truncate(from + written);
                Ok(())
            }
            Compression::ZSTD(_) => self.zstd(packed, (plain, length)),
            Compression::GZIP(_) => {
                read_to(flate2::bufread::MultiGzDecoder::new(packed), plain, length)
            }
            Compression::BROTLI(_) => {
                read_to(brotli::Decompressor::new(packed, 4096), plain, length)
            }
            Compression::LZ4_RAW => lz4(packed, (plain, length)),
            Compression::LZ4 => lz4_of_old(packed, (plain, length)),
            _ => Err(FormatError::unreadable(
                "a column of the Parquet file uses an encoding or codec that this version does not \
                 read",
            )),
        }
    }

    fn zstd(
        &mut self,
        packed: &[u8],
        (plain, length): (&mut Vec<u8>, usize),
    ) -> Result<(), FormatError> {
        let decoder = match &mut self.zstd {
            Some(decoder) => decoder,
            unknown => {
                let new = zstd::bulk::Decompressor::new();
                unknown.insert(new.map_err(|_| undecodable())?)
            }
        };
        let from = plain.len();
        plain.resize(length, 0);
        let written = decoder.decompress_to_buffer(packed, &mut plain[from..]);
        plain.truncate(from + written.map_err(|_| undecodable())?);
        Ok(())
    }
}

/// How many bytes of levels stand uncompressed before a page of version 2.
fn levels(page: &StoredPage) -> Result<usize, FormatError> {
    let [repetitions, definitions] = page.content.level_bytes;
    let levels = repetitions.checked_add(definitions).and_then(|sum| usize::try_from(sum).ok());
    levels
        .filter(|&levels| levels <= page.plain_bytes && levels <= page.body.len())
        .ok_or_else(|| FormatError::unreadable("the levels of a page end beyond it"))
}

fn undecodable() -> FormatError {
    FormatError::unreadable("a column of the Parquet file cannot be decoded")
}

/// Reads until the buffer has that length and no further.
fn read_to(reader: impl Read, plain: &mut Vec<u8>, length: usize) -> Result<(), FormatError> {
    let most = (length - plain.len()) as u64;
    // One byte more, so that a page that is too long is noticed.
    reader.take(most + 1).read_to_end(plain).map_err(|_| undecodable())?;
    Ok(())
}

fn lz4(packed: &[u8], (plain, length): (&mut Vec<u8>, usize)) -> Result<(), FormatError> {
    let from = plain.len();
    plain.resize(length, 0);
    let written = lz4_flex::block::decompress_into(packed, &mut plain[from..]);
    plain.truncate(from + written.map_err(|_| undecodable())?);
    Ok(())
}

/// The codec `LZ4` was never described. Hadoop frames blocks its own way; others wrote LZ4's frame
/// format, or a bare block: each is tried, as every reader does.
fn lz4_of_old(packed: &[u8], (plain, length): (&mut Vec<u8>, usize)) -> Result<(), FormatError> {
    let from = plain.len();
    if lz4_of_hadoop(packed, (plain, length)).is_some() && plain.len() == length {
        return Ok(());
    }
    plain.truncate(from);
    let frame = read_to(lz4_flex::frame::FrameDecoder::new(packed), plain, length);
    if frame.is_ok() && plain.len() == length {
        return Ok(());
    }
    plain.truncate(from);
    lz4(packed, (plain, length))
}

/// Blocks, each after its plain and its packed length, highest byte first.
fn lz4_of_hadoop(mut packed: &[u8], (plain, length): (&mut Vec<u8>, usize)) -> Option<()> {
    while !packed.is_empty() {
        let (plain_bytes, rest) = packed.split_first_chunk::<4>()?;
        let (packed_bytes, rest) = rest.split_first_chunk::<4>()?;
        let to = plain.len().checked_add(u32::from_be_bytes(*plain_bytes) as usize)?;
        let (block, rest) = rest.split_at_checked(u32::from_be_bytes(*packed_bytes) as usize)?;
        if to > length {
            return None;
        }
        lz4(block, (plain, to)).ok()?;
        packed = rest;
        if plain.len() != to {
            return None;
        }
    }
    Some(())
}
