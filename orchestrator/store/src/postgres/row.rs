//! A row as sqlx returns it.

use chrono::{DateTime, Utc};
use saga_core::{Failure, Instance, Timestamp};
use uuid::Uuid;

use crate::row;

/// A row of `sagas`, and the database's time when it was read.
pub(super) struct SagaRow {
    pub(super) id: Uuid,
    pub(super) format: i16,
    pub(super) definition: String,
    pub(super) definition_version: i32,
    pub(super) caller: String,
    pub(super) version: i64,
    pub(super) progress: String,
    pub(super) data: String,
    pub(super) traceparent: Option<String>,
    pub(super) started_at: DateTime<Utc>,
    pub(super) deadline: DateTime<Utc>,
    pub(super) wake_at: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

impl SagaRow {
    pub(super) fn into_instance(self) -> Result<Instance, Failure> {
        row::SagaRow {
            id: self.id,
            format: self.format,
            definition: self.definition,
            definition_version: self.definition_version,
            caller: self.caller,
            version: self.version,
            progress: self.progress,
            data: self.data,
            traceparent: self.traceparent,
            started_at: timestamp(self.started_at),
            deadline: timestamp(self.deadline),
            wake_at: self.wake_at.map(timestamp),
        }
        .into_instance()
    }
}

pub(super) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp(at.timestamp_micros())
}

pub(super) fn datetime(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(row::storable(at).0).expect("chrono's calendar is wider")
}
