//! Pages without a changed row, and what is told of them.
//!
//! A writer may put the lowest and the highest value of a whole chunk into the header of each page, and into
//! each entry of the column index: there an erased value would stay, though no page that holds it is left.
//! So whoever tells of an erased value is held to the values of the page itself.

use std::ops::Range;

use bytes::Bytes;

use super::super::levels::Layout;
use super::super::page::{PageHeader, PageKind, ParsedHeader, header};
use super::super::pages::ColumnChunk;
use super::super::rebuild;
use super::super::runs::Runs;
use super::super::stored::StoredPages;
use super::super::stream::Entries;
use super::super::thrift::{Malformed, STRUCT, Struct};
use super::limits::{Limits, Loss, Order};
use super::{Splice, no_page, page, statistics, values};
use crate::domain::edit::Segment;
use crate::format::FormatError;

/// The fields that hold the inner header of a data page, and in it the field of its statistics.
const PLACES: [(i16, i16); 2] = [(header::DATA, 5), (header::DATA_V2, 8)];

/// Shows the values in some rows, as the crate's readers have them.
///
/// # Errors
///
/// [`FormatError`] where they cannot be read.
fn each(
    column: ColumnChunk<'_>,
    (rows, left_out): (&Runs, &Runs),
    mut see: impl FnMut(&[u8]),
) -> Result<(), FormatError> {
    let mut entries = Entries::within(column, rows)?;
    while let Some(entry) = entries.peek()? {
        let counts = rows.contains(entry.row) && !left_out.contains(entry.row);
        if let Some(value) = entry.value.filter(|_| counts) {
            see(entries.values().bytes(value));
        }
        entries.advance(entry);
    }
    entries.finish(column.rows)
}

/// Whether limits tell of a value that went.
fn tell(limits: &Limits, order: Option<Order>, lost: &[Vec<u8>]) -> bool {
    lost.iter().any(|value| match order {
        Some(order) => limits.tell_of(order, value) != [false; 2],
        None => limits.ends.contains(value),
    })
}

/// Whether each end that tells of a value that went may as well be that of a value that is there.
fn are_held(limits: &Limits, order: Order, (lost, held): (&[Vec<u8>], Option<&Limits>)) -> bool {
    (0..2).all(|end| {
        let tells = lost.iter().any(|value| limits.tell_of(order, value)[end]);
        !tells || held.is_some_and(|held| limits.tell_of(order, &held.ends[end])[end])
    })
}

/// A page with statistics in its header.
struct Told {
    header: Bytes,
    body: Body,
}

/// What follows a header.
enum Body {
    Old(Range<u64>),
    New(Bytes),
}

impl Told {
    /// A page of the old file, if there are statistics in its header.
    fn old(page: &Range<u64>, found: &PageHeader) -> Option<Self> {
        if !matches!(found.kind, PageKind::Data { has_statistics: true, .. }) {
            return None;
        }
        let body = Body::Old(page.start + found.header_bytes..page.end);
        Some(Self { header: found.raw.clone(), body })
    }

    /// A page that was written anew, if there are statistics in its header.
    fn new(page: &Bytes) -> Result<Option<Self>, FormatError> {
        let Some(found) = ParsedHeader::parse(page)? else { return Ok(None) };
        let length = usize::try_from(found.header_bytes).map_err(|_| Malformed)?;
        let has_statistics =
            matches!(found.kind, Some(PageKind::Data { has_statistics: true, .. }));
        Ok((has_statistics && length <= page.len())
            .then(|| Self { header: page.slice(..length), body: Body::New(page.slice(length..)) }))
    }

    fn limits(&self) -> Result<Option<Limits>, Malformed> {
        let fields = Struct::parse(&self.header)?;
        for (id, place) in PLACES {
            let Some(data) = fields.structure(id)? else { continue };
            let told = data.structure(place)?;
            return Ok(told.as_ref().map(statistics::limits_of_any_age).transpose()?.flatten());
        }
        Ok(None)
    }

    /// The page, whose header tells the limits that are left.
    fn renewed(
        self,
        order: Option<Order>,
        (lost, held): (&[Vec<u8>], Option<&Limits>),
    ) -> Result<(Vec<Segment>, i64), Malformed> {
        let mut fields = Struct::parse(&self.header)?;
        for (id, place) in PLACES {
            let Some(mut data) = fields.structure(id)? else { continue };
            let Some(old) = data.structure(place)? else { continue };
            let (loss, left) = (Loss { lost, gained: None }, || held.cloned());
            let new = statistics::renewed(&old, order, loss, (0, &left))?;
            data.set(place, STRUCT, new);
            let data = data.to_bytes();
            fields.set(id, STRUCT, data);
        }
        let header = fields.to_bytes();
        let grown = header.len() as i64 - self.header.len() as i64;
        let body = match self.body {
            Body::Old(range) => Segment::Copy(range),
            Body::New(bytes) => Segment::Bytes(bytes),
        };
        Ok((vec![Segment::Bytes(Bytes::from(header)), body], grown))
    }
}

impl Splice<'_> {
    /// Lets no page tell of a value that went, unless the page holds a value that would be told of in the
    /// same way.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where a page that is to be looked at cannot be read.
    pub(super) fn silence(&mut self) -> Result<(), FormatError> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<Vec<u8>> = self.lost.iter().cloned().collect();
        (0..self.map.pages.len()).try_for_each(|at| self.silence_page(at, &lost))
    }

    fn silence_page(&mut self, at: usize, lost: &[Vec<u8>]) -> Result<(), FormatError> {
        let told = self.told(at)?;
        let in_header = told.as_ref().map(Told::limits).transpose()?.flatten();
        let in_header = in_header.filter(|limits| tell(limits, self.task.order, lost));
        let in_index = self.column_index.as_ref().and_then(|index| index.page(at)).cloned();
        let in_index = in_index.filter(|limits| tell(limits, self.task.order, lost));
        if in_header.is_none() && in_index.is_none() {
            return Ok(());
        }
        let mut rows = Runs::default();
        rows.push_all(self.map.pages[at].rows.clone());
        let held = match self.task.order {
            Some(order) => self.held_by(at, &rows, order)?,
            None => None,
        };
        let is_wrong = |limits: &Option<Limits>| match (limits, self.task.order) {
            (None, _) => Ok(false),
            (Some(limits), None) => self.holds(&rows, limits, lost).map(|holds| !holds),
            (Some(limits), Some(order)) => Ok(!are_held(limits, order, (lost, held.as_ref()))),
        };
        let (is_header_wrong, is_index_wrong) = (is_wrong(&in_header)?, is_wrong(&in_index)?);
        if is_index_wrong {
            let index = self.column_index.as_mut();
            let is_right = index.zip(held.clone()).map(|(index, held)| index.correct(at, held));
            // What cannot be made true is left out.
            if is_right.is_none() {
                self.column_index = None;
            }
        }
        if let Some(told) = told.filter(|_| is_header_wrong) {
            let (segments, grown) = told.renewed(self.task.order, (lost, held.as_ref()))?;
            self.balance.plain_bytes += grown;
            self.renewed.insert(at, segments);
        }
        Ok(())
    }

    /// A page with statistics in its header. Where no page that was touched had any, none has.
    fn told(&self, at: usize) -> Result<Option<Told>, FormatError> {
        if !self.tells_in_headers {
            return Ok(None);
        }
        if let Some([Segment::Bytes(page), ..]) = self.renewed.get(&at).map(Vec::as_slice) {
            return Told::new(page);
        }
        let page = &self.map.pages[at];
        Ok(Told::old(&page.bytes, &*page.header(self.source)?))
    }

    /// Whether the ends that tell of a value that went are values that some rows are left with: of a column
    /// without a known order no more can be asked.
    fn holds(&self, rows: &Runs, limits: &Limits, lost: &[Vec<u8>]) -> Result<bool, FormatError> {
        let is_told = |end: usize| lost.contains(&limits.ends[end]);
        let mut is_missing = [is_told(0), is_told(1)];
        each(self.column(), (rows, self.order.changed), |value| {
            for (is_missing, end) in is_missing.iter_mut().zip(&limits.ends) {
                *is_missing &= end != value;
            }
        })?;
        Ok(is_missing == [false; 2])
    }

    fn column(&self) -> ColumnChunk<'_> {
        let rebuild::Order { leaf, chunk, rows, .. } = *self.order;
        ColumnChunk { source: self.source, leaf, chunk, rows }
    }

    /// The limits of the values that a page is left with, as it will be written; `rows` are the page's.
    fn held_by(
        &mut self,
        at: usize,
        rows: &Runs,
        order: Order,
    ) -> Result<Option<Limits>, FormatError> {
        let place = &self.map.pages[at];
        let renewed = self.renewed.get(&at).map(Vec::as_slice);
        let page = match renewed {
            Some([Segment::Bytes(page)]) => StoredPages::one(page, 0..page.len() as u64)?,
            _ => StoredPages::one(self.source, place.bytes.clone())?,
        };
        let PageKind::Data { entries, encoding, .. } = page.kind else { return Err(no_page()) };
        if !self.task.kind.knows(encoding) {
            return self.held_in(rows, order);
        }
        let plain = self.writer.unpacker.unpack(self.writer.codec, &page)?;
        let layout = Layout::of(self.task.leaf, &page, plain.bytes())?;
        let count = layout.present(plain.bytes(), entries)?;
        let rest = plain.bytes().get(layout.values..).unwrap_or_default();
        if count == 0 {
            return Ok(None);
        }
        let (values, _) = values::read(self.task.kind, encoding, rest, count)?;
        let held = page::limits_of(&values, (self.task.kind, order), self.dictionary.as_ref());
        self.writer.unpacker.reclaim(plain);
        Ok(held)
    }

    /// The limits of the values that some rows are left with.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where they cannot be read.
    pub(super) fn held_in(&self, rows: &Runs, order: Order) -> Result<Option<Limits>, FormatError> {
        let (mut held, changed) = (None, self.order.changed);
        each(self.column(), (rows, changed), |value| Limits::widen(&mut held, order, value))?;
        if self.is_emptied && rows.iter().any(|run| changed.touches(run)) {
            Limits::widen(&mut held, order, &self.task.empty);
        }
        Ok(held)
    }
}
