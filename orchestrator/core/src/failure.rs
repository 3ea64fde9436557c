//! Failures of ports, by what their caller can do.

/// A failure of a store. It is never a participant's answer: "no seat is left" is an answer, "the
/// database is down" is a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A conflict with another transaction (deadlock, serialization, lock time-out, version).
    /// Nothing was written: try again at once.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The store does not answer. Nothing was written: try again later.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The commit's answer was lost. The transaction may have been written: read again (protocol
    /// 2).
    #[error("the commit's outcome is unknown: {0}")]
    UnknownCommit(String),
    /// It will fail the same way for ever: leave it alone and notify an operator.
    #[error("{0}")]
    Permanent(String),
}
