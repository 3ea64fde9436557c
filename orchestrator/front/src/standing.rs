//! Derives the standing of an order from its saga's row.

use saga_core::{Cause, Instance, Phase, Saga as _};
use saga_definitions::{PlaceOrder, reason};
use saga_proto::{
    order::v1::{Order, OrderStatus},
    types::v1::PricedLine,
};
use tracing::error;

/// An order's status, and the reason if the order was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) status: OrderStatus,
    pub(crate) reason_code: String,
    pub(crate) reason: String,
}

impl Standing {
    /// The standing of an order in progress.
    pub(crate) fn pending() -> Self {
        let (reason_code, reason) = Default::default();
        Self { status: OrderStatus::Pending, reason_code, reason }
    }

    /// Returns the standing of an order, from its saga. While the saga is being undone, the order
    /// is still PENDING: it must not be reported as ended before everything is undone.
    pub(crate) fn of(saga: &Instance) -> Self {
        match &saga.phase {
            Phase::Running | Phase::Compensating(_) | Phase::Stuck(_) => Self::pending(),
            Phase::Completed => Self { status: OrderStatus::Confirmed, ..Self::pending() },
            Phase::Compensated(cause) => Self::undone(cause),
        }
    }

    fn undone(cause: &Cause) -> Self {
        let (reason_code, reason) = reason(cause, "order");
        let status = match cause {
            Cause::Cancelled(_) => OrderStatus::Cancelled,
            Cause::Refused { .. }
            | Cause::Unanswered { .. }
            | Cause::Deadline
            | Cause::Operator(_) => OrderStatus::Rejected,
        };
        Self { status, reason_code, reason }
    }
}

/// Returns true if the saga is of the definition that places orders.
pub(crate) fn is_order(saga: &Instance) -> bool {
    saga.definition == PlaceOrder::NAME
}

/// Builds an order from its saga's row, for when the order service does not know the order (yet).
pub(crate) fn order(saga: &Instance) -> Order {
    let Standing { status, reason_code, reason } = Standing::of(saga);
    let mut order = Order {
        order_id: saga.id.to_string(),
        status: status.into(),
        reason_code,
        reason,
        created_at_micros: saga.started_at.0,
        ..Order::default()
    };
    match serde_json::from_str::<PlaceOrder>(saga.data.get()) {
        Ok(data) => {
            let quote = data.quote.filter(|_| status == OrderStatus::Confirmed);
            order.customer = data.customer;
            (order.lines, order.total) = match quote {
                Some(quote) => (quote.lines, quote.total),
                None => (unpriced(data.lines), None),
            };
        }
        // A later version wrote this data. The status of the order is known even so. serde's error
        // is not logged, because it may quote the payment token.
        Err(_) => {
            error!(saga = %saga.id, trace_id = saga_trace::trace_id(saga.traceparent.as_deref()), "the data of an order's saga does not decode")
        }
    }
    order
}

fn unpriced(lines: Vec<saga_proto::types::v1::Line>) -> Vec<PricedLine> {
    let line = |line: saga_proto::types::v1::Line| PricedLine {
        sku: line.sku,
        quantity: line.quantity,
        unit_price: None,
    };
    lines.into_iter().map(line).collect()
}
