//! The one function that decides what happens to a saga next.
//!
//! Read on in `turn/reply.rs` (a participant answers), `turn/advance.rs` (the next steps are
//! opened), `turn/wake.rs` (`wake_at` has passed), `turn/requests.rs` (a client cancels),
//! `turn/intervene.rs` (an operator intervenes).

mod advance;
mod intervene;
mod reply;
mod requests;
mod stuck;
mod wake;

use crate::{
    Admitted, Decision, Definition, Direction, Happening, HistoryEntry, Input, Instance, Opener,
    OutgoingCommand, Phase, Saga, SagaId, StateError, StepState, Timestamp, Verdict, limits,
};

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
        Input::Reply(reply) => match definition.step(&reply.step) {
            Some(step) => Opener::Reply { step, direction: reply.direction },
            None => return Ok(Decision::nothing(Verdict::Foreign)),
        },
        Input::Wake | Input::Cancel(_) | Input::Intervene(_) => Opener::Own,
    };
    let turn = Turn::new(definition, saga, data, now, opener);
    match input {
        Input::Reply(reply) => turn.reply(reply),
        Input::Wake => Ok(turn.wake()),
        Input::Cancel(wish) => Ok(turn.cancel(wish)),
        Input::Intervene(intervention) => Ok(turn.intervene(intervention)),
    }
}

/// Begins a saga: opens its first stage and returns the first commands to send.
///
/// # Panics
/// If the data cannot be written as JSON, which a plain struct always can.
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
        definition_version: definition.version,
        version: 0,
        caller: admission.caller,
        phase: Phase::Running,
        steps: vec![StepState::Pending; definition.steps.len()],
        data: serde_json::value::to_raw_value(data).expect("a saga's data is JSON"),
        started_at: now,
        deadline: now.plus_millis(admission.deadline_millis),
        cancel: None,
        paused: None,
        intervention: None,
        wake_at: None,
        traceparent: admission.traceparent,
    };
    let mut turn = Turn::new(definition, &saga, data.clone(), now, Opener::Own);
    turn.advance();
    turn.decide(Verdict::Applied, Some(Happening::Started), false)
}

/// A turn that is being decided: the next state of the saga, and the commands that were opened.
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

    fn commands(&self) -> Vec<OutgoingCommand> {
        let command = |&(step, direction): &(usize, Direction)| {
            self.definition.command(&self.next, &self.data, step, direction)
        };
        self.send.iter().filter_map(command).collect()
    }

    /// Finishes the turn. Without a happening, only `wake_at` may have changed.
    fn decide(mut self, verdict: Verdict, happening: Option<Happening>, alert: bool) -> Decision {
        // Even a saga that waits for a long time is looked at every few minutes: a clock that was
        // ahead may have written the time that it waits for.
        let longest = self.now.plus_millis(limits::LONGEST_SLEEP_MILLIS);
        let need = self.need().map(|need| need.min(longest));
        self.next.wake_at = match (self.before.wake_at, need) {
            // A `wake_at` earlier than needed is harmless, and keeping it spares an update of the
            // row's index. A `wake_at` that has passed must be replaced.
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
        if self.next.phase.ended().is_some() {
            self.data.forget();
            self.next.data =
                serde_json::value::to_raw_value(&self.data).expect("a saga's data is JSON");
        }
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
