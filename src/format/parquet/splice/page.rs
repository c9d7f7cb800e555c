//! One data page without some values: opened, changed, and written as it was. It knows no other page
//! but the dictionary.

use std::cell::OnceCell;
use std::ops::Range;

use parquet::basic::Compression;

use super::super::leaf::{Leaf, Level};
use super::super::levels::Layout;
use super::super::page::{PageKind, header};
use super::super::runs::Runs;
use super::super::stored::StoredPage;
use super::super::thrift::{I32, Malformed, STRUCT, Struct};
use super::super::unpack::Unpacker;
use super::change::change;
use super::dictionary::Dictionary;
use super::limits::{Limits, Loss, Order};
use super::pack::Packer;
use super::statistics;
use super::values::{self, Fate, Kind, PLAIN_DICTIONARY, Packing, RLE_DICTIONARY, Values};
use crate::format::FormatError;

/// What writing pages needs.
pub(super) struct Writer {
    pub(super) packer: Packer,
    pub(super) unpacker: Unpacker,
    pub(super) codec: Compression,
    plain: Vec<u8>,
    body: Vec<u8>,
}

/// What is to become of the pages of a column.
pub(super) struct Task<'a> {
    pub(super) leaf: &'a Leaf,
    pub(super) kind: Kind,
    /// The order of the values, if it is known.
    pub(super) order: Option<Order>,
    /// The rows to erase, from the chunk's first, and below which levels.
    pub(super) changed: &'a Runs,
    pub(super) level: Level,
    /// What the type has for an empty value.
    pub(super) empty: Vec<u8>,
}

/// What an edit did to the counts of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    /// How many entries more there are, and how many more of them have no value.
    pub(super) entries: i64,
    pub(super) nulls: i64,
    /// How many bytes more the values have, lengths not counted.
    pub(super) value_bytes: i64,
    /// How many entries more of each level there are.
    pub(super) repetitions: Vec<i64>,
    pub(super) definitions: Vec<i64>,
    /// How many bytes more the page has when decompressed, header included.
    pub(super) plain_bytes: i64,
}

impl Balance {
    /// Nothing was changed in a column.
    pub(super) fn new(leaf: &Leaf) -> Self {
        let levels = |max: i16| vec![0; usize::from(max.unsigned_abs()) + 1];
        Self {
            repetitions: levels(leaf.descriptor.max_rep_level()),
            definitions: levels(leaf.descriptor.max_def_level()),
            ..Self::default()
        }
    }

    /// Adds the balance of another page.
    pub(super) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.nulls += other.nulls;
        self.value_bytes += other.value_bytes;
        self.plain_bytes += other.plain_bytes;
        let sum = |all: &mut Vec<i64>, more: &[i64]| {
            all.iter_mut().zip(more).for_each(|(one, two)| *one += two);
        };
        sum(&mut self.repetitions, &other.repetitions);
        sum(&mut self.definitions, &other.definitions);
    }

    pub(super) fn count(&mut self, (repetition, definition): (u16, u16), by: i64) {
        self.entries += by;
        let levels = [(&mut self.repetitions, repetition), (&mut self.definitions, definition)];
        for (counts, level) in levels {
            counts.get_mut(usize::from(level)).into_iter().for_each(|count| *count += by);
        }
    }
}

/// A page as it becomes.
pub(super) struct Touched {
    pub(super) bytes: Vec<u8>,
    pub(super) balance: Balance,
    /// Values that were taken out, no two neighbours alike.
    pub(super) lost: Vec<Vec<u8>>,
    pub(super) is_emptied: bool,
    pub(super) left: Left,
}

/// The values that a page is left with.
pub(super) struct Left {
    values: Values,
    kind: Kind,
    order: Option<Order>,
    limits: OnceCell<Option<Limits>>,
}

impl Left {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.values.len() == 0
    }

    /// Each of them at least once.
    fn each<'v>(
        &'v self,
        dictionary: Option<&'v Dictionary>,
    ) -> Box<dyn Iterator<Item = &'v [u8]> + 'v> {
        each(&self.values, self.kind, dictionary)
    }

    /// Whether one of them is this value.
    pub(super) fn holds(&self, value: &[u8], dictionary: Option<&Dictionary>) -> bool {
        self.each(dictionary).any(|other| other == value)
    }

    /// Their limits, if they have some.
    pub(super) fn limits(&self, dictionary: Option<&Dictionary>) -> Option<&Limits> {
        let order = self.order?;
        self.limits.get_or_init(|| Limits::of(order, self.each(dictionary))).as_ref()
    }
}

/// Each of some values at least once; codes mean entries of the dictionary, or truth values.
fn each<'v>(
    values: &'v Values,
    kind: Kind,
    dictionary: Option<&'v Dictionary>,
) -> Box<dyn Iterator<Item = &'v [u8]> + 'v> {
    let Values::Codes(codes) = values else {
        return Box::new((0..values.len()).map(|at| values.get(at)));
    };
    match dictionary {
        Some(dictionary) if kind != Kind::Truth => Box::new(dictionary.meant(codes)),
        _ => {
            let kinds = [(0, &[0_u8][..]), (1, &[1])];
            let there = move |(code, value)| codes.contains(&code).then_some(value);
            Box::new(kinds.into_iter().filter_map(there))
        }
    }
}

/// The limits of some values of a page, if they have some.
pub(super) fn limits_of(
    values: &Values,
    (kind, order): (Kind, Order),
    dictionary: Option<&Dictionary>,
) -> Option<Limits> {
    Limits::of(order, each(values, kind, dictionary))
}

/// Takes the changed rows' values out of a page that holds these rows whole.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where the page cannot be read or holds other rows.
pub(super) fn edit(
    task: &Task<'_>,
    (page, rows): (&StoredPage, &Range<u64>),
    dictionary: &mut Option<Dictionary>,
    writer: &mut Writer,
) -> Result<Touched, FormatError> {
    let PageKind::Data { second, entries, encoding, .. } = page.kind else {
        return Err(FormatError::unreadable("a dictionary stands among the pages of a column"));
    };
    let plain = writer.unpacker.unpack(writer.codec, page)?;
    let bytes = plain.bytes();
    let layout = Layout::of(task.leaf, page, bytes)?;
    let levels = layout.levels(bytes, entries)?;
    let changed = change(task, &levels, (entries, rows))?;
    let rest = bytes.get(layout.values..).unwrap_or_default();
    let mut found = Found::read(task, (encoding, rest), changed.values, dictionary)?;
    let lost = found.lost(&changed.fates, dictionary.as_ref())?;
    let is_emptied = changed.fates.iter().any(|fate| fate.is_emptied);
    found.edit(task, &changed.fates, dictionary)?;
    writer.plain.clear();
    let level_bytes = layout.write(&changed.levels, second, &mut writer.plain);
    found.write(rest, &mut writer.plain);
    writer.unpacker.reclaim(plain);
    let mut balance = changed.balance;
    let lost_bytes: usize = lost.iter().map(|(_, count, length)| count * length).sum();
    let emptied = changed.fates.iter().filter(|fate| fate.is_emptied).count();
    balance.value_bytes = (emptied * task.empty.len()) as i64 - lost_bytes as i64;
    let lost: Vec<Vec<u8>> = lost.into_iter().map(|(value, ..)| value).collect();
    let left = found.left(task);
    let loss = Loss { lost: &lost, gained: is_emptied.then_some(&task.empty) };
    let mut fields = Struct::parse(&page.header)?;
    let data = data_header(page, &level_bytes, &balance, |old| {
        statistics::renewed(
            old,
            task.order,
            loss,
            (balance.nulls, &|| left.limits(dictionary.as_ref()).cloned()),
        )
    })?;
    let field = if second { header::DATA_V2 } else { header::DATA };
    fields.set(field, STRUCT, data);
    let bytes = writer.seal(page, &mut fields, level_bytes.iter().sum())?;
    let header_bytes = bytes.len() - writer.body.len();
    let before = page.header.len() + page.plain_bytes;
    balance.plain_bytes = (header_bytes + writer.plain.len()) as i64 - before as i64;
    Ok(Touched { bytes, balance, lost, is_emptied, left })
}

impl Writer {
    /// A writer of pages of this codec.
    pub(super) fn new(codec: Compression) -> Self {
        let (packer, unpacker) = (Packer::new(), Unpacker::default());
        Self { packer, unpacker, codec, plain: Vec::new(), body: Vec::new() }
    }

    /// Compresses the page that was written, and puts its header before it.
    fn seal(
        &mut self,
        page: &StoredPage,
        fields: &mut Struct<'_>,
        level_bytes: usize,
    ) -> Result<Vec<u8>, FormatError> {
        self.body.clear();
        let is_second = matches!(page.kind, PageKind::Data { second: true, .. });
        if is_second {
            let (levels, values) = self.plain.split_at(level_bytes);
            self.body.extend_from_slice(levels);
            if page.content.is_plain || values.is_empty() {
                self.body.extend_from_slice(values);
            } else {
                self.packer.pack(self.codec, values, &mut self.body)?;
            }
        } else {
            self.packer.pack(self.codec, &self.plain, &mut self.body)?;
        }
        sealed(fields, self.plain.len(), &self.body)
    }
}

/// A page with its header, in which sizes and checksum are made true.
///
/// # Errors
///
/// [`FormatError::Unreadable`] where the page is longer than a header can say.
pub(super) fn sealed(
    fields: &mut Struct<'_>,
    plain_bytes: usize,
    body: &[u8],
) -> Result<Vec<u8>, FormatError> {
    for (id, size) in
        [(header::UNCOMPRESSED_SIZE, plain_bytes), (header::COMPRESSED_SIZE, body.len())]
    {
        let size = i32::try_from(size).map_err(|_| Malformed)?;
        fields.set_integer(id, I32, i64::from(size));
    }
    if fields.has(header::CHECKSUM) {
        let mut checksum = flate2::Crc::new();
        checksum.update(body);
        fields.set_integer(header::CHECKSUM, I32, i64::from(checksum.sum().cast_signed()));
    }
    let mut bytes = fields.to_bytes();
    bytes.reserve_exact(body.len());
    bytes.extend_from_slice(body);
    Ok(bytes)
}

/// Fields of `DataPageHeader` and `DataPageHeaderV2`.
const VALUES: i16 = 1;
const NULLS: i16 = 2;
const DEFINITION_BYTES: i16 = 5;
const REPETITION_BYTES: i16 = 6;

/// The inner header of a page, made true.
fn data_header(
    page: &StoredPage,
    &[repetition_bytes, definition_bytes]: &[usize; 2],
    balance: &Balance,
    renewed: impl FnOnce(&Struct<'_>) -> Result<Vec<u8>, Malformed>,
) -> Result<Vec<u8>, Malformed> {
    let fields = Struct::parse(&page.header)?;
    let second = matches!(page.kind, PageKind::Data { second: true, .. });
    let (id, statistics) = if second { (header::DATA_V2, 8) } else { (header::DATA, 5) };
    let mut data = fields.structure(id)?.ok_or(Malformed)?;
    let mut set = |id, value| {
        data.set_integer(id, I32, value);
    };
    let old = fields.structure(id)?.ok_or(Malformed)?;
    set(VALUES, old.required(VALUES)?.saturating_add(balance.entries));
    if second {
        set(NULLS, old.required(NULLS)?.saturating_add(balance.nulls));
        set(DEFINITION_BYTES, definition_bytes as i64);
        set(REPETITION_BYTES, repetition_bytes as i64);
    }
    if let Some(old) = old.structure(statistics)? {
        data.set(statistics, STRUCT, renewed(&old)?);
    }
    Ok(data.to_bytes())
}

/// The values of a page on their way.
struct Found {
    values: Values,
    /// `None` where the page has no values, and what stands in their place stays as it is.
    packing: Option<Packing>,
    is_coded: bool,
}

impl Found {
    fn read(
        task: &Task<'_>,
        (encoding, bytes): (i64, &[u8]),
        count: usize,
        dictionary: &Option<Dictionary>,
    ) -> Result<Self, FormatError> {
        let is_coded = matches!(encoding, PLAIN_DICTIONARY | RLE_DICTIONARY);
        if count == 0 {
            let values = Values::Codes(Vec::new());
            return Ok(Self { values, packing: None, is_coded });
        }
        if is_coded && dictionary.is_none() {
            return Err(FormatError::unreadable("a page refers to a dictionary that is not there"));
        }
        let (values, packing) = values::read(task.kind, encoding, bytes, count)?;
        Ok(Self { values, packing: Some(packing), is_coded })
    }

    /// The values that go, how often one after another, and their length.
    fn lost(
        &self,
        fates: &[Fate],
        dictionary: Option<&Dictionary>,
    ) -> Result<Vec<(Vec<u8>, usize, usize)>, FormatError> {
        let mut lost: Vec<(Vec<u8>, usize, usize)> = Vec::new();
        for fate in fates {
            let value = match (&self.values, dictionary) {
                (Values::Codes(codes), Some(dictionary)) if self.is_coded => {
                    dictionary.get(codes[fate.at])?
                }
                (Values::Codes(codes), _) => [&[0_u8][..], &[1]][usize::from(codes[fate.at] != 0)],
                (values, _) => values.get(fate.at),
            };
            match lost.last_mut() {
                Some((last, count, _)) if last == value => *count += 1,
                _ => lost.push((value.to_vec(), 1, value.len())),
            }
        }
        Ok(lost)
    }

    fn edit(
        &mut self,
        task: &Task<'_>,
        fates: &[Fate],
        dictionary: &mut Option<Dictionary>,
    ) -> Result<(), FormatError> {
        let mut code = 0;
        if let (true, Some(dictionary)) = (self.is_coded, dictionary.as_mut()) {
            if fates.iter().any(|fate| fate.is_emptied) {
                code = dictionary.code_of_empty(&task.empty);
            }
            if let Some(packing) = &mut self.packing
                && code > 0
            {
                packing.width = packing.width.max(dictionary.width());
            }
        }
        self.values = self.values.edited(fates, (&task.empty, code));
        if let (true, Some(dictionary), Values::Codes(codes)) =
            (self.is_coded, dictionary, &self.values)
        {
            dictionary.note(codes)?;
        }
        Ok(())
    }

    /// Appends the values; `old` is what stood there.
    fn write(&self, old: &[u8], out: &mut Vec<u8>) {
        match &self.packing {
            Some(packing) => values::write(&self.values, packing, out),
            None => out.extend_from_slice(old),
        }
    }

    fn left(self, task: &Task<'_>) -> Left {
        let (values, kind, order) = (self.values, task.kind, task.order);
        Left { values, kind, order, limits: OnceCell::new() }
    }
}
