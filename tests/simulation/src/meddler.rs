//! A test's rules for single messages. (Faults, in contrast, are drawn by the dice.)

use std::{sync::Mutex, time::Duration};

use saga_core::{CommandId, Refusal, SagaId};
use saga_messaging::{Body, Envelope, Message, Outcome, Queue, ReplyBody, Route, parcel};

use crate::{
    broker::{Broker, DEPLOYMENT},
    sim::lock,
};

/// The delay of a copied message: the copy comes after the message and before a resend.
const COPY_LATE: Duration = Duration::from_millis(20);

/// A rule for messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Rule {
    /// Every message passes.
    #[default]
    Pass,
    /// The first copy of a command is refused, and no participant runs it.
    Refuse(CommandId),
    /// No copy of a command arrives.
    WithholdCommand(CommandId),
    /// The command arrives, but no reply to it does.
    WithholdReply(CommandId),
    /// Every command and every reply of a saga arrives twice.
    Repeat(SagaId),
    /// The first copy of a command is refused; the refusal and everything else arrive twice.
    RefuseAndRepeat(CommandId),
}

/// The current rule, and the messages that were kept under it.
#[derive(Debug, Default)]
pub(crate) struct Meddler {
    rule: Mutex<Rule>,
    kept: Mutex<Vec<(Queue, Message)>>,
}

impl Meddler {
    /// Sets the rule from now on.
    pub(crate) fn set(&self, rule: Rule) {
        *lock(&self.rule) = rule;
    }

    /// Returns the current rule.
    pub(crate) fn rule(&self) -> Rule {
        lock(&self.rule).clone()
    }
}

impl Broker {
    /// Applies the rule to a message, and returns the part of it that goes on.
    pub(crate) fn meddle(&self, queue: &Queue, message: Message) -> Option<Message> {
        match self.meddler.rule() {
            Rule::Pass => Some(message),
            Rule::Refuse(id) => self.refuse(message, &id, Rule::Pass).1,
            Rule::RefuseAndRepeat(id) => {
                let (reply, rest) = self.refuse(message, &id, Rule::Repeat(id.saga));
                if let Some(reply) = reply {
                    self.repeat(&Queue::Replies, &reply, id.saga);
                }
                if let Some(rest) = &rest {
                    self.repeat(queue, rest, id.saga);
                }
                rest
            }
            Rule::WithholdCommand(id) => {
                self.withhold(queue, message, |member| is_command(member, &id))
            }
            Rule::WithholdReply(id) => {
                self.withhold(queue, message, |member| is_reply(member, &id))
            }
            Rule::Repeat(saga) => {
                self.repeat(queue, &message, saga);
                Some(message)
            }
        }
    }

    /// Refuses the command if it is among the members, and returns the part that goes on.
    fn refuse(
        &self,
        message: Message,
        id: &CommandId,
        then: Rule,
    ) -> (Option<Message>, Option<Message>) {
        let (commands, rest) = parted(message, |member| is_command(member, id));
        let reply = commands.first().map(refused);
        if let Some(reply) = &reply {
            self.meddler.set(then);
            self.put(&Queue::Replies, reply.clone(), Duration::ZERO);
        }
        (reply, rest)
    }

    fn repeat(&self, queue: &Queue, message: &Message, saga: SagaId) {
        let (concerned, _) = parted(message.clone(), |member| member.id.saga == saga);
        if !concerned.is_empty() {
            lock(&self.meddler.kept).push((queue.clone(), message.clone()));
            self.put(queue, message.clone(), COPY_LATE);
        }
    }

    fn withhold(
        &self,
        queue: &Queue,
        message: Message,
        concerned: impl Fn(&Envelope) -> bool,
    ) -> Option<Message> {
        let (members, rest) = parted(message.clone(), concerned);
        if !members.is_empty() {
            lock(&self.meddler.kept).push((queue.clone(), carrying(&message, &members)));
        }
        rest
    }

    /// Delivers all messages that were kept, and returns their number.
    pub(crate) fn deliver_kept(&self) -> usize {
        let kept = std::mem::take(&mut *lock(&self.meddler.kept));
        for (queue, message) in &kept {
            self.put(queue, message.clone(), Duration::ZERO);
        }
        kept.len()
    }
}

fn is_command(member: &Envelope, id: &CommandId) -> bool {
    member.id == *id && matches!(member.body, Body::Command(_))
}

fn is_reply(member: &Envelope, id: &CommandId) -> bool {
    member.id == *id && matches!(member.body, Body::Reply(_))
}

/// Splits a message: returns the members that `concerned` selects, and the message without them.
fn parted(
    message: Message,
    concerned: impl Fn(&Envelope) -> bool,
) -> (Vec<Envelope>, Option<Message>) {
    let members = parcel::read(&message.body).unwrap_or_default();
    let (those, others): (Vec<_>, Vec<_>) =
        members.into_iter().flatten().partition(|member| concerned(member));
    if those.is_empty() {
        return (those, Some(message));
    }
    let rest = (!others.is_empty()).then(|| carrying(&message, &others));
    (those, rest)
}

/// Returns the same message with other members.
fn carrying(message: &Message, members: &[Envelope]) -> Message {
    let parcels = parcel::write(members);
    let [(_, body)] = &parcels[..] else { unreachable!("a part of a parcel is one parcel") };
    Message { body: body.clone().into(), ..message.clone() }
}

/// Returns the participant that runs a command: its type is in the participant's package.
fn participant(command: &Envelope) -> String {
    command.type_name.split('.').nth(1).unwrap_or_default().to_owned()
}

/// Creates the reply of a participant that refuses a command.
pub(crate) fn refused(command: &Envelope) -> Message {
    let Body::Command(body) = &command.body else { unreachable!("only commands are refused") };
    let refusal = Refusal::new("REFUSED_BY_TEST", "a test refuses this step");
    let (type_name, data) = Envelope::refusal(&refusal);
    let reply = Envelope {
        id: command.id.clone(),
        source: "saga/test".to_owned(),
        type_name,
        time: command.time,
        traceparent: None,
        data,
        body: Body::Reply(ReplyBody {
            outcome: Outcome::Refused,
            repeat: false,
            definition: body.definition.clone(),
            definition_version: body.definition_version,
            passed_on: 0,
            answered_by: None,
        }),
    };
    let empty = Message {
        route: Route::Reply { to: DEPLOYMENT.to_owned(), from: participant(command) },
        id: command.id.to_string(),
        content_type: parcel::BATCH,
        body: Vec::new().into(),
        expiry: None,
        reply_to: None,
        redelivered: false,
    };
    carrying(&empty, &[reply])
}
