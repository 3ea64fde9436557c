//! From inputs to what is written and sent: one saga at a time, input by input
//! (protocol 6).

use metrics::counter;
use saga_core::{
    Hosted, HostedDefinition, Input, Instance, OutgoingCommand, StateError, Timestamp, Verdict,
};
use tracing::error;

use crate::Write;

/// What came of one saga's inputs.
#[derive(Debug)]
pub(crate) struct Folded {
    /// What to write, if anything changed.
    pub(crate) write: Option<Write>,
    /// What to publish once it is written.
    pub(crate) send: Vec<OutgoingCommand>,
    /// What became of each input, in order.
    pub(crate) fates: Vec<Fate>,
}

/// What became of one input.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It was decided on.
    Decided(Verdict),
    /// It can never be decided on, because it does not decode: it is poison.
    Poison(String),
    /// The saga's row cannot be decided on by this binary.
    Undecidable,
}

/// Folds the inputs over the saga, one after the other.
pub(crate) fn fold<'a>(
    hosted: &Hosted,
    saga: Instance,
    inputs: impl IntoIterator<Item = &'a Input>,
    now: Timestamp,
) -> Folded {
    let before = saga.version;
    let Some(definition) = hosted.get(&saga.definition, saga.definition_version) else {
        counter!("saga_undecidable_total").increment(1);
        let fates = inputs.into_iter().map(|_| Fate::Undecidable).collect();
        return Folded { write: None, send: Vec::new(), fates };
    };
    let mut folding = Folding { saga, changed: false, history: Vec::new(), send: Vec::new() };
    let fates: Vec<Fate> =
        inputs.into_iter().map(|input| folding.input(&**definition, input, now)).collect();
    let Folding { saga, changed, history, mut send } = folding;
    if fates.len() > 1 {
        // A later input may have closed what an earlier one opened.
        let open = definition.open_commands(&saga).unwrap_or_default();
        send.retain(|command| {
            open.iter().any(|o| o.id == command.id && o.attempt == command.attempt)
        });
    }
    Folded { write: changed.then_some(Write { before, saga, history }), send, fates }
}

struct Folding {
    saga: Instance,
    changed: bool,
    history: Vec<saga_core::HistoryEntry>,
    send: Vec<OutgoingCommand>,
}

impl Folding {
    fn input(&mut self, definition: &dyn HostedDefinition, input: &Input, now: Timestamp) -> Fate {
        let decision = match definition.turn(&self.saga, input, now) {
            Ok(decision) => decision,
            Err(StateError::Reply { step, source, .. }) => {
                return Fate::Poison(format!("the reply to {step} does not decode: {source}"));
            }
            Err(undecidable @ (StateError::Data { .. } | StateError::Steps { .. })) => {
                counter!("saga_undecidable_total").increment(1);
                error!(saga = %self.saga.id, %undecidable, "the saga is left alone");
                return Fate::Undecidable;
            }
        };
        if decision.alert {
            counter!("saga_stuck_alerts_total", "definition" => definition.name()).increment(1);
            error!(saga = %self.saga.id, "the saga is stuck: it needs a person");
        }
        if let Some(next) = decision.saga {
            self.saga = next;
            self.changed = true;
        }
        self.history.extend(decision.history);
        self.send.extend(decision.send);
        Fate::Decided(decision.verdict)
    }
}
