//! The one statement that writes turns.

use saga_core::{Failure, Timestamp};
use saga_engine::Write;
use saga_postgres::failure;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::row::{datetime, timestamp};
use crate::{
    memory::Content,
    row::{self, bigint},
};

/// The error code of Postgres when [`update`] would write fewer rows than it was given.
const DIVISION_BY_ZERO: &str = "22012";

/// The columns of a set of writes, one array for each column.
#[derive(Default)]
pub(super) struct Columns {
    pub(super) ids: Vec<Uuid>,
    pub(super) before: Vec<i64>,
    pub(super) content: Vec<Option<Content>>,
    pub(super) states: Vec<i16>,
    pub(super) versions: Vec<i64>,
    pub(super) progress: Vec<String>,
    pub(super) data: Vec<String>,
    pub(super) wake_at: Vec<Option<chrono::DateTime<chrono::Utc>>>,
    pub(super) ended: Vec<bool>,
    pub(super) history: HistoryColumns,
}

#[derive(Default)]
pub(super) struct HistoryColumns {
    pub(super) ids: Vec<Uuid>,
    pub(super) versions: Vec<i64>,
    pub(super) callers: Vec<String>,
    pub(super) at: Vec<chrono::DateTime<chrono::Utc>>,
    pub(super) states: Vec<i16>,
    pub(super) entries: Vec<String>,
}

impl Columns {
    pub(super) fn of(writes: &[Write]) -> Result<Self, Failure> {
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

/// Writes rows and their transitions in one statement that checks every version. It writes all of
/// them or none: if fewer rows match than there are writes, a division by zero fails the statement.
/// `content` gives the hash that each row must have, for rows that were not read under their locks.
/// Returns the database's time.
pub(super) async fn update(
    executor: impl PgExecutor<'_>,
    writes: &[Write],
    content: Option<&[Content]>,
) -> Result<Timestamp, Failure> {
    let mut c = Columns::of(writes)?;
    c.content = match content {
        Some(content) => content.iter().cloned().map(Some).collect(),
        None => vec![None; writes.len()],
    };
    let written = sqlx::query!(
        r#"WITH changed AS (
               UPDATE sagas SET
                   state = u.state,
                   version = u.version,
                   progress = u.progress,
                   data = u.data,
                   wake_at = u.wake_at,
                   ended_at = CASE WHEN u.ended THEN now() END
               FROM UNNEST($1::uuid[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[],
                   $6::text[], $7::timestamptz[], $8::bool[], $16::bytea[])
                   AS u (id, before, state, version, progress, data, wake_at, ended, content)
               WHERE sagas.id = u.id AND sagas.version = u.before
                 AND (u.content IS NULL
                     OR u.content = sha256(convert_to(sagas.progress || sagas.data, 'UTF8')))
               RETURNING sagas.id
           ), told AS (
               INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
               SELECT * FROM UNNEST($9::uuid[], $10::bigint[], $11::text[], $12::timestamptz[],
                   $13::smallint[], $14::text[])
           )
           SELECT now() AS "now!", 1 / (count(*) = $15)::integer AS whole FROM changed"#,
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
        bigint(writes.len() as u64),
        &c.content as &[Option<Content>],
    )
    .fetch_one(executor)
    .await
    .map_err(|error| {
        let code = error.as_database_error().and_then(|database| database.code());
        if code.as_deref() == Some(DIVISION_BY_ZERO) {
            Failure::Conflict("another turn has moved a saga on".to_owned())
        } else {
            failure(error)
        }
    })?;
    Ok(timestamp(written.now))
}
