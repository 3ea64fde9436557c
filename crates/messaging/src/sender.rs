//! The proven sender of a delivery.

use std::fmt;

use crate::{Queue, Route};

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

impl Sender {
    /// Returns the party that may use a route. Transports inside one process have no broker that
    /// refuses the route to others.
    #[must_use]
    pub fn by(route: &Route) -> Self {
        match route {
            Route::Command { .. } | Route::OwnReplies => Self::Orchestrator,
            Route::Again { participant } => Self::Participant(participant.clone()),
            Route::Reply { from, .. } => Self::Participant(from.clone()),
            Route::Quarantine { from, .. } => Self::consuming(from),
            Route::Event { .. } => Self::Stranger,
        }
    }

    /// Returns the party that consumes a queue, and that quarantines what it finds there.
    #[must_use]
    pub fn consuming(queue: &Queue) -> Self {
        match queue {
            Queue::Commands { participant } => Self::Participant(participant.clone()),
            Queue::Replies | Queue::Quarantine => Self::Orchestrator,
        }
    }
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
