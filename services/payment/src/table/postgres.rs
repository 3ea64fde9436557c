//! The service's tables in Postgres.

use saga_core::{Failure, SagaId};
use saga_postgres::failure;
use saga_proto::Money;
use sqlx::{Postgres, Transaction, migrate::Migrator};
use uuid::Uuid;

use super::{
    Payments,
    row::{Columns, refund_state, refund_word, state},
};
use crate::rule::{Entry, Payment, Refund};

/// The service's migrations. The inbox's migrations run before them.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

impl Payments for Transaction<'static, Postgres> {
    async fn lock(&mut self, orders: &[SagaId]) -> Result<Vec<Payment>, Failure> {
        let rows = sqlx::query!(
            r#"SELECT order_id, amount, currency, status, provider_id, decline_code, refunded
               FROM payments
               WHERE order_id = ANY($1::uuid[])
               ORDER BY order_id
               FOR UPDATE"#,
            &uuids(orders),
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        rows.into_iter()
            .map(|row| {
                Ok(Payment {
                    order: SagaId(row.order_id),
                    amount: Money::new(row.amount, row.currency),
                    state: state(&row.status, row.provider_id, row.decline_code, row.refunded)?,
                })
            })
            .collect()
    }

    async fn open(&mut self, payments: &[Payment]) -> Result<(), Failure> {
        let columns = Arrays::of(payments);
        sqlx::query!(
            r#"INSERT INTO payments (order_id, amount, currency, status, provider_id, decline_code, refunded)
               SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
               ON CONFLICT (order_id) DO NOTHING"#,
            &columns.orders,
            &columns.amounts,
            &columns.currencies,
            &columns.statuses,
            &columns.provider_ids as &[Option<String>],
            &columns.decline_codes as &[Option<String>],
            &columns.refunded,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn save(&mut self, payments: &[Payment], entries: &[Entry]) -> Result<(), Failure> {
        if payments.is_empty() && entries.is_empty() {
            return Ok(());
        }
        let columns = Arrays::of(payments);
        let sagas: Vec<Uuid> = entries.iter().map(|entry| entry.saga.0).collect();
        let orders: Vec<Uuid> = entries.iter().map(|entry| entry.order.0).collect();
        let kinds: Vec<String> = entries.iter().map(|e| e.kind.as_str().to_owned()).collect();
        let amounts: Vec<i64> = entries.iter().map(|entry| entry.amount.minor_units).collect();
        let currencies: Vec<String> =
            entries.iter().map(|entry| entry.amount.currency.clone()).collect();
        // Payments and ledger entries are written by one statement, in one round trip.
        sqlx::query!(
            r#"WITH saved AS (
                   INSERT INTO payments (order_id, amount, currency, status, provider_id, decline_code, refunded)
                   SELECT * FROM UNNEST($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])
                   ON CONFLICT (order_id) DO UPDATE SET
                       status = EXCLUDED.status,
                       provider_id = EXCLUDED.provider_id,
                       decline_code = EXCLUDED.decline_code,
                       refunded = EXCLUDED.refunded,
                       updated_at = now()
               )
               INSERT INTO payment_ledger (saga_id, order_id, kind, amount, currency)
               SELECT * FROM UNNEST($8::uuid[], $9::uuid[], $10::text[], $11::bigint[], $12::text[])
               ON CONFLICT (saga_id, kind) DO NOTHING"#,
            &columns.orders,
            &columns.amounts,
            &columns.currencies,
            &columns.statuses,
            &columns.provider_ids as &[Option<String>],
            &columns.decline_codes as &[Option<String>],
            &columns.refunded,
            &sagas,
            &orders,
            &kinds,
            &amounts,
            &currencies,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn refunds(&mut self, orders: &[SagaId]) -> Result<Vec<Refund>, Failure> {
        let rows = sqlx::query!(
            r#"SELECT saga_id, order_id, amount, currency, state
               FROM refunds
               WHERE order_id = ANY($1::uuid[])"#,
            &uuids(orders),
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        rows.into_iter()
            .map(|row| {
                Ok(Refund {
                    saga: SagaId(row.saga_id),
                    order: SagaId(row.order_id),
                    amount: Money::new(row.amount, row.currency),
                    state: refund_state(&row.state)?,
                })
            })
            .collect()
    }

    async fn save_refunds(&mut self, refunds: &[Refund]) -> Result<(), Failure> {
        let sagas: Vec<Uuid> = refunds.iter().map(|refund| refund.saga.0).collect();
        let orders: Vec<Uuid> = refunds.iter().map(|refund| refund.order.0).collect();
        let amounts: Vec<i64> = refunds.iter().map(|refund| refund.amount.minor_units).collect();
        let currencies: Vec<String> =
            refunds.iter().map(|refund| refund.amount.currency.clone()).collect();
        let states: Vec<String> =
            refunds.iter().map(|refund| refund_word(refund.state).to_owned()).collect();
        sqlx::query!(
            r#"INSERT INTO refunds (saga_id, order_id, amount, currency, state)
               SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[])
               ON CONFLICT (saga_id) DO UPDATE SET state = EXCLUDED.state, updated_at = now()"#,
            &sagas,
            &orders,
            &amounts,
            &currencies,
            &states,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }
}

/// The columns of a batch of payments, one array for each column.
#[derive(Default)]
struct Arrays {
    orders: Vec<Uuid>,
    amounts: Vec<i64>,
    currencies: Vec<String>,
    statuses: Vec<String>,
    provider_ids: Vec<Option<String>>,
    decline_codes: Vec<Option<String>>,
    refunded: Vec<i64>,
}

impl Arrays {
    fn of(payments: &[Payment]) -> Self {
        let mut columns = Self::default();
        for payment in payments {
            let Columns { status, provider_id, decline_code, refunded } =
                Columns::of(&payment.state);
            columns.orders.push(payment.order.0);
            columns.amounts.push(payment.amount.minor_units);
            columns.currencies.push(payment.amount.currency.clone());
            columns.statuses.push(status.to_owned());
            columns.provider_ids.push(provider_id.map(str::to_owned));
            columns.decline_codes.push(decline_code.map(str::to_owned));
            columns.refunded.push(refunded);
        }
        columns
    }
}

fn uuids(orders: &[SagaId]) -> Vec<Uuid> {
    orders.iter().map(|order| order.0).collect()
}
