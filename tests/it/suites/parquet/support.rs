//! What the tests of Parquet share: a naive reader, and the format under a fixed key.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::dataset::EraseAction;
use lacuna::domain::edit::{Edit, Segment};
use lacuna::domain::field::{BoundFields, FieldPath, IdentifierField};
use lacuna::domain::identifier::{
    DigestKey, Identifier, IdentifierDigest, IdentifierType, Namespace, RawValue,
};
use lacuna::domain::landmark::Landmarks;
use lacuna::domain::posting::{RowGap, RowPosting};
use lacuna::domain::row::{RowCount, RowNumber, RowSet};
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{BlankOrder, Blanking, Format, FormatError, ScanSink, Stopped};
use parquet::basic::Type;
use parquet::column::reader::ColumnReader;
use parquet::data_type::AsBytes;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::ReadOptionsBuilder;
use parquet::schema::types::ColumnDescPtr;

pub fn key() -> DigestKey {
    DigestKey::new([3; 32])
}

/// A field of each path, all of one namespace.
pub fn fields(paths: &[&str], kind: IdentifierType) -> BoundFields {
    let field = |path: &&str| IdentifierField {
        namespace: Namespace::new("user"),
        path: path.parse().expect("a path"),
        kind,
    };
    BoundFields::new(&paths.iter().map(field).collect::<Vec<_>>(), &key())
}

pub fn digest(text: &str, kind: IdentifierType) -> IdentifierDigest {
    let raw = RawValue::Text(text.as_bytes());
    Identifier::new(Namespace::new("user"), kind, raw).expect("an identifier").digest(&key())
}

pub fn path(text: &str) -> FieldPath {
    text.parse().expect("a path")
}

/// What a scan told.
#[derive(Debug, Default)]
pub struct Told {
    pub postings: Vec<RowPosting>,
    pub foreign: Vec<u64>,
    pub rows: u64,
}

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        assert!(self.postings.last().is_none_or(|last| last.row <= posting.row), "ascending");
        self.postings.push(posting);
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        panic!("Parquet has no gaps of one row: {gap:?}");
    }

    fn foreign_value(&mut self, row: RowNumber) {
        self.foreign.push(row.0);
    }
}

pub fn scan(file: &Bytes, fields: &BoundFields) -> Result<Told, FormatError> {
    let mut told = Told::default();
    let RowCount(rows) = ParquetFormat::new().scan(file, fields, &mut told)?;
    told.rows = rows;
    Ok(told)
}

/// Orders every row of the file blanked for these subjects.
pub fn blank(
    file: &Bytes,
    fields: &BoundFields,
    subjects: impl IntoIterator<Item = IdentifierDigest>,
    action: EraseAction,
) -> Result<Blanking, FormatError> {
    let rows = scan(file, fields)?.rows;
    let order = BlankOrder {
        rows: RowSet::new((0..rows).map(RowNumber)).expect("a file with rows"),
        fields: fields.clone(),
        subjects: Arc::new(subjects.into_iter().collect::<HashSet<_>>()),
        action,
        landmarks: Landmarks::default(),
    };
    let blanking = ParquetFormat::new().blank(Arc::new(file.clone()), &order)?;
    let shown = ParquetFormat::new().show(file, &order)?;
    let theirs = shown.iter().filter(|row| row.is_theirs).map(|row| row.row);
    assert_eq!(RowSet::new(theirs), blanking.blanked, "what is shown is what is blanked");
    assert_eq!(shown.len() as u64, rows);
    Ok(blanking)
}

pub fn everything() -> EraseAction {
    EraseAction::default()
}

/// Carries an edit out.
pub fn apply(old: &Bytes, edit: Edit) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let mut new = Vec::new();
    for segment in edit {
        match segment? {
            Segment::Copy(range) => new.extend(&old[range.start as usize..range.end as usize]),
            Segment::Bytes(bytes) => new.extend(bytes),
        }
    }
    Ok(new.into())
}

/// Definition level, repetition level, and the value's bytes.
pub type Cell = (i16, i16, Option<Vec<u8>>);

/// Every row of every column, naively: by column path, then row.
pub fn read_all(file: &Bytes) -> BTreeMap<String, Vec<Vec<Cell>>> {
    read_from(SerializedFileReader::new(file.clone()).expect("a readable footer"))
}

/// The same, page by page as the offset index says; `None` where there is none.
pub fn read_by_index(file: &Bytes) -> Option<BTreeMap<String, Vec<Vec<Cell>>>> {
    let options = ReadOptionsBuilder::new().with_page_index().build();
    SerializedFileReader::new_with_options(file.clone(), options).ok().map(read_from)
}

fn read_from(reader: SerializedFileReader<Bytes>) -> BTreeMap<String, Vec<Vec<Cell>>> {
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let mut columns = BTreeMap::new();
    for (at, column) in schema.columns().iter().enumerate() {
        let mut rows = Vec::new();
        for group in 0..reader.num_row_groups() {
            let group = reader.get_row_group(group).expect("a row group");
            rows.extend(rows_of(group.get_column_reader(at).expect("a column"), column));
        }
        columns.insert(format!("{at} {}", column.path().parts().join(".")), rows);
    }
    columns
}

fn rows_of(reader: ColumnReader, column: &ColumnDescPtr) -> Vec<Vec<Cell>> {
    let (mut definitions, mut repetitions) = (Vec::new(), Vec::new());
    macro_rules! read {
        ($reader:expr) => {{
            let mut reader = $reader;
            let mut values = Vec::new();
            let (_, _, levels) = reader
                .read_records(
                    usize::MAX,
                    Some(&mut definitions),
                    Some(&mut repetitions),
                    &mut values,
                )
                .expect("a readable column");
            let values: Vec<Vec<u8>> =
                values.iter().map(|value| value.as_bytes().to_vec()).collect();
            (values, levels)
        }};
    }
    let (values, levels) = match reader {
        ColumnReader::BoolColumnReader(reader) => read!(reader),
        ColumnReader::Int32ColumnReader(reader) => read!(reader),
        ColumnReader::Int64ColumnReader(reader) => read!(reader),
        ColumnReader::Int96ColumnReader(reader) => read!(reader),
        ColumnReader::FloatColumnReader(reader) => read!(reader),
        ColumnReader::DoubleColumnReader(reader) => read!(reader),
        ColumnReader::ByteArrayColumnReader(reader) => read!(reader),
        ColumnReader::FixedLenByteArrayColumnReader(reader) => read!(reader),
    };
    let mut values = values.into_iter();
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    for at in 0..levels {
        let definition = definitions.get(at).copied().unwrap_or(0);
        let repetition = repetitions.get(at).copied().unwrap_or(0);
        let value = (definition == column.max_def_level()).then(|| values.next().expect("a value"));
        if repetition == 0 {
            rows.push(Vec::new());
        }
        rows.last_mut().expect("a row").push((definition, repetition, value));
    }
    rows
}

/// Every row but the blanked ones is the same in both, and those are blank.
pub fn assert_blanked(old: &Bytes, new: &Bytes, blanked: &BTreeSet<u64>) {
    let (before, after) = (read_all(old), read_all(new));
    if read_by_index(old).is_some_and(|indexed| indexed == before) {
        assert!(read_by_index(new).as_ref() == Some(&after), "the offset index leads elsewhere");
    }
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (column, rows) in &before {
        let new_rows = &after[column];
        assert_eq!(rows.len(), new_rows.len(), "rows of {column}");
        for (at, (row, new_row)) in rows.iter().zip(new_rows).enumerate() {
            if blanked.contains(&(at as u64)) {
                let [(0, 0, value)] = &new_row[..] else { panic!("{column}, row {at}: not blank") };
                let is_blank = |value: &Vec<u8>| value.iter().all(|&byte| byte == 0);
                assert!(value.as_ref().is_none_or(is_blank), "{column}, row {at}");
            } else {
                assert!(row == new_row, "{column}, row {at} changed");
            }
        }
    }
}

/// Chunks of row groups without a blanked row are byte for byte the same.
pub fn assert_copied(old: &Bytes, new: &Bytes, blanked: &BTreeSet<u64>) {
    let read = |file: &Bytes| SerializedFileReader::new(file.clone()).expect("a readable footer");
    let (old_reader, new_reader) = (read(old), read(new));
    let mut row = 0_u64;
    for (before, after) in
        old_reader.metadata().row_groups().iter().zip(new_reader.metadata().row_groups())
    {
        let rows = row..row + before.num_rows() as u64;
        row = rows.end;
        assert_eq!(before.num_rows(), after.num_rows());
        for (one, two) in before.columns().iter().zip(after.columns()) {
            assert_eq!(one.compression_codec(), two.compression_codec());
            if blanked.range(rows.clone()).next().is_none() {
                let bytes = |file: &Bytes, (start, length): (u64, u64)| {
                    file.slice(start as usize..(start + length) as usize)
                };
                assert!(bytes(old, one.byte_range()) == bytes(new, two.byte_range()), "copied");
                // As text: NaN is not equal to itself.
                let told = |chunk: &ColumnChunkMetaData| format!("{:?}", chunk.statistics());
                assert_eq!(told(one), told(two));
            }
        }
    }
}

/// Paths of the columns at the top of the schema that hold one value a row.
pub fn flat_columns(file: &Bytes) -> Vec<String> {
    let Ok(reader) = SerializedFileReader::new(file.clone()) else { return Vec::new() };
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let flat = |column: &&ColumnDescPtr| {
        column.path().parts().len() == 1
            && column.max_rep_level() == 0
            && !matches!(column.physical_type(), Type::BOOLEAN | Type::INT96)
    };
    let name = |column: &ColumnDescPtr| format!("\"{}\"", column.name().replace('"', "\"\""));
    schema.columns().iter().filter(flat).map(name).collect()
}
