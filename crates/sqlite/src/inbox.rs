//! The participants' store: the commands that were received, and their answers.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};
use saga_core::{Direction, Failure, Part, Record, SagaId, Watermark};
use saga_kit::{Entry, Key, Locked, Pruned, Recorded, Store};
use uuid::Uuid;

use crate::{Database, Transaction, failure};

/// The inbox's first script. A service's own scripts follow it.
pub const INBOX: &str = include_str!("../schema/inbox_1.sql");
/// The script for the watermark. It was added after each service's first script.
pub const INBOX_2: &str = include_str!("../schema/inbox_2_watermark.sql");
/// The script for the count of calls to the outside. It was added later.
pub const INBOX_3: &str = include_str!("../schema/inbox_3_calls.sql");

/// A participant's store over SQLite. Its transaction is a [`Transaction`], so that a service's
/// tables can take part in it.
#[derive(Clone, Debug)]
pub struct Inbox {
    database: Database,
}

impl Inbox {
    /// Creates a store over a database whose schema begins with [`INBOX`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}

impl Store for Inbox {
    type Tx = Transaction;

    const SYSTEM: &'static str = "sqlite";

    async fn begin(&self) -> Result<Transaction, Failure> {
        self.database.begin().await
    }

    /// Reads the rows, and inserts missing ones. It need not lock them, because the transaction is
    /// alone on the database.
    async fn lock(&self, tx: &mut Transaction, keys: &[Key]) -> Result<Locked, Failure> {
        if keys.is_empty() {
            return Err(Failure::Permanent("no keys to lock".to_owned()));
        }
        let mut insert = tx.statement(
            "INSERT INTO inbox (saga_id, step) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?;
        let mut select = tx.statement(
            "SELECT action_hash, action_answer, compensation_hash, compensation_answer, calls
             FROM inbox WHERE saga_id = ?1 AND step = ?2",
        )?;
        let mut records = Vec::with_capacity(keys.len());
        for Key { saga, step } in keys {
            let key = params![saga.0, step];
            if insert.execute(key).map_err(failure)? == 1 {
                records.push(Record::default());
                continue;
            }
            let row = select
                .query_row(key, |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
                })
                .optional()
                .map_err(failure)?;
            let (action, answer, compensation, undone, calls) =
                row.ok_or_else(|| Failure::Conflict("an inbox row was pruned".to_owned()))?;
            records.push(Record {
                action: part(action, answer, calls)?,
                compensation: part(compensation, undone, 0)?,
            });
        }
        Ok(Locked { now: tx.now(), watermark: watermark(tx)?, records })
    }

    async fn record(&self, tx: &mut Transaction, entries: &[Entry]) -> Result<(), Failure> {
        let mut action = tx.statement(
            "UPDATE inbox SET action_hash = ?3, action_answer = ?4, calls = ?5
             WHERE saga_id = ?1 AND step = ?2",
        )?;
        let mut compensation = tx.statement(
            "UPDATE inbox SET compensation_hash = ?3, compensation_answer = ?4
             WHERE saga_id = ?1 AND step = ?2",
        )?;
        for Entry { key, direction, hash, answer, calls } in entries {
            let answer = answer.as_ref().map(serde_json::to_string).transpose();
            let answer = answer.map_err(|error| Failure::Permanent(error.to_string()))?;
            match direction {
                Direction::Action => {
                    action.execute(params![key.saga.0, key.step, hash, answer, calls])
                }
                Direction::Compensation => {
                    compensation.execute(params![key.saga.0, key.step, hash, answer])
                }
            }
            .map_err(failure)?;
        }
        Ok(())
    }

    async fn raise(&self, to: Watermark, age: Duration) -> Result<Watermark, Failure> {
        let tx = self.database.begin().await?;
        let known = watermark(&tx)?;
        if to <= known || to.instant() > tx.now().minus(age) {
            return Ok(known);
        }
        tx.statement("UPDATE inbox_watermark SET below = ?1")?
            .execute([to.id().0])
            .map_err(failure)?;
        tx.commit()?;
        Ok(to)
    }

    async fn prune(&self, from: SagaId, below: Watermark, limit: usize) -> Result<Pruned, Failure> {
        let tx = self.database.begin().await?;
        let most = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut delete = tx.statement(
            "DELETE FROM inbox
             WHERE (saga_id, step) IN (
                 SELECT saga_id, step FROM inbox
                 WHERE saga_id >= ?1 AND saga_id < ?2
                   AND saga_id < (SELECT below FROM inbox_watermark)
                 ORDER BY saga_id, step
                 LIMIT ?3)
             RETURNING saga_id",
        )?;
        let deleted = delete
            .query_map(params![from.0, below.id().0, most], |row| row.get(0).map(SagaId))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<SagaId>>>)
            .map_err(failure)?;
        drop(delete);
        tx.commit()?;
        let last = deleted.iter().max().filter(|_| deleted.len() >= limit).copied();
        Ok(Pruned { rows: deleted.len() as u64, next: last })
    }

    /// Zero, because a transaction that has read the watermark is alone on the database.
    const SETTLING: Duration = Duration::ZERO;

    async fn commit(&self, tx: Transaction) -> Result<(), Failure> {
        tx.commit()
    }
}

fn watermark(tx: &Transaction) -> Result<Watermark, Failure> {
    let below: Uuid = tx
        .statement("SELECT below FROM inbox_watermark")?
        .query_row([], |row| row.get(0))
        .map_err(failure)?;
    Ok(Watermark::from_id(SagaId(below)))
}

fn part(
    hash: Option<Vec<u8>>,
    answer: Option<String>,
    calls: u32,
) -> Result<Option<Part<Recorded>>, Failure> {
    let Some(hash) = hash else { return Ok(None) };
    let answer = answer.map(|json| serde_json::from_str(&json)).transpose().map_err(|error| {
        Failure::Permanent(format!("a recorded answer does not decode: {error}"))
    })?;
    Ok(Some(Part { hash, answer, calls }))
}
