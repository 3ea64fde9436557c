//! Requests that fail.

/// Why a request was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too many requests wait. Nothing was written: come again.
    #[error("too many requests wait")]
    Overloaded,
    /// The store does not answer. It may or may not have been written: ask again
    /// under the same key.
    #[error("the store does not answer")]
    Unavailable,
    /// The saga does not exist.
    #[error("no such saga")]
    NotFound,
    /// The engine does not host the definition of a saga to be begun. Nothing was written.
    #[error("this engine hosts no definition {0}")]
    Unhosted(String),
    /// The data of a saga to be begun does not decode. Nothing was written.
    #[error("{0}")]
    Data(String),
    /// This binary cannot decide on the saga.
    #[error("the saga cannot be decided on by this version")]
    Undecidable,
}
