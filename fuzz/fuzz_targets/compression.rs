//! Text in compressed streams of every codec and make. A good one is erased from, and read by others
//! then; of a damaged one Lacuna reads what others read, or says that it cannot.
#![no_main]

use bytes::Bytes;
use lacuna::domain::dataset::{CsvDialect, FormatName};
use lacuna::format::{Except, detect};
use lacuna_fuzz::choices::Choices;
use lacuna_fuzz::people::scan;
use lacuna_fuzz::{panics, streams, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: panics::only_ours(), |bytes: &[u8]| {
    let mut choices = Choices::new(bytes);
    let codec = *choices.pick(&streams::CODECS);
    let is_damaged = choices.coin();
    let count = [choices.below(30), choices.below(2000)][usize::from(choices.below(20) == 0)];
    let mut content = text::lines(count, &mut choices);
    if choices.below(3) == 0 {
        content.extend(choices.rest());
    }
    let mut stored = streams::compress(codec, &content, &mut choices);
    let fields = text::json_fields();
    let reading = text::reading(FormatName::Jsonl, CsvDialect::default());
    if !is_damaged {
        assert!(streams::decompress(codec, &stored).as_ref() == Some(&content), "a good stream");
        let outcome = text::erase(&Bytes::from(stored), (&reading, &fields), &mut choices);
        let plain = text::erase(&Bytes::from(content), (&reading, &fields), &mut choices);
        if let (Err(error), Ok(_)) = (outcome, plain) {
            panic!("a good stream cannot be read: {error}");
        }
        return;
    }
    streams::damage(&mut stored, &mut choices);
    let stored = Bytes::from(stored);
    let Ok(opened) = detect::open(&stored, &reading, &fields) else { return };
    let Ok(found) = scan(&*opened.format, &stored, &fields) else { return };
    let Some(plain) = streams::decompress(opened.compression, &stored) else {
        panic!("{} is read that others cannot read", opened.compression);
    };
    let plain = Bytes::from(plain);
    let Ok(again) = detect::open(&plain, &reading, &fields) else { return };
    let print = again.format.fingerprint(&plain, Except::Nothing).expect("as it was when packed");
    assert_eq!(opened.format.fingerprint(&stored, Except::Nothing).expect("scanned"), print);
    assert_eq!(scan(&*again.format, &plain, &fields).expect("readable").postings, found.postings);
    let _ = text::erase(&stored, (&reading, &fields), &mut choices);
});
