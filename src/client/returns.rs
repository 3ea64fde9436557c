//! `saga return`.

use std::io;

use saga_proto::{
    shop::v1::{Return as Returned, ReturnOrderRequest, ReturnStatus, orders_client::OrdersClient},
    types::v1::Line,
};
use uuid::Uuid;

use saga_cli::{Connection, Console, Failure, Verdict, clean};

use super::{items, money, orders};

/// Maximum number of calls to wait for a return's end. Each lasts for as long as the server waits.
const MOST_WAITS: u32 = 5;

const EXAMPLES: &str = "\
Examples:
  saga return 01936e6a-7c1d-7000-8000-000000000000
  saga return 01936e6a-7c1d-7000-8000-000000000000 --line teapot=1 --reason 'it leaks'

Without --line everything comes back that is left. Returning twice with one key is one return.
Exit code 1 says that the return was refused or rejected, 2 that nobody could say: repeat the
call with the same key.";

/// Returns a confirmed order, whole or in part, and waits until it is refunded and taken back.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Return {
    /// The order's id
    #[arg(value_name = "ORDER")]
    order: String,
    /// What comes back, and how many of it; once for each product
    #[arg(long = "line", value_name = "SKU=QTY", value_parser = items::parse)]
    lines: Vec<Line>,
    /// Why, for the return's history
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    /// Identifies this return, so that asking again is safe; a random one by default
    #[arg(long)]
    key: Option<String>,
    /// Return as soon as it is accepted, not when it has ended
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Return {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let key = self.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        console.remember("idempotencyKey", &key);
        if self.key.is_none() && !console.json {
            // Printed before the call, so that a caller who loses the answer still has the key.
            console.note(&format!("Key {key} (to repeat this return safely: --key {key})"))?;
        }
        let mut client = OrdersClient::new(self.connection.channel());
        let asked = ReturnOrderRequest {
            idempotency_key: key.clone(),
            order_id: self.order,
            lines: self.lines,
            reason: self.reason,
            wait: !self.no_wait,
        };
        let mut answer = client.return_order(self.connection.request(asked.clone())).await?;
        // The server waits only for a limited time. Calling again with the same key waits longer.
        let mut waits = 1;
        while asked.wait && is_pending(answer.get_ref().details.as_ref()) && waits < MOST_WAITS {
            let repeated = answer.get_ref().repeated;
            answer = client.return_order(self.connection.request(asked.clone())).await?;
            answer.get_mut().repeated = repeated;
            waits += 1;
        }
        let answer = answer.into_inner();
        let returned = answer.details.clone().unwrap_or_default();
        if console.json {
            let mut object = serde_json::to_value(&answer).map_err(io::Error::from)?;
            object["idempotencyKey"] = key.into();
            console.object(&object)?;
        } else {
            console.say(&sentence(&returned, answer.repeated))?;
        }
        Ok(match ReturnStatus::try_from(returned.status) {
            Ok(ReturnStatus::Done | ReturnStatus::Pending) => Verdict::Done,
            Ok(ReturnStatus::Rejected | ReturnStatus::Unspecified) | Err(_) => Verdict::Refused,
        })
    }
}

fn is_pending(returned: Option<&Returned>) -> bool {
    returned.is_some_and(|returned| returned.status() == ReturnStatus::Pending)
}

fn sentence(returned: &Returned, repeated: bool) -> String {
    let (id, order) = (&returned.return_id, &returned.order_id);
    let mut sentence = match ReturnStatus::try_from(returned.status) {
        Ok(ReturnStatus::Pending) => {
            format!("Return {id} of order {order} is accepted. See what happens: saga saga {id}")
        }
        Ok(ReturnStatus::Done) => format!(
            "Return {id} of order {order} is done: {} came back, {} refunded.",
            items::show(&returned.lines),
            returned.amount.as_ref().map(money::show).unwrap_or_default()
        ),
        Ok(ReturnStatus::Rejected) => format!(
            "Return {id} of order {order} was rejected: {}",
            orders::why(&returned.reason_code, &returned.reason)
        ),
        Ok(ReturnStatus::Unspecified) | Err(_) => format!(
            "Return {id} of order {order} is in status {}, which this program does not know.",
            returned.status
        ),
    };
    if repeated {
        sentence.push_str("\nThe key was known: nothing new was begun.");
    }
    clean(&sentence).into_owned()
}

#[cfg(test)]
mod tests {
    use saga_proto::{Money, types::v1::PricedLine};

    use super::*;

    #[test]
    fn a_return_is_described_by_how_it_ended() {
        let line = PricedLine { sku: "teapot".to_owned(), quantity: 1, unit_price: None };
        let returned = |status: ReturnStatus| Returned {
            return_id: "r-1".to_owned(),
            order_id: "o-1".to_owned(),
            status: status.into(),
            lines: vec![line.clone()],
            amount: Some(Money::new(1_234, "EUR")),
            ..Default::default()
        };
        assert_eq!(
            sentence(&returned(ReturnStatus::Done), true),
            "Return r-1 of order o-1 is done: 1 × teapot came back, 12.34 EUR refunded.\nThe key was known: nothing new was begun."
        );
        assert_eq!(
            sentence(&returned(ReturnStatus::Pending), false),
            "Return r-1 of order o-1 is accepted. See what happens: saga saga r-1"
        );
        let rejected = Returned {
            reason_code: "NOTHING_LEFT".to_owned(),
            reason: "everything has come back".to_owned(),
            ..returned(ReturnStatus::Rejected)
        };
        assert_eq!(
            sentence(&rejected, false),
            "Return r-1 of order o-1 was rejected: everything has come back (NOTHING_LEFT)"
        );
    }
}
