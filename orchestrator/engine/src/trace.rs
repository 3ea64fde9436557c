//! Makes the spans of turns, each in the trace of its own saga. Sagas that are not traced get none.

use std::{collections::BTreeMap, time::SystemTime};

use saga_core::{Happening, OutgoingCommand, SagaId};
use saga_messaging::trace::Source;
use saga_trace::{Context, Kind, Span};

use crate::{SagaStore, Write};

/// The times of a committed turn over many sagas, from which its spans are made.
pub(crate) struct TurnSpan {
    began: SystemTime,
    ended: SystemTime,
    system: &'static str,
}

impl TurnSpan {
    /// Records that a turn has just been committed to a store of type `S`.
    pub(crate) fn over<S: SagaStore>(began: SystemTime) -> Self {
        Self { began, ended: SystemTime::now(), system: S::SYSTEM }
    }

    /// Makes the spans, and gives each command the context of its turn. `reply` returns the reply
    /// that a saga's turn decided on. Without one, the span's parent is the call that began the
    /// saga.
    pub(crate) fn spans(
        &self,
        writes: &[Write],
        commands: &mut [OutgoingCommand],
        reply: impl Fn(SagaId) -> Option<(Context, Source)>,
    ) {
        let mut turns = BTreeMap::new();
        for write in writes {
            let Some(call) = Context::recorded(write.saga.traceparent.as_deref()) else { continue };
            // A reply with another trace than the saga's was forged or mixed up: its context is not
            // used.
            let reply = reply(write.saga.id).filter(|(from, _)| from.trace() == call.trace());
            turns.insert(write.saga.id, self.span(write, call, reply, writes.len()));
        }
        for command in commands {
            if let Some(turn) = turns.get(&command.id.saga) {
                command.traceparent = Some(turn.to_string());
            }
        }
    }

    fn span(
        &self,
        write: &Write,
        call: Context,
        reply: Option<(Context, Source)>,
        sagas: usize,
    ) -> Context {
        let name = format!("turn {}", write.saga.definition);
        let span = match reply {
            Some((from, source)) => source.handling(from, name, self.began),
            None => Span::child(call, Kind::Internal, name).since(self.began),
        };
        let mut span = span
            .with("saga.id", write.saga.id.to_string())
            .with("saga.definition", write.saga.definition.clone())
            .with("saga.version", write.saga.version)
            .with("saga.state", write.saga.phase.name());
        if let Some(last) = write.history.last() {
            span = happening(span, &last.happening);
        }
        let mut transaction = Span::child(span.context, Kind::Client, "transaction")
            .since(self.began)
            .with("db.system.name", self.system)
            .with("db.operation.name", "transaction")
            .with("db.operation.batch.size", sagas);
        let context = span.context;
        for span in [&mut transaction, &mut span] {
            span.ended = Some(self.ended);
        }
        transaction.end();
        span.end();
        context
    }
}

fn happening(span: Span, happening: &Happening) -> Span {
    let span = span.with("saga.happening", name(happening));
    match happening {
        Happening::Done { step, direction } => {
            span.with("saga.step", step.clone()).with("saga.direction", direction.as_str())
        }
        Happening::Refused { step, direction, refusal } => span
            .with("saga.step", step.clone())
            .with("saga.direction", direction.as_str())
            .with("saga.refusal", refusal.code.clone()),
        Happening::Skipped { step, direction, .. }
        | Happening::Resolved { step, direction, .. } => {
            span.with("saga.step", step.clone()).with("saga.direction", direction.as_str())
        }
        Happening::Started
        | Happening::Resent
        | Happening::GaveUp { .. }
        | Happening::DeadlinePassed
        | Happening::Cancel(_)
        | Happening::Paused(_)
        | Happening::Resumed(_)
        | Happening::Retried(_)
        | Happening::Compensate(_)
        | Happening::Reminded => span,
    }
}

fn name(happening: &Happening) -> &'static str {
    match happening {
        Happening::Started => "started",
        Happening::Done { .. } => "done",
        Happening::Refused { .. } => "refused",
        Happening::Resent => "resent",
        Happening::GaveUp { .. } => "gave up",
        Happening::DeadlinePassed => "deadline passed",
        Happening::Cancel(_) => "cancel",
        Happening::Paused(_) => "paused",
        Happening::Resumed(_) => "resumed",
        Happening::Reminded => "reminded",
        Happening::Retried(_) => "retried",
        Happening::Skipped { .. } => "skipped",
        Happening::Resolved { .. } => "resolved",
        Happening::Compensate(_) => "compensate",
    }
}
