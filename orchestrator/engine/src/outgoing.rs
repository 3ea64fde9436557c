//! The messages that leave after a commit: commands in parcels, then acknowledgements, strictly in
//! the order of the batches (protocol 3).

use std::{collections::BTreeMap, ops::Range, time::Duration};

use metrics::{counter, histogram};
use saga_core::{OutgoingCommand, Timestamp, Watermark};
use saga_messaging::{Ack, Body, Changed, Envelope, Message, Publication, Route, Transport};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// The origin that every command and event names.
pub(crate) const SOURCE: &str = "saga/orchestrator";

/// The messages and acknowledgements that leave after a commit.
#[derive(Default)]
pub(crate) struct Outgoing {
    pub(crate) commands: Vec<OutgoingCommand>,
    pub(crate) others: Vec<Message>,
    pub(crate) changed: Vec<Changed>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) now: Option<Timestamp>,
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
            && self.others.is_empty()
            && self.changed.is_empty()
            && self.acks.is_empty()
    }

    /// Publishes everything, one parcel or a few for each participant, and acknowledges.
    async fn leave<T: Transport>(self, transport: &T, watermark: Watermark) {
        let Self { commands, others, changed, acks, now } = self;
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
        let mut publication = Publication::of(transport, others);
        for (participant, (mut envelopes, expiries)) in by_participant {
            // One command of a batch is enough for a participant to learn of the watermark.
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
        for refused in publication.publish().await {
            counter!("saga_commands_unsent_total").increment(1);
            warn!(id = refused.id, route = ?refused.route, "the broker has no queue for it: it is sent again when its saga wakes");
        }
        acks.into_iter().for_each(Ack::ack);
    }
}

/// Publishes each batch's messages, in the order of the batches.
pub(crate) async fn confirm<T: Transport>(
    transport: T,
    watermark: watch::Receiver<Watermark>,
    mut batches: mpsc::Receiver<Outgoing>,
) {
    while let Some(outgoing) = batches.recv().await {
        let watermark = *watermark.borrow();
        outgoing.leave(&transport, watermark).await;
    }
}
