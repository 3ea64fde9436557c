//! The causes for which sagas are undone, and who asked for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Refusal;

/// The cause for which a saga is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A participant refused a step.
    Refused {
        /// The step that was refused.
        step: String,
        /// The participant's refusal.
        refusal: Refusal,
    },
    /// No answer to a step's command came.
    Unanswered {
        /// The step whose outcome is unknown.
        step: String,
    },
    /// The saga's deadline passed.
    Deadline,
    /// The client cancelled the saga.
    Cancelled(Wish),
    /// An operator decided to undo the saga.
    Operator(Signed),
}

impl fmt::Display for Cause {
    /// Writes the cause as a sentence for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { step, refusal } => write!(f, "{step} was refused: {refusal}"),
            Self::Unanswered { step } => write!(f, "{step} was not answered within its bound"),
            Self::Deadline => f.write_str("its deadline passed before its pivot was opened"),
            Self::Cancelled(wish) => write!(f, "{} cancelled it: {}", wish.by, wish.reason),
            Self::Operator(by) => write!(f, "{} had it undone: {}", by.by, by.reason),
        }
    }
}

/// A client's cancel: the caller, and the caller's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The caller who cancelled.
    pub by: String,
    /// The reason, in the caller's words.
    pub reason: String,
}

/// An operator's signature: the operator's name, and the operator's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The operator's name.
    pub by: String,
    /// The reason, in the operator's words.
    pub reason: String,
}
