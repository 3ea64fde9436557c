//! Publishing with repetition, until each message is confirmed.

use std::{ops::Range, time::Duration};

use saga_trace::{Context, Span};

use crate::{Envelope, Message, PublishError, Route, Transport, parcel, trace};

/// Pause before the first repetition; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause while the broker is away: short enough that nobody notices it once the broker is
/// back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Number of times that a refused message is offered again. A queue that is just being declared
/// appears within that time; a queue that does not exist never will.
const REFUSALS: u32 = 3;

/// Messages that are published together, and the spans of those that are traced.
pub struct Publication<'a, T> {
    transport: &'a T,
    messages: Vec<Message>,
    spans: Vec<Span>,
}

impl<'a, T: Transport> Publication<'a, T> {
    /// Begins with messages that no trace shows.
    pub fn of(transport: &'a T, untraced: Vec<Message>) -> Self {
        Self { transport, messages: untraced, spans: Vec::new() }
    }

    /// Adds one message, with the context that its span belongs to if it is traced.
    pub fn add(&mut self, message: Message, traced: Option<Context>) {
        self.spans.extend(trace::publishing(self.transport, &message, traced, 1));
        self.messages.push(message);
    }

    /// Adds envelopes that go the same way, in as few parcels as hold them. `expiry` is asked for
    /// the time limit of each range of them. Returns the number of members of each parcel.
    pub fn parcels(
        &mut self,
        route: &Route,
        envelopes: &[Envelope],
        expiry: impl Fn(Range<usize>) -> Option<Duration>,
    ) -> Vec<usize> {
        let mut counts = Vec::new();
        for (range, body) in parcel::write(envelopes) {
            let members = &envelopes[range.clone()];
            let mut message = Message::parcel(route.clone(), members[0].id.to_string(), body);
            message.expiry = expiry(range);
            let traced = members.iter().filter_map(|e| Context::recorded(e.traceparent.as_deref()));
            let span = trace::publishing(self.transport, &message, traced, members.len());
            self.spans.extend(span);
            self.messages.push(message);
            counts.push(members.len());
        }
        counts
    }

    /// Publishes everything as [`publish`] does, and returns the messages that were given up.
    pub async fn publish(self) -> Vec<Message> {
        let refused = publish(self.transport, self.messages).await;
        self.spans.into_iter().for_each(Span::end);
        refused
    }
}

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
