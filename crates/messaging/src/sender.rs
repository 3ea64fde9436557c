//! The proven sender of a delivery.

use std::fmt;

/// The party that sent a message, as the broker proves it.
///
/// Each party publishes to exchanges that only it may write to, and a delivery names the exchange
/// that its message was published to. Nothing that a sender writes into a message has any effect on
/// this value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// An orchestrator.
    Orchestrator,
    /// The participant with this name.
    Participant(String),
    /// The broker itself, which moved the message to the quarantine.
    Broker,
    /// Anybody else, or a party that did not prove who it is.
    Stranger,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Orchestrator => f.write_str("the orchestrator"),
            Self::Participant(name) => f.write_str(name),
            Self::Broker => f.write_str("the broker"),
            Self::Stranger => f.write_str("a stranger"),
        }
    }
}
