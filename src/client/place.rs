//! `saga place`.

use std::io;

use saga_proto::{
    Money,
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, PlaceOrderResponse, orders_client::OrdersClient},
    types::v1::Line,
};
use uuid::Uuid;

use saga_cli::{Connection, Console, Failure, Verdict, clean};

use super::{items, money, orders, watch};

const EXAMPLES: &str = "\
Examples:
  saga place --customer ada --item teapot=2 --item cup=6
  saga place --customer ada --item teapot=1 --expect 12.34EUR --key order-17
  saga place --customer ada --item teapot=1 --token tok_declined --json

Placing twice with one key places one order. Exit code 1 says that the order was refused or
rejected, 2 that nobody could say: repeat the call with the same key.";

/// Places an order. It takes no prices: they come from the catalogue.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Place {
    /// Who orders
    #[arg(long, value_name = "NAME")]
    customer: String,
    /// What, and how many of it; once for each product
    #[arg(long = "item", required = true, value_name = "SKU=QTY", value_parser = items::parse)]
    items: Vec<Line>,
    /// The payment provider's token for the card, never its number
    #[arg(
        long,
        env = "SAGA_PAYMENT_TOKEN",
        hide_env_values = true,
        default_value = "tok_approved"
    )]
    token: String,
    /// What the order should cost: it is rejected if the catalogue says otherwise
    #[arg(long, value_name = "AMOUNT", value_parser = money::parse)]
    expect: Option<Money>,
    /// Identifies this order, so that placing it again is safe; a random one by default
    #[arg(long)]
    key: Option<String>,
    /// Return as soon as the order is accepted, not when it has ended
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Place {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let key = self.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        console.remember("idempotencyKey", &key);
        if self.key.is_none() && !console.json {
            // Printed before the call, so that a caller who loses the answer still has the key.
            console.note(&format!("Key {key} (to repeat this order safely: --key {key})"))?;
        }
        let mut client = OrdersClient::new(self.connection.channel());
        let request = self.connection.request(PlaceOrderRequest {
            idempotency_key: key.clone(),
            customer: self.customer,
            lines: self.items,
            payment_token: self.token,
            expected_total: self.expect,
            wait: !self.no_wait,
        });
        let mut placed = client.place_order(request).await?.into_inner();
        if !self.no_wait && !orders::has_ended(placed.status) {
            // The server waits only for a limited time. After that, follow the order's updates.
            let last = watch::follow(&mut client, &placed.order_id, |_| Ok(())).await?;
            placed.status = last.status;
            placed.reason_code = last.reason_code;
            placed.reason = last.what;
        }
        if console.json {
            let mut answer = serde_json::to_value(&placed).map_err(io::Error::from)?;
            answer["idempotencyKey"] = key.into();
            console.object(&answer)?;
        } else {
            console.say(&sentence(&placed))?;
        }
        Ok(match OrderStatus::try_from(placed.status) {
            Ok(OrderStatus::Confirmed | OrderStatus::Pending) => Verdict::Done,
            Ok(OrderStatus::Rejected | OrderStatus::Cancelled | OrderStatus::Unspecified)
            | Err(_) => Verdict::Refused,
        })
    }
}

fn sentence(placed: &PlaceOrderResponse) -> String {
    let order = &placed.order_id;
    let mut sentence = match OrderStatus::try_from(placed.status) {
        Ok(OrderStatus::Pending) => {
            format!("Order {order} is accepted. See what happens: saga watch {order}")
        }
        Ok(OrderStatus::Confirmed) => format!("Order {order} is confirmed."),
        Ok(OrderStatus::Rejected) => format!(
            "Order {order} was rejected: {}",
            orders::why(&placed.reason_code, &placed.reason)
        ),
        Ok(OrderStatus::Cancelled) => {
            format!(
                "Order {order} was cancelled: {}",
                orders::why(&placed.reason_code, &placed.reason)
            )
        }
        Ok(OrderStatus::Unspecified) | Err(_) => {
            format!(
                "Order {order} is {}, which this program does not know.",
                orders::status_name(placed.status)
            )
        }
    };
    if placed.repeated {
        sentence.push_str("\nThe key was known: nothing new was placed.");
    }
    clean(&sentence).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_described_by_how_it_ended() {
        let placed = |status: OrderStatus| PlaceOrderResponse {
            order_id: "o-1".to_owned(),
            status: status.into(),
            ..Default::default()
        };
        assert_eq!(sentence(&placed(OrderStatus::Confirmed)), "Order o-1 is confirmed.");
        assert_eq!(
            sentence(&placed(OrderStatus::Pending)),
            "Order o-1 is accepted. See what happens: saga watch o-1"
        );
        let rejected = PlaceOrderResponse {
            reason_code: "CARD_DECLINED".to_owned(),
            reason: "the card was declined".to_owned(),
            repeated: true,
            ..placed(OrderStatus::Rejected)
        };
        assert_eq!(
            sentence(&rejected),
            "Order o-1 was rejected: the card was declined (CARD_DECLINED)\nThe key was known: nothing new was placed."
        );
        assert_eq!(
            sentence(&PlaceOrderResponse {
                order_id: "o-1".to_owned(),
                status: 9,
                ..Default::default()
            }),
            "Order o-1 is UNKNOWN_9, which this program does not know."
        );
    }
}
