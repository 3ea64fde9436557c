//! Every bound of messaging, with its reason.

use std::time::Duration;

/// Most members of a parcel: one participant's transaction takes them together,
/// and a statement's arrays stay small.
pub const MAX_PARCEL_MEMBERS: usize = 256;

/// Most bytes of a parcel's body. A handful of parcels in flight stay small, and no
/// broker refuses one: RabbitMQ takes 16 MiB from 4.0 on, and took 128 MiB before.
pub const MAX_PARCEL_BYTES: usize = 512 * 1024;

/// A larger body than this is poison and is not even parsed.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a single envelope's data.
pub const MAX_DATA_BYTES: usize = 256 * 1024;

/// Messages that wait in one queue of the in-process transport. Far more parcels
/// than admission lets be on their way, and some tens of MiB at the few KiB that
/// a parcel usually has.
pub const QUEUE_CAPACITY: usize = 16_384;

/// Events that a listener of the in-process transport may hold without an
/// acknowledgement: enough that it never waits for the next one.
pub const LISTENER_PREFETCH: u16 = 256;

/// Hints that a receiver of the in-process transport may fall behind before it
/// misses some: a second's worth and more, and whoever misses one looks anyway.
pub const MAX_BEHIND: usize = 1_024;

/// How long deliveries that are being handled may still be acknowledged after
/// their in-process consumer ended. As on RabbitMQ: longer than a batch takes.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(5);
