//! Reads of committed state.

use rusqlite::{OptionalExtension as _, named_params, params};
use saga_core::{Failure, HistoryEntry, Instance, SagaId, State, Timestamp};
use saga_engine::{Census, Headcount, ListFilter, QuarantineFilter, Quarantined, SagaReads};
use saga_trace::trace_id;
use tracing::error;

use super::{
    SagaTable,
    row::{BY_ID, in_order, read},
};
use crate::row::{self, bigint, natural};

impl SagaReads for SagaTable {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        let ids = in_order(ids);
        let rows = self.database.read(|c| {
            let mut by_id = c.prepare_cached(BY_ID)?;
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                rows.extend(by_id.query_row([id], read).optional()?);
            }
            Ok(rows)
        });
        row::sound(rows.await?.into_iter().map(|row| {
            let (id, traceparent) = (SagaId(row.id), row.traceparent.clone());
            (id, traceparent, row.into_instance())
        }))
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        let ids = in_order(ids);
        let versions = self.database.read(|c| {
            let mut by_id =
                c.prepare_cached("SELECT version, state IN (3, 4) FROM sagas WHERE id = ?1")?;
            let mut versions = Vec::with_capacity(ids.len());
            for id in ids {
                let version = by_id
                    .query_row([id], |row| Ok((SagaId(id), natural(row.get(0)?), row.get(1)?)));
                versions.extend(version.optional()?);
            }
            Ok(versions)
        });
        versions.await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        let rows = self.database.read(|c| {
            c.prepare_cached(
                "SELECT version, at, state, entry FROM saga_history
                 WHERE saga_id = ?1 AND version > ?2 ORDER BY version",
            )?
            .query_map(params![id.0, bigint(after)], |row| {
                Ok((row.get(0)?, Timestamp(row.get(1)?), row.get(2)?, row.get::<_, String>(3)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
        });
        let rows = rows.await?.into_iter();
        rows.map(|(version, at, state, entry)| row::history(version, at, state, &entry)).collect()
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        let now = self.database.clock().now().0;
        let ago = |millis: u64| now.saturating_sub(bigint(millis).saturating_mul(1_000));
        let latest = filter.older_than_millis.map(ago);
        let sagas = self.database.read(|c| {
            // If the filter picks only sagas that have a reason, this uses their partial index.
            let undone = match filter.is_of_undone() {
                true => "state IN (2, 4, 5)",
                false => "TRUE",
            };
            let mut page = c.prepare_cached(&format!(
                "SELECT id, format, definition, definition_version, caller, version, progress,
                        data, traceparent, started_at, deadline, wake_at
                 FROM sagas
                 WHERE {undone}
                   AND (:state IS NULL OR state = :state)
                   AND (:definition IS NULL OR definition = :definition)
                   AND (:before IS NULL OR id < :before)
                   AND (:latest IS NULL OR started_at <= :latest)
                   AND (NOT :unfinished OR ended_at IS NULL)
                 ORDER BY id DESC"
            ))?;
            let mut rows = page.query(named_params! {
                ":state": filter.state.map(State::code),
                ":definition": filter.definition,
                ":before": filter.before.map(|id| id.0),
                ":latest": latest,
                ":unfinished": filter.is_of_unfinished(),
            })?;
            let mut sagas = Vec::new();
            while sagas.len() < filter.limit
                && let Some(row) = rows.next()?
            {
                let id: uuid::Uuid = row.get(0)?;
                let row = read(row).map_err(|error| row::broken(id, &error));
                let traceparent = row.as_ref().ok().and_then(|row| row.traceparent.clone());
                match row.and_then(row::SagaRow::into_instance) {
                    Ok(saga) if filter.picks(&saga) => sagas.push(saga),
                    Ok(_) => {}
                    Err(why) => {
                        let trace_id = trace_id(traceparent.as_deref());
                        error!(saga = %id, trace_id, %why, "the saga is left out of a list");
                    }
                }
            }
            Ok(sagas)
        });
        sagas.await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        let count = "SELECT (SELECT count(*) FROM sagas WHERE wake_at IS NOT NULL AND state <> 5)
                            + (SELECT count(*) FROM sagas
                               WHERE wake_at IS NULL AND ended_at IS NULL AND state <> 5)";
        let count =
            self.database.read(|c| c.prepare_cached(count)?.query_row([], |row| row.get(0)));
        Ok(natural(count.await?))
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.messages(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        let now = self.database.clock().now();
        let census = self.database.read(|c| {
            // Both indexes are partial, so ended sagas add no work to this query. With OR in a
            // single condition, SQLite would walk through the whole table.
            let mut counts = c.prepare_cached(
                "SELECT definition, state, count(*), max(abs(?1 - started_at)), definition_version,
                        paused
                 FROM (SELECT definition, definition_version, state, started_at, 0 AS paused
                       FROM sagas WHERE wake_at IS NOT NULL
                       UNION ALL
                       SELECT definition, definition_version, state, started_at, 1
                       FROM sagas WHERE wake_at IS NULL AND ended_at IS NULL)
                 GROUP BY definition, definition_version, state, paused",
            )?;
            let mut rows = counts.query([now.0])?;
            let mut unfinished = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(state) = State::from_code(row.get(1)?) else { continue };
                let oldest: i64 = row.get(3)?;
                unfinished.push(Headcount {
                    definition: row.get(0)?,
                    definition_version: row.get(4)?,
                    paused: row.get(5)?,
                    state,
                    count: natural(row.get(2)?),
                    oldest_millis: natural(oldest / 1_000),
                });
            }
            let quarantined = c
                .prepare_cached("SELECT count(*) FROM quarantine WHERE state = 1")?
                .query_row([], |row| row.get(0))?;
            Ok(Census { unfinished, quarantined: natural(quarantined) })
        });
        census.await
    }
}
