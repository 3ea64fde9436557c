//! The one function that decides what happens to a saga next.

use serde_json::value::RawValue;

use crate::{
    Cause, Definition, Direction, Ended, Happening, HistoryEntry, Instance, Kind, Opener,
    OutgoingCommand, Pause, Phase, Refusal, Saga, SagaId, Sending, StateError, StepState, Stuck,
    StuckReason, Timestamp, Wish, limits,
};

/// What comes to a saga.
#[derive(Clone, Debug)]
pub enum Input {
    /// A participant's reply.
    Reply(Reply),
    /// Its `wake_at` has passed.
    Wake,
    /// The client takes its order back.
    Cancel(Wish),
    /// An operator holds it.
    Pause(Pause),
    /// An operator lets it go on.
    Resume(Pause),
}

/// A participant's reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The step that it answers.
    pub step: String,
    /// That step's direction.
    pub direction: Direction,
    /// The answer.
    pub outcome: ReplyOutcome,
    /// The broker delivered it before, or may have.
    pub redelivered: bool,
    /// The participant marked it as a repeat of a recorded answer.
    pub repeat: bool,
}

/// The answer in a reply.
#[derive(Clone, Debug)]
pub enum ReplyOutcome {
    /// The effect happened.
    Done {
        /// Full protobuf name of the reply.
        type_name: String,
        /// The reply, as JSON.
        data: Box<RawValue>,
    },
    /// The effect did not happen and will not.
    Refused(Refusal),
    /// The action came after its compensation.
    TooLate,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It moved the saga, or changed when to look at it again.
    Applied,
    /// It was known already.
    Duplicate,
    /// It came after the saga had given its step up, or had ended.
    Late,
    /// It answers nothing that this saga ever asked.
    Foreign,
    /// Nothing was due.
    Nothing,
    /// What became of a cancel.
    Cancel(Cancelled),
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The saga is being undone because of it, or was.
    Accepted,
    /// The pivot is open: its answer decides.
    Recorded,
    /// The pivot has happened.
    TooLate,
    /// The saga is being undone for another reason, or was.
    AlreadyUndone,
}

/// What a turn decided.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The saga's next state. `None`: nothing to write.
    pub saga: Option<Instance>,
    /// The transition, where there was one. Its absence beside a next state
    /// means that only `wake_at` moved.
    pub history: Option<HistoryEntry>,
    /// What to publish once the state is committed.
    pub send: Vec<OutgoingCommand>,
    /// What became of the input.
    pub verdict: Verdict,
    /// Whether the saga got stuck, or still is and must be heard again.
    pub alert: bool,
}

/// Begins a saga: its first stage is open, its first commands are due.
///
/// # Panics
/// If the data cannot be JSON: it is a plain struct.
pub fn start<S: Saga>(
    definition: &Definition<S>,
    id: SagaId,
    data: &S,
    admission: Admitted,
    now: Timestamp,
) -> Decision {
    let saga = Instance {
        id,
        definition: S::NAME.to_owned(),
        definition_version: S::VERSION,
        version: 0,
        caller: admission.caller,
        phase: Phase::Running,
        steps: vec![StepState::Pending; definition.steps.len()],
        data: serde_json::value::to_raw_value(data).expect("a saga's data is JSON"),
        started_at: now,
        deadline: now.plus_millis(admission.deadline_millis),
        cancel: None,
        paused: None,
        wake_at: None,
        traceparent: admission.traceparent,
    };
    let mut turn = Turn::new(definition, &saga, data.clone(), now, Opener::Own);
    turn.advance();
    turn.decide(Verdict::Applied, Some(Happening::Started), false)
}

/// What admission adds to a saga's data.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who asks.
    pub caller: String,
    /// How long forward work may take, in milliseconds.
    pub deadline_millis: u64,
    /// W3C trace context of the call.
    pub traceparent: Option<String>,
}

/// Decides what happens to a saga next.
///
/// Total: every input in every state has a verdict. Pure: the same arguments
/// give the same decision, in every process and at every time.
///
/// # Errors
/// If the row or the reply does not decode. Nothing is decided then.
pub fn turn<S: Saga>(
    definition: &Definition<S>,
    saga: &Instance,
    input: &Input,
    now: Timestamp,
) -> Result<Decision, StateError> {
    let data = definition.decode(saga)?;
    let opener = match input {
        Input::Reply(reply) => match definition.steps.iter().position(|s| s.name == reply.step) {
            Some(step) => Opener::Reply { step, direction: reply.direction },
            None => return Ok(Decision::nothing(Verdict::Foreign)),
        },
        Input::Wake | Input::Cancel(_) | Input::Pause(_) | Input::Resume(_) => Opener::Own,
    };
    let turn = Turn::new(definition, saga, data, now, opener);
    match input {
        Input::Reply(reply) => turn.reply(reply),
        Input::Wake => Ok(turn.wake()),
        Input::Cancel(wish) => Ok(turn.cancel(wish)),
        Input::Pause(pause) => Ok(turn.pause(pause)),
        Input::Resume(pause) => Ok(turn.resume(pause)),
    }
}

impl Decision {
    fn nothing(verdict: Verdict) -> Self {
        Self { saga: None, history: None, send: Vec::new(), verdict, alert: false }
    }
}

/// A turn in the making: the next state, and what it opened.
struct Turn<'a, S> {
    definition: &'a Definition<S>,
    before: &'a Instance,
    next: Instance,
    data: S,
    now: Timestamp,
    opener: Opener,
    send: Vec<(usize, Direction)>,
}

impl<'a, S: Saga> Turn<'a, S> {
    fn new(
        definition: &'a Definition<S>,
        before: &'a Instance,
        data: S,
        now: Timestamp,
        opener: Opener,
    ) -> Self {
        Self { definition, before, next: before.clone(), data, now, opener, send: Vec::new() }
    }

    fn reply(mut self, reply: &Reply) -> Result<Decision, StateError> {
        let Opener::Reply { step, direction } = self.opener else {
            return Ok(Decision::nothing(Verdict::Foreign));
        };
        if !self.is_of_the_right_type(step, reply) {
            return Ok(Decision::nothing(Verdict::Foreign));
        }
        let verdict = match (&self.next.steps[step], direction) {
            (StepState::Open(_), Direction::Action)
            | (StepState::Undoing(_), Direction::Compensation) => Verdict::Applied,
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
        let unstuck = matches!(&self.next.phase, Phase::Stuck(stuck)
            if stuck.step == reply.step && stuck.direction == direction
            && !matches!(self.next.steps[step], StepState::Halted { .. }));
        if unstuck {
            self.leave_stuck();
            self.stick_where_halted();
        }
        self.advance();
        let alert = self.newly_stuck();
        Ok(self.decide(Verdict::Applied, Some(happening), alert))
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

    /// A redelivered reply whose saga has moved on publishes again only what this
    /// very reply opened and what is still open; a repeat publishes nothing
    /// (protocol 4).
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

    /// Records the answer to an open command.
    fn settle(&mut self, step: usize, reply: &Reply) -> Result<Happening, StateError> {
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
            // A restored database answers so to an open action: it counts as
            // refused and unwinds (protocol 8).
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

    /// Begins to undo, unless that has begun.
    fn unwind(&mut self, cause: Cause) {
        match &mut self.next.phase {
            Phase::Running => self.next.phase = Phase::Compensating(cause),
            Phase::Stuck(stuck) => {
                stuck.unwinding.get_or_insert(cause);
            }
            Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => {}
        }
    }

    fn stick(&mut self, step: usize, direction: Direction, reason: StuckReason) {
        let name = self.definition.steps[step].name;
        let unwinding = match &mut self.next.phase {
            Phase::Running => None,
            Phase::Compensating(cause) => Some(cause.clone()),
            Phase::Stuck(stuck) => {
                // Stuck for want of an answer, and now the answer is no.
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
        });
    }

    fn leave_stuck(&mut self) {
        if let Phase::Stuck(stuck) = &self.next.phase {
            self.next.phase = match &stuck.unwinding {
                Some(cause) => Phase::Compensating(cause.clone()),
                None => Phase::Running,
            };
        }
    }

    /// A neighbour of the step that held the saga up may have been halted
    /// meanwhile; without this nothing would ever look at the saga again.
    fn stick_where_halted(&mut self) {
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

    /// Whether this turn found something to be stuck at that was not known before.
    fn newly_stuck(&self) -> bool {
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

    fn wake(mut self) -> Decision {
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
            && stuck.remind_at <= self.now
        {
            stuck.remind_at = self.now.plus_millis(limits::STUCK_REMINDER_MILLIS);
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

    /// Sends a step's command again if its answer is late. Says whether the step
    /// exceeded its bound just now.
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
        if sending.due_at > now {
            return false;
        }
        let exhausted = sending.attempts >= policy.attempts;
        if exhausted && direction == Direction::Action && kind == Kind::Compensatable {
            // A time-out means unknown: undo it, including this very step
            // (semantics 10).
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

    fn cancel(mut self, wish: &Wish) -> Decision {
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

    fn pause(mut self, pause: &Pause) -> Decision {
        if self.next.paused.is_some() || self.next.phase.ended().is_some() {
            return Decision::nothing(Verdict::Nothing);
        }
        self.next.paused = Some(pause.clone());
        self.decide(Verdict::Applied, Some(Happening::Paused(pause.clone())), false)
    }

    fn resume(mut self, by: &Pause) -> Decision {
        // A pause may outlast its saga; an end never changes.
        if self.next.phase.ended().is_some() || self.next.paused.take().is_none() {
            return Decision::nothing(Verdict::Nothing);
        }
        self.advance();
        self.decide(Verdict::Applied, Some(Happening::Resumed(by.clone())), false)
    }

    /// Opens what is next, or ends the saga.
    fn advance(&mut self) {
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
        // The deadline is bounded by the very turn that opens the pivot (protocol 9).
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

    /// Undoes in reverse order of the stages. Steps side by side are all settled
    /// before unwinding starts (semantics 15).
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

    fn open(&mut self, step: usize, direction: Direction) {
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

    fn give_up_open_actions(&mut self) {
        for state in &mut self.next.steps {
            if matches!(state, StepState::Open(_)) {
                *state = StepState::Unknown;
            }
        }
    }

    fn pivot(&self) -> Option<&StepState> {
        let pivot = self.definition.steps.iter().position(|s| s.kind == Kind::Pivot)?;
        Some(&self.next.steps[pivot])
    }

    fn deadline_counts(&self) -> bool {
        let before_pivot = self.pivot().is_none_or(|state| *state == StepState::Pending);
        self.next.phase == Phase::Running && before_pivot
    }

    /// When the saga needs to be looked at next: the earliest of its open steps'
    /// due times, the deadline and the reminder (protocol 5).
    fn need(&self) -> Option<Timestamp> {
        if self.next.paused.is_some() || self.next.phase.ended().is_some() {
            return None;
        }
        let due = self.next.steps.iter().filter_map(|state| match state {
            StepState::Open(sending) | StepState::Undoing(sending) => Some(sending.due_at),
            StepState::Pending
            | StepState::Done
            | StepState::Refused(_)
            | StepState::Unknown
            | StepState::Undone
            | StepState::Halted { .. } => None,
        });
        let deadline = self.deadline_counts().then_some(self.next.deadline);
        let reminder = match &self.next.phase {
            Phase::Stuck(stuck) => Some(stuck.remind_at),
            Phase::Running | Phase::Compensating(_) | Phase::Completed | Phase::Compensated(_) => {
                None
            }
        };
        due.chain(deadline).chain(reminder).min()
    }

    fn commands(&self) -> Vec<OutgoingCommand> {
        let command = |&(step, direction): &(usize, Direction)| {
            self.definition.command(&self.next, &self.data, step, direction)
        };
        self.send.iter().filter_map(command).collect()
    }

    /// Closes the turn. Without a happening only `wake_at` may have moved.
    fn decide(mut self, verdict: Verdict, happening: Option<Happening>, alert: bool) -> Decision {
        let need = self.need();
        self.next.wake_at = match (self.before.wake_at, need) {
            // Earlier than needed is harmless and keeps the row's index entry
            // where it is; a wake that has come must move on.
            (Some(at), Some(need)) if at <= need && at > self.now => Some(at),
            (_, need) => need,
        };
        let send = self.commands();
        let Some(happening) = happening else {
            let moved = self.next.wake_at != self.before.wake_at;
            return Decision {
                saga: moved.then_some(self.next),
                send,
                ..Decision::nothing(verdict)
            };
        };
        self.next.version += 1;
        let history = HistoryEntry {
            version: self.next.version,
            at: self.now,
            happening,
            sent: send
                .iter()
                .map(|c| (format!("{}/{}", c.id.step, c.id.direction), c.attempt))
                .collect(),
            state: self.next.phase.state(),
        };
        Decision { saga: Some(self.next), history: Some(history), send, verdict, alert }
    }
}

fn after_the_fact(cause: &Cause) -> Cancelled {
    match cause {
        Cause::Cancelled(_) => Cancelled::Accepted,
        Cause::Refused { .. } | Cause::Unanswered { .. } | Cause::Deadline => {
            Cancelled::AlreadyUndone
        }
    }
}

impl Instance {
    /// The end, if it has come.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.phase.ended()
    }
}
