//! A quarantined body for an operator's eyes: JSON without payment tokens. A body that
//! is no JSON is not shown at all: a token could stand anywhere in it.
//!
//! Whoever can reach a queue chooses these bodies, so a look at one costs time and memory
//! in proportion to its length, whatever is in it: the JSON is copied as it is read
//! (`copy.rs`), never held as a tree; its tokens are found in one pass over the copy
//! (`find.rs`), so no replacement looks at what another one has written; and every text
//! on the way has a bound.

mod copy;
pub(crate) mod find;
mod mask;

use std::fmt;

use serde_json::ser::{CompactFormatter, PrettyFormatter};

use self::mask::{Mask, Tokens};

/// Longest body that is shown.
pub(crate) const MOST_BYTES: usize = 1024 * 1024;
/// What a shown text may have more than twice the bytes of the original: indentation of
/// short bodies.
const SLACK_BYTES: usize = 4 * 1024;
/// What stands in a token's place.
pub(crate) const REDACTED: &str = "[redacted]";

/// A body as JSON, and the tokens that were found in it.
pub(crate) struct Shown {
    /// The body, indented if there is room for it; or why it is not shown.
    pub(crate) body: Result<String, String>,
    mask: Mask,
}

/// Why a body is not shown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hidden {
    /// It is longer than [`MOST_BYTES`].
    TooLong,
    /// It cannot be read.
    NoJson,
    /// It has more tokens than [`Tokens`] takes.
    TooManyTokens,
    /// What would be shown is more than twice as long as it.
    Grown,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "are too many to be shown",
            Self::NoJson => {
                "are no JSON, so they are not shown: a payment token could stand anywhere in them"
            }
            Self::TooManyTokens => {
                "have too many payment tokens to find each wherever it stands, so they are not shown"
            }
            Self::Grown => {
                "would more than double without the payment tokens, so they are not shown"
            }
        })
    }
}

impl Shown {
    pub(crate) fn of(body: &[u8]) -> Self {
        let mut tokens = Tokens::default();
        let copied = copied(body, &mut tokens);
        let mask = tokens.into_mask();
        // A token that is repeated somewhere else is none the less one.
        let hide = |text: String| mask.hide(&text, most(body.len())).ok_or(Hidden::Grown);
        let shown = copied.and_then(hide);
        Self { body: shown.map_err(|why| format!("its {} bytes {why}", body.len())), mask }
    }

    /// Other text about the message, without those tokens.
    pub(crate) fn text(&self, text: &str) -> String {
        self.mask.hide(text, most(text.len())).unwrap_or_else(|| REDACTED.to_owned())
    }
}

/// Most bytes of what is shown of so many.
pub(crate) fn most(bytes: usize) -> usize {
    bytes * 2 + SLACK_BYTES
}

/// The body's JSON without the values of secret names, indented if that is not too long.
fn copied(body: &[u8], tokens: &mut Tokens) -> Result<String, Hidden> {
    if body.len() > MOST_BYTES {
        return Err(Hidden::TooLong);
    }
    match copy::copy(body, PrettyFormatter::new(), most(body.len()), tokens) {
        Err(Hidden::Grown) => copy::copy(body, CompactFormatter, most(body.len()), tokens),
        copied => copied,
    }
}
