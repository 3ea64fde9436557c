//! The commands of return order, in order, with their receivers.

use expect_test::{Expect, expect};
use saga_core::Direction::{Action, Compensation};
use saga_definitions::ReturnOrder;

use crate::{
    run::{Run, part},
    transcript::told,
};

#[test]
fn a_return_that_goes_well() {
    let mut run = Run::start(&part()).until("take-back-stock");
    run.done("mark-returned", Action);
    run.done("take-back-stock", Action);
    check(
        &run,
        expect![[r#"
        1 open-return/action -> order
           saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
        2 refund-payment/action -> payment
           saga.payment.v1.RefundPayment {"orderId":"00000000-0000-0000-0000-000000000005","amount":{"minorUnits":"1250","currency":"EUR"}}
        3 take-back-stock/action -> inventory
           saga.inventory.v1.TakeBackStock {"orderId":"00000000-0000-0000-0000-000000000005","lines":[{"sku":"teapot","quantity":"1"}]}
        4 mark-returned/action -> order
           saga.order.v1.MarkReturned {}
        completed
    "#]],
    );
}

#[test]
fn a_return_of_nothing_in_particular_asks_for_everything() {
    let run = Run::start(&ReturnOrder { lines: Vec::new(), ..part() });
    check(
        &run,
        expect![[r#"
        1 open-return/action -> order
           saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","reason":"it leaks"}
        running
    "#]],
    );
}

#[test]
fn an_order_that_does_not_agree_ends_it_without_an_effect() {
    let mut run = Run::start(&part());
    run.refused("open-return", Action, "NOT_RETURNABLE", "0 can still be returned");
    check(
        &run,
        expect![[r#"
        1 open-return/action -> order
           saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
        compensated
    "#]],
    );
}

#[test]
fn a_refused_refund_lets_go_what_was_held() {
    let mut run = Run::start(&part()).until("refund-payment");
    run.refused("refund-payment", Action, "NOT_CAPTURED", "nothing was taken");
    run.done("open-return", Compensation);
    check(
        &run,
        expect![[r#"
            1 open-return/action -> order
               saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
            2 refund-payment/action -> payment
               saga.payment.v1.RefundPayment {"orderId":"00000000-0000-0000-0000-000000000005","amount":{"minorUnits":"1250","currency":"EUR"}}
            9999 open-return/compensation -> order
               saga.order.v1.RejectReturn {"reasonCode":"NOT_CAPTURED","reason":"nothing was taken"}
            compensated
        "#]],
    );
}

#[test]
fn silence_of_the_order_service_ends_it_and_what_it_may_hold_is_let_go() {
    let mut run = Run::start(&part());
    run.wake(61);
    run.done("open-return", Compensation);
    check(
        &run,
        expect![[r#"
            1 open-return/action -> order
               saga.order.v1.OpenReturn {"orderId":"00000000-0000-0000-0000-000000000005","caller":"ann","lines":[{"sku":"teapot","quantity":"1"}],"reason":"it leaks"}
            9999 open-return/compensation -> order
               saga.order.v1.RejectReturn {"reasonCode":"DEADLINE","reason":"the return could not be completed in time"}
            compensated
        "#]],
    );
}

fn check(run: &Run<ReturnOrder>, expected: Expect) {
    expected.assert_eq(&told(run));
}
