//! Takes participants' replies, and makes one turn for all that have arrived, folded saga by saga.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use metrics::{counter, histogram};
use saga_core::{Failure, Input, Instance, Reply, ReplyOutcome, SagaId, Timestamp, Verdict};
use saga_messaging::{
    Ack, Body, Delivery, Envelope, Message, Outcome, Pace, Poison, Queue, Sender, Transport,
    trace::Source,
};
use saga_trace::{Context, Span, trace_id};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};

use crate::{
    SagaStore,
    answerer::Answerer,
    fold::{Cue, Fate, fold},
    limits,
    outgoing::Outgoing,
    poison::in_quarantine,
    shared::{Shared, Turned},
};

/// Takes replies until shutdown.
pub(crate) async fn take<S: SagaStore, T: Transport>(
    shared: Arc<Shared<S>>,
    transport: T,
    to_confirm: mpsc::Sender<Outgoing>,
    confirmed: AbortOnDropHandle<()>,
) {
    let mut consumer = transport.consume(Queue::Replies, limits::PREFETCH);
    let source = Source::of(&transport, &Queue::Replies);
    let mut pace = Pace::default();
    loop {
        pace.rest().await;
        let deliveries = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            deliveries = consumer.next(limits::MAX_DELIVERIES) => deliveries,
        };
        if deliveries.is_empty() {
            break;
        }
        let began = Instant::now();
        let mut outgoing = Outgoing::default();
        let mut replies = Vec::new();
        for delivery in deliveries {
            let ack = open(delivery, &shared, &mut replies, &mut outgoing);
            outgoing.acks.push(ack);
        }
        let members = replies.len();
        histogram!("saga_reply_batch_members").record(members as f64);
        let receiving = receiving(&source, &replies);
        let mut stopped = false;
        while !replies.is_empty() && !stopped {
            let rest = replies.split_off(replies.len().min(limits::MAX_BATCH));
            stopped = take_in(&shared, &replies, &source, &mut outgoing).await.is_err();
            replies = rest;
        }
        receiving.into_iter().for_each(Span::end);
        pace.worked(members, began);
        if stopped || to_confirm.send(outgoing).await.is_err() {
            break;
        }
    }
    drop(to_confirm);
    // The consumer must live until all decisions are confirmed and their replies are acknowledged.
    let _ = tokio::time::timeout(limits::DRAIN, confirmed).await;
    drop(consumer);
}

/// Makes the span of a batch. A single reply gets none: it has only the span of its turn.
fn receiving(source: &Source, replies: &[Arrived]) -> Option<Span> {
    let joined = if replies.len() > 1 { replies } else { &[] };
    source.receiving(joined.iter().filter_map(Arrived::context), replies.len(), SystemTime::now())
}

/// A reply that has arrived and was read.
#[derive(Clone)]
struct Arrived {
    saga: SagaId,
    /// The party that answers, as the broker proves it.
    from: Answerer,
    input: Input,
    envelope: Arc<Envelope>,
}

impl Arrived {
    /// Returns the trace context that the reply was sent from, if it is traced.
    fn context(&self) -> Option<Context> {
        Context::recorded(self.envelope.traceparent.as_deref())
    }
}

/// Reads the members of a delivery into `replies`. Poison among them goes to the quarantine.
fn open<S: SagaStore>(
    delivery: Delivery,
    shared: &Shared<S>,
    replies: &mut Vec<Arrived>,
    outgoing: &mut Outgoing,
) -> Ack {
    let read = delivery.open();
    let Delivery { sender, body, redelivered, ack, .. } = delivery;
    let members = match read {
        Ok(members) => members,
        Err(poison) => {
            outgoing.quarantine.push(quarantine(&poison, body));
            return ack;
        }
    };
    for member in members {
        let poisoned = match member {
            Ok(envelope) => match arrived(envelope, &sender, redelivered, shared) {
                Ok(Read::Reply(reply)) => {
                    replies.push(reply);
                    continue;
                }
                Ok(Read::Unhosted(envelope)) => {
                    outgoing.passed_on.extend(pass_on(envelope, redelivered));
                    continue;
                }
                Ok(Read::Impostor(from, envelope)) => {
                    counter!("saga_replies_total", "verdict" => "impostor").increment(1);
                    let why = format!("impostor: {from} answers {}", envelope.id.step);
                    outgoing.quarantine.push(shared.impostors.keep(&from, why, &envelope));
                    continue;
                }
                Err(poisoned) => poisoned,
            },
            Err(poisoned) => poisoned,
        };
        let (poison, json) = poisoned;
        outgoing.quarantine.push(quarantine(&poison, Bytes::from(format!("[{json}]"))));
    }
    ack
}

/// A reply, as this engine can treat it.
enum Read {
    Reply(Arrived),
    /// This binary does not host the reply's definition in that version.
    Unhosted(Envelope),
    /// Nor may its sender answer anything.
    Impostor(Answerer, Envelope),
}

/// Counts that a reply is passed on to another orchestrator, which may host its definition. Returns
/// `None` if it was passed on often enough: an orchestrator that hosts the saga sends the command
/// again and gets the recorded answer.
///
/// A redelivered reply may have been passed on before, and then there are two copies of it. It
/// counts as several times, so that there are few copies even if each second acknowledgement is
/// lost.
fn pass_on(mut envelope: Envelope, redelivered: bool) -> Option<Envelope> {
    let Body::Reply(reply) = &mut envelope.body else { return None };
    let often_enough = reply.passed_on >= limits::MOST_PASSED_ON;
    let verdict = if often_enough { "unhosted" } else { "passed on" };
    counter!("saga_replies_total", "verdict" => verdict).increment(1);
    let times = if redelivered { limits::REDELIVERED_COUNTS } else { 1 };
    reply.passed_on = reply.passed_on.saturating_add(times);
    (!often_enough).then_some(envelope)
}

/// Reads a reply. `sender` is the party that published it.
fn arrived<S: SagaStore>(
    mut envelope: Envelope,
    sender: &Sender,
    redelivered: bool,
    shared: &Shared<S>,
) -> Result<Read, (Poison, String)> {
    let poison = |envelope: &Envelope, reason: String| {
        (Poison { reason, id: Some(envelope.id.clone()) }, envelope.to_json())
    };
    let Body::Reply(reply) = &mut envelope.body else {
        return Err(poison(&envelope, "no reply".to_owned()));
    };
    let from = Answerer::of(sender, reply.answered_by.take(), shared.accepts_unproven);
    // An orchestrator that the reply is passed on to learns who answered only from this.
    reply.answered_by = from.participant().map(str::to_owned);
    let Body::Reply(reply) = &envelope.body else { unreachable!("it is a reply") };
    if shared.hosted.get(&reply.definition, reply.definition_version).is_none() {
        return Ok(match from {
            Answerer::Impostor(_) => Read::Impostor(from, envelope),
            Answerer::Participant(_) | Answerer::Unproven => Read::Unhosted(envelope),
        });
    }
    let outcome = match reply.outcome {
        Outcome::Done => ReplyOutcome::Done {
            type_name: envelope.type_name.clone(),
            data: envelope.data.clone(),
        },
        Outcome::Refused => match envelope.read_refusal() {
            Ok(refusal) => ReplyOutcome::Refused(refusal),
            Err(poisoned) => return Err((poisoned, envelope.to_json())),
        },
        Outcome::TooLate => ReplyOutcome::TooLate,
    };
    let input = Input::Reply(Reply {
        step: envelope.id.step.clone(),
        direction: envelope.id.direction,
        outcome,
        // A reply that was passed on does not count as redelivered: a duplicate would be answered
        // with commands, whose answers would be passed on again, for ever.
        redelivered,
        repeat: reply.repeat,
    });
    Ok(Read::Reply(Arrived { saga: envelope.id.saga, from, input, envelope: Arc::new(envelope) }))
}

/// The engine is being stopped. Unacknowledged replies are delivered again, to another engine.
struct Stop;

/// Makes one turn for many replies. If the turn fails because of one of them, each half of the
/// replies gets a turn of its own, and so on.
async fn take_in<S: SagaStore>(
    shared: &Shared<S>,
    replies: &[Arrived],
    source: &Source,
    outgoing: &mut Outgoing,
) -> Result<(), Stop> {
    let mut left = vec![replies];
    while let Some(part) = left.pop() {
        match (decide(shared, part, source, outgoing).await, part) {
            (Ok(()), _) => {}
            (Err(Failure::Unavailable(_) | Failure::UnknownCommit(_)), _) => return Err(Stop),
            (Err(failure), [reply]) => {
                // The saga sends its command again when it wakes, and gets the reply again.
                counter!("saga_replies_total", "verdict" => "dropped").increment(1);
                let trace_id = trace_id(reply.envelope.traceparent.as_deref());
                error!(saga = %reply.saga, trace_id, %failure, "the reply is dropped");
            }
            (Err(failure), several) => {
                warn!(%failure, replies = several.len(), "the replies are taken by halves");
                let (first, second) = several.split_at(several.len() / 2);
                left.extend([second, first]);
            }
        }
    }
    Ok(())
}

async fn decide<S: SagaStore>(
    shared: &Shared<S>,
    replies: &[Arrived],
    source: &Source,
    outgoing: &mut Outgoing,
) -> Result<(), Failure> {
    let mut by_saga: BTreeMap<SagaId, Vec<usize>> = BTreeMap::new();
    for (index, reply) in replies.iter().enumerate() {
        by_saga.entry(reply.saga).or_default().push(index);
    }
    let ids: Vec<SagaId> = by_saga.keys().copied().collect();
    let decide = |again: bool, now: Timestamp, sagas: Vec<Instance>| {
        let (mut turned, mut fates) = (Turned::at(now), Vec::new());
        for saga in sagas {
            let indexes = &by_saga[&saga.id];
            let inputs: Vec<Input> =
                indexes.iter().map(|i| redelivered(&replies[*i].input, again)).collect();
            let cues = inputs.iter().zip(indexes);
            let cues = cues.map(|(input, index)| Cue::reply(input, &replies[*index].from));
            let folded = fold(&shared.hosted, saga, cues, now);
            fates.extend(indexes.iter().copied().zip(turned.add(folded)));
        }
        (turned.writes.clone(), (turned, fates))
    };
    let (began, tries) = (SystemTime::now(), AtomicU32::new(0));
    let transact = || {
        // On any retry, also after a commit whose outcome is unknown, the inputs count as
        // redelivered (protocol 2). A store that decides twice in one try has not committed.
        let again = tries.fetch_add(1, Ordering::Relaxed) > 0;
        let decide = &decide;
        shared.store.turn(&ids, move |now, sagas| decide(again, now, sagas))
    };
    let (turned, fates) = shared.persist(transact, None).await?;
    let reply = |saga: SagaId| {
        let from = by_saga.get(&saga)?.iter().find_map(|index| replies[*index].context())?;
        Some((from, source.clone()))
    };
    shared.committed(began, turned, reply, outgoing);
    let unknown = replies.len() - fates.len();
    if unknown > 0 {
        // The saga does not exist: the reply was forged, or the saga was pruned.
        counter!("saga_replies_total", "verdict" => "unknown saga").increment(unknown as u64);
    }
    for (index, fate) in fates {
        let verdict = match fate {
            Fate::Decided(verdict) => {
                if verdict == Verdict::Contradicts {
                    contradicts(&replies[index].envelope);
                }
                name(verdict)
            }
            Fate::Undecidable => "undecidable",
            Fate::Unhosted => "unhosted",
            Fate::Impostor(reason) => {
                let Arrived { from, envelope, .. } = &replies[index];
                outgoing.quarantine.push(shared.impostors.keep(from, reason, envelope));
                "impostor"
            }
            Fate::Poison(reason) => {
                let envelope = &replies[index].envelope;
                let poison = Poison { reason, id: Some(envelope.id.clone()) };
                let body = Bytes::from(format!("[{}]", envelope.to_json()));
                outgoing.quarantine.push(in_quarantine(&poison, body));
                "poison"
            }
        };
        counter!("saga_replies_total", "verdict" => verdict).increment(1);
    }
    Ok(())
}

fn redelivered(input: &Input, again: bool) -> Input {
    match input {
        Input::Reply(reply) => {
            Input::Reply(Reply { redelivered: reply.redelivered || again, ..reply.clone() })
        }
        Input::Wake | Input::Cancel(_) | Input::Intervene(_) => input.clone(),
    }
}

/// Logs a pivot that happened although an operator has stated that it did not.
fn contradicts(envelope: &Envelope) {
    let trace_id = trace_id(envelope.traceparent.as_deref());
    error!(saga = %envelope.id.saga, command = %envelope.id, trace_id, "the step is done, but an operator has stated that it was refused: nobody undoes it, so a person must");
}

fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Applied => "applied",
        Verdict::Duplicate => "duplicate",
        Verdict::Late => "late",
        Verdict::Foreign => "foreign",
        Verdict::Contradicts => "contradicts",
        Verdict::Nothing | Verdict::Cancel(_) | Verdict::Intervention(_) => "nothing",
    }
}

fn quarantine(poison: &Poison, body: Bytes) -> Message {
    counter!("saga_replies_total", "verdict" => "poison").increment(1);
    in_quarantine(poison, body)
}

#[cfg(test)]
mod tests {
    use saga_messaging::ReplyBody;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_reply_for_a_version_that_is_not_hosted_is_passed_on_a_bounded_number_of_times() {
        let envelope = Envelope {
            id: "00000000-0000-7000-8000-000000000000/book/action".parse().expect("an id"),
            source: "saga/hotel".to_owned(),
            type_name: "Booked".to_owned(),
            time: None,
            traceparent: None,
            data: RawValue::from_string("{}".to_owned()).expect("JSON"),
            body: Body::Reply(ReplyBody {
                outcome: Outcome::Done,
                repeat: false,
                definition: "trip".to_owned(),
                definition_version: 2,
                passed_on: 0,
                answered_by: None,
            }),
        };
        let passed_on = |redelivered| {
            let (mut times, mut envelope) = (0, envelope.clone());
            while let Some(passed) = pass_on(envelope, redelivered) {
                times += 1;
                // The next orchestrator reads what this one has written.
                let json = RawValue::from_string(passed.to_json()).expect("JSON");
                envelope = Envelope::read(&json).expect("an envelope");
            }
            times
        };
        assert_eq!(passed_on(false), limits::MOST_PASSED_ON);
        // If each acknowledgement is lost, the number of copies doubles each time.
        assert_eq!(passed_on(true), 4);
    }
}
