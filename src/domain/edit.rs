//! The hinge between formats and lakes: how the new bytes of an object follow from the old.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// How a new object comes about, the cheapest way first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "way", rename_all = "snake_case")]
pub enum Way {
    /// Text: just the changed rows are written.
    Rows,
    /// Parquet: just the pages that hold a changed row are written.
    Pages,
    /// Compressed text: just the compressed blocks around a changed row are written.
    Blocks,
    /// Compressed text: the members, frames or streams that hold a changed row are compressed anew.
    Members {
        /// Why their blocks alone could not be, lower case, without content.
        because: String,
    },
    /// Parquet: a column chunk that holds a changed row is written anew.
    Chunks {
        /// Why its pages alone could not be, lower case, without content.
        because: String,
    },
    /// All of the object is written anew.
    Object {
        /// Why no cheaper way was open, lower case, without content.
        because: String,
    },
}

/// One piece of the new object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes of the old object.
    Copy(Range<u64>),
    /// New bytes.
    Bytes(Bytes),
}

impl Segment {
    /// How many bytes the piece has; a reversed range has none, and whoever copies refuses it.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Copy(range) => range.end.saturating_sub(range.start),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// Why the next segment of an edit could not be made; the format's error, boxed.
pub type EditError = Box<dyn std::error::Error + Send + Sync>;

type Segments = Box<dyn Iterator<Item = Result<Segment, EditError>> + Send>;

/// The new object as segments, in order. It is consumed once, as a stream, so that a re-compressed
/// object of any size passes through in pieces.
///
/// # Contract
///
/// - The segments in order are the whole new object. Copied ranges lie within the old one.
/// - After an `Err` nothing more comes, and whoever consumes the edit abandons the write.
/// - `next` may compute and may block on reading the old object: it is called off the runtime's
///   threads.
pub struct Edit {
    segments: Segments,
    size_bytes: Option<u64>,
}

impl Edit {
    /// An edit whose segments are known.
    pub fn new(segments: Vec<Segment>) -> Self {
        let size_bytes = segments.iter().map(Segment::size_bytes).fold(0, u64::saturating_add);
        Self { segments: Box::new(segments.into_iter().map(Ok)), size_bytes: Some(size_bytes) }
    }

    /// A new object of these bytes, with nothing copied.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(vec![Segment::Bytes(bytes.into())])
    }

    /// An edit whose segments are made while it is consumed; the length is known only at the end.
    pub fn streamed<I>(segments: I) -> Self
    where
        I: Iterator<Item = Result<Segment, EditError>> + Send + 'static,
    {
        Self { segments: Box::new(segments), size_bytes: None }
    }

    /// The same edit, telling of each segment as it is consumed.
    #[must_use]
    pub fn observed<O>(self, mut observer: O) -> Self
    where
        O: FnMut(&Segment) + Send + 'static,
    {
        let observe = move |segment: &Result<Segment, EditError>| {
            if let Ok(segment) = segment {
                observer(segment);
            }
        };
        Self { segments: Box::new(self.segments.inspect(observe)), size_bytes: self.size_bytes }
    }

    /// The length of the new object in bytes, where it is known beforehand.
    pub fn size_bytes(&self) -> Option<u64> {
        self.size_bytes
    }
}

impl Iterator for Edit {
    type Item = Result<Segment, EditError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.segments.next()
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Edit").field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}
