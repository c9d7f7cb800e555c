//! The calls of the operating system that need care: interrupted, partial or missing on some kernels.

use std::ops::Range;

use bytes::Bytes;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FlockOperation;
use rustix::io::{Errno, retry_on_intr};

use super::super::{LakeError, LakeErrorKind};
use super::PIECE_BYTES;
use crate::domain::object::ObjectKey;

/// What a caller can do about an error of the operating system.
pub(super) fn kind_of(errno: Errno) -> LakeErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => LakeErrorKind::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => LakeErrorKind::Denied,
        Errno::LOOP | Errno::XDEV => LakeErrorKind::NotAnObject,
        Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => LakeErrorKind::Unsupported,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::BUSY | Errno::STALE => {
            LakeErrorKind::Unavailable
        }
        _ => LakeErrorKind::Other,
    }
}

/// An error about a file, with the system's own as its cause.
pub(super) fn failed(key: &ObjectKey, what: &str, errno: Errno) -> LakeError {
    let message = match kind_of(errno) {
        LakeErrorKind::NotFound => "no such object",
        LakeErrorKind::NotAnObject => "a symbolic link lies at it or on the way to it",
        _ => what,
    };
    LakeError::about(kind_of(errno), key, message).caused_by(errno)
}

/// Whether the file system or kernel does not know the call.
pub(super) fn is_unsupported(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP)
}

/// The bytes of a range; `None` where the file ends before it does.
pub(super) fn read_exact(file: &OwnedFd, range: &Range<u64>) -> Result<Option<Bytes>, Errno> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).or(Err(Errno::INVAL))?;
    let mut buffer = Vec::with_capacity(length);
    while buffer.len() < length {
        let offset = range.start + buffer.len() as u64;
        let read = retry_on_intr(|| {
            rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), offset)
        })?;
        if read == 0 {
            return Ok(None);
        }
    }
    buffer.truncate(length);
    Ok(Some(Bytes::from(buffer)))
}

/// Writes everything at the end of what was written before.
pub(super) fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = retry_on_intr(|| rustix::io::write(file, bytes))?;
        if written == 0 {
            return Err(Errno::IO);
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Appends a range of one file to another, within the kernel where it can; `false` where the old file
/// ends before the range does.
pub(super) fn copy(from: &OwnedFd, range: Range<u64>, to: &OwnedFd) -> Result<bool, Errno> {
    let mut offset = range.start;
    while offset < range.end {
        let length = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(1 << 30);
        match retry_on_intr(|| {
            rustix::fs::copy_file_range(from, Some(&mut offset), to, None, length)
        }) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP | Errno::XDEV | Errno::PERM) => {
                return copy_through_memory(from, offset..range.end, to);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(true)
}

pub(super) fn copy_through_memory(
    from: &OwnedFd,
    range: Range<u64>,
    to: &OwnedFd,
) -> Result<bool, Errno> {
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start.saturating_add(PIECE_BYTES));
        match read_exact(from, &(start..end))? {
            None => return Ok(false),
            Some(piece) => write_all(to, &piece)?,
        }
        start = end;
    }
    Ok(true)
}

/// Locks a folder against every other write of Lacuna until the handle is closed; `false` where the
/// file system has no locks.
pub(super) fn lock(folder: impl AsFd) -> Result<bool, Errno> {
    match retry_on_intr(|| rustix::fs::flock(&folder, FlockOperation::LockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::NOLCK | Errno::BADF | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

/// A write failed for want of something.
pub(super) fn failed_write(key: &ObjectKey, errno: Errno) -> LakeError {
    let message = match errno {
        Errno::NOSPC | Errno::DQUOT => "there is no space left to rewrite it",
        Errno::EXIST => {
            "an unfinished write of the same operation lies beside it; abandon it first"
        }
        Errno::ACCESS | Errno::PERM | Errno::ROFS => "its folder may not be written to",
        _ => "it cannot be written",
    };
    LakeError::about(kind_of(errno), key, message).caused_by(errno)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> OwnedFd {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file.into()
    }

    /// The kernel's copy and the one through memory append the same, and notice a file that ends early.
    #[test]
    fn both_ways_of_copying_agree() {
        let bytes: Vec<u8> = (0..3_000_001_u32).map(|number| (number * 7 % 251) as u8).collect();
        let from = file(&bytes);
        for range in [0..0, 0..1, 5..3_000_001, 1_048_575..2_097_153, 3_000_000..3_000_001] {
            let (kernel, memory) = (file(b"ab"), file(b"ab"));
            assert_eq!(copy(&from, range.clone(), &kernel), Ok(true));
            assert_eq!(copy_through_memory(&from, range.clone(), &memory), Ok(true));
            let expected = &bytes[range.start as usize..range.end as usize];
            for copied in [kernel, memory] {
                let size_bytes = File::from(copied.try_clone().expect("cloned"))
                    .metadata()
                    .expect("metadata")
                    .len();
                assert_eq!(size_bytes, 2 + expected.len() as u64);
                let read = read_exact(&copied, &(2..size_bytes)).expect("read");
                assert!(read.expect("whole") == expected);
            }
        }
        for range in [0..3_000_002, 3_000_001..3_000_002, 9_000_000..9_000_001] {
            assert_eq!(copy(&from, range.clone(), &file(b"")), Ok(false));
            assert_eq!(copy_through_memory(&from, range, &file(b"")), Ok(false));
        }
    }
}
