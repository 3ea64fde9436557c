//! What leaves after a commit: commands in parcels, then the acknowledgements,
//! strictly in the batches' order (protocol 3).

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use metrics::{counter, histogram};
use saga_core::{OutgoingCommand, Timestamp, Watermark};
use saga_messaging::{
    Ack, Body, Changed, Envelope, Message, Route, Transport, parcel, publish, trace,
};
use saga_trace::{Context, Span};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// What every command and event says of its origin.
pub(crate) const SOURCE: &str = "saga/orchestrator";

/// What leaves after a commit.
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

    /// The messages: one parcel, or few, a participant; and the spans of those whose
    /// members are traced.
    fn messages<T: Transport>(
        &mut self,
        transport: &T,
        watermark: Watermark,
    ) -> (Vec<Message>, Vec<Span>) {
        let now = self.now.unwrap_or(Timestamp(0));
        let mut by_participant: BTreeMap<&'static str, (Vec<Envelope>, Vec<u64>)> = BTreeMap::new();
        for command in std::mem::take(&mut self.commands) {
            let (envelopes, expiries) =
                by_participant.entry(command.payload.participant).or_default();
            expiries.push(command.expiry_millis);
            envelopes.push(Envelope::command(command, SOURCE, now));
        }
        let mut messages = std::mem::take(&mut self.others);
        let mut spans = Vec::new();
        for (participant, (mut envelopes, expiries)) in by_participant {
            // Once a batch is enough for a participant to learn of it.
            if watermark != Watermark::NONE
                && let Some(Envelope { body: Body::Command(first), .. }) = envelopes.first_mut()
            {
                first.watermark = Some(watermark);
            }
            for (range, body) in parcel::write(&envelopes) {
                histogram!("saga_parcel_members", "participant" => participant)
                    .record(range.len() as f64);
                let expiry = expiries[range.clone()].iter().min().copied();
                let members = &envelopes[range.clone()];
                let message = Message {
                    route: Route::Command { participant: participant.to_owned() },
                    id: envelopes[range.start].id.to_string(),
                    content_type: parcel::BATCH,
                    body: Bytes::from(body),
                    expiry: expiry.map(Duration::from_millis),
                    reply_to: None,
                    redelivered: false,
                };
                let traced =
                    members.iter().filter_map(|e| Context::recorded(e.traceparent.as_deref()));
                spans.extend(trace::publishing(transport, &message, traced, members.len()));
                messages.push(message);
            }
        }
        (messages, spans)
    }

    async fn leave<T: Transport>(mut self, transport: &T, watermark: Watermark) {
        if !self.changed.is_empty() {
            transport.announce(std::mem::take(&mut self.changed));
        }
        let (messages, spans) = self.messages(transport, watermark);
        let refused = publish(transport, messages).await;
        spans.into_iter().for_each(Span::end);
        for refused in refused {
            counter!("saga_commands_unsent_total").increment(1);
            warn!(id = refused.id, route = ?refused.route, "the broker has no queue for it: it is sent again when its saga wakes");
        }
        for ack in self.acks {
            ack.ack();
        }
    }
}

/// Publishes what each batch decided, in the batches' order.
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
