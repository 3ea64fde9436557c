//! Parses requests and checks all that needs no ledger. A request refused here is not recorded.

use axum::http::HeaderMap;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::tokens::{Behaviour, CardToken};

/// Maximum amount, in minor units. The sum of nine million payments still fits into an i64.
pub(crate) const MAX_AMOUNT: i64 = 1_000_000_000_000;
/// Maximum length of an idempotency key, in characters.
pub(crate) const MAX_KEY_CHARS: usize = 255;
/// Maximum length of a reference, in characters.
const MAX_REFERENCE_CHARS: usize = 255;
/// Maximum length of a payment id that is looked up. The provider's own ids have 36 characters.
const MAX_PAYMENT_ID_CHARS: usize = 64;

/// A valid `POST` with its key, ready for the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Submission {
    pub(crate) key: String,
    /// SHA-256 of the request. The same key with another hash is another request.
    pub(crate) hash: [u8; 32],
    pub(crate) request: Request,
}

/// A `POST`'s operation with its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Create { amount: i64, currency: String, reference: String, behaviour: Behaviour },
    Capture { payment: String, amount: i64 },
    Cancel { payment: String },
    Refund { payment: String, amount: i64 },
}

/// The mistakes in a request. No message repeats the caller's text, which may hold a card token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("exactly one Idempotency-Key header of 1 to 255 visible ASCII characters is needed")]
    Key,
    #[error(
        "the body must be a JSON object with exactly the fields: {fields} (see line {line}, column {column})"
    )]
    Body { fields: &'static str, line: usize, column: usize },
    #[error("the amount must be an integer of minor units from 1 to 1000000000000")]
    Amount,
    #[error("the currency must be three upper-case letters")]
    Currency,
    #[error("the reference must have 1 to 255 characters, none of them a control character")]
    Reference,
    #[error("the card token is unknown")]
    Token,
    #[error("there is no such payment")]
    PaymentId,
    #[error("an outage lasts at most 600 seconds, a delay at most 60000 milliseconds")]
    Duration,
}

impl Malformed {
    /// Returns the stable code, for programs.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Key => "invalid_idempotency_key",
            Self::Body { .. } | Self::Duration => "invalid_request",
            Self::Amount => "invalid_amount",
            Self::Currency => "invalid_currency",
            Self::Reference => "invalid_reference",
            Self::Token => "invalid_token",
            Self::PaymentId => "payment_not_found",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    amount: i64,
    currency: String,
    token: CardToken,
    reference: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountBody {
    amount: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyBody {}

/// Parses `POST /v1/payments`.
pub(crate) fn create(headers: &HeaderMap, body: &[u8]) -> Result<Submission, Malformed> {
    let key = key(headers)?;
    let CreateBody { amount, currency, token, reference } =
        parse(body, "amount, currency, token, reference")?;
    let amount = checked_amount(amount)?;
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(Malformed::Currency);
    }
    if reference.is_empty()
        || reference.chars().count() > MAX_REFERENCE_CHARS
        || reference.chars().any(char::is_control)
    {
        return Err(Malformed::Reference);
    }
    let behaviour = token.behaviour().ok_or(Malformed::Token)?;
    let hash = hash(&[
        b"create",
        &amount.to_be_bytes(),
        currency.as_bytes(),
        token.as_bytes(),
        reference.as_bytes(),
    ]);
    Ok(Submission {
        key,
        hash,
        request: Request::Create { amount, currency, reference, behaviour },
    })
}

/// Parses `POST /v1/payments/{id}/capture`.
pub(crate) fn capture(
    headers: &HeaderMap,
    payment: String,
    body: &[u8],
) -> Result<Submission, Malformed> {
    let (key, payment) = (key(headers)?, checked_id(payment)?);
    let amount = checked_amount(parse::<AmountBody>(body, "amount")?.amount)?;
    let hash = hash(&[b"capture", payment.as_bytes(), &amount.to_be_bytes()]);
    Ok(Submission { key, hash, request: Request::Capture { payment, amount } })
}

/// Parses `POST /v1/payments/{id}/cancel`. The body is `{}` or empty.
pub(crate) fn cancel(
    headers: &HeaderMap,
    payment: String,
    body: &[u8],
) -> Result<Submission, Malformed> {
    let (key, payment) = (key(headers)?, checked_id(payment)?);
    if !body.is_empty() {
        let EmptyBody {} = parse(body, "none")?;
    }
    let hash = hash(&[b"cancel", payment.as_bytes()]);
    Ok(Submission { key, hash, request: Request::Cancel { payment } })
}

/// Parses `POST /v1/payments/{id}/refunds`.
pub(crate) fn refund(
    headers: &HeaderMap,
    payment: String,
    body: &[u8],
) -> Result<Submission, Malformed> {
    let (key, payment) = (key(headers)?, checked_id(payment)?);
    let amount = checked_amount(parse::<AmountBody>(body, "amount")?.amount)?;
    let hash = hash(&[b"refund", payment.as_bytes(), &amount.to_be_bytes()]);
    Ok(Submission { key, hash, request: Request::Refund { payment, amount } })
}

/// Parses a body as JSON. The error contains only the position of the mistake: serde's own message
/// would repeat values, and one of them may be a token.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    fields: &'static str,
) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| Malformed::Body {
        fields,
        line: error.line(),
        column: error.column(),
    })
}

/// Checks a key from a header or a query.
pub(crate) fn checked_key(key: &str) -> Result<String, Malformed> {
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > MAX_KEY_CHARS || !visible {
        return Err(Malformed::Key);
    }
    Ok(key.to_owned())
}

/// Checks that an id may be one of the provider's. Other ids are not looked up in the ledger.
pub(crate) fn checked_id(id: String) -> Result<String, Malformed> {
    let plausible = id.len() <= MAX_PAYMENT_ID_CHARS
        && id.starts_with("pay_")
        && id.bytes().all(|b| b.is_ascii_graphic());
    if plausible { Ok(id) } else { Err(Malformed::PaymentId) }
}

fn key(headers: &HeaderMap) -> Result<String, Malformed> {
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => checked_key(value.to_str().map_err(|_| Malformed::Key)?),
        (None, _) | (Some(_), Some(_)) => Err(Malformed::Key),
    }
}

fn checked_amount(amount: i64) -> Result<i64, Malformed> {
    if (1..=MAX_AMOUNT).contains(&amount) { Ok(amount) } else { Err(Malformed::Amount) }
}

/// Hashes each part after its length, so that different requests never have the same bytes.
fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers() -> HeaderMap {
        HeaderMap::from_iter([(
            "idempotency-key".parse().expect("a name"),
            HeaderValue::from_static("key-1"),
        )])
    }

    #[test]
    fn the_hash_follows_the_meaning_and_not_the_white_space() {
        let one = create(
            &headers(),
            br#"{"amount":5,"currency":"EUR","token":"tok_slow-1","reference":"a"}"#,
        );
        let same = create(
            &headers(),
            br#" {"reference":"a", "token":"tok_slow-1","currency":"EUR","amount":5}"#,
        );
        let other = create(
            &headers(),
            br#"{"amount":5,"currency":"EUR","token":"tok_slow-2","reference":"a"}"#,
        );
        let (one, same, other) = (one.expect("valid"), same.expect("valid"), other.expect("valid"));
        assert_eq!(one.hash, same.hash);
        assert_ne!(one.hash, other.hash);
    }

    #[test]
    fn a_refusal_never_repeats_the_token() {
        let refused = create(
            &headers(),
            br#"{"amount":"tok_canary","currency":"EUR","token":"tok_canary","reference":"a"}"#,
        );
        let error = refused.expect_err("the amount is a string");
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[test]
    fn two_keys_are_no_key() {
        let mut twice = headers();
        twice.append("idempotency-key", HeaderValue::from_static("key-2"));
        assert_eq!(cancel(&twice, "pay_1".to_owned(), b"").expect_err("two keys"), Malformed::Key);
    }
}
