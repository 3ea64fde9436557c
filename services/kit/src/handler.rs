//! The traits that a service implements.

use std::{fmt, future::Future};

use saga_core::{Answer, Command, CommandId, DomainEvent, Failure, SagaId};
use serde_json::value::RawValue;

/// A command, and the saga that sends it. The saga's id names the effect.
#[derive(Clone, Debug)]
pub struct Asked<C> {
    /// The saga.
    pub saga: SagaId,
    /// The command.
    pub command: C,
}

/// One result for each command, in the order of the commands; or a failure, which undoes the
/// transaction.
pub type PerCommand<T> = Result<Vec<T>, HandlerError>;

/// Handles a command whose effect is in the service's own database.
///
/// Traces show the spans that a handler makes, for example by `#[tracing::instrument]`: they are
/// children of the transaction's span. Write `skip_all` there and name the fields that may be
/// exported, because a command may hold secrets.
pub trait Handle<C: Command, Tx>: Send + Sync + 'static {
    /// Runs the commands, each of which is new, and answers each in order. The effects and the
    /// recorded answers are one transaction.
    ///
    /// # Errors
    /// A failure undoes the transaction. A refusal is not a failure: it is an answer.
    fn handle(
        &self,
        tx: &mut Tx,
        commands: &[Asked<C>],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// The event of an answer, if it has one: a pure function of the command and its answer.
    fn event(&self, _asked: &Asked<C>, _answer: &Answer<C::Reply>) -> Option<Event> {
        None
    }
}

/// Handles a command whose effect is in the outside world, in three parts. Only the middle one
/// asks the outside world, and it runs outside any transaction.
pub trait HandleOutside<C: Command, Tx>: Send + Sync + 'static {
    /// A question to the outside world.
    type Question: Send + Sync + 'static;
    /// Its answer.
    type Finding: Send + Sync + 'static;

    /// The place of an action's calls among those that wait for their turn. Make it urgent if its
    /// saga cannot be undone until the answer is known, as at a pivot. Compensations always are.
    const PRIORITY: Priority = Priority::Normal;

    /// First transaction: decides on the question to ask, or answers at once.
    ///
    /// # Errors
    /// A failure undoes the transaction.
    fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<C>],
    ) -> impl Future<Output = PerCommand<Intent<Self::Question, C::Reply>>> + Send;

    /// Asks, with the command's id as the key. Bounded in time.
    ///
    /// # Errors
    /// If the outcome is unknown, or the outside world cannot be asked now. The command is dropped
    /// and comes again.
    fn call(
        &self,
        id: &CommandId,
        question: &Self::Question,
    ) -> impl Future<Output = Result<Self::Finding, CallError>> + Send;

    /// Second transaction: writes the findings, and answers each command in order.
    ///
    /// # Errors
    /// A failure undoes the transaction. The command comes again, and the outcome is looked up.
    fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<C>, &Self::Finding)],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// Makes sure, by the action's key, that the outside world holds nothing of an action whose
    /// compensation came between its intent and its answer. May be repeated.
    ///
    /// # Errors
    /// As [`HandleOutside::call`].
    fn retract(&self, _id: &CommandId) -> impl Future<Output = Result<(), CallError>> + Send {
        async { Ok(()) }
    }

    /// As [`Handle::event`].
    fn event(&self, _asked: &Asked<C>, _answer: &Answer<C::Reply>) -> Option<Event> {
        None
    }
}

/// The order of calls to the outside world, if more are to be made than may run at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// It begins something, and waits for everything that ends something.
    #[default]
    Normal,
    /// It goes before all normal ones.
    Urgent,
}

/// A command on its way to the outside world.
#[derive(Clone, Debug)]
pub struct Intending<C> {
    /// The command.
    pub asked: Asked<C>,
    /// The outside world may have been asked before: look up first. Always true for a compensation
    /// whose action has no recorded answer (protocol 14).
    pub resumed: bool,
    /// True for a compensation whose action has a recorded intent, but whose calls provably never
    /// left: undo what the action's `intend` wrote, and ask nobody.
    pub never_sent: bool,
}

/// The decision of the first transaction.
#[derive(Clone, Debug)]
pub enum Intent<Q, R> {
    /// Ask this.
    Ask(Q),
    /// This is the answer: there is nothing to ask.
    Answer(Answer<R>),
}

/// A domain event with its type erased.
#[derive(Clone)]
pub struct Event {
    /// Full protobuf name.
    pub type_name: &'static str,
    /// Routing key.
    pub key: &'static str,
    /// Canonical JSON of the message.
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

/// The failure of a handler.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Failure),
    /// The command can never be handled, for example because it lacks a field. It goes to the
    /// quarantine.
    #[error("cannot be handled: {0}")]
    Poison(String),
}

/// The outside world could not be asked, or its answer was lost. The command is dropped, and the
/// saga sends it again when its `wake_at` passes.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing that could have an effect was sent. Use it only where that is certain: a
    /// compensation then asks nobody (protocol 14).
    #[error("{0}")]
    NotSent(String),
    /// It may have been asked.
    #[error("{0}")]
    Unknown(String),
}
