//! Reads streams block by block, in a way that an edit can go on from.

use std::collections::VecDeque;
use std::sync::Arc;

use super::blocks::Blocks;
use crate::format::compression::{Checkpoint, Input, Place};
use crate::format::{FormatError, Source};

/// How many blocks are remembered: who reads records looks back no further than the longest one, and some
/// pieces.
const KEPT: usize = 1024;

/// A row of streams, and where blocks begin in them.
pub(super) struct Trace {
    blocks: Blocks,
    /// Where the stream begins in the content, and how much of it was read.
    base: u64,
    read: u64,
    /// Ascending by their place in all of the content, which stands beside.
    begun: VecDeque<(u64, Arc<Checkpoint>)>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self { blocks: Blocks::new(9), base: 0, read: 0, begun: VecDeque::new() }
    }

    /// Another stream begins behind a header of this level.
    pub(super) fn begin(&mut self, level: u32) {
        self.base = self.base.saturating_add(self.read);
        (self.blocks, self.read) = (Blocks::new(level), 0);
    }

    /// Appends a block of the stream; answers whether it goes on.
    pub(super) fn read<S: Source>(
        &mut self,
        input: &mut Input<S>,
        into: &mut Vec<u8>,
    ) -> Result<bool, FormatError> {
        let Some(block) = self.blocks.next(input)? else { return Ok(false) };
        let place = Place { bit: block.bit, content: self.read, block: None, byte: 0 };
        let checkpoint = Checkpoint { place, crc: 0, window: bytes::Bytes::new() };
        if self.begun.len() == KEPT {
            self.begun.pop_front();
        }
        self.begun.push_back((self.base.saturating_add(self.read), Arc::new(checkpoint)));
        self.read = self.read.saturating_add(block.content.len() as u64);
        into.extend_from_slice(&block.content);
        Ok(true)
    }

    /// The block that a place of the content lies in, of the stream that begins there.
    pub(super) fn before(&mut self, stream: u64, place: u64) -> Option<Arc<Checkpoint>> {
        while self.begun.get(1).is_some_and(|(second, _)| *second <= place) {
            self.begun.pop_front();
        }
        let (content, block) = self.begun.front()?;
        let is_within = stream.checked_add(block.place.content) == Some(*content);
        (is_within && *content <= place).then(|| block.clone())
    }
}
