//! The bytes that a compaction is about to write, readable before they are written anywhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::domain::edit::{Edit, Segment};
use crate::format::{Format, SharedSource, Source, SourceError, checked_range};

/// The new object as a source. Its beginning is held; beyond that the edit is carried out while it is
/// read, and again from its start where a reader goes back. For sequential readers.
pub(super) struct Preview {
    format: Arc<dyn Format>,
    old: SharedSource,
    head: Bytes,
    size_bytes: u64,
    run: Mutex<Option<Run>>,
}

/// An edit that was carried out so far.
struct Run {
    edit: Edit,
    /// Where the segment begins in the new object.
    position: u64,
    segment: Segment,
}

impl Preview {
    /// What `format` makes of `old` without its blanks: `size_bytes` bytes, of which the first are known.
    pub(super) fn new(
        format: Arc<dyn Format>,
        old: SharedSource,
        head: Bytes,
        size_bytes: u64,
    ) -> Self {
        Self { format, old, head, size_bytes, run: Mutex::default() }
    }

    /// The edit's run, at or before `offset`.
    fn run_to(&self, offset: u64) -> Result<MutexGuard<'_, Option<Run>>, SourceError> {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if run.as_ref().is_none_or(|run| offset < run.position) {
            let compaction = self.format.compact(self.old.clone()).map_err(SourceError::new)?;
            let edit = compaction.edit.ok_or_else(|| SourceError::new("the blanks are gone"))?;
            *run = Some(Run { edit, position: 0, segment: Segment::Bytes(Bytes::new()) });
        }
        Ok(run)
    }
}

impl Run {
    /// Some bytes from `offset` on, which is not before the segment: at least one, at most `most`.
    fn some(&mut self, old: &dyn Source, offset: u64, most: usize) -> Result<Bytes, SourceError> {
        while self.position.saturating_add(self.segment.size_bytes()) <= offset {
            let next =
                self.edit.next().ok_or_else(|| SourceError::new("the edit ends too early"))?;
            self.position = self.position.saturating_add(self.segment.size_bytes());
            self.segment = next.map_err(SourceError)?;
        }
        let from = offset - self.position;
        let left = usize::try_from(self.segment.size_bytes() - from).unwrap_or(usize::MAX);
        let length = left.min(most);
        match &self.segment {
            Segment::Copy(range) => old.read_at(range.start.saturating_add(from), length),
            // A segment of bytes is in memory, so that its length is a `usize`.
            Segment::Bytes(bytes) => Ok(bytes.slice(from as usize..from as usize + length)),
        }
    }
}

impl Source for Preview {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, SourceError> {
        let range = checked_range(offset, length, self.size_bytes)?;
        if range.end <= self.head.len() as u64 {
            return Ok(self.head.slice(range.start as usize..range.end as usize));
        }
        let mut bytes = BytesMut::with_capacity(length);
        let mut run = self.run_to(offset)?;
        while let Some(run) = run.as_mut().filter(|_| bytes.len() < length) {
            let at = offset.saturating_add(bytes.len() as u64);
            bytes.extend_from_slice(&run.some(&*self.old, at, length - bytes.len())?);
        }
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::dataset::Reading;
    use crate::domain::field::BoundFields;
    use crate::domain::identifier::DigestKey;
    use crate::format::detect;

    proptest! {
        /// Whatever is read in whatever order is what would be written there.
        #[test]
        fn a_preview_reads_what_would_be_written(
            rows in prop::collection::vec("[a-z]{0,9}", 0..40),
            head in 0_usize..60,
            reads in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..50), 1..20),
        ) {
            let line = |row: &String| if row.is_empty() { "{}\n".to_owned() } else {
                format!("{{\"n\":\"{row}\"}}\n")
            };
            let text: String = rows.iter().map(line).chain(["{}\n".to_owned()]).collect();
            let new = text.replace("{}\n", "");
            let old: SharedSource = Arc::new(Bytes::from(text));
            let fields = BoundFields::new(&[], &DigestKey::new([1; 32]));
            let format = detect::open(&*old, &Reading::default(), &fields).expect("open").format;
            let head = Bytes::copy_from_slice(&new.as_bytes()[..head.min(new.len())]);
            let preview = Preview::new(format, old, head, new.len() as u64);
            for (from, length) in reads {
                let from = from.index(new.len() + 1);
                let length = length.min(new.len() - from);
                let read = preview.read_at(from as u64, length).expect("within");
                prop_assert_eq!(&read[..], &new.as_bytes()[from..from + length]);
            }
            prop_assert!(preview.read_at(new.len() as u64, 1).is_err());
        }
    }
}
