//! Publishes the messages that leave after a commit: commands in parcels, then acknowledgements,
//! strictly in the order of the batches (protocol 3).

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use metrics::{counter, histogram};
use saga_core::{OutgoingCommand, Timestamp, Watermark};
use saga_messaging::{
    Ack, Body, Changed, Envelope, Insisting, Message, Publication, Route, Transport,
};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// The `source` attribute of every command and event.
pub(crate) const SOURCE: &str = "saga/orchestrator";

/// The messages and acknowledgements that leave after a commit.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) commands: Vec<OutgoingCommand>,
    /// Messages for the quarantine.
    pub(crate) quarantine: Vec<Message>,
    /// Replies for another orchestrator, which hosts their definitions.
    pub(crate) passed_on: Vec<Envelope>,
    pub(crate) changed: Vec<Changed>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) now: Option<Timestamp>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.quarantine.is_empty()
            && self.passed_on.is_empty()
            && self.changed.is_empty()
            && self.acks.is_empty()
    }

    /// Publishes everything, with one or a few parcels for each participant, and then acknowledges.
    /// If the broker does not take a message for the quarantine, the batch is not acknowledged
    /// until it does: otherwise the message would be lost.
    async fn leave<T: Transport>(
        self,
        transport: &T,
        watermark: Watermark,
        insisting: &mut Insisting<Arc<Acks>>,
    ) {
        let Self { commands, quarantine, passed_on, changed, acks, now } = self;
        let to_quarantine = quarantine.len();
        if !changed.is_empty() {
            transport.announce(changed);
        }
        let now = now.unwrap_or(Timestamp(0));
        let mut by_participant: BTreeMap<&'static str, (Vec<Envelope>, Vec<u64>)> = BTreeMap::new();
        for command in commands {
            let (envelopes, expiries) =
                by_participant.entry(command.payload.participant).or_default();
            expiries.push(command.expiry_millis);
            envelopes.push(Envelope::command(command, SOURCE, now));
        }
        let mut publication = Publication::of(transport, quarantine);
        for (participant, (mut envelopes, expiries)) in by_participant {
            // One command of a batch is enough to send the watermark to a participant.
            if watermark != Watermark::NONE
                && let Some(Envelope { body: Body::Command(first), .. }) = envelopes.first_mut()
            {
                first.watermark = Some(watermark);
            }
            let route = Route::Command { participant: participant.to_owned() };
            let shortest = |range: Range<usize>| expiries[range].iter().min().copied();
            let expiry = |range| shortest(range).map(Duration::from_millis);
            for members in publication.parcels(&route, &envelopes, expiry) {
                histogram!("saga_parcel_members", "participant" => participant)
                    .record(members as f64);
            }
        }
        publication.parcels(&Route::OwnReplies, &passed_on, |_| None);
        let acks = Arc::new(Acks(acks));
        for (place, refused) in publication.publish().await {
            counter!("saga_commands_unsent_total").increment(1);
            if place < to_quarantine {
                warn!(id = refused.id, "the quarantine does not take it: it is offered again");
                insisting.keep([(refused, Arc::clone(&acks))]);
            } else {
                warn!(id = refused.id, route = ?refused.route, "the broker has no queue for it: it is sent again when its saga wakes");
            }
        }
        Acks::settle(acks);
    }
}

/// The acknowledgements of a batch.
pub(crate) struct Acks(Vec<Ack>);

impl Acks {
    /// Acknowledges the deliveries of a batch once no message of the batch is left to publish, that
    /// is, if this is the last reference.
    fn settle(acks: Arc<Self>) {
        if let Some(Self(acks)) = Arc::into_inner(acks) {
            acks.into_iter().for_each(Ack::ack);
        }
    }
}

/// Publishes each batch's messages, in the order of the batches.
pub(crate) async fn confirm<T: Transport>(
    transport: T,
    watermark: watch::Receiver<Watermark>,
    mut batches: mpsc::Receiver<Outgoing>,
) {
    let mut insisting = Insisting::default();
    while let Some(outgoing) = insisting.next(&transport, &mut batches, Acks::settle).await {
        let watermark = *watermark.borrow();
        outgoing.leave(&transport, watermark, &mut insisting).await;
    }
}

#[cfg(test)]
mod tests {
    use saga_messaging::{InProcess, InProcessSettings, Queue};

    use super::*;

    fn poison(id: &str) -> Message {
        let route = Route::Quarantine { reason: "poison".to_owned(), from: Queue::Replies };
        Message::parcel(route, id.to_owned(), "nonsense")
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_the_quarantine_refuses_is_acknowledged_only_once_it_has_arrived() {
        let settings = InProcessSettings { queue_capacity: 1, ..InProcessSettings::default() };
        let transport = InProcess::new(settings);
        transport.publish(vec![poison("fills it")]).await.expect("there is room for one");
        let (acks, mut acked) = mpsc::unbounded_channel();
        let (batch, batches) = mpsc::channel(2);
        let (_raise, watermark) = watch::channel(Watermark::NONE);
        let confirming = tokio::spawn(confirm(transport.clone(), watermark, batches));
        for (tag, quarantine) in [(1, vec![poison("refused")]), (2, Vec::new())] {
            let acks = vec![Ack::new(tag, acks.clone())];
            let outgoing = Outgoing { quarantine, acks, ..Outgoing::default() };
            batch.send(outgoing).await.expect("it is confirmed");
        }
        assert_eq!(acked.recv().await, Some(2), "the later batch does not wait");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(acked.try_recv().is_err(), "it has not arrived");
        let mut quarantine = transport.consume(Queue::Quarantine, 1);
        quarantine.next(1).await.remove(0).ack.ack();
        assert_eq!(acked.recv().await, Some(1));
        assert_eq!(quarantine.next(1).await[0].message_id.as_deref(), Some("refused"));
        drop(batch);
        confirming.await.expect("no panic");
    }
}
