//! bzip2, lz4 and snappy, held to the same rules as gzip and zstd.

use std::ops::Range;

use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::*;

const BZIP2: Compression = Compression::Bzip2;
const LZ4: Compression = Compression::Lz4;
const SNAPPY: Compression = Compression::Snappy;

fn bzip2(content: &[u8]) -> Vec<u8> {
    bzip2_of(content, 9)
}

fn bzip2_of(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::new(level));
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

/// With every checksum and length that a frame can have.
fn lz4(content: &[u8]) -> Vec<u8> {
    let info = FrameInfo::new().block_checksums(true).content_checksum(true);
    lz4_of(content, info.content_size(Some(content.len() as u64)).block_size(BlockSize::Max64KB))
}

fn lz4_of(content: &[u8], info: FrameInfo) -> Vec<u8> {
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn snappy(content: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(content).expect("to memory");
    let stream = encoder.into_inner().map_err(|_| "to memory").expect("to memory");
    if stream.is_empty() { snappy::IDENTIFIER.to_vec() } else { stream }
}

/// What other readers make of it.
fn read_by_others(stored: &[u8], compression: Compression) -> Vec<u8> {
    let mut content = Vec::new();
    match compression {
        BZIP2 => ::bzip2::read::MultiBzDecoder::new(stored).read_to_end(&mut content),
        LZ4 => {
            // It stops at the end of each frame.
            let mut decoder = lz4_flex::frame::FrameDecoder::new(stored);
            let mut read = decoder.read_to_end(&mut content);
            while read.is_ok() && !decoder.get_ref().is_empty() {
                read = decoder.read_to_end(&mut content);
            }
            read
        }
        _ => snap::read::FrameDecoder::new(stored).read_to_end(&mut content),
    }
    .expect("readable");
    content
}

const CODECS: [(Compression, Compress); 3] = [(BZIP2, bzip2), (LZ4, lz4), (SNAPPY, snappy)];

/// Bytes that no codec makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Every shape of lz4 frame, and of content: several blocks, that refer to each other or not.
fn lz4_shapes() -> Vec<FrameInfo> {
    let sizes = [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB];
    let shapes = sizes.into_iter().enumerate().flat_map(|(at, size)| {
        [BlockMode::Independent, BlockMode::Linked].map(|mode| {
            let info = FrameInfo::new().block_size(size).block_mode(mode);
            info.block_checksums(at % 2 == 0).content_checksum(at < 2)
        })
    });
    shapes.collect()
}

/// G27: what every member holds is read, in pieces of any size.
#[test]
fn every_stream_of_each_codec_is_read() {
    for (compression, compress) in CODECS {
        let stored = [compress(b"one "), compress(b""), compress(b"two")].concat();
        for piece_bytes in [1, 2, 7, 1000] {
            let (content, members) = read(&stored, compression, piece_bytes).expect("readable");
            assert_eq!(content, b"one two", "{compression}");
            assert_eq!(members.len(), if compression == SNAPPY { 2 } else { 3 });
        }
    }
    for level in 1..=9 {
        let stored = bzip2_of(&noise(1000), level);
        assert_eq!(read(&stored, BZIP2, 100).expect("readable").0, noise(1000));
    }
}

/// Streams of many blocks, of text that repeats over the blocks' ends and of noise.
#[test]
fn long_streams_are_read_and_rewritten() {
    let mut content = noise(150_000);
    content.extend_from_slice(&b"a text that repeats. ".repeat(10_000));
    content.extend(noise(150_000));
    let mut streams = vec![(BZIP2, bzip2_of(&content, 1)), (SNAPPY, snappy(&content))];
    let with_size = FrameInfo::new().content_size(Some(content.len() as u64));
    for shape in lz4_shapes().into_iter().chain([with_size]) {
        streams.push((LZ4, lz4_of(&content, shape)));
    }
    for (number, (compression, stored)) in streams.into_iter().enumerate() {
        let (read_back, members) = read(&stored, compression, 5000).expect("readable");
        assert!(read_back == content, "{compression} {number}");
        let patches = vec![patch(70_000..70_003, "sixsix", &members)];
        let (new, _) = edit(&stored, compression, patches);
        let expected = [&content[..70_000], b"sixsix", &content[70_003..]].concat();
        let (read_back, _) = read(&new, compression, 5000).expect("readable");
        assert!(read_back == expected, "{compression} {number}");
        assert!(read_by_others(&new, compression) == expected, "{compression} {number}");
        if compression != SNAPPY {
            let header = if compression == BZIP2 { 4 } else { 6 };
            assert_eq!(new[..header], stored[..header], "{number}: of the same shape");
        }
    }
}

/// G28: cut off at any byte but the end of a member, a stream is an error, never an early end.
#[test]
fn a_stream_of_each_codec_that_ends_early_is_an_error() {
    for (compression, compress) in CODECS {
        let (first, second) = (compress(b"first content"), compress(b"second content"));
        let stored = [&first[..], &second].concat();
        // A snappy stream may end after its identifier: see `a_cut_between_chunks_cannot_be_told`.
        let identifier = snappy::IDENTIFIER.len();
        let ends = match compression {
            SNAPPY => vec![identifier, first.len(), first.len() + identifier],
            _ => vec![first.len()],
        };
        for end in (1..stored.len()).filter(|end| !ends.contains(end)) {
            for piece_bytes in [1, 16, 1000] {
                let reason = reason(read(&stored[..end], compression, piece_bytes));
                assert!(reason.contains("stream ends early"), "{compression} {end}: {reason}");
            }
        }
    }
}

/// G28: cut off between two blocks, at the end mark, within the checksum behind it.
#[test]
fn an_lz4_frame_needs_its_end() {
    let content = noise(200_000);
    for shape in lz4_shapes() {
        let stored = lz4_of(&content, shape);
        let mut at = 7;
        let mut blocks = 0;
        loop {
            let reason = reason(read(&stored[..at], LZ4, 1 << 16));
            assert!(reason.contains("stream ends early"), "{at}: {reason}");
            let Some(length) = stored[at..].first_chunk::<4>() else { break };
            let length = u32::from_le_bytes(*length) & !(1 << 31);
            if length == 0 {
                break;
            }
            at += 4 + length as usize + if stored[4] & 1 << 4 == 0 { 0 } else { 4 };
            blocks += 1;
        }
        assert!(blocks > 0);
        for end in at..stored.len() {
            assert!(reason(read(&stored[..end], LZ4, 1 << 16)).contains("stream ends early"));
        }
        assert!(read(&stored, LZ4, 1 << 16).expect("whole").0 == content);
    }
}

/// What `docs/formats.md` says of snappy: between two chunks an early end cannot be seen.
#[test]
fn a_cut_between_chunks_cannot_be_told() {
    let content = noise(200_000);
    let stored = snappy(&content);
    let (_, members) = read(&stored, SNAPPY, 1000).expect("readable");
    assert_eq!(members.len(), 4);
    let cut = &stored[..members[2].stored as usize];
    assert_eq!(read(cut, SNAPPY, 1000).expect("no end mark").0, content[..128 << 10]);
}

/// G28: a flipped bit is an error, or changes nothing.
#[test]
fn a_flipped_bit_never_changes_content_of_any_codec() {
    let content = b"some content that repeats, some content that repeats";
    for (compression, compress) in CODECS {
        let stored = compress(content);
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if let Ok((read, _)) = read(&damaged, compression, 1000) {
                // A chunk of snappy that became a skippable one holds nothing.
                let skipped = compression == SNAPPY && bit == 10 * 8 + 7 && read.is_empty();
                assert!(read == content || skipped, "{compression} bit {bit}");
            }
        }
    }
}

/// G28: lengths and checksums are held against the content, each by itself.
#[test]
fn every_checksum_of_lz4_and_snappy_counts() {
    let content = b"some content";
    let plain = FrameInfo::new().block_size(BlockSize::Max64KB);
    let with_block = lz4_of(content, plain.clone().block_checksums(true));
    let with_content = lz4_of(content, plain.clone().content_checksum(true));
    let with_size = lz4_of(content, plain.clone().content_size(Some(12)));
    let snappy = snappy(content);
    for (compression, stored, at, name) in [
        (LZ4, &with_block, with_block.len() - 5, "checksum of an lz4 block"),
        (LZ4, &with_content, with_content.len() - 1, "checksum of an lz4 frame"),
        (LZ4, &with_content, 6, "header"),
        (LZ4, &with_size, 7, "header"),
        (SNAPPY, &snappy, 15, "checksum of a snappy chunk"),
    ] {
        let mut damaged = stored.clone();
        damaged[at] ^= 1;
        let reason = reason(read(&damaged, compression, 1000));
        assert!(reason.contains(name), "{reason}");
    }
    let mut longer = with_size;
    longer[6] = 13;
    longer[14] = (twox_hash::XxHash32::oneshot(0, &longer[4..14]) >> 8) as u8;
    assert!(reason(read(&longer, LZ4, 1000)).contains("length of an lz4 frame"));
}

/// G28: what follows the last member and is none is an error.
#[test]
fn garbage_after_the_last_stream_is_an_error() {
    for (compression, compress) in CODECS {
        for garbage in [&b"garbage"[..], &[0; 10], b"x", &[0], b"BZh0", b"\x7f\0\0\0", &[0x90; 9]] {
            let stored = [&compress(b"content")[..], garbage].concat();
            for piece_bytes in [1, 1000] {
                let outcome = read(&stored, compression, piece_bytes);
                assert!(outcome.is_err(), "{compression} {garbage:?}");
            }
        }
    }
}

/// G27: skippable frames and chunks, before, between and after.
#[test]
fn what_may_be_skipped_is_skipped() {
    let frames = [skippable(b"before"), lz4(b"one "), skippable(b""), lz4(b"two"), skippable(b"x")];
    let chunk = |kind, length: u8| [&[kind, length, 0, 0][..], &vec![7; length.into()]].concat();
    let two = snappy(b"two");
    let chunks = [
        snappy(b"one "),
        chunk(0xfe, 9),
        chunk(0x80, 0),
        two[snappy::IDENTIFIER.len()..].to_vec(),
        chunk(0xfd, 3),
    ];
    for (compression, stored) in [(LZ4, frames.concat()), (SNAPPY, chunks.concat())] {
        for piece_bytes in [1, 5, 1000] {
            let (content, members) = read(&stored, compression, piece_bytes).expect("readable");
            assert_eq!(content, b"one two", "{compression}");
            assert_eq!(members.len(), 2);
        }
        let cut = &stored[..stored.len() - 1];
        assert!(reason(read(cut, compression, 1000)).contains("stream ends early"));
    }
}

/// G27, G29: what a header asks for is held to what the format allows.
#[test]
fn a_header_of_unreasonable_demands_is_refused() {
    let lz4 = |flags: u8, sizes: u8, rest: &[u8]| {
        let described = [&[flags, sizes][..], rest].concat();
        let checksum = (twox_hash::XxHash32::oneshot(0, &described) >> 8) as u8;
        [&lz4::MAGIC[..], &described, &[checksum]].concat()
    };
    assert!(reason(read(&lz4(0x61, 0x40, &[]), LZ4, 1000)).contains("dictionary"));
    for (flags, sizes) in [(0x60, 0x30), (0x60, 0x80), (0x60, 0x41), (0x62, 0x40), (0xa0, 0x40)] {
        assert!(reason(read(&lz4(flags, sizes, &[]), LZ4, 1000)).contains("not known"));
    }
    let long = [&lz4(0x60, 0x40, &[])[..], &[1, 0, 1, 0], &[0; 100]].concat();
    assert!(reason(read(&long, LZ4, 1000)).contains("longer than its frame allows"));
    let chunk = |length: [u8; 3]| [&snappy::IDENTIFIER[..], &[0], &length, &[0; 100]].concat();
    for length in [[3, 0, 0], [0xff, 0xff, 0xff]] {
        assert!(reason(read(&chunk(length), SNAPPY, 1000)).contains("corrupt"));
    }
    // A chunk that says of itself to hold 4 GiB.
    let bomb = [&snappy::IDENTIFIER[..], &[0, 9, 0, 0], &[0; 4], b"\xff\xff\xff\xff\x0f"].concat();
    assert!(reason(read(&bomb, SNAPPY, 1000)).contains("corrupt"));
}

/// G29: bzip2 makes a gigabyte of a kilobyte: pieces stay pieces.
#[test]
fn a_piece_of_bzip2_is_a_piece() {
    let stored = bzip2(&vec![0; 20 << 20]);
    assert!(stored.len() < 2000);
    let input = Input::new(Bytes::from(stored), 0, 4096);
    let mut content = Content::new(input, BZIP2, MemberStart::default()).expect("a decoder");
    content.begin().expect("a stream");
    let mut bytes = Vec::new();
    while content.read(&mut bytes, 1 << 16).expect("readable") {
        assert!(bytes.capacity() <= 1 << 18);
        bytes.clear();
    }
    assert_eq!(content.position(), 20 << 20);
}

/// Members without a change are the bytes they were; of snappy even those of one stream.
#[test]
fn what_is_not_touched_of_each_codec_is_copied() {
    for (compression, compress) in CODECS {
        let stored: Vec<u8> = [b"one ", b"two ", b"six ", b"ten "]
            .iter()
            .flat_map(|&piece| compress(piece))
            .collect();
        let (_, starts) = read(&stored, compression, 1000).expect("readable");
        let (new, copied) = edit(&stored, compression, vec![patch(9..11, "ev", &starts)]);
        assert_eq!(read(&new, compression, 7).expect("readable").0, b"one two sev ten ");
        assert_eq!(read_by_others(&new, compression), b"one two sev ten ");
        let end = content_end(compression, &starts, compress);
        assert_eq!(copied, [0..starts[2].stored, end..stored.len() as u64]);
    }
    let content = noise(300_000);
    let stored = snappy(&content);
    let (_, starts) = read(&stored, SNAPPY, 1000).expect("readable");
    let (_, copied) = edit(&stored, SNAPPY, vec![patch(70_000..70_001, "", &starts)]);
    let expected: [Range<u64>; 2] = [0..starts[1].stored, starts[2].stored..stored.len() as u64];
    assert_eq!(copied, expected);
}

/// Where the third of four members ends.
fn content_end(compression: Compression, starts: &[MemberStart], compress: Compress) -> u64 {
    let identifier = if compression == SNAPPY { snappy::IDENTIFIER.len() } else { 0 };
    starts[2].stored + (compress(b"six ").len() - identifier) as u64
}

proptest! {
    /// Against a naive oracle: change the content, whatever members it is cut into.
    #[test]
    fn an_edit_of_any_codec_changes_just_the_content(case in cases(), codec in 0..3usize) {
        let (compression, compress) = CODECS[codec];
        check_edit(&case, compression, compress)?;
    }

    /// Foreign bytes are an error or a reading, and nothing panics.
    #[test]
    fn damage_of_any_codec_is_an_error_or_a_reading(
        content in prop::collection::vec(any::<u8>(), 0..300),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        codec in 0..3usize,
    ) {
        let (compression, compress) = CODECS[codec];
        let mut stored = compress(&content);
        for (at, byte) in damage {
            let at = at.index(stored.len());
            stored[at] = byte;
        }
        let _ = read(&stored, compression, 64);
    }
}
