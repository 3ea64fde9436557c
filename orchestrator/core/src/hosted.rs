//! The definitions that a binary hosts, each with the type of its data erased.

use std::{fmt, sync::Arc};

use serde_json::value::RawValue;

use crate::{
    Admitted, Decision, Definition, Direction, Input, Instance, Intervened, Intervention, Kind,
    Obstacle, OutgoingCommand, Remedy, Saga, SagaId, Signed, StateError, Stated, StepState,
    Timestamp, Verdict, start, turn,
};

/// A function that makes the first decision of a saga at the store's time.
pub type Start<'a> = Box<dyn Fn(Timestamp) -> Decision + Send + Sync + 'a>;

/// A definition that a binary hosts, with the type of its data erased.
pub trait HostedDefinition: Send + Sync {
    /// Returns the definition's name.
    fn name(&self) -> &'static str;
    /// Returns the definition's version.
    fn version(&self) -> u32;
    /// Returns the names of the definition's steps, in order.
    fn step_names(&self) -> Vec<&'static str>;
    /// Returns the index of the definition's pivot, if it has one.
    fn pivot(&self) -> Option<usize>;
    /// Returns the participant that runs a step's command, if the definition has that step.
    fn participant_of(&self, step: &str, direction: Direction) -> Option<&'static str>;
    /// Decodes the data, and returns a function that makes the saga's first decision at the store's
    /// time. See [`start`].
    ///
    /// # Errors
    /// If the data does not decode as the data of this definition.
    fn start(
        &self,
        id: SagaId,
        data: &RawValue,
        admitted: Admitted,
    ) -> Result<Start<'_>, serde_json::Error>;
    /// Decides what happens to a saga next. See [`turn`].
    ///
    /// # Errors
    /// If the row or the reply does not decode.
    fn turn(&self, saga: &Instance, input: &Input, now: Timestamp) -> Result<Decision, StateError>;
    /// Derives the commands whose answers the saga waits for, so that no message has to be
    /// stored.
    ///
    /// # Errors
    /// If the row does not decode.
    fn open_commands(&self, saga: &Instance) -> Result<Vec<OutgoingCommand>, StateError>;
    /// Derives the time at which the saga must be looked at next; `wake_at` is never later. Returns
    /// `None` if the saga waits for nothing.
    fn need(&self, saga: &Instance) -> Option<Timestamp>;
    /// Estimates when an open step's command was first sent, from the time when it is due again. If
    /// the command was sent again late, the estimate is too late by that delay.
    fn opened_at(&self, saga: &Instance, step: &str, direction: Direction) -> Option<Timestamp>;
}

impl<S: Saga> HostedDefinition for Definition<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn step_names(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.name).collect()
    }

    fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.kind == Kind::Pivot)
    }

    fn participant_of(&self, step: &str, direction: Direction) -> Option<&'static str> {
        self.step(step).map(|step| self.participant(step, direction))
    }

    fn start(
        &self,
        id: SagaId,
        data: &RawValue,
        admitted: Admitted,
    ) -> Result<Start<'_>, serde_json::Error> {
        let data: S = serde_json::from_str(data.get())?;
        Ok(Box::new(move |now| start(self, id, &data, admitted.clone(), now)))
    }

    fn turn(&self, saga: &Instance, input: &Input, now: Timestamp) -> Result<Decision, StateError> {
        turn(self, saga, input, now)
    }

    fn open_commands(&self, saga: &Instance) -> Result<Vec<OutgoingCommand>, StateError> {
        let data = self.decode(saga)?;
        let both = [Direction::Action, Direction::Compensation];
        Ok((0..self.steps.len())
            .flat_map(|step| both.map(|direction| (step, direction)))
            .filter_map(|(step, direction)| self.command(saga, &data, step, direction))
            .collect())
    }

    fn need(&self, saga: &Instance) -> Option<Timestamp> {
        Self::need(self, saga)
    }

    fn opened_at(&self, saga: &Instance, step: &str, direction: Direction) -> Option<Timestamp> {
        let step = self.step(step)?;
        let (StepState::Open(sending) | StepState::Undoing(sending)) = saga.steps.get(step)? else {
            return None;
        };
        let (policy, id) =
            (self.policy(step, direction), self.command_id(saga.id, step, direction));
        let waits = (1..=sending.attempts).map(|attempt| policy.interval_millis(&id, attempt));
        let waited = waits.fold(0_u64, u64::saturating_add);
        let micros = i64::try_from(waited.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Some(Timestamp(sending.due_at.0.saturating_sub(micros)))
    }
}

/// The definitions that a binary hosts. The binary leaves the rows and replies of all other
/// definitions alone (semantics 19).
#[derive(Clone, Default)]
pub struct Hosted {
    definitions: Vec<Arc<dyn HostedDefinition>>,
    begin: Vec<(&'static str, u32)>,
}

/// The error of an order to begin sagas under a version that is not hosted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {version} is not hosted; hosted are {hosted:?}")]
pub struct NotHosted {
    /// The definition's name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// The hosted versions of that definition.
    pub hosted: Vec<u32>,
}

impl Hosted {
    /// Adds all versions of a definition, so that sagas of older versions go on (semantics 19).
    ///
    /// # Panics
    /// If a definition with the same name and version was added before.
    #[must_use]
    pub fn with<S: Saga>(self, definition: Definition<S>) -> Self {
        let older = S::OLDEST..S::VERSION;
        let all = older.fold(self, |all, version| all.with_one(definition.at(version)));
        all.with_one(definition.newest())
    }

    /// Adds one version of a definition.
    ///
    /// # Panics
    /// If a definition with the same name and version was added before.
    #[must_use]
    pub fn with_one(mut self, definition: impl HostedDefinition + 'static) -> Self {
        let (name, version) = (definition.name(), definition.version());
        assert!(self.get(name, version).is_none(), "{name} {version} is hosted twice");
        self.definitions.push(Arc::new(definition));
        self
    }

    /// Adds the definitions of `others` whose name and version are not hosted yet.
    #[must_use]
    pub fn with_others(mut self, others: &Self) -> Self {
        for other in &others.definitions {
            if self.get(other.name(), other.version()).is_none() {
                self.definitions.push(Arc::clone(other));
            }
        }
        self
    }

    /// Sets the version under which new sagas of a definition begin. Without it, they begin under
    /// the newest one. Begin under an older version while some orchestrators do not host the newest
    /// one yet.
    ///
    /// # Errors
    /// If that version is not hosted.
    pub fn beginning(mut self, name: &str, version: u32) -> Result<Self, NotHosted> {
        let Some(definition) = self.get(name, version) else {
            let hosted = self.names().filter(|(other, _)| *other == name).map(|(_, v)| v).collect();
            return Err(NotHosted { name: name.to_owned(), version, hosted });
        };
        let name = definition.name();
        self.begin.retain(|(other, _)| *other != name);
        self.begin.push((name, version));
        Ok(self)
    }

    /// Returns the definition with that name and version, if it is hosted.
    #[must_use]
    pub fn get(&self, name: &str, version: u32) -> Option<&Arc<dyn HostedDefinition>> {
        self.definitions.iter().find(|d| d.name() == name && d.version() == version)
    }

    /// Returns the version of a definition under which new sagas begin. See [`Hosted::beginning`].
    #[must_use]
    pub fn begins(&self, name: &str) -> Option<&Arc<dyn HostedDefinition>> {
        match self.begin.iter().find(|(other, _)| *other == name) {
            Some((name, version)) => self.get(name, *version),
            None => {
                self.definitions.iter().filter(|d| d.name() == name).max_by_key(|d| d.version())
            }
        }
    }

    /// Returns the name and version of each definition, to claim their due sagas.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.definitions.iter().map(|d| (d.name(), d.version()))
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Returns the remedies that are possible for a saga now, by trying each one. If a step must be
/// resolved with a reply, the remedy is returned without it.
pub fn remedies(definition: &dyn HostedDefinition, saga: &Instance, now: Timestamp) -> Vec<Remedy> {
    let whole = [Remedy::Retry, Remedy::Skip, Remedy::Compensate, Remedy::Pause, Remedy::Resume];
    let of_steps = definition.step_names().into_iter().flat_map(|step| {
        let each = [
            (Direction::Action, Stated::Done { reply: None }),
            (Direction::Action, Stated::Refused),
            (Direction::Compensation, Stated::Done { reply: None }),
        ];
        each.map(|(direction, outcome)| Remedy::Resolve {
            step: step.to_owned(),
            direction,
            outcome,
        })
    });
    let possible = |remedy: &Remedy| {
        let signed = Signed { by: String::new(), reason: String::new() };
        let intervention =
            Intervention { remedy: remedy.clone(), expected_version: saga.version, signed };
        let decision = definition.turn(saga, &Input::Intervene(intervention), now);
        match decision.map(|decision| decision.verdict) {
            Ok(Verdict::Intervention(Intervened::Applied | Intervened::Repeated)) => true,
            Ok(Verdict::Intervention(Intervened::Impossible(Obstacle::ReplyMissing))) => {
                matches!(remedy, Remedy::Resolve { .. })
            }
            Ok(
                Verdict::Intervention(Intervened::Moved { .. } | Intervened::Impossible(_))
                | Verdict::Applied
                | Verdict::Duplicate
                | Verdict::Late
                | Verdict::Foreign
                | Verdict::Contradicts
                | Verdict::Nothing
                | Verdict::Cancel(_),
            )
            | Err(_) => false,
        }
    };
    whole.into_iter().chain(of_steps).filter(possible).collect()
}
