//! The tokens of one body, and the search for all of them at once.

use std::{collections::BTreeSet, ops::Range};

use super::{REDACTED, find::Finder};

/// Most tokens of one body. A parcel has at most 256 members with a token each, which may be
/// written in two ways.
const MOST_TOKENS: usize = 1_024;
/// Most bytes of all tokens together. The tokens of a parcel, of 255 characters each, have 64 KiB;
/// the finder needs some fifty times as much.
const MOST_TOKEN_BYTES: usize = 80 * 1024;
/// Most places that are hidden in one text.
const MOST_PLACES: usize = 16 * 1024;

/// The tokens that have been collected so far.
#[derive(Default)]
pub(super) struct Tokens {
    found: BTreeSet<String>,
    bytes: usize,
    too_many: bool,
}

impl Tokens {
    /// Adds a token as it is, and as JSON spells it.
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

    /// True if a token was left out.
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

/// The parts of a text to hide.
pub(super) enum Mask {
    Nothing,
    Tokens(Box<Finder>),
    /// All of it, because not all tokens are known.
    Everything,
}

impl Mask {
    /// The text without any byte of a token. `None` if nothing of it can be shown within `most`
    /// bytes.
    ///
    /// A token counts wherever it is and however short it is, because a provider may give out short
    /// tokens. Where tokens overlap or touch, one mark replaces all of them, so nothing is left of
    /// any. A token of one letter hides much of the text, or all of it once a bound is reached: it
    /// is safe to show too little.
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
