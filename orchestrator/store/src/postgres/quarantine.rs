//! The messages in the quarantine, and the operators' acts on them.

use chrono::{DateTime, Utc};
use saga_core::{Failure, SagaId, Signed, Watermark};
use saga_engine::{Act, Handled, Inspected, QuarantineFilter, Quarantined};
use saga_postgres::{commit, failure};
use sqlx::{PgExecutor, Postgres, Transaction};

use super::{
    SagaTable,
    row::{SagaRow, datetime, timestamp},
    update::update,
};
use crate::row::{self, bigint, natural};

/// A row of `quarantine`.
struct MessageRow {
    id: String,
    version: i64,
    state: i16,
    reason: String,
    from_queue: String,
    reply_to: Option<String>,
    body: Vec<u8>,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    copies: i64,
}

impl MessageRow {
    fn into_message(self) -> Result<Quarantined, Failure> {
        Ok(Quarantined {
            version: natural(self.version),
            state: row::quarantine_state(&self.id, self.state)?,
            id: self.id,
            reason: self.reason,
            from: self.from_queue,
            reply_to: self.reply_to,
            body: self.body,
            first_seen: timestamp(self.first_seen),
            last_seen: timestamp(self.last_seen),
            copies: natural(self.copies),
            acts: Vec::new(),
        })
    }
}

impl SagaTable {
    /// Locks the message first and the saga second. All transactions lock in this order, so they
    /// cannot deadlock.
    pub(super) async fn handle_message<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let mut tx = self.pool.begin().await.map_err(failure)?;
        let found = sqlx::query_as!(
            MessageRow,
            "SELECT id, version, state, reason, from_queue, reply_to, body, first_seen, last_seen,
                    copies
             FROM quarantine WHERE id = $1 FOR UPDATE",
            message,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?;
        let found = found.map(MessageRow::into_message).transpose()?;
        let mark = sqlx::query!(r#"SELECT now() AS "now!", below FROM saga_watermark"#)
            .fetch_one(&mut *tx)
            .await
            .map_err(failure)?;
        let locked = match saga {
            Some(saga) => lock(&mut tx, saga).await?,
            None => None,
        };
        let version = found.as_ref().map_or(0, |message| message.version);
        let (handled, result) = decide(Inspected {
            now: timestamp(mark.now),
            watermark: Watermark::from_id(SagaId(mark.below)),
            message: found,
            saga: locked,
        });
        if let Some(handled) = &handled {
            write(&mut tx, message, version + 1, handled).await?;
        }
        let writes: Vec<_> = handled.into_iter().filter_map(|handled| handled.write).collect();
        let ids: Vec<SagaId> = saga.into_iter().collect();
        self.memory.forget(&ids);
        if !writes.is_empty() {
            self.floor.lower(&writes);
            update(&mut *tx, &writes, None).await?;
        }
        commit(tx).await?;
        self.memory.committed(&writes);
        Ok(result)
    }

    pub(super) async fn messages(
        &self,
        filter: &QuarantineFilter,
    ) -> Result<Vec<Quarantined>, Failure> {
        let (after, after_id) = filter.after.clone().unzip();
        let rows = sqlx::query_as!(
            MessageRow,
            r#"SELECT id, version, state, reason, from_queue, reply_to,
                      CASE WHEN $1::text IS NULL THEN ''::bytea ELSE body END AS "body!",
                      first_seen, last_seen, copies
               FROM quarantine
               WHERE ($1::text IS NULL OR id = $1)
                 AND ($2::text IS NULL OR id ^@ $2)
                 AND ($3::text IS NULL OR strpos(from_queue, $3) > 0)
                 AND ($4::text IS NULL OR strpos(reason, $4) > 0)
                 AND ($5::smallint IS NULL OR state = $5)
                 AND ($6::bigint IS NULL OR first_seen <= now() - $6 * interval '1 millisecond')
                 AND ($7::timestamptz IS NULL OR (first_seen, id) < ($7, $8))
               ORDER BY first_seen DESC, id DESC
               LIMIT $9"#,
            filter.id,
            filter.saga.map(|saga| format!("{saga}/")),
            filter.from,
            filter.reason,
            filter.state.map(|state| state.code()),
            filter.older_than_millis.map(bigint),
            after.map(datetime),
            after_id,
            i64::try_from(filter.limit).unwrap_or(i64::MAX),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failure)?;
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let mut message = row.into_message()?;
            if filter.id.is_some() {
                message.acts = acts(&self.pool, &message.id).await?;
            }
            messages.push(message);
        }
        Ok(messages)
    }
}

async fn lock(
    tx: &mut Transaction<'static, Postgres>,
    saga: SagaId,
) -> Result<Option<saga_core::Instance>, Failure> {
    let row = sqlx::query_as!(
        SagaRow,
        r#"SELECT id, format, definition, definition_version, caller, version, progress,
                  data, traceparent, started_at, deadline, wake_at, now() AS "now!"
           FROM sagas WHERE id = $1 FOR UPDATE"#,
        saga.0,
    )
    .fetch_optional(&mut **tx)
    .await
    .map_err(failure)?;
    row.map(SagaRow::into_instance).transpose()
}

async fn write(
    tx: &mut Transaction<'static, Postgres>,
    message: &str,
    version: u64,
    handled: &Handled,
) -> Result<(), Failure> {
    let Handled { state, signed: Signed { by, reason }, sent, write: _ } = handled;
    sqlx::query!(
        "UPDATE quarantine SET version = $2, state = $3, settled_at = now() WHERE id = $1",
        message,
        bigint(version),
        state.code(),
    )
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    sqlx::query!(
        "INSERT INTO quarantine_history (message_id, version, state, signed_by, reason, sent)
         VALUES ($1, $2, $3, $4, $5, $6)",
        message,
        bigint(version),
        state.code(),
        by,
        reason,
        row::sent(sent)?,
    )
    .execute(&mut **tx)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn acts(executor: impl PgExecutor<'_>, message: &str) -> Result<Vec<Act>, Failure> {
    let rows = sqlx::query!(
        "SELECT version, at, state, signed_by, reason, sent FROM quarantine_history
         WHERE message_id = $1 ORDER BY version",
        message,
    )
    .fetch_all(executor)
    .await
    .map_err(failure)?;
    rows.into_iter()
        .map(|row| {
            Ok(Act {
                version: natural(row.version),
                at: timestamp(row.at),
                state: row::quarantine_state(message, row.state)?,
                signed: Signed { by: row.signed_by, reason: row.reason },
                sent: row::read_sent(message, &row.sent)?,
            })
        })
        .collect()
}
