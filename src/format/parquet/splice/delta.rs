//! The encoding `DELTA_BINARY_PACKED`: integers as differences, in blocks of small numbers. It knows
//! neither pages nor columns.
//!
//! Source: `Encodings.md` in apache/parquet-format, "Delta Encoding".

use crate::format::FormatError;

/// How the numbers are cut up, and how wide they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many differences a block has, and in how many parts they are packed.
    block: usize,
    parts: usize,
    /// Whether the numbers have 32 bits, not 64. Differences wrap around within them.
    is_narrow: bool,
}

/// A larger block is taken for a wrong one.
const LARGEST_BLOCK: u64 = 1 << 20;

impl Shape {
    fn wrap(self, value: i64) -> i64 {
        if self.is_narrow { i64::from(value as i32) } else { value }
    }
}

/// So many numbers, the shape they have, and how many bytes they take.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where the bytes hold another number of them.
pub(super) fn read(
    bytes: &[u8],
    count: usize,
    is_narrow: bool,
) -> Result<(Vec<i64>, Shape, usize), FormatError> {
    let mut rest = bytes;
    let (block, parts) = (unsigned(&mut rest)?, unsigned(&mut rest)?);
    let (total, first) = (unsigned(&mut rest)?, signed(&mut rest)?);
    let is_sane = block <= LARGEST_BLOCK
        && parts > 0
        && block % parts == 0
        && block / parts > 0
        && (block / parts).is_multiple_of(8);
    if !is_sane || total != count as u64 {
        return Err(malformed());
    }
    let shape = Shape { block: block as usize, parts: parts as usize, is_narrow };
    let mut values = Vec::with_capacity(count);
    values.extend((count > 0).then(|| shape.wrap(first)));
    while values.len() < count {
        let lowest = signed(&mut rest)?;
        let (widths, after) = rest.split_at_checked(shape.parts).ok_or_else(malformed)?;
        rest = after;
        for &width in widths {
            if values.len() < count {
                read_part(&mut rest, (lowest, width), shape, (&mut values, count))?;
            }
        }
    }
    Ok((values, shape, bytes.len() - rest.len()))
}

fn read_part(
    rest: &mut &[u8],
    (lowest, width): (i64, u8),
    shape: Shape,
    (values, count): (&mut Vec<i64>, usize),
) -> Result<(), FormatError> {
    let numbers = shape.block / shape.parts;
    let width = usize::from(width);
    if width > 64 {
        return Err(malformed());
    }
    let (packed, after) = rest.split_at_checked(numbers / 8 * width).ok_or_else(malformed)?;
    *rest = after;
    let mut last = values.last().copied().unwrap_or(0);
    for at in 0..numbers.min(count - values.len()) {
        let difference = lowest.wrapping_add(bits(packed, at * width, width).cast_signed());
        last = shape.wrap(last.wrapping_add(difference));
        values.push(last);
    }
    Ok(())
}

/// Appends numbers in a shape.
pub(super) fn write(values: &[i64], shape: Shape, bytes: &mut Vec<u8>) {
    for size in [shape.block, shape.parts, values.len()] {
        write_unsigned(size as u64, bytes);
    }
    write_signed(values.first().copied().unwrap_or(0), bytes);
    let differences: Vec<i64> =
        values.windows(2).map(|pair| shape.wrap(pair[1].wrapping_sub(pair[0]))).collect();
    for block in differences.chunks(shape.block) {
        let lowest = block.iter().copied().min().unwrap_or(0);
        write_signed(lowest, bytes);
        let part_length = shape.block / shape.parts;
        let widths_at = bytes.len();
        bytes.resize(widths_at + shape.parts, 0);
        for (at, part) in block.chunks(part_length).enumerate() {
            let numbers = part.iter().map(|&it| it.wrapping_sub(lowest).cast_unsigned());
            let all = numbers.clone().fold(0, |all, number| all | number);
            let width = (u64::BITS - all.leading_zeros()) as usize;
            bytes[widths_at + at] = width as u8;
            pack(numbers, (width, part_length), bytes);
        }
    }
}

/// Appends numbers of that width, filled up with zeros to that many.
fn pack(numbers: impl Iterator<Item = u64>, (width, count): (usize, usize), bytes: &mut Vec<u8>) {
    let end = bytes.len() + count / 8 * width;
    let (mut word, mut filled) = (0_u128, 0);
    for number in numbers {
        word |= u128::from(number) << filled;
        filled += width;
        while filled >= 8 {
            bytes.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        bytes.push(word as u8);
    }
    bytes.resize(end, 0);
}

/// A number of up to 64 bits, lowest bit first, from a bit on; zeros stand beyond the end.
fn bits(bytes: &[u8], bit: usize, width: usize) -> u64 {
    let rest = bytes.get(bit / 8..).unwrap_or_default();
    let word = rest.first_chunk::<16>().map_or_else(
        || rest.iter().take(16).rev().fold(0_u128, |word, &byte| word << 8 | u128::from(byte)),
        |sixteen| u128::from_le_bytes(*sixteen),
    );
    ((word >> (bit % 8)) & ((1_u128 << width) - 1)) as u64
}

fn unsigned(rest: &mut &[u8]) -> Result<u64, FormatError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or_else(malformed)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed())
}

fn signed(rest: &mut &[u8]) -> Result<i64, FormatError> {
    let folded = unsigned(rest)?;
    Ok((folded >> 1).cast_signed() ^ -((folded & 1).cast_signed()))
}

fn write_unsigned(mut value: u64, bytes: &mut Vec<u8>) {
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn write_signed(value: i64, bytes: &mut Vec<u8>) {
    write_unsigned(((value << 1) ^ (value >> 63)).cast_unsigned(), bytes);
}

fn malformed() -> FormatError {
    FormatError::unreadable("a page has differences that cannot be read")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// G18: numbers survive at any distance from one another, and only so many bytes are taken.
        #[test]
        fn numbers_survive(
            values in prop::collection::vec(any::<i64>(), 0..400),
            near in any::<bool>(),
            is_narrow in any::<bool>(),
            parts in 1_usize..5,
        ) {
            let shape = Shape { block: 32 * parts, parts, is_narrow };
            let values: Vec<i64> = values
                .iter()
                .map(|&value| shape.wrap(if near { value & 0xff } else { value }))
                .collect();
            let mut bytes = Vec::new();
            write(&values, shape, &mut bytes);
            let length = bytes.len();
            bytes.extend([7; 3]);
            let (found, same, used) = read(&bytes, values.len(), is_narrow).expect("readable");
            prop_assert_eq!((found, same, used), (values, shape, length));
        }

        /// G21: no bytes make it panic or ask for memory that is not there.
        #[test]
        fn nothing_panics_on_any_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            count in 0_usize..100,
            is_narrow: bool,
        ) {
            drop(read(&bytes, count, is_narrow));
        }
    }
}
