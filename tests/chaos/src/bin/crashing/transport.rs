//! Crash points around publishing and acknowledging.

use saga_messaging::{Consumer, Message, PublishError, Queue, Route, Transport};
use saga_taps::{TransportTap, before_ack, changed};

use crate::point::{Crash, Point, pass};

/// A transport, with crash points.
#[derive(Clone)]
pub(super) struct CrashingTransport<T> {
    pub(super) transport: T,
    pub(super) crash: Option<Crash>,
}

impl<T: Transport> TransportTap for CrashingTransport<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        &self.transport
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let point = messages.iter().find_map(|message| point(&message.route));
        self.transport.publish(messages).await?;
        if let Some(point) = point {
            pass(self.crash.as_ref(), point);
        }
        Ok(())
    }

    /// Each acknowledgement passes a crash point.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let consumer = self.transport.consume(queue, prefetch);
        match self.crash.clone() {
            Some(crash) if crash.point == Point::BeforeAck => {
                changed(consumer, prefetch, move |delivery| {
                    let crash = crash.clone();
                    vec![before_ack(delivery, move || crash.pass(Point::BeforeAck))]
                })
            }
            Some(_) | None => consumer,
        }
    }
}

/// Returns the point that follows the publishing of a message. Messages with different points are
/// never published together: the kit publishes events before replies, and the engine publishes
/// neither, only commands.
fn point(route: &Route) -> Option<Point> {
    match route {
        Route::Command { .. } | Route::Again { .. } | Route::Reply { .. } | Route::OwnReplies => {
            Some(Point::AfterPublish)
        }
        Route::Event { .. } => Some(Point::BetweenEventsAndReplies),
        Route::Quarantine { .. } => None,
    }
}
