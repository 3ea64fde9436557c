//! The consumption of one queue.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use super::{
    InProcess,
    queues::{Address, Stored, queue_name},
};
use crate::{Ack, Delivery, Sender, limits};

/// A consumer's task. It does nothing until [`Consumption::run`] is awaited.
pub(super) struct Consumption {
    /// A clone of the transport, so that the consumer goes on after every other clone is dropped.
    transport: InProcess,
    address: Address,
    prefetch: usize,
    filled: Arc<Notify>,
    closing: watch::Receiver<bool>,
    to: mpsc::Sender<Delivery>,
}

impl Consumption {
    /// Creates the task and the receiver of its deliveries. Their channel has room for `prefetch`
    /// deliveries, so sending never waits.
    pub(super) fn new(
        transport: &InProcess,
        address: Address,
        prefetch: u16,
    ) -> (Self, mpsc::Receiver<Delivery>) {
        let prefetch = usize::from(prefetch);
        let (to, deliveries) = mpsc::channel(prefetch);
        let filled = transport.broker.queues().filled(&address);
        let consumption = Self {
            transport: transport.clone(),
            address,
            prefetch,
            filled: filled.expect("whoever consumes a queue has opened it"),
            closing: transport.process.closing.subscribe(),
            to,
        };
        (consumption, deliveries)
    }

    /// Delivers messages until the receiver is dropped or the process is closed.
    pub(super) async fn run(self) {
        let Self { transport, address, prefetch, filled, mut closing, to } = self;
        let mut out = Out { transport, address, messages: BTreeMap::new() };
        let (ack, mut acks) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                // The order of the branches matters: acknowledgements come first, because they make
                // room.
                biased;
                () = to.closed() => break,
                () = told(&mut closing) => break,
                Some(place) = acks.recv() => out.acknowledge(place),
                () = filled.notified(), if out.messages.len() < prefetch => {
                    let taken = out.transport.broker.queues().take(&out.address, Instant::now());
                    if let Some((place, stored)) = taken {
                        // Sending fails if the consumer was dropped just now. The loop then ends in
                        // its next pass.
                        let _ = to.try_send(delivery(&stored, Ack::new(place, ack.clone())));
                        out.messages.insert(place, stored);
                    }
                }
            }
        }
        // The consumer now sees the end of its deliveries. From here on, the channel of
        // acknowledgements stays open only while the consumer still holds deliveries.
        drop((to, ack));
        let settling = async {
            while let Some(place) = acks.recv().await {
                out.acknowledge(place);
            }
        };
        let _ = tokio::time::timeout(limits::SETTLE_LIMIT, settling).await;
    }
}

/// The delivered but unacknowledged messages. Dropping this puts them back into the queue, however
/// the consumption ends, even if its runtime is dropped in the middle of its work (which is how a
/// test kills a process).
struct Out {
    transport: InProcess,
    address: Address,
    messages: BTreeMap<u64, Stored>,
}

impl Out {
    fn acknowledge(&mut self, place: u64) {
        self.messages.remove(&place);
        self.transport.broker.queues().acknowledge(&self.address);
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        let mut queues = self.transport.broker.queues();
        queues.give_back(&self.address, std::mem::take(&mut self.messages));
        queues.consumer_ended(&self.address);
    }
}

async fn told(closing: &mut watch::Receiver<bool>) {
    let told = closing.wait_for(|closing| *closing).await;
    told.expect("the consumption keeps the sender");
}

fn delivery(stored: &Stored, ack: Ack) -> Delivery {
    let Stored { message, returns, death, .. } = stored;
    let headers = message.route.headers(queue_name);
    let sender = if death.is_some() { Sender::Broker } else { Sender::by(&message.route) };
    Delivery {
        sender,
        body: message.body.clone(),
        content_type: Some(message.content_type.to_owned()),
        redelivered: *returns > 0 || message.redelivered,
        reply_to: message.reply_to.clone(),
        message_id: Some(message.id.clone()),
        death: death.clone(),
        headers,
        ack,
    }
}
