//! The tables in SQLite. A transaction is alone on its database, so it need not lock rows.

mod returns;

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension as _, params};
use saga_core::{Failure, SagaId};
use saga_proto::{order::v1::Order, types::v1::Line};
use saga_sqlite::{Database, INBOX, INBOX_2, INBOX_3, Schema, Transaction, failure};
use uuid::Uuid;

use crate::{
    rule::{End, Known, Status},
    table::{
        NewOrder, Orders, Page, Reads,
        row::{Row, number, orders, status},
    },
};

/// The schema of the service's database, including the inbox.
pub const SCHEMA: Schema = Schema {
    application_id: 0x5341_4752,
    scripts: &[
        INBOX,
        include_str!("../../schema/orders_1.sql"),
        INBOX_2,
        include_str!("../../schema/orders_2.sql"),
        INBOX_3,
    ],
};

impl Orders for Transaction {
    async fn insert(&mut self, orders: &[NewOrder<'_>]) -> Result<HashSet<SagaId>, Failure> {
        let mut order = self.statement(
            "INSERT INTO orders (order_id, customer, caller, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
        )?;
        let mut line = self.statement(
            "INSERT INTO order_lines (order_id, line_no, sku, quantity) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let mut created = HashSet::new();
        for NewOrder { id, caller, customer, lines } in orders {
            let new = order.execute(params![id.0, customer, caller, self.now().0]);
            if new.map_err(failure)? == 0 {
                continue;
            }
            created.insert(*id);
            for (Line { sku, quantity }, number) in lines.iter().zip(1_i64..) {
                line.execute(params![id.0, number, sku, quantity]).map_err(failure)?;
            }
        }
        Ok(created)
    }

    async fn lock(&mut self, ids: &[SagaId]) -> Result<HashMap<SagaId, Known>, Failure> {
        let mut order = self.statement("SELECT status FROM orders WHERE order_id = ?1")?;
        let mut lines = self.statement(
            "SELECT sku, quantity FROM order_lines WHERE order_id = ?1 ORDER BY line_no",
        )?;
        let mut known = HashMap::with_capacity(ids.len());
        for id in ids {
            let stored = order.query_row([id.0], |row| row.get(0)).optional().map_err(failure)?;
            let Some(stored) = stored else { continue };
            let line =
                |row: &rusqlite::Row<'_>| Ok(Line { sku: row.get(0)?, quantity: row.get(1)? });
            let lines = lines.query_map([id.0], line).and_then(Iterator::collect);
            let lines = lines.map_err(failure)?;
            known.insert(*id, Known { status: status(stored)?, lines });
        }
        Ok(known)
    }

    async fn end(&mut self, ends: &[(SagaId, End)]) -> Result<(), Failure> {
        let mut order = self.statement(
            "UPDATE orders SET status = ?2, reason_code = ?3, reason = ?4, currency = ?5,
                               total = ?6, updated_at = ?7, ended_at = ?7
             WHERE order_id = ?1",
        )?;
        let mut line = self.statement(
            "UPDATE order_lines SET unit_price = ?3 WHERE order_id = ?1 AND line_no = ?2",
        )?;
        for (id, end) in ends {
            let (status, reason, total) = match end {
                End::Confirmed { unit_prices, total } => {
                    for (price, number) in unit_prices.iter().zip(1_i64..) {
                        line.execute(params![id.0, number, price]).map_err(failure)?;
                    }
                    (Status::Confirmed, None, Some(total))
                }
                End::Rejected(reason) => (Status::Rejected, Some(reason), None),
                End::Cancelled(reason) => (Status::Cancelled, Some(reason), None),
            };
            let written = order.execute(params![
                id.0,
                number(status),
                reason.map(|reason| &reason.code),
                reason.map(|reason| &reason.text),
                total.map(|total| &total.currency),
                total.map(|total| total.minor_units),
                self.now().0,
            ]);
            written.map_err(failure)?;
        }
        Ok(())
    }
}

/// Reads orders in SQLite.
#[derive(Clone, Debug)]
pub struct SqliteReads {
    database: Database,
}

impl SqliteReads {
    /// Creates a reader over a database that has the service's [`SCHEMA`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

impl Reads for SqliteReads {
    async fn order(&self, id: SagaId) -> Result<Option<Order>, Failure> {
        let read = |connection: &rusqlite::Connection| {
            connection
                .prepare_cached(
                    "SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason, o.currency,
                            o.total, o.created_at, l.sku, l.quantity, l.unit_price,
                            o.refunded, l.returned
                     FROM orders o LEFT JOIN order_lines l USING (order_id)
                     WHERE o.order_id = ?1
                     ORDER BY l.line_no",
                )?
                .query_map([id.0], row)?
                .collect()
        };
        Ok(orders(self.database.read(read).await?)?.pop())
    }

    async fn page(&self, page: &Page) -> Result<Vec<Order>, Failure> {
        let before = page.before.map_or(Uuid::max(), |id| id.0);
        let status = page.status.map(number);
        let limit = page.limit;
        let read = |connection: &rusqlite::Connection| {
            // With and without a customer, the statements differ, so that each scans one index
            // backwards.
            match &page.customer {
                Some(customer) => connection
                    .prepare_cached(
                        "SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason,
                                o.currency, o.total, o.created_at, l.sku, l.quantity, l.unit_price,
                            o.refunded, l.returned
                         FROM (SELECT * FROM orders
                               WHERE customer = ?1 AND order_id < ?2 AND status = ifnull(?3, status)
                               ORDER BY order_id DESC LIMIT ?4) o
                         LEFT JOIN order_lines l USING (order_id)
                         ORDER BY o.order_id DESC, l.line_no",
                    )?
                    .query_map(params![customer, before, status, limit], row)?
                    .collect(),
                None => connection
                    .prepare_cached(
                        "SELECT o.order_id, o.customer, o.status, o.reason_code, o.reason,
                                o.currency, o.total, o.created_at, l.sku, l.quantity, l.unit_price,
                            o.refunded, l.returned
                         FROM (SELECT * FROM orders
                               WHERE order_id < ?1 AND status = ifnull(?2, status)
                               ORDER BY order_id DESC LIMIT ?3) o
                         LEFT JOIN order_lines l USING (order_id)
                         ORDER BY o.order_id DESC, l.line_no",
                    )?
                    .query_map(params![before, status, limit], row)?
                    .collect(),
            }
        };
        orders(self.database.read(read).await?)
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        order_id: row.get(0)?,
        customer: row.get(1)?,
        status: row.get(2)?,
        reason_code: row.get(3)?,
        reason: row.get(4)?,
        currency: row.get(5)?,
        total: row.get(6)?,
        created_at_micros: row.get(7)?,
        sku: row.get(8)?,
        quantity: row.get(9)?,
        unit_price: row.get(10)?,
        refunded: row.get(11)?,
        returned: row.get(12)?,
    })
}
