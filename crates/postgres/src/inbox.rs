//! The participants' store: which commands were seen, and what was answered.

use chrono::{DateTime, Utc};
use saga_core::{Direction, Failure, Part, Record, SagaId, Timestamp};
use saga_kit::{Entry, Key, Locked, Recorded, Store};
use sqlx::{PgPool, Postgres, Transaction, migrate::Migrator};
use uuid::Uuid;

use crate::{commit, failure};

/// The inbox's migrations; a service's own follow them, from version 100.
pub static INBOX: Migrator = sqlx::migrate!("./migrations/inbox");

/// A participant's store over Postgres. Its transaction is sqlx's own, so that a
/// service's tables take part in it.
#[derive(Clone, Debug)]
pub struct Inbox {
    pool: PgPool,
}

impl Inbox {
    /// Over a database that has the [`INBOX`] migrations.
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
        // The insert is the deduplication: whoever else has one of these rows in
        // an open transaction is waited for here, in the keys' order.
        let inserted = sqlx::query!(
            r#"INSERT INTO inbox (saga_id, step)
               SELECT * FROM UNNEST($1::uuid[], $2::text[])
               ON CONFLICT DO NOTHING
               RETURNING now() AS "now!""#,
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
            return Ok(Locked { now: timestamp(first.now), records });
        }
        let rows = sqlx::query!(
            r#"SELECT saga_id, step, action_hash, action_answer, compensation_hash,
                      compensation_answer, now() AS "now!"
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
        let mut now = None;
        let mut records = Vec::with_capacity(keys.len());
        let mut rows = rows.into_iter();
        for key in keys {
            let row =
                rows.next().filter(|row| SagaId(row.saga_id) == key.saga && row.step == key.step);
            let row = row.ok_or_else(|| Failure::Conflict("an inbox row was pruned".to_owned()))?;
            now = Some(timestamp(row.now));
            records.push(Record {
                action: part(row.action_hash, row.action_answer)?,
                compensation: part(row.compensation_hash, row.compensation_answer)?,
            });
        }
        let now = now.ok_or_else(|| Failure::Permanent("no keys to lock".to_owned()))?;
        Ok(Locked { now, records })
    }

    async fn record(&self, tx: &mut Self::Tx, entries: &[Entry]) -> Result<(), Failure> {
        let mut sagas = Vec::with_capacity(entries.len());
        let mut steps = Vec::with_capacity(entries.len());
        let mut compensations = Vec::with_capacity(entries.len());
        let mut hashes = Vec::with_capacity(entries.len());
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            sagas.push(entry.key.saga.0);
            steps.push(entry.key.step.clone());
            compensations.push(entry.direction == Direction::Compensation);
            hashes.push(entry.hash.clone());
            let answer = entry.answer.as_ref().map(serde_json::to_string).transpose();
            answers.push(answer.map_err(|error| Failure::Permanent(error.to_string()))?);
        }
        sqlx::query!(
            r#"UPDATE inbox SET
                   action_hash = CASE WHEN u.compensation THEN inbox.action_hash ELSE u.hash END,
                   action_answer = CASE WHEN u.compensation THEN inbox.action_answer ELSE u.answer END,
                   compensation_hash = CASE WHEN u.compensation THEN u.hash ELSE inbox.compensation_hash END,
                   compensation_answer = CASE WHEN u.compensation THEN u.answer ELSE inbox.compensation_answer END
               FROM UNNEST($1::uuid[], $2::text[], $3::bool[], $4::bytea[], $5::text[])
                   AS u (saga_id, step, compensation, hash, answer)
               WHERE inbox.saga_id = u.saga_id AND inbox.step = u.step"#,
            &sagas,
            &steps,
            &compensations,
            &hashes,
            &answers as &[Option<String>],
        )
        .execute(&mut **tx)
        .await
        .map_err(failure)?;
        Ok(())
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        commit(tx).await
    }
}

fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp(at.timestamp_micros())
}

fn part(hash: Option<Vec<u8>>, answer: Option<String>) -> Result<Option<Part<Recorded>>, Failure> {
    let Some(hash) = hash else { return Ok(None) };
    let answer = answer.map(|json| serde_json::from_str(&json)).transpose().map_err(|error| {
        Failure::Permanent(format!("a recorded answer does not decode: {error}"))
    })?;
    Ok(Some(Part { hash, answer }))
}
