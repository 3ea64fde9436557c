//! Admission of a command at a participant that may have seen it before.

use crate::Direction;

/// The record of one (saga, step). Action and compensation contend for this one row (semantics 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<A> {
    /// The action's part, if it came.
    pub action: Option<Part<A>>,
    /// The compensation's part, if it came. Without an action beside it, it is a tombstone
    /// (semantics 12).
    pub compensation: Option<Part<A>>,
}

impl<A> Default for Record<A> {
    /// The record of a step of which no command has come.
    fn default() -> Self {
        Self { action: None, compensation: None }
    }
}

/// One direction of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<A> {
    /// Hash of the command's type and payload.
    pub hash: Vec<u8>,
    /// The recorded answer. `None` stands for an intent to ask the outside world whose outcome is
    /// not recorded.
    pub answer: Option<A>,
    /// Number of calls to the outside world that may have been made for an action without an
    /// answer: one for each recorded intent, less those that provably were never sent. 0 proves
    /// that the outside world knows nothing of the action (protocol 14).
    pub calls: u32,
}

impl<A> Part<A> {
    /// True for an intent under which no call was made.
    fn is_unsent(&self) -> bool {
        self.answer.is_none() && self.calls == 0
    }
}

/// The way to treat a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission<A> {
    /// Run the handler.
    Run {
        /// True if an intent without an answer was found: an earlier run may already have asked
        /// the outside world, so look up before asking again.
        resumed: bool,
    },
    /// Give the recorded answer again, marked as a repeat (protocol 12).
    Repeat(A),
    /// A compensation without an effect to undo: leave a tombstone and succeed.
    NothingToUndo {
        /// True if a refusal proves that nothing was sent to the outside world. Otherwise a
        /// participant with an outside effect must ask there by the action's key (protocol 14).
        proven: bool,
    },
    /// A compensation of an action whose intent is on record, but whose calls were never sent: undo
    /// the effect of the intent, and ask nobody.
    NeverSent,
    /// An action whose compensation is on record: refuse it (semantics 13).
    TooLate {
        /// True if the action's intent is on record, so that an outside effect may have to be
        /// undone.
        intended: bool,
    },
    /// The same id with another payload: it goes to the quarantine (semantics 4).
    Conflict,
}

/// Decides from the record alone. `refused` returns true for a recorded answer that is a refusal.
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
        // An effect that was undone is not told as done: the saga that asks for it again does not
        // know of the undo, as after its database was restored (protocol 8, 12).
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
