//! The new object of a compressed one: members without a change are copied, the others
//! decompressed, changed and compressed again, in pieces.

use std::ops::Range;

use bytes::Bytes;

use super::{Content, Encoder, Input, MemberStart, PIECE_BYTES, zstd};
use crate::domain::dataset::Compression;
use crate::domain::edit::{EditError, Segment};
use crate::format::text::{Patches, Patching};
use crate::format::{FormatError, SharedSource, Source as _};

/// How much is decompressed at a time, in bytes.
const STEP_BYTES: usize = 256 << 10;

/// The segments of an edit of a compressed object.
pub(in crate::format) struct Recompress<P> {
    source: SharedSource,
    compression: Compression,
    patching: Patching<P>,
    /// The stored byte up to which the new object is made.
    stored: u64,
    /// Where copying ends: the end of the object, or its seek table.
    end: u64,
    /// Bytes to copy before anything else is written.
    gap: Option<Range<u64>>,
    member: Option<Member>,
    done: bool,
    content: Vec<u8>,
    changed: Vec<u8>,
    out: Vec<u8>,
}

/// The member being written again.
struct Member {
    content: Content<SharedSource>,
    encoder: Encoder,
}

impl<P: Patches> Recompress<P> {
    /// # Errors
    ///
    /// [`FormatError`] where the first patch cannot be made or the store fails.
    pub(in crate::format) fn new(
        source: SharedSource,
        compression: Compression,
        patches: P,
    ) -> Result<Self, FormatError> {
        let seek_table = match compression {
            Compression::Zstd => zstd::seek_table(&source)?,
            _ => None,
        };
        let end = seek_table.unwrap_or_else(|| source.size_bytes());
        Ok(Self {
            source,
            compression,
            patching: Patching::new(patches)?,
            stored: 0,
            end,
            gap: None,
            member: None,
            done: false,
            content: Vec::new(),
            changed: Vec::new(),
            out: Vec::new(),
        })
    }

    fn step(&mut self) -> Result<Option<Segment>, FormatError> {
        loop {
            let full = self.out.len() >= STEP_BYTES;
            if full || (self.waits() && !self.out.is_empty()) {
                return Ok(Some(Segment::Bytes(Bytes::from(std::mem::take(&mut self.out)))));
            }
            if let Some(gap) = self.gap.take() {
                return Ok(Some(Segment::Copy(gap)));
            }
            if let Some(member) = self.member.take() {
                self.go_on(member)?;
            } else if let Some(start) = self.patching.next_member() {
                self.gap = self.copy_to(start.stored);
                self.member = Some(self.open(start)?);
            } else {
                self.done = true;
                return Ok(self.copy_to(self.end).map(Segment::Copy));
            }
        }
    }

    /// Whether what was written so far has to go out first.
    fn waits(&self) -> bool {
        self.gap.is_some() || self.member.is_none()
    }

    fn go_on(&mut self, mut member: Member) -> Result<(), FormatError> {
        if self.rewrite(&mut member)? {
            self.member = Some(member);
        } else {
            self.stored = member.content.stored_position();
            self.member = self.follow(member.content)?;
        }
        Ok(())
    }

    fn copy_to(&mut self, end: u64) -> Option<Range<u64>> {
        let start = self.stored;
        self.stored = end;
        (start < end).then_some(start..end)
    }

    fn open(&mut self, start: MemberStart) -> Result<Member, FormatError> {
        let input = Input::new(self.source.clone(), start.stored, PIECE_BYTES);
        let mut content = Content::new(input, self.compression, start)?;
        if content.begin()?.is_none() {
            return Err(FormatError::unreadable(
                "the object ends before a row that was found in it",
            ));
        }
        self.begun(content)
    }

    fn begun(&self, content: Content<SharedSource>) -> Result<Member, FormatError> {
        let from = content.position();
        let grown = |bytes: u64| self.patching.growth(from..from.checked_add(bytes)?);
        let encoder = content.encoder(grown)?;
        Ok(Member { content, encoder })
    }

    /// Writes a piece of the member; answers whether it goes on.
    fn rewrite(&mut self, member: &mut Member) -> Result<bool, FormatError> {
        self.content.clear();
        self.changed.clear();
        let at = member.content.position();
        let goes_on = member.content.read(&mut self.content, STEP_BYTES)?;
        self.patching.apply(at, &self.content, &mut self.changed)?;
        member.encoder.write(&self.changed, &mut self.out)?;
        if !goes_on {
            member.encoder.finish(&mut self.out)?;
        }
        Ok(goes_on)
    }

    /// A change that began in the member just ended may reach into the one that follows.
    fn follow(
        &mut self,
        mut content: Content<SharedSource>,
    ) -> Result<Option<Member>, FormatError> {
        if !self.patching.is_within() {
            return Ok(None);
        }
        let Some(start) = content.begin()? else {
            return Err(FormatError::unreadable(
                "the object ends within a row that was found in it",
            ));
        };
        self.gap = self.copy_to(start.stored);
        self.begun(content).map(Some)
    }
}

impl<P: Patches> Iterator for Recompress<P> {
    type Item = Result<Segment, EditError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let step = self.step();
        self.done |= step.is_err();
        step.map_err(|error| Box::new(error) as EditError).transpose()
    }
}
