//! Sagas, their built definitions, and the commands that are derived from a definition.

use std::{fmt, ops::Range};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Cause, CommandId, Direction, Instance, OutgoingCommand, Payload, RetryPolicy, SagaId,
    StateError, StepState,
};

type Compensate<S> = Box<dyn Fn(&S, &Cause) -> Payload + Send + Sync>;
type OnReply<S> = Box<dyn Fn(&mut S, &RawValue) -> Result<(), serde_json::Error> + Send + Sync>;

/// A saga: the data that its row carries, and its steps.
///
/// The data is a plain struct. A command may read only fields that admission or the reply of an
/// earlier stage has set, so that it has the same bytes each time that it is built. A generic test
/// checks this for every definition.
pub trait Saga: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Kebab-case name of the saga, stored in every row.
    const NAME: &'static str;
    /// Version of the definition. Raise it whenever steps, commands or data change their meaning. A
    /// saga that has begun keeps its version (semantics 19).
    const VERSION: u32;
    /// Time limit for opening a saga's pivot, in milliseconds. After it the saga is undone.
    const DEADLINE_MILLIS: u64 = 60_000;

    /// Returns the saga's steps, in order.
    fn steps() -> Definition<Self>;

    /// Removes secrets from the data of a saga that has just ended. Before its end they are needed,
    /// because commands are derived from the data.
    fn forget(&mut self) {}
}

/// The kind of a step. It determines what the saga may do after the step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A step that can be undone.
    Compensatable,
    /// The step that decides: once it is done, the saga only goes forward.
    Pivot,
    /// A step after the pivot: its command is sent until it is done.
    Retriable,
}

/// One step, with the types of its command and reply erased.
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

/// A step's compensation, with its types erased.
pub(crate) struct Undo<S> {
    pub(crate) participant: &'static str,
    pub(crate) reply_type: &'static str,
    pub(crate) command: Compensate<S>,
}

/// The steps of a saga, grouped into stages.
pub struct Definition<S> {
    pub(crate) steps: Vec<StepSpec<S>>,
    pub(crate) stages: Vec<Range<usize>>,
}

impl<S: Saga> Definition<S> {
    /// Sets how long every step waits for an answer: first `first_millis`, at most eight times
    /// that. For tests and for unusual networks.
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

    /// Returns the index of the step with this name.
    pub(crate) fn step(&self, name: &str) -> Option<usize> {
        self.steps.iter().position(|step| step.name == name)
    }

    pub(crate) fn policy(&self, step: usize, direction: Direction) -> RetryPolicy {
        policy(&self.steps[step], direction)
    }

    pub(crate) fn command_id(&self, saga: SagaId, step: usize, direction: Direction) -> CommandId {
        CommandId { saga, step: self.steps[step].name.to_owned(), direction }
    }

    /// Builds the command of an open step from the saga's row. Returns `None` if the step is not
    /// open in that direction.
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

    /// Returns the command's position: actions from 1 in order, then compensations in reverse.
    fn sequence(&self, step: usize, direction: Direction) -> u32 {
        let place = match direction {
            Direction::Action => step + 1,
            Direction::Compensation => 2 * self.steps.len() - step,
        };
        u32::try_from(place).expect("bounded by MAX_STEPS")
    }

    /// Returns the participant that runs a step's command.
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
        // The step's own policy is meant for its action. Its compensation waits as long between
        // attempts, but makes at least as many attempts as any compensation.
        Direction::Compensation => {
            RetryPolicy { attempts: own.attempts.max(by_kind.attempts), ..own }
        }
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
