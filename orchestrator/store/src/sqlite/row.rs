//! A row as rusqlite returns it.

use rusqlite::Row;
use saga_core::{SagaId, Timestamp};
use uuid::Uuid;

use crate::row::{SagaRow, storable};

/// Selects a row by its id. This and all other queries of rows have the columns in the order in
/// which [`read`] reads them.
pub(super) const BY_ID: &str = "
    SELECT id, format, definition, definition_version, caller, version, progress, data,
           traceparent, started_at, deadline, wake_at
    FROM sagas WHERE id = ?1";

pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<SagaRow> {
    Ok(SagaRow {
        id: row.get(0)?,
        format: row.get(1)?,
        definition: row.get(2)?,
        definition_version: row.get(3)?,
        caller: row.get(4)?,
        version: row.get(5)?,
        progress: row.get(6)?,
        data: row.get(7)?,
        traceparent: row.get(8)?,
        started_at: Timestamp(row.get(9)?),
        deadline: Timestamp(row.get(10)?),
        wake_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
    })
}

/// Converts an instant to the type of its column.
pub(super) fn micros(at: Timestamp) -> i64 {
    storable(at).0
}

/// Returns each of these ids once, in the order of ids.
pub(super) fn in_order(ids: &[SagaId]) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
