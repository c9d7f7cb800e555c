//! Edits within a bzip2 stream: the blocks that hold a change are compressed anew, the others are copied.
//!
//! Blocks know nothing of one another. A new one is made as many bits longer as it takes to have what follows
//! it begin at the bit of a byte at which it did; and the stream's checksum is put together from those
//! of its blocks, as it always is.

use std::ops::Range;

use bytes::Bytes;
use bzip2::{Action, Compress, Compression, Status};

use super::blocks::{Mark, Row, Search, checksum, decode, folded, lengthened};
use super::{HEADER_BYTES, WORK_FACTOR};
use crate::domain::edit::Segment;
use crate::format::compression::splice::{Answer, Hint, Refused, Spliced, Touched};
use crate::format::compression::{Input, MemberStart, PIECE_BYTES};
use crate::format::text::Patch;
use crate::format::{FormatError, SharedSource, Source as _};

/// As much of a stream is looked through at a time, in bytes.
const STEP_BYTES: usize = 64 << 10;

/// Blocks of a stream are listed, two dozen bytes for each.
const MOST_BLOCKS: usize = 1 << 20;

/// New bytes are held until all of them are known.
const MOST_NEW_BYTES: usize = 64 << 20;

/// A mark, or the checksum at the end of a stream with it.
const MARK_BITS: u64 = 48;
const CHECKSUM_BITS: u64 = 32;

/// Changes the content of a bzip2 object, by blocks. `hints` tell in which block a patch begins.
///
/// # Errors
///
/// [`FormatError`] where the object cannot be read.
pub(in crate::format) fn splice(
    source: &SharedSource,
    patches: &[Patch],
    hints: &[Hint],
) -> Result<Answer, FormatError> {
    let mut edit = Edit {
        source: source.clone(),
        row: Row::default(),
        segments: Vec::new(),
        touched: Vec::new(),
        new: 0,
    };
    match edit.streams(patches, hints) {
        Ok(()) => {
            let Edit { segments, touched, .. } = edit;
            Ok(Answer::Spliced(Spliced { segments, touched }))
        }
        Err(Refused::Reason(reason)) => Ok(Answer::Refused(reason)),
        Err(Refused::Format(error)) => Err(error),
    }
}

fn failed() -> Refused {
    Refused::Reason("its bzip2 blocks could not be compressed anew")
}

/// Where the blocks of a stream are, and the end of it, in stored bits.
struct Stream {
    level: u32,
    /// Where the first byte lies, as stored.
    stored: u64,
    marks: Vec<(Mark, u32)>,
}

impl Stream {
    /// Goes through a stream without decoding it.
    fn read(source: &SharedSource, stored: u64) -> Result<Self, Refused> {
        let mut input = Input::new(source.clone(), stored, PIECE_BYTES);
        let head = input.array::<HEADER_BYTES>()?.ok_or_else(failed)?;
        let level = super::level(&head).ok_or_else(failed)?;
        let (mut search, mut marks) = (Search::default(), Vec::new());
        let (mut folds, mut passed, mut unseen) = (0, 0, 0);
        loop {
            let piece = input.ahead(unseen + STEP_BYTES)?;
            let (seen, mark) = search.next(piece.get(unseen..).unwrap_or_default(), 0);
            unseen += seen;
            let Some(mark) = mark else {
                if seen == 0 {
                    return Err(failed());
                }
                // A mark that ends in what is next begins in the last bytes of this.
                let done = unseen.saturating_sub(8);
                input.consume(done);
                (passed, unseen) = (passed + done as u64 * 8, unseen - done);
                continue;
            };
            let here = Mark { bit: mark.bit - passed, ..mark };
            let more = input.ahead(unseen + 16)?;
            let sum = checksum(more, &here).ok_or_else(failed)?;
            marks.push((mark, sum));
            // What occurs by chance within a block makes the sums differ.
            match mark.is_end {
                true if sum == folds => return Ok(Self { level, stored, marks }),
                true => return Err(failed()),
                false => folds = folded(folds, sum),
            }
            if marks.len() > MOST_BLOCKS {
                return Err(Refused::Reason("it has too many bzip2 blocks"));
            }
        }
    }

    /// The stored bit at which a mark begins.
    fn bit(&self, number: usize) -> Result<u64, Refused> {
        let (mark, _) = self.marks.get(number).ok_or_else(failed)?;
        Ok((self.stored + HEADER_BYTES as u64) * 8 + mark.bit)
    }

    /// The bytes that a block lies in, and between which bits of them.
    fn block(&self, source: &SharedSource, number: usize) -> Result<(Bytes, (u64, u64)), Refused> {
        let (from, to) = (self.bit(number)?, self.bit(number + 1)?);
        let length = usize::try_from(to.div_ceil(8) - from / 8).map_err(|_| failed())?;
        let bytes = source.read_at(from / 8, length)?;
        Ok((bytes, (from % 8, from % 8 + (to - from))))
    }

    /// The stored byte behind the stream.
    fn end(&self) -> Result<u64, Refused> {
        let last = self.bit(self.marks.len() - 1)?;
        Ok((last + MARK_BITS + CHECKSUM_BITS).div_ceil(8))
    }
}

/// A block that holds changes.
struct Open {
    number: usize,
    /// Where it begins in the stream's content.
    content: u64,
    text: Vec<u8>,
    changes: Vec<(Range<usize>, Bytes)>,
    last: usize,
}

impl Open {
    fn end(&self) -> u64 {
        self.content + self.text.len() as u64
    }

    /// Adds as much of a change as lies in the block.
    fn change(&mut self, range: &Range<u64>, bytes: Bytes) {
        let within = |place: u64| (place.clamp(self.content, self.end()) - self.content) as usize;
        self.changes.push((within(range.start)..within(range.end), bytes));
    }

    fn changed(&self) -> Vec<u8> {
        let (mut text, mut at) = (Vec::with_capacity(self.text.len()), 0);
        for (range, bytes) in &self.changes {
            text.extend_from_slice(&self.text[at..range.start]);
            text.extend_from_slice(bytes);
            at = range.end;
        }
        text.extend_from_slice(&self.text[at..]);
        text
    }
}

/// An edit in the making.
struct Edit {
    source: SharedSource,
    /// New bits that do not fill a byte yet.
    row: Row,
    segments: Vec<Segment>,
    touched: Vec<Touched>,
    new: usize,
}

/// A block that takes the place of an old one.
struct Replaced {
    number: usize,
    row: Row,
    checksums: Vec<u32>,
}

impl Edit {
    fn streams(&mut self, patches: &[Patch], hints: &[Hint]) -> Result<(), Refused> {
        let (mut stored, mut first) = (0, 0);
        for group in patches.chunk_by(|one, other| one.member == other.member) {
            let Some(Patch { member, .. }) = group.first() else { continue };
            self.bits_to(stored * 8, member.stored * 8)?;
            stored = self.stream(*member, (first, group), hints)?;
            first += group.len();
        }
        self.bits_to(stored * 8, self.source.size_bytes() * 8)?;
        self.flush();
        Ok(())
    }

    /// Adds a stream with changes in it; answers where it ends.
    fn stream(
        &mut self,
        member: MemberStart,
        (first, patches): (usize, &[Patch]),
        hints: &[Hint],
    ) -> Result<u64, Refused> {
        let stream = Stream::read(&self.source, member.stored)?;
        let replaced = self.replaced(&stream, (member, first, patches), hints)?;
        let mut at = member.stored * 8;
        let (mut sum, mut next) = (0, replaced.iter().peekable());
        for (number, (mark, old)) in stream.marks.iter().enumerate() {
            if mark.is_end {
                break;
            }
            match next.next_if(|block| block.number == number) {
                None => sum = folded(sum, *old),
                Some(block) => {
                    self.bits_to(at, stream.bit(number)?)?;
                    let count = block.row.count();
                    self.row.append(block.row.bytes(), 0, count).ok_or_else(failed)?;
                    sum = block.checksums.iter().fold(sum, |sum, block| folded(sum, *block));
                    at = stream.bit(number + 1)?;
                }
            }
        }
        let last = stream.bit(stream.marks.len() - 1)? + MARK_BITS;
        self.bits_to(at, last)?;
        self.row.put(u64::from(sum), CHECKSUM_BITS);
        let end = stream.end()?;
        self.bits_to(last + CHECKSUM_BITS, end * 8)?;
        Ok(end)
    }

    /// The blocks that change, anew.
    fn replaced(
        &mut self,
        stream: &Stream,
        (member, first, patches): (MemberStart, usize, &[Patch]),
        hints: &[Hint],
    ) -> Result<Vec<Replaced>, Refused> {
        let mut replaced = Vec::new();
        let (mut open, mut behind): (Option<Open>, _) = (None, (0, 0));
        for (number, patch) in patches.iter().enumerate() {
            let place = |place: u64| place.saturating_sub(member.content);
            let range = place(patch.range.start)..place(patch.range.end);
            let last = first + number;
            let mut block = match open.take() {
                Some(block) if range.start < block.end() => block,
                other => {
                    behind = other.as_ref().map_or(behind, |it| (it.number + 1, it.end()));
                    self.close(stream, member, other, &mut replaced)?;
                    self.find(stream, (member, range.start), hints, behind)?
                }
            };
            (block.last, _) = (last, block.change(&range, patch.bytes.clone()));
            while block.end() < range.end {
                let (number, content) = (block.number + 1, block.end());
                self.close(stream, member, Some(block), &mut replaced)?;
                block = self.open(stream, number, content)?;
                (block.last, _) = (last, block.change(&range, Bytes::new()));
            }
            open = Some(block);
        }
        self.close(stream, member, open, &mut replaced)?;
        Ok(replaced)
    }

    /// The block that a place of a stream's content lies in, which is this block, that begins with this
    /// content, or a later one.
    fn find(
        &self,
        stream: &Stream,
        (member, place): (MemberStart, u64),
        hints: &[Hint],
        (mut number, mut content): (usize, u64),
    ) -> Result<Open, Refused> {
        let hints = hints.iter().rev().filter(|(of, _)| *of == member);
        let hint = hints.map(|(_, hint)| hint.place).find(|hint| hint.content <= place);
        if let Some(hint) = hint.filter(|hint| hint.content > content) {
            let from = (stream.stored + HEADER_BYTES as u64) * 8;
            let at = stream.marks.binary_search_by_key(&hint.bit, |(mark, _)| from + mark.bit);
            (number, content) = (at.map_err(|_| failed())?, hint.content);
        }
        loop {
            let block = self.open(stream, number, content)?;
            if place < block.end() {
                return Ok(block);
            }
            (number, content) = (number + 1, block.end());
        }
    }

    fn open(&self, stream: &Stream, number: usize, content: u64) -> Result<Open, Refused> {
        if stream.marks.get(number).is_none_or(|(mark, _)| mark.is_end) {
            return Err(Refused::Reason("a row goes on in another bzip2 stream"));
        }
        let (bytes, range) = stream.block(&self.source, number)?;
        let text = decode(&bytes, range, stream.level).ok_or_else(failed)?;
        Ok(Open { number, content, text, changes: Vec::new(), last: 0 })
    }

    fn close(
        &mut self,
        stream: &Stream,
        member: MemberStart,
        open: Option<Open>,
        replaced: &mut Vec<Replaced>,
    ) -> Result<(), Refused> {
        let Some(open) = open else { return Ok(()) };
        let text = open.changed();
        let old = stream.bit(open.number + 1)? - stream.bit(open.number)?;
        let (row, checksums) = compress(&text, stream.level, old)?;
        self.new += row.bytes().len();
        if self.new > MOST_NEW_BYTES {
            return Err(Refused::Reason("too many of its compressed blocks would change"));
        }
        let behind = open.changes.last().map_or(0, |(range, _)| range.end);
        let lines = memchr::memchr2_iter(b'\n', b'\r', &open.text[behind..]).count() as u64;
        let start = member.content.saturating_add(open.content);
        self.touched.push(Touched { start, last: open.last, lines });
        replaced.push(Replaced { number: open.number, row, checksums });
        Ok(())
    }

    /// Adds bits of the old object, which come to stand at the bit of a byte that they had.
    fn bits_to(&mut self, from: u64, to: u64) -> Result<(), Refused> {
        if self.row.count() % 8 != from % 8 || from > to {
            return Err(failed());
        }
        let (first, last) = (from.div_ceil(8), to / 8);
        if first > last {
            return self.part(from..to);
        }
        self.part(from..first * 8)?;
        if first < last {
            self.flush();
            match self.segments.last_mut() {
                Some(Segment::Copy(range)) if range.end == first => range.end = last,
                _ => self.segments.push(Segment::Copy(first..last)),
            }
        }
        self.part(last * 8..to)
    }

    /// Adds bits of one byte of the old object.
    fn part(&mut self, bits: Range<u64>) -> Result<(), Refused> {
        if bits.is_empty() {
            return Ok(());
        }
        let byte = self.source.read_at(bits.start / 8, 1)?;
        let start = bits.start % 8;
        self.row.append(&byte, start, start + (bits.end - bits.start)).ok_or_else(failed)
    }

    fn flush(&mut self) {
        let bytes = self.row.take_full();
        if !bytes.is_empty() {
            self.segments.push(Segment::Bytes(Bytes::from(bytes)));
        }
    }
}

/// Compresses the content of a block, so that what follows comes to stand where it would behind one of `old`
/// bits. Answers as well with the checksums of the blocks that it takes.
fn compress(text: &[u8], level: u32, old: u64) -> Result<(Row, Vec<u32>), Refused> {
    let mut compress = Compress::new(Compression::new(level), WORK_FACTOR);
    let (mut out, mut rest) = (Vec::new(), text);
    loop {
        out.reserve(STEP_BYTES);
        let taken = compress.total_in();
        let action = if rest.is_empty() { Action::Finish } else { Action::Run };
        let status = compress.compress_vec(rest, &mut out, action).map_err(|_| failed())?;
        rest = &rest[(compress.total_in() - taken) as usize..];
        if status == Status::StreamEnd {
            break;
        }
    }
    let stream = out.get(HEADER_BYTES..).ok_or_else(failed)?;
    let (mut search, mut marks, mut sums) = (Search::default(), Vec::new(), Vec::new());
    while let (_, Some(mark)) = search.next(&stream[search.seen()..], 0) {
        let sum = checksum(stream, &mark).ok_or_else(failed)?;
        marks.push(mark.bit);
        if mark.is_end {
            if sums.iter().fold(0, |all, sum| folded(all, *sum)) != sum {
                return Err(failed());
            }
            break;
        }
        sums.push(sum);
    }
    let [.., last, end] = marks[..] else { return Err(failed()) };
    let more = (8 + old % 8 - end % 8) % 8;
    let mut row = Row::default();
    row.append(stream, 0, last).ok_or_else(failed)?;
    let last = lengthened(stream, (last, end), more).ok_or_else(failed)?;
    row.append(last.bytes(), 0, last.count()).ok_or_else(failed)?;
    let is_one = sums.len() == 1;
    if is_one && decode(row.bytes(), (0, row.count()), level).as_deref() != Some(text) {
        return Err(failed());
    }
    Ok((row, sums))
}
