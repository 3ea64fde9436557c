//! A small language for transcripts: each line is one input to a saga, and the output shows the
//! decision on it.
//!
//! `start [trip]`, `until STEP` (everything is answered *done* until that step is
//! open; only the last turn is shown), `clock -3600s`, `[redelivered] [repeat] reply STEP action|compensation
//! done [JSON] | refused CODE | toolate`, `wake` (when it is due), `wake +3s`,
//! `wakes N` (each when it is due; only the last is shown), `cancel`, `op [at V]
//! retry | skip | compensate | pause | resume | done STEP DIRECTION [JSON] | refused STEP
//! DIRECTION` (an operator, who has seen the current version unless one is given).

use std::{fmt::Write as _, sync::Arc};

use expect_test::Expect;
use saga_core::{
    Admitted, Decision, Direction, Hosted, HostedDefinition, Input, Instance, Intervention, Phase,
    Refusal, Remedy, Reply, ReplyOutcome, Saga, SagaId, Signed, Stated, StepState, StuckReason,
    Timestamp, Wish, start,
};
use serde_json::value::RawValue;

use crate::shop::{Order, Trip, reply_type, why};

/// Runs a script and compares the output.
pub(crate) fn check(script: &str, expected: Expect) {
    let mut stage = Stage { out: String::new(), saga: None, now: Timestamp(0) };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        stage.play(line);
    }
    expected.assert_eq(&stage.out);
}

struct Stage {
    out: String,
    saga: Option<Instance>,
    now: Timestamp,
}

impl Stage {
    fn play(&mut self, line: &str) {
        let _ = writeln!(self.out, "> {line}");
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["start"] => self.show(begin::<Order>(Order { sku: "teapot".into(), total: 0 })),
            ["start", "trip"] => self.show(begin::<Trip>(Trip {})),
            ["until", step] => self.only_the_last(|stage| stage.answer_what_is_open(step)),
            ["wake"] => self.wake_when_due(),
            ["wake", later] => {
                self.move_clock(later);
                self.turn(&Input::Wake);
            }
            ["clock", by] => self.move_clock(by),
            ["wakes", count] => {
                let mut left: u32 = count.parse().expect("a number");
                self.only_the_last(|stage| {
                    stage.wake_when_due();
                    left -= 1;
                    left > 0
                });
            }
            ["cancel"] => {
                self.turn(&Input::Cancel(Wish { by: "ann".into(), reason: "changed mind".into() }));
            }
            ["op", rest @ ..] => self.operate(rest),
            _ => self.turn(&Input::Reply(parse_reply(&words))),
        }
    }

    /// Makes turns as long as `next` returns true, and shows only the last one.
    fn only_the_last(&mut self, mut next: impl FnMut(&mut Self) -> bool) {
        let mark = self.out.len();
        loop {
            self.out.truncate(mark);
            if !next(self) {
                return;
            }
        }
    }

    /// Answers the first open command. Returns whether the step `last` is still not open.
    fn answer_what_is_open(&mut self, last: &str) -> bool {
        let saga = self.saga.as_ref().expect("started");
        let open = self.definition().open_commands(saga).expect("sound");
        let step = &open.first().expect("something is open").id.step;
        let data = if step == "reserve" { r#"{"total":5}"# } else { "{}" };
        self.turn(&Input::Reply(parse_reply(&["reply", step, "action", "done", data])));
        let saga = self.saga.as_ref().expect("started");
        let open = self.definition().open_commands(saga).expect("sound");
        open.iter().all(|command| command.id.step != last)
    }

    fn operate(&mut self, words: &[&str]) {
        let now = self.saga.as_ref().expect("started").version;
        let (expected_version, words) = match words {
            ["at", version, rest @ ..] => (version.parse().expect("a version"), rest),
            words => (now, words),
        };
        let signed = Signed { by: "op".into(), reason: "looking".into() };
        let remedy = parse_remedy(words);
        self.turn(&Input::Intervene(Intervention { remedy, expected_version, signed }));
    }

    fn definition(&self) -> Arc<dyn HostedDefinition> {
        let saga = self.saga.as_ref().expect("started");
        let hosted = Hosted::default().with(Order::steps()).with(Trip::steps());
        hosted.get(&saga.definition, saga.definition_version).expect("hosted").clone()
    }

    fn wake_when_due(&mut self) {
        self.now = self.saga.as_ref().and_then(|s| s.wake_at).expect("it is to be woken");
        self.turn(&Input::Wake);
    }

    fn move_clock(&mut self, by: &str) {
        let seconds: Option<i64> = by.strip_suffix('s').and_then(|s| s.parse().ok());
        self.now.0 += seconds.expect("as in +3s") * 1_000_000;
    }

    fn turn(&mut self, input: &Input) {
        let saga = self.saga.as_ref().expect("started");
        match self.definition().turn(saga, input, self.now) {
            Ok(decision) => self.show(decision),
            Err(error) => {
                let _ = writeln!(self.out, "  error: {error}");
            }
        }
    }

    fn show(&mut self, decision: Decision) {
        let alert = if decision.alert { ", ALERT" } else { "" };
        let _ = write!(self.out, "  {:?}{alert}", decision.verdict);
        self.out.push(if decision.saga.is_some() { ' ' } else { '\n' });
        if let Some(saga) = decision.saga {
            self.saga = Some(saga.clone());
            self.show_saga(&saga);
        }
        for command in decision.send {
            let (step, direction) = (&command.id.step, command.id.direction);
            let data = command.payload.data.get();
            let _ = writeln!(self.out, "  send {step}/{direction} #{} {data}", command.attempt);
        }
    }

    fn show_saga(&mut self, saga: &Instance) {
        let why = match &saga.phase {
            Phase::Running | Phase::Completed => String::new(),
            Phase::Compensating(cause) | Phase::Compensated(cause) => {
                format!(" because {}", why(cause))
            }
            Phase::Stuck(stuck) => {
                let reason = match &stuck.reason {
                    StuckReason::Unanswered => "unanswered",
                    StuckReason::Refused(refusal) => &refusal.code,
                };
                format!(" at {}/{}: {reason}", stuck.step, stuck.direction)
            }
        };
        let wake = match saga.wake_at {
            Some(at) => format!("wake at {}.{:03}s", at.0 / 1_000_000, at.0 / 1_000 % 1_000),
            None => "no wake".to_owned(),
        };
        let _ = writeln!(self.out, "v{} {}{why}; {wake}", saga.version, saga.phase.name());
        let definition = self.definition();
        let steps: Vec<String> = definition
            .step_names()
            .iter()
            .zip(&saga.steps)
            .filter(|(_, state)| **state != StepState::Pending)
            .map(|(name, state)| format!("{name} {}", word(state)))
            .collect();
        if !steps.is_empty() {
            let _ = writeln!(self.out, "  {}", steps.join(", "));
        }
    }
}

fn begin<S: Saga>(data: S) -> Decision {
    let admitted =
        Admitted { caller: "ann".into(), deadline_millis: S::DEADLINE_MILLIS, traceparent: None };
    start(&S::steps(), SagaId(uuid::Uuid::from_u128(7)), &data, admitted, Timestamp(0))
}

/// Parses the words of an operator's remedy.
fn parse_remedy(words: &[&str]) -> Remedy {
    let resolve = |step: &str, direction: &str, outcome| Remedy::Resolve {
        step: step.to_owned(),
        direction: parse_direction(direction),
        outcome,
    };
    match words {
        ["retry"] => Remedy::Retry,
        ["skip"] => Remedy::Skip,
        ["compensate"] => Remedy::Compensate,
        ["pause"] => Remedy::Pause,
        ["resume"] => Remedy::Resume,
        ["done", step, direction, rest @ ..] => {
            let reply = rest.first().map(|json| (*json).to_owned());
            resolve(step, direction, Stated::Done { reply })
        }
        ["refused", step, direction] => resolve(step, direction, Stated::Refused),
        other => panic!("{other:?} is no remedy"),
    }
}

fn parse_direction(word: &str) -> Direction {
    match word {
        "action" => Direction::Action,
        "compensation" => Direction::Compensation,
        other => panic!("{other} is no direction"),
    }
}

fn word(state: &StepState) -> String {
    match state {
        StepState::Pending => "pending".into(),
        StepState::Open(sending) => format!("open#{}", sending.attempts),
        StepState::Done => "done".into(),
        StepState::Refused(refusal) => format!("refused({})", refusal.code),
        StepState::Unknown => "unknown".into(),
        StepState::Undoing(sending) => format!("undoing#{}", sending.attempts),
        StepState::Undone => "undone".into(),
        StepState::Halted { direction, refusal } => {
            format!("halted({direction}, {})", refusal.code)
        }
    }
}

fn parse_reply(words: &[&str]) -> Reply {
    let at = words.iter().position(|word| *word == "reply").expect("a line of the language");
    let (flags, words) = (&words[..at], &words[at + 1..]);
    let [step, direction, outcome, rest @ ..] = words else { panic!("reply STEP DIRECTION ...") };
    let direction = parse_direction(direction);
    let outcome = match (*outcome, rest) {
        ("done", rest) => ReplyOutcome::Done {
            type_name: reply_type(step, direction == Direction::Compensation).to_owned(),
            data: RawValue::from_string(rest.first().unwrap_or(&"{}").to_string()).expect("JSON"),
        },
        ("refused", [code]) => ReplyOutcome::Refused(Refusal::new(*code, "said so")),
        ("toolate", []) => ReplyOutcome::TooLate,
        other => panic!("{other:?} is no outcome"),
    };
    Reply {
        step: step.to_string(),
        direction,
        outcome,
        redelivered: flags.contains(&"redelivered"),
        repeat: flags.contains(&"repeat"),
    }
}
