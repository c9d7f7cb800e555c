//! Engines that share no code with this one: files written by pyarrow, compared by pyarrow and
//! DuckDB.

use std::collections::BTreeSet;

use bytes::Bytes;
use lacuna::domain::identifier::IdentifierType;

use super::support::*;
use crate::support::python;

/// G18, G19, G20, P1 to P8, P16, P18: other engines see every cell outside the blanks unchanged,
/// the blanks as null, and prune by statistics that are true.
#[test]
fn pyarrow_and_duckdb_agree_cell_by_cell() {
    let folder = tempfile::tempdir().expect("a folder");
    python::run("parquet_check.py", &["generate".as_ref(), folder.path().as_os_str()]);
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let old: Bytes = std::fs::read(&path).expect("a file").into();
        let subjects = ["u3", "u77"].map(|text| digest(text, IdentifierType::String));
        let fields = fields(&["id"], IdentifierType::String);
        let blanking = blank(&old, &fields, subjects, everything()).expect("readable");
        let rows: Vec<u64> = blanking.blanked.expect("matches").iter().map(|row| row.0).collect();
        assert_eq!(rows.len(), 60);
        let new = apply(&old, blanking.edit.expect("an edit")).expect("an edit that succeeds");
        assert_blanked(&old, &new, &rows.iter().copied().collect::<BTreeSet<_>>());
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let beside = |suffix: &str| path.with_file_name(format!("{name}.{suffix}"));
        std::fs::write(beside("blanked.parquet"), &new).expect("written");
        std::fs::write(beside("rows"), format!("{rows:?}")).expect("written");
    }
    python::run("parquet_check.py", &["check".as_ref(), folder.path().as_os_str()]);
}
