//! Why a saga waits for a person.

use std::fmt;

use saga_core::{Hosted, Instance, Phase, StateError};

/// Why a saga waits for a person.
#[derive(Debug)]
pub enum Need {
    /// A step of it holds it up.
    Stuck,
    /// An operator has paused it.
    Paused,
    /// Nobody here hosts its version of its definition: replies to it are left alone,
    /// and it is never woken.
    Unhosted,
    /// Its row cannot be decided on: whatever comes to it is left alone.
    Undecidable(StateError),
}

impl Need {
    /// What a saga needs a person for, as seen from who hosts these definitions. What keeps
    /// it from being decided on at all comes first: nothing else can be done about it.
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

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Paused => "paused",
            Self::Unhosted => "unhosted",
            Self::Undecidable(_) => "undecidable",
        }
    }

    /// What keeps it from being decided on, as a sentence, if anything does.
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
