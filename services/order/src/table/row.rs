//! Converts between rows, as both databases return them, and the types of the rules.

use saga_core::Failure;
use saga_proto::{
    Money,
    order::v1::{Order, OrderStatus},
    types::v1::{Line, PricedLine},
};
use uuid::Uuid;

use crate::{returns::ReturnState, rule::Status};

/// One line of an order, joined with the order's own columns.
pub(super) struct Row {
    pub(super) order_id: Uuid,
    pub(super) customer: String,
    pub(super) status: i16,
    pub(super) reason_code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) total: Option<i64>,
    pub(super) refunded: i64,
    pub(super) created_at_micros: i64,
    pub(super) sku: Option<String>,
    pub(super) quantity: Option<i64>,
    pub(super) unit_price: Option<i64>,
    pub(super) returned: Option<i64>,
}

/// Collects rows into orders. The rows of one order must be adjacent.
pub(super) fn orders(rows: Vec<Row>) -> Result<Vec<Order>, Failure> {
    let mut orders: Vec<Order> = Vec::new();
    let mut last = None;
    for row in rows {
        let currency = row.currency.unwrap_or_default();
        let money = |minor_units| Money { minor_units, currency: currency.clone() };
        if last != Some(row.order_id) {
            last = Some(row.order_id);
            orders.push(Order {
                order_id: row.order_id.to_string(),
                customer: row.customer,
                status: contract(status(row.status)?).into(),
                lines: Vec::new(),
                total: row.total.map(money),
                reason_code: row.reason_code.unwrap_or_default(),
                reason: row.reason.unwrap_or_default(),
                created_at_micros: row.created_at_micros,
                returned: Vec::new(),
                refunded: Some(row.refunded).filter(|refunded| *refunded > 0).map(money),
            });
        }
        if let (Some(order), Some(sku), Some(quantity)) = (orders.last_mut(), row.sku, row.quantity)
        {
            let unit_price = row.unit_price.map(money);
            if let Some(returned) = row.returned.filter(|returned| *returned > 0) {
                order.returned.push(Line { sku: sku.clone(), quantity: returned });
            }
            order.lines.push(PricedLine { sku, quantity, unit_price });
        }
    }
    Ok(orders)
}

/// Every status of an order.
pub(super) const ALL: [Status; 4] =
    [Status::Pending, Status::Confirmed, Status::Rejected, Status::Cancelled];

/// Returns the number that stands for a status in the tables, which is its number in the contract.
pub(super) fn number(status: Status) -> i16 {
    match status {
        Status::Pending => 1,
        Status::Confirmed => 2,
        Status::Rejected => 3,
        Status::Cancelled => 4,
    }
}

/// Converts a number that [`number`] returned back to its status.
pub(super) fn status(stored: i16) -> Result<Status, Failure> {
    ALL.into_iter()
        .find(|status| number(*status) == stored)
        .ok_or_else(|| Failure::Permanent(format!("an order has the status {stored}")))
}

/// Returns the number that stands for a return's state in the tables.
pub(super) fn state_number(state: ReturnState) -> i16 {
    match state {
        ReturnState::Open => 1,
        ReturnState::Done => 2,
        ReturnState::Rejected => 3,
    }
}

/// Converts a number that [`state_number`] returned back to its state.
pub(super) fn state(stored: i16) -> Result<ReturnState, Failure> {
    [ReturnState::Open, ReturnState::Done, ReturnState::Rejected]
        .into_iter()
        .find(|state| state_number(*state) == stored)
        .ok_or_else(|| Failure::Permanent(format!("a return has the state {stored}")))
}

fn contract(status: Status) -> OrderStatus {
    match status {
        Status::Pending => OrderStatus::Pending,
        Status::Confirmed => OrderStatus::Confirmed,
        Status::Rejected => OrderStatus::Rejected,
        Status::Cancelled => OrderStatus::Cancelled,
    }
}
