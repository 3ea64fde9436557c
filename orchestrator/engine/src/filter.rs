//! The filter for lists of sagas.

use saga_core::{Cause, Hosted, Instance, Phase, SagaId, State, StepState};

use crate::Need;

/// A filter for lists of sagas. [`ListFilter::picks`] checks everything that a row shows. A store
/// checks `older_than_millis` and `limit`.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only sagas in this state.
    pub state: Option<State>,
    /// Only sagas of this definition.
    pub definition: Option<String>,
    /// Only sagas with an id smaller than this one.
    pub before: Option<SagaId>,
    /// Only sagas that began at least this many milliseconds ago, by the store's clock.
    pub older_than_millis: Option<u64>,
    /// Only sagas that are paused, or only sagas that are not.
    pub paused: Option<bool>,
    /// Only sagas that wait for an answer of this step, or are stuck at it.
    pub step: Option<Place>,
    /// Only sagas that are stuck or undone for this reason: a refusal's code, UNANSWERED, DEADLINE,
    /// CANCELLED or OPERATOR.
    pub reason: Option<String>,
    /// Only sagas that have not ended.
    pub unfinished: bool,
    /// Only sagas that wait for a person ([`Need`]), for a server that hosts these definitions.
    pub needs_me: Option<Hosted>,
    /// Largest number of sagas to return.
    pub limit: usize,
}

/// A step, by its index in each version of each definition that has it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Name and version of each such definition, with the step's index in it.
    pub places: Vec<(String, u32, usize)>,
}

impl ListFilter {
    /// Returns true if the filter picks only sagas that have not ended. Those are few.
    #[must_use]
    pub fn is_of_unfinished(&self) -> bool {
        let of_state = match self.state {
            Some(State::Running | State::Compensating | State::Stuck) => true,
            Some(State::Completed | State::Compensated) | None => false,
        };
        of_state
            || self.unfinished
            || self.needs_me.is_some()
            || self.step.is_some()
            || self.paused == Some(true)
    }

    /// Returns true if the filter picks only sagas that are being undone, were undone, or are
    /// stuck. Only those have a reason. Most sagas have completed, and so have none.
    #[must_use]
    pub fn is_of_undone(&self) -> bool {
        self.reason.is_some()
    }

    /// Returns true if the filter picks the saga. Does not check the saga's age.
    #[must_use]
    pub fn picks(&self, saga: &Instance) -> bool {
        let paused = saga.paused.is_some() && saga.ended().is_none();
        self.state.is_none_or(|state| saga.phase.state() == state)
            && self.definition.as_ref().is_none_or(|name| saga.definition == *name)
            && self.before.is_none_or(|before| saga.id < before)
            && self.paused.is_none_or(|wanted| paused == wanted)
            && self.step.as_ref().is_none_or(|step| step.holds(saga))
            && self.reason.as_ref().is_none_or(|reason| has_reason(saga, reason))
            && (!self.unfinished || saga.ended().is_none())
            && self.needs_me.as_ref().is_none_or(|hosted| Need::of(hosted, saga).is_some())
    }
}

impl Place {
    fn holds(&self, saga: &Instance) -> bool {
        let here = |(definition, version, index): &(String, u32, usize)| {
            (definition, *version) == (&saga.definition, saga.definition_version)
                && saga.steps.get(*index).is_some_and(|state| match state {
                    StepState::Open(_) | StepState::Undoing(_) | StepState::Halted { .. } => true,
                    StepState::Pending
                    | StepState::Done
                    | StepState::Refused(_)
                    | StepState::Unknown
                    | StepState::Undone => false,
                })
        };
        saga.ended().is_none() && self.places.iter().any(here)
    }
}

fn has_reason(saga: &Instance, reason: &str) -> bool {
    let stuck = match &saga.phase {
        Phase::Stuck(stuck) => stuck.reason.code() == reason,
        Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => false,
    };
    stuck
        || match saga.phase.cause() {
            Some(Cause::Refused { refusal, .. }) => refusal.code == reason,
            Some(Cause::Unanswered { .. }) => reason == "UNANSWERED",
            Some(Cause::Deadline) => reason == "DEADLINE",
            Some(Cause::Cancelled(_)) => reason == "CANCELLED",
            Some(Cause::Operator(_)) => reason == "OPERATOR",
            None => false,
        }
}
