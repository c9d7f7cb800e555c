//! The entries of some pages of a chunk, with a hash in the place of each value: a value that a
//! dictionary holds is looked at once, however many entries refer to it.
//!
//! The crate's readers decode everything. Where a page refers to a dictionary, they are told that its
//! entries are the numbers from 0 on, and so give back the codes as they stand in the page.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::errors::Result as ParquetResult;
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor, Type as SchemaType};
use twox_hash::XxHash3_64;

use super::decoder::{Batch, Decoder, believable, reason};
use super::leaf::Leaf;
use super::pages::{ColumnChunk, PageMap};
use super::runs::Runs;
use super::stream::{Pages, RowCounter};
use super::value::is_empty_value;
use crate::format::FormatError;

/// What stands for a value of a column.
pub(super) type ValueHash = [u8; 8];

/// What stands for a value, by its bytes in the encoding `PLAIN` without length: a number itself, of all else
/// XXH3 of 64 bits.
pub(super) fn hash(kind: Type, value: &[u8]) -> ValueHash {
    match (kind, value) {
        (Type::INT32 | Type::FLOAT, &[a, b, c, d]) => [a, b, c, d, 0, 0, 0, 0],
        (Type::INT64 | Type::DOUBLE, _) => value.first_chunk().copied().unwrap_or_default(),
        _ => XxHash3_64::oneshot(value).to_le_bytes(),
    }
}

/// Some entries of a column.
pub(super) struct HashedBatch<'b> {
    pub(super) definitions: &'b [i16],
    pub(super) repetitions: &'b [i16],
    /// Of each entry with a value.
    pub(super) hashes: &'b [ValueHash],
    empties: Empties<'b>,
}

enum Empties<'b> {
    Coded(&'b [bool], &'b [i32]),
    Typed(&'b Batch, &'b ColumnDescriptor),
}

impl HashedBatch<'_> {
    /// Whether a value is the empty one of its column.
    pub(super) fn is_empty_value(&self, at: usize) -> bool {
        match self.empties {
            Empties::Coded(empties, codes) => codes
                .get(at)
                .and_then(|&code| empties.get(usize::try_from(code).ok()?))
                .is_some_and(|&is_empty| is_empty),
            Empties::Typed(batch, column) => batch.values.is_empty_value(at, column),
        }
    }
}

/// Reads the entries of some pages.
pub(super) struct HashedEntries<'a> {
    pages: Pages<'a>,
    leaf: &'a Leaf,
    typed: Decoder,
    coded: Decoder,
    is_coded: bool,
    dictionary: Vec<ValueHash>,
    empties: Vec<bool>,
    batch: [Batch; 2],
    hashes: Vec<ValueHash>,
    has_begun: bool,
    rows: RowCounter,
}

impl<'a> HashedEntries<'a> {
    /// The entries of the pages that hold a wanted row.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where its codec cannot be decoded.
    pub(super) fn of_pages(
        column: ColumnChunk<'a>,
        map: &PageMap,
        wanted: &Runs,
    ) -> Result<Self, FormatError> {
        let rows = RowCounter::of(&map.rows_around(wanted));
        Self::of(Pages::of(column, map, wanted)?, column.leaf, rows)
    }

    /// The same, or all of the chunk's where the pages do not tell.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the pages cannot be found or decoded.
    pub(super) fn within(column: ColumnChunk<'a>, wanted: &Runs) -> Result<Self, FormatError> {
        match PageMap::of(column, wanted)? {
            Ok(map) => Self::of_pages(column, &map, wanted),
            Err(_) => Self::of_chunk(column),
        }
    }

    /// The entries of a whole chunk.
    ///
    /// # Errors
    ///
    /// As `of_pages`.
    pub(super) fn of_chunk(column: ColumnChunk<'a>) -> Result<Self, FormatError> {
        let pages = Pages::all(column.source, column.leaf, column.chunk)?;
        Self::of(pages, column.leaf, RowCounter::all())
    }

    fn of(pages: Pages<'a>, leaf: &'a Leaf, rows: RowCounter) -> Result<Self, FormatError> {
        let codes = like(leaf, Type::INT32, true)
            .map_err(|error| FormatError::unreadable(reason(&error)))?;
        let column = &leaf.descriptor;
        Ok(Self {
            pages,
            leaf,
            typed: Decoder::new(column, false),
            batch: [Batch::of(column), Batch::of(&codes)],
            coded: Decoder::new(&codes, false),
            is_coded: false,
            dictionary: Vec::new(),
            empties: Vec::new(),
            hashes: Vec::new(),
            has_begun: false,
            rows,
        })
    }

    /// The next entries, and what counts their rows: each that begins one has to be counted. `None` at the
    /// end.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the pages cannot be read or decoded.
    pub(super) fn next(
        &mut self,
    ) -> Result<Option<(HashedBatch<'_>, &mut RowCounter)>, FormatError> {
        loop {
            let has_more = match self.is_coded {
                true => self.coded.next(&mut self.batch[1])?,
                false => self.typed.next(&mut self.batch[0])?,
            };
            if has_more {
                return self.hashed().map(Some);
            }
            match self.pages.next()? {
                None => return Ok(None),
                Some(page @ Page::DictionaryPage { .. }) => self.take_dictionary(page)?,
                Some(page) => {
                    self.is_coded = is_coded(&page);
                    let decoder = if self.is_coded { &self.coded } else { &self.typed };
                    decoder.push(page)?;
                }
            }
        }
    }

    /// The entries that were decoded last.
    fn hashed(&mut self) -> Result<(HashedBatch<'_>, &mut RowCounter), FormatError> {
        self.hashes.clear();
        let batch = &self.batch[usize::from(self.is_coded)];
        if !self.has_begun && batch.repetitions.first() != Some(&0) {
            return Err(FormatError::unreadable("the first entry of a column begins no row"));
        }
        self.has_begun = true;
        let empties = if self.is_coded {
            let codes = batch.values.codes();
            for &code in codes {
                let at = usize::try_from(code).unwrap_or(usize::MAX);
                self.hashes.push(*self.dictionary.get(at).ok_or_else(beyond)?);
            }
            Empties::Coded(&self.empties, codes)
        } else {
            let kind = self.leaf.descriptor.physical_type();
            batch.values.each(|value| self.hashes.push(hash(kind, value)));
            Empties::Typed(batch, &self.leaf.descriptor)
        };
        let Batch { definitions, repetitions, .. } = batch;
        let hashes = &self.hashes;
        Ok((HashedBatch { definitions, repetitions, hashes, empties }, &mut self.rows))
    }

    /// Hashes the entries of a dictionary, which are encoded like those of a page without levels.
    fn take_dictionary(&mut self, page: Page) -> Result<(), FormatError> {
        let Page::DictionaryPage { buf, num_values, .. } = believable(page)? else {
            return Ok(());
        };
        let kind = self.leaf.descriptor.physical_type();
        let flat = like(self.leaf, kind, false)
            .map_err(|error| FormatError::unreadable(reason(&error)))?;
        let mut decoder = Decoder::new(&flat, false);
        decoder.push(Page::DataPage {
            buf,
            num_values,
            encoding: Encoding::PLAIN,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        })?;
        let (mut batch, mut count) = (Batch::of(&flat), 0);
        while decoder.next(&mut batch)? {
            batch.values.each(|value| {
                self.dictionary.push(hash(kind, value));
                self.empties.push(is_empty_value(value, &self.leaf.descriptor));
            });
            count += batch.values.len();
        }
        if count != num_values as usize {
            return Err(FormatError::unreadable(
                "a dictionary announces more entries than it holds",
            ));
        }
        let numbers: Vec<u8> = (0..num_values).flat_map(u32::to_le_bytes).collect();
        self.coded.push(Page::DictionaryPage {
            buf: Bytes::from(numbers),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        })
    }

    /// Checks at the end that there were as many rows as there should be: those of the chunk, unless
    /// only some of its pages were read.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where there were more or fewer.
    pub(super) fn finish(&self, rows: u64) -> Result<(), FormatError> {
        self.rows.check(rows)
    }
}

fn is_coded(page: &Page) -> bool {
    matches!(page.encoding(), Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY)
}

/// A column of another type with the levels of this one, or with none.
fn like(leaf: &Leaf, kind: Type, has_levels: bool) -> ParquetResult<ColumnDescPtr> {
    let column = &leaf.descriptor;
    let length = if kind == Type::FIXED_LEN_BYTE_ARRAY { column.type_length() } else { -1 };
    let primitive = SchemaType::primitive_type_builder(column.name(), kind).with_length(length);
    let (definition, repetition) = match has_levels {
        true => (column.max_def_level(), column.max_rep_level()),
        false => (0, 0),
    };
    let primitive = Arc::new(primitive.build()?);
    let path = column.path().clone();
    Ok(Arc::new(ColumnDescriptor::new(primitive, definition, repetition, path)))
}

fn beyond() -> FormatError {
    FormatError::unreadable("a page refers to entries beyond its dictionary")
}
