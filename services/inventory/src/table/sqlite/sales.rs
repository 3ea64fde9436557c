//! The sales, and the goods that are returned, in SQLite.

use std::collections::HashMap;

use rusqlite::params;
use saga_core::{Failure, SagaId};
use saga_sqlite::{Transaction, failure};

use crate::{
    rule::{Product, Sale},
    table::{Sales, TakenBack, row::sale_state},
};

impl Sales for Transaction {
    async fn sales(&mut self, orders: &[SagaId]) -> Result<HashMap<SagaId, Vec<Sale>>, Failure> {
        let mut held = self.statement(
            "SELECT sku, quantity, returned, state FROM reservations
             WHERE saga_id = ?1 ORDER BY sku",
        )?;
        let mut sales = HashMap::new();
        for order in orders {
            let mut rows = held.query([order.0]).map_err(failure)?;
            let mut of_order = Vec::new();
            while let Some(row) = rows.next().map_err(failure)? {
                let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
                let (sku, quantity, returned, state): (_, _, _, String) =
                    read().map_err(failure)?;
                of_order.push(Sale { sku, quantity, returned, state: sale_state(&state)? });
            }
            if !of_order.is_empty() {
                sales.insert(*order, of_order);
            }
        }
        Ok(sales)
    }

    async fn take_back(
        &mut self,
        products: &[&Product],
        taken: &[TakenBack],
    ) -> Result<(), Failure> {
        let mut level =
            self.statement("UPDATE products SET available = ?2, sold = ?3 WHERE sku = ?1")?;
        for Product { sku, levels, .. } in products {
            level.execute(params![sku, levels.available, levels.sold]).map_err(failure)?;
        }
        let mut sale = self.statement(
            "UPDATE reservations SET returned = returned + ?3 WHERE saga_id = ?1 AND sku = ?2",
        )?;
        let mut movement = self.statement(
            "INSERT INTO movements (saga_id, order_id, sku, quantity, kind, at)
             VALUES (?1, ?2, ?3, ?4, 'returned', ?5)",
        )?;
        for TakenBack { saga, order, line } in taken {
            sale.execute(params![order.0, line.sku, line.quantity]).map_err(failure)?;
            let moved = params![saga.0, order.0, line.sku, line.quantity, self.now().0];
            movement.execute(moved).map_err(failure)?;
        }
        Ok(())
    }
}
