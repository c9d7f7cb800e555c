//! Text in gzip whose deflate blocks are made as no other encoder would make them, and as the usual
//! library makes them. Some people's rows are erased, and the usual library reads the rest.
#![no_main]

use bytes::Bytes;
use lacuna::domain::dataset::{Compression, CsvDialect, FormatName};
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::{deflate, panics, streams, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let most = *choices.pick(&[20, 20, 200, 200, 3000]);
    let count = 1 + choices.any(most);
    let content = text::lines(count, &mut choices);
    let (first, second) = content.split_at(match choices.below(3) {
        0 => choices.any(content.len() + 1),
        _ => content.len(),
    });
    let mut stored = Vec::new();
    for part in [first, second].into_iter().filter(|part| !part.is_empty()) {
        let deflated = match choices.below(3) {
            0 => streams::deflate(part, &mut choices),
            _ => deflate::encode(part, &mut choices),
        };
        stored.extend(streams::member(&deflated, part, &mut choices));
    }
    let read = streams::decompress(Compression::Gzip, &stored);
    assert!(read.as_ref() == Some(&content), "a good stream");
    let reading = text::reading(FormatName::Jsonl, CsvDialect::default());
    let fields = text::json_fields();
    let outcome = text::erase(&Bytes::from(stored), (&reading, &fields), &mut choices);
    let opened = outcome.expect("a good stream is read");
    assert_eq!(opened.compression, Compression::Gzip);
});
