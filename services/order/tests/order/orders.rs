//! Creating, confirming and rejecting orders.

use saga_core::{Answer, Refusal};
use saga_kit::{Asked, Event, Handle};
use saga_order::OrderBook;
use saga_proto::{
    Money,
    order::v1::{CreateOrder, OrderStatus, RejectOrder},
};

use crate::support::{Shop, Tx, confirmation, order, priced, rejection, saga};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_orders_is_created_with_all_lines() {
    let shop = Shop::open("created").await;
    let (a, b, bad) = (saga(), saga(), saga());
    let nothing = CreateOrder { lines: vec![], ..order("Cleo") };
    let codes = shop.run(&[(a, order("Ada")), (bad, nothing), (b, order("Bob"))]).await;
    assert_eq!(codes, ["done", "INVALID_LINES", "done"]);
    let read = shop.read(b).await;
    assert_eq!((read.customer.as_str(), read.status()), ("Bob", OrderStatus::Pending));
    assert_eq!(read.lines, [priced("teapot", 2, None), priced("cup", 4, None)]);
    assert_eq!((read.total, read.reason_code.as_str()), (None, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_created_once_and_keeps_its_first_form() {
    let shop = Shop::open("once").await;
    let id = saga();
    let codes = shop.run(&[(id, order("Ada")), (id, order("Bob"))]).await;
    assert_eq!(codes, ["done", "ORDER_EXISTS"]);
    assert_eq!(
        shop.run(&[(id, order("Bob")), (saga(), order("Cleo"))]).await,
        ["ORDER_EXISTS", "done"]
    );
    let read = shop.read(id).await;
    assert_eq!((read.customer.as_str(), read.lines.len()), ("Ada", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_order_has_its_prices_and_its_total() {
    let shop = Shop::open("confirmed").await;
    let (a, b, unknown) = (saga(), saga(), saga());
    shop.run(&[(a, order("Ada")), (b, order("Bob"))]).await;
    let mut wrong = confirmation();
    wrong.total = Some(Money::new(1, "EUR"));
    let codes = shop.run(&[(a, confirmation()), (b, wrong), (unknown, confirmation())]).await;
    assert_eq!(codes, ["done", "INVALID_PRICES", "NO_SUCH_ORDER"]);
    let read = shop.read(a).await;
    assert_eq!(read.status(), OrderStatus::Confirmed);
    assert_eq!((read.lines, read.total), (confirmation().lines, confirmation().total));
    let other = shop.read(b).await;
    assert_eq!((other.status(), other.total), (OrderStatus::Pending, None));
    assert_eq!(other.lines[0].unit_price, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undone_order_says_why_and_whether_the_client_took_it_back() {
    let shop = Shop::open("undone").await;
    let (a, b) = (saga(), saga());
    shop.run(&[(a, order("Ada")), (b, order("Bob"))]).await;
    assert_eq!(shop.run(&[(a, rejection(false)), (b, rejection(true))]).await, ["done", "done"]);
    let told =
        |order: saga_proto::order::v1::Order| (order.status(), order.reason_code, order.reason);
    let rejected = (OrderStatus::Rejected, "OUT_OF_STOCK".to_owned(), "no teapots".to_owned());
    let cancelled = (OrderStatus::Cancelled, "CANCELLED".to_owned(), "changed my mind".to_owned());
    assert_eq!((told(shop.read(a).await), told(shop.read(b).await)), (rejected, cancelled));
    let reason = RejectOrder { reason: "nul\0".into(), ..rejection(true) };
    let c = saga();
    shop.run(&[(c, order("Cleo"))]).await;
    assert_eq!(shop.run(&[(c, reason)]).await, ["done"]);
    assert_eq!(shop.read(c).await.reason, "nul");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_never_created_is_created_by_its_rejection_and_ends() {
    let shop = Shop::open("uncreated").await;
    let (a, b, c) = (saga(), saga(), saga());
    shop.run(&[(b, order("Bob"))]).await;
    let undo = |cancelled, order| RejectOrder { order: Some(order), ..rejection(cancelled) };
    let commands = [(a, undo(true, order("Ada"))), (b, undo(false, order("Bob")))];
    assert_eq!(shop.run(&commands).await, ["done", "done"]);
    let (created, known) = (shop.read(a).await, shop.read(b).await);
    assert_eq!(created.status(), OrderStatus::Cancelled);
    assert_eq!((created.customer.as_str(), created.reason_code.as_str()), ("Ada", "CANCELLED"));
    assert_eq!(created.lines, known.lines);
    assert_eq!(known.status(), OrderStatus::Rejected);
    // An order that could not be created, and one that version 1 of the saga does not describe.
    let runs = |command: &RejectOrder| {
        <OrderBook as Handle<RejectOrder, Tx>>::runs_without_action(&OrderBook, command)
    };
    assert!(runs(&commands[0].1));
    assert!(!runs(&rejection(true)));
    assert!(!runs(&undo(true, order(""))));
    assert_eq!(shop.run(&[(c, rejection(true))]).await, ["NO_SUCH_ORDER"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmed_order_is_never_rejected_and_a_rejected_one_never_confirmed() {
    let shop = Shop::open("ends_once").await;
    let (a, b) = (saga(), saga());
    shop.run(&[(a, order("Ada")), (b, order("Bob"))]).await;
    shop.run(&[(a, confirmation())]).await;
    shop.run(&[(b, rejection(false))]).await;
    assert_eq!(shop.run(&[(a, rejection(true))]).await, ["ILLEGAL_TRANSITION"]);
    assert_eq!(shop.run(&[(b, confirmation())]).await, ["ILLEGAL_TRANSITION"]);
    assert_eq!(shop.run(&[(b, rejection(true))]).await, ["ILLEGAL_TRANSITION"]);
    assert_eq!(shop.read(a).await.status(), OrderStatus::Confirmed);
    assert_eq!(shop.read(b).await.status(), OrderStatus::Rejected);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_confirmation_and_a_rejection_at_once_exactly_one_gets_through() {
    let shop = Shop::open("race").await;
    for _ in 0..25 {
        let id = saga();
        shop.run(&[(id, order("Ada"))]).await;
        let (confirm, reject) = (&[(id, confirmation())], &[(id, rejection(false))]);
        let (confirmed, rejected) = tokio::join!(shop.run(confirm), shop.run(reject));
        let mut codes = [confirmed, rejected].concat();
        codes.sort();
        assert_eq!(codes, ["ILLEGAL_TRANSITION", "done"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_end_the_same_orders_in_opposite_order_never_deadlock() {
    let shop = Shop::open("opposite").await;
    for _ in 0..10 {
        let ids: Vec<_> = (0..20).map(|_| saga()).collect();
        let created: Vec<_> = ids.iter().map(|id| (*id, order("Ada"))).collect();
        shop.run(&created).await;
        let confirm: Vec<_> = ids.iter().map(|id| (*id, confirmation())).collect();
        let reject: Vec<_> = ids.iter().rev().map(|id| (*id, rejection(false))).collect();
        let (confirmed, rejected) = tokio::join!(shop.run(&confirm), shop.run(&reject));
        let done = |codes: Vec<String>| codes.iter().filter(|code| *code == "done").count();
        assert_eq!(done(confirmed) + done(rejected), ids.len());
    }
}

#[test]
fn an_event_tells_how_an_order_ended_and_a_refusal_tells_nothing() {
    let tell = |command: RejectOrder, answer| -> Option<Event> {
        let asked = Asked { saga: saga(), command };
        <OrderBook as Handle<RejectOrder, Tx>>::event(&OrderBook, &asked, &answer)
    };
    let key = |event: Option<Event>| event.expect("an event").key;
    assert_eq!(key(tell(rejection(false), Answer::Done(Default::default()))), "order.rejected");
    assert_eq!(key(tell(rejection(true), Answer::Done(Default::default()))), "order.cancelled");
    let no = Answer::Refused(Refusal::new("NO_SUCH_ORDER", "there is no such order"));
    assert!(tell(rejection(true), no).is_none());

    let asked = Asked { saga: saga(), command: order("Ada") };
    let done = Answer::Done(Default::default());
    let placed = <OrderBook as Handle<CreateOrder, Tx>>::event(&OrderBook, &asked, &done);
    let placed = placed.expect("an event");
    let lines = r#"[{"sku":"teapot","quantity":"2"},{"sku":"cup","quantity":"4"}]"#;
    let json = format!(r#"{{"orderId":"{}","customer":"Ada","lines":{lines}}}"#, asked.saga);
    assert_eq!((placed.key, placed.data.get()), ("order.placed", json.as_str()));
}
