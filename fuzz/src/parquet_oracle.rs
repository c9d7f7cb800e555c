//! What has to be true of a Parquet file from which rows were erased, and of what it says of itself.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::EraseAction;
use lacuna::domain::edit::Way;
use lacuna::domain::landmark::{Landmark, Landmarks};
use lacuna::domain::row::RowNumber;
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{Blanking, Except, Format};
use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::PageReader;
use parquet::data_type::AsBytes as _;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use crate::choices::Choices;
use crate::parquet_file::{CANARY, Made, SUBJECT};
use crate::people::{Found, apply, contains, digest, fields, order, scan};
use crate::support::{Cell, assert_blanked, assert_copied, read_all};

/// Erases the subject's rows as the choices say, and asks everything that has to be true then.
pub fn erase(made: &Made, choices: &mut Choices<'_>) {
    let format = ParquetFormat::new();
    let fields = fields(&[(made.path, made.kind)]);
    let subject = digest(SUBJECT.as_bytes(), made.kind).expect("an identifier");
    let found = scan(&format, &made.bytes, &fields).expect("readable");
    assert_eq!(found.rows, made.rows_total);
    let rows: BTreeSet<u64> =
        found.postings.iter().filter(|it| it.1 == subject).map(|it| it.0).collect();
    assert_eq!(rows.iter().copied().collect::<Vec<_>>(), made.rows, "the scan finds the subject");
    let target = choices.below(made.others.len());
    let action = match choices.below(3) {
        0 => {
            let paths = [made.path, &made.others[target].field];
            let fields = paths.iter().map(|path| path.parse().expect("a path")).collect();
            EraseAction::Redact { fields }
        }
        _ => EraseAction::default(),
    };
    let ordered: BTreeSet<u64> = match choices.below(3) {
        0 => rows.clone(),
        1 => (0..found.rows + 3).collect(),
        _ => (0..found.rows).filter(|row| rows.contains(row) || choices.any(3) == 0).collect(),
    };
    let landmarks = hints(&found, made, choices);
    let subjects = HashSet::from([subject]);
    let Some(order) = order(&fields, &subjects, ordered.iter().copied(), (action, landmarks))
    else {
        return;
    };
    let blanking = format.blank(Arc::new(made.bytes.clone()), &order).expect("readable");
    let shown = format.show(&made.bytes, &order).expect("readable");
    let shown: BTreeSet<u64> =
        shown.iter().filter(|row| row.is_theirs).map(|row| row.row.0).collect();
    assert_eq!(shown, &rows & &ordered, "what is shown as theirs");
    let unmatched: BTreeSet<u64> = blanking.unmatched.iter().map(|row| row.0).collect();
    assert_eq!(unmatched, &ordered - &rows, "what did not match");
    let Some(blanked) = blanking.blanked.clone() else {
        assert!(rows.is_empty() && blanking.edit.is_none(), "the subject's rows are blanked");
        return;
    };
    assert_eq!(blanked.iter().map(|row| row.0).collect::<BTreeSet<_>>(), rows);
    let (before, after, way) =
        (blanking.before.clone(), blanking.after.clone(), blanking.way.clone());
    let new = new_file(&made.bytes, blanking);
    for (old_extent, new_extent) in [(&before, &after), (&WHOLE, &WHOLE)] {
        let print = |file: &Bytes, except, extent| {
            format.fingerprint_within(file, except, extent).expect("readable")
        };
        let old = print(&made.bytes, Except::Rows(&blanked), old_extent);
        let erased = Except::Erased(&blanked, &order.action);
        assert_eq!(old, print(&new, erased, new_extent), "others' rows, and none of the subject's");
    }
    match &order.action {
        EraseAction::Blank { .. } => {
            assert_blanked(&made.bytes, &new, &rows);
            if made.has_canaries {
                assert_gone(&new, CANARY);
            }
        }
        EraseAction::Redact { .. } => assert_redacted(&made.bytes, &new, &rows, target + 1),
    }
    assert_copied(&made.bytes, &new, &rows);
    if untruth(&made.bytes).is_none() {
        assert_eq!(untruth(&new), None, "{way:?}");
    }
    let again = scan(&format, &new, &fields).expect("readable");
    assert_eq!((again.rows, again.foreign.len()), (found.rows, found.foreign.len()));
    let others = |found: &Found| -> BTreeSet<_> {
        found.postings.iter().filter(|it| !rows.contains(&it.0)).copied().collect()
    };
    // The empty value of a number that cannot be null is 0, which as an identifier is reserved.
    let zero = digest(b"0", made.kind);
    let is_empty = |it: &&(u64, _)| !(rows.contains(&it.0) && Some(it.1) == zero);
    let left: BTreeSet<_> = again.postings.iter().filter(is_empty).copied().collect();
    assert_eq!(left, others(&found), "everybody else, and nobody more");
    let nothing = format.blank(Arc::new(new.clone()), &order).expect("readable");
    assert!(nothing.edit.is_none() && nothing.blanked.is_none());
    compact(&new);
}

const WHOLE: lacuna::domain::stretch::Extent = lacuna::domain::stretch::Extent::Whole;

fn new_file(old: &Bytes, blanking: Blanking) -> Bytes {
    let edit = blanking.edit.expect("an edit");
    if let Way::Object { because } = &blanking.way {
        panic!("no Parquet file is written as a whole: {because}");
    }
    apply(old, edit).expect("an edit that succeeds")
}

/// Landmarks as a scan told them, none, or wrong ones: they are hints.
fn hints(found: &Found, made: &Made, choices: &mut Choices<'_>) -> Landmarks {
    let mut landmarks = match choices.below(4) {
        0 => Landmarks::default(),
        _ => found.landmarks.clone(),
    };
    if choices.below(4) == 0 {
        for column in 0..2 {
            let mut places: Vec<Landmark> = (0..choices.any(4))
                .map(|_| Landmark {
                    row: RowNumber(choices.any(made.rows_total as usize + 2) as u64),
                    byte: choices.any(made.bytes.len() + 9) as u64,
                })
                .collect();
            places.sort_by_key(|place| (place.row, place.byte));
            landmarks.columns.entry(column).or_default().rows = places;
        }
    }
    landmarks
}

/// What compacting drops are the blanks, and what it keeps is as it was.
pub fn compact(file: &Bytes) {
    let format = ParquetFormat::new();
    let done = format.compact(Arc::new(file.clone())).expect("readable");
    let before = format.fingerprint(file, Except::Blanks).expect("readable");
    let Some(edit) = done.edit else {
        assert_eq!(done.dropped.0, 0);
        return;
    };
    let new = apply(file, edit).expect("an edit that succeeds");
    let after = format.fingerprint(&new, Except::Nothing).expect("readable");
    assert_eq!(after.rows.0 + done.dropped.0, before.rows.0);
    assert_eq!(after.digest, before.digest);
    let left = read_all(&new).into_values().map(|rows| rows.len() as u64).collect::<BTreeSet<_>>();
    assert_eq!(left, BTreeSet::from([after.rows.0]));
    if untruth(file).is_none() {
        assert_eq!(untruth(&new), None, "compacted");
    }
}

/// Every page of every chunk, decompressed.
fn pages(file: &Bytes) -> Vec<Bytes> {
    let mut pages = Vec::new();
    for group in metadata(file).row_groups() {
        for chunk in group.columns() {
            let (source, rows) = (Arc::new(file.clone()), group.num_rows() as usize);
            let mut reader = SerializedPageReader::new(source, chunk, rows, None).expect("pages");
            while let Some(page) = reader.get_next_page().expect("a page") {
                pages.push(page.buffer().clone());
            }
        }
    }
    pages
}

fn assert_gone(file: &Bytes, value: &[u8]) {
    assert!(!contains(file, value), "an erased value stands in the file");
    assert!(!pages(file).iter().any(|page| contains(page, value)), "an erased value is in a page");
}

/// Of the erased rows the identifier and one more column are empty, everything else is as it was.
fn assert_redacted(old: &Bytes, new: &Bytes, erased: &BTreeSet<u64>, target: usize) {
    let (before, after) = (read_all(old), read_all(new));
    for (column, rows) in &before {
        let number: usize = column.split(' ').next().and_then(|it| it.parse().ok()).expect("one");
        assert_eq!(rows.len(), after[column].len());
        for (at, (one, two)) in rows.iter().zip(&after[column]).enumerate() {
            if (number == 0 || number == target) && erased.contains(&(at as u64)) {
                let is_empty = |value: &Vec<u8>| value.iter().all(|&byte| byte == 0);
                assert!(two.iter().all(|cell| cell.2.as_ref().is_none_or(is_empty)), "{column}");
            } else {
                assert!(one == two, "{column}, row {at} changed");
            }
        }
    }
}

fn metadata(file: &Bytes) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.parse_and_finish(file).expect("readable")
}

/// What the file says of its values that is not so; `None` where all is true.
pub fn untruth(file: &Bytes) -> Option<String> {
    let metadata = metadata(file);
    let cells = read_all(file);
    let mut columns: Vec<_> = cells.iter().collect();
    columns.sort_by_key(|(name, _)| name.split(' ').next().and_then(|it| it.parse::<u64>().ok()));
    let mut first = 0;
    for (group, chunks) in metadata.row_groups().iter().enumerate() {
        let rows = chunks.num_rows() as usize;
        for (column, (name, cells)) in columns.iter().enumerate() {
            let (chunk, here) = (chunks.column(column), &cells[first..first + rows]);
            let told = of_chunk(chunk, here, file)
                .or_else(|| of_pages(&metadata, (group, column), (here, chunk)));
            if let Some(untruth) = told {
                return Some(format!("group {group}, column {name}: {untruth}"));
            }
        }
        let sums = chunks.columns().iter().fold((0, 0), |sums, chunk| {
            (sums.0 + chunk.uncompressed_size(), sums.1 + chunk.compressed_size())
        });
        if (chunks.total_byte_size(), chunks.compressed_size()) != sums {
            return Some(format!("group {group}: sizes"));
        }
        first += rows;
    }
    None
}

/// Which of two values of a column comes first; `None` where the order is not tested, or there is none.
fn compare(column: &ColumnDescriptor, one: &[u8], two: &[u8]) -> Option<Ordering> {
    let four = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).expect("four bytes");
    let eight = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).expect("eight bytes");
    let is_unsigned =
        matches!(column.converted_type(), ConvertedType::UINT_32 | ConvertedType::UINT_64);
    let is_decimal = column.converted_type() == ConvertedType::DECIMAL;
    match column.physical_type() {
        Type::INT32 if is_unsigned => {
            Some(u32::from_le_bytes(four(one)).cmp(&u32::from_le_bytes(four(two))))
        }
        Type::INT64 if is_unsigned => {
            Some(u64::from_le_bytes(eight(one)).cmp(&u64::from_le_bytes(eight(two))))
        }
        Type::INT32 => Some(i32::from_le_bytes(four(one)).cmp(&i32::from_le_bytes(four(two)))),
        Type::INT64 => Some(i64::from_le_bytes(eight(one)).cmp(&i64::from_le_bytes(eight(two)))),
        Type::FLOAT => f32::from_le_bytes(four(one)).partial_cmp(&f32::from_le_bytes(four(two))),
        Type::DOUBLE => f64::from_le_bytes(eight(one)).partial_cmp(&f64::from_le_bytes(eight(two))),
        Type::INT96 => None,
        _ if is_decimal || column.logical_type_ref() == Some(&LogicalType::Float16) => None,
        _ => Some(one.cmp(two)),
    }
}

/// What is wrong with limits of these values. One that is not cut short is one of them.
fn of_limits(
    column: &ColumnDescriptor,
    (low, high): (&[u8], &[u8]),
    values: &[&Vec<u8>],
) -> Option<String> {
    let is_cut = matches!(column.physical_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY);
    let (mut lowest, mut highest) = (false, false);
    for value in values {
        let (Some(above), Some(below)) =
            (compare(column, value, low), compare(column, value, high))
        else {
            continue;
        };
        if above == Ordering::Less || below == Ordering::Greater {
            return Some(format!("{value:?} is not within {low:?} to {high:?}"));
        }
        lowest |= above == Ordering::Equal;
        highest |= below == Ordering::Equal;
    }
    let is_ordered = compare(column, low, high).is_some();
    (is_ordered && !is_cut && !(lowest && highest))
        .then(|| format!("{low:?} to {high:?} are of no value: {values:?}"))
}

fn of_chunk(chunk: &ColumnChunkMetaData, rows: &[Vec<Cell>], file: &Bytes) -> Option<String> {
    let cells: Vec<&Cell> = rows.iter().flatten().collect();
    let values: Vec<&Vec<u8>> = cells.iter().filter_map(|cell| cell.2.as_ref()).collect();
    if chunk.num_values() != cells.len() as i64 {
        return Some("the number of entries".to_owned());
    }
    if let Some(statistics) = chunk.statistics() {
        let nulls = (cells.len() - values.len()) as u64;
        if statistics.null_count_opt().is_some_and(|count| count != nulls) {
            return Some(format!("{:?} nulls of {nulls}", statistics.null_count_opt()));
        }
        if let (Some(low), Some(high)) = (statistics.min_bytes_opt(), statistics.max_bytes_opt()) {
            let wrong = of_limits(chunk.column_descr(), (low, high), &values);
            if wrong.is_some() {
                return wrong;
            }
        }
    }
    for (histogram, level) in [
        (chunk.definition_level_histogram(), (|cell: &Cell| cell.0) as fn(&Cell) -> i16),
        (chunk.repetition_level_histogram(), |cell| cell.1),
    ] {
        for (at, &count) in histogram.iter().flat_map(|all| all.values().iter().enumerate()) {
            if cells.iter().filter(|cell| level(cell) as usize == at).count() as i64 != count {
                return Some(format!("entries of level {at}"));
            }
        }
    }
    let total = values.iter().map(|value| value.len() as i64).sum::<i64>();
    if chunk.column_type() == Type::BYTE_ARRAY
        && chunk.unencoded_byte_array_data_bytes().is_some_and(|bytes| bytes != total)
    {
        return Some("the length of the values".to_owned());
    }
    let filter = match Sbbf::read_from_column_chunk(chunk, file) {
        Ok(filter) => filter?,
        Err(error) => return Some(format!("the bloom filter: {error}")),
    };
    let missing = values.iter().any(|value| !filter.check(&value[..]));
    missing.then(|| "the bloom filter denies a value".to_owned())
}

fn of_pages(
    metadata: &ParquetMetaData,
    (group, column): (usize, usize),
    (rows, chunk): (&[Vec<Cell>], &ColumnChunkMetaData),
) -> Option<String> {
    let indexes = metadata.page_index_for_row_group(group);
    let (index, offsets) = indexes.column_index(column).zip(indexes.offset_index(column))?;
    let locations = offsets.page_locations();
    for (at, location) in locations.iter().enumerate() {
        let end = locations.get(at + 1).map_or(rows.len(), |next| next.first_row_index as usize);
        let here = rows.get(location.first_row_index as usize..end);
        let Some(here) = here else { return Some(format!("rows of page {at}")) };
        let cells: Vec<&Cell> = here.iter().flatten().collect();
        let values: Vec<&Vec<u8>> = cells.iter().filter_map(|cell| cell.2.as_ref()).collect();
        if let Some(sizes) = offsets.unencoded_byte_array_data_bytes()
            && sizes[at] != values.iter().map(|value| value.len() as i64).sum::<i64>()
        {
            return Some(format!("the length of the values of page {at}"));
        }
        let nulls = (cells.len() - values.len()) as i64;
        if index.null_count(at).is_some_and(|count| count != nulls) {
            return Some(format!("nulls of page {at}"));
        }
        // The crate's writer takes a page of lists for one of nulls where it has as many as rows.
        let is_flat = chunk.column_descr().max_rep_level() == 0;
        if is_flat && index.is_null_page(at) != values.is_empty() {
            return Some(format!("page {at} is all null, or is not"));
        }
        if let Some((low, high)) = limits(index, at)
            && let Some(wrong) = of_limits(chunk.column_descr(), (&low, &high), &values)
        {
            return Some(format!("page {at}: {wrong}"));
        }
    }
    None
}

fn limits(index: &ColumnIndexMetaData, page: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    macro_rules! limits {
        ($index:expr) => {{
            let ends = $index.min_value(page).zip($index.max_value(page));
            ends.map(|(low, high)| (low.as_bytes().to_vec(), high.as_bytes().to_vec()))
        }};
    }
    match index {
        ColumnIndexMetaData::BOOLEAN(index) => limits!(index),
        ColumnIndexMetaData::INT32(index) => limits!(index),
        ColumnIndexMetaData::INT64(index) => limits!(index),
        ColumnIndexMetaData::INT96(index) => limits!(index),
        ColumnIndexMetaData::FLOAT(index) => limits!(index),
        ColumnIndexMetaData::DOUBLE(index) => limits!(index),
        ColumnIndexMetaData::BYTE_ARRAY(index) => limits!(index),
        ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) => limits!(index),
    }
}
