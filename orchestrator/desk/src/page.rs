//! Page tokens: opaque, bound to the method and its filter, and refused when altered. They are not
//! secret and give no access: a token says only where to continue.

use sha2::{Digest, Sha256};
use tonic::Status;

use crate::status;

/// Version of the tokens' format. Tokens of other versions are refused.
const VERSION: u8 = 1;
/// Number of bytes of the checksum.
const CHECKSUM: usize = 8;
/// Maximum length of a token in hexadecimal: version, checksum and the longest cursor. That cursor
/// is the id of a quarantined message, which its sender chose, and the time when the message came.
const MAX_TOKEN_CHARS: usize = 2 * (1 + CHECKSUM + crate::validate::MAX_MESSAGE_ID_BYTES + 32);

/// Creates a token for continuing after `cursor`. `filter` has the method and everything else that
/// must be the same in the next call.
#[must_use]
pub fn write(filter: &[&str], cursor: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&checksum(filter, cursor));
    bytes.extend_from_slice(cursor.as_bytes());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the cursor from a token. Returns `None` for an empty token, which means the first page.
///
/// # Errors
/// INVALID_ARGUMENT.
pub fn read(filter: &[&str], token: &str) -> Result<Option<String>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let cursor = open(filter, token).ok_or_else(|| {
        status::invalid_field(
            "page_token",
            "must be one that the same call with the same filter gave",
        )
    })?;
    Ok(Some(cursor))
}

fn open(filter: &[&str], token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_CHARS || !token.len().is_multiple_of(2) {
        return None;
    }
    // Only the spelling that `write` produces is accepted: no capitals, no signs.
    if !token.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(token.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..token.len()).step_by(2).map(byte).collect::<Option<_>>()?;
    let (version, rest) = bytes.split_first()?;
    let (sum, cursor) = rest.split_at_checked(CHECKSUM)?;
    let cursor = str::from_utf8(cursor).ok()?;
    (*version == VERSION && sum == checksum(filter, cursor)).then(|| cursor.to_owned())
}

fn checksum(filter: &[&str], cursor: &str) -> [u8; CHECKSUM] {
    let mut hash = Sha256::new();
    hash.update(b"saga page token");
    for part in filter.iter().chain([&cursor]) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&hash.finalize()[..CHECKSUM]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: [&str; 2] = ["ListOrders", "ada"];

    #[test]
    fn a_token_gives_its_cursor_back() {
        let token = write(&FILTER, "teapot");
        assert_eq!(read(&FILTER, &token).expect("sound"), Some("teapot".to_owned()));
        assert_eq!(read(&FILTER, "").expect("the first page"), None);
    }

    #[test]
    fn an_altered_token_is_refused_whatever_was_altered() {
        let token = write(&FILTER, "teapot");
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'0' { b'1' } else { b'0' };
            let altered = String::from_utf8(altered).expect("ASCII");
            assert!(read(&FILTER, &altered).is_err(), "{altered}");
        }
        let long = "0".repeat(1_000_000);
        for altered in [&token[1..], &token[2..], "zz", "+1", "ä", &token.to_uppercase(), &long] {
            assert!(read(&FILTER, altered).is_err(), "{altered:.80}");
        }
    }

    #[test]
    fn a_token_is_of_no_use_with_another_filter() {
        let token = write(&FILTER, "teapot");
        assert!(read(&["ListOrders", "eve"], &token).is_err());
        assert!(read(&["ListOrdersada", ""], &token).is_err());
    }
}
