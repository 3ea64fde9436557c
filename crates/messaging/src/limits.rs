//! Every bound of messaging, with its reason.

/// Most members of a parcel: one participant's transaction takes them together,
/// and a statement's arrays stay small.
pub const MAX_PARCEL_MEMBERS: usize = 256;

/// Most bytes of a parcel's body. Far below the broker's limit of 16 MiB, so
/// that a handful of parcels in flight stay small.
pub const MAX_PARCEL_BYTES: usize = 512 * 1024;

/// A larger body than this is poison and is not even parsed.
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// Most bytes of a single envelope's data.
pub const MAX_DATA_BYTES: usize = 256 * 1024;
