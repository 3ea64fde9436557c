//! Messages that the broker refused and that must arrive all the same.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{Message, PublishError, Transport};

/// Time between two offers. A queue that is full or has no majority is so for longer.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Messages that are offered until the broker takes them, each with what may only be acknowledged
/// then. Nobody waits for them. Whoever holds this ends with them: then nothing is acknowledged, and
/// what they stand for comes again.
///
/// Bounded by the prefetch of the deliveries that are not acknowledged.
pub struct Insisting<A> {
    waiting: Vec<(Message, A)>,
    due: Instant,
}

impl<A> Default for Insisting<A> {
    fn default() -> Self {
        Self { waiting: Vec::new(), due: Instant::now() }
    }
}

impl<A> Insisting<A> {
    /// Keeps messages that were refused.
    pub fn keep(&mut self, refused: impl IntoIterator<Item = (Message, A)>) {
        if self.waiting.is_empty() {
            self.due = Instant::now() + AGAIN_AFTER;
        }
        self.waiting.extend(refused);
    }

    /// Waits for the next batch, and meanwhile offers what waits, now and then. `taken` is called
    /// with what belongs to each message that has arrived. `None` when there will be no batch.
    pub async fn next<T: Transport, B>(
        &mut self,
        transport: &T,
        batches: &mut mpsc::Receiver<B>,
        taken: impl Fn(A),
    ) -> Option<B> {
        loop {
            if self.waiting.is_empty() {
                return batches.recv().await;
            }
            tokio::select! {
                // A steady stream of batches must not keep them waiting.
                biased;
                () = sleep_until(self.due) => self.offer(transport, &taken).await,
                batch = batches.recv() => return batch,
            }
        }
    }

    async fn offer<T: Transport>(&mut self, transport: &T, taken: &impl Fn(A)) {
        let messages = self.waiting.iter().map(|(message, _)| message.clone()).collect();
        self.due = Instant::now() + AGAIN_AFTER;
        let refused = match transport.publish(messages).await {
            Ok(()) => Vec::new(),
            Err(PublishError::Refused(refused)) => refused,
            Err(PublishError::Unavailable(_)) => return,
        };
        let mut refused = refused.into_iter().peekable();
        for (index, (message, then)) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            if refused.next_if(|(at, _)| *at == index).is_some() {
                self.waiting.push((message, then));
            } else {
                taken(then);
            }
        }
    }
}
