//! The participants' store: the commands that were received, and the recorded answers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use saga_core::{Direction, Failure, Part, Record, SagaId, Timestamp, Watermark};
use saga_kit::{Entry, Key, Locked, Pruned, Recorded, Store};
use sqlx::{PgPool, Postgres, Transaction, migrate::Migrator};
use uuid::Uuid;

use crate::{commit, failure};

/// The inbox's migrations. A service's own migrations follow them, from version 100 on.
pub static INBOX: Migrator = sqlx::migrate!("./migrations/inbox");

/// A participant's store in Postgres. Its transactions are sqlx transactions, so that a handler can
/// write to the service's own tables in them.
#[derive(Clone, Debug)]
pub struct Inbox {
    pool: PgPool,
}

impl Inbox {
    /// Creates the store for a database that has the [`INBOX`] migrations.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl Store for Inbox {
    type Tx = Transaction<'static, Postgres>;

    const SYSTEM: &'static str = "postgresql";

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        self.pool.begin().await.map_err(failure)
    }

    async fn lock(&self, tx: &mut Self::Tx, keys: &[Key]) -> Result<Locked, Failure> {
        let sagas: Vec<Uuid> = keys.iter().map(|key| key.saga.0).collect();
        let steps: Vec<String> = keys.iter().map(|key| key.step.clone()).collect();
        // This insert finds duplicates. If another open transaction holds one of these rows, the
        // insert waits for that transaction; all transactions insert in the order of the keys.
        let inserted = sqlx::query!(
            r#"INSERT INTO inbox (saga_id, step)
               SELECT * FROM UNNEST($1::uuid[], $2::text[])
               ON CONFLICT DO NOTHING
               RETURNING now() AS "now!", (SELECT below FROM inbox_watermark) AS "below!""#,
            &sagas,
            &steps,
        )
        .fetch_all(&mut **tx)
        .await
        .map_err(failure)?;
        if let [first, ..] = &inserted[..]
            && inserted.len() == keys.len()
        {
            let records = vec![Record::default(); keys.len()];
            let (now, watermark) = (timestamp(first.now), mark(first.below));
            return Ok(Locked { now, watermark, records });
        }
        let rows = sqlx::query!(
            r#"SELECT saga_id, step, action_hash, action_answer, calls, compensation_hash,
                      compensation_answer, now() AS "now!",
                      (SELECT below FROM inbox_watermark) AS "below!"
               FROM inbox
               WHERE (saga_id, step) IN (SELECT * FROM UNNEST($1::uuid[], $2::text[]))
               ORDER BY saga_id, step
               FOR UPDATE"#,
            &sagas,
            &steps,
        )
        .fetch_all(&mut **tx)
        .await
        .map_err(failure)?;
        let mut standing = None;
        let mut records = Vec::with_capacity(keys.len());
        let mut rows = rows.into_iter();
        for key in keys {
            let row =
                rows.next().filter(|row| SagaId(row.saga_id) == key.saga && row.step == key.step);
            let row = row.ok_or_else(|| Failure::Conflict("an inbox row was pruned".to_owned()))?;
            standing = Some((timestamp(row.now), mark(row.below)));
            records.push(Record {
                action: part(row.action_hash, row.action_answer, row.calls)?,
                compensation: part(row.compensation_hash, row.compensation_answer, 0)?,
            });
        }
        let nothing = || Failure::Permanent("no keys to lock".to_owned());
        let (now, watermark) = standing.ok_or_else(nothing)?;
        Ok(Locked { now, watermark, records })
    }

    async fn record(&self, tx: &mut Self::Tx, entries: &[Entry]) -> Result<(), Failure> {
        let mut sagas = Vec::with_capacity(entries.len());
        let mut steps = Vec::with_capacity(entries.len());
        let mut compensations = Vec::with_capacity(entries.len());
        let mut hashes = Vec::with_capacity(entries.len());
        let mut answers = Vec::with_capacity(entries.len());
        let mut calls = Vec::with_capacity(entries.len());
        for entry in entries {
            sagas.push(entry.key.saga.0);
            steps.push(entry.key.step.clone());
            compensations.push(entry.direction == Direction::Compensation);
            hashes.push(entry.hash.clone());
            calls.push(i32::try_from(entry.calls).unwrap_or(i32::MAX));
            let answer = entry.answer.as_ref().map(serde_json::to_string).transpose();
            answers.push(answer.map_err(|error| Failure::Permanent(error.to_string()))?);
        }
        sqlx::query!(
            r#"UPDATE inbox SET
                   action_hash = CASE WHEN u.compensation THEN inbox.action_hash ELSE u.hash END,
                   action_answer = CASE WHEN u.compensation THEN inbox.action_answer ELSE u.answer END,
                   calls = CASE WHEN u.compensation THEN inbox.calls ELSE u.calls END,
                   compensation_hash = CASE WHEN u.compensation THEN u.hash ELSE inbox.compensation_hash END,
                   compensation_answer = CASE WHEN u.compensation THEN u.answer ELSE inbox.compensation_answer END
               FROM UNNEST($1::uuid[], $2::text[], $3::bool[], $4::bytea[], $5::text[], $6::int[])
                   AS u (saga_id, step, compensation, hash, answer, calls)
               WHERE inbox.saga_id = u.saga_id AND inbox.step = u.step"#,
            &sagas,
            &steps,
            &compensations,
            &hashes,
            &answers as &[Option<String>],
            &calls,
        )
        .execute(&mut **tx)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn raise(&self, watermark: Watermark, age: Duration) -> Result<Watermark, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let row = sqlx::query!(r#"SELECT below, now() AS "now!" FROM inbox_watermark FOR UPDATE"#)
            .fetch_one(&mut *tx)
            .await
            .map_err(failure)?;
        let known = mark(row.below);
        if watermark <= known || watermark.instant() > timestamp(row.now).minus(age) {
            return Ok(known);
        }
        sqlx::query!("UPDATE inbox_watermark SET below = $1", watermark.id().0)
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
        commit(tx).await?;
        Ok(watermark)
    }

    async fn prune(&self, from: SagaId, below: Watermark, limit: usize) -> Result<Pruned, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let rows = sqlx::query!(
            "SELECT saga_id, step FROM inbox
             WHERE saga_id >= $1 AND saga_id < $2
               AND saga_id < (SELECT below FROM inbox_watermark)
             ORDER BY saga_id, step
             LIMIT $3
             FOR UPDATE SKIP LOCKED",
            from.0,
            below.id().0,
            i64::try_from(limit).unwrap_or(i64::MAX),
        )
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let last = rows.last().filter(|_| rows.len() >= limit).map(|row| SagaId(row.saga_id));
        let (sagas, steps): (Vec<Uuid>, Vec<String>) =
            rows.into_iter().map(|row| (row.saga_id, row.step)).unzip();
        let deleted = sqlx::query!(
            "DELETE FROM inbox
             WHERE (saga_id, step) IN (SELECT * FROM UNNEST($1::uuid[], $2::text[]))",
            &sagas,
            &steps,
        )
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        commit(tx).await?;
        Ok(Pruned { rows: deleted.rows_affected(), next: last })
    }

    /// This is longer than the time limit of a statement (`pool.rs`).
    const SETTLING: Duration = Duration::from_secs(15);

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        commit(tx).await
    }
}

fn mark(below: Uuid) -> Watermark {
    Watermark::from_id(SagaId(below))
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp(at.timestamp_micros())
}

fn part(
    hash: Option<Vec<u8>>,
    answer: Option<String>,
    calls: i32,
) -> Result<Option<Part<Recorded>>, Failure> {
    let Some(hash) = hash else { return Ok(None) };
    let answer = answer.map(|json| serde_json::from_str(&json)).transpose().map_err(|error| {
        Failure::Permanent(format!("a recorded answer does not decode: {error}"))
    })?;
    // A value that cannot be a count becomes the largest one, because a call may have been sent.
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    Ok(Some(Part { hash, answer, calls }))
}
