//! Operators' remedies, after any inputs.

use proptest::prelude::*;
use saga_core::{
    HostedDefinition as _, Input, Instance, Intervened, Intervention, Obstacle, Phase, Remedy,
    Stated, StepState, Timestamp, Verdict, remedies,
};

use crate::{
    run::{Op, Run, op, operator, remedy},
    shapes::shape,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..Default::default() })]

    /// Checks that an operator can end every saga, even if the participants never answer again.
    #[test]
    fn every_saga_has_an_operators_way_out_that_ends_it(
        shape in shape(),
        lies in prop::collection::vec(op(), 0..40),
        choices in prop::collection::vec(any::<usize>(), 64),
    ) {
        let (mut run, _) = Run::start(shape);
        for op in &lies {
            run.play(op);
        }
        let _ = run.operate(Remedy::Resume);
        let mut choices = choices.into_iter().cycle();
        // Each step and direction uses up its attempts before the saga is stuck.
        let most = run.shape.steps() * 2 * 24 + 8;
        for _ in 0..most {
            if run.saga.phase.ended().is_some() {
                break;
            }
            if matches!(run.saga.phase, Phase::Stuck(_)) {
                let ways = ways_out(&run);
                prop_assert!(!ways.is_empty(), "no way out of {:?}", run.saga);
                let way = &ways[choices.next().expect("it cycles") % ways.len()];
                let was = run.saga.clone();
                let decision = run.operate(way.clone());
                prop_assert_eq!(decision.verdict, Verdict::Intervention(Intervened::Applied));
                prop_assert_ne!(&was.steps, &run.saga.steps, "it is no way out: {:?}", way);
            } else {
                run.play(&Op::Wake);
            }
        }
        prop_assert!(run.saga.phase.ended().is_some(), "still {:?}", run.saga);
    }

    #[test]
    fn what_is_said_to_be_possible_is_and_what_is_not_is_not(
        shape in shape(),
        lies in prop::collection::vec(op(), 0..40),
        asked in prop::collection::vec(remedy(), 1..20),
    ) {
        let (mut run, _) = Run::start(shape);
        for op in &lies {
            run.play(op);
        }
        let possible = remedies(&run.definition, &run.saga, run.now);
        prop_assert_eq!(possible.is_empty(), run.saga.phase.ended().is_some());
        for remedy in asked {
            let said = possible.iter().any(|possible| alike(possible, &remedy));
            let verdict = tried(&run, &run.saga, &remedy, run.now);
            let about_the_reply = matches!(verdict, Intervened::Impossible(
                Obstacle::ReplyMissing | Obstacle::ReplyUnreadable | Obstacle::ReplyUnwanted));
            let step_out = matches!(remedy, Remedy::Skip) && about_the_reply;
            prop_assert_eq!(
                said,
                verdict == Intervened::Applied || (about_the_reply && !step_out),
                "{:?}: {:?}", remedy, verdict
            );
        }
    }

    #[test]
    fn the_same_intervention_is_done_once_and_only_at_the_version_that_was_seen(
        shape in shape(),
        lies in prop::collection::vec(op(), 0..40),
        remedy in remedy(),
        replies in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let (mut run, _) = Run::start(shape);
        for op in &lies {
            run.play(op);
        }
        let seen = run.saga.version;
        let asked = Intervention { remedy, expected_version: seen, signed: operator() };
        let first = run.turn(&Input::Intervene(asked.clone())).expect("sound").verdict;
        for pick in replies {
            run.play(&Op::Answer { pick, outcome: crate::run::Said::Done(1) });
        }
        let version = run.saga.version;
        let second = run.turn(&Input::Intervene(asked.clone())).expect("sound").verdict;
        if first == Verdict::Intervention(Intervened::Applied) {
            prop_assert_eq!(second, Verdict::Intervention(Intervened::Repeated));
            let mut other = asked;
            other.signed.reason = "another".into();
            let other = run.turn(&Input::Intervene(other)).expect("sound").verdict;
            prop_assert_eq!(other, Verdict::Intervention(Intervened::Moved { version }));
        }
        prop_assert_eq!(run.saga.version, version, "done twice");
    }
}

/// Returns the remedies that move a stuck saga on without a participant: all but retry and pause.
fn ways_out(run: &Run) -> Vec<Remedy> {
    let Phase::Stuck(stuck) = &run.saga.phase else { return Vec::new() };
    let reply = Some(r#"{"number":1}"#.to_owned());
    remedies(&run.definition, &run.saga, run.now)
        .into_iter()
        .filter_map(|remedy| match remedy {
            Remedy::Skip => Some(remedy),
            Remedy::Resolve { step, direction, outcome: Stated::Done { .. } }
                if step == stuck.step && direction == stuck.direction =>
            {
                let with = Remedy::Resolve {
                    step,
                    direction,
                    outcome: Stated::Done { reply: reply.clone() },
                };
                let verdict = tried(run, &run.saga, &with, run.now);
                Some(match (verdict, with) {
                    (Intervened::Applied, with) => with,
                    (_, Remedy::Resolve { step, direction, .. }) => {
                        Remedy::Resolve { step, direction, outcome: Stated::Done { reply: None } }
                    }
                    (_, other) => other,
                })
            }
            Remedy::Resolve { outcome: Stated::Refused, .. } => Some(remedy),
            Remedy::Resolve { .. }
            | Remedy::Retry
            | Remedy::Compensate
            | Remedy::Pause
            | Remedy::Resume => None,
        })
        .collect()
}

fn tried(run: &Run, saga: &Instance, remedy: &Remedy, now: Timestamp) -> Intervened {
    let asked =
        Intervention { remedy: remedy.clone(), expected_version: saga.version, signed: operator() };
    let decision = run.definition.turn(saga, &Input::Intervene(asked), now).expect("sound");
    let Verdict::Intervention(verdict) = decision.verdict else { panic!("{decision:?}") };
    verdict
}

/// Returns whether two remedies are equal, apart from the reply of a resolve as done.
fn alike(a: &Remedy, b: &Remedy) -> bool {
    match (a, b) {
        (
            Remedy::Resolve { step, direction, outcome: Stated::Done { .. } },
            Remedy::Resolve { step: s, direction: d, outcome: Stated::Done { .. } },
        ) => (step, direction) == (s, d),
        (a, b) => a == b,
    }
}

#[test]
fn asking_again_gives_a_step_its_whole_bound_anew() {
    let (mut run, _) = Run::start(crate::shapes::pivot_only(2));
    while !matches!(run.saga.phase, Phase::Stuck(_)) {
        run.play(&Op::Wake);
    }
    let sent = run.operate(Remedy::Retry).send;
    assert_eq!((sent.len(), sent[0].attempt), (1, 1));
    assert_eq!(run.saga.phase, Phase::Running);
    run.play(&Op::Wake);
    assert!(matches!(&run.saga.steps[0], StepState::Open(sending) if sending.attempts == 2));
    assert_eq!(run.saga.phase, Phase::Running, "stuck before its bound");
    run.play(&Op::Wake);
    assert!(matches!(run.saga.phase, Phase::Stuck(_)), "its bound is the same as before");
}
