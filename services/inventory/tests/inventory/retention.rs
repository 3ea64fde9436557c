//! The service run by the kit, long after a saga: commands that it has forgotten are not run.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga_core::{Direction, LEAST_RETENTION, SagaId, Timestamp, Watermark};
use saga_kit::Store as _;
use saga_messaging::{Body, Envelope, Outcome};
use saga_proto::inventory::v1::ReleaseStock;
use saga_test_support::eventually;

use crate::{
    participant::{Running, envelope},
    support::{Shop, saga, wish},
};

/// Longer than it takes to delete the records below a new watermark.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(60);

fn days_ago(days: u64) -> Watermark {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let then = now - Duration::from_secs(days * 86_400);
    Watermark::at(Timestamp(i64::try_from(then.as_micros()).expect("not so far")))
}

fn with(watermark: Watermark, mut envelope: Envelope) -> Envelope {
    let Body::Command(command) = &mut envelope.body else { panic!("a command") };
    command.watermark = Some(watermark);
    envelope
}

fn reserve(saga: SagaId) -> Envelope {
    envelope(saga, "reserve-stock", Direction::Action, &wish(&[("cup", 2)]))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_action_is_not_run_after_its_tombstone_was_forgotten() {
    let shop = Shop::open("forgotten").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let old = days_ago(30).id();
    let release = envelope(old, "reserve-stock", Direction::Compensation, &ReleaseStock {});
    let released = service.ask(std::slice::from_ref(&release)).await;
    assert!(matches!(released[..], [(_, Outcome::Done, false)]), "{released:?}");

    // A command of a saga of today brings the watermark.
    let today = service.ask(&[with(days_ago(8), reserve(saga()))]).await;
    assert!(matches!(today[..], [(_, Outcome::Done, false)]), "{today:?}");
    eventually("the tombstone is forgotten", FORGOTTEN_WITHIN, async || {
        (shop.count("SELECT count(*) FROM inbox").await == 1).then_some(())
    })
    .await;

    // An old command is only acknowledged, whether it comes alone or with others.
    assert_eq!(service.ask(&[reserve(old)]).await, []);
    let beside = service.ask(&[reserve(old), reserve(saga()), release]).await;
    assert!(matches!(beside[..], [(_, Outcome::Done, false)]), "{beside:?}");
    service.stop().await;
    // A replica to which no command has brought the watermark does the same.
    let service = Running::start(&shop);
    assert_eq!(service.ask(&[reserve(old)]).await, []);
    service.stop().await;

    assert_eq!(shop.levels("cup").await.reserved, 4, "two reservations of today");
    assert_eq!(shop.count("SELECT count(*) FROM inbox").await, 2, "what is late leaves no row");
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_below_the_watermark_is_late_before_anything_is_forgotten() {
    let shop = Shop::open("late-at-once").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let old = days_ago(30).id();
    let first = service.ask(&[reserve(old)]).await;
    assert!(matches!(first[..], [(_, Outcome::Done, false)]), "{first:?}");
    shop.store.raise(days_ago(8), LEAST_RETENTION).await.expect("raised");
    // The recorded answer is still there, but it is not sent, because nobody waits for it.
    assert_eq!(service.ask(&[reserve(old)]).await, []);
    assert_eq!(shop.count("SELECT count(*) FROM inbox").await, 1);
    service.stop().await;
}

/// If a watermark of yesterday were accepted, every saga in flight would be late, for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_younger_than_the_least_retention_is_not_believed_whoever_sends_it() {
    let shop = Shop::open("ahead").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let ahead: Watermark = "ffffffff-ffff-7fff-bfff-ffffffffffff".parse().expect("an id");
    let of_yesterday = days_ago(2).id();
    for too_young in [ahead, days_ago(1)] {
        service.ask(&[with(too_young, reserve(saga()))]).await;
        // This is long enough for the service to examine the watermark.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let after = service.ask(&[reserve(saga())]).await;
        assert!(matches!(after[..], [(_, Outcome::Done, false)]), "{after:?}");
    }
    let old = service.ask(&[reserve(of_yesterday)]).await;
    assert!(matches!(old[..], [(_, Outcome::Done, false)]), "{old:?}");
    // Valid watermarks that come later still count, after the invalid one was examined.
    eventually("a sound one is durable", FORGOTTEN_WITHIN, async || {
        service.ask(&[with(days_ago(8), reserve(saga()))]).await;
        let raised = "SELECT count(*) FROM inbox_watermark WHERE below > '01000000-0000-0000-0000-000000000000'";
        (shop.count(raised).await == 1).then_some(())
    })
    .await;
    service.stop().await;
}
