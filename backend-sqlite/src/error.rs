//! What SQLite said, as a [`StoreError`].

use larder_core::{StoreError, StoreErrorKind};
use rusqlite::ErrorCode;

/// The journal's name in errors, logs and metrics.
pub(crate) const NAME: &str = "sqlite";

pub(crate) fn from_sqlite(operation: &'static str, error: rusqlite::Error) -> StoreError {
    let (kind, advice) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (StoreErrorKind::Unavailable, "; does another process hold a transaction open?")
        }
        Some(ErrorCode::CannotOpen) => {
            (StoreErrorKind::Config, "; does the folder exist, and may this process write there?")
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            (StoreErrorKind::Denied, "; this process needs to write the file and its folder")
        }
        Some(ErrorCode::DiskFull) => (StoreErrorKind::Other, "; the disk is full"),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            (StoreErrorKind::Other, "; the file is no journal, or is damaged")
        }
        _ => (StoreErrorKind::Other, ""),
    };
    StoreError::new(kind, NAME, operation, format!("{error}{advice}")).with_source(error)
}

pub(crate) fn closed(operation: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Closed, NAME, operation, "the journal was closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn errors_say_what_to_do() {
        for (code, kind, said) in [
            (ffi::SQLITE_BUSY, StoreErrorKind::Unavailable, "another process"),
            (ffi::SQLITE_CANTOPEN, StoreErrorKind::Config, "does the folder exist"),
            (ffi::SQLITE_FULL, StoreErrorKind::Other, "the disk is full"),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Other, "no journal"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = from_sqlite("append", error);
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
