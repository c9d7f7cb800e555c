//! Compression around an object: what is stored on one side, its content on the other.
//!
//! Knows gzip (RFC 1952), zstd (RFC 8878), bzip2, lz4 in frames and snappy in frames, each as a row of
//! *members* (zstd and lz4 call them frames, bzip2 streams, snappy chunks) that are decompressed on
//! their own. An edit makes use of that: members without a change are copied as they are stored. Knows
//! nothing of rows.

use bytes::{Buf as _, Bytes, BytesMut};

use super::text::Patch;
use super::{FormatError, SharedSource, Source, SourceError};
use crate::domain::dataset::Compression;

mod bzip2;
mod deflate;
mod gzip;
mod lz4;
mod recompress;
mod resume;
mod snappy;
mod splice;
mod start;
mod trace;
mod zstd;

use deflate::Place;
pub(super) use recompress::Recompress;
pub(super) use resume::Resume;
use splice::Checkpoint;
pub(super) use splice::{Answer, Hint, Touched};
use start::is_skippable;
pub(super) use start::{around, begins};

/// How many bytes are read from a source at a time.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// How many bytes are read at a time by whoever wants a row and not all of them.
const NEAR_BYTES: usize = 128 << 10;

/// Content beyond this many bytes has to be at most [`LARGEST_EXPANSION`] times as long as what is
/// stored. Memory is bounded anyway: this bounds the time that a few kilobytes can ask for.
const EXPANSION_FREE_BYTES: u64 = 1 << 30;

/// Deflate cannot exceed 1,032; zstd and bzip2 can, but real data does not come near this.
const LARGEST_EXPANSION: u64 = 10_000;

/// The stored bytes, in order, in pieces.
pub(super) struct Input<S> {
    source: S,
    /// Where the next piece begins.
    next: u64,
    piece: Bytes,
    piece_bytes: usize,
}

impl<S: Source> Input<S> {
    /// From byte `at` on, `piece_bytes` at a time.
    pub(super) fn new(source: S, at: u64, piece_bytes: usize) -> Self {
        Self { source, next: at, piece: Bytes::new(), piece_bytes }
    }

    /// Bytes not yet consumed: at least one, unless the object ends.
    fn peek(&mut self) -> Result<&[u8], SourceError> {
        if self.piece.is_empty() {
            self.piece = self.next_piece()?;
        }
        Ok(&self.piece)
    }

    /// At least `wanted` bytes, unless the object ends before.
    fn ahead(&mut self, wanted: usize) -> Result<&[u8], SourceError> {
        while self.piece.len() < wanted {
            let more = self.next_piece()?;
            if more.is_empty() {
                break;
            }
            let mut joined = BytesMut::with_capacity(self.piece.len() + more.len());
            joined.extend_from_slice(&self.piece);
            joined.extend_from_slice(&more);
            self.piece = joined.freeze();
        }
        Ok(&self.piece)
    }

    fn next_piece(&mut self) -> Result<Bytes, SourceError> {
        let left = self.source.size_bytes().saturating_sub(self.next);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.piece_bytes);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let piece = self.source.read_some(self.next, length)?;
        self.next += piece.len() as u64;
        Ok(piece)
    }

    /// Takes up to `at_most` bytes without copying them; none where the object ends.
    fn take(&mut self, at_most: usize) -> Result<Bytes, SourceError> {
        let length = self.peek()?.len().min(at_most);
        Ok(self.piece.split_to(length))
    }

    /// Takes exactly `N` bytes; `None` where the object ends before.
    fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, SourceError> {
        let found = self.ahead(N)?.first_chunk::<N>().copied();
        if found.is_some() {
            self.consume(N);
        }
        Ok(found)
    }

    /// Takes exactly `length` bytes; `None` where the object ends before.
    fn exactly(&mut self, length: usize) -> Result<Option<Bytes>, SourceError> {
        let first = self.take(length)?;
        if first.len() == length {
            return Ok(Some(first));
        }
        let mut joined = BytesMut::with_capacity(length);
        joined.extend_from_slice(&first);
        while joined.len() < length {
            let more = self.take(length - joined.len())?;
            if more.is_empty() {
                return Ok(None);
            }
            joined.extend_from_slice(&more);
        }
        Ok(Some(joined.freeze()))
    }

    /// Skips bytes; answers whether there were as many.
    fn skip(&mut self, mut length: u64) -> Result<bool, SourceError> {
        while length > 0 {
            let piece = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            if piece.is_empty() {
                return Ok(false);
            }
            length -= piece.len() as u64;
        }
        Ok(true)
    }

    /// Skips a skippable frame, which zstd and lz4 have alike; answers whether all of it was there.
    fn skip_frame(&mut self) -> Result<bool, SourceError> {
        match self.array::<8>()? {
            Some([.., a, b, c, d]) => self.skip(u64::from(u32::from_le_bytes([a, b, c, d]))),
            None => Ok(false),
        }
    }

    /// Goes on at another byte.
    fn jump(&mut self, at: u64) {
        if at != self.position() {
            (self.next, self.piece) = (at, Bytes::new());
        }
    }

    fn consume(&mut self, bytes: usize) {
        self.piece.advance(bytes.min(self.piece.len()));
    }

    /// The stored byte that comes next.
    fn position(&self) -> u64 {
        self.next - self.piece.len() as u64
    }
}

/// Where a member begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberStart {
    /// As stored, in bytes.
    pub(super) stored: u64,
    /// In the content, in bytes.
    pub(super) content: u64,
}

/// The content of an object, in order, member by member. An object that is not compressed is one
/// member.
pub(super) struct Content<S> {
    stream: Stream<S>,
    first: MemberStart,
    /// The content offset of the next byte.
    position: u64,
    resume: Resume,
}

enum Stream<S> {
    Plain { input: Input<S>, begun: bool },
    Gzip(gzip::Members<S>),
    Zstd(Box<zstd::Frames<S>>),
    Bzip2(bzip2::Streams<S>),
    Lz4(Box<lz4::Frames<S>>),
    Snappy(Box<snappy::Chunks<S>>),
}

impl<S: Source> Content<S> {
    /// From the beginning of a member on.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unreadable`] where no decoder can be made.
    pub(super) fn new(
        input: Input<S>,
        compression: Compression,
        first: MemberStart,
    ) -> Result<Self, FormatError> {
        let stream = match compression {
            Compression::None => Stream::Plain { input, begun: false },
            Compression::Gzip => Stream::Gzip(gzip::Members::new(input)),
            Compression::Zstd => Stream::Zstd(Box::new(zstd::Frames::new(input)?)),
            Compression::Bzip2 => Stream::Bzip2(bzip2::Streams::new(input)),
            Compression::Lz4 => Stream::Lz4(Box::new(lz4::Frames::new(input))),
            Compression::Snappy => Stream::Snappy(Box::new(snappy::Chunks::new(input))),
        };
        Ok(Self { stream, first, position: first.content, resume: Resume::default() })
    }

    /// Makes [`Content::seek`] go on from these places.
    pub(super) fn resume_from(&mut self, resume: Resume) {
        self.resume = resume;
    }

    /// Makes [`Content::hint`] answer, where the compression allows an edit by blocks. Asked before the first
    /// member is begun.
    pub(super) fn trace(&mut self) {
        match &mut self.stream {
            Stream::Gzip(members) => members.trace(),
            Stream::Bzip2(streams) => streams.trace(),
            _ => {}
        }
    }

    /// From where an edit of this place of the content can go on, which is in this member.
    pub(super) fn hint(&mut self, member: MemberStart, place: u64) -> Option<Hint> {
        match &mut self.stream {
            Stream::Gzip(members) => Some((member, members.checkpoint(member.content, place)?)),
            Stream::Bzip2(streams) => Some((member, streams.checkpoint(member.content, place)?)),
            _ => None,
        }
    }

    /// Goes on to the next member; `None` where the object ends.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where what follows is no member, or the store fails.
    pub(super) fn begin(&mut self) -> Result<Option<MemberStart>, FormatError> {
        let stored = match &mut self.stream {
            Stream::Plain { input, begun } => {
                let any = !*begun && !input.peek()?.is_empty();
                *begun = true;
                any.then(|| input.position())
            }
            Stream::Gzip(members) => members.begin()?,
            Stream::Zstd(frames) => frames.begin()?,
            Stream::Bzip2(streams) => streams.begin()?,
            Stream::Lz4(frames) => frames.begin()?,
            Stream::Snappy(chunks) => chunks.begin()?,
        };
        Ok(stored.map(|stored| MemberStart { stored, content: self.position }))
    }

    /// Appends a piece of the member: about `at_most` bytes, or what the vector has room for.
    /// Answers whether the member goes on.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where the stream is corrupt, ends early or expands beyond measure, or the
    /// store fails.
    pub(super) fn read(&mut self, into: &mut Vec<u8>, at_most: usize) -> Result<bool, FormatError> {
        let before = into.len();
        let goes_on = match &mut self.stream {
            Stream::Plain { input, .. } => {
                let piece = input.take(at_most)?;
                into.extend_from_slice(&piece);
                !piece.is_empty()
            }
            Stream::Gzip(members) => members.read(into, at_most)?,
            Stream::Zstd(frames) => frames.read(into, at_most)?,
            Stream::Bzip2(streams) => streams.read(into, at_most)?,
            Stream::Lz4(frames) => frames.read(into, at_most)?,
            Stream::Snappy(chunks) => chunks.read(into, at_most)?,
        };
        self.position += (into.len() - before) as u64;
        self.check_expansion()?;
        Ok(goes_on)
    }

    /// A piece of the member, not copied where it is stored as it is: at most `at_most` bytes, or none.
    /// Answers as well whether the member goes on.
    ///
    /// # Errors
    ///
    /// As `read`.
    pub(super) fn read_piece(&mut self, at_most: usize) -> Result<(Bytes, bool), FormatError> {
        let whole = match &mut self.stream {
            Stream::Plain { input, .. } => {
                let piece = input.take(at_most)?;
                let goes_on = !piece.is_empty();
                Some((piece, goes_on))
            }
            Stream::Snappy(chunks) => Some(chunks.read_piece(at_most)?),
            _ => None,
        };
        if let Some((piece, goes_on)) = whole {
            self.position += piece.len() as u64;
            return Ok((piece, goes_on));
        }
        let mut bytes = Vec::with_capacity(at_most);
        let mut goes_on = true;
        while goes_on && bytes.len() < at_most {
            let room = at_most - bytes.len();
            goes_on = self.read(&mut bytes, room)?;
        }
        Ok((Bytes::from(bytes), goes_on))
    }

    /// Goes on as near before this content offset as it can without reading what is before it, and answers
    /// with the member that that is in; `None` where it cannot. A member was begun.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where nothing is at a place from which reading was said to go on, or the store fails.
    pub(super) fn seek(&mut self, position: u64) -> Result<Option<MemberStart>, FormatError> {
        match &mut self.stream {
            Stream::Plain { input, begun: true } if position <= input.source.size_bytes() => {
                input.next = position;
                input.piece = Bytes::new();
                input.piece_bytes = input.piece_bytes.min(NEAR_BYTES);
                self.position = position;
                Ok(Some(self.first))
            }
            Stream::Gzip(members) => {
                let Some(hint) = self.resume.between(self.position, position) else {
                    return Ok(None);
                };
                members.resume(hint)?;
                self.position = resume::content(hint);
                Ok(Some(hint.0))
            }
            _ => Ok(None),
        }
    }

    fn check_expansion(&self) -> Result<(), FormatError> {
        let stored = self.stored_position();
        let content = self.position.saturating_sub(self.first.content);
        let read = stored.saturating_sub(self.first.stored);
        if content > EXPANSION_FREE_BYTES && content / LARGEST_EXPANSION > read {
            let reason = format!("the content expands more than {LARGEST_EXPANSION} times");
            return Err(FormatError::unreadable_at(reason, None, stored));
        }
        Ok(())
    }

    /// How much content there is, where the object ended with the trailer of the gzip member just read.
    pub(super) fn whole_member(&self) -> Option<u64> {
        match &self.stream {
            Stream::Gzip(members) if members.is_unpadded() => Some(self.position),
            _ => None,
        }
    }

    /// The content offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The stored byte at which reading goes on; at the end of a member, where that ends.
    pub(super) fn stored_position(&self) -> u64 {
        match &self.stream {
            Stream::Plain { input, .. } => input.position(),
            Stream::Gzip(members) => members.position(),
            Stream::Zstd(frames) => frames.position(),
            Stream::Bzip2(streams) => streams.position(),
            Stream::Lz4(frames) => frames.position(),
            Stream::Snappy(chunks) => chunks.position(),
        }
    }

    /// What writes a member in the place of the one just begun. `grown` answers how many bytes
    /// longer than `length` bytes of old content the new content is, where that is known.
    fn encoder(&self, grown: impl Fn(u64) -> Option<i64>) -> Result<Encoder, FormatError> {
        Ok(match &self.stream {
            Stream::Plain { .. } => Encoder::Plain,
            Stream::Gzip(members) => Encoder::Gzip(members.encoder()),
            Stream::Zstd(frames) => Encoder::Zstd(frames.encoder(grown)?),
            Stream::Bzip2(streams) => Encoder::Bzip2(streams.encoder()),
            Stream::Lz4(frames) => Encoder::Lz4(Box::new(frames.encoder(grown))),
            Stream::Snappy(_) => Encoder::Snappy(Box::new(snappy::Encoder::new())),
        })
    }
}

/// Changes the content of an object by its compressed blocks, if it has any. `member_bytes` is how much content a
/// scan of this version found in it, if it found one gzip member, and is a hint as the others are.
///
/// # Errors
///
/// [`FormatError`] where the object cannot be read.
pub(super) fn by_blocks(
    source: &SharedSource,
    compression: Compression,
    patches: &[Patch],
    (hints, member_bytes): (&[Hint], Option<u64>),
) -> Result<Answer, FormatError> {
    match compression {
        Compression::Gzip => splice::splice(source, patches, (hints, member_bytes)),
        Compression::Bzip2 => bzip2::splice(source, patches, hints),
        Compression::None => Ok(Answer::Refused("it is not compressed")),
        Compression::Zstd => Ok(Answer::Refused("no part of a zstd frame stands on its own")),
        Compression::Lz4 => Ok(Answer::Refused("an lz4 frame is compressed as a whole")),
        Compression::Snappy => Ok(Answer::Refused("a snappy chunk is compressed as a whole")),
    }
}

/// Writes one member.
enum Encoder {
    Plain,
    Gzip(gzip::Encoder),
    Zstd(zstd::Encoder),
    Bzip2(bzip2::Encoder),
    Lz4(Box<lz4::Encoder>),
    Snappy(Box<snappy::Encoder>),
}

impl Encoder {
    fn write(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Self::Plain => out.extend_from_slice(bytes),
            Self::Gzip(encoder) => encoder.write(bytes, out)?,
            Self::Zstd(encoder) => encoder.write(bytes, out)?,
            Self::Bzip2(encoder) => encoder.write(bytes, out)?,
            Self::Lz4(encoder) => encoder.write(bytes, out)?,
            Self::Snappy(encoder) => encoder.write(bytes, out)?,
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), FormatError> {
        match self {
            Self::Plain => Ok(()),
            Self::Gzip(encoder) => encoder.finish(out),
            Self::Zstd(encoder) => encoder.finish(out),
            Self::Bzip2(encoder) => encoder.finish(out),
            Self::Lz4(encoder) => encoder.finish(out),
            Self::Snappy(encoder) => encoder.finish(out),
        }
    }
}

#[cfg(test)]
mod tests;
