//! The transactions that write: admission, turns, claims, quarantine.

use saga_core::{Failure, Instance, SagaId, Timestamp, limits::AHEAD_MILLIS};
use saga_engine::{
    Admission, Handled, IdempotencyKey, Inspected, NewQuarantined, SagaStore, Write,
};
use saga_postgres::{commit, failure};
use saga_trace::trace_id;
use sqlx::{PgExecutor, Postgres, Transaction};
use tracing::error;
use uuid::Uuid;

use super::{
    SagaTable,
    admit::{admit, known_keys},
    row::{SagaRow, timestamp},
    update::update,
};
use crate::row::{bigint, integer};

impl SagaStore for SagaTable {
    const SYSTEM: &'static str = "postgresql";

    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        if keys.is_empty() {
            return Ok((Vec::new(), None));
        }
        // Nearly always all keys are new. Then this is one statement.
        let now = match self.memory.now() {
            Some(now) => now,
            None => clock(&self.pool).await?,
        };
        let everyone: Vec<usize> = (0..keys.len()).collect();
        let (writes, result) = decide(now, &everyone);
        self.floor.lower(&writes);
        let (told, new) = self.memory.in_touch(admit(&self.pool, keys, &writes)).await?;
        if let Some(told) = told {
            self.memory.heard(told);
        }
        let mut admissions = vec![None; keys.len()];
        for index in &new {
            admissions[*index] = Some(Admission::New);
        }
        if new.len() == keys.len() {
            self.memory.committed(&writes);
            return Ok((admissions.into_iter().flatten().collect(), Some(result)));
        }
        known_keys(&self.pool, keys, &mut admissions).await?;
        let conflict = || Failure::Conflict("a key was taken and given up again".to_owned());
        let admissions: Option<Vec<Admission>> = admissions.into_iter().collect();
        let decided = (!new.is_empty()).then(|| decide(now, &new).1);
        Ok((admissions.ok_or_else(conflict)?, decided))
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        let mut admissions = vec![None; keys.len()];
        known_keys(&self.pool, keys, &mut admissions).await?;
        Ok(admissions)
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        if let Some(result) = self.memory.in_touch(self.turn_from_memory(ids, &decide)).await? {
            return Ok(result);
        }
        self.memory.in_touch(self.turn_from_rows(ids, decide)).await
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.memory.in_touch(self.claim_rows(definitions, limit, decide)).await
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        // All processes insert in the same order, so that two that insert the same messages do not
        // deadlock.
        let mut messages: Vec<&NewQuarantined> = messages.iter().collect();
        messages.sort_by_key(|message| &message.id);
        for message in messages {
            sqlx::query!(
                r#"INSERT INTO quarantine (id, reason, from_queue, reply_to, body)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (id) DO UPDATE
                   SET last_seen = now(), copies = quarantine.copies + 1, reason = EXCLUDED.reason,
                       version = quarantine.version + 1, state = 1, settled_at = NULL"#,
                message.id,
                message.reason,
                message.from,
                message.reply_to,
                message.body,
            )
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
        }
        commit(tx).await
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.handle_message(message, saga, decide).await
    }
}

impl SagaTable {
    /// Makes a turn over rows that are read and locked.
    async fn turn_from_rows<R>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Result<R, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows = sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas WHERE id = ANY($1) ORDER BY id FOR UPDATE"#,
            &ids,
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        self.decide_and_write(tx, rows, decide).await
    }

    /// Claims due rows, and lets `decide` decide on them.
    async fn claim_rows<R>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Result<R, Failure> {
        let floor = self.floor.get(&self.pool).await?;
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let names: Vec<String> = definitions.iter().map(|(name, _)| (*name).to_owned()).collect();
        let versions: Vec<i32> = definitions.iter().map(|(_, v)| integer(*v)).collect();
        let mut rows = sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas
               WHERE wake_at >= $4 AND wake_at <= now()
                 AND (definition, definition_version)
                     IN (SELECT * FROM UNNEST($1::text[], $2::integer[]))
               ORDER BY wake_at
               LIMIT $3
               FOR UPDATE SKIP LOCKED"#,
            &names,
            &versions,
            i64::try_from(limit).unwrap_or(i64::MAX),
            floor,
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        if rows.len() < limit {
            // Reads the other end of the index: sagas whose `wake_at` was written by a clock that
            // was ahead.
            let ahead = sqlx::query_as!(
                SagaRow,
                r#"SELECT id, format, definition, definition_version, caller, version, progress,
                          data, traceparent, started_at, deadline, wake_at, now() AS "now!"
                   FROM sagas
                   WHERE wake_at > now() + $4::bigint * interval '1 millisecond'
                     AND (definition, definition_version)
                         IN (SELECT * FROM UNNEST($1::text[], $2::integer[]))
                   ORDER BY wake_at DESC
                   LIMIT $3
                   FOR UPDATE SKIP LOCKED"#,
                &names,
                &versions,
                i64::try_from(limit - rows.len()).unwrap_or(i64::MAX),
                bigint(AHEAD_MILLIS),
            )
            .fetch_all(&mut *tx)
            .await
            .map_err(failure)?;
            rows.extend(ahead);
        }
        self.decide_and_write(tx, rows, decide).await
    }

    /// Makes a turn over remembered sagas with one statement, which checks every version. Returns
    /// `None` if the rows must be read instead.
    async fn turn_from_memory<R>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Result<Option<R>, Failure> {
        let Some(decided) = self.memory.decide(ids, decide) else { return Ok(None) };
        self.floor.lower(&decided.writes);
        let written = update(&self.pool, &decided.writes, Some(&decided.content)).await;
        self.memory.written(decided, written)
    }

    /// Calls `decide` on locked rows, writes the writes that it returns, and commits.
    async fn decide_and_write<R>(
        &self,
        mut tx: Transaction<'static, Postgres>,
        rows: Vec<SagaRow>,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Result<R, Failure> {
        let now = match rows.first() {
            Some(row) => timestamp(row.now),
            None => clock(&mut *tx).await?,
        };
        self.memory.heard(now);
        let (mut sagas, mut broken) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let (id, traceparent) = (row.id, row.traceparent.clone());
            match row.into_instance() {
                Ok(saga) => sagas.push(saga),
                Err(why) => {
                    let trace_id = trace_id(traceparent.as_deref());
                    error!(saga = %id, trace_id, %why, "the saga is left alone");
                    broken.push(id);
                }
            }
        }
        if !broken.is_empty() {
            put_off(&mut tx, &broken).await?;
        }
        let ids: Vec<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        self.memory.forget(&ids);
        let (writes, result) = decide(now, sagas);
        if !writes.is_empty() {
            self.floor.lower(&writes);
            update(&mut *tx, &writes, None).await?;
        }
        commit(tx).await?;
        self.memory.committed(&writes);
        Ok(result)
    }
}

/// Reads the database's time, in case no row was read that contains it.
async fn clock(executor: impl PgExecutor<'_>) -> Result<Timestamp, Failure> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(executor).await;
    now.map(timestamp).map_err(failure)
}

/// Puts off rows that do not decode, so that they do not hold up sagas that are due.
async fn put_off(tx: &mut Transaction<'static, Postgres>, ids: &[Uuid]) -> Result<(), Failure> {
    sqlx::query!(
        "UPDATE sagas SET wake_at = now() + interval '1 minute'
         WHERE id = ANY($1)
           AND (wake_at <= now() OR wake_at > now() + $2::bigint * interval '1 millisecond')",
        ids,
        bigint(AHEAD_MILLIS),
    )
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    Ok(())
}
