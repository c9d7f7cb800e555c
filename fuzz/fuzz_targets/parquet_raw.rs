//! Any bytes as a Parquet file: those of the input, or of a good file with some damage. An error or a
//! valid answer; what could be read before is still there.
#![no_main]

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use lacuna::domain::identifier::IdentifierType;
use lacuna::format::parquet::ParquetFormat;
use lacuna::format::{Except, Format};
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::people::{apply, digest, fields, order, scan};
use lacuna_fuzz::{panics, parquet_file, streams};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    if bytes.starts_with(b"PAR1") {
        exercise(&Bytes::copy_from_slice(bytes), ("id", IdentifierType::String));
        return;
    }
    let mut choices = Choices::new(bytes);
    let made = parquet_file::make(&mut choices);
    let mut damaged = made.bytes.to_vec();
    streams::damage(&mut damaged, &mut choices);
    exercise(&damaged.into(), (made.path, made.kind));
});

fn exercise(file: &Bytes, field: (&str, IdentifierType)) {
    let format = ParquetFormat::new();
    let fields = fields(&[field]);
    let subject = digest(parquet_file::SUBJECT.as_bytes(), field.1).expect("an identifier");
    let found = scan(&format, file, &fields);
    let rows = found.as_ref().map_or(8, |found| found.rows).min(500);
    let landmarks = found.map(|found| found.landmarks).unwrap_or_default();
    let print = |file: &Bytes, except: Except<'_>| format.fingerprint(file, except).ok();
    let order = order(&fields, &HashSet::from([subject]), 0..rows, (Default::default(), landmarks));
    if let Some(order) = &order {
        drop(format.show(file, order));
    }
    if let Some(order) = order
        && let Ok(blanking) = format.blank(Arc::new(file.clone()), &order)
        && let Some(edit) = blanking.edit
        && let Ok(new) = apply(file, edit)
    {
        let except = blanking.blanked.as_ref().into();
        if let Some(before) = print(file, except) {
            assert_eq!(print(&new, except), Some(before), "everybody else's rows");
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
