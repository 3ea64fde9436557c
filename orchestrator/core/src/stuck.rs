//! The problem of a stuck saga, and the sentences that describe it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cause, Direction, Refusal, Timestamp};

/// The problem of a stuck saga, which needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// The cause for which it was being undone when it got stuck; `None` if it was going forward.
    pub unwinding: Option<Cause>,
    /// The step that holds it up.
    pub step: String,
    /// The direction of that step's command.
    pub direction: Direction,
    /// The reason.
    pub reason: StuckReason,
    /// Time at which it got stuck.
    pub since: Timestamp,
    /// Time at which to raise the alert again.
    pub remind_at: Timestamp,
    /// Number of times that the alert was raised. Rows that were written before this was counted
    /// have had at least the first.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub alerts: u32,
}

fn once() -> u32 {
    1
}

fn is_once(alerts: &u32) -> bool {
    *alerts == 1
}

/// The reason why a step holds a saga up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StuckReason {
    /// There was no answer within the step's bound. The command is still sent, slowly.
    Unanswered,
    /// The command was refused, although it must not be.
    Refused(Refusal),
}

impl StuckReason {
    /// The reason as a code: a refusal's own, or `UNANSWERED`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Unanswered => "UNANSWERED",
            Self::Refused(refusal) => &refusal.code,
        }
    }
}

impl fmt::Display for Stuck {
    /// The problem as a sentence for operators.
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
