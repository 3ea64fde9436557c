//! Decides on operators' interventions. Every remedy in every state is either applied, or refused
//! with a reason.

use super::Turn;
use crate::{
    Cause, Decision, Direction, Happening, Intervened, Intervention, Kind, Obstacle, Phase,
    Refusal, Remedy, Reply, ReplyOutcome, Saga, Signed, Stated, StepState, Verdict,
};
use serde_json::value::RawValue;

/// The code of a refusal that an operator stated.
const STATED: &str = "STATED_BY_OPERATOR";

impl<S: Saga> Turn<'_, S> {
    pub(super) fn intervene(mut self, intervention: &Intervention) -> Decision {
        if self.next.intervention.as_ref() == Some(intervention) {
            return told(Intervened::Repeated);
        }
        if intervention.expected_version != self.next.version {
            return told(Intervened::Moved { version: self.next.version });
        }
        match self.apply(&intervention.remedy, &intervention.signed) {
            Ok(happening) => {
                self.next.intervention = Some(intervention.clone());
                let alert = self.newly_stuck();
                self.decide(Verdict::Intervention(Intervened::Applied), Some(happening), alert)
            }
            Err(obstacle) => told(Intervened::Impossible(obstacle)),
        }
    }

    fn apply(&mut self, remedy: &Remedy, signed: &Signed) -> Result<Happening, Obstacle> {
        if self.next.phase.ended().is_some() {
            return Err(Obstacle::Ended);
        }
        match remedy {
            Remedy::Retry => self.retry(signed),
            Remedy::Skip => self.skip(signed),
            Remedy::Resolve { step, direction, outcome } => {
                self.resolve(step, *direction, outcome, signed)
            }
            Remedy::Compensate => self.compensate(signed),
            Remedy::Pause => {
                if self.next.paused.is_some() {
                    return Err(Obstacle::PausedAlready);
                }
                self.next.paused = Some(signed.clone());
                Ok(Happening::Paused(signed.clone()))
            }
            Remedy::Resume => {
                self.next.paused.take().ok_or(Obstacle::NotPaused)?;
                self.advance();
                Ok(Happening::Resumed(signed.clone()))
            }
        }
    }

    fn retry(&mut self, signed: &Signed) -> Result<Happening, Obstacle> {
        if self.next.paused.is_some() {
            return Err(Obstacle::Paused);
        }
        self.leave_stuck();
        for step in 0..self.next.steps.len() {
            match &self.next.steps[step] {
                StepState::Open(_) => self.open(step, Direction::Action),
                StepState::Undoing(_) => self.open(step, Direction::Compensation),
                StepState::Halted { direction, .. } => self.open(step, *direction),
                StepState::Pending
                | StepState::Done
                | StepState::Refused(_)
                | StepState::Unknown
                | StepState::Undone => {}
            }
        }
        Ok(Happening::Retried(signed.clone()))
    }

    fn skip(&mut self, signed: &Signed) -> Result<Happening, Obstacle> {
        let Phase::Stuck(stuck) = &self.next.phase else { return Err(Obstacle::NotStuck) };
        let (name, direction) = (stuck.step.clone(), stuck.direction);
        let step = self.step(&name)?;
        let spec = &self.definition.steps[step];
        self.next.steps[step] = match direction {
            Direction::Action if spec.kind == Kind::Pivot => return Err(Obstacle::Pivot),
            Direction::Action if spec.keeps_reply => return Err(Obstacle::ReplyMissing),
            Direction::Action => StepState::Done,
            Direction::Compensation => StepState::Undone,
        };
        self.settled(&name, direction);
        Ok(Happening::Skipped { step: name, direction, signed: signed.clone() })
    }

    fn resolve(
        &mut self,
        name: &str,
        direction: Direction,
        outcome: &Stated,
        signed: &Signed,
    ) -> Result<Happening, Obstacle> {
        let step = self.step(name)?;
        match (&self.next.steps[step], direction) {
            (StepState::Open(_), Direction::Action)
            | (StepState::Undoing(_), Direction::Compensation) => {}
            (StepState::Halted { direction: halted, .. }, direction) if *halted == direction => {}
            (StepState::Unknown, Direction::Action) => return Err(Obstacle::GivenUp),
            (
                StepState::Pending
                | StepState::Open(_)
                | StepState::Done
                | StepState::Refused(_)
                | StepState::Unknown
                | StepState::Undoing(_)
                | StepState::Undone
                | StepState::Halted { .. },
                Direction::Action | Direction::Compensation,
            ) => return Err(Obstacle::NotOpen),
        }
        let done = match outcome {
            Stated::Done { reply } => {
                self.state_done(step, direction, reply.as_deref())?;
                true
            }
            Stated::Refused => {
                self.state_refused(step, direction)?;
                false
            }
        };
        self.settled(name, direction);
        Ok(Happening::Resolved { step: name.to_owned(), direction, done, signed: signed.clone() })
    }

    fn state_done(
        &mut self,
        step: usize,
        direction: Direction,
        reply: Option<&str>,
    ) -> Result<(), Obstacle> {
        let spec = &self.definition.steps[step];
        let keeps = spec.keeps_reply && direction == Direction::Action;
        let json = match (reply, keeps) {
            (None, true) => return Err(Obstacle::ReplyMissing),
            (Some(_), false) => return Err(Obstacle::ReplyUnwanted),
            (None, false) => "null",
            (Some(json), true) => json,
        };
        let data = RawValue::from_string(json.to_owned()).map_err(|_| Obstacle::ReplyUnreadable)?;
        let reply = Reply {
            step: spec.name.to_owned(),
            direction,
            outcome: ReplyOutcome::Done { type_name: spec.reply_type.to_owned(), data },
            redelivered: false,
            repeat: false,
        };
        self.settle(step, &reply).map(|_| ()).map_err(|_| Obstacle::ReplyUnreadable)
    }

    fn state_refused(&mut self, step: usize, direction: Direction) -> Result<(), Obstacle> {
        // Clients may read this text. The operator and the reason are only in the history.
        let refusal = Refusal::new(STATED, "an operator found that it did not happen");
        let name = self.definition.steps[step].name.to_owned();
        self.next.steps[step] = match (direction, self.definition.steps[step].kind) {
            (Direction::Action, Kind::Compensatable) => StepState::Unknown,
            (Direction::Action, Kind::Pivot) => StepState::Refused(refusal.clone()),
            (Direction::Action, Kind::Retriable) | (Direction::Compensation, _) => {
                return Err(Obstacle::NoRefusal);
            }
        };
        self.unwind(match &self.next.cancel {
            Some(wish) => Cause::Cancelled(wish.clone()),
            None => Cause::Refused { step: name, refusal },
        });
        Ok(())
    }

    fn compensate(&mut self, signed: &Signed) -> Result<Happening, Obstacle> {
        if self.next.phase.cause().is_some() {
            return Err(Obstacle::UndoneAlready);
        }
        match self.pivot() {
            Some(StepState::Done) => Err(Obstacle::PivotDone),
            Some(StepState::Open(_)) => Err(Obstacle::PivotOpen),
            None
            | Some(
                StepState::Pending
                | StepState::Refused(_)
                | StepState::Unknown
                | StepState::Undoing(_)
                | StepState::Undone
                | StepState::Halted { .. },
            ) => {
                self.give_up_open_actions();
                self.unwind(Cause::Operator(signed.clone()));
                self.advance();
                Ok(Happening::Compensate(signed.clone()))
            }
        }
    }

    fn step(&self, name: &str) -> Result<usize, Obstacle> {
        self.definition.step(name).ok_or(Obstacle::NoSuchStep)
    }
}

/// Returns a decision that changes nothing.
fn told(intervened: Intervened) -> Decision {
    Decision::nothing(Verdict::Intervention(intervened))
}
