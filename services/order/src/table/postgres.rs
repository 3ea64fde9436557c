//! The tables in Postgres. Every statement handles a whole batch.

mod returns;

use std::collections::{HashMap, HashSet};

use saga_core::{Failure, SagaId};
use saga_postgres::failure;
use saga_proto::{order::v1::Order, types::v1::Line};
use sqlx::{PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    rule::{End, Known, Status},
    table::{
        NewOrder, Orders, Page, Reads,
        row::{ALL, Row, number, orders, status},
    },
};

impl Orders for Transaction<'_, Postgres> {
    async fn insert(&mut self, orders: &[NewOrder<'_>]) -> Result<HashSet<SagaId>, Failure> {
        let ids: Vec<Uuid> = orders.iter().map(|order| order.id.0).collect();
        let customers: Vec<String> = orders.iter().map(|order| order.customer.to_owned()).collect();
        let callers: Vec<String> = orders.iter().map(|order| order.caller.to_owned()).collect();
        let mut lines = Lines::default();
        for order in orders {
            for (line, number) in order.lines.iter().zip(1..) {
                lines.ids.push(order.id.0);
                lines.numbers.push(number);
                lines.skus.push(line.sku.clone());
                lines.quantities.push(line.quantity);
            }
        }
        let rows = sqlx::query!(
            r#"WITH created AS (
                   INSERT INTO orders (order_id, customer, caller)
                   SELECT * FROM UNNEST($1::uuid[], $2::text[], $7::text[])
                   ON CONFLICT DO NOTHING
                   RETURNING order_id
               ), lines AS (
                   INSERT INTO order_lines (order_id, line_no, sku, quantity)
                   SELECT u.order_id, u.line_no, u.sku, u.quantity
                   FROM UNNEST($3::uuid[], $4::int[], $5::text[], $6::bigint[])
                       AS u (order_id, line_no, sku, quantity)
                   JOIN created USING (order_id)
               )
               SELECT order_id FROM created"#,
            &ids,
            &customers,
            &lines.ids,
            &lines.numbers,
            &lines.skus,
            &lines.quantities,
            &callers,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        Ok(rows.into_iter().map(|row| SagaId(row.order_id)).collect())
    }

    async fn lock(&mut self, ids: &[SagaId]) -> Result<HashMap<SagaId, Known>, Failure> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        // An order's lines never change, so it does not matter that they are read before the lock.
        let rows = sqlx::query!(
            r#"SELECT o.order_id, o.status,
                      ARRAY(SELECT sku FROM order_lines l WHERE l.order_id = o.order_id
                            ORDER BY line_no) AS "skus!",
                      ARRAY(SELECT quantity FROM order_lines l WHERE l.order_id = o.order_id
                            ORDER BY line_no) AS "quantities!"
               FROM orders o
               WHERE o.order_id = ANY($1)
               ORDER BY o.order_id
               FOR UPDATE OF o"#,
            &ids,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        rows.into_iter()
            .map(|row| {
                let lines = row.skus.into_iter().zip(row.quantities);
                let lines = lines.map(|(sku, quantity)| Line { sku, quantity }).collect();
                Ok((SagaId(row.order_id), Known { status: status(row.status)?, lines }))
            })
            .collect()
    }

    async fn end(&mut self, ends: &[(SagaId, End)]) -> Result<(), Failure> {
        let mut orders = Ended::default();
        let mut lines = Lines::default();
        for (id, end) in ends {
            let (status, reason, total) = match end {
                End::Confirmed { unit_prices, total } => {
                    for (price, number) in unit_prices.iter().zip(1..) {
                        lines.ids.push(id.0);
                        lines.numbers.push(number);
                        lines.unit_prices.push(*price);
                    }
                    (Status::Confirmed, None, Some(total.clone()))
                }
                End::Rejected(reason) => (Status::Rejected, Some(reason.clone()), None),
                End::Cancelled(reason) => (Status::Cancelled, Some(reason.clone()), None),
            };
            orders.ids.push(id.0);
            orders.statuses.push(number(status));
            orders.totals.push(total.as_ref().map(|total| total.minor_units));
            orders.currencies.push(total.map(|total| total.currency));
            orders.codes.push(reason.as_ref().map(|reason| reason.code.clone()));
            orders.reasons.push(reason.map(|reason| reason.text));
        }
        sqlx::query!(
            r#"WITH priced AS (
                   UPDATE order_lines SET unit_price = u.unit_price
                   FROM UNNEST($7::uuid[], $8::int[], $9::bigint[])
                       AS u (order_id, line_no, unit_price)
                   WHERE order_lines.order_id = u.order_id AND order_lines.line_no = u.line_no
               )
               UPDATE orders SET status = u.status, reason_code = u.reason_code, reason = u.reason,
                                 currency = u.currency, total = u.total,
                                 updated_at = now(), ended_at = now()
               FROM UNNEST($1::uuid[], $2::smallint[], $3::text[], $4::text[], $5::text[], $6::bigint[])
                   AS u (order_id, status, reason_code, reason, currency, total)
               WHERE orders.order_id = u.order_id"#,
            &orders.ids,
            &orders.statuses,
            &orders.codes as &[Option<String>],
            &orders.reasons as &[Option<String>],
            &orders.currencies as &[Option<String>],
            &orders.totals as &[Option<i64>],
            &lines.ids,
            &lines.numbers,
            &lines.unit_prices,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }
}

/// Order lines as columns, for statements that take arrays.
#[derive(Default)]
struct Lines {
    ids: Vec<Uuid>,
    numbers: Vec<i32>,
    skus: Vec<String>,
    quantities: Vec<i64>,
    unit_prices: Vec<i64>,
}

/// Ended orders as columns, for statements that take arrays.
#[derive(Default)]
struct Ended {
    ids: Vec<Uuid>,
    statuses: Vec<i16>,
    codes: Vec<Option<String>>,
    reasons: Vec<Option<String>>,
    currencies: Vec<Option<String>>,
    totals: Vec<Option<i64>>,
}

/// Reads orders in Postgres.
#[derive(Clone, Debug)]
pub struct PostgresReads {
    pool: PgPool,
}

impl PostgresReads {
    /// Creates a reader over a database that has the service's migrations.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl Reads for PostgresReads {
    async fn order(&self, id: SagaId) -> Result<Option<Order>, Failure> {
        let rows = sqlx::query_as!(
            Row,
            r#"SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason, o.currency, o.total, o.refunded,
                      (EXTRACT(EPOCH FROM o.created_at) * 1000000)::bigint AS "created_at_micros!",
                      l.sku AS "sku?", l.quantity AS "quantity?", l.unit_price,
                      l.returned AS "returned?"
               FROM orders o LEFT JOIN order_lines l USING (order_id)
               WHERE o.order_id = $1
               ORDER BY l.line_no"#,
            id.0,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        Ok(orders(rows)?.pop())
    }

    async fn page(&self, page: &Page) -> Result<Vec<Order>, Failure> {
        let before = page.before.map_or(Uuid::max(), |id| id.0);
        let statuses: Vec<i16> = match page.status {
            Some(status) => vec![number(status)],
            None => ALL.map(number).to_vec(),
        };
        let limit = i64::from(page.limit);
        // With and without a customer, the statements differ, so that each scans one index
        // backwards.
        let rows = match &page.customer {
            Some(customer) => {
                sqlx::query_as!(
                    Row,
                    r#"SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason, o.currency, o.total, o.refunded,
                              (EXTRACT(EPOCH FROM o.created_at) * 1000000)::bigint AS "created_at_micros!",
                              l.sku AS "sku?", l.quantity AS "quantity?", l.unit_price,
                              l.returned AS "returned?"
                       FROM (SELECT * FROM orders
                             WHERE customer = $1 AND order_id < $2 AND status = ANY($3)
                             ORDER BY order_id DESC LIMIT $4) o
                       LEFT JOIN order_lines l USING (order_id)
                       ORDER BY o.order_id DESC, l.line_no"#,
                    customer,
                    before,
                    &statuses,
                    limit,
                )
                .fetch_all(&self.pool)
                .await
            }
            None => {
                sqlx::query_as!(
                    Row,
                    r#"SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason, o.currency, o.total, o.refunded,
                              (EXTRACT(EPOCH FROM o.created_at) * 1000000)::bigint AS "created_at_micros!",
                              l.sku AS "sku?", l.quantity AS "quantity?", l.unit_price,
                              l.returned AS "returned?"
                       FROM (SELECT * FROM orders
                             WHERE order_id < $1 AND status = ANY($2)
                             ORDER BY order_id DESC LIMIT $3) o
                       LEFT JOIN order_lines l USING (order_id)
                       ORDER BY o.order_id DESC, l.line_no"#,
                    before,
                    &statuses,
                    limit,
                )
                .fetch_all(&self.pool)
                .await
            }
        };
        orders(rows.map_err(failure)?)
    }
}
