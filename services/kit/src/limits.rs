//! Every bound of the kit, with its reason.

use std::time::Duration;

/// Most members of one transaction: beyond this, latency grows and throughput
/// does not.
pub const MAX_BATCH_MEMBERS: usize = 512;

/// Parcels that may be out without an acknowledgement. Each holds up to 256
/// commands, so this many keep a replica busy for far longer than a round trip.
pub const PREFETCH: u16 = 64;

/// Outside calls under way at once in a replica.
pub const MAX_CALLS: usize = 256;

/// Batches that may wait for their confirms while the next one is being run.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// How often a transaction that met a conflict is tried again at once, before
/// its members are taken one by one; and then each alone.
pub const CONFLICT_RETRIES: u32 = 5;

/// First pause between retries; doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Most deliveries taken at once: a batch's members come from so many parcels.
pub const MAX_DELIVERIES: usize = 64;

/// Rows of the inbox that are pruned in one transaction: gone within milliseconds.
pub const PRUNE_BATCH: usize = 2_000;

/// How often the inbox is pruned at the most; the watermark moves once a minute.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// How long stopping waits for what has been begun. What is not finished by then
/// is not acknowledged, and so comes again elsewhere.
pub const DRAIN: Duration = Duration::from_secs(10);
