//! Messages that the broker refused and that must still arrive.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{Message, PublishError, Transport};

/// Pause between two attempts. A queue that is full or has lost its majority stays so for longer.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Messages that are published again until the broker accepts them. Each has an attachment, such as
/// deliveries that may be acknowledged only after the message has arrived. No task waits for these
/// messages. If their owner ends first, nothing is acknowledged, and the broker delivers again.
///
/// The prefetch limits the unacknowledged deliveries, and so the number of messages here.
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
    /// Adds messages that the broker refused.
    pub fn keep(&mut self, refused: impl IntoIterator<Item = (Message, A)>) {
        if self.waiting.is_empty() {
            self.due = Instant::now() + AGAIN_AFTER;
        }
        self.waiting.extend(refused);
    }

    /// Waits for the next batch, and meanwhile publishes the waiting messages about once a second.
    /// Calls `taken` with the attachment of each message that has arrived. Returns `None` when
    /// there will be no further batch.
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
                // The timer comes first: a steady stream of batches must not delay the messages.
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
