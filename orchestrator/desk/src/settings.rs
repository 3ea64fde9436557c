//! Every limit of the server, with its reason.

use std::time::Duration;

/// Settings that an embedder may choose. The defaults fit one small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most sagas in flight, which have not ended and are not stuck. Beyond that no further one is
    /// accepted. The number is what can be served within one step time-out (protocol 16).
    pub max_in_flight: u64,
    /// Longest time that a call waits for a saga's end. After that the answer says that it has not
    /// ended, and the client may ask again.
    pub wait_limit: Duration,
    /// Callers that may wait for or watch a saga at once. All their sagas are read in one statement
    /// a second.
    pub max_waiting: usize,
    /// Largest message that is accepted.
    pub max_message_bytes: usize,
    /// Largest set of headers of a call.
    pub max_header_bytes: u32,
    /// Calls at once on one connection; further ones wait at the client.
    pub max_concurrent_streams: u32,
    /// Connections at once; a further one is closed at once.
    pub max_connections: usize,
    /// Calls that a client may begin and reset before they are processed. Beyond that its
    /// connection is closed ("rapid reset").
    pub max_pending_resets: usize,
    /// Time after which a silent connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// Time limit for the answer to that.
    pub keepalive_timeout: Duration,
    /// Time that stopping waits for calls that have begun.
    pub drain: Duration,
    /// Time without an answer of the store after which the health service reports NOT_SERVING. The
    /// store is asked every second.
    pub most_store_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_in_flight: 4_000,
            wait_limit: Duration::from_secs(60),
            max_waiting: 20_000,
            max_message_bytes: 256 * 1024,
            max_header_bytes: 16 * 1024,
            max_concurrent_streams: 1_024,
            max_connections: 4_096,
            max_pending_resets: 20,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(10),
            most_store_age: Duration::from_secs(15),
        }
    }
}

/// Pause that a caller is advised to make when there is too much to do, or when something is away.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls that may look up a key at once while new sagas are refused: one batch of the engine's.
/// Further calls are refused without a look-up, so that refusing stays cheap.
pub(crate) const MAX_LOOK_UPS: usize = 512;

/// Updates that may wait for a slow watcher before its next ones are read.
pub const UPDATES_AHEAD: usize = 16;

/// Pause after a connection could not be accepted, for example for want of file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Interval at which the health service looks whether the store answers.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
