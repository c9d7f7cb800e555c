//! Compresses pages. It knows codecs, and nothing of what a page holds.

use std::io::{Read as _, Write as _};

use parquet::basic::Compression;

use crate::format::FormatError;

/// How hard the compressors try. A file does not say how hard its writer did; these are what most
/// writers use.
const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 1;
const BROTLI_WINDOW_BITS: u32 = 22;
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Compresses one page after another, and keeps room for the next.
pub(super) struct Packer {
    snappy: snap::raw::Encoder,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Packer {
    /// A packer that has no room yet.
    pub(super) fn new() -> Self {
        Self { snappy: snap::raw::Encoder::new(), zstd: None }
    }

    /// Whether pages are written in this codec.
    pub(super) fn knows(codec: Compression) -> bool {
        !matches!(codec, Compression::LZO)
    }

    /// Appends the compressed bytes.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the codec cannot compress them.
    pub(super) fn pack(
        &mut self,
        codec: Compression,
        plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        match codec {
            Compression::UNCOMPRESSED => out.extend_from_slice(plain),
            Compression::SNAPPY => {
                let from = out.len();
                out.resize(from + snap::raw::max_compress_len(plain.len()), 0);
                let written = self.snappy.compress(plain, &mut out[from..]);
                out.truncate(from + written.map_err(|_| failed())?);
            }
            Compression::ZSTD(_) => {
                let packer = match &mut self.zstd {
                    Some(packer) => packer,
                    unknown => {
                        let new = zstd::bulk::Compressor::new(ZSTD_LEVEL);
                        unknown.insert(new.map_err(|_| failed())?)
                    }
                };
                out.extend(packer.compress(plain).map_err(|_| failed())?);
            }
            Compression::GZIP(_) => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut packer = flate2::write::GzEncoder::new(&mut *out, level);
                packer.write_all(plain).and_then(|()| packer.finish()).map_err(|_| failed())?;
            }
            Compression::BROTLI(_) => {
                let (quality, bits) = (BROTLI_QUALITY, BROTLI_WINDOW_BITS);
                let mut packer =
                    brotli::CompressorReader::new(plain, BROTLI_BUFFER_BYTES, quality, bits);
                packer.read_to_end(out).map_err(|_| failed())?;
            }
            Compression::LZ4_RAW => out.extend(lz4_flex::block::compress(plain)),
            Compression::LZ4 => {
                // As Hadoop frames it, which every reader of the old codec tries first.
                let packed = lz4_flex::block::compress(plain);
                for length in [plain.len(), packed.len()] {
                    let length = u32::try_from(length).map_err(|_| failed())?;
                    out.extend(length.to_be_bytes());
                }
                out.extend(packed);
            }
            Compression::LZO => return Err(failed()),
        }
        Ok(())
    }
}

fn failed() -> FormatError {
    FormatError::unreadable("a page cannot be compressed as it was")
}
