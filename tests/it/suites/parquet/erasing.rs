//! Files of every make, written by the crate's low-level writer: what is erased, what stays, and
//! that nothing panics on any bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::EraseAction;
use lacuna::domain::field::BoundFields;
use lacuna::domain::identifier::{IdentifierDigest, IdentifierType};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{BlankOrder, Blanking, Except, Format, FormatError, Source, SourceError};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::PageReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader, SortingColumn};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::support::*;

pub(super) const TEXT: IdentifierType = IdentifierType::String;

/// Levels and values of one column of one row group.
#[derive(Clone, Debug)]
pub(super) struct Column {
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<Vec<u8>>,
}

impl Column {
    /// One required value a row.
    pub(super) fn required(values: &[impl AsRef<[u8]>]) -> Self {
        let values: Vec<_> = values.iter().map(|value| value.as_ref().to_vec()).collect();
        Self { definitions: vec![0; values.len()], repetitions: vec![0; values.len()], values }
    }

    /// One value a row, or none.
    pub(super) fn optional(values: &[Option<&str>]) -> Self {
        Self {
            definitions: values.iter().map(|value| i16::from(value.is_some())).collect(),
            repetitions: vec![0; values.len()],
            values: values.iter().flatten().map(|value| value.as_bytes().to_vec()).collect(),
        }
    }

    /// Its rows, each by itself, if that is the definition level of its values.
    fn rows(&self, max: i16) -> Vec<Self> {
        let mut rows: Vec<Self> = Vec::new();
        let mut values = self.values.iter();
        for (&definition, &repetition) in self.definitions.iter().zip(&self.repetitions) {
            if repetition == 0 {
                rows.push(Self::levels(&[], &[], &[]));
            }
            let row = rows.last_mut().expect("a row");
            row.definitions.push(definition);
            row.repetitions.push(repetition);
            row.values.extend(values.by_ref().take(usize::from(definition == max)).cloned());
        }
        rows
    }

    fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    pub(super) fn levels(definitions: &[i16], repetitions: &[i16], values: &[&str]) -> Self {
        Self {
            definitions: definitions.to_vec(),
            repetitions: repetitions.to_vec(),
            values: values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        }
    }
}

/// A file of these row groups, each a list of columns.
pub(super) fn file(
    schema: &str,
    properties: WriterPropertiesBuilder,
    groups: &[Vec<Column>],
) -> Bytes {
    let pieces = |column: &Column| vec![column.clone()];
    file_of_pieces(schema, properties, groups, pieces)
}

/// The same, of columns that are handed to the writer in these pieces.
fn file_of_pieces(
    schema: &str,
    properties: WriterPropertiesBuilder,
    groups: &[Vec<Column>],
    pieces: impl Fn(&Column) -> Vec<Column>,
) -> Bytes {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, properties.build().into()).expect("a writer");
    for columns in groups {
        let mut group = writer.next_row_group().expect("a row group");
        for column in columns {
            let mut next = group.next_column().expect("a column").expect("a column");
            pieces(column).iter().for_each(|piece| write(next.untyped(), piece));
            next.close().expect("closed");
        }
        assert!(group.next_column().expect("no column").is_none());
        group.close().expect("closed");
    }
    writer.close().expect("closed");
    bytes.into()
}

fn write(writer: &mut ColumnWriter<'_>, column: &Column) {
    let levels = (Some(&column.definitions[..]), Some(&column.repetitions[..]));
    macro_rules! write {
        ($writer:expr, $value:expr) => {{
            let values: Vec<_> = column.values.iter().map($value).collect();
            $writer.write_batch(&values, levels.0, levels.1).expect("written");
        }};
    }
    let four = |value: &Vec<u8>| <[u8; 4]>::try_from(&value[..4]).expect("four bytes");
    let eight = |value: &Vec<u8>| <[u8; 8]>::try_from(&value[..8]).expect("eight bytes");
    match writer {
        ColumnWriter::BoolColumnWriter(writer) => write!(writer, |value| value[0] & 1 == 1),
        ColumnWriter::Int32ColumnWriter(writer) => write!(writer, |v| i32::from_le_bytes(four(v))),
        ColumnWriter::Int64ColumnWriter(writer) => write!(writer, |v| i64::from_le_bytes(eight(v))),
        ColumnWriter::FloatColumnWriter(writer) => write!(writer, |v| f32::from_le_bytes(four(v))),
        ColumnWriter::DoubleColumnWriter(writer) => {
            write!(writer, |v| f64::from_le_bytes(eight(v)))
        }
        ColumnWriter::Int96ColumnWriter(writer) => write!(writer, |v| {
            let part = |at: usize| u32::from_le_bytes(four(&v[at..].to_vec()));
            Int96::from(vec![part(0), part(4), part(8)])
        }),
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            write!(writer, |v| ByteArray::from(v.clone()));
        }
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            write!(writer, |v| FixedLenByteArray::from(ByteArray::from(v.clone())));
        }
    }
}

pub(super) fn plain() -> WriterPropertiesBuilder {
    WriterProperties::builder()
}

/// Blanks for one identifier under the action; the new file and the blanked rows.
fn erased(
    old: &Bytes,
    fields: &BoundFields,
    subject: IdentifierDigest,
    action: EraseAction,
) -> (Bytes, BTreeSet<u64>) {
    let blanking = blank(old, fields, [subject], action).expect("readable");
    let rows = blanking.blanked.expect("rows that match").iter().map(|row| row.0).collect();
    (apply(old, blanking.edit.expect("an edit")).expect("an edit that succeeds"), rows)
}

pub(super) fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A file whose victims' values stand in dictionary, statistics, page index and bloom filter.
pub(super) fn canary_file(dictionary: bool, version: WriterVersion) -> Bytes {
    let schema = "message m { required binary id (UTF8); optional binary name (UTF8);
        required binary code; optional group tags (LIST) { repeated group list {
        optional binary element (UTF8); } } }";
    let properties = plain()
        .set_writer_version(version)
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(dictionary)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_write_page_header_statistics(true)
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
        .set_bloom_filter_enabled(true)
        .set_bloom_filter_max_ndv(100)
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]));
    let group = |group: usize| {
        let row = |at: usize, what: &str| match (group, at) {
            (0, 17) => format!("zzCANARY{what}"),
            (0, 18) => format!("AACANARY{what}"),
            _ => format!("other{}{what}", at % 7),
        };
        let all = |what: &str| (0..50).map(|at| row(at, what)).collect::<Vec<_>>();
        let names = all("name");
        let names: Vec<_> = names.iter().map(|name| Some(name.as_str())).collect();
        let ids: Vec<_> = (0..50)
            .map(|at| {
                if group == 0 && (16..19).contains(&at) {
                    "CANARYid".to_owned()
                } else {
                    format!("u{at}")
                }
            })
            .collect();
        let (tags, more) = (all("tag"), all("tug"));
        let both: Vec<&str> =
            tags.iter().zip(&more).flat_map(|(one, two)| [one.as_str(), two]).collect();
        vec![
            Column::required(&ids),
            Column::optional(&names),
            Column::required(&all("code")),
            Column::levels(&[3; 100], &[0, 1].repeat(50), &both),
        ]
    };
    file(schema, properties, &[group(0), group(1), group(2)])
}

/// Every page of every chunk, decompressed.
pub(super) fn pages(file: &Bytes) -> Vec<Bytes> {
    let reader = SerializedFileReader::new(file.clone()).expect("readable");
    let mut pages = Vec::new();
    for group in reader.metadata().row_groups() {
        for chunk in group.columns() {
            let rows = group.num_rows() as usize;
            let source = Arc::new(file.clone());
            let mut reader = SerializedPageReader::new(source, chunk, rows, None).expect("pages");
            while let Some(page) = reader.get_next_page().expect("a page") {
                pages.push(page.buffer().clone());
            }
        }
    }
    pages
}

/// G16, I12: no byte of an erased value is left anywhere, and filters deny it; what others have
/// stays in the filters.
#[test]
fn a_canary_is_gone_from_every_place() {
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for dictionary in [true, false] {
            let old = canary_file(dictionary, version);
            assert!(contains(&old, b"CANARY"), "statistics hold it");
            assert!(pages(&old).iter().any(|page| contains(page, b"CANARY")));
            let fields = fields(&["id"], TEXT);
            let (new, rows) = erased(&old, &fields, digest("CANARYid", TEXT), everything());
            assert_eq!(rows, BTreeSet::from([16, 17, 18]));
            assert!(!contains(&new, b"CANARY"));
            assert!(pages(&new).iter().all(|page| !contains(page, b"CANARY")));
            assert_blanked(&old, &new, &rows);
            assert_copied(&old, &new, &rows);
            assert_filters(&old, &new);
        }
    }
}

/// G16: what lies between the parts of a file (older parquet-cpp leaves lowest and highest values
/// there) is not copied, also not between row groups that stay.
#[test]
fn nothing_between_the_parts_is_copied() {
    let schema = parse_message_type("message m { optional binary id (UTF8); }").expect("a schema");
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(schema), plain().build().into())
            .expect("a writer");
    for id in ["bob", "ann", "eve", "kim"] {
        let mut group = writer.next_row_group().expect("a row group");
        let mut column = group.next_column().expect("a column").expect("a column");
        write(column.untyped(), &Column::optional(&[Some(id)]));
        column.close().expect("closed");
        group.close().expect("closed");
        writer.write_all(b"lowest ann, highest ann").expect("written");
    }
    writer.close().expect("closed");
    let old = Bytes::from(bytes);
    let (new, rows) = erased(&old, &fields(&["id"], TEXT), digest("ann", TEXT), everything());
    assert_blanked(&old, &new, &rows);
    assert_copied(&old, &new, &rows);
    assert!(contains(&old, b"lowest") && !contains(&new, b"lowest") && !contains(&new, b"ann"));
}

fn assert_filters(old: &Bytes, new: &Bytes) {
    let meta = |file: &Bytes| {
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        reader.parse_and_finish(file).expect("a page index")
    };
    let (before, after) = (meta(old), meta(new));
    for (group, (one, two)) in before.row_groups().iter().zip(after.row_groups()).enumerate() {
        for (a, b) in one.columns().iter().zip(two.columns()) {
            let filter = |file: &Bytes, chunk| {
                Sbbf::read_from_column_chunk(chunk, file).expect("readable").expect("a filter")
            };
            let (old_filter, new_filter) = (filter(old, a), filter(new, b));
            assert_eq!(old_filter.num_blocks(), new_filter.num_blocks());
            for what in ["id", "name", "code", "tag", "tug"] {
                for canary in [format!("zzCANARY{what}"), format!("AACANARY{what}")] {
                    assert!(!new_filter.check(&canary.as_str()), "{canary}");
                }
                let other = format!("other1{what}");
                assert!(!old_filter.check(&other.as_str()) || new_filter.check(&other.as_str()));
            }
            assert!(!new_filter.check(&"CANARYid"));
        }
        // G19: the blanks stand anywhere, so that the touched group is no longer sorted.
        assert_eq!(two.sorting_columns().is_some(), group > 0);
    }
}

/// G17: a column that cannot be null gets its type's empty value, whatever its type.
#[test]
fn required_columns_of_every_type_become_empty() {
    let schema = "message m { required binary id (UTF8); required boolean b; required int32 i;
        required int64 l; required int96 t; required float f; required double d;
        required binary x; required fixed_len_byte_array(5) y; required binary e (DECIMAL(9, 2));
        required group g { required int64 inner; optional int64 other; } }";
    let value = |length: usize| (0..3).map(|_| vec![7_u8; length]).collect::<Vec<_>>();
    let mut columns = vec![Column::required(&["ann", "bob", "ann"])];
    columns.extend([1, 4, 8, 12, 4, 8, 3, 5, 2, 8].map(|length| Column::required(&value(length))));
    let mut other = Column::required(&value(8));
    other.definitions = vec![1; 3];
    columns.push(other);
    let old = file(schema, plain(), &[columns]);
    let fields = fields(&["id"], TEXT);
    let (new, rows) = erased(&old, &fields, digest("ann", TEXT), everything());
    assert_eq!(rows, BTreeSet::from([0, 2]));
    assert_blanked(&old, &new, &rows);
    let compaction = ParquetFormat::new().compact(Arc::new(new.clone())).expect("readable");
    assert_eq!(compaction.dropped, RowCount(2));
    let small = apply(&new, compaction.edit.expect("an edit")).expect("an edit that succeeds");
    for (column, kept) in read_all(&small) {
        assert_eq!(kept, read_all(&old)[&column][1..2], "{column}");
    }
}

/// I8: what a blank leaves in a column that cannot be null is nobody; the same value in a row that
/// holds something is somebody.
#[test]
fn a_blank_zero_is_nobody() {
    let schema = "message m { required int64 id; optional binary name (UTF8); }";
    let ids: Vec<_> = [0_i64, 5, 0].iter().map(|id| id.to_le_bytes()).collect();
    let names = [Some("a"), Some("b"), None];
    let old = file(schema, plain(), &[vec![Column::required(&ids), Column::optional(&names)]]);
    let fields = fields(&["id"], IdentifierType::Integer);
    let rows = |file: &Bytes| {
        let told = scan(file, &fields).expect("readable");
        told.postings.iter().map(|posting| posting.row.0).collect::<Vec<_>>()
    };
    assert_eq!(rows(&old), [0, 1], "row 2 is blank in every column");
    let (new, gone) = erased(&old, &fields, digest("0", IdentifierType::Integer), everything());
    assert_eq!(gone, BTreeSet::from([0]));
    assert_eq!(rows(&new), [1]);
}

const NESTED: &str = "message m { optional group user { required binary id (UTF8);
    optional binary mail (UTF8); optional group more { required binary city (UTF8); } }
    optional group devices (LIST) { repeated group list { optional group element {
    optional binary owner (UTF8); optional binary kind (UTF8); } } }
    required binary note (UTF8); }";

fn nested() -> Bytes {
    let devices = [0_i16, 1, 0, 0];
    file(
        NESTED,
        plain(),
        &[vec![
            Column::levels(&[1, 1, 0], &[0; 3], &["ann", "bob"]),
            Column::levels(&[2, 1, 0], &[0; 3], &["ann@x"]),
            Column::levels(&[2, 2, 0], &[0; 3], &["Bern", "Genf"]),
            Column::levels(&[4, 4, 1, 4], &devices, &["ann", "eve", "ann"]),
            Column::levels(&[4, 3, 1, 4], &devices, &["tv", "car"]),
            Column::required(&["n0", "n1", "n2"]),
        ]],
    )
}

fn row(file: &Bytes, column: &str, row: usize) -> Vec<(i16, i16, String)> {
    let all = read_all(file);
    let ends = |name: &String| {
        name.ends_with(&format!(" {column}")) || name.ends_with(&format!(".{column}"))
    };
    let (_, rows) = all.iter().find(|(name, _)| ends(name)).expect("the column");
    let text = |value: &Option<Vec<u8>>| {
        String::from_utf8(value.clone().unwrap_or_default()).expect("text")
    };
    rows[row].iter().map(|(def, rep, value)| (*def, *rep, text(value))).collect()
}

fn cell(definition: i16, repetition: i16, value: &str) -> (i16, i16, String) {
    (definition, repetition, value.to_owned())
}

/// A kept column keeps its value and the groups above it; everything else goes.
#[test]
fn kept_columns_stay_and_their_neighbours_go() {
    let old = nested();
    let fields = fields(&["user.id"], TEXT);
    let keep = EraseAction::Blank { keep: vec![path("devices[*].kind"), path("user.more")] };
    let (new, rows) = erased(&old, &fields, digest("ann", TEXT), keep);
    assert_eq!(rows, BTreeSet::from([0]));
    assert_eq!(row(&new, "user.id", 0), [cell(1, 0, "")], "required in a group that stays");
    assert_eq!(row(&new, "mail", 0), [cell(1, 0, "")]);
    assert_eq!(row(&new, "city", 0), [cell(2, 0, "Bern")]);
    assert_eq!(row(&new, "owner", 0), [cell(3, 0, ""), cell(3, 1, "")]);
    assert_eq!(row(&new, "kind", 0), [cell(4, 0, "tv"), cell(3, 1, "")]);
    assert_eq!(row(&new, "note", 0), [cell(0, 0, "")]);
    assert_eq!(row(&new, "owner", 2), row(&old, "owner", 2));
    let chunk = |file: &Bytes, at: usize| {
        let reader = SerializedFileReader::new(file.clone()).expect("readable");
        let (start, length) = reader.metadata().row_group(0).column(at).byte_range();
        file.slice(start as usize..(start + length) as usize)
    };
    assert_eq!(chunk(&old, 2), chunk(&new, 2), "a kept column is copied");
}

/// Just the named fields go; every other column is copied byte for byte.
#[test]
fn redacted_fields_go_and_others_stay() {
    let old = nested();
    let fields = fields(&["devices[*].owner"], TEXT);
    let redact = EraseAction::Redact { fields: vec![path("devices[*].owner"), path("user.more")] };
    let (new, rows) = erased(&old, &fields, digest("ann", TEXT), redact);
    assert_eq!(rows, BTreeSet::from([0, 2]));
    assert_eq!(row(&new, "owner", 0), [cell(3, 0, ""), cell(3, 1, "")]);
    assert_eq!(row(&new, "owner", 1), row(&old, "owner", 1));
    assert_eq!(row(&new, "kind", 0), row(&old, "kind", 0));
    assert_eq!(row(&new, "city", 0), [cell(1, 0, "")]);
    assert_eq!(row(&new, "city", 2), [cell(0, 0, "")]);
    for column in ["user.id", "mail", "note"] {
        for at in 0..3 {
            assert_eq!(row(&new, column, at), row(&old, column, at));
        }
    }
}

/// P5, P11, P12, G23: null on the way, names that differ in case, names with dots; and a list is
/// not crossed without `[*]`.
#[test]
fn paths_mean_exactly_one_column() {
    let schema = "message m { optional binary Id (UTF8); optional binary id (UTF8);
        optional binary a.b (UTF8); optional group devices (LIST) { repeated group list {
        optional binary element (UTF8); } } }";
    let one = |text| Column::optional(&[Some(text)]);
    let list = Column::levels(&[3], &[0], &["four"]);
    let old = file(schema, plain(), &[vec![one("one"), one("two"), one("three"), list]]);
    let found = |at: &str| {
        let told = scan(&old, &fields(&[at], TEXT)).ok()?;
        Some(told.postings.iter().map(|posting| posting.digest).collect::<Vec<_>>())
    };
    assert_eq!(found("Id"), Some(vec![digest("one", TEXT)]));
    assert_eq!(found("id"), Some(vec![digest("two", TEXT)]));
    assert_eq!(found("\"a.b\""), Some(vec![digest("three", TEXT)]));
    assert_eq!(found("devices[*]"), Some(vec![digest("four", TEXT)]));
    for nothing in ["a.b", "ID", "devices", "devices.list.element", "devices[*][*]", "id[*]"] {
        assert_eq!(found(nothing), None, "{nothing}");
    }
    let told = scan(&old, &fields(&["later", "id"], TEXT)).expect("schemas grow");
    assert_eq!(told.postings.len(), 1);
}

/// P9, P10, P13, P16, G18: identifiers of every type that can be one.
#[test]
fn identifiers_of_many_types_are_met() {
    let schema = "message m { required binary raw; required int32 u (INTEGER(32, false));
        required int32 day (DATE); required fixed_len_byte_array(32) wide (DECIMAL(70, 0));
        required int32 cents (DECIMAL(9, 2)); required fixed_len_byte_array(16) uuid (UUID);
        required double whole; required double half; required boolean yes; required int96 t; }";
    let mut wide = [0_u8; 32];
    wide[31] = 42;
    let values: [&[u8]; 10] = [
        b"ann",
        &u32::MAX.to_le_bytes(),
        &19_782_i32.to_le_bytes(),
        &wide,
        &1230_i32.to_le_bytes(),
        &[0xab; 16],
        &42_f64.to_le_bytes(),
        &0.5_f64.to_le_bytes(),
        &[1],
        &[1; 12],
    ];
    let old = file(schema, plain(), &[values.map(|value| Column::required(&[value])).to_vec()]);
    let text = TEXT;
    let uuid = "abababab-abab-abab-abab-abababababab";
    for (column, kind, subject) in [
        ("raw", text, "ann"),
        ("u", IdentifierType::Integer, "4294967295"),
        ("u", text, "4294967295"),
        ("day", text, "2024-02-29"),
        ("wide", IdentifierType::Integer, "42"),
        ("cents", text, "12.30"),
        ("uuid", IdentifierType::Uuid, uuid),
        ("whole", IdentifierType::Integer, "42"),
    ] {
        let told = scan(&old, &fields(&[column], kind)).expect("readable");
        assert_eq!(told.postings.len(), 1, "{column}");
        assert_eq!(told.postings[0].digest, digest(subject, kind), "{column}");
    }
    for column in ["half", "yes", "t"] {
        let told = scan(&old, &fields(&[column], text)).expect("readable");
        assert!(told.postings.is_empty() && told.foreign == [0], "{column}");
    }
}

/// H3: writers that annotate nothing store a UUID as 16 bytes, or as text.
#[test]
fn a_uuid_is_met_where_nothing_says_that_it_is_one() {
    const UUID: &str = "550e8400-e29b-41d4-a716-446655440000";
    let bytes = *b"\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00";
    let ids = [bytes.to_vec(), b"sixteen letters!".to_vec(), UUID.as_bytes().to_vec()];
    let old = file("message m { required binary id; }", plain(), &[vec![Column::required(&ids)]]);
    let subject = digest(UUID, IdentifierType::Uuid);
    let fields = fields(&["id"], IdentifierType::Uuid);
    let done = blank(&old, &fields, [subject], everything()).expect("readable");
    assert_eq!(done.blanked, RowSet::new([0, 2].map(RowNumber)));
}

/// E4: an index that is wrong costs time and no stranger's row.
#[test]
fn a_wrong_index_blanks_no_stranger() {
    let schema = "message m { optional binary id (UTF8); }";
    let ids = [Some("ann"), Some("bob"), None, Some("ann")];
    let old = file(schema, plain(), &[vec![Column::optional(&ids)]]);
    let order = |rows: &[u64]| BlankOrder {
        rows: RowSet::new(rows.iter().copied().map(RowNumber)).expect("rows"),
        fields: fields(&["id"], TEXT),
        subjects: Arc::new([digest("ann", TEXT)].into()),
        action: everything(),
        landmarks: Landmarks::default(),
    };
    let format = ParquetFormat::new();
    let wrong =
        format.blank(Arc::new(old.clone()), &order(&[1, 2, 9, u64::MAX])).expect("readable");
    assert!(wrong.edit.is_none() && wrong.blanked.is_none());
    assert_eq!(wrong.unmatched, [1, 2, 9, u64::MAX].map(RowNumber));
    let half = format.blank(Arc::new(old.clone()), &order(&[1, 3])).expect("readable");
    assert_eq!(half.unmatched, [RowNumber(1)]);
    let new = apply(&old, half.edit.expect("an edit")).expect("an edit that succeeds");
    assert_blanked(&old, &new, &BTreeSet::from([3]));
}

/// G21: a damaged footer that can be read, but not with the changes in it, ends the write. A fuzzer made the
/// file.
#[test]
fn a_footer_that_could_not_be_read_again_is_not_written() {
    let seed = include_bytes!("../../../../fuzz/seeds/parquet_raw/damaged_footer");
    let old = Bytes::from_static(seed);
    let fields = fields(&["id[*]"], TEXT);
    let done = blank(&old, &fields, [digest("7", TEXT)], everything()).expect("readable");
    let error = apply(&old, done.edit.expect("an edit")).expect_err("a damaged footer");
    assert!(error.to_string().contains("with the changes"), "{error}");
}

/// An identifier that would stay is refused, not forgotten.
#[test]
fn a_kept_identifier_is_refused() {
    let keep = EraseAction::Blank { keep: vec![path("user")] };
    let fields = fields(&["user.id"], TEXT);
    let error = blank(&nested(), &fields, [digest("ann", TEXT)], keep).expect_err("refused");
    assert!(error.to_string().contains("`keep`"), "{error}");
}

/// Blanks go, row groups of nothing but blanks too; an empty file is still a file.
#[test]
fn compaction_drops_blanks_and_nothing_else() {
    let schema = "message m { optional binary id (UTF8); }";
    let group = |ids: &[Option<&str>]| vec![Column::optional(ids)];
    let groups = [group(&[Some("a"), None, Some("b")]), group(&[None, None]), group(&[Some("c")])];
    let old = file(schema, plain(), &groups);
    let format = ParquetFormat::new();
    let done = format.compact(Arc::new(old.clone())).expect("readable");
    assert_eq!(done.dropped, RowCount(3));
    let new = apply(&old, done.edit.expect("an edit")).expect("an edit that succeeds");
    let ids: Vec<_> = (0..3).map(|at| row(&new, "id", at)[0].2.clone()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let reader = SerializedFileReader::new(new.clone()).expect("readable");
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3);
    assert_eq!(reader.num_row_groups(), 2);
    assert!(format.compact(Arc::new(new)).expect("readable").edit.is_none());
    let blanks = file(schema, plain(), &[group(&[None; 4])]);
    let done = format.compact(Arc::new(blanks.clone())).expect("readable");
    let empty = apply(&blanks, done.edit.expect("an edit")).expect("an edit that succeeds");
    assert_eq!(format.fingerprint(&empty, Except::Nothing).expect("readable").rows, RowCount(0));
}

/// The store's failure is the store's, not the object's: reading again may help.
#[test]
fn a_failing_store_is_not_an_unreadable_object() {
    struct Failing(Bytes, u64);
    impl Source for Failing {
        fn size_bytes(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
            if offset < self.1 {
                return Err(SourceError::new("no route"));
            }
            self.0.read_at(offset, length)
        }
    }
    let old = nested();
    let reader = SerializedFileReader::new(old.clone()).expect("readable");
    let end = reader.metadata().row_group(0).column(5).byte_range().0;
    let failing = Failing(old, end);
    let error = ParquetFormat::new().fingerprint(&failing, Except::Nothing).expect_err("a failure");
    assert!(matches!(error, FormatError::Source(_)), "{error}");
}

fn small() -> Bytes {
    let properties = plain()
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_bloom_filter_enabled(true)
        .set_bloom_filter_max_ndv(10)
        .set_compression(Compression::SNAPPY);
    let ids = [Some("ann"), Some("bob"), None, Some("ann")];
    let column = Column::optional(&ids);
    let list = Column::levels(&[3, 2, 0, 1, 3], &[0, 1, 0, 0, 0], &["x", "y"]);
    let schema = "message m { optional binary id (UTF8); optional group l (LIST) {
        repeated group list { optional binary element (UTF8); } } }";
    file(schema, properties, &[vec![column.clone(), list.clone()], vec![column, list]])
}

/// Does everything that can be done with a file. It may end in an error; where it does not,
/// whatever could be read before is still there.
fn exercise(file: &Bytes) {
    let format = ParquetFormat::new();
    let fields = fields(&["id", "l[*]"], TEXT);
    let print = |file: &Bytes, except: Except<'_>| format.fingerprint(file, except).ok();
    if let Ok(blanking) = blank_first(file, &fields)
        && let Some(edit) = blanking.edit
        && let Ok(new) = apply(file, edit)
    {
        let except = blanking.blanked.as_ref().into();
        if let Some(before) = print(file, except) {
            assert_eq!(print(&new, except), Some(before));
        }
    }
    if let Ok(compaction) = format.compact(Arc::new(file.clone()))
        && let Some(edit) = compaction.edit
        && let Ok(new) = apply(file, edit)
        && let Some(before) = print(file, Except::Blanks)
    {
        let after = print(&new, Except::Nothing).expect("what compact writes can be read");
        assert_eq!(after.rows.0 + compaction.dropped.0, before.rows.0);
        assert_eq!(after.digest, before.digest);
    }
}

fn blank_first(file: &Bytes, fields: &BoundFields) -> Result<Blanking, FormatError> {
    let order = BlankOrder {
        rows: RowSet::new((0..8).map(RowNumber)).expect("rows"),
        fields: fields.clone(),
        subjects: Arc::new([digest("ann", TEXT)].into()),
        action: everything(),
        landmarks: Landmarks::default(),
    };
    ParquetFormat::new().blank(Arc::new(file.clone()), &order)
}

/// G21, D13: a file cut short anywhere is an error, never a panic.
#[test]
fn a_truncated_file_is_an_error() {
    let whole = small();
    for length in 0..whole.len() {
        let cut = whole.slice(..length);
        assert!(ParquetFormat::new().fingerprint(&cut, Except::Nothing).is_err(), "{length}");
    }
}

/// G21, D13: each byte of a small file changed, at its lowest and its highest bit.
#[test]
fn a_file_with_a_changed_byte_never_panics() {
    let whole = small();
    let fields = fields(&["id", "l[*]"], TEXT);
    assert!(blank_first(&whole, &fields).is_ok_and(|blanking| blanking.edit.is_some()));
    for at in 0..whole.len() {
        for bit in [1, 0x80] {
            let mut bytes = whole.to_vec();
            bytes[at] ^= bit;
            exercise(&bytes.into());
        }
    }
}

/// What a random column looks like in the schema, and its maximal levels.
const SHAPES: [(&str, i16, i16); 4] = [
    ("required TYPE NAME;", 0, 0),
    ("optional TYPE NAME;", 1, 0),
    ("optional group NAME (LIST) { repeated group list { optional TYPE element; } }", 3, 1),
    ("repeated group NAME { required group g { repeated TYPE v; } }", 2, 2),
];
const TYPES: [(&str, usize); 8] = [
    ("boolean", 1),
    ("int32", 4),
    ("int64", 8),
    ("int96", 12),
    ("float", 4),
    ("double", 8),
    ("binary", 3),
    ("fixed_len_byte_array(5)", 5),
];

/// The encodings of each type, besides those with a dictionary.
const ENCODINGS: [&[Encoding]; 8] = [
    &[Encoding::PLAIN, Encoding::RLE],
    &[Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT],
    &[Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT],
    &[Encoding::PLAIN],
    &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT],
    &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT],
    &[Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY],
    &[Encoding::PLAIN, Encoding::DELTA_BYTE_ARRAY, Encoding::BYTE_STREAM_SPLIT],
];

#[derive(Clone, Debug)]
pub(super) struct RandomFile {
    pub(super) columns: Vec<(usize, usize)>,
    groups: Vec<usize>,
    seed: u64,
    make: (bool, bool, u8, usize, bool),
}

pub(super) fn random_files() -> impl Strategy<Value = RandomFile> {
    let columns = prop::collection::vec((0..SHAPES.len(), 0..TYPES.len()), 1..5);
    let groups = prop::collection::vec(1_usize..40, 1..4);
    let make = (any::<bool>(), any::<bool>(), 0_u8..7, 1_usize..30, any::<bool>());
    (columns, groups, any::<u64>(), make).prop_map(|(columns, groups, seed, make)| RandomFile {
        columns,
        groups,
        seed,
        make,
    })
}

impl RandomFile {
    fn schema(&self) -> String {
        let columns = self.columns.iter().enumerate().map(|(at, &(shape, kind))| {
            SHAPES[shape].0.replace("TYPE", TYPES[kind].0).replace("NAME", &format!("c{at}"))
        });
        format!("message m {{ optional binary id (UTF8); {} }}", columns.collect::<String>())
    }

    pub(super) fn build(&self) -> Bytes {
        let (dictionary, second, codec, page, statistics) = self.make;
        let codec = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::GZIP(Default::default()),
            Compression::ZSTD(ZstdLevel::default()),
            Compression::BROTLI(Default::default()),
            Compression::LZ4,
        ][usize::from(codec)];
        let version = if second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let level = if statistics { EnabledStatistics::Page } else { EnabledStatistics::None };
        let mut properties = plain()
            .set_dictionary_enabled(dictionary)
            .set_dictionary_page_size_limit(page * 8)
            .set_writer_version(version)
            .set_compression(codec)
            .set_statistics_enabled(level)
            .set_write_page_header_statistics(page % 3 == 0)
            .set_offset_index_disabled(page % 5 == 0)
            .set_data_page_row_count_limit(page)
            .set_write_batch_size(page);
        for (at, &(shape, kind)) in self.columns.iter().enumerate() {
            let encodings = ENCODINGS[kind];
            let encoding = encodings[(self.seed >> (8 * at)) as usize % encodings.len()];
            let path = [format!("c{at}"), format!("c{at}.list.element"), format!("c{at}.g.v")];
            let path = &path[[0, 0, 1, 2][shape]];
            properties = properties.set_column_encoding(path.as_str().into(), encoding);
        }
        if page % 2 == 0 && !dictionary {
            properties = properties.set_column_encoding("id".into(), Encoding::DELTA_BYTE_ARRAY);
        }
        let mut chance = Chance(self.seed | 1);
        let groups: Vec<_> =
            self.groups.iter().map(|&rows| self.group(rows, &mut chance)).collect();
        if !self.has_whole_rows() {
            return file(&self.schema(), properties, &groups);
        }
        let highest = |shape: usize| (SHAPES[shape].1, SHAPES[shape].2);
        let levels = |column: &Column| {
            let is_this = |all: &&Vec<Column>| all.iter().any(|other| other.is_same(column));
            let at = groups
                .iter()
                .find(is_this)
                .and_then(|all| all.iter().position(|other| other.is_same(column)));
            match at {
                Some(at) if at > 0 => highest(self.columns[at - 1].0).0,
                _ => 1,
            }
        };
        let properties = properties.set_write_batch_size(4);
        file_of_pieces(&self.schema(), properties, &groups, |column| column.rows(levels(column)))
    }

    /// Whether no row goes on from one page to the next, as it does where the writer is handed more
    /// than it writes at once.
    pub(super) fn has_whole_rows(&self) -> bool {
        !self.seed.is_multiple_of(4)
    }

    fn group(&self, rows: usize, chance: &mut Chance) -> Vec<Column> {
        const IDS: [Option<&str>; 5] = [Some("ann"), Some("bob"), Some("eve"), None, Some("")];
        let ids: Vec<_> = (0..rows).map(|_| IDS[chance.below(5)]).collect();
        let mut columns = vec![Column::optional(&ids)];
        for &(shape, kind) in &self.columns {
            let (_, max, repeats) = SHAPES[shape];
            let mut column = Column::levels(&[], &[], &[]);
            for _ in 0..rows {
                let entries = if repeats > 0 { chance.below(4) + 1 } else { 1 };
                for at in 0..entries {
                    // A list that is null or empty has one entry, of a level below its elements'.
                    let lowest = if at > 0 || entries > 1 { max.min(repeats.max(2)) } else { 0 };
                    let definition = lowest + chance.below((max - lowest + 1) as usize) as i16;
                    let repetition = if at == 0 { 0 } else { 1 + chance.below(repeats as usize) };
                    column.definitions.push(definition);
                    column.repetitions.push(repetition as i16);
                    if definition == max {
                        let value = (0..TYPES[kind].1).map(|_| chance.below(3) as u8 + 1).collect();
                        column.values.push(value);
                    }
                }
            }
            columns.push(column);
        }
        columns
    }
}

/// Numbers that follow from a seed (xorshift64).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// G17, G18, I7, I8, I10: against a naive reader, over random schemas, rows, encodings and
    /// pages.
    #[test]
    fn random_files_are_blanked_exactly(random in random_files()) {
        let old = random.build();
        let fields = fields(&["id"], TEXT);
        let subject = digest("ann", TEXT);
        let ids = &read_all(&old)["0 id"];
        let ann = |row: &Vec<Cell>| row[0].2.as_deref() == Some(b"ann");
        let expected: BTreeSet<u64> =
            (0..ids.len()).filter(|&at| ann(&ids[at])).map(|at| at as u64).collect();
        let blanking = blank(&old, &fields, [subject], everything()).expect("readable");
        let Some(edit) = blanking.edit else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        let new = apply(&old, edit).expect("an edit that succeeds");
        assert_blanked(&old, &new, &expected);
        assert_copied(&old, &new, &expected);
        let told = scan(&new, &fields).expect("readable");
        prop_assert!(told.postings.iter().all(|posting| posting.digest != subject));
        let again = blank(&new, &fields, [subject], everything()).expect("readable");
        prop_assert!(again.edit.is_none());
        assert_compacts(&new)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Redacting takes the values of the named fields out of the matched rows and nothing else; of
    /// a list whose elements are named, as many stay as there were.
    #[test]
    fn random_files_are_redacted_exactly(random in random_files(), elements: bool) {
        let old = random.build();
        let (shape, _) = random.columns[0];
        let target = if elements && shape == 2 { "c0[*]" } else { "c0" };
        let redact = EraseAction::Redact { fields: vec![path("id"), path(target)] };
        let done = blank(&old, &fields(&["id"], TEXT), [digest("ann", TEXT)], redact);
        let done = done.expect("readable");
        let Some(edit) = done.edit else { return Ok(()) };
        let gone = done.blanked.expect("rows that match");
        let (before, after) = (read_all(&old), read_all(&apply(&old, edit).expect("applied")));
        for (at, (column, rows)) in before.iter().enumerate() {
            for (row, (one, two)) in rows.iter().zip(&after[column]).enumerate() {
                if at > 1 || !gone.contains(RowNumber(row as u64)) {
                    prop_assert_eq!(one, two, "{}, row {}", column, row);
                    continue;
                }
                let empty = |value: &Vec<u8>| value.iter().all(|&byte| byte == 0);
                prop_assert!(two.iter().all(|cell| cell.2.as_ref().is_none_or(empty)));
                if at == 1 && target == "c0[*]" {
                    let nulls: Vec<Cell> =
                        one.iter().map(|cell| (cell.0.min(2), cell.1, None)).collect();
                    prop_assert_eq!(two, &nulls);
                }
            }
        }
    }
}

/// Compacting drops the rows that are blank in every column, and keeps the others in order.
fn assert_compacts(old: &Bytes) -> Result<(), TestCaseError> {
    let before = read_all(old);
    let rows = before.values().next().map_or(0, Vec::len);
    let empty = |cell: &Cell| {
        cell.0 == 0 && cell.2.as_ref().is_none_or(|value| value.iter().all(|&byte| byte == 0))
    };
    let is_blank = |at: usize| before.values().all(|all| all[at].len() == 1 && empty(&all[at][0]));
    let blanks: BTreeSet<usize> = (0..rows).filter(|&at| is_blank(at)).collect();
    let done = ParquetFormat::new().compact(Arc::new(old.clone())).expect("readable");
    prop_assert_eq!(done.dropped, RowCount(blanks.len() as u64));
    let Some(edit) = done.edit else { return Ok(()) };
    let after = read_all(&apply(old, edit).expect("an edit that succeeds"));
    for (column, all) in before {
        let kept = all.into_iter().enumerate().filter(|(at, _)| !blanks.contains(at));
        prop_assert_eq!(&kept.map(|(_, row)| row).collect::<Vec<_>>(), &after[&column]);
    }
    Ok(())
}
