//! Publishing, repeated until the broker has answered for each message.

use std::{ops::Range, time::Duration};

use saga_trace::{Context, Span};
use tokio::time::sleep;

use crate::{Envelope, Message, PublishError, Refused, Route, Transport, limits, parcel, trace};

/// Pause before the first repetition. It doubles with each repetition, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause while the broker is away: short enough that no user notices it once the broker is
/// back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Pause before refused messages are published a second time. The queue may only have been changing
/// its leader.
const NACKED_PAUSE: Duration = Duration::from_millis(50);

/// Messages that are published together, and the open spans of the traced ones.
pub struct Publication<'a, T> {
    transport: &'a T,
    messages: Vec<Message>,
    spans: Vec<Span>,
}

impl<'a, T: Transport> Publication<'a, T> {
    /// Starts a publication with messages that are not traced.
    pub fn of(transport: &'a T, untraced: Vec<Message>) -> Self {
        Self { transport, messages: untraced, spans: Vec::new() }
    }

    /// Adds one message. `traced` is the context that its span belongs to, or `None` without a
    /// trace.
    pub fn add(&mut self, message: Message, traced: Option<Context>) {
        self.spans.extend(trace::publishing(self.transport, &message, traced, 1));
        self.messages.push(message);
    }

    /// Adds envelopes for one route, in as few parcels as can hold them. `expiry` is called with
    /// the range of each parcel's envelopes and returns its time limit. Returns the number of
    /// members of each parcel.
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

    /// Publishes everything as [`publish`] does. Returns the messages that were given up, each with
    /// its index in the order in which the messages were added.
    pub async fn publish(self) -> Vec<(usize, Message)> {
        let refused = publish(self.transport, self.messages).await;
        self.spans.into_iter().for_each(Span::end);
        refused
    }
}

/// Publishes messages until each is confirmed, however long the broker is away. A message that the
/// broker refuses is published a second time. If it is refused again, it is given up and returned
/// with its index: its saga sends it anew when its `wake_at` passes, unless the caller insists (see
/// [`crate::Insisting`]). A queue that is full or unavailable gets a short pause before the second
/// attempt. A missing queue gets none, because any sender of commands could slow down all messages
/// with a reply address that does not exist.
///
/// The caller limits its memory by waiting for this call before it accepts more work.
pub async fn publish<T: Transport>(transport: &T, messages: Vec<Message>) -> Vec<(usize, Message)> {
    let all = messages.into_iter().enumerate().collect();
    let refused = until_answered(transport, all).await;
    if refused.iter().any(|(_, why)| *why == Refused::Nacked) {
        sleep(NACKED_PAUSE).await;
    }
    let again = refused.into_iter().map(|(placed, _)| placed).collect();
    until_answered(transport, again).await.into_iter().map(|(placed, _)| placed).collect()
}

/// A message and its index.
type Placed = (usize, Message);

/// Publishes messages, one piece after the other, until the broker has answered for each. Returns
/// the messages that it refused.
async fn until_answered<T: Transport>(
    transport: &T,
    messages: Vec<Placed>,
) -> Vec<(Placed, Refused)> {
    let mut refused = Vec::new();
    for piece in pieces(&messages) {
        refused.extend(piece_until_answered(transport, piece).await);
    }
    refused
}

/// Splits messages into pieces, each within the limits on what is published at once.
fn pieces(messages: &[Placed]) -> impl Iterator<Item = &[Placed]> {
    let mut left = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, message): &&Placed| {
            bytes += message.body.len();
            bytes <= limits::MAX_OFFERED_BYTES
        };
        let fitting = left.iter().take(limits::MAX_OFFERED_MESSAGES).take_while(fits).count();
        let (piece, rest) = left.split_at(fitting.max(1).min(left.len()));
        left = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

async fn piece_until_answered<T: Transport>(
    transport: &T,
    messages: &[Placed],
) -> Vec<(Placed, Refused)> {
    let mut pause = FIRST_PAUSE;
    loop {
        let offered = messages.iter().map(|(_, message)| message.clone()).collect();
        match transport.publish(offered).await {
            Ok(()) => return Vec::new(),
            Err(PublishError::Refused(refused)) => {
                let placed = |(index, why): (usize, Refused)| (messages[index].clone(), why);
                return refused.into_iter().map(placed).collect();
            }
            Err(PublishError::Unavailable(_)) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use tokio::{
        sync::{broadcast, mpsc},
        time::Instant,
    };

    use super::*;
    use crate::{Changed, Consumer, Insisting, Queue};

    /// A broker that first gives the prepared answers, and then accepts everything.
    #[derive(Clone, Default)]
    struct Scripted {
        answers: Arc<Mutex<VecDeque<Result<(), PublishError>>>>,
        /// The ids of the messages of each call.
        offers: Arc<Mutex<Vec<String>>>,
    }

    impl Scripted {
        fn answering(answers: impl IntoIterator<Item = Result<(), PublishError>>) -> Self {
            let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
            Self { answers, offers: Arc::default() }
        }

        fn offers(&self) -> Vec<String> {
            self.offers.lock().expect("no panic").clone()
        }
    }

    impl Transport for Scripted {
        async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
            let ids: Vec<String> = messages.into_iter().map(|message| message.id).collect();
            self.offers.lock().expect("no panic").push(ids.join(" "));
            self.answers.lock().expect("no panic").pop_front().unwrap_or(Ok(()))
        }

        fn consume(&self, _: Queue, _: u16) -> Consumer {
            Consumer::new(mpsc::channel(1).1)
        }

        fn announce(&self, _: Vec<Changed>) {}

        fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
            broadcast::channel(1).1
        }
    }

    fn replies(ids: &str) -> Vec<Message> {
        let reply = |id: &str| {
            let route = Route::Reply { to: "anybody".to_owned(), from: "stock".to_owned() };
            Message::parcel(route, id.to_owned(), "[]")
        };
        ids.split(' ').map(reply).collect()
    }

    fn refused(refused: &[(usize, Refused)]) -> Result<(), PublishError> {
        Err(PublishError::Refused(refused.to_vec()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_queue_takes_is_offered_once_more_and_makes_nobody_wait() {
        let nowhere = || refused(&[(0, Refused::Unroutable)]);
        let broker =
            Scripted::answering([refused(&[(1, Refused::Unroutable)]), nowhere(), nowhere()]);
        let began = Instant::now();
        let given_up = publish(&broker, replies("a b c")).await;
        assert_eq!(
            given_up.iter().map(|(at, one)| (*at, &*one.id)).collect::<Vec<_>>(),
            [(1, "b")]
        );
        assert_eq!(broker.offers(), ["a b c", "b"]);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_confirmed_is_not_published_again_when_a_later_piece_fails() {
        let away = Err(PublishError::Unavailable("away".to_owned()));
        let nacked = refused(&[(1, Refused::Nacked)]);
        let broker = Scripted::answering([Ok(()), away, Ok(()), nacked]);
        let ids: Vec<String> = (0..1_100).map(|number| number.to_string()).collect();
        assert_eq!(publish(&broker, replies(&ids.join(" "))).await, []);
        let (first, second, third) = (&ids[..500], &ids[500..1_000], &ids[1_000..]);
        let offers = [first, second, second, third, &third[1..2]].map(|piece| piece.join(" "));
        assert_eq!(broker.offers(), offers);
    }

    #[test]
    fn a_piece_has_few_bytes_unless_one_message_has_more() {
        let sized = |bytes: usize| {
            let route = Route::Reply { to: "anybody".to_owned(), from: "stock".to_owned() };
            (0, Message::parcel(route, String::new(), vec![0; bytes]))
        };
        let most = limits::MAX_OFFERED_BYTES;
        let messages = [most / 2, most / 2, 1, most + 1, most, 0].map(sized);
        let sizes: Vec<usize> = pieces(&messages).map(<[Placed]>::len).collect();
        assert_eq!(sizes, [2, 1, 1, 2]);
        assert_eq!(pieces(&[]).count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_queue_refuses_for_a_moment_arrives() {
        let away = || Err(PublishError::Unavailable("away".to_owned()));
        let broker = Scripted::answering([away(), refused(&[(0, Refused::Nacked)]), away()]);
        assert_eq!(publish(&broker, replies("a b")).await, []);
        assert_eq!(broker.offers(), ["a b", "a b", "a", "a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_arrive_is_offered_until_it_is_taken_and_the_batches_go_on() {
        let nacked = || refused(&[(0, Refused::Nacked)]);
        let broker = Scripted::answering([nacked(), nacked(), Ok(())]);
        let (taken, mut arrived) = mpsc::unbounded_channel();
        let mut insisting = Insisting::default();
        insisting.keep(replies("poison other").into_iter().zip(["first", "second"]));
        let (batch, mut batches) = mpsc::channel(1);
        let next = async |insisting: &mut Insisting<_>, batches: &mut mpsc::Receiver<u32>| {
            let done = |one| taken.send(one).expect("it is listened to");
            insisting.next(&broker, batches, done).await
        };
        batch.send(1).await.expect("room");
        assert_eq!(next(&mut insisting, &mut batches).await, Some(1));
        assert_eq!(broker.offers(), [""; 0], "not yet");
        let later = tokio::spawn(async move {
            sleep(Duration::from_millis(3_500)).await;
            batch.send(2).await.expect("room");
        });
        assert_eq!(next(&mut insisting, &mut batches).await, Some(2));
        later.await.expect("no panic");
        assert_eq!(broker.offers(), ["poison other", "poison", "poison"]);
        assert_eq!([arrived.recv().await, arrived.recv().await], [Some("second"), Some("first")]);
    }
}
