//! The traits that a service implements.

use std::{fmt, future::Future};

use saga_core::{Answer, Command, CommandId, DomainEvent, Failure, SagaId};
use serde_json::value::RawValue;

/// A command, and the saga that sends it. Handlers use the saga's id as the id of the effect.
#[derive(Clone, Debug)]
pub struct Asked<C> {
    /// The id of the saga.
    pub saga: SagaId,
    /// The command itself.
    pub command: C,
}

/// One result for each command, in the order of the commands, or a failure that rolls the
/// transaction back.
pub type PerCommand<T> = Result<Vec<T>, HandlerError>;

/// Handles a command whose effect is in the service's own database.
///
/// Spans that a handler makes, for example with `#[tracing::instrument]`, appear in traces as
/// children of the transaction's span. Write `skip_all` there and name the fields that may be
/// exported, because a command may hold secrets.
pub trait Handle<C: Command, Tx>: Send + Sync + 'static {
    /// Runs the commands, all of which are new, and answers each, in order. The effects and the
    /// recorded answers are committed in one transaction.
    ///
    /// # Errors
    /// A failure rolls the transaction back. A refusal is not a failure but an answer.
    fn handle(
        &self,
        tx: &mut Tx,
        commands: &[Asked<C>],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// Returns true for a compensation that runs even if its action never came. Otherwise such a
    /// compensation is answered as done without running, because there is no effect to undo. A
    /// handler that runs then may record that the action was asked for. Must be a pure function of
    /// the command.
    fn runs_without_action(&self, _command: &C) -> bool {
        false
    }

    /// Returns the event of an answer, if it has one. Must be a pure function of command and
    /// answer.
    fn event(&self, _asked: &Asked<C>, _answer: &Answer<C::Reply>) -> Option<Event> {
        None
    }
}

/// Handles a command whose effect is in the outside world, in three parts. Only the second one
/// calls the outside world, and it runs outside any transaction.
pub trait HandleOutside<C: Command, Tx>: Send + Sync + 'static {
    /// A question to the outside world.
    type Question: Send + Sync + 'static;
    /// The outside world's answer to a question.
    type Finding: Send + Sync + 'static;

    /// The priority of the action's calls while they wait to run. Make it urgent if the saga cannot
    /// be undone until the answer is known, as with a pivot. Calls of compensations are always
    /// urgent.
    const PRIORITY: Priority = Priority::Normal;

    /// First transaction: returns the question to ask for each command, or answers it at once.
    ///
    /// # Errors
    /// A failure rolls the transaction back.
    fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<C>],
    ) -> impl Future<Output = PerCommand<Intent<Self::Question, C::Reply>>> + Send;

    /// Asks the outside world, with the command's id as the idempotency key. Must end in bounded
    /// time.
    ///
    /// # Errors
    /// If the outcome is unknown, or the outside world cannot be asked now. The command is dropped,
    /// and its saga sends it again.
    fn call(
        &self,
        id: &CommandId,
        question: &Self::Question,
    ) -> impl Future<Output = Result<Self::Finding, CallError>> + Send;

    /// Second transaction: writes the findings, and answers each command, in order.
    ///
    /// # Errors
    /// A failure rolls the transaction back. When the command comes again, its outcome is looked
    /// up.
    fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<C>, &Self::Finding)],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// Makes sure, by the action's key, that the outside world has no effect of an action whose
    /// compensation came between the action's intent and its answer. May be called repeatedly.
    ///
    /// # Errors
    /// See [`HandleOutside::call`].
    fn retract(&self, _id: &CommandId) -> impl Future<Output = Result<(), CallError>> + Send {
        async { Ok(()) }
    }

    /// See [`Handle::event`].
    fn event(&self, _asked: &Asked<C>, _answer: &Answer<C::Reply>) -> Option<Event> {
        None
    }
}

/// The priority of a call to the outside world, when more calls wait than may run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// The call begins something. It waits for all calls that end something.
    #[default]
    Normal,
    /// The call runs before all normal ones.
    Urgent,
}

/// A command that may need a call to the outside world.
#[derive(Clone, Debug)]
pub struct Intending<C> {
    /// The command and its saga.
    pub asked: Asked<C>,
    /// True if the outside world may have been asked before, so that `intend` must look up first.
    /// Always true for a compensation whose action has no recorded answer (protocol 14).
    pub resumed: bool,
    /// True for a compensation whose action's intent is recorded, but whose calls provably were
    /// never sent: undo what the action's `intend` wrote, without asking the outside world.
    pub never_sent: bool,
}

/// The decision of the first transaction on a command.
#[derive(Clone, Debug)]
pub enum Intent<Q, R> {
    /// Ask the outside world this question.
    Ask(Q),
    /// Answer at once, without asking the outside world.
    Answer(Answer<R>),
}

/// A domain event with its type erased.
#[derive(Clone)]
pub struct Event {
    /// Full protobuf name of the event.
    pub type_name: &'static str,
    /// Routing key on the topic exchange.
    pub key: &'static str,
    /// The event as canonical JSON.
    pub data: Box<RawValue>,
}

impl Event {
    /// Encodes an event.
    ///
    /// # Panics
    /// If the message cannot be JSON, which generated messages always can.
    pub fn of<E: DomainEvent>(event: &E) -> Self {
        let data = serde_json::value::to_raw_value(event).expect("a protobuf message is JSON");
        Self { type_name: E::TYPE, key: E::KEY, data }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The reason why a handler failed.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The store has failed.
    #[error(transparent)]
    Store(#[from] Failure),
    /// The command can never be handled, for example because it lacks a field. It is put into the
    /// quarantine.
    #[error("cannot be handled: {0}")]
    Poison(String),
}

/// The error of a call that could not be made, or whose answer was lost. The command is dropped,
/// and the saga sends it again when its `wake_at` passes.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing was sent that could have an effect. Return this only if that is certain: the
    /// compensation then does not ask the outside world (protocol 14).
    #[error("{0}")]
    NotSent(String),
    /// The outside world may have been asked.
    #[error("{0}")]
    Unknown(String),
}
