//! The tables in Postgres. Every statement handles a whole batch.

mod sales;

use saga_core::{Failure, SagaId};
use saga_postgres::failure;
use saga_proto::types::v1::Line;
use sqlx::{PgPool, Postgres, Transaction, types::Uuid};

use crate::{
    receipt::Receipt,
    rule::{Product, Stock},
    table::{
        Catalogue, Claim, Closing, Reservation, Shelf,
        row::{Row, name},
    },
};

impl Shelf for Transaction<'_, Postgres> {
    async fn lock(&mut self, skus: &[String]) -> Result<Stock, Failure> {
        if skus.is_empty() {
            return Ok(Stock::new());
        }
        let rows = sqlx::query_as!(
            Row,
            "SELECT sku, name, price, currency, received, available, reserved, sold
             FROM products WHERE sku = ANY($1) ORDER BY sku FOR UPDATE",
            skus,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        Ok(rows.into_iter().map(|row| (row.sku.clone(), row.into())).collect())
    }

    async fn reserve(
        &mut self,
        products: &[&Product],
        reservations: &[Reservation],
    ) -> Result<(), Failure> {
        let stock = Columns::of(products);
        let sagas: Vec<Uuid> = reservations.iter().map(|r| r.saga.0).collect();
        let skus: Vec<String> = reservations.iter().map(|r| r.line.sku.clone()).collect();
        let quantities: Vec<i64> = reservations.iter().map(|r| r.line.quantity).collect();
        let prices: Vec<i64> = reservations.iter().map(|r| r.unit_price.minor_units).collect();
        let currencies: Vec<String> =
            reservations.iter().map(|r| r.unit_price.currency.clone()).collect();
        sqlx::query!(
            "WITH levels AS (
                 UPDATE products SET available = u.available, reserved = u.reserved
                 FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) AS u (sku, available, reserved)
                 WHERE products.sku = u.sku
             ), held AS (
                 INSERT INTO reservations (saga_id, sku, quantity, unit_price, currency, state)
                 SELECT *, 'open'
                 FROM UNNEST($4::uuid[], $5::text[], $6::bigint[], $7::bigint[], $8::text[])
             )
             INSERT INTO movements (saga_id, sku, quantity, kind)
             SELECT *, 'reserved' FROM UNNEST($4::uuid[], $5::text[], $6::bigint[])",
            &stock.skus,
            &stock.available,
            &stock.reserved,
            &sagas,
            &skus,
            &quantities,
            &prices,
            &currencies,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn close(
        &mut self,
        sagas: &[SagaId],
        how: Closing,
    ) -> Result<Vec<(SagaId, Line)>, Failure> {
        let sagas: Vec<Uuid> = sagas.iter().map(|saga| saga.0).collect();
        // Rows are locked in a fixed order. If two transactions close the same reservations, the
        // second one waits for the first, and then finds none open.
        let rows = sqlx::query!(
            "WITH held AS (
                 SELECT saga_id, sku FROM reservations
                 WHERE saga_id = ANY($1) AND state = 'open'
                 ORDER BY saga_id, sku FOR UPDATE
             )
             UPDATE reservations SET state = $2 FROM held
             WHERE reservations.saga_id = held.saga_id AND reservations.sku = held.sku
             RETURNING reservations.saga_id, reservations.sku, reservations.quantity",
            &sagas,
            name(how),
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        let line = |sku, quantity| Line { sku, quantity };
        let mut closed: Vec<_> = rows
            .into_iter()
            .map(|row| (SagaId(row.saga_id), line(row.sku, row.quantity)))
            .collect();
        // The answer is recorded, so its lines must have the same order on every run.
        closed.sort_by(|(a, line_a), (b, line_b)| (a, &line_a.sku).cmp(&(b, &line_b.sku)));
        Ok(closed)
    }

    async fn settle(
        &mut self,
        products: &[&Product],
        closed: &[(SagaId, Line)],
        how: Closing,
    ) -> Result<(), Failure> {
        let stock = Columns::of(products);
        let sagas: Vec<Uuid> = closed.iter().map(|(saga, _)| saga.0).collect();
        let skus: Vec<String> = closed.iter().map(|(_, line)| line.sku.clone()).collect();
        let quantities: Vec<i64> = closed.iter().map(|(_, line)| line.quantity).collect();
        sqlx::query!(
            "WITH levels AS (
                 UPDATE products
                 SET available = u.available, reserved = u.reserved, sold = u.sold
                 FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[])
                     AS u (sku, available, reserved, sold)
                 WHERE products.sku = u.sku
             )
             INSERT INTO movements (saga_id, sku, quantity, kind)
             SELECT *, $8::text FROM UNNEST($5::uuid[], $6::text[], $7::bigint[])",
            &stock.skus,
            &stock.available,
            &stock.reserved,
            &stock.sold,
            &sagas,
            &skus,
            &quantities,
            name(how),
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn claim(&mut self, receipt: &Receipt) -> Result<Claim, Failure> {
        let hash = receipt.hash();
        let claimed = sqlx::query!(
            "INSERT INTO receipts (idempotency_key, payload_hash, sku, quantity)
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            receipt.key,
            hash,
            receipt.sku,
            receipt.quantity,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        if claimed.rows_affected() == 1 {
            return Ok(Claim::New);
        }
        let known = sqlx::query_scalar!(
            "SELECT payload_hash FROM receipts WHERE idempotency_key = $1",
            receipt.key,
        )
        .fetch_optional(&mut **self)
        .await
        .map_err(failure)?;
        match known {
            Some(known) if known == hash => Ok(Claim::Repeated),
            Some(_) => Ok(Claim::Taken),
            None => Err(Failure::Conflict("a receipt was pruned".to_owned())),
        }
    }

    async fn receive(&mut self, product: &Product, receipt: &Receipt) -> Result<(), Failure> {
        let Product { sku, name, price, levels } = product;
        // Two receipts may add the same new product at the same time. The second one has to read
        // the product again, so that it does not overwrite the goods of the first.
        let written = sqlx::query!(
            "WITH moved AS (
                 INSERT INTO movements (sku, kind, quantity, receipt_key)
                 VALUES ($1, 'received', $9, $10)
             )
             INSERT INTO products
                 (sku, name, price, currency, received, available, reserved, sold)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (sku) DO UPDATE
             SET name = excluded.name, price = excluded.price, currency = excluded.currency,
                 received = excluded.received, available = excluded.available
             WHERE products.received = excluded.received - $9",
            sku,
            name,
            price.minor_units,
            price.currency,
            levels.received,
            levels.available,
            levels.reserved,
            levels.sold,
            receipt.quantity,
            receipt.key,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        if written.rows_affected() == 1 {
            Ok(())
        } else {
            Err(Failure::Conflict(format!("{sku} was added by another receipt")))
        }
    }
}

/// Reads the catalogue in Postgres.
#[derive(Clone, Debug)]
pub struct PostgresCatalogue {
    pool: PgPool,
}

impl PostgresCatalogue {
    /// Creates a reader over a database that has the service's migrations.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl Catalogue for PostgresCatalogue {
    async fn page(&self, after: &str, limit: u32) -> Result<Vec<Product>, Failure> {
        let rows = sqlx::query_as!(
            Row,
            "SELECT sku, name, price, currency, received, available, reserved, sold
             FROM products WHERE sku > $1 ORDER BY sku LIMIT $2",
            after,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        Ok(rows.into_iter().map(Product::from).collect())
    }
}

/// Products with changed stock as columns, for statements that take arrays.
#[derive(Default)]
struct Columns {
    skus: Vec<String>,
    available: Vec<i64>,
    reserved: Vec<i64>,
    sold: Vec<i64>,
}

impl Columns {
    fn of(products: &[&Product]) -> Self {
        let mut columns = Self::default();
        for Product { sku, levels, .. } in products {
            columns.skus.push(sku.clone());
            columns.available.push(levels.available);
            columns.reserved.push(levels.reserved);
            columns.sold.push(levels.sold);
        }
        columns
    }
}
