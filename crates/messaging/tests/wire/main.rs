//! What stands on the wire: envelopes as literal JSON, parcels within their
//! bounds, and what becomes of bytes that are neither.

mod arbitrary;
mod envelope;
mod parcel;
mod poison;
mod samples;
