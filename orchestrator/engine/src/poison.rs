//! Replies that cannot be handled.

use bytes::Bytes;
use saga_messaging::{Message, Poison, Queue, Route};
use sha2::{Digest as _, Sha256};

/// Returns the message that puts a reply into the quarantine.
pub(crate) fn in_quarantine(poison: &Poison, body: Bytes) -> Message {
    let id = poison.id.as_ref().map_or_else(
        || Sha256::digest(&body)[..16].iter().map(|byte| format!("{byte:02x}")).collect(),
        |id| format!("{id}/reply"),
    );
    let route = Route::Quarantine { reason: poison.reason.clone(), from: Queue::Replies };
    Message::parcel(route, id, body)
}
