//! Two-level assembly, planned. Pure: it asks no store.
//!
//! A part that is not the last has at least 5 MiB, so that a changed row of some bytes drags 5 MiB along:
//! read, and sent again. The last part of an upload has no least size. So a range of at least 5 MiB is
//! copied and the change sent as the last part of an upload of its own, the *stage*; the stage as a whole
//! is then large enough to be copied into the new object.

use std::ops::Range;

use super::parts::{
    COPY_USUAL_BYTES, PART_MAX_BYTES, PART_MIN_BYTES, PART_USUAL_BYTES, PARTS_MAX, PARTS_USUAL,
    Part, Planner,
};
use crate::domain::edit::Segment;

/// How many bytes a stage has to save: its six requests should be worth it.
const WORTH_BYTES: u64 = 1 << 20;

/// How many stages an upload has at most. All of them are noted before the first byte is stored.
const STAGES_MOST: usize = 256;

/// A part that is put together apart from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// Which of the upload's stages it is, from 0.
    pub(super) number: usize,
    /// A range of the old object, long enough to be a part that is not the last.
    pub(super) range: Range<u64>,
    /// What stands behind it.
    pub(super) patch: Vec<Segment>,
}

/// The parts of an upload with stages, where that moves fewer bytes than one without.
pub(super) fn staged(segments: &[Segment], base_bytes: u64) -> Option<Vec<Part>> {
    if base_bytes <= PART_MIN_BYTES {
        return None;
    }
    let size_bytes = total(segments);
    let mut assembly = Assembly::new(size_bytes);
    let items = items(segments);
    for (at, item) in items.iter().enumerate() {
        let next = items.get(at + 1);
        match item {
            Item::Run(range) => assembly.run(range.clone(), next.is_none()),
            Item::Patch(pieces) => assembly.patch(pieces, next),
        }
    }
    let stages = assembly.stages;
    let parts = assembly.finish();
    let is_better = stages > 0
        && parts.len() as u64 <= PARTS_MAX
        && moved(&parts) < moved(&plain(segments, size_bytes, base_bytes));
    is_better.then_some(parts)
}

/// The parts of an upload without stages.
fn plain(segments: &[Segment], size_bytes: u64, base_bytes: u64) -> Vec<Part> {
    let mut planner = Planner::new(Some(size_bytes), Some(base_bytes));
    let mut parts: Vec<Part> =
        segments.iter().flat_map(|segment| planner.push(segment.clone())).collect();
    parts.extend(planner.finish());
    parts
}

/// How many bytes go between store and client.
fn moved(parts: &[Part]) -> u64 {
    let of_piece = |piece: &Segment| match piece {
        Segment::Bytes(bytes) => bytes.len() as u64,
        // Read, and sent again.
        Segment::Copy(_) => piece.size_bytes().saturating_mul(2),
    };
    let of_part = |part: &Part| match part {
        Part::Copy(_) => 0,
        Part::Pieces(pieces) => pieces.iter().map(of_piece).fold(0, u64::saturating_add),
        Part::Staged(stage) => stage.patch.iter().map(of_piece).fold(0, u64::saturating_add),
    };
    parts.iter().map(of_part).fold(0, u64::saturating_add)
}

fn total(pieces: &[Segment]) -> u64 {
    pieces.iter().map(Segment::size_bytes).fold(0, u64::saturating_add)
}

/// What the new object is made of, seen from the least size of parts.
enum Item {
    /// A range that the store can copy: 5 MiB or more, or the last thing of all.
    Run(Range<u64>),
    /// All that stands between two runs.
    Patch(Vec<Segment>),
}

fn items(segments: &[Segment]) -> Vec<Item> {
    let mut joined: Vec<Segment> = Vec::new();
    for segment in segments.iter().filter(|segment| segment.size_bytes() > 0) {
        match (joined.last_mut(), segment) {
            (Some(Segment::Copy(last)), Segment::Copy(range)) if last.end == range.start => {
                last.end = range.end;
            }
            _ => joined.push(segment.clone()),
        }
    }
    let last = joined.len().saturating_sub(1);
    let mut items = Vec::new();
    for (at, segment) in joined.into_iter().enumerate() {
        match (segment, items.last_mut()) {
            (Segment::Copy(range), _)
                if range.end - range.start >= PART_MIN_BYTES || at == last =>
            {
                items.push(Item::Run(range));
            }
            (segment, Some(Item::Patch(pieces))) => pieces.push(segment),
            (segment, _) => items.push(Item::Patch(vec![segment])),
        }
    }
    items
}

/// Puts parts together, item after item. All parts but the last have 5 MiB.
struct Assembly {
    parts: Vec<Part>,
    stages: usize,
    /// What a copied part has at most.
    copy_most: u64,
    /// A range that is to be copied, unless a stage takes its end.
    run: Option<Range<u64>>,
    /// Pieces that are a part together with the head of the run that follows.
    pieces: Vec<Segment>,
}

impl Assembly {
    fn new(size_bytes: u64) -> Self {
        let copy_most = size_bytes.div_ceil(PARTS_USUAL).clamp(COPY_USUAL_BYTES, PART_MAX_BYTES);
        Self { parts: Vec::new(), stages: 0, copy_most, run: None, pieces: Vec::new() }
    }

    fn run(&mut self, mut run: Range<u64>, is_last: bool) {
        self.copy_run();
        let (has, length) = (total(&self.pieces), run.end - run.start);
        if (1..PART_MIN_BYTES).contains(&has) {
            let lacking = PART_MIN_BYTES - has;
            // What is left of it has to be a part as well.
            let leaves_part = length >= lacking.saturating_add(PART_MIN_BYTES);
            let taken = if leaves_part || is_last { lacking.min(length) } else { length };
            self.pieces.push(Segment::Copy(run.start..run.start + taken));
            run.start += taken;
        }
        self.send_pieces();
        self.run = Some(run).filter(|run| !run.is_empty());
    }

    fn patch(&mut self, pieces: &[Segment], next: Option<&Item>) {
        let has = total(pieces);
        let saved = match next {
            Some(Item::Run(next)) if has < PART_MIN_BYTES => {
                (next.end - next.start).min(PART_MIN_BYTES - has).saturating_mul(2)
            }
            _ => 0,
        };
        match self.run.take() {
            Some(run) if saved >= WORTH_BYTES && self.stages < STAGES_MOST => {
                self.stage(run, pieces);
            }
            run => {
                self.run = run;
                self.copy_run();
                self.pieces = pieces.to_vec();
            }
        }
    }

    /// A stage of the end of a run, as little of it as may be, and a patch behind it.
    fn stage(&mut self, run: Range<u64>, pieces: &[Segment]) {
        let length = run.end - run.start;
        let taken = if length >= 2 * PART_MIN_BYTES { PART_MIN_BYTES } else { length };
        let middle = run.end - taken;
        self.copy(run.start..middle);
        let (number, range) = (self.stages, middle..run.end);
        self.parts.push(Part::Staged(Stage { number, range, patch: pieces.to_vec() }));
        self.stages += 1;
    }

    fn copy_run(&mut self) {
        if let Some(run) = self.run.take() {
            self.copy(run);
        }
    }

    /// Has the store copy a range, in parts of about equal size.
    fn copy(&mut self, mut range: Range<u64>) {
        while !range.is_empty() {
            let length = range.end - range.start;
            let part = length.div_ceil(length.div_ceil(self.copy_most));
            self.parts.push(Part::Copy(range.start..range.start + part));
            range.start += part;
        }
    }

    /// Sends the pieces, in parts of between one and two of the usual size.
    fn send_pieces(&mut self) {
        let mut pieces = std::mem::take(&mut self.pieces);
        let mut left = total(&pieces);
        while left > 0 {
            let part = left.div_ceil((left / PART_USUAL_BYTES).max(1));
            let rest = split(&mut pieces, part);
            self.parts.push(Part::Pieces(std::mem::replace(&mut pieces, rest)));
            left -= part;
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.copy_run();
        self.send_pieces();
        self.parts
    }
}

/// Leaves the first bytes of the pieces, and answers with the rest.
fn split(pieces: &mut Vec<Segment>, mut length: u64) -> Vec<Segment> {
    let mut rest = Vec::new();
    for piece in std::mem::take(pieces) {
        let size_bytes = piece.size_bytes();
        let taken = length.min(size_bytes);
        length -= taken;
        let (head, tail) = match piece {
            Segment::Copy(range) => {
                let middle = range.start + taken;
                (Segment::Copy(range.start..middle), Segment::Copy(middle..range.end))
            }
            Segment::Bytes(mut bytes) => {
                let head = bytes.split_to(usize::try_from(taken).unwrap_or(usize::MAX));
                (Segment::Bytes(head), Segment::Bytes(bytes))
            }
        };
        pieces.extend((taken > 0).then_some(head));
        rest.extend((taken < size_bytes).then_some(tail));
    }
    rest
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::parts::tests::{check_limits, joined, pieces, segment};
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn row(length: usize) -> Segment {
        Segment::Bytes(Bytes::from(vec![b' '; length]))
    }

    /// An object of this size with rows of 100 bytes replaced at these places.
    fn rows(size_bytes: u64, places: &[u64]) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut at = 0;
        for place in places {
            segments.extend([Segment::Copy(at..*place), row(100)]);
            at = place + 100;
        }
        segments.push(Segment::Copy(at..size_bytes));
        segments
    }

    #[test]
    fn five_rows_move_five_rows() {
        let places = [100 * MIB, 300 * MIB, 500 * MIB, 700 * MIB, 900 * MIB];
        let segments = rows(GIB, &places);
        let parts = staged(&segments, GIB).expect("it is better");
        check_limits(&parts);
        assert_eq!(moved(&parts), 500);
        let without = moved(&plain(&segments, GIB, GIB));
        assert_eq!(without, 5 * (PART_MIN_BYTES + PART_MIN_BYTES - 100));
        let stages = parts.iter().filter(|part| matches!(part, Part::Staged(_))).count();
        assert_eq!((stages, parts.len()), (5, 11));
    }

    /// Nothing stands before the first row, and nothing has to stand behind the last part.
    #[test]
    fn the_ends_of_an_object_have_rules_of_their_own() {
        let first = rows(GIB, &[0]);
        assert_eq!(staged(&first, GIB), None);
        let last = rows(GIB, &[GIB - 100]);
        assert_eq!(staged(&last, GIB), None);
        let near_the_end = rows(GIB, &[GIB - 3 * MIB]);
        let parts = staged(&near_the_end, GIB).expect("it is better");
        assert_eq!(moved(&parts), 100);
        assert_eq!(parts.last(), Some(&Part::Copy(GIB - 3 * MIB + 100..GIB)));
        assert_eq!(staged(&rows(4 * MIB, &[2 * MIB]), 4 * MIB), None);
    }

    /// Rows that lie close to each other are one patch, what lies between them included.
    #[test]
    fn neighbours_share_a_stage() {
        let parts = staged(&rows(GIB, &[100 * MIB, 101 * MIB]), GIB).expect("it is better");
        assert_eq!(moved(&parts), 100 + 2 * (MIB - 100) + 100);
        let apart = rows(GIB, &[100 * MIB, 107 * MIB]);
        assert_eq!(moved(&staged(&apart, GIB).expect("it is better")), 200);
    }

    #[test]
    fn stages_are_bounded() {
        let places: Vec<u64> = (1..=300).map(|place| place * 20 * MIB).collect();
        let parts = staged(&rows(8 * GIB, &places), 8 * GIB).expect("it is better");
        check_limits(&parts);
        let stages = parts.iter().filter(|part| matches!(part, Part::Staged(_))).count();
        assert_eq!(stages, STAGES_MOST);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Hazard B5, with stages: the parts are the edit, they and those of the stages keep within the
        /// limits of S3, and fewer bytes are moved.
        #[test]
        fn the_parts_with_stages_are_the_edit(
            segments in prop::collection::vec(segment(), 0..12),
            base in prop_oneof![Just(PART_MIN_BYTES), Just(6_000 * MIB)],
        ) {
            let size = total(&segments);
            if let Some(parts) = staged(&segments, base) {
                check_limits(&parts);
                prop_assert!(base > PART_MIN_BYTES);
                prop_assert!(moved(&parts) < moved(&plain(&segments, size, base)));
                prop_assert_eq!(joined(pieces(&parts)), joined(segments));
            }
        }

        #[test]
        fn rows_anywhere_move_less(
            places in prop::collection::btree_set(0..10_000u64, 1..40),
            length in 1..40u64,
        ) {
            let size = length * 64 * MIB;
            let places: Vec<u64> =
                places.into_iter().map(|place| place * (size - 100) / 10_000).collect();
            let mut apart = places.clone();
            apart.dedup_by(|next, last| *next < *last + 100);
            let segments = rows(size, &apart);
            if let Some(parts) = staged(&segments, size) {
                check_limits(&parts);
                prop_assert!(moved(&parts) < moved(&plain(&segments, size, size)));
                prop_assert_eq!(joined(pieces(&parts)), joined(segments));
            }
        }
    }
}
