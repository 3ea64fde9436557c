//! Every bound of messaging, with its reason.

use std::time::Duration;

/// Most members of a parcel: one participant's transaction takes them together,
/// and a statement's arrays stay small.
pub const MAX_PARCEL_MEMBERS: usize = 256;

/// Most bytes of a parcel's body. With it, a handful of parcels in flight stay small, and no broker
/// refuses one: RabbitMQ takes 16 MiB from 4.0 on, and took 128 MiB before.
pub const MAX_PARCEL_BYTES: usize = 512 * 1024;

/// Most messages that are offered to the broker at once. What it has confirmed of them is never
/// published again because of what comes later, so a slow broker makes progress.
pub const MAX_OFFERED_MESSAGES: usize = 500;

/// Most bytes of the bodies that are offered at once, unless one message has more.
pub const MAX_OFFERED_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a body. A larger body is poison and is not even parsed.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a single envelope's data.
pub const MAX_DATA_BYTES: usize = 256 * 1024;

/// Most messages that wait in one queue of the in-process transport. That is far more parcels than
/// admission allows at once, and some tens of MiB at the few KiB that a parcel usually has.
pub const QUEUE_CAPACITY: usize = 16_384;

/// Most events that a listener of the in-process transport holds without an acknowledgement: enough
/// that it never waits for the next one.
pub const LISTENER_PREFETCH: u16 = 256;

/// Number of hints that a receiver of the in-process transport may fall behind before it misses
/// some: more than a second's worth, and without a hint the store is read every second.
pub const MAX_BEHIND: usize = 1_024;

/// Time for which deliveries that are being handled may still be acknowledged after their
/// in-process consumer ended. As on RabbitMQ, it is longer than a batch takes.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(5);
