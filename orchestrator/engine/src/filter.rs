//! The filter of lists of sagas.

use saga_core::{Cause, Hosted, Instance, Phase, SagaId, State, StepState};

use crate::Need;

/// A filter of sagas to list. [`ListFilter::picks`] checks a row; a store checks what a row alone
/// does not show: `older_than_millis` and `limit`.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those of this definition.
    pub definition: Option<String>,
    /// Only those older than this one.
    pub before: Option<SagaId>,
    /// Only those that began at least this long ago, by the store's clock, in milliseconds.
    pub older_than_millis: Option<u64>,
    /// Only those that are, or are not, paused.
    pub paused: Option<bool>,
    /// Only those that wait at this step, or are stuck at it.
    pub step: Option<Place>,
    /// Only those that are stuck or undone for this reason: a refusal's code, or
    /// UNANSWERED, DEADLINE, CANCELLED, OPERATOR.
    pub reason: Option<String>,
    /// Only those that have not ended.
    pub unfinished: bool,
    /// Only those that wait for a person ([`Need`]), as a server that hosts these sees it.
    pub needs_me: Option<Hosted>,
    /// At most this many.
    pub limit: usize,
}

/// A step, by its index in each definition that has it.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Definition, its version, and the step's index there.
    pub places: Vec<(String, u32, usize)>,
}

impl ListFilter {
    /// True if it picks only sagas that have not ended: those are few, the others many.
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

    /// True if it picks only sagas that are being undone, were undone, or are stuck. Only those
    /// have a reason. Most sagas are none of these: they have completed.
    #[must_use]
    pub fn is_of_undone(&self) -> bool {
        self.reason.is_some()
    }

    /// True if it picks the saga. The saga's age is not checked.
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
