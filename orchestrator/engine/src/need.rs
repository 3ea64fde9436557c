//! The reasons why a saga waits for a person.

use std::fmt;

use saga_core::{Hosted, Instance, Phase, StateError};

/// The reason why a saga waits for a person.
#[derive(Debug)]
pub enum Need {
    /// One of the saga's steps keeps it stuck.
    Stuck,
    /// An operator has paused the saga.
    Paused,
    /// This server does not host that version of the saga's definition: it leaves replies to the
    /// saga alone and never wakes it.
    Unhosted,
    /// The saga's row does not decode, so every input to it is left alone.
    Undecidable(StateError),
}

impl Need {
    /// Returns why the saga waits for a person, for a server that hosts these definitions.
    /// `Unhosted` and `Undecidable` come first, because nothing else can be done while they last.
    #[must_use]
    pub fn of(hosted: &Hosted, saga: &Instance) -> Option<Self> {
        if saga.ended().is_some() {
            return None;
        }
        let Some(definition) = hosted.get(&saga.definition, saga.definition_version) else {
            return Some(Self::Unhosted);
        };
        if let Err(undecidable) = definition.open_commands(saga) {
            return Some(Self::Undecidable(undecidable));
        }
        match saga.phase {
            Phase::Stuck(_) => Some(Self::Stuck),
            Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => {
                saga.paused.as_ref().map(|_| Self::Paused)
            }
        }
    }

    /// Returns the reason's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Paused => "paused",
            Self::Unhosted => "unhosted",
            Self::Undecidable(_) => "undecidable",
        }
    }

    /// Returns a sentence about why this server cannot decide on the saga at all, if it cannot.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::Stuck | Self::Paused => None,
            Self::Unhosted => Some(
                "this server does not host its definition in that version: start one that does"
                    .to_owned(),
            ),
            Self::Undecidable(why) => Some(format!("it cannot be decided on: {why}")),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
