//! What a row holds, and how a saga is made of it.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use saga_core::{
    Failure, Happening, HistoryEntry, Instance, Pause, Phase, SagaId, State, StepState, Timestamp,
    Wish,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// The format of `progress` that this binary writes. It reads all up to it.
pub(crate) const FORMAT: i16 = 1;

/// A row of `sagas`.
pub(crate) struct SagaRow {
    pub(crate) id: Uuid,
    pub(crate) format: i16,
    pub(crate) definition: String,
    pub(crate) definition_version: i32,
    pub(crate) caller: String,
    pub(crate) version: i64,
    pub(crate) progress: String,
    pub(crate) data: String,
    pub(crate) traceparent: Option<String>,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) deadline: DateTime<Utc>,
    pub(crate) wake_at: Option<DateTime<Utc>>,
    pub(crate) now: DateTime<Utc>,
}

/// The column `progress`.
#[derive(Serialize, Deserialize)]
struct Progress<'a> {
    phase: Cow<'a, Phase>,
    steps: Cow<'a, [StepState]>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cancel: Option<Cow<'a, Wish>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    paused: Option<Cow<'a, Pause>>,
}

impl SagaRow {
    pub(crate) fn into_instance(self) -> Result<Instance, Failure> {
        let broken = |error: &dyn std::fmt::Display| {
            Failure::Permanent(format!("the row of saga {} does not decode: {error}", self.id))
        };
        if self.format > FORMAT {
            return Err(broken(&format!("its format {} is newer than this binary", self.format)));
        }
        let progress: Progress<'_> =
            serde_json::from_str(&self.progress).map_err(|error| broken(&error))?;
        let data = RawValue::from_string(self.data.clone()).map_err(|error| broken(&error))?;
        Ok(Instance {
            id: SagaId(self.id),
            definition_version: u32::try_from(self.definition_version)
                .map_err(|error| broken(&error))?,
            version: u64::try_from(self.version).map_err(|error| broken(&error))?,
            phase: progress.phase.into_owned(),
            steps: progress.steps.into_owned(),
            cancel: progress.cancel.map(Cow::into_owned),
            paused: progress.paused.map(Cow::into_owned),
            data,
            started_at: timestamp(self.started_at),
            deadline: timestamp(self.deadline),
            wake_at: self.wake_at.map(timestamp),
            definition: self.definition,
            caller: self.caller,
            traceparent: self.traceparent,
        })
    }
}

/// The column `progress` of a saga.
pub(crate) fn progress(saga: &Instance) -> Result<String, Failure> {
    let progress = Progress {
        phase: Cow::Borrowed(&saga.phase),
        steps: Cow::Borrowed(&saga.steps),
        cancel: saga.cancel.as_ref().map(Cow::Borrowed),
        paused: saga.paused.as_ref().map(Cow::Borrowed),
    };
    serde_json::to_string(&progress).map_err(|error| Failure::Permanent(error.to_string()))
}

/// The column `entry` of a transition.
#[derive(Serialize, Deserialize)]
struct Entry<'a> {
    #[serde(flatten)]
    happening: Cow<'a, Happening>,
    #[serde(skip_serializing_if = "<[_]>::is_empty", default)]
    sent: Cow<'a, [(String, u32)]>,
}

pub(crate) fn entry(history: &HistoryEntry) -> Result<String, Failure> {
    let entry =
        Entry { happening: Cow::Borrowed(&history.happening), sent: Cow::Borrowed(&history.sent) };
    serde_json::to_string(&entry).map_err(|error| Failure::Permanent(error.to_string()))
}

pub(crate) fn history(
    version: i64,
    at: DateTime<Utc>,
    state: i16,
    entry: &str,
) -> Result<HistoryEntry, Failure> {
    let broken = |what: String| Failure::Permanent(format!("a transition does not decode: {what}"));
    let entry: Entry<'_> =
        serde_json::from_str(entry).map_err(|error| broken(error.to_string()))?;
    Ok(HistoryEntry {
        version: u64::try_from(version).map_err(|error| broken(error.to_string()))?,
        at: timestamp(at),
        happening: entry.happening.into_owned(),
        sent: entry.sent.into_owned(),
        state: State::from_code(state).ok_or_else(|| broken(format!("state {state}")))?,
    })
}

pub(crate) fn timestamp(at: DateTime<Utc>) -> Timestamp {
    Timestamp(at.timestamp_micros())
}

pub(crate) fn datetime(at: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

pub(crate) fn bigint(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
