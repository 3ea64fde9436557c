//! Rules that hold between a row and the next one.

use saga_core::{Direction, Hosted, Instance, State, StepState};
use saga_engine::Write;

/// Returns the rule that a write breaks, if any.
pub(super) fn wrong(hosted: &Hosted, before: Option<&Instance>, write: &Write) -> Option<String> {
    let Write { before: version, saga, history } = write;
    let known = before.map_or(0, |before| before.version);
    if *version != known {
        return Some(format!("it rests on version {version}, the row has {known}"));
    }
    let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
    let due: Vec<u64> = (known + 1..=saga.version).collect();
    if versions != due {
        return Some(format!("versions {versions:?} in its history instead of {due:?}"));
    }
    let mut state = before.map(|before| before.phase.state());
    for entry in history {
        if !may(state, entry.state) {
            return Some(format!("it goes from {state:?} to {:?}", entry.state));
        }
        state = Some(entry.state);
    }
    if state != Some(saga.phase.state()) {
        return Some(format!("its history ends in {state:?}, it is {}", saga.phase.name()));
    }
    let steps = before.into_iter().flat_map(|before| before.steps.iter().zip(&saga.steps));
    for (from, to) in steps {
        if !step_may(from, to) {
            return Some(format!("a step goes from {from:?} to {to:?}"));
        }
    }
    let Some(definition) = hosted.get(&saga.definition, saga.definition_version) else {
        return Some("nobody hosts its definition".to_owned());
    };
    // A row must wake no later than it needs to (protocol 5).
    match (saga.wake_at, definition.need(saga)) {
        (_, None) => None,
        (Some(at), Some(need)) if at <= need => None,
        (at, Some(need)) => {
            let at = at.map(|at| at.0 - need.0);
            Some(format!("it wakes {at:?} µs after it needs to (rule wake_at <= need)"))
        }
    }
}

/// Returns whether a saga may go from one state to the other.
fn may(from: Option<State>, to: State) -> bool {
    use State::{Compensated, Compensating, Completed, Running, Stuck};
    match from {
        None => to == Running,
        Some(Running | Stuck) => true,
        Some(Compensating) => matches!(to, Compensating | Compensated | Stuck),
        Some(Completed | Compensated) => false,
    }
}

/// Returns whether a step may go from one state to the other, by any number of turns.
fn step_may(from: &StepState, to: &StepState) -> bool {
    use StepState::{Done, Halted, Open, Pending, Refused, Undoing, Undone, Unknown};
    let halted_in =
        |direction| matches!(to, Halted { direction: halted, .. } if *halted == direction);
    let undone = matches!(to, Undoing(_) | Undone) || halted_in(Direction::Compensation);
    match from {
        Pending => true,
        Open(_) => !matches!(to, Pending),
        Done => matches!(to, Done) || undone,
        Refused(_) => matches!(to, Refused(_)),
        Unknown => matches!(to, Unknown) || undone,
        Undoing(_) | Undone => undone,
        Halted { direction: Direction::Action, .. } => {
            matches!(to, Open(_) | Done) || halted_in(Direction::Action)
        }
        Halted { direction: Direction::Compensation, .. } => undone,
    }
}
