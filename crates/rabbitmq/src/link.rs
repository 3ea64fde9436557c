//! The connections of a supervisor, one at a time, and the pauses between them.

use std::{
    future::Future,
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{Settings, error::Failure, inlet, settings};

/// The first and the longest pause of an outage. Pauses double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A connection that lasted this long was sound. Its loss begins a new outage, which starts again
/// with short pauses.
const SOUND_AFTER: Duration = Duration::from_secs(5);
/// Time limit for opening channels and declaring the topology for the first time. That takes a few
/// dozen round trips, and declaring a quorum queue is the slowest.
pub(crate) const FIRST_SETUP_LIMIT: Duration = Duration::from_secs(20);
/// Time limit for the same steps when the queues exist already. It is short, because a broker that
/// has just come back never answers some requests (seen on 3.10, every other time).
pub(crate) const SETUP_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for closing a connection that is given up.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Interval at which a supervisor checks its connection, in case lapin did not report its end.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The broker's address, and the settings for connecting to it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) address: AMQPUri,
    name: String,
    connect_timeout: Duration,
    /// True if the last attempt to connect got no answer in time.
    silent: AtomicBool,
}

impl Link {
    pub(crate) fn new(address: AMQPUri, settings: &Settings) -> Self {
        Self {
            address,
            name: settings.name.clone(),
            connect_timeout: settings.connect_timeout,
            silent: AtomicBool::new(false),
        }
    }

    /// Connects once, within `connect_timeout`.
    pub(crate) async fn open(&self, purpose: Purpose) -> Result<Connection, Failure> {
        if self.silent.load(Ordering::Relaxed) {
            within(self.connect_timeout, "connecting", self.knock()).await?;
        }
        let name = format!("{} ({})", self.name, purpose.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = Connection::connect_uri_with_runtime(
            self.address.clone(),
            properties,
            inlet::runtime(settings::frame_max(&self.address)),
        );
        let connecting = async { Ok(Box::pin(connecting).await?) };
        let opened = within(self.connect_timeout, "connecting", connecting).await;
        let silent = matches!(opened, Err(Failure::Silent { .. }));
        self.silent.store(silent, Ordering::Relaxed);
        opened
    }

    /// Checks whether anything answers at the address. An attempt of lapin that gets no answer
    /// leaves a thread behind until the socket breaks. With this check, each outage costs one such
    /// thread; without it, each attempt would.
    async fn knock(&self) -> Result<(), Failure> {
        let authority = &self.address.authority;
        let mut stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await?;
        Ok(())
    }
}

/// The purpose of a connection, as the broker, logs and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Setup,
    Publish,
    Consume,
    Hints,
}

impl Purpose {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Publish => "publish",
            Self::Consume => "consume",
            Self::Hints => "hints",
        }
    }
}

/// Waits for a future, within a time limit.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &'static str,
    something: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, something).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Silent { what, limit }),
    }
}

/// Closes a connection, if it is still open.
pub(crate) async fn close(connection: &Connection) {
    if connection.status().connected() {
        // The connection is not needed any more, so an error changes nothing.
        let _ = tokio::time::timeout(CLOSE_LIMIT, connection.close(200, "bye".into())).await;
    }
}

/// Pauses that double up to a limit. Each is shortened by a random part of up to a half, so that
/// many processes do not reconnect at the same moment.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    pauses: u32,
}

impl Backoff {
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(8)).min(LONGEST_PAUSE);
        self.pauses += 1;
        // Each `RandomState` has its own random key, which is random enough here.
        let random = RandomState::new().build_hasher().finish() % 1_000;
        full.mul_f64(1.0 - random as f64 / 2_000.0)
    }
}

/// The outages of a supervisor, across its connections.
#[derive(Debug)]
pub(crate) struct Outages {
    purpose: Purpose,
    state: State,
    backoff: Backoff,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// There has been no connection yet, and no failure.
    Starting,
    Up {
        since: Instant,
    },
    Down {
        since: Instant,
    },
}

impl Outages {
    pub(crate) fn new(purpose: Purpose) -> Self {
        reconnects(purpose).increment(0);
        Self { purpose, state: State::Starting, backoff: Backoff::default() }
    }

    /// Records that a connection is set up.
    pub(crate) fn up(&mut self) {
        if let State::Down { since } = self.state {
            let outage = since.elapsed();
            reconnects(self.purpose).increment(1);
            tracing::info!(connection = self.purpose.as_str(), ?outage, "the broker is back");
        }
        if !matches!(self.state, State::Up { .. }) {
            self.state = State::Up { since: Instant::now() };
        }
    }

    /// Records that a connection failed, and waits until it is time for the next one. Returns false
    /// if `closing` was cancelled meanwhile: then there must be no further connection.
    pub(crate) async fn down(&mut self, failure: &Failure, closing: &CancellationToken) -> bool {
        let since = match self.state {
            State::Down { since } => since,
            State::Starting | State::Up { .. } => {
                let connection = self.purpose.as_str();
                tracing::warn!(connection, error = %failure, "no broker; connecting until it is back");
                Instant::now()
            }
        };
        if let State::Up { since } = self.state
            && since.elapsed() > SOUND_AFTER
        {
            self.backoff = Backoff::default();
        }
        self.state = State::Down { since };
        tokio::select! {
            () = tokio::time::sleep(self.backoff.next()) => true,
            () = closing.cancelled() => false,
        }
    }
}

fn reconnects(purpose: Purpose) -> metrics::Counter {
    metrics::counter!("saga_broker_reconnects_total", "connection" => purpose.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_never_vanish() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.next()).collect();
        assert!(pauses[0] <= FIRST_PAUSE);
        assert!(pauses.iter().all(|pause| *pause >= FIRST_PAUSE / 2 && *pause <= LONGEST_PAUSE));
        assert!(pauses[39] >= LONGEST_PAUSE / 2);
    }
}
