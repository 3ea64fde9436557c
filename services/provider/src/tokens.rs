//! Card tokens. Only this provider knows their meaning, and it never prints or returns them.

use std::fmt;

use serde::Deserialize;

/// Maximum length of a token. Longer ones are unknown.
const MAX_TOKEN_CHARS: usize = 255;

/// How the provider behaves, depending on the card token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// `tok_approved`: approves.
    Approve,
    /// `tok_declined`: declines.
    Decline,
    /// `tok_insufficient_funds`: declines, because the card has too little money.
    InsufficientFunds,
    /// `tok_slow`: commits at once, answers late.
    Slow,
    /// `tok_very_slow`: commits late, when the caller no longer waits.
    VerySlow,
    /// `tok_answer_lost`: commits, but the first attempt gets no answer.
    AnswerLost,
    /// `tok_capture_answer_lost`: captures, but the first attempt gets no answer.
    CaptureAnswerLost,
    /// `tok_down`: answers 503 to the first attempts.
    Down,
    /// `tok_capture_declined`: authorised, but cannot be captured.
    CaptureDeclined,
}

/// A card token as a caller sent it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct CardToken(String);

impl CardToken {
    /// Returns the token's behaviour, or `None` if the token is unknown. The text after the first
    /// `.` or `-` only makes tokens unique: `tok_approved-17`.
    pub(crate) fn behaviour(&self) -> Option<Behaviour> {
        if self.0.len() > MAX_TOKEN_CHARS || !self.0.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let name = self.0.split(['.', '-']).next()?;
        Some(match name {
            "tok_approved" => Behaviour::Approve,
            "tok_declined" => Behaviour::Decline,
            "tok_insufficient_funds" => Behaviour::InsufficientFunds,
            "tok_slow" => Behaviour::Slow,
            "tok_very_slow" => Behaviour::VerySlow,
            "tok_answer_lost" => Behaviour::AnswerLost,
            "tok_capture_answer_lost" => Behaviour::CaptureAnswerLost,
            "tok_down" => Behaviour::Down,
            "tok_capture_declined" => Behaviour::CaptureDeclined,
            _ => return None,
        })
    }

    /// Returns the token's bytes. They are used only for the request's hash.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for CardToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardToken(redacted)")
    }
}

#[cfg(test)]
impl From<&str> for CardToken {
    fn from(token: &str) -> Self {
        Self(token.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_after_a_dot_or_a_dash_makes_a_token_unique_and_changes_nothing() {
        for token in ["tok_approved", "tok_approved-17", "tok_approved.a.b", "tok_approved-"] {
            assert_eq!(CardToken::from(token).behaviour(), Some(Behaviour::Approve), "{token}");
        }
        assert_eq!(
            CardToken::from("tok_capture_declined-1").behaviour(),
            Some(Behaviour::CaptureDeclined)
        );
    }

    #[test]
    fn a_token_that_was_never_issued_has_no_behaviour() {
        let long = format!("tok_approved-{}", "x".repeat(MAX_TOKEN_CHARS));
        for token in [
            "",
            "tok",
            "tok_approved17",
            "TOK_APPROVED",
            "4111111111111111",
            "tok_approved-\u{202e}",
            " tok_slow",
            &long,
        ] {
            assert_eq!(CardToken::from(token).behaviour(), None, "{token}");
        }
    }

    #[test]
    fn debug_does_not_show_the_token() {
        assert_eq!(format!("{:?}", CardToken::from("tok_approved-secret")), "CardToken(redacted)");
    }
}
