//! One column chunk without the values of some rows, of which only the pages that hold such a row are
//! written anew: in their own encoding, codec and page version. Everything else that tells of the
//! values (dictionary, statistics, indexes, bloom filter) is made true again. It knows no other column.
//!
//! | module | what it knows |
//! | --- | --- |
//! | `page` | one page: opened, changed, written |
//! | `change` | what becomes of its levels, and of its values by number |
//! | `values`, `delta` | the encodings of values |
//! | `pack` | codecs |
//! | `dictionary` | entries, and which of them nobody needs any more |
//! | `limits`, `statistics`, `index` | lowest and highest values, and who tells them |
//! | `scrub` | entries of a dictionary that nobody refers to |
//! | `bystanders` | pages without a changed row that tell of an erased value |
//!
//! The values are read and written by code of its own, not by the crate's: what it makes is compared
//! with what was there by the crate's readers, in `fingerprint`.

mod bystanders;
mod change;
mod delta;
mod dictionary;
mod index;
mod limits;
mod pack;
mod page;
mod scrub;
mod statistics;
mod values;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use parquet::bloom_filter::Sbbf;

use self::dictionary::Dictionary;
use self::index::ColumnIndex;
use self::limits::{Limits, Loss, Order};
use self::pack::Packer;
use self::page::{Balance, Task, Touched, Writer};
pub(super) use self::scrub::keeps_lost;
use self::values::Kind;
use super::footer::{chunk, column};
use super::leaf::{Leaf, Level};
use super::levels::{Layout, MOST_ENTRIES};
use super::page::{PageKind, is_coded};
use super::pages::{ColumnChunk, PageMap};
use super::rebuild;
use super::rebuilt::{LAST_KNOWN, Renewed, bloom_bytes};
use super::runs::Runs;
use super::stored::StoredPages;
use super::stream::Entries;
use super::survey::Doomed;
use super::thrift::{I64, LIST, Malformed, STRUCT, Struct, list, number, signed};
use super::value::empty_bytes;
use crate::domain::edit::Segment;
use crate::format::{FormatError, Source};

/// Why pages of this chunk with a changed row cannot be written one by one, if they cannot: lower case,
/// without content.
///
/// # Errors
///
/// [`FormatError`] where a page header cannot be read.
pub(super) fn obstacle(
    column: ColumnChunk<'_>,
    map: &PageMap,
    changed: &Runs,
) -> Result<Option<&'static str>, FormatError> {
    if !Packer::knows(column.chunk.codec) {
        return Ok(Some("it has a codec that this version does not write"));
    }
    let kind = kind_of(column.leaf);
    for place in map.touched(changed) {
        let header = place.header(column.source)?;
        let PageKind::Data { second, entries, encoding, .. } = header.kind else {
            return Ok(Some("a page is not where it should be"));
        };
        if !kind.knows(encoding) {
            return Ok(Some("it has an encoding that this version does not write"));
        }
        if is_coded(encoding) && map.dictionary.is_empty() {
            return Ok(Some("its dictionary is missing"));
        }
        if entries > MOST_ENTRIES as u64 {
            return Ok(Some("a page has more than 2^26 entries"));
        }
        if !second && !Layout::knows(column.leaf, header.content.level_encodings) {
            return Ok(Some("its levels have an encoding that this version does not write"));
        }
    }
    Ok(None)
}

fn kind_of(leaf: &Leaf) -> Kind {
    Kind::of(leaf.descriptor.physical_type(), leaf.descriptor.type_length())
}

/// The chunk as it becomes. What lies below the level is taken out of the changed rows, of which there may
/// be none, and lost values that nobody refers to out of the dictionary; `indexes` are where its column
/// index and its offset index stand.
///
/// # Errors
///
/// [`FormatError`] where a page with a changed row cannot be read.
pub(super) fn splice(
    source: &dyn Source,
    (order, doomed): (&rebuild::Order<'_>, &Doomed),
    map: &PageMap,
    indexes: &[Option<Range<u64>>; 2],
) -> Result<Renewed, FormatError> {
    let column = Struct::parse(&order.chunk.raw)?;
    let metadata = column.structure(column::METADATA)?.ok_or(Malformed)?;
    let mut splice = Splice::new(source, (order, doomed.level), map, &metadata)?;
    splice.read_column_index(indexes[0].as_ref())?;
    let is_touched = |at: &usize| order.changed.touches(&map.pages[*at].rows);
    (0..map.pages.len()).filter(is_touched).try_for_each(|at| splice.touch(at))?;
    splice.scrub(&doomed.lost)?;
    splice.silence()?;
    splice.lay_out();
    splice.finish(&metadata, indexes[1].as_ref())
}

/// A chunk on its way.
struct Splice<'a> {
    source: &'a dyn Source,
    order: &'a rebuild::Order<'a>,
    map: &'a PageMap,
    task: Task<'a>,
    writer: Writer,
    dictionary: Option<Dictionary>,
    /// Data pages that do not stay as they are, by number.
    renewed: BTreeMap<usize, Vec<Segment>>,
    /// Whether statistics stand in page headers.
    tells_in_headers: bool,
    /// All data pages as they become, and where each lies from the first.
    pieces: Vec<Segment>,
    places: Vec<(u64, u64)>,
    length: u64,
    touched: Vec<(usize, Balance)>,
    balance: Balance,
    /// Values that were taken out, each once.
    lost: HashSet<Vec<u8>>,
    is_emptied: bool,
    column_index: Option<ColumnIndex>,
    watch: Watch,
    /// Whether all values are entries of the dictionary, and it is known which of them are used.
    knows_all: bool,
    /// The limits of all values that are left, once they had to be read.
    read_again: OnceCell<Option<Limits>>,
}

/// What is known of the limits of a whole chunk while its pages change.
struct Watch {
    before: Option<Limits>,
    /// Whether a limit may tell of a value that went, and whether it is known to be that of another.
    is_told: [bool; 2],
    is_held: [bool; 2],
    /// The limits of all values that are left, as long as every page was touched; `Some(None)` where
    /// no page has limits.
    left: Option<Option<Limits>>,
}

impl Watch {
    fn note(&mut self, order: Order, touched: &Touched, dictionary: Option<&Dictionary>) {
        self.note_lost(order, &touched.lost);
        if let Some(before) = &self.before {
            for end in 0..2 {
                if self.is_told[end] && !self.is_held[end] {
                    self.is_held[end] = touched.left.holds(&before.ends[end], dictionary);
                }
            }
        }
        let Some(left) = self.left.take() else { return };
        let page = touched.left.limits(dictionary);
        self.left = Some(match (left, page) {
            (Some(left), Some(page)) => Some(left.and(order, page)),
            (None, Some(page)) => Some(page.clone()),
            (left, None) => left,
        });
    }

    /// Notes values that went, and that nobody was seen to hold.
    fn note_lost(&mut self, order: Order, lost: &[Vec<u8>]) {
        let Some(before) = &self.before else { return };
        for value in lost {
            let told = before.tell_of(order, value);
            self.is_told = [self.is_told[0] || told[0], self.is_told[1] || told[1]];
        }
    }

    /// Whether every limit that may tell of a value that went tells of another.
    fn is_true(&self) -> bool {
        (0..2).all(|end| self.is_held[end] || !self.is_told[end])
    }
}

impl<'a> Splice<'a> {
    fn new(
        source: &'a dyn Source,
        (order, level): (&'a rebuild::Order<'a>, Level),
        map: &'a PageMap,
        metadata: &Struct<'_>,
    ) -> Result<Self, FormatError> {
        let (leaf, kind) = (order.leaf, kind_of(order.leaf));
        let task = Task {
            leaf,
            kind,
            order: Order::of(leaf).filter(|_| order.is_ordered),
            changed: order.changed,
            level,
            empty: empty_value(leaf, kind),
        };
        let mut writer = Writer::new(order.chunk.codec);
        let dictionary = match &map.dictionary {
            range if range.is_empty() => None,
            range => {
                let page = StoredPages::one(source, range.clone())?;
                let how = (kind, order.chunk.codec);
                Some(Dictionary::new(page, how, &mut writer.unpacker)?)
            }
        };
        let statistics = metadata.structure(chunk::STATISTICS)?;
        let before = statistics.as_ref().map(statistics::limits_of_any_age).transpose()?.flatten();
        let all = map.touched(order.changed).count() == map.pages.len();
        let left = (all && before.is_some()).then_some(None);
        Ok(Self {
            source,
            order,
            map,
            task,
            writer,
            dictionary,
            renewed: BTreeMap::new(),
            tells_in_headers: false,
            pieces: Vec::new(),
            places: Vec::with_capacity(map.pages.len()),
            length: 0,
            touched: Vec::new(),
            balance: Balance::new(leaf),
            lost: HashSet::new(),
            is_emptied: false,
            column_index: None,
            watch: Watch { before, is_told: [false; 2], is_held: [false; 2], left },
            knows_all: false,
            read_again: OnceCell::new(),
        })
    }

    fn read_column_index(&mut self, range: Option<&Range<u64>>) -> Result<(), FormatError> {
        let Some(range) = range else { return Ok(()) };
        let length = usize::try_from(range.end - range.start).map_err(|_| Malformed)?;
        let bytes = self.source.read_at(range.start, length)?;
        self.column_index = ColumnIndex::read(&bytes, self.map.pages.len(), self.task.order);
        Ok(())
    }

    /// Puts the pages one after another.
    fn lay_out(&mut self) {
        for (at, page) in self.map.pages.iter().enumerate() {
            let old = || vec![Segment::Copy(page.bytes.clone())];
            let segments = self.renewed.remove(&at).unwrap_or_else(old);
            let length = segments.iter().map(Segment::size_bytes).sum();
            self.places.push((self.length, length));
            self.length += length;
            for segment in segments {
                match (self.pieces.last_mut(), segment) {
                    (Some(Segment::Copy(last)), Segment::Copy(next)) if last.end == next.start => {
                        last.end = next.end;
                    }
                    (_, segment) => self.pieces.push(segment),
                }
            }
        }
    }

    fn touch(&mut self, at: usize) -> Result<(), FormatError> {
        let place = &self.map.pages[at];
        let page = StoredPages::one(self.source, place.bytes.clone())?;
        let what = (&page, &place.rows);
        let touched = page::edit(&self.task, what, &mut self.dictionary, &mut self.writer)?;
        self.note_limits(at, &touched);
        self.balance.add(&touched.balance);
        self.is_emptied |= touched.is_emptied;
        self.lost.extend(touched.lost);
        self.touched.push((at, touched.balance));
        self.tells_in_headers |= matches!(page.kind, PageKind::Data { has_statistics: true, .. });
        self.renewed.insert(at, vec![Segment::Bytes(Bytes::from(touched.bytes))]);
        Ok(())
    }

    /// Lets those who tell lowest and highest values follow a page.
    fn note_limits(&mut self, at: usize, touched: &Touched) {
        let dictionary = self.dictionary.as_ref();
        if let Some(order) = self.task.order {
            self.watch.note(order, touched, dictionary);
        }
        let Some(index) = &mut self.column_index else { return };
        let gained = touched.is_emptied.then_some(self.task.empty.as_slice());
        let loss = Loss { lost: &touched.lost, gained };
        let left = || touched.left.limits(dictionary).cloned();
        let taken = index.take(at, touched, |before| match self.task.order {
            Some(order) => before.after(order, loss, left),
            None => loss.is_none().then(|| before.clone()),
        });
        // What cannot be made true is left out.
        if taken.is_none() {
            self.column_index = None;
        }
    }

    /// The limits of all values that are left, if they are known.
    fn left(&self) -> Option<Limits> {
        let order = self.task.order?;
        if self.watch.is_true() {
            let gained = self.is_emptied.then_some(self.task.empty.as_slice());
            return self.watch.before.as_ref()?.after(order, Loss { lost: &[], gained }, || None);
        }
        if let Some(left) = &self.watch.left {
            return left.clone();
        }
        let is_nested = self.task.leaf.descriptor.max_rep_level() > 0;
        let told = self.column_index.as_ref().and_then(|index| index.limits(is_nested));
        told.or_else(|| match &self.dictionary {
            Some(dictionary) if self.knows_all => Limits::of(order, dictionary.used()),
            _ => self.read_again.get_or_init(|| self.all_held(order)).clone(),
        })
    }

    /// The limits of all values that are left, for which the whole chunk is read: engines prune by the limits
    /// of all row groups together, and pass over rows where one of them tells none.
    fn all_held(&self, order: Order) -> Option<Limits> {
        let mut rows = Runs::default();
        rows.push_all(0..self.order.rows);
        self.held_in(&rows, order).ok().flatten()
    }

    fn finish(
        mut self,
        metadata: &Struct<'_>,
        offset_index: Option<&Range<u64>>,
    ) -> Result<Renewed, FormatError> {
        let dictionary = self.map.dictionary.clone();
        let mut before = dictionary.end - dictionary.start;
        let mut pieces = Vec::with_capacity(self.pieces.len() + 1);
        let renewed = self.dictionary.as_ref().map(|it| it.renewed(&mut self.writer));
        match renewed.transpose()?.flatten() {
            Some((bytes, grown)) => {
                before = bytes.len() as u64;
                self.balance.plain_bytes += grown;
                pieces.push(Segment::Bytes(Bytes::from(bytes)));
            }
            None if before > 0 => pieces.push(Segment::Copy(dictionary)),
            None => {}
        }
        pieces.append(&mut self.pieces);
        self.places.iter_mut().for_each(|(start, _)| *start += before);
        let metadata = self.metadata(metadata, before)?;
        let offset_index = self.offset_index(offset_index)?;
        let column_index = self.column_index.as_ref().filter(|_| offset_index.is_some());
        let column_index = column_index.map(|index| Bytes::from(index.to_bytes()));
        let bloom = self.bloom()?;
        Ok(Renewed { pieces, metadata, column_index, offset_index, bloom })
    }

    /// The chunk's metadata made true; its first data page comes after so many bytes.
    fn metadata(&self, old: &Struct<'_>, before: u64) -> Result<Vec<u8>, FormatError> {
        let mut new = old.clone();
        let start = self.order.chunk.pages.start.cast_signed();
        for (id, by) in [
            (chunk::NUM_VALUES, self.balance.entries),
            (chunk::UNCOMPRESSED_SIZE, self.balance.plain_bytes),
        ] {
            new.set_integer(id, I64, old.required(id)?.saturating_add(by));
        }
        new.set_integer(chunk::COMPRESSED_SIZE, I64, (before + self.length).cast_signed());
        // Some writers give the dictionary's place for that of the first data page.
        let is_first = old.required(chunk::DATA_PAGE)? == start;
        let data = if is_first { 0 } else { before.cast_signed() };
        new.set_integer(chunk::DATA_PAGE, I64, data);
        match old.integer(chunk::DICTIONARY_PAGE)? {
            Some(place) if place == start && before > 0 => {
                new.set_integer(chunk::DICTIONARY_PAGE, I64, 0);
            }
            _ => new.remove(chunk::DICTIONARY_PAGE),
        }
        if let Some(old) = old.structure(chunk::STATISTICS)? {
            let lost: Vec<Vec<u8>> = self.lost.iter().cloned().collect();
            let gained = self.is_emptied.then_some(self.task.empty.as_slice());
            let loss = Loss { lost: &lost, gained };
            let left = || self.left();
            let counts = (self.balance.nulls, &left as &dyn Fn() -> Option<Limits>);
            let bytes = statistics::renewed(&old, self.task.order, loss, counts)?;
            new.set(chunk::STATISTICS, STRUCT, bytes);
        }
        if let Some(old) = old.structure(chunk::SIZE_STATISTICS)? {
            new.set(chunk::SIZE_STATISTICS, STRUCT, self.size_statistics(&old)?);
        }
        new.remove_all(&[chunk::INDEX_PAGE, chunk::GEOSPATIAL, chunk::BLOOM, chunk::BLOOM_LENGTH]);
        new.keep_up_to(LAST_KNOWN);
        Ok(new.to_bytes())
    }

    fn size_statistics(&self, old: &Struct<'_>) -> Result<Vec<u8>, Malformed> {
        const VALUE_BYTES: i16 = 1;
        const REPETITIONS: i16 = 2;
        const DEFINITIONS: i16 = 3;
        let mut new = old.clone();
        if let Some(bytes) = old.integer(VALUE_BYTES)? {
            let bytes = bytes.saturating_add(self.balance.value_bytes).max(0);
            new.set_integer(VALUE_BYTES, I64, bytes);
        }
        let balances =
            [(REPETITIONS, &self.balance.repetitions), (DEFINITIONS, &self.balance.definitions)];
        for (id, balance) in balances {
            let Some(counts) = old.list(id)? else { continue };
            if counts.len() != balance.len() {
                new.remove(id);
                continue;
            }
            let mut sums = Vec::with_capacity(balance.len());
            for (count, &by) in counts.into_iter().zip(balance) {
                sums.push(signed(number(count)?.saturating_add(by).max(0)));
            }
            new.set(id, LIST, list(I64, &sums));
        }
        new.keep_up_to(DEFINITIONS);
        Ok(new.to_bytes())
    }

    fn offset_index(&self, range: Option<&Range<u64>>) -> Result<Option<Bytes>, FormatError> {
        let Some(range) = range else { return Ok(None) };
        let length = usize::try_from(range.end - range.start).map_err(|_| Malformed)?;
        let old = self.source.read_at(range.start, length)?;
        // One of other pages than there are leads nowhere, and is left out.
        Ok(index::offset_index(&old, &self.places, &self.touched).ok().map(Bytes::from))
    }

    /// The bloom filter anew, where there was one, for which all of the chunk's values are read.
    fn bloom(&self) -> Result<Option<Bytes>, FormatError> {
        let Some(length) = self.order.bloom_bytes else { return Ok(None) };
        let mut bloom = Sbbf::new(&vec![0; length]);
        let mut entries = Entries::new(self.source, self.task.leaf, self.order.chunk)?;
        while let Some(entry) = entries.peek()? {
            if let Some(value) = entry.value.filter(|_| !self.order.changed.contains(entry.row)) {
                bloom.insert(entries.values().bytes(value));
            }
            entries.advance(entry);
        }
        entries.finish(self.order.rows)?;
        if self.is_emptied {
            bloom.insert(self.task.empty.as_slice());
        }
        bloom_bytes(&bloom).map(Some)
    }
}

/// The empty value of a column, as the encoding `PLAIN` has it.
fn empty_value(leaf: &Leaf, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Truth => vec![0],
        Kind::Fixed { width, .. } => vec![0; width],
        Kind::Variable => empty_bytes(&leaf.descriptor),
    }
}

fn no_page() -> FormatError {
    FormatError::unreadable("a page of a column is not where it should be")
}
