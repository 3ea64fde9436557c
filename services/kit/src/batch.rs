//! One batch, from members to what leaves after its commits.

use std::{collections::HashSet, sync::Arc, time::Duration};

use metrics::{counter, histogram};
use saga_core::{Admission, Direction, Failure, Part, Record, Timestamp, Watermark, admit};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::{
    Entry, HandlerError, Key, Locked, Recorded, Store,
    erased::{AnyFinding, Intended, Work},
    handlers::{Handlers, Kind},
    limits,
    member::{Member, data},
    outside::{Calls, Found},
    reply::Outgoing,
    retention::hear,
    trace::Transaction,
};

/// Runs batches.
pub(crate) struct Batches<S: Store> {
    pub(crate) name: &'static str,
    pub(crate) source: String,
    pub(crate) store: S,
    pub(crate) handlers: Handlers<S::Tx>,
    pub(crate) calls: Calls,
    /// The furthest watermark that a command has brought along.
    pub(crate) watermark: watch::Sender<Watermark>,
    pub(crate) shutdown: CancellationToken,
}

/// The participant is being stopped. What is not answered comes again elsewhere.
#[derive(Debug)]
pub(crate) struct Stop;

/// A sound member, with its handler and its decoded command.
#[derive(Clone)]
struct Ready {
    member: Member,
    command: crate::erased::AnyCommand,
}

impl<S: Store> Batches<S> {
    /// Runs the members and says what is to leave. Members for the same (saga,
    /// step) run one after the other, in transactions of their own (protocol 11);
    /// so do commands of different types, which keeps the order of row locks one.
    pub(crate) async fn run(&self, members: Vec<Member>) -> Result<Outgoing, Stop> {
        histogram!("saga_participant_batch_members", "participant" => self.name)
            .record(members.len() as f64);
        for watermark in members.iter().filter_map(|member| member.command.watermark) {
            hear(&self.watermark, watermark);
        }
        let mut outgoing = Outgoing::default();
        let mut waiting = members;
        while !waiting.is_empty() {
            let mut seen: HashSet<Key> = HashSet::new();
            let mut groups: Vec<Vec<Ready>> = vec![Vec::new(); self.handlers.list.len()];
            let mut later = Vec::new();
            for member in waiting {
                if !seen.insert(member.key()) {
                    later.push(member);
                    continue;
                }
                match self.ready(&member) {
                    Ok((place, ready)) => groups[place].push(ready),
                    Err(reason) => self.quarantine(&member, &reason, &mut outgoing),
                }
            }
            for (place, group) in groups.into_iter().enumerate() {
                if !group.is_empty() {
                    outgoing.append(self.group(place, group).await?);
                }
            }
            waiting = later;
        }
        Ok(outgoing)
    }

    /// Finds a member's handler and decodes its command.
    fn ready(&self, member: &Member) -> Result<(usize, Ready), String> {
        let type_name = &member.envelope.type_name;
        let place = self
            .handlers
            .find(type_name)
            .ok_or_else(|| format!("the {} service takes no {type_name}", self.name))?;
        let handler = self.handlers.at(place);
        if handler.direction != member.direction() {
            return Err(format!("{type_name} is no {}", member.direction()));
        }
        let command = handler.typed().decode(data(member)).map_err(|poison| poison.reason)?;
        Ok((place, Ready { member: member.clone(), command }))
    }

    /// Runs members of one type in one transaction; if that fails because of one
    /// of them, one by one, so that its neighbours never wait for it.
    async fn group(&self, place: usize, group: Vec<Ready>) -> Result<Outgoing, Stop> {
        let failed = match self.persist(|| self.transact(place, &group)).await? {
            Ok(outgoing) => return Ok(outgoing),
            Err(failed) => failed,
        };
        let mut outgoing = Outgoing::default();
        if let [alone] = &group[..] {
            self.give_up(&alone.member, failed, &mut outgoing);
            return Ok(outgoing);
        }
        for ready in group {
            match self.persist(|| self.transact(place, std::slice::from_ref(&ready))).await? {
                Ok(done) => outgoing.append(done),
                Err(failed) => self.give_up(&ready.member, failed, &mut outgoing),
            }
        }
        Ok(outgoing)
    }

    /// Tries a transaction until it is through, or until it is clear that its
    /// members are the reason why it is not.
    async fn persist<R, F>(&self, transact: impl Fn() -> F) -> Result<Result<R, HandlerError>, Stop>
    where
        F: Future<Output = Result<R, HandlerError>>,
    {
        let (mut pause, mut conflicts) = (limits::FIRST_PAUSE, 0);
        loop {
            match transact().await {
                Ok(done) => return Ok(Ok(done)),
                Err(HandlerError::Store(Failure::Conflict(why))) => {
                    self.retried("conflict");
                    conflicts += 1;
                    if conflicts > limits::CONFLICT_RETRIES {
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

    /// A member that did not get through alone either.
    fn give_up(&self, member: &Member, failed: HandlerError, outgoing: &mut Outgoing) {
        match failed {
            HandlerError::Store(Failure::Conflict(why)) => {
                // The saga asks again when its `wake_at` passes.
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

    fn quarantine(&self, member: &Member, reason: &str, outgoing: &mut Outgoing) {
        self.count("quarantined");
        let trace_id = member.trace_id();
        error!(participant = self.name, saga = %member.id().saga, command = %member.id(), trace_id, reason, "command quarantined");
        outgoing.quarantine_member(member, reason, self.name);
    }

    fn retried(&self, why: &'static str) {
        counter!("saga_participant_retries_total", "participant" => self.name, "why" => why)
            .increment(1);
    }

    fn count(&self, outcome: &'static str) {
        counter!("saga_participant_commands_total", "participant" => self.name, "outcome" => outcome)
            .increment(1);
    }

    /// One transaction: lock the records, run what is new, record its answers.
    async fn transact(&self, place: usize, group: &[Ready]) -> Result<Outgoing, HandlerError> {
        let span = Transaction::begin::<S>(group.iter().map(|ready| &ready.member));
        let done = self.transact_in(&span, place, group).await;
        span.end(&done);
        done
    }

    async fn transact_in(
        &self,
        span: &Transaction,
        place: usize,
        group: &[Ready],
    ) -> Result<Outgoing, HandlerError> {
        let Sifted { late, open } = self.sift(group.iter().collect(), |r| &r.member).await?;
        let Some(Open { mut tx, members: group, locked }) = open else { return Ok(late) };
        let handler = self.handlers.at(place);
        let mut round = Round::new(self, locked.now);
        for (ready, record) in group.iter().zip(&locked.records) {
            round.admit(ready, record, matches!(handler.kind, Kind::Outside(_)), handler.typed());
        }
        let Round { mut outgoing, mut entries, run, retract, .. } = round;
        outgoing.append(late);
        let work: Vec<Work> = run
            .iter()
            .map(|(ready, _, before)| Work {
                id: ready.member.id().clone(),
                sequence: ready.member.command.sequence,
                command: Arc::clone(&ready.command),
                resumed: *before == Before::MayHaveAsked,
                never_sent: *before == Before::NeverSent,
            })
            .collect();
        let mut asks: Vec<(Member, AnyFinding)> = Vec::new();
        if !work.is_empty() {
            let done = match &handler.kind {
                Kind::Local(local) => {
                    let answers = span.within(local.run(&mut tx, work, locked.now)).await?;
                    answers.into_iter().map(Intended::Answer).collect()
                }
                Kind::Outside(outside) => {
                    span.within(outside.intend(&mut tx, work, locked.now)).await?
                }
            };
            for ((ready, record, _), intended) in run.into_iter().zip(done) {
                let answer = match intended {
                    Intended::Answer(recorded) => {
                        self.count("run");
                        outgoing.answer_new(&ready.member, record, &recorded, &self.source);
                        Some(recorded)
                    }
                    Intended::Ask(question) => {
                        asks.push((ready.member.clone(), question));
                        None
                    }
                };
                entries.push(entry(&ready.member, record, answer));
            }
        }
        self.write(tx, entries).await?;
        outgoing.committed();
        if let Kind::Outside(outside) = &handler.kind {
            for (member, question) in asks {
                self.calls.ask(outside, place, member, question);
            }
            for member in retract {
                self.calls.retract(outside, member);
            }
        }
        Ok(outgoing)
    }

    /// Begins a transaction and locks the members' rows, in the one order that
    /// everybody uses. What is below the watermark is left out: it is not run, is not
    /// answered, and leaves no row.
    async fn sift<M>(
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

    async fn write(&self, mut tx: S::Tx, entries: Vec<Entry>) -> Result<(), HandlerError> {
        if !entries.is_empty() {
            self.store.record(&mut tx, &entries).await?;
        }
        Ok(self.store.commit(tx).await?)
    }

    /// Second transaction of a command with an outside effect.
    pub(crate) async fn settle(&self, found: Vec<Found>) -> Result<Outgoing, Stop> {
        let mut outgoing = Outgoing::default();
        let mut groups: Vec<Vec<(Member, AnyFinding)>> = Vec::new();
        groups.resize_with(self.handlers.list.len(), Vec::new);
        let (mut later, mut not_sent) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for found in found {
            match found {
                Found::Finding { handler, member, finding } => {
                    if seen.insert(member.key()) {
                        groups[handler].push((member, finding));
                    } else {
                        later.push(Found::Finding { handler, member, finding });
                    }
                }
                Found::Retracted(member) => outgoing.too_late(&member, &self.source),
                Found::Nothing(member) => {
                    self.count("dropped");
                    outgoing.drop_member(member, "no answer from outside");
                }
                Found::NotSent(member) => {
                    self.count("dropped");
                    not_sent.push(member);
                }
            }
        }
        if !not_sent.is_empty() {
            outgoing.append(self.not_sent(not_sent).await);
        }
        for (place, group) in groups.into_iter().enumerate() {
            if group.is_empty() {
                continue;
            }
            match self.persist(|| self.settle_transaction(place, &group)).await? {
                Ok(done) => outgoing.append(done),
                Err(failed) if group.len() == 1 => {
                    self.give_up(&group[0].0, failed, &mut outgoing);
                }
                Err(_) => {
                    for one in group {
                        let one = [one];
                        match self.persist(|| self.settle_transaction(place, &one)).await? {
                            Ok(done) => outgoing.append(done),
                            Err(failed) => self.give_up(&one[0].0, failed, &mut outgoing),
                        }
                    }
                }
            }
        }
        if !later.is_empty() {
            outgoing.append(Box::pin(self.settle(later)).await?);
        }
        Ok(outgoing)
    }

    /// Records of actions that their calls were never sent, so that undoing them asks nobody
    /// outside, and drops them. Tried once: a record that counts a call too many only costs a
    /// look-up, one too few could leave a hold, and a commit whose answer was lost may have
    /// counted.
    async fn not_sent(&self, members: Vec<Member>) -> Outgoing {
        let mut outgoing = Outgoing::default();
        let mut seen = HashSet::new();
        let actions: Vec<&Member> = members
            .iter()
            .filter(|m| m.direction() == Direction::Action && seen.insert(m.key()))
            .collect();
        if !actions.is_empty()
            && let Err(error) = self.count_calls_back(actions).await
        {
            warn!(participant = self.name, %error, "calls that were not sent count as sent");
        }
        for member in members {
            outgoing.drop_member(member, "nothing was sent outside");
        }
        outgoing
    }

    async fn count_calls_back(&self, actions: Vec<&Member>) -> Result<(), HandlerError> {
        let Sifted { open, .. } = self.sift(actions, |member| member).await?;
        let Some(Open { tx, members, locked }) = open else { return Ok(()) };
        let mut entries = Vec::new();
        for (member, record) in members.into_iter().zip(&locked.records) {
            // Whatever was answered meanwhile, or came with another payload, stays as it is.
            if let Some(Part { hash, answer: None, calls: calls @ 1.. }) = &record.action
                && hash[..] == member.hash[..]
            {
                entries.push(Entry { calls: calls - 1, ..unanswered(member) });
            }
        }
        self.write(tx, entries).await
    }

    async fn settle_transaction(
        &self,
        place: usize,
        group: &[(Member, AnyFinding)],
    ) -> Result<Outgoing, HandlerError> {
        let span = Transaction::begin::<S>(group.iter().map(|(member, _)| member));
        let done = self.settle_in(&span, place, group).await;
        span.end(&done);
        done
    }

    async fn settle_in(
        &self,
        span: &Transaction,
        place: usize,
        group: &[(Member, AnyFinding)],
    ) -> Result<Outgoing, HandlerError> {
        let Kind::Outside(outside) = &self.handlers.at(place).kind else {
            return Err(HandlerError::Poison("a local handler asks nobody outside".to_owned()));
        };
        let Sifted { late, open } = self.sift(group.iter().collect(), |(m, _)| m).await?;
        let Some(Open { mut tx, members: group, locked }) = open else { return Ok(late) };
        let mut outgoing = late;
        let (mut settling, mut retract) = (Vec::new(), Vec::new());
        for ((member, finding), record) in group.into_iter().zip(&locked.records) {
            match admit(record, member.direction(), &member.hash, Recorded::is_refusal) {
                // Another replica settled it meanwhile.
                Admission::Repeat(recorded) => {
                    outgoing.answer_again(member, record, &recorded, &self.source);
                }
                // Its compensation came while we asked.
                Admission::TooLate { .. } => retract.push(member.clone()),
                Admission::Run { .. } | Admission::NothingToUndo { .. } | Admission::NeverSent => {
                    settling.push((member, finding, record));
                }
                Admission::Conflict => {
                    self.quarantine(member, "the same id with another payload", &mut outgoing);
                }
            }
        }
        let found = settling
            .iter()
            .map(|(m, f, _)| (m.command.sequence, Arc::clone(f)))
            .collect::<Vec<_>>();
        let mut entries = Vec::new();
        if !found.is_empty() {
            let answers = span.within(outside.settle(&mut tx, found, locked.now)).await?;
            for ((member, _, record), recorded) in settling.into_iter().zip(answers) {
                self.count("run");
                outgoing.answer_new(member, record, &recorded, &self.source);
                entries.push(entry(member, record, Some(recorded)));
            }
        }
        self.write(tx, entries).await?;
        outgoing.committed();
        for member in retract {
            self.calls.retract(outside, member);
        }
        Ok(outgoing)
    }
}

/// Members, without those that are late.
struct Sifted<S: Store, M> {
    /// What becomes of those.
    late: Outgoing,
    /// The others; `None` if there are none.
    open: Option<Open<S, M>>,
}

/// An open transaction in which the members' rows are locked.
struct Open<S: Store, M> {
    tx: S::Tx,
    members: Vec<M>,
    locked: Locked,
}

/// One transaction in the making.
struct Round<'a, S: Store> {
    batches: &'a Batches<S>,
    now: Timestamp,
    outgoing: Outgoing,
    entries: Vec<Entry>,
    run: Vec<(&'a Ready, &'a Record<Recorded>, Before)>,
    retract: Vec<Member>,
}

/// What an earlier run of a command may have done outside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There was none.
    Nothing,
    /// It may have asked.
    MayHaveAsked,
    /// For a compensation: its action's calls never left.
    NeverSent,
}

impl<'a, S: Store> Round<'a, S> {
    fn new(batches: &'a Batches<S>, now: Timestamp) -> Self {
        Self {
            batches,
            now,
            outgoing: Outgoing::default(),
            entries: Vec::new(),
            run: Vec::new(),
            retract: Vec::new(),
        }
    }

    /// What becomes of a member, from its record alone.
    fn admit(
        &mut self,
        ready: &'a Ready,
        record: &'a Record<Recorded>,
        outside: bool,
        typed: &dyn crate::erased::Typed,
    ) {
        let (batches, member) = (self.batches, &ready.member);
        match admit(record, member.direction(), &member.hash, Recorded::is_refusal) {
            Admission::Run { resumed } => {
                let before = if resumed { Before::MayHaveAsked } else { Before::Nothing };
                self.run.push((ready, record, before));
            }
            Admission::Repeat(recorded) => {
                batches.count("repeated");
                self.outgoing.answer_again(member, record, &recorded, &batches.source);
            }
            // Nothing is on record, but an earlier call may be on its way.
            Admission::NothingToUndo { proven: false } if outside => {
                self.run.push((ready, record, Before::MayHaveAsked));
            }
            Admission::NeverSent if outside => self.run.push((ready, record, Before::NeverSent)),
            Admission::NothingToUndo { .. } | Admission::NeverSent => {
                batches.count("nothing to undo");
                let recorded = Recorded::done(typed.reply_type(), typed.nothing(), self.now);
                self.outgoing.answer_new(member, record, &recorded, &batches.source);
                self.entries.push(entry(member, record, Some(recorded)));
            }
            Admission::TooLate { intended: true } if outside => {
                batches.count("too late");
                self.retract.push(member.clone());
            }
            Admission::TooLate { .. } => {
                batches.count("too late");
                self.outgoing.too_late(member, &batches.source);
            }
            Admission::Conflict => {
                let reason = "the same id with another payload";
                batches.quarantine(member, reason, &mut self.outgoing);
            }
        }
    }
}

impl Outgoing {
    fn answer_new(
        &mut self,
        member: &Member,
        record: &Record<Recorded>,
        answer: &Recorded,
        us: &str,
    ) {
        self.action_event(member, record, us);
        self.answer(member, answer, false, us);
    }

    fn answer_again(
        &mut self,
        member: &Member,
        record: &Record<Recorded>,
        answer: &Recorded,
        us: &str,
    ) {
        self.action_event(member, record, us);
        self.answer(member, answer, true, us);
    }

    /// A compensation first confirms the event of its action's recorded answer
    /// (protocol 10).
    fn action_event(&mut self, member: &Member, record: &Record<Recorded>, us: &str) {
        if member.direction() == Direction::Compensation
            && let Some(action) = &record.action
            && let Some(recorded) = &action.answer
        {
            self.event(member, Direction::Action, recorded, us);
        }
    }
}

/// What is now known of a member: its answer, or one intent more.
fn entry(member: &Member, record: &Record<Recorded>, answer: Option<Recorded>) -> Entry {
    let known = record.action.as_ref().map_or(0, |action| action.calls);
    let calls = known + u32::from(answer.is_none());
    Entry { answer, calls, ..unanswered(member) }
}

fn unanswered(member: &Member) -> Entry {
    let hash = member.hash.to_vec();
    Entry { key: member.key(), direction: member.direction(), hash, answer: None, calls: 0 }
}
