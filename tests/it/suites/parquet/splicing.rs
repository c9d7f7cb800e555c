//! Edits page by page: which pages are new, that what tells of the values is true, and that nothing
//! of an erased one is left.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lacuna::domain::dataset::EraseAction;
use lacuna::domain::edit::{Segment, Way};
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::domain::stretch::Extent;
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{Blanking, Except, Format};
use parquet::basic::{ConvertedType, Encoding, Type};
use parquet::column::page::Page;
use parquet::data_type::AsBytes as _;
use parquet::file::metadata::{
    ColumnChunkMetaData, PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::properties::{EnabledStatistics, WriterVersion};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use proptest::prelude::*;

use super::erasing::{Chance, Column, TEXT, contains, file, pages, plain, random_files};
use super::support::*;

fn metadata(file: &Bytes) -> ParquetMetaData {
    let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional);
    reader.parse_and_finish(file).expect("readable")
}

/// The new file, with everything proved of it that an edit page by page promises.
fn proved(old: &Bytes, blanking: Blanking) -> Bytes {
    let rows = blanking.blanked.expect("rows that match");
    let blanked: BTreeSet<u64> = rows.iter().map(|row| row.0).collect();
    assert_eq!(blanking.way, Way::Pages);
    let new = apply(old, blanking.edit.expect("an edit")).expect("an edit that succeeds");
    assert_true(&new);
    assert_pages_copied(old, &new, &blanked);
    assert_extent(old, (&blanking.before, &blanked));
    assert_prints(old, &new, (&blanking.before, &blanking.after), &rows);
    new
}

/// The same of an edit that takes only some columns.
fn new_of(old: &Bytes, blanking: Blanking) -> Bytes {
    let rows = blanking.blanked.expect("rows that match");
    let blanked: BTreeSet<u64> = rows.iter().map(|row| row.0).collect();
    assert_eq!(blanking.way, Way::Pages);
    let new = apply(old, blanking.edit.expect("an edit")).expect("an edit that succeeds");
    assert_true(&new);
    assert_pages_copied(old, &new, &blanked);
    assert_prints(old, &new, (&blanking.before, &blanking.after), &rows);
    new
}

/// Rows that were not blanked are the same, where the edit may have touched them and everywhere.
fn assert_prints(old: &Bytes, new: &Bytes, (before, after): (&Extent, &Extent), rows: &RowSet) {
    let format = ParquetFormat::new();
    let print = |file: &Bytes, extent| {
        let except = Except::Rows(rows);
        format.fingerprint_within(file, except, extent).expect("readable")
    };
    assert_eq!(print(old, before), print(new, after));
    assert_eq!(print(old, &Extent::Whole), print(new, &Extent::Whole));
}

/// Pages without a blanked row are byte for byte the same, where an index tells where they lie.
fn assert_pages_copied(old: &Bytes, new: &Bytes, blanked: &BTreeSet<u64>) {
    let (before, after) = (metadata(old), metadata(new));
    let mut first = 0;
    for group in 0..before.num_row_groups() {
        let rows = before.row_group(group).num_rows() as u64;
        for column in 0..before.row_group(group).num_columns() {
            let locations = |metadata: &ParquetMetaData| {
                let index = metadata.page_index_for_row_group(group);
                Some(index.offset_index(column)?.page_locations().clone())
            };
            let Some(one) = locations(&before).filter(|all| !all.is_empty()) else { continue };
            let two = locations(&after).expect("an index as before");
            assert_eq!(one.len(), two.len());
            for (at, (a, b)) in one.iter().zip(&two).enumerate() {
                assert_eq!(a.first_row_index, b.first_row_index);
                let end = one.get(at + 1).map_or(rows, |next| next.first_row_index as u64);
                let here = first + a.first_row_index as u64..first + end;
                let bytes = |file: &Bytes, offset: i64, length: i32| {
                    file.slice(offset as usize..offset as usize + length as usize)
                };
                let old = bytes(old, a.offset, a.compressed_page_size);
                let new = bytes(new, b.offset, b.compressed_page_size);
                assert!(blanked.range(here).next().is_some() || old == new, "column {column}");
            }
        }
        first += rows;
    }
}

/// The extent holds every blanked row of every column, and not all of the file where it need not.
fn assert_extent(old: &Bytes, (extent, blanked): (&Extent, &BTreeSet<u64>)) {
    let Extent::Stretches(stretches) = extent else { panic!("few stretches") };
    let columns = metadata(old).file_metadata().schema_descr().num_columns();
    for column in 0..columns {
        for &row in blanked {
            let here = |column: u32| column as usize;
            assert!(stretches.iter().any(|stretch| {
                stretch.column.map(here) == Some(column) && stretch.contains(RowNumber(row))
            }));
        }
    }
}

/// Which of two values of a column comes first; `None` where the order is not tested.
fn compare(column: &ColumnChunkMetaData, one: &[u8], two: &[u8]) -> Option<Ordering> {
    let four = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).expect("four bytes");
    let eight = |bytes: &[u8]| <[u8; 8]>::try_from(bytes).expect("eight bytes");
    let descriptor = column.column_descr();
    if descriptor.converted_type() == ConvertedType::DECIMAL {
        return None;
    }
    Some(match descriptor.physical_type() {
        Type::INT32 => i32::from_le_bytes(four(one)).cmp(&i32::from_le_bytes(four(two))),
        Type::INT64 => i64::from_le_bytes(eight(one)).cmp(&i64::from_le_bytes(eight(two))),
        Type::FLOAT => f32::from_le_bytes(four(one)).partial_cmp(&f32::from_le_bytes(four(two)))?,
        Type::DOUBLE => {
            f64::from_le_bytes(eight(one)).partial_cmp(&f64::from_le_bytes(eight(two)))?
        }
        Type::INT96 => return None,
        _ => one.cmp(two),
    })
}

/// G16, G19: what the file says of its values is true, and every limit is one of them.
fn assert_true(file: &Bytes) {
    let metadata = metadata(file);
    let cells = read_all(file);
    let mut first = 0;
    for group in 0..metadata.num_row_groups() {
        let chunks = metadata.row_group(group);
        let rows = chunks.num_rows() as usize;
        let mut sizes = (0, 0);
        for (column, (_, cells)) in columns_in_order(&cells).into_iter().enumerate() {
            let chunk = chunks.column(column);
            sizes.0 += chunk.uncompressed_size();
            sizes.1 += chunk.compressed_size();
            let here: Vec<&Cell> = cells[first..first + rows].iter().flatten().collect();
            assert_eq!(chunk.num_values(), here.len() as i64);
            assert_chunk(chunk, &here);
            assert_index(&metadata, (group, column), (&cells[first..first + rows], chunk));
        }
        assert_eq!(chunks.total_byte_size(), sizes.0);
        assert_eq!(chunks.compressed_size(), sizes.1);
        first += rows;
    }
}

/// Columns in the schema's order: their names begin with their numbers.
fn columns_in_order(cells: &BTreeMap<String, Vec<Vec<Cell>>>) -> BTreeMap<usize, &Vec<Vec<Cell>>> {
    let number = |name: &str| name.split(' ').next().and_then(|number| number.parse().ok());
    cells.iter().map(|(name, rows)| (number(name).expect("a number"), rows)).collect()
}

fn assert_limits(chunk: &ColumnChunkMetaData, (low, high): (&[u8], &[u8]), values: &[&Vec<u8>]) {
    let (mut lowest, mut highest) = (false, false);
    for value in values {
        let Some(order) = compare(chunk, low, value) else { return };
        assert!(order != Ordering::Greater, "{low:?} is not the lowest: {value:?}");
        lowest |= order == Ordering::Equal;
        let order = compare(chunk, value, high).expect("comparable");
        assert!(order != Ordering::Greater, "{high:?} is not the highest: {value:?}");
        highest |= order == Ordering::Equal;
    }
    assert!(lowest && highest, "limits are of no value: {low:?} {high:?} {values:?}");
}

fn assert_chunk(chunk: &ColumnChunkMetaData, cells: &[&Cell]) {
    let values: Vec<&Vec<u8>> = cells.iter().filter_map(|cell| cell.2.as_ref()).collect();
    let nulls = (cells.len() - values.len()) as u64;
    if let Some(statistics) = chunk.statistics() {
        assert!(statistics.null_count_opt().is_none_or(|count| count == nulls));
        if let (Some(low), Some(high)) = (statistics.min_bytes_opt(), statistics.max_bytes_opt()) {
            assert_limits(chunk, (low, high), &values);
        }
    }
    if chunk.column_type() == Type::BYTE_ARRAY
        && let Some(bytes) = chunk.unencoded_byte_array_data_bytes()
    {
        assert_eq!(bytes, values.iter().map(|value| value.len() as i64).sum::<i64>());
    }
    if let Some(histogram) = chunk.definition_level_histogram() {
        for (level, &count) in histogram.values().iter().enumerate() {
            let found = cells.iter().filter(|cell| cell.0 as usize == level).count();
            assert_eq!(count, found as i64, "entries of definition level {level}");
        }
    }
    if let Some(histogram) = chunk.repetition_level_histogram() {
        for (level, &count) in histogram.values().iter().enumerate() {
            let found = cells.iter().filter(|cell| cell.1 as usize == level).count();
            assert_eq!(count, found as i64, "entries of repetition level {level}");
        }
    }
}

fn assert_index(
    metadata: &ParquetMetaData,
    (group, column): (usize, usize),
    (rows, chunk): (&[Vec<Cell>], &ColumnChunkMetaData),
) {
    let indexes = metadata.page_index_for_row_group(group);
    let both = indexes.column_index(column).zip(indexes.offset_index(column));
    let Some((index, offsets)) = both else { return };
    let locations = offsets.page_locations();
    for (at, location) in locations.iter().enumerate() {
        let end = locations.get(at + 1).map_or(rows.len(), |next| next.first_row_index as usize);
        let cells: Vec<&Cell> =
            rows[location.first_row_index as usize..end].iter().flatten().collect();
        let values: Vec<&Vec<u8>> = cells.iter().filter_map(|cell| cell.2.as_ref()).collect();
        if let Some(sizes) = offsets.unencoded_byte_array_data_bytes() {
            assert_eq!(sizes[at], values.iter().map(|value| value.len() as i64).sum::<i64>());
        }
        if let Some(histogram) = index.definition_level_histogram(at) {
            for (level, &count) in histogram.iter().enumerate() {
                let found = cells.iter().filter(|cell| cell.0 as usize == level).count();
                assert_eq!(count, found as i64);
            }
        }
        let nulls = (cells.len() - values.len()) as i64;
        assert!(index.null_count(at).is_none_or(|count| count == nulls));
        macro_rules! limits {
            ($index:expr) => {{
                let ends = $index.min_value(at).zip($index.max_value(at));
                ends.map(|(low, high)| (low.as_bytes().to_vec(), high.as_bytes().to_vec()))
            }};
        }
        let limits = match index {
            ColumnIndexMetaData::BOOLEAN(index) => limits!(index),
            ColumnIndexMetaData::INT32(index) => limits!(index),
            ColumnIndexMetaData::INT64(index) => limits!(index),
            ColumnIndexMetaData::INT96(index) => limits!(index),
            ColumnIndexMetaData::FLOAT(index) => limits!(index),
            ColumnIndexMetaData::DOUBLE(index) => limits!(index),
            ColumnIndexMetaData::BYTE_ARRAY(index) => limits!(index),
            ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) => limits!(index),
        };
        // The crate's writer takes a page of lists for one of nulls where it has as many as rows.
        if !index.is_null_page(at) || chunk.column_descr().max_rep_level() == 0 {
            assert_eq!(index.is_null_page(at), values.is_empty());
        }
        if let Some((low, high)) = limits {
            assert_limits(chunk, (&low, &high), &values);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// G16, G17, G18, G19, G20, I7, I12: over random schemas, rows, encodings, codecs, page versions and
    /// page sizes, with and without an index.
    #[test]
    fn random_files_are_spliced_exactly(random in random_files()) {
        let old = random.build();
        let has_whole_rows = random.has_whole_rows();
        if has_whole_rows {
            assert_true(&old);
        }
        let blanking = blank(&old, &fields(&["id"], TEXT), [digest("ann", TEXT)], everything());
        let blanking = blanking.expect("readable");
        let Some(rows) = &blanking.blanked else { return Ok(()) };
        let blanked: BTreeSet<u64> = rows.iter().map(|row| row.0).collect();
        // A row that goes on in the next page is a case for the whole chunk.
        let new = if has_whole_rows {
            proved(&old, blanking)
        } else {
            apply(&old, blanking.edit.expect("an edit")).expect("an edit that succeeds")
        };
        assert_blanked(&old, &new, &blanked);
        assert_copied(&old, &new, &blanked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// G16, G19: the same where just some columns go, of lists their elements too.
    #[test]
    fn random_files_are_redacted_page_by_page(random in random_files(), elements: bool) {
        let old = random.build();
        let target = if elements && random.columns[0].0 == 2 { "c0[*]" } else { "c0" };
        let redact = EraseAction::Redact { fields: vec![path("id"), path(target)] };
        let done = blank(&old, &fields(&["id"], TEXT), [digest("ann", TEXT)], redact.clone());
        let done = done.expect("readable");
        let Some(rows) = done.blanked.clone() else { return Ok(()) };
        if !random.has_whole_rows() {
            return Ok(());
        }
        let after = done.after.clone();
        let new = new_of(&old, done);
        let except = Except::Erased(&rows, &redact);
        for extent in [after, Extent::Whole] {
            let print = ParquetFormat::new().fingerprint_within(&new, except, &extent);
            prop_assert_eq!(print.expect("readable").unerased.0, 0);
        }
    }
}

/// Of a row that is to go and is not in the extent, a verification says that it is still there.
#[test]
fn an_extent_that_misses_a_row_is_seen_through() {
    let ids: Vec<_> = (0..40).map(|at| Some(if at == 3 { "ann" } else { "bob" })).collect();
    let properties = plain().set_data_page_row_count_limit(10).set_write_batch_size(10);
    let schema = "message m { optional binary id (UTF8); }";
    let old = file(schema, properties, &[vec![Column::optional(&ids)]]);
    let done = blank(&old, &fields(&["id"], TEXT), [digest("ann", TEXT)], everything());
    let done = done.expect("readable");
    let rows = done.blanked.clone().expect("a row");
    let Extent::Stretches(stretches) = &done.before else { panic!("one page") };
    assert_eq!(stretches.len(), 1);
    assert_eq!((stretches[0].row, stretches[0].end), (RowNumber(0), RowNumber(10)));
    let format = ParquetFormat::new();
    let action = everything();
    let unerased = |file: &Bytes, extent: &Extent| {
        let except = Except::Erased(&rows, &action);
        format.fingerprint_within(file, except, extent).expect("readable").unerased.0
    };
    assert_eq!(unerased(&old, &done.before), 1);
    let new = proved(&old, done);
    assert_eq!(unerased(&new, &Extent::Whole), 0);
    assert_eq!(unerased(&new, &Extent::Stretches(Vec::new())), 1);
}

/// G16: a value that no page refers to any more is taken out of the dictionary in its place; one that
/// another row has stays, and what is not in a dictionary is sought there all the same.
#[test]
fn dictionaries_are_scrubbed_in_place() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for required in [true, false] {
            let mut chance = Chance(7);
            let name = |at: usize, chance: &mut Chance| match at {
                37 => "CANARYunique".to_owned(),
                38 => "shared by two".to_owned(),
                91 => "shared by two".to_owned(),
                _ => format!("name {}", chance.below(20)),
            };
            let names: Vec<String> = (0..200).map(|at| name(at, &mut chance)).collect();
            let texts: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
            let ids: Vec<String> = (0..200)
                .map(|at| format!("u{}", if at == 37 || at == 38 { 0 } else { at }))
                .collect();
            let column = if required { Column::required(&names) } else { Column::optional(&texts) };
            let schema = format!(
                "message m {{ required binary id (UTF8); {} binary name (UTF8); }}",
                if required { "required" } else { "optional" }
            );
            let properties = plain()
                .set_writer_version(version)
                .set_statistics_enabled(EnabledStatistics::Page)
                .set_data_page_row_count_limit(10)
                .set_write_batch_size(10);
            let old = file(&schema, properties, &[vec![Column::required(&ids), column]]);
            let done = blank(&old, &fields(&["id"], TEXT), [digest("u0", TEXT)], everything());
            let new = proved(&old, done.expect("readable"));
            assert!(pages(&old).iter().any(|page| contains(page, b"CANARY")));
            assert!(pages(&new).iter().all(|page| !contains(page, b"CANARY")));
            assert!(!contains(&new, b"CANARY"));
            assert!(pages(&new).iter().any(|page| contains(page, b"shared by two")));
        }
    }
}

/// G16: lowest and highest values that went are replaced by those that are left, in chunk and pages,
/// whether the values are coded or not.
#[test]
fn limits_of_an_erased_value_are_found_anew() {
    for dictionary in [true, false] {
        for statistics in [EnabledStatistics::Chunk, EnabledStatistics::Page] {
            let ids: Vec<String> = (0..60).map(|at| format!("u{at}")).collect();
            let values: Vec<[u8; 8]> = (0..60_i64)
                .map(|at| if at == 30 { i64::MAX } else { at % 10 }.to_le_bytes())
                .collect();
            let schema = "message m { required binary id (UTF8); required int64 n; }";
            let properties = plain()
                .set_dictionary_enabled(dictionary)
                .set_statistics_enabled(statistics)
                .set_data_page_row_count_limit(10)
                .set_write_batch_size(10);
            let columns = vec![Column::required(&ids), Column::required(&values)];
            let old = file(schema, properties, &[columns]);
            let done = blank(&old, &fields(&["id"], TEXT), [digest("u30", TEXT)], everything());
            let new = proved(&old, done.expect("readable"));
            let metadata = metadata(&new);
            let statistics_of = metadata.row_group(0).column(1).statistics();
            let highest = statistics_of.and_then(|found| found.max_bytes_opt());
            assert_eq!(highest, Some(&9_i64.to_le_bytes()[..]));
        }
    }
}

/// G16: a writer may put the limits of the whole chunk into every page's header, and into the column index:
/// there no erased value stays.
#[test]
fn no_other_page_tells_of_an_erased_value() {
    let name = |at: usize| match at {
        3 => "AAAAAAAA".to_owned(),
        19 => "BBBBBBB1".to_owned(),
        _ => format!("CCCCCC{at:02}"),
    };
    let names: Vec<String> = (0..20).map(name).collect();
    let ids: Vec<String> = (0..20).map(|at| format!("u{at}")).collect();
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = plain()
            .set_writer_version(version)
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::PLAIN)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_page_header_statistics(true)
            .set_data_page_row_count_limit(10)
            .set_write_batch_size(10);
        let schema = "message m { required binary id (UTF8); required binary name (UTF8); }";
        let columns = vec![Column::required(&ids), Column::required(&names)];
        let honest = file(schema, properties, &[columns]);
        // The lowest value of the second page is said to be that of the first, but for the value itself.
        let (start, length) = metadata(&honest).row_group(0).column(1).byte_range();
        let places: Vec<usize> = memchr::memmem::find_iter(&honest, b"BBBBBBB1").collect();
        let value = places.iter().rfind(|&&place| (place as u64) < start + length).copied();
        let mut old = honest.to_vec();
        for place in places.iter().filter(|&&place| Some(place) != value) {
            old[*place..*place + 8].copy_from_slice(b"AAAAAAAA");
        }
        let old = Bytes::from(old);
        assert!(places.len() > 2 && read_all(&old) == read_all(&honest), "{version:?}");
        let done = blank(&old, &fields(&["id"], TEXT), [digest("u3", TEXT)], everything());
        let done = done.expect("readable");
        assert_eq!(done.way, Way::Pages);
        let new = apply(&old, done.edit.expect("an edit")).expect("an edit that succeeds");
        assert_true(&new);
        assert_blanked(&old, &new, &BTreeSet::from([3]));
        assert!(!contains(&new, b"AAAAAAAA"), "{version:?}");
    }
}

/// G16: a writer may give one dictionary to all row groups, and tell the limits of all its entries: an erased
/// value goes from row groups without an erased row, where no row refers to it.
#[test]
fn no_other_dictionary_keeps_an_erased_value() {
    let ids = |from: usize| (from..from + 8).map(|at| format!("u{at}")).collect::<Vec<_>>();
    let names = [vec!["AAAAAAAA"], vec!["BBBBBBBB"; 7]].concat();
    let (one, two, three) = (ids(0), ids(8), ids(16));
    let schema = "message m { required binary id (UTF8); required binary name (UTF8); }";
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        let properties = plain()
            .set_writer_version(version)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_write_page_header_statistics(true)
            .set_bloom_filter_enabled(true);
        let groups: Vec<_> = [&one, &two, &three]
            .map(|ids| vec![Column::required(ids), Column::required(&names)])
            .into();
        let honest = file(schema, properties, &groups);
        // In the second row group the first row comes to hold what the others do: a code is changed.
        let places: Vec<usize> = memchr::memmem::find_iter(&honest, &[1, 3, 0xfe]).collect();
        assert_eq!(places.len(), 3, "{version:?}");
        let mut old = honest.to_vec();
        old[places[1] + 2] = 0xff;
        let old = Bytes::from(old);
        assert_ne!(read_all(&old), read_all(&honest));
        let whom = [digest("u0", TEXT), digest("u16", TEXT)];
        let done = blank(&old, &fields(&["id"], TEXT), whom, everything()).expect("readable");
        assert_eq!(done.way, Way::Pages);
        let (extents, rows) = ((done.before.clone(), done.after.clone()), done.blanked.clone());
        let new = apply(&old, done.edit.expect("an edit")).expect("an edit that succeeds");
        assert_true(&new);
        assert_prints(&old, &new, (&extents.0, &extents.1), &rows.expect("two rows"));
        assert_blanked(&old, &new, &BTreeSet::from([0, 16]));
        assert!(!contains(&new, b"AAAAAAAA"), "{version:?}");
    }
}

/// Readers that keep a dictionary as it is take its entries to differ from one another.
#[test]
fn entries_of_a_scrubbed_dictionary_differ() {
    let names: Vec<String> = (0..300).map(|at| format!("{}", at % 150)).collect();
    let numbers: Vec<[u8; 4]> = (0..300_i32).map(|at| (at % 150).to_le_bytes()).collect();
    let ids: Vec<String> = (0..300).map(|at| format!("u{}", at % 150 / 40)).collect();
    let schema = "message m { required binary id (UTF8); required binary name (UTF8);
                              required int32 number; }";
    let columns =
        vec![Column::required(&ids), Column::required(&names), Column::required(&numbers)];
    let old = file(schema, plain(), &[columns]);
    let done = blank(&old, &fields(&["id"], TEXT), [digest("u1", TEXT)], everything());
    let new = proved(&old, done.expect("readable"));
    let reader = SerializedFileReader::new(new).expect("readable");
    let group = reader.get_row_group(0).expect("a row group");
    for (column, is_text) in [(1, true), (2, false)] {
        let mut pages = group.get_column_page_reader(column).expect("pages");
        let page = pages.get_next_page().expect("readable").expect("a page");
        let Page::DictionaryPage { buf, num_values, .. } = page else { panic!("a dictionary") };
        let mut rest = &buf[..];
        let mut entries = BTreeSet::new();
        while !rest.is_empty() {
            let length = match is_text {
                true => 4 + u32::from_le_bytes(rest[..4].try_into().expect("four")) as usize,
                false => 4,
            };
            entries.insert(&rest[..length]);
            rest = &rest[length..];
        }
        assert_eq!(entries.len(), num_values as usize, "column {column}");
    }
}

/// The work follows the rows: of a long column with one erased row, one page is new.
#[test]
fn one_row_costs_one_page() {
    let ids: Vec<String> = (0..20_000).map(|at| format!("user {at}")).collect();
    for encoding in [Encoding::PLAIN, Encoding::DELTA_BYTE_ARRAY] {
        for index in [true, false] {
            let properties = plain()
                .set_dictionary_enabled(false)
                .set_encoding(encoding)
                .set_offset_index_disabled(!index)
                .set_data_page_row_count_limit(500)
                .set_write_batch_size(500);
            let schema = "message m { required binary id (UTF8); }";
            let old = file(schema, properties, &[vec![Column::required(&ids)]]);
            let fields = fields(&["id"], TEXT);
            let done = blank(&old, &fields, [digest("user 7777", TEXT)], everything());
            let done = done.expect("readable");
            let edit = done.edit.expect("an edit");
            let mut copied = 0;
            for segment in edit {
                if let Segment::Copy(range) = segment.expect("an edit that succeeds") {
                    copied += range.end - range.start;
                }
            }
            assert!(copied * 10 > old.len() as u64 * 9, "{copied} of {}", old.len());
        }
    }
}

/// Rows of a stretch that the file does not have are an error, not an empty digest.
#[test]
fn rows_that_are_not_there_are_an_error() {
    let schema = "message m { required binary id (UTF8); }";
    let old = file(schema, plain(), &[vec![Column::required(&["a", "b"])]]);
    let print = |column: u32, rows: std::ops::Range<u64>| {
        let stretch = lacuna::domain::stretch::Stretch::of_column(column, rows);
        let extent = Extent::new(vec![stretch]);
        ParquetFormat::new().fingerprint_within(&old, Except::Nothing, &extent)
    };
    assert!(print(0, 0..2).is_ok());
    assert!(print(0, 0..3).is_err() && print(1, 0..2).is_err());
    let none = RowSet::new([RowNumber(1)]).expect("a row");
    let except = Except::Rows(&none);
    let whole = ParquetFormat::new().fingerprint(&old, except).expect("readable");
    assert_eq!(whole.rows.0, 2);
}
