//! Every limit of the kit, with its reason.

use std::time::Duration;

/// Time after which a member of a parcel that was taken apart expires in the queue. The time that
/// was left for the parcel is not known. Members that expire are lost, and their sagas send them
/// again (protocol 16).
pub const APART_EXPIRY: Duration = Duration::from_secs(10);

/// Time for which a finished batch, once stopping has begun, may wait until fewer than
/// [`BATCHES_IN_CONFIRMATION`] batches wait for confirms. While the broker is away, that never
/// happens.
pub const ROOM_WHEN_STOPPING: Duration = Duration::from_secs(2);

/// Maximum number of members in one transaction. With more, latency grows but throughput does not.
pub const MAX_BATCH_MEMBERS: usize = 512;

/// Maximum number of parcels that are delivered and not yet acknowledged. Each holds up to 256
/// commands, so these keep a replica busy for much longer than a round trip takes.
pub const PREFETCH: u16 = 64;

/// Maximum number of calls to the outside world that a replica makes at once.
pub const MAX_CALLS: usize = 256;

/// Longest time for which a command waits for its call, from the arrival of its latest copy. Then
/// it is given up without a call, as the broker gives up a message that has expired (protocol 16):
/// its saga sends it again, perhaps to another replica. This is shorter than the shortest expiry of
/// the usual policies: 0.8 of an interval of 3 s, less 20 % of jitter.
pub const MAX_WAIT: Duration = Duration::from_millis(1_900);

/// Maximum number of batches that wait for their confirms while the next one runs.
pub const BATCHES_IN_CONFIRMATION: usize = 2;

/// Number of times that a transaction is tried again after conflicts. After that, each half of its
/// members gets a transaction of its own, with the same number of tries.
pub const CONFLICT_RETRIES: u32 = 5;

/// Time after which a conflicting transaction is not tried again as a whole, even if there were few
/// conflicts. A statement that exceeds the database's time limit counts as a conflict: it needs
/// fewer rows, not another try.
pub const CONFLICT_TIME: Duration = Duration::from_secs(5);

/// First pause between retries; it doubles up to [`LONGEST_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest pause between retries while the database is away.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Maximum number of parcels from which one batch takes its members.
pub const MAX_DELIVERIES: usize = 64;

/// Maximum number of rows of the inbox that are pruned in one transaction, which takes
/// milliseconds.
pub const PRUNE_BATCH: usize = 2_000;

/// Largest difference between the clocks of two databases. A watermark that is younger than the
/// least retention by more than this is not stored.
pub const CLOCKS_DIFFER: Duration = Duration::from_secs(3_600);

/// Shortest pause between two prunings of the inbox. The watermark rises once a minute.
pub const PRUNE_INTERVAL: Duration = Duration::from_secs(10);

/// Longest time for which a stopping participant waits for commands that it has begun. Commands
/// that are unfinished then are not acknowledged, and so are delivered again elsewhere.
pub const DRAIN: Duration = Duration::from_secs(10);
