//! Edits within a member of gzip: the blocks around a change are compressed anew, the others are copied.
//!
//! A window begins with the last block before a change, and ends with the first one that begins at least
//! 32 KiB behind it: no match of that block or a later one reaches back to what was changed. Between the two
//! the new content is compressed, with what stands before the window as its dictionary; empty blocks lead
//! back to the bit at which the old stream goes on, so that it can be copied as bytes. The checksum is
//! mended by arithmetic.
//!
//! Of a kept block every bit is used up by content that stays: nothing that was erased is left in it.

mod join;
#[cfg(test)]
pub(super) mod tests;
mod walk;
mod window;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;

use super::deflate::{Place, REACH_BYTES};
use super::gzip::{self, Header};
use super::{Input, MemberStart, PIECE_BYTES};
use crate::domain::edit::Segment;
use crate::format::text::Patch;
use crate::format::{FormatError, SharedSource, SourceError};
use join::Join;
pub(in crate::format) use walk::Checkpoint;
use walk::{Cut, Ending, Walk};
use window::Window;

/// New bytes are held until all of them are known: where they are more than this, members are compressed
/// anew as a stream.
const MOST_NEW_BYTES: usize = 64 << 20;

/// A checksum and a length.
const TRAILER_BYTES: u64 = 8;

/// A place from which to go on, and the member that it is in.
pub(in crate::format) type Hint = (MemberStart, Arc<Checkpoint>);

/// Why there is no edit by blocks.
#[derive(Debug)]
pub(super) enum Refused {
    /// The object does not allow it, for this reason.
    Reason(&'static str),
    /// The object cannot be read.
    Format(FormatError),
}

impl From<FormatError> for Refused {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<SourceError> for Refused {
    fn from(error: SourceError) -> Self {
        Self::Format(error.into())
    }
}

fn failed() -> Refused {
    Refused::Reason("the gzip encoder failed")
}

/// A part of the content that was compressed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::format) struct Touched {
    /// Where it begins in the content.
    pub(in crate::format) start: u64,
    /// Which patch is the last one in it, by number.
    pub(in crate::format) last: usize,
    /// How many lines begin behind that patch, up to 32 KiB behind the part.
    pub(in crate::format) lines: u64,
}

/// An edit by blocks.
#[derive(Debug)]
pub(in crate::format) struct Spliced {
    /// The new object.
    pub(in crate::format) segments: Vec<Segment>,
    /// What was compressed anew, ascending.
    pub(in crate::format) touched: Vec<Touched>,
}

/// Whether an object can be edited by blocks, and how.
#[derive(Debug)]
pub(in crate::format) enum Answer {
    /// So.
    Spliced(Spliced),
    /// It cannot, for this reason.
    Refused(&'static str),
}

/// Changes the content of a gzip object, by blocks. `member_bytes` is how much content a scan of this version
/// found in it, if it found one member, and is a hint as the others are.
///
/// # Errors
///
/// [`FormatError`] where the object cannot be read.
pub(in crate::format) fn splice(
    source: &SharedSource,
    patches: &[Patch],
    (hints, member_bytes): (&[Hint], Option<u64>),
) -> Result<Answer, FormatError> {
    let is_first = patches.iter().all(|patch| patch.member == MemberStart::default());
    let mut splice = Splice {
        source: source.clone(),
        join: Join::new(),
        touched: Vec::new(),
        new: 0,
        member_bytes: member_bytes.filter(|_| is_first),
    };
    match splice.members(patches, hints) {
        Ok(()) => {
            let (segments, touched) = (splice.join.finish(), splice.touched);
            Ok(Answer::Spliced(Spliced { segments, touched }))
        }
        Err(Refused::Reason(reason)) => Ok(Answer::Refused(reason)),
        Err(Refused::Format(error)) => Err(error),
    }
}

/// An edit in the making.
struct Splice {
    source: SharedSource,
    join: Join,
    touched: Vec<Touched>,
    /// How many new bytes there are.
    new: usize,
    member_bytes: Option<u64>,
}

impl Splice {
    fn members(&mut self, patches: &[Patch], hints: &[Hint]) -> Result<(), Refused> {
        let mut stored = 0;
        let mut first = 0;
        for group in patches.chunk_by(|one, other| one.member == other.member) {
            let Some(Patch { member, .. }) = group.first() else { continue };
            self.join.copy(stored..member.stored);
            let hints: Vec<&Checkpoint> =
                hints.iter().filter(|(of, _)| of == member).map(|(_, hint)| &**hint).collect();
            stored = self.member(*member, (first, group), &hints)?;
            first += group.len();
        }
        self.join.copy(stored..self.source.size_bytes());
        Ok(())
    }

    /// Adds a member with changes in it; answers where it ends.
    fn member(
        &mut self,
        member: MemberStart,
        (first, patches): (usize, &[Patch]),
        hints: &[&Checkpoint],
    ) -> Result<u64, Refused> {
        let mut input = Input::new(self.source.clone(), member.stored, PIECE_BYTES);
        let header = Header::read(&mut input)?;
        if header.has_extra() {
            return Err(Refused::Reason("its gzip header has extra fields"));
        }
        let begin = input.position();
        let mut making = Making {
            walk: Walk::new(self.source.clone(), begin),
            source: &self.source,
            base: member.content,
            patches,
            next: 0,
            difference: (0, 0),
            grown: 0,
            windows: Vec::new(),
            touched: Vec::new(),
        };
        while making.next < patches.len() {
            making.window(hints)?;
            self.new = self.new.saturating_add(making.newest());
            if self.new > MOST_NEW_BYTES {
                return Err(Refused::Reason("too many of its compressed blocks would change"));
            }
        }
        let Making { walk, windows, touched, difference, grown, .. } = making;
        let ending = match self.known_ending(&walk, &windows)? {
            Some(ending) => ending,
            None => read_ending(walk)?,
        };
        let from = touched.into_iter().map(|it| Touched { last: it.last + first, ..it });
        self.touched.extend(from);
        match header.is_plain() {
            true => self.join.copy(member.stored..begin),
            false => self.join.put(&header.kept()),
        }
        self.join.stream(begin..ending.stored, &windows)?;
        self.join.put(&mended(&ending, difference, grown)?);
        Ok(ending.stored + TRAILER_BYTES)
    }

    /// The end of the only member, where a scan read to it.
    ///
    /// A wrong checksum would be mended into another wrong one: it was the scan that found it right, and this
    /// is the version that was scanned. Should the hint be wrong all the same, then so is, but for one
    /// chance in 2^32, the length that the trailer has.
    fn known_ending(&self, walk: &Walk, windows: &[Window]) -> Result<Option<Ending>, FormatError> {
        let Some(content) = self.member_bytes.filter(|bytes| *bytes >= walk.content()) else {
            return Ok(None);
        };
        let stored = self.source.size_bytes().saturating_sub(TRAILER_BYTES);
        let goes_on = windows.last().is_some_and(|window| window.end.is_some());
        if !goes_on || walk.place().bit.div_ceil(8) > stored {
            return Ok(None);
        }
        let trailer = self.source.read_at(stored, TRAILER_BYTES as usize)?;
        let Some([a, b, c, d, e, f, g, h]) = trailer.first_chunk() else { return Ok(None) };
        let crc = u32::from_le_bytes([*a, *b, *c, *d]);
        let is_equal = u32::from_le_bytes([*e, *f, *g, *h]) == content as u32;
        Ok(is_equal.then_some(Ending { content, crc, stored }))
    }
}

/// The end of a member, read up to there: nothing else tells how much content follows, where the trailer
/// is, and whether its checksum is right.
fn read_ending(walk: Walk) -> Result<Ending, FormatError> {
    let (ending, mut input) = walk.finish()?;
    gzip::trailer(&mut input, ending.crc, ending.content)?;
    Ok(ending)
}

/// The trailer of the new member.
fn mended(
    ending: &Ending,
    (place, difference): (u64, u32),
    grown: i64,
) -> Result<[u8; 8], Refused> {
    let length = ending.content.checked_add_signed(grown).ok_or_else(failed)?;
    let crc = ending.crc ^ shifted(difference, ending.content - place);
    let [a, b, c, d] = crc.to_le_bytes();
    let [e, f, g, h] = (length as u32).to_le_bytes();
    Ok([a, b, c, d, e, f, g, h])
}

/// By how much the checksums of two texts differ once the same bytes follow both, so many of them.
fn shifted(difference: u32, bytes: u64) -> u32 {
    let mut before = Hasher::new_with_initial_len(difference, 0);
    before.combine(&Hasher::new_with_initial_len(0, bytes));
    before.finalize()
}

/// The windows of a member, in the making. Content counts from the start of the member.
struct Making<'m> {
    walk: Walk,
    source: &'m SharedSource,
    /// Where the member begins in the content.
    base: u64,
    patches: &'m [Patch],
    /// The first patch that is in no window.
    next: usize,
    /// By how much the new checksum of the content before a place differs from the old one.
    difference: (u64, u32),
    grown: i64,
    windows: Vec<Window>,
    touched: Vec<Touched>,
}

impl Making<'_> {
    fn range(&self, patch: &Patch) -> Range<u64> {
        patch.range.start.saturating_sub(self.base)..patch.range.end.saturating_sub(self.base)
    }

    /// Makes the next window, of as many patches as have no place for a cut between them.
    fn window(&mut self, hints: &[&Checkpoint]) -> Result<(), Refused> {
        let Some(patch) = self.patches.get(self.next) else { return Ok(()) };
        let begins = self.range(patch).start;
        let hint = hints.iter().rev().find(|hint| hint.place.content <= begins);
        if let Some(hint) = hint.filter(|hint| hint.place.content > self.walk.content()) {
            self.walk.jump(hint)?;
        }
        let start = self.walk.cut_before(begins)?;
        let first = self.next;
        let (mut ends, mut end) = (0, None);
        while let Some(patch) = self.patches.get(self.next) {
            let range = self.range(patch);
            if end.is_some_and(|end: Cut| end.place.content <= range.start) {
                break;
            }
            (self.next, ends) = (self.next + 1, range.end);
            end = self.walk.cut_after(ends.saturating_add(REACH_BYTES))?;
        }
        if ends > self.walk.content() {
            return Err(Refused::Reason("a row goes on in another gzip member"));
        }
        self.close(first, (&start, end.as_ref()), ends)
    }

    fn close(
        &mut self,
        first: usize,
        (start, end): (&Cut, Option<&Cut>),
        ends: u64,
    ) -> Result<(), Refused> {
        let from = start.place.content;
        let to = end.map_or(self.walk.content(), |end| end.place.content);
        self.walk.reach(to.saturating_add(REACH_BYTES))?;
        let text = self.walk.text(from);
        let (old, follows) = text.split_at(text.len().min((to - from) as usize));
        let content = self.changed(first, from, old)?;
        let before = self.walk.before(from);
        let window = Window::new(start, end, before, &content)?;
        let tail = self.tail(end.map(|end| end.place), self.walk.place())?;
        window.check(before, &content, (&tail, follows))?;

        let lines = memchr::memchr2_iter(b'\n', b'\r', self.walk.text(ends)).count() as u64;
        let (start_at, last) = (from.saturating_add(self.base), self.next - 1);
        self.touched.push(Touched { start: start_at, last, lines });
        let difference = shifted(self.difference.1, from - self.difference.0);
        let mut new = Hasher::new_with_initial(start.crc ^ difference);
        new.update(&content);
        let old_crc = end.map_or_else(|| self.walk.crc(), |end| end.crc);
        self.difference = (to, new.finalize() ^ old_crc);
        self.grown += content.len() as i64 - old.len() as i64;
        self.windows.push(window);
        self.walk.forget_before(to);
        Ok(())
    }

    /// What old content that begins at `from` becomes by the patches from `first` on.
    fn changed(&self, first: usize, from: u64, old: &[u8]) -> Result<Vec<u8>, Refused> {
        let (mut content, mut at) = (Vec::with_capacity(old.len()), 0);
        for patch in &self.patches[first..self.next] {
            let range = self.range(patch);
            let within = |place: u64| place.checked_sub(from).map(|place| place as usize);
            let kept = within(range.start).and_then(|start| old.get(at..start));
            let end = within(range.end).filter(|end| *end <= old.len());
            let (Some(kept), Some(end)) = (kept, end) else { return Err(failed()) };
            content.extend_from_slice(kept);
            content.extend_from_slice(&patch.bytes);
            at = end;
        }
        content.extend_from_slice(&old[at..]);
        Ok(content)
    }

    /// What is stored from the end of a window on, as far as was inflated.
    fn tail(&self, end: Option<Place>, reached: Place) -> Result<Bytes, Refused> {
        let Some(end) = end else { return Ok(Bytes::new()) };
        let (from, to) = (end.bit / 8, reached.bit.div_ceil(8));
        let length = usize::try_from(to.saturating_sub(from)).map_err(|_| failed())?;
        Ok(self.source.read_at(from, length)?)
    }

    /// How long the window is that was made last.
    fn newest(&self) -> usize {
        self.windows.last().map_or(0, |window| window.bits.bytes().len())
    }
}
