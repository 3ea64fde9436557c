//! Every limit of the server, with its reason.

use std::time::Duration;

use saga_identity::{ACT, APPROVE, AUDITOR, CLIENT, VIEW};

use crate::Anonymous;

/// Settings that an embedder may choose. The defaults fit one small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The roles of callers without credentials.
    pub anonymous: Anonymous,
    /// Maximum number of sagas in flight, that is, neither ended nor stuck. Beyond it new sagas are
    /// refused. It is the number that can be served within one step time-out (protocol 16).
    pub max_in_flight: u64,
    /// Longest time that a call waits for a saga's end. After that the answer is that the saga has
    /// not ended, and the client may ask again.
    pub wait_limit: Duration,
    /// Maximum number of callers that wait for or watch sagas at the same time. One statement a
    /// second reads the sagas of all of them.
    pub max_waiting: usize,
    /// Maximum size of a message that is accepted.
    pub max_message_bytes: usize,
    /// Maximum size of all headers of a call.
    pub max_header_bytes: u32,
    /// Maximum number of calls at the same time on one connection. Further ones wait at the client.
    pub max_concurrent_streams: u32,
    /// Maximum number of connections at the same time. A further one is closed at once.
    pub max_connections: usize,
    /// Maximum number of calls that a client may begin and reset before they are processed. Beyond
    /// it the connection is closed. This limits the attack known as "rapid reset".
    pub max_pending_resets: usize,
    /// Time after which a silent connection is probed with a ping.
    pub keepalive_interval: Duration,
    /// Time limit for the answer to the ping.
    pub keepalive_timeout: Duration,
    /// How long stopping waits for calls that have begun.
    pub drain: Duration,
    /// Time without an answer of the store after which the health service reports NOT_SERVING. The
    /// store is asked every second.
    pub most_store_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            anonymous: Anonymous {
                here: [CLIENT, VIEW, ACT, APPROVE, AUDITOR].into_iter().collect(),
                elsewhere: [CLIENT].into_iter().collect(),
            },
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

/// The pause that callers are advised to make when the server or something behind it is overloaded
/// or unavailable.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of calls that look up their keys at the same time while new sagas are refused:
/// one batch of the engine's. Further calls are refused without that look-up, so that refusing
/// stays cheap.
pub(crate) const MAX_LOOK_UPS: usize = 512;

/// How many updates may wait for a slow watcher before reading more of them is paused.
pub const UPDATES_AHEAD: usize = 16;

/// Pause after a connection could not be accepted, for example because file descriptors ran out.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Interval at which the health service looks whether the store answers.
pub(crate) const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
