use std::io::Write as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::format::FormatError;
use crate::format::compression::Input;

fn deflate(content: &[u8], level: u32) -> Vec<u8> {
    let level = flate2::Compression::new(level);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

/// Text with repetitions near and far.
pub(in crate::format::compression) fn text(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut noise = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        state >> 33
    };
    let mut text = Vec::with_capacity(length + 100);
    while text.len() < length {
        let number = noise();
        match number % 7 {
            0 => text
                .extend(std::iter::repeat_n(b'a' + (number % 26) as u8, (number % 300) as usize)),
            1 => text.push((number >> 8) as u8),
            2 if !text.is_empty() => {
                let from = (number >> 3) as usize % text.len();
                let piece = text[from..(from + 40).min(text.len())].to_vec();
                text.extend_from_slice(&piece);
            }
            _ => text.extend_from_slice(format!("{{\"id\":\"u{}\"}}\n", number % 9999).as_bytes()),
        }
    }
    text.truncate(length);
    text
}

/// Inflates all of it; answers the content and the places at which blocks ended.
fn inflate(stored: &[u8], piece: usize, step: usize) -> Result<(Vec<u8>, Vec<Place>), FormatError> {
    let mut input = Input::new(Bytes::copy_from_slice(stored), 0, piece);
    let (mut inflate, mut output) = (Inflate::new(), Output::after(&[], 0));
    let (mut content, mut places) = (Vec::new(), Vec::new());
    loop {
        let before = output.end();
        let stop = inflate.run(&mut input, &mut output, step)?;
        content.extend_from_slice(output.from(before));
        let end = output.end();
        output.forget_before(end);
        if stop != Stop::Full {
            places.push(inflate.place(&input, &output));
        }
        if stop == Stop::End {
            return Ok((content, places));
        }
    }
}

#[test]
fn content_is_what_another_decoder_says() {
    for (length, level) in
        (0..10).flat_map(|level| [0, 1, 300, 70_000, 400_000].map(|it| (it, level)))
    {
        let content = text(length, u64::from(level));
        let stored = deflate(&content, level);
        for (piece, step) in [(1 << 20, 1 << 20), (1000, 5000), (7, 600)] {
            let (read, places) = inflate(&stored, piece, step).expect("a stream");
            assert!(read == content, "{length} {level} {piece}");
            let last = places.last().expect("an end");
            assert_eq!((last.bit.div_ceil(8), last.content), (stored.len() as u64, length as u64));
        }
    }
}

/// At every place where a block begins, inflating can begin.
#[test]
fn a_stream_goes_on_at_every_block() {
    let content = text(900_000, 5);
    for level in [0, 1, 2, 6, 9] {
        let stored = Bytes::from(deflate(&content, level));
        let (_, places) = inflate(&stored, 999, 9999).expect("a stream");
        assert!(level < 2 || places.len() > 2, "blocks");
        for place in places.iter().rev().skip(1) {
            let mut input = Input::new(stored.clone(), 0, 3000);
            let mut inflate = Inflate::new();
            assert!(inflate.resume(place, &mut input).expect("in memory"));
            let at = place.content as usize;
            let mut output =
                Output::after(&content[at.saturating_sub(32 << 10)..at], place.content);
            while inflate.run(&mut input, &mut output, 10_000).expect("a stream") != Stop::End {}
            assert!(output.from(place.content) == &content[at..]);
        }
    }
}

/// A block may end just where there is to be no more content for now.
#[test]
fn every_block_is_told_whatever_the_steps() {
    let mut bits = Bits::at(0);
    for length in [0u16, 1, 700, 3000, 258, 257, 600, 0, 1200] {
        bits.put(0, 3);
        bits.put_bytes(&length.to_le_bytes());
        bits.put_bytes(&(!length).to_le_bytes());
        bits.put_bytes(&text(usize::from(length), 1));
        bits.put_until(bits.phase() + 1);
    }
    bits.put(FIXED_HEADER.0 | 1, 3);
    bits.put(0, 7);
    let (content, places) = inflate(bits.bytes(), 1000, 1 << 20).expect("a stream");
    for step in 259..3100 {
        let (again, told) = inflate(bits.bytes(), 1000, step).expect("a stream");
        assert!(again == content && told == places, "{step}");
    }
}

/// Empty blocks lead from every phase to every other one, and mean nothing.
#[test]
fn empty_blocks_reach_every_phase() {
    for (from, to) in (0..8).flat_map(|from| (0..8).map(move |to| (from, to))) {
        let mut bits = Bits::at(0);
        bits.put_until(from);
        let mut more = Bits::at(from);
        more.put_until(to);
        bits.append(&more);
        assert_eq!(bits.phase(), to);
        assert!(bits.bytes().len() < 40);
        bits.put_stored_nothing();
        bits.put_bytes(&deflate(b"content", 6));
        let mut plain = Vec::new();
        let mut decoder = flate2::write::DeflateDecoder::new(&mut plain);
        decoder.write_all(bits.bytes()).expect("a stream");
        decoder.finish().expect("a stream");
        assert_eq!(plain, b"content", "{from} {to}");
        assert_eq!(inflate(bits.bytes(), 1000, 1000).expect("a stream").0, b"content");
    }
}

/// G28: cut off anywhere, a stream is an error.
#[test]
fn a_stream_that_ends_early_is_noticed() {
    for level in [0, 1, 6] {
        let stored = deflate(&text(3000, 3), level);
        for end in 0..stored.len() {
            let error = inflate(&stored[..end], 100, 1000).expect_err("it is cut off");
            assert!(error.to_string().contains("ends early"), "{level} {end}: {error}");
        }
    }
}

proptest! {
    /// Any bytes are a stream or an error, as another decoder has it.
    #[test]
    fn any_bytes_are_read_as_another_decoder_does(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        kind in 0u8..8,
    ) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = (*first & !7) | kind;
        }
        let mut library = flate2::Decompress::new(false);
        let mut plain = Vec::with_capacity(1 << 20);
        let status = library.decompress_vec(&bytes, &mut plain, flate2::FlushDecompress::Finish);
        match inflate(&bytes, 50, 2000) {
            Ok((content, _)) => {
                prop_assert!(matches!(status, Ok(flate2::Status::StreamEnd)), "{status:?}");
                prop_assert_eq!(content, plain);
            }
            Err(_) => prop_assert!(!matches!(status, Ok(flate2::Status::StreamEnd))),
        }
    }

    /// The same of streams with a flipped bit.
    #[test]
    fn a_damaged_stream_is_read_as_another_decoder_does(
        (length, seed, level) in (1usize..3000, any::<u64>(), 0u32..10),
        flips in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
    ) {
        let mut bytes = deflate(&text(length, seed), level);
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let mut library = flate2::Decompress::new(false);
        let mut plain = Vec::with_capacity(1 << 21);
        let status = library.decompress_vec(&bytes, &mut plain, flate2::FlushDecompress::Finish);
        match inflate(&bytes, 50, 2000) {
            Ok((content, _)) => {
                prop_assert!(matches!(status, Ok(flate2::Status::StreamEnd)), "{status:?}");
                prop_assert!(content == plain);
            }
            Err(_) => prop_assert!(!matches!(status, Ok(flate2::Status::StreamEnd))),
        }
    }
}
