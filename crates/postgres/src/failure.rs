//! Database errors, sorted by what their caller can do.

use saga_core::Failure;
use sqlx::{Error, Postgres, Transaction};

/// Sorts an error by what its caller can do.
#[must_use]
pub fn failure(error: Error) -> Failure {
    let text = error.to_string();
    match &error {
        Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock, lock time-out, and a unique violation when two
            // transactions insert the same key at once. A statement time-out is one of them: the
            // database is there, and half of the work may be done in time.
            Some("40001" | "40P01" | "55P03" | "23505" | "57014") => Failure::Conflict(text),
            // Connection exceptions, out of resources, shutting down, idle in transaction for too
            // long, read-only after a failover.
            Some(code)
                if code.starts_with("08")
                    || code.starts_with("53")
                    || code.starts_with("57")
                    || matches!(code, "25P03" | "25P02" | "25006" | "58030") =>
            {
                Failure::Unavailable(text)
            }
            Some(_) | None => Failure::Permanent(text),
        },
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => Failure::Unavailable(text),
        _ => Failure::Permanent(text),
    }
}

/// Commits. If the answer is lost, the outcome is unknown, not failed.
///
/// # Errors
/// [`Failure::UnknownCommit`] if the connection broke before the answer came.
pub async fn commit(tx: Transaction<'_, Postgres>) -> Result<(), Failure> {
    match tx.commit().await {
        Ok(()) => Ok(()),
        Err(error) => Err(match failure(error) {
            Failure::Unavailable(text) => Failure::UnknownCommit(text),
            known @ (Failure::Conflict(_) | Failure::UnknownCommit(_) | Failure::Permanent(_)) => {
                known
            }
        }),
    }
}
