//! What a stuck saga needs a person for, and the sentences that say so.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Cause, Direction, Refusal, Timestamp};

/// What a stuck saga needs a person for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stuck {
    /// Why it was being undone when it got stuck; `None`: it was going forward.
    pub unwinding: Option<Cause>,
    /// The step that holds it up.
    pub step: String,
    /// That step's direction.
    pub direction: Direction,
    /// What is wrong with it.
    pub reason: StuckReason,
    /// Since when.
    pub since: Timestamp,
    /// When to raise the alert again.
    pub remind_at: Timestamp,
    /// How often the alert was raised. Rows that were written before this was counted
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

/// What is wrong with the step that holds a saga up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StuckReason {
    /// No answer within the step's bound. It is still asked for, slowly.
    Unanswered,
    /// Refused, although it must not be.
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
    /// What holds the saga up, as a sentence for operators.
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
