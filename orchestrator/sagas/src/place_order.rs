//! Place order: create the order, reserve the stock, authorise the payment, and capture it, which
//! is the pivot. Then commit the stock and confirm the order, side by side.

use std::fmt;

use saga_core::{Cause, Definition, Saga, Steps, step, together};
use saga_proto::{
    Money,
    inventory::v1::{CommitStock, ReleaseStock, ReserveStock, StockReservedReply},
    order::v1::{ConfirmOrder, CreateOrder, RejectOrder},
    payment::v1::{AuthorisePayment, CapturePayment, VoidAuthorisation},
    types::v1::{Line, PricedLine},
};
use serde::{Deserialize, Serialize};

use crate::reason;

/// The data of an order's saga. The saga's id is also the order's id.
#[derive(Clone, Serialize, Deserialize)]
pub struct PlaceOrder {
    /// The caller who placed the order.
    pub caller: String,
    /// The customer who ordered.
    pub customer: String,
    /// The lines that were ordered.
    pub lines: Vec<Line>,
    /// The provider's opaque token for the card; empty once the saga has ended.
    pub payment_token: String,
    /// The total that the client expects, if the client stated one.
    pub expected_total: Option<Money>,
    /// The catalogue's prices when the stock was reserved.
    pub quote: Option<Quote>,
}

/// The catalogue's prices at order time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quote {
    /// The lines with their prices.
    pub lines: Vec<PricedLine>,
    /// The sum of the lines.
    pub total: Option<Money>,
}

impl Saga for PlaceOrder {
    const NAME: &'static str = "place-order";
    const VERSION: u32 = 1;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(
                step("create-order", |s: &Self| CreateOrder {
                    customer: s.customer.clone(),
                    lines: s.lines.clone(),
                    caller: s.caller.clone(),
                })
                .compensate(|_, cause| reject(cause)),
            )
            .compensatable(
                step("reserve-stock", |s: &Self| ReserveStock {
                    lines: s.lines.clone(),
                    expected_total: s.expected_total.clone(),
                })
                .on_reply(|s, reply: StockReservedReply| {
                    s.quote = Some(Quote { lines: reply.lines, total: reply.total });
                })
                .compensate(|_, _| ReleaseStock {}),
            )
            .compensatable(
                step("authorise-payment", |s: &Self| AuthorisePayment {
                    amount: s.total(),
                    payment_token: s.payment_token.clone(),
                })
                .compensate(|_, _| VoidAuthorisation {}),
            )
            .pivot(step("capture-payment", |_: &Self| CapturePayment {}))
            .retriable(together((
                step("commit-stock", |_: &Self| CommitStock {}),
                step("confirm-order", |s: &Self| ConfirmOrder {
                    lines: s.quote.as_ref().map(|q| q.lines.clone()).unwrap_or_default(),
                    total: s.total(),
                }),
            )))
            .build()
    }

    fn forget(&mut self) {
        self.payment_token.clear();
    }
}

impl PlaceOrder {
    fn total(&self) -> Option<Money> {
        self.quote.as_ref().and_then(|quote| quote.total.clone())
    }
}

/// Builds the compensation of `create-order`, with the reason that the client will read.
fn reject(cause: &Cause) -> RejectOrder {
    let (reason_code, reason) = reason(cause, "order");
    RejectOrder { reason_code, reason, cancelled: matches!(cause, Cause::Cancelled(_)) }
}

impl fmt::Debug for PlaceOrder {
    /// Formats the data without the payment token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceOrder")
            .field("customer", &self.customer)
            .field("lines", &self.lines)
            .field("quote", &self.quote)
            .finish_non_exhaustive()
    }
}
