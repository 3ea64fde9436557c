//! A saga's definition once it is built, and the commands that it derives.

use std::{fmt, ops::Range, sync::Arc};

use serde_json::value::RawValue;

use crate::{
    Cause, CommandId, Decision, Direction, Input, Instance, Kind, Payload, RetryPolicy, Saga,
    SagaId, StateError, StepState, Timestamp, turn,
};

type Compensate<S> = Box<dyn Fn(&S, &Cause) -> Payload + Send + Sync>;
type OnReply<S> = Box<dyn Fn(&mut S, &RawValue) -> Result<(), serde_json::Error> + Send + Sync>;

/// One step, with its types erased.
pub(crate) struct StepSpec<S> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) participant: &'static str,
    pub(crate) reply_type: &'static str,
    pub(crate) action: Box<dyn Fn(&S) -> Payload + Send + Sync>,
    pub(crate) on_reply: OnReply<S>,
    pub(crate) keeps_reply: bool,
    pub(crate) undo: Option<Undo<S>>,
    pub(crate) policy: Option<RetryPolicy>,
}

/// A step's compensation.
pub(crate) struct Undo<S> {
    pub(crate) participant: &'static str,
    pub(crate) reply_type: &'static str,
    pub(crate) command: Compensate<S>,
}

/// The steps of a saga, in stages.
pub struct Definition<S> {
    pub(crate) steps: Vec<StepSpec<S>>,
    pub(crate) stages: Vec<Range<usize>>,
}

/// A command as the orchestrator hands it to the transport.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingCommand {
    /// Derived: the same for every attempt.
    pub id: CommandId,
    /// What is asked.
    pub payload: Payload,
    /// Which sending this is, from 1.
    pub attempt: u32,
    /// How long a copy may live in its queue, in milliseconds (protocol 16).
    pub expiry_millis: u64,
    /// Place of the command's event in the order's stream: actions in their
    /// order, then compensations (semantics 28).
    pub sequence: u32,
    /// The definition's name.
    pub definition: &'static str,
    /// Its version.
    pub definition_version: u32,
    /// Trace context of the call that began the saga.
    pub traceparent: Option<String>,
}

impl<S: Saga> Definition<S> {
    /// Shortens or lengthens every wait: the first one is `first_millis`, the
    /// longest eight times that. For tests and for networks unlike ours.
    #[must_use]
    pub fn with_step_timeout(mut self, first_millis: u64) -> Self {
        for step in &mut self.steps {
            let attempts = policy(step, Direction::Action).attempts;
            step.policy = Some(RetryPolicy {
                first_millis,
                longest_millis: first_millis.saturating_mul(8),
                attempts,
            });
        }
        self
    }

    pub(crate) fn policy(&self, step: usize, direction: Direction) -> RetryPolicy {
        policy(&self.steps[step], direction)
    }

    pub(crate) fn command_id(&self, saga: SagaId, step: usize, direction: Direction) -> CommandId {
        CommandId { saga, step: self.steps[step].name.to_owned(), direction }
    }

    /// The command of an open step, built from the row. `None` if the step is
    /// not open in that direction.
    pub(crate) fn command(
        &self,
        saga: &Instance,
        data: &S,
        step: usize,
        direction: Direction,
    ) -> Option<OutgoingCommand> {
        let spec = &self.steps[step];
        let (sending, payload) = match (&saga.steps[step], direction) {
            (StepState::Open(sending), Direction::Action) => (sending, (spec.action)(data)),
            (StepState::Undoing(sending), Direction::Compensation) => {
                let undo = spec.undo.as_ref()?;
                (sending, (undo.command)(data, saga.phase.cause()?))
            }
            (
                StepState::Pending
                | StepState::Open(_)
                | StepState::Done
                | StepState::Refused(_)
                | StepState::Unknown
                | StepState::Undoing(_)
                | StepState::Undone
                | StepState::Halted { .. },
                Direction::Action | Direction::Compensation,
            ) => return None,
        };
        let id = self.command_id(saga.id, step, direction);
        let expiry_millis = self.policy(step, direction).expiry_millis(&id, sending.attempts);
        Some(OutgoingCommand {
            expiry_millis,
            attempt: sending.attempts,
            sequence: self.sequence(step, direction),
            definition: S::NAME,
            definition_version: S::VERSION,
            traceparent: saga.traceparent.clone(),
            id,
            payload,
        })
    }

    /// Actions count from 1 in their order; compensations follow, in reverse.
    fn sequence(&self, step: usize, direction: Direction) -> u32 {
        let place = match direction {
            Direction::Action => step + 1,
            Direction::Compensation => 2 * self.steps.len() - step,
        };
        u32::try_from(place).expect("bounded by MAX_STEPS")
    }

    /// The participant that takes a step's command.
    #[must_use]
    pub fn participant(&self, step: usize, direction: Direction) -> &'static str {
        let spec = &self.steps[step];
        match (direction, &spec.undo) {
            (Direction::Compensation, Some(undo)) => undo.participant,
            (Direction::Action, _) | (Direction::Compensation, None) => spec.participant,
        }
    }
}

fn policy<S>(step: &StepSpec<S>, direction: Direction) -> RetryPolicy {
    let by_kind = match (step.kind, direction) {
        (Kind::Compensatable, Direction::Action) => RetryPolicy::FORWARD,
        (Kind::Pivot | Kind::Retriable, _) | (Kind::Compensatable, Direction::Compensation) => {
            RetryPolicy::PERSISTENT
        }
    };
    let Some(own) = step.policy else { return by_kind };
    match direction {
        Direction::Action => own,
        // A step's own policy is for its action; its compensation keeps the
        // patience of one, at the action's pace.
        Direction::Compensation => {
            RetryPolicy { attempts: own.attempts.max(by_kind.attempts), ..own }
        }
    }
}

/// A definition that a binary hosts, with the type of its data erased.
pub trait HostedDefinition: Send + Sync {
    /// The definition's name.
    fn name(&self) -> &'static str;
    /// Its version.
    fn version(&self) -> u32;
    /// The names of its steps, in order.
    fn step_names(&self) -> Vec<&'static str>;
    /// Which of its steps is the pivot.
    fn pivot(&self) -> Option<usize>;
    /// See [`turn`].
    ///
    /// # Errors
    /// If the row or the reply does not decode.
    fn turn(&self, saga: &Instance, input: &Input, now: Timestamp) -> Result<Decision, StateError>;
    /// Everything that the saga waits for, as commands. Proves that no message
    /// need be stored.
    ///
    /// # Errors
    /// If the row does not decode.
    fn open_commands(&self, saga: &Instance) -> Result<Vec<OutgoingCommand>, StateError>;
    /// When the saga needs to be looked at next, derived from its row: its
    /// `wake_at` is never later. `None`: it waits for nobody.
    fn need(&self, saga: &Instance) -> Option<Timestamp>;
    /// When an open step's command was sent for the first time, to within the
    /// lateness of its repetitions: derived, as everything of a command is.
    fn opened_at(&self, saga: &Instance, step: &str, direction: Direction) -> Option<Timestamp>;
}

impl<S: Saga> HostedDefinition for Definition<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn version(&self) -> u32 {
        S::VERSION
    }

    fn step_names(&self) -> Vec<&'static str> {
        self.steps.iter().map(|step| step.name).collect()
    }

    fn pivot(&self) -> Option<usize> {
        self.steps.iter().position(|step| step.kind == Kind::Pivot)
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
        let step = self.steps.iter().position(|spec| spec.name == step)?;
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

impl<S: Saga> Definition<S> {
    pub(crate) fn decode(&self, saga: &Instance) -> Result<S, StateError> {
        if saga.steps.len() != self.steps.len() {
            return Err(StateError::Steps {
                id: saga.id,
                found: saga.steps.len(),
                expected: self.steps.len(),
            });
        }
        serde_json::from_str(saga.data.get())
            .map_err(|source| StateError::Data { id: saga.id, source })
    }
}

impl<S> fmt::Debug for Definition<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.steps.iter().map(|step| (step.name, step.kind));
        f.debug_list().entries(names).finish()
    }
}

/// The definitions that a binary hosts. It leaves all others alone, rows and
/// replies (semantics 19).
#[derive(Clone, Default)]
pub struct Hosted {
    definitions: Vec<Arc<dyn HostedDefinition>>,
}

impl Hosted {
    /// Adds one.
    ///
    /// # Panics
    /// If the same name and version is there already.
    #[must_use]
    pub fn with(mut self, definition: impl HostedDefinition + 'static) -> Self {
        let (name, version) = (definition.name(), definition.version());
        assert!(self.get(name, version).is_none(), "{name} {version} is hosted twice");
        self.definitions.push(Arc::new(definition));
        self
    }

    /// Adds those of others whose name and version are not there yet.
    #[must_use]
    pub fn with_others(mut self, others: &Self) -> Self {
        for other in &others.definitions {
            if self.get(other.name(), other.version()).is_none() {
                self.definitions.push(Arc::clone(other));
            }
        }
        self
    }

    /// The definition of that name and version, if it is hosted.
    #[must_use]
    pub fn get(&self, name: &str, version: u32) -> Option<&Arc<dyn HostedDefinition>> {
        self.definitions.iter().find(|d| d.name() == name && d.version() == version)
    }

    /// Names and versions, for the claims of due sagas.
    pub fn names(&self) -> impl Iterator<Item = (&'static str, u32)> + '_ {
        self.definitions.iter().map(|d| (d.name(), d.version()))
    }
}

impl fmt::Debug for Hosted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
