//! The levels of a page: which of its entries have a value, and in which rows they stand. It knows
//! no values.

use super::super::hybrid::Hybrid;
use super::super::leaf::Leaf;
use crate::format::FormatError;

/// How many levels are unpacked at a time.
const BLOCK: usize = 1024;

/// The levels of a page that are not yet read.
pub(super) struct Levels {
    definitions: Option<Hybrid>,
    repetitions: Option<Hybrid>,
    max_definition: u32,
    max_repetition: u32,
    /// How many entries are left.
    entries: u64,
    /// The row that the next entry begins, if it begins one.
    row: u64,
    /// Whether the next entry has to begin a row: it is the first of its chunk.
    must_begin: bool,
    /// Room for levels.
    block: Box<[[u32; BLOCK]; 2]>,
}

/// Some entries with a value, by their rows.
pub(super) enum Present {
    /// One in each of so many rows from this one on.
    Run { row: u64, count: usize },
    /// In the rows that were put into the list.
    Listed,
}

impl Levels {
    /// Levels of so many entries, of which the first to begin a row begins `row`.
    pub(super) fn new(leaf: &Leaf, entries: u64, row: u64, must_begin: bool) -> Self {
        let max = |level: i16| u32::from(level.unsigned_abs());
        Self {
            definitions: None,
            repetitions: None,
            max_definition: max(leaf.descriptor.max_def_level()),
            max_repetition: max(leaf.descriptor.max_rep_level()),
            entries,
            row,
            must_begin,
            block: Box::new([[0; BLOCK]; 2]),
        }
    }

    /// How many bits a level of either kind takes: repetition, definition. 0 where there are none.
    pub(super) fn widths(&self) -> [usize; 2] {
        [self.max_repetition, self.max_definition]
            .map(|max| (u32::BITS - max.leading_zeros()) as usize)
    }

    /// Where the levels stand.
    pub(super) fn place(&mut self, repetitions: Option<Hybrid>, definitions: Option<Hybrid>) {
        (self.repetitions, self.definitions) = (repetitions, definitions);
    }

    /// How many entries are left.
    pub(super) fn left(&self) -> u64 {
        self.entries
    }

    /// The row that the next entry begins, if it begins one.
    pub(super) fn row(&self) -> u64 {
        self.row
    }

    /// The next entries that have a value, of at most `limit` entries; possibly none.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there are not so many levels, or such as the schema does
    /// not have.
    pub(super) fn next(
        &mut self,
        page: &[u8],
        limit: usize,
        rows: &mut Vec<u64>,
    ) -> Result<Present, FormatError> {
        let limit = usize::try_from(self.entries).map_or(limit, |left| left.min(limit));
        rows.clear();
        if self.repetitions.is_some() {
            return self.next_nested(page, limit, rows);
        }
        let Some(definitions) = &mut self.definitions else { return Ok(self.run(limit, true)) };
        if let Some((level, count)) = definitions.repeated(page)? {
            let count = count.min(limit);
            definitions.pass(count);
            if level > self.max_definition {
                return Err(impossible());
            }
            return Ok(self.run(count, level == self.max_definition));
        }
        let count = limit.min(BLOCK);
        let levels = &mut self.block[0][..count];
        definitions.fill(page, levels)?;
        let mut row = self.row;
        for &mut level in levels {
            if level == self.max_definition {
                rows.push(row);
            } else if level > self.max_definition {
                return Err(impossible());
            }
            row += 1;
        }
        self.row = row;
        self.entries -= count as u64;
        Ok(Present::Listed)
    }

    /// So many entries, one in each row, all with a value or none.
    fn run(&mut self, count: usize, has_value: bool) -> Present {
        let row = self.row;
        self.row += count as u64;
        self.entries -= count as u64;
        Present::Run { row, count: if has_value { count } else { 0 } }
    }

    /// Counts an entry whose levels were read elsewhere: its row, and whether it has a value.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where the page announces no further entry.
    pub(super) fn step(
        &mut self,
        definition: i16,
        repetition: i16,
    ) -> Result<(u64, bool), FormatError> {
        self.entries = self.entries.checked_sub(1).ok_or_else(impossible)?;
        self.row = self.row.wrapping_add(u64::from(repetition == 0));
        let has_value = u32::from(definition.unsigned_abs()) == self.max_definition;
        Ok((self.row.wrapping_sub(1), has_value))
    }

    fn next_nested(
        &mut self,
        page: &[u8],
        limit: usize,
        rows: &mut Vec<u64>,
    ) -> Result<Present, FormatError> {
        let count = limit.min(BLOCK);
        let [repetitions, definitions] = &mut *self.block;
        let (repetitions, definitions) = (&mut repetitions[..count], &mut definitions[..count]);
        if let Some(hybrid) = &mut self.repetitions {
            hybrid.fill(page, repetitions)?;
        }
        if let Some(hybrid) = &mut self.definitions {
            hybrid.fill(page, definitions)?;
        }
        if self.must_begin && repetitions.first().is_some_and(|&first| first != 0) {
            return Err(impossible());
        }
        self.must_begin &= count == 0;
        for (&repetition, &definition) in repetitions.iter().zip(&*definitions) {
            if repetition > self.max_repetition || definition > self.max_definition {
                return Err(impossible());
            }
            self.row = self.row.wrapping_add(u64::from(repetition == 0));
            if definition == self.max_definition {
                // Of an entry that goes on with a row, that is the row before.
                rows.push(self.row.wrapping_sub(1));
            }
        }
        self.entries -= count as u64;
        Ok(Present::Listed)
    }
}

fn impossible() -> FormatError {
    FormatError::unreadable("a column has levels that its schema does not have")
}
