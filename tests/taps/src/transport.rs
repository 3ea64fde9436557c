//! The tap on the transport.

use std::future::Future;

use saga_messaging::{
    Ack, Changed, Consumer, Delivery, Message, PublishError, Queue, Route, Transport,
};
use tokio::sync::{broadcast, mpsc};

use crate::Tapped;

/// A tap on a transport. The methods are those of [`Transport`]; each forwards its call.
pub trait TransportTap: Clone + Send + Sync + 'static {
    /// The type of the transport behind the tap.
    type Inner: Transport;

    /// Returns the transport behind the tap.
    fn inner(&self) -> &Self::Inner;

    /// As [`Transport::publish`].
    fn publish(
        &self,
        messages: Vec<Message>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        self.inner().publish(messages)
    }

    /// As [`Transport::consume`].
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        self.inner().consume(queue, prefetch)
    }

    /// As [`Transport::announce`].
    fn announce(&self, changed: Vec<Changed>) {
        self.inner().announce(changed);
    }

    /// As [`Transport::changes`].
    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.inner().changes()
    }
}

impl<T: TransportTap> Transport for Tapped<T> {
    const SYSTEM: &'static str = T::Inner::SYSTEM;

    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        self.0.publish(messages).await
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        self.0.consume(queue, prefetch)
    }

    fn announce(&self, changed: Vec<Changed>) {
        self.0.announce(changed);
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.0.changes()
    }

    fn destination(&self, route: &Route) -> String {
        self.0.inner().destination(route)
    }

    fn source(&self, queue: &Queue) -> String {
        self.0.inner().source(queue)
    }
}

/// Returns a consumer of the deliveries that `change` makes of each delivery.
pub fn changed(
    mut consumer: Consumer,
    prefetch: u16,
    change: impl Fn(Delivery) -> Vec<Delivery> + Send + 'static,
) -> Consumer {
    let prefetch = usize::from(prefetch).max(1);
    let (sender, receiver) = mpsc::channel(prefetch);
    tokio::spawn(async move {
        loop {
            let deliveries = tokio::select! {
                () = sender.closed() => return,
                deliveries = consumer.next(prefetch) => deliveries,
            };
            if deliveries.is_empty() {
                return;
            }
            let deliveries: Vec<_> = deliveries.into_iter().flat_map(&change).collect();
            for delivery in deliveries {
                if sender.send(delivery).await.is_err() {
                    return;
                }
            }
        }
    });
    Consumer::new(receiver)
}

/// Returns a delivery whose acknowledgement first runs `watch`.
pub fn before_ack(delivery: Delivery, watch: impl FnOnce() + Send + 'static) -> Delivery {
    let Delivery { ack, .. } = delivery;
    let (to, mut acknowledged) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // Nothing arrives here if the delivery was dropped without an acknowledgement.
        if acknowledged.recv().await.is_some() {
            watch();
            ack.ack();
        }
    });
    Delivery { ack: Ack::new(0, to), ..delivery }
}

/// Returns a consumer that never gets a delivery, and whose queue stays open.
pub fn silence() -> Consumer {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move { sender.closed().await });
    Consumer::new(receiver)
}
