//! SQLite's errors as the metastore's, by what the caller can do about them.

use std::io::ErrorKind;

use rusqlite::ErrorCode;

use crate::metastore::{MetastoreError, MetastoreErrorKind};

/// An error of SQLite, met while doing `what`.
pub(super) fn failure(what: &str, error: rusqlite::Error) -> MetastoreError {
    let (kind, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (MetastoreErrorKind::Corrupt, DAMAGED)
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (MetastoreErrorKind::Unavailable, "another process holds it for too long; try again")
        }
        Some(ErrorCode::DiskFull) => (MetastoreErrorKind::Unavailable, "the disk is full"),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            (MetastoreErrorKind::Other, "its files cannot be opened for writing")
        }
        _ => (MetastoreErrorKind::Other, "the database failed"),
    };
    MetastoreError::new(kind, format!("the index could not {what}: {advice}")).caused_by(error)
}

/// An error of a file of the index, met while doing `what`.
pub(super) fn file_failure(what: &str, error: std::io::Error) -> MetastoreError {
    let (kind, advice) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            (MetastoreErrorKind::Unavailable, "the disk is full")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            (MetastoreErrorKind::Other, "its files cannot be opened for writing")
        }
        _ => (MetastoreErrorKind::Other, "the disk failed"),
    };
    MetastoreError::new(kind, format!("the index could not {what}: {advice}")).caused_by(error)
}

/// What stands in the database is not what was written.
pub(super) fn damaged(what: &str) -> MetastoreError {
    MetastoreError::new(
        MetastoreErrorKind::Corrupt,
        format!("the index holds {what} that cannot be read: {DAMAGED}"),
    )
}

const DAMAGED: &str = "it is damaged; make it anew from the lake with `lacuna index --rebuild`";

/// An error to be told to several callers: kind and message, without the cause.
pub(super) fn again(error: &MetastoreError) -> MetastoreError {
    MetastoreError::new(error.kind(), chain(error))
}

fn chain(error: &MetastoreError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}
