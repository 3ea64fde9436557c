//! Each of the shop's sagas under the three tests that every saga must pass, and faulty definitions
//! that do not pass them.

use saga_core::{Definition, Steps, step, together};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_proto::{
    inventory::v1::{CommitStock, ReserveStock, StockReservedReply},
    order::v1::{ConfirmOrder, CreateOrder, RejectOrder},
    payment::v1::{AuthorisePayment, CapturePayment, VoidAuthorisation},
    types::v1::Line,
};
use saga_simulation::{
    Shop, Subject, every_refusal_leaves_nothing, no_unknown_outcome_leaves_anything,
    repetition_changes_nothing,
};

/// Places one order.
struct Placing;

/// Returns a part of an order that was placed before.
struct Returning;

/// Places one order, and forgets to release the stock.
struct Forgetful;

fn order() -> PlaceOrder {
    let line = |sku: &str, quantity| Line { sku: sku.to_owned(), quantity };
    PlaceOrder {
        caller: "ada".to_owned(),
        customer: "customer-1".to_owned(),
        lines: vec![line("cup", 3), line("teapot", 1)],
        payment_token: "tok_approved-1".to_owned(),
        expected_total: None,
        quote: None,
    }
}

impl Subject for Placing {
    type Saga = PlaceOrder;

    async fn begin(&self, _: &Shop) -> PlaceOrder {
        order()
    }
}

impl Subject for Returning {
    type Saga = ReturnOrder;

    async fn begin(&self, shop: &Shop) -> ReturnOrder {
        let placed = shop.complete(order()).await;
        ReturnOrder {
            caller: "ada".to_owned(),
            order_id: placed.to_string(),
            lines: vec![Line { sku: "cup".to_owned(), quantity: 2 }],
            reason: "cracked".to_owned(),
            opened: None,
        }
    }
}

impl Subject for Forgetful {
    type Saga = PlaceOrder;

    fn steps(&self) -> Definition<PlaceOrder> {
        Steps::new()
            .compensatable(
                step("create-order", |s: &PlaceOrder| CreateOrder {
                    customer: s.customer.clone(),
                    lines: s.lines.clone(),
                    caller: s.caller.clone(),
                })
                .compensate(|_, _| RejectOrder {
                    reason_code: "FORGETFUL".to_owned(),
                    reason: "it was undone".to_owned(),
                    cancelled: false,
                    order: None,
                }),
            )
            .compensatable(
                step("reserve-stock", |s: &PlaceOrder| ReserveStock {
                    lines: s.lines.clone(),
                    expected_total: None,
                })
                .on_reply(|s, reply: StockReservedReply| {
                    s.quote =
                        Some(saga_definitions::Quote { lines: reply.lines, total: reply.total });
                })
                // The planted mistake.
                .compensate(|_, _| VoidAuthorisation {}),
            )
            .compensatable(
                step("authorise-payment", |s: &PlaceOrder| AuthorisePayment {
                    amount: s.quote.as_ref().and_then(|quote| quote.total.clone()),
                    payment_token: s.payment_token.clone(),
                })
                .compensate(|_, _| VoidAuthorisation {}),
            )
            .pivot(step("capture-payment", |_: &PlaceOrder| CapturePayment {}))
            .retriable(together((
                step("commit-stock", |_: &PlaceOrder| CommitStock {}),
                step("confirm-order", |s: &PlaceOrder| ConfirmOrder {
                    lines: s.quote.as_ref().map(|quote| quote.lines.clone()).unwrap_or_default(),
                    total: s.quote.as_ref().and_then(|quote| quote.total.clone()),
                }),
            )))
            .build()
    }

    async fn begin(&self, _: &Shop) -> PlaceOrder {
        order()
    }
}

#[test]
fn every_refusal_of_an_order_leaves_nothing() {
    every_refusal_leaves_nothing(&Placing);
}

#[test]
fn repetition_changes_nothing_of_an_order() {
    repetition_changes_nothing(&Placing);
}

#[test]
fn no_unknown_outcome_leaves_anything_of_an_order() {
    no_unknown_outcome_leaves_anything(&Placing);
}

#[test]
fn every_refusal_of_a_return_leaves_nothing() {
    every_refusal_leaves_nothing(&Returning);
}

#[test]
fn repetition_changes_nothing_of_a_return() {
    repetition_changes_nothing(&Returning);
}

#[test]
fn no_unknown_outcome_leaves_anything_of_a_return() {
    no_unknown_outcome_leaves_anything(&Returning);
}

#[test]
#[should_panic(expected = "something is left: inventory.movements")]
fn a_refusal_shows_a_forgotten_compensation() {
    every_refusal_leaves_nothing(&Forgetful);
}

#[test]
#[should_panic(expected = "something is left: inventory.movements")]
fn a_repetition_on_the_way_back_shows_a_forgotten_compensation() {
    repetition_changes_nothing(&Forgetful);
}

#[test]
// The command's late arrival does harm too, because its compensation left no tombstone.
#[should_panic(expected = "late messages did it: inventory.movements")]
fn an_unknown_outcome_shows_a_forgotten_compensation() {
    no_unknown_outcome_leaves_anything(&Forgetful);
}
