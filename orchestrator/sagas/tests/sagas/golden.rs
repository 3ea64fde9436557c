//! All data that any version of a saga has stored must always decode. A golden file is never
//! changed: a change of code that breaks one needs a new version of the definition.

use expect_test::{Expect, expect};
use saga_core::{
    Direction, HostedDefinition as _, Instance, Intervention, Phase, Remedy, Saga, StepState,
};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_proto::Money;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::run::{Run, order, part};

const RUNNING: &str = include_str!("../golden/place_order_v1_running.json");
const COMPENSATING: &str = include_str!("../golden/place_order_v1_compensating.json");
const COMPENSATING_V2: &str = include_str!("../golden/place_order_v2_compensating.json");
const OPERATED: &str = include_str!("../golden/place_order_v1_operated.json");
const STUCK: &str = include_str!("../golden/place_order_v1_stuck.json");
const RETURN_RUNNING: &str = include_str!("../golden/return_order_v1_running.json");
const RETURN_COMPENSATING: &str = include_str!("../golden/return_order_v1_compensating.json");
const RETURN_STUCK: &str = include_str!("../golden/return_order_v1_stuck.json");

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
        &compensating(1),
        expect![[r#"
        create-order/compensation #1 {"reasonCode":"CARD_DECLINED","reason":"the card was declined"}
    "#]],
    );
}

#[test]
fn a_compensating_saga_of_version_2_goes_on() {
    check(
        COMPENSATING_V2,
        &compensating(2),
        expect![[r#"
        create-order/compensation #1 {"reasonCode":"CARD_DECLINED","reason":"the card was declined","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
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

#[test]
fn a_running_return_of_version_1_goes_on() {
    let today = Run::start_at(1, &part()).until("take-back-stock");
    check(
        RETURN_RUNNING,
        &today,
        expect![[r#"
        take-back-stock/action #1 {"orderId":"00000000-0000-0000-0000-000000000005","lines":[{"sku":"teapot","quantity":"1"}]}
        mark-returned/action #1 {}
    "#]],
    );
}

#[test]
fn a_compensating_return_of_version_1_goes_on() {
    let mut today = Run::start_at(1, &part()).until("refund-payment");
    today.refused("refund-payment", Direction::Action, "NOT_CAPTURED", "nothing was taken");
    check(
        RETURN_COMPENSATING,
        &today,
        expect![[r#"
        open-return/compensation #1 {"reasonCode":"NOT_CAPTURED","reason":"nothing was taken"}
    "#]],
    );
}

#[test]
fn a_stuck_return_of_version_1_goes_on() {
    let mut today = Run::<ReturnOrder>::start_at(1, &part()).until("take-back-stock");
    today.refused("take-back-stock", Direction::Action, "NOT_SOLD", "no teapot was sold");
    check(
        RETURN_STUCK,
        &today,
        expect![[r#"
        mark-returned/action #1 {}
    "#]],
    );
}

/// A participant knows a command by the hash of its type and its bytes. A command that is sent again
/// by a newer binary with other bytes would be a conflict, and would end in the quarantine.
#[test]
fn the_commands_of_an_order_have_the_same_bytes_in_every_release() {
    let of = |version: u32| {
        let expected_total = Some(Money::new(2_500, "EUR"));
        let data = PlaceOrder { expected_total, ..order() };
        let mut undone = Run::start_at(version, &data).until("capture-payment");
        undone.refused("capture-payment", Direction::Action, "EXPIRED", "the hold has expired");
        undone.done("authorise-payment", Direction::Compensation);
        undone.done("reserve-stock", Direction::Compensation);
        bytes(&Run::start_at(version, &order()).until("confirm-order")) + &bytes(&undone)
    };
    expect![[r#"
        create-order/action saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
        reserve-stock/action saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
        authorise-payment/action saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
        capture-payment/action saga.payment.v1.CapturePayment {}
        commit-stock/action saga.inventory.v1.CommitStock {}
        confirm-order/action saga.order.v1.ConfirmOrder {"lines":[{"sku":"teapot","quantity":"2","unitPrice":{"minorUnits":"1250","currency":"EUR"}}],"total":{"minorUnits":"2500","currency":"EUR"}}
        create-order/action saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
        reserve-stock/action saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}],"expectedTotal":{"minorUnits":"2500","currency":"EUR"}}
        authorise-payment/action saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
        capture-payment/action saga.payment.v1.CapturePayment {}
        authorise-payment/compensation saga.payment.v1.VoidAuthorisation {}
        reserve-stock/compensation saga.inventory.v1.ReleaseStock {}
        create-order/compensation saga.order.v1.RejectOrder {"reasonCode":"EXPIRED","reason":"the hold has expired","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
    "#]].assert_eq(&of(2));
    // Version 1 differs only in the rejection, which does not say what was ordered.
    let more =
        r#","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}"#;
    assert_eq!(of(1), of(2).replace(more, ""));
}

#[test]
fn the_commands_of_a_return_have_the_same_bytes_in_every_release() {
    let mut undone = Run::start(&part()).until("refund-payment");
    undone.refused("refund-payment", Direction::Action, "NOT_CAPTURED", "nothing was taken");
    expect![[r#"
        open-return/action saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
        refund-payment/action saga.payment.v1.RefundPayment {"orderId":"00000000-0000-0000-0000-000000000005","amount":{"minorUnits":"1250","currency":"EUR"}}
        take-back-stock/action saga.inventory.v1.TakeBackStock {"orderId":"00000000-0000-0000-0000-000000000005","lines":[{"sku":"teapot","quantity":"1"}]}
        mark-returned/action saga.order.v1.MarkReturned {}
        open-return/action saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
        refund-payment/action saga.payment.v1.RefundPayment {"orderId":"00000000-0000-0000-0000-000000000005","amount":{"minorUnits":"1250","currency":"EUR"}}
        open-return/compensation saga.order.v1.RejectReturn {"reasonCode":"NOT_CAPTURED","reason":"nothing was taken"}
    "#]].assert_eq(&(bytes(&Run::start(&part()).until("mark-returned")) + &bytes(&undone)));
}

/// Returns the commands of a run with their types and bytes.
fn bytes<S: Saga>(run: &Run<S>) -> String {
    let commands = run.sent.iter().map(|command| {
        let (id, payload) = (&command.id, &command.payload);
        let (step, direction) = (&id.step, id.direction);
        format!("{step}/{direction} {} {}\n", payload.type_name, payload.data.get())
    });
    commands.collect()
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

fn check<S: Saga>(golden: &str, today: &Run<S>, expected: Expect) {
    let stored: Stored = serde_json::from_str(golden).expect("it decodes for ever");
    let row = Instance {
        phase: stored.phase,
        steps: stored.steps,
        data: stored.data,
        intervention: stored.intervention,
        ..today.saga.clone()
    };
    let open = today.definition.open_commands(&row).expect("it decodes for ever");
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

fn running() -> Run<PlaceOrder> {
    Run::start_at(1, &order()).until("commit-stock")
}

fn compensating(version: u32) -> Run<PlaceOrder> {
    let mut run = Run::start_at(version, &order()).until("authorise-payment");
    run.refused("authorise-payment", Direction::Action, "CARD_DECLINED", "the card was declined");
    run.done("reserve-stock", Direction::Compensation);
    run
}

fn operated() -> Run<PlaceOrder> {
    let mut run = Run::start_at(1, &order()).until("authorise-payment");
    run.operate(Remedy::Compensate, "the warehouse has burnt down");
    run
}

fn stuck() -> Run<PlaceOrder> {
    let mut run = Run::start_at(1, &order()).until("capture-payment");
    run.cancel("found it cheaper");
    run.refused("capture-payment", Direction::Action, "EXPIRED", "the hold has expired");
    run.refused("authorise-payment", Direction::Compensation, "BROKEN", "no such hold");
    run
}
