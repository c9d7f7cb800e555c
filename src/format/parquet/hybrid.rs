//! The hybrid of run lengths and bit packing, in which levels and codes of a dictionary are written.
//! It knows numbers of up to 32 bits, not what they mean.
//!
//! Source: `Encodings.md` in apache/parquet-format, "Run Length Encoding / Bit-Packing Hybrid".

use std::ops::Range;

use crate::format::FormatError;

/// How many numbers are unpacked at a time.
const BLOCK: usize = 32;

/// A place in a run of hybrid bytes. It owns no bytes: each call gets those of the whole page.
#[derive(Clone, Debug)]
pub(super) struct Hybrid {
    /// What is not yet read.
    rest: Range<usize>,
    /// Bits of a number, at most 32.
    width: usize,
    run: Run,
}

/// What is left of the current run.
#[derive(Clone, Debug)]
enum Run {
    Repeated {
        value: u32,
        left: usize,
    },
    /// Where the next number begins, in bits from the start of the page.
    Packed {
        bit: usize,
        left: usize,
    },
}

impl Hybrid {
    /// Numbers of `width` bits in these bytes of a page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the numbers are wider than 32 bits.
    pub(super) fn new(rest: Range<usize>, width: usize) -> Result<Self, FormatError> {
        if width > 32 {
            return Err(FormatError::unreadable("a page packs numbers of more than 32 bits"));
        }
        Ok(Self { rest, width, run: Run::Repeated { value: 0, left: 0 } })
    }

    /// The number that comes next and how often it is certain to be repeated; `None` where the next
    /// numbers are packed.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there are no more numbers.
    pub(super) fn repeated(&mut self, page: &[u8]) -> Result<Option<(u32, usize)>, FormatError> {
        self.advance(page)?;
        Ok(match self.run {
            Run::Repeated { value, left } => Some((value, left)),
            Run::Packed { .. } => None,
        })
    }

    /// Passes over that many of the numbers that [`Hybrid::repeated`] announced.
    pub(super) fn pass(&mut self, count: usize) {
        if let Run::Repeated { left, .. } = &mut self.run {
            *left = left.saturating_sub(count);
        }
    }

    /// Fills `out` with the next numbers.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there are not so many.
    pub(super) fn fill(&mut self, page: &[u8], mut out: &mut [u32]) -> Result<(), FormatError> {
        while !out.is_empty() {
            self.advance(page)?;
            let count = match &mut self.run {
                Run::Repeated { value, left } => {
                    let count = out.len().min(*left);
                    out[..count].fill(*value);
                    *left -= count;
                    count
                }
                Run::Packed { bit, left } => {
                    let count = out.len().min(*left);
                    unpack(page, *bit, self.width, &mut out[..count]);
                    *bit += count * self.width;
                    *left -= count;
                    count
                }
            };
            out = &mut out[count..];
        }
        Ok(())
    }

    /// Goes to the next run where this one is at its end.
    fn advance(&mut self, page: &[u8]) -> Result<(), FormatError> {
        while let Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } = self.run {
            let header = self.header(page).ok_or_else(short)?;
            let count = usize::try_from(header >> 1).map_err(|_| short())?;
            self.run = if header & 1 == 0 {
                Run::Repeated { value: self.value(page)?, left: count }
            } else {
                self.packed(count)
            };
        }
        Ok(())
    }

    /// The header of a run: how long it is and of which kind. `None` at the end, and at a header of
    /// zero, with which some writers fill a page up.
    fn header(&mut self, page: &[u8]) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = *page.get(self.rest.clone())?.first()?;
            self.rest.start += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return (value != 0).then_some(value);
            }
        }
        None
    }

    fn value(&mut self, page: &[u8]) -> Result<u32, FormatError> {
        let length = self.width.div_ceil(8);
        let bytes = page.get(self.rest.clone()).and_then(|rest| rest.get(..length));
        let bytes = bytes.ok_or_else(short)?;
        let value = bytes.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        self.rest.start += length;
        if value >> self.width != 0 {
            return Err(FormatError::unreadable("a page repeats a number wider than it says"));
        }
        // Less than 2^32: no width is larger.
        Ok(value as u32)
    }

    /// A run of so many groups of eight. Some writers cut the last group short.
    fn packed(&mut self, groups: usize) -> Run {
        let bit = self.rest.start.saturating_mul(8);
        let bytes = groups.saturating_mul(self.width).min(self.rest.len());
        self.rest.start += bytes;
        let announced = groups.saturating_mul(8);
        let there = (bytes * 8).checked_div(self.width);
        Run::Packed { bit, left: there.map_or(announced, |there| there.min(announced)) }
    }
}

fn short() -> FormatError {
    FormatError::unreadable("a page holds fewer levels or codes than it announces")
}

/// Numbers of `width` bits, lowest bit first, from a bit of the page on. They lie within it.
fn unpack(page: &[u8], bit: usize, width: usize, out: &mut [u32]) {
    if width == 0 {
        out.fill(0);
        return;
    }
    // The blocks begin at whole bytes: any eight numbers take whole bytes, and so one of the first
    // eight begins at one.
    let head = (0..8).find(|count| (bit + count * width).is_multiple_of(8)).unwrap_or(0);
    let (head, aligned) = out.split_at_mut(head.min(out.len()));
    unpack_singly(page, bit, width, head);
    let mut bit = bit + head.len() * width;
    let kernel = kernel(width);
    let (blocks, tail) = aligned.as_chunks_mut::<BLOCK>();
    for block in blocks {
        // A block looks at up to eight bytes beyond its own.
        match page.get(bit / 8..bit / 8 + BLOCK / 8 * width + 8) {
            Some(bytes) => kernel(bytes, block),
            None => unpack_singly(page, bit, width, block),
        }
        bit += BLOCK * width;
    }
    unpack_singly(page, bit, width, tail);
}

/// The same, one number after another.
fn unpack_singly(page: &[u8], mut bit: usize, width: usize, out: &mut [u32]) {
    let mask = (1_u64 << width) - 1;
    for number in out {
        let rest = page.get(bit / 8..).unwrap_or_default();
        let word = rest.first_chunk::<8>().map_or_else(
            || rest.iter().rev().fold(0_u64, |word, &byte| word << 8 | u64::from(byte)),
            |eight| u64::from_le_bytes(*eight),
        );
        *number = ((word >> (bit % 8)) & mask) as u32;
        bit += width;
    }
}

type Kernel = fn(&[u8], &mut [u32; BLOCK]);

/// A block whose width is known when it is compiled, so that shifts are constants and no access is
/// checked. `bytes` are those of the block and eight more.
fn block<const WIDTH: usize>(bytes: &[u8], out: &mut [u32; BLOCK]) {
    let mask = (1_u64 << WIDTH) - 1;
    let Some(bytes) = bytes.get(..BLOCK / 8 * WIDTH + 8) else { return };
    for (at, number) in out.iter_mut().enumerate() {
        let bit = at * WIDTH;
        let word =
            bytes[bit / 8..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
        *number = ((word >> (bit % 8)) & mask) as u32;
    }
}

fn kernel(width: usize) -> Kernel {
    macro_rules! kernels {
        ($($width:literal)*) => {
            match width {
                $($width => block::<$width>,)*
                _ => block::<32>,
            }
        };
    }
    kernels!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31)
}

/// A shorter run is packed.
const SHORTEST_RUN: usize = 8;

/// Appends numbers of `width` bits, at most 32, as [`Hybrid`] reads them.
pub(super) fn write<N>(numbers: &[N], width: usize, bytes: &mut Vec<u8>)
where
    N: Copy + PartialEq + Into<u32>,
{
    let (mut at, mut unwritten) = (0, 0);
    while let Some(&number) = numbers.get(at) {
        let run = numbers[at..].iter().take_while(|&&other| other == number).count();
        // What is packed are groups of eight, of which a run fills up the last.
        let missing = (at - unwritten).next_multiple_of(8) - (at - unwritten);
        let is_tail = at == unwritten && at + run == numbers.len();
        if is_tail || run >= missing + SHORTEST_RUN {
            write_packed(&numbers[unwritten..at + missing], width, bytes);
            write_header(((run - missing) as u64) << 1, bytes);
            bytes.extend_from_slice(&number.into().to_le_bytes()[..width.div_ceil(8)]);
            unwritten = at + run;
        }
        at += run;
    }
    write_packed(&numbers[unwritten..], width, bytes);
}

fn write_packed<N: Copy + Into<u32>>(numbers: &[N], width: usize, bytes: &mut Vec<u8>) {
    if numbers.is_empty() {
        return;
    }
    let groups = numbers.len().div_ceil(8);
    write_header((groups as u64) << 1 | 1, bytes);
    let end = bytes.len() + groups * width;
    bytes.reserve(groups * width + 8);
    let (mut word, mut bits) = (0_u64, 0);
    for &number in numbers {
        word |= u64::from(number.into()) << bits;
        bits += width;
        if bits >= 32 {
            bytes.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            bits -= 32;
        }
    }
    bytes.extend_from_slice(&word.to_le_bytes()[..bits.div_ceil(8)]);
    bytes.resize(end, 0);
}

fn write_header(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs as a writer makes them: (repeated, numbers).
    fn spell(runs: &[(bool, Vec<u32>)], width: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (repeats, numbers) in runs {
            let groups = numbers.len().div_ceil(8);
            let mut header = if *repeats { numbers.len() << 1 } else { groups << 1 | 1 };
            while header > 0x7f {
                bytes.push(header as u8 & 0x7f | 0x80);
                header >>= 7;
            }
            bytes.push(header as u8);
            if *repeats {
                bytes.extend(&numbers[0].to_le_bytes()[..width.div_ceil(8)]);
                continue;
            }
            let mut bits: Vec<bool> = Vec::new();
            for number in numbers {
                bits.extend((0..width).map(|bit| number >> bit & 1 == 1));
            }
            bits.resize(groups * 8 * width, false);
            let byte = |eight: &[bool]| {
                eight.iter().rev().fold(0_u8, |byte, &bit| byte << 1 | u8::from(bit))
            };
            bytes.extend(bits.chunks(8).map(byte));
        }
        bytes
    }

    fn runs() -> impl Strategy<Value = (usize, Vec<(bool, Vec<u32>)>)> {
        (0_usize..=32).prop_flat_map(|width| {
            let mask = ((1_u64 << width) - 1) as u32;
            let number = any::<u32>().prop_map(move |number| number & mask);
            let repeated = (number.clone(), 1_usize..200).prop_map(|(one, n)| (true, vec![one; n]));
            let packed = prop::collection::vec(number, 1..20)
                .prop_map(|groups| (false, groups.iter().flat_map(|&n| [n; 8]).collect()));
            (Just(width), prop::collection::vec(prop_oneof![repeated, packed], 1..8))
        })
    }

    proptest! {
        /// Whatever was written is read, in pieces of any size.
        #[test]
        fn numbers_survive((width, runs) in runs(), piece in 1_usize..70) {
            let bytes = spell(&runs, width);
            let expected: Vec<u32> = runs.iter().flat_map(|(_, numbers)| numbers.clone()).collect();
            let mut hybrid = Hybrid::new(0..bytes.len(), width).expect("at most 32 bits");
            let mut found = Vec::new();
            while found.len() < expected.len() {
                let mut out = vec![0; piece.min(expected.len() - found.len())];
                hybrid.fill(&bytes, &mut out).expect("so many numbers");
                found.extend(out);
            }
            prop_assert_eq!(found, expected);
            prop_assert!(hybrid.fill(&bytes, &mut [0]).is_err());
        }

        /// Whatever is written here is read, run or not.
        #[test]
        fn what_is_written_is_read((width, runs) in runs(), cut in 0_usize..20) {
            let numbers: Vec<u32> = runs.iter().flat_map(|(_, run)| run[cut.min(run.len())..].to_vec()).collect();
            let mut bytes = Vec::new();
            super::write(&numbers, width, &mut bytes);
            let mut hybrid = Hybrid::new(0..bytes.len(), width).expect("at most 32 bits");
            let mut found = vec![0; numbers.len()];
            hybrid.fill(&bytes, &mut found).expect("so many numbers");
            prop_assert_eq!(found, numbers);
        }

        /// G21: no bytes make it panic, loop or read beyond them.
        #[test]
        fn nothing_panics_on_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            width in 0_usize..40,
        ) {
            if let Ok(mut hybrid) = Hybrid::new(0..bytes.len(), width) {
                let mut out = [0; 100];
                for _ in 0..3 {
                    drop(hybrid.fill(&bytes, &mut out));
                    drop(hybrid.repeated(&bytes));
                }
            }
        }
    }
}
