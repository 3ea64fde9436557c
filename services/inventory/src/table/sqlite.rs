//! The tables in SQLite. A transaction is alone on its database, so it need not lock rows.

mod sales;

use rusqlite::{OptionalExtension as _, params};
use saga_core::{Failure, SagaId};
use saga_proto::types::v1::Line;
use saga_sqlite::{Database, INBOX, INBOX_2, INBOX_3, Schema, Transaction, failure};

use crate::{
    receipt::Receipt,
    rule::{Product, Stock},
    table::{
        Catalogue, Claim, Closing, Reservation, Shelf,
        row::{Row, name},
    },
};

/// The schema of the service's database, including the inbox.
pub const SCHEMA: Schema = Schema {
    application_id: 0x5341_4749,
    scripts: &[
        INBOX,
        include_str!("../../schema/inventory_1.sql"),
        INBOX_2,
        include_str!("../../schema/inventory_2.sql"),
        INBOX_3,
    ],
};

impl Shelf for Transaction {
    async fn lock(&mut self, skus: &[String]) -> Result<Stock, Failure> {
        let mut product = self.statement(
            "SELECT sku, name, price, currency, received, available, reserved, sold
             FROM products WHERE sku = ?1",
        )?;
        let mut stock = Stock::new();
        for sku in skus {
            if let Some(row) = product.query_row([sku], row).optional().map_err(failure)? {
                stock.insert(sku.clone(), row.into());
            }
        }
        Ok(stock)
    }

    async fn reserve(
        &mut self,
        products: &[&Product],
        reservations: &[Reservation],
    ) -> Result<(), Failure> {
        let mut level =
            self.statement("UPDATE products SET available = ?2, reserved = ?3 WHERE sku = ?1")?;
        for Product { sku, levels, .. } in products {
            let written = level.execute(params![sku, levels.available, levels.reserved]);
            written.map_err(failure)?;
        }
        let mut hold = self.statement(
            "INSERT INTO reservations (saga_id, sku, quantity, unit_price, currency, state)
             VALUES (?1, ?2, ?3, ?4, ?5, 'open')",
        )?;
        for Reservation { saga, line, unit_price } in reservations {
            let (price, currency) = (unit_price.minor_units, &unit_price.currency);
            let held = hold.execute(params![saga.0, line.sku, line.quantity, price, currency]);
            held.map_err(failure)?;
            moved(self, *saga, line, "reserved")?;
        }
        Ok(())
    }

    async fn close(
        &mut self,
        sagas: &[SagaId],
        how: Closing,
    ) -> Result<Vec<(SagaId, Line)>, Failure> {
        let mut close = self.statement(
            "UPDATE reservations SET state = ?2 WHERE saga_id = ?1 AND state = 'open'
             RETURNING sku, quantity",
        )?;
        let mut closed = Vec::new();
        for saga in sagas {
            let line =
                |row: &rusqlite::Row<'_>| Ok(Line { sku: row.get(0)?, quantity: row.get(1)? });
            let lines = close.query_map(params![saga.0, name(how)], line);
            let lines: Vec<Line> = lines.and_then(Iterator::collect).map_err(failure)?;
            closed.extend(lines.into_iter().map(|line| (*saga, line)));
        }
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
        let mut level = self.statement(
            "UPDATE products SET available = ?2, reserved = ?3, sold = ?4 WHERE sku = ?1",
        )?;
        for Product { sku, levels, .. } in products {
            let written =
                level.execute(params![sku, levels.available, levels.reserved, levels.sold]);
            written.map_err(failure)?;
        }
        for (saga, line) in closed {
            moved(self, *saga, line, name(how))?;
        }
        Ok(())
    }

    async fn claim(&mut self, receipt: &Receipt) -> Result<Claim, Failure> {
        let hash = receipt.hash();
        let claimed = self
            .statement(
                "INSERT INTO receipts (idempotency_key, payload_hash, sku, quantity, at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )?
            .execute(params![receipt.key, hash, receipt.sku, receipt.quantity, self.now().0])
            .map_err(failure)?;
        if claimed == 1 {
            return Ok(Claim::New);
        }
        let known: Vec<u8> = self
            .statement("SELECT payload_hash FROM receipts WHERE idempotency_key = ?1")?
            .query_row([&receipt.key], |row| row.get(0))
            .map_err(failure)?;
        Ok(if known == hash { Claim::Repeated } else { Claim::Taken })
    }

    async fn receive(&mut self, product: &Product, receipt: &Receipt) -> Result<(), Failure> {
        let Product { sku, name, price, levels } = product;
        self.statement(
            "INSERT INTO movements (sku, kind, quantity, receipt_key, at)
             VALUES (?1, 'received', ?2, ?3, ?4)",
        )?
        .execute(params![sku, receipt.quantity, receipt.key, self.now().0])
        .map_err(failure)?;
        // A receipt that has not read the product's current row has to read it again, so that it
        // does not overwrite goods that were received.
        let written = self
            .statement(
                "INSERT INTO products
                     (sku, name, price, currency, received, available, reserved, sold)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (sku) DO UPDATE
                 SET name = excluded.name, price = excluded.price, currency = excluded.currency,
                     received = excluded.received, available = excluded.available
                 WHERE products.received = excluded.received - ?9",
            )?
            .execute(params![
                sku,
                name,
                price.minor_units,
                price.currency,
                levels.received,
                levels.available,
                levels.reserved,
                levels.sold,
                receipt.quantity,
            ])
            .map_err(failure)?;
        if written == 1 {
            Ok(())
        } else {
            Err(Failure::Conflict(format!("{sku} was added by another receipt")))
        }
    }
}

/// Adds a movement of stock to the ledger.
fn moved(tx: &Transaction, saga: SagaId, line: &Line, kind: &str) -> Result<(), Failure> {
    let mut movement = tx.statement(
        "INSERT INTO movements (saga_id, sku, quantity, kind, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let values = params![saga.0, line.sku, line.quantity, kind, tx.now().0];
    movement.execute(values).map_err(failure)?;
    Ok(())
}

/// Reads the catalogue in SQLite.
#[derive(Clone, Debug)]
pub struct SqliteCatalogue {
    database: Database,
}

impl SqliteCatalogue {
    /// Creates a reader over a database that has the service's [`SCHEMA`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

impl Catalogue for SqliteCatalogue {
    async fn page(&self, after: &str, limit: u32) -> Result<Vec<Product>, Failure> {
        let read = |connection: &rusqlite::Connection| {
            connection
                .prepare_cached(
                    "SELECT sku, name, price, currency, received, available, reserved, sold
                     FROM products WHERE sku > ?1 ORDER BY sku LIMIT ?2",
                )?
                .query_map(params![after, limit], row)?
                .collect::<Result<Vec<Row>, _>>()
        };
        Ok(self.database.read(read).await?.into_iter().map(Product::from).collect())
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        sku: row.get(0)?,
        name: row.get(1)?,
        price: row.get(2)?,
        currency: row.get(3)?,
        received: row.get(4)?,
        available: row.get(5)?,
        reserved: row.get(6)?,
        sold: row.get(7)?,
    })
}
