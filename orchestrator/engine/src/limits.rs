//! Every bound of the engine, with its reason.

use std::time::Duration;

/// Most sagas of one turn: beyond this, latency grows and throughput does not.
pub const MAX_BATCH: usize = 512;

/// Most deliveries of replies taken at once.
pub const MAX_DELIVERIES: usize = 64;

/// Parcels of replies that may be out without an acknowledgement.
pub const PREFETCH: u16 = 64;

/// Deliveries of the quarantine that may be out without an acknowledgement.
pub const QUARANTINE_PREFETCH: u16 = 32;

/// Batches that may wait for their confirms while the next one is decided.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// Requests that may wait for their turn; a further one is told to come again.
pub const MAX_WAITING_REQUESTS: usize = 8_192;

/// How often due sagas are looked for. Only what went wrong is ever due.
pub const CLAIM_INTERVAL: Duration = Duration::from_millis(200);

/// How long a row that this binary cannot decide on is left alone before it is
/// complained of again, in milliseconds.
pub const UNDECIDABLE_PAUSE_MILLIS: u64 = 60_000;

/// How often a turn that met a conflict is tried again before its members are
/// taken one by one; and then each alone.
pub const CONFLICT_RETRIES: u32 = 5;

/// First pause between retries; doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often waiters look at the store even if nobody tells them anything.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How often the number of sagas in flight is counted.
pub const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the sagas' states are counted for metrics: about once a scrape.
pub const CENSUS_INTERVAL: Duration = Duration::from_secs(5);

/// Sagas that are pruned in one transaction: some thousands of rows with their
/// histories, gone within tens of milliseconds.
pub const PRUNE_BATCH: usize = 500;

/// How often the watermark is raised, and what is below it pruned: a steady trickle
/// rather than a daily flood.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(60);

/// The same where the retention is but a few seconds, which only tests want.
pub const LEAST_PRUNE_INTERVAL: Duration = Duration::from_secs(1);

/// How long sagas, their histories and idempotency keys are kept at the least. A
/// client may come again with its key, and the broker with an old message, for days;
/// clocks of processes differ by hours at the very worst.
pub const LEAST_RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// A saga that has not ended for so long is complained of: nothing younger is pruned.
pub const HELD_LONG: Duration = Duration::from_secs(86_400);

/// How often.
pub const COMPLAINT_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long sagas of a version that this binary does not host may wait before it
/// alerts: a rolling upgrade has both versions side by side for minutes.
pub const UNHOSTED_BOUND: Duration = Duration::from_secs(300);

/// How often the log says so while it lasts.
pub const UNHOSTED_REMINDER: Duration = Duration::from_secs(300);

/// Alerts of stuck sagas that may wait to be published. Beyond this they are left to the
/// next reminder: the broker is away then, and sagas and memory come first.
pub const MAX_WAITING_ALERTS: usize = 1_024;

/// First pause between attempts to publish alerts; doubles up to [`LONGEST_ALERT_PAUSE`].
pub const FIRST_ALERT_PAUSE: Duration = Duration::from_millis(50);

/// Longest pause between attempts to publish alerts. A broker that forbids the event ends
/// the channel that it came on: this rarely, it is no matter to the commands there.
pub const LONGEST_ALERT_PAUSE: Duration = Duration::from_secs(30);

/// How long alerts are offered to the broker: by then the next reminder says the same.
pub const ALERT_PATIENCE: Duration =
    Duration::from_millis(saga_core::limits::STUCK_REMINDER_MILLIS);

/// Alerts that are published at once.
pub const ALERTS_AT_ONCE: usize = 64;

/// How long stopping waits for what has been begun.
pub const DRAIN: Duration = Duration::from_secs(10);

/// Commands of new sagas that may wait for the broker. Beyond this they are left
/// to their sagas' `wake_at`, so that memory stays bounded while it is away.
pub const MAX_WAITING_COMMANDS: usize = 4_096;
