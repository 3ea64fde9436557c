//! Bugs in messaging.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use saga_messaging::{
    Ack, Changed, Consumer, Delivery, Message, PublishError, Queue, Route, Transport, parcel,
};
use tokio::sync::{broadcast, mpsc};

use super::Planted;
use crate::sim::lock;

/// Delay of the second half of a parcel.
const AFTER_THE_OTHER_HALF: Duration = Duration::from_millis(30);

/// A transport with a planted bug.
#[derive(Clone)]
pub(crate) struct PlantedTransport<T> {
    inner: T,
    planted: Option<Planted>,
}

impl<T: Transport> PlantedTransport<T> {
    pub(crate) fn new(inner: T, planted: Option<Planted>) -> Self {
        Self { inner, planted }
    }

    fn touches(&self, queue: &Queue) -> bool {
        match (self.planted, queue) {
            (
                Some(
                    Planted::CommandAckedBeforeCommit
                    | Planted::ParcelAckedByHalf
                    | Planted::AckCoversEarlier
                    | Planted::FlagLost,
                ),
                Queue::Commands { .. },
            ) => true,
            (Some(Planted::ReplyAckedBeforeCommit | Planted::FlagLost), Queue::Replies) => true,
            (_, Queue::Commands { .. } | Queue::Replies | Queue::Quarantine) => false,
        }
    }

    /// Converts one delivery to the deliveries that the consumer gets.
    fn spoil(&self, mut delivery: Delivery, nobody: &mpsc::UnboundedSender<u64>) -> Vec<Delivery> {
        match self.planted {
            Some(Planted::CommandAckedBeforeCommit | Planted::ReplyAckedBeforeCommit) => {
                let ack = std::mem::replace(&mut delivery.ack, Ack::new(0, nobody.clone()));
                ack.ack();
                vec![delivery]
            }
            Some(Planted::ParcelAckedByHalf) => halves(delivery, nobody),
            Some(Planted::FlagLost) => {
                delivery.redelivered = false;
                vec![delivery]
            }
            Some(_) | None => vec![delivery],
        }
    }
}

/// Splits a parcel in two. Acknowledging the first half acknowledges the whole parcel.
fn halves(delivery: Delivery, nobody: &mpsc::UnboundedSender<u64>) -> Vec<Delivery> {
    let members = match parcel::read(&delivery.body) {
        Ok(members) if members.len() > 1 && members.iter().all(Result::is_ok) => members,
        Ok(_) | Err(_) => return vec![delivery],
    };
    let members: Vec<_> = members.into_iter().flatten().collect();
    let (first, second) = members.split_at(members.len() / 2);
    let body = |half| parcel::write(half).into_iter().map(|(_, body)| Bytes::from(body)).next();
    let other = Delivery {
        sender: delivery.sender.clone(),
        body: body(second).unwrap_or_default(),
        content_type: delivery.content_type.clone(),
        redelivered: delivery.redelivered,
        reply_to: delivery.reply_to.clone(),
        message_id: delivery.message_id.clone(),
        death: delivery.death.clone(),
        headers: delivery.headers.clone(),
        ack: Ack::new(0, nobody.clone()),
    };
    vec![Delivery { body: body(first).unwrap_or_default(), ..delivery }, other]
}

impl<T: Transport> Transport for PlantedTransport<T> {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let events = matches!(messages.first(), Some(Message { route: Route::Event { .. }, .. }));
        match self.planted {
            Some(Planted::ReplyBeforeEvent) if events => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let _ = inner.publish(messages).await;
                });
                Ok(())
            }
            Some(Planted::ApartNeverExpires) => {
                let mut messages = messages;
                for message in messages.iter_mut().filter(|message| message.redelivered) {
                    message.expiry = None;
                }
                self.inner.publish(messages).await
            }
            Some(Planted::RefusedPoisonIsGone) => {
                let poison: Vec<bool> = messages
                    .iter()
                    .map(|message| matches!(message.route, Route::Quarantine { .. }))
                    .collect();
                match self.inner.publish(messages).await {
                    Err(PublishError::Refused(mut refused)) => {
                        refused.retain(|(index, _)| !poison[*index]);
                        let all = refused.is_empty();
                        if all { Ok(()) } else { Err(PublishError::Refused(refused)) }
                    }
                    published => published,
                }
            }
            Some(Planted::UnconfirmedIsSent) => match self.inner.publish(messages).await {
                Err(PublishError::Unavailable(_)) => Ok(()),
                published => published,
            },
            Some(Planted::ReturnedIsSent) => match self.inner.publish(messages).await {
                Err(PublishError::Refused(_)) => Ok(()),
                published => published,
            },
            Some(_) | None => self.inner.publish(messages).await,
        }
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        if !self.touches(&queue) {
            return self.inner.consume(queue, prefetch);
        }
        let mut consumer = self.inner.consume(queue, prefetch);
        let (to, deliveries) = mpsc::channel(2 * usize::from(prefetch));
        let this = self.clone();
        tokio::spawn(async move {
            let (nobody, _) = mpsc::unbounded_channel();
            let (acks, mut acked) = mpsc::unbounded_channel();
            let out: Arc<Mutex<BTreeMap<u64, Ack>>> = Arc::default();
            let mut next = 0;
            loop {
                tokio::select! {
                    biased;
                    () = to.closed() => return,
                    Some(tag) = acked.recv() => {
                        // Acknowledges all earlier deliveries too, which is the bug.
                        let later = lock(&out).split_off(&(tag + 1));
                        let covered = std::mem::replace(&mut *lock(&out), later);
                        covered.into_values().for_each(Ack::ack);
                    }
                    got = consumer.next(1) => {
                        if got.is_empty() {
                            return;
                        }
                        for mut delivery in got {
                            if this.planted == Some(Planted::AckCoversEarlier) {
                                next += 1;
                                let ack = Ack::new(next, acks.clone());
                                let real = std::mem::replace(&mut delivery.ack, ack);
                                lock(&out).insert(next, real);
                            }
                            let mut spoiled = this.spoil(delivery, &nobody).into_iter();
                            if let Some(first) = spoiled.next() {
                                let _ = to.send(first).await;
                            }
                            for rest in spoiled {
                                let to = to.clone();
                                tokio::spawn(async move {
                                    tokio::time::sleep(AFTER_THE_OTHER_HALF).await;
                                    let _ = to.send(rest).await;
                                });
                            }
                        }
                    }
                }
            }
        });
        Consumer::new(deliveries)
    }

    fn announce(&self, changed: Vec<Changed>) {
        self.inner.announce(changed);
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.inner.changes()
    }
}
