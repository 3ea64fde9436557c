//! Reads of committed state.

use saga_core::{Failure, HistoryEntry, Instance, SagaId, State};
use saga_engine::{Census, Headcount, ListFilter, QuarantineFilter, Quarantined, SagaReads};
use saga_postgres::failure;
use saga_trace::trace_id;
use tracing::error;
use uuid::Uuid;

use super::{
    SagaTable,
    row::{SagaRow, timestamp},
};
use crate::row::{self, bigint, natural};

/// Least number of rows in a page, in case the filter picks only a few of them.
const LEAST_PAGE: usize = 256;

impl SagaReads for SagaTable {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas WHERE id = ANY($1)"#,
            &ids,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        row::sound(rows.into_iter().map(|row| {
            let (id, traceparent) = (SagaId(row.id), row.traceparent.clone());
            (id, traceparent, row.into_instance())
        }))
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query!(
            r#"SELECT id, version, state IN (3, 4) AS "ended!" FROM sagas WHERE id = ANY($1)"#,
            &ids,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        Ok(rows.into_iter().map(|r| (SagaId(r.id), natural(r.version), r.ended)).collect())
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        let rows = sqlx::query!(
            "SELECT version, at, state, entry FROM saga_history
             WHERE saga_id = $1 AND version > $2 ORDER BY version",
            id.0,
            bigint(after),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        rows.into_iter()
            .map(|r| row::history(r.version, timestamp(r.at), r.state, &r.entry))
            .collect()
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        let mut sagas = Vec::new();
        let mut before = filter.before;
        // One query is enough, unless some of its rows do not decode or are not picked.
        while sagas.len() < filter.limit {
            let missing = (filter.limit - sagas.len()).max(LEAST_PAGE);
            let rows = if filter.is_of_unfinished() {
                self.unfinished(filter, before, missing).await?
            } else if filter.is_of_undone() {
                self.undone(filter, before, missing).await?
            } else {
                self.page(filter, before, missing).await?
            };
            let last_page = rows.len() < missing;
            for row in rows {
                let (id, traceparent) = (SagaId(row.id), row.traceparent.clone());
                before = Some(id);
                match row.into_instance() {
                    Ok(saga) if filter.picks(&saga) && sagas.len() < filter.limit => {
                        sagas.push(saga);
                    }
                    Ok(_) => {}
                    Err(why) => {
                        let trace_id = trace_id(traceparent.as_deref());
                        error!(saga = %id, trace_id, %why, "the saga is left out of a list");
                    }
                }
            }
            if last_page {
                break;
            }
        }
        Ok(sagas)
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        let floor = self.floor.get(&self.pool).await?;
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM sagas
               WHERE (wake_at >= $1 OR (wake_at IS NULL AND ended_at IS NULL)) AND state <> 5"#,
            floor
        )
        .fetch_one(&self.pool)
        .await
        .map_err(failure)?;
        Ok(natural(count))
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.messages(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        let floor = self.floor.get(&self.pool).await?;
        // Both indexes are partial, so ended sagas add no work to this query.
        let rows = sqlx::query!(
            r#"SELECT definition, definition_version, state, wake_at IS NULL AS "paused!",
                      count(*) AS "count!",
                      (max(abs(extract(epoch FROM now() - started_at))) * 1000)::bigint
                          AS "oldest!"
               FROM sagas WHERE wake_at >= $1 OR (wake_at IS NULL AND ended_at IS NULL)
               GROUP BY definition, definition_version, state, wake_at IS NULL"#,
            floor
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        let quarantined =
            sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM quarantine WHERE state = 1"#)
                .fetch_one(&self.pool)
                .await
                .map_err(failure)?;
        let unfinished = rows.into_iter().filter_map(|row| {
            Some(Headcount {
                state: State::from_code(row.state)?,
                count: natural(row.count),
                oldest_millis: natural(row.oldest),
                definition: row.definition,
                definition_version: natural(row.definition_version.into()) as u32,
                paused: row.paused,
            })
        });
        Ok(Census { unfinished: unfinished.collect(), quarantined: natural(quarantined) })
    }
}

impl SagaTable {
    async fn page(
        &self,
        filter: &ListFilter,
        before: Option<SagaId>,
        limit: usize,
    ) -> Result<Vec<SagaRow>, Failure> {
        sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas
               WHERE ($1::smallint IS NULL OR state = $1)
                 AND ($2::text IS NULL OR definition = $2)
                 AND ($3::uuid IS NULL OR id < $3)
                 AND ($5::bigint IS NULL OR started_at <= now() - $5 * interval '1 millisecond')
               ORDER BY id DESC
               LIMIT $4"#,
            filter.state.map(saga_core::State::code),
            filter.definition,
            before.map(|id| id.0),
            i64::try_from(limit).unwrap_or(i64::MAX),
            filter.older_than_millis.map(bigint),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)
    }

    /// Reads a page as `page` does, using the partial indexes of sagas that have not ended.
    async fn unfinished(
        &self,
        filter: &ListFilter,
        before: Option<SagaId>,
        limit: usize,
    ) -> Result<Vec<SagaRow>, Failure> {
        sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas
               WHERE (wake_at IS NOT NULL OR (wake_at IS NULL AND ended_at IS NULL))
                 AND ($1::smallint IS NULL OR state = $1)
                 AND ($2::text IS NULL OR definition = $2)
                 AND ($3::uuid IS NULL OR id < $3)
                 AND ($5::bigint IS NULL OR started_at <= now() - $5 * interval '1 millisecond')
               ORDER BY id DESC
               LIMIT $4"#,
            filter.state.map(saga_core::State::code),
            filter.definition,
            before.map(|id| id.0),
            i64::try_from(limit).unwrap_or(i64::MAX),
            filter.older_than_millis.map(bigint),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)
    }

    /// Reads a page as `page` does, using the partial index of sagas that are being undone, were
    /// undone, or are stuck.
    async fn undone(
        &self,
        filter: &ListFilter,
        before: Option<SagaId>,
        limit: usize,
    ) -> Result<Vec<SagaRow>, Failure> {
        sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas
               WHERE state IN (2, 4, 5)
                 AND ($1::smallint IS NULL OR state = $1)
                 AND ($2::text IS NULL OR definition = $2)
                 AND ($3::uuid IS NULL OR id < $3)
                 AND ($5::bigint IS NULL OR started_at <= now() - $5 * interval '1 millisecond')
               ORDER BY id DESC
               LIMIT $4"#,
            filter.state.map(saga_core::State::code),
            filter.definition,
            before.map(|id| id.0),
            i64::try_from(limit).unwrap_or(i64::MAX),
            filter.older_than_millis.map(bigint),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)
    }
}
