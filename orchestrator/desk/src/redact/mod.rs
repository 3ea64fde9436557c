//! Shows a quarantined body to an operator: its JSON, without the values of fields whose names
//! contain `token`. A body that is not JSON is not shown at all, because a token could be anywhere
//! in it.
//!
//! Anyone who can reach a queue can choose these bodies. So showing one takes time and memory in
//! proportion to its length, whatever it contains. The JSON is copied while it is parsed
//! (`copy.rs`) and never held as a tree. All tokens are found in one pass over the copy
//! (`find.rs`), so that the marks that replace tokens are never searched for tokens. Every text on
//! the way has a maximum length.

mod copy;
pub(crate) mod find;
mod mask;

use std::fmt;

use serde_json::ser::{CompactFormatter, PrettyFormatter};

use self::mask::{Mask, Tokens};

/// Maximum length of a body that is shown.
pub(crate) const MOST_BYTES: usize = 1024 * 1024;
/// Bytes that a shown text may have in addition to twice the bytes of the original. They allow for
/// the indentation of short bodies.
const SLACK_BYTES: usize = 4 * 1024;
/// The text that replaces a token.
pub(crate) const REDACTED: &str = "[redacted]";

/// A body as it may be shown, and the tokens that were found in it.
pub(crate) struct Shown {
    /// The body's JSON, indented if that is not too long; or the reason why it is not shown.
    pub(crate) body: Result<String, String>,
    mask: Mask,
}

/// The reason why a body is not shown.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hidden {
    /// The body is longer than [`MOST_BYTES`].
    TooLong,
    /// The body is not JSON.
    NoJson,
    /// The body has more tokens than [`Tokens`] accepts.
    TooManyTokens,
    /// The text to show would be more than twice as long as the body.
    Grown,
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "are too many to be shown",
            Self::NoJson => {
                "are no JSON, so they are not shown: a token could stand anywhere in them"
            }
            Self::TooManyTokens => {
                "have too many tokens to find each wherever it stands, so they are not shown"
            }
            Self::Grown => "would more than double without the tokens, so they are not shown",
        })
    }
}

impl Shown {
    pub(crate) fn of(body: &[u8]) -> Self {
        let mut tokens = Tokens::default();
        let copied = copied(body, &mut tokens);
        let mask = tokens.into_mask();
        // If a token is repeated elsewhere in the text, it is hidden there too.
        let hide = |text: String| mask.hide(&text, most(body.len())).ok_or(Hidden::Grown);
        let shown = copied.and_then(hide);
        Self { body: shown.map_err(|why| format!("its {} bytes {why}", body.len())), mask }
    }

    /// Hides the body's tokens in another text about the same message.
    pub(crate) fn text(&self, text: &str) -> String {
        self.mask.hide(text, most(text.len())).unwrap_or_else(|| REDACTED.to_owned())
    }
}

/// Returns how many bytes may be shown of a text of this length.
pub(crate) fn most(bytes: usize) -> usize {
    bytes * 2 + SLACK_BYTES
}

/// Copies the body's JSON without the values of secret names, indented if that is not too long.
fn copied(body: &[u8], tokens: &mut Tokens) -> Result<String, Hidden> {
    if body.len() > MOST_BYTES {
        return Err(Hidden::TooLong);
    }
    match copy::copy(body, PrettyFormatter::new(), most(body.len()), tokens) {
        Err(Hidden::Grown) => copy::copy(body, CompactFormatter, most(body.len()), tokens),
        copied => copied,
    }
}
