//! Card tokens: opaque to everybody but this provider, and never shown again after they were read.

use std::fmt;

use serde::Deserialize;

/// The longest token that is looked at.
const MAX_TOKEN_CHARS: usize = 255;

/// The behaviour that a card token asks of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// `tok_approved`
    Approve,
    /// `tok_declined`
    Decline,
    /// `tok_insufficient_funds`
    InsufficientFunds,
    /// `tok_slow`: commits at once, answers late.
    Slow,
    /// `tok_very_slow`: commits late, when nobody waits for it.
    VerySlow,
    /// `tok_answer_lost`: commits, and the first attempt gets no answer.
    AnswerLost,
    /// `tok_capture_answer_lost`: the same, at the capture.
    CaptureAnswerLost,
    /// `tok_down`: 503 for the first attempts.
    Down,
    /// `tok_capture_declined`: authorised, but cannot be captured.
    CaptureDeclined,
}

/// A card token as a caller sent it. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct CardToken(String);

impl CardToken {
    /// The token's behaviour, or `None` if no such token was ever issued. The text after the first
    /// `.` or `-` only makes a token unique: `tok_approved-17`.
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

    /// The token's bytes, for the request's hash and nothing else.
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
