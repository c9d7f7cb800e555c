//! An identifier column of a file: what its values mean, and to which digests they lead.

use parquet::basic::Type;

use super::super::leaf::Leaf;
use super::super::unpack::Plain;
use super::super::value::{Value, is_empty_value};
use crate::domain::field::{BoundField, Digested};
use crate::domain::identifier::IdentifierDigest;
use crate::domain::posting::RowPosting;
use crate::domain::row::RowNumber;
use crate::format::FormatError;

/// A column and the identifier fields that it is.
pub(super) struct Column<'a> {
    /// Its place among the leaves of the schema.
    pub(super) at: usize,
    pub(super) leaf: &'a Leaf,
    pub(super) fields: Vec<&'a BoundField>,
}

/// What was met in some rows of a column, each list ascending.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) postings: Vec<RowPosting>,
    /// Rows of values that are not of the field's type.
    pub(super) foreign: Vec<u64>,
    /// Rows whose value may be what a blank leaves in a column that cannot be null.
    pub(super) doubtful: Vec<u64>,
}

impl Findings {
    pub(super) fn clear(&mut self) {
        self.postings.clear();
        self.foreign.clear();
        self.doubtful.clear();
    }

    /// Counts the rows from another one on; the sum may wrap around.
    pub(super) fn shift(&mut self, by: u64) {
        for posting in &mut self.postings {
            posting.row.0 = posting.row.0.wrapping_add(by);
        }
        for row in self.foreign.iter_mut().chain(&mut self.doubtful) {
            *row = row.wrapping_add(by);
        }
    }

    /// Appends findings of later rows.
    pub(super) fn append(&mut self, more: &Self) {
        self.postings.extend_from_slice(&more.postings);
        self.foreign.extend_from_slice(&more.foreign);
        self.doubtful.extend_from_slice(&more.doubtful);
    }

    /// Moves what lies before a row to the end of other findings.
    pub(super) fn move_before(&mut self, row: u64, to: &mut Self) {
        let count = self.postings.partition_point(|posting| posting.row.0 < row);
        to.postings.extend(self.postings.drain(..count));
        let count = self.foreign.partition_point(|&at| at < row);
        to.foreign.extend(self.foreign.drain(..count));
        let count = self.doubtful.partition_point(|&at| at < row);
        to.doubtful.extend(self.doubtful.drain(..count));
    }

    /// Puts findings into the order of their rows; those of one row stay as they are.
    pub(super) fn sort(&mut self) {
        self.postings.sort_by_key(|posting| posting.row);
        self.foreign.sort_unstable();
        self.doubtful.sort_unstable();
    }

    fn push(&mut self, row: u64, what: Digested) {
        match what {
            Digested::Identifier(digest) => {
                self.postings.push(RowPosting { digest, row: RowNumber(row) });
            }
            Digested::Foreign => self.foreign.push(row),
            Digested::Empty => {}
        }
    }
}

/// How values stand in a page of the encoding `PLAIN`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each takes so many bytes, at least one.
    Fixed(usize),
    /// Each after its length in four bytes.
    Prefixed,
}

impl Column<'_> {
    /// How the column's plain values stand; `None` where the crate has to read them.
    pub(super) fn shape(&self) -> Option<Shape> {
        match self.leaf.descriptor.physical_type() {
            Type::INT32 | Type::FLOAT => Some(Shape::Fixed(4)),
            Type::INT64 | Type::DOUBLE => Some(Shape::Fixed(8)),
            Type::INT96 => Some(Shape::Fixed(12)),
            Type::BYTE_ARRAY => Some(Shape::Prefixed),
            Type::FIXED_LEN_BYTE_ARRAY => {
                let width = usize::try_from(self.leaf.descriptor.type_length()).ok();
                width.filter(|&width| width > 0).map(Shape::Fixed)
            }
            Type::BOOLEAN => None,
        }
    }

    /// Whether these bytes may be what a blank leaves.
    pub(super) fn may_be_blank(&self, bytes: &[u8]) -> bool {
        self.leaf.max_definition() == 0 && is_empty_value(bytes, &self.leaf.descriptor)
    }
}

/// Takes the next plain value.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where there is none.
#[inline]
pub(super) fn take<'p>(shape: Shape, rest: &mut &'p [u8]) -> Result<&'p [u8], FormatError> {
    let length = match shape {
        Shape::Fixed(width) => width,
        Shape::Prefixed => {
            let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            *rest = after;
            u32::from_le_bytes(*length) as usize
        }
    };
    let (value, after) = rest.split_at_checked(length).ok_or_else(short)?;
    *rest = after;
    Ok(value)
}

fn short() -> FormatError {
    FormatError::unreadable("a page holds fewer values than it announces")
}

/// Digests values of a column; neighbours that are equal only once.
pub(super) struct Namer<'c> {
    column: &'c Column<'c>,
    text: String,
    last: Vec<u8>,
    /// What `last` is to each field; empty before the first value.
    found: Vec<Digested>,
    may_be_blank: bool,
}

impl<'c> Namer<'c> {
    pub(super) fn new(column: &'c Column<'c>) -> Self {
        Self {
            column,
            text: String::new(),
            last: Vec::new(),
            found: Vec::new(),
            may_be_blank: false,
        }
    }

    /// The physical type of the values.
    pub(super) fn kind(&self) -> Type {
        self.column.leaf.descriptor.physical_type()
    }

    /// Tells what stands in a row, whose value is given with the bytes that make it different.
    pub(super) fn tell(
        &mut self,
        row: u64,
        (bytes, value): (&[u8], Value<'_>),
        findings: &mut Findings,
    ) {
        if self.found.is_empty() || self.last != bytes {
            self.name(bytes, value);
        }
        for &what in &self.found {
            findings.push(row, what);
        }
        if self.may_be_blank {
            findings.doubtful.push(row);
        }
    }

    fn name(&mut self, bytes: &[u8], value: Value<'_>) {
        let column = self.column;
        let raw = column.leaf.meaning.raw(value, &mut self.text);
        let digest = |field: &&BoundField| raw.map_or(Digested::Foreign, |raw| field.digest(raw));
        self.found.clear();
        self.found.extend(column.fields.iter().map(digest));
        self.last.clear();
        self.last.extend_from_slice(bytes);
        let names_nobody = self.found.iter().all(|what| *what == Digested::Empty);
        self.may_be_blank = !names_nobody && column.may_be_blank(bytes);
    }
}

/// The entries of a dictionary, digested.
pub(super) enum Names {
    /// One field, and each entry an identifier that no blank looks like.
    Simple(Vec<IdentifierDigest>),
    /// What each entry is to each field, and whether it may be a blank.
    Mixed { found: Vec<Digested>, may_be_blank: Vec<bool> },
}

impl Names {
    /// Digests a dictionary of so many entries.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where it holds fewer, or values that cannot be read here.
    pub(super) fn new(column: &Column<'_>, page: &Plain, count: u64) -> Result<Self, FormatError> {
        let shape = column.shape().ok_or_else(short)?;
        let bytes = page.bytes();
        let count = usize::try_from(count).ok().filter(|&count| count <= bytes.len());
        let count = count.ok_or_else(|| {
            FormatError::unreadable("a dictionary announces more entries than it holds")
        })?;
        let mut rest = bytes;
        let kind = column.leaf.descriptor.physical_type();
        let mut namer = Namer::new(column);
        let mut found = Vec::new();
        let mut may_be_blank = Vec::new();
        for _ in 0..count {
            let bytes = take(shape, &mut rest)?;
            namer.name(bytes, Value::of_plain(kind, bytes));
            found.extend_from_slice(&namer.found);
            may_be_blank.push(namer.may_be_blank);
        }
        if column.fields.len() == 1 && !may_be_blank.contains(&true) {
            let digest = |what: &Digested| match what {
                Digested::Identifier(digest) => Some(*digest),
                Digested::Empty | Digested::Foreign => None,
            };
            if let Some(simple) = found.iter().map(digest).collect() {
                return Ok(Self::Simple(simple));
            }
        }
        Ok(Self::Mixed { found, may_be_blank })
    }

    /// Tells what stands in some rows, by codes.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where a code is beyond the dictionary.
    pub(super) fn tell(
        &self,
        rows: impl Iterator<Item = u64>,
        codes: &[u32],
        findings: &mut Findings,
    ) -> Result<(), FormatError> {
        match self {
            Self::Simple(digests) => {
                let largest = codes.iter().fold(0, |largest, &code| largest.max(code));
                if !codes.is_empty() && largest as usize >= digests.len() {
                    return Err(beyond_dictionary());
                }
                let posting = |(row, &code): (u64, &u32)| {
                    let digest = digests[code as usize];
                    RowPosting { digest, row: RowNumber(row) }
                };
                findings.postings.extend(rows.zip(codes).map(posting));
            }
            Self::Mixed { found, may_be_blank } => {
                let fields = found.len().checked_div(may_be_blank.len()).unwrap_or(0);
                for (row, &code) in rows.zip(codes) {
                    let code = code as usize;
                    let doubt = *may_be_blank.get(code).ok_or_else(beyond_dictionary)?;
                    for &what in &found[code * fields..(code + 1) * fields] {
                        findings.push(row, what);
                    }
                    if doubt {
                        findings.doubtful.push(row);
                    }
                }
            }
        }
        Ok(())
    }
}

fn beyond_dictionary() -> FormatError {
    FormatError::unreadable("a page refers to entries beyond its dictionary")
}
