//! The returns in SQLite.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};
use saga_core::{Failure, SagaId};
use saga_sqlite::{Transaction, failure};

use crate::{
    returns::{Piece, Return, ReturnState, Returnable, Sold},
    table::{
        Returns,
        row::{state, state_number, status},
    },
};

impl Returns for Transaction {
    async fn lock_returnable(
        &mut self,
        orders: &[SagaId],
    ) -> Result<HashMap<SagaId, Returnable>, Failure> {
        let mut order =
            self.statement("SELECT caller, status, currency FROM orders WHERE order_id = ?1")?;
        let mut lines = self.statement(
            "SELECT sku, quantity, unit_price, held, returned FROM order_lines
             WHERE order_id = ?1 ORDER BY line_no",
        )?;
        let mut known = HashMap::with_capacity(orders.len());
        for id in orders {
            let stored = order
                .query_row([id.0], |row| {
                    Ok((row.get(0)?, row.get::<_, i16>(1)?, row.get::<_, Option<String>>(2)?))
                })
                .optional()
                .map_err(failure)?;
            let Some((caller, stored, currency)) = stored else { continue };
            let line = |row: &rusqlite::Row<'_>| {
                Ok(Sold {
                    sku: row.get(0)?,
                    quantity: row.get(1)?,
                    unit_price: row.get::<_, Option<i64>>(2)?.unwrap_or_default(),
                    held: row.get(3)?,
                    returned: row.get(4)?,
                })
            };
            let lines = lines.query_map([id.0], line).and_then(Iterator::collect);
            let lines = lines.map_err(failure)?;
            let (status, currency) = (status(stored)?, currency.unwrap_or_default());
            known.insert(*id, Returnable { caller, status, currency, lines });
        }
        Ok(known)
    }

    async fn open(&mut self, returns: &[Return]) -> Result<(), Failure> {
        let mut open = self.statement(
            "INSERT INTO returns (return_id, order_id, amount, reason, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        let mut put = self.statement(
            "INSERT INTO return_lines (return_id, line_no, quantity) VALUES (?1, ?2, ?3)",
        )?;
        let mut hold = self.statement(
            "UPDATE order_lines SET held = held + ?3
             WHERE order_id = ?1 AND line_no = ?2",
        )?;
        for Return { id, order, reason, amount, pieces, .. } in returns {
            open.execute(params![id.0, order.0, amount, reason, self.now().0]).map_err(failure)?;
            for Piece { line_no, quantity } in pieces {
                put.execute(params![id.0, line_no, quantity]).map_err(failure)?;
                hold.execute(params![order.0, line_no, quantity]).map_err(failure)?;
            }
        }
        Ok(())
    }

    async fn lock_returns(
        &mut self,
        returns: &[SagaId],
    ) -> Result<HashMap<SagaId, Return>, Failure> {
        let mut one = self.statement(
            "SELECT order_id, state, reason, amount FROM returns WHERE return_id = ?1",
        )?;
        let mut pieces = self.statement(
            "SELECT line_no, quantity FROM return_lines WHERE return_id = ?1 ORDER BY line_no",
        )?;
        let mut known = HashMap::with_capacity(returns.len());
        for id in returns {
            let stored = one
                .query_row([id.0], |row| {
                    Ok((SagaId(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()
                .map_err(failure)?;
            let Some((order, stored, reason, amount)) = stored else { continue };
            let piece =
                |row: &rusqlite::Row<'_>| Ok(Piece { line_no: row.get(0)?, quantity: row.get(1)? });
            let pieces = pieces.query_map([id.0], piece).and_then(Iterator::collect);
            let pieces = pieces.map_err(failure)?;
            let state = state(stored)?;
            known.insert(*id, Return { id: *id, order, state, reason, amount, pieces });
        }
        Ok(known)
    }

    async fn close(&mut self, returns: &[Return]) -> Result<(), Failure> {
        let mut end =
            self.statement("UPDATE returns SET state = ?2, ended_at = ?3 WHERE return_id = ?1")?;
        let mut line = self.statement(
            "UPDATE order_lines SET held = held - ?3, returned = returned + ?4
             WHERE order_id = ?1 AND line_no = ?2",
        )?;
        let mut refund = self.statement(
            "UPDATE orders SET refunded = refunded + ?2, updated_at = ?3 WHERE order_id = ?1",
        )?;
        for Return { id, order, state, amount, pieces, .. } in returns {
            let is_done = *state == ReturnState::Done;
            let ended = end.execute(params![id.0, state_number(*state), self.now().0]);
            ended.map_err(failure)?;
            for Piece { line_no, quantity } in pieces {
                let returned = if is_done { *quantity } else { 0 };
                let moved = line.execute(params![order.0, line_no, quantity, returned]);
                moved.map_err(failure)?;
            }
            if is_done {
                refund.execute(params![order.0, amount, self.now().0]).map_err(failure)?;
            }
        }
        Ok(())
    }
}
