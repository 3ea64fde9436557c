//! Database errors, sorted by how the caller can react to them.

use saga_core::Failure;
use sqlx::{Error, Postgres, Transaction};

/// Converts an error to the failure that says how the caller can react to it.
#[must_use]
pub fn failure(error: Error) -> Failure {
    let text = error.to_string();
    match &error {
        Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock, lock time-out, or a unique violation because two
            // transactions inserted the same key at once. A statement time-out counts too: the
            // database is reachable, and a smaller batch may finish in time.
            Some("40001" | "40P01" | "55P03" | "23505" | "57014") => Failure::Conflict(text),
            // Connection exception, out of resources, shutting down, idle in transaction for too
            // long, or read-only after a failover. Or there is no such database, or no such role,
            // as before a backup is restored.
            Some(code)
                if code.starts_with("08")
                    || code.starts_with("53")
                    || code.starts_with("57")
                    || code.starts_with("28")
                    || matches!(code, "25P03" | "25P02" | "25006" | "58030" | "3D000") =>
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

/// Commits a transaction. If the answer is lost, the outcome is unknown rather than failed.
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
