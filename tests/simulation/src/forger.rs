//! A compromised participant: it answers the steps of others with everything that its own credential
//! allows. It may publish only by the exchange of its own replies, so the broker names it in each.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use saga_messaging::{Body, Envelope, Message, Outcome, Queue, Route, parcel};

use crate::{
    broker::{Broker, DEPLOYMENT},
    faults::Fault,
    meddler::refused,
};

/// One parcel of commands in so many has its first command answered by the forger.
const EVERY: usize = 3;

/// The forger's state. It draws no dice, so that a run without it is the same run as before.
#[derive(Debug)]
pub(crate) struct Forger {
    on: bool,
    parcels: AtomicUsize,
}

impl Forger {
    pub(crate) const fn new(on: bool) -> Self {
        Self { on, parcels: AtomicUsize::new(0) }
    }
}

impl Broker {
    /// Answers one of the commands that arrive for `participant`, in another participant's name:
    /// each reply says in turn that the step is refused, or that its command came too late. The
    /// genuine reply comes after it.
    pub(crate) fn forge(&self, participant: &str, commands: &Message) {
        if !self.forger.on {
            return;
        }
        let number = self.forger.parcels.fetch_add(1, Ordering::Relaxed);
        let first = parcel::read(&commands.body).unwrap_or_default().into_iter().flatten().next();
        let (0, Some(command)) = (number % EVERY, first) else { return };
        let mut reply = refused(&command);
        if number.is_multiple_of(2 * EVERY) {
            late(&mut reply);
        }
        let from = if participant == "order" { "inventory" } else { "order" };
        reply.route = Route::Reply { to: DEPLOYMENT.to_owned(), from: from.to_owned() };
        self.sim.count(Fault::Forgery);
        self.checks.poisoned(format!("{}/reply", command.id));
        self.put(&Queue::Replies, reply, Duration::ZERO);
    }
}

/// Turns a refusal into the answer to an action that came after its compensation.
fn late(reply: &mut Message) {
    let read = parcel::read(&reply.body).unwrap_or_default().into_iter().flatten().next();
    let Some(Envelope { body: Body::Reply(mut body), .. }) = read.clone() else { return };
    body.outcome = Outcome::TooLate;
    let (type_name, data) = Envelope::too_late();
    let envelope = read.map(|read| Envelope { type_name, data, body: Body::Reply(body), ..read });
    for (_, written) in parcel::write(&Vec::from_iter(envelope)) {
        reply.body = written.into();
    }
}
