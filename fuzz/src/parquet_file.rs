//! Random Parquet files by the `parquet` crate's writer: any schema, encoding, codec, page layout and
//! nesting that it writes, with rows of one person whose values nobody else has.

use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::identifier::IdentifierType;
use parquet::basic::{Compression, Encoding, Type, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{
    BloomFilterPosition, DeltaBinaryPackedEncoderOptions, EnabledStatistics, WriterProperties,
    WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::choices::Choices;

/// What every value of an erased row begins with, where it is long enough to be told from chance.
pub const CANARY: &[u8] = b"\x01~q%Z\x7f";

/// Whose rows go.
pub const SUBJECT: &str = "7";

/// Everybody, with the subject, nobody, and names that have the subject's in them.
const PEOPLE: [&str; 7] = [SUBJECT, "71", "17", "77", "8", "-7", "70"];

/// A type as it stands in the schema, and how long its values are; 0: any length.
const TYPES: [(&str, &str, Type, usize); 21] = [
    ("boolean", "", Type::BOOLEAN, 1),
    ("int32", "", Type::INT32, 4),
    ("int64", "", Type::INT64, 8),
    ("int96", "", Type::INT96, 12),
    ("float", "", Type::FLOAT, 4),
    ("double", "", Type::DOUBLE, 8),
    ("binary", "", Type::BYTE_ARRAY, 0),
    ("fixed_len_byte_array(5)", "", Type::FIXED_LEN_BYTE_ARRAY, 5),
    ("binary", " (UTF8)", Type::BYTE_ARRAY, 0),
    ("int32", " (DATE)", Type::INT32, 4),
    ("int32", " (UINT_32)", Type::INT32, 4),
    ("int32", " (INT_8)", Type::INT32, 4),
    ("int64", " (TIMESTAMP_MICROS)", Type::INT64, 8),
    ("int64", " (UINT_64)", Type::INT64, 8),
    ("int64", " (DECIMAL(18, 2))", Type::INT64, 8),
    ("fixed_len_byte_array(9)", " (DECIMAL(20, 3))", Type::FIXED_LEN_BYTE_ARRAY, 9),
    ("binary", " (DECIMAL(30, 2))", Type::BYTE_ARRAY, 0),
    ("fixed_len_byte_array(16)", " (UUID)", Type::FIXED_LEN_BYTE_ARRAY, 16),
    ("fixed_len_byte_array(2)", " (FLOAT16)", Type::FIXED_LEN_BYTE_ARRAY, 2),
    ("binary", " (JSON)", Type::BYTE_ARRAY, 0),
    ("binary", " (ENUM)", Type::BYTE_ARRAY, 0),
];

/// The encodings of a physical type, besides those with a dictionary.
fn encodings(kind: Type) -> &'static [Encoding] {
    match kind {
        Type::BOOLEAN => &[Encoding::PLAIN, Encoding::RLE],
        Type::INT32 | Type::INT64 => {
            &[Encoding::PLAIN, Encoding::DELTA_BINARY_PACKED, Encoding::BYTE_STREAM_SPLIT]
        }
        Type::INT96 => &[Encoding::PLAIN],
        Type::FLOAT | Type::DOUBLE => &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT],
        Type::BYTE_ARRAY => {
            &[Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY]
        }
        Type::FIXED_LEN_BYTE_ARRAY => {
            &[Encoding::PLAIN, Encoding::DELTA_BYTE_ARRAY, Encoding::BYTE_STREAM_SPLIT]
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repetition {
    Required,
    Optional,
    Repeated,
}

/// A node of the schema.
struct Node {
    name: String,
    repetition: Repetition,
    annotation: &'static str,
    kind: Kind,
}

enum Kind {
    /// The number of the column, and of its type.
    Leaf(usize, usize),
    Group(Vec<Node>),
}

/// How the values of a column are chosen.
#[derive(Clone, Copy)]
enum Style {
    Few,
    Any,
    Rising,
    LongPrefix,
    Extreme,
}

/// Levels and values of one column of one row.
#[derive(Clone, Default)]
struct Entries {
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<Vec<u8>>,
}

impl Entries {
    fn append(&mut self, other: &Self) {
        self.definitions.extend(&other.definitions);
        self.repetitions.extend(&other.repetitions);
        self.values.extend(other.values.iter().cloned());
    }
}

/// A file, and what it was made to hold.
pub struct Made {
    /// Its bytes.
    pub bytes: Bytes,
    /// Where the identifier stands.
    pub path: &'static str,
    /// Of which type it is.
    pub kind: IdentifierType,
    /// The rows of the subject.
    pub rows: Vec<u64>,
    /// How many rows there are.
    pub rows_total: u64,
    /// Whether [`CANARY`] stands in the subject's rows, and there only.
    pub has_canaries: bool,
    /// The columns beside the identifier's, in the schema's order.
    pub others: Vec<Other>,
}

/// A column.
pub struct Other {
    /// The field path that leads to its values.
    pub field: String,
    /// Its path in the schema.
    pub column: String,
}

/// Where and how the identifier stands: schema, path, type, and whether the file has it as a number.
const IDENTIFIERS: [(&str, &str, IdentifierType); 6] = [
    ("optional binary id (UTF8);", "id", IdentifierType::String),
    ("required binary id (UTF8);", "id", IdentifierType::String),
    ("optional int64 id;", "id", IdentifierType::Integer),
    ("required int32 id;", "id", IdentifierType::Integer),
    (
        "optional group id (LIST) { repeated group list { optional binary element (UTF8); } }",
        "id[*]",
        IdentifierType::String,
    ),
    ("optional group id { required binary v; }", "id.v", IdentifierType::Integer),
];

/// A file that the choices make.
pub fn make(choices: &mut Choices<'_>) -> Made {
    let mut maker = Maker { leaves: Vec::new(), others: Vec::new(), choices };
    let identifier = maker.choices.below(IDENTIFIERS.len());
    let nodes: Vec<Node> = (0..1 + maker.choices.below(3))
        .map(|at| format!("c{at}"))
        .map(|name| maker.node(&name, (&name, &name), true))
        .collect();
    let (head, path, kind) = IDENTIFIERS[identifier];
    let mut schema = format!("message m {{ {head} ");
    nodes.iter().for_each(|node| node.write(&mut schema));
    schema.push('}');
    let properties = maker.properties();
    let has_canaries = maker.choices.below(4) > 0;
    let mut groups = Vec::new();
    let (mut rows, mut total) = (Vec::new(), 0_u64);
    for _ in 0..1 + maker.choices.below(2) {
        let most = *maker.choices.pick(&[6, 12, 12, 60]);
        let count = 1 + maker.choices.below(most);
        let mut group: Vec<Vec<Entries>> = vec![Vec::new(); maker.leaves.len() + 1];
        for _ in 0..count {
            let (entries, is_subject) = maker.identifier(identifier);
            group[0].push(entries);
            if is_subject {
                rows.push(total);
            }
            let mut here = vec![Entries::default(); maker.leaves.len()];
            for node in &nodes {
                maker.shred(node, (0, 0, 0), is_subject && has_canaries, &mut here);
            }
            here.into_iter().zip(&mut group[1..]).for_each(|(entries, all)| all.push(entries));
            total += 1;
        }
        groups.push(group);
    }
    let piece = *maker.choices.pick(&[1, 1, 2, 5, usize::MAX]);
    let others = maker.others;
    let bytes = write(&schema, properties, &groups, piece);
    Made { bytes, path, kind, rows, rows_total: total, has_canaries, others }
}

struct Maker<'c, 'b> {
    /// Type and style of each column beside the identifier's.
    leaves: Vec<(usize, Style, u64)>,
    others: Vec<Other>,
    choices: &'c mut Choices<'b>,
}

impl Maker<'_, '_> {
    /// A node below a field path and a column's path, and whether it may be a repeated one.
    fn node(&mut self, name: &str, (field, column): (&str, &str), may_repeat: bool) -> Node {
        let name = name.to_owned();
        let depth = column.matches('.').count();
        let shape = if depth > 4 || self.leaves.len() > 4 { 0 } else { self.choices.below(6) };
        let repetitions = [
            Repetition::Optional,
            Repetition::Required,
            Repetition::Optional,
            Repetition::Repeated,
        ];
        // The level of a list that is annotated as one repeats below it.
        let how_many = if may_repeat && shape != 5 { 4 } else { 3 };
        let repetition = *self.choices.pick(&repetitions[..how_many]);
        let elements = if repetition == Repetition::Repeated { "[*]" } else { "" };
        let field = format!("{field}{elements}");
        match shape {
            4 => {
                let fields = (0..1 + self.choices.below(2)).map(|at| {
                    let (field, column) = (format!("{field}.f{at}"), format!("{column}.f{at}"));
                    self.node(&format!("f{at}"), (&field, &column), true)
                });
                let fields = fields.collect();
                Node { name, repetition, annotation: "", kind: Kind::Group(fields) }
            }
            5 => {
                let below = (format!("{field}[*]"), format!("{column}.list.element"));
                let element = self.node("element", (&below.0, &below.1), false);
                let list = Node {
                    name: "list".to_owned(),
                    repetition: Repetition::Repeated,
                    annotation: "",
                    kind: Kind::Group(vec![element]),
                };
                Node { name, repetition, annotation: " (LIST)", kind: Kind::Group(vec![list]) }
            }
            _ => {
                let kind = self.choices.below(TYPES.len());
                let styles =
                    [Style::Few, Style::Any, Style::Rising, Style::LongPrefix, Style::Extreme];
                let style = *self.choices.pick(&styles);
                self.leaves.push((kind, style, 0));
                self.others.push(Other { field, column: column.to_owned() });
                let leaf = Kind::Leaf(self.leaves.len() - 1, kind);
                Node { name, repetition, annotation: TYPES[kind].1, kind: leaf }
            }
        }
    }

    fn properties(&mut self) -> WriterPropertiesBuilder {
        let choices = &mut *self.choices;
        let codec = [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::LZ4_RAW,
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
            Compression::LZ4,
            // The slow ones seldom.
            [Compression::GZIP(Default::default()), Compression::BROTLI(Default::default())]
                [choices.below(2)],
        ];
        let levels = [EnabledStatistics::Page, EnabledStatistics::Chunk, EnabledStatistics::None];
        let versions = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0];
        let filters = [BloomFilterPosition::AfterRowGroup, BloomFilterPosition::End];
        let lengths = [None, Some(64), Some(3), Some(1)];
        let delta = [(128, 4), (128, 1), (256, 8), (1024, 2)];
        let (block, miniblocks) = *choices.pick(&delta);
        let delta = DeltaBinaryPackedEncoderOptions::try_new(block, miniblocks).expect("a layout");
        let mut properties = WriterProperties::builder()
            .set_writer_version(*choices.pick(&versions))
            .set_compression(*choices.pick(&codec))
            .set_dictionary_enabled(choices.below(3) > 0)
            .set_dictionary_page_size_limit([1 << 20, 16, 64, 200][choices.below(4)])
            .set_data_page_row_count_limit([3, 1, 10, 1000][choices.below(4)])
            .set_data_page_size_limit([1 << 20, 50, 400][choices.below(3)])
            .set_write_batch_size([1, 2, 4, 9, 1024][choices.below(5)])
            .set_statistics_enabled(*choices.pick(&levels))
            .set_statistics_truncate_length(*choices.pick(&lengths))
            .set_column_index_truncate_length(*choices.pick(&lengths))
            .set_write_page_header_statistics(choices.coin())
            .set_offset_index_disabled(choices.below(4) == 0)
            .set_bloom_filter_enabled(choices.below(3) == 0)
            .set_bloom_filter_max_ndv([4, 100][choices.below(2)])
            .set_bloom_filter_position(*choices.pick(&filters))
            .set_data_page_v2_compression_ratio_threshold([1.0, 0.01, 50.0][choices.below(3)])
            .set_write_path_in_schema(choices.below(4) > 0)
            .set_delta_binary_packed_encoder_options(delta);
        if choices.below(4) == 0 {
            let sorted = SortingColumn { column_idx: 0, descending: false, nulls_first: true };
            properties = properties.set_sorting_columns(Some(vec![sorted]));
        }
        if choices.below(4) == 0 {
            let pair = KeyValue::new("who".to_owned(), "another writer".to_owned());
            properties = properties.set_key_value_metadata(Some(vec![pair]));
        }
        self.encodings(properties)
    }

    fn encodings(&mut self, mut properties: WriterPropertiesBuilder) -> WriterPropertiesBuilder {
        for (at, Other { column, .. }) in self.others.iter().enumerate() {
            let encodings = encodings(TYPES[self.leaves[at].0].2);
            let encoding = *self.choices.pick(encodings);
            properties = properties.set_column_encoding(column.as_str().into(), encoding);
            if self.choices.below(4) == 0 {
                let is_enabled = self.choices.coin();
                let column = column.as_str().into();
                properties = properties.set_column_dictionary_enabled(column, is_enabled);
            }
        }
        properties
    }

    /// The entries of the identifier's column in a row, and whether the subject is among them.
    fn identifier(&mut self, how: usize) -> (Entries, bool) {
        let one = |choices: &mut Choices<'_>| PEOPLE[choices.any(PEOPLE.len())];
        let choices = &mut *self.choices;
        let is_null = choices.any(8) == 0;
        let value = |text: &str| match how {
            2 => text.parse::<i64>().expect("a number").to_le_bytes().to_vec(),
            3 => text.parse::<i32>().expect("a number").to_le_bytes().to_vec(),
            _ => text.as_bytes().to_vec(),
        };
        let mut entries = Entries::default();
        let mut is_subject = false;
        let mut push = |definition, repetition, text: Option<&str>| {
            is_subject |= text == Some(SUBJECT);
            entries.definitions.push(definition);
            entries.repetitions.push(repetition);
            entries.values.extend(text.map(value));
        };
        match how {
            1 | 3 => push(0, 0, Some(one(choices))),
            4 => match choices.any(5) {
                0 => push(0, 0, None),
                1 => push(1, 0, None),
                count => (0..count - 1).for_each(|at| {
                    let text = (choices.any(6) > 0).then(|| one(choices));
                    push(if text.is_some() { 3 } else { 2 }, i16::from(at > 0), text);
                }),
            },
            _ if is_null => push(0, 0, None),
            _ => push(1, 0, Some(one(choices))),
        }
        (entries, is_subject)
    }

    /// Takes a random value of a node apart into its columns. The levels: of the node above, of the
    /// next entry, and of the lists around.
    fn shred(
        &mut self,
        node: &Node,
        (definition, repetition, depth): (i16, i16, i16),
        is_canary: bool,
        into: &mut [Entries],
    ) {
        match node.repetition {
            Repetition::Required => {
                self.descend(node, (definition, repetition, depth), is_canary, into);
            }
            Repetition::Optional if self.choices.any(5) == 0 => {
                node.null((definition, repetition), into);
            }
            Repetition::Optional => {
                self.descend(node, (definition + 1, repetition, depth), is_canary, into);
            }
            Repetition::Repeated => {
                let count = [0, 1, 1, 2, 3, 7][self.choices.any(6)];
                if count == 0 {
                    node.null((definition, repetition), into);
                }
                for at in 0..count {
                    let repetition = if at == 0 { repetition } else { depth + 1 };
                    self.descend(node, (definition + 1, repetition, depth + 1), is_canary, into);
                }
            }
        }
    }

    fn descend(
        &mut self,
        node: &Node,
        levels: (i16, i16, i16),
        is_canary: bool,
        into: &mut [Entries],
    ) {
        match &node.kind {
            Kind::Group(fields) => {
                fields.iter().for_each(|field| self.shred(field, levels, is_canary, into));
            }
            Kind::Leaf(column, kind) => {
                let value = self.value(*column, *kind, is_canary);
                into[*column].definitions.push(levels.0);
                into[*column].repetitions.push(levels.1);
                into[*column].values.push(value);
            }
        }
    }

    fn value(&mut self, column: usize, kind: usize, is_canary: bool) -> Vec<u8> {
        let (_, annotation, physical, length) = TYPES[kind];
        let (_, style, count) = &mut self.leaves[column];
        *count += 1;
        let (style, count) = (*style, *count);
        let is_text = !matches!(annotation, "" | " (DECIMAL(30, 2))");
        let any = &mut |bound| self.choices.any(bound);
        if is_canary && (length == 0 || length >= CANARY.len() + 2) {
            let mut value = CANARY.to_vec();
            value.extend(format!("{:02}", any(100)).bytes());
            value.resize(if length == 0 { value.len() + any(9) } else { length }, b'!');
            return value;
        }
        let number: u64 = match style {
            Style::Few => any(3) as u64,
            Style::Any => (any(1 << 30) as u64) << 34 | any(1 << 30) as u64,
            Style::Rising => count * (1 + any(3) as u64),
            Style::LongPrefix => 1 << 40 | any(40) as u64,
            Style::Extreme => [0, u64::MAX, 1 << 63, (1 << 63) - 1, 1 << 31][any(5)],
        };
        if length > 0 {
            let mut value = number.to_le_bytes().to_vec();
            value.resize(length.max(8), any(2) as u8);
            value.truncate(length);
            if physical == Type::BOOLEAN {
                value[0] &= 1;
            }
            return value;
        }
        let mut value = match style {
            Style::Few => vec![b"abc"[number as usize]; number as usize],
            Style::LongPrefix => format!("a prefix that many values share {number}").into_bytes(),
            _ => format!("{number:x}").into_bytes(),
        };
        if !is_text && any(3) == 0 {
            value.extend([0xff, 0x00, 0x80]);
        }
        value
    }
}

impl Node {
    fn write(&self, schema: &mut String) {
        let repetition = match self.repetition {
            Repetition::Required => "required",
            Repetition::Optional => "optional",
            Repetition::Repeated => "repeated",
        };
        let (name, annotation) = (&self.name, self.annotation);
        match &self.kind {
            Kind::Leaf(_, kind) => {
                let kind = TYPES[*kind].0;
                schema.push_str(&format!("{repetition} {kind} {name}{annotation}; "));
            }
            Kind::Group(fields) => {
                schema.push_str(&format!("{repetition} group {name}{annotation} {{ "));
                fields.iter().for_each(|field| field.write(schema));
                schema.push_str("} ");
            }
        }
    }

    /// There is nothing here: an entry without value in each column below.
    fn null(&self, (definition, repetition): (i16, i16), into: &mut [Entries]) {
        match &self.kind {
            Kind::Group(fields) => {
                fields.iter().for_each(|field| field.null((definition, repetition), into));
            }
            Kind::Leaf(column, _) => {
                into[*column].definitions.push(definition);
                into[*column].repetitions.push(repetition);
            }
        }
    }
}

fn write(
    schema: &str,
    properties: WriterPropertiesBuilder,
    groups: &[Vec<Vec<Entries>>],
    piece: usize,
) -> Bytes {
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema, properties.build().into()).expect("a writer");
    for columns in groups {
        let mut group = writer.next_row_group().expect("a row group");
        for rows in columns {
            let mut next = group.next_column().expect("a column").expect("a column");
            for rows in rows.chunks(piece.min(rows.len())) {
                let mut entries = Entries::default();
                rows.iter().for_each(|row| entries.append(row));
                write_column(next.untyped(), &entries);
            }
            next.close().expect("closed");
        }
        group.close().expect("closed");
    }
    writer.close().expect("closed");
    bytes.into()
}

fn write_column(writer: &mut ColumnWriter<'_>, column: &Entries) {
    let levels = (Some(&column.definitions[..]), Some(&column.repetitions[..]));
    macro_rules! write {
        ($writer:expr, $value:expr) => {{
            let values: Vec<_> = column.values.iter().map($value).collect();
            $writer.write_batch(&values, levels.0, levels.1).expect("written");
        }};
    }
    let four = |value: &[u8]| <[u8; 4]>::try_from(&value[..4]).expect("four bytes");
    let eight = |value: &[u8]| <[u8; 8]>::try_from(&value[..8]).expect("eight bytes");
    match writer {
        ColumnWriter::BoolColumnWriter(writer) => write!(writer, |value| value[0] == 1),
        ColumnWriter::Int32ColumnWriter(writer) => write!(writer, |v| i32::from_le_bytes(four(v))),
        ColumnWriter::Int64ColumnWriter(writer) => write!(writer, |v| i64::from_le_bytes(eight(v))),
        ColumnWriter::FloatColumnWriter(writer) => write!(writer, |v| f32::from_le_bytes(four(v))),
        ColumnWriter::DoubleColumnWriter(writer) => {
            write!(writer, |v| f64::from_le_bytes(eight(v)))
        }
        ColumnWriter::Int96ColumnWriter(writer) => write!(writer, |v| {
            let part = |at: usize| u32::from_le_bytes(four(&v[at..]));
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
