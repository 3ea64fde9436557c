//! The commands of place order, their receivers and their order.

use std::fmt::Write as _;

use expect_test::{Expect, expect};
use saga_core::{
    Cause,
    Direction::{Action, Compensation},
};
use saga_definitions::{PlaceOrder, reason};

use crate::run::{Run, order};

#[test]
fn an_order_that_goes_well() {
    let mut run = Run::start(&order()).until("commit-stock");
    run.done("confirm-order", Action);
    run.done("commit-stock", Action);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            3 authorise-payment/action -> payment
               saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
            4 capture-payment/action -> payment
               saga.payment.v1.CapturePayment {}
            5 commit-stock/action -> inventory
               saga.inventory.v1.CommitStock {}
            6 confirm-order/action -> order
               saga.order.v1.ConfirmOrder {"lines":[{"sku":"teapot","quantity":"2","unitPrice":{"minorUnits":"1250","currency":"EUR"}}],"total":{"minorUnits":"2500","currency":"EUR"}}
            completed
        "#]],
    );
}

#[test]
fn a_declined_card_releases_the_stock_and_rejects_the_order() {
    let mut run = Run::start(&order()).until("authorise-payment");
    run.refused("authorise-payment", Action, "CARD_DECLINED", "the card was declined");
    run.done("reserve-stock", Compensation);
    run.done("create-order", Compensation);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            3 authorise-payment/action -> payment
               saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
            9998 reserve-stock/compensation -> inventory
               saga.inventory.v1.ReleaseStock {}
            9999 create-order/compensation -> order
               saga.order.v1.RejectOrder {"reasonCode":"CARD_DECLINED","reason":"the card was declined","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
            compensated
        "#]],
    );
}

#[test]
fn out_of_stock_rejects_the_order() {
    let mut run = Run::start(&order()).until("reserve-stock");
    run.refused("reserve-stock", Action, "OUT_OF_STOCK", "1 of 2 teapot");
    run.done("create-order", Compensation);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            9999 create-order/compensation -> order
               saga.order.v1.RejectOrder {"reasonCode":"OUT_OF_STOCK","reason":"1 of 2 teapot","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
            compensated
        "#]],
    );
}

#[test]
fn a_cancelled_order_is_told_as_cancelled_in_the_clients_words() {
    let mut run = Run::start(&order()).until("authorise-payment");
    run.cancel("found it cheaper");
    run.done("authorise-payment", Compensation);
    run.done("reserve-stock", Compensation);
    run.done("create-order", Compensation);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            3 authorise-payment/action -> payment
               saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
            9997 authorise-payment/compensation -> payment
               saga.payment.v1.VoidAuthorisation {}
            9998 reserve-stock/compensation -> inventory
               saga.inventory.v1.ReleaseStock {}
            9999 create-order/compensation -> order
               saga.order.v1.RejectOrder {"reasonCode":"CANCELLED","reason":"found it cheaper","cancelled":true,"order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
            compensated
        "#]],
    );
}

#[test]
fn a_cancel_during_the_capture_counts_when_the_capture_is_refused() {
    let mut run = Run::start(&order()).until("capture-payment");
    run.cancel("found it cheaper");
    run.refused("capture-payment", Action, "EXPIRED", "the hold has expired");
    run.done("authorise-payment", Compensation);
    run.done("reserve-stock", Compensation);
    run.done("create-order", Compensation);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            3 authorise-payment/action -> payment
               saga.payment.v1.AuthorisePayment {"amount":{"minorUnits":"2500","currency":"EUR"},"paymentToken":"tok_visa"}
            4 capture-payment/action -> payment
               saga.payment.v1.CapturePayment {}
            9997 authorise-payment/compensation -> payment
               saga.payment.v1.VoidAuthorisation {}
            9998 reserve-stock/compensation -> inventory
               saga.inventory.v1.ReleaseStock {}
            9999 create-order/compensation -> order
               saga.order.v1.RejectOrder {"reasonCode":"CANCELLED","reason":"found it cheaper","cancelled":true,"order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
            compensated
        "#]],
    );
}

#[test]
fn a_deadline_rejects_the_order() {
    let mut run = Run::start(&order()).until("reserve-stock");
    run.wake(61);
    run.done("reserve-stock", Compensation);
    run.done("create-order", Compensation);
    check(
        &run,
        expect![[r#"
            1 create-order/action -> order
               saga.order.v1.CreateOrder {"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}
            2 reserve-stock/action -> inventory
               saga.inventory.v1.ReserveStock {"lines":[{"sku":"teapot","quantity":"2"}]}
            9998 reserve-stock/compensation -> inventory
               saga.inventory.v1.ReleaseStock {}
            9999 create-order/compensation -> order
               saga.order.v1.RejectOrder {"reasonCode":"DEADLINE","reason":"the order could not be completed in time","order":{"customer":"ann","lines":[{"sku":"teapot","quantity":"2"}],"caller":"ann"}}
            compensated
        "#]],
    );
}

#[test]
fn silence_is_told_as_unavailable() {
    let told = reason(&Cause::Unanswered { step: "reserve-stock".into() }, "order");
    expect![[r#"
        (
            "UNAVAILABLE",
            "reserve-stock was not answered in time",
        )
    "#]]
    .assert_debug_eq(&told);
}

fn check(run: &Run<PlaceOrder>, expected: Expect) {
    expected.assert_eq(&told(run));
    // The token is kept as long as a command may need it, and deleted in the same turn.
    assert_eq!(run.saga.data.get().contains("tok_visa"), run.saga.ended().is_none());
}

/// Formats the commands that a saga has sent so far, and its state.
pub(crate) fn told<S>(run: &Run<S>) -> String {
    let mut out = String::new();
    for command in &run.sent {
        let (id, payload) = (&command.id, &command.payload);
        let _ = writeln!(
            out,
            "{} {}/{} -> {}\n   {} {}",
            command.sequence,
            id.step,
            id.direction,
            payload.participant,
            payload.type_name,
            payload.data.get()
        );
    }
    let _ = writeln!(out, "{}", run.saga.phase.name());
    out
}
