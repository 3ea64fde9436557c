//! The messages in the quarantine, and the operators' acts on them.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};
use saga_core::{Failure, SagaId, Signed, Timestamp, Watermark};
use saga_engine::{Act, Handled, Inspected, QuarantineFilter, Quarantined};
use saga_sqlite::{Transaction, failure};
use uuid::Uuid;

use super::{
    SagaTable,
    row::{BY_ID, micros, read},
    write::update,
};
use crate::row::{self, bigint, natural};

/// Reads a message from a row, and the code of its state, which is not decoded yet.
fn message(row: &Row<'_>) -> rusqlite::Result<(i16, Quarantined)> {
    let message = Quarantined {
        id: row.get(0)?,
        version: natural(row.get(1)?),
        state: saga_engine::QuarantineState::Open,
        reason: row.get(3)?,
        from: row.get(4)?,
        reply_to: row.get(5)?,
        body: row.get(6)?,
        first_seen: Timestamp(row.get(7)?),
        last_seen: Timestamp(row.get(8)?),
        copies: natural(row.get(9)?),
        acts: Vec::new(),
    };
    Ok((row.get(2)?, message))
}

fn decoded((state, message): (i16, Quarantined)) -> Result<Quarantined, Failure> {
    Ok(Quarantined { state: row::quarantine_state(&message.id, state)?, ..message })
}

impl SagaTable {
    pub(super) async fn handle_message<R: Send>(
        &self,
        id: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let tx = self.database.begin().await?;
        let found = tx
            .statement(
                "SELECT id, version, state, reason, from_queue, reply_to, body, first_seen,
                        last_seen, copies
                 FROM quarantine WHERE id = ?1",
            )?
            .query_row([id], message)
            .optional()
            .map_err(failure)?;
        let found = found.map(decoded).transpose()?;
        let below: Uuid = tx
            .statement("SELECT below FROM saga_watermark")?
            .query_row([], |row| row.get(0))
            .map_err(failure)?;
        let locked = match saga {
            Some(SagaId(saga)) => {
                tx.statement(BY_ID)?.query_row([saga], read).optional().map_err(failure)?
            }
            None => None,
        };
        let version = found.as_ref().map_or(0, |message| message.version);
        let (handled, result) = decide(Inspected {
            now: tx.now(),
            watermark: Watermark::from_id(SagaId(below)),
            message: found,
            saga: locked.map(row::SagaRow::into_instance).transpose()?,
        });
        if let Some(handled) = handled {
            write(&tx, id, version + 1, &handled)?;
            update(&tx, handled.write.as_slice())?;
        }
        tx.commit()?;
        Ok(result)
    }

    pub(super) async fn messages(
        &self,
        filter: &QuarantineFilter,
    ) -> Result<Vec<Quarantined>, Failure> {
        let now = self.database.clock().now().0;
        let ago = |millis: u64| now.saturating_sub(bigint(millis).saturating_mul(1_000));
        let found = self.database.read(|c| {
            let mut page = c.prepare_cached(
                "SELECT id, version, state, reason, from_queue, reply_to,
                        CASE WHEN :id IS NULL THEN x'' ELSE body END, first_seen, last_seen, copies
                 FROM quarantine
                 WHERE (:id IS NULL OR id = :id)
                   AND (:saga IS NULL OR substr(id, 1, length(:saga)) = :saga)
                   AND (:from IS NULL OR instr(from_queue, :from) > 0)
                   AND (:reason IS NULL OR instr(reason, :reason) > 0)
                   AND (:state IS NULL OR state = :state)
                   AND (:latest IS NULL OR first_seen <= :latest)
                   AND (:after IS NULL OR (first_seen, id) < (:after, :after_id))
                 ORDER BY first_seen DESC, id DESC
                 LIMIT :limit",
            )?;
            let rows = page.query_map(
                named_params! {
                    ":id": filter.id,
                    ":saga": filter.saga.map(|saga| format!("{saga}/")),
                    ":from": filter.from,
                    ":reason": filter.reason,
                    ":state": filter.state.map(|state| state.code()),
                    ":latest": filter.older_than_millis.map(ago),
                    ":after": filter.after.as_ref().map(|(at, _)| micros(*at)),
                    ":after_id": filter.after.as_ref().map(|(_, id)| id),
                    ":limit": i64::try_from(filter.limit).unwrap_or(i64::MAX),
                },
                message,
            )?;
            let messages = rows.collect::<rusqlite::Result<Vec<_>>>()?;
            let acts = match &filter.id {
                Some(id) => acts(c, id)?,
                None => Vec::new(),
            };
            Ok((messages, acts))
        });
        let (messages, acts) = found.await?;
        let mut messages: Vec<Quarantined> =
            messages.into_iter().map(decoded).collect::<Result<_, _>>()?;
        for message in &mut messages {
            for (state, sent, act) in &acts {
                message.acts.push(Act {
                    state: row::quarantine_state(&message.id, *state)?,
                    sent: row::read_sent(&message.id, sent)?,
                    ..act.clone()
                });
            }
        }
        Ok(messages)
    }
}

fn write(tx: &Transaction, id: &str, version: u64, handled: &Handled) -> Result<(), Failure> {
    let Handled { state, signed: Signed { by, reason }, sent, write: _ } = handled;
    tx.statement("UPDATE quarantine SET version = ?2, state = ?3, settled_at = ?4 WHERE id = ?1")?
        .execute(params![id, bigint(version), state.code(), micros(tx.now())])
        .map_err(failure)?;
    let values =
        params![id, bigint(version), micros(tx.now()), state.code(), by, reason, row::sent(sent)?];
    tx.statement(
        "INSERT INTO quarantine_history (message_id, version, at, state, signed_by, reason, sent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(values)
    .map_err(failure)?;
    Ok(())
}

/// Reads the acts on a message. The state and the column `sent` are returned undecoded.
fn acts(connection: &Connection, id: &str) -> rusqlite::Result<Vec<(i16, String, Act)>> {
    let mut acts = connection.prepare_cached(
        "SELECT version, at, state, signed_by, reason, sent FROM quarantine_history
         WHERE message_id = ?1 ORDER BY version",
    )?;
    let acts = acts.query_map([id], |row| {
        let act = Act {
            version: natural(row.get(0)?),
            at: Timestamp(row.get(1)?),
            state: saga_engine::QuarantineState::Open,
            signed: Signed { by: row.get(3)?, reason: row.get(4)? },
            sent: Vec::new(),
        };
        Ok((row.get(2)?, row.get(5)?, act))
    })?;
    acts.collect()
}
