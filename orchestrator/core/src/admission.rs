//! Decides how a participant treats a command that may have come before.

use crate::Direction;

/// A participant's record of one step of one saga. Action and compensation share it (semantics 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<A> {
    /// The action's part, if the action has come.
    pub action: Option<Part<A>>,
    /// The compensation's part, if the compensation has come. Without an action's part, it is a
    /// tombstone (semantics 12).
    pub compensation: Option<Part<A>>,
}

impl<A> Default for Record<A> {
    /// Makes the record of a step for which no command has come.
    fn default() -> Self {
        Self { action: None, compensation: None }
    }
}

/// The part of a record that belongs to the action or to the compensation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<A> {
    /// Hash of the command's type and payload.
    pub hash: Vec<u8>,
    /// The recorded answer. `None` if this is an intent to call the outside world and the outcome
    /// of the call is not recorded.
    pub answer: Option<A>,
    /// Number of calls to the outside world that may have been made for an unanswered action. Each
    /// recorded intent counts, unless its call provably was never sent. If it is 0, the outside
    /// world does not know the action (protocol 14).
    pub calls: u32,
}

impl<A> Part<A> {
    /// Returns true for an intent whose calls were never sent.
    fn is_unsent(&self) -> bool {
        self.answer.is_none() && self.calls == 0
    }
}

/// The ways to treat a command that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission<A> {
    /// Run the handler.
    Run {
        /// True if there is an intent without an answer. An earlier run may have called the outside
        /// world, so look there before calling again.
        resumed: bool,
    },
    /// Send the recorded answer again, marked as a repeat (protocol 12).
    Repeat(A),
    /// A compensation without an effect to undo: record a tombstone and answer *done*.
    NothingToUndo {
        /// True if a recorded refusal proves that the outside world was not changed. Otherwise a
        /// participant with outside effects must ask there by the action's key (protocol 14).
        proven: bool,
    },
    /// A compensation of an action whose intent is recorded, but whose calls were never sent: undo
    /// the intent's own effect, without calling the outside world.
    NeverSent,
    /// An action whose compensation is recorded: refuse the action (semantics 13).
    TooLate {
        /// True if the action's intent is recorded and its call may have been sent, so that an
        /// outside effect may have to be undone.
        intended: bool,
    },
    /// A known id with another payload: put the command into the quarantine (semantics 4).
    Conflict,
}

/// Decides from the record alone. `refused` must return true if a recorded answer is a refusal.
pub fn admit<A: Clone>(
    record: &Record<A>,
    direction: Direction,
    hash: &[u8],
    refused: impl Fn(&A) -> bool,
) -> Admission<A> {
    let own = match direction {
        Direction::Action => &record.action,
        Direction::Compensation => &record.compensation,
    };
    if let Some(part) = own {
        if part.hash != hash {
            return Admission::Conflict;
        }
        // An effect that was undone is not reported as done. A saga that asks again does not know
        // of the undo, for example after its database was restored (protocol 8, 12).
        let undone = direction == Direction::Action && record.compensation.is_some();
        match &part.answer {
            Some(answer) if undone && !refused(answer) => {
                return Admission::TooLate { intended: false };
            }
            Some(answer) => return Admission::Repeat(answer.clone()),
            None => {}
        }
    }
    match direction {
        Direction::Action => match (&record.action, &record.compensation) {
            (intent, Some(_)) => Admission::TooLate { intended: may_have_been_sent(intent) },
            (intent, None) => Admission::Run { resumed: may_have_been_sent(intent) },
        },
        Direction::Compensation => match &record.action {
            None => Admission::NothingToUndo { proven: false },
            Some(Part { answer: Some(answer), .. }) if refused(answer) => {
                Admission::NothingToUndo { proven: true }
            }
            Some(action) if action.is_unsent() => Admission::NeverSent,
            Some(_) => Admission::Run { resumed: record.compensation.is_some() },
        },
    }
}

fn may_have_been_sent<A>(action: &Option<Part<A>>) -> bool {
    action.as_ref().is_some_and(|action| !action.is_unsent())
}

#[cfg(test)]
mod tests {
    use super::*;

    type R = Record<&'static str>;

    fn part(answer: Option<&'static str>) -> Option<Part<&'static str>> {
        Some(Part { hash: vec![1], answer, calls: 1 })
    }

    fn unsent() -> Option<Part<&'static str>> {
        Some(Part { hash: vec![1], answer: None, calls: 0 })
    }

    fn ask(record: &R, direction: Direction) -> Admission<&'static str> {
        admit(record, direction, &[1], |answer| *answer == "refused")
    }

    #[test]
    fn a_new_action_runs() {
        assert_eq!(ask(&R::default(), Direction::Action), Admission::Run { resumed: false });
    }

    #[test]
    fn a_repeated_command_gets_its_recorded_answer_refusals_included() {
        for answer in ["done", "refused"] {
            let record = R { action: part(Some(answer)), compensation: None };
            assert_eq!(ask(&record, Direction::Action), Admission::Repeat(answer));
        }
    }

    #[test]
    fn a_repeated_action_whose_effect_was_undone_is_too_late() {
        let record = R { action: part(Some("done")), compensation: part(Some("undone")) };
        assert_eq!(ask(&record, Direction::Action), Admission::TooLate { intended: false });
        assert_eq!(ask(&record, Direction::Compensation), Admission::Repeat("undone"));
        let undoing = R { compensation: part(None), ..record };
        assert_eq!(ask(&undoing, Direction::Action), Admission::TooLate { intended: false });
        let refused = R { action: part(Some("refused")), compensation: part(Some("undone")) };
        assert_eq!(ask(&refused, Direction::Action), Admission::Repeat("refused"));
    }

    #[test]
    fn the_same_id_with_another_payload_is_a_conflict() {
        let record = R { action: part(Some("done")), compensation: None };
        assert_eq!(admit(&record, Direction::Action, &[2], |_| false), Admission::Conflict);
    }

    #[test]
    fn a_compensation_that_comes_first_leaves_a_tombstone_and_the_action_is_too_late() {
        assert_eq!(
            ask(&R::default(), Direction::Compensation),
            Admission::NothingToUndo { proven: false }
        );
        let tombstone = R { action: None, compensation: part(Some("undone")) };
        assert_eq!(ask(&tombstone, Direction::Action), Admission::TooLate { intended: false });
    }

    #[test]
    fn a_refused_action_has_nothing_to_undo() {
        let record = R { action: part(Some("refused")), compensation: None };
        assert_eq!(
            ask(&record, Direction::Compensation),
            Admission::NothingToUndo { proven: true }
        );
    }

    #[test]
    fn an_intent_without_a_settlement_is_resumed_and_its_compensation_runs() {
        let record = R { action: part(None), compensation: None };
        assert_eq!(ask(&record, Direction::Action), Admission::Run { resumed: true });
        assert_eq!(ask(&record, Direction::Compensation), Admission::Run { resumed: false });
        let both = R { action: part(None), compensation: part(None) };
        assert_eq!(ask(&both, Direction::Action), Admission::TooLate { intended: true });
        assert_eq!(ask(&both, Direction::Compensation), Admission::Run { resumed: true });
    }

    #[test]
    fn an_intent_whose_calls_were_never_sent_is_no_reason_to_ask_outside() {
        let record = R { action: unsent(), compensation: None };
        assert_eq!(ask(&record, Direction::Action), Admission::Run { resumed: false });
        assert_eq!(ask(&record, Direction::Compensation), Admission::NeverSent);
        let undone = R { action: unsent(), compensation: part(Some("undone")) };
        assert_eq!(ask(&undone, Direction::Action), Admission::TooLate { intended: false });
    }
}
