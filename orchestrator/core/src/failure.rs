//! Failures of stores. Each variant says what the caller can do about it.

/// A failure of a store. It is never a participant's answer: "no seat is left" is an answer, but
/// "the database is down" is a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A conflict with another transaction (deadlock, serialization, lock time-out, version).
    /// Nothing was written: try again at once.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The store does not answer. Nothing was written: try again later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The answer to the commit was lost. The transaction may have been written: read the rows
    /// again (protocol 2).
    #[error("the commit's outcome is unknown: {0}")]
    UnknownCommit(String),
    /// The same call will always fail: leave it alone and notify an operator.
    #[error("{0}")]
    Permanent(String),
}
