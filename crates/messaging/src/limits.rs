//! The limits of messaging, each with its reason.

use std::time::Duration;

/// Maximum number of members of a parcel. A participant handles them in one transaction, and the
/// arrays in its statements stay small.
pub const MAX_PARCEL_MEMBERS: usize = 256;

/// Maximum number of bytes of a parcel's body. A handful of parcels in flight then take little
/// memory, and no broker refuses one: RabbitMQ accepts messages of 16 MiB since 4.0, and of 128 MiB
/// before.
pub const MAX_PARCEL_BYTES: usize = 512 * 1024;

/// Maximum number of messages that are offered to the broker at once. Messages that it has
/// confirmed are not published again when a later offer fails, so publishing makes progress even
/// with a slow broker.
pub const MAX_OFFERED_MESSAGES: usize = 500;

/// Maximum number of bytes of the bodies that are offered at once. A single larger message is
/// offered alone.
pub const MAX_OFFERED_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of bytes of a message's body. A larger body is poison and is not even parsed.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of bytes of a single envelope's data.
pub const MAX_DATA_BYTES: usize = 256 * 1024;

/// Maximum number of messages that wait in one queue of the in-process transport. That is far more
/// parcels than admission lets in at once. At a parcel's usual size, a few KiB, it is some tens of
/// MiB.
pub const QUEUE_CAPACITY: usize = 16_384;

/// Maximum number of unacknowledged events of a listener of the in-process transport: enough that
/// it never has to wait for the next event.
pub const LISTENER_PREFETCH: u16 = 256;

/// Number of hints that a receiver of the in-process transport may fall behind before it misses
/// some. It is more hints than arrive in a second, and a receiver without hints still reads the
/// store every second.
pub const MAX_BEHIND: usize = 1_024;

/// Time after the end of an in-process consumer in which deliveries that are being handled may
/// still be acknowledged. As on RabbitMQ, it is longer than a batch takes.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(5);
