//! Goes through a member and takes note of where its stream can be cut.

use std::collections::VecDeque;

use bytes::Bytes;
use crc32fast::Hasher;

use super::Refused;
use crate::format::compression::deflate::{Inflate, Output, Place, REACH_BYTES, Stop};
use crate::format::compression::{Input, PIECE_BYTES};
use crate::format::{FormatError, SharedSource};

/// How much is inflated at a time, in bytes.
const STEP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 64 << 10 };

/// Some encoders write a stream of any length as one block. Within a block with the fixed codes a cut can be
/// made at any symbol: it is, this many bytes of content after the last place for a cut.
const LONG_BLOCK_BYTES: u64 = if cfg!(test) { 8 << 10 } else { 32 << 10 };

/// Blocks with codes of their own are not cut, since their codes tell which bytes stood in them. Where
/// content without a place for a cut is longer than this, the member is compressed anew.
const LONGEST_BYTES: usize = 16 << 20;

/// More places than this in what is at hand are nothing that an encoder writes.
const MOST_CUTS: usize = 1 << 16;

/// A place at which a stream can be cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) place: Place,
    /// The CRC-32 of the content before it.
    pub(super) crc: u32,
}

/// What it takes to go on inflating in the middle of a stream. It holds content, so that it stays in memory.
#[derive(Clone)]
pub(in crate::format) struct Checkpoint {
    /// Where; content counts from the start of the member.
    pub(in crate::format::compression) place: Place,
    /// The CRC-32 of the content before it.
    pub(in crate::format::compression) crc: u32,
    /// The content before it, as far back as a match may reach.
    pub(in crate::format::compression) window: Bytes,
}

impl std::fmt::Debug for Checkpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Checkpoint").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Inflates a member and holds the content that a window may be made of.
pub(super) struct Walk {
    input: Input<SharedSource>,
    inflate: Inflate,
    output: Output,
    crc: Hasher,
    /// Places for a cut in what is at hand, ascending.
    cuts: VecDeque<Cut>,
    is_ended: bool,
}

impl Walk {
    /// From the first block of a member on, which begins at this byte.
    pub(super) fn new(source: SharedSource, stored: u64) -> Self {
        let place = Place { bit: stored.saturating_mul(8), content: 0, block: None, byte: 0 };
        Self {
            input: Input::new(source, stored, PIECE_BYTES),
            inflate: Inflate::new(),
            output: Output::after(&[], 0),
            crc: Hasher::new(),
            cuts: VecDeque::from([Cut { place, crc: 0 }]),
            is_ended: false,
        }
    }

    /// Goes on at a place further on.
    pub(super) fn jump(&mut self, checkpoint: &Checkpoint) -> Result<(), Refused> {
        let Checkpoint { place, crc, window } = checkpoint;
        if !self.inflate.resume(place, &mut self.input)? {
            return Err(Refused::Reason("its compressed blocks could not be found again"));
        }
        self.output = Output::after(window, place.content);
        self.crc = Hasher::new_with_initial(*crc);
        self.cuts = VecDeque::from([Cut { place: *place, crc: *crc }]);
        self.is_ended = false;
        Ok(())
    }

    /// How much content there is before where it is.
    pub(super) fn content(&self) -> u64 {
        self.output.end()
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        self.inflate.place(&self.input, &self.output)
    }

    /// The CRC-32 of the content before where it is.
    pub(super) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    /// What is at hand of the content from this place on.
    pub(super) fn text(&self, from: u64) -> &[u8] {
        self.output.from(from)
    }

    /// The last 32 KiB before a place, or what there is.
    pub(super) fn before(&self, place: u64) -> &[u8] {
        let from = place.saturating_sub(REACH_BYTES);
        let text = self.output.from(from);
        &text[..text.len().min((place - from) as usize)]
    }

    /// Goes on a step.
    ///
    /// # Errors
    ///
    /// [`Refused`] where too much content would have to be held, or the stream cannot be read.
    pub(super) fn step(&mut self) -> Result<(), Refused> {
        let before = self.output.end();
        let stop = self.inflate.run(&mut self.input, &mut self.output, STEP_BYTES)?;
        self.crc.update(self.output.from(before));
        match stop {
            Stop::End => self.is_ended = true,
            Stop::Block => self.cut(),
            Stop::Full => {
                let last = self.cuts.back().map_or(0, |cut| cut.place.content);
                let is_long = self.output.end().saturating_sub(last) >= LONG_BLOCK_BYTES;
                if is_long && self.place().block.is_some_and(|block| block.is_fixed) {
                    self.cut();
                }
            }
        }
        if self.output.held() > LONGEST_BYTES || self.cuts.len() > MOST_CUTS {
            return Err(Refused::Reason("too much of its compressed content hangs together"));
        }
        Ok(())
    }

    fn cut(&mut self) {
        let cut = Cut { place: self.place(), crc: self.crc() };
        let content = cut.place.content;
        // Of blocks without content, of which there may be any number, the first and last are of use.
        let mut same = self.cuts.iter().rev().take_while(|other| other.place.content == content);
        if same.nth(1).is_some() {
            self.cuts.pop_back();
        }
        self.cuts.push_back(cut);
    }

    /// Goes beyond this place and answers with the last place for a cut that is not behind it.
    pub(super) fn cut_before(&mut self, place: u64) -> Result<Cut, Refused> {
        self.forget_before(place);
        while !self.is_ended && self.content() <= place {
            self.step()?;
            self.forget_before(place);
        }
        let cut = self.cuts.front().filter(|cut| cut.place.content <= place);
        cut.copied().ok_or(Refused::Reason("its compressed blocks could not be found again"))
    }

    /// Goes on to the first place for a cut at or behind this place; `None` where the stream ends before.
    pub(super) fn cut_after(&mut self, place: u64) -> Result<Option<Cut>, Refused> {
        loop {
            let at = self.cuts.partition_point(|cut| cut.place.content < place);
            if let Some(cut) = self.cuts.get(at) {
                return Ok(Some(*cut));
            }
            if self.is_ended {
                return Ok(None);
            }
            self.step()?;
        }
    }

    /// Goes on until there is as much content as this, or the stream ends.
    pub(super) fn reach(&mut self, place: u64) -> Result<(), Refused> {
        while !self.is_ended && self.content() < place {
            self.step()?;
        }
        Ok(())
    }

    /// Forgets what is of no use for a window that begins at or behind this place.
    pub(super) fn forget_before(&mut self, place: u64) {
        while self.cuts.get(1).is_some_and(|second| second.place.content <= place) {
            self.cuts.pop_front();
        }
        if let Some(first) = self.cuts.front() {
            self.output.forget_before(first.place.content);
        }
    }

    /// Goes to the end of the stream, holding nothing, and answers with what the trailer is read from.
    pub(super) fn finish(mut self) -> Result<(Ending, Input<SharedSource>), FormatError> {
        while !self.is_ended {
            let before = self.output.end();
            self.output.forget_before(before);
            let stop = self.inflate.run(&mut self.input, &mut self.output, STEP_BYTES)?;
            self.crc.update(self.output.from(before));
            self.is_ended = stop == Stop::End;
        }
        let (content, crc) = (self.output.end(), self.crc());
        Ok((Ending { content, crc, stored: self.input.position() }, self.input))
    }
}

/// What stands at the end of a member's last block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    /// How much content there is.
    pub(super) content: u64,
    /// Its CRC-32.
    pub(super) crc: u32,
    /// Where the trailer begins.
    pub(super) stored: u64,
}
