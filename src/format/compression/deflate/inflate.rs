//! Inflates, and knows to the bit where it is.

use super::Broken;
use super::codes::{Codes, FIXED};
use super::output::{LONGEST_MATCH, OVERSHOOT, Output};
use crate::format::compression::Input;
use crate::format::{FormatError, Source};

/// The longest header of a block is some 563 bytes.
const HEADER_BYTES: usize = 640;

/// As many bytes are looked at for a symbol, at most.
const SYMBOL_BYTES: usize = 32;

/// In what order a header tells how long the codes of code lengths are.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Why inflating paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format::compression) enum Stop {
    /// There is as much content as there was to be.
    Full,
    /// A block ended.
    Block,
    /// The last block ended.
    End,
}

/// The block that a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format::compression) struct Block {
    /// The stored bit at which its header begins.
    pub(in crate::format::compression) bit: u64,
    /// Whether it is the last one.
    pub(in crate::format::compression) is_last: bool,
    /// Whether its codes are the fixed ones.
    pub(in crate::format::compression) is_fixed: bool,
    /// The byte that the header begins in.
    pub(in crate::format::compression) byte: u8,
}

/// A place between two symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format::compression) struct Place {
    /// The stored bit at which the next symbol, or the next block, begins.
    pub(in crate::format::compression) bit: u64,
    /// How much content there is before it.
    pub(in crate::format::compression) content: u64,
    /// The block that it is in; `None` between blocks.
    pub(in crate::format::compression) block: Option<Block>,
    /// The byte that the bit lies in, unless it is the first one of a byte.
    pub(in crate::format::compression) byte: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    Stored(usize),
    Fixed,
    Dynamic,
    End,
}

/// Inflates a stream.
pub(in crate::format::compression) struct Inflate {
    /// Bits of the last byte that was taken.
    bits: u64,
    /// How many; fewer than eight.
    count: u32,
    /// That byte.
    byte: u8,
    state: State,
    block: Block,
    codes: Box<Codes>,
}

impl Inflate {
    /// From a byte on at which a block begins.
    pub(in crate::format::compression) fn new() -> Self {
        let block = Block { bit: 0, is_last: false, is_fixed: false, byte: 0 };
        let codes = Box::new(Codes::new());
        Self { bits: 0, count: 0, byte: 0, state: State::Header, block, codes }
    }

    /// Forgets where it is: a block begins at the next byte.
    pub(in crate::format::compression) fn reset(&mut self) {
        (self.bits, self.count, self.state) = (0, 0, State::Header);
    }

    /// Goes on at a place where a block begins, or within a block of fixed codes. Answers whether that is
    /// such a place within the input, which is made to go on at its byte.
    pub(in crate::format::compression) fn resume<S: Source>(
        &mut self,
        place: &Place,
        input: &mut Input<S>,
    ) -> Result<bool, FormatError> {
        input.jump(place.bit / 8);
        self.reset();
        match place.block {
            None => {}
            Some(block) if block.is_fixed => (self.block, self.state) = (block, State::Fixed),
            Some(_) => return Ok(false),
        }
        let passed = (place.bit % 8) as u32;
        if passed > 0 {
            let Some([byte]) = input.array::<1>()? else { return Ok(false) };
            (self.bits, self.count, self.byte) = (u64::from(byte) >> passed, 8 - passed, byte);
        }
        Ok(true)
    }

    /// Where it is.
    pub(in crate::format::compression) fn place<S: Source>(
        &self,
        input: &Input<S>,
        output: &Output,
    ) -> Place {
        let is_between = matches!(self.state, State::Header | State::End);
        Place {
            bit: bit_of(input.position(), self.count),
            content: output.end(),
            block: (!is_between).then_some(self.block),
            byte: self.byte,
        }
    }

    /// Inflates until a block ends or there are `at_most` bytes more, or almost: the content ends between
    /// two symbols, up to 258 bytes before that. Makes as much room as that takes.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the stream is corrupt or ends early, or the store fails.
    pub(in crate::format::compression) fn run<S: Source>(
        &mut self,
        input: &mut Input<S>,
        output: &mut Output,
        at_most: usize,
    ) -> Result<Stop, FormatError> {
        output.reserve(at_most);
        let limit = output.filled + at_most;
        loop {
            let position = input.position();
            let piece = input.ahead(HEADER_BYTES)?;
            let mut reader = Reader {
                bytes: piece,
                at: 0,
                bits: self.bits,
                count: self.count,
                is_last: piece.len() < HEADER_BYTES,
            };
            let stepped = self.step(&mut reader, position, (&mut *output, limit));
            // What is read beyond the end is no stream's fault.
            let taken = reader.give_back().and_then(|taken| Ok((stepped?, taken)));
            let (stop, taken) = match taken {
                Ok(taken) => taken,
                Err(Broken::EndsEarly) => return Err(fail(input, "the gzip stream ends early")),
                Err(Broken::Corrupt) => return Err(fail(input, "the gzip stream is corrupt")),
            };
            (self.bits, self.count) = (reader.bits, reader.count);
            self.byte = taken.checked_sub(1).map_or(self.byte, |last| reader.bytes[last]);
            input.consume(taken);
            if let Some(stop) = stop {
                return Ok(stop);
            }
        }
    }

    /// Goes on until inflating pauses, or more input is wanted.
    fn step(
        &mut self,
        reader: &mut Reader<'_>,
        position: u64,
        (output, limit): (&mut Output, usize),
    ) -> Result<Option<Stop>, Broken> {
        loop {
            match self.state {
                State::End => return Ok(Some(Stop::End)),
                State::Header => {
                    if reader.wants(HEADER_BYTES) {
                        return Ok(None);
                    }
                    // What is held in bits was taken from this piece, but for those of one byte.
                    self.block.bit = bit_of(position + reader.at as u64, reader.count);
                    let at = (self.block.bit / 8).checked_sub(position);
                    let byte = at.and_then(|at| reader.bytes.get(at as usize));
                    self.block.byte = byte.copied().unwrap_or(self.byte);
                    self.state = self.header(reader)?;
                }
                State::Stored(left) => {
                    reader.return_bytes();
                    let room = limit.saturating_sub(output.filled);
                    let ahead = reader.bytes.get(reader.at..).unwrap_or_default();
                    let length = left.min(room).min(ahead.len());
                    output.put(&ahead[..length]);
                    reader.at += length;
                    self.state = State::Stored(left - length);
                    if left == length {
                        return Ok(Some(self.end_block()));
                    }
                    return match () {
                        () if room == length => Ok(Some(Stop::Full)),
                        () if reader.is_last => Err(Broken::EndsEarly),
                        () => Ok(None),
                    };
                }
                State::Fixed | State::Dynamic => {
                    let is_fixed = self.state == State::Fixed;
                    let codes = if is_fixed { &*FIXED } else { &*self.codes };
                    return Ok(match symbols(codes, reader, output, limit)? {
                        Pause::Room => Some(Stop::Full),
                        Pause::Input => None,
                        Pause::End => Some(self.end_block()),
                    });
                }
            }
        }
    }

    fn end_block(&mut self) -> Stop {
        let (state, stop) = match self.block.is_last {
            true => (State::End, Stop::End),
            false => (State::Header, Stop::Block),
        };
        self.state = state;
        stop
    }

    fn header(&mut self, reader: &mut Reader<'_>) -> Result<State, Broken> {
        self.block.is_last = reader.take(1)? == 1;
        let kind = reader.take(2)?;
        self.block.is_fixed = kind == 1;
        match kind {
            0 => {
                let rest = reader.count % 8;
                reader.take(rest)?;
                let (length, inverse) = (reader.take(16)?, reader.take(16)?);
                if length != !inverse & 0xffff {
                    return Err(Broken::Corrupt);
                }
                Ok(State::Stored(length as usize))
            }
            1 => Ok(State::Fixed),
            2 => self.codes(reader).map(|()| State::Dynamic),
            _ => Err(Broken::Corrupt),
        }
    }

    /// Reads the codes of a block.
    fn codes(&mut self, reader: &mut Reader<'_>) -> Result<(), Broken> {
        let literals = reader.take(5)? as usize + 257;
        let distances = reader.take(5)? as usize + 1;
        let count = reader.take(4)? as usize + 4;
        if literals > 286 || distances > 30 {
            return Err(Broken::Corrupt);
        }
        let mut lengths = [0u8; 19];
        for &symbol in &ORDER[..count] {
            lengths[symbol] = reader.take(3)? as u8;
        }
        let lengths = LengthCodes::new(&lengths)?.read(reader, literals + distances)?;
        self.codes.build(&lengths[..literals], &lengths[literals..literals + distances])
    }
}

/// The stored bit that comes next where so many bits before a byte are left.
fn bit_of(byte: u64, count: u32) -> u64 {
    byte.saturating_mul(8).saturating_sub(u64::from(count))
}

fn fail<S: Source>(input: &Input<S>, reason: &str) -> FormatError {
    FormatError::unreadable_at(reason, None, input.position())
}

/// The codes of code lengths, as a table of seven bits: symbol and length of the code.
struct LengthCodes([(u8, u8); 128]);

impl LengthCodes {
    fn new(lengths: &[u8; 19]) -> Result<Self, Broken> {
        let mut table = [(0, 0); 128];
        super::codes::each(lengths, |symbol, length, code| {
            let entries = table.iter_mut().skip(code).step_by(1 << length);
            entries.for_each(|entry| *entry = (symbol as u8, length as u8));
        })?;
        Ok(Self(table))
    }

    fn read(&self, reader: &mut Reader<'_>, count: usize) -> Result<[u8; 320], Broken> {
        let mut lengths = [0u8; 320];
        let mut at = 0;
        while at < count {
            reader.refill();
            let (symbol, length) = self.0[(reader.bits & 0x7f) as usize];
            if length == 0 {
                return Err(Broken::Corrupt);
            }
            reader.take(u32::from(length))?;
            let (value, times) = match symbol {
                16 => {
                    let before = at.checked_sub(1).ok_or(Broken::Corrupt)?;
                    (lengths[before], 3 + reader.take(2)? as usize)
                }
                17 => (0, 3 + reader.take(3)? as usize),
                18 => (0, 11 + reader.take(7)? as usize),
                symbol => (symbol, 1),
            };
            let end = at + times;
            if end > count {
                return Err(Broken::Corrupt);
            }
            lengths[at..end].fill(value);
            at = end;
        }
        Ok(lengths)
    }
}

/// Takes bits from a piece of input.
struct Reader<'i> {
    bytes: &'i [u8],
    /// Beyond the end, where the stream is: zeros are read there, and noticed when input is given back.
    at: usize,
    bits: u64,
    count: u32,
    /// Whether nothing follows the piece.
    is_last: bool,
}

impl Reader<'_> {
    /// Whether fewer than so many bytes are ahead, and there are more.
    fn wants(&self, bytes: usize) -> bool {
        !self.is_last && self.at + bytes > self.bytes.len()
    }

    /// Makes at least 56 bits ready.
    #[inline(always)]
    fn refill(&mut self) {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(eight) => {
                self.bits |= u64::from_le_bytes(*eight) << self.count;
                self.at += ((63 - self.count) / 8) as usize;
                self.count |= 56;
            }
            None => self.refill_slowly(),
        }
    }

    #[cold]
    fn refill_slowly(&mut self) {
        // Bits above the count may have come from a whole chunk; they are the same ones.
        while self.count < 56 {
            let byte = self.bytes.get(self.at).copied().unwrap_or(0);
            self.bits |= u64::from(byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
    }

    /// Drops bits that were looked at.
    #[inline(always)]
    fn drop(&mut self, count: u32) {
        self.bits >>= count;
        self.count = self.count.wrapping_sub(count);
    }

    fn take(&mut self, count: u32) -> Result<u64, Broken> {
        if self.count < count {
            self.refill();
        }
        let value = self.bits & ((1 << count) - 1);
        self.drop(count);
        // Nothing is made of what is read beyond the end.
        if self.at > self.bytes.len() + 8 { Err(Broken::EndsEarly) } else { Ok(value) }
    }

    /// Gives back whole bytes that were taken and not used.
    fn return_bytes(&mut self) {
        self.at = self.at.saturating_sub((self.count / 8) as usize);
        self.count %= 8;
        self.bits &= (1 << self.count) - 1;
    }

    /// The same; answers how many bytes of the piece are used up.
    fn give_back(&mut self) -> Result<usize, Broken> {
        self.return_bytes();
        if self.at > self.bytes.len() { Err(Broken::EndsEarly) } else { Ok(self.at) }
    }
}

/// Why symbols are read no further.
enum Pause {
    Room,
    Input,
    End,
}

/// Reads symbols while there is room for another, and enough input.
fn symbols(
    codes: &Codes,
    reader: &mut Reader<'_>,
    output: &mut Output,
    limit: usize,
) -> Result<Pause, Broken> {
    let mut at = output.filled;
    let out = &mut output.bytes[..];
    let last = limit.saturating_sub(LONGEST_MATCH);
    let pause = loop {
        if at > last {
            break Pause::Room;
        }
        if reader.wants(SYMBOL_BYTES) {
            break Pause::Input;
        }
        if reader.at > reader.bytes.len() + SYMBOL_BYTES {
            return Err(Broken::EndsEarly);
        }
        reader.refill();
        let mut entry = codes.literal(reader.bits);
        if entry.is_literal() {
            out[at] = entry.literal();
            at += 1;
            reader.drop(entry.taken());
            entry = codes.literal(reader.bits);
            if entry.is_literal() {
                out[at] = entry.literal();
                at += 1;
                reader.drop(entry.taken());
                entry = codes.literal(reader.bits);
            }
        }
        if entry.is_special() {
            entry = codes.longer_literal(entry, reader.bits);
            if entry.is_end() {
                reader.drop(entry.taken());
                break Pause::End;
            }
            if entry.is_special() {
                return Err(Broken::Corrupt);
            }
        }
        if entry.is_literal() {
            out[at] = entry.literal();
            at += 1;
            reader.drop(entry.taken());
            continue;
        }
        let length = entry.value(reader.bits);
        reader.drop(entry.taken());
        reader.refill();
        let entry = codes.distance(reader.bits);
        if entry.is_special() {
            return Err(Broken::Corrupt);
        }
        let distance = entry.value(reader.bits);
        reader.drop(entry.taken());
        copy(out, at, distance, length)?;
        at += length;
    };
    output.filled = at;
    Ok(pause)
}

/// Repeats what was `distance` bytes ago; may write up to 16 bytes more than that.
#[inline(always)]
fn copy(out: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Broken> {
    let Some(mut from) = at.checked_sub(distance) else { return Err(Broken::Corrupt) };
    let end = at + length;
    if distance >= OVERSHOOT {
        let mut to = at;
        while to < end {
            let Some(chunk) = out.get(from..).and_then(|rest| rest.first_chunk::<OVERSHOOT>())
            else {
                return Err(Broken::Corrupt);
            };
            let chunk = *chunk;
            let Some(room) = out.get_mut(to..).and_then(|rest| rest.first_chunk_mut()) else {
                return Err(Broken::Corrupt);
            };
            *room = chunk;
            (from, to) = (from + OVERSHOOT, to + OVERSHOOT);
        }
    } else if let (1, Some(&byte)) = (distance, out.get(from)) {
        out[at..end].fill(byte);
    } else {
        for to in at..end {
            out[to] = out[from];
            from += 1;
        }
    }
    Ok(())
}
