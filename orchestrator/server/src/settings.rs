//! Every bound of the front door, with its reason.

use std::time::Duration;

/// What an embedder may choose. The defaults fit one small machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sagas that have not ended and are not stuck, beyond which no further order is
    /// accepted: as many as are served within one step time-out (protocol 16).
    pub max_in_flight: u64,
    /// How long an order's forward work before the pivot may take (semantics 18).
    pub order_deadline: Duration,
    /// Longest that `wait` or a cancel waits for an order's end. Whoever waits
    /// longer is told PENDING and may ask again.
    pub wait_limit: Duration,
    /// How long a forwarded read or restock may take before the service behind
    /// it counts as away.
    pub forward_timeout: Duration,
    /// How old a page of products may be at most when a call for it begins; zero: each
    /// call reads anew. Orders are never decided on it: their stock is reserved under the
    /// rows' locks.
    pub catalogue_cache: Duration,
    /// Callers that wait for or watch a saga at once. All their sagas are read
    /// in one statement a second.
    pub max_waiting: usize,
    /// Largest message that is taken. The largest sound order, of 100 lines, has
    /// less than 10 KiB.
    pub max_message_bytes: usize,
    /// Largest set of headers of a call.
    pub max_header_bytes: u32,
    /// Calls at once on one connection; further ones wait at the client.
    pub max_concurrent_streams: u32,
    /// Connections at once; a further one is closed at once.
    pub max_connections: usize,
    /// Calls that a client may begin and reset before they are looked at; beyond
    /// it, its connection is closed ("rapid reset").
    pub max_pending_resets: usize,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to answer that.
    pub keepalive_timeout: Duration,
    /// How long stopping waits for calls that have begun.
    pub drain: Duration,
}

/// Unnoticed by people who look at stock, and at most one read a second of each page.
pub const DEFAULT_CATALOGUE_CACHE: Duration = Duration::from_secs(1);

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_in_flight: 4_000,
            order_deadline: Duration::from_secs(60),
            wait_limit: Duration::from_secs(60),
            forward_timeout: Duration::from_secs(5),
            catalogue_cache: DEFAULT_CATALOGUE_CACHE,
            max_waiting: 20_000,
            max_message_bytes: 256 * 1024,
            max_header_bytes: 16 * 1024,
            max_concurrent_streams: 1_024,
            max_connections: 4_096,
            max_pending_resets: 20,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain: Duration::from_secs(10),
        }
    }
}

/// Pause that a caller is advised to make when there is too much to do, or when
/// something is away.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls that look a key up at once while new sagas are refused: one batch of the engine's.
/// Further ones are refused unseen, so that refusing stays cheap.
pub(crate) const MAX_LOOK_UPS: usize = 512;

/// How often the payment service is asked whether a payment can be tried.
pub(crate) const AVAILABILITY_INTERVAL: Duration = Duration::from_secs(1);

/// How long it may take to answer that.
pub(crate) const AVAILABILITY_TIMEOUT: Duration = Duration::from_secs(1);

/// Updates that wait for a slow watcher before its next ones are read.
pub(crate) const UPDATES_AHEAD: usize = 16;

/// Largest answer that is taken from a service: a page of 500 orders of 100
/// lines each, with room to spare.
pub(crate) const MAX_FORWARDED_BYTES: usize = 16 * 1024 * 1024;

/// Pages of products that are kept at once: the beginning of a catalogue for every size
/// of page that clients are likely to use.
pub(crate) const MAX_CACHED_PAGES: usize = 256;

/// Bytes of them, as messages: some 40,000 products of 200 bytes.
pub(crate) const MAX_CACHED_CATALOGUE_BYTES: usize = 8 * 1024 * 1024;

/// Pause after a connection could not be accepted, for want of file descriptors
/// for example.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
