//! One page to what was met in its rows, some entries at a time. It knows neither the source nor the
//! pages before, but for the dictionary.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::Page;

use super::super::decoder::{Batch, Decoder};
use super::super::hybrid::Hybrid;
use super::super::page::PageKind;
use super::super::stored::StoredPage;
use super::super::unpack::{Plain, Unpacker};
use super::super::value::Value;
use super::column::{Column, Findings, Namer, Names, Shape, take};
use super::levels::{Levels, Present};
use crate::domain::posting::Unreadable;
use crate::format::FormatError;

/// How many codes are looked up at a time.
const CODES: usize = 4096;

/// Numbers of encodings in `parquet.thrift`.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const RLE_DICTIONARY: i64 = 8;

/// The dictionary of a chunk; digested by whoever needs it first.
pub(super) struct Dictionary {
    page: StoredPage,
    names: OnceLock<Result<Names, Unreadable>>,
}

impl Dictionary {
    pub(super) fn new(page: StoredPage) -> Self {
        Self { page, names: OnceLock::new() }
    }

    fn names(
        &self,
        column: &Column<'_>,
        codec: Compression,
        unpacker: &mut Unpacker,
    ) -> Result<&Names, FormatError> {
        let names = self.names.get_or_init(|| {
            let plain = unpacker.unpack(codec, &self.page).map_err(unreadable)?;
            let names = Names::new(column, &plain, self.page.content.dictionary_entries);
            unpacker.reclaim(plain);
            names.map_err(unreadable)
        });
        names.as_ref().map_err(|error| FormatError::Unreadable(error.clone()))
    }
}

fn unreadable(error: FormatError) -> Unreadable {
    match error {
        FormatError::Unreadable(unreadable) => unreadable,
        other => Unreadable { reason: other.to_string(), row: None, byte: None },
    }
}

/// A data page that was not yet looked at.
pub(super) struct Job<'c> {
    pub(super) column: &'c Column<'c>,
    pub(super) codec: Compression,
    pub(super) page: StoredPage,
    pub(super) dictionary: Option<Arc<Dictionary>>,
    /// How many entries the page announces.
    pub(super) entries: u64,
    /// The row that the first entry to begin one begins.
    pub(super) row: u64,
    /// Whether it is the first data page of its chunk.
    pub(super) is_first: bool,
}

/// What decoding needs room for, kept from page to page.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) unpacker: Unpacker,
    rows: Vec<u64>,
    codes: Vec<u32>,
}

/// A page on the way to findings.
pub(super) struct PageDecoder<'c> {
    plain: Plain,
    levels: Levels,
    values: Values<'c>,
}

/// The values of a page that are not yet read.
enum Values<'c> {
    /// Codes of a dictionary; `None` before the first is wanted.
    Coded {
        codes: Option<Hybrid>,
        from: usize,
        dictionary: Arc<Dictionary>,
        job: Context<'c>,
    },
    Bare {
        at: usize,
        shape: Shape,
        namer: Namer<'c>,
    },
    /// What only the crate reads, levels and all.
    Typed(Box<Typed<'c>>),
}

/// A page with the crate's decoder.
struct Typed<'c> {
    decoder: Decoder,
    batch: Batch,
    namer: Namer<'c>,
}

/// What a dictionary is read with.
struct Context<'c> {
    column: &'c Column<'c>,
    codec: Compression,
}

impl<'c> Job<'c> {
    /// Decompresses the page.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it is not what its header announces.
    pub(super) fn open(self, scratch: &mut Scratch) -> Result<PageDecoder<'c>, FormatError> {
        let PageKind::Data { second, encoding, .. } = self.page.kind else {
            return Err(FormatError::unreadable("a dictionary stands among the pages of a column"));
        };
        let plain = scratch.unpacker.unpack(self.codec, &self.page)?;
        let column = self.column;
        let mut levels = Levels::new(column.leaf, self.entries, self.row, self.is_first);
        let shape = column.shape().filter(|_| second || self.packs_levels_as_usual(&levels));
        let (Some(shape), PLAIN | PLAIN_DICTIONARY | RLE_DICTIONARY) = (shape, encoding) else {
            return self.typed((plain, levels), scratch);
        };
        let from = if second {
            self.place_second(&plain, &mut levels)?
        } else {
            place_first(&plain, &mut levels)?
        };
        let values = if encoding == PLAIN {
            Values::Bare { at: from, shape, namer: Namer::new(column) }
        } else {
            let dictionary = self.dictionary.ok_or_else(|| {
                FormatError::unreadable("a page refers to a dictionary that is not there")
            })?;
            let job = Context { column, codec: self.codec };
            Values::Coded { codes: None, from, dictionary, job }
        };
        Ok(PageDecoder { plain, levels, values })
    }

    /// Whether the levels of a page of version 1 are those that are read here; the old encoding
    /// `BIT_PACKED` is left to the crate.
    fn packs_levels_as_usual(&self, levels: &Levels) -> bool {
        let mut kinds = levels.widths().into_iter().zip(self.page.content.level_encodings);
        kinds.all(|(width, encoding)| width == 0 || encoding == RLE)
    }

    /// Places the levels of a page of version 2, and tells where the values begin.
    fn place_second(&self, plain: &Plain, levels: &mut Levels) -> Result<usize, FormatError> {
        let [repetitions, definitions] = self.page.content.level_bytes;
        // Neither is longer than the page: that was checked before it was decompressed.
        let middle = repetitions as usize;
        let end = middle + definitions as usize;
        if end > plain.bytes().len() {
            return Err(levels_too_long());
        }
        let [one, two] = levels.widths();
        levels.place(hybrid(0..middle, one)?, hybrid(middle..end, two)?);
        Ok(end)
    }

    /// A page that the crate decodes.
    fn typed(
        self,
        (plain, levels): (Plain, Levels),
        scratch: &mut Scratch,
    ) -> Result<PageDecoder<'c>, FormatError> {
        let decoder = Decoder::new(&self.column.leaf.descriptor, self.is_first);
        if let Some(dictionary) = &self.dictionary {
            let page = &dictionary.page;
            let buf = shared(scratch.unpacker.unpack(self.codec, page)?);
            let num_values = u32::try_from(page.content.dictionary_entries);
            let num_values = num_values.map_err(|_| too_many())?;
            let encoding = Encoding::PLAIN;
            decoder.push(Page::DictionaryPage { buf, num_values, encoding, is_sorted: false })?;
        }
        decoder.push(self.page_for_the_crate(shared(plain))?)?;
        let (batch, namer) = (Batch::new(self.column.leaf), Namer::new(self.column));
        let plain = Plain::Stored(Bytes::new());
        let typed = Box::new(Typed { decoder, batch, namer });
        Ok(PageDecoder { plain, levels, values: Values::Typed(typed) })
    }

    fn page_for_the_crate(&self, buf: Bytes) -> Result<Page, FormatError> {
        let PageKind::Data { second, encoding, .. } = self.page.kind else {
            return Err(too_many());
        };
        let encoding = crate_encoding(encoding)?;
        let num_values = u32::try_from(self.entries).map_err(|_| too_many())?;
        if !second {
            let [repetition, definition] = self.page.content.level_encodings;
            return Ok(Page::DataPage {
                buf,
                num_values,
                encoding,
                def_level_encoding: crate_encoding(definition)?,
                rep_level_encoding: crate_encoding(repetition)?,
                statistics: None,
            });
        }
        let [repetitions, definitions] = self.page.content.level_bytes;
        let length = |bytes| u32::try_from(bytes).map_err(|_| levels_too_long());
        Ok(Page::DataPageV2 {
            buf,
            num_values,
            encoding,
            num_nulls: u32::try_from(self.page.content.nulls).map_err(|_| too_many())?,
            num_rows: 0,
            def_levels_byte_len: length(definitions)?,
            rep_levels_byte_len: length(repetitions)?,
            is_compressed: false,
            statistics: None,
        })
    }
}

/// Places the levels of a page of version 1, each after its length, and tells where the values begin.
fn place_first(plain: &Plain, levels: &mut Levels) -> Result<usize, FormatError> {
    let bytes = plain.bytes();
    let mut at = 0;
    let mut next = |width: usize| -> Result<Option<Hybrid>, FormatError> {
        if width == 0 {
            return Ok(None);
        }
        let length = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let length = u32::from_le_bytes(*length.ok_or_else(levels_too_long)?) as usize;
        let from = at + 4;
        at =
            from.checked_add(length).filter(|&to| to <= bytes.len()).ok_or_else(levels_too_long)?;
        hybrid(from..at, width)
    };
    let [one, two] = levels.widths();
    let (repetitions, definitions) = (next(one)?, next(two)?);
    levels.place(repetitions, definitions);
    Ok(at)
}

fn hybrid(range: Range<usize>, width: usize) -> Result<Option<Hybrid>, FormatError> {
    if width == 0 { Ok(None) } else { Hybrid::new(range, width).map(Some) }
}

fn shared(plain: Plain) -> Bytes {
    match plain {
        Plain::Stored(bytes) => bytes,
        Plain::Unpacked(bytes) => bytes.into(),
    }
}

fn levels_too_long() -> FormatError {
    FormatError::unreadable("the levels of a page end beyond it")
}

fn too_many() -> FormatError {
    FormatError::unreadable("a page announces more than 2^32 entries")
}

fn crate_encoding(number: i64) -> Result<Encoding, FormatError> {
    #[expect(deprecated, reason = "old writers packed levels so")]
    let packed = Encoding::BIT_PACKED;
    Ok(match number {
        PLAIN => Encoding::PLAIN,
        PLAIN_DICTIONARY => Encoding::PLAIN_DICTIONARY,
        RLE => Encoding::RLE,
        4 => packed,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        RLE_DICTIONARY => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        _ => return Err(FormatError::unreadable("a page has an unknown encoding")),
    })
}

impl PageDecoder<'_> {
    /// Adds what stands in the next entries, about `limit` of them; `false` when none are left.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where they cannot be decoded.
    pub(super) fn next(
        &mut self,
        limit: usize,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) -> Result<bool, FormatError> {
        let until = self.levels.left().saturating_sub(limit as u64);
        while self.levels.left() > until {
            let wanted = (self.levels.left() - until) as usize;
            if let Values::Typed(typed) = &mut self.values {
                if !typed.decoder.next(&mut typed.batch)? {
                    return Err(FormatError::unreadable("a page holds fewer entries than it says"));
                }
                tell_typed(typed, &mut self.levels, findings)?;
                continue;
            }
            let Scratch { rows, .. } = scratch;
            let present = self.levels.next(self.plain.bytes(), wanted.min(CODES), rows)?;
            match present {
                Present::Run { row, count } => {
                    self.tell(row..row + count as u64, count, scratch, findings)?;
                }
                Present::Listed => {
                    let rows = std::mem::take(&mut scratch.rows);
                    let told = self.tell(rows.iter().copied(), rows.len(), scratch, findings);
                    scratch.rows = rows;
                    told?;
                }
            }
        }
        Ok(self.levels.left() > 0)
    }

    /// The row that the next entry begins, if it begins one.
    pub(super) fn row(&self) -> u64 {
        self.levels.row()
    }

    /// The room that the page took.
    pub(super) fn into_plain(self) -> Plain {
        self.plain
    }

    /// Reads the values of so many rows.
    fn tell(
        &mut self,
        rows: impl Iterator<Item = u64>,
        count: usize,
        scratch: &mut Scratch,
        findings: &mut Findings,
    ) -> Result<(), FormatError> {
        if count == 0 {
            return Ok(());
        }
        let page = self.plain.bytes();
        match &mut self.values {
            Values::Coded { codes, from, dictionary, job } => {
                let names = dictionary.names(job.column, job.codec, &mut scratch.unpacker)?;
                let hybrid = match codes {
                    Some(hybrid) => hybrid,
                    unknown => unknown.insert(codes_of(page, *from)?),
                };
                scratch.codes.resize(count.max(scratch.codes.len()), 0);
                let codes = &mut scratch.codes[..count];
                hybrid.fill(page, codes)?;
                names.tell(rows, codes, findings)
            }
            Values::Bare { at, shape, namer } => {
                let kind = namer.kind();
                let mut rest = page.get(*at..).unwrap_or_default();
                for row in rows {
                    let bytes = take(*shape, &mut rest)?;
                    namer.tell(row, (bytes, Value::of_plain(kind, bytes)), findings);
                }
                *at = page.len() - rest.len();
                Ok(())
            }
            Values::Typed(_) => Ok(()),
        }
    }
}

/// The codes of a page: the first byte says how wide they are.
fn codes_of(page: &[u8], from: usize) -> Result<Hybrid, FormatError> {
    let width = page.get(from).ok_or_else(|| {
        FormatError::unreadable("a page holds fewer levels or codes than it announces")
    })?;
    Hybrid::new(from + 1..page.len(), usize::from(*width))
}

fn tell_typed(
    typed: &mut Typed<'_>,
    levels: &mut Levels,
    findings: &mut Findings,
) -> Result<(), FormatError> {
    let Typed { batch, namer, .. } = typed;
    let mut value = 0;
    for (&definition, &repetition) in batch.definitions.iter().zip(&batch.repetitions) {
        let (row, has_value) = levels.step(definition, repetition)?;
        if has_value {
            namer.tell(row, (batch.values.bytes(value), batch.values.get(value)), findings);
            value += 1;
        }
    }
    Ok(())
}
