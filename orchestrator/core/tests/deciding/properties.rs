//! Sagas of any shape, with any inputs: every invariant holds at every turn.

use proptest::prelude::*;

use crate::{
    run::{Run, op},
    shapes::shape,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_invariant_holds_at_every_turn(
        shape in shape(),
        ops in prop::collection::vec(op(), 0..60),
    ) {
        let (mut run, _) = Run::start(shape);
        for op in &ops {
            run.play(op);
        }
    }
}
