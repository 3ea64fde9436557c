//! Tests of the wire format: envelopes as literal JSON, parcels within their limits, and bytes that
//! are neither.

mod arbitrary;
mod envelope;
mod parcel;
mod poison;
mod samples;
