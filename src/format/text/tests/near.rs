//! Reading begins at a landmark, and ends where it may.

use super::*;
use crate::domain::landmark::Landmark;
use crate::domain::row::RowNumber;
use crate::domain::stretch::{Extent, Stretch};

/// A text, where its rows begin, and whose they are.
struct Example {
    text: String,
    starts: Vec<u64>,
    owners: Vec<u8>,
}

impl Example {
    /// Rows of these owners and lengths, as JSON lines or CSV.
    fn new(rows: &[(u8, usize)], is_csv: bool) -> Self {
        let mut text = String::from(if is_csv { "id,text\r\n" } else { "" });
        let mut starts = Vec::new();
        for &(owner, length) in rows {
            starts.push(text.len() as u64);
            match is_csv {
                // A quote stays whole.
                true => {
                    text.push_str(&format!("u{owner},\"{}\"\n", "\r\n,x\"\"".repeat(length / 6)))
                }
                false => {
                    let filler = "x".repeat(length);
                    text.push_str(&format!("{{\"id\":\"u{owner}\",\"text\":\"{filler}\"}}\n"));
                }
            }
        }
        Self { text, starts, owners: rows.iter().map(|row| row.0).collect() }
    }

    fn rows_of(&self, owner: u8) -> Vec<u64> {
        let owned = (0..).zip(&self.owners).filter(|(_, it)| **it == owner);
        owned.map(|(row, _)| row).collect()
    }

    fn landmarks(&self, rows: impl Iterator<Item = usize>) -> Landmarks {
        let landmark = |row: usize| {
            Some(Landmark { row: RowNumber(row as u64), byte: *self.starts.get(row)? })
        };
        Landmarks { rows: rows.filter_map(landmark).collect(), ..Landmarks::default() }
    }
}

fn blanked(stored: &Bytes, rows: &[u64], landmarks: &Landmarks) -> (Blanking, Bytes) {
    let order = BlankOrder { landmarks: landmarks.clone(), ..order("u1", rows) };
    let mut blanking = open(stored).blank(Arc::new(stored.clone()), &order).expect("readable");
    let new = blanking.edit.take().map(|edit| applied(stored, edit));
    let new = new.map_or_else(|| stored.clone(), Bytes::from);
    (blanking, new)
}

/// What may not have changed has not, as far as the answer's extents tell.
fn holds(stored: &Bytes, new: &Bytes, blanking: &Blanking) {
    let print = |bytes: &Bytes, extent: &Extent| {
        let except = blanking.blanked.as_ref().into();
        open(bytes).fingerprint_within(bytes, except, extent).expect("readable")
    };
    assert_eq!(print(stored, &blanking.before), print(new, &blanking.after));
    assert_eq!(print(stored, &Extent::Whole), print(new, &Extent::Whole));
}

proptest! {
    /// Landmarks, true or false ones, change how much is read and nothing else; and they are true of the
    /// new object as they were of the old one.
    #[test]
    fn landmarks_are_hints(
        rows in prop::collection::vec((0u8..4, 0usize..90), 1..60),
        (is_csv, is_compressed) in (any::<bool>(), any::<bool>()),
        stride in 1usize..9,
        lies in prop::collection::vec((0u64..60, 0u64..3000), 1..6),
    ) {
        let example = Example::new(&rows, is_csv);
        let stored = match is_compressed {
            true => Bytes::from(gzip(example.text.as_bytes())),
            false => Bytes::from(example.text.clone()),
        };
        let ordered = example.rows_of(1);
        prop_assume!(!ordered.is_empty());
        let (plain, expected) = blanked(&stored, &ordered, &Landmarks::default());
        prop_assert_eq!(plain.blanked.as_ref().map(|rows| rows.count().0), Some(ordered.len() as u64));
        holds(&stored, &expected, &plain);

        let truth = example.landmarks((0..rows.len()).step_by(stride));
        let (near, new) = blanked(&stored, &ordered, &truth);
        prop_assert_eq!(&new, &expected);
        holds(&stored, &new, &near);
        let content = match is_compressed {
            true => {
                let mut content = String::new();
                let mut decoder = flate2::read::MultiGzDecoder::new(&new[..]);
                std::io::Read::read_to_string(&mut decoder, &mut content).expect("text");
                content
            }
            false => String::from_utf8(new.to_vec()).expect("text"),
        };
        for (old, moved) in truth.rows.iter().zip(&near.landmarks.rows) {
            prop_assert_eq!(old.row, moved.row);
            let next = example.starts.get(old.row.0 as usize + 1).copied();
            let end = next.unwrap_or(example.text.len() as u64);
            let before = &example.text.as_bytes()[old.byte as usize..end as usize];
            let after = &content.as_bytes()[moved.byte as usize..];
            let is_blanked = ordered.contains(&old.row.0);
            prop_assert!(is_blanked || after.starts_with(before), "{:?}", old);
        }

        let mut lies = lies;
        lies.sort_unstable();
        let lies = lies.into_iter().map(|(row, byte)| Landmark { row: RowNumber(row), byte });
        let lies = Landmarks { rows: lies.collect(), ..Landmarks::default() };
        let (_, new) = blanked(&stored, &ordered, &lies);
        prop_assert_eq!(&new, &expected);
    }
}

/// Of a large object no more is read than what lies around a row.
#[test]
fn a_row_costs_its_neighbourhood() {
    let rows: Vec<_> = (0..60_000u64).map(|row| (u8::from(row % 30_000 == 7), 240)).collect();
    for is_csv in [false, true] {
        let example = Example::new(&rows, is_csv);
        let source = Metered::new(example.text.clone());
        let size = source.size_bytes();
        assert!(size > 4 << 20, "{size}");
        let format = open(&source);
        let landmarks = example.landmarks((0..rows.len()).step_by(500));
        let order = BlankOrder { landmarks, ..order("u1", &example.rows_of(1)) };
        source.read.store(0, Ordering::Relaxed);
        let blanking = format.blank(source.clone(), &order).expect("readable");
        assert_eq!(blanking.blanked.as_ref().map(|rows| rows.count().0), Some(2));
        let of_blanking = source.read.swap(0, Ordering::Relaxed);
        let except = blanking.blanked.as_ref().into();
        format.fingerprint_within(&source, except, &blanking.before).expect("readable");
        let of_print = source.read.load(Ordering::Relaxed);
        assert!(of_blanking < 3 << 20 && of_print < 3 << 20, "{of_blanking} {of_print} of {size}");
    }
}

/// Rows that are not where the new version is said to have them are no proof.
#[test]
fn a_stretch_beyond_the_end_is_an_error() {
    let text = Bytes::from("{\"id\":\"a\"}\n".repeat(10));
    let place = Landmark { row: RowNumber(20), byte: 4000 };
    let extent = Extent::new(vec![Stretch::of_text(place, RowNumber(22))]);
    let answer = open(&text).fingerprint_within(&text, Except::Nothing, &extent);
    assert!(matches!(answer, Err(FormatError::Unreadable(_))), "{answer:?}");
}
