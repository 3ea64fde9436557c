//! Collects the tokens of one body, and hides all of them in a text at once.

use std::{collections::BTreeSet, ops::Range};

use super::{REDACTED, find::Finder};

/// Maximum number of tokens in one body. A parcel has at most 256 members with a token each, and
/// each token may be spelled in two ways.
const MOST_TOKENS: usize = 1_024;
/// Maximum number of bytes of all tokens together. A parcel's tokens, of 255 characters each, have
/// 64 KiB. The finder uses about fifty times as much memory as the tokens.
const MOST_TOKEN_BYTES: usize = 80 * 1024;
/// Maximum number of ranges that are hidden in one text.
const MOST_PLACES: usize = 16 * 1024;

/// The tokens that were collected so far.
#[derive(Default)]
pub(super) struct Tokens {
    found: BTreeSet<String>,
    bytes: usize,
    too_many: bool,
}

impl Tokens {
    /// Adds a token, both as it is and as JSON escapes it.
    pub(super) fn add(&mut self, token: &str) {
        self.add_form(token);
        if let Ok(quoted) = serde_json::to_string(token)
            && let Some(escaped) = quoted.get(1..quoted.len() - 1)
        {
            self.add_form(escaped);
        }
    }

    fn add_form(&mut self, form: &str) {
        if form.is_empty() || self.found.contains(form) {
            return;
        }
        let full = self.found.len() == MOST_TOKENS || self.bytes + form.len() > MOST_TOKEN_BYTES;
        self.too_many |= full;
        if !self.too_many {
            self.bytes += form.len();
            self.found.insert(form.to_owned());
        }
    }

    /// Returns true if a token was left out because of a limit.
    pub(super) fn too_many(&self) -> bool {
        self.too_many
    }

    pub(super) fn into_mask(self) -> Mask {
        if self.too_many {
            return Mask::Everything;
        }
        if self.found.is_empty() {
            return Mask::Nothing;
        }
        Mask::Tokens(Box::new(Finder::of(&self.found, self.bytes)))
    }
}

/// Selects the parts of a text to hide.
pub(super) enum Mask {
    Nothing,
    Tokens(Box<Finder>),
    /// Hide the whole text, because not all tokens are known.
    Everything,
}

impl Mask {
    /// Returns the text with every token replaced. Returns `None` if the result would have more
    /// than `most` bytes, or if some tokens might stay in it.
    ///
    /// A token is hidden wherever it occurs and however short it is, because a provider may use
    /// short tokens. Where tokens overlap or touch, one mark replaces all of them, so that no part
    /// of them is left. A token of one letter hides much of the text, or all of it once a limit is
    /// reached: it is safe to show too little.
    pub(super) fn hide(&self, text: &str, most: usize) -> Option<String> {
        let places = match self {
            Self::Nothing => Vec::new(),
            Self::Tokens(tokens) => tokens.places(text, MOST_PLACES)?,
            Self::Everything => return None,
        };
        let hidden: usize = places.iter().map(Range::len).sum();
        let length = text.len() - hidden + places.len() * REDACTED.len();
        if length > most {
            return None;
        }
        let mut shown = String::with_capacity(length);
        let mut after = 0;
        for place in places {
            shown.push_str(text.get(after..place.start)?);
            shown.push_str(REDACTED);
            after = place.end;
        }
        shown.push_str(text.get(after..)?);
        Some(shown)
    }
}
