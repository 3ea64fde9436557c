//! Handles messages in the quarantine for operators (semantics 8, 26).
//!
//! No message of the quarantine is ever published. A re-drive retries the message's saga, if the
//! saga still waits for that very command. The message's mark and the saga's turn are one
//! transaction, and the command to send is derived from the saga's row. So a stale or forged copy
//! overtakes nothing. After a crash before the publishing, the saga wakes and sends the command.

use std::{fmt, time::SystemTime};

use saga_core::{
    CommandId, Failure, Input, Instance, Intervened, Intervention, Obstacle, Remedy, Signed,
    Verdict,
};
use tracing::warn;

use super::row::{Handled, Inspected, QuarantineState, Quarantined, command_of};
use crate::{
    RequestError, SagaStore,
    fold::{Cue, Fate, fold},
    limits,
    outgoing::Outgoing,
    shared::{Shared, Turned},
};

/// An operator's request to handle a message.
#[derive(Clone, Debug)]
pub struct HandleRequest {
    /// The message's id.
    pub message: String,
    /// The way to handle the message.
    pub handling: Handling,
    /// The version of the message that the operator has seen.
    pub expected_version: u64,
    /// The operator's name and reason.
    pub signed: Signed,
    /// True if nothing is to be done, and the outcome only shows what would be done.
    pub dry_run: bool,
}

/// The two ways to handle a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// The message's saga sends its command again.
    Redrive,
    /// The message is kept only as a record.
    Discard,
}

impl Handling {
    const fn state(self) -> QuarantineState {
        match self {
            Self::Redrive => QuarantineState::Redriven,
            Self::Discard => QuarantineState::Discarded,
        }
    }
}

/// The outcome of an operator's request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The message was handled or, on a dry run, would be.
    Applied {
        /// The message's version afterwards.
        version: u64,
        /// The commands that are sent because of the act.
        sent: Vec<String>,
        /// The saga afterwards, if it made a turn.
        saga: Option<Box<Instance>>,
    },
    /// The message was handled in the same way before. Nothing was done now.
    Repeated,
    /// The message has a different version than the operator has seen. Nothing was done.
    Moved {
        /// The message's version now.
        version: u64,
    },
    /// The message cannot be handled in this way. Nothing was done.
    Impossible(Hindrance),
}

/// The reason why a message cannot be re-driven or discarded. Its text is a sentence that also
/// suggests an alternative, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// The message was re-driven before.
    Redriven,
    /// The message was discarded before.
    Discarded,
    /// The message names no command.
    NoCommand,
    /// The message's saga is below the watermark.
    TooOld,
    /// The message's saga does not exist.
    NoSaga,
    /// This server does not host the definition of the message's saga.
    Unhosted,
    /// The message's saga does not wait for that command.
    NotOpen,
    /// The message's saga allows no retry.
    Saga(Obstacle),
}

impl fmt::Display for Hindrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redriven => "it was re-driven, and has not come back since: there is nothing left to discard",
            Self::Discarded => "it was discarded: what its saga still waits for, `saga retry` sends",
            Self::NoCommand => "it names no command, so there is nothing that is known to be safe to send: whatever a saga still waits for, `saga retry` sends; discard this once its cause is gone",
            Self::TooOld => "its saga is older than sagas are kept, and no participant would run it: discard it",
            Self::NoSaga => "there is no saga of its id, so nobody waits for its answer, and nobody would undo its effect: discard it",
            Self::Unhosted => "this server does not host the definition of its saga: ask one that does",
            Self::NotOpen => "its saga does not wait for this command any more, so nothing is sent: look at the saga, and discard this",
            Self::Saga(obstacle) => return obstacle.fmt(f),
        })
    }
}

/// Carries out one request. Only people make requests, so each has its own transaction.
pub(crate) async fn handle<S: SagaStore>(
    shared: &Shared<S>,
    asked: &HandleRequest,
    outgoing: &mut Outgoing,
) -> Result<Outcome, RequestError> {
    let command = command_of(&asked.message);
    let saga = match asked.handling {
        Handling::Redrive => command.as_ref().map(|command| command.saga),
        Handling::Discard => None,
    };
    let decide = |inspected: Inspected| match decide(shared, asked, command.as_ref(), inspected) {
        Ok(decided) if asked.dry_run => (None, Ok(Decided { turned: None, ..decided })),
        Ok(mut decided) => (decided.handled.take(), Ok(decided)),
        Err(error) => (None, Err(error)),
    };
    let began = SystemTime::now();
    let transact = || shared.store.handle(&asked.message, saga, decide);
    let decided = match shared.persist(transact, Some(limits::CONFLICT_RETRIES)).await {
        Ok(decided) => decided?,
        Err(failure) => {
            warn!(%failure, message = asked.message, "a message could not be handled");
            return Err(match failure {
                Failure::Permanent(_) => RequestError::Undecidable,
                Failure::Conflict(_) | Failure::Unavailable(_) | Failure::UnknownCommit(_) => {
                    RequestError::Unavailable
                }
            });
        }
    };
    if let Some(turned) = decided.turned {
        shared.committed(began, turned, |_| None, outgoing);
    }
    Ok(decided.outcome)
}

struct Decided {
    outcome: Outcome,
    handled: Option<Handled>,
    /// The saga's turn, if the request makes one.
    turned: Option<Turned>,
}

impl Decided {
    fn unchanged(outcome: Outcome) -> Self {
        Self { outcome, handled: None, turned: None }
    }
}

fn decide<S>(
    shared: &Shared<S>,
    asked: &HandleRequest,
    command: Option<&CommandId>,
    inspected: Inspected,
) -> Result<Decided, RequestError> {
    let Some(message) = &inspected.message else { return Err(RequestError::NotFound) };
    if let Some(outcome) = decided_already(message, asked) {
        return Ok(Decided::unchanged(outcome));
    }
    let turned = match asked.handling {
        Handling::Discard => None,
        Handling::Redrive => match redrive(shared, asked, command, inspected)? {
            Ok(turned) => Some(turned),
            Err(hindrance) => return Ok(Decided::unchanged(Outcome::Impossible(hindrance))),
        },
    };
    let write = turned.as_ref().and_then(|turned| turned.writes.first().cloned());
    let history = write.iter().flat_map(|write| &write.history);
    let sent: Vec<String> = history
        .flat_map(|entry| &entry.sent)
        .map(|(command, attempt)| format!("{command} #{attempt}"))
        .collect();
    let saga = write.as_ref().map(|write| Box::new(write.saga.clone()));
    let (state, signed) = (asked.handling.state(), asked.signed.clone());
    Ok(Decided {
        outcome: Outcome::Applied { version: asked.expected_version + 1, sent: sent.clone(), saga },
        handled: Some(Handled { state, signed, sent, write }),
        turned,
    })
}

/// Returns the outcome if the message alone determines it: it was handled before, or has changed
/// since the operator saw it.
fn decided_already(message: &Quarantined, asked: &HandleRequest) -> Option<Outcome> {
    let hindrance = match (message.state, asked.handling) {
        (QuarantineState::Redriven, Handling::Redrive)
        | (QuarantineState::Discarded, Handling::Discard) => return Some(Outcome::Repeated),
        (QuarantineState::Redriven, Handling::Discard) => Some(Hindrance::Redriven),
        (QuarantineState::Discarded, Handling::Redrive) => Some(Hindrance::Discarded),
        (QuarantineState::Open, Handling::Redrive | Handling::Discard) => None,
    };
    if message.version != asked.expected_version {
        return Some(Outcome::Moved { version: message.version });
    }
    hindrance.map(Outcome::Impossible)
}

/// Retries the saga, if it waits for that very command.
fn redrive<S>(
    shared: &Shared<S>,
    asked: &HandleRequest,
    command: Option<&CommandId>,
    inspected: Inspected,
) -> Result<Result<Turned, Hindrance>, RequestError> {
    let Inspected { now, watermark, message: _, saga } = inspected;
    let Some(command) = command else { return Ok(Err(Hindrance::NoCommand)) };
    if watermark.covers(command.saga) {
        return Ok(Err(Hindrance::TooOld));
    }
    let Some(saga) = saga else { return Ok(Err(Hindrance::NoSaga)) };
    let Some(definition) = shared.hosted.get(&saga.definition, saga.definition_version) else {
        return Ok(Err(Hindrance::Unhosted));
    };
    let open = definition.open_commands(&saga).map_err(|_| RequestError::Undecidable)?;
    if !open.iter().any(|open| open.id == *command) {
        return Ok(Err(Hindrance::NotOpen));
    }
    let Signed { by, reason } = &asked.signed;
    let reason = format!(
        "{}/{} is re-driven from the quarantine: {reason}",
        command.step, command.direction
    );
    let retry = Input::Intervene(Intervention {
        remedy: Remedy::Retry,
        expected_version: saga.version,
        signed: Signed { by: by.clone(), reason },
    });
    let mut turned = Turned::at(now);
    match turned.add(fold(&shared.hosted, saga, [Cue::own(&retry)], now))[..] {
        [Fate::Decided(Verdict::Intervention(Intervened::Applied))] => Ok(Ok(turned)),
        [Fate::Decided(Verdict::Intervention(Intervened::Impossible(obstacle)))] => {
            Ok(Err(Hindrance::Saga(obstacle)))
        }
        _ => Err(RequestError::Undecidable),
    }
}
