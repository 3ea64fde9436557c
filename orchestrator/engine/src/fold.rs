//! Folds inputs into writes and commands, one saga at a time, input by input (protocol 6).

use metrics::{counter, histogram};
use saga_core::{
    Decision, Direction, Happening, HistoryEntry, Hosted, HostedDefinition, Input, Instance,
    OutgoingCommand, StateError, Timestamp, Verdict,
};
use saga_trace::trace_id;
use tracing::error;

use crate::{Write, alert::Alert, answerer::Answerer};

/// The result of folding one saga's inputs.
#[derive(Debug)]
pub(crate) struct Folded {
    /// The saga's write, if anything changed.
    pub(crate) write: Option<Write>,
    /// The commands to publish after the commit.
    pub(crate) send: Vec<OutgoingCommand>,
    /// The fate of each input, in order.
    pub(crate) fates: Vec<Fate>,
    /// The step answers that moved the saga, for metrics.
    pub(crate) answers: Vec<StepAnswer>,
    /// The alerts to raise after the commit.
    pub(crate) alerts: Vec<Alert>,
}

impl Folded {
    /// Makes the result for a new saga from its first decision.
    pub(crate) fn first(decision: Decision) -> Self {
        let history = decision.history.into_iter().collect();
        let write = decision.saga.map(|saga| Write { before: 0, saga, history });
        let (fates, answers, alerts) = (Vec::new(), Vec::new(), Vec::new());
        Self { write, send: decision.send, fates, answers, alerts }
    }
}

/// A step's answer that moved a saga.
#[derive(Clone, Debug)]
pub(crate) struct StepAnswer {
    definition: &'static str,
    step: String,
    direction: Direction,
    outcome: &'static str,
    seconds: f64,
}

impl StepAnswer {
    /// Records the answer's latency. Called once its turn is committed.
    pub(crate) fn count(self) {
        histogram!(
            "saga_step_seconds",
            "definition" => self.definition,
            "step" => self.step,
            "direction" => self.direction.as_str(),
            "outcome" => self.outcome
        )
        .record(self.seconds);
    }
}

/// The fate of one input: the decision on it, or why there is none.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The input was decided on.
    Decided(Verdict),
    /// The input is a reply of a party that may not answer the step. It changes nothing.
    Impostor(String),
    /// The input is poison: it does not decode, so it can never be decided on.
    Poison(String),
    /// This binary cannot decide on the saga's row, so the input is left alone.
    Undecidable,
    /// This binary does not host the row's definition in its version.
    Unhosted,
}

/// An input, and the party that it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Cue<'a> {
    input: &'a Input,
    /// `None` for an input that the engine or its embedder made. A reply without a sender is an
    /// impostor's.
    from: Option<&'a Answerer>,
}

impl<'a> Cue<'a> {
    /// Makes the cue of an input that the engine or its embedder made.
    pub(crate) const fn own(input: &'a Input) -> Self {
        Self { input, from: None }
    }

    /// Makes the cue of a reply.
    pub(crate) const fn reply(input: &'a Input, from: &'a Answerer) -> Self {
        Self { input, from: Some(from) }
    }

    /// Returns why the input is an impostor's: only the participant that runs a step's command may
    /// answer it. The definition is the one of the saga's row, whatever the reply names.
    fn impostor(&self, definition: &dyn HostedDefinition) -> Option<String> {
        let Input::Reply(reply) = self.input else { return None };
        let runs = definition.participant_of(&reply.step, reply.direction);
        match self.from {
            Some(from) if from.may_answer(runs) => None,
            from => {
                let from = from.map_or_else(|| "nobody".to_owned(), ToString::to_string);
                let runs = runs.unwrap_or("nobody");
                Some(format!("impostor: {from} answers {}, which {runs} runs", reply.step))
            }
        }
    }
}

/// Folds the inputs over the saga, one after the other.
pub(crate) fn fold<'a>(
    hosted: &Hosted,
    saga: Instance,
    inputs: impl IntoIterator<Item = Cue<'a>>,
    now: Timestamp,
) -> Folded {
    let before = saga.version;
    let Some(definition) = hosted.get(&saga.definition, saga.definition_version) else {
        let fates = inputs.into_iter().map(|_| Fate::Unhosted).collect();
        return Folded {
            write: None,
            send: Vec::new(),
            fates,
            answers: Vec::new(),
            alerts: Vec::new(),
        };
    };
    let mut folding = Folding {
        saga,
        changed: false,
        history: Vec::new(),
        send: Vec::new(),
        answers: Vec::new(),
        alerts: Vec::new(),
    };
    let fates: Vec<Fate> =
        inputs.into_iter().map(|cue| folding.input(&**definition, cue, now)).collect();
    let Folding { saga, changed, history, mut send, answers, alerts } = folding;
    if fates.len() > 1 {
        // A later input may have closed a command that an earlier one opened.
        let open = definition.open_commands(&saga).unwrap_or_default();
        send.retain(|command| {
            open.iter().any(|o| o.id == command.id && o.attempt == command.attempt)
        });
    }
    let write = changed.then_some(Write { before, saga, history });
    Folded { write, send, fates, answers, alerts }
}

struct Folding {
    saga: Instance,
    changed: bool,
    history: Vec<HistoryEntry>,
    send: Vec<OutgoingCommand>,
    answers: Vec<StepAnswer>,
    alerts: Vec<Alert>,
}

impl Folding {
    fn input(&mut self, definition: &dyn HostedDefinition, cue: Cue<'_>, now: Timestamp) -> Fate {
        if let Some(why) = cue.impostor(definition) {
            return Fate::Impostor(why);
        }
        let decision = match definition.turn(&self.saga, cue.input, now) {
            Ok(decision) => decision,
            Err(StateError::Reply { step, source, .. }) => {
                return Fate::Poison(format!("the reply to {step} does not decode: {source}"));
            }
            Err(undecidable @ (StateError::Data { .. } | StateError::Steps { .. })) => {
                counter!("saga_undecidable_total").increment(1);
                let trace_id = trace_id(self.saga.traceparent.as_deref());
                error!(saga = %self.saga.id, trace_id, %undecidable, "the saga is left alone");
                return Fate::Undecidable;
            }
        };
        self.alerts.extend(Alert::of(&decision, now));
        let answer = decision.history.as_ref().and_then(|entry| self.answer(definition, entry));
        self.answers.extend(answer);
        if let Some(next) = decision.saga {
            self.saga = next;
            self.changed = true;
        }
        self.history.extend(decision.history);
        self.send.extend(decision.send);
        Fate::Decided(decision.verdict)
    }

    /// Returns the answer that caused a transition. Its latency is computed from the row before it.
    fn answer(
        &self,
        definition: &dyn HostedDefinition,
        entry: &HistoryEntry,
    ) -> Option<StepAnswer> {
        let (step, direction, outcome) = match &entry.happening {
            Happening::Done { step, direction } => (step, *direction, "done"),
            Happening::Refused { step, direction, .. } => (step, *direction, "refused"),
            Happening::Started
            | Happening::Resent
            | Happening::GaveUp { .. }
            | Happening::DeadlinePassed
            | Happening::Cancel(_)
            | Happening::Paused(_)
            | Happening::Resumed(_)
            | Happening::Retried(_)
            | Happening::Skipped { .. }
            | Happening::Resolved { .. }
            | Happening::Compensate(_)
            | Happening::Reminded => return None,
        };
        let opened = definition.opened_at(&self.saga, step, direction)?;
        Some(StepAnswer {
            definition: definition.name(),
            step: step.clone(),
            direction,
            outcome,
            seconds: seconds(opened, entry.at),
        })
    }
}

/// Returns the seconds between two instants; 0 if the store's clock was set back between them.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.0.saturating_sub(from.0).max(0) as f64 / 1e6
}
