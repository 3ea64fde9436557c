//! The watermark, and the deletion of sagas below it.
//!
//! Sagas are deleted by ranges of the primary key in small transactions, not by dropping
//! partitions. A turn finds its rows by saga id alone. With partitions by time, each statement of
//! the hot path would take longer to plan, and would search one index for each partition.

use saga_core::{Failure, SagaId, Watermark, clocks_agree};
use saga_engine::{Horizon, Pruned, Range, Retention};
use saga_postgres::{commit, failure};
use uuid::Uuid;

use super::{
    SagaTable,
    row::{datetime, timestamp},
};
use crate::row::natural;

impl Retention for SagaTable {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        // The ids are cast to text. Otherwise Postgres would look for the minimum in the primary
        // key, and so walk through all ended sagas. The indexes that it uses instead are both
        // partial.
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", min(id::text COLLATE "C")::uuid AS oldest
               FROM (SELECT id FROM sagas WHERE wake_at IS NOT NULL
                     UNION ALL
                     SELECT id FROM sagas WHERE wake_at IS NULL AND ended_at IS NULL) unfinished"#
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        let (now, oldest) = (timestamp(row.now), row.oldest.map(SagaId));
        // A watermark never goes back. If the database's clock is days ahead, the watermark would
        // cover all sagas of the next days.
        let here = timestamp(chrono::Utc::now());
        let reach = match clocks_agree(now, here) {
            true => Watermark::reach(now, oldest, retention_millis),
            false => Watermark::NONE,
        };
        let below = sqlx::query_scalar!(
            "UPDATE saga_watermark SET below = GREATEST(below, $1) RETURNING below",
            reach.id().0,
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        commit(tx).await?;
        Ok(Horizon { watermark: Watermark::from_id(SagaId(below)), now, oldest })
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        let below = sqlx::query_scalar!("SELECT below FROM saga_watermark")
            .fetch_one(&self.pool)
            .await
            .map_err(failure)?;
        Ok(Watermark::from_id(SagaId(below)))
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        if range.dry { self.count(range).await } else { self.delete(range).await }
    }
}

impl SagaTable {
    async fn delete(&self, range: &Range) -> Result<Pruned, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let ids = sqlx::query_scalar!(
            "SELECT id FROM sagas
             WHERE id >= $1 AND id < $2 AND id < (SELECT below FROM saga_watermark)
               AND ended_at IS NOT NULL
             ORDER BY id
             LIMIT $3
             FOR UPDATE SKIP LOCKED",
            range.from.0,
            range.below.id().0,
            limit(range),
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let history = sqlx::query!("DELETE FROM saga_history WHERE saga_id = ANY($1)", &ids)
            .execute(&mut *tx)
            .await
            .map_err(failure)?
            .rows_affected();
        let keys = sqlx::query!("DELETE FROM idempotency_keys WHERE saga_id = ANY($1)", &ids)
            .execute(&mut *tx)
            .await
            .map_err(failure)?
            .rows_affected();
        let sagas = sqlx::query!("DELETE FROM sagas WHERE id = ANY($1)", &ids)
            .execute(&mut *tx)
            .await
            .map_err(failure)?
            .rows_affected();
        let next = next(ids, range);
        // Messages that an operator has handled are deleted once the sagas of their time are
        // deleted.
        let mut quarantined = 0;
        if next.is_none() {
            quarantined = sqlx::query!(
                "WITH old AS (
                     DELETE FROM quarantine
                     WHERE settled_at < $1 AND $2 <= (SELECT below FROM saga_watermark)
                     RETURNING id
                 ), told AS (
                     DELETE FROM quarantine_history h USING old WHERE h.message_id = old.id
                 )
                 SELECT id FROM old",
                datetime(range.below.instant()),
                range.below.id().0,
            )
            .fetch_all(&mut *tx)
            .await
            .map_err(failure)?
            .len() as u64;
        }
        commit(tx).await?;
        Ok(Pruned { sagas, history, keys, quarantined, next })
    }

    async fn count(&self, range: &Range) -> Result<Pruned, Failure> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM sagas
             WHERE id >= $1 AND id < $2 AND id < (SELECT below FROM saga_watermark)
               AND ended_at IS NOT NULL
             ORDER BY id
             LIMIT $3",
            range.from.0,
            range.below.id().0,
            limit(range),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        let counts = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM saga_history WHERE saga_id = ANY($1)) AS "history!",
                      (SELECT count(*) FROM idempotency_keys WHERE saga_id = ANY($1)) AS "keys!""#,
            &ids,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failure)?;
        let (sagas, next) = (ids.len() as u64, next(ids, range));
        let mut quarantined = 0;
        if next.is_none() {
            let count = sqlx::query_scalar!(
                r#"SELECT count(*) AS "count!" FROM quarantine
                   WHERE settled_at < $1 AND $2 <= (SELECT below FROM saga_watermark)"#,
                datetime(range.below.instant()),
                range.below.id().0,
            )
            .fetch_one(&self.pool)
            .await
            .map_err(failure)?;
            quarantined = natural(count);
        }
        let (history, keys) = (natural(counts.history), natural(counts.keys));
        Ok(Pruned { sagas, history, keys, quarantined, next })
    }
}

fn limit(range: &Range) -> i64 {
    i64::try_from(range.limit).unwrap_or(i64::MAX)
}

fn next(ids: Vec<Uuid>, range: &Range) -> Option<SagaId> {
    let batch: Vec<SagaId> = ids.into_iter().map(SagaId).collect();
    Pruned::next(&batch, range)
}
