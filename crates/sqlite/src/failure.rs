//! Classifies database errors by what the caller can do.

use rusqlite::{Error, ErrorCode, ffi};
use saga_core::Failure;

/// Converts an error to the failure that says what the caller can do.
#[must_use]
pub fn failure(error: Error) -> Failure {
    let text = error.to_string();
    let Error::SqliteFailure(code, _) = &error else {
        return Failure::Permanent(text);
    };
    match code.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Failure::Conflict(text),
        // As in Postgres: if two transactions insert the same key, one of them tries again.
        ErrorCode::ConstraintViolation
            if [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY]
                .contains(&code.extended_code) =>
        {
            Failure::Conflict(text)
        }
        // The database may recover: a full disk gets space, a damaged file is restored. These
        // errors are never the fault of the message that is being handled.
        ErrorCode::DiskFull
        | ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::FileLockingProtocolFailed
        | ErrorCode::NoLargeFileSupport
        | ErrorCode::OperationInterrupted
        | ErrorCode::DatabaseCorrupt
        | ErrorCode::NotADatabase => Failure::Unavailable(text),
        _ => Failure::Permanent(text),
    }
}
