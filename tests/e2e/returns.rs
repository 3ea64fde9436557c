//! Returns from the client's side, on any system: of whole orders and parts, refused, repeated, and
//! several at once.

use anyhow::ensure;
use futures::future::join_all;
use saga_proto::{
    Money,
    order::v1::{Order, OrderStatus},
    shop::v1::{
        CancelOrderRequest, GetOrderRequest, GetReturnRequest, Return, ReturnOrderRequest,
        ReturnStatus, orders_client::OrdersClient,
    },
    types::v1::Line,
};
use saga_test_support::shopper::{order, waiting};
use tonic::{Code, transport::Channel};

/// Runs all checks. There must be teapots in stock.
pub(crate) async fn tell(channel: Channel) -> anyhow::Result<()> {
    let mut orders = OrdersClient::new(channel);
    parts_come_back_until_nothing_is_left(&mut orders).await?;
    what_cannot_come_back_is_refused(&mut orders).await?;
    one_key_is_one_return(&mut orders).await?;
    of_returns_at_once_only_what_was_bought_comes_back(&mut orders).await
}

type Client = OrdersClient<Channel>;

async fn buy(orders: &mut Client, key: &str, token: &str) -> anyhow::Result<String> {
    Ok(orders.place_order(waiting(order(key, "teapot", 3, token))).await?.into_inner().order_id)
}

fn ask(key: &str, order: &str, pieces: Option<i64>) -> ReturnOrderRequest {
    let line = |quantity| Line { sku: "teapot".to_owned(), quantity };
    ReturnOrderRequest {
        idempotency_key: key.to_owned(),
        order_id: order.to_owned(),
        lines: pieces.map(line).into_iter().collect(),
        reason: "it leaks".to_owned(),
        wait: true,
    }
}

async fn give(orders: &mut Client, request: ReturnOrderRequest) -> anyhow::Result<Return> {
    let answer = orders.return_order(request).await?.into_inner();
    answer.details.ok_or_else(|| anyhow::anyhow!("no details"))
}

async fn read(orders: &mut Client, order: &str) -> anyhow::Result<Order> {
    Ok(orders.get_order(GetOrderRequest { order_id: order.to_owned() }).await?.into_inner())
}

fn refunded(order: &Order) -> i64 {
    order.refunded.as_ref().map_or(0, |money| money.minor_units)
}

async fn parts_come_back_until_nothing_is_left(orders: &mut Client) -> anyhow::Result<()> {
    let order = buy(orders, "parts", "tok_approved").await?;
    let first = give(orders, ask("parts-1", &order, Some(1))).await?;
    ensure!(first.status() == ReturnStatus::Done && first.order_id == order, "{first:?}");
    let price = first.lines[0].unit_price.clone().unwrap_or_default();
    ensure!(price.minor_units > 0 && first.amount.as_ref() == Some(&price), "{first:?}");
    let known = read(orders, &order).await?;
    ensure!(
        known.status() == OrderStatus::Confirmed && known.refunded == first.amount,
        "{known:?}"
    );
    ensure!(known.returned == [Line { sku: "teapot".into(), quantity: 1 }], "{known:?}");

    let rest = give(orders, ask("parts-2", &order, None)).await?;
    let twice = Money::new(2 * price.minor_units, price.currency.clone());
    ensure!(rest.status() == ReturnStatus::Done && rest.amount == Some(twice), "{rest:?}");
    let known = read(orders, &order).await?;
    ensure!(known.refunded == known.total && known.returned[0].quantity == 3, "{known:?}");
    let more = give(orders, ask("parts-3", &order, None)).await?;
    ensure!(more.status() == ReturnStatus::Rejected && more.reason_code == "NOTHING_LEFT");
    ensure!(read(orders, &order).await? == known, "a refused return has no effect");

    let cancel = CancelOrderRequest { order_id: order, reason: String::new() };
    let refused = orders.cancel_order(cancel).await.expect_err("it is paid");
    ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
    ensure!(refused.message().contains("ReturnOrder"), "{refused}");
    Ok(())
}

async fn what_cannot_come_back_is_refused(orders: &mut Client) -> anyhow::Result<()> {
    let order = buy(orders, "refused", "tok_approved").await?;
    let declined = buy(orders, "refused-declined", "tok_declined").await?;
    let unknown = "01936e6a-7c1d-7000-8000-000000000000";
    let other = Line { sku: "kettle".to_owned(), quantity: 1 };
    let strange = ReturnOrderRequest { lines: vec![other], ..ask("refused-1", &order, None) };
    for (asked, code) in [
        (strange, "NOT_ORDERED"),
        (ask("refused-2", &order, Some(4)), "NOT_RETURNABLE"),
        (ask("refused-3", &declined, None), "NOT_CONFIRMED"),
        (ask("refused-4", unknown, None), "NO_SUCH_ORDER"),
    ] {
        let told = give(orders, asked).await?;
        ensure!(told.status() == ReturnStatus::Rejected && told.reason_code == code, "{told:?}");
        ensure!(told.lines.is_empty() && told.amount.is_none(), "{told:?}");
    }
    let twice = vec![Line { sku: "teapot".to_owned(), quantity: 1 }; 2];
    for bad in [
        ask("bad-1", &order, Some(0)),
        ask("bad-2", "no id", None),
        ReturnOrderRequest { lines: twice, ..ask("bad-3", &order, None) },
        ask("", &order, None),
    ] {
        let refused = orders.return_order(bad).await.expect_err("it is not valid");
        ensure!(refused.code() == Code::InvalidArgument, "{refused}");
    }
    ensure!(refunded(&read(orders, &order).await?) == 0, "nothing was refunded");
    let order_is_no_return = GetReturnRequest { return_id: order };
    let refused = orders.get_return(order_is_no_return).await.expect_err("it is an order");
    ensure!(refused.code() == Code::NotFound, "{refused}");
    Ok(())
}

async fn one_key_is_one_return(orders: &mut Client) -> anyhow::Result<()> {
    let order = buy(orders, "key", "tok_approved").await?;
    let same = (0..8).map(|_| {
        let (mut orders, asked) = (orders.clone(), ask("key-1", &order, Some(1)));
        async move { orders.return_order(asked).await }
    });
    let mut ids = std::collections::BTreeMap::new();
    for answer in join_all(same).await {
        let answer = answer?.into_inner();
        let id = answer.details.unwrap_or_default().return_id;
        *ids.entry(id).or_insert(0) += i32::from(!answer.repeated);
    }
    ensure!(ids.len() == 1 && ids.values().all(|new| *new == 1), "{ids:?}");
    let known = read(orders, &order).await?;
    ensure!(known.returned[0].quantity == 1, "{known:?}");
    let other = orders.return_order(ask("key-1", &order, Some(2))).await;
    ensure!(other.expect_err("another payload").code() == Code::AlreadyExists);
    // An order has the same key: the keys of another method are separate.
    let told = give(orders, ask("key", &order, Some(1))).await?;
    let read = orders.get_return(GetReturnRequest { return_id: told.return_id.clone() }).await?;
    ensure!(read.into_inner() == told && told.status() == ReturnStatus::Done, "{told:?}");
    Ok(())
}

async fn of_returns_at_once_only_what_was_bought_comes_back(
    orders: &mut Client,
) -> anyhow::Result<()> {
    for round in 0..5 {
        let order = buy(orders, &format!("race-{round}"), "tok_approved").await?;
        let at_once =
            (0..4).map(|n| {
                let (mut orders, order) = (orders.clone(), order.clone());
                async move {
                    give(&mut orders, ask(&format!("race-{round}-{n}"), &order, Some(2))).await
                }
            });
        let mut done = 0;
        for told in join_all(at_once).await {
            let told = told?;
            match told.status() {
                ReturnStatus::Done => done += 1,
                _ => ensure!(told.reason_code == "NOT_RETURNABLE", "{told:?}"),
            }
        }
        let known = read(orders, &order).await?;
        let paid = known.total.as_ref().map_or(0, |total| total.minor_units);
        ensure!(done == 1 && 3 * refunded(&known) == 2 * paid, "{done} of {known:?}");
    }
    Ok(())
}
