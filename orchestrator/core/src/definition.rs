//! Sagas, their built definitions, and the commands that are derived from a definition.

use std::{
    fmt,
    ops::{Range, RangeInclusive},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Cause, CommandId, Direction, Instance, OutgoingCommand, Payload, RetryPolicy, SagaId,
    StateError, StepState, limits,
};

type Act<S> = Arc<dyn Fn(&S) -> Payload + Send + Sync>;
type Compensate<S> = Arc<dyn Fn(&S, &Cause) -> Payload + Send + Sync>;
type OnReply<S> = Arc<dyn Fn(&mut S, &RawValue) -> Result<(), serde_json::Error> + Send + Sync>;

/// A saga: the data that its row carries, and its steps.
///
/// The data is a plain struct. A command may read only fields that admission or the reply of an
/// earlier stage has set, so that it has the same bytes each time that it is built. A generic test
/// checks this for every definition.
pub trait Saga: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Kebab-case name of the saga, stored in every row.
    const NAME: &'static str;
    /// Newest version of the definition. Raise it whenever steps, commands or data change their
    /// meaning, and say with [`since`](crate::Step::since) and [`until`](crate::Step::until) which
    /// steps belong to which versions. A saga that has begun keeps its version (semantics 19).
    const VERSION: u32;
    /// Oldest version that is still hosted. Raise it only when no saga of an older version is left.
    const OLDEST: u32 = 1;
    /// Time limit for opening a saga's pivot, in milliseconds. After it the saga is undone.
    const DEADLINE_MILLIS: u64 = 60_000;

    /// Returns the steps of all hosted versions, in order. The result is the newest version;
    /// [`Definition::at`] returns the others.
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
    pub(crate) action: Act<S>,
    pub(crate) on_reply: OnReply<S>,
    pub(crate) keeps_reply: bool,
    pub(crate) undo: Option<Undo<S>>,
    pub(crate) policy: Option<RetryPolicy>,
    /// The versions of the definition that have the step.
    pub(crate) versions: RangeInclusive<u32>,
}

impl<S> Clone for StepSpec<S> {
    /// Copies the step; the closures are shared.
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            kind: self.kind,
            participant: self.participant,
            reply_type: self.reply_type,
            action: Arc::clone(&self.action),
            on_reply: Arc::clone(&self.on_reply),
            keeps_reply: self.keeps_reply,
            undo: self.undo.clone(),
            policy: self.policy,
            versions: self.versions.clone(),
        }
    }
}

/// A step's compensation, with its types erased.
pub(crate) struct Undo<S> {
    pub(crate) participant: &'static str,
    pub(crate) reply_type: &'static str,
    pub(crate) command: Compensate<S>,
}

impl<S> Clone for Undo<S> {
    fn clone(&self) -> Self {
        let Self { participant, reply_type, command } = self;
        Self { participant, reply_type, command: Arc::clone(command) }
    }
}

/// One version of a saga's definition: its steps, grouped into stages.
pub struct Definition<S> {
    pub(crate) version: u32,
    pub(crate) steps: Vec<StepSpec<S>>,
    pub(crate) stages: Vec<Range<usize>>,
    /// The stages of all versions.
    text: Vec<Vec<StepSpec<S>>>,
}

impl<S: Saga> Definition<S> {
    /// Picks the steps of one version out of the stages of all versions.
    ///
    /// # Panics
    /// If the version has no steps, more than [`limits::MAX_STEPS`], two steps of one name, or
    /// retriable steps without a pivot, or if a name is not kebab-case.
    pub(crate) fn of(text: Vec<Vec<StepSpec<S>>>, version: u32) -> Self {
        let mut steps: Vec<StepSpec<S>> = Vec::new();
        let mut stages = Vec::new();
        for stage in &text {
            let first = steps.len();
            steps.extend(stage.iter().filter(|step| step.versions.contains(&version)).cloned());
            if steps.len() > first {
                stages.push(first..steps.len());
            }
        }
        check::<S>(&steps, version);
        Self { version, steps, stages, text }
    }

    /// Returns the definition in the given version.
    ///
    /// # Panics
    /// If the version is not hosted, that is, outside [`Saga::OLDEST`] to [`Saga::VERSION`].
    #[must_use]
    pub fn at(&self, version: u32) -> Self {
        let hosted = S::OLDEST..=S::VERSION;
        assert!(hosted.contains(&version), "{} {version} is not one of {hosted:?}", S::NAME);
        Self::of(self.text.clone(), version)
    }

    pub(crate) fn newest(self) -> Self {
        Self::of(self.text, S::VERSION)
    }

    /// Sets how long every step waits for an answer: first `first_millis`, at most eight times
    /// that. For tests and for unusual networks.
    #[must_use]
    pub fn with_step_timeout(mut self, first_millis: u64) -> Self {
        for step in self.text.iter_mut().flatten() {
            let attempts = policy(step, Direction::Action).attempts;
            step.policy = Some(RetryPolicy {
                first_millis,
                longest_millis: first_millis.saturating_mul(8),
                attempts,
            });
        }
        Self::of(self.text, self.version)
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
            definition_version: self.version,
            traceparent: saga.traceparent.clone(),
            id,
            payload,
        })
    }

    /// Returns the command's position: actions from 1 in order, and compensations up to 9,999 in
    /// reverse. So no position changes when a later version has more steps at its end.
    fn sequence(&self, step: usize, direction: Direction) -> u32 {
        let place = u32::try_from(step + 1).expect("bounded by MAX_STEPS");
        match direction {
            Direction::Action => place,
            Direction::Compensation => 10_000 - place,
        }
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

fn check<S: Saga>(steps: &[StepSpec<S>], version: u32) {
    let saga = format!("{} {version}", S::NAME);
    assert!(!steps.is_empty(), "{saga}: a saga has at least one step");
    assert!(steps.len() <= limits::MAX_STEPS, "{saga}: too many steps");
    for (index, step) in steps.iter().enumerate() {
        let kebab = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!(
            !step.name.is_empty()
                && step.name.len() <= limits::MAX_STEP_NAME_BYTES
                && step.name.bytes().all(kebab),
            "{saga}: {:?} is not a kebab-case name",
            step.name
        );
        assert!(
            steps[..index].iter().all(|other| other.name != step.name),
            "{saga}: two steps are called {:?}",
            step.name
        );
    }
    let pivots = steps.iter().filter(|step| step.kind == Kind::Pivot).count();
    let retriable = steps.iter().any(|step| step.kind == Kind::Retriable);
    assert!(pivots == 1 || !retriable, "{saga}: its retriable steps follow no pivot");
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
        write!(f, "version {} ", self.version)?;
        f.debug_list().entries(names).finish()
    }
}
