//! What a service writes.

use std::{fmt, future::Future};

use saga_core::{Answer, Command, CommandId, DomainEvent, Failure, SagaId};
use serde_json::value::RawValue;

/// A command, and the saga that asks. The saga's id names the effect.
#[derive(Clone, Debug)]
pub struct Asked<C> {
    /// The saga.
    pub saga: SagaId,
    /// What it asks.
    pub command: C,
}

/// One a command, in the commands' order; or a failure, which undoes the transaction.
pub type PerCommand<T> = Result<Vec<T>, HandlerError>;

/// Handles a command whose effect is in the service's own database.
///
/// What a handler does can be seen in traces: a span that it makes, for example by
/// `#[tracing::instrument]`, hangs under the transaction that it runs in. Write `skip_all` there,
/// and name the fields that may be exported: a command may hold what nobody else may read.
pub trait Handle<C: Command, Tx>: Send + Sync + 'static {
    /// Runs the commands, each of which is new, in one transaction with the
    /// recorded answers, and answers each in order.
    ///
    /// # Errors
    /// A failure undoes the transaction. A refusal is no failure: it is an answer.
    fn handle(
        &self,
        tx: &mut Tx,
        commands: &[Asked<C>],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// The event that an answer means for whoever listens: a pure function of
    /// the command and its answer.
    fn event(&self, _asked: &Asked<C>, _answer: &Answer<C::Reply>) -> Option<Event> {
        None
    }
}

/// Handles a command whose effect is in the outside world, in three parts. Only
/// the middle one asks there, and it runs outside any transaction.
pub trait HandleOutside<C: Command, Tx>: Send + Sync + 'static {
    /// What is asked of the outside world.
    type Question: Send + Sync + 'static;
    /// What it answered.
    type Finding: Send + Sync + 'static;

    /// First transaction: decides what will be asked, or answers at once.
    ///
    /// # Errors
    /// A failure undoes the transaction.
    fn intend(
        &self,
        tx: &mut Tx,
        commands: &[Intending<C>],
    ) -> impl Future<Output = PerCommand<Intent<Self::Question, C::Reply>>> + Send;

    /// Asks, under the command's id as the key. Bounded in time.
    ///
    /// # Errors
    /// When the outcome is unknown or the outside world cannot be asked now: the
    /// command is dropped and comes again.
    fn call(
        &self,
        id: &CommandId,
        question: &Self::Question,
    ) -> impl Future<Output = Result<Self::Finding, CallError>> + Send;

    /// Second transaction: writes what was found, and answers each in order.
    ///
    /// # Errors
    /// A failure undoes the transaction; the outside world is asked again, by
    /// looking up.
    fn settle(
        &self,
        tx: &mut Tx,
        found: &[(&Asked<C>, &Self::Finding)],
    ) -> impl Future<Output = PerCommand<Answer<C::Reply>>> + Send;

    /// The action's intent is on record, but its compensation came before its
    /// answer: makes sure, by the action's key, that the outside world holds
    /// nothing. May be repeated.
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

/// A command on its way to the outside world.
#[derive(Clone, Debug)]
pub struct Intending<C> {
    /// The command.
    pub asked: Asked<C>,
    /// The outside world may have been asked before: look up first. Always set
    /// for a compensation whose action left no recorded answer (protocol 14).
    pub resumed: bool,
    /// A compensation whose action's intent is on record, but whose calls provably never
    /// left: undo what the action's `intend` wrote, and ask nobody.
    pub never_sent: bool,
}

/// What the first transaction decided.
#[derive(Clone, Debug)]
pub enum Intent<Q, R> {
    /// Ask this.
    Ask(Q),
    /// Nothing need be asked: this is the answer.
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

/// A handler that did not get through.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Failure),
    /// The command can never be handled, for example because it lacks a field:
    /// to the quarantine.
    #[error("cannot be handled: {0}")]
    Poison(String),
}

/// The outside world could not be asked, or its answer was lost. The command is
/// dropped; the saga sends it again when its `wake_at` passes.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nothing that could have an effect was sent. Say so only where it is certain: a
    /// compensation then asks nobody (protocol 14).
    #[error("{0}")]
    NotSent(String),
    /// It may have been asked.
    #[error("{0}")]
    Unknown(String),
}
