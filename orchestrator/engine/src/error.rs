//! Errors of requests.

/// The reason why a request was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too many requests wait. Nothing was written: try again.
    #[error("too many requests wait")]
    Overloaded,
    /// The store does not answer. The request may or may not have been written: try again under
    /// the same key.
    #[error("the store does not answer")]
    Unavailable,
    /// There is no saga with that id.
    #[error("no such saga")]
    NotFound,
    /// The engine does not host the new saga's definition. Nothing was written.
    #[error("this engine hosts no definition {0}")]
    Unhosted(String),
    /// The new saga's data does not decode. Nothing was written.
    #[error("{0}")]
    Data(String),
    /// This binary does not host the saga's definition in its version. Another orchestrator may.
    #[error("this engine does not host the saga's version of its definition")]
    Elsewhere,
    /// This binary cannot decide on the saga, because its row does not decode.
    #[error("the saga cannot be decided on by this version")]
    Undecidable,
}
