//! Runs one transaction over many commands: locks their rows, and tries again after failures.

use std::time::Duration;

use metrics::counter;
use saga_core::{Failure, Record, Watermark};
use saga_messaging::Silent;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    Entry, HandlerError, Key, Locked, Recorded, Store, handlers::Handlers, limits, member::Member,
    outgoing::Outgoing, outside::Calls, trace::Transaction,
};

/// The parts of a participant that run batches of commands and settle batches of outside calls.
pub(crate) struct Batches<S: Store> {
    pub(crate) name: &'static str,
    pub(crate) source: String,
    pub(crate) store: S,
    pub(crate) handlers: Handlers<S::Tx>,
    pub(crate) calls: Calls,
    /// The highest watermark that any command has carried.
    pub(crate) watermark: watch::Sender<Watermark>,
    pub(crate) shutdown: CancellationToken,
}

/// The participant is being stopped. Unanswered commands are delivered again elsewhere.
#[derive(Debug)]
pub(crate) struct Stop;

/// A command in a transaction: either a new one, or one whose outside call has ended.
pub(crate) trait Transact<S: Store>: Sync + Sized {
    /// Returns the command.
    fn member(&self) -> &Member;

    /// Runs one transaction over commands of the handler with index `place`.
    fn transact(
        batches: &Batches<S>,
        span: &Transaction,
        place: usize,
        group: &[Self],
    ) -> impl Future<Output = Result<Outgoing, HandlerError>> + Send;
}

impl<S: Store> Batches<S> {
    /// Runs commands of one handler in one transaction. If it fails because of one of them, each
    /// half of the commands gets a transaction of its own, and so on. So one bad command among 512
    /// costs 18 more transactions, not 512.
    pub(crate) async fn group<C: Transact<S>>(
        &self,
        place: usize,
        group: &[C],
    ) -> Result<Outgoing, Stop> {
        let mut outgoing = Outgoing::default();
        let mut left = vec![group];
        while let Some(part) = left.pop() {
            match (self.persist(place, part).await?, part) {
                (Ok(done), _) => outgoing.append(done),
                (Err(failed), [one]) => self.give_up(one.member(), failed, &mut outgoing),
                (Err(_), several) => {
                    let (first, second) = several.split_at(several.len() / 2);
                    left.extend([second, first]);
                }
            }
        }
        Ok(outgoing)
    }

    /// Tries a transaction until it succeeds, or until it is clear that it fails because of its
    /// members.
    async fn persist<C: Transact<S>>(
        &self,
        place: usize,
        group: &[C],
    ) -> Result<Result<Outgoing, HandlerError>, Stop> {
        let (mut pause, mut conflicts) = (limits::FIRST_PAUSE, 0);
        let (began, mut silent) = (Instant::now(), Silent::default());
        loop {
            let span = Transaction::begin::<S>(group.iter().map(C::member));
            let (done, silent) = silent.call(C::transact(self, &span, place, group)).await;
            span.end(&done);
            if silent {
                error!(
                    participant = self.name,
                    "the database is silent: the role stops, to be started anew"
                );
                self.shutdown.cancel();
            }
            match done {
                Ok(done) => return Ok(Ok(done)),
                Err(HandlerError::Store(Failure::Conflict(why))) => {
                    self.retried("conflict");
                    conflicts += 1;
                    if conflicts > limits::CONFLICT_RETRIES
                        || began.elapsed() > limits::CONFLICT_TIME
                    {
                        return Ok(Err(Failure::Conflict(why).into()));
                    }
                }
                Err(HandlerError::Store(
                    away @ (Failure::Unavailable(_) | Failure::UnknownCommit(_)),
                )) => {
                    self.retried("away");
                    warn!(participant = self.name, %away, "the transaction is tried again");
                }
                Err(
                    failed @ (HandlerError::Poison(_) | HandlerError::Store(Failure::Permanent(_))),
                ) => return Ok(Err(failed)),
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(limits::LONGEST_PAUSE);
        }
    }

    async fn pause(&self, pause: Duration) -> Result<(), Stop> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Stop),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }

    /// Drops or quarantines a member whose own transaction has failed.
    fn give_up(&self, member: &Member, failed: HandlerError, outgoing: &mut Outgoing) {
        match failed {
            HandlerError::Store(Failure::Conflict(why)) => {
                // The saga sends the command again when its `wake_at` passes.
                self.count("dropped");
                let trace_id = member.trace_id();
                warn!(participant = self.name, saga = %member.id().saga, command = %member.id(), trace_id, why, "command dropped after repeated conflicts");
                outgoing.drop_member(member.clone(), &why);
            }
            HandlerError::Poison(why) => self.quarantine(member, &why, outgoing),
            HandlerError::Store(failure) => {
                self.quarantine(member, &failure.to_string(), outgoing);
            }
        }
    }

    pub(crate) fn quarantine(&self, member: &Member, reason: &str, outgoing: &mut Outgoing) {
        self.count("quarantined");
        let trace_id = member.trace_id();
        error!(participant = self.name, saga = %member.id().saga, command = %member.id(), trace_id, reason, "command quarantined");
        outgoing.quarantine_member(member, reason, self.name);
    }

    fn retried(&self, why: &'static str) {
        counter!("saga_participant_retries_total", "participant" => self.name, "why" => why)
            .increment(1);
    }

    pub(crate) fn count(&self, outcome: &'static str) {
        counter!("saga_participant_commands_total", "participant" => self.name, "outcome" => outcome)
            .increment(1);
    }

    /// Begins a transaction and locks the members' rows, in the same order in all processes.
    /// Members below the watermark are left out: they are not run, get no answer, and leave no row.
    pub(crate) async fn sift<M>(
        &self,
        mut members: Vec<M>,
        member: impl Fn(&M) -> &Member,
    ) -> Result<Sifted<S, M>, HandlerError> {
        members.sort_by_key(|m| member(m).key());
        let mut late = Outgoing::default();
        while !members.is_empty() {
            let keys: Vec<Key> = members.iter().map(|m| member(m).key()).collect();
            let mut tx = self.store.begin().await?;
            let locked = self.store.lock(&mut tx, &keys).await?;
            let is_late = |m: &M| locked.watermark.covers(member(m).id().saga);
            if !members.iter().any(is_late) {
                return Ok(Sifted { late, open: Some(Open { tx, members, locked }) });
            }
            drop(tx);
            let (too_old, rest): (Vec<M>, Vec<M>) = members.into_iter().partition(is_late);
            for m in &too_old {
                self.count("late");
                late.drop_member(member(m).clone(), "its saga has ended long ago");
            }
            members = rest;
        }
        Ok(Sifted { late, open: None })
    }

    /// Writes the entries and commits.
    pub(crate) async fn write(
        &self,
        mut tx: S::Tx,
        entries: Vec<Entry>,
    ) -> Result<(), HandlerError> {
        if !entries.is_empty() {
            self.store.record(&mut tx, &entries).await?;
        }
        Ok(self.store.commit(tx).await?)
    }
}

/// The members of a transaction, separated from those that are late.
pub(crate) struct Sifted<S: Store, M> {
    /// The messages and receipts of the late members, which are dropped.
    pub(crate) late: Outgoing,
    /// The other members in an open transaction; `None` if all are late.
    pub(crate) open: Option<Open<S, M>>,
}

/// An open transaction in which the members' rows are locked.
pub(crate) struct Open<S: Store, M> {
    pub(crate) tx: S::Tx,
    pub(crate) members: Vec<M>,
    pub(crate) locked: Locked,
}

/// Makes a member's new entry: with an answer, or without one and with one more call.
pub(crate) fn entry(member: &Member, record: &Record<Recorded>, answer: Option<Recorded>) -> Entry {
    let known = record.action.as_ref().map_or(0, |action| action.calls);
    let calls = known + u32::from(answer.is_none());
    Entry { answer, calls, ..unanswered(member) }
}

/// Makes a member's entry without an answer and without a call.
pub(crate) fn unanswered(member: &Member) -> Entry {
    let hash = member.hash.to_vec();
    Entry { key: member.key(), direction: member.direction(), hash, answer: None, calls: 0 }
}
