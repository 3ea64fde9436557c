//! Decides on a client's cancel.

use super::Turn;
use crate::{Cancelled, Cause, Decision, Happening, Phase, Saga, StepState, Stuck, Verdict, Wish};

impl<S: Saga> Turn<'_, S> {
    pub(super) fn cancel(mut self, wish: &Wish) -> Decision {
        let outcome = match &self.next.phase {
            Phase::Completed => Cancelled::TooLate,
            Phase::Compensating(cause) | Phase::Compensated(cause) => after_the_fact(cause),
            Phase::Stuck(Stuck { unwinding: Some(cause), .. }) => after_the_fact(cause),
            Phase::Running | Phase::Stuck(Stuck { unwinding: None, .. }) => match self.pivot() {
                Some(StepState::Done) => Cancelled::TooLate,
                Some(StepState::Open(_)) => {
                    if self.next.cancel.is_some() {
                        return Decision::nothing(Verdict::Cancel(Cancelled::Recorded));
                    }
                    self.next.cancel = Some(wish.clone());
                    let happening = Some(Happening::Cancel(wish.clone()));
                    return self.decide(Verdict::Cancel(Cancelled::Recorded), happening, false);
                }
                None
                | Some(
                    StepState::Pending
                    | StepState::Refused(_)
                    | StepState::Unknown
                    | StepState::Undoing(_)
                    | StepState::Undone
                    | StepState::Halted { .. },
                ) => {
                    self.next.cancel = Some(wish.clone());
                    self.give_up_open_actions();
                    self.unwind(Cause::Cancelled(wish.clone()));
                    self.advance();
                    let happening = Some(Happening::Cancel(wish.clone()));
                    return self.decide(Verdict::Cancel(Cancelled::Accepted), happening, false);
                }
            },
        };
        Decision::nothing(Verdict::Cancel(outcome))
    }
}

fn after_the_fact(cause: &Cause) -> Cancelled {
    match cause {
        Cause::Cancelled(_) => Cancelled::Accepted,
        Cause::Refused { .. } | Cause::Unanswered { .. } | Cause::Deadline | Cause::Operator(_) => {
            Cancelled::AlreadyUndone
        }
    }
}
