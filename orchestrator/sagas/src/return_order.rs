//! Return order: hold the order's pieces for this return, and refund the money, which is the pivot.
//! Then take the goods back and mark the order, side by side.

use saga_core::{Cause, Definition, Saga, Steps, step, together};
use saga_proto::{
    Money,
    inventory::v1::TakeBackStock,
    order::v1::{MarkReturned, OpenReturn, RejectReturn, ReturnOpenedReply},
    payment::v1::RefundPayment,
    types::v1::{Line, PricedLine},
};
use serde::{Deserialize, Serialize};

use crate::reason;

/// The data of a return's saga. The saga's id is the return's id, not the order's, because an order
/// can be returned in parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReturnOrder {
    /// The caller who asked for the return.
    pub caller: String,
    /// The id of the order.
    pub order_id: String,
    /// The lines to return. An empty list means everything that has not been returned.
    pub lines: Vec<Line>,
    /// The client's reason, in its own words.
    pub reason: String,
    /// The part of the return that the order service accepted.
    pub opened: Option<Opened>,
}

/// The goods that are returned, and their value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// The lines, with the prices that the order was placed at.
    pub lines: Vec<PricedLine>,
    /// The sum of the lines.
    pub amount: Option<Money>,
}

impl Saga for ReturnOrder {
    const NAME: &'static str = "return-order";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("open-return", |s: &Self| OpenReturn {
                    order_id: s.order_id.clone(),
                    caller: s.caller.clone(),
                    lines: s.lines.clone(),
                    reason: s.reason.clone(),
                })
                .on_reply(|s, reply: ReturnOpenedReply| {
                    s.opened = Some(Opened { lines: reply.lines, amount: reply.amount });
                })
                .compensate(|_, cause| reject(cause)),
            )
            .pivot(step("refund-payment", |s: &Self| RefundPayment {
                order_id: s.order_id.clone(),
                amount: s.opened.as_ref().and_then(|opened| opened.amount.clone()),
            }))
            .retriable(together((
                step("take-back-stock", |s: &Self| TakeBackStock {
                    order_id: s.order_id.clone(),
                    lines: s.opened.as_ref().map(taken_back).unwrap_or_default(),
                }),
                step("mark-returned", |_: &Self| MarkReturned {}),
            )))
            .build()
    }
}

/// Returns the lines without prices, because the inventory service uses its own.
fn taken_back(opened: &Opened) -> Vec<Line> {
    let line = |line: &PricedLine| Line { sku: line.sku.clone(), quantity: line.quantity };
    opened.lines.iter().map(line).collect()
}

fn reject(cause: &Cause) -> RejectReturn {
    let (reason_code, reason) = reason(cause, "return");
    RejectReturn { reason_code, reason }
}
