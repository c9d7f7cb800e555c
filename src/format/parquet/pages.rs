//! Where the pages of a column chunk lie and which rows each holds, so that a few rows are reached
//! without the others. It knows no values.
//!
//! The offset index tells it, where a file has one; else the page headers do, and the levels of
//! nested columns. An index is no more than a hint: it is checked against the pages that it leads to.

use std::ops::Range;

use super::footer::{Chunk, column, part};
use super::leaf::Leaf;
use super::levels::Layout;
use super::page::{PageHeader, PageHeaders, PageKind};
use super::rebuilt::{LOCATIONS, OFFSET, SIZE};
use super::runs::Runs;
use super::stored::{StoredPage, StoredPages};
use super::thrift::{Malformed, Struct};
use super::unpack::Unpacker;
use super::window::Window;
use crate::format::{FormatError, Source};

/// The field of `PageLocation` that holds the number of a page's first row.
const FIRST_ROW: i16 = 3;

/// The pages of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageMap {
    /// What stands before the data pages: the dictionary, or nothing.
    pub(super) dictionary: Range<u64>,
    /// The data pages. They follow one another without a gap, to the end of the chunk.
    pub(super) pages: Vec<PagePlace>,
}

/// Where a data page lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PagePlace {
    /// Its bytes in the file, header included.
    pub(super) bytes: Range<u64>,
    /// The rows that begin in it, from the chunk's first.
    pub(super) rows: Range<u64>,
}

/// A column chunk of so many rows.
#[derive(Clone, Copy)]
pub(super) struct ColumnChunk<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) leaf: &'a Leaf,
    pub(super) chunk: &'a Chunk,
    pub(super) rows: u64,
}

/// A map, or why there is none: lower case, without content.
pub(super) type Mapped = Result<PageMap, &'static str>;

impl PageMap {
    /// The pages of a chunk. Of those with a wanted row it is certain that they hold these rows and no
    /// part of another.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the pages cannot be read.
    pub(super) fn of(column: ColumnChunk<'_>, wanted: &Runs) -> Result<Mapped, FormatError> {
        let mut reader = Reader { column, unpacker: Unpacker::default() };
        if let Some(map) = reader.by_index()?
            && reader.is_true(&map, wanted, true)?
        {
            return Ok(Ok(map));
        }
        let map = match reader.by_headers()? {
            Ok(map) => map,
            Err(because) => return Ok(Err(because)),
        };
        if reader.is_true(&map, wanted, false)? {
            Ok(Ok(map))
        } else {
            Ok(Err("a row goes on from one page to the next"))
        }
    }

    /// The pages that hold a wanted row.
    pub(super) fn touched<'a>(&'a self, wanted: &'a Runs) -> impl Iterator<Item = &'a PagePlace> {
        self.pages.iter().filter(|page| wanted.touches(&page.rows))
    }

    /// All rows of the pages that hold a wanted one.
    pub(super) fn rows_around(&self, wanted: &Runs) -> Runs {
        let mut rows = Runs::default();
        self.touched(wanted).for_each(|page| rows.push_all(page.rows.clone()));
        rows
    }
}

/// Reads what tells where the rows are.
struct Reader<'a> {
    column: ColumnChunk<'a>,
    unpacker: Unpacker,
}

impl Reader<'_> {
    fn is_nested(&self) -> bool {
        self.column.leaf.descriptor.max_rep_level() > 0
    }

    /// What the offset index says, if it is one of this chunk.
    fn by_index(&self) -> Result<Option<PageMap>, FormatError> {
        let chunk = self.column.chunk;
        let place = || -> Result<Option<Range<u64>>, FormatError> {
            let fields = Struct::parse(&chunk.raw)?;
            let offset = fields.integer(column::OFFSET_INDEX)?.filter(|&offset| offset > 0);
            let length = fields.integer(column::OFFSET_INDEX_LENGTH)?.filter(|&length| length > 0);
            let Some((offset, length)) = offset.zip(length) else { return Ok(None) };
            part(offset, length, self.column.source.size_bytes()).map(Some)
        };
        let Ok(Some(place)) = place() else { return Ok(None) };
        let Ok(length) = usize::try_from(place.end - place.start) else { return Ok(None) };
        let index = self.column.source.read_at(place.start, length)?;
        Ok(self.tiled(&index).unwrap_or(None))
    }

    /// The pages of an offset index, if they fill the chunk.
    fn tiled(&self, index: &[u8]) -> Result<Option<PageMap>, Malformed> {
        let unsigned = |value: i64| u64::try_from(value).map_err(|_| Malformed);
        let chunk = &self.column.chunk.pages;
        let index = Struct::parse(index)?;
        let mut pages: Vec<PagePlace> = Vec::new();
        for location in index.list(LOCATIONS)?.ok_or(Malformed)? {
            let location = Struct::parse(location)?;
            let start = unsigned(location.required(OFFSET)?)?;
            let end = start.checked_add(unsigned(location.required(SIZE)?)?).ok_or(Malformed)?;
            let row = unsigned(location.required(FIRST_ROW)?)?;
            match pages.last_mut() {
                Some(last) if last.bytes.end == start && last.rows.start < row => {
                    last.rows.end = row
                }
                None if row == 0 => {}
                _ => return Ok(None),
            }
            pages.push(PagePlace { bytes: start..end, rows: row..self.column.rows });
        }
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else { return Ok(None) };
        let fills = first.bytes.start >= chunk.start
            && last.bytes.end == chunk.end
            && last.rows.start < last.rows.end;
        let dictionary = chunk.start..first.bytes.start;
        Ok(fills.then_some(PageMap { dictionary, pages }))
    }

    /// What the page headers say.
    fn by_headers(&mut self) -> Result<Mapped, FormatError> {
        let chunk = &self.column.chunk.pages;
        let window = Window::new(self.column.source, chunk.start, chunk.end - chunk.start);
        let mut headers = PageHeaders::new(window.sparse());
        let mut map = PageMap { dictionary: chunk.start..chunk.start, pages: Vec::new() };
        let (mut at, mut row) = (chunk.start, 0_u64);
        while let Some(header) = headers.next()? {
            let start = chunk.start + header.start;
            if start != at {
                return Ok(Err("it holds an index page"));
            }
            at = start + header.header_bytes + header.stored_bytes;
            if header.kind == PageKind::Dictionary {
                if start != chunk.start {
                    return Ok(Err("its dictionary stands among its pages"));
                }
                map.dictionary = start..at;
                continue;
            }
            let rows = self.rows_of(&header, start..at)?;
            let end = row.checked_add(rows).filter(|&end| end <= self.column.rows);
            let Some(end) = end else { return Ok(Err(OTHER_ROWS)) };
            map.pages.push(PagePlace { bytes: start..at, rows: row..end });
            row = end;
        }
        let is_whole = at == chunk.end && row == self.column.rows;
        Ok(if is_whole { Ok(map) } else { Err(OTHER_ROWS) })
    }

    /// How many rows begin in a page.
    fn rows_of(&mut self, header: &PageHeader, bytes: Range<u64>) -> Result<u64, FormatError> {
        let PageKind::Data { second, entries, .. } = header.kind else { return Ok(0) };
        if !self.is_nested() {
            return Ok(entries);
        }
        if second {
            return Ok(header.content.rows);
        }
        let repetitions = self.repetitions(bytes)?;
        Ok(repetitions.iter().filter(|&&level| level == 0).count() as u64)
    }

    fn repetitions(&mut self, bytes: Range<u64>) -> Result<Vec<u32>, FormatError> {
        let page = self.page(bytes)?;
        let PageKind::Data { entries, .. } = page.kind else { return Err(no_page()) };
        let plain = self.unpacker.unpack(self.column.chunk.codec, &page)?;
        let layout = Layout::of(self.column.leaf, &page, plain.bytes())?;
        let repetitions = layout.repetitions(plain.bytes(), entries)?;
        self.unpacker.reclaim(plain);
        Ok(repetitions)
    }

    fn page(&self, bytes: Range<u64>) -> Result<StoredPage, FormatError> {
        let length = bytes.end - bytes.start;
        let page = StoredPages::within(self.column.source, bytes).next()?.ok_or_else(no_page)?;
        let whole = (page.header.len() + page.body.len()) as u64;
        if whole == length { Ok(page) } else { Err(no_page()) }
    }

    /// Whether the pages with a wanted row hold what the map says, and no part of another row. What a
    /// page header says of a column that is not nested is not asked twice.
    fn is_true(
        &mut self,
        map: &PageMap,
        wanted: &Runs,
        by_index: bool,
    ) -> Result<bool, FormatError> {
        for (at, page) in map.pages.iter().enumerate() {
            if !wanted.touches(&page.rows) {
                continue;
            }
            let answer = if self.is_nested() {
                self.begins_and_ends(page, map.pages.get(at + 1))
            } else if by_index {
                self.announces(page)
            } else {
                Ok(true)
            };
            match answer {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                // An index may lead anywhere, also to where no page is.
                Err(FormatError::Unreadable(_)) if by_index => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether a page of a nested column holds so many rows and begins with one, and the next one does.
    fn begins_and_ends(
        &mut self,
        page: &PagePlace,
        next: Option<&PagePlace>,
    ) -> Result<bool, FormatError> {
        let repetitions = self.repetitions(page.bytes.clone())?;
        let rows = repetitions.iter().filter(|&&level| level == 0).count() as u64;
        if repetitions.first() != Some(&0) || rows != page.rows.end - page.rows.start {
            return Ok(false);
        }
        let Some(next) = next else { return Ok(true) };
        Ok(self.repetitions(next.bytes.clone())?.first() == Some(&0))
    }

    /// Whether the header of a page with one entry a row announces so many.
    fn announces(&self, page: &PagePlace) -> Result<bool, FormatError> {
        let length = page.bytes.end - page.bytes.start;
        let window = Window::new(self.column.source, page.bytes.start, length).sparse();
        let header = PageHeaders::new(window).next()?;
        Ok(header.is_some_and(|header| {
            let whole = header.header_bytes + header.stored_bytes;
            let rows = page.rows.end - page.rows.start;
            let holds = |entries| entries == rows;
            header.start == 0
                && whole == length
                && matches!(header.kind, PageKind::Data { entries, .. } if holds(entries))
        }))
    }
}

const OTHER_ROWS: &str = "its pages hold other rows than they should";

fn no_page() -> FormatError {
    FormatError::unreadable("a page of a column is not where it should be")
}
