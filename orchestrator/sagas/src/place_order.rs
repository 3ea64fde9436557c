//! Place order: create the order, reserve the stock, authorise the payment, and capture it, which
//! is the pivot. Then commit the stock and confirm the order, side by side.

use std::fmt;

use saga_core::{Cause, Definition, Final, Saga, Silent, Step, Steps, step, together};
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
    const VERSION: u32 = 2;

    fn steps() -> Definition<Self> {
        Steps::new()
            .compensatable(create().compensate(|_, cause| reject(cause, None)).until(1))
            .compensatable(create().compensate(|s, cause| reject(cause, Some(s.order()))).since(2))
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

/// Makes the step that creates the order. Its compensation depends on the version: since version 2
/// it says what was ordered, so that an order that was never created is found too.
fn create() -> Step<PlaceOrder, CreateOrder, Final, Silent> {
    step("create-order", PlaceOrder::order)
}

impl PlaceOrder {
    fn order(&self) -> CreateOrder {
        CreateOrder {
            customer: self.customer.clone(),
            lines: self.lines.clone(),
            caller: self.caller.clone(),
        }
    }

    fn total(&self) -> Option<Money> {
        self.quote.as_ref().and_then(|quote| quote.total.clone())
    }
}

/// Builds the compensation of `create-order`, with the reason that the client will read.
fn reject(cause: &Cause, order: Option<CreateOrder>) -> RejectOrder {
    let (reason_code, reason) = reason(cause, "order");
    RejectOrder { reason_code, reason, cancelled: matches!(cause, Cause::Cancelled(_)), order }
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
