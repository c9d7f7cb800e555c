//! Entries of a dictionary that nobody refers to any more, found by looking at all pages of a chunk.
//!
//! A writer may give one dictionary to every row group. So an erased value is looked for in the
//! dictionaries of all chunks of its column, also where no row of a row group was changed.

use std::ops::Range;

use parquet::basic::Compression;

use super::super::leaf::Leaf;
use super::super::levels::Layout;
use super::super::lost::Lost;
use super::super::page::{PageKind, is_coded};
use super::super::pages::{ColumnChunk, first_header};
use super::super::stored::{StoredPage, StoredPages};
use super::super::unpack::Unpacker;
use super::dictionary::Dictionary;
use super::values;
use super::{Splice, empty_value, kind_of, no_page};
use crate::format::FormatError;

/// Whether the dictionary of a chunk without a changed row holds a lost value that no value of the chunk
/// refers to.
///
/// # Errors
///
/// [`FormatError`] where its pages cannot be read.
pub(in super::super) fn keeps_lost(
    column: ColumnChunk<'_>,
    lost: &Lost,
) -> Result<bool, FormatError> {
    let (leaf, kind, codec) = (column.leaf, kind_of(column.leaf), column.chunk.codec);
    if lost.is_empty() || column.chunk.pages.is_empty() {
        return Ok(false);
    }
    let Range { start, end } = column.chunk.pages;
    let first = first_header(column.source, &(start..end))?;
    let Some(first) = first.filter(|first| first.kind == PageKind::Dictionary) else {
        return Ok(false);
    };
    // Most chunks keep nothing, so that no more of them is read than the dictionary.
    let from = start + first.start;
    let behind = from + first.header_bytes + first.stored_bytes;
    let page = StoredPages::one(column.source, from..behind)?;
    let mut pages = StoredPages::within(column.source, behind..end);
    let mut unpacker = Unpacker::default();
    let mut dictionary = Dictionary::new(page, (kind, codec), &mut unpacker)?;
    let empty = empty_value(leaf, kind);
    let mut suspects = dictionary.suspects(|value| value != empty && lost.has(value));
    while !suspects.is_empty() {
        let Some(page) = pages.next()? else { return Ok(true) };
        note(&mut dictionary, (leaf, codec), &page, &mut unpacker)?;
        suspects = dictionary.unused(&suspects);
    }
    Ok(false)
}

/// Notes which entries a data page refers to, if its values are entries.
fn note(
    dictionary: &mut Dictionary,
    (leaf, codec): (&Leaf, Compression),
    page: &StoredPage,
    unpacker: &mut Unpacker,
) -> Result<(), FormatError> {
    let PageKind::Data { entries, encoding, .. } = page.kind else { return Err(no_page()) };
    if !is_coded(encoding) {
        return Ok(());
    }
    let plain = unpacker.unpack(codec, page)?;
    let bytes = plain.bytes();
    let layout = Layout::of(leaf, page, bytes)?;
    let count = layout.present(bytes, entries)?;
    if let Some((&width, packed)) = bytes.get(layout.values..).and_then(<[u8]>::split_first) {
        dictionary.note(&values::codes(packed, usize::from(width), count)?)?;
    } else if count > 0 {
        return Err(no_page());
    }
    unpacker.reclaim(plain);
    Ok(())
}

impl Splice<'_> {
    /// Takes entries out of the dictionary that hold a lost value and that no value refers to any more. The
    /// pages without a changed row are looked at until none of them can be one.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where a page cannot be read.
    pub(super) fn scrub(&mut self, lost: &Lost) -> Result<(), FormatError> {
        let Some(dictionary) = &mut self.dictionary else { return Ok(()) };
        let empty = &self.task.empty;
        let mut suspects = dictionary.suspects(|value| value != empty && lost.has(value));
        let mut is_complete = true;
        for place in &self.map.pages {
            if suspects.is_empty() {
                return Ok(());
            }
            let kind = place.header(self.source)?.kind;
            let PageKind::Data { encoding, .. } = kind else { return Err(no_page()) };
            is_complete &= is_coded(encoding);
            if !is_coded(encoding) || self.order.changed.touches(&place.rows) {
                continue;
            }
            let page = StoredPages::one(self.source, place.bytes.clone())?;
            let how = (self.task.leaf, self.writer.codec);
            note(dictionary, how, &page, &mut self.writer.unpacker)?;
            suspects = dictionary.unused(&suspects);
        }
        let gone: Vec<Vec<u8>> = dictionary.values(&suspects).map(<[u8]>::to_vec).collect();
        dictionary.scrub(&suspects, &self.task.empty);
        self.knows_all = is_complete;
        // Where no page was touched, nobody has looked yet whether headers tell of values.
        self.tells_in_headers |= self.touched.is_empty() && !gone.is_empty();
        if let Some(order) = self.task.order {
            self.watch.note_lost(order, &gone);
        }
        self.lost.extend(gone);
        Ok(())
    }
}
