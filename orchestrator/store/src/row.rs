//! The content of a row, which is the same in both databases, and its conversion into a saga.

use std::borrow::Cow;

use saga_core::{
    Failure, Happening, HistoryEntry, Instance, Intervention, Phase, SagaId, Signed, State,
    StepState, Timestamp, Wish,
};
use saga_engine::QuarantineState;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::error;
use uuid::Uuid;

/// The format of the column `progress` that this binary writes. It reads all formats up to this
/// one.
pub(crate) const FORMAT: i16 = 1;

/// Time by which a row that does not decode is put off, in milliseconds, so that it does not hold
/// up sagas that are due.
pub(crate) const PUT_OFF_MILLIS: u64 = 60_000;

/// The first instant of Postgres' calendar: November of 4714 BC.
const EARLIEST: Timestamp = Timestamp(-210_866_803_200_000_000);
/// The last instant of chrono's calendar, in the year 262142.
const LATEST: Timestamp = Timestamp(8_210_266_876_799_999_999);

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
    pub(crate) started_at: Timestamp,
    pub(crate) deadline: Timestamp,
    pub(crate) wake_at: Option<Timestamp>,
}

/// Returns the sagas of the rows that decode. A row that does not decode is logged and left out, so
/// that it does not hide the others. If no row decodes, its error is returned.
pub(crate) fn sound(
    rows: impl Iterator<Item = (SagaId, Option<String>, Result<Instance, Failure>)>,
) -> Result<Vec<Instance>, Failure> {
    let (mut sagas, mut broken) = (Vec::new(), None);
    for (id, traceparent, row) in rows {
        match row {
            Ok(saga) => sagas.push(saga),
            Err(why) => {
                let trace_id = saga_trace::trace_id(traceparent.as_deref());
                error!(saga = %id, trace_id, %why, "the saga cannot be read");
                broken = Some(why);
            }
        }
    }
    match broken {
        Some(why) if sagas.is_empty() => Err(why),
        Some(_) | None => Ok(sagas),
    }
}

/// The content of the column `progress`.
#[derive(Serialize, Deserialize)]
struct Progress<'a> {
    phase: Cow<'a, Phase>,
    steps: Cow<'a, [StepState]>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    cancel: Option<Cow<'a, Wish>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    paused: Option<Cow<'a, Signed>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    intervention: Option<Cow<'a, Intervention>>,
}

impl SagaRow {
    pub(crate) fn into_instance(self) -> Result<Instance, Failure> {
        let broken = |error: &dyn std::fmt::Display| broken(self.id, error);
        if self.format > FORMAT {
            return Err(broken(&format!("its format {} is newer than this binary", self.format)));
        }
        let progress: Progress<'_> =
            serde_json::from_str(&self.progress).map_err(|error| broken(&error))?;
        let data = RawValue::from_string(self.data).map_err(|error| broken(&error))?;
        Ok(Instance {
            id: SagaId(self.id),
            definition_version: u32::try_from(self.definition_version)
                .map_err(|error| broken(&error))?,
            version: u64::try_from(self.version).map_err(|error| broken(&error))?,
            phase: progress.phase.into_owned(),
            steps: progress.steps.into_owned(),
            cancel: progress.cancel.map(Cow::into_owned),
            paused: progress.paused.map(Cow::into_owned),
            intervention: progress.intervention.map(Cow::into_owned),
            data,
            started_at: self.started_at,
            deadline: self.deadline,
            wake_at: self.wake_at,
            definition: self.definition,
            caller: self.caller,
            traceparent: self.traceparent,
        })
    }
}

/// Makes the error for a row that does not decode.
pub(crate) fn broken(id: Uuid, error: &dyn std::fmt::Display) -> Failure {
    Failure::Permanent(format!("the row of saga {id} does not decode: {error}"))
}

/// Encodes the column `progress` of a saga.
pub(crate) fn progress(saga: &Instance) -> Result<String, Failure> {
    let progress = Progress {
        phase: Cow::Borrowed(&saga.phase),
        steps: Cow::Borrowed(&saga.steps),
        cancel: saga.cancel.as_ref().map(Cow::Borrowed),
        paused: saga.paused.as_ref().map(Cow::Borrowed),
        intervention: saga.intervention.as_ref().map(Cow::Borrowed),
    };
    serde_json::to_string(&progress).map_err(|error| Failure::Permanent(error.to_string()))
}

/// The content of the column `entry` of a transition.
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
    at: Timestamp,
    state: i16,
    entry: &str,
) -> Result<HistoryEntry, Failure> {
    let broken = |what: String| Failure::Permanent(format!("a transition does not decode: {what}"));
    let entry: Entry<'_> =
        serde_json::from_str(entry).map_err(|error| broken(error.to_string()))?;
    Ok(HistoryEntry {
        version: u64::try_from(version).map_err(|error| broken(error.to_string()))?,
        at,
        happening: entry.happening.into_owned(),
        sent: entry.sent.into_owned(),
        state: State::from_code(state).ok_or_else(|| broken(format!("state {state}")))?,
    })
}

/// Decodes the state of a message in the quarantine.
pub(crate) fn quarantine_state(id: &str, code: i16) -> Result<QuarantineState, Failure> {
    let unknown = || Failure::Permanent(format!("the message {id} has the unknown state {code}"));
    QuarantineState::from_code(code).ok_or_else(unknown)
}

/// Encodes the column `sent` of an operator's act on a message.
pub(crate) fn sent(sent: &[String]) -> Result<String, Failure> {
    serde_json::to_string(sent).map_err(|error| Failure::Permanent(error.to_string()))
}

/// Decodes the column `sent`.
pub(crate) fn read_sent(id: &str, sent: &str) -> Result<Vec<String>, Failure> {
    let broken =
        |error| Failure::Permanent(format!("what was sent for {id} does not decode: {error}"));
    serde_json::from_str(sent).map_err(broken)
}

/// Returns the nearest instant that both databases can hold. So "never" is stored as the last one.
pub(crate) fn storable(at: Timestamp) -> Timestamp {
    at.clamp(EARLIEST, LATEST)
}

/// Converts a version to the type of its column.
pub(crate) fn bigint(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Converts a definition's version to the type of its column.
pub(crate) fn integer(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

/// Converts a count that a database has returned.
pub(crate) fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::*;

    #[test]
    fn the_latest_instant_is_the_last_one_that_chrono_can_name() {
        assert_eq!(LATEST.0, DateTime::<Utc>::MAX_UTC.timestamp_micros());
        assert_eq!(storable(Timestamp(i64::MAX)), LATEST);
        let first = DateTime::from_timestamp_micros(EARLIEST.0).expect("chrono begins before it");
        assert_eq!(first.to_rfc3339(), "-4713-11-24T00:00:00+00:00");
    }
}
