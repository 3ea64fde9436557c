//! Runs one batch of commands, from its members to the messages that leave after its commits.

use std::{collections::HashSet, sync::Arc};

use metrics::histogram;
use saga_core::{Admission, Record, Timestamp, admit};

use crate::{
    Entry, HandlerError, Key, Recorded, Store,
    erased::{AnyCommand, AnyFinding, Intended, Work},
    handlers::{Handler, Kind},
    member::{Member, data},
    outgoing::{Outgoing, Telling},
    retention::receive,
    trace::Transaction,
    transact::{Batches, Open, Sifted, Stop, Transact, entry},
};

/// A member that is not poison, with its decoded command.
#[derive(Clone)]
struct Ready {
    member: Member,
    command: AnyCommand,
}

impl<S: Store> Batches<S> {
    /// Runs the members and returns the messages to send. Members with the same saga and step run
    /// one after the other, in separate transactions (protocol 11). So do commands of different
    /// types, so that all transactions lock rows in the same order.
    pub(crate) async fn run(&self, members: Vec<Member>) -> Result<Outgoing, Stop> {
        histogram!("saga_participant_batch_members", "participant" => self.name)
            .record(members.len() as f64);
        for watermark in members.iter().filter_map(|member| member.command.watermark) {
            receive(&self.watermark, watermark);
        }
        let mut outgoing = Outgoing::default();
        let mut waiting = members;
        while !waiting.is_empty() {
            let mut seen: HashSet<Key> = HashSet::new();
            let mut groups: Vec<Vec<Ready>> = vec![Vec::new(); self.handlers.list.len()];
            let mut later = Vec::new();
            // While the call of a command is under way, a copy of the command waits for that call.
            for member in waiting.into_iter().filter_map(|member| self.calls.join(member)) {
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
                    outgoing.append(self.group(place, &group).await?);
                }
            }
            waiting = later;
        }
        Ok(outgoing)
    }

    /// Finds the index of a member's handler, and decodes the member's command.
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
}

impl<S: Store> Transact<S> for Ready {
    fn member(&self) -> &Member {
        &self.member
    }

    /// Locks the records, runs the new commands, and records their answers.
    async fn transact(
        batches: &Batches<S>,
        span: &Transaction,
        place: usize,
        group: &[Self],
    ) -> Result<Outgoing, HandlerError> {
        let Sifted { late, open } = batches.sift(group.iter().collect(), |r| &r.member).await?;
        let Some(Open { mut tx, members: group, locked }) = open else { return Ok(late) };
        let handler = batches.handlers.at(place);
        let mut round = Round::new(batches, locked.now);
        for (ready, record) in group.iter().zip(&locked.records) {
            round.admit(ready, record, handler);
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
                let member = &ready.member;
                let answer = match intended {
                    Intended::Answer(recorded) => {
                        batches.count("run");
                        let us = &batches.source;
                        outgoing.answer(member, record, &recorded, Telling::First, us);
                        Some(recorded)
                    }
                    Intended::Ask(question) => {
                        asks.push((member.clone(), question));
                        None
                    }
                };
                entries.push(entry(member, record, answer));
            }
        }
        batches.write(tx, entries).await?;
        outgoing.committed();
        if let Kind::Outside(outside) = &handler.kind {
            for (member, question) in asks {
                batches.calls.ask(outside, place, member, question);
            }
            for member in retract {
                batches.calls.retract(outside, member);
            }
        }
        Ok(outgoing)
    }
}

/// The result of admitting the members of one transaction.
struct Round<'a, S: Store> {
    batches: &'a Batches<S>,
    now: Timestamp,
    outgoing: Outgoing,
    entries: Vec<Entry>,
    run: Vec<(&'a Ready, &'a Record<Recorded>, Before)>,
    retract: Vec<Member>,
}

/// What an earlier run of a command may have done in the outside world.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There was no earlier run.
    Nothing,
    /// An earlier run may have called the outside world.
    MayHaveAsked,
    /// The command is a compensation, and its action's calls were never sent.
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

    /// Decides from a member's record alone whether the member is run, answered or retracted.
    fn admit(&mut self, ready: &'a Ready, record: &'a Record<Recorded>, handler: &Handler<S::Tx>) {
        let (batches, member, typed) = (self.batches, &ready.member, handler.typed());
        let outside = matches!(handler.kind, Kind::Outside(_));
        let anyway = match &handler.kind {
            Kind::Local(local) => local.runs_without_action(&ready.command),
            Kind::Outside(_) => false,
        };
        let us = &batches.source;
        match admit(record, member.direction(), &member.hash, Recorded::is_refusal) {
            Admission::Run { resumed } => {
                let before = if resumed { Before::MayHaveAsked } else { Before::Nothing };
                self.run.push((ready, record, before));
            }
            Admission::Repeat(recorded) => {
                batches.count("repeated");
                self.outgoing.answer(member, record, &recorded, Telling::Again, us);
            }
            // Nothing is recorded, but an earlier call may still be on its way.
            Admission::NothingToUndo { proven: false } if outside => {
                self.run.push((ready, record, Before::MayHaveAsked));
            }
            Admission::NothingToUndo { proven: false } if anyway => {
                self.run.push((ready, record, Before::Nothing));
            }
            Admission::NeverSent if outside => self.run.push((ready, record, Before::NeverSent)),
            Admission::NothingToUndo { .. } | Admission::NeverSent => {
                batches.count("nothing to undo");
                let recorded = Recorded::done(typed.reply_type(), typed.nothing(), self.now);
                self.outgoing.answer(member, record, &recorded, Telling::First, us);
                self.entries.push(entry(member, record, Some(recorded)));
            }
            Admission::TooLate { intended: true } if outside => {
                batches.count("too late");
                self.retract.push(member.clone());
            }
            Admission::TooLate { .. } => {
                batches.count("too late");
                self.outgoing.too_late(member, us);
            }
            Admission::Conflict => {
                let reason = "the same id with another payload";
                batches.quarantine(member, reason, &mut self.outgoing);
            }
        }
    }
}
