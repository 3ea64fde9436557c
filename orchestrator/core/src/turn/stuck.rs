//! Starts to undo a saga, marks it as stuck, and lets a stuck saga go on.

use super::Turn;
use crate::{Cause, Direction, Phase, Saga, StepState, Stuck, StuckReason, limits};

impl<S: Saga> Turn<'_, S> {
    /// Starts to undo the saga, unless that has started already.
    pub(super) fn unwind(&mut self, cause: Cause) {
        match &mut self.next.phase {
            Phase::Running => self.next.phase = Phase::Compensating(cause),
            Phase::Stuck(stuck) => {
                stuck.unwinding.get_or_insert(cause);
            }
            Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => {}
        }
    }

    pub(super) fn stick(&mut self, step: usize, direction: Direction, reason: StuckReason) {
        let name = self.definition.steps[step].name;
        let unwinding = match &mut self.next.phase {
            Phase::Running => None,
            Phase::Compensating(cause) => Some(cause.clone()),
            Phase::Stuck(stuck) => {
                // The saga was stuck because no answer came. Now the answer is a refusal.
                if stuck.step == name && stuck.direction == direction {
                    stuck.reason = reason;
                }
                return;
            }
            Phase::Completed | Phase::Compensated(_) => return,
        };
        self.next.phase = Phase::Stuck(Stuck {
            unwinding,
            step: name.to_owned(),
            direction,
            reason,
            since: self.now,
            remind_at: self.now.plus_millis(limits::STUCK_REMINDER_MILLIS),
            alerts: 1,
        });
    }

    pub(super) fn leave_stuck(&mut self) {
        if let Phase::Stuck(stuck) = &self.next.phase {
            self.next.phase = match &stuck.unwinding {
                Some(cause) => Phase::Compensating(cause.clone()),
                None => Phase::Running,
            };
        }
    }

    /// Marks the saga as stuck at a step that was halted while it was stuck at another one. Without
    /// this, nothing would ever look at the saga again.
    pub(super) fn stick_where_halted(&mut self) {
        let halted = self.next.steps.iter().enumerate().find_map(|(step, state)| match state {
            StepState::Halted { direction, refusal } => Some((step, *direction, refusal.clone())),
            StepState::Pending
            | StepState::Open(_)
            | StepState::Done
            | StepState::Refused(_)
            | StepState::Unknown
            | StepState::Undoing(_)
            | StepState::Undone => None,
        });
        if let Some((step, direction, refusal)) = halted {
            self.stick(step, direction, StuckReason::Refused(refusal));
        }
    }

    /// Returns true if this turn made the saga stuck at a new step.
    pub(super) fn newly_stuck(&self) -> bool {
        match (&self.before.phase, &self.next.phase) {
            (Phase::Stuck(before), Phase::Stuck(next)) => {
                (&before.step, before.direction) != (&next.step, next.direction)
            }
            (
                Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_),
                next,
            ) => matches!(next, Phase::Stuck(_)),
            (
                Phase::Stuck(_),
                Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_),
            ) => false,
        }
    }
}
