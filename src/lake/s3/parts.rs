//! How an edit becomes the parts of a multipart upload. Pure: it asks no store.
//!
//! The limits are S3's: 5 MiB to 5 GiB a part, the last may be smaller, at most 10,000 parts.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

use std::ops::Range;

use bytes::Bytes;

use super::stages::Stage;
use crate::domain::edit::Segment;

const MIB: u64 = 1 << 20;

/// The smallest part that is not the last.
pub const PART_MIN_BYTES: u64 = 5 * MIB;

/// The largest part.
pub(super) const PART_MAX_BYTES: u64 = 5 << 30;

/// How many parts an upload may have.
pub(super) const PARTS_MAX: u64 = 10_000;

/// What a part of new bytes usually has.
pub(super) const PART_USUAL_BYTES: u64 = 8 * MIB;

/// What a copied part has at most, as long as there are parts enough.
pub(super) const COPY_USUAL_BYTES: u64 = 256 * MIB;

/// Up to here parts keep their usual size; the other half makes room for what is left.
pub(super) const PARTS_USUAL: u64 = PARTS_MAX / 2;

/// Objects up to this size fit, however an edit cuts them.
pub(super) const OBJECT_MAX_BYTES: u64 = 5 << 40;

/// One part of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This range of the old object, copied by the store.
    Copy(Range<u64>),
    /// These pieces, in order: new bytes, and ranges of the old object too small for the store to copy.
    Pieces(Vec<Segment>),
    /// What another upload puts together first, to be copied as a whole.
    Staged(Stage),
}

impl Part {
    /// How many bytes the part has.
    pub(super) fn size_bytes(&self) -> u64 {
        match self {
            Self::Copy(range) => range.end - range.start,
            Self::Pieces(pieces) => pieces.iter().map(Segment::size_bytes).sum(),
            Self::Staged(Stage { range, patch, .. }) => {
                range.end - range.start + patch.iter().map(Segment::size_bytes).sum::<u64>()
            }
        }
    }
}

/// Cuts segments into parts as they come.
#[derive(Debug)]
pub(super) struct Planner {
    /// What is still to come, where the size is known.
    remaining_bytes: Option<u64>,
    /// How many parts were cut.
    parts: u64,
    /// Whether the store may copy ranges of the old object at all.
    may_copy: bool,
    /// Pieces of a part that is not cut yet.
    pieces: Vec<Segment>,
    pieces_bytes: u64,
    /// A range after the pieces that the next segment may prolong.
    run: Option<Range<u64>>,
    ready: Vec<Part>,
}

impl Planner {
    /// A plan for a new object of `size_bytes`, where that is known, made from an old one of
    /// `base_bytes`: ranges of an object of 5 MiB or less cannot be copied.
    pub(super) fn new(size_bytes: Option<u64>, base_bytes: Option<u64>) -> Self {
        Self {
            remaining_bytes: size_bytes,
            parts: 0,
            may_copy: base_bytes.is_some_and(|bytes| bytes > PART_MIN_BYTES),
            pieces: Vec::new(),
            pieces_bytes: 0,
            run: None,
            ready: Vec::new(),
        }
    }

    /// Takes the next segment; the parts that it completes.
    pub(super) fn push(&mut self, segment: Segment) -> Vec<Part> {
        match segment {
            _ if segment.size_bytes() == 0 => {}
            Segment::Copy(range) => match &mut self.run {
                Some(run) if run.end == range.start => run.end = range.end,
                _ => {
                    self.settle_run();
                    self.run = Some(range);
                }
            },
            Segment::Bytes(bytes) => {
                self.settle_run();
                self.take_bytes(bytes);
            }
        }
        std::mem::take(&mut self.ready)
    }

    /// No more segments come; the parts that are left.
    pub(super) fn finish(mut self) -> Vec<Part> {
        self.settle_run();
        self.cut();
        self.ready
    }

    /// What a part that is not the last has at least.
    fn part_min(&self) -> u64 {
        if self.parts < PARTS_USUAL {
            return PART_MIN_BYTES;
        }
        let needed = match self.remaining_bytes {
            Some(bytes) => bytes.div_ceil(PARTS_MAX.saturating_sub(self.parts).max(1)),
            // Doubling every 500 parts holds more than the largest object.
            None => PART_USUAL_BYTES << (1 + (self.parts - PARTS_USUAL) / 500).min(10),
        };
        needed.clamp(PART_MIN_BYTES, PART_MAX_BYTES)
    }

    fn part_target(&self) -> u64 {
        self.part_min().max(PART_USUAL_BYTES)
    }

    fn take_bytes(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let room = self.part_target().saturating_sub(self.pieces_bytes).max(1);
            let taken = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            self.take_piece(Segment::Bytes(bytes.split_to(taken)));
        }
    }

    /// Adds a piece to the part in the making, and cuts it when it is large enough.
    fn take_piece(&mut self, piece: Segment) {
        self.pieces_bytes += piece.size_bytes();
        self.pieces.push(piece);
        if self.pieces_bytes >= self.part_target() {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.pieces_bytes > 0 {
            self.pieces_bytes = 0;
            let pieces = std::mem::take(&mut self.pieces);
            self.emit(Part::Pieces(pieces));
        }
    }

    fn emit(&mut self, part: Part) {
        self.parts += 1;
        self.remaining_bytes =
            self.remaining_bytes.map(|bytes| bytes.saturating_sub(part.size_bytes()));
        self.ready.push(part);
    }

    /// Decides what becomes of the range that nothing prolongs any more.
    fn settle_run(&mut self) {
        let Some(mut run) = self.run.take() else { return };
        let lacking = match self.pieces_bytes {
            0 => 0,
            bytes => self.part_min().saturating_sub(bytes),
        };
        if !self.may_copy || run.end - run.start < lacking.saturating_add(self.part_min()) {
            return self.take_range(run);
        }
        // The pieces are completed from the head of the range, the rest of it the store copies.
        if lacking > 0 {
            self.take_piece(Segment::Copy(run.start..run.start + lacking));
            run.start += lacking;
        }
        self.cut();
        self.copy(run);
    }

    /// Takes a range in as pieces that are read.
    fn take_range(&mut self, mut run: Range<u64>) {
        while run.start < run.end {
            let room = self.part_target().saturating_sub(self.pieces_bytes).max(1);
            let end = run.start + room.min(run.end - run.start);
            self.take_piece(Segment::Copy(run.start..end));
            run.start = end;
        }
    }

    /// Has the store copy a range, in parts of about equal size.
    fn copy(&mut self, mut run: Range<u64>) {
        while run.start < run.end {
            let length = run.end - run.start;
            let most = COPY_USUAL_BYTES.max(2 * self.part_min()).min(PART_MAX_BYTES);
            let part = length.div_ceil(length.div_ceil(most));
            if part < self.part_min() {
                return self.take_range(run);
            }
            self.emit(Part::Copy(run.start..run.start + part));
            run.start += part;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(segments: &[Segment], size: Option<u64>, base: u64) -> Vec<Part> {
        let mut planner = Planner::new(size, Some(base));
        let mut parts: Vec<Part> =
            segments.iter().flat_map(|segment| planner.push(segment.clone())).collect();
        parts.extend(planner.finish());
        parts
    }

    /// The segments with neighbours that continue each other joined; bytes by content.
    pub(in super::super) fn joined(
        segments: impl IntoIterator<Item = Segment>,
    ) -> Vec<(Option<Range<u64>>, Vec<u8>)> {
        let mut out: Vec<(Option<Range<u64>>, Vec<u8>)> = Vec::new();
        for segment in segments.into_iter().filter(|segment| segment.size_bytes() > 0) {
            match (segment, out.last_mut()) {
                (Segment::Copy(range), Some((Some(last), _))) if last.end == range.start => {
                    last.end = range.end;
                }
                (Segment::Bytes(bytes), Some((None, last))) => last.extend_from_slice(&bytes),
                (Segment::Copy(range), _) => out.push((Some(range), Vec::new())),
                (Segment::Bytes(bytes), _) => out.push((None, bytes.to_vec())),
            }
        }
        out
    }

    pub(in super::super) fn pieces(parts: &[Part]) -> Vec<Segment> {
        let each = |part: &Part| match part {
            Part::Copy(range) => vec![Segment::Copy(range.clone())],
            Part::Pieces(pieces) => pieces.clone(),
            Part::Staged(stage) => {
                let range = Segment::Copy(stage.range.clone());
                std::iter::once(range).chain(stage.patch.clone()).collect()
            }
        };
        parts.iter().flat_map(each).collect()
    }

    pub(in super::super) fn check_limits(parts: &[Part]) {
        assert!(parts.len() as u64 <= PARTS_MAX, "{} parts", parts.len());
        for (index, part) in parts.iter().enumerate() {
            let size = part.size_bytes();
            assert!(size <= PART_MAX_BYTES && size > 0, "part {index} has {size} bytes");
            assert!(size >= PART_MIN_BYTES || index + 1 == parts.len(), "part {index}: {size}");
            if let Part::Staged(Stage { range, .. }) = part {
                let (range, patch) = (range.end - range.start, size - (range.end - range.start));
                assert!((PART_MIN_BYTES..=PART_MAX_BYTES).contains(&range), "{index}: {range}");
                assert!((1..PART_MIN_BYTES).contains(&patch), "{index}: {patch}");
            }
        }
    }

    pub(in super::super) fn segment() -> impl Strategy<Value = Segment> {
        let length = prop_oneof![0..100u64, 0..12 * MIB, Just(PART_MIN_BYTES), 0..2_000 * MIB];
        prop_oneof![
            (0..4_000 * MIB, length)
                .prop_map(|(start, length)| Segment::Copy(start..start + length)),
            (0..3_000usize).prop_map(|length| Segment::Bytes(vec![b'x'; length].into())),
            (0..12 * MIB).prop_map(|n| Segment::Bytes(vec![b'y'; n as usize].into())),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Hazard B5: the parts are the edit, whatever its cuts, and keep within S3's limits.
        #[test]
        fn the_parts_are_the_edit(
            segments in prop::collection::vec(segment(), 0..12),
            tells_size in any::<bool>(),
            base in prop_oneof![Just(PART_MIN_BYTES), Just(6_000 * MIB)],
        ) {
            let size = segments.iter().map(Segment::size_bytes).sum();
            let parts = plan(&segments, tells_size.then_some(size), base);
            check_limits(&parts);
            prop_assert_eq!(joined(pieces(&parts)), joined(segments));
            if base <= PART_MIN_BYTES {
                prop_assert!(!parts.iter().any(|part| matches!(part, Part::Copy(_))));
            }
        }

        /// Hazard B5 at full size: ranges only, so that terabytes can be planned. `gap` breaks the
        /// runs, so that nothing joins.
        #[test]
        fn the_largest_objects_fit(
            length in (0u32..20).prop_map(|shift| (3 * MIB) << shift),
            tells_size in any::<bool>(),
            may_copy in any::<bool>(),
        ) {
            let count = (OBJECT_MAX_BYTES / length).min(200_000);
            let segment = |index: u64| {
                let start = index * (length + 1);
                Segment::Copy(start..start + length)
            };
            let segments: Vec<Segment> = (0..count).map(segment).collect();
            let size = count * length;
            let base = if may_copy { size } else { 0 };
            let parts = plan(&segments, tells_size.then_some(size), base);
            check_limits(&parts);
            prop_assert_eq!(joined(pieces(&parts)), joined(segments));
        }
    }

    #[test]
    fn an_object_of_five_tebibytes_of_new_bytes_fits() {
        for size in [Some(OBJECT_MAX_BYTES), None] {
            let parts = plan(&[Segment::Copy(0..OBJECT_MAX_BYTES)], size, 0);
            check_limits(&parts);
        }
    }

    #[test]
    fn what_changes_little_is_copied() {
        let parts = plan(
            &[
                Segment::Copy(0..100 * MIB),
                Segment::Bytes(Bytes::from_static(b"{}")),
                Segment::Copy(100 * MIB + 2..200 * MIB),
            ],
            Some(200 * MIB),
            200 * MIB,
        );
        let head = PART_MIN_BYTES - 2;
        assert_eq!(parts[0], Part::Copy(0..100 * MIB));
        assert_eq!(
            parts[1],
            Part::Pieces(vec![
                Segment::Bytes(Bytes::from_static(b"{}")),
                Segment::Copy(100 * MIB + 2..100 * MIB + 2 + head),
            ])
        );
        assert_eq!(parts[2], Part::Copy(100 * MIB + 2 + head..200 * MIB));
        assert_eq!(parts.len(), 3);
    }
}
