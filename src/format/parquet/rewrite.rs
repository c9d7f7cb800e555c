//! The new file as a stream of segments: chunks without a changed row are copied, the others
//! made anew shortly before their turn comes, a few abreast, and the footer follows at the end with
//! every offset true.
//!
//! Only bytes that the footer refers to are copied: what lies between chunks (older parquet-cpp
//! leaves a copy of the column's metadata there, lowest and highest value included) stays behind.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::abreast::abreast;
use super::extras::{Extras, bloom_size};
use super::footer::{Footer, MAGIC, chunk, column, disjoint, file, group};
use super::guarded;
use super::page::check_size;
use super::rebuild::{Change, Order, rebuild};
use super::rebuilt::{INDEXES, Renewed, relocate_chunk, relocate_index, set_part, shift_rebuilt};
use super::runs::Runs;
use super::splice::splice;
use super::survey::{Doomed, Means};
use super::thrift::{I16, I64, LIST, Malformed, STRUCT, Struct, list};
use crate::domain::edit::{EditError, Segment};
use crate::format::{FormatError, SharedSource};

/// How many chunks are made ahead of their turn, at most, and how long they may be together unless it is
/// one alone: 64 MiB.
const MOST_AHEAD: usize = 8;
const MOST_AHEAD_BYTES: u64 = 64 << 20;

/// What becomes of a row group.
pub(super) enum GroupPlan {
    /// It stays as it is.
    Copy,
    /// Of these rows, maybe none, what is doomed goes from each leaf that has some, by these means.
    Erase(Runs, Arc<[Option<Doomed>]>, Vec<Means>),
    /// These rows are no more.
    Drop(Runs),
    /// The whole group is no more.
    Omit,
}

/// Where the parts of a chunk come to lie in the new file.
#[derive(Default)]
struct Placed {
    start: u64,
    bloom: Option<Range<u64>>,
    indexes: [Option<Range<u64>>; 2],
    /// What a rebuilt chunk has for later: its metadata and its indexes.
    metadata: Option<Vec<u8>>,
    kept_bloom: Option<Bytes>,
    kept_indexes: [Option<Bytes>; 2],
}

#[derive(Clone, Copy)]
enum Step {
    Chunk(usize, usize),
    Blooms(usize),
    Indexes(usize, usize),
    Footer,
    End,
}

/// The segments of the new file.
pub(super) struct Rewrite {
    source: SharedSource,
    footer: Footer,
    plans: Vec<GroupPlan>,
    extras: Vec<Vec<Extras>>,
    /// Whether the writer knows the order of a leaf's values.
    ordered: Vec<bool>,
    /// Where the parts of the old file begin, ascending, the footer included.
    starts: Vec<u64>,
    placed: Vec<Vec<Placed>>,
    step: Step,
    /// Chunks that change, ahead of their turn, from the next one on.
    made: VecDeque<Renewed>,
    ready: VecDeque<Segment>,
    /// Bytes to copy, to which the next may be added.
    copying: Option<Range<u64>>,
    written: u64,
}

impl Rewrite {
    /// The file with each row group as planned. Everything that the footer refers to is checked
    /// now.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where parts of the file overlap or cannot be read.
    pub(super) fn new(
        source: SharedSource,
        footer: Footer,
        plans: Vec<GroupPlan>,
    ) -> Result<Self, FormatError> {
        let mut extras = Vec::with_capacity(footer.groups.len());
        let mut parts = Vec::new();
        for group in &footer.groups {
            let of_group: Vec<Extras> = group
                .chunks
                .iter()
                .map(|chunk| Extras::of(&*source, chunk, footer.start))
                .collect::<Result<_, _>>()?;
            parts.extend(group.chunks.iter().map(|chunk| chunk.pages.clone()));
            for extra in &of_group {
                parts.extend(extra.bloom.iter().chain(extra.indexes.iter().flatten()).cloned());
            }
            extras.push(of_group);
        }
        disjoint(parts.clone())?;
        let mut starts: Vec<u64> = parts.iter().map(|part| part.start).collect();
        starts.push(footer.start);
        starts.sort_unstable();
        let ordered = known_orders(&footer)?;
        let placed = footer.groups.iter().map(|_| Vec::new()).collect();
        let mut rewrite = Self {
            source,
            footer,
            plans,
            extras,
            ordered,
            starts,
            placed,
            step: Step::Chunk(0, 0),
            made: VecDeque::new(),
            ready: VecDeque::new(),
            copying: None,
            written: 0,
        };
        rewrite.put(Bytes::from_static(MAGIC));
        Ok(rewrite)
    }

    fn put(&mut self, bytes: Bytes) -> Range<u64> {
        self.ready.extend(self.copying.take().map(Segment::Copy));
        let start = self.written;
        self.written += bytes.len() as u64;
        if !bytes.is_empty() {
            self.ready.push_back(Segment::Bytes(bytes));
        }
        start..self.written
    }

    fn copy(&mut self, range: Range<u64>) -> Range<u64> {
        let start = self.written;
        self.written += range.end - range.start;
        match &mut self.copying {
            _ if range.is_empty() => {}
            Some(copying) if copying.end == range.start => copying.end = range.end,
            copying => self.ready.extend(copying.replace(range).map(Segment::Copy)),
        }
        start..self.written
    }

    fn is_omitted(&self, group: usize) -> bool {
        matches!(self.plans.get(group), Some(GroupPlan::Omit))
    }

    /// Makes the next segments.
    fn advance(&mut self) -> Result<(), FormatError> {
        let (groups, leaves) = (self.footer.groups.len(), self.footer.leaves.len());
        self.step = match self.step {
            Step::Chunk(group, _) if group == groups => Step::Indexes(0, 0),
            Step::Chunk(group, leaf) if leaf == leaves || self.is_omitted(group) => {
                Step::Blooms(group)
            }
            Step::Chunk(group, leaf) => {
                self.chunk(group, leaf)?;
                Step::Chunk(group, leaf + 1)
            }
            Step::Blooms(group) => {
                self.blooms(group);
                Step::Chunk(group + 1, 0)
            }
            Step::Indexes(kind, _) if kind == INDEXES.len() => Step::Footer,
            Step::Indexes(kind, group) if group == groups => Step::Indexes(kind + 1, 0),
            Step::Indexes(kind, group) => {
                self.indexes(kind, group)?;
                Step::Indexes(kind, group + 1)
            }
            Step::Footer => {
                self.footer()?;
                Step::End
            }
            Step::End => Step::End,
        };
        Ok(())
    }

    fn chunk(&mut self, group: usize, leaf: usize) -> Result<(), FormatError> {
        if self.changes(group, leaf) {
            if self.made.is_empty() {
                self.make_ahead(group, leaf)?;
            }
            let made = self.made.pop_front().ok_or(Malformed)?;
            self.place(group, made);
            return Ok(());
        }
        let chunk = &self.footer.groups[group].chunks[leaf];
        // Whoever records too short a size leaves a gap behind the chunk.
        if self.starts.binary_search(&chunk.pages.end).is_err() {
            check_size(&*self.source, chunk)?;
        }
        let start = self.copy(chunk.pages.clone()).start;
        self.placed[group].push(Placed { start, ..Placed::default() });
        Ok(())
    }

    /// Whether a chunk does not stay as it is.
    fn changes(&self, group: usize, leaf: usize) -> bool {
        match &self.plans[group] {
            GroupPlan::Erase(.., means) => !matches!(means.get(leaf), None | Some(Means::Copy)),
            GroupPlan::Drop(_) => true,
            GroupPlan::Copy | GroupPlan::Omit => false,
        }
    }

    /// Makes the next chunks that change, this one first, as many as there are processors to do it.
    fn make_ahead(&mut self, group: usize, leaf: usize) -> Result<(), FormatError> {
        let leaves = self.footer.leaves.len();
        let all = (group * leaves + leaf..self.plans.len() * leaves)
            .map(|at| (at / leaves, at % leaves))
            .filter(|&(group, leaf)| self.changes(group, leaf));
        let (mut next, mut bytes) = (Vec::new(), 0_u64);
        for (group, leaf) in all.take(MOST_AHEAD) {
            let pages = &self.footer.groups[group].chunks[leaf].pages;
            bytes = bytes.saturating_add(pages.end - pages.start);
            if !next.is_empty() && bytes > MOST_AHEAD_BYTES {
                break;
            }
            next.push((group, leaf));
        }
        self.made = abreast(next.len(), |at| self.make(next[at].0, next[at].1))?.into();
        Ok(())
    }

    /// A chunk as it becomes.
    fn make(&self, group: usize, leaf: usize) -> Result<Renewed, FormatError> {
        let row_group = &self.footer.groups[group];
        let bloom = self.extras[group][leaf].bloom.as_ref();
        let order = |changed, change| {
            let bloom_bytes = bloom.map(|range| bloom_size(&*self.source, range)).transpose()?;
            Ok::<_, FormatError>(Order {
                leaf: &self.footer.leaves[leaf],
                chunk: &row_group.chunks[leaf],
                rows: row_group.row_count(),
                changed,
                change,
                bloom_bytes,
                is_ordered: self.ordered.get(leaf).copied().unwrap_or(true)
                    && self.footer.leaves[leaf].is_known(),
            })
        };
        let source = &*self.source;
        match &self.plans[group] {
            GroupPlan::Erase(rows, doomed, means) => {
                let doomed = doomed.get(leaf).and_then(Option::as_ref).ok_or(Malformed)?;
                let order = order(rows, Change::Erase(doomed.level))?;
                match means.get(leaf) {
                    Some(Means::Splice(map)) => {
                        let indexes = &self.extras[group][leaf].indexes;
                        splice(source, (&order, doomed), map, indexes)
                    }
                    _ => Ok(rebuild(source, &order)?.into()),
                }
            }
            GroupPlan::Drop(rows) => Ok(rebuild(source, &order(rows, Change::Drop)?)?.into()),
            GroupPlan::Copy | GroupPlan::Omit => Err(Malformed.into()),
        }
    }

    /// Lets a chunk that changed follow those before it.
    fn place(&mut self, group: usize, renewed: Renewed) {
        let start = self.written;
        for piece in renewed.pieces {
            match piece {
                Segment::Copy(range) => self.copy(range),
                Segment::Bytes(bytes) => self.put(bytes),
            };
        }
        self.placed[group].push(Placed {
            start,
            metadata: Some(renewed.metadata),
            kept_bloom: renewed.bloom,
            kept_indexes: [renewed.column_index, renewed.offset_index],
            ..Placed::default()
        });
    }

    fn blooms(&mut self, group: usize) {
        for leaf in 0..self.placed[group].len() {
            let placed = &mut self.placed[group][leaf];
            let range = match (&placed.metadata, placed.kept_bloom.take()) {
                (Some(_), kept) => kept.map(|bytes| self.put(bytes)),
                (None, _) => {
                    let old = self.extras[group][leaf].bloom.clone();
                    old.map(|range| self.copy(range))
                }
            };
            self.placed[group][leaf].bloom = range;
        }
    }

    fn indexes(&mut self, kind: usize, group: usize) -> Result<(), FormatError> {
        for leaf in 0..self.placed[group].len() {
            let placed = &mut self.placed[group][leaf];
            let start = placed.start;
            let range = match (placed.metadata.is_some(), placed.kept_indexes[kind].take()) {
                (true, Some(bytes)) if kind == 1 => {
                    let moved = relocate_index(&bytes, start.cast_signed())?;
                    Some(self.put(Bytes::from(moved)))
                }
                (true, kept) => kept.map(|bytes| self.put(bytes)),
                (false, _) => self.old_index(kind, group, leaf)?,
            };
            self.placed[group][leaf].indexes[kind] = range;
        }
        Ok(())
    }

    /// The index of a chunk that is copied: a column index knows no offsets, an offset index does.
    fn old_index(
        &mut self,
        kind: usize,
        group: usize,
        leaf: usize,
    ) -> Result<Option<Range<u64>>, FormatError> {
        let Some(range) = self.extras[group][leaf].indexes[kind].clone() else { return Ok(None) };
        let by = self.moved_by(group, leaf);
        if kind == 0 || by == 0 {
            return Ok(Some(self.copy(range)));
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| Malformed)?;
        let index = self.source.read_at(range.start, length)?;
        Ok(Some(self.put(Bytes::from(relocate_index(&index, by)?))))
    }

    fn moved_by(&self, group: usize, leaf: usize) -> i64 {
        let old = self.footer.groups[group].chunks[leaf].pages.start;
        self.placed[group][leaf].start.cast_signed() - old.cast_signed()
    }

    fn footer(&mut self) -> Result<(), FormatError> {
        let mut groups = Vec::new();
        let mut rows = 0_i64;
        for at in (0..self.footer.groups.len()).filter(|&at| !self.is_omitted(at)) {
            let bytes = self.group(at, groups.len())?;
            rows += Struct::parse(&bytes)?.required(group::NUM_ROWS)?;
            groups.push(bytes);
        }
        let mut file = self.footer.file()?;
        file.set(file::ROW_GROUPS, LIST, list(STRUCT, &groups));
        if self.footer.row_count().0.cast_signed() != rows {
            file.set_integer(file::NUM_ROWS, I64, rows);
        }
        let mut bytes = file.to_bytes();
        let length = u32::try_from(bytes.len())
            .map_err(|_| FormatError::unreadable("the Parquet footer would be beyond 4 GiB"))?;
        bytes.extend(length.to_le_bytes());
        bytes.extend(MAGIC);
        let bytes = Bytes::from(bytes);
        let start = self.put(bytes.clone()).start;
        // A damaged footer may be readable, and not what is made of it. That ends the write while the object
        // is still what it was.
        Footer::parse(start, bytes.slice(..length as usize)).map_err(|_| {
            FormatError::unreadable(
                "the Parquet footer is damaged: with the changes it could not be read any more",
            )
        })?;
        Ok(())
    }

    /// The structure `RowGroup` of a group that comes to be number `ordinal`.
    fn group(&self, at: usize, ordinal: usize) -> Result<Vec<u8>, FormatError> {
        let old = &self.footer.groups[at];
        let mut fields = Struct::parse(&old.raw)?;
        let mut columns = Vec::with_capacity(old.chunks.len());
        let mut grown = [0_i64; 2];
        for leaf in 0..old.chunks.len() {
            let (bytes, by) = self.column(at, leaf)?;
            columns.push(bytes);
            grown = [grown[0] + by[0], grown[1] + by[1]];
        }
        fields.set(group::COLUMNS, LIST, list(STRUCT, &columns));
        for (id, by) in [(group::TOTAL_BYTE_SIZE, grown[0]), (group::COMPRESSED_SIZE, grown[1])] {
            if let Some(size) = fields.integer(id)? {
                fields.set_integer(id, I64, size.saturating_add(by));
            }
        }
        if fields.integer(group::FILE_OFFSET)?.is_some_and(|offset| offset > 0) {
            let first = self.placed[at].iter().map(|placed| placed.start).min().unwrap_or(0);
            fields.set_integer(group::FILE_OFFSET, I64, first.cast_signed());
        }
        if fields.has(group::ORDINAL) {
            let ordinal = i64::try_from(ordinal).map_err(|_| Malformed)?;
            fields.set_integer(group::ORDINAL, I16, ordinal);
        }
        match &self.plans[at] {
            // Blanks stand where they stood, whatever the order of the values was.
            GroupPlan::Erase(rows, ..) if !rows.is_empty() => fields.remove(group::SORTING),
            GroupPlan::Drop(rows) => {
                let left = old.row_count().saturating_sub(rows.count());
                fields.set_integer(group::NUM_ROWS, I64, left.cast_signed());
            }
            GroupPlan::Copy | GroupPlan::Erase(..) | GroupPlan::Omit => {}
        }
        Ok(fields.to_bytes())
    }

    /// The structure `ColumnChunk`, and by how much the chunk grew, plain and compressed.
    fn column(&self, group: usize, leaf: usize) -> Result<(Vec<u8>, [i64; 2]), FormatError> {
        let old = &self.footer.groups[group].chunks[leaf];
        let placed = &self.placed[group][leaf];
        let mut fields = Struct::parse(&old.raw)?;
        let mut grown = [0; 2];
        let metadata = {
            let before = fields.structure(column::METADATA)?.ok_or(Malformed)?;
            let mut after = match &placed.metadata {
                Some(bytes) => Struct::parse(bytes)?,
                None => before.clone(),
            };
            for (by, id) in grown.iter_mut().zip([chunk::UNCOMPRESSED_SIZE, chunk::COMPRESSED_SIZE])
            {
                *by = after.required(id)?.saturating_sub(before.required(id)?);
            }
            let by = match &placed.metadata {
                Some(_) => shift_rebuilt(&mut after, placed.start)?,
                None => self.moved_by(group, leaf),
            };
            if placed.metadata.is_none() {
                relocate_chunk(&mut after, by)?;
            }
            set_part(
                &mut after,
                (chunk::BLOOM, chunk::BLOOM_LENGTH),
                placed.bloom.as_ref(),
                false,
            )?;
            after.to_bytes()
        };
        fields.set(column::METADATA, STRUCT, metadata);
        for (ids, range) in INDEXES.into_iter().zip(&placed.indexes) {
            set_part(&mut fields, ids, range.as_ref(), true)?;
        }
        let offset = fields.integer(column::FILE_OFFSET)?.unwrap_or(0);
        let within = u64::try_from(offset).is_ok_and(|offset| old.pages.contains(&offset));
        let start = if within { placed.start.cast_signed() } else { 0 };
        fields.set_integer(column::FILE_OFFSET, I64, start);
        Ok((fields.to_bytes(), grown))
    }
}

impl Iterator for Rewrite {
    type Item = Result<Segment, EditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(segment) = self.ready.pop_front() {
                return Some(Ok(segment));
            }
            if matches!(self.step, Step::End) {
                return self.copying.take().map(|range| Ok(Segment::Copy(range)));
            }
            if let Err(error) = guarded(|| self.advance()) {
                self.step = Step::End;
                self.copying = None;
                self.ready.clear();
                return Some(Err(Box::new(error)));
            }
        }
    }
}

/// Whether each leaf's values are ordered as its type defines, which is the order the writer knows.
fn known_orders(footer: &Footer) -> Result<Vec<bool>, Malformed> {
    const TYPE_DEFINED: i16 = 1;
    let file = footer.file()?;
    let orders = file.list(file::COLUMN_ORDERS)?.unwrap_or_default();
    orders.into_iter().map(|order| Ok(Struct::parse(order)?.has(TYPE_DEFINED))).collect()
}
