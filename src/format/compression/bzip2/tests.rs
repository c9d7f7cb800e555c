use std::io::{Read as _, Write as _};

use proptest::prelude::*;

use super::*;
use crate::domain::edit::Segment;
use crate::format::SharedSource;
use crate::format::compression::deflate::tests::text;
use crate::format::compression::splice::Answer;
use crate::format::compression::splice::tests::{changed, patches};
use crate::format::compression::{Hint, MemberStart};
use crate::format::text::Patch;

fn compressed(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn plain(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    ::bzip2::read::MultiBzDecoder::new(stored).read_to_end(&mut plain).expect("bzip2");
    plain
}

/// Reads it as an edit does; answers the content and the streams in it.
fn traced(stored: &[u8], piece: usize) -> (Streams<bytes::Bytes>, Vec<u8>, Vec<MemberStart>) {
    let input = Input::new(bytes::Bytes::copy_from_slice(stored), 0, piece);
    let mut streams = Streams::new(input);
    streams.trace();
    let (mut content, mut starts) = (Vec::new(), Vec::new());
    while let Some(stored) = streams.begin().expect("readable") {
        starts.push(MemberStart { stored, content: content.len() as u64 });
        while streams.read(&mut content, 1).expect("readable") {}
    }
    (streams, content, starts)
}

/// Edits and reads the new object again; answers how many old bytes are in it.
fn check(stored: &[u8], content: &[u8], chosen: &[(usize, u8)]) -> u64 {
    let (mut streams, read, starts) = traced(stored, 100_000);
    assert!(read == content);
    let mut changes = patches(content, chosen);
    let mut hints: Vec<Hint> = Vec::new();
    for change in &mut changes {
        let start = change.range.start;
        let within = starts.iter().rev().find(|stream| stream.content <= start);
        change.member = *within.expect("a stream");
        let hint = streams.checkpoint(change.member.content, start);
        hints.extend(hint.map(|hint| (change.member, hint)));
    }
    let mut copied = 0;
    for hints in [&hints[..], &[]] {
        let source: SharedSource = Arc::new(bytes::Bytes::copy_from_slice(stored));
        let spliced = match splice(&source, &changes, hints).expect("readable") {
            Answer::Spliced(spliced) => spliced,
            Answer::Refused(reason) => panic!("{reason}"),
        };
        let mut new = Vec::new();
        copied = 0;
        for segment in &spliced.segments {
            match segment {
                Segment::Copy(range) => {
                    new.extend_from_slice(&stored[range.start as usize..range.end as usize]);
                    copied += range.end - range.start;
                }
                Segment::Bytes(bytes) => new.extend_from_slice(bytes),
            }
        }
        assert!(plain(&new) == changed(content, &changes), "another content");
    }
    copied
}

/// Blocks without a change are copied, at whatever bit they begin.
#[test]
fn blocks_without_a_change_are_copied() {
    for seed in 0..12 {
        let content = text(950_000, seed);
        let stored = compressed(&content, 1);
        let copied = check(&stored, &content, &[(450_000 + 7919 * seed as usize, seed as u8)]);
        assert!(copied > stored.len() as u64 / 2, "{copied} of {}", stored.len());
    }
}

/// G27: other streams are copied, and a row may lie in two blocks.
#[test]
fn each_stream_is_edited_by_itself() {
    let contents = [text(250_000, 1), text(100, 2), Vec::new(), text(350_000, 3)];
    let streams: Vec<u8> = contents.iter().flat_map(|it| compressed(it, 1)).collect();
    let every: Vec<(usize, u8)> = (0..40).map(|it| (it * 8_000, it as u8)).collect();
    check(&streams, &contents.concat(), &every);
}

/// G28: cut off anywhere, a stream is an error as well when it is read block by block.
#[test]
fn a_stream_that_ends_early_is_an_error() {
    let stored = compressed(&text(150_000, 3), 1);
    for end in (1..stored.len()).step_by(stored.len() / 200) {
        let input = Input::new(bytes::Bytes::copy_from_slice(&stored[..end]), 0, 1000);
        let mut streams = Streams::new(input);
        streams.trace();
        let mut content = Vec::new();
        let outcome = streams.begin().and_then(|_| {
            while streams.read(&mut content, 1)? {}
            Ok(())
        });
        assert!(outcome.is_err(), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Against a naive oracle, as a library reads it.
    #[test]
    fn an_edit_by_blocks_changes_just_the_content(
        (length, seed) in (1usize..500_000, any::<u64>()),
        level in 1u32..4,
        chosen in prop::collection::vec((any::<usize>(), any::<u8>()), 1..30),
    ) {
        let content = text(length, seed);
        let stored = compressed(&content, level);
        if !patches(&content, &chosen).is_empty() {
            check(&stored, &content, &chosen);
        }
    }

    /// Whatever follows a header, nothing panics.
    #[test]
    fn any_stream_is_edited_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let head = b"BZh1\x31\x41\x59\x26\x53\x59";
        let stored = bytes::Bytes::from([&head[..], &bytes].concat());
        let mut streams = Streams::new(Input::new(stored.clone(), 0, 1000));
        streams.trace();
        let mut content = Vec::new();
        let _ = streams.begin().and_then(|_| streams.read(&mut content, 1));
        let source: SharedSource = Arc::new(stored);
        let change = Patch {
            range: 0..1,
            bytes: bytes::Bytes::new(),
            member: MemberStart::default(),
        };
        let _ = splice(&source, &[change], &[]);
    }
}
