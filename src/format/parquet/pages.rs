//! Where the pages of a column chunk lie and which rows each holds, so that a few rows are reached
//! without the others. It knows no values.
//!
//! The offset index tells it, where a file has one; else the page headers do, and the levels of
//! nested columns. An index is no more than a hint: it is checked against the pages that it leads to.

use std::borrow::Cow;
use std::ops::Range;

use super::footer::{Chunk, column, part};
use super::leaf::Leaf;
use super::levels::Layout;
use super::page::{PageHeader, PageHeaders, PageKind, is_coded};
use super::rebuilt::{LOCATIONS, OFFSET, SIZE};
use super::runs::Runs;
use super::stored::StoredPages;
use super::thrift::{Malformed, Struct};
use super::unpack::Unpacker;
use super::window::Window;
use crate::format::{FormatError, Source};

/// The field of `PageLocation` that holds the number of a page's first row.
const FIRST_ROW: i16 = 3;

/// The pages of a chunk.
#[derive(Clone, Debug)]
pub(super) struct PageMap {
    /// What stands before the data pages: the dictionary, or nothing.
    pub(super) dictionary: Range<u64>,
    /// The data pages. They follow one another without a gap, to the end of the chunk.
    pub(super) pages: Vec<PagePlace>,
}

/// Where a data page lies.
#[derive(Clone, Debug)]
pub(super) struct PagePlace {
    /// Its bytes in the file, header included.
    pub(super) bytes: Range<u64>,
    /// The rows that begin in it, from the chunk's first.
    pub(super) rows: Range<u64>,
    /// Its header, where that was looked at.
    header: Option<PageHeader>,
}

impl PagePlace {
    /// The header of the page, whose `start` does not count.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it cannot be read, or the page is not where it should be.
    pub(super) fn header(&self, source: &dyn Source) -> Result<Cow<'_, PageHeader>, FormatError> {
        if let Some(header) = &self.header {
            return Ok(Cow::Borrowed(header));
        }
        let header = first_header(source, &self.bytes)?.ok_or_else(no_page)?;
        let whole = header.header_bytes + header.stored_bytes;
        let is_here = header.start == 0 && whole == self.bytes.end - self.bytes.start;
        if is_here { Ok(Cow::Owned(header)) } else { Err(no_page()) }
    }
}

/// The first page header of a stretch of the source, which lies within it.
///
/// # Errors
///
/// [`FormatError`] where it cannot be read.
pub(super) fn first_header(
    source: &dyn Source,
    bytes: &Range<u64>,
) -> Result<Option<PageHeader>, FormatError> {
    let window = Window::new(source, bytes.start, bytes.end - bytes.start);
    PageHeaders::new(window.sparse()).next()
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
        if let Some(mut map) = reader.by_index()?
            && reader.is_true(&mut map, wanted, true)?
        {
            return Ok(Ok(map));
        }
        let mut map = match reader.by_headers()? {
            Ok(map) => map,
            Err(because) => return Ok(Err(because)),
        };
        if reader.is_true(&mut map, wanted, false)? {
            Ok(Ok(map))
        } else {
            Ok(Err("a row goes on from one page to the next"))
        }
    }

    /// The pages that hold a wanted row.
    pub(super) fn touched<'a>(&'a self, wanted: &'a Runs) -> impl Iterator<Item = &'a PagePlace> {
        self.pages.iter().filter(|page| wanted.touches(&page.rows))
    }

    /// Whether the dictionary is needed to read the pages that hold a wanted row, as far as is known.
    pub(super) fn needs_dictionary(&self, wanted: &Runs) -> bool {
        let is_coded = |page: &PagePlace| match page.header.as_ref().map(|header| header.kind) {
            Some(PageKind::Data { encoding, .. }) => is_coded(encoding),
            _ => true,
        };
        self.touched(wanted).any(is_coded)
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
            let rows = row..self.column.rows;
            pages.push(PagePlace { bytes: start..end, rows, header: None });
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
            map.pages.push(PagePlace { bytes: start..at, rows: row..end, header: Some(header) });
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

    fn repetitions(&mut self, bytes: Range<u64>) -> Result<Vec<u16>, FormatError> {
        let page = StoredPages::one(self.column.source, bytes)?;
        let PageKind::Data { entries, .. } = page.kind else { return Err(no_page()) };
        let plain = self.unpacker.unpack(self.column.chunk.codec, &page)?;
        let layout = Layout::of(self.column.leaf, &page, plain.bytes())?;
        let repetitions = layout.repetitions(plain.bytes(), entries)?;
        self.unpacker.reclaim(plain);
        Ok(repetitions)
    }

    /// Whether the pages with a wanted row hold what the map says, and no part of another row. What a
    /// page header says of a column that is not nested is not asked twice.
    fn is_true(
        &mut self,
        map: &mut PageMap,
        wanted: &Runs,
        by_index: bool,
    ) -> Result<bool, FormatError> {
        for at in 0..map.pages.len() {
            let [page, rest @ ..] = &mut map.pages[at..] else { break };
            if !wanted.touches(&page.rows) {
                continue;
            }
            let answer = if self.is_nested() {
                self.begins_and_ends(page, rest.first())
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
    fn announces(&self, page: &mut PagePlace) -> Result<bool, FormatError> {
        let header = page.header(self.column.source)?.into_owned();
        let rows = page.rows.end - page.rows.start;
        let holds = matches!(header.kind, PageKind::Data { entries, .. } if entries == rows);
        page.header = Some(header);
        Ok(holds)
    }
}

const OTHER_ROWS: &str = "its pages hold other rows than they should";

fn no_page() -> FormatError {
    FormatError::unreadable("a page of a column is not where it should be")
}
