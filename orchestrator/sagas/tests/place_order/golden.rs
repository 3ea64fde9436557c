//! What version 1 of place order has stored must decode for ever. A golden file
//! is never changed: what no longer fits it needs a new version of the definition.

use expect_test::{Expect, expect};
use saga_core::{
    Direction, HostedDefinition as _, Instance, Intervention, Phase, Remedy, Saga as _, StepState,
};
use saga_definitions::PlaceOrder;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::run::Run;

const RUNNING: &str = include_str!("../golden/place_order_v1_running.json");
const COMPENSATING: &str = include_str!("../golden/place_order_v1_compensating.json");
const OPERATED: &str = include_str!("../golden/place_order_v1_operated.json");
const STUCK: &str = include_str!("../golden/place_order_v1_stuck.json");

#[test]
fn a_running_saga_of_version_1_goes_on() {
    check(
        RUNNING,
        &running(),
        expect![[r#"
        commit-stock/action #1 {}
        confirm-order/action #1 {"lines":[{"sku":"teapot","quantity":"2","unitPrice":{"minorUnits":"1250","currency":"EUR"}}],"total":{"minorUnits":"2500","currency":"EUR"}}
    "#]],
    );
}

#[test]
fn a_compensating_saga_of_version_1_goes_on() {
    check(
        COMPENSATING,
        &compensating(),
        expect![[r#"
        create-order/compensation #1 {"reasonCode":"CARD_DECLINED","reason":"the card was declined"}
    "#]],
    );
}

#[test]
fn a_stuck_saga_of_version_1_goes_on() {
    check(STUCK, &stuck(), expect![[""]]);
}

#[test]
fn a_saga_of_version_1_that_an_operator_had_undone_goes_on() {
    check(
        OPERATED,
        &operated(),
        expect![[r#"
        authorise-payment/compensation #1 {}
    "#]],
    );
}

/// The parts of a row that are stored as JSON.
#[derive(Serialize, Deserialize)]
struct Stored {
    phase: Phase,
    steps: Vec<StepState>,
    data: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    intervention: Option<Intervention>,
}

fn check(golden: &str, today: &Run, expected: Expect) {
    let stored: Stored = serde_json::from_str(golden).expect("it decodes for ever");
    let row = Instance {
        phase: stored.phase,
        steps: stored.steps,
        data: stored.data,
        intervention: stored.intervention,
        ..today.saga.clone()
    };
    let open = PlaceOrder::steps().open_commands(&row).expect("it decodes for ever");
    let open: Vec<String> = open
        .iter()
        .map(|c| {
            format!("{}/{} #{} {}\n", c.id.step, c.id.direction, c.attempt, c.payload.data.get())
        })
        .collect();
    expected.assert_eq(&open.concat());

    let written = serde_json::to_string(&Stored {
        phase: today.saga.phase.clone(),
        steps: today.saga.steps.clone(),
        data: today.saga.data.clone(),
        intervention: today.saga.intervention.clone(),
    });
    let written: serde_json::Value =
        serde_json::from_str(&written.expect("JSON")).expect("what was written");
    let golden: serde_json::Value = serde_json::from_str(golden).expect("JSON");
    assert_eq!(
        written, golden,
        "the stored form has changed: raise the definition's version and add a file beside \
         this one, which stays as it is"
    );
}

fn running() -> Run {
    Run::start().until("commit-stock")
}

fn compensating() -> Run {
    let mut run = Run::start().until("authorise-payment");
    run.refused("authorise-payment", Direction::Action, "CARD_DECLINED", "the card was declined");
    run.done("reserve-stock", Direction::Compensation);
    run
}

fn operated() -> Run {
    let mut run = Run::start().until("authorise-payment");
    run.operate(Remedy::Compensate, "the warehouse has burnt down");
    run
}

fn stuck() -> Run {
    let mut run = Run::start().until("capture-payment");
    run.cancel("found it cheaper");
    run.refused("capture-payment", Direction::Action, "EXPIRED", "the hold has expired");
    run.refused("authorise-payment", Direction::Compensation, "BROKEN", "no such hold");
    run
}
