use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::domain::edit::Segment;
use crate::format::SharedSource;
use crate::format::text::{KnownPatches, Patch};

mod codecs;

const GZIP: Compression = Compression::Gzip;
const ZSTD: Compression = Compression::Zstd;

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

/// A member with everything that a header can hold.
fn gzip_with_header(content: &[u8], name: &str, comment: &str) -> Vec<u8> {
    let plain = gzip(content);
    let mut member = vec![0x1f, 0x8b, 8, 0b1_1110, 1, 2, 3, 4, 2, 3];
    member.extend_from_slice(&[5, 0]);
    member.extend_from_slice(b"extra");
    for text in [name, comment] {
        member.extend_from_slice(text.as_bytes());
        member.push(0);
    }
    let mut crc = flate2::Crc::new();
    crc.update(&member);
    member.extend_from_slice(&(crc.sum() as u16).to_le_bytes());
    member.extend_from_slice(&plain[10..]);
    member
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(content, 3).expect("to memory")
}

fn zstd_streamed(content: &[u8], checksum: bool) -> Vec<u8> {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 3).expect("an encoder");
    encoder.include_checksum(checksum).expect("a flag");
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn skippable(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_le_bytes();
    [&0x184d_2a53u32.to_le_bytes()[..], &length, content].concat()
}

/// Reads everything; answers the content and where members begin.
fn read(
    stored: &[u8],
    compression: Compression,
    piece_bytes: usize,
) -> Result<(Vec<u8>, Vec<MemberStart>), FormatError> {
    let input = Input::new(Bytes::copy_from_slice(stored), 0, piece_bytes);
    let mut content = Content::new(input, compression, MemberStart::default())?;
    let (mut bytes, mut members) = (Vec::new(), Vec::new());
    while let Some(member) = content.begin()? {
        members.push(member);
        while content.read(&mut bytes, 50)? {}
    }
    assert_eq!(content.position(), bytes.len() as u64);
    Ok((bytes, members))
}

fn reason(outcome: Result<(Vec<u8>, Vec<MemberStart>), FormatError>) -> String {
    outcome.expect_err("it is refused").to_string()
}

/// The new object, and what of the old one was copied into it.
fn edit(
    stored: &[u8],
    compression: Compression,
    patches: Vec<Patch>,
) -> (Vec<u8>, Vec<std::ops::Range<u64>>) {
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(stored));
    let (mut new, mut copied) = (Vec::new(), Vec::new());
    let segments = Recompress::new(source, compression, KnownPatches::new(patches));
    for segment in segments.expect("the source can be read") {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => {
                new.extend_from_slice(&stored[range.start as usize..range.end as usize]);
                copied.push(range);
            }
            Segment::Bytes(bytes) => new.extend_from_slice(&bytes),
        }
    }
    (new, copied)
}

fn patch(range: std::ops::Range<u64>, bytes: &str, members: &[MemberStart]) -> Patch {
    let before = |member: &&MemberStart| member.content <= range.start;
    let member = *members.iter().rev().find(before).expect("a member");
    Patch { range, bytes: Bytes::copy_from_slice(bytes.as_bytes()), member }
}

/// G26, G31: headers of any shape are read past, whatever the pieces.
#[test]
fn every_member_of_any_header_is_read() {
    let stored = [gzip_with_header(b"one ", "name", "comment"), gzip(b""), gzip(b"two")].concat();
    for piece_bytes in [1, 2, 7, 1000] {
        let (content, members) = read(&stored, GZIP, piece_bytes).expect("it is gzip");
        assert_eq!(content, b"one two");
        assert_eq!(members.len(), 3);
    }
}

/// G27: frames with and without length and checksum, skippable frames before, between and after.
#[test]
fn every_frame_is_read() {
    let stored = [
        skippable(b"before"),
        zstd(b"one "),
        skippable(b""),
        zstd_streamed(b"two", true),
        zstd_streamed(b"", false),
        skippable(b"after"),
    ]
    .concat();
    for piece_bytes in [1, 5, 1000] {
        let (content, members) = read(&stored, ZSTD, piece_bytes).expect("it is zstd");
        assert_eq!(content, b"one two");
        assert_eq!(members.len(), 3);
        assert_eq!(members[0].stored, 14);
    }
}

/// G28: cut off at any byte but the end of a member, a stream is an error, never an early end.
#[test]
fn a_stream_that_ends_early_is_an_error() {
    let streams = [
        (GZIP, gzip_with_header(b"first content", "a", "b"), gzip(b"second content")),
        (ZSTD, zstd_streamed(b"first content", true), zstd(b"second content")),
    ];
    for (compression, first, second) in streams {
        let stored = [&first[..], &second].concat();
        for end in (1..stored.len()).filter(|&end| end != first.len()) {
            let outcome = read(&stored[..end], compression, 16);
            let reason = reason(outcome);
            assert!(reason.contains("stream ends early"), "{compression} {end}: {reason}");
        }
    }
}

/// G28: a flipped bit is an error, or changes nothing.
#[test]
fn a_flipped_bit_never_changes_content() {
    let content = b"some content that repeats, some content that repeats";
    let streams = [
        (GZIP, gzip_with_header(content, "name", "comment")),
        (ZSTD, zstd_streamed(content, true)),
    ];
    for (compression, stored) in streams {
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok((read, _)) = read(&damaged, compression, 1000) {
                // A frame that became a skippable one holds nothing.
                assert!(read == content || read.is_empty(), "{compression} bit {bit}");
                assert!(read == content || damaged[..4] != stored[..4], "{compression} bit {bit}");
            }
        }
    }
}

/// G28: checksum and length of a member are both held against its content.
#[test]
fn a_trailer_is_checked() {
    let stored = gzip(b"content");
    for (from_end, name) in [(8, "checksum"), (4, "length")] {
        let mut damaged = stored.clone();
        damaged[stored.len() - from_end] ^= 1;
        assert!(reason(read(&damaged, GZIP, 1000)).contains(name));
    }
}

/// G28: what follows the last member is padding of zeros, or an error.
#[test]
fn garbage_after_the_last_member_is_an_error() {
    let member = gzip(b"content");
    let padded = [&member[..], &[0; 100]].concat();
    assert_eq!(read(&padded, GZIP, 16).expect("padding").0, b"content");
    for garbage in [&b"garbage"[..], &[0, 0, 1], &[0x1f, 0x8b, 9, 0, 0, 0, 0, 0, 0, 0]] {
        let stored = [&member[..], garbage].concat();
        assert!(read(&stored, GZIP, 16).is_err());
    }
    for garbage in [&b"garbage"[..], &[0; 10]] {
        let stored = [&zstd(b"content")[..], garbage].concat();
        assert!(reason(read(&stored, ZSTD, 16)).contains("no zstd frame"));
    }
}

/// G27, G29: a frame that needs a dictionary, or more memory than is given, is refused by name.
#[test]
fn a_frame_of_unreasonable_demands_is_refused() {
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0];
    assert!(reason(read(&window, ZSTD, 1000)).contains("128 MiB"));
    let huge = [0x28, 0xb5, 0x2f, 0xfd, 0b1110_0000, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0];
    assert!(reason(read(&huge, ZSTD, 1000)).contains("128 MiB"));
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0];
    assert!(reason(read(&dictionary, ZSTD, 1000)).contains("dictionary"));
}

/// G29: a few kilobytes that expand to terabytes are given up on.
#[test]
fn a_bomb_meets_the_cap() {
    // Blocks of 128 KiB in four bytes each (RFC 8878, 3.1.1.2): run-length, not the last.
    let block = (((128u32 << 10) << 3) | 1 << 1).to_le_bytes();
    let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
    for _ in 0..20_000 {
        bomb.extend_from_slice(&[block[0], block[1], block[2], b'\n']);
    }
    let input = Input::new(Bytes::from(bomb), 0, 4096);
    let mut content = Content::new(input, ZSTD, MemberStart::default()).expect("a decoder");
    content.begin().expect("a frame");
    let mut bytes = Vec::new();
    let refused = loop {
        bytes.clear();
        match content.read(&mut bytes, 1 << 20) {
            Ok(goes_on) => assert!(goes_on, "the cap is met first"),
            Err(error) => break error.to_string(),
        }
        assert!(bytes.capacity() <= 4 << 20, "a piece is a piece");
    };
    assert!(refused.contains("expands more than"), "{refused}");
    assert!(content.position() <= EXPANSION_FREE_BYTES + (4 << 20));
}

/// Members and frames without a change are the bytes they were.
#[test]
fn what_is_not_touched_is_copied() {
    let pieces = [b"one ", b"two ", b"six ", b"ten "];
    for (compression, compress) in [(GZIP, gzip as Compress), (ZSTD, zstd)] {
        let members: Vec<Vec<u8>> = pieces.iter().map(|piece| compress(*piece)).collect();
        let stored =
            [&members.concat()[..], if compression == GZIP { &[0; 5] } else { &[] }].concat();
        let (_, starts) = read(&stored, compression, 1000).expect("readable");
        let (new, copied) = edit(&stored, compression, vec![patch(9..11, "ev", &starts)]);
        assert_eq!(read(&new, compression, 7).expect("readable").0, b"one two sev ten ");
        let touched = starts[2].stored..starts[3].stored;
        assert_eq!(copied, [0..touched.start, touched.end..stored.len() as u64]);
    }
}

/// G31: a rewritten member keeps time and system, and neither name, comment nor extra field.
#[test]
fn a_rewritten_header_names_nobody() {
    let stored = gzip_with_header(b"one two", "ann-canary.csv", "canary");
    let (new, _) = edit(&stored, GZIP, vec![patch(0..3, "1", &[MemberStart::default()])]);
    assert_eq!(read(&new, GZIP, 1000).expect("readable").0, b"1 two");
    assert_eq!(new[..10], [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3]);
    assert!(!new.windows(6).any(|window| window == b"canary"));
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&new[..]).read_to_end(&mut plain).expect("gzip for others too");
}

/// Readers that ask a frame for its content's length still get it, and a checksum stays one.
#[test]
fn a_rewritten_frame_says_what_the_old_one_said() {
    let stored = [zstd(b"one two "), zstd_streamed(b"six ten", true)].concat();
    let (_, starts) = read(&stored, ZSTD, 1000).expect("readable");
    // The second change reaches over the end of the first frame.
    let patches = vec![patch(0..3, "eleven", &starts), patch(4..10, "x", &starts)];
    let (new, _) = edit(&stored, ZSTD, patches);
    let (content, frames) = read(&new, ZSTD, 1000).expect("readable");
    assert_eq!(content, b"eleven xx ten");
    let first = &new[..frames[1].stored as usize];
    assert_eq!(::zstd::bulk::decompress(first, 8).expect("its length is known"), b"eleven x");
    let mut damaged = new.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(read(&damaged, ZSTD, 1000).is_err(), "the checksum is there");
}

/// A seek table holds lengths that are not true any more: it goes. Other skippable frames stay.
#[test]
fn a_seek_table_goes_with_the_lengths_it_holds() {
    let frames = [zstd(b"one "), skippable(b"kept"), zstd(b"two ")];
    let mut table = 0x184d_2a5eu32.to_le_bytes().to_vec();
    table.extend_from_slice(&25u32.to_le_bytes());
    table.extend_from_slice(&[0; 16]);
    table.extend_from_slice(&[2, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f]);
    let stored = [frames.concat(), table].concat();
    let (_, starts) = read(&stored, ZSTD, 1000).expect("readable");
    // One change over both frames: the skippable one between them is copied.
    let (new, copied) = edit(&stored, ZSTD, vec![patch(2..6, "", &starts)]);
    assert_eq!(read(&new, ZSTD, 1000).expect("readable").0, b"ono ");
    let kept = frames[0].len() as u64;
    assert_eq!(copied, vec![kept..kept + 12]);
    assert!(!new.ends_with(&[0xb1, 0xea, 0x92, 0x8f]));
}

/// Counts the bytes that are asked for at once.
struct Metered {
    bytes: Bytes,
    largest: AtomicUsize,
}

impl Source for Metered {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        self.largest.fetch_max(length, Ordering::Relaxed);
        self.bytes.read_at(offset, length)
    }
}

/// An edit of a large object passes in pieces.
#[test]
fn a_large_object_passes_in_pieces() {
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    let content: Vec<u8> = (0..8 << 20).map(|_| noise()).collect();
    for (compression, stored) in [(GZIP, gzip(&content)), (ZSTD, zstd(&content))] {
        let source = Arc::new(Metered { bytes: stored.into(), largest: AtomicUsize::new(0) });
        let patches = vec![patch(5..6, "!", &[MemberStart::default()])];
        let edit = Recompress::new(source.clone(), compression, KnownPatches::new(patches));
        let mut longest = 0;
        for segment in edit.expect("readable") {
            longest = longest.max(segment.expect("the edit is made").size_bytes());
        }
        assert!(longest <= 1 << 20, "{compression}: {longest}");
        assert!(source.largest.load(Ordering::Relaxed) <= PIECE_BYTES);
    }
}

type Compress = fn(&[u8]) -> Vec<u8>;

#[derive(Clone, Debug)]
struct Case {
    content: Vec<u8>,
    cuts: Vec<usize>,
    ranges: Vec<(usize, usize, String)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let content = prop::collection::vec(prop::sample::select(b"abc\n".to_vec()), 1..200);
    content.prop_flat_map(|content| {
        let length = content.len();
        let cuts = prop::collection::vec(0..length, 0..8);
        let ranges = prop::collection::vec((0..length, 1..30usize, "[xyz]{0,9}"), 0..6);
        (Just(content), cuts, ranges).prop_map(|(content, cuts, ranges)| Case {
            content,
            cuts,
            ranges,
        })
    })
}

/// Changes the content and reads it again.
fn check_edit(
    case: &Case,
    compression: Compression,
    compress: Compress,
) -> Result<(), TestCaseError> {
    let mut cuts = case.cuts.clone();
    cuts.extend([0, case.content.len()]);
    cuts.sort_unstable();
    let members = cuts.windows(2).map(|pair| compress(&case.content[pair[0]..pair[1]]));
    let stored: Vec<u8> = members.flatten().collect();
    let (content, starts) = read(&stored, compression, 11).expect("readable");
    prop_assert_eq!(&content, &case.content);

    let mut ranges = case.ranges.clone();
    ranges.sort();
    let (mut patches, mut naive, mut at) = (Vec::new(), Vec::new(), 0);
    for (start, length, text) in ranges {
        let end = (start + length).min(content.len());
        if start < at || start == end {
            continue;
        }
        naive.extend_from_slice(&content[at..start]);
        naive.extend_from_slice(text.as_bytes());
        at = end;
        patches.push(patch(start as u64..end as u64, &text, &starts));
    }
    naive.extend_from_slice(&content[at..]);
    let (new, _) = edit(&stored, compression, patches);
    prop_assert_eq!(read(&new, compression, 1000).expect("readable").0, naive);
    Ok(())
}

proptest! {
    /// Against a naive oracle: change the content, whatever members it is cut into.
    #[test]
    fn an_edit_changes_just_the_content(case in cases(), zstandard: bool) {
        let (compression, compress): (_, Compress) =
            if zstandard { (ZSTD, zstd) } else { (GZIP, gzip) };
        check_edit(&case, compression, compress)?;
    }
}
