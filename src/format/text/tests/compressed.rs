//! Rows of compressed objects: what is touched, what is told of it, and what is left.

use super::*;
use crate::domain::edit::Way;
use crate::domain::landmark::{Landmark, Landmarks};
use crate::domain::stretch::Extent;
use crate::format::Blanking;

/// Text of about 3 MiB, every hundredth row somebody's.
fn lines(is_csv: bool) -> Vec<u8> {
    let mut state = 11u64;
    let mut text = String::from(if is_csv { "id,n,note\r\n" } else { "" });
    for row in 0..24_000u64 {
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state
        };
        let (id, number) = if row % 100 == 7 { ("canary", noise()) } else { ("u", noise() >> 40) };
        let note = (0..6).map(|_| format!("{:x}", noise())).collect::<String>();
        text.push_str(&match is_csv {
            true => format!("{id},{number},\"{note}\r\n\"\r\n"),
            false => format!("{{\"id\":\"{id}\",\"n\":{number},\"note\":\"{note}\"}}\n"),
        });
    }
    text.into_bytes()
}

fn gzip_of(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .filename("file.json")
        .write(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn landmarks(format: &dyn Format, stored: &Bytes) -> Landmarks {
    struct Marks(Landmarks);
    impl ScanSink for Marks {
        fn posting(&mut self, _: RowPosting) -> Result<(), Stopped> {
            Ok(())
        }
        fn gap(&mut self, _: RowGap) {}
        fn foreign_value(&mut self, _: RowNumber) {}
        fn landmark(&mut self, landmark: Landmark) {
            self.0.push(landmark);
        }
        fn one_member(&mut self, content_bytes: u64) {
            self.0.member_bytes = Some(content_bytes);
        }
    }
    let mut marks = Marks(Landmarks::default());
    format.scan(stored, &fields(), &mut marks).expect("readable");
    marks.0
}

/// Makes the new object and holds it against everything that was promised of it.
fn check(format: &dyn Format, stored: &Bytes, blanking: Blanking) -> Bytes {
    let blanked = blanking.blanked.expect("rows");
    let new = Bytes::from(applied(stored, blanking.edit.expect("a change")));
    let except = Except::from(Some(&blanked));
    let within = |bytes: &Bytes, extent: &Extent| {
        format.fingerprint_within(bytes, except, extent).expect("readable")
    };
    let before = within(stored, &blanking.before);
    assert!(
        blanking.fingerprint.is_none_or(|known| known == before),
        "read from the start it differs"
    );
    assert_eq!(before, within(&new, &blanking.after));
    assert_eq!(within(stored, &Extent::Whole), within(&new, &Extent::Whole));
    let mut told = Told::default();
    format.scan(&new, &fields(), &mut told).expect("readable");
    let left = told.0.iter().filter(|(row, _)| blanked.as_slice().contains(&RowNumber(*row)));
    assert_eq!(left.count(), 0);
    new
}

/// G16, I12: a few rows of a large member cost a few blocks, whatever wrote it, and nothing of the rows is
/// left in it. What may have been touched is told, and is not everything.
#[test]
fn rows_of_one_member_are_erased_by_blocks() {
    for (is_csv, level) in [(false, 6), (true, 9), (false, 1)] {
        let content = lines(is_csv);
        let stored = Bytes::from(gzip_of(&content, level));
        let format = open(&stored);
        let marks = landmarks(&*format, &stored);
        assert!(!marks.rows.is_empty());
        assert_eq!(marks.member_bytes, Some(content.len() as u64));
        for landmarks in [Landmarks::default(), marks] {
            let order = BlankOrder { landmarks, ..order("canary", &[7, 107, 12_007, 23_907]) };
            let source: SharedSource = Arc::new(stored.clone());
            let blanking = format.blank(source, &order).expect("readable");
            assert_eq!((&blanking.way, blanking.unmatched.len()), (&Way::Blocks, 0));
            assert!(blanking.fingerprint.is_some());
            let edit = blanking.edit.as_ref().expect("a change");
            assert!(edit.size_bytes().is_some());
            let Extent::Stretches(before) = &blanking.before else { panic!("all of it") };
            assert!(before.len() >= 2 && before.iter().all(|it| it.end.0 - it.row.0 < 23_500));
            for row in order.rows.iter() {
                assert!(before.iter().any(|stretch| stretch.contains(row)), "{row}");
            }
            check(&*format, &stored, blanking);
        }
    }
}

/// All rows of a subject: the new content holds nothing of it.
#[test]
fn nothing_is_left_of_an_erased_subject() {
    let content = lines(false);
    let stored = Bytes::from(gzip_of(&content, 6));
    let format = open(&stored);
    let rows: Vec<u64> = (0..240).map(|row| row * 100 + 7).collect();
    let source: SharedSource = Arc::new(stored.clone());
    let blanking = format.blank(source, &order("canary", &rows)).expect("readable");
    let new = check(&*format, &stored, blanking);
    let mut plain = Vec::new();
    let mut reader = flate2::read::MultiGzDecoder::new(&new[..]);
    std::io::Read::read_to_end(&mut reader, &mut plain).expect("gzip");
    assert_eq!(plain.len(), content.len(), "JSON keeps its length");
    assert!(!plain.windows(6).any(|window| window == b"canary"));
}

/// A part of a compressed object is read no further than to its end.
#[test]
fn a_part_is_inflated_no_further_than_to_its_end() {
    let stored = gzip_of(&lines(false), 6);
    let source = Metered::new(stored.clone());
    let format = open(&source);
    let stretch = crate::domain::stretch::Stretch {
        column: None,
        row: RowNumber(0),
        end: RowNumber(100),
        byte: 0,
    };
    let until = source.read.load(Ordering::Relaxed);
    let extent = Extent::Stretches(vec![stretch]);
    format.fingerprint_within(&source, Except::Nothing, &extent).expect("readable");
    assert!(source.read.load(Ordering::Relaxed) - until <= 1 << 20);
}

/// The same of bzip2, whose blocks stand on their own, and of several streams.
#[test]
fn rows_of_bzip2_are_erased_by_blocks() {
    let content = lines(false);
    let bzip2 = |content: &[u8]| {
        let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
        encoder.write_all(content).expect("to memory");
        encoder.finish().expect("to memory")
    };
    let (one, other) = content.split_at(content.len() / 3);
    for stored in [bzip2(&content), [bzip2(one), bzip2(other)].concat()] {
        let stored = Bytes::from(stored);
        let format = open(&stored);
        let source: SharedSource = Arc::new(stored.clone());
        let order = order("canary", &[7, 107, 12_007, 23_907]);
        let blanking = format.blank(source, &order).expect("readable");
        assert_eq!((&blanking.way, blanking.unmatched.len()), (&Way::Blocks, 0));
        let Extent::Stretches(before) = &blanking.before else { panic!("all of it") };
        assert!(before.len() >= 2);
        check(&*format, &stored, blanking);
    }
}

/// What has no blocks to compress by themselves says so.
#[test]
fn a_frame_is_compressed_anew_and_says_why() {
    let content = lines(false);
    let stored = Bytes::from(zstd::bulk::compress(&content, 1).expect("to memory"));
    let format = open(&stored);
    let source: SharedSource = Arc::new(stored.clone());
    let blanking = format.blank(source, &order("canary", &[7])).expect("readable");
    let Way::Members { because } = &blanking.way else { panic!("{:?}", blanking.way) };
    assert!(because.contains("zstd"), "{because}");
    check(&*format, &stored, blanking);
}

/// Where a scan found one member, an edit reads no further than to its last window; where it found two, or was
/// wrong, an edit is right all the same.
#[test]
fn an_edit_reads_no_further_than_to_its_last_window() {
    let content = lines(false);
    let (one, two) = (gzip_of(&content, 6), [gzip_of(&content, 6), gzip_of(&content, 6)].concat());
    let mut read = Vec::new();
    for (stored, is_one, is_told) in
        [(one.clone(), true, true), (one, true, false), (two, false, true)]
    {
        let source = Metered::new(stored.clone());
        let format = open(&source);
        let stored = Bytes::from(stored);
        let mut landmarks = landmarks(&*format, &stored);
        assert_eq!(landmarks.member_bytes.is_some(), is_one);
        landmarks.member_bytes = landmarks.member_bytes.filter(|_| is_told);
        let order = BlankOrder { landmarks, ..order("canary", &[107]) };
        let before = source.read.load(Ordering::Relaxed);
        let blanking = format.blank(source.clone(), &order).expect("readable");
        read.push(source.read.load(Ordering::Relaxed) - before);
        assert_eq!(blanking.way, Way::Blocks);
        check(&*format, &stored, blanking);
    }
    assert!(read[0] < read[1], "{read:?}");
}
