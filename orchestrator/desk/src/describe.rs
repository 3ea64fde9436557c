//! Describes sagas to people.

use saga_core::{
    Direction, Happening, HistoryEntry, HostedDefinition, Instance, Phase, Remedy, Signed, State,
    Stated, StepState, remedies,
};
use saga_engine::Need;
use saga_operations::v1::{Saga, SagaState, Step, Transition};

/// Describes a happening in a sentence.
#[must_use]
pub fn happening(happened: &Happening) -> String {
    match happened {
        Happening::Started => "it was admitted".to_owned(),
        Happening::Done { step, direction: Direction::Action } => format!("{step} is done"),
        Happening::Done { step, direction: Direction::Compensation } => format!("{step} is undone"),
        Happening::Refused { step, direction: Direction::Action, refusal } => {
            format!("{step} was refused: {refusal}")
        }
        Happening::Refused { step, direction: Direction::Compensation, refusal } => {
            format!("undoing {step} was refused: {refusal}")
        }
        Happening::Resent => "an answer is late, so it was asked for again".to_owned(),
        Happening::GaveUp { steps } => {
            format!("no answer came within the bound from {}", steps.join(", "))
        }
        Happening::DeadlinePassed => "the deadline passed before the pivot was done".to_owned(),
        Happening::Cancel(wish) => format!("{} asked for a cancel: {}", wish.by, wish.reason),
        Happening::Paused(pause) => format!("{} paused it: {}", pause.by, pause.reason),
        Happening::Resumed(pause) => format!("{} let it go on: {}", pause.by, pause.reason),
        Happening::Reminded => "it is still stuck: the alert was raised again".to_owned(),
        Happening::Retried(by) => format!("{} had it retried: {}", by.by, by.reason),
        Happening::Skipped { step, direction, signed: Signed { by, reason } } => {
            let counts = match direction {
                Direction::Action => "done",
                Direction::Compensation => "undone",
            };
            format!("{by} skipped {step}, which counts as {counts}: {reason}")
        }
        Happening::Resolved { step, direction, done, signed: Signed { by, reason } } => {
            let stated = match (direction, done) {
                (Direction::Action, true) => "is done",
                (Direction::Action, false) => "did not happen",
                (Direction::Compensation, true) => "is undone",
                (Direction::Compensation, false) => "is not undone",
            };
            format!("{by} stated that {step} {stated}: {reason}")
        }
        Happening::Compensate(by) => format!("{} had it undone: {}", by.by, by.reason),
    }
}

/// Returns the step that a happening is about. Empty if it is not about one step.
#[must_use]
pub fn step(happening: &Happening) -> &str {
    match happening {
        Happening::Done { step, .. }
        | Happening::Refused { step, .. }
        | Happening::Skipped { step, .. }
        | Happening::Resolved { step, .. } => step,
        Happening::GaveUp { steps } => steps.first().map_or("", String::as_str),
        Happening::Started
        | Happening::Resent
        | Happening::DeadlinePassed
        | Happening::Cancel(_)
        | Happening::Paused(_)
        | Happening::Resumed(_)
        | Happening::Retried(_)
        | Happening::Compensate(_)
        | Happening::Reminded => "",
    }
}

/// Describes a saga to operators, without its data, which may hold a secret. `definition` is the
/// saga's definition, if it is hosted here.
pub(crate) fn saga(
    saga: &Instance,
    definition: Option<&dyn HostedDefinition>,
    need: Option<&Need>,
) -> Saga {
    let names = definition.map(HostedDefinition::step_names).unwrap_or_default();
    let stuck = match &saga.phase {
        Phase::Stuck(stuck) => Some(stuck),
        Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => None,
    };
    let step = |(index, state): (usize, &StepState)| {
        let (state, attempts) = step_state(state);
        let name = names.get(index).map_or_else(|| format!("#{}", index + 1), |n| (*n).to_owned());
        Step {
            name,
            state: state.to_owned(),
            attempts: i32::try_from(attempts).unwrap_or(i32::MAX),
        }
    };
    Saga {
        saga_id: saga.id.to_string(),
        definition: saga.definition.clone(),
        definition_version: i32::try_from(saga.definition_version).unwrap_or(i32::MAX),
        state: state(saga.phase.state()).into(),
        version: number(saga.version),
        caller: saga.caller.clone(),
        started_at_micros: saga.started_at.0,
        deadline_micros: saga.deadline.0,
        wake_at_micros: saga.wake_at.map_or(0, |at| at.0),
        why: why(saga, need),
        steps: saga.steps.iter().enumerate().map(step).collect(),
        trace_id: saga_trace::trace_id(saga.traceparent.as_deref()).to_owned(),
        stuck_since_micros: stuck.map_or(0, |stuck| stuck.since.0),
        stuck_at: stuck.map(|at| format!("{}/{}", at.step, at.direction)).unwrap_or_default(),
        paused: saga.paused.is_some() && saga.ended().is_none(),
        remedies: definition.map(|own| possible(own, saga)).unwrap_or_default(),
        needs: need.map(|need| need.name().to_owned()).unwrap_or_default(),
    }
}

/// Lists the remedies that an operator may choose. Time is not considered: a passed deadline may
/// refuse a command that a remedy would open, but the remedy is possible all the same.
fn possible(definition: &dyn HostedDefinition, saga: &Instance) -> Vec<String> {
    let name = |remedy: Remedy| match &remedy {
        Remedy::Resolve { step, direction, outcome } => {
            let outcome = match outcome {
                Stated::Done { .. } => "done",
                Stated::Refused => "refused",
            };
            format!("resolve {step} {direction} {outcome}")
        }
        Remedy::Retry | Remedy::Skip | Remedy::Compensate | Remedy::Pause | Remedy::Resume => {
            remedy.name().to_owned()
        }
    };
    remedies(definition, saga, saga.started_at).into_iter().map(name).collect()
}

/// Formats commands that were or would be sent, each with the number of its attempt.
pub(crate) fn sent(sent: &[(String, u32)]) -> Vec<String> {
    sent.iter().map(|(command, attempt)| format!("{command} #{attempt}")).collect()
}

/// Describes a transition to operators.
pub(crate) fn transition(entry: &HistoryEntry) -> Transition {
    Transition {
        version: number(entry.version),
        at_micros: entry.at.0,
        what: happening(&entry.happening),
        sent: sent(&entry.sent),
        state: state(entry.state).into(),
    }
}

pub(crate) fn state(state: State) -> SagaState {
    match state {
        State::Running => SagaState::Running,
        State::Compensating => SagaState::Compensating,
        State::Completed => SagaState::Completed,
        State::Compensated => SagaState::Compensated,
        State::Stuck => SagaState::Stuck,
    }
}

fn why(saga: &Instance, need: Option<&Need>) -> String {
    let phase = match &saga.phase {
        Phase::Running | Phase::Completed => String::new(),
        Phase::Compensating(cause) | Phase::Compensated(cause) => cause.to_string(),
        Phase::Stuck(stuck) => stuck.to_string(),
    };
    let paused =
        saga.paused.as_ref().map(|pause| format!("paused by {}: {}", pause.by, pause.reason));
    let all = [need.and_then(Need::obstacle), Some(phase), paused];
    all.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn step_state(state: &StepState) -> (&'static str, u32) {
    match state {
        StepState::Pending => ("pending", 0),
        StepState::Open(sending) => ("open", sending.attempts),
        StepState::Done => ("done", 0),
        StepState::Refused(_) => ("refused", 0),
        StepState::Unknown => ("unknown", 0),
        StepState::Undoing(sending) => ("undoing", sending.attempts),
        StepState::Undone => ("undone", 0),
        StepState::Halted { .. } => ("halted", 0),
    }
}

pub(crate) fn number(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}
