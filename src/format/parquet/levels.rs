//! The levels of one page, all at once: read, changed and written. It knows no values.

use std::ops::Range;

use super::hybrid::{self, Hybrid};
use super::leaf::Leaf;
use super::page::PageKind;
use super::stored::StoredPage;
use crate::format::FormatError;

/// The encoding `BIT_PACKED` in `parquet.thrift`: of old writers, and of levels only.
const BIT_PACKED: i64 = 4;
/// The number of the run length and bit packing hybrid.
const RLE: i64 = 3;

/// A page that announces more entries is left alone: a run of many takes no room as it is stored.
pub(super) const MOST_ENTRIES: usize = 1 << 26;

/// How many levels are looked at together.
const BLOCK: usize = 1024;

/// The levels of a page: none of a kind of which the schema has none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) repetitions: Vec<u16>,
    pub(super) definitions: Vec<u16>,
}

/// Where the levels of a page stand in its plain bytes.
pub(super) struct Layout {
    repetitions: Part,
    definitions: Part,
    /// Where the values begin.
    pub(super) values: usize,
}

#[derive(Default)]
struct Part {
    range: Range<usize>,
    max: u32,
    width: usize,
    /// Whether it is of the old encoding `BIT_PACKED`.
    is_old: bool,
}

impl Layout {
    /// Whether levels of a column in these encodings, repetition and definition, are those that are
    /// read and written here, in a page of version 1.
    pub(super) fn knows(leaf: &Leaf, encodings: [i64; 2]) -> bool {
        let maxima = [leaf.descriptor.max_rep_level(), leaf.descriptor.max_def_level()];
        let mut kinds = maxima.into_iter().zip(encodings);
        kinds.all(|(max, encoding)| max == 0 || matches!(encoding, RLE | BIT_PACKED))
    }

    /// Where they stand in a data page of a column.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the page is too short for them.
    pub(super) fn of(leaf: &Leaf, page: &StoredPage, plain: &[u8]) -> Result<Self, FormatError> {
        let PageKind::Data { second, entries, .. } = page.kind else { return Err(malformed()) };
        let maxima = [leaf.descriptor.max_rep_level(), leaf.descriptor.max_def_level()];
        let mut parts = [Part::default(), Part::default()];
        let mut at = 0;
        for (kind, part) in parts.iter_mut().enumerate() {
            part.max = u32::from(maxima[kind].unsigned_abs());
            part.width = (u32::BITS - part.max.leading_zeros()) as usize;
            let length = if second {
                usize::try_from(page.content.level_bytes[kind]).map_err(|_| malformed())?
            } else if part.max == 0 {
                0
            } else if page.content.level_encodings[kind] == BIT_PACKED {
                part.is_old = true;
                let bits =
                    usize::try_from(entries).ok().and_then(|all| all.checked_mul(part.width));
                bits.ok_or_else(malformed)?.div_ceil(8)
            } else {
                let length = plain.get(at..).and_then(|rest| rest.first_chunk::<4>());
                at += 4;
                u32::from_le_bytes(*length.ok_or_else(malformed)?) as usize
            };
            let end = at.checked_add(length).filter(|&end| end <= plain.len());
            part.range = at..end.ok_or_else(malformed)?;
            at = part.range.end;
        }
        let [repetitions, definitions] = parts;
        Ok(Self { repetitions, definitions, values: at })
    }

    /// The repetition levels of so many entries.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there are fewer, or such as the schema does not have.
    pub(super) fn repetitions(&self, plain: &[u8], entries: u64) -> Result<Vec<u16>, FormatError> {
        self.repetitions.read(plain, entries)
    }

    /// Both kinds of levels of so many entries.
    ///
    /// # Errors
    ///
    /// As [`Layout::repetitions`].
    pub(super) fn levels(&self, plain: &[u8], entries: u64) -> Result<Levels, FormatError> {
        Ok(Levels {
            repetitions: self.repetitions.read(plain, entries)?,
            definitions: self.definitions.read(plain, entries)?,
        })
    }

    /// How many of so many entries have a value.
    ///
    /// # Errors
    ///
    /// As [`Layout::repetitions`].
    pub(super) fn present(&self, plain: &[u8], entries: u64) -> Result<usize, FormatError> {
        let definitions = &self.definitions;
        if definitions.max == 0 {
            return usize::try_from(entries).map_err(|_| malformed());
        }
        let mut present = 0;
        definitions.blocks(plain, entries, |levels| {
            present += levels.iter().filter(|&&level| level == definitions.max).count();
        })?;
        Ok(present)
    }

    /// Appends the levels in the encodings that those before had, and tells how many bytes each kind
    /// took. A page of version 1 has their length before them.
    pub(super) fn write(&self, levels: &Levels, second: bool, bytes: &mut Vec<u8>) -> [usize; 2] {
        let kinds =
            [(&self.repetitions, &levels.repetitions), (&self.definitions, &levels.definitions)];
        kinds.map(|(part, levels)| part.write(levels, second, bytes))
    }
}

impl Part {
    fn read(&self, plain: &[u8], entries: u64) -> Result<Vec<u16>, FormatError> {
        let mut all = Vec::new();
        if self.max > 0 {
            // The schema's levels have 16 bits, and none is higher.
            self.blocks(plain, entries, |levels| all.extend(levels.iter().map(|&it| it as u16)))?;
        }
        Ok(all)
    }

    /// Shows so many levels, some at a time.
    fn blocks(
        &self,
        plain: &[u8],
        entries: u64,
        mut see: impl FnMut(&[u32]),
    ) -> Result<(), FormatError> {
        let count = usize::try_from(entries).map_err(|_| malformed())?;
        if count > MOST_ENTRIES {
            return Err(FormatError::unreadable("a page announces more than 2^26 entries"));
        }
        let mut checked = |levels: &[u32]| {
            if levels.iter().any(|&level| level > self.max) {
                return Err(FormatError::unreadable(
                    "a column has levels that its schema does not have",
                ));
            }
            see(levels);
            Ok(())
        };
        if self.is_old {
            let mut levels = vec![0; count];
            unpack_old(&plain[self.range.clone()], self.width, &mut levels);
            return checked(&levels);
        }
        let mut packed = Hybrid::new(self.range.clone(), self.width)?;
        let mut block = [0; BLOCK];
        let mut left = count;
        while left > 0 {
            let levels = &mut block[..left.min(BLOCK)];
            packed.fill(plain, levels)?;
            checked(levels)?;
            left -= levels.len();
        }
        Ok(())
    }

    fn write(&self, levels: &[u16], second: bool, bytes: &mut Vec<u8>) -> usize {
        if self.max == 0 {
            return 0;
        }
        let start = bytes.len();
        if self.is_old {
            pack_old(levels, self.width, bytes);
            return bytes.len() - start;
        }
        if !second {
            bytes.extend([0; 4]);
        }
        let from = bytes.len();
        hybrid::write(levels, self.width, bytes);
        let length = bytes.len() - from;
        if !second {
            // A page is at most 1 GiB.
            bytes[start..from].copy_from_slice(&(length as u32).to_le_bytes());
        }
        length
    }
}

/// Numbers of the encoding `BIT_PACKED`: highest bit first, without a header.
fn unpack_old(bytes: &[u8], width: usize, levels: &mut [u32]) {
    let mut bits = (0..bytes.len() * 8).map(|bit| u32::from(bytes[bit / 8] >> (7 - bit % 8) & 1));
    for level in levels {
        *level = bits.by_ref().take(width).fold(0, |level, bit| level << 1 | bit);
    }
}

fn pack_old(levels: &[u16], width: usize, bytes: &mut Vec<u8>) {
    let (mut byte, mut filled) = (0_u8, 0);
    for &level in levels {
        for bit in (0..width).rev() {
            byte = byte << 1 | (level >> bit & 1) as u8;
            filled += 1;
            if filled == 8 {
                bytes.push(byte);
                (byte, filled) = (0, 0);
            }
        }
    }
    if filled > 0 {
        bytes.push(byte << (8 - filled));
    }
}

fn malformed() -> FormatError {
    FormatError::unreadable("the levels of a page end beyond it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn old_levels_survive(width in 1_usize..5, levels in prop::collection::vec(0_u16..32, 0..40)) {
            let levels: Vec<u16> = levels.iter().map(|level| level & ((1 << width) - 1)).collect();
            let mut bytes = Vec::new();
            pack_old(&levels, width, &mut bytes);
            prop_assert_eq!(bytes.len(), (levels.len() * width).div_ceil(8));
            let mut found = vec![0; levels.len()];
            unpack_old(&bytes, width, &mut found);
            prop_assert_eq!(found, levels.into_iter().map(u32::from).collect::<Vec<_>>());
        }
    }
}
