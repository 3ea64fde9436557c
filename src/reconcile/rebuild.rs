//! Makes the data of a saga that the orchestrator has forgotten from what the services keep.

use std::collections::BTreeMap;

use saga_audit::{Ahead, Half, Line, NOBODY, Order, Return};
use saga_core::{Saga, Wish};
use saga_definitions::{PlaceOrder, ReturnOrder};
use saga_proto::{
    Money,
    inventory::v1::StockReservedReply,
    types::v1::{self as wire, PricedLine},
};
use serde_json::value::{RawValue, to_raw_value};

use super::report::Named;

/// What it takes to begin a saga again.
pub(super) struct Rebuilt {
    pub(super) definition: &'static str,
    /// The method by which the client began it.
    pub(super) method: &'static str,
    pub(super) caller: String,
    pub(super) data: Box<RawValue>,
    pub(super) cancelled: Option<Wish>,
    pub(super) replies: BTreeMap<&'static str, String>,
}

/// Rebuilds a saga, or says why a person has to look at it.
pub(super) fn rebuild(lost: &Ahead) -> Result<Rebuilt, Named> {
    let returns = ["open-return", "refund-payment", "take-back-stock", "mark-returned"];
    let is_return =
        lost.returned.is_some() || returns.iter().any(|s| lost.records.contains_key(*s));
    if lost.records.is_empty() {
        return Err(Named::new(
            &lost.saga,
            "services keep something for a saga that nobody knows",
            "look at its order, its reservation and its payment, and correct them by hand",
        ));
    }
    if is_return { a_return(lost) } else { an_order(lost) }
}

fn an_order(lost: &Ahead) -> Result<Rebuilt, Named> {
    let Some(order) = &lost.order else {
        if has_come(lost, "capture-payment") {
            return Err(Named::new(
                &lost.saga,
                "its money may have been taken, and its order is lost",
                "ask the provider for the order's payment, and refund it there",
            ));
        }
        let data = PlaceOrder {
            caller: NOBODY.to_owned(),
            customer: String::new(),
            lines: Vec::new(),
            payment_token: String::new(),
            expected_total: None,
            quote: None,
        };
        return Ok(Rebuilt::of(&data, "PlaceOrder", NOBODY));
    };
    let data = PlaceOrder {
        caller: order.caller.clone(),
        customer: order.customer.clone(),
        lines: order.lines.iter().map(line).collect(),
        payment_token: String::new(),
        expected_total: None,
        quote: None,
    };
    let wish = |reason: &String| Wish { by: order.caller.clone(), reason: reason.clone() };
    let reserved = reserved(order).map(|reply| ("reserve-stock", reply));
    Ok(Rebuilt {
        cancelled: order.cancelled.as_ref().map(wish),
        replies: reserved.into_iter().collect(),
        ..Rebuilt::of(&data, "PlaceOrder", &order.caller)
    })
}

/// Returns the reply to the reservation of a CONFIRMED order, which has the same prices.
fn reserved(order: &Order) -> Option<String> {
    let (paid, currency) = order.paid.clone()?;
    let money = |minor_units| Money { minor_units, currency: currency.clone() };
    let priced = |line: &Line| {
        Some(PricedLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            unit_price: Some(money(line.unit_price?)),
        })
    };
    let lines = order.lines.iter().map(priced).collect::<Option<_>>()?;
    serde_json::to_string(&StockReservedReply { lines, total: Some(money(paid)) }).ok()
}

fn a_return(lost: &Ahead) -> Result<Rebuilt, Named> {
    let Some(Return { order, caller, reason, lines }) = &lost.returned else {
        let later = ["refund-payment", "take-back-stock", "mark-returned"];
        if !later.iter().any(|step| has_come(lost, step)) {
            // It was refused, or is only to be undone. Neither takes any data.
            let (caller, order_id, reason) = (NOBODY.to_owned(), String::new(), String::new());
            let data = ReturnOrder { caller, order_id, lines: Vec::new(), reason, opened: None };
            return Ok(Rebuilt::of(&data, "ReturnOrder", NOBODY));
        }
        return Err(Named::new(
            &lost.saga,
            "its return is lost at the order service, and others have begun with it",
            "ask the provider whether the refund was made, and correct order and stock by hand",
        ));
    };
    let data = ReturnOrder {
        caller: caller.clone(),
        order_id: order.clone(),
        lines: lines.iter().map(line).collect(),
        reason: reason.clone(),
        opened: None,
    };
    Ok(Rebuilt::of(&data, "ReturnOrder", caller))
}

impl Rebuilt {
    fn of<S: Saga>(data: &S, method: &'static str, caller: &str) -> Self {
        Self {
            definition: S::NAME,
            method,
            caller: caller.to_owned(),
            data: to_raw_value(data).expect("a saga's data is JSON"),
            cancelled: None,
            replies: BTreeMap::new(),
        }
    }
}

/// Returns true if a command of the saga can no longer be derived: the payment token is forgotten
/// when a saga ends, and it is in no other place.
pub(super) fn lacks_its_token(step: &str, data: &RawValue) -> bool {
    let data: Result<PlaceOrder, _> = serde_json::from_str(data.get());
    step == "authorise-payment" && data.is_ok_and(|order| order.payment_token.is_empty())
}

fn has_come(lost: &Ahead, step: &str) -> bool {
    lost.records.get(step).is_some_and(|record| record.action != Half::None)
}

fn line(line: &Line) -> wire::Line {
    wire::Line { sku: line.sku.clone(), quantity: line.quantity }
}
