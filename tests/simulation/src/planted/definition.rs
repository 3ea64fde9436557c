//! Bugs in the decisions of definitions.

use std::sync::Arc;

use saga_core::{
    Admitted, Decision, Direction, Hosted, HostedDefinition, Input, Instance, Opener,
    OutgoingCommand, Phase, Refusal, Reply, ReplyOutcome, SagaId, Sending, Start, StateError,
    StepState, Timestamp, Verdict,
};
use serde_json::value::RawValue;

use super::Planted;

/// A definition with a planted bug.
struct Definition {
    inner: Arc<dyn HostedDefinition>,
    planted: Planted,
}

/// Returns the definitions, each with the bug if one is planted.
pub(crate) fn hosted(sound: &Hosted, planted: Option<Planted>) -> Hosted {
    let Some(planted) = planted else { return sound.clone() };
    let all = sound.names().filter_map(|(name, version)| sound.get(name, version));
    all.fold(Hosted::default(), |hosted, inner| {
        hosted.with_one(Definition { inner: Arc::clone(inner), planted })
    })
}

fn refusal() -> Refusal {
    Refusal { code: "PLANTED".to_owned(), message: "nobody answered".to_owned() }
}

impl Definition {
    fn pivot_state<'a>(&self, saga: &'a Instance) -> Option<&'a StepState> {
        saga.steps.get(self.inner.pivot()?)
    }

    /// Returns the saga as if its open actions had been refused.
    fn spared(saga: &Instance) -> Instance {
        let mut saga = saga.clone();
        for step in &mut saga.steps {
            if matches!(step, StepState::Open(_)) {
                *step = StepState::Refused(refusal());
            }
        }
        saga
    }

    /// Returns the saga as if the step that a reply answers were open.
    fn opened(&self, saga: &Instance, reply: &Reply) -> Instance {
        let mut saga = saga.clone();
        let step = self.inner.step_names().iter().position(|name| *name == reply.step);
        let sending = Sending { attempts: 1, due_at: Timestamp(i64::MAX), opened_by: Opener::Own };
        if saga.ended().is_none()
            && let Some(step) = step
        {
            saga.steps[step] = match reply.direction {
                Direction::Action => StepState::Open(sending),
                Direction::Compensation => StepState::Undoing(sending),
            };
        }
        saga
    }
}

impl HostedDefinition for Definition {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn version(&self) -> u32 {
        self.inner.version()
    }

    fn step_names(&self) -> Vec<&'static str> {
        self.inner.step_names()
    }

    fn pivot(&self) -> Option<usize> {
        self.inner.pivot()
    }

    fn participant_of(&self, step: &str, direction: Direction) -> Option<&'static str> {
        // Any participant may answer a step that nobody runs.
        let anybodys = self.planted == Planted::AnybodysReplyCounts;
        self.inner.participant_of(step, direction).filter(|_| !anybodys)
    }

    fn start(
        &self,
        id: SagaId,
        data: &RawValue,
        admitted: Admitted,
    ) -> Result<Start<'_>, serde_json::Error> {
        self.inner.start(id, data, admitted)
    }

    fn turn(&self, saga: &Instance, input: &Input, now: Timestamp) -> Result<Decision, StateError> {
        let decide = |saga: &Instance, input: &Input| self.inner.turn(saga, input, now);
        let before_pivot = matches!(self.pivot_state(saga), None | Some(StepState::Pending));
        match (self.planted, input) {
            (Planted::UnknownNotUndone, Input::Cancel(_)) if before_pivot => {
                decide(&Self::spared(saga), input)
            }
            (Planted::UnknownNotUndone, Input::Wake)
                if before_pivot && saga.phase == Phase::Running && saga.deadline <= now =>
            {
                decide(&Self::spared(saga), input)
            }
            (Planted::PivotTimesOut, Input::Wake) => match self.pivot_state(saga) {
                Some(StepState::Open(sending))
                    if sending.due_at <= now && saga.phase == Phase::Running =>
                {
                    let step = self.inner.step_names()[self.inner.pivot().unwrap_or_default()];
                    let reply = Reply {
                        step: step.to_owned(),
                        direction: Direction::Action,
                        outcome: ReplyOutcome::Refused(refusal()),
                        redelivered: false,
                        repeat: false,
                    };
                    decide(saga, &Input::Reply(reply))
                }
                Some(_) | None => decide(saga, input),
            },
            (Planted::CancelBeyondThePivot, Input::Cancel(_))
                if matches!(self.pivot_state(saga), Some(StepState::Open(_))) =>
            {
                decide(&Self::spared(saga), input)
            }
            (Planted::StaleReplyMoves, Input::Reply(reply)) => {
                decide(&self.opened(saga, reply), input)
            }
            (Planted::RedeliveredReplyIgnored, Input::Reply(reply)) => {
                decide(saga, &Input::Reply(Reply { redelivered: false, ..reply.clone() }))
            }
            (Planted::RepublishesEverything, Input::Reply(_)) => {
                let mut decision = decide(saga, input)?;
                if decision.verdict != Verdict::Applied {
                    decision.send = self.inner.open_commands(saga)?;
                }
                Ok(decision)
            }
            (_, input) => decide(saga, input),
        }
    }

    fn open_commands(&self, saga: &Instance) -> Result<Vec<OutgoingCommand>, StateError> {
        self.inner.open_commands(saga)
    }

    fn need(&self, saga: &Instance) -> Option<Timestamp> {
        self.inner.need(saga)
    }

    fn opened_at(&self, saga: &Instance, step: &str, direction: Direction) -> Option<Timestamp> {
        self.inner.opened_at(saga, step, direction)
    }
}
