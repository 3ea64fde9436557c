//! Request validation. It is pure. Its errors never repeat a value, which may be long or secret.

use saga_core::SagaId;
use tonic::Status;

use crate::status;

/// Maximum number of characters of an idempotency key.
pub(crate) const MAX_KEY_CHARS: usize = 255;
/// Maximum number of characters of a name.
pub const MAX_NAME_CHARS: usize = 200;
/// Maximum number of characters of the reason for a cancel or an intervention.
pub const MAX_REASON_CHARS: usize = 500;
/// Maximum number of characters of a definition's name.
const MAX_DEFINITION_CHARS: usize = 64;
/// Maximum number of bytes of a quarantined message's id. The broker allows 255, and each of them
/// may have been replaced by three.
pub(crate) const MAX_MESSAGE_ID_BYTES: usize = 3 * 255;
/// Greatest age to filter by, in seconds: 100 years. A database cannot subtract much more from the
/// present.
const MAX_AGE_SECONDS: i64 = 100 * 366 * 86_400;
/// Maximum number of entries on a page.
const MAX_PAGE: i32 = 500;
/// Number of entries on a page if the caller does not choose one.
const DEFAULT_PAGE: i32 = 50;

/// Parses a saga's id from a field of a request.
///
/// # Errors
/// INVALID_ARGUMENT.
pub fn id(field: &str, text: &str) -> Result<SagaId, Status> {
    text.parse()
        .map_err(|_| status::invalid_field(field, "must be a UUID in lower case with hyphens"))
}

/// Checks a definition's name to filter by. An empty one means all, and gives `None`.
pub(crate) fn definition(name: String) -> Result<Option<String>, Status> {
    let sound = name.chars().count() <= MAX_DEFINITION_CHARS
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !sound {
        return Err(status::invalid_field("definition", "must be a definition's name"));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// Checks an operator's reason for an intervention, which the history will keep.
pub(crate) fn operators_reason(reason: &str) -> Result<String, Status> {
    if reason.trim().is_empty() || !is_text(reason, MAX_REASON_CHARS) {
        let why = "must say why, in 1 to 500 characters, none of them a control character";
        return Err(status::invalid_field("reason", why));
    }
    Ok(reason.to_owned())
}

/// Checks a refusal's code to filter by. An empty one means all, and gives `None`.
pub(crate) fn reason_code(code: String) -> Result<Option<String>, Status> {
    if !is_text(&code, MAX_NAME_CHARS) {
        return Err(status::invalid_field("filter.reason", "must be at most 200 characters"));
    }
    Ok(Some(code).filter(|code| !code.is_empty()))
}

/// Checks an age to filter by, and returns it in milliseconds. Zero means any age, and gives `None`.
pub(crate) fn age(field: &str, seconds: i64) -> Result<Option<u64>, Status> {
    match u64::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(age) if seconds <= MAX_AGE_SECONDS => Ok(Some(age * 1_000)),
        Ok(_) | Err(_) => Err(status::invalid_field(field, "must be 0 to 100 years, in seconds")),
    }
}

/// Checks the id of a quarantined message. The message's sender chose the id.
pub(crate) fn message_id(id: &str) -> Result<&str, Status> {
    if id.is_empty() || id.len() > MAX_MESSAGE_ID_BYTES || id.contains('\0') {
        return Err(status::invalid_field("message_id", "must be 1 to 765 bytes without NUL"));
    }
    Ok(id)
}

/// Checks a text that another text must contain. An empty one means all, and gives `None`.
pub(crate) fn part(field: &str, part: String) -> Result<Option<String>, Status> {
    if !is_text(&part, MAX_NAME_CHARS) {
        return Err(status::invalid_field(field, "must be at most 200 characters"));
    }
    Ok(Some(part).filter(|part| !part.is_empty()))
}

/// Returns the number of entries for a page, from the size that the caller asks for.
///
/// # Errors
/// INVALID_ARGUMENT.
pub fn page_size(size: i32) -> Result<i32, Status> {
    match size {
        0 => Ok(DEFAULT_PAGE),
        1..=MAX_PAGE => Ok(size),
        _ => Err(status::invalid_field("page_size", "must be 1 to 500, or 0 for 50")),
    }
}

/// Returns true for 1 to `most` printable ASCII characters.
#[must_use]
pub fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// Returns true for at most `most` characters of any script without control characters such as NUL.
#[must_use]
pub fn is_text(text: &str, most: usize) -> bool {
    // A character has at most four bytes, so the characters of a longer text need not be counted.
    text.len() <= 4 * most && text.chars().count() <= most && !text.chars().any(char::is_control)
}
