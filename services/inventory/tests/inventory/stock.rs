//! Reserving, releasing and selling stock.

use saga_core::Failure;
use saga_inventory::rule::Levels;
use saga_kit::{Handle, HandlerError};
use saga_proto::{
    Money,
    inventory::v1::{CommitStock, ReleaseStock},
};

use crate::support::{Shop, Tx, code, done, line, saga, wish};

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reserves_for_each_command_all_lines_or_none() {
    let shop = Shop::open("batch").await;
    shop.product("cup", 300, 10).await;
    shop.product("teapot", 2_500, 3).await;
    let answers = shop
        .run(&[
            (saga(), wish(&[("teapot", 2), ("cup", 4)])),
            // The command before this one leaves only one teapot.
            (saga(), wish(&[("cup", 1), ("teapot", 2)])),
            (saga(), wish(&[("cup", 1), ("saucer", 1)])),
            (saga(), wish(&[("cup", 1), ("nul\0", 1)])),
            (saga(), wish(&[("teapot", 1)])),
        ])
        .await;
    let codes: Vec<&str> = answers.iter().map(code).collect();
    assert_eq!(codes, ["done", "OUT_OF_STOCK", "UNKNOWN_SKU", "UNKNOWN_SKU", "done"]);
    let first = done(answers.into_iter().take(1).collect());
    assert_eq!(first.total, Some(Money::new(6_200, "EUR")));
    let cup = Levels { received: 10, available: 6, reserved: 4, sold: 0 };
    let teapot = Levels { received: 3, available: 0, reserved: 3, sold: 0 };
    assert_eq!((shop.levels("cup").await, shop.levels("teapot").await), (cup, teapot));
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_writes_nothing() {
    let shop = Shop::open("refused").await;
    shop.product("cup", 300, 1).await;
    let version = "SELECT xmin::text::bigint FROM products";
    let before = shop.count(version).await;
    let answers = shop.run(&[(saga(), wish(&[("cup", 2)])), (saga(), wish(&[]))]).await;
    assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), ["OUT_OF_STOCK", "INVALID_LINES"]);
    assert_eq!(shop.count(version).await, before, "the row is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_given_back_as_it_was_recorded_and_once() {
    let shop = Shop::open("release").await;
    shop.product("cup", 300, 10).await;
    shop.product("teapot", 2_500, 10).await;
    let (ours, other) = (saga(), saga());
    shop.run(&[(ours, wish(&[("teapot", 1), ("cup", 2)])), (other, wish(&[("cup", 3)]))]).await;
    let released = done(shop.run(&[(ours, ReleaseStock {})]).await);
    assert_eq!(released.lines, [line("cup", 2), line("teapot", 1)]);
    let again = done(shop.run(&[(ours, ReleaseStock {})]).await);
    assert_eq!(again.lines, []);
    let cup = Levels { received: 10, available: 7, reserved: 3, sold: 0 };
    assert_eq!(shop.levels("cup").await, cup);
    assert_eq!(code(&shop.run(&[(ours, CommitStock {})]).await[0]), "NO_RESERVATION");
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_sales_sells_what_each_saga_holds() {
    let shop = Shop::open("commit").await;
    shop.product("cup", 300, 10).await;
    let (a, b, without) = (saga(), saga(), saga());
    shop.run(&[(a, wish(&[("cup", 2)])), (b, wish(&[("cup", 3)]))]).await;
    let sell = |saga| (saga, CommitStock {});
    let answers = shop.run(&[sell(b), sell(without), sell(a)]).await;
    assert_eq!(answers.iter().map(code).collect::<Vec<_>>(), ["done", "NO_RESERVATION", "done"]);
    assert_eq!(
        shop.levels("cup").await,
        Levels { received: 10, available: 5, reserved: 0, sold: 5 }
    );
    assert_eq!(done(shop.run(&[(a, ReleaseStock {})]).await).lines, [], "what is sold stays sold");
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_reservation_of_a_saga_has_no_effect() {
    let shop = Shop::open("twice").await;
    shop.product("cup", 300, 10).await;
    let ours = saga();
    shop.run(&[(ours, wish(&[("cup", 2)]))]).await;
    let again = shop.try_run(&[(ours, wish(&[("cup", 2)]))]).await;
    assert!(matches!(again, Err(HandlerError::Store(Failure::Conflict(_)))), "{again:?}");
    assert_eq!(shop.levels("cup").await.reserved, 2);
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn books_that_do_not_balance_stop_the_product_and_are_left_alone() {
    let shop = Shop::open("imbalance").await;
    shop.product("cup", 300, 10).await;
    let ours = saga();
    shop.run(&[(ours, wish(&[("cup", 2)]))]).await;
    sqlx::query("UPDATE products SET available = 9, reserved = 1")
        .execute(&shop.pool)
        .await
        .expect("somebody meddles");
    let stopped = shop.try_run(&[(ours, ReleaseStock {})]).await;
    assert!(matches!(stopped, Err(HandlerError::Store(Failure::Permanent(_)))), "{stopped:?}");
    assert_eq!(shop.levels("cup").await.available, 9);
    assert_eq!(shop.count("SELECT count(*) FROM reservations WHERE state = 'open'").await, 1);
}

#[test]
fn an_event_says_what_was_done_and_nothing_says_nothing() {
    use saga_core::{Answer, Refusal};
    use saga_inventory::Inventory;
    use saga_kit::{Asked, Event};
    use saga_proto::inventory::v1::StockReleasedReply;

    let asked = Asked { saga: saga(), command: ReleaseStock {} };
    let event = |answer: &Answer<StockReleasedReply>| -> Option<Event> {
        <Inventory as Handle<ReleaseStock, Tx>>::event(&Inventory, &asked, answer)
    };
    let lines = vec![line("cup", 2)];
    let told = event(&Answer::Done(StockReleasedReply { lines })).expect("something happened");
    assert_eq!(told.key, "stock.released");
    let id = asked.saga;
    let json = format!(r#"{{"orderId":"{id}","lines":[{{"sku":"cup","quantity":"2"}}]}}"#);
    assert_eq!(told.data.get(), json);
    assert!(event(&Answer::Done(StockReleasedReply { lines: vec![] })).is_none());
    assert!(event(&Answer::Refused(Refusal::new("NO", "no"))).is_none());
}
