//! Huffman codes as tables: the next bits of a stream lead to what they stand for.

use std::sync::LazyLock;

use super::Broken;

/// How many bits index the first table of literals and lengths, and that of distances.
const LITERAL_BITS: u32 = 11;
const DISTANCE_BITS: u32 = 9;

/// The tables with room for what longer codes take, up to a power of two: an index that is masked
/// needs no check.
const LITERAL_ENTRIES: usize = 4096;
const DISTANCE_ENTRIES: usize = 1024;

/// The longest code.
const LONGEST: usize = 15;

/// The symbol that ends a block.
const END: usize = 256;

/// What bits stand for. The lowest byte is how many bits to take, with those of the value that follow
/// the code; the next four bits are how many of them are the code; the upper half is a literal, or
/// what the value's bits are added to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry(u32);

const LITERAL: u32 = 1 << 15;
const SPECIAL: u32 = 1 << 14;
const END_OF_BLOCK: u32 = 1 << 13;
const LONGER: u32 = 1 << 12;

impl Entry {
    fn new(code: usize, extra: u32, flags: u32, value: u32) -> Self {
        let code = code as u32;
        Self(value << 16 | flags | code << 8 | (code + extra))
    }

    /// How many bits to take.
    pub(super) fn taken(self) -> u32 {
        self.0 & 0x3f
    }

    pub(super) fn is_literal(self) -> bool {
        self.0 & LITERAL != 0
    }

    /// Neither literal nor length nor distance.
    pub(super) fn is_special(self) -> bool {
        self.0 & SPECIAL != 0
    }

    /// The block ends here.
    pub(super) fn is_end(self) -> bool {
        self.0 & END_OF_BLOCK != 0
    }

    /// The literal.
    pub(super) fn literal(self) -> u8 {
        (self.0 >> 16) as u8
    }

    /// The length or distance, whose last bits are among these.
    pub(super) fn value(self, bits: u64) -> usize {
        let code = (self.0 >> 8) & 0xf;
        let extra = (bits & ((1u64 << self.taken()) - 1)) >> code;
        (self.0 >> 16) as usize + extra as usize
    }
}

/// The codes of a block.
pub(super) struct Codes {
    literals: [Entry; LITERAL_ENTRIES],
    distances: [Entry; DISTANCE_ENTRIES],
}

/// What the blocks use that bring no codes of their own.
pub(super) static FIXED: LazyLock<Codes> = LazyLock::new(|| {
    let literals = |symbol: usize| match symbol {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    };
    let literals: [u8; 288] = std::array::from_fn(literals);
    let mut codes = Codes::new();
    // They are complete, which is all that `build` asks for.
    let _ = codes.build(&literals, &[5; 32]);
    codes
});

impl Codes {
    /// Codes of nothing.
    pub(super) fn new() -> Self {
        let nothing = Entry(SPECIAL);
        Self { literals: [nothing; LITERAL_ENTRIES], distances: [nothing; DISTANCE_ENTRIES] }
    }

    /// Codes of these lengths.
    ///
    /// # Errors
    ///
    /// [`Broken`] where there are none with such lengths.
    pub(super) fn build(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), Broken> {
        if literals.get(END).is_none_or(|&length| length == 0) {
            return Err(Broken::Corrupt);
        }
        fill(&mut self.literals, LITERAL_BITS, literals, literal_entry)?;
        fill(&mut self.distances, DISTANCE_BITS, distances, distance_entry)
    }

    /// What the next bits stand for among literals and lengths.
    #[inline(always)]
    pub(super) fn literal(&self, bits: u64) -> Entry {
        self.literals[bits as usize & ((1 << LITERAL_BITS) - 1)]
    }

    /// The same, where the code is longer than the first table knows.
    #[inline]
    pub(super) fn longer_literal(&self, entry: Entry, bits: u64) -> Entry {
        match longer(entry, bits, LITERAL_BITS) {
            Some(index) => self.literals[index & (LITERAL_ENTRIES - 1)],
            None => entry,
        }
    }

    /// What the next bits stand for among distances.
    #[inline(always)]
    pub(super) fn distance(&self, bits: u64) -> Entry {
        let entry = self.distances[bits as usize & ((1 << DISTANCE_BITS) - 1)];
        match longer(entry, bits, DISTANCE_BITS) {
            Some(index) => self.distances[index & (DISTANCE_ENTRIES - 1)],
            None => entry,
        }
    }
}

/// Where a longer code's entry is.
#[inline(always)]
fn longer(entry: Entry, bits: u64, first: u32) -> Option<usize> {
    if entry.0 & LONGER == 0 {
        return None;
    }
    let more = (bits >> first) & ((1 << entry.taken()) - 1);
    Some((entry.0 >> 16) as usize + more as usize)
}

fn literal_entry(symbol: usize, length: usize) -> Entry {
    let (extra, base) = match symbol {
        0..END => return Entry::new(length, 0, LITERAL, symbol as u32),
        END => return Entry::new(length, 0, SPECIAL | END_OF_BLOCK, 0),
        257..265 => (0, symbol as u32 - 254),
        265..285 => {
            let extra = (symbol as u32 - 261) / 4;
            (extra, 3 + ((4 + (symbol as u32 - 265) % 4) << extra))
        }
        285 => (0, 258),
        _ => return Entry(SPECIAL),
    };
    Entry::new(length, extra, 0, base)
}

fn distance_entry(symbol: usize, length: usize) -> Entry {
    let (extra, base) = match symbol as u32 {
        symbol @ 0..4 => (0, symbol + 1),
        symbol @ 4..30 => (symbol / 2 - 1, 1 + ((2 + symbol % 2) << (symbol / 2 - 1))),
        _ => return Entry(SPECIAL),
    };
    Entry::new(length, extra, 0, base)
}

/// A symbol, the length of its code, and the code, its first bit lowest.
type Assigned = (usize, usize, usize);

/// Assigns the canonical codes of RFC 1951, 3.2.2, by ascending symbol.
fn assign(lengths: &[u8]) -> Result<impl Iterator<Item = Assigned> + Clone + '_, Broken> {
    let mut counts = [0usize; LONGEST + 1];
    for &length in lengths {
        *counts.get_mut(usize::from(length)).ok_or(Broken::Corrupt)? += 1;
    }
    counts[0] = 0;
    let (mut next, mut code, mut taken) = ([0usize; LONGEST + 1], 0, 0);
    for length in 1..=LONGEST {
        code = (code + counts[length - 1]) << 1;
        next[length] = code;
        taken += counts[length] << (LONGEST - length);
    }
    // What is not complete is accepted as widely used decoders do: a code of one bit, or none at all.
    let is_lone = counts.iter().sum::<usize>() == counts[1] && counts[1] <= 1;
    if taken > 1 << LONGEST || (taken < 1 << LONGEST && !is_lone) {
        return Err(Broken::Corrupt);
    }
    let with_code = lengths.iter().enumerate().filter(|(_, length)| **length > 0);
    Ok(with_code.scan(next, |next, (symbol, &length)| {
        let length = usize::from(length);
        let code = next[length] as u16;
        next[length] += 1;
        Some((symbol, length, usize::from(code.reverse_bits() >> (16 - length))))
    }))
}

/// Tells of every symbol that has a code how long that is, and which bits it is.
///
/// # Errors
///
/// [`Broken`] where there are no codes of such lengths.
pub(super) fn each(
    lengths: &[u8],
    mut tell: impl FnMut(usize, usize, usize),
) -> Result<(), Broken> {
    assign(lengths)?.for_each(|(symbol, length, code)| tell(symbol, length, code));
    Ok(())
}

fn fill(
    table: &mut [Entry],
    first: u32,
    lengths: &[u8],
    entry: impl Fn(usize, usize) -> Entry,
) -> Result<(), Broken> {
    let (primary, mut free) = (first as usize, 1usize << first);
    let assigned = assign(lengths)?;
    table[..free].fill(Entry(SPECIAL));
    for (symbol, length, code) in assigned.clone().filter(|(_, length, _)| *length <= primary) {
        let entry = entry(symbol, length);
        table[..1 << primary].iter_mut().skip(code).step_by(1 << length).for_each(|it| *it = entry);
    }
    // How long the longest code is that begins with these bits, until it is known where its table is.
    for (_, length, code) in assigned.clone().filter(|(_, length, _)| *length > primary) {
        let start = &mut table[code & ((1 << primary) - 1)];
        let more = ((length - primary) as u32).max(start.taken());
        *start = Entry(SPECIAL | LONGER | more);
    }
    for (symbol, length, code) in assigned.filter(|(_, length, _)| *length > primary) {
        let start = code & ((1 << primary) - 1);
        let more = table[start].taken();
        let size = 1 << more;
        let at = match (table[start].0 >> 16) as usize {
            0 => {
                let end = free.checked_add(size).ok_or(Broken::Corrupt)?;
                table.get_mut(free..end).ok_or(Broken::Corrupt)?.fill(Entry(SPECIAL));
                table[start].0 |= (free as u32) << 16;
                std::mem::replace(&mut free, end)
            }
            at => at,
        };
        let entry = entry(symbol, length);
        let step = 1 << (length - primary);
        table[at..at + size]
            .iter_mut()
            .skip(code >> primary)
            .step_by(step)
            .for_each(|it| *it = entry);
    }
    Ok(())
}
