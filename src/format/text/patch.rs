//! Changes to the content of an object: byte ranges, and what stands there afterwards.

use std::ops::Range;

use bytes::Bytes;

use crate::domain::edit::{EditError, Segment};
use crate::format::FormatError;
use crate::format::compression::MemberStart;

/// One change. Its range is never empty.
#[derive(Clone, Debug)]
pub(in crate::format) struct Patch {
    /// The old bytes, counted in the content.
    pub(in crate::format) range: Range<u64>,
    /// What stands there afterwards.
    pub(in crate::format) bytes: Bytes,
    /// The member that the range begins in.
    pub(in crate::format) member: MemberStart,
}

/// Changes in ascending order, none overlapping another.
pub(in crate::format) trait Patches: Send + 'static {
    /// The next change; `None` where there is none.
    fn next(&mut self) -> Result<Option<Patch>, FormatError>;

    /// By how many bytes all changes, also those already taken, make this range longer; `None`
    /// where that is not known. What replaces a range counts where the range begins.
    fn growth(&self, content: Range<u64>) -> Option<i64>;
}

/// Changes that are all known.
pub(in crate::format) struct KnownPatches {
    all: Vec<Patch>,
    next: usize,
}

impl KnownPatches {
    /// These changes, ascending.
    pub(in crate::format) fn new(all: Vec<Patch>) -> Self {
        Self { all, next: 0 }
    }
}

impl Patches for KnownPatches {
    fn next(&mut self) -> Result<Option<Patch>, FormatError> {
        let patch = self.all.get(self.next).cloned();
        self.next += usize::from(patch.is_some());
        Ok(patch)
    }

    fn growth(&self, content: Range<u64>) -> Option<i64> {
        let first = self.all.partition_point(|patch| patch.range.end <= content.start);
        let mut growth = 0i64;
        for patch in self.all[first..].iter().take_while(|patch| patch.range.start < content.end) {
            let start = patch.range.start.max(content.start);
            let end = patch.range.end.min(content.end);
            growth = growth.checked_sub_unsigned(end - start)?;
            if patch.range.start >= content.start {
                growth = growth.checked_add_unsigned(patch.bytes.len() as u64)?;
            }
        }
        Some(growth)
    }
}

/// Carries changes out on content that passes by in pieces.
pub(in crate::format) struct Patching<P> {
    patches: P,
    current: Option<Patch>,
    /// Whether what replaces the current range is written, and the rest of the range is being left
    /// out.
    within: bool,
}

impl<P: Patches> Patching<P> {
    pub(in crate::format) fn new(mut patches: P) -> Result<Self, FormatError> {
        let current = patches.next()?;
        Ok(Self { patches, current, within: false })
    }

    /// Where the member begins that has to be written next; `None` where the rest is without
    /// change.
    pub(in crate::format) fn next_member(&self) -> Option<MemberStart> {
        self.current.as_ref().map(|patch| patch.member)
    }

    /// Whether a change has begun that reaches beyond what was seen so far.
    pub(in crate::format) fn is_within(&self) -> bool {
        self.within
    }

    /// As [`Patches::growth`].
    pub(in crate::format) fn growth(&self, content: Range<u64>) -> Option<i64> {
        self.patches.growth(content)
    }

    /// Appends the new content of a piece that begins at `offset`.
    pub(in crate::format) fn apply(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        while let Some(patch) = &self.current {
            let before = clamp(patch.range.start, offset, bytes.len());
            out.extend_from_slice(&bytes[..before]);
            (offset, bytes) = (offset + before as u64, &bytes[before..]);
            if bytes.is_empty() {
                return Ok(());
            }
            if !self.within {
                out.extend_from_slice(&patch.bytes);
                self.within = true;
            }
            let left_out = clamp(patch.range.end, offset, bytes.len());
            (offset, bytes) = (offset + left_out as u64, &bytes[left_out..]);
            if offset < patch.range.end {
                return Ok(());
            }
            self.current = self.patches.next()?;
            self.within = false;
        }
        out.extend_from_slice(bytes);
        Ok(())
    }
}

/// How many of `length` bytes from `offset` on lie before `end`.
fn clamp(end: u64, offset: u64, length: usize) -> usize {
    usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(length)
}

/// The segments of an edit of an object that is not compressed.
pub(in crate::format) struct Splice<P> {
    patches: P,
    position: u64,
    size_bytes: u64,
    pending: Option<Segment>,
    done: bool,
}

impl<P: Patches> Splice<P> {
    pub(in crate::format) fn new(patches: P, size_bytes: u64) -> Self {
        Self { patches, position: 0, size_bytes, pending: None, done: false }
    }

    fn step(&mut self) -> Result<Option<Segment>, FormatError> {
        while !self.done {
            if let Some(pending) = self.pending.take() {
                return Ok(Some(pending));
            }
            let patch = self.patches.next()?;
            self.done = patch.is_none();
            let (until, from) = match &patch {
                Some(patch) => (patch.range.start, patch.range.end),
                None => (self.size_bytes, self.size_bytes),
            };
            let copied = self.position..until;
            self.position = from;
            let written = patch.map(|patch| patch.bytes).filter(|bytes| !bytes.is_empty());
            self.pending = written.map(Segment::Bytes);
            if copied.start < copied.end {
                return Ok(Some(Segment::Copy(copied)));
            }
        }
        Ok(None)
    }
}

impl<P: Patches> Iterator for Splice<P> {
    type Item = Result<Segment, EditError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        self.done |= step.is_err();
        step.map_err(|error| Box::new(error) as EditError).transpose()
    }
}
