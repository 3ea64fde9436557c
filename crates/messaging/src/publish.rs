//! Publishing with repetition, until each message is confirmed.

use std::time::Duration;

use crate::{Message, PublishError, Transport};

/// Pause before the first repetition; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause while the broker is away: short enough that nobody notices it once the broker is
/// back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Number of times that a refused message is offered again. A queue that is just being declared
/// appears within that time; a queue that does not exist never will.
const REFUSALS: u32 = 3;

/// Publishes messages until each is confirmed, however long the broker is away. Messages that it
/// refuses again and again are given up and returned: the saga sends them anew when its `wake_at`
/// passes.
///
/// The caller bounds memory by waiting for this before it takes on more work.
pub async fn publish<T: Transport>(transport: &T, mut messages: Vec<Message>) -> Vec<Message> {
    let mut pause = FIRST_PAUSE;
    let mut refusals = 0;
    while !messages.is_empty() {
        match transport.publish(messages.clone()).await {
            Ok(()) => return Vec::new(),
            Err(PublishError::Unavailable(_)) => {}
            Err(PublishError::Refused(refused)) => {
                messages = refused.into_iter().map(|(index, _)| messages[index].clone()).collect();
                refusals += 1;
                if refusals > REFUSALS {
                    return messages;
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    messages
}
