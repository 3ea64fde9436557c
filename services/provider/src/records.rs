//! Reads payments with their totals and recorded answers from the ledger, and formats them as JSON.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use uuid::Uuid;

use crate::rule::{DeclineCode, OnCapture, Payment, State};

/// An answer to a caller. It is recorded under the request's key, so that a repeat gets it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The body, in JSON.
    pub(crate) body: String,
}

/// Reads the request's hash and the answer that were recorded under a key.
pub(crate) fn recorded(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<([u8; 32], Answer)>> {
    connection
        .prepare_cached(
            "SELECT request_hash, status, body FROM operations WHERE idempotency_key = ?1",
        )?
        .query_row([key], |row| {
            Ok((row.get(0)?, Answer { status: row.get(1)?, body: row.get(2)? }))
        })
        .optional()
}

/// Reads a payment by its id.
pub(crate) fn payment(connection: &Connection, id: &str) -> rusqlite::Result<Option<Payment>> {
    connection.prepare_cached(PAYMENT_BY_ID)?.query_row([id], read_payment).optional()
}

/// Reads a payment by the key under which it was created.
pub(crate) fn payment_by_key(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<Payment>> {
    connection.prepare_cached(PAYMENT_BY_KEY)?.query_row([key], read_payment).optional()
}

/// Formats a payment as JSON for callers.
pub(crate) fn payment_body(payment: &Payment) -> rusqlite::Result<String> {
    let (captured, refunded) = payment.state.totals();
    json(&PaymentBody {
        id: &payment.id,
        status: payment.state.name(),
        decline_code: payment.state.decline_code(),
        amount: payment.amount,
        currency: &payment.currency,
        captured,
        refunded,
        reference: &payment.reference,
    })
}

/// Formats a refund as JSON for callers, with the id `id`.
pub(crate) fn refund_body(payment: &Payment, amount: i64, id: Uuid) -> rusqlite::Result<String> {
    let (_, refunded) = payment.state.totals();
    let id = format!("ref_{}", id.simple());
    json(&RefundBody { id, payment_id: &payment.id, amount, currency: &payment.currency, refunded })
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

const PAYMENT_BY_ID: &str = "
    SELECT id, reference, amount, currency, status, decline_code, on_capture,
           (SELECT coalesce(sum(amount), 0) FROM ledger WHERE payment_id = payments.id AND kind = 'captured'),
           (SELECT coalesce(sum(amount), 0) FROM ledger WHERE payment_id = payments.id AND kind = 'refunded')
    FROM payments WHERE id = ?1";

const PAYMENT_BY_KEY: &str = "
    SELECT id, reference, amount, currency, status, decline_code, on_capture,
           (SELECT coalesce(sum(amount), 0) FROM ledger WHERE payment_id = payments.id AND kind = 'captured'),
           (SELECT coalesce(sum(amount), 0) FROM ledger WHERE payment_id = payments.id AND kind = 'refunded')
    FROM payments WHERE idempotency_key = ?1";

fn read_payment(row: &Row<'_>) -> rusqlite::Result<Payment> {
    Ok(Payment {
        id: row.get(0)?,
        reference: row.get(1)?,
        amount: row.get(2)?,
        currency: row.get(3)?,
        state: read_state(row)?,
        on_capture: read_name(row, 6, &OnCapture::ALL, OnCapture::name)?,
    })
}

fn read_state(row: &Row<'_>) -> rusqlite::Result<State> {
    let status: String = row.get(4)?;
    match status.as_str() {
        "captured" => Ok(State::Captured { captured: row.get(7)?, refunded: row.get(8)? }),
        "declined" => Ok(State::Declined(read_name(row, 5, &DeclineCode::ALL, DeclineCode::name)?)),
        _ => read_name(row, 4, &[State::Authorised, State::Cancelled], State::name),
    }
}

/// Reads a name from the column, and returns the value in `all` with that name. Any other name was
/// written by another program.
fn read_name<T: Copy>(
    row: &Row<'_>,
    column: usize,
    all: &[T],
    name: fn(T) -> &'static str,
) -> rusqlite::Result<T> {
    let found: String = row.get(column)?;
    all.iter().copied().find(|one| name(*one) == found).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            column,
            Type::Text,
            "an unknown name in the ledger".into(),
        )
    })
}

/// The JSON of a payment for callers.
#[derive(Serialize)]
struct PaymentBody<'a> {
    id: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decline_code: Option<&'static str>,
    amount: i64,
    currency: &'a str,
    captured: i64,
    refunded: i64,
    reference: &'a str,
}

#[derive(Serialize)]
struct RefundBody<'a> {
    id: String,
    payment_id: &'a str,
    amount: i64,
    currency: &'a str,
    refunded: i64,
}
