//! The Apache parquet-testing corpus: every readable file is blanked and compared, every other ends
//! in a named error.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::identifier::IdentifierType;
use lacuna::domain::row::{RowNumber, RowSet};
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{Except, Format, FormatError};

use super::support::*;

/// The corpus, or `None` where it is not there; which is said.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "tests find the corpus so")]
fn corpus(folder: &str) -> Option<Vec<PathBuf>> {
    let root = std::env::var_os("LACUNA_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"),
        PathBuf::from,
    );
    let root = root.join("parquet-testing").join(folder);
    if !root.is_dir() {
        eprintln!("not run: there is no corpus at {}", root.display());
        return None;
    }
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Some(files)
}

fn read(path: &Path) -> Bytes {
    std::fs::read(path).expect("a readable file").into()
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// Paths into the files of the corpus that hold nothing at the top level.
const NESTED: [(&str, &str); 18] = [
    ("incorrect_map_schema.parquet", "my_map[*].key"),
    ("large_string_map.brotli.parquet", "arr[*].key"),
    ("list_columns.parquet", "int64_list[*]"),
    ("map_no_value.parquet", "my_map[*].key"),
    ("nested_lists.snappy.parquet", "b"),
    ("nested_maps.snappy.parquet", "b"),
    ("nested_structs.rust.parquet", "roll_num.min"),
    ("nonnullable.impala.parquet", "ID"),
    ("null_list.parquet", "emptylist[*]"),
    ("old_list_structure.parquet", "a[*][*]"),
    ("repeated_no_annotation.parquet", "phoneNumbers.phone[*].number"),
    ("repeated_primitive_no_list.parquet", "Int32_list[*]"),
    ("rle_boolean_encoding.parquet", "datatype_boolean"),
    ("int96_from_spark.parquet", "a"),
    ("nulls.snappy.parquet", "b_struct.b_c_int"),
    ("overflow_i16_page_cnt.parquet", "inc"),
    ("nan_in_stats.parquet", "x"),
    ("single_nan.parquet", "mycol"),
];

/// Files that cannot be read, and what is said of them.
const UNREADABLE: [(&str, &str); 4] = [
    ("datapage_v1-corrupt-checksum.parquet", "cannot be decoded"),
    ("rle-dict-uncompressed-corrupt-checksum.parquet", "cannot be decoded"),
    ("nation.dict-malformed.parquet", "beyond its column chunk"),
    ("large_string_map.brotli.parquet", "beyond 1 GiB"),
];

/// G18, G20, I7, I10, P6, P7: all types, codecs and encodings, without a cast, a lost row or a
/// changed stranger.
#[test]
fn every_file_of_the_corpus_is_blanked_exactly() {
    let Some(files) = corpus("data") else { return };
    let (mut blanked_files, mut wrong) = (0, Vec::new());
    for path in files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "parquet")) {
        let (file, name) = (read(path), name(path));
        let nested =
            NESTED.iter().find(|(file, _)| *file == name).map(|(_, path)| path.to_string());
        let columns = nested.into_iter().chain(flat_columns(&file));
        // Each column of a large file takes seconds.
        for column in columns.take(if file.len() > 30_000 { 2 } else { 100 }) {
            match std::panic::catch_unwind(|| blank_some(&file, &column)) {
                Ok(Ok(blanked)) => blanked_files += usize::from(blanked),
                Ok(Err(error)) => {
                    let known = UNREADABLE.iter().find(|(file, _)| *file == name);
                    if !known.is_some_and(|(_, reason)| error.to_string().contains(reason)) {
                        wrong.push(format!("{name} {column}: {error}"));
                    }
                }
                Err(_) => wrong.push(format!("{name} {column}: see above")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(blanked_files > 100, "{blanked_files}");
}

/// Blanks a third of the identifiers that stand in a column.
fn blank_some(
    file: &Bytes,
    column: &str,
) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let fields = fields(&[column], IdentifierType::String);
    let told = scan(file, &fields)?;
    let digests: BTreeSet<_> = told.postings.iter().map(|posting| posting.digest).collect();
    let subjects: HashSet<_> = digests.into_iter().step_by(3).collect();
    if subjects.is_empty() {
        return Ok(false);
    }
    let hit = told.postings.iter().filter(|posting| subjects.contains(&posting.digest));
    let hit: BTreeSet<u64> = hit.map(|posting| posting.row.0).collect();
    let blanking = blank(file, &fields, subjects.iter().copied(), everything())?;
    let rows = blanking.blanked.expect("rows that match");
    assert_eq!(rows.iter().map(|row| row.0).collect::<BTreeSet<_>>(), hit);
    assert_eq!(blanking.unmatched.len() as u64, told.rows - hit.len() as u64);
    let new = apply(file, blanking.edit.expect("an edit"))?;
    assert_blanked(file, &new, &hit);
    assert_copied(file, &new, &hit);
    again(&new, &fields, &subjects, told.rows);
    let format = ParquetFormat::new();
    let except = RowSet::new(hit.iter().copied().map(RowNumber));
    let print =
        |file: &Bytes, except| format.fingerprint(file, Except::from(except)).expect("readable");
    assert_eq!(print(file, except.as_ref()), print(&new, except.as_ref()));
    assert_ne!(print(file, None), print(&new, None));
    Ok(true)
}

/// What was blanked holds nobody, and blanking it again changes nothing.
fn again(
    new: &Bytes,
    fields: &lacuna::domain::field::BoundFields,
    subjects: &HashSet<lacuna::domain::identifier::IdentifierDigest>,
    rows: u64,
) {
    let told = scan(new, fields).expect("what blank writes, scan reads");
    assert_eq!(told.rows, rows);
    assert!(told.postings.iter().all(|posting| !subjects.contains(&posting.digest)));
    let second = blank(new, fields, subjects.iter().copied(), everything()).expect("readable");
    assert!(second.edit.is_none() && second.blanked.is_none());
}

/// G21, D13: corrupt files end in an error that names what is wrong.
#[test]
fn every_bad_file_of_the_corpus_ends_in_an_error() {
    let Some(files) = corpus("bad_data") else { return };
    for path in files {
        let (file, name) = (read(&path), name(&path));
        let format = ParquetFormat::new();
        let print = format.fingerprint(&file, Except::Nothing);
        // Its dictionary indices are 0 bits wide, which the crate reads as "the first entry".
        if name != "ARROW-GH-43605.parquet" {
            assert!(matches!(print, Err(FormatError::Unreadable(_))), "{name}: {print:?}");
        }
        for column in flat_columns(&file) {
            drop(blank_some(&file, &column));
        }
        drop(format.compact(Arc::new(file)));
    }
}

/// G22: encrypted files are named gaps, also where the footer can be read.
#[test]
fn every_encrypted_file_of_the_corpus_is_a_named_gap() {
    let Some(files) = corpus("data") else { return };
    let encrypted = files.iter().filter(|path| name(path).ends_with(".parquet.encrypted"));
    let mut count = 0;
    for path in encrypted {
        let error =
            ParquetFormat::new().fingerprint(&read(path), Except::Nothing).expect_err("encrypted");
        assert!(error.to_string().contains("encrypted"), "{}: {error}", name(path));
        count += 1;
    }
    assert!(count >= 7, "{count}");
}
