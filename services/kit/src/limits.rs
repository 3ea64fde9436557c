//! Every bound of the kit, with its reason.

use std::time::Duration;

/// Time limit for the stay in the queue of a member of a parcel that was taken apart. The rest of the
/// parcel's own is not known. Those that nobody takes within it die, and their sagas ask again
/// (protocol 16).
pub const APART_EXPIRY: Duration = Duration::from_secs(10);

/// Time for which, once stopping has begun, a batch may wait for room among those that are being
/// confirmed. There is none as long as the broker is away.
pub const ROOM_WHEN_STOPPING: Duration = Duration::from_secs(2);

/// Most members of one transaction: with more, latency grows and throughput does not.
pub const MAX_BATCH_MEMBERS: usize = 512;

/// Most parcels that are delivered and not yet acknowledged. Each holds up to 256 commands, so this
/// number keeps a replica busy for far longer than a round trip.
pub const PREFETCH: u16 = 64;

/// Most outside calls of a replica at once.
pub const MAX_CALLS: usize = 256;

/// Longest time that a command waits here for its call, from the arrival of its latest copy. Then it
/// is given up unasked, as the broker gives up a message that is past its expiry (protocol 16): its
/// saga sends it again, perhaps to another replica. Shorter than the shortest expiry of the usual
/// policies: 0.8 of an interval of 3 s, less a fifth of jitter.
pub const MAX_WAIT: Duration = Duration::from_millis(1_900);

/// Most batches that wait for their confirms while the next one runs.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// Number of times that a transaction is tried again after conflicts, before each half of
/// its members gets a transaction of its own. Then the same bound holds for each of those.
pub const CONFLICT_RETRIES: u32 = 5;

/// Time after which it is not tried again as a whole, however few the conflicts were. A statement that
/// takes longer than the database allows is one of those: it needs less to do, not another try.
pub const CONFLICT_TIME: Duration = Duration::from_secs(5);

/// First pause between retries; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Most parcels from which one batch takes its members.
pub const MAX_DELIVERIES: usize = 64;

/// Most rows of the inbox that are pruned in one transaction: it takes milliseconds.
pub const PRUNE_BATCH: usize = 2_000;

/// Most that the clocks of two databases may differ. A watermark that is younger than the least
/// retention by more than this is not believed.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(3_600);

/// Shortest pause between two prunings of the inbox; the watermark moves once a minute.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// Time for which stopping waits for commands that have begun. Commands that have not finished by
/// then are not acknowledged, and so come again elsewhere.
pub const DRAIN: Duration = Duration::from_secs(10);
