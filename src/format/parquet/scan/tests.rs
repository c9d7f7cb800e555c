//! The scan against the typed reader of `find`, over files of every make and over broken ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, Repetition, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;
use proptest::test_runner::TestRng;

use super::super::find::Finder;
use super::super::page::{PageHeaders, PageKind};
use super::super::window::Window;
use super::*;
use crate::domain::field::{Digested, IdentifierField};
use crate::domain::identifier::{DigestKey, IdentifierType, Namespace};
use crate::domain::landmark::Landmark;
use crate::domain::posting::{RowGap, RowPosting};
use crate::format::Stopped;

#[derive(Debug, Default)]
struct Told {
    postings: Vec<RowPosting>,
    foreign: Vec<u64>,
    pages: BTreeMap<u32, Vec<Landmark>>,
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.postings == other.postings && self.foreign == other.foreign
    }
}

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        let last = self.postings.last().map(|last| last.row.0).max(self.foreign.last().copied());
        assert!(last.is_none_or(|last| last <= posting.row.0), "ascending");
        self.postings.push(posting);
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        panic!("Parquet has no gaps of one row: {gap:?}");
    }

    fn foreign_value(&mut self, row: RowNumber) {
        assert!(self.foreign.last().is_none_or(|&last| last <= row.0), "ascending");
        self.foreign.push(row.0);
    }

    fn page(&mut self, column: u32, page: Landmark) {
        self.pages.entry(column).or_default().push(page);
    }
}

/// Where the data pages of the flat columns begin that have no index, by a walk over their headers.
fn pages(file: &Bytes, fields: &BoundFields) -> BTreeMap<u32, Vec<Landmark>> {
    let footer = Footer::read(file).expect("a footer");
    let mut pages: BTreeMap<u32, Vec<Landmark>> = BTreeMap::new();
    for Column { at, leaf, .. } in columns(&footer, fields).expect("columns") {
        for group in footer.groups.iter().filter(|_| leaf.descriptor.max_rep_level() == 0) {
            let chunk = &group.chunks[at];
            let window = Window::new(file, chunk.pages.start, chunk.pages.end - chunk.pages.start);
            let (mut headers, mut row) = (PageHeaders::new(window), group.rows.start);
            while let Some(page) = headers.next().expect("a header") {
                if let (PageKind::Data { entries, .. }, false) = (page.kind, chunk.has_index) {
                    let byte = chunk.pages.start + page.start;
                    let place = Landmark { row: RowNumber(row), byte };
                    pages.entry(at as u32).or_default().push(place);
                    row += entries;
                }
            }
        }
    }
    pages
}

/// What the typed reader tells.
fn reference(file: &Bytes, fields: &BoundFields) -> Result<Told, FormatError> {
    super::super::guarded(|| {
        let footer = Footer::read(file)?;
        told_by(&Finder::new(file, &footer, fields)?, &footer)
    })
}

fn told_by(finder: &Finder<'_>, footer: &Footer) -> Result<Told, FormatError> {
    let mut told = Told::default();
    for group in &footer.groups {
        finder.group(group, None, &mut |row, what| {
            let row = group.rows.start + row;
            match what {
                Digested::Identifier(digest) => {
                    told.postings.push(RowPosting { digest, row: RowNumber(row) });
                }
                Digested::Foreign => told.foreign.push(row),
                Digested::Empty => {}
            }
            Ok(())
        })?;
    }
    Ok(told)
}

fn quick(file: &Bytes, fields: &BoundFields, helpers: usize) -> Result<Told, FormatError> {
    super::super::guarded(|| {
        let footer = Footer::read(file)?;
        let mut told = Told::default();
        scan_with(helpers, &columns(&footer, fields)?, (file, &footer), &mut told)?;
        Ok(told)
    })
}

fn fields(paths: &[(String, IdentifierType)]) -> BoundFields {
    let field = |(at, (path, kind)): (usize, &(String, IdentifierType))| IdentifierField {
        namespace: Namespace::new(format!("space {at}")),
        path: path.parse().expect("a path"),
        kind: *kind,
    };
    let fields: Vec<_> = paths.iter().enumerate().map(field).collect();
    BoundFields::new(&fields, &DigestKey::new([3; 32]))
}

/// A column of a test file: how it nests, its type and how varied its values are.
#[derive(Clone, Debug)]
struct Shape {
    chain: Vec<Repetition>,
    kind: &'static str,
    variety: u64,
}

/// How a test file is written.
#[derive(Clone, Debug)]
struct Make {
    columns: Vec<Shape>,
    groups: Vec<usize>,
    codec: Compression,
    encoding: Encoding,
    second: bool,
    dictionary: Option<usize>,
    page_rows: usize,
    /// Whether the file tells where its pages begin.
    indexed: bool,
    /// How many in a hundred optional nodes are missing.
    missing: u64,
}

const KINDS: [&str; 16] = [
    "binary v (UTF8)",
    "binary v",
    "binary v (DECIMAL(20,2))",
    "int32 v",
    "int64 v",
    "int64 v (UINT_64)",
    "int32 v (UINT_32)",
    "int32 v (DATE)",
    "int64 v (DECIMAL(18,3))",
    "int64 v (TIMESTAMP_MILLIS)",
    "float v",
    "double v",
    "boolean v",
    "int96 v",
    "fixed_len_byte_array(16) v (UUID)",
    "fixed_len_byte_array(3) v",
];

fn chains() -> impl Strategy<Value = Vec<Repetition>> {
    let any = vec![Repetition::REQUIRED, Repetition::OPTIONAL, Repetition::REPEATED];
    let flat = prop::sample::select(any[..2].to_vec());
    prop_oneof![
        3 => flat.prop_map(|one| vec![one]),
        2 => prop::collection::vec(prop::sample::select(any), 1..4),
    ]
}

fn makes() -> impl Strategy<Value = Make> {
    let variety = prop::sample::select(vec![1_u64, 5, 300, 1_000_000]);
    let shape = (chains(), prop::sample::select(KINDS.to_vec()), variety)
        .prop_map(|(chain, kind, variety)| Shape { chain, kind, variety });
    let codec = prop::sample::select(vec![
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ]);
    let encoding = prop::sample::select(vec![
        Encoding::PLAIN,
        Encoding::PLAIN,
        Encoding::DELTA_BINARY_PACKED,
        Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Encoding::DELTA_BYTE_ARRAY,
        Encoding::BYTE_STREAM_SPLIT,
        Encoding::RLE,
    ]);
    let dictionary = prop::option::weighted(0.7, prop::sample::select(vec![8_usize, 600, 1 << 20]));
    (
        prop::collection::vec(shape, 1..4),
        prop::collection::vec(0_usize..800, 0..4),
        (codec, encoding, any::<[bool; 2]>(), dictionary),
        prop::sample::select(vec![1_usize, 7, 100, 20_000]),
        prop::sample::select(vec![0_u64, 30, 100]),
    )
        .prop_map(
            |(
                columns,
                groups,
                (codec, encoding, [second, indexed], dictionary),
                page_rows,
                missing,
            )| {
                let page_rows = page_rows.max(groups.iter().sum::<usize>() / 200);
                Make {
                    columns,
                    groups,
                    codec,
                    encoding,
                    second,
                    dictionary,
                    page_rows,
                    indexed,
                    missing,
                }
            },
        )
}

impl Shape {
    fn schema(&self, at: usize) -> String {
        let word = |repetition| match repetition {
            Repetition::REQUIRED => "required",
            Repetition::OPTIONAL => "optional",
            Repetition::REPEATED => "repeated",
        };
        let (leaf, groups) = self.chain.split_last().expect("not empty");
        let kind = self.kind.replacen(" v", &format!(" {}", self.name(at, groups.len())), 1);
        let mut text = format!("{} {kind};", word(*leaf));
        for (depth, group) in groups.iter().enumerate().rev() {
            text = format!("{} group {} {{ {text} }}", word(*group), self.name(at, depth));
        }
        text
    }

    fn name(&self, at: usize, depth: usize) -> String {
        format!("c{at}_{depth}")
    }

    fn path(&self, at: usize) -> String {
        let step = |(depth, repetition): (usize, &Repetition)| {
            let each = if *repetition == Repetition::REPEATED { "[*]" } else { "" };
            format!("{}{each}", self.name(at, depth))
        };
        self.chain.iter().enumerate().map(step).collect::<Vec<_>>().join(".")
    }

    /// Levels and numbers of values of one row.
    fn row(&self, make: &Make, rng: &mut TestRng, column: &mut Written) {
        self.descend(0, (0, 0), (make, rng), column);
    }

    fn descend(
        &self,
        depth: usize,
        (definition, repetition): (i16, i16),
        (make, rng): (&Make, &mut TestRng),
        column: &mut Written,
    ) {
        let Some(node) = self.chain.get(depth) else {
            column.push(definition, repetition);
            column.values.push(rng.random_range(0..self.variety));
            return;
        };
        let is_missing = rng.random_range(0..100) < make.missing;
        let own = self.chain[..=depth].iter();
        let own = own.filter(|node| **node == Repetition::REPEATED).count() as i16;
        match node {
            Repetition::REQUIRED => {
                self.descend(depth + 1, (definition, repetition), (make, rng), column);
            }
            _ if is_missing => column.push(definition, repetition),
            Repetition::OPTIONAL => {
                self.descend(depth + 1, (definition + 1, repetition), (make, rng), column);
            }
            Repetition::REPEATED => {
                for element in 0..rng.random_range(1..4) {
                    let repetition = if element == 0 { repetition } else { own };
                    self.descend(depth + 1, (definition + 1, repetition), (make, rng), column);
                }
            }
        }
    }
}

#[derive(Default)]
struct Written {
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    values: Vec<u64>,
}

impl Written {
    fn push(&mut self, definition: i16, repetition: i16) {
        self.definitions.push(definition);
        self.repetitions.push(repetition);
    }
}

fn bytes_of(number: u64) -> Vec<u8> {
    match number % 5 {
        0 => Vec::new(),
        1 => number.to_string().into_bytes(),
        2 => format!("a{number}@example.org").into_bytes(),
        3 => number.to_be_bytes().to_vec(),
        _ => format!("{number:032x}").into_bytes(),
    }
}

fn write_values(writer: &mut ColumnWriter<'_>, column: &Written, decimal: bool) {
    let (definitions, repetitions) = (Some(&column.definitions[..]), Some(&column.repetitions[..]));
    macro_rules! write {
        ($writer:expr, $make:expr) => {{
            let values: Vec<_> = column.values.iter().map($make).collect();
            $writer.write_batch(&values, definitions, repetitions).expect("written");
        }};
    }
    match writer {
        ColumnWriter::BoolColumnWriter(writer) => write!(writer, |&at| at % 2 == 1),
        ColumnWriter::Int32ColumnWriter(writer) => write!(writer, |&at| at as i32),
        ColumnWriter::Int64ColumnWriter(writer) => write!(writer, |&at| -(at as i64)),
        ColumnWriter::Int96ColumnWriter(writer) => write!(writer, |&at| {
            let mut value = Int96::new();
            value.set_data(at as u32, 0, 7);
            value
        }),
        ColumnWriter::FloatColumnWriter(writer) => write!(writer, |&at| at as f32 / 2.0),
        ColumnWriter::DoubleColumnWriter(writer) => write!(writer, |&at| at as f64 / 2.0),
        ColumnWriter::ByteArrayColumnWriter(writer) => write!(writer, |&at| {
            let bytes = if decimal { at.to_be_bytes()[5..].to_vec() } else { bytes_of(at) };
            ByteArray::from(bytes)
        }),
        ColumnWriter::FixedLenByteArrayColumnWriter(writer) => {
            let wide = writer.get_descriptor().type_length() == 16;
            write!(writer, |&at| {
                let bytes = if wide {
                    u128::from(at).to_be_bytes().to_vec()
                } else {
                    at.to_be_bytes()[5..].to_vec()
                };
                FixedLenByteArray::from(ByteArray::from(bytes))
            });
        }
    }
}

impl Make {
    fn properties(&self) -> WriterProperties {
        let version =
            if self.second { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let mut properties = WriterProperties::builder()
            .set_writer_version(version)
            .set_compression(self.codec)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(self.dictionary.is_some())
            .set_dictionary_page_size_limit(self.dictionary.unwrap_or(1))
            .set_data_page_row_count_limit(self.page_rows)
            .set_offset_index_disabled(!self.indexed)
            .set_write_batch_size(self.page_rows.min(50));
        for (at, column) in self.columns.iter().enumerate() {
            if let Some(encoding) = self.encoding(column) {
                let path: Vec<String> =
                    (0..column.chain.len()).map(|depth| column.name(at, depth)).collect();
                properties = properties.set_column_encoding(path.into(), encoding);
            }
        }
        properties.build()
    }

    /// The encoding, where the column's type has it.
    fn encoding(&self, column: &Shape) -> Option<Encoding> {
        let starts = |words: &[&str]| words.iter().any(|word| column.kind.starts_with(word));
        let fits = match self.encoding {
            Encoding::DELTA_BINARY_PACKED => starts(&["int32", "int64"]),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => starts(&["binary"]),
            Encoding::DELTA_BYTE_ARRAY => starts(&["binary", "fixed"]),
            Encoding::BYTE_STREAM_SPLIT => starts(&["int32", "int64", "float", "double", "fixed"]),
            Encoding::RLE => starts(&["boolean"]),
            _ => true,
        };
        fits.then_some(self.encoding)
    }

    fn write(&self, rng: &mut TestRng) -> Bytes {
        let columns: Vec<_> =
            self.columns.iter().enumerate().map(|(at, column)| column.schema(at)).collect();
        let schema = format!("message m {{ {} optional int32 other; }}", columns.join(" "));
        let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
        let properties = Arc::new(self.properties());
        let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).expect("a writer");
        for &rows in &self.groups {
            let mut group = file.next_row_group().expect("a row group");
            let other =
                Shape { chain: vec![Repetition::OPTIONAL], kind: "int32 other", variety: 3 };
            for shape in self.columns.iter().chain([&other]) {
                let mut column = Written::default();
                (0..rows).for_each(|_| shape.row(self, rng, &mut column));
                let mut writer = group.next_column().expect("a column").expect("a column");
                write_values(writer.untyped(), &column, shape.kind.contains("DECIMAL"));
                writer.close().expect("closed");
            }
            group.close().expect("closed");
        }
        file.into_inner().expect("written").into()
    }

    fn fields(&self, rng: &mut TestRng) -> BoundFields {
        let kinds = [
            IdentifierType::String,
            IdentifierType::Integer,
            IdentifierType::Uuid,
            IdentifierType::Email,
        ];
        let mut paths = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            for _ in 0..rng.random_range(1..3) {
                paths.push((column.path(at), kinds[rng.random_range(0..4)]));
            }
        }
        fields(&paths)
    }
}

fn seeded(seed: [u8; 32]) -> TestRng {
    TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &seed)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// G18: of any type, encoding, codec, page version and nesting, the quick way tells exactly
    /// what the typed reader tells, alone and with helpers.
    #[test]
    fn the_quick_way_tells_what_the_typed_reader_tells(make in makes(), seed: [u8; 32]) {
        let mut rng = seeded(seed);
        let file = make.write(&mut rng);
        let fields = make.fields(&mut rng);
        let expected = reference(&file, &fields).expect("readable");
        for helpers in [0, 2] {
            let told = quick(&file, &fields, helpers).expect("readable");
            prop_assert!(told == expected, "differs with {} helpers", helpers);
            prop_assert_eq!(told.pages, pages(&file, &fields));
        }
    }

    /// D13, G21: a file of which some bytes were changed ends in an error that is none of a panic,
    /// or is told as the typed reader tells it.
    #[test]
    fn broken_files_end_in_an_error(
        make in makes(),
        seed: [u8; 32],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut rng = seeded(seed);
        let mut file = make.write(&mut rng).to_vec();
        let fields = make.fields(&mut rng);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let file = Bytes::from(file);
        let expected = reference(&file, &fields);
        for helpers in [0, 2] {
            match quick(&file, &fields, helpers) {
                Ok(told) => if let Ok(expected) = &expected {
                    prop_assert!(told == *expected, "differs with {} helpers", helpers);
                },
                Err(FormatError::Unreadable(unreadable)) => {
                    let has_panicked = unreadable.reason.contains("gave up");
                    // The crate's own decoders may.
                    prop_assert!(!has_panicked || expected.is_err(), "a panic");
                }
                Err(other) => prop_assert!(matches!(other, FormatError::Source(_)), "{other}"),
            }
        }
    }
}

/// Two columns of many rows: one with a dictionary, one without; the second nests.
fn large() -> (Bytes, BoundFields) {
    let column =
        |chain: &[Repetition], kind, variety| Shape { chain: chain.to_vec(), kind, variety };
    let make = Make {
        columns: vec![
            column(&[Repetition::OPTIONAL], "binary v (UTF8)", 50),
            column(&[Repetition::REPEATED], "int64 v", 1_000_000),
        ],
        groups: vec![4000, 3000],
        codec: Compression::SNAPPY,
        encoding: Encoding::PLAIN,
        second: false,
        dictionary: Some(1000),
        page_rows: 100,
        indexed: true,
        missing: 10,
    };
    let paths = [(make.columns[0].path(0), IdentifierType::String)];
    let paths = [&paths[..], &[(make.columns[1].path(1), IdentifierType::Integer)]].concat();
    (make.write(&mut seeded([5; 32])), fields(&paths))
}

/// A sink that wants no more after some postings, or fails altogether.
struct Fickle {
    left: usize,
    panics: bool,
}

impl ScanSink for Fickle {
    fn posting(&mut self, _: RowPosting) -> Result<(), Stopped> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None if self.panics => panic!("of the sink"),
            None => return Err(Stopped),
        }
        Ok(())
    }

    fn gap(&mut self, _: RowGap) {}

    fn foreign_value(&mut self, _: RowNumber) {}
}

/// Whoever wants no more stops the helpers too; a panic of a sink leaves none behind.
#[test]
fn a_sink_that_gives_up_ends_the_scan() {
    let (file, fields) = large();
    let footer = Footer::read(&file).expect("a footer");
    let columns = columns(&footer, &fields).expect("columns");
    for (left, panics) in [(0, false), (1, false), (5000, false), (5000, true)] {
        let mut sink = Fickle { left, panics };
        let scan = || scan_with(3, &columns, (&file, &footer), &mut sink);
        match super::super::guarded(scan) {
            Err(FormatError::Stopped) => assert!(!panics),
            Err(error) => assert!(panics, "{error}"),
            Ok(()) => panic!("it went on"),
        }
    }
}

/// A source that fails from some byte on.
struct Failing(Bytes, u64);

impl Source for Failing {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, crate::format::SourceError> {
        if offset < self.1 {
            return Err(crate::format::SourceError::new("the store is away"));
        }
        self.0.read_at(offset, length)
    }
}

/// A store that fails makes no object unreadable.
#[test]
fn a_failing_store_is_told_as_such() {
    let (file, fields) = large();
    let footer = Footer::read(&file).expect("a footer");
    let columns = columns(&footer, &fields).expect("columns");
    let start = footer.groups[1].chunks[0].pages.start;
    let source = Failing(file, start);
    for helpers in [0, 2] {
        let scanned = scan_with(helpers, &columns, (&source, &footer), &mut Told::default());
        assert!(matches!(scanned, Err(FormatError::Source(_))), "{helpers}");
    }
}

/// Every file of the Apache corpus, broken ones too, is told as the typed reader tells it.
#[test]
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "tests find the corpus so")]
fn the_corpus_is_told_as_the_typed_reader_tells_it() {
    let root = std::env::var_os("LACUNA_CORPUS").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        std::path::PathBuf::from,
    );
    let root = root.join("parquet-testing");
    if !root.is_dir() {
        eprintln!("not run: there is no corpus at {}", root.display());
        return;
    }
    let mut folders = vec![root];
    let (mut compared, mut wrong) = (0, Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                let file = Bytes::from(std::fs::read(&path).expect("a readable file"));
                compared += compare(&file, &format!("{}", path.display()), &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(compared > 300, "{compared}");
}

/// Compares what both tell of each column of a file; how many could be read.
fn compare(file: &Bytes, name: &str, wrong: &mut Vec<String>) -> usize {
    let Ok(footer) = super::super::guarded(|| Footer::read(file)) else { return 0 };
    let one = fields(&[("x".to_owned(), IdentifierType::String)]);
    let two = fields(&[("x".to_owned(), IdentifierType::Integer)]);
    let mut compared = 0;
    // Each column of a large file takes seconds.
    for at in 0..footer.leaves.len().min(if file.len() > 30_000 { 3 } else { 100 }) {
        let both = one.iter().chain(two.iter()).collect();
        let columns = [Column { at, leaf: &footer.leaves[at], fields: both }];
        let finder = Finder::of(file, &footer, vec![(at, columns[0].fields.clone())]);
        let expected = super::super::guarded(|| told_by(&finder, &footer));
        for helpers in [0, 2] {
            let told = super::super::guarded(|| {
                let mut told = Told::default();
                scan_with(helpers, &columns, (file, &footer), &mut told).map(|()| told)
            });
            match (&told, &expected) {
                (Ok(told), Ok(expected)) if told == expected => compared += 1,
                (Err(_), Err(_)) => {}
                (Ok(_), Ok(_)) => wrong.push(format!("{name} {at}: other postings")),
                (Ok(_), Err(error)) => wrong.push(format!("{name} {at}: not refused: {error}")),
                (Err(error), Ok(_)) => wrong.push(format!("{name} {at}: {error}")),
            }
        }
    }
    compared
}
