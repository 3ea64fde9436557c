//! Sagas of any shape.

use std::collections::BTreeMap;

use proptest::prelude::*;
use saga_core::{Command, Definition, Kind, RetryPolicy, Saga, Steps, TypeName, step, together};
use serde::{Deserialize, Serialize};

/// A step that carries the replies of earlier stages. It is a macro because the type of a fresh
/// step has no public name.
macro_rules! action {
    ($stage_start:expr, $this:expr) => {{
        let (stage_start, this): (usize, usize) = ($stage_start, $this);
        step(NAMES[this], move |memory: &Memory| Act {
            step: this,
            heard: memory.heard.range(..stage_start).map(|(k, v)| (*k, *v)).collect(),
        })
    }};
}

/// The number of steps of each stage, before and after a pivot.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    before: Vec<usize>,
    pivot: bool,
    after: Vec<usize>,
    pub(crate) attempts: u32,
    pub(crate) deadline_millis: u64,
}

/// Generates shapes with at least one step.
pub(crate) fn shape() -> impl Strategy<Value = Shape> {
    let stages = |most| prop::collection::vec(1..=3_usize, 0..=most);
    let deadline = prop_oneof![1 => Just(0), 1 => 1..20_000_u64, 4 => Just(60_000)];
    (stages(3), any::<bool>(), stages(2), 1..4_u32, deadline).prop_map(
        |(before, pivot, after, attempts, deadline_millis)| {
            let pivot = pivot || before.is_empty();
            let after = if pivot { after } else { Vec::new() };
            Shape { before, pivot, after, attempts, deadline_millis }
        },
    )
}

/// Returns a shape with only a pivot, which has this number of attempts.
pub(crate) fn pivot_only(attempts: u32) -> Shape {
    Shape { before: vec![], pivot: true, after: vec![], attempts, deadline_millis: 60_000 }
}

impl Shape {
    pub(crate) fn steps(&self) -> usize {
        self.stages().iter().sum()
    }

    fn stages(&self) -> Vec<usize> {
        let pivot = self.pivot.then_some(1);
        self.before.iter().copied().chain(pivot).chain(self.after.iter().copied()).collect()
    }

    /// Returns the stage to which a step belongs.
    pub(crate) fn stage_of(&self, step: usize) -> usize {
        let mut first = 0;
        for (stage, size) in self.stages().into_iter().enumerate() {
            first += size;
            if step < first {
                return stage;
            }
        }
        panic!("no step {step}")
    }

    pub(crate) fn kind(&self, step: usize) -> Kind {
        match self.pivot() {
            Some(pivot) if step == pivot => Kind::Pivot,
            Some(pivot) if step > pivot => Kind::Retriable,
            Some(_) | None => Kind::Compensatable,
        }
    }

    pub(crate) fn pivot(&self) -> Option<usize> {
        self.pivot.then(|| self.before.iter().sum())
    }

    /// Builds the definition of this shape. An action carries the replies of earlier stages, and a
    /// compensation carries the cause.
    pub(crate) fn definition(&self) -> Definition<Memory> {
        let policy =
            RetryPolicy { first_millis: 1_000, longest_millis: 8_000, attempts: self.attempts };
        let mut first = 0;
        let mut steps = Steps::<Memory, _>::new();
        for size in &self.before {
            let undoable = |place: usize| {
                action!(first, first + place).retry(policy).compensate(move |_: &Memory, cause| {
                    Undo { step: first + place, why: format!("{cause:?}") }
                })
            };
            steps = match size {
                1 => steps.compensatable(undoable(0).on_reply(keep(first))),
                2 => steps.compensatable(together((undoable(0), undoable(1)))),
                _ => steps.compensatable(together((undoable(0), undoable(1), undoable(2)))),
            };
            first += size;
        }
        if !self.pivot {
            return steps.build();
        }
        let mut steps = steps.pivot(action!(first, first).retry(policy).on_reply(keep(first)));
        first += 1;
        for size in &self.after {
            let once = |place: usize| action!(first, first + place).retry(policy);
            steps = match size {
                1 => steps.retriable(once(0).on_reply(keep(first))),
                2 => steps.retriable(together((once(0), once(1)))),
                _ => steps.retriable(together((once(0), once(1), once(2)))),
            };
            first += size;
        }
        steps.build()
    }
}

/// The data of a saga of any shape: a number from every reply.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    heard: BTreeMap<usize, u64>,
}

impl Saga for Memory {
    const NAME: &'static str = "any-shape";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new().pivot(action!(0, 0)).build()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    step: usize,
    heard: BTreeMap<usize, u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Undo {
    step: usize,
    why: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Acted {
    pub(crate) number: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Unmade {}

impl TypeName for Act {
    const TYPE: &'static str = "Act";
}

impl TypeName for Acted {
    const TYPE: &'static str = "Acted";
}

impl TypeName for Undo {
    const TYPE: &'static str = "Undo";
}

impl TypeName for Unmade {
    const TYPE: &'static str = "Unmade";
}

impl Command for Act {
    const PARTICIPANT: &'static str = "actor";
    type Reply = Acted;
}

impl Command for Undo {
    const PARTICIPANT: &'static str = "actor";
    type Reply = Unmade;
}

const NAMES: [&str; 16] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14",
    "s15",
];

/// Returns the step with this name.
pub(crate) fn index(name: &str) -> usize {
    NAMES.iter().position(|n| *n == name).expect("one of ours")
}

/// Returns the name of a step.
pub(crate) fn name(step: usize) -> String {
    NAMES[step].to_owned()
}

fn keep(step: usize) -> impl Fn(&mut Memory, Acted) {
    move |memory, reply| {
        memory.heard.insert(step, reply.number);
    }
}
