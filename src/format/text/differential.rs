//! Holds the quick way of reading windows to the plain one, on records made up at random.

use bytes::Bytes;

use super::{Findings, Plain, Problem, ReadWindow, Syntax, Text};
use crate::domain::dataset::Compression;
use crate::domain::field::{BoundFields, IdentifierField};
use crate::domain::identifier::{DigestKey, IdentifierDigest, IdentifierType, Namespace};
use crate::domain::landmark::Landmark;
use crate::domain::posting::{RowGap, RowPosting};
use crate::domain::row::RowNumber;
use crate::format::{Format as _, FormatError, ScanSink, Stopped};

/// Numbers that look random and are the same in every run (Steele and others, *SplitMix*, 2014).
pub(in crate::format) struct Dice(u64);

impl Dice {
    pub(in crate::format) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `sides`.
    pub(in crate::format) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) % sides as u64) as usize
    }

    /// True once in `times`.
    pub(in crate::format) fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    pub(in crate::format) fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.roll(from.len())]
    }
}

pub(in crate::format) fn fields(paths: &[&str], kind: IdentifierType) -> BoundFields {
    let field = |path: &&str| IdentifierField {
        namespace: Namespace::new(*path),
        path: path.parse().expect("a path"),
        kind,
    };
    BoundFields::new(&paths.iter().map(field).collect::<Vec<_>>(), &DigestKey::new([1; 32]))
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    postings: Vec<(u64, IdentifierDigest)>,
    gaps: Vec<RowGap>,
    foreign: Vec<u64>,
    rows: u64,
    last: u64,
}

impl Told {
    /// What is told comes in the order of rows.
    fn ascend(&mut self, row: RowNumber) {
        assert!(row.0 >= self.last, "row {row} came after {}", self.last);
        self.last = row.0;
    }
}

impl ScanSink for Told {
    fn posting(&mut self, posting: RowPosting) -> Result<(), Stopped> {
        self.ascend(posting.row);
        self.postings.push((posting.row.0, posting.digest));
        Ok(())
    }

    fn gap(&mut self, gap: RowGap) {
        self.ascend(gap.row);
        self.gaps.push(gap);
    }

    fn foreign_value(&mut self, row: RowNumber) {
        self.ascend(row);
        self.foreign.push(row.0);
    }

    fn landmark(&mut self, landmark: Landmark) {
        assert!(landmark.row.0 > 0 && landmark.byte > 0);
    }
}

/// What a whole object says, or where and why it cannot be read.
type Outcome = Result<Told, (String, Option<u64>, Option<u64>)>;

/// Reads in windows of the lengths that `next` answers.
fn read(mut reader: impl ReadWindow, bytes: &[u8], mut next: impl FnMut() -> usize) -> Outcome {
    let mut told = Told::default();
    let (mut start, mut end) = (0, 0);
    loop {
        end = (end + next()).min(bytes.len());
        let ended = end == bytes.len();
        let mut findings = Findings::default();
        match reader.read(&bytes[start..end], ended, &mut findings) {
            Ok(taken) => {
                findings.tell(told.rows, start as u64, &mut told).expect("it takes all");
                told.rows += findings.rows;
                start += taken;
            }
            Err(Problem::Broken { broken, start: at }) => {
                let byte = (start + at + broken.at) as u64;
                return Err((broken.reason.into(), Some(told.rows + findings.rows), Some(byte)));
            }
            Err(Problem::Format(error)) => return Err(failure(error)),
        }
        if ended {
            assert_eq!(start, bytes.len(), "all of the last window is taken");
            return Ok(told);
        }
    }
}

fn failure(error: FormatError) -> (String, Option<u64>, Option<u64>) {
    match error {
        FormatError::Unreadable(why) => (why.reason, why.row.map(|row| row.0), why.byte),
        other => panic!("{other:?}"),
    }
}

/// The quick way, in one window, in small ones, and on several threads, says what the plain one says.
/// Answers how many rows and postings there are.
pub(in crate::format) fn hold<S: Syntax>(
    syntax: S,
    settled: bool,
    fields: &BoundFields,
    bytes: &[u8],
    dice: &mut Dice,
) -> (u64, usize)
where
    S::Cutter: Clone,
    S::Reader: Clone + Send,
{
    let show = || String::from_utf8_lossy(bytes).into_owned();
    let reader = syntax.reader(fields).expect("a reader");
    let plain = read(Plain::new(syntax.cutter(), reader, settled), bytes, || usize::MAX);
    let scanner = syntax.scanner(fields).expect("a scanner");
    assert_eq!(read(scanner.clone(), bytes, || bytes.len()), plain, "in one window: {}", show());
    let small = read(scanner, bytes, || 1 + dice.roll(300));
    assert_eq!(small, plain, "in small windows: {}", show());

    let mut told = Told::default();
    let source = Bytes::copy_from_slice(bytes);
    let threads = Text::new(syntax, Compression::None).scan(&source, fields, &mut told);
    if !bytes.starts_with(b"\xef\xbb\xbf") {
        let threads = threads.map_err(failure).map(|rows| Told { rows: rows.0, ..told });
        assert_eq!(threads, plain, "on threads: {}", show());
    }
    plain.map_or((0, 0), |told| (told.rows, told.postings.len()))
}
