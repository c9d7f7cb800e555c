//! The content of an object in blocks that, with luck, end where a record ends.

use bytes::Bytes;

use super::Source;
use crate::domain::dataset::Compression;
use crate::format::FormatError;
use crate::format::compression::{Content, Input, MemberStart};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The length of a block in bytes, about: it stays in a processor's cache, and findings in it are few.
/// Tests see many blocks.
const BLOCK_BYTES: usize = if cfg!(test) { 1 << 10 } else { 256 << 10 };

/// A line longer than this is cut anywhere.
const LINE_BYTES: usize = 4 * BLOCK_BYTES;

/// A part of the content.
#[derive(Debug)]
pub(super) struct Block {
    /// Where it begins in the content.
    pub(super) start: u64,
    /// The line that came in two pieces.
    pub(super) first: Bytes,
    /// What follows it, as it was read: not copied.
    pub(super) rest: Bytes,
}

/// Reads an object in blocks.
pub(super) struct Blocks<S> {
    content: Content<S>,
    members: u64,
    within_member: bool,
    ended: bool,
    /// Where what is left begins in the content.
    start: u64,
    /// What follows the last line ending.
    left: Vec<u8>,
}

impl<S: Source> Blocks<S> {
    /// From the start of an object on.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the source cannot be read.
    pub(super) fn new(source: S, compression: Compression) -> Result<Self, FormatError> {
        let input = Input::new(source, 0, BLOCK_BYTES);
        let content = Content::new(input, compression, MemberStart::default())?;
        let (within_member, ended, start, left) = (false, false, 0, Vec::new());
        let mut blocks = Self { content, members: 0, within_member, ended, start, left };
        while blocks.left.len() < BYTE_ORDER_MARK.len() {
            let Some(piece) = blocks.piece()? else { break };
            blocks.left.extend_from_slice(&piece);
        }
        if blocks.left.starts_with(BYTE_ORDER_MARK) {
            blocks.left.drain(..BYTE_ORDER_MARK.len());
            blocks.start = BYTE_ORDER_MARK.len() as u64;
        }
        Ok(blocks)
    }

    /// The next block; `None` where the object ends.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the object cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Block>, FormatError> {
        loop {
            let Some(piece) = self.piece()? else {
                let first = Bytes::from(std::mem::take(&mut self.left));
                return Ok((!first.is_empty()).then(|| self.block(first, Bytes::new())));
            };
            if let Some(block) = self.cut(&piece) {
                return Ok(Some(block));
            }
        }
    }

    /// Where the object ended: how much content there is, if all of the object is one gzip member.
    pub(super) fn one_member(&self) -> Option<u64> {
        (self.ended && self.members == 1).then(|| self.content.whole_member()).flatten()
    }

    fn cut(&mut self, piece: &Bytes) -> Option<Block> {
        let newlines = memchr::memchr(b'\n', piece).zip(memchr::memrchr(b'\n', piece));
        let Some((first, last)) = newlines else {
            self.left.extend_from_slice(piece);
            let long = self.left.len() >= LINE_BYTES;
            let line = long.then(|| Bytes::from(std::mem::take(&mut self.left)));
            return line.map(|line| self.block(line, Bytes::new()));
        };
        let from = if self.left.is_empty() { 0 } else { first + 1 };
        self.left.extend_from_slice(&piece[..from]);
        let line = Bytes::from(std::mem::take(&mut self.left));
        self.left.extend_from_slice(&piece[last + 1..]);
        Some(self.block(line, piece.slice(from..last + 1)))
    }

    fn block(&mut self, first: Bytes, rest: Bytes) -> Block {
        let start = self.start;
        self.start += (first.len() + rest.len()) as u64;
        Block { start, first, rest }
    }

    /// The next bytes, at least one; `None` where the object ends.
    fn piece(&mut self) -> Result<Option<Bytes>, FormatError> {
        while !self.ended {
            if self.within_member {
                let (piece, goes_on) = self.content.read_piece(BLOCK_BYTES)?;
                self.within_member = goes_on;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            } else {
                self.within_member = self.content.begin()?.is_some();
                self.members += u64::from(self.within_member);
                self.ended = !self.within_member;
            }
        }
        Ok(None)
    }
}
