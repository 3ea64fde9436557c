//! The transactions that write: admission, turns, claims, quarantine.

use rusqlite::{OptionalExtension as _, Row, params};
use saga_core::{Failure, Instance, SagaId, Timestamp, limits::AHEAD_MILLIS};
use saga_engine::{
    Admission, Handled, IdempotencyKey, Inspected, NewQuarantined, SagaStore, Write,
};
use saga_sqlite::{Transaction, failure};
use saga_trace::trace_id;
use tracing::error;
use uuid::Uuid;

use super::{
    SagaTable,
    row::{BY_ID, in_order, micros, read},
};
use crate::row::{self, FORMAT, PUT_OFF_MILLIS, bigint, integer};

impl SagaStore for SagaTable {
    const SYSTEM: &'static str = "sqlite";

    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        let tx = self.database.begin().await?;
        let admissions = bind_keys(&tx, keys)?;
        let is_new = |index: &usize| admissions[*index] == Admission::New;
        let new: Vec<usize> = (0..keys.len()).filter(is_new).collect();
        let mut decided = None;
        if !new.is_empty() {
            let (writes, result) = decide(tx.now(), &new);
            insert(&tx, &writes)?;
            decided = Some(result);
        }
        tx.commit()?;
        Ok((admissions, decided))
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        let tx = self.database.begin().await?;
        keys.iter().map(|key| bound(&tx, key)).collect()
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let tx = self.database.begin().await?;
        let mut found = Found::default();
        for id in in_order(ids) {
            let mut by_id = tx.statement(BY_ID)?;
            let mut rows = by_id.query([id]).map_err(failure)?;
            if let Some(row) = rows.next().map_err(failure)? {
                found.add(id, row);
            }
        }
        decide_and_write(tx, found, decide)
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let tx = self.database.begin().await?;
        let found = due(&tx, definitions, limit)?;
        decide_and_write(tx, found, decide)
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        let tx = self.database.begin().await?;
        for message in messages {
            let mut upsert = tx.statement(
                "INSERT INTO quarantine (id, reason, from_queue, reply_to, body, first_seen, last_seen)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
                 ON CONFLICT (id) DO UPDATE
                 SET last_seen = excluded.last_seen, copies = copies + 1, reason = excluded.reason,
                     version = version + 1, state = 1, settled_at = NULL",
            )?;
            let NewQuarantined { id, reason, from, reply_to, body } = message;
            let values = params![id, reason, from, reply_to, body, micros(tx.now())];
            upsert.execute(values).map_err(failure)?;
        }
        tx.commit()
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

/// Binds the keys that are not bound yet, and looks up the others.
fn bind_keys(tx: &Transaction, keys: &[IdempotencyKey]) -> Result<Vec<Admission>, Failure> {
    let mut bind = tx.statement(
        "INSERT INTO idempotency_keys (caller, method, key, payload_hash, saga_id, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO NOTHING",
    )?;
    let mut admissions = Vec::with_capacity(keys.len());
    for asked in keys {
        let IdempotencyKey { caller, method, key, payload_hash, saga } = asked;
        let values = params![caller, method, key, payload_hash, saga.0, micros(tx.now())];
        if bind.execute(values).map_err(failure)? == 1 {
            admissions.push(Admission::New);
            continue;
        }
        let gone = || Failure::Conflict("a key was bound and is not".to_owned());
        admissions.push(bound(tx, asked)?.ok_or_else(gone)?);
    }
    Ok(admissions)
}

fn bound(tx: &Transaction, asked: &IdempotencyKey) -> Result<Option<Admission>, Failure> {
    let IdempotencyKey { caller, method, key, payload_hash, .. } = asked;
    let row: Option<(Vec<u8>, Uuid)> = tx
        .statement(
            "SELECT payload_hash, saga_id FROM idempotency_keys
             WHERE caller = ?1 AND method = ?2 AND key = ?3",
        )?
        .query_row(params![caller, method, key], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(failure)?;
    Ok(row.map(|(hash, saga)| {
        if hash == *payload_hash { Admission::Repeated(SagaId(saga)) } else { Admission::Conflict }
    }))
}

/// Returns the sagas of these definitions that are due, the most overdue first, and then those
/// whose `wake_at` was written by a clock that was ahead.
fn due(
    tx: &Transaction,
    definitions: &[(&'static str, u32)],
    limit: usize,
) -> Result<Found, Failure> {
    let hosted = serde_json::to_string(definitions).expect("names and numbers are JSON");
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut found = Found::default();
    let ahead = tx.now().plus_millis(AHEAD_MILLIS);
    // The second query reads the other end of the index.
    for (which, than, order) in
        [("wake_at <= ?1", tx.now(), "ASC"), ("wake_at > ?1", ahead, "DESC")]
    {
        let mut due = tx.statement(&format!(
            "SELECT id, format, definition, definition_version, caller, version, progress, data,
                    traceparent, started_at, deadline, wake_at
             FROM sagas
             WHERE {which}
               AND (definition, definition_version)
                   IN (SELECT value ->> 0, value ->> 1 FROM json_each(?2))
             ORDER BY wake_at {order}
             LIMIT ?3"
        ))?;
        let room = limit.saturating_sub(found.count());
        let mut rows = due.query(params![micros(than), hosted, room]).map_err(failure)?;
        while let Some(row) = rows.next().map_err(failure)? {
            found.add(row.get(0).map_err(failure)?, row);
        }
    }
    Ok(found)
}

/// The sagas that were read for a turn.
#[derive(Default)]
struct Found {
    sagas: Vec<Instance>,
    /// Ids of rows that do not decode.
    broken: Vec<Uuid>,
}

impl Found {
    fn count(&self) -> i64 {
        (self.sagas.len() + self.broken.len()) as i64
    }

    fn add(&mut self, id: Uuid, row: &Row<'_>) {
        let row = read(row).map_err(|error| row::broken(id, &error));
        let traceparent = row.as_ref().ok().and_then(|row| row.traceparent.clone());
        match row.and_then(row::SagaRow::into_instance) {
            Ok(saga) => self.sagas.push(saga),
            Err(why) => {
                let trace_id = trace_id(traceparent.as_deref());
                error!(saga = %id, trace_id, %why, "the saga is left alone");
                self.broken.push(id);
            }
        }
    }
}

/// Calls `decide` on rows, writes the writes that it returns, and commits.
fn decide_and_write<R>(
    tx: Transaction,
    found: Found,
    decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
) -> Result<R, Failure> {
    for id in &found.broken {
        // The row is put off, so that it does not hold up sagas that are due.
        let mut put_off = tx.statement(
            "UPDATE sagas SET wake_at = ?2 WHERE id = ?1 AND (wake_at <= ?3 OR wake_at > ?4)",
        )?;
        let now = tx.now();
        let [later, ahead] = [PUT_OFF_MILLIS, AHEAD_MILLIS].map(|m| micros(now.plus_millis(m)));
        put_off.execute(params![id, later, micros(now), ahead]).map_err(failure)?;
    }
    let (writes, result) = decide(tx.now(), found.sagas);
    update(&tx, &writes)?;
    tx.commit()?;
    Ok(result)
}

/// Inserts new rows with their first transitions.
fn insert(tx: &Transaction, writes: &[Write]) -> Result<(), Failure> {
    for Write { before: _, saga, history: _ } in writes {
        let mut insert = tx.statement(
            "INSERT INTO sagas (id, format, definition, definition_version, caller, state,
                 version, progress, data, traceparent, started_at, deadline, wake_at, ended_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?;
        let values = params![
            saga.id.0,
            FORMAT,
            saga.definition,
            integer(saga.definition_version),
            saga.caller,
            saga.phase.state().code(),
            bigint(saga.version),
            row::progress(saga)?,
            saga.data.get(),
            saga.traceparent,
            micros(saga.started_at),
            micros(saga.deadline),
            saga.wake_at.map(micros),
            saga.ended().map(|_| micros(tx.now())),
        ];
        insert.execute(values).map_err(failure)?;
    }
    tell(tx, writes)
}

/// Updates rows, checking every version, and inserts their transitions.
pub(super) fn update(tx: &Transaction, writes: &[Write]) -> Result<(), Failure> {
    for Write { before, saga, history: _ } in writes {
        let mut update = tx.statement(
            "UPDATE sagas SET state = ?3, version = ?4, progress = ?5, data = ?6, wake_at = ?7,
                 ended_at = ?8
             WHERE id = ?1 AND version = ?2",
        )?;
        let values = params![
            saga.id.0,
            bigint(*before),
            saga.phase.state().code(),
            bigint(saga.version),
            row::progress(saga)?,
            saga.data.get(),
            saga.wake_at.map(micros),
            saga.ended().map(|_| micros(tx.now())),
        ];
        if update.execute(values).map_err(failure)? != 1 {
            return Err(Failure::Conflict("another turn has moved a saga on".to_owned()));
        }
    }
    tell(tx, writes)
}

/// Inserts the transitions into the history.
fn tell(tx: &Transaction, writes: &[Write]) -> Result<(), Failure> {
    let mut insert = tx.statement(
        "INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for Write { before: _, saga, history } in writes {
        for transition in history {
            let values = params![
                saga.id.0,
                bigint(transition.version),
                saga.caller,
                micros(transition.at),
                transition.state.code(),
                row::entry(transition)?,
            ];
            insert.execute(values).map_err(failure)?;
        }
    }
    Ok(())
}
