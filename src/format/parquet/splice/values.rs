//! The values of one page in whatever encoding: read without a cast, some taken out, and written as
//! they were. It knows neither levels nor what a value means.
//!
//! Source: `Encodings.md` in apache/parquet-format.

use parquet::basic::Type;

use super::super::hybrid::{self, Hybrid};
use super::delta::{self, Shape};
use crate::format::FormatError;

/// Numbers of encodings in `parquet.thrift`.
pub(super) const PLAIN: i64 = 0;
pub(super) const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const DELTA_BINARY_PACKED: i64 = 5;
const DELTA_LENGTH: i64 = 6;
const DELTA_STRINGS: i64 = 7;
pub(super) const RLE_DICTIONARY: i64 = 8;
const BYTE_STREAM_SPLIT: i64 = 9;

/// No page is longer when it is unfolded.
const LONGEST_BYTES: usize = 1 << 30;

/// The physical type of a column, with the length of its values where that is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Truth,
    Fixed { width: usize, is_integer: bool },
    Variable,
}

impl Kind {
    /// Of a column of this type.
    pub(super) fn of(kind: Type, type_length: i32) -> Self {
        let fixed = |width, is_integer| Self::Fixed { width, is_integer };
        match kind {
            Type::BOOLEAN => Self::Truth,
            Type::INT32 => fixed(4, true),
            Type::INT64 => fixed(8, true),
            Type::INT96 => fixed(12, false),
            Type::FLOAT => fixed(4, false),
            Type::DOUBLE => fixed(8, false),
            Type::BYTE_ARRAY => Self::Variable,
            Type::FIXED_LEN_BYTE_ARRAY => fixed(usize::try_from(type_length).unwrap_or(0), false),
        }
    }

    /// Whether values of this type are read and written in the encoding of this number.
    pub(super) fn knows(self, encoding: i64) -> bool {
        match (encoding, self) {
            (PLAIN, _) | (RLE, Self::Truth) => true,
            (PLAIN_DICTIONARY | RLE_DICTIONARY, kind) => kind != Self::Truth,
            (DELTA_BINARY_PACKED, Self::Fixed { is_integer, .. }) => is_integer,
            (DELTA_LENGTH, kind) => kind == Self::Variable,
            (DELTA_STRINGS, kind) => {
                matches!(kind, Self::Variable | Self::Fixed { is_integer: false, .. })
            }
            (BYTE_STREAM_SPLIT, Self::Fixed { .. }) => true,
            _ => false,
        }
    }
}

/// Values in the order of their entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Numbers that stand for values: those of a dictionary, or 0 and 1 for truth values.
    Codes(Vec<u32>),
    Fixed {
        width: usize,
        count: usize,
        bytes: Vec<u8>,
    },
    /// All values one after another, and where each ends.
    Variable {
        ends: Vec<usize>,
        bytes: Vec<u8>,
    },
}

/// What becomes of a value. Those that are not mentioned stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) at: usize,
    /// Whether the empty value takes its place; else nothing does.
    pub(super) is_emptied: bool,
}

impl Values {
    /// How many.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Codes(codes) => codes.len(),
            Self::Fixed { count, .. } => *count,
            Self::Variable { ends, .. } => ends.len(),
        }
    }

    /// The bytes of a value; of a code, none.
    pub(super) fn get(&self, at: usize) -> &[u8] {
        let bytes = match self {
            Self::Codes(_) => None,
            Self::Fixed { width, bytes, .. } => bytes.get(at * width..(at + 1) * width),
            Self::Variable { ends, bytes } => {
                let start = at.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied());
                start.zip(ends.get(at)).and_then(|(start, &end)| bytes.get(start..end))
            }
        };
        bytes.unwrap_or_default()
    }

    /// No values of the same sort.
    pub(super) fn none_like(&self) -> Self {
        match self {
            Self::Codes(_) => Self::Codes(Vec::new()),
            Self::Fixed { width, .. } => Self::Fixed { width: *width, count: 0, bytes: Vec::new() },
            Self::Variable { .. } => Self::Variable { ends: Vec::new(), bytes: Vec::new() },
        }
    }

    /// Appends a value of a sort that is not codes.
    pub(super) fn push(&mut self, value: &[u8]) {
        match self {
            Self::Codes(_) => {}
            Self::Fixed { count, bytes, .. } => {
                bytes.extend_from_slice(value);
                *count += 1;
            }
            Self::Variable { ends, bytes } => {
                bytes.extend_from_slice(value);
                ends.push(bytes.len());
            }
        }
    }

    /// Appends a stretch of others of the same sort.
    fn extend(&mut self, other: &Self, from: usize, to: usize) {
        match (self, other) {
            (Self::Codes(codes), Self::Codes(more)) => codes.extend_from_slice(&more[from..to]),
            (Self::Fixed { width, count, bytes }, Self::Fixed { bytes: more, .. }) => {
                bytes.extend_from_slice(&more[from * *width..to * *width]);
                *count += to - from;
            }
            (Self::Variable { ends, bytes }, Self::Variable { ends: all, bytes: more }) => {
                let start = from.checked_sub(1).map_or(0, |before| all[before]);
                let Some(&end) = all[from..to].last() else { return };
                let base = bytes.len();
                bytes.extend_from_slice(&more[start..end]);
                ends.extend(all[from..to].iter().map(|end| end - start + base));
            }
            _ => {}
        }
    }

    /// The values as they become; `empty` is the empty value, or its code. The fates are ascending.
    pub(super) fn edited(&self, fates: &[Fate], (empty, code): (&[u8], u32)) -> Self {
        let mut edited = self.none_like();
        let mut from = 0;
        for fate in fates {
            edited.extend(self, from, fate.at);
            match &mut edited {
                _ if !fate.is_emptied => {}
                Self::Codes(codes) => codes.push(code),
                other => other.push(empty),
            }
            from = fate.at + 1;
        }
        edited.extend(self, from, self.len());
        edited
    }
}

/// How the values of a page are packed, as far as its encoding leaves that open.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    encoding: i64,
    /// Bits of a code.
    pub(super) width: usize,
    shapes: Vec<Shape>,
}

/// Reads so many values of a page; their encoding is one that the type knows.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where there are fewer.
pub(super) fn read(
    kind: Kind,
    encoding: i64,
    bytes: &[u8],
    count: usize,
) -> Result<(Values, Packing), FormatError> {
    let mut packing = Packing { encoding, width: 1, shapes: Vec::new() };
    let values = match (encoding, kind) {
        (PLAIN, kind) => read_plain(kind, bytes, count)?,
        (RLE, _) => {
            let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(short)?;
            let packed = rest.get(..u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
            Values::Codes(codes(packed, 1, count)?)
        }
        (PLAIN_DICTIONARY | RLE_DICTIONARY, _) => {
            let (&width, packed) = bytes.split_first().ok_or_else(short)?;
            packing.width = usize::from(width);
            Values::Codes(codes(packed, packing.width, count)?)
        }
        (DELTA_BINARY_PACKED, Kind::Fixed { width, .. }) => {
            let (numbers, shape, _) = delta::read(bytes, count, width == 4)?;
            packing.shapes.push(shape);
            let mut bytes = Vec::with_capacity(count * width);
            numbers.iter().for_each(|it| bytes.extend_from_slice(&it.to_le_bytes()[..width]));
            Values::Fixed { width, count, bytes }
        }
        (DELTA_LENGTH, _) => read_after_lengths(bytes, count, &mut packing)?,
        (DELTA_STRINGS, kind) => read_strings(kind, bytes, count, &mut packing)?,
        (BYTE_STREAM_SPLIT, Kind::Fixed { width, .. }) => {
            let length = count.checked_mul(width).ok_or_else(short)?;
            let split = bytes.get(..length).ok_or_else(short)?;
            Values::Fixed { width, count, bytes: joined(split, width, count) }
        }
        _ => return Err(FormatError::unreadable("a page has an encoding that its type has not")),
    };
    Ok((values, packing))
}

/// Numbers of the run length and bit packing hybrid.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where there are not so many.
pub(super) fn codes(packed: &[u8], width: usize, count: usize) -> Result<Vec<u32>, FormatError> {
    let mut codes = vec![0; count];
    Hybrid::new(0..packed.len(), width)?.fill(packed, &mut codes)?;
    Ok(codes)
}

/// Reads so many values of the encoding `PLAIN`.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where there are fewer.
pub(super) fn read_plain(kind: Kind, bytes: &[u8], count: usize) -> Result<Values, FormatError> {
    match kind {
        Kind::Truth => {
            let packed = bytes.get(..count.div_ceil(8)).ok_or_else(short)?;
            let bit = |at: usize| u32::from(packed[at / 8] >> (at % 8) & 1);
            Ok(Values::Codes((0..count).map(bit).collect()))
        }
        Kind::Fixed { width, .. } => {
            let length = count.checked_mul(width).ok_or_else(short)?;
            let bytes = bytes.get(..length).ok_or_else(short)?.to_vec();
            Ok(Values::Fixed { width, count, bytes })
        }
        Kind::Variable => {
            // A value takes four bytes at least.
            if count > bytes.len() / 4 {
                return Err(short());
            }
            let (mut ends, mut plain) = (Vec::with_capacity(count), Vec::new());
            plain.reserve(bytes.len() - 4 * count);
            let mut rest = bytes;
            for _ in 0..count {
                let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
                let length = u32::from_le_bytes(*length) as usize;
                let (value, after) = after.split_at_checked(length).ok_or_else(short)?;
                plain.extend_from_slice(value);
                ends.push(plain.len());
                rest = after;
            }
            Ok(Values::Variable { ends, bytes: plain })
        }
    }
}

/// Lengths, and then the values one after another.
fn read_after_lengths(
    bytes: &[u8],
    count: usize,
    packing: &mut Packing,
) -> Result<Values, FormatError> {
    let (lengths, shape, used) = delta::read(bytes, count, true)?;
    packing.shapes.push(shape);
    let rest = &bytes[used..];
    let mut ends = Vec::with_capacity(count);
    let mut end = 0_usize;
    for length in lengths {
        let length = usize::try_from(length).map_err(|_| short())?;
        end = end.checked_add(length).filter(|&end| end <= rest.len()).ok_or_else(short)?;
        ends.push(end);
    }
    Ok(Values::Variable { ends, bytes: rest[..end].to_vec() })
}

/// How much each shares with the one before, and what follows.
fn read_strings(
    kind: Kind,
    bytes: &[u8],
    count: usize,
    packing: &mut Packing,
) -> Result<Values, FormatError> {
    let (shared, shape, used) = delta::read(bytes, count, true)?;
    packing.shapes.push(shape);
    let rests = read_after_lengths(&bytes[used..], count, packing)?;
    let mut values = match kind {
        Kind::Fixed { width, .. } => Values::Fixed { width, count: 0, bytes: Vec::new() },
        _ => Values::Variable { ends: Vec::new(), bytes: Vec::new() },
    };
    let (mut value, mut total): (Vec<u8>, usize) = (Vec::new(), 0);
    for (at, shared) in shared.into_iter().enumerate() {
        let shared = usize::try_from(shared).ok().filter(|&shared| shared <= value.len());
        value.truncate(shared.ok_or_else(short)?);
        value.extend_from_slice(rests.get(at));
        total = total.saturating_add(value.len());
        let fits = match kind {
            Kind::Fixed { width, .. } => value.len() == width,
            _ => true,
        };
        if total > LONGEST_BYTES || !fits {
            return Err(short());
        }
        values.push(&value);
    }
    Ok(values)
}

/// The first bytes of all values, then the second ones: put back together.
fn joined(split: &[u8], width: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; split.len()];
    for (place, stream) in split.chunks_exact(count.max(1)).enumerate() {
        for (at, &byte) in stream.iter().enumerate() {
            bytes[at * width + place] = byte;
        }
    }
    bytes
}

fn split(bytes: &[u8], width: usize, count: usize, out: &mut Vec<u8>) {
    for place in 0..width {
        out.extend((0..count).map(|at| bytes[at * width + place]));
    }
}

/// Appends values as they were packed.
pub(super) fn write(values: &Values, packing: &Packing, out: &mut Vec<u8>) {
    match (packing.encoding, values) {
        (PLAIN, values) => write_plain(values, out),
        (RLE, Values::Codes(codes)) => {
            let start = out.len();
            out.extend([0; 4]);
            hybrid::write(codes, 1, out);
            let length = (out.len() - start - 4) as u32;
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        (_, Values::Codes(codes)) => {
            out.push(packing.width as u8);
            hybrid::write(codes, packing.width, out);
        }
        (DELTA_BINARY_PACKED, Values::Fixed { width, bytes, .. }) => {
            let number = |bytes: &[u8]| match *bytes {
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                _ => bytes.first_chunk().map_or(0, |eight| i64::from_le_bytes(*eight)),
            };
            let numbers: Vec<i64> = bytes.chunks_exact(*width).map(number).collect();
            write_numbers(&numbers, packing, 0, out);
        }
        (DELTA_LENGTH, Values::Variable { bytes, .. }) => {
            write_numbers(&lengths(values), packing, 0, out);
            out.extend_from_slice(bytes);
        }
        (DELTA_STRINGS, values) => write_strings(values, packing, out),
        (BYTE_STREAM_SPLIT, Values::Fixed { width, count, bytes }) => {
            split(bytes, *width, *count, out);
        }
        _ => {}
    }
}

fn write_numbers(numbers: &[i64], packing: &Packing, shape: usize, out: &mut Vec<u8>) {
    if let Some(&shape) = packing.shapes.get(shape) {
        delta::write(numbers, shape, out);
    }
}

fn lengths(values: &Values) -> Vec<i64> {
    // No page is longer than 1 GiB.
    (0..values.len()).map(|at| values.get(at).len() as i64).collect()
}

fn write_strings(values: &Values, packing: &Packing, out: &mut Vec<u8>) {
    let mut shared = Vec::with_capacity(values.len());
    let mut rests = Values::Variable { ends: Vec::new(), bytes: Vec::new() };
    let mut last: &[u8] = &[];
    for at in 0..values.len() {
        let value = values.get(at);
        let same = value.iter().zip(last).take_while(|(one, two)| one == two).count();
        shared.push(same as i64);
        rests.push(&value[same..]);
        last = value;
    }
    write_numbers(&shared, packing, 0, out);
    write_numbers(&lengths(&rests), packing, 1, out);
    if let Values::Variable { bytes, .. } = rests {
        out.extend_from_slice(&bytes);
    }
}

/// Appends values in the encoding `PLAIN`; codes are truth values.
pub(super) fn write_plain(values: &Values, out: &mut Vec<u8>) {
    match values {
        Values::Codes(codes) => out.extend(
            codes
                .chunks(8)
                .map(|eight| eight.iter().rev().fold(0_u8, |byte, &bit| byte << 1 | bit as u8 & 1)),
        ),
        Values::Fixed { bytes, .. } => out.extend_from_slice(bytes),
        Values::Variable { .. } => {
            for at in 0..values.len() {
                let value = values.get(at);
                out.extend((value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
        }
    }
}

fn short() -> FormatError {
    FormatError::unreadable("a page holds fewer values than it announces")
}
