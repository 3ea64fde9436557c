//! The wire format: envelopes as literal JSON, parcels within their bounds, and the treatment of
//! bytes that are neither.

mod arbitrary;
mod envelope;
mod parcel;
mod poison;
mod samples;
