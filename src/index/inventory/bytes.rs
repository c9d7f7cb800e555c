//! A file of a report as the readers of its formats want it.

use std::io::{self, Read};

use ::bytes::{Buf as _, Bytes};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::reader::{ChunkReader, Length};

use crate::format::{SharedSource, SourceError};
use crate::lake::{LakeError, LakeErrorKind};

/// How much is read at once, in bytes.
const PIECE_BYTES: u64 = 256 << 10;

/// Reads a source from a place on. Off the runtime's threads only.
pub(super) struct SourceReader {
    source: SharedSource,
    next: u64,
    piece: Bytes,
}

impl SourceReader {
    pub(super) fn new(source: SharedSource) -> Self {
        Self { source, next: 0, piece: Bytes::new() }
    }

    /// The next bytes; none at the end.
    pub(super) fn piece(&mut self) -> Result<Bytes, LakeError> {
        let length = self.source.size_bytes().saturating_sub(self.next).min(PIECE_BYTES);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let piece = self.source.read_at(self.next, length).map_err(lake_error)?;
        self.next += piece.len() as u64;
        Ok(piece)
    }
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.piece().map_err(io::Error::other)?;
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.split_to(length).copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

fn lake_error(error: SourceError) -> LakeError {
    match error.0.downcast::<LakeError>() {
        Ok(error) => *error,
        Err(other) => {
            LakeError::new(LakeErrorKind::Other, "a file of the inventory cannot be read")
                .caused_by(other)
        }
    }
}

/// The store's error behind an error of reading, if it was one.
pub(super) fn lake_error_behind(error: io::Error) -> Result<LakeError, io::Error> {
    error.downcast::<LakeError>()
}

/// The same bytes, read at any place.
pub(super) struct Chunks(pub(super) SharedSource);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size_bytes()
    }
}

impl ChunkReader for Chunks {
    type T = SourceReader;

    fn get_read(&self, start: u64) -> ParquetResult<SourceReader> {
        Ok(SourceReader { source: self.0.clone(), next: start, piece: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let external = |error| ParquetError::External(Box::new(lake_error(error)));
        self.0.read_at(start, length).map_err(external)
    }
}
