//! Runs one saga of any shape turn by turn, and checks every invariant at each turn.

use std::collections::BTreeMap;

use proptest::prelude::*;
use saga_core::{
    Admitted, Cancelled, Decision, Definition, Direction, HostedDefinition as _, Input, Instance,
    Intervention, OutgoingCommand, Refusal, Remedy, Reply, ReplyOutcome, SagaId, Signed,
    StateError, Stated, Timestamp, Verdict, Wish, start,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    invariants,
    shapes::{Acted, Memory, Shape, name},
};

/// An input to a saga. It may contradict what has happened before.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// An answer to one of the open commands.
    Answer { pick: usize, outcome: Said },
    /// A reply to any step in any direction, open or not.
    Stray { step: usize, direction: Direction, outcome: Said, redelivered: bool, repeat: bool },
    /// A wake-up when it is due.
    Wake,
    /// A wake-up at any time.
    Later { millis: u64 },
    /// A client's cancel.
    Cancel,
    /// An operator's remedy, which may rest on an older version.
    Operate { remedy: Remedy, behind: u64 },
}

/// A possible answer of a participant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Done(u64),
    Refused,
    TooLate,
    Nonsense,
}

/// Generates inputs, most of them sensible.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let direction = prop_oneof![Just(Direction::Action), Just(Direction::Compensation)];
    prop_oneof![
        8 => (any::<usize>(), said()).prop_map(|(pick, outcome)| Op::Answer { pick, outcome }),
        4 => (0..16_usize, direction, said(), any::<bool>(), any::<bool>()).prop_map(
            |(step, direction, outcome, redelivered, repeat)| {
                Op::Stray { step, direction, outcome, redelivered, repeat }
            }
        ),
        3 => Just(Op::Wake),
        2 => (0..40_000_u64).prop_map(|millis| Op::Later { millis }),
        1 => Just(Op::Cancel),
        4 => (remedy(), prop_oneof![6 => Just(0), 1 => 1..3_u64])
            .prop_map(|(remedy, behind)| Op::Operate { remedy, behind }),
    ]
}

/// Generates remedies, possible or not.
pub(crate) fn remedy() -> impl Strategy<Value = Remedy> {
    let direction = prop_oneof![Just(Direction::Action), Just(Direction::Compensation)];
    let reply = prop_oneof![
        2 => Just(None),
        2 => Just(Some(r#"{"number":7}"#.to_owned())),
        1 => Just(Some("nonsense".to_owned())),
        1 => Just(Some("[]".to_owned())),
    ];
    let outcome = prop_oneof![
        2 => reply.prop_map(|reply| Stated::Done { reply }),
        1 => Just(Stated::Refused),
    ];
    prop_oneof![
        2 => Just(Remedy::Retry),
        2 => Just(Remedy::Skip),
        4 => (0..16_usize, direction, outcome).prop_map(|(step, direction, outcome)| {
            Remedy::Resolve { step: name(step), direction, outcome }
        }),
        1 => Just(Remedy::Compensate),
        1 => Just(Remedy::Pause),
        2 => Just(Remedy::Resume),
    ]
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        12 => (0..9_u64).prop_map(Said::Done),
        3 => Just(Said::Refused),
        1 => Just(Said::TooLate),
        1 => Just(Said::Nonsense),
    ]
}

/// A saga while it runs.
pub(crate) struct Run {
    pub(crate) shape: Shape,
    pub(crate) definition: Definition<Memory>,
    pub(crate) saga: Instance,
    pub(crate) now: Timestamp,
    pub(crate) cancelled: Vec<Cancelled>,
    /// The bytes of every command ever sent, by id.
    bytes: BTreeMap<String, String>,
}

impl Run {
    /// Begins a saga, and returns it with the commands to send.
    pub(crate) fn start(shape: Shape) -> (Self, Vec<OutgoingCommand>) {
        let definition = shape.definition();
        let admitted = Admitted {
            caller: "ann".into(),
            deadline_millis: shape.deadline_millis,
            traceparent: None,
        };
        let id = SagaId(uuid::Uuid::from_u128(1));
        let now = Timestamp(1_000_000);
        let decision = start(&definition, id, &Memory::default(), admitted, now);
        let saga = decision.saga.clone().expect("a new saga is written");
        let mut run =
            Self { shape, definition, saga, now, cancelled: vec![], bytes: BTreeMap::new() };
        run.remember_bytes(&decision);
        invariants::row(&run.shape, &run.definition, &run.saga);
        (run, decision.send)
    }

    /// Makes one turn and checks all its invariants.
    pub(crate) fn turn(&mut self, input: &Input) -> Result<Decision, StateError> {
        let decision = self.definition.turn(&self.saga, input, self.now);
        let again = self.definition.turn(&self.saga, input, self.now);
        assert_eq!(fingerprint(&decision), fingerprint(&again), "same input, same decision");
        let decision = decision?;
        let before = self.saga.clone();
        if let Some(saga) = &decision.saga {
            self.saga = saga.clone();
        }
        invariants::row(&self.shape, &self.definition, &self.saga);
        let seen = invariants::Seen { before: &before, input, decision: &decision, now: self.now };
        invariants::turn(&self.shape, &self.definition, &seen, &self.saga);
        self.remember_bytes(&decision);
        if let Verdict::Cancel(outcome) = decision.verdict {
            self.cancelled.push(outcome);
        }
        Ok(decision)
    }

    pub(crate) fn open(&self) -> Vec<OutgoingCommand> {
        self.definition.open_commands(&self.saga).expect("a sound row")
    }

    /// Makes an intervention at the current version.
    pub(crate) fn operate(&mut self, remedy: Remedy) -> Decision {
        let intervention =
            Intervention { remedy, expected_version: self.saga.version, signed: operator() };
        self.turn(&Input::Intervene(intervention)).expect("sound")
    }

    pub(crate) fn play(&mut self, op: &Op) -> Vec<OutgoingCommand> {
        let Some(input) = self.input(op) else { return Vec::new() };
        match self.turn(&input) {
            Ok(decision) => decision.send,
            Err(StateError::Reply { .. }) => Vec::new(),
            Err(error @ (StateError::Data { .. } | StateError::Steps { .. })) => panic!("{error}"),
        }
    }

    fn input(&mut self, op: &Op) -> Option<Input> {
        Some(match op {
            Op::Answer { pick, outcome } => {
                let open = self.open();
                let id = &open.get(pick % open.len().max(1))?.id;
                Input::Reply(reply(&id.step, id.direction, *outcome))
            }
            Op::Stray { step, direction, outcome, redelivered, repeat } => Input::Reply(Reply {
                redelivered: *redelivered,
                repeat: *repeat,
                ..reply(&name(*step), *direction, *outcome)
            }),
            Op::Wake => {
                self.now = self.now.max(self.saga.wake_at?);
                Input::Wake
            }
            Op::Later { millis } => {
                self.now = self.now.plus_millis(*millis);
                Input::Wake
            }
            Op::Cancel => Input::Cancel(Wish { by: "ann".into(), reason: "no".into() }),
            Op::Operate { remedy, behind } => Input::Intervene(Intervention {
                remedy: remedy.clone(),
                expected_version: self.saga.version.saturating_sub(*behind),
                signed: operator(),
            }),
        })
    }

    /// Checks that a command has the same bytes at every attempt.
    fn remember_bytes(&mut self, decision: &Decision) {
        for command in &decision.send {
            let data = command.payload.data.get().to_owned();
            let known = self.bytes.entry(command.id.to_string()).or_insert_with(|| data.clone());
            assert_eq!(*known, data, "{} changed its bytes", command.id);
        }
    }
}

pub(crate) fn operator() -> Signed {
    Signed { by: "op".into(), reason: "looking".into() }
}

/// Creates a participant's reply.
pub(crate) fn reply(step: &str, direction: Direction, said: Said) -> Reply {
    let done = |data: Box<RawValue>| ReplyOutcome::Done {
        type_name: match direction {
            Direction::Action => "Acted".to_owned(),
            Direction::Compensation => "Unmade".to_owned(),
        },
        data,
    };
    let outcome = match said {
        Said::Done(number) => done(to_raw_value(&Acted { number }).expect("JSON")),
        Said::Nonsense => done(RawValue::from_string("[1e400]".into()).expect("JSON")),
        Said::Refused => ReplyOutcome::Refused(Refusal::new("NO", "é".repeat(400))),
        Said::TooLate => ReplyOutcome::TooLate,
    };
    Reply { step: step.to_owned(), direction, outcome, redelivered: false, repeat: false }
}

fn fingerprint(decision: &Result<Decision, StateError>) -> String {
    let saga = decision.as_ref().ok().and_then(|d| d.saga.as_ref());
    let rest = saga.map(|s| (s.data.get(), &s.cancel, &s.paused, &s.intervention));
    format!("{decision:?} {rest:?}")
}
