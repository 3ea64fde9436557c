//! Once participants answer truthfully, a saga ends, whatever they answered before.

use proptest::prelude::*;
use saga_core::{Input, Phase, Remedy, StepState};

use crate::{
    run::{Op, Run, Said, op, reply},
    shapes::shape,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_saga_ends_once_its_participants_answer(
        shape in shape(),
        lies in prop::collection::vec(op(), 0..40),
        deaf_for in 0..8_u32,
    ) {
        let (mut run, _) = Run::start(shape);
        for op in &lies {
            run.play(op);
        }
        let _ = run.operate(Remedy::Resume);
        // Every step in both directions, with the wake-ups before each answer.
        let most = run.shape.steps() * 2 * (deaf_for as usize + 2) + 4;
        let mut deaf = deaf_for;
        for _ in 0..most {
            if run.saga.phase.ended().is_some() {
                break;
            }
            match run.open().first() {
                Some(command) if deaf == 0 => {
                    deaf = deaf_for;
                    let id = &command.id;
                    let answer = reply(&id.step, id.direction, Said::Done(1));
                    run.turn(&Input::Reply(answer)).expect("it decodes");
                }
                Some(_) | None => {
                    deaf = deaf.saturating_sub(1);
                    run.play(&Op::Wake);
                }
            }
        }
        let halted = run.saga.steps.iter().any(|s| matches!(s, StepState::Halted { .. }));
        if halted {
            prop_assert!(matches!(run.saga.phase, Phase::Stuck(_)), "only a person can help");
        } else {
            prop_assert!(run.saga.phase.ended().is_some(), "still {:?}", run.saga);
        }
    }
}
