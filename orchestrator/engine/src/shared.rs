//! The state that the engine's loops share, and the work that each does after a commit.

use std::time::{Duration, SystemTime};

use metrics::{counter, histogram};
use saga_core::{Failure, Hosted, OutgoingCommand, SagaId, Timestamp, Watermark};
use saga_messaging::{Changed, Message, Silent, trace::Source};
use saga_trace::Context;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    SagaStore, Watches, Write,
    alert::{self, Alert},
    answerer::Impostors,
    fold::{Fate, Folded, StepAnswer, seconds},
    in_flight::InFlight,
    limits,
    outgoing::Outgoing,
    trace::TurnSpan,
};

/// The state that the engine's loops share.
pub(crate) struct Shared<S> {
    pub(crate) store: S,
    pub(crate) hosted: Hosted,
    pub(crate) watches: Watches,
    pub(crate) in_flight: InFlight,
    /// The last known watermark. Sagas below it have ended long ago.
    pub(crate) watermark: watch::Receiver<Watermark>,
    /// Sends the events of alerts to the loop that publishes them.
    pub(crate) alerts: mpsc::Sender<(Message, Option<Context>)>,
    /// True if a reply counts although nothing proves which participant sent it.
    pub(crate) accepts_unproven: bool,
    pub(crate) impostors: Impostors,
    pub(crate) shutdown: CancellationToken,
}

/// The decisions of one transaction: the writes, and the data for the work after the commit.
#[derive(Clone)]
pub(crate) struct Turned {
    /// The store's time, as the transaction read it.
    pub(crate) now: Timestamp,
    pub(crate) writes: Vec<Write>,
    pub(crate) send: Vec<OutgoingCommand>,
    pub(crate) answers: Vec<StepAnswer>,
    pub(crate) alerts: Vec<Alert>,
}

impl Turned {
    /// Starts without any decision.
    pub(crate) fn at(now: Timestamp) -> Self {
        let (writes, send) = (Vec::new(), Vec::new());
        Self { now, writes, send, answers: Vec::new(), alerts: Vec::new() }
    }

    /// Adds the decisions on one saga, and returns the fates of its inputs.
    pub(crate) fn add(&mut self, folded: Folded) -> Vec<Fate> {
        let Folded { write, send, fates, answers, alerts } = folded;
        self.writes.extend(write);
        self.send.extend(send);
        self.answers.extend(answers);
        self.alerts.extend(alerts);
        fates
    }
}

impl<S: SagaStore> Shared<S> {
    /// Tries a transaction until it succeeds. Gives up on permanent failures, after too many
    /// conflicts, and after `outages` failures to reach the store, if that is set.
    pub(crate) async fn persist<R, F>(
        &self,
        transact: impl Fn() -> F,
        outages: Option<u32>,
    ) -> Result<R, Failure>
    where
        F: Future<Output = Result<R, Failure>>,
    {
        let (mut pause, mut conflicts, mut away): (Duration, u32, u32) =
            (limits::FIRST_PAUSE, 0, 0);
        let (began, mut silent) = (Instant::now(), Silent::default());
        loop {
            let (result, silent) = silent.call(transact()).await;
            let failure = match result {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            if silent {
                error!("the database is silent: the engine stops, to be started anew");
                self.shutdown.cancel();
            }
            let stop = match &failure {
                Failure::Conflict(_) => {
                    counter!("saga_turns_retried_total", "why" => "conflict").increment(1);
                    conflicts += 1;
                    conflicts > limits::CONFLICT_RETRIES || began.elapsed() > limits::CONFLICT_TIME
                }
                Failure::Unavailable(_) | Failure::UnknownCommit(_) => {
                    away += 1;
                    counter!("saga_turns_retried_total", "why" => "away").increment(1);
                    warn!(%failure, "the turn is tried again");
                    outages.is_some_and(|bound| away > bound)
                }
                Failure::Permanent(_) => true,
            };
            if stop || self.shutdown.is_cancelled() {
                return Err(failure);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::LONGEST_PAUSE);
        }
    }

    /// Does the work after the commit of a transaction: counts, makes the spans, notifies those who
    /// wait, raises alerts, and adds the commands to `outgoing`. `began` is the time at which the
    /// transaction began. `reply` returns the reply that a saga's turn decided on, if there was
    /// one.
    pub(crate) fn committed(
        &self,
        began: SystemTime,
        turned: Turned,
        reply: impl Fn(SagaId) -> Option<(Context, Source)>,
        outgoing: &mut Outgoing,
    ) {
        let Turned { now, writes, mut send, answers, alerts } = turned;
        TurnSpan::over::<S>(began).spans(&writes, &mut send, reply);
        outgoing.now = Some(now);
        outgoing.commands.append(&mut send);
        let changed = |write: &Write| Changed { saga: write.saga.id, version: write.saga.version };
        outgoing.changed.extend(writes.iter().map(changed));
        self.in_flight.committed(&writes);
        self.watches.committed(&writes);
        writes.iter().for_each(count);
        answers.into_iter().for_each(StepAnswer::count);
        alert::raise(alerts, &self.alerts);
    }
}

/// Counts a saga that began or ended.
fn count(write: &Write) {
    let definition = write.saga.definition.clone();
    if write.before == 0 {
        counter!("saga_started_total", "definition" => definition.clone()).increment(1);
    }
    if write.saga.ended().is_some() {
        let outcome = write.saga.phase.name();
        counter!("saga_ended_total", "definition" => definition.clone(), "outcome" => outcome)
            .increment(1);
        if let Some(end) = write.history.last() {
            histogram!("saga_seconds", "definition" => definition, "outcome" => outcome)
                .record(seconds(write.saga.started_at, end.at));
        }
    }
}
