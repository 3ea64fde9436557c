//! The watermark, and the deletion of sagas below it.

use rusqlite::{Connection, params};
use saga_core::{Failure, SagaId, Watermark};
use saga_engine::{Horizon, Pruned, Range, Retention};
use saga_sqlite::failure;
use uuid::Uuid;

use super::{SagaTable, row::micros};
use crate::row::natural;

/// Selects the first ended sagas of a range.
const BATCH: &str = "
    SELECT id FROM sagas
    WHERE id >= ?1 AND id < ?2 AND id < (SELECT below FROM saga_watermark)
      AND ended_at IS NOT NULL
    ORDER BY id
    LIMIT ?3";

impl Retention for SagaTable {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        let tx = self.database.begin().await?;
        // With `id` instead of `+id`, SQLite would look for the minimum in the primary key, and so
        // walk through all ended sagas. The indexes that it uses instead are both partial.
        let oldest: Option<Uuid> = tx
            .statement(
                "SELECT min(+id)
                 FROM (SELECT id FROM sagas WHERE wake_at IS NOT NULL
                       UNION ALL
                       SELECT id FROM sagas WHERE wake_at IS NULL AND ended_at IS NULL)",
            )?
            .query_row([], |row| row.get(0))
            .map_err(failure)?;
        let (now, oldest) = (tx.now(), oldest.map(SagaId));
        let reach = Watermark::reach(now, oldest, retention_millis);
        let below: Uuid = tx
            .statement("UPDATE saga_watermark SET below = max(below, ?1) RETURNING below")?
            .query_row([reach.id().0], |row| row.get(0))
            .map_err(failure)?;
        tx.commit()?;
        Ok(Horizon { watermark: Watermark::from_id(SagaId(below)), now, oldest })
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        let below = self.database.read(|c| {
            c.prepare_cached("SELECT below FROM saga_watermark")?
                .query_row([], |row| row.get::<_, Uuid>(0))
        });
        Ok(Watermark::from_id(SagaId(below.await?)))
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        if range.dry {
            return self.database.read(|c| count(c, range)).await;
        }
        let tx = self.database.begin().await?;
        let ids = batch(&tx, range).map_err(failure)?;
        let mut pruned = Pruned { next: Pruned::next(&ids, range), ..Pruned::default() };
        for (sql, rows) in [
            ("DELETE FROM saga_history WHERE saga_id = ?1", &mut pruned.history),
            ("DELETE FROM idempotency_keys WHERE saga_id = ?1", &mut pruned.keys),
            ("DELETE FROM sagas WHERE id = ?1", &mut pruned.sagas),
        ] {
            let mut delete = tx.statement(sql)?;
            for id in &ids {
                *rows += delete.execute([id.0]).map_err(failure)? as u64;
            }
        }
        if pruned.next.is_none() {
            let old = handled(&tx, range).map_err(failure)?;
            for id in &old {
                for sql in [
                    "DELETE FROM quarantine_history WHERE message_id = ?1",
                    "DELETE FROM quarantine WHERE id = ?1",
                ] {
                    tx.statement(sql)?.execute([id]).map_err(failure)?;
                }
            }
            pruned.quarantined = old.len() as u64;
        }
        tx.commit()?;
        Ok(pruned)
    }
}

fn batch(connection: &Connection, range: &Range) -> rusqlite::Result<Vec<SagaId>> {
    let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
    let mut batch = connection.prepare_cached(BATCH)?;
    let ids = batch.query_map(params![range.from.0, range.below.id().0, limit], |row| {
        row.get(0).map(SagaId)
    })?;
    ids.collect()
}

/// Returns the messages that an operator has handled and whose sagas are deleted: they can go too.
fn handled(connection: &Connection, range: &Range) -> rusqlite::Result<Vec<String>> {
    let mut handled = connection.prepare_cached(
        "SELECT id FROM quarantine
         WHERE settled_at < ?1 AND ?2 <= (SELECT below FROM saga_watermark)",
    )?;
    let below = params![micros(range.below.instant()), range.below.id().0];
    let ids = handled.query_map(below, |row| row.get(0))?;
    ids.collect()
}

fn count(connection: &Connection, range: &Range) -> rusqlite::Result<Pruned> {
    let ids = batch(connection, range)?;
    let mut pruned =
        Pruned { sagas: ids.len() as u64, next: Pruned::next(&ids, range), ..Pruned::default() };
    for (sql, rows) in [
        ("SELECT count(*) FROM saga_history WHERE saga_id = ?1", &mut pruned.history),
        ("SELECT count(*) FROM idempotency_keys WHERE saga_id = ?1", &mut pruned.keys),
    ] {
        let mut count = connection.prepare_cached(sql)?;
        for id in &ids {
            *rows += natural(count.query_row([id.0], |row| row.get(0))?);
        }
    }
    if pruned.next.is_none() {
        pruned.quarantined = handled(connection, range)?.len() as u64;
    }
    Ok(pruned)
}
