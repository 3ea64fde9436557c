//! Transactions that write: admission, turns, claims, quarantine.

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::{Admission, IdempotencyKey, NewQuarantined, SagaStore, Write};
use saga_postgres::{commit, failure};
use sqlx::{Postgres, Transaction};
use tracing::error;
use uuid::Uuid;

use super::{
    SagaTable,
    row::{SagaRow, datetime, timestamp},
};
use crate::row::{self, FORMAT, bigint, integer};

impl SagaStore for SagaTable {
    const SYSTEM: &'static str = "postgresql";

    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let (now, new) = bind_keys(&mut tx, keys).await?;
        let mut decided = None;
        if let Some(now) = now
            && !new.is_empty()
        {
            let (writes, result) = decide(now, &new);
            insert(&mut tx, &writes).await?;
            decided = Some(result);
        }
        let mut admissions = vec![None; keys.len()];
        for index in &new {
            admissions[*index] = Some(Admission::New);
        }
        if new.len() < keys.len() {
            known_keys(&mut tx, keys, &mut admissions).await?;
        }
        commit(tx).await?;
        let conflict = || Failure::Conflict("a key was taken and given up again".to_owned());
        let admissions: Option<Vec<Admission>> = admissions.into_iter().collect();
        Ok((admissions.ok_or_else(conflict)?, decided))
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
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
        decide_and_write(tx, rows, decide).await
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let names: Vec<String> = definitions.iter().map(|(name, _)| (*name).to_owned()).collect();
        let versions: Vec<i32> = definitions.iter().map(|(_, v)| integer(*v)).collect();
        let rows = sqlx::query_as!(
            SagaRow,
            r#"SELECT id, format, definition, definition_version, caller, version, progress,
                      data, traceparent, started_at, deadline, wake_at, now() AS "now!"
               FROM sagas
               WHERE wake_at <= now()
                 AND (definition, definition_version)
                     IN (SELECT * FROM UNNEST($1::text[], $2::integer[]))
               ORDER BY wake_at
               LIMIT $3
               FOR UPDATE SKIP LOCKED"#,
            &names,
            &versions,
            i64::try_from(limit).unwrap_or(i64::MAX),
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        decide_and_write(tx, rows, decide).await
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        // In one order for everybody: two who keep the same ones must not wait for
        // each other.
        let mut messages: Vec<&NewQuarantined> = messages.iter().collect();
        messages.sort_by_key(|message| &message.id);
        for message in messages {
            sqlx::query!(
                r#"INSERT INTO quarantine (id, reason, from_queue, reply_to, body)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (id) DO UPDATE
                   SET last_seen = now(), copies = quarantine.copies + 1, reason = EXCLUDED.reason"#,
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
}

/// Binds those keys that are not bound yet, in one order for everybody. Returns
/// their indexes and, if there are any, the database's clock.
async fn bind_keys(
    tx: &mut Transaction<'static, Postgres>,
    keys: &[IdempotencyKey],
) -> Result<(Option<Timestamp>, Vec<usize>), Failure> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| {
        let name = |i: &usize| (&keys[*i].caller, keys[*i].method, &keys[*i].key);
        name(a).cmp(&name(b))
    });
    let callers: Vec<String> = order.iter().map(|i| keys[*i].caller.clone()).collect();
    let methods: Vec<String> = order.iter().map(|i| keys[*i].method.to_owned()).collect();
    let names: Vec<String> = order.iter().map(|i| keys[*i].key.clone()).collect();
    let hashes: Vec<Vec<u8>> = order.iter().map(|i| keys[*i].payload_hash.clone()).collect();
    let sagas: Vec<Uuid> = order.iter().map(|i| keys[*i].saga.0).collect();
    let bound = sqlx::query!(
        r#"INSERT INTO idempotency_keys (caller, method, key, payload_hash, saga_id)
           SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[])
           ON CONFLICT DO NOTHING
           RETURNING saga_id, now() AS "now!""#,
        &callers,
        &methods,
        &names,
        &hashes,
        &sagas,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(failure)?;
    let now = bound.first().map(|row| timestamp(row.now));
    let new: std::collections::HashSet<Uuid> = bound.into_iter().map(|row| row.saga_id).collect();
    Ok((now, (0..keys.len()).filter(|i| new.contains(&keys[*i].saga.0)).collect()))
}

/// Answers those keys that were bound before. A statement of its own: it sees
/// what the insert has waited for.
async fn known_keys(
    tx: &mut Transaction<'static, Postgres>,
    keys: &[IdempotencyKey],
    admissions: &mut [Option<Admission>],
) -> Result<(), Failure> {
    let asked: Vec<usize> = (0..keys.len()).filter(|i| admissions[*i].is_none()).collect();
    let callers: Vec<String> = asked.iter().map(|i| keys[*i].caller.clone()).collect();
    let methods: Vec<String> = asked.iter().map(|i| keys[*i].method.to_owned()).collect();
    let names: Vec<String> = asked.iter().map(|i| keys[*i].key.clone()).collect();
    let known = sqlx::query!(
        r#"SELECT k.caller, k.method, k.key, k.payload_hash, k.saga_id
           FROM idempotency_keys k
           WHERE (k.caller, k.method, k.key)
                 IN (SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[]))"#,
        &callers,
        &methods,
        &names,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(failure)?;
    for index in asked {
        let asked = &keys[index];
        let row = known.iter().find(|row| {
            row.caller == asked.caller && row.method == asked.method && row.key == asked.key
        });
        admissions[index] = row.map(|row| {
            if row.payload_hash == asked.payload_hash {
                Admission::Repeated(SagaId(row.saga_id))
            } else {
                Admission::Conflict
            }
        });
    }
    Ok(())
}

/// Has locked rows decided, writes, commits.
async fn decide_and_write<R>(
    mut tx: Transaction<'static, Postgres>,
    rows: Vec<SagaRow>,
    decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
) -> Result<R, Failure> {
    let now = match rows.first() {
        Some(row) => timestamp(row.now),
        None => clock(&mut tx).await?,
    };
    let (mut sagas, mut broken) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let id = row.id;
        match row.into_instance() {
            Ok(saga) => sagas.push(saga),
            Err(why) => {
                error!(saga = %id, %why, "the saga is left alone");
                broken.push(id);
            }
        }
    }
    if !broken.is_empty() {
        put_off(&mut tx, &broken).await?;
    }
    let (writes, result) = decide(now, sagas);
    if !writes.is_empty() {
        update(&mut tx, &writes).await?;
    }
    commit(tx).await?;
    Ok(result)
}

/// The database's clock, where no row has brought it along.
async fn clock(tx: &mut Transaction<'static, Postgres>) -> Result<Timestamp, Failure> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(&mut **tx).await;
    now.map(timestamp).map_err(failure)
}

/// Puts off rows that do not decode, so that they hold up nobody who is due.
async fn put_off(tx: &mut Transaction<'static, Postgres>, ids: &[Uuid]) -> Result<(), Failure> {
    sqlx::query!(
        "UPDATE sagas SET wake_at = now() + interval '1 minute'
         WHERE id = ANY($1) AND wake_at <= now()",
        ids,
    )
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Columns of a set of writes, one array each.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    before: Vec<i64>,
    states: Vec<i16>,
    versions: Vec<i64>,
    progress: Vec<String>,
    data: Vec<String>,
    wake_at: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    ended: Vec<bool>,
    history: HistoryColumns,
}

#[derive(Default)]
struct HistoryColumns {
    ids: Vec<Uuid>,
    versions: Vec<i64>,
    callers: Vec<String>,
    at: Vec<chrono::DateTime<chrono::Utc>>,
    states: Vec<i16>,
    entries: Vec<String>,
}

impl Columns {
    fn of(writes: &[Write]) -> Result<Self, Failure> {
        let mut columns = Self::default();
        for Write { before, saga, history } in writes {
            columns.ids.push(saga.id.0);
            columns.before.push(bigint(*before));
            columns.states.push(saga.phase.state().code());
            columns.versions.push(bigint(saga.version));
            columns.progress.push(row::progress(saga)?);
            columns.data.push(saga.data.get().to_owned());
            columns.wake_at.push(saga.wake_at.map(datetime));
            columns.ended.push(saga.ended().is_some());
            for transition in history {
                columns.history.ids.push(saga.id.0);
                columns.history.versions.push(bigint(transition.version));
                columns.history.callers.push(saga.caller.clone());
                columns.history.at.push(datetime(transition.at));
                columns.history.states.push(transition.state.code());
                columns.history.entries.push(row::entry(transition)?);
            }
        }
        Ok(columns)
    }
}

/// New rows with their first transitions, in one statement.
async fn insert(tx: &mut Transaction<'static, Postgres>, writes: &[Write]) -> Result<(), Failure> {
    let c = Columns::of(writes)?;
    let definitions: Vec<String> = writes.iter().map(|w| w.saga.definition.clone()).collect();
    let versions: Vec<i32> = writes.iter().map(|w| integer(w.saga.definition_version)).collect();
    let callers: Vec<String> = writes.iter().map(|w| w.saga.caller.clone()).collect();
    let traces: Vec<Option<String>> = writes.iter().map(|w| w.saga.traceparent.clone()).collect();
    let started: Vec<_> = writes.iter().map(|w| datetime(w.saga.started_at)).collect();
    let deadlines: Vec<_> = writes.iter().map(|w| datetime(w.saga.deadline)).collect();
    sqlx::query!(
        r#"WITH new AS (
               INSERT INTO sagas (id, format, definition, definition_version, caller, state,
                   version, progress, data, traceparent, started_at, deadline, wake_at)
               SELECT u.id, $1, u.definition, u.definition_version, u.caller, u.state, u.version,
                   u.progress, u.data, u.traceparent, u.started_at, u.deadline, u.wake_at
               FROM UNNEST($2::uuid[], $3::text[], $4::integer[], $5::text[], $6::smallint[],
                   $7::bigint[], $8::text[], $9::text[], $10::text[], $11::timestamptz[],
                   $12::timestamptz[], $13::timestamptz[])
                   AS u (id, definition, definition_version, caller, state, version, progress,
                         data, traceparent, started_at, deadline, wake_at)
           )
           INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
           SELECT * FROM UNNEST($14::uuid[], $15::bigint[], $16::text[], $17::timestamptz[],
               $18::smallint[], $19::text[])"#,
        FORMAT,
        &c.ids,
        &definitions,
        &versions,
        &callers,
        &c.states,
        &c.versions,
        &c.progress,
        &c.data,
        &traces as &[Option<String>],
        &started,
        &deadlines,
        &c.wake_at as &[Option<chrono::DateTime<chrono::Utc>>],
        &c.history.ids,
        &c.history.versions,
        &c.history.callers,
        &c.history.at,
        &c.history.states,
        &c.history.entries,
    )
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    Ok(())
}

/// Rows and their transitions, in one statement that checks every version.
async fn update(tx: &mut Transaction<'static, Postgres>, writes: &[Write]) -> Result<(), Failure> {
    let c = Columns::of(writes)?;
    let written = sqlx::query_scalar!(
        r#"WITH changed AS (
               UPDATE sagas SET
                   state = u.state,
                   version = u.version,
                   progress = u.progress,
                   data = u.data,
                   wake_at = u.wake_at,
                   ended_at = CASE WHEN u.ended THEN now() END
               FROM UNNEST($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[],
                   $6::text[], $7::timestamptz[], $8::bool[])
                   AS u (id, before, state, version, progress, data, wake_at, ended)
               WHERE sagas.id = u.id AND sagas.version = u.before
               RETURNING sagas.id
           ), told AS (
               INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
               SELECT * FROM UNNEST($9::uuid[], $10::bigint[], $11::text[], $12::timestamptz[],
                   $13::smallint[], $14::text[])
           )
           SELECT count(*) AS "count!" FROM changed"#,
        &c.ids,
        &c.before,
        &c.states,
        &c.versions,
        &c.progress,
        &c.data,
        &c.wake_at as &[Option<chrono::DateTime<chrono::Utc>>],
        &c.ended,
        &c.history.ids,
        &c.history.versions,
        &c.history.callers,
        &c.history.at,
        &c.history.states,
        &c.history.entries,
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(failure)?;
    if written == i64::try_from(writes.len()).unwrap_or(i64::MAX) {
        Ok(())
    } else {
        Err(Failure::Conflict("another turn has moved a saga on".to_owned()))
    }
}
