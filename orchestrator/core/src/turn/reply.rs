//! Decides on a participant's reply.

use super::Turn;
use crate::{
    Cause, Decision, Direction, Happening, Kind, Opener, Refusal, Reply, ReplyOutcome, Saga,
    StateError, StepState, StuckReason, Verdict,
};

impl<S: Saga> Turn<'_, S> {
    pub(super) fn reply(mut self, reply: &Reply) -> Result<Decision, StateError> {
        let Opener::Reply { step, direction } = self.opener else {
            return Ok(Decision::nothing(Verdict::Foreign));
        };
        if !self.is_of_the_right_type(step, reply) {
            return Ok(Decision::nothing(Verdict::Foreign));
        }
        let verdict = match (&self.next.steps[step], direction) {
            (StepState::Open(_), Direction::Action)
            | (StepState::Undoing(_), Direction::Compensation) => Verdict::Applied,
            (StepState::Refused(_), Direction::Action) if self.is_a_done_pivot(step, reply) => {
                Verdict::Contradicts
            }
            (
                StepState::Done
                | StepState::Refused(_)
                | StepState::Halted { direction: Direction::Action, .. },
                Direction::Action,
            )
            | (
                StepState::Undone | StepState::Halted { direction: Direction::Compensation, .. },
                Direction::Compensation,
            ) => Verdict::Duplicate,
            (
                StepState::Unknown
                | StepState::Undoing(_)
                | StepState::Undone
                | StepState::Halted { direction: Direction::Compensation, .. },
                Direction::Action,
            ) => Verdict::Late,
            (StepState::Pending, Direction::Action | Direction::Compensation)
            | (
                StepState::Open(_)
                | StepState::Done
                | StepState::Refused(_)
                | StepState::Unknown
                | StepState::Halted { direction: Direction::Action, .. },
                Direction::Compensation,
            ) => Verdict::Foreign,
        };
        if verdict != Verdict::Applied {
            return Ok(self.publish_again(reply, verdict));
        }
        let happening = self.settle(step, reply)?;
        self.settled(&reply.step, direction);
        let alert = self.newly_stuck();
        Ok(self.decide(Verdict::Applied, Some(happening), alert))
    }

    fn is_a_done_pivot(&self, step: usize, reply: &Reply) -> bool {
        self.definition.steps[step].kind == Kind::Pivot
            && matches!(reply.outcome, ReplyOutcome::Done { .. })
    }

    fn is_of_the_right_type(&self, step: usize, reply: &Reply) -> bool {
        let spec = &self.definition.steps[step];
        let expected = match reply.direction {
            Direction::Action => Some(spec.reply_type),
            Direction::Compensation => spec.undo.as_ref().map(|undo| undo.reply_type),
        };
        match (&reply.outcome, expected) {
            (_, None) => false,
            (ReplyOutcome::Done { type_name, .. }, Some(expected)) => type_name == expected,
            (ReplyOutcome::Refused(_) | ReplyOutcome::TooLate, Some(_)) => true,
        }
    }

    /// Publishes commands again after a redelivered reply whose saga has moved on: only those that
    /// this very reply opened and that are still open. A reply that the participant marked as a
    /// repeat publishes nothing (protocol 4).
    fn publish_again(mut self, reply: &Reply, verdict: Verdict) -> Decision {
        if reply.redelivered && !reply.repeat && self.next.paused.is_none() {
            for (step, state) in self.next.steps.iter().enumerate() {
                match state {
                    StepState::Open(s) if s.opened_by == self.opener => {
                        self.send.push((step, Direction::Action));
                    }
                    StepState::Undoing(s) if s.opened_by == self.opener => {
                        self.send.push((step, Direction::Compensation));
                    }
                    StepState::Open(_)
                    | StepState::Undoing(_)
                    | StepState::Pending
                    | StepState::Done
                    | StepState::Refused(_)
                    | StepState::Unknown
                    | StepState::Undone
                    | StepState::Halted { .. } => {}
                }
            }
        }
        let send = self.commands();
        Decision { send, ..Decision::nothing(verdict) }
    }

    /// Records the answer to an open command in the saga.
    pub(super) fn settle(&mut self, step: usize, reply: &Reply) -> Result<Happening, StateError> {
        let (name, direction) = (reply.step.clone(), reply.direction);
        let refusal = match &reply.outcome {
            ReplyOutcome::Done { data, .. } => {
                if direction == Direction::Action {
                    let keep = &self.definition.steps[step].on_reply;
                    keep(&mut self.data, data).map_err(|source| StateError::Reply {
                        id: self.next.id,
                        step: name.clone(),
                        source,
                    })?;
                    self.next.data = serde_json::value::to_raw_value(&self.data)
                        .map_err(|source| StateError::Data { id: self.next.id, source })?;
                }
                self.next.steps[step] = match direction {
                    Direction::Action => StepState::Done,
                    Direction::Compensation => StepState::Undone,
                };
                return Ok(Happening::Done { step: name, direction });
            }
            ReplyOutcome::Refused(refusal) => refusal.clone().bounded(),
            // A participant whose database was restored may answer an open action like this. The
            // action then counts as refused, and the saga is undone (protocol 8).
            ReplyOutcome::TooLate => {
                Refusal::new("TOO_LATE", "the participant has this step's compensation on record")
            }
        };
        match (direction, self.definition.steps[step].kind) {
            (Direction::Action, Kind::Compensatable | Kind::Pivot) => {
                self.next.steps[step] = StepState::Refused(refusal.clone());
                let cause = match &self.next.cancel {
                    Some(wish) => Cause::Cancelled(wish.clone()),
                    None => Cause::Refused { step: name.clone(), refusal: refusal.clone() },
                };
                self.unwind(cause);
            }
            (Direction::Action, Kind::Retriable) | (Direction::Compensation, _) => {
                self.next.steps[step] = StepState::Halted { direction, refusal: refusal.clone() };
                self.stick(step, direction, StuckReason::Refused(refusal.clone()));
            }
        }
        Ok(Happening::Refused { step: name, direction, refusal })
    }
}
