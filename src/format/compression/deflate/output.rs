//! What was inflated, as far as it is needed.

use super::REACH_BYTES;

/// The longest match, and by how much a copy may write beyond its end.
pub(super) const LONGEST_MATCH: usize = 258;
pub(super) const OVERSHOOT: usize = 16;

/// How much room there has to be for a symbol, in bytes.
const ROOM_BYTES: usize = LONGEST_MATCH + OVERSHOOT;

/// Content, and room for more of it. The last 32 KiB stay, since matches refer to them.
pub(in crate::format::compression) struct Output {
    pub(super) bytes: Vec<u8>,
    /// How many of them are content.
    pub(super) filled: usize,
    /// Where they begin in the content.
    start: u64,
}

impl Output {
    /// What follows this content, which ends at `end` of the stream's content.
    pub(in crate::format::compression) fn after(content: &[u8], end: u64) -> Self {
        let start = end.saturating_sub(content.len() as u64);
        Self { bytes: content.to_vec(), filled: content.len(), start }
    }

    /// Where what comes next begins in the content.
    pub(in crate::format::compression) fn end(&self) -> u64 {
        self.start + self.filled as u64
    }

    /// What is held from this place of the content on.
    pub(in crate::format::compression) fn from(&self, place: u64) -> &[u8] {
        let at = usize::try_from(place.saturating_sub(self.start)).unwrap_or(usize::MAX);
        &self.bytes[at.min(self.filled)..self.filled]
    }

    /// The last 32 KiB that are held, or what there is.
    pub(in crate::format::compression) fn last(&self) -> &[u8] {
        self.from(self.end().saturating_sub(REACH_BYTES))
    }

    /// How many bytes are held.
    pub(in crate::format::compression) fn held(&self) -> usize {
        self.filled
    }

    /// Lets go of what is more than 32 KiB before this place, if that is much.
    pub(in crate::format::compression) fn forget_before(&mut self, place: u64) {
        let place = place.min(self.end());
        let at = place.saturating_sub(self.start).saturating_sub(REACH_BYTES) as usize;
        if at > self.filled / 2 {
            self.bytes.copy_within(at..self.filled, 0);
            self.filled -= at;
            self.start += at as u64;
        }
    }

    /// Makes room for this many bytes and a symbol.
    pub(in crate::format::compression) fn reserve(&mut self, more: usize) {
        let wanted = self.filled + more + ROOM_BYTES;
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
    }

    /// Adds bytes that there is room for.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.filled..end) {
            room.copy_from_slice(bytes);
            self.filled = end;
        }
    }
}
