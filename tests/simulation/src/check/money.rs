//! Rules about money. They hold in every run, also after a database has forgotten its last commits.

use std::collections::BTreeMap;

use saga_core::{CommandId, Direction, Phase, SagaId, State, StuckReason};
use saga_engine::Write;
use saga_messaging::{Body, Message, Outcome, Route, parcel};

use super::{Checks, Seen};
use crate::sim::lock;

/// The step that takes the money.
const CAPTURE: &str = "capture-payment";
/// The step that holds the money.
const AUTHORISE: &str = "authorise-payment";
/// The steps of which none is undone when the money is taken.
const UNDONE_AFTER_ALL: [&str; 2] = ["create-order", "reserve-stock"];

impl Checks {
    /// Notes that a request for a hold may have reached the provider.
    pub(crate) fn asked_for_hold(&self, saga: SagaId) {
        lock(&self.seen).asked_for_hold.insert(saga);
    }

    /// Checks a payment that the provider has captured.
    pub(crate) fn captured(&self, saga: SagaId, payment: &str) {
        let mut seen = lock(&self.seen);
        let known = seen.captured.entry(saga).or_insert_with(|| payment.to_owned());
        if known != payment {
            self.sim.violated(format!("{saga} is charged twice: {known} and {payment}"));
        }
        for step in UNDONE_AFTER_ALL {
            let undo =
                CommandId { saga, step: step.to_owned(), direction: Direction::Compensation };
            let action = CommandId { direction: Direction::Action, ..undo.clone() };
            if seen.answers.contains_key(&undo) && seen.told_after_undo.contains(&action) {
                self.sim.violated(format!("{saga} is charged, and {step} was undone"));
            }
        }
    }

    /// Notes the replies of a process that say that an action is done, although the process has
    /// never found the action on record without its undo.
    pub(crate) fn told(&self, messages: &[Message], undone: &BTreeMap<CommandId, bool>) {
        let replies = messages.iter().filter(|m| matches!(m.route, Route::Reply { .. }));
        for member in replies.flat_map(|m| parcel::read(&m.body)).flatten().flatten() {
            let done = matches!(&member.body, Body::Reply(reply) if reply.outcome == Outcome::Done);
            if done && undone.get(&member.id) == Some(&true) {
                lock(&self.seen).told_after_undo.insert(member.id);
            }
        }
    }

    /// Returns the violation if a saga gets stuck because nobody can say whether money is held, and
    /// the provider was never asked to hold any.
    pub(super) fn stuck_for_nothing(&self, seen: &Seen, write: &Write) -> Option<String> {
        let (saga, before) = (&write.saga, seen.sagas.get(&write.saga.id));
        let Phase::Stuck(stuck) = &saga.phase else { return None };
        let newly = before.is_some_and(|before| before.phase.state() != State::Stuck);
        let undoing = stuck.step == AUTHORISE && stuck.direction == Direction::Compensation;
        let unknown = stuck.reason == StuckReason::Unanswered;
        // If the undo has come before its action, nobody knows what was asked (protocol 14).
        let asked =
            seen.asked_for_hold.contains(&saga.id) || !seen.intended_hold.contains(&saga.id);
        (self.only_the_provider_is_away && newly && undoing && unknown && !asked)
            .then(|| format!("{} is stuck at the undo of a hold that nobody asked for", saga.id))
    }
}

impl Seen {
    /// Notes the intent of a command.
    pub(super) fn intends(&mut self, id: &CommandId) {
        if id.step == AUTHORISE && id.direction == Direction::Action {
            self.intended_hold.insert(id.saga);
        }
    }
}

/// Returns whether a reply says that no money was taken, although it was.
pub(super) fn refused_although_captured(seen: &Seen, id: &CommandId, outcome: Outcome) -> bool {
    outcome == Outcome::Refused && id.step == CAPTURE && seen.captured.contains_key(&id.saga)
}
