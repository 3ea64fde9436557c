//! Publishing over one connection, with a few channels that have confirms.
//!
//! A channel belongs to one call at a time, and a call looks at its confirms only once all have
//! arrived. The reason: lapin attaches a returned message to whichever confirm of the channel comes
//! next. In this way that confirm always belongs to the same call, and the number in the message's
//! header says which of the call's messages was returned.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt,
    future::{join_all, try_join_all},
    pin_mut,
};
use lapin::{
    Channel, Confirmation, Connection, Event,
    message::BasicReturnMessage,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use saga_messaging::{Message, PublishError, Refused, Route};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Topology,
    error::Failure,
    link::{self, Link, Outages, Purpose, SETUP_LIMIT, within},
    message::{self, Outgoing},
    topology::DECLARE_AGAIN_AFTER,
};

/// Maximum number of calls that may publish at the same time; further calls wait. This is far more
/// than one connection's thread can serve, and far below the broker's limit on channels.
const MAX_CHANNELS: u32 = 32;

/// The part of the adapter that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    topology: Arc<Topology>,
    app_id: String,
    timeout: Duration,
    state: watch::Receiver<State>,
    permits: Arc<Semaphore>,
    next_id: AtomicI64,
}

/// The state of the connection that a publisher uses.
#[derive(Clone, Debug)]
enum State {
    Connecting,
    Up(Arc<Session>),
    Closed,
}

/// A connection and its idle channels.
#[derive(Debug)]
struct Session {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
    /// The progress of all calls on this connection together.
    progress: Progress,
    /// Cancelled by the first call that finds the connection broken.
    broken: CancellationToken,
}

/// A single call of [`Publisher::publish`].
#[derive(Default)]
struct Call {
    progress: Progress,
    /// The connection that the call publishes on, and the time at which the call got it.
    used: OnceLock<(Arc<Session>, Instant)>,
}

/// The last time at which a message was sent or confirmed.
#[derive(Debug)]
struct Progress(Mutex<Instant>);

/// The messages of a call that the broker refused.
struct Verdict {
    refused: Vec<(usize, Refused)>,
}

impl Publisher {
    /// Creates a publisher, and the supervisor of its connection. The supervisor must be run.
    pub(crate) fn new(
        link: Arc<Link>,
        topology: Arc<Topology>,
        app_id: String,
        timeout: Duration,
    ) -> (Self, Supervisor) {
        let (tell, state) = watch::channel(State::Connecting);
        let permits = Arc::new(Semaphore::new(MAX_CHANNELS as usize));
        let supervisor = Supervisor {
            link,
            topology: Arc::clone(&topology),
            timeout,
            tell,
            permits: Arc::clone(&permits),
        };
        let next_id = AtomicI64::new(0);
        (Self { topology, app_id, timeout, state, permits, next_id }, supervisor)
    }

    /// Publishes messages and waits for all confirms. Fails if for `timeout` none of these messages
    /// was sent or confirmed. The connection is given up only if the same is true of all other
    /// calls.
    pub(crate) async fn publish(&self, messages: &[Message]) -> Result<(), PublishError> {
        if messages.is_empty() {
            return Ok(());
        }
        let call = Call::default();
        let attempt = Box::pin(self.attempt(messages, &call));
        let verdict = match call.progress.going_on(self.timeout, attempt).await {
            Some(Ok(verdict)) => verdict,
            Some(Err(failure)) => {
                if let Some((session, _)) = call.used.get() {
                    session.broken.cancel();
                }
                return Err(PublishError::Unavailable(failure.to_string()));
            }
            None => {
                if let Some((session, since)) = call.used.get() {
                    session.accuse(since.elapsed(), self.timeout);
                }
                let reason = format!("no confirm within {:?}", self.timeout);
                return Err(PublishError::Unavailable(reason));
            }
        };
        count(messages, &verdict.refused);
        if verdict.refused.is_empty() {
            Ok(())
        } else {
            Err(PublishError::Refused(verdict.refused))
        }
    }

    async fn attempt(&self, messages: &[Message], call: &Call) -> Result<Verdict, Failure> {
        let session = self.session().await?;
        // Messages that were written now would pile up in memory until the broker's alarm ends.
        if session.connection.status().blocked() {
            return Err(Failure::Ended("it has blocked publishing: it is short of memory or disk"));
        }
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| Failure::Ended("the adapter is closed"))?;
        let (session, _) = call.used.get_or_init(|| (session, Instant::now()));
        let channel = session.channel().await?;
        let progress = [&call.progress, &session.progress];
        let verdict = self.publish_on(&channel, messages, progress).await?;
        if self.somebody_deleted_a_queue(messages, &verdict) {
            tokio::time::sleep(DECLARE_AGAIN_AFTER).await;
            self.topology.declare(&channel).await?;
        }
        // The channel goes back only now: no other call may get a channel with outstanding
        // confirms.
        session.put_back(channel);
        Ok(verdict)
    }

    async fn session(&self) -> Result<Arc<Session>, Failure> {
        let mut state = self.state.clone();
        let closed = Failure::Ended("the adapter is closed");
        let ready = |state: &State| match state {
            State::Up(session) => !session.broken.is_cancelled(),
            State::Closed => true,
            State::Connecting => false,
        };
        match state.wait_for(ready).await.as_deref() {
            Ok(State::Up(session)) => Ok(Arc::clone(session)),
            Ok(State::Connecting | State::Closed) | Err(_) => Err(closed),
        }
    }

    /// Publishes all messages at once, then waits for all confirms.
    async fn publish_on(
        &self,
        channel: &Channel,
        messages: &[Message],
        progress: [&Progress; 2],
    ) -> Result<Verdict, Failure> {
        let count = i64::try_from(messages.len()).expect("a call's messages fit in memory");
        let first_id = self.next_id.fetch_add(count, Ordering::Relaxed);
        let mut refused = Vec::new();
        let mut sent = Vec::new();
        for ((index, message), id) in messages.iter().enumerate().zip(first_id..) {
            match message::lay_out(message, &self.topology, &self.app_id, id) {
                Some(outgoing) => sent.push((index, id, outgoing)),
                None => refused.push((index, Refused::Unroutable)),
            }
        }
        let started = Instant::now();
        let moves = || progress.into_iter().for_each(Progress::made);
        let writes = sent.iter().map(async |(index, _, outgoing)| {
            write(channel, outgoing, &messages[*index]).await.inspect(|_| moves())
        });
        let confirms = try_join_all(writes).await?;
        let confirms = confirms.into_iter().map(async |confirm| confirm.await.inspect(|_| moves()));
        let mut returned = HashSet::new();
        let mut nacked = HashSet::new();
        for (confirmation, (_, id, _)) in join_all(confirms).await.into_iter().zip(&sent) {
            let back = match confirmation? {
                Confirmation::Ack(back) => back,
                Confirmation::Nack(back) => {
                    nacked.insert(*id);
                    back
                }
                Confirmation::NotRequested => {
                    return Err(Failure::Ended("the channel gives no confirms"));
                }
            };
            if let Some(back) = back {
                returned.insert(id_of(&back)?);
            }
        }
        metrics::histogram!("saga_publish_confirm_seconds").record(started.elapsed());
        for (index, id, _) in sent {
            if returned.contains(&id) {
                refused.push((index, Refused::Unroutable));
            } else if nacked.contains(&id) {
                refused.push((index, Refused::Nacked));
            }
        }
        refused.sort_unstable_by_key(|(index, _)| *index);
        Ok(Verdict { refused })
    }

    /// Returns true if a queue that this adapter declares was deleted. The adapter then declares it
    /// again, and the next attempt arrives.
    fn somebody_deleted_a_queue(&self, messages: &[Message], verdict: &Verdict) -> bool {
        if !self.topology.declares() {
            return false;
        }
        let is_ours = |(index, why): &(usize, Refused)| match (&messages[*index].route, why) {
            (_, Refused::Nacked) => false,
            (Route::Command { participant } | Route::Again { participant }, _) => {
                self.topology.knows(participant)
            }
            (Route::Reply { to, .. }, _) => to == self.topology.reply_key(),
            (Route::Event { .. }, _) => false,
            (Route::OwnReplies | Route::Quarantine { .. }, _) => true,
        };
        verdict.refused.iter().any(is_ours)
    }
}

async fn write(
    channel: &Channel,
    outgoing: &Outgoing,
    message: &Message,
) -> lapin::Result<lapin::PublisherConfirm> {
    let options = BasicPublishOptions { mandatory: outgoing.mandatory, immediate: false };
    let (exchange, key) = (outgoing.exchange.clone(), outgoing.key.clone());
    let properties = outgoing.properties.clone();
    channel.basic_publish(exchange, key, options, &message.body, properties).await
}

fn id_of(back: &BasicReturnMessage) -> Result<i64, Failure> {
    message::publish_id(&back.properties).ok_or(Failure::Ended("it returned a stranger's message"))
}

fn count(messages: &[Message], refused: &[(usize, Refused)]) {
    let mut refused = refused.iter().peekable();
    for (index, message) in messages.iter().enumerate() {
        match refused.next_if(|(at, _)| *at == index) {
            None => {
                let route = message::route_name(&message.route);
                metrics::counter!("saga_messages_published_total", "route" => route).increment(1);
            }
            Some((_, why)) => {
                let why = match why {
                    Refused::Unroutable => "unroutable",
                    Refused::Nacked => "nacked",
                };
                metrics::counter!("saga_messages_refused_total", "why" => why).increment(1);
            }
        }
    }
}

impl Session {
    async fn channel(&self) -> Result<Channel, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(channel) => Ok(channel),
            None => {
                let channel = self.connection.create_channel().await?;
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                Ok(channel)
            }
        }
    }

    fn put_back(&self, channel: Channel) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
    }

    /// Gives this connection up because a call that used it for `held` timed out. Keeps it in three
    /// cases: if another call makes progress, because then the connection is only slow, or the
    /// first call's queue is unavailable; if the call spent most of its time waiting for a
    /// connection, because this one may be sound; and if the broker has blocked it, because the
    /// broker would block a new one too.
    fn accuse(&self, held: Duration, timeout: Duration) {
        let goes_on = self.progress.last().elapsed() < timeout;
        if !goes_on && held > timeout / 2 && !self.connection.status().blocked() {
            self.broken.cancel();
        }
    }
}

impl Progress {
    fn made(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a future while there is progress. Returns `None` after `limit` without progress.
    async fn going_on<R>(&self, limit: Duration, work: impl Future<Output = R>) -> Option<R> {
        pin_mut!(work);
        loop {
            let due = self.last() + limit;
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep_until(due) => if self.last() + limit <= due {
                    return None;
                },
            }
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self(Mutex::new(Instant::now()))
    }
}

/// Builds the publisher's connection, and builds a new one after each failure.
pub(crate) struct Supervisor {
    link: Arc<Link>,
    topology: Arc<Topology>,
    timeout: Duration,
    tell: watch::Sender<State>,
    permits: Arc<Semaphore>,
}

impl Supervisor {
    /// Keeps a connection open until `closing` is cancelled.
    pub(crate) async fn run(self, closing: CancellationToken) {
        let mut outages = Outages::new(Purpose::Publish);
        loop {
            let Err(failure) = self.session(&mut outages, &closing).await else {
                break;
            };
            self.tell.send_replace(State::Connecting);
            if !outages.down(&failure, &closing).await {
                break;
            }
        }
        self.tell.send_replace(State::Closed);
    }

    async fn session(
        &self,
        outages: &mut Outages,
        closing: &CancellationToken,
    ) -> Result<(), Failure> {
        let connection = tokio::select! {
            connected = self.connected() => connected?,
            () = closing.cancelled() => return Ok(()),
        };
        let events = connection.events_listener();
        let broken = CancellationToken::new();
        let (idle, progress) = (Mutex::default(), Progress::default());
        let session = Arc::new(Session { connection, idle, progress, broken });
        self.tell.send_replace(State::Up(Arc::clone(&session)));
        outages.up();
        let end = self.watch(&session, events, closing).await;
        if end.is_ok() {
            self.tell.send_replace(State::Closed);
            // Calls that are in progress may finish; no new ones begin.
            let finished = self.permits.acquire_many(MAX_CHANNELS);
            let _ = tokio::time::timeout(self.timeout, finished).await;
        }
        link::close(&session.connection).await;
        end
    }

    async fn connected(&self) -> Result<Connection, Failure> {
        let connection = self.link.open(Purpose::Publish).await?;
        let declaring = async {
            let channel = connection.create_channel().await?;
            self.topology.declare(&channel).await?;
            Ok(channel.close(200, "declared".into()).await?)
        };
        within(SETUP_LIMIT, "declaring the topology", declaring).await?;
        Ok(connection)
    }

    async fn watch(
        &self,
        session: &Session,
        events: impl futures::Stream<Item = Event>,
        closing: &CancellationToken,
    ) -> Result<(), Failure> {
        pin_mut!(events);
        let mut look = tokio::time::interval(link::LOOK_EVERY);
        loop {
            tokio::select! {
                () = closing.cancelled() => return Ok(()),
                () = session.broken.cancelled() => {
                    return Err(Failure::Ended("publishing failed"));
                }
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Err(error.into()),
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(reason, "the broker has blocked publishing");
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker takes messages again");
                    }
                    // lapin's enum is not exhaustive: no other event matters here.
                    Some(_) => {}
                    None => return Err(Failure::Ended("the connection is gone")),
                },
                _ = look.tick() => if !session.connection.status().connected() {
                    return Err(Failure::Ended("the connection is gone"));
                },
            }
        }
    }
}
