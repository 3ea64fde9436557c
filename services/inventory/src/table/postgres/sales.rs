//! The sales, and the goods that are returned, in Postgres.

use std::collections::HashMap;

use saga_core::{Failure, SagaId};
use saga_postgres::failure;
use sqlx::{Postgres, Transaction, types::Uuid};

use super::Columns;
use crate::{
    rule::{Product, Sale},
    table::{Sales, TakenBack, row::sale_state},
};

impl Sales for Transaction<'_, Postgres> {
    async fn sales(&mut self, orders: &[SagaId]) -> Result<HashMap<SagaId, Vec<Sale>>, Failure> {
        let orders: Vec<Uuid> = orders.iter().map(|order| order.0).collect();
        let rows = sqlx::query!(
            "SELECT saga_id, sku, quantity, returned, state FROM reservations
             WHERE saga_id = ANY($1) ORDER BY saga_id, sku FOR UPDATE",
            &orders,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        let mut sales: HashMap<SagaId, Vec<Sale>> = HashMap::new();
        for row in rows {
            let state = sale_state(&row.state)?;
            let sale = Sale { sku: row.sku, quantity: row.quantity, returned: row.returned, state };
            sales.entry(SagaId(row.saga_id)).or_default().push(sale);
        }
        Ok(sales)
    }

    async fn take_back(
        &mut self,
        products: &[&Product],
        taken: &[TakenBack],
    ) -> Result<(), Failure> {
        let stock = Columns::of(products);
        let sagas: Vec<Uuid> = taken.iter().map(|taken| taken.saga.0).collect();
        let orders: Vec<Uuid> = taken.iter().map(|taken| taken.order.0).collect();
        let skus: Vec<String> = taken.iter().map(|taken| taken.line.sku.clone()).collect();
        let quantities: Vec<i64> = taken.iter().map(|taken| taken.line.quantity).collect();
        sqlx::query!(
            "WITH levels AS (
                 UPDATE products SET available = u.available, sold = u.sold
                 FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) AS u (sku, available, sold)
                 WHERE products.sku = u.sku
             ), sales AS (
                 UPDATE reservations SET returned = returned + u.quantity
                 FROM (SELECT order_id, sku, sum(quantity)::bigint AS quantity
                       FROM UNNEST($5::uuid[], $6::text[], $7::bigint[]) AS t (order_id, sku, quantity)
                       GROUP BY order_id, sku) u
                 WHERE reservations.saga_id = u.order_id AND reservations.sku = u.sku
             )
             INSERT INTO movements (saga_id, order_id, sku, quantity, kind)
             SELECT *, 'returned' FROM UNNEST($4::uuid[], $5::uuid[], $6::text[], $7::bigint[])",
            &stock.skus,
            &stock.available,
            &stock.sold,
            &sagas,
            &orders,
            &skus,
            &quantities,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }
}
