//! The column index and the offset index of a chunk, made true after an edit. It knows no values but
//! lowest and highest ones.
//!
//! Field numbers are those of `ColumnIndex` and `OffsetIndex` in `parquet.thrift` in
//! apache/parquet-format.

use std::cmp::Ordering;

use super::super::rebuilt::{OFFSET, SIZE, map_locations};
use super::super::thrift::{
    BINARY, FALSE, I32, I64, LIST, Malformed, Struct, TRUE, binary, content, list, number, signed,
};
use super::limits::{Limits, Order};
use super::page::{Balance, Touched};

const NULL_PAGES: i16 = 1;
const LOWEST: i16 = 2;
const HIGHEST: i16 = 3;
const BOUNDARIES: i16 = 4;
const NULLS: i16 = 5;
const REPETITIONS: i16 = 6;
const DEFINITIONS: i16 = 7;
/// The field of `OffsetIndex` that holds how many bytes the values of each page have.
const VALUE_BYTES: i16 = 2;

/// Values of `BoundaryOrder`.
const UNORDERED: i64 = 0;
const ASCENDING: i64 = 1;

/// A column index on its way.
pub(super) struct ColumnIndex {
    order: Option<Order>,
    /// The limits of each page; none of a page of nulls.
    pages: Vec<Option<Limits>>,
    /// How many nulls there are in each page.
    nulls: Option<Vec<i64>>,
    /// How many entries of each level there are in each page, page after page.
    levels: [Option<Vec<i64>>; 2],
    boundaries: i64,
    are_limits_changed: bool,
}

impl ColumnIndex {
    /// Reads the index of a chunk of so many pages; `None` where it is none.
    pub(super) fn read(bytes: &[u8], pages: usize, order: Option<Order>) -> Option<Self> {
        let fields = Struct::parse(bytes).ok()?;
        let null_pages = fields.list(NULL_PAGES).ok()??;
        let lowest = fields.list(LOWEST).ok()??;
        let highest = fields.list(HIGHEST).ok()??;
        if [null_pages.len(), lowest.len(), highest.len()] != [pages; 3] {
            return None;
        }
        let numbers = |id| -> Option<Option<Vec<i64>>> {
            let Some(list) = fields.list(id).ok()? else { return Some(None) };
            list.into_iter().map(|one| number(one).ok()).collect::<Option<_>>().map(Some)
        };
        let nulls = numbers(NULLS)?.filter(|nulls| nulls.len() == pages);
        let mut limits = Vec::with_capacity(pages);
        for at in 0..pages {
            let end = |bytes: &[u8]| content(bytes).ok().map(<[u8]>::to_vec);
            let ends = [end(lowest[at])?, end(highest[at])?];
            let has_values = null_pages[at] != [TRUE];
            // Text may be cut off.
            let are_exact = [(order != Some(Order::Bytes)).then_some(true); 2];
            limits.push(has_values.then_some(Limits { ends, are_exact }));
        }
        Some(Self {
            order,
            pages: limits,
            nulls,
            levels: [numbers(REPETITIONS)?, numbers(DEFINITIONS)?],
            boundaries: fields.integer(BOUNDARIES).ok()?.unwrap_or(UNORDERED),
            are_limits_changed: false,
        })
    }

    /// The limits that it tells of a page.
    pub(super) fn page(&self, at: usize) -> Option<&Limits> {
        self.pages.get(at)?.as_ref()
    }

    /// Lets it tell others of a page.
    pub(super) fn correct(&mut self, at: usize, limits: Limits) {
        if let Some(page) = self.pages.get_mut(at) {
            *page = Some(limits);
            self.are_limits_changed = true;
        }
    }

    /// Takes over what became of a page; `None` where nothing true can be said of it.
    pub(super) fn take(
        &mut self,
        at: usize,
        touched: &Touched,
        after: impl FnOnce(&Limits) -> Option<Limits>,
    ) -> Option<()> {
        let page = self.pages.get_mut(at)?;
        if touched.left.is_empty() {
            self.are_limits_changed |= page.is_some();
            *page = None;
        } else {
            let after = after(page.as_ref()?)?;
            self.are_limits_changed |= page.as_ref() != Some(&after);
            *page = Some(after);
        }
        if let Some(nulls) = &mut self.nulls {
            let nulls = nulls.get_mut(at)?;
            *nulls = nulls.saturating_add(touched.balance.nulls);
        }
        let balances = [&touched.balance.repetitions, &touched.balance.definitions];
        let pages = self.pages.len();
        for (levels, balance) in self.levels.iter_mut().zip(balances) {
            let Some(counts) = levels else { continue };
            // Either of a level that there is only one of may be left out.
            if counts.len() != balance.len() * pages {
                *levels = None;
                continue;
            }
            let counts = &mut counts[at * balance.len()..][..balance.len()];
            counts.iter_mut().zip(balance).for_each(|(count, by)| *count += by);
        }
        Some(())
    }

    /// The limits of all pages together, as far as the index tells: those of a page may be cut off.
    ///
    /// arrow-rs takes a page of lists for one of nulls where as many entries are null as it has rows, so
    /// that a nested column is asked about all pages or none.
    pub(super) fn limits(&self, is_nested: bool) -> Option<Limits> {
        let order = self.order?;
        if is_nested && self.pages.iter().any(Option::is_none) {
            return None;
        }
        let all = self.pages.iter().flatten().cloned();
        all.reduce(|all, page| all.and(order, &page))
    }

    /// The index as it is written.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let truths: Vec<[u8; 1]> =
            self.pages.iter().map(|page| [if page.is_some() { FALSE } else { TRUE }]).collect();
        let mut fields = Struct::default();
        fields.set(NULL_PAGES, LIST, list(FALSE, &truths));
        for (id, end) in [(LOWEST, 0), (HIGHEST, 1)] {
            let bytes = |page: &Option<Limits>| {
                binary(page.as_ref().map_or(&[], |limits| limits.ends[end].as_slice()))
            };
            fields.set(id, LIST, list(BINARY, &self.pages.iter().map(bytes).collect::<Vec<_>>()));
        }
        fields.set_integer(BOUNDARIES, I32, self.boundaries());
        let numbers =
            [(NULLS, &self.nulls), (REPETITIONS, &self.levels[0]), (DEFINITIONS, &self.levels[1])];
        for (id, numbers) in numbers {
            if let Some(numbers) = numbers {
                let numbers: Vec<Vec<u8>> = numbers.iter().map(|&one| signed(one)).collect();
                fields.set(id, LIST, list(I64, &numbers));
            }
        }
        fields.to_bytes()
    }

    /// Whether the limits still ascend or descend from page to page.
    fn boundaries(&self) -> i64 {
        let Some(order) = self.order.filter(|_| self.are_limits_changed) else {
            return self.boundaries;
        };
        let wrong = if self.boundaries == ASCENDING { Ordering::Greater } else { Ordering::Less };
        let pages: Vec<&Limits> = self.pages.iter().flatten().collect();
        let holds = pages.windows(2).all(|pair| {
            (0..2).all(|end| order.compare(&pair[0].ends[end], &pair[1].ends[end]) != wrong)
        });
        if holds { self.boundaries } else { UNORDERED }
    }
}

/// An offset index of pages that lie elsewhere now. Places count from the chunk's start.
///
/// # Errors
///
/// [`Malformed`] where it is none, or of another number of pages.
pub(super) fn offset_index(
    old: &[u8],
    places: &[(u64, u64)],
    touched: &[(usize, Balance)],
) -> Result<Vec<u8>, Malformed> {
    let moved = map_locations(old, |at, location| {
        let &(start, length) = places.get(at).ok_or(Malformed)?;
        location.set_integer(OFFSET, I64, start.cast_signed());
        location.set_integer(SIZE, I32, length.cast_signed());
        Ok(())
    })?;
    let mut index = Struct::parse(&moved)?;
    let Some(value_bytes) = index.list(VALUE_BYTES)? else { return Ok(moved) };
    let mut value_bytes: Vec<i64> =
        value_bytes.into_iter().map(number).collect::<Result<_, _>>()?;
    for (at, balance) in touched {
        let bytes = value_bytes.get_mut(*at).ok_or(Malformed)?;
        *bytes = bytes.saturating_add(balance.value_bytes).max(0);
    }
    let numbers: Vec<Vec<u8>> = value_bytes.into_iter().map(signed).collect();
    index.set(VALUE_BYTES, LIST, list(I64, &numbers));
    Ok(index.to_bytes())
}
