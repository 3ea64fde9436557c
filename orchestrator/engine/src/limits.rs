//! Every bound of the engine, with its reason.

use std::time::Duration;

/// Most sagas of one turn: with more, latency grows and throughput does not.
pub const MAX_BATCH: usize = 512;

/// Most deliveries of replies taken at once.
pub const MAX_DELIVERIES: usize = 64;

/// Most parcels of replies that are delivered and not yet acknowledged.
pub const PREFETCH: u16 = 64;

/// Most messages of the quarantine that are delivered and not yet acknowledged.
pub const QUARANTINE_PREFETCH: u16 = 32;

/// Most bytes that are kept of the body of a message in the quarantine: twice what a parcel of ours
/// has.
pub const MAX_QUARANTINED_BYTES: usize = 1024 * 1024;

/// Most batches that wait for their confirms while the next one is decided.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// Most requests that wait; a further one is refused and may be tried again.
pub const MAX_WAITING_REQUESTS: usize = 8_192;

/// Interval between two looks for due sagas. A saga is due only after something went wrong.
pub const CLAIM_INTERVAL: Duration = Duration::from_millis(200);

/// Time for which a row that this binary cannot decide on is left alone before it is logged again,
/// in milliseconds.
pub const UNDECIDABLE_PAUSE_MILLIS: u64 = 60_000;

/// Number of times that a turn is tried again after conflicts, before each half of its
/// members gets a turn of its own. Then the same bound holds for each of those.
pub const CONFLICT_RETRIES: u32 = 5;

/// Time after which it is not tried again as a whole, however few the conflicts were. A statement that
/// takes longer than the database allows is one of those: it needs less to do, not another try.
pub const CONFLICT_TIME: Duration = Duration::from_secs(5);

/// First pause between retries; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Interval at which the store is read for waiters if no hint arrives.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the sagas in flight are counted.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the sagas' states are counted for metrics: about once a scrape.
pub const CENSUS_INTERVAL: Duration = Duration::from_secs(5);

/// Most sagas that are pruned in one transaction. With their histories they are some thousands of
/// rows, which takes tens of milliseconds.
pub const PRUNE_BATCH: usize = 500;

/// Interval at which the watermark is raised and sagas below it are pruned: a steady trickle rather
/// than a daily flood.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// The same interval if the retention is only a few seconds, as in tests.
pub const LEAST_PRUNE_INTERVAL: Duration = Duration::from_secs(1);

pub use saga_core::LEAST_RETENTION;

/// A saga that has not ended after this time is logged, because it holds the watermark back.
pub const HELD_LONG: Duration = Duration::from_secs(86_400);

/// Interval between two such log lines.
pub const HELD_LOG_INTERVAL: Duration = Duration::from_secs(3_600);

/// Time for which sagas of a version that this binary does not host may wait before it alerts: in a
/// rolling upgrade both versions run side by side for minutes.
pub const UNHOSTED_BOUND: Duration = Duration::from_secs(300);

/// Interval between two log lines while that lasts.
pub const UNHOSTED_REMINDER: Duration = Duration::from_secs(300);

/// Most alerts of stuck sagas that wait to be published. Further ones are left to the next
/// reminder: the broker is away then, and sagas and memory come first.
pub const MAX_WAITING_ALERTS: usize = 1_024;

/// First pause between attempts to publish alerts; it doubles up to [`LONGEST_ALERT_PAUSE`].
pub const FIRST_ALERT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between attempts to publish alerts. A broker that forbids the event closes the
/// channel; at this pause, that does not disturb the commands on the same channel.
pub const LONGEST_ALERT_PAUSE: Duration = Duration::from_secs(30);

/// Time for which alerts are offered to the broker: after it, the next reminder says the same.
pub const ALERT_PATIENCE: Duration =
    Duration::from_millis(saga_core::limits::STUCK_REMINDER_MILLIS);

/// Most alerts that are published at once.
pub const ALERTS_AT_ONCE: usize = 64;

/// Time for which stopping waits for work that has begun.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Most commands of new sagas that wait for the broker. Further ones are left to their sagas'
/// `wake_at`, so that memory stays bounded while the broker is away.
pub const MAX_WAITING_COMMANDS: usize = 4_096;
