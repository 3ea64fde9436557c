//! Opens the next steps, forward or backward, and computes when to look at the saga again.

use super::Turn;
use crate::{
    Cause, Definition, Direction, Instance, Kind, Phase, Saga, Sending, StepState, Timestamp,
};

impl<S: Saga> Turn<'_, S> {
    /// Continues the saga after a step's command was settled.
    pub(super) fn settled(&mut self, name: &str, direction: Direction) {
        let held_up = matches!(&self.next.phase, Phase::Stuck(stuck)
            if stuck.step == name && stuck.direction == direction);
        let state = self.definition.step(name).map(|step| &self.next.steps[step]);
        let halted = matches!(state, Some(StepState::Halted { .. }));
        if held_up && !halted {
            self.leave_stuck();
            self.stick_where_halted();
        }
        self.advance();
    }

    /// Opens the next steps, or ends the saga.
    pub(super) fn advance(&mut self) {
        match &self.next.phase {
            Phase::Running => self.forward(),
            Phase::Compensating(cause) => {
                let cause = cause.clone();
                self.backward(cause);
            }
            Phase::Completed | Phase::Compensated(_) | Phase::Stuck(_) => {}
        }
    }

    fn forward(&mut self) {
        let undone = |state: &StepState| *state != StepState::Done;
        let unfinished =
            |range: &&std::ops::Range<usize>| self.next.steps[(*range).clone()].iter().any(undone);
        let Some(stage) = self.definition.stages.iter().find(unfinished).cloned() else {
            self.next.phase = Phase::Completed;
            return;
        };
        let untouched = self.next.steps[stage.clone()].iter().all(|s| *s == StepState::Pending);
        if !untouched || self.next.paused.is_some() {
            return;
        }
        // The turn that opens the pivot checks the deadline itself (protocol 9).
        if self.definition.steps[stage.start].kind != Kind::Retriable
            && self.next.deadline <= self.now
        {
            self.unwind(Cause::Deadline);
            self.backward(Cause::Deadline);
            return;
        }
        for step in stage {
            self.open(step, Direction::Action);
        }
    }

    /// Opens compensations, the last stage first. No compensation is opened before all actions are
    /// settled, including those that were sent side by side (semantics 15).
    fn backward(&mut self, cause: Cause) {
        if self.next.steps.iter().any(|s| matches!(s, StepState::Open(_))) {
            return;
        }
        for stage in self.definition.stages.iter().rev() {
            let mut waiting = false;
            for step in stage.clone() {
                match &self.next.steps[step] {
                    StepState::Done | StepState::Unknown => {
                        waiting = true;
                        if self.next.paused.is_none() {
                            self.open(step, Direction::Compensation);
                        }
                    }
                    StepState::Undoing(_) | StepState::Halted { .. } => waiting = true,
                    StepState::Pending
                    | StepState::Refused(_)
                    | StepState::Undone
                    | StepState::Open(_) => {}
                }
            }
            if waiting {
                return;
            }
        }
        self.next.phase = Phase::Compensated(cause);
    }

    pub(super) fn open(&mut self, step: usize, direction: Direction) {
        let id = self.definition.command_id(self.next.id, step, direction);
        let wait = self.definition.policy(step, direction).interval_millis(&id, 1);
        let sending = Sending {
            attempts: 1,
            due_at: self.now.plus_millis(wait),
            opened_by: self.opener.clone(),
        };
        self.next.steps[step] = match direction {
            Direction::Action => StepState::Open(sending),
            Direction::Compensation => StepState::Undoing(sending),
        };
        self.send.push((step, direction));
    }

    pub(super) fn give_up_open_actions(&mut self) {
        for state in &mut self.next.steps {
            if matches!(state, StepState::Open(_)) {
                *state = StepState::Unknown;
            }
        }
    }

    pub(super) fn pivot(&self) -> Option<&StepState> {
        self.definition.pivot_of(&self.next)
    }

    pub(super) fn deadline_counts(&self) -> bool {
        self.definition.deadline_counts(&self.next)
    }

    pub(super) fn need(&self) -> Option<Timestamp> {
        self.definition.need(&self.next)
    }
}

impl<S: Saga> Definition<S> {
    fn pivot_of<'a>(&self, saga: &'a Instance) -> Option<&'a StepState> {
        let pivot = self.steps.iter().position(|s| s.kind == Kind::Pivot)?;
        saga.steps.get(pivot)
    }

    fn deadline_counts(&self, saga: &Instance) -> bool {
        let before_pivot = self.pivot_of(saga).is_none_or(|state| *state == StepState::Pending);
        saga.phase == Phase::Running && before_pivot
    }

    /// Returns the time at which the saga must be looked at next: the earliest of its open steps'
    /// due times, its deadline and its reminder (protocol 5).
    pub(crate) fn need(&self, saga: &Instance) -> Option<Timestamp> {
        if saga.paused.is_some() || saga.phase.ended().is_some() {
            return None;
        }
        let due = saga.steps.iter().filter_map(|state| match state {
            StepState::Open(sending) | StepState::Undoing(sending) => Some(sending.due_at),
            StepState::Pending
            | StepState::Done
            | StepState::Refused(_)
            | StepState::Unknown
            | StepState::Undone
            | StepState::Halted { .. } => None,
        });
        let deadline = self.deadline_counts(saga).then_some(saga.deadline);
        let reminder = match &saga.phase {
            Phase::Stuck(stuck) => Some(stuck.remind_at),
            Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => {
                None
            }
        };
        due.chain(deadline).chain(reminder).min()
    }
}
