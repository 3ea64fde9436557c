//! Admission: keys, sagas and first transitions in one statement.

use saga_core::{Failure, SagaId, Timestamp};
use saga_engine::{Admission, IdempotencyKey, Write};
use saga_postgres::failure;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    row::{datetime, timestamp},
    update::Columns,
};
use crate::row::{FORMAT, integer};

/// Binds the keys that are not bound yet, and inserts their sagas with their first transitions. The
/// keys are sorted, so that all processes bind them in the same order. Returns the indexes of the
/// newly bound keys and, if there are any, the database's time.
pub(super) async fn admit(
    pool: &PgPool,
    keys: &[IdempotencyKey],
    writes: &[Write],
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
    let c = Columns::of(writes)?;
    let definitions: Vec<String> = writes.iter().map(|w| w.saga.definition.clone()).collect();
    let versions: Vec<i32> = writes.iter().map(|w| integer(w.saga.definition_version)).collect();
    let owners: Vec<String> = writes.iter().map(|w| w.saga.caller.clone()).collect();
    let traces: Vec<Option<String>> = writes.iter().map(|w| w.saga.traceparent.clone()).collect();
    let started: Vec<_> = writes.iter().map(|w| datetime(w.saga.started_at)).collect();
    let deadlines: Vec<_> = writes.iter().map(|w| datetime(w.saga.deadline)).collect();
    let bound = sqlx::query!(
        r#"WITH bound AS (
               INSERT INTO idempotency_keys (caller, method, key, payload_hash, saga_id)
               SELECT * FROM UNNEST($20::text[], $21::text[], $22::text[], $23::bytea[],
                   $24::uuid[])
               ON CONFLICT DO NOTHING
               RETURNING saga_id
           ), new AS (
               INSERT INTO sagas (id, format, definition, definition_version, caller, state,
                   version, progress, data, traceparent, started_at, deadline, wake_at, ended_at)
               SELECT u.id, $1, u.definition, u.definition_version, u.caller, u.state, u.version,
                   u.progress, u.data, u.traceparent, u.started_at, u.deadline, u.wake_at,
                   CASE WHEN u.state IN (3, 4) THEN now() END
               FROM bound JOIN UNNEST($2::uuid[], $3::text[], $4::integer[], $5::text[],
                   $6::smallint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
                   $11::timestamptz[], $12::timestamptz[], $13::timestamptz[])
                   AS u (id, definition, definition_version, caller, state, version, progress,
                         data, traceparent, started_at, deadline, wake_at)
                   ON u.id = bound.saga_id
           ), told AS (
               INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
               SELECT u.*
               FROM bound JOIN UNNEST($14::uuid[], $15::bigint[], $16::text[],
                   $17::timestamptz[], $18::smallint[], $19::text[])
                   AS u (id, version, caller, at, state, entry)
                   ON u.id = bound.saga_id
           )
           SELECT saga_id, now() AS "now!" FROM bound"#,
        FORMAT,
        &c.ids,
        &definitions,
        &versions,
        &owners,
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
        &callers,
        &methods,
        &names,
        &hashes,
        &sagas,
    )
    .fetch_all(pool)
    .await
    .map_err(failure)?;
    let now = bound.first().map(|row| timestamp(row.now));
    let new: std::collections::HashSet<Uuid> = bound.into_iter().map(|row| row.saga_id).collect();
    Ok((now, (0..keys.len()).filter(|i| new.contains(&keys[*i].saga.0)).collect()))
}

/// Looks up the keys that were bound before. This is a separate statement, so that it sees the
/// commits of the transactions that the insert has waited for.
pub(super) async fn known_keys(
    pool: &PgPool,
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
    .fetch_all(pool)
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
