//! CSV of every dialect and oddity, of which some people's rows are erased.
#![no_main]

use bytes::Bytes;
use lacuna::domain::dataset::{CsvDialect, FormatName};
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::{panics, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let dialect = CsvDialect {
        delimiter: *choices.pick(&[Some(b','), None, Some(b';'), Some(b'\t'), Some(b'|')]),
        quote: *choices.pick(b"\"\"'"),
        escape: *choices.pick(&[None, None, Some(b'\\')]),
        header: choices.below(4) > 0,
    };
    let fields = text::csv_fields(dialect.header);
    let reading = text::reading(FormatName::Csv, dialect);
    let content = text::csv(&mut choices);
    let _ = text::erase(&Bytes::from(content), (&reading, &fields), &mut choices);
});
