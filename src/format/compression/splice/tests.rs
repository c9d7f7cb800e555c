use std::io::Read as _;

use flate2::{Compress, Compression as Level, FlushCompress, Status};
use proptest::prelude::*;

use super::*;
use crate::format::compression::deflate::tests::text;
use crate::format::compression::deflate::{Bits, FIXED_END_BITS, FIXED_HEADER};

mod makers;

/// A member around a raw stream.
pub(super) fn member(stream: &[u8], content: &[u8], name: Option<&str>) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 2, 3];
    if let Some(name) = name {
        member[3] = 8;
        member.extend_from_slice(name.as_bytes());
        member.push(0);
    }
    member.extend_from_slice(stream);
    let mut crc = flate2::Crc::new();
    crc.update(content);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&(content.len() as u32).to_le_bytes());
    member
}

/// Compresses in pieces that end as `flushes` say, in turn.
pub(super) fn deflate(content: &[u8], level: u32, flushes: &[FlushCompress]) -> Vec<u8> {
    let mut compress = Compress::new(Level::new(level), false);
    let mut out = Vec::with_capacity(content.len() * 2 + 100_000);
    let pieces = content.len() / flushes.len().max(1) + 1;
    for (piece, flush) in content.chunks(pieces).zip(flushes) {
        let before = compress.total_in();
        compress.compress_vec(piece, &mut out, *flush).expect("room");
        assert_eq!(compress.total_in() - before, piece.len() as u64);
    }
    let done = compress.total_in() as usize;
    let status = compress.compress_vec(&content[done..], &mut out, FlushCompress::Finish);
    assert_eq!(status.expect("room"), Status::StreamEnd);
    out
}

pub(super) fn patch(range: Range<u64>, bytes: impl Into<Bytes>) -> Patch {
    Patch { range, bytes: bytes.into(), member: MemberStart::default() }
}

/// The content with the patches applied.
pub(in crate::format::compression) fn changed(content: &[u8], patches: &[Patch]) -> Vec<u8> {
    let (mut new, mut at) = (Vec::new(), 0);
    for patch in patches {
        new.extend_from_slice(&content[at..patch.range.start as usize]);
        new.extend_from_slice(&patch.bytes);
        at = patch.range.end as usize;
    }
    new.extend_from_slice(&content[at..]);
    new
}

/// All members, by a reader that checks every trailer.
pub(super) fn plain(stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(stored).read_to_end(&mut plain).expect("gzip");
    plain
}

/// The new object, and which parts of the old one are in it.
pub(super) fn applied(stored: &[u8], spliced: &Spliced) -> (Vec<u8>, Vec<Range<u64>>) {
    let (mut new, mut copied) = (Vec::new(), Vec::new());
    for segment in &spliced.segments {
        match segment {
            Segment::Copy(range) => {
                new.extend_from_slice(&stored[range.start as usize..range.end as usize]);
                copied.push(range.clone());
            }
            Segment::Bytes(bytes) => new.extend_from_slice(bytes),
        }
    }
    (new, copied)
}

fn answer(stored: &[u8], patches: &[Patch], hints: &[Hint]) -> Answer {
    let source: SharedSource = Arc::new(Bytes::copy_from_slice(stored));
    splice(&source, patches, (hints, None)).expect("it can be read")
}

/// Edits and reads the new object again; answers what was copied.
pub(super) fn check(
    stored: &[u8],
    content: &[u8],
    patches: &[Patch],
) -> (Spliced, Vec<Range<u64>>) {
    let Answer::Spliced(spliced) = answer(stored, patches, &[]) else { panic!("it is refused") };
    let (new, copied) = applied(stored, &spliced);
    assert!(plain(&new) == changed(content, patches), "another content");
    for touched in spliced.touched.windows(2) {
        assert!(patches[touched[0].last].range.end <= touched[1].start);
    }
    (spliced, copied)
}

/// Rows of the text, some of them changed.
pub(in crate::format::compression) fn patches(
    content: &[u8],
    chosen: &[(usize, u8)],
) -> Vec<Patch> {
    let mut starts: Vec<usize> = chosen.iter().map(|(at, _)| at % content.len().max(1)).collect();
    starts.sort_unstable();
    let mut patches: Vec<Patch> = Vec::new();
    for (start, (_, kind)) in starts.into_iter().zip(chosen) {
        let before = memchr::memrchr(b'\n', &content[..start]).map_or(0, |at| at + 1);
        let end = memchr::memchr(b'\n', &content[start..]).map_or(content.len(), |at| start + at);
        if before == end || patches.last().is_some_and(|last| last.range.end > before as u64) {
            continue;
        }
        let bytes = match kind % 4 {
            0 => Vec::new(),
            1 => b"{\"id\":null,\"why\":\"something longer than what was there before\"}".to_vec(),
            _ => [&b"{}"[..], &b" ".repeat(end - before)].concat()[..end - before].to_vec(),
        };
        patches.push(patch(before as u64..end as u64, bytes));
    }
    patches
}

/// Blocks of literals, for streams made by hand.
struct Hand {
    bits: Bits,
    content: Vec<u8>,
}

impl Hand {
    fn new() -> Self {
        Self { bits: Bits::at(0), content: Vec::new() }
    }

    fn stored(&mut self, bytes: &[u8]) {
        self.bits.put(0, 3);
        let length = (bytes.len() as u16).to_le_bytes();
        self.bits.put_bytes(&length);
        self.bits.put_bytes(&length.map(|byte| !byte));
        self.bits.put_bytes(bytes);
        self.content.extend_from_slice(bytes);
    }

    fn begin(&mut self, is_last: bool) {
        self.bits.put(FIXED_HEADER.0 | u32::from(is_last), FIXED_HEADER.1);
    }

    fn code(&mut self, code: u32, length: u32) {
        self.bits.put(code.reverse_bits() >> (32 - length), length);
    }

    fn literals(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                0..144 => self.code(0x30 + u32::from(byte), 8),
                _ => self.code(0x190 + u32::from(byte) - 144, 9),
            }
        }
        self.content.extend_from_slice(bytes);
    }

    /// Three bytes of 32,768 bytes ago.
    fn far_match(&mut self) {
        self.code(1, 7);
        self.code(29, 5);
        self.bits.put(8191, 13);
        let from = self.content.len() - 32_768;
        self.content.extend_from_within(from..from + 3);
    }

    fn end(&mut self) {
        self.bits.put(0, FIXED_END_BITS);
    }

    fn finish(self) -> (Vec<u8>, Vec<u8>) {
        (member(self.bits.bytes(), &self.content, None), self.content)
    }
}

/// A match may reach 32,768 bytes back, which the encoders at hand do not make use of: the block that does
/// so right behind a change cannot be kept, the one a byte further on can.
#[test]
fn a_match_of_the_longest_distance_never_meets_a_change() {
    for behind in [32_766, 32_767, 32_768, 32_769] {
        let mut hand = Hand::new();
        let row = "{\"id\":\"somebody\"}";
        hand.stored(row.as_bytes());
        hand.stored(&text(behind, 9));
        hand.begin(false);
        hand.far_match();
        hand.literals(&text(50_000, 4));
        hand.end();
        hand.begin(true);
        hand.literals(&text(50_000, 5));
        hand.end();
        let (stored, content) = hand.finish();
        assert_eq!(plain(&stored), content);
        let change = [patch(0..row.len() as u64, "{}               ")];
        let (_, copied) = check(&stored, &content, &change);
        assert!(copied.iter().any(|range| range.end - range.start > 50_000), "{behind}");
    }
}

/// The old stream goes on at each of the eight bits of a byte.
#[test]
fn a_tail_of_every_phase_is_kept() {
    for phase in 0..8usize {
        let mut hand = Hand::new();
        hand.stored(b"{\"id\":\"somebody\"}\n");
        hand.stored(&text(32_000, 3));
        hand.begin(false);
        hand.literals(&[&b"x".repeat(1000)[..], &vec![200; phase]].concat());
        hand.end();
        hand.begin(true);
        hand.literals(&text(2000, 8));
        hand.end();
        let at = hand.bits.bytes().len();
        let (stored, content) = hand.finish();
        let (_, copied) = check(&stored, &content, &[patch(0..17, "{}")]);
        let tail = copied.last().expect("a tail");
        assert_eq!(tail.end, at as u64 + 10, "{phase}");
        assert!(tail.end - tail.start > 1990, "{phase}");
    }
}

/// Of blocks that share a place, the last one is cut before a change and the first one behind it.
#[test]
fn blocks_without_content_are_cut_between() {
    let mut hand = Hand::new();
    for number in 0..6u32 {
        for _ in 0..number {
            hand.bits.put_until(hand.bits.phase() + 3);
        }
        hand.stored(&text(20_000, u64::from(number)));
    }
    hand.begin(true);
    hand.end();
    let (stored, content) = hand.finish();
    for place in [0usize, 19_999, 20_000, 39_999, 40_000, 60_001, 80_000, 119_999] {
        let (_, copied) = check(&stored, &content, &[patch(place as u64..place as u64 + 1, "!")]);
        assert!(!copied.is_empty());
    }
    check(&stored, &content, &[20_000, 40_000, 60_000, 100_000].map(|it| patch(it..it + 1, "")));
}

/// Encoders in a hurry write one block, whatever the length: it is cut within.
#[test]
fn a_block_that_is_all_of_a_stream_is_cut() {
    let content = text(600_000, 77);
    let mut hand = Hand::new();
    hand.begin(true);
    hand.literals(&content);
    hand.end();
    let (by_hand, _) = hand.finish();
    let by_library = member(&deflate(&content, 1, &[]), &content, Some("one"));
    for stored in [by_hand, by_library] {
        for chosen in [vec![(300_000, 0)], vec![(100, 1), (200_000, 2), (201_000, 0), (500_000, 1)]]
        {
            let (_, copied) = check(&stored, &content, &patches(&content, &chosen));
            assert!(copied.len() > chosen.len().min(2), "{copied:?}");
        }
    }
}

/// G26: other members are copied, whatever is changed.
#[test]
fn each_member_is_edited_by_itself() {
    let contents = [text(100_000, 1), text(90_000, 2), Vec::new(), text(120_000, 3)];
    let members: Vec<Vec<u8>> =
        contents.iter().map(|it| member(&deflate(it, 6, &[]), it, Some("name"))).collect();
    let stored = members.concat();
    let all = contents.concat();
    let start = |number: usize| MemberStart {
        stored: members[..number].iter().map(|it| it.len() as u64).sum(),
        content: contents[..number].iter().map(|it| it.len() as u64).sum(),
    };
    let changes = [
        Patch { member: start(0), ..patch(5..9, "!") },
        Patch { member: start(3), ..patch(190_001..190_020, "something longer by far") },
        Patch { member: start(3), ..patch(300_000..300_001, "") },
    ];
    let (_, copied) = check(&stored, &all, &changes);
    let second = start(1).stored..start(3).stored;
    assert!(copied.iter().any(|it| it.start <= second.start && it.end >= second.end));
    // A row that goes on in the next member is not for this way.
    let over = [Patch { member: start(0), ..patch(99_990..100_010, "!") }];
    assert!(matches!(answer(&stored, &over, &[]), Answer::Refused(_)));
}

/// G31: name and comment go, as they do where a member is compressed anew.
#[test]
fn a_spliced_header_names_nobody() {
    let content = text(50_000, 3);
    let stored = member(&deflate(&content, 6, &[]), &content, Some("ann-canary.csv"));
    let (spliced, _) = check(&stored, &content, &[patch(40_000..40_003, "!")]);
    let (new, _) = applied(&stored, &spliced);
    assert_eq!(new[..10], [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 2, 3]);
    assert!(!new.windows(6).any(|window| window == b"canary"));
}

/// G28: a checksum that was wrong before is not mended into another wrong one.
#[test]
fn a_wrong_checksum_is_noticed() {
    let content = text(200_000, 3);
    let mut stored = member(&deflate(&content, 6, &[]), &content, None);
    let crc = stored.len() - 6;
    stored[crc] ^= 1;
    let source: SharedSource = Arc::new(Bytes::from(stored));
    let error = splice(&source, &[patch(5..6, "!")], (&[], None)).expect_err("it is refused");
    assert!(error.to_string().contains("checksum"), "{error}");
}

/// Where a scan told how long the only member is, the rest of it is not read; a hint that cannot be true is
/// not followed.
#[test]
fn a_member_of_known_length_is_not_read_to_its_end() {
    let content = text(3_000_000, 12);
    let stored = member(&deflate(&content, 6, &[]), &content, None);
    let changes = [patch(5..9, ""), patch(100_000..100_001, "longer")];
    let two = [&stored[..], &stored].concat();
    for (object, expected) in
        [(&stored, content.clone()), (&two, [&content[..], &content].concat())]
    {
        for hint in [content.len() as u64, content.len() as u64 - 1, 2 * content.len() as u64, 7] {
            let source: SharedSource = Arc::new(Bytes::copy_from_slice(object));
            let answer = splice(&source, &changes, (&[], Some(hint))).expect("it can be read");
            let Answer::Spliced(spliced) = answer else { panic!("it is refused") };
            // Half of what is there twice would be a hint that no scan gives.
            if object.len() == stored.len() || hint != content.len() as u64 {
                assert!(
                    plain(&applied(object, &spliced).0) == changed(&expected, &changes),
                    "{hint}"
                );
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    length: usize,
    seed: u64,
    level: u32,
    flushes: Vec<u8>,
    chosen: Vec<(usize, u8)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let flushes = prop::collection::vec(0u8..4, 0..12);
    let chosen = prop::collection::vec((any::<usize>(), any::<u8>()), 1..40);
    let case = (1usize..400_000, any::<u64>(), 0u32..10, flushes, chosen);
    case.prop_map(|(length, seed, level, flushes, chosen)| {
        let few = if seed % 2 == 0 { 1 + chosen.len() / 10 } else { chosen.len() };
        let chosen = chosen[..few].to_vec();
        Case { length, seed, level, flushes, chosen }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Against a naive oracle, as a library reads it: whatever blocks a stream is made of.
    #[test]
    fn an_edit_by_blocks_changes_just_the_content(case in cases()) {
        let content = text(case.length, case.seed);
        let flush = |kind: &u8| match kind {
            0 => FlushCompress::None,
            1 => FlushCompress::Partial,
            2 => FlushCompress::Sync,
            _ => FlushCompress::Full,
        };
        let flushes: Vec<FlushCompress> = case.flushes.iter().map(flush).collect();
        let stored = member(&deflate(&content, case.level, &flushes), &content, None);
        let changes = patches(&content, &case.chosen);
        if !changes.is_empty() {
            check(&stored, &content, &changes);
        }
    }

    /// Whatever follows a header, nothing panics.
    #[test]
    fn any_stream_is_edited_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        at in 0u64..40,
    ) {
        let stored = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &bytes].concat();
        let source: SharedSource = Arc::new(Bytes::from(stored));
        let _ = splice(&source, &[patch(at..at + 3, "!")], (&[], None));
    }
}
