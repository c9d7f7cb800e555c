//! Blocks of a bzip2 stream, which begin at any bit: where they are, and what each holds by itself.
//!
//! A block begins with 48 bits that tell it, and ends where the next one does or the stream's end is told so.
//! Those bits may occur by chance within a block: whoever looks for them has to check what is found.

use bzip2::{Decompress, Status};

use crate::format::compression::Input;
use crate::format::{FormatError, Source};

/// What a block begins with, and what tells the end of a stream: digits of pi, and of its square root.
const BLOCK: u64 = 0x3141_5926_5359;
const END: u64 = 0x1772_4538_5090;
const MARK_BITS: u64 = 48;

/// A mark is followed by a checksum: of the block, or of all of the stream.
const CHECKSUM_BITS: u64 = 32;

/// More bytes than this are no block: the longest has 900,000 bytes of content, runs of them shortened.
const LONGEST_BYTES: usize = 4 << 20;

/// How much is looked through at a time, in bytes.
const STEP_BYTES: usize = 64 << 10;

/// How many marks that occur by chance are looked past in one block.
const CHANCES: usize = 3;

/// Where a block begins, or the end of a stream is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The bit, counted from where bits were looked at first.
    pub(super) bit: u64,
    /// Whether nothing follows but a checksum.
    pub(super) is_end: bool,
}

/// The bits from the highest of the first byte on, up to 32 of them.
pub(super) fn bits(bytes: &[u8], at: u64, count: u64) -> Option<u32> {
    let first = usize::try_from(at / 8).ok()?;
    let last = usize::try_from((at + count).div_ceil(8)).ok()?;
    let all = bytes.get(first..last)?.iter().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    let behind = last as u64 * 8 - (at + count);
    Some(((all >> behind) & ((1u64 << count) - 1)) as u32)
}

/// The checksum that follows a mark.
pub(super) fn checksum(bytes: &[u8], mark: &Mark) -> Option<u32> {
    bits(bytes, mark.bit + MARK_BITS, CHECKSUM_BITS)
}

/// The checksum of a stream with one more block.
pub(super) fn folded(stream: u32, block: u32) -> u32 {
    stream.rotate_left(1) ^ block
}

/// Whether a byte may be the third last whole one of a mark.
const WITHIN: [bool; 256] = {
    let mut within = [false; 256];
    let mut shift = 0;
    while shift < 8 {
        within[((BLOCK >> (16 - shift)) & 0xff) as usize] = true;
        within[((END >> (16 - shift)) & 0xff) as usize] = true;
        shift += 1;
    }
    within
};

/// Looks for marks, byte after byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Search {
    window: u64,
    /// How many bytes were looked at.
    seen: u64,
}

impl Search {
    /// How many bytes were looked at.
    pub(super) fn seen(&self) -> usize {
        self.seen as usize
    }

    /// Looks at bytes up to the first one with which a mark ends that begins at this bit or later; answers how
    /// many it looked at.
    pub(super) fn next(&mut self, bytes: &[u8], from: u64) -> (usize, Option<Mark>) {
        for (at, &byte) in bytes.iter().enumerate() {
            self.window = self.window << 8 | u64::from(byte);
            self.seen += 1;
            if !WITHIN[(self.window >> 16) as usize & 0xff] {
                continue;
            }
            for shift in (0..8).rev() {
                let value = (self.window >> shift) & ((1 << MARK_BITS) - 1);
                let bit = (self.seen * 8).checked_sub(shift + MARK_BITS);
                if let Some(bit) = bit.filter(|bit| *bit >= from && matches!(value, BLOCK | END)) {
                    return (at + 1, Some(Mark { bit, is_end: value == END }));
                }
            }
        }
        (bytes.len(), None)
    }
}

/// Reads a stream block by block.
pub(super) struct Blocks {
    level: u32,
    /// At which bit of the input's next byte the next mark begins.
    phase: u64,
    checksum: u32,
}

/// A block that was read.
#[derive(Debug)]
pub(super) struct Block {
    /// The stored bit that it begins at.
    pub(super) bit: u64,
    pub(super) content: Vec<u8>,
}

impl Blocks {
    /// From behind a stream's header on.
    pub(super) fn new(level: u32) -> Self {
        Self { level, phase: 0, checksum: 0 }
    }

    /// The next block; `None` where the stream ends, with the input behind it.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the stream is corrupt or ends early, or the store fails.
    pub(super) fn next<S: Source>(
        &mut self,
        input: &mut Input<S>,
    ) -> Result<Option<Block>, FormatError> {
        let position = input.position();
        let head = input.ahead(STEP_BYTES)?;
        let start = Mark { bit: self.phase, is_end: false };
        let Some(checksum) = checksum(head, &start) else {
            return Err(fail(input, "the bzip2 stream ends early"));
        };
        let told = (bits(head, self.phase, 24), bits(head, self.phase + 24, 24));
        let told = told.0.zip(told.1).map(|(high, low)| u64::from(high) << 24 | u64::from(low));
        if told == Some(END) {
            let bytes = (self.phase + MARK_BITS + CHECKSUM_BITS).div_ceil(8);
            input.consume(bytes as usize);
            return match checksum == self.checksum {
                true => Ok(None),
                false => Err(fail(input, "the bzip2 stream is corrupt")),
            };
        }
        if told != Some(BLOCK) {
            return Err(fail(input, "the bzip2 stream is corrupt"));
        }
        let (mut search, mut end) = (Search::default(), None);
        for _ in 0..=CHANCES {
            let from = end.map_or(self.phase + MARK_BITS, |end: Mark| end.bit + 1);
            let Some(mark) = find(input, &mut search, from)? else {
                return Err(fail(input, "the bzip2 stream ends early"));
            };
            let bytes = input.ahead(1)?;
            if let Some(content) = decode(bytes, (self.phase, mark.bit), self.level) {
                let bit = position * 8 + self.phase;
                self.checksum = folded(self.checksum, checksum);
                input.consume((mark.bit / 8) as usize);
                self.phase = mark.bit % 8;
                return Ok(Some(Block { bit, content }));
            }
            end = Some(mark);
        }
        Err(fail(input, "the bzip2 stream is corrupt"))
    }
}

/// The next mark in what is ahead.
fn find<S: Source>(
    input: &mut Input<S>,
    search: &mut Search,
    from: u64,
) -> Result<Option<Mark>, FormatError> {
    loop {
        let seen = search.seen as usize;
        let piece = input.ahead(seen + STEP_BYTES)?;
        let unseen = piece.get(seen..).unwrap_or_default();
        if unseen.is_empty() || seen > LONGEST_BYTES {
            return Ok(None);
        }
        if let (_, Some(mark)) = search.next(unseen, from) {
            return Ok(Some(mark));
        }
    }
}

/// What a block holds that lies between two bits; `None` where that is no block.
pub(super) fn decode(bytes: &[u8], (from, to): (u64, u64), level: u32) -> Option<Vec<u8>> {
    let block = checksum(bytes, &Mark { bit: from, is_end: false })?;
    let mut stream = Row::default();
    stream.put(u64::from(u32::from_be_bytes([b'B', b'Z', b'h', b'0' + level as u8])), 32);
    stream.append(bytes, from, to)?;
    stream.put(END, MARK_BITS);
    stream.put(u64::from(block), CHECKSUM_BITS);
    let mut decompress = Decompress::new(false);
    let (mut content, mut rest) = (Vec::with_capacity(level as usize * 100_000), stream.bytes());
    loop {
        content.reserve(STEP_BYTES);
        let (taken, length) = (decompress.total_in(), content.len());
        let status = decompress.decompress_vec(rest, &mut content).ok()?;
        let more = (decompress.total_in() - taken) as usize;
        rest = &rest[more..];
        match status {
            Status::StreamEnd => return rest.is_empty().then_some(content),
            Status::MemNeeded => return None,
            _ if more == 0 && content.len() == length => return None,
            _ => {}
        }
    }
}

fn fail<S: Source>(input: &Input<S>, reason: &str) -> FormatError {
    FormatError::unreadable_at(reason, None, input.position())
}

/// Bits in a row, the highest of a byte first.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    bytes: Vec<u8>,
    count: u64,
}

impl Row {
    /// The bytes; of a last one that is not full, the lower bits are 0.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bits there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes the bytes that are full.
    pub(super) fn take_full(&mut self) -> Vec<u8> {
        let rest = self.bytes.split_off((self.count / 8) as usize);
        self.count %= 8;
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Adds the lowest bits of a value, at most 56.
    pub(super) fn put(&mut self, value: u64, count: u64) {
        for bit in (0..count).rev() {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> bit & 1) as u8) << (7 - self.count % 8);
            }
            self.count += 1;
        }
    }

    /// Adds the bits between two places; `None` where there are not as many.
    pub(super) fn append(&mut self, bytes: &[u8], from: u64, to: u64) -> Option<()> {
        let mut at = from;
        while at < to && (!self.count.is_multiple_of(8) || to - at < 8) {
            self.put(u64::from(bits(bytes, at, 1)?), 1);
            at += 1;
        }
        let (first, shift) = (usize::try_from(at / 8).ok()?, at % 8);
        let whole = usize::try_from((to - at) / 8).ok()?;
        let source = bytes.get(first..first + whole + usize::from(shift > 0 && whole > 0))?;
        match shift {
            0 => self.bytes.extend_from_slice(source),
            _ => self
                .bytes
                .extend(source.windows(2).map(|pair| pair[0] << shift | pair[1] >> (8 - shift))),
        }
        self.count += whole as u64 * 8;
        at += whole as u64 * 8;
        while at < to {
            self.put(u64::from(bits(bytes, at, 1)?), 1);
            at += 1;
        }
        Some(())
    }
}

/// Where to add selectors to a block that begins at this bit, and how many there are. A selector says which
/// code the next fifty symbols use; those without symbols are read and left alone.
fn selectors(bytes: &[u8], start: u64) -> Option<(u64, u32, u64)> {
    // Mark, checksum, a bit that is no more in use, and where the sorted text begins.
    let mut at = start + MARK_BITS + CHECKSUM_BITS + 1 + 24;
    let groups = bits(bytes, at, 16)?;
    at += 16 + u64::from(groups.count_ones()) * 16;
    let number = at + 3;
    let count = bits(bytes, number, 15)?;
    at = number + 15;
    for _ in 0..count {
        while bits(bytes, at, 1)? == 1 {
            at += 1;
        }
        at += 1;
    }
    Some((number, count, at))
}

/// As many selectors as any decoder has room for.
const MOST_SELECTORS: u64 = 18_002;

/// A block between two bits, longer by some bits that mean nothing.
pub(super) fn lengthened(bytes: &[u8], (from, to): (u64, u64), more: u64) -> Option<Row> {
    let (number, count, end) = selectors(bytes, from)?;
    let count = u64::from(count) + more;
    let mut row = Row::default();
    row.append(bytes, from, number)?;
    row.put(count, 15);
    row.append(bytes, number + 15, end)?;
    row.put(0, more);
    row.append(bytes, end, to)?;
    (count <= MOST_SELECTORS).then_some(row)
}
