//! The service's tables in SQLite. Only one transaction runs at a time, so rows need no locks.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, params};
use saga_core::{Failure, SagaId, Timestamp};
use saga_proto::Money;
use saga_sqlite::{INBOX, INBOX_2, INBOX_3, Schema, Transaction, failure};

use super::{
    Payments,
    row::{Columns, refund_state, refund_word, state},
};
use crate::rule::{Entry, Payment, Refund};

/// The schema of the service's database, including the inbox.
pub const SCHEMA: Schema = Schema {
    application_id: 0x5341_4759,
    scripts: &[INBOX, include_str!("../../schema/payments_1.sql"), INBOX_2, INBOX_3],
};

impl Payments for Transaction {
    async fn lock(&mut self, orders: &[SagaId]) -> Result<Vec<Payment>, Failure> {
        let mut payment = self.statement(
            "SELECT amount, currency, status, provider_id, decline_code, refunded
             FROM payments WHERE order_id = ?1",
        )?;
        let mut payments = Vec::with_capacity(orders.len());
        for order in distinct(orders) {
            let mut rows = payment.query([order.0]).map_err(failure)?;
            let Some(row) = rows.next().map_err(failure)? else { continue };
            let columns = |row: &rusqlite::Row<'_>| {
                Ok((
                    Money { minor_units: row.get(0)?, currency: row.get(1)? },
                    row.get::<_, String>(2)?,
                    row.get(3)?,
                    row.get(4)?,
                    row.get(5)?,
                ))
            };
            let (amount, status, provider_id, code, refunded) = columns(row).map_err(failure)?;
            let state = state(&status, provider_id, code, refunded)?;
            payments.push(Payment { order, amount, state });
        }
        Ok(payments)
    }

    async fn open(&mut self, payments: &[Payment]) -> Result<(), Failure> {
        let mut payment = self.statement(
            "INSERT INTO payments (order_id, amount, currency, status, provider_id, decline_code,
                                   refunded, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT (order_id) DO NOTHING",
        )?;
        write(&mut payment, payments, self.now())?;
        Ok(())
    }

    async fn save(&mut self, payments: &[Payment], entries: &[Entry]) -> Result<(), Failure> {
        let mut payment = self.statement(
            "INSERT INTO payments (order_id, amount, currency, status, provider_id, decline_code,
                                   refunded, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
             ON CONFLICT (order_id) DO UPDATE SET
                 status = excluded.status,
                 provider_id = excluded.provider_id,
                 decline_code = excluded.decline_code,
                 refunded = excluded.refunded,
                 updated_at = excluded.updated_at",
        )?;
        write(&mut payment, payments, self.now())?;
        let mut line = self.statement(
            "INSERT INTO payment_ledger (saga_id, order_id, kind, amount, currency, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (saga_id, kind) DO NOTHING",
        )?;
        for Entry { saga, order, kind, amount } in entries {
            let (amount, currency, now) = (amount.minor_units, &amount.currency, self.now().0);
            line.execute(params![saga.0, order.0, kind.as_str(), amount, currency, now])
                .map_err(failure)?;
        }
        Ok(())
    }

    async fn refunds(&mut self, orders: &[SagaId]) -> Result<Vec<Refund>, Failure> {
        let mut refund = self.statement(
            "SELECT saga_id, amount, currency, state FROM refunds WHERE order_id = ?1",
        )?;
        let mut refunds = Vec::new();
        for order in distinct(orders) {
            let columns = |row: &rusqlite::Row<'_>| {
                let amount = Money { minor_units: row.get(1)?, currency: row.get(2)? };
                Ok((SagaId(row.get(0)?), amount, row.get::<_, String>(3)?))
            };
            for row in refund.query_map([order.0], columns).map_err(failure)? {
                let (saga, amount, word) = row.map_err(failure)?;
                refunds.push(Refund { saga, order, amount, state: refund_state(&word)? });
            }
        }
        Ok(refunds)
    }

    async fn save_refunds(&mut self, refunds: &[Refund]) -> Result<(), Failure> {
        let mut refund = self.statement(
            "INSERT INTO refunds
                 (saga_id, order_id, amount, currency, state, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
             ON CONFLICT (saga_id) DO UPDATE SET
                 state = excluded.state, updated_at = excluded.updated_at",
        )?;
        for Refund { saga, order, amount, state } in refunds {
            let (amount, currency) = (amount.minor_units, &amount.currency);
            let (word, now) = (refund_word(*state), self.now().0);
            refund
                .execute(params![saga.0, order.0, amount, currency, word, now])
                .map_err(failure)?;
        }
        Ok(())
    }
}

/// Writes a row for each payment, with a statement whose parameters have the order of the columns.
fn write(
    statement: &mut CachedStatement<'_>,
    payments: &[Payment],
    now: Timestamp,
) -> Result<(), Failure> {
    for Payment { order, amount, state } in payments {
        let Columns { status, provider_id, decline_code, refunded } = Columns::of(state);
        let (amount, currency) = (amount.minor_units, &amount.currency);
        let row =
            params![order.0, amount, currency, status, provider_id, decline_code, refunded, now.0];
        statement.execute(row).map_err(failure)?;
    }
    Ok(())
}

/// Returns each order once, sorted, as a single statement over all orders would.
fn distinct(orders: &[SagaId]) -> BTreeSet<SagaId> {
    orders.iter().copied().collect()
}
