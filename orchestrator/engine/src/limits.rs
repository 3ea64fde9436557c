//! Every limit of the engine, with its reason.

use std::time::Duration;

/// Maximum number of sagas in one turn. With more, latency grows but throughput does not.
pub const MAX_BATCH: usize = 512;

/// Maximum number of deliveries of replies that are taken at once.
pub const MAX_DELIVERIES: usize = 64;

/// Maximum number of parcels of replies that are delivered and not yet acknowledged.
pub const PREFETCH: u16 = 64;

/// Maximum number of messages of the quarantine that are delivered and not yet acknowledged.
pub const QUARANTINE_PREFETCH: u16 = 32;

/// Number of orchestrators that pass a reply on, because they do not host its definition in that
/// version, before it is dropped. If three of four do not host it, one reply in 10,000 is dropped.
/// While none of those that run hosts it, every one is. The command of a dropped reply is sent
/// again when its saga wakes.
pub const MOST_PASSED_ON: u32 = 32;

/// The number of times that a redelivered reply counts when it is passed on.
pub const REDELIVERED_COUNTS: u32 = 8;

/// Maximum number of bytes that are stored of the body of a quarantined message: twice the size of
/// our own parcels.
pub const MAX_QUARANTINED_BYTES: usize = 1024 * 1024;

/// Maximum number of bytes that are stored of the reason why a message was quarantined.
pub const MAX_REASON_BYTES: usize = 1024;

/// Maximum number of batches that wait for their confirms while the next one is decided.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// Maximum number of requests that wait in a queue. A further one is refused, and the caller may
/// try again.
pub const MAX_WAITING_REQUESTS: usize = 8_192;

/// Interval between two queries for due sagas. A saga is due only after something went wrong.
pub const CLAIM_INTERVAL: Duration = Duration::from_millis(200);

/// Time for which a row that this binary cannot decide on is left alone before it is looked at and
/// logged again, in milliseconds.
pub const UNDECIDABLE_PAUSE_MILLIS: u64 = 60_000;

/// Number of times that a turn is tried again after conflicts. After that, each half of its inputs
/// gets a turn of its own, with the same number of tries.
pub const CONFLICT_RETRIES: u32 = 5;

/// Time after which a conflicting turn is not tried again as a whole, even if there were few
/// conflicts. A statement that exceeds the database's time limit counts as a conflict: it needs
/// fewer rows, not another try.
pub const CONFLICT_TIME: Duration = Duration::from_secs(5);

/// First pause between retries; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Interval at which the store is read for callers who wait, if no hint arrives.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which the sagas in flight are counted.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// Interval at which sagas are counted by state for metrics: about as often as metrics are scraped.
pub const CENSUS_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of sagas that are pruned in one transaction. With their histories these are some
/// thousands of rows, which takes tens of milliseconds.
pub const PRUNE_BATCH: usize = 500;

/// Interval at which the watermark is raised and sagas below it are pruned: a little every minute
/// instead of much once a day.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// The same interval when the retention is only a few seconds, as in tests.
pub const LEAST_PRUNE_INTERVAL: Duration = Duration::from_secs(1);

pub use saga_core::LEAST_RETENTION;

/// Age from which a saga that has not ended is logged, because it holds the watermark back.
pub const HELD_LONG: Duration = Duration::from_secs(86_400);

/// Interval between two log lines about such a saga.
pub const HELD_LOG_INTERVAL: Duration = Duration::from_secs(3_600);

/// Age that sagas of a version that this binary does not host may reach before an alert: in a
/// rolling upgrade both versions run side by side for minutes.
pub const UNHOSTED_BOUND: Duration = Duration::from_secs(300);

/// Interval between two log lines about such sagas.
pub const UNHOSTED_REMINDER: Duration = Duration::from_secs(300);

/// Maximum number of alerts of stuck sagas that wait to be published. Further ones are dropped
/// until the next reminder: the broker is away then, and memory is needed for sagas.
pub const MAX_WAITING_ALERTS: usize = 1_024;

/// First pause between attempts to publish alerts; it doubles up to [`LONGEST_ALERT_PAUSE`].
pub const FIRST_ALERT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between attempts to publish alerts. A broker that forbids the event closes the
/// channel. With this pause, that does not disturb the commands on the same channel.
pub const LONGEST_ALERT_PAUSE: Duration = Duration::from_secs(30);

/// Time for which an alert is offered to the broker. After it, the next reminder repeats the alert.
pub const ALERT_PATIENCE: Duration =
    Duration::from_millis(saga_core::limits::STUCK_REMINDER_MILLIS);

/// Maximum number of alerts that are published at once.
pub const ALERTS_AT_ONCE: usize = 64;

/// Longest time for which a stopping engine waits for work that it has begun.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Maximum number of commands of new sagas that wait for the broker. Further ones are sent when
/// their sagas wake, so that memory stays bounded while the broker is away.
pub const MAX_WAITING_COMMANDS: usize = 4_096;
