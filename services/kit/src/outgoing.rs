//! Publishes the messages that leave after a commit, in this order: events, then replies, then
//! acknowledgements (protocol 10).

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use metrics::{counter, histogram};
use saga_core::{CommandId, Direction, Part, Record};
use saga_messaging::{
    Body, Envelope, EventBody, Insisting, Message, Outcome, Publication, ReplyBody, Route,
    Transport,
};
use saga_trace::{Context, Span};
use serde_json::value::RawValue;
use tracing::warn;

use crate::{
    Recorded,
    member::{Member, Receipt, quarantine_member},
};

/// The messages and acknowledgements that leave after a commit.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// The events, each with the trace context of the handling that it comes from, if that is
    /// traced.
    pub(crate) events: Vec<(Message, Option<Context>)>,
    pub(crate) replies: Vec<(String, Envelope)>,
    /// Messages for the quarantine, and members of a parcel that go back to the queue. The receipt
    /// of each is done once the message is confirmed.
    pub(crate) others: Vec<(Message, Receipt)>,
    pub(crate) receipts: Vec<Receipt>,
    /// Spans of members that are dealt with. They end once the transaction is committed.
    pub(crate) handled: Vec<Span>,
}

/// Distinguishes a new answer from a repeated one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    First,
    Again,
}

impl Outgoing {
    /// Adds a recorded answer, with its event before it. A compensation publishes its action's
    /// event again before its own event (protocol 10): the replica that ran the action may have
    /// been stopped before it published the action's event.
    pub(crate) fn answer(
        &mut self,
        member: &Member,
        record: &Record<Recorded>,
        recorded: &Recorded,
        telling: Telling,
        us: &str,
    ) {
        if member.direction() == Direction::Compensation
            && let Some(Part { answer: Some(action), .. }) = &record.action
        {
            self.event(member, Direction::Action, action, us);
        }
        self.event(member, member.direction(), recorded, us);
        let (repeat, data) = (telling == Telling::Again, recorded.data.clone());
        self.reply(member, recorded.outcome, &recorded.type_name, data, repeat, us);
    }

    /// Adds the event of a recorded answer, if it has one.
    fn event(&mut self, member: &Member, direction: Direction, recorded: &Recorded, us: &str) {
        let Some(event) = &recorded.event else { return };
        let id = CommandId { direction, ..member.id().clone() };
        let envelope = Envelope {
            source: us.to_owned(),
            type_name: event.type_name.clone(),
            time: Some(recorded.at),
            traceparent: member.traceparent(),
            data: event.data.clone(),
            body: Body::Event(EventBody {
                sequence: event.sequence,
                definition: Some(member.command.definition.clone()),
                definition_version: Some(member.command.definition_version),
            }),
            id,
        };
        let message =
            Message::event(event.key.clone(), envelope.id.to_string(), envelope.to_json());
        self.events.push((message, member.context()));
    }

    /// Adds the reply to an action that came after its compensation.
    pub(crate) fn too_late(&mut self, member: &Member, us: &str) {
        let (type_name, data) = Envelope::too_late();
        self.reply(member, Outcome::TooLate, &type_name, data, false, us);
    }

    fn reply(
        &mut self,
        member: &Member,
        outcome: Outcome,
        type_name: &str,
        data: Box<RawValue>,
        repeat: bool,
        us: &str,
    ) {
        let envelope = Envelope {
            id: member.id().clone(),
            source: us.to_owned(),
            type_name: type_name.to_owned(),
            time: None,
            traceparent: member.traceparent(),
            data,
            body: Body::Reply(ReplyBody {
                outcome,
                repeat,
                definition: member.command.definition.clone(),
                definition_version: member.command.definition_version,
                passed_on: 0,
                answered_by: None,
            }),
        };
        self.replies.push((member.reply_to.clone(), envelope));
        self.receipts.push(member.receipt.clone());
        let said = match (outcome, repeat) {
            (Outcome::Done, false) => "done",
            (Outcome::Refused, false) => "refused",
            (Outcome::TooLate, _) => "too late",
            (Outcome::Done | Outcome::Refused, true) => "repeated",
        };
        self.handled(member, said, None);
    }

    /// Adds the span of a member that is dealt with. It ends when the transaction is committed.
    fn handled(&mut self, member: &Member, outcome: &'static str, failure: Option<&str>) {
        let Some(span) = &member.span else { return };
        let span = Span::clone(span).with("saga.outcome", outcome);
        self.handled.push(match failure {
            Some(why) => span.failed(why),
            None => span,
        });
    }

    /// Ends the spans of the answers so far: they have just been committed.
    pub(crate) fn committed(&mut self) {
        if !self.handled.is_empty() {
            let now = SystemTime::now();
            self.handled.iter_mut().for_each(|span| {
                span.ended.get_or_insert(now);
            });
        }
    }

    /// Adds a message for the quarantine. Its receipt is done once the message has arrived there.
    pub(crate) fn quarantine(&mut self, message: Message, receipt: Receipt) {
        self.others.push((message, receipt));
    }

    /// Puts a member that is well-formed, but cannot be handled, into the quarantine.
    pub(crate) fn quarantine_member(&mut self, member: &Member, reason: &str, participant: &str) {
        self.handled(member, "quarantined", Some(reason));
        let message = quarantine_member(member, reason, participant);
        self.quarantine(message, member.receipt.clone());
    }

    /// Drops a member without an answer: the saga will send the command again.
    pub(crate) fn drop_member(&mut self, member: Member, why: &str) {
        self.handled(&member, "dropped", Some(why));
        self.receipts.push(member.receipt);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.events.append(&mut other.events);
        self.replies.append(&mut other.replies);
        self.others.append(&mut other.others);
        self.receipts.append(&mut other.receipts);
        self.handled.append(&mut other.handled);
    }

    /// Publishes everything in the order given above, then acknowledges the deliveries. A message
    /// that the quarantine refuses is offered again, and acknowledged only once it has arrived.
    pub(crate) async fn leave<T: Transport>(
        mut self,
        transport: &T,
        participant: &'static str,
        insisting: &mut Insisting<Receipt>,
    ) {
        self.committed();
        self.handled.into_iter().for_each(Span::end);
        let mut events = Publication::of(transport, Vec::new());
        for (message, traced) in self.events {
            events.add(message, traced);
        }
        // If the broker does not take an event, the saga of the event gets no reply either. The
        // saga sends the command again, and the recorded answer then publishes the event again.
        let mut without_event = BTreeSet::new();
        for (_, refused) in events.publish().await {
            given_up(participant, &refused);
            without_event.extend(refused.id.parse::<CommandId>().map(|id| id.saga));
        }
        let mut by_address: BTreeMap<String, Vec<Envelope>> = BTreeMap::new();
        for (reply_to, envelope) in self.replies {
            if !without_event.contains(&envelope.id.saga) {
                by_address.entry(reply_to).or_default().push(envelope);
            }
        }
        let (others, receipts): (Vec<Message>, Vec<Receipt>) = self.others.into_iter().unzip();
        let mut receipts: Vec<Option<Receipt>> = receipts.into_iter().map(Some).collect();
        let mut replies = Publication::of(transport, others);
        for (to, envelopes) in by_address {
            let route = Route::Reply { to, from: participant.to_owned() };
            for members in replies.parcels(&route, &envelopes, |_| None) {
                histogram!("saga_reply_parcel_members", "participant" => participant)
                    .record(members as f64);
            }
        }
        for (place, refused) in replies.publish().await {
            match receipts.get_mut(place).and_then(Option::take) {
                Some(receipt) => {
                    unsent(participant);
                    warn!(participant, id = refused.id, route = ?refused.route, "the broker does not take it: it is offered again");
                    insisting.keep([(refused, receipt)]);
                }
                None => given_up(participant, &refused),
            }
        }
        receipts.into_iter().flatten().chain(self.receipts).for_each(Receipt::done);
    }
}

/// Counts a message that the broker does not take. The saga sends its command again when its
/// `wake_at` passes. A reply to a forged `reply_to` is never delivered.
fn given_up(participant: &str, message: &Message) {
    unsent(participant);
    warn!(participant, id = message.id, route = ?message.route, "given up: the broker does not take it");
}

fn unsent(participant: &str) {
    counter!("saga_participant_unsent_total", "participant" => participant.to_owned()).increment(1);
}
