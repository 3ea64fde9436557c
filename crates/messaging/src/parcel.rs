//! Parcels: broker messages that carry many envelopes.

use serde_json::value::RawValue;

use crate::{Envelope, Poison, limits};

/// Content type of a parcel: a CloudEvents JSON batch.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// Content type of a single domain event.
pub const SINGLE: &str = "application/cloudevents+json";

/// A member of a parcel: a sound envelope, or poison with its original text.
pub type Member = Result<Envelope, (Poison, String)>;

/// Reads a parcel's members. A member that is poison does not affect the others.
///
/// # Errors If the whole body is poison: it is too large, not a JSON array, or an empty array.
pub fn read(body: &[u8]) -> Result<Vec<Member>, Poison> {
    if body.len() > limits::MAX_BODY_BYTES {
        return Err(Poison::new(format!("a body of {} bytes", body.len())));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Poison::new(format!("the body is not UTF-8: {error}")))?;
    let members: Vec<&RawValue> = serde_json::from_str(text)
        .map_err(|error| Poison::new(format!("the body is no JSON array: {error}")))?;
    if members.is_empty() {
        return Err(Poison::new("an empty parcel"));
    }
    let member =
        |raw: &RawValue| Envelope::read(raw).map_err(|poison| (poison, raw.get().to_owned()));
    Ok(members.into_iter().map(member).collect())
}

/// Writes envelopes as parcels, in the given order, within the limits on members and bytes. Returns
/// each parcel with the range of the envelopes that it carries.
#[must_use]
pub fn write(envelopes: &[Envelope]) -> Vec<(std::ops::Range<usize>, Vec<u8>)> {
    let mut parcels = Vec::new();
    let mut body = Vec::new();
    let mut first = 0;
    for (index, envelope) in envelopes.iter().enumerate() {
        let json = envelope.to_json();
        // Two bytes more: the comma before the envelope, and the closing bracket.
        let full = index - first >= limits::MAX_PARCEL_MEMBERS
            || body.len() + json.len() + 2 > limits::MAX_PARCEL_BYTES;
        if index > first && full {
            body.push(b']');
            parcels.push((first..index, std::mem::take(&mut body)));
            first = index;
        }
        body.push(if index == first { b'[' } else { b',' });
        body.extend_from_slice(json.as_bytes());
    }
    if !body.is_empty() {
        body.push(b']');
        parcels.push((first..envelopes.len(), body));
    }
    parcels
}
