//! The problem of a stuck saga, and the sentences that describe it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cause, Direction, Refusal, Timestamp};

/// The problem that keeps a saga stuck.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The cause for which the saga was being undone; `None` if it was going forward.
    pub unwinding: Option<Cause>,
    /// The step at which the saga is stuck.
    pub step: String,
    /// The direction of that step's command.
    pub direction: Direction,
    /// The reason why the saga is stuck at that step.
    pub reason: StuckReason,
    /// Time at which the saga got stuck.
    pub since: Timestamp,
    /// Time at which to raise the alert again.
    pub remind_at: Timestamp,
    /// Number of times that the alert was raised. Rows from before this field existed lack it:
    /// their alert was raised at least once.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub alerts: u32,
}

fn once() -> u32 {
    1
}

fn is_once(alerts: &u32) -> bool {
    *alerts == 1
}

/// The reason why a saga is stuck at a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StuckReason {
    /// No answer came within the attempts of the retry policy. The command is still sent, slowly.
    Unanswered,
    /// The participant refused a command that it must not refuse.
    Refused(Refusal),
}

impl StuckReason {
    /// Returns the reason as a code: the refusal's code, or `UNANSWERED`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unanswered => "UNANSWERED",
            Self::Refused(refusal) => &refusal.code,
        }
    }
}

impl fmt::Display for Stuck {
    /// Writes the problem as a sentence for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction {
            Direction::Action => f.write_str(&self.step)?,
            Direction::Compensation => write!(f, "undoing {}", self.step)?,
        }
        match &self.reason {
            StuckReason::Unanswered => f.write_str(" was not answered within its bound")?,
            StuckReason::Refused(refusal) => write!(f, " was refused: {refusal}")?,
        }
        match &self.unwinding {
            None => Ok(()),
            Some(cause) => write!(f, "; it is undone because {cause}"),
        }
    }
}
