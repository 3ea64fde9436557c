//! Core and participants together, over a network that loses, repeats and reorders messages, with
//! crashes between commit and publish. The participants use the real `admit`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use saga_core::{
    Admission, Cancelled, Direction, Ended, Input, Kind, OutgoingCommand, Part, Record, Remedy,
    Reply, Stated, admit,
};

use crate::{
    run::{Op, Run, Said, reply},
    shapes::{Shape, index, shape},
};

#[derive(Clone, Debug)]
enum Event {
    Command {
        pick: usize,
        fate: Fate,
    },
    Reply {
        pick: usize,
        fate: Fate,
    },
    /// The next turn commits, but its commands are not published.
    Crash,
    Own(Op),
    /// An operator looks up the outcome of an open command, and states it.
    Stated {
        pick: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    ArrivesAndComesAgain,
    Lost,
}

fn event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![
        5 => Just(Fate::Arrives),
        2 => Just(Fate::ArrivesAndComesAgain),
        1 => Just(Fate::Lost)
    ];
    let own = prop_oneof![
        6 => Just(Op::Wake),
        3 => (0..30_000_u64).prop_map(|millis| Op::Later { millis }),
        1 => Just(Op::Cancel),
        1 => Just(operates(Remedy::Pause)),
        2 => Just(operates(Remedy::Resume)),
        // Remedies that an operator may use without a look at the participants' records.
        1 => Just(operates(Remedy::Retry)),
        1 => Just(operates(Remedy::Compensate)),
    ];
    prop_oneof![
        4 => (any::<usize>(), fate.clone()).prop_map(|(pick, fate)| Event::Command { pick, fate }),
        4 => (any::<usize>(), fate).prop_map(|(pick, fate)| Event::Reply { pick, fate }),
        1 => Just(Event::Crash),
        2 => own.prop_map(Event::Own),
        1 => any::<usize>().prop_map(|pick| Event::Stated { pick }),
    ]
}

fn operates(remedy: Remedy) -> Op {
    Op::Operate { remedy, behind: 0 }
}

/// A participant's recorded answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Done,
    Refused,
}

struct World {
    run: Run,
    refuses: BTreeSet<usize>,
    records: BTreeMap<usize, Record<Answered>>,
    effects: BTreeMap<usize, i32>,
    commands: Vec<OutgoingCommand>,
    replies: Vec<Reply>,
    crash: bool,
    sent: usize,
}

impl World {
    fn new(shape: Shape, refuses: BTreeSet<usize>) -> Self {
        let (run, commands) = Run::start(shape);
        Self {
            run,
            refuses,
            records: BTreeMap::new(),
            effects: BTreeMap::new(),
            commands,
            replies: Vec::new(),
            crash: false,
            sent: 0,
        }
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Crash => self.crash = true,
            Event::Own(op) => {
                let sent = self.run.play(op);
                self.publish(sent);
            }
            Event::Stated { pick } => self.operator_states(*pick),
            Event::Command { pick, fate } => {
                if let Some((command, _)) = take(&mut self.commands, *pick, *fate) {
                    self.participant_takes(&command);
                }
            }
            Event::Reply { pick, fate } => {
                if let Some((reply, comes_again)) = take(&mut self.replies, *pick, *fate) {
                    self.orchestrator_takes(reply.clone());
                    if comes_again && let Some(copy) = self.replies.last_mut() {
                        copy.redelivered = true;
                    }
                }
            }
        }
    }

    /// An operator states the recorded outcome of the pivot and of later steps. About a step that
    /// can be undone the operator may be wrong.
    fn operator_states(&mut self, pick: usize) {
        let open = self.run.open();
        let Some(id) = open.get(pick % open.len().max(1)).map(|command| command.id.clone()) else {
            return;
        };
        let record = self.records.get(&index(&id.step)).cloned().unwrap_or_default();
        let part = match id.direction {
            Direction::Action => record.action,
            Direction::Compensation => record.compensation,
        };
        let undone = self.run.shape.kind(index(&id.step)) == Kind::Compensatable;
        let answer = match part.and_then(|part| part.answer) {
            Some(answer) => answer,
            // A guess that may be wrong, which is harmless because the step is undone in any case.
            None if id.direction == Direction::Action && undone => Answered::Refused,
            None => return,
        };
        let replies = match answer {
            Answered::Refused => vec![Stated::Refused],
            Answered::Done => [Some(r#"{"number":1}"#.to_owned()), None]
                .map(|reply| Stated::Done { reply })
                .into(),
        };
        for outcome in replies {
            let (step, direction) = (id.step.clone(), id.direction);
            let decision = self.run.operate(Remedy::Resolve { step, direction, outcome });
            self.publish(decision.send);
        }
    }

    fn orchestrator_takes(&mut self, reply: Reply) {
        let decision = self.run.turn(&Input::Reply(reply)).expect("it decodes");
        self.publish(decision.send);
    }

    fn publish(&mut self, commands: Vec<OutgoingCommand>) {
        if std::mem::take(&mut self.crash) {
            return;
        }
        self.sent += commands.len();
        self.commands.extend(commands);
    }

    fn participant_takes(&mut self, command: &OutgoingCommand) {
        let step = index(&command.id.step);
        let direction = command.id.direction;
        let hash = command.payload.data.get().as_bytes().to_vec();
        let record = self.records.entry(step).or_default();
        let refused = |answer: &Answered| *answer == Answered::Refused;
        let may_refuse = self.run.shape.kind(step) != Kind::Retriable;
        let (said, repeat) = match admit(record, direction, &hash, refused) {
            Admission::Run { .. } if direction == Direction::Action => {
                let answer = if may_refuse && self.refuses.contains(&step) {
                    Answered::Refused
                } else {
                    *self.effects.entry(step).or_default() += 1;
                    Answered::Done
                };
                record.action = Some(Part { hash, answer: Some(answer), calls: 0 });
                (say(answer), false)
            }
            admission @ (Admission::Run { .. } | Admission::NothingToUndo { .. }) => {
                if matches!(admission, Admission::Run { .. }) {
                    *self.effects.entry(step).or_default() -= 1;
                }
                record.compensation = Some(Part { hash, answer: Some(Answered::Done), calls: 0 });
                (say(Answered::Done), false)
            }
            Admission::Repeat(answer) => (say(answer), true),
            Admission::TooLate { .. } => (Said::TooLate, false),
            Admission::NeverSent => panic!("nobody is asked outside here"),
            Admission::Conflict => panic!("{} came with other bytes", command.id),
        };
        self.replies.push(Reply { repeat, ..reply(&command.id.step, direction, said) });
    }

    /// Delivers every message, until no message is left.
    fn heal(&mut self) {
        self.crash = false;
        self.sent = 0;
        let resumed = self.run.operate(Remedy::Resume);
        self.publish(resumed.send);
        let most = 4 * self.run.shape.steps() + 8;
        for _ in 0..most {
            while !self.commands.is_empty() || !self.replies.is_empty() {
                for command in std::mem::take(&mut self.commands) {
                    self.participant_takes(&command);
                }
                for reply in std::mem::take(&mut self.replies) {
                    self.orchestrator_takes(reply);
                }
            }
            if self.run.saga.phase.ended().is_some() {
                return;
            }
            let sent = self.run.play(&Op::Wake);
            self.publish(sent);
        }
        panic!("healed, and still {:?}", self.run.saga);
    }

    fn effects_fit_the_end(&self) {
        let ended = self.run.saga.phase.ended().expect("healed");
        for step in 0..self.run.shape.steps() {
            let effect = self.effects.get(&step).copied().unwrap_or(0);
            let expected = match ended {
                Ended::Completed => 1,
                Ended::Compensated => 0,
            };
            assert_eq!(effect, expected, "step {step} of {:?}", self.run.saga);
        }
        for cancelled in &self.run.cancelled {
            let fits = match cancelled {
                Cancelled::Accepted | Cancelled::AlreadyUndone => ended == Ended::Compensated,
                Cancelled::TooLate => ended == Ended::Completed,
                Cancelled::Recorded => true,
            };
            assert!(fits, "a cancel was told {cancelled:?}, the end is {ended:?}");
        }
    }
}

fn say(answer: Answered) -> Said {
    match answer {
        Answered::Done => Said::Done(1),
        Answered::Refused => Said::Refused,
    }
}

/// Takes one message out, and returns whether a copy stays behind.
fn take<T: Clone>(messages: &mut Vec<T>, pick: usize, fate: Fate) -> Option<(T, bool)> {
    if messages.is_empty() {
        return None;
    }
    let message = messages.remove(pick % messages.len());
    match fate {
        Fate::Arrives => Some((message, false)),
        Fate::ArrivesAndComesAgain => {
            messages.push(message.clone());
            Some((message, true))
        }
        Fate::Lost => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn effects_fit_the_end_whatever_the_network_does(
        shape in shape(),
        refuses in prop::collection::btree_set(0..16_usize, 0..2),
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut world = World::new(shape, refuses);
        for event in &events {
            world.play(event);
        }
        world.heal();
        world.effects_fit_the_end();
        let most = 8 * world.run.shape.steps() + 8;
        prop_assert!(world.sent <= most, "{} messages after healing", world.sent);
    }
}
