//! `saga orders`, `saga order` and `saga cancel`.

use saga_proto::{
    order::v1::{self as order, OrderStatus},
    shop::v1::{
        CancelOrderRequest, GetOrderRequest, ListOrdersRequest, orders_client::OrdersClient,
    },
};
use serde_json::json;

use saga_cli::{Connection, Console, Failure, Page, Verdict, clean, show_time, table};

use super::{items, money};

/// Lists orders, newest first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga orders --customer ada --status rejected
  saga orders --all --json | jq -c '.orders[]'")]
pub(crate) struct Orders {
    /// Only this customer's
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
    /// Only those that stand here
    #[arg(long)]
    status: Option<Status>,
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// Shows one order.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga order 01936e6a-7c1d-7000-8000-000000000000")]
pub(crate) struct Order {
    /// Its id. Without one, this process becomes the order service
    #[arg(value_name = "ID")]
    order: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// Takes an order back. Once its payment has been captured that is refused: then `saga return` it.
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  saga cancel 01936e6a-7c1d-7000-8000-000000000000 --reason 'ordered twice'")]
pub(crate) struct Cancel {
    /// Its id
    #[arg(value_name = "ID")]
    order: String,
    /// Why, for the order's history
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Status {
    Pending,
    Confirmed,
    Rejected,
    Cancelled,
}

impl From<Status> for OrderStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Confirmed => Self::Confirmed,
            Status::Rejected => Self::Rejected,
            Status::Cancelled => Self::Cancelled,
        }
    }
}

impl Orders {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = OrdersClient::new(self.connection.channel());
        let mut page_token = String::new();
        loop {
            let request = ListOrdersRequest {
                customer: self.customer.clone().unwrap_or_default(),
                status: self.status.map_or(OrderStatus::Unspecified, OrderStatus::from).into(),
                page_size: self.page.size(),
                page_token,
            };
            let page = client.list_orders(self.connection.request(request)).await?.into_inner();
            if console.json {
                console.object(
                    &json!({"orders": page.orders, "nextPageToken": page.next_page_token}),
                )?;
            } else if page.orders.is_empty() {
                console.note("No orders.")?;
            } else {
                let heading = ["ORDER", "STATUS", "CUSTOMER", "LINES", "TOTAL", "CREATED", "WHY"];
                console.say(&table(heading, page.orders.iter().map(row)))?;
            }
            page_token = page.next_page_token;
            if !self.page.goes_on(&page_token, console)? {
                return Ok(Verdict::Done);
            }
        }
    }
}

impl Order {
    /// Returns true without an order's id: then `saga order` runs the order service.
    pub(crate) fn is_role(&self) -> bool {
        self.order.is_none()
    }

    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = OrdersClient::new(self.connection.channel());
        let request =
            self.connection.request(GetOrderRequest { order_id: self.order.unwrap_or_default() });
        let order = client.get_order(request).await?.into_inner();
        if console.json {
            console.object(&order)?
        } else {
            console.say(&describe(&order))?
        }
        Ok(Verdict::Done)
    }
}

impl Cancel {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = OrdersClient::new(self.connection.channel());
        let request = self
            .connection
            .request(CancelOrderRequest { order_id: self.order, reason: self.reason });
        let answer = client.cancel_order(request).await?.into_inner();
        let (order, status) = (&answer.order_id, status_name(answer.status));
        if console.json {
            console.object(&answer)?;
        } else if has_ended(answer.status) {
            console.say(&clean(&format!("Order {order} is {}.", status.to_lowercase())))?;
        } else {
            console.say(&clean(&format!(
                "Order {order} is being undone. See what happens: saga watch {order}"
            )))?;
        }
        Ok(Verdict::Done)
    }
}

/// Returns a status's name as tables and programs show it: PENDING, CONFIRMED, ...
pub fn status_name(status: i32) -> String {
    match OrderStatus::try_from(status) {
        Ok(status) => status.as_str_name().trim_start_matches("ORDER_STATUS_").to_owned(),
        Err(_) => format!("UNKNOWN_{status}"),
    }
}

/// Returns true if the order will not change any more.
pub(super) fn has_ended(status: i32) -> bool {
    match OrderStatus::try_from(status) {
        Ok(OrderStatus::Confirmed | OrderStatus::Rejected | OrderStatus::Cancelled) => true,
        Ok(OrderStatus::Pending | OrderStatus::Unspecified) | Err(_) => false,
    }
}

/// Formats a reason for people: the sentence, and the code to search for.
pub(super) fn why(code: &str, sentence: &str) -> String {
    match (code, sentence) {
        ("", sentence) => sentence.to_owned(),
        (code, "") => code.to_owned(),
        (code, sentence) => format!("{sentence} ({code})"),
    }
}

fn total(order: &order::Order) -> String {
    order.total.as_ref().map(money::show).unwrap_or_default()
}

fn row(order: &order::Order) -> [String; 7] {
    [
        order.order_id.clone(),
        status_name(order.status),
        order.customer.clone(),
        items::show(&order.lines),
        total(order),
        show_time(order.created_at_micros),
        order.reason_code.clone(),
    ]
}

fn describe(order: &order::Order) -> String {
    let mut fields = vec![
        ("Order", order.order_id.clone()),
        ("Status", status_name(order.status)),
        ("Customer", order.customer.clone()),
        ("Created", show_time(order.created_at_micros)),
    ];
    fields.extend(order.lines.iter().map(|line| ("Line", items::show_line(line))));
    if order.total.is_some() {
        fields.push(("Total", total(order)));
    }
    let returned = order.returned.iter().map(|line| format!("{} × {}", line.quantity, line.sku));
    fields.extend(returned.map(|line| ("Returned", line)));
    if let Some(refunded) = &order.refunded {
        fields.push(("Refunded", money::show(refunded)));
    }
    if !order.reason_code.is_empty() || !order.reason.is_empty() {
        fields.push(("Why", why(&order.reason_code, &order.reason)));
    }
    let lines: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("{name:<10}{value}")).collect();
    clean(&lines.join("\n")).into_owned()
}

#[cfg(test)]
mod tests {
    use saga_proto::{
        Money,
        types::v1::{Line, PricedLine},
    };

    use super::*;

    #[test]
    fn an_order_reads_from_top_to_bottom() {
        let price = Some(Money::new(1234, "EUR"));
        let order = order::Order {
            order_id: "o-1".to_owned(),
            customer: "ada".to_owned(),
            status: OrderStatus::Confirmed.into(),
            lines: vec![PricedLine { sku: "teapot".to_owned(), quantity: 2, unit_price: price }],
            total: Some(Money::new(2468, "EUR")),
            created_at_micros: 1_795_493_572_123_456,
            ..Default::default()
        };
        assert_eq!(
            describe(&order),
            "Order     o-1
Status    CONFIRMED
Customer  ada
Created   2026-11-24 04:12:52.123 UTC
Line      2 × teapot at 12.34 EUR
Total     24.68 EUR"
        );
        let returned = order::Order {
            returned: vec![Line { sku: "teapot".to_owned(), quantity: 1 }],
            refunded: Some(Money::new(1234, "EUR")),
            ..order.clone()
        };
        assert!(describe(&returned).ends_with("\nReturned  1 × teapot\nRefunded  12.34 EUR"));
        let rejected = order::Order {
            status: OrderStatus::Rejected.into(),
            reason_code: "OUT_OF_STOCK".to_owned(),
            reason: "too few teapots".to_owned(),
            total: None,
            lines: vec![],
            ..order
        };
        assert!(describe(&rejected).ends_with("\nWhy       too few teapots (OUT_OF_STOCK)"));
    }
}
