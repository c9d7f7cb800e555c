//! Inflates in a way that an edit can go on from, instead of beginning anew.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use super::deflate::{Inflate, Output, Stop};
use super::splice::Checkpoint;
use super::{Input, gzip};
use crate::format::{FormatError, Source};

/// How much is inflated at a time, in bytes, at least and at most.
const LEAST_BYTES: usize = 1 << 10;
const MOST_BYTES: usize = 128 << 10;

/// How far checkpoints are apart in the content, at least.
const APART_BYTES: u64 = if cfg!(test) { 8 << 10 } else { 1 << 20 };

/// How many are kept: who reads records looks back no further than the longest one, and some pieces.
const KEPT: usize = 80;

/// A member's stream, and places in it.
pub(super) struct Trace {
    inflate: Inflate,
    output: Output,
    crc: Hasher,
    /// Where the member begins in the content.
    base: u64,
    /// Ascending by their place in all of the content, which stands beside.
    checkpoints: VecDeque<(u64, Arc<Checkpoint>)>,
}

impl Trace {
    pub(super) fn new() -> Self {
        Self {
            inflate: Inflate::new(),
            output: Output::after(&[], 0),
            crc: Hasher::new(),
            base: 0,
            checkpoints: VecDeque::new(),
        }
    }

    /// Goes on at such a place in the member that begins there; `None` where the input does not have it.
    pub(super) fn resumed<S: Source>(
        input: &mut Input<S>,
        member: u64,
        Checkpoint { place, crc, window }: &Checkpoint,
    ) -> Result<Option<Self>, FormatError> {
        let mut trace = Self::new();
        if !trace.inflate.resume(place, input)? {
            return Ok(None);
        }
        trace.output = Output::after(window, place.content);
        trace.crc = Hasher::new_with_initial(*crc);
        trace.base = member;
        Ok(Some(trace))
    }

    /// Another member begins.
    pub(super) fn begin(&mut self) {
        self.base = self.base.saturating_add(self.output.end());
        self.inflate.reset();
        self.output = Output::after(&[], 0);
        self.crc = Hasher::new();
        // Those of another member are of no use for a row that begins in this one, but may be for one
        // that is still to be cut.
    }

    /// Appends a piece of the member; answers whether it goes on.
    pub(super) fn read<S: Source>(
        &mut self,
        input: &mut Input<S>,
        into: &mut Vec<u8>,
        at_most: usize,
    ) -> Result<bool, FormatError> {
        let before = self.output.end();
        self.output.forget_before(before);
        let step = at_most.clamp(LEAST_BYTES, MOST_BYTES);
        let stop = self.inflate.run(input, &mut self.output, step)?;
        let piece = self.output.from(before);
        self.crc.update(piece);
        into.extend_from_slice(piece);
        if stop == Stop::End {
            gzip::trailer(input, self.crc.clone().finalize(), self.output.end())?;
            return Ok(false);
        }
        self.check(input);
        Ok(true)
    }

    /// Takes note of where it is, if that is far from the last place and inflating can go on there.
    fn check<S: Source>(&mut self, input: &Input<S>) {
        let place = self.inflate.place(input, &self.output);
        let content = self.base.saturating_add(place.content);
        let last = self.checkpoints.back().map_or(0, |(last, _)| *last);
        let is_able = place.block.is_none_or(|block| block.is_fixed);
        if !is_able || content.saturating_sub(last) < APART_BYTES {
            return;
        }
        let crc = self.crc.clone().finalize();
        let window = Bytes::copy_from_slice(self.output.last());
        if self.checkpoints.len() == KEPT {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back((content, Arc::new(Checkpoint { place, crc, window })));
    }

    /// The last checkpoint at or before a place of the content, within the member that begins there.
    pub(super) fn before(&mut self, member: u64, place: u64) -> Option<Arc<Checkpoint>> {
        while self.checkpoints.get(1).is_some_and(|(second, _)| *second <= place) {
            self.checkpoints.pop_front();
        }
        let (content, checkpoint) = self.checkpoints.front()?;
        let is_within = member.checked_add(checkpoint.place.content) == Some(*content);
        (is_within && *content <= place).then(|| checkpoint.clone())
    }
}
