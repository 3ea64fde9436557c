//! The returns in Postgres.

use std::collections::HashMap;

use saga_core::{Failure, SagaId};
use saga_postgres::failure;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::{
    returns::{Piece, Return, ReturnState, Returnable, Sold},
    table::{
        Returns,
        row::{state, state_number, status},
    },
};

impl Returns for Transaction<'_, Postgres> {
    async fn lock_returnable(
        &mut self,
        orders: &[SagaId],
    ) -> Result<HashMap<SagaId, Returnable>, Failure> {
        let ids: Vec<Uuid> = orders.iter().map(|id| id.0).collect();
        let rows = sqlx::query!(
            "SELECT order_id, caller, status, currency FROM orders
             WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
            &ids,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        let mut known = HashMap::with_capacity(rows.len());
        for row in rows {
            let (status, currency) = (status(row.status)?, row.currency.unwrap_or_default());
            let order = Returnable { caller: row.caller, status, currency, lines: Vec::new() };
            known.insert(SagaId(row.order_id), order);
        }
        // The lines are read after the locks, in a separate statement, so that it sees the writes
        // of the transactions for which the locks have waited.
        let rows = sqlx::query!(
            "SELECT order_id, sku, quantity, unit_price, held, returned FROM order_lines
             WHERE order_id = ANY($1) ORDER BY order_id, line_no",
            &ids,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        for row in rows {
            if let Some(order) = known.get_mut(&SagaId(row.order_id)) {
                order.lines.push(Sold {
                    sku: row.sku,
                    quantity: row.quantity,
                    unit_price: row.unit_price.unwrap_or_default(),
                    held: row.held,
                    returned: row.returned,
                });
            }
        }
        Ok(known)
    }

    async fn open(&mut self, returns: &[Return]) -> Result<(), Failure> {
        let columns = Columns::of(returns);
        let reasons: Vec<String> = returns.iter().map(|new| new.reason.clone()).collect();
        sqlx::query!(
            "WITH opened AS (
                 INSERT INTO returns (return_id, order_id, amount, reason)
                 SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::text[])
             ), pieces AS (
                 INSERT INTO return_lines (return_id, line_no, quantity)
                 SELECT * FROM UNNEST($5::uuid[], $7::int[], $8::bigint[])
             )
             UPDATE order_lines SET held = held + u.quantity
             FROM (SELECT order_id, line_no, sum(quantity)::bigint AS quantity
                   FROM UNNEST($6::uuid[], $7::int[], $8::bigint[]) AS p (order_id, line_no, quantity)
                   GROUP BY order_id, line_no) u
             WHERE order_lines.order_id = u.order_id AND order_lines.line_no = u.line_no",
            &columns.ids,
            &columns.orders,
            &columns.amounts,
            &reasons,
            &columns.piece_returns,
            &columns.piece_orders,
            &columns.line_nos,
            &columns.quantities,
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn lock_returns(
        &mut self,
        returns: &[SagaId],
    ) -> Result<HashMap<SagaId, Return>, Failure> {
        let ids: Vec<Uuid> = returns.iter().map(|id| id.0).collect();
        // A return's pieces never change, so it does not matter that they are read before the lock.
        let rows = sqlx::query!(
            r#"SELECT r.return_id, r.order_id, r.state, r.reason, r.amount,
                      ARRAY(SELECT line_no FROM return_lines l WHERE l.return_id = r.return_id
                            ORDER BY line_no) AS "line_nos!",
                      ARRAY(SELECT quantity FROM return_lines l WHERE l.return_id = r.return_id
                            ORDER BY line_no) AS "quantities!"
               FROM returns r
               WHERE r.return_id = ANY($1)
               ORDER BY r.return_id
               FOR UPDATE OF r"#,
            &ids,
        )
        .fetch_all(&mut **self)
        .await
        .map_err(failure)?;
        rows.into_iter()
            .map(|row| {
                let id = SagaId(row.return_id);
                let pieces = row.line_nos.into_iter().zip(row.quantities);
                let known = Return {
                    id,
                    order: SagaId(row.order_id),
                    state: state(row.state)?,
                    reason: row.reason,
                    amount: row.amount,
                    pieces: pieces.map(|(line_no, quantity)| Piece { line_no, quantity }).collect(),
                };
                Ok((id, known))
            })
            .collect()
    }

    async fn close(&mut self, returns: &[Return]) -> Result<(), Failure> {
        let columns = Columns::of(returns);
        sqlx::query!(
            "WITH ended AS (
                 UPDATE returns SET state = u.state, ended_at = now()
                 FROM UNNEST($1::uuid[], $2::smallint[]) AS u (return_id, state)
                 WHERE returns.return_id = u.return_id
             ), refunded AS (
                 UPDATE orders SET refunded = refunded + u.amount, updated_at = now()
                 FROM (SELECT order_id, sum(amount)::bigint AS amount
                       FROM UNNEST($3::uuid[], $4::bigint[], $2::smallint[]) AS d (order_id, amount, state)
                       WHERE state = $10 GROUP BY order_id) u
                 WHERE orders.order_id = u.order_id
             )
             UPDATE order_lines
             SET held = order_lines.held - u.quantity,
                 returned = order_lines.returned + u.returned
             FROM (SELECT order_id, line_no, sum(quantity)::bigint AS quantity,
                          coalesce(sum(quantity) FILTER (WHERE r.state = $10), 0)::bigint AS returned
                   FROM UNNEST($5::uuid[], $6::uuid[], $7::int[], $8::bigint[], $9::smallint[])
                       AS r (return_id, order_id, line_no, quantity, state)
                   GROUP BY order_id, line_no) u
             WHERE order_lines.order_id = u.order_id AND order_lines.line_no = u.line_no",
            &columns.ids,
            &columns.states,
            &columns.orders,
            &columns.amounts,
            &columns.piece_returns,
            &columns.piece_orders,
            &columns.line_nos,
            &columns.quantities,
            &columns.piece_states,
            state_number(ReturnState::Done),
        )
        .execute(&mut **self)
        .await
        .map_err(failure)?;
        Ok(())
    }
}

/// Returns and their pieces as columns, for statements that take arrays.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    orders: Vec<Uuid>,
    amounts: Vec<i64>,
    states: Vec<i16>,
    piece_returns: Vec<Uuid>,
    piece_orders: Vec<Uuid>,
    piece_states: Vec<i16>,
    line_nos: Vec<i32>,
    quantities: Vec<i64>,
}

impl Columns {
    fn of(returns: &[Return]) -> Self {
        let mut columns = Self::default();
        for Return { id, order, state, amount, pieces, .. } in returns {
            columns.ids.push(id.0);
            columns.orders.push(order.0);
            columns.amounts.push(*amount);
            columns.states.push(state_number(*state));
            for piece in pieces {
                columns.piece_returns.push(id.0);
                columns.piece_orders.push(order.0);
                columns.piece_states.push(state_number(*state));
                columns.line_nos.push(piece.line_no);
                columns.quantities.push(piece.quantity);
            }
        }
        columns
    }
}
