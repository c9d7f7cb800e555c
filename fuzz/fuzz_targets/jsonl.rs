//! JSON lines of every oddity, of which some people's rows are erased; and another parser's verdict.
#![no_main]

use bytes::Bytes;
use lacuna::domain::dataset::{CsvDialect, FormatName};
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::{panics, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let fields = text::json_fields();
    let content = text::json(&mut choices);
    text::compare_with_serde(&content, &fields);
    let reading = text::reading(FormatName::Jsonl, CsvDialect::default());
    let _ = text::erase(&Bytes::from(content), (&reading, &fields), &mut choices);
});
