//! What the text formats share: records one after another, changed in place byte by byte.
//!
//! Knows rows, their numbers and the ranges they lie in; never what a row says, which is the matter
//! of a [`Syntax`].

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use super::compression::{Answer, Recompress, Resume, by_blocks};
use super::{
    BlankOrder, Blanking, Compaction, Except, Fingerprint, Format, FormatError, ScanSink,
    SharedSource, Source,
};
use crate::domain::dataset::{Compression, EraseAction};
use crate::domain::edit::{Edit, Segment, Way};
use crate::domain::field::{BoundFields, Digested};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::landmark::Landmarks;
use crate::domain::masked::MaskedRow;
use crate::domain::row::{RowCount, RowSet};
use crate::domain::stretch::Extent;

mod blocks;
mod changes;
#[cfg(test)]
pub(super) mod differential;
pub(super) mod helpers;
mod near;
mod patch;
mod pipeline;
mod print;
mod records;
mod window;

use blocks::Blocks;
use changes::{Changes, Eraser, patch};
use near::Shift;
pub(super) use patch::{KnownPatches, Patch, Patches, Patching, Splice};
use print::Print;
use records::BYTE_ORDER_MARK;
pub(super) use records::{Broken, Cut, Cutter, Kind, Record, Records};
pub(super) use window::{Findings, Plain, Problem, ReadWindow, check_length};

/// How one text format is written.
pub(super) trait Syntax: Clone + Send + Sync + 'static {
    /// Finds where its records end.
    type Cutter: Cutter;
    /// Reads identifiers.
    type Reader: ReadRecord;
    /// Reads the identifiers of many records at once.
    type Scanner: ReadWindow;
    /// Writes what becomes of a record.
    type Eraser: EraseRecord;

    /// A cutter at the start of an object.
    fn cutter(&self) -> Self::Cutter;

    /// A reader of these fields.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where no object of this syntax can have any of the fields.
    fn reader(&self, fields: &BoundFields) -> Result<Self::Reader, FormatError>;

    /// A scanner of these fields, which finds what cutter and reader find.
    ///
    /// # Errors
    ///
    /// As `reader`.
    fn scanner(&self, fields: &BoundFields) -> Result<Self::Scanner, FormatError>;

    /// An eraser that does this.
    fn eraser(&self, action: &EraseAction) -> Self::Eraser;

    /// Adds what stands in a row, masked; the header is empty where the object has none.
    fn show(&self, header: &[u8], text: &[u8], row: &mut MaskedRow);

    /// Whether a row is a blank.
    fn is_blank(&self, text: &[u8]) -> bool;
}

/// Reads the identifiers of one record after another.
pub(super) trait ReadRecord {
    /// Takes note of the columns' names.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where none of the fields is among them.
    fn header(&mut self, _text: &[u8]) -> Result<(), FormatError> {
        Ok(())
    }

    /// Adds what stands in a row to `found`.
    ///
    /// # Errors
    ///
    /// [`Broken`] where the row cannot be read; `found` is void then.
    fn read(&mut self, text: &[u8], found: &mut Found) -> Result<(), Broken>;
}

/// Erases one record after another.
pub(super) trait EraseRecord {
    /// Takes note of the columns' names.
    fn header(&mut self, _text: &[u8]) {}

    /// Appends what a row becomes, without line ending.
    ///
    /// # Errors
    ///
    /// [`Broken`] where the row cannot be read.
    fn erase(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Broken>;
}

/// What stands in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// The identifiers.
    pub(super) digests: Vec<IdentifierDigest>,
    /// How many values are not of their field's type.
    pub(super) foreign: u32,
}

impl Found {
    /// More identifiers than this make a row unreadable: it would take more memory than it may.
    pub(super) const MOST: usize = 1 << 20;

    /// Adds what a value turned out to be.
    ///
    /// # Errors
    ///
    /// What is wrong with the row: it holds too many identifiers.
    pub(super) fn add(&mut self, value: Digested) -> Result<(), &'static str> {
        match value {
            Digested::Identifier(_) if self.digests.len() == Self::MOST => {
                return Err("the row holds more than 1,048,576 identifiers");
            }
            Digested::Identifier(digest) => self.digests.push(digest),
            Digested::Empty => {}
            Digested::Foreign => self.foreign += 1,
        }
        Ok(())
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self) {
        self.digests.clear();
        self.foreign = 0;
    }

    fn any_of(&self, subjects: &HashSet<IdentifierDigest>) -> bool {
        self.digests.iter().any(|digest| subjects.contains(digest))
    }
}

/// A text format within a compression.
pub(super) struct Text<S> {
    syntax: S,
    compression: Compression,
}

impl<S: Syntax> Text<S> {
    /// Text of this syntax within this compression.
    pub(super) fn new(syntax: S, compression: Compression) -> Self {
        Self { syntax, compression }
    }

    fn records<R: Source>(&self, source: R) -> Result<Records<R, S::Cutter>, FormatError> {
        Records::new(source, self.compression, self.syntax.cutter())
    }

    fn edit(&self, source: SharedSource, patches: impl Patches) -> Result<Edit, FormatError> {
        Ok(match self.compression {
            Compression::None => Edit::streamed(Splice::new(patches, source.size_bytes())),
            other => Edit::streamed(Recompress::new(source, other, patches)?),
        })
    }
}

impl<S: Syntax> Format for Text<S> {
    fn scan(
        &self,
        source: &dyn Source,
        fields: &BoundFields,
        sink: &mut dyn ScanSink,
    ) -> Result<RowCount, FormatError> {
        let blocks = Blocks::new(source, self.compression)?;
        pipeline::scan(blocks, self.syntax.scanner(fields)?, sink)
    }

    fn blank(&self, source: SharedSource, order: &BlankOrder) -> Result<Blanking, FormatError> {
        if !order.landmarks.rows.is_empty() {
            match self.blank_near(&source, order, &order.landmarks) {
                Ok(blanking) if blanking.is_as_ordered() => return Ok(blanking),
                Err(error @ FormatError::Source(_)) => return Err(error),
                // The index was wrong about a row, or the landmarks are wrong: then the row is elsewhere.
                Ok(_) | Err(_) => {}
            }
        }
        self.blank_near(&source, order, &Landmarks::default())
    }

    fn show(&self, source: &dyn Source, order: &BlankOrder) -> Result<Vec<MaskedRow>, FormatError> {
        if !order.landmarks.rows.is_empty() {
            match self.show_near(source, order, &order.landmarks) {
                Ok(rows) if rows.len() == order.rows.as_slice().len() && all_theirs(&rows) => {
                    return Ok(rows);
                }
                Err(error @ FormatError::Source(_)) => return Err(error),
                // As in `blank`.
                Ok(_) | Err(_) => {}
            }
        }
        self.show_near(source, order, &Landmarks::default())
    }

    fn compact(&self, source: SharedSource) -> Result<Compaction, FormatError> {
        let mut records = self.records(source.clone())?;
        let (mut dropped, mut first_kept) = (0u64, None);
        while let Some(record) = records.next()? {
            if record.row.is_some() && self.syntax.is_blank(record.text) {
                dropped += 1;
            } else if first_kept.is_none() {
                first_kept = Some(record.text.starts_with(BYTE_ORDER_MARK));
            }
        }
        let edit = match dropped {
            0 => None,
            _ => {
                let records = self.records(source.clone())?;
                let mut blanks = Blanks::new(records, self.syntax.clone());
                blanks.is_marked = first_kept == Some(true);
                Some(self.edit(source, blanks)?)
            }
        };
        Ok(Compaction { edit, dropped: RowCount(dropped) })
    }

    fn fingerprint_within(
        &self,
        source: &dyn Source,
        except: Except<'_>,
        extent: &Extent,
    ) -> Result<Fingerprint, FormatError> {
        let mut records = self.records(source)?;
        Print::new(&self.syntax, except).read(&mut records, extent)
    }
}

impl<S: Syntax> Text<S> {
    /// Reads from the landmark before each ordered row, so that no more is read than has to be.
    fn blank_near(
        &self,
        source: &SharedSource,
        order: &BlankOrder,
        landmarks: &Landmarks,
    ) -> Result<Blanking, FormatError> {
        let mut eraser = Eraser {
            reader: self.syntax.reader(&order.fields)?,
            eraser: self.syntax.eraser(&order.action),
            subjects: &order.subjects,
            found: Found::default(),
        };
        // A block that is compressed anew begins before its row, and what is in it is compared.
        let lead_bytes = match self.compression {
            Compression::None => 0,
            _ => Landmarks::DISTANCE_BYTES,
        };
        let stretches = near::around(&order.rows, landmarks, lead_bytes);
        let mut records = Records::traced(source.clone(), self.compression, self.syntax.cutter())?;
        if let Some(header) = records.header()? {
            eraser.header(header.text)?;
        }
        let mut ordered = order.rows.iter().peekable();
        let (mut changes, mut blanked, mut unmatched) =
            (Changes::default(), Vec::new(), Vec::new());
        let mut surplus = RowCount(0);
        for stretch in &stretches {
            records.go_to(stretch)?;
            let mut is_first = true;
            while records.rows().0 < stretch.end.0 {
                let Some(record) = records.next()? else { break };
                let passed = changes.passed(&record, std::mem::take(&mut is_first));
                let ordered = record.row.filter(|row| ordered.next_if_eq(row).is_some());
                let erased = match ordered {
                    Some(row) => eraser.erase(&record, row)?.map(|bytes| patch(&record, bytes)),
                    None => {
                        surplus.0 += u64::from(record.row.is_some() && eraser.is_theirs(&record));
                        None
                    }
                };
                if let Some((landmark, member)) = passed {
                    changes.pass(landmark, records.hint(member, landmark.byte));
                }
                match (ordered, erased) {
                    (Some(row), Some(patch)) => {
                        let hint = records.hint(patch.member, patch.range.start);
                        changes.add(patch, hint);
                        blanked.push(row);
                    }
                    (row, _) => unmatched.extend(row),
                }
            }
        }
        unmatched.extend(ordered);
        let nothing = Blanking { surplus, ..Blanking::nothing(unmatched) };
        let Some(blanked) = RowSet::new(blanked) else { return Ok(nothing) };
        let blanking = Blanking { blanked: Some(blanked), ..nothing };
        match self.compression {
            Compression::None => {
                let Changes { patches, .. } = changes;
                let after = Extent::new(Shift::new(&patches).stretches(&stretches));
                let landmarks = Shift::new(&patches).landmarks(landmarks);
                let edit = Some(known(patches, source));
                let before = Extent::new(stretches);
                Ok(Blanking { edit, way: Way::Rows, before, after, landmarks, ..blanking })
            }
            _ => self.answer(source, blanking, (changes, landmarks)),
        }
    }

    /// The ordered rows, reached as `blank_near` reaches them.
    fn show_near(
        &self,
        source: &dyn Source,
        order: &BlankOrder,
        landmarks: &Landmarks,
    ) -> Result<Vec<MaskedRow>, FormatError> {
        let mut reader = self.syntax.reader(&order.fields)?;
        let mut records = self.records(source)?;
        let mut header = Vec::new();
        if let Some(record) = records.header()? {
            header.extend_from_slice(record.text);
            reader.header(record.text)?;
        }
        let mut found = Found::default();
        let mut shown = Vec::new();
        for stretch in &near::around(&order.rows, landmarks, 0) {
            records.go_to(stretch)?;
            while records.rows().0 < stretch.end.0 {
                let Some(record) = records.next()? else { break };
                let Some(row) = record.row.filter(|&row| order.rows.contains(row)) else {
                    continue;
                };
                found.clear();
                let is_read = reader.read(record.text, &mut found).is_ok();
                let mut masked = MaskedRow::new(row, is_read && found.any_of(&order.subjects));
                self.syntax.show(&header, record.text, &mut masked);
                shown.push(masked);
            }
        }
        Ok(shown)
    }

    /// Adds the edit of a compressed object, and what it touches, to the answer.
    fn answer(
        &self,
        source: &SharedSource,
        blanking: Blanking,
        (changes, landmarks): (Changes, &Landmarks),
    ) -> Result<Blanking, FormatError> {
        let Changes { patches, hints, passed, .. } = changes;
        let kept = Shift::new(&patches).landmarks(landmarks);
        let blanking = Blanking { landmarks: kept, ..blanking };
        let known = (&hints[..], landmarks.member_bytes);
        let because = match by_blocks(source, self.compression, &patches, known)? {
            Answer::Refused(reason) => reason.to_owned(),
            Answer::Spliced(spliced) => {
                let rows = blanking.blanked.as_ref();
                let before = rows
                    .map_or_else(Vec::new, |rows| near::covering(&spliced.touched, rows, &passed));
                let after = Extent::new(Shift::new(&patches).stretches(&before));
                let before = Extent::new(before);
                let mut records = self.records(source.clone())?;
                records.resume_from(Resume(hints));
                let print = Print::new(&self.syntax, Except::from(rows));
                let fingerprint = Some(print.read(&mut records, &before)?);
                let (edit, way) = (Some(Edit::new(spliced.segments)), Way::Blocks);
                return Ok(Blanking { edit, way, before, after, fingerprint, ..blanking });
            }
        };
        let edit = self.edit(source.clone(), KnownPatches::new(patches))?;
        Ok(Blanking { edit: Some(edit), way: Way::Members { because }, ..blanking })
    }
}

fn all_theirs(rows: &[MaskedRow]) -> bool {
    rows.iter().all(|row| row.is_theirs)
}

/// An edit whose length is known beforehand, which a store may need.
fn known(patches: Vec<Patch>, source: &SharedSource) -> Edit {
    let mut segments = Vec::with_capacity(patches.len() * 2 + 1);
    let mut position = 0;
    for patch in patches {
        if position < patch.range.start {
            segments.push(Segment::Copy(position..patch.range.start));
        }
        position = patch.range.end;
        segments.push(Segment::Bytes(patch.bytes));
    }
    if position < source.size_bytes() {
        segments.push(Segment::Copy(position..source.size_bytes()));
    }
    Edit::new(segments)
}

/// The blanks of an object as changes that leave nothing in their place, found while they are asked
/// for: there may be any number.
struct Blanks<S: Syntax> {
    records: Records<SharedSource, S::Cutter>,
    syntax: S,
    /// A record that was read ahead.
    ahead: Option<Seen>,
    /// Whether what was kept last ends in a carriage return.
    is_return: bool,
    /// Whether the first record that stays begins with a byte order mark of its own, which must not
    /// become the object's.
    is_marked: bool,
}

/// A record, and whether it is a blank.
struct Seen {
    /// With its line ending.
    patch: Patch,
    is_blank: bool,
    is_return: bool,
}

impl<S: Syntax> Blanks<S> {
    fn new(records: Records<SharedSource, S::Cutter>, syntax: S) -> Self {
        Self { records, syntax, ahead: None, is_return: false, is_marked: false }
    }

    fn see(&mut self) -> Result<Option<Seen>, FormatError> {
        if let Some(seen) = self.ahead.take() {
            return Ok(Some(seen));
        }
        let Some(record) = self.records.next()? else { return Ok(None) };
        let mut patch = patch(&record, Bytes::new());
        patch.range.end += record.ending.len() as u64;
        let is_blank = record.row.is_some() && self.syntax.is_blank(record.text);
        Ok(Some(Seen { patch, is_blank, is_return: record.ending == b"\r" }))
    }
}

impl<S: Syntax> Patches for Blanks<S> {
    fn next(&mut self) -> Result<Option<Patch>, FormatError> {
        while let Some(mut seen) = self.see()? {
            if !seen.is_blank {
                self.is_return = seen.is_return;
                continue;
            }
            if self.is_return {
                // Empty lines between blank and next record would begin with the second half of a
                // line ending whose first half is there: they go too.
                self.ahead = self.see()?;
                let next = self.ahead.as_ref().map(|next| next.patch.range.start);
                seen.patch.range.end = next.unwrap_or_else(|| self.records.position());
            }
            if self.is_marked && seen.patch.range.start == 0 {
                seen.patch.bytes = Bytes::from_static(BYTE_ORDER_MARK);
            }
            return Ok(Some(seen.patch));
        }
        Ok(None)
    }

    fn growth(&self, _content: Range<u64>) -> Option<i64> {
        None
    }
}

#[cfg(test)]
mod tests;
