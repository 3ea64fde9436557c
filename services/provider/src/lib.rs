//! The test payment provider: a small HTTP service similar to the well-known ones, with its own
//! durable ledger.
//!
//! It plays the part of a system that belongs to someone else. It shares no database and no
//! transaction with the sagas, and of their code only `saga-sqlite`, which opens its file. It keeps
//! its data when any of our processes, or the provider itself, is killed by `kill -9`. A card token
//! can make it decline, be slow, be down for a while, or commit and lose its answer. It is not a
//! participant, it accepts no real cards, and it has no authentication: bind it to loopback.
//!
//! Read first: [`run`] and [`Settings`], then `rule::Payment` (how a payment may change next) and
//! `access::Access` (how the calls in the queue share a transaction).
//!
//! # The API
//! Amounts are integers in minor units, 1 to 10^12. Currencies are three upper-case letters.
//! Unknown fields are refused. Every `POST` below `/v1` needs an `Idempotency-Key` of 1 to 255
//! visible ASCII characters.
//!
//! | call | answer |
//! | --- | --- |
//! | `POST /v1/payments` `{amount, currency, token, reference}` | 201 and the payment, `status` `authorised` or `declined` (then with `decline_code`): a decline is an answer |
//! | `POST /v1/payments/{id}/capture` `{amount}` | 200 and the payment, `captured`; the whole amount only |
//! | `POST /v1/payments/{id}/cancel` `{}` | 200 and the payment, `cancelled`; twice is fine |
//! | `POST /v1/payments/{id}/refunds` `{amount}` | 201 `{id, payment_id, amount, currency, refunded}` (`refunded`: the payment's total so far) |
//! | `GET /v1/payments/{id}` | 200 and the payment |
//! | `GET /v1/payments?idempotency_key=K` | 200 `{payments: [0 or 1]}`, the payment that was created under that key |
//! | `GET /v1/operations?idempotency_key=K` | 200 `{found: false}` or `{found: true, status, body}`, the answer to the `POST` under that key |
//! | `GET /health` | 200 `{status: "ok" or "outage", writes, transactions, largest_batch}` |
//! | `POST /control/outage` `{seconds}` | 200; `/v1` answers 503 for this long (0 ends it, at most 600; forgotten at a restart) |
//! | `POST /control/delay` `{millis}` | 200; every `/v1` call takes this much longer (0 ends it, at most 60000; forgotten at a restart) |
//!
//! A payment is `{id, status, decline_code?, amount, currency, captured, refunded, reference}`.
//!
//! Errors are `{error: {code, message}}`:
//! - 400 `invalid_request`, `invalid_amount`, `invalid_currency`, `invalid_reference`,
//!   `invalid_token`, `invalid_idempotency_key`; 404 `payment_not_found`, `not_found`;
//!   405 `method_not_allowed`; 408 `request_timeout`;
//! - 409 `payment_captured`, `payment_cancelled`, `payment_declined`, `payment_not_captured`,
//!   `amount_mismatch`, `refund_exceeds_captured`, `capture_declined`; 413 `body_too_large`;
//!   422 `idempotency_key_reused`;
//! - 500 `storage_failed`, `internal`; 503 `provider_down`, `overloaded`, `shutting_down`.
//!
//! # Recorded answers
//! The ledger's answer to a `POST` (2xx, 404 or 409) is recorded under its key in the same
//! transaction as the effect. A repeat gets the same bytes with `Idempotent-Replayed: true`.
//! Requests are compared by their meaning (method, path, fields), not by their white space. 400,
//! 408, 413, 422, 500 and 503 are never recorded.
//!
//! Once the body of a `POST` has arrived, the request is carried out even if its caller
//! disconnects, as it would be at any provider.

mod access;
mod control;
mod error;
mod http;
mod in_memory;
mod ledger;
mod records;
mod request;
mod respond;
mod rule;
mod serve;
mod settings;
mod tokens;

pub use error::RunError;
pub use in_memory::InMemory;
pub use serve::run;
pub use settings::Settings;
