//! Decides on a saga whose `wake_at` has passed.

use super::Turn;
use crate::{
    Cause, Decision, Direction, Happening, Kind, Opener, Phase, Saga, StepState, StuckReason,
    Timestamp, Verdict, limits,
};

impl<S: Saga> Turn<'_, S> {
    pub(super) fn wake(mut self) -> Decision {
        if self.next.paused.is_some() || self.next.phase.ended().is_some() {
            return self.decide(Verdict::Nothing, None, false);
        }
        let mut alert = false;
        let mut happening = None;
        if self.deadline_counts() && self.next.deadline <= self.now {
            self.give_up_open_actions();
            self.unwind(Cause::Deadline);
            happening = Some(Happening::DeadlinePassed);
        } else {
            let mut given_up = Vec::new();
            for step in 0..self.next.steps.len() {
                if self.ask_again(step) {
                    given_up.push(self.definition.steps[step].name.to_owned());
                }
            }
            if !given_up.is_empty() {
                alert = self.newly_stuck();
                happening = Some(Happening::GaveUp { steps: given_up });
            }
        }
        if let Phase::Stuck(stuck) = &mut self.next.phase
            && has_come(stuck.remind_at, limits::STUCK_REMINDER_MILLIS, self.now)
        {
            stuck.remind_at = self.now.plus_millis(limits::STUCK_REMINDER_MILLIS);
            stuck.alerts = stuck.alerts.saturating_add(1);
            happening.get_or_insert(Happening::Reminded);
            alert = true;
        }
        self.advance();
        if happening.is_none() && !self.send.is_empty() {
            happening = Some(Happening::Resent);
        }
        let verdict = if happening.is_some() { Verdict::Applied } else { Verdict::Nothing };
        self.decide(verdict, happening, alert)
    }

    /// Sends a step's command again if its answer is late. Returns true if the last attempt of its
    /// policy has just gone unanswered.
    fn ask_again(&mut self, step: usize) -> bool {
        let kind = self.definition.steps[step].kind;
        let direction = match &self.next.steps[step] {
            StepState::Open(_) => Direction::Action,
            StepState::Undoing(_) => Direction::Compensation,
            StepState::Pending
            | StepState::Done
            | StepState::Refused(_)
            | StepState::Unknown
            | StepState::Undone
            | StepState::Halted { .. } => return false,
        };
        let policy = self.definition.policy(step, direction);
        let id = self.definition.command_id(self.next.id, step, direction);
        let now = self.now;
        let (StepState::Open(sending) | StepState::Undoing(sending)) = &mut self.next.steps[step]
        else {
            return false;
        };
        if !has_come(sending.due_at, policy.interval_millis(&id, sending.attempts), now) {
            return false;
        }
        let exhausted = sending.attempts >= policy.attempts;
        if exhausted && direction == Direction::Action && kind == Kind::Compensatable {
            // An unanswered action has an unknown outcome. So the saga is undone, including this
            // very step (semantics 10).
            self.next.steps[step] = StepState::Unknown;
            let step = self.definition.steps[step].name.to_owned();
            self.unwind(Cause::Unanswered { step });
            return true;
        }
        sending.attempts = sending.attempts.saturating_add(1);
        sending.opened_by = Opener::Own;
        sending.due_at = now.plus_millis(policy.interval_millis(&id, sending.attempts));
        self.send.push((step, direction));
        let newly = exhausted && !matches!(self.next.phase, Phase::Stuck(_));
        if newly {
            self.stick(step, direction, StuckReason::Unanswered);
        }
        newly
    }
}

/// Returns true if `at` has come. If `at` is clearly more than `after_millis` from now, a clock
/// that was ahead has written it, and it counts as come.
fn has_come(at: Timestamp, after_millis: u64, now: Timestamp) -> bool {
    let latest = now.plus_millis(after_millis).plus_millis(limits::CLOCK_SLACK_MILLIS);
    at <= now || at > latest
}
