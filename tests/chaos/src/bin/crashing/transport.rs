//! Crash points around publishing and acknowledging.

use saga_messaging::{
    Ack, Changed, Consumer, Delivery, Message, PublishError, Queue, Route, Transport,
};
use tokio::sync::{broadcast, mpsc};

use crate::point::{Crash, Point, pass};

/// A transport, with crash points.
#[derive(Clone)]
pub(super) struct CrashingTransport<T> {
    transport: T,
    crash: Option<Crash>,
}

impl<T> CrashingTransport<T> {
    pub(super) fn new(transport: T, crash: Option<Crash>) -> Self {
        Self { transport, crash }
    }
}

impl<T: Transport> Transport for CrashingTransport<T> {
    const SYSTEM: &'static str = T::SYSTEM;

    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let point = messages.iter().find_map(|message| point(&message.route));
        self.transport.publish(messages).await?;
        if let Some(point) = point {
            pass(self.crash.as_ref(), point);
        }
        Ok(())
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let consumer = self.transport.consume(queue, prefetch);
        match &self.crash {
            Some(crash) if crash.point == Point::BeforeAck => {
                watched(consumer, prefetch, crash.clone())
            }
            Some(_) | None => consumer,
        }
    }

    fn announce(&self, changed: Vec<Changed>) {
        self.transport.announce(changed);
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.transport.changes()
    }

    fn destination(&self, route: &Route) -> String {
        self.transport.destination(route)
    }

    fn source(&self, queue: &Queue) -> String {
        self.transport.source(queue)
    }
}

/// Returns the point that follows the publishing of a message. Messages with different points are
/// never published together: the kit publishes events before replies, and the engine publishes
/// neither, only commands.
fn point(route: &Route) -> Option<Point> {
    match route {
        Route::Command { .. } | Route::Reply { .. } | Route::OwnReplies => {
            Some(Point::AfterPublish)
        }
        Route::Event { .. } => Some(Point::BetweenEventsAndReplies),
        Route::Quarantine { .. } => None,
    }
}

/// Passes deliveries on and their acknowledgements back. Each acknowledgement passes a crash point.
fn watched(mut consumer: Consumer, prefetch: u16, crash: Crash) -> Consumer {
    let (sender, receiver) = mpsc::channel(usize::from(prefetch).max(1));
    tokio::spawn(async move {
        loop {
            let deliveries = tokio::select! {
                () = sender.closed() => return,
                deliveries = consumer.next(usize::from(prefetch)) => deliveries,
            };
            if deliveries.is_empty() {
                return;
            }
            for delivery in deliveries {
                let Delivery { ack, .. } = delivery;
                let (to, mut acknowledged) = mpsc::unbounded_channel();
                let crash = crash.clone();
                tokio::spawn(async move {
                    // Nothing arrives here if the delivery was dropped without an acknowledgement.
                    if acknowledged.recv().await.is_some() {
                        crash.pass(Point::BeforeAck);
                        ack.ack();
                    }
                });
                let delivery = Delivery { ack: Ack::new(0, to), ..delivery };
                if sender.send(delivery).await.is_err() {
                    return;
                }
            }
        }
    });
    Consumer::new(receiver)
}
