//! Ranges of bytes, checked before any store is asked.

use std::ops::Range;

use super::{Base, LakeError, LakeErrorKind};
use crate::domain::object::{ObjectKey, ObjectVersion};

/// How many bytes a range has that lies within an object of `size_bytes`.
fn length_within(range: &Range<u64>, size_bytes: u64) -> Option<u64> {
    if range.end <= size_bytes { range.end.checked_sub(range.start) } else { None }
}

/// How many bytes a read asks for.
///
/// # Errors
///
/// [`LakeErrorKind::Other`] where the range is reversed or ends beyond the object: a caller's mistake.
pub(crate) fn read_length(object: &ObjectVersion, range: &Range<u64>) -> Result<u64, LakeError> {
    length_within(range, object.size_bytes)
        .ok_or_else(|| beyond(&object.key, range, object.size_bytes))
}

/// How many bytes an edit copies.
///
/// # Errors
///
/// [`LakeErrorKind::Other`] where the range is not one of the base's.
pub(crate) fn copy_length(
    key: &ObjectKey,
    base: &Base,
    range: &Range<u64>,
) -> Result<u64, LakeError> {
    let size_bytes = match base {
        Base::Absent => 0,
        Base::Version(object) => object.size_bytes,
    };
    length_within(range, size_bytes).ok_or_else(|| beyond(key, range, size_bytes))
}

fn beyond(key: &ObjectKey, range: &Range<u64>, size_bytes: u64) -> LakeError {
    let Range { start, end } = range;
    let message = format!("bytes {start}..{end} are not a range of its {size_bytes} bytes");
    LakeError::about(LakeErrorKind::Other, key, message)
}
