use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::domain::dataset::Reading;
use crate::domain::field::IdentifierField;
use crate::domain::identifier::{DigestKey, Identifier, IdentifierType, Namespace, RawValue};
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::RowNumber;
use crate::format::compression::MemberStart;
use crate::format::{SourceError, Stopped, checked_range, detect};

mod compressed;
mod hostile;
mod near;

fn key() -> DigestKey {
    DigestKey::new([1; 32])
}

fn fields() -> BoundFields {
    let field = IdentifierField {
        namespace: Namespace::new("user"),
        path: "id".parse().expect("a path"),
        kind: IdentifierType::String,
    };
    BoundFields::new(&[field], &key())
}

fn digest(user: &str) -> IdentifierDigest {
    let raw = RawValue::Text(user.as_bytes());
    let identifier = Identifier::new(Namespace::new("user"), IdentifierType::String, raw);
    identifier.expect("it is not empty").digest(&key())
}

fn order(user: &str, rows: &[u64]) -> BlankOrder {
    BlankOrder {
        rows: RowSet::new(rows.iter().copied().map(RowNumber)).expect("a row"),
        fields: fields(),
        subjects: Arc::new(HashSet::from([digest(user)])),
        action: EraseAction::default(),
        landmarks: Landmarks::default(),
    }
}

fn open(source: &dyn Source) -> Arc<dyn Format> {
    detect::open(source, &Reading::default(), &fields()).expect("readable").format
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("to memory");
    encoder.finish().expect("to memory")
}

fn applied(stored: &[u8], edit: Edit) -> Vec<u8> {
    let mut new = Vec::new();
    for segment in edit {
        match segment.expect("the edit is made") {
            Segment::Copy(range) => {
                new.extend_from_slice(&stored[range.start as usize..range.end as usize]);
            }
            Segment::Bytes(bytes) => new.extend_from_slice(&bytes),
        }
    }
    new
}

#[derive(Default)]
struct Told(Vec<(u64, IdentifierDigest)>);

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        if self.0.len() == 100_000 {
            return Err(Stopped);
        }
        self.0.push((posting.row.0, posting.digest));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        panic!("{gap:?}");
    }

    fn foreign_value(&mut self, row: RowNumber) {
        panic!("{row}");
    }
}

/// A source that counts what is read, and may fail from some byte on.
struct Metered {
    bytes: Bytes,
    read: AtomicU64,
    fails_at: u64,
}

impl Metered {
    fn new(bytes: impl Into<Bytes>) -> Arc<Self> {
        Arc::new(Self { bytes: bytes.into(), read: AtomicU64::new(0), fails_at: u64::MAX })
    }
}

impl Source for Metered {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.size_bytes())?;
        if range.end > self.fails_at {
            return Err(SourceError::new("the store failed"));
        }
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, length)
    }
}

/// Objects of several pieces: records that lie across every boundary are read and blanked alike.
#[test]
fn records_across_pieces_are_whole() {
    let filler = "é,\"\"\r\n".repeat(40);
    let mut csv = String::from("id,n\r\n");
    let mut jsonl = String::new();
    let rows = 6000u64;
    for row in 0..rows {
        csv.push_str(&format!("u{row},\"{filler}\"\r\n"));
        jsonl.push_str(&format!("{{\"id\":\"u{row}\",\"n\":\"{}\"}}\r\n", "x".repeat(300)));
    }
    for text in [csv, jsonl] {
        assert!(text.len() > 3 << 19, "several pieces");
        let members: Vec<u8> = text.as_bytes().chunks(70_001).flat_map(gzip).collect();
        for stored in [Bytes::from(text.clone()), members.into()] {
            let format = open(&stored);
            let mut told = Told::default();
            assert_eq!(format.scan(&stored, &fields(), &mut told).expect("readable").0, rows);
            let expected = (0..rows).map(|row| (row, digest(&format!("u{row}"))));
            assert!(told.0.into_iter().eq(expected));

            let order = order("u4321", &(4000..5000).collect::<Vec<_>>());
            let source: SharedSource = Arc::new(stored.clone());
            let blanking = format.blank(source, &order).expect("readable");
            assert_eq!(blanking.blanked, RowSet::new([RowNumber(4321)]));
            let new = Bytes::from(applied(&stored, blanking.edit.expect("a change")));
            let print = |bytes: &Bytes| format.fingerprint(bytes, blanking.blanked.as_ref().into());
            assert_eq!(print(&new).expect("readable"), print(&stored).expect("readable"));
        }
    }
}

/// Nothing beyond the last ordered row is read.
#[test]
fn a_blanking_stops_after_the_last_ordered_row() {
    let text = "{\"id\":\"u\"}\n".repeat(1 << 20);
    let source = Metered::new(text);
    let format = open(&source);
    source.read.store(0, Ordering::Relaxed);
    let blanking = format.blank(source.clone(), &order("u", &[0, 7])).expect("readable");
    assert_eq!(blanking.blanked, RowSet::new([0, 7].map(RowNumber)));
    assert_eq!(source.read.load(Ordering::Relaxed), 1 << 20);
}

/// E9: rows and bytes are counted in 64 bits.
#[test]
fn row_numbers_are_64_bits_wide() {
    let source: SharedSource = Arc::new(Bytes::from_static(b"{\"id\":\"u\"}\n"));
    let far = [0, u64::from(u32::MAX) + 1, u64::MAX];
    let blanking = open(&source).blank(source, &order("u", &far)).expect("readable");
    assert_eq!(blanking.blanked, RowSet::new([RowNumber(0)]), "2^32 is not 0");
    assert_eq!(blanking.unmatched, far[1..].iter().copied().map(RowNumber).collect::<Vec<_>>());

    let far = 1u64 << 40;
    let member = MemberStart { stored: far, content: far };
    let range = far + 5..far + 7;
    let patch = Patch { range, bytes: Bytes::from_static(b"!"), member };
    let mut patching = Patching::new(KnownPatches::new(vec![patch])).expect("known");
    let mut out = Vec::new();
    patching.apply(far, b"0123456789", &mut out).expect("known");
    assert_eq!(out, b"01234!789");
}

/// The store's failure stays the store's failure, in the reading and in the middle of an edit.
#[test]
fn a_failing_store_is_no_unreadable_object() {
    let mut state = 7u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 20
    };
    let line = |n: u64| format!("{{\"id\":\"u\",\"n\":{n}}}\n");
    let text: String = (0..150_000).map(|_| line(noise())).collect();
    for stored in [Bytes::from(text.clone()), gzip(text.as_bytes()).into()] {
        let format = open(&stored);
        let fails_at = 1 << 20;
        let failing = Arc::new(Metered { bytes: stored, read: AtomicU64::new(0), fails_at });
        let scanned = format.scan(&failing, &fields(), &mut Told::default());
        assert!(matches!(scanned, Err(FormatError::Source(_))), "{scanned:?}");
        match format.blank(failing, &order("u", &[0])) {
            Ok(blanking) => assert!(blanking.edit.is_some_and(|it| it.size_bytes().is_some())),
            // A member is read to its end before it is edited.
            Err(error) => assert!(matches!(error, FormatError::Source(_)), "{error}"),
        }
    }
}

/// A receiver that wants no more ends the scan.
#[test]
fn a_scan_stops_when_told() {
    let source = Bytes::from("{\"id\":\"u\"}\n".repeat(100_001));
    let stopped = open(&source).scan(&source, &fields(), &mut Told::default());
    assert!(matches!(stopped, Err(FormatError::Stopped)));
}

/// A fingerprint tells every change of a row, of its number, of a line ending and of the header.
#[test]
fn a_fingerprint_tells_every_change() {
    let print = |text: &str, except: &[u64]| {
        let source = Bytes::copy_from_slice(text.as_bytes());
        let except = RowSet::new(except.iter().copied().map(RowNumber));
        open(&source).fingerprint(&source, except.as_ref().into()).expect("readable")
    };
    let base = print("id,n\na,1\nb,2\n", &[0]);
    assert_eq!(print("id,n\nc,3\nb,2\n", &[0]), base);
    assert_eq!(print("id,n\n\n,\nb,2\n", &[0]), base);
    for other in
        ["id,n\na,1\nb,3\n", "id,n\na,1\nb,2\r\n", "id,m\na,1\nb,2\n", "id,n\na,1\n,\nb,2\n"]
    {
        assert_ne!(print(other, &[0]), base, "{other:?}");
    }
    assert_ne!(print("id,n\na,1\nb,2\n", &[1]), base);
    assert_ne!(print("id,n\na,1\nb,2\n", &[]), base);
}

proptest! {
    /// What changes make longer is told for any range.
    #[test]
    fn growth_is_what_the_naive_sum_says(
        patches in prop::collection::vec((0u64..9, 1u64..9, 0usize..9), 0..9),
        range in (0u64..60, 0u64..60),
    ) {
        let mut at = 0;
        let mut all = Vec::new();
        for (gap, length, bytes) in patches {
            let range = at + gap..at + gap + length;
            at = range.end;
            let bytes = vec![b'x'; bytes].into();
            all.push(Patch { range, bytes, member: MemberStart::default() });
        }
        let range = range.0.min(range.1)..range.0.max(range.1);
        let mut naive = 0i64;
        for Patch { range: changed, bytes, .. } in &all {
            naive -= changed.clone().filter(|byte| range.contains(byte)).count() as i64;
            naive += if range.contains(&changed.start) { bytes.len() as i64 } else { 0 };
        }
        prop_assert_eq!(KnownPatches::new(all).growth(range), Some(naive));
    }
}
