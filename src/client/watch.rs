//! `saga watch`. Other commands also use it to follow an order.

use std::time::Duration;

use saga_proto::shop::v1::{OrderUpdate, WatchOrderRequest, orders_client::OrdersClient};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

use saga_cli::{
    Connection, Console, Failure, Verdict, clean, may_retry, retry_delay, show_since, told_apart,
};

use super::orders;

/// How often in a row a broken stream is reopened, if none of the new streams brings an update.
const MOST_RESUMPTIONS: u32 = 30;
/// The pause before a stream is reopened, if the server does not ask for one.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// The longest pause, even if the server asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  saga watch 01936e6a-7c1d-7000-8000-000000000000
  saga watch 01936e6a-7c1d-7000-8000-000000000000 --json | jq -r .what

It begins with the order's first update and survives a restart of the server: each update is
printed once. It exits with 0 when the order has ended, however it ended.";

/// Prints each update of an order, until it has ended.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The order's id
    #[arg(value_name = "ID")]
    order: String,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Watch {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = OrdersClient::new(self.connection.channel());
        let mut began = None;
        follow(&mut client, &self.order, |update| {
            let began = *began.get_or_insert(update.at_micros);
            if console.json {
                return console.object(update);
            }
            console.say(&line(began, update))
        })
        .await?;
        Ok(Verdict::Done)
    }
}

fn line(began_micros: i64, update: &OrderUpdate) -> String {
    let at = show_since(began_micros, update.at_micros);
    let mut line = format!("{at:>10}  {:<9}  {}", orders::status_name(update.status), update.what);
    if !update.reason_code.is_empty() {
        line = format!("{line} ({})", update.reason_code);
    }
    clean(&line).into_owned()
}

/// Passes each update of an order to `each`, once and in order, until the order has ended. Returns
/// the last update. A stream that breaks is opened again. The server then sends the history from
/// the beginning, so the updates that `each` has already received are skipped.
pub(super) async fn follow(
    client: &mut OrdersClient<Channel>,
    order: &str,
    mut each: impl FnMut(&OrderUpdate) -> Result<(), Failure>,
) -> Result<OrderUpdate, Failure> {
    let mut heard = 0;
    let mut resumptions = 0;
    loop {
        let broken =
            match client.watch_order(WatchOrderRequest { order_id: order.to_owned() }).await {
                Err(status) => status,
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    loop {
                        match stream.message().await {
                            Ok(Some(update)) if update.version <= heard => {}
                            Ok(Some(update)) => {
                                (heard, resumptions) = (update.version, 0);
                                each(&update)?;
                                if update.ended {
                                    return Ok(update);
                                }
                            }
                            Ok(None) => {
                                break Status::unavailable(
                                    "the server stopped telling before the order had ended",
                                );
                            }
                            Err(status) => break status,
                        }
                    }
                }
            };
        let broken = told_apart(broken);
        // If no update has ever arrived, the caller gets the failure at once.
        if heard == 0 || !may_retry(&broken) || resumptions == MOST_RESUMPTIONS {
            return Err(broken.into());
        }
        resumptions += 1;
        let pause = retry_delay(&broken.get_error_details()).unwrap_or(RESUME_AFTER);
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    use saga_proto::order::v1::OrderStatus;

    use super::*;

    #[test]
    fn an_update_is_one_line_with_the_time_since_the_first() {
        let update = OrderUpdate {
            at_micros: 2_250_000,
            status: OrderStatus::Rejected.into(),
            what: "everything is undone".to_owned(),
            reason_code: "OUT_OF_STOCK".to_owned(),
            ..Default::default()
        };
        assert_eq!(
            line(1_000_000, &update),
            "  +1.250 s  REJECTED   everything is undone (OUT_OF_STOCK)"
        );
    }
}
