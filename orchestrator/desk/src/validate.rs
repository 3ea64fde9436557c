//! Request validation. It is pure, and never repeats a value, which may be long or secret.

use saga_core::SagaId;
use tonic::Status;

use crate::status;

/// Most characters of an idempotency key.
pub(crate) const MAX_KEY_CHARS: usize = 255;
/// Most characters of a name.
pub const MAX_NAME_CHARS: usize = 200;
/// Most characters of the reason for a cancel or an intervention.
pub const MAX_REASON_CHARS: usize = 500;
/// Most characters of a definition's name.
const MAX_DEFINITION_CHARS: usize = 64;
/// Most bytes of a quarantined message's id: the broker allows 255, and each of them may have been
/// replaced by three.
pub(crate) const MAX_MESSAGE_ID_BYTES: usize = 3 * 255;
/// Most entries of a page.
const MAX_PAGE: i32 = 500;
/// Entries of a page if the caller names no number.
const DEFAULT_PAGE: i32 = 50;

/// A saga's id in a field of a request.
///
/// # Errors
/// INVALID_ARGUMENT.
pub fn id(field: &str, text: &str) -> Result<SagaId, Status> {
    text.parse()
        .map_err(|_| status::invalid_field(field, "must be a UUID in lower case with hyphens"))
}

/// A definition's name to filter by; `None` for all.
pub(crate) fn definition(name: String) -> Result<Option<String>, Status> {
    let sound = name.chars().count() <= MAX_DEFINITION_CHARS
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !sound {
        return Err(status::invalid_field("definition", "must be a definition's name"));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// The reason for an operator's intervention, for the history.
pub(crate) fn operators_reason(reason: &str) -> Result<String, Status> {
    if reason.trim().is_empty() || !is_text(reason, MAX_REASON_CHARS) {
        let why = "must say why, in 1 to 500 characters, none of them a control character";
        return Err(status::invalid_field("reason", why));
    }
    Ok(reason.to_owned())
}

/// A refusal's code to filter by; `None` for all.
pub(crate) fn reason_code(code: String) -> Result<Option<String>, Status> {
    if !is_text(&code, MAX_NAME_CHARS) {
        return Err(status::invalid_field("filter.reason", "must be at most 200 characters"));
    }
    Ok(Some(code).filter(|code| !code.is_empty()))
}

/// The id of a quarantined message: a text that a stranger chose.
pub(crate) fn message_id(id: &str) -> Result<&str, Status> {
    if id.is_empty() || id.len() > MAX_MESSAGE_ID_BYTES || id.contains('\0') {
        return Err(status::invalid_field("message_id", "must be 1 to 765 bytes without NUL"));
    }
    Ok(id)
}

/// A text that another text must contain; `None` for all.
pub(crate) fn part(field: &str, part: String) -> Result<Option<String>, Status> {
    if !is_text(&part, MAX_NAME_CHARS) {
        return Err(status::invalid_field(field, "must be at most 200 characters"));
    }
    Ok(Some(part).filter(|part| !part.is_empty()))
}

/// The number of entries in a page.
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

/// True for 1 to `most` printable ASCII characters.
#[must_use]
pub fn is_printable(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// True for text of any language and script, without control characters. NUL is one of them.
#[must_use]
pub fn is_text(text: &str, most: usize) -> bool {
    // A character has at most four bytes, so a text that is longer need not be counted.
    text.len() <= 4 * most && text.chars().count() <= most && !text.chars().any(char::is_control)
}
