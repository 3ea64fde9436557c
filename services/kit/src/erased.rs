//! Handlers with the type of their command erased, so that one participant can have handlers of
//! several types.

use std::{any::Any, marker::PhantomData, sync::Arc};

use futures::future::BoxFuture;
use saga_core::{Command, CommandId, SagaId, Timestamp, TypeName};
use saga_messaging::Poison;
use serde_json::value::RawValue;

use crate::{
    Asked, CallError, Handle, HandleOutside, HandlerError, Intending, Intent, Priority, Recorded,
    recorded::encode,
};

/// A decoded command.
pub(crate) type AnyCommand = Arc<dyn Any + Send + Sync>;
/// A question to the outside world or the finding of a call, together with the command it is for.
pub(crate) type AnyFinding = Arc<dyn Any + Send + Sync>;

/// A command to run. Its content is shared, because a transaction may be tried again.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) id: CommandId,
    pub(crate) sequence: u32,
    pub(crate) command: AnyCommand,
    pub(crate) resumed: bool,
    pub(crate) never_sent: bool,
}

/// The type of a handler's command, for both kinds of handlers.
pub(crate) trait Typed: Send + Sync {
    fn decode(&self, data: &RawValue) -> Result<AnyCommand, Poison>;
    fn reply_type(&self) -> &'static str;
    /// Returns the answer of a compensation that found nothing to undo.
    fn nothing(&self) -> Box<RawValue>;
}

pub(crate) trait Local<Tx>: Typed {
    /// See [`Handle::runs_without_action`].
    fn runs_without_action(&self, command: &AnyCommand) -> bool;

    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        work: Vec<Work>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Recorded>, HandlerError>>;
}

pub(crate) trait Outside<Tx>: Typed {
    /// Returns the priority of the calls of the handler's actions.
    fn priority(&self) -> Priority;

    fn intend<'a>(
        &'a self,
        tx: &'a mut Tx,
        work: Vec<Work>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Intended>, HandlerError>>;

    /// Makes the call, and returns the finding to pass to [`Outside::settle`].
    fn call<'a>(
        &'a self,
        id: &'a CommandId,
        question: AnyFinding,
    ) -> BoxFuture<'a, Result<AnyFinding, CallError>>;

    fn settle<'a>(
        &'a self,
        tx: &'a mut Tx,
        found: Vec<(u32, AnyFinding)>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Recorded>, HandlerError>>;

    fn retract<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<(), CallError>>;
}

pub(crate) enum Intended {
    Ask(AnyFinding),
    Answer(Recorded),
}

/// A service as the handler of one of its commands.
pub(crate) struct Bound<H, C> {
    handler: H,
    command: PhantomData<fn() -> C>,
}

impl<H, C> Bound<H, C> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler, command: PhantomData }
    }
}

impl<H: Send + Sync, C: Command> Typed for Bound<H, C> {
    fn decode(&self, data: &RawValue) -> Result<AnyCommand, Poison> {
        let command: C = serde_json::from_str(data.get())
            .map_err(|error| Poison::new(format!("not a {}: {error}", C::TYPE)))?;
        Ok(Arc::new(command))
    }

    fn reply_type(&self) -> &'static str {
        <C::Reply as TypeName>::TYPE
    }

    fn nothing(&self) -> Box<RawValue> {
        encode(&C::Reply::default())
    }
}

impl<H, C, Tx> Local<Tx> for Bound<Arc<H>, C>
where
    H: Handle<C, Tx>,
    C: Command,
    Tx: Send + 'static,
{
    fn runs_without_action(&self, command: &AnyCommand) -> bool {
        self.handler.runs_without_action(decoded(command))
    }

    fn run<'a>(
        &'a self,
        tx: &'a mut Tx,
        work: Vec<Work>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Recorded>, HandlerError>> {
        Box::pin(async move {
            let sequences: Vec<u32> = work.iter().map(|w| w.sequence).collect();
            let asked: Vec<Asked<C>> = work.iter().map(|w| asked(w.id.saga, &w.command)).collect();
            let answers = self.handler.handle(tx, &asked).await?;
            assert_eq!(answers.len(), asked.len(), "{}: an answer a command", C::TYPE);
            Ok(asked
                .iter()
                .zip(answers)
                .zip(sequences)
                .map(|((asked, answer), sequence)| {
                    let event = self.handler.event(asked, &answer);
                    Recorded::of::<C>(&answer, event, sequence, now)
                })
                .collect())
        })
    }
}

impl<H, C, Tx> Outside<Tx> for Bound<Arc<H>, C>
where
    H: HandleOutside<C, Tx>,
    C: Command,
    Tx: Send + 'static,
{
    fn priority(&self) -> Priority {
        H::PRIORITY
    }

    fn intend<'a>(
        &'a self,
        tx: &'a mut Tx,
        work: Vec<Work>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Intended>, HandlerError>> {
        Box::pin(async move {
            let sequences: Vec<u32> = work.iter().map(|w| w.sequence).collect();
            let intending: Vec<Intending<C>> = work
                .iter()
                .map(|w| Intending {
                    asked: asked(w.id.saga, &w.command),
                    resumed: w.resumed,
                    never_sent: w.never_sent,
                })
                .collect();
            let intents = self.handler.intend(tx, &intending).await?;
            assert_eq!(intents.len(), intending.len(), "{}: an intent a command", C::TYPE);
            Ok(intending
                .into_iter()
                .zip(intents)
                .zip(sequences)
                .map(|((intending, intent), sequence)| match intent {
                    Intent::Ask(question) => Intended::Ask(Arc::new((intending.asked, question))),
                    Intent::Answer(answer) => {
                        let event = self.handler.event(&intending.asked, &answer);
                        Intended::Answer(Recorded::of::<C>(&answer, event, sequence, now))
                    }
                })
                .collect())
        })
    }

    fn call<'a>(
        &'a self,
        id: &'a CommandId,
        question: AnyFinding,
    ) -> BoxFuture<'a, Result<AnyFinding, CallError>> {
        Box::pin(async move {
            let (asked, question) = question
                .downcast_ref::<(Asked<C>, H::Question)>()
                .expect("a handler is given the question that it intended");
            let finding = self.handler.call(id, question).await?;
            Ok(Arc::new((asked.clone(), finding)) as AnyFinding)
        })
    }

    fn settle<'a>(
        &'a self,
        tx: &'a mut Tx,
        found: Vec<(u32, AnyFinding)>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Recorded>, HandlerError>> {
        Box::pin(async move {
            let pairs: Vec<(&Asked<C>, &H::Finding)> = found
                .iter()
                .map(|(_, finding)| {
                    let (asked, finding) = finding
                        .downcast_ref::<(Asked<C>, H::Finding)>()
                        .expect("a handler is given the finding that it made");
                    (asked, finding)
                })
                .collect();
            let answers = self.handler.settle(tx, &pairs).await?;
            assert_eq!(answers.len(), found.len(), "{}: an answer a command", C::TYPE);
            Ok(pairs
                .iter()
                .zip(answers)
                .zip(&found)
                .map(|(((asked, _), answer), (sequence, _))| {
                    let sequence = *sequence;
                    let event = self.handler.event(asked, &answer);
                    Recorded::of::<C>(&answer, event, sequence, now)
                })
                .collect())
        })
    }

    fn retract<'a>(&'a self, id: &'a CommandId) -> BoxFuture<'a, Result<(), CallError>> {
        Box::pin(self.handler.retract(id))
    }
}

fn asked<C: Command>(saga: SagaId, command: &AnyCommand) -> Asked<C> {
    Asked { saga, command: decoded::<C>(command).clone() }
}

fn decoded<C: Command>(command: &AnyCommand) -> &C {
    command.downcast_ref().expect("a handler is given the command that it decoded")
}
