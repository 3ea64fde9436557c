//! Settles calls to the outside world that have ended, from their findings to the answers.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
};

use saga_core::{Admission, Direction, Part, admit};
use saga_messaging::Pace;
use tokio::{sync::mpsc, time::Instant};
use tracing::warn;

use crate::{
    Entry, HandlerError, Recorded, Store,
    erased::AnyFinding,
    handlers::Kind,
    limits,
    member::Member,
    outgoing::{Outgoing, Telling},
    outside::Found,
    trace::Transaction,
    transact::{Batches, Open, Sifted, Stop, Transact, entry, unanswered},
};

/// Writes the findings of outside calls, as many at once as have arrived. The reference to the
/// batches is weak, so that this loop ends after the calls have ended.
pub(crate) async fn settle<S: Store>(
    batches: Weak<Batches<S>>,
    mut findings: mpsc::UnboundedReceiver<Found>,
    to_confirm: mpsc::Sender<Outgoing>,
) {
    let (mut found, mut pace) = (Vec::new(), Pace::default());
    while findings.recv_many(&mut found, limits::MAX_BATCH_MEMBERS).await > 0 {
        let Some(batches) = batches.upgrade() else { break };
        let (members, began) = (found.len(), Instant::now());
        let Ok(outgoing) = batches.settle(std::mem::take(&mut found)).await else { break };
        drop(batches);
        if to_confirm.send(outgoing).await.is_err() {
            break;
        }
        pace.worked(members, began);
        pace.rest().await;
    }
}

/// A command whose outside call was answered.
struct Answered {
    member: Member,
    finding: AnyFinding,
}

impl<S: Store> Batches<S> {
    /// Runs the second transactions of commands with an outside effect.
    async fn settle(&self, found: Vec<Found>) -> Result<Outgoing, Stop> {
        let mut outgoing = Outgoing::default();
        let mut groups: Vec<Vec<Answered>> = Vec::new();
        groups.resize_with(self.handlers.list.len(), Vec::new);
        let (mut later, mut not_sent, mut copies) = (Vec::new(), Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        for found in found {
            match found {
                Found::Finding { handler, member, finding } => {
                    if seen.insert(member.key()) {
                        groups[handler].push(Answered { member, finding });
                    } else {
                        later.push(Found::Finding { handler, member, finding });
                    }
                }
                Found::Retracted(member) => {
                    for member in self.with_copies(member) {
                        outgoing.too_late(&member, &self.source);
                    }
                }
                Found::Nothing(member) => {
                    for member in self.with_copies(member) {
                        self.count("dropped");
                        outgoing.drop_member(member, "no answer from outside");
                    }
                }
                Found::NotSent(member) => not_sent.push(member),
            }
        }
        if !not_sent.is_empty() {
            outgoing.append(self.not_sent(not_sent).await);
        }
        for (place, group) in groups.into_iter().enumerate() {
            if !group.is_empty() {
                outgoing.append(self.group(place, &group).await?);
                copies.extend(group.iter().flat_map(|settled| self.calls.end(settled.member.id())));
            }
        }
        // By now, the answer to the copies is recorded.
        if !copies.is_empty() {
            outgoing.append(self.run(copies).await?);
        }
        if !later.is_empty() {
            outgoing.append(Box::pin(self.settle(later)).await?);
        }
        Ok(outgoing)
    }

    /// Records that the calls of these actions were never sent, so that their compensations do not
    /// ask the outside world; then drops the commands. It is tried only once: if the answer to a
    /// commit is lost, a second try could count back twice. A count that is too high only costs a
    /// look-up. One that is too low would miss a real call, whose effect could then stay in the
    /// outside world.
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
        // This comes last, so that no copy of a command finds a record that still counts the call.
        for member in members.into_iter().flat_map(|member| self.with_copies(member)) {
            self.count("dropped");
            outgoing.drop_member(member, "nothing was sent outside");
        }
        outgoing
    }

    /// Ends the call of a member. Returns the member, and the copies that have waited for the call.
    fn with_copies(&self, member: Member) -> impl Iterator<Item = Member> + use<S> {
        let copies = self.calls.end(member.id());
        std::iter::once(member).chain(copies)
    }

    async fn count_calls_back(&self, actions: Vec<&Member>) -> Result<(), HandlerError> {
        let Sifted { open, .. } = self.sift(actions, |member| member).await?;
        let Some(Open { tx, members, locked }) = open else { return Ok(()) };
        let mut entries = Vec::new();
        for (member, record) in members.into_iter().zip(&locked.records) {
            // A record that has an answer or another payload by now stays as it is.
            if let Some(Part { hash, answer: None, calls: calls @ 1.. }) = &record.action
                && hash[..] == member.hash[..]
            {
                entries.push(Entry { calls: calls - 1, ..unanswered(member) });
            }
        }
        self.write(tx, entries).await
    }
}

impl<S: Store> Transact<S> for Answered {
    fn member(&self) -> &Member {
        &self.member
    }

    async fn transact(
        batches: &Batches<S>,
        span: &Transaction,
        place: usize,
        group: &[Self],
    ) -> Result<Outgoing, HandlerError> {
        let Kind::Outside(outside) = &batches.handlers.at(place).kind else {
            return Err(HandlerError::Poison("a local handler asks nobody outside".to_owned()));
        };
        let Sifted { late, open } = batches.sift(group.iter().collect(), |a| &a.member).await?;
        let Some(Open { mut tx, members: group, locked }) = open else { return Ok(late) };
        let mut outgoing = late;
        let (mut settling, mut retract) = (Vec::new(), Vec::new());
        for (Self { member, finding }, record) in group.into_iter().zip(&locked.records) {
            match admit(record, member.direction(), &member.hash, Recorded::is_refusal) {
                // Another replica has settled the command meanwhile.
                Admission::Repeat(recorded) => {
                    let us = &batches.source;
                    outgoing.answer(member, record, &recorded, Telling::Again, us);
                }
                // The compensation came during the call.
                Admission::TooLate { .. } => retract.push(member.clone()),
                Admission::Run { .. } | Admission::NothingToUndo { .. } | Admission::NeverSent => {
                    settling.push((member, finding, record));
                }
                Admission::Conflict => {
                    batches.quarantine(member, "the same id with another payload", &mut outgoing);
                }
            }
        }
        let found: Vec<_> = settling
            .iter()
            .map(|(member, finding, _)| (member.command.sequence, Arc::clone(finding)))
            .collect();
        let mut entries = Vec::new();
        if !found.is_empty() {
            let answers = span.within(outside.settle(&mut tx, found, locked.now)).await?;
            for ((member, _, record), recorded) in settling.into_iter().zip(answers) {
                batches.count("run");
                outgoing.answer(member, record, &recorded, Telling::First, &batches.source);
                entries.push(entry(member, record, Some(recorded)));
            }
        }
        batches.write(tx, entries).await?;
        outgoing.committed();
        for member in retract {
            batches.calls.retract(outside, member);
        }
        Ok(outgoing)
    }
}
