//! The service run by the kit: repeated, late and reordered commands.

use std::time::Duration;

use saga_core::{Command, CommandId, Direction, SagaId};
use saga_inventory::rule::Levels;
use saga_kit::Settings;
use saga_messaging::{Envelope, Outcome};
use saga_proto::inventory::v1::{CommitStock, ReleaseStock};
use saga_taps::{Line, Reply, command};
use saga_test_support::eventually;
use tokio_util::sync::CancellationToken;

use crate::support::{Shop, saga, wish};

const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// The running service, as seen by an orchestrator.
pub(crate) struct Running {
    line: Line,
    shutdown: CancellationToken,
    service: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(shop: &Shop) -> Self {
        let (line, shutdown) = (Line::to("inventory"), CancellationToken::new());
        let participant = saga_inventory::participant(shop.store.clone());
        let running = participant.run(line.transport(), Settings::default(), shutdown.clone());
        let service = tokio::spawn(running);
        Self { line, shutdown, service }
    }

    /// Delivers commands as one parcel, and returns the replies.
    pub(crate) async fn ask(&self, commands: &[Envelope]) -> Vec<(String, Outcome, bool)> {
        let replies = self.line.send(commands).await.into_iter();
        replies.map(|Reply { data, outcome, repeat, .. }| (data, outcome, repeat)).collect()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(ANSWERED_WITHIN, self.service).await;
        ended.expect("the service ends in time").expect("it did not panic");
    }
}

pub(crate) fn envelope<C: Command>(
    saga: SagaId,
    step: &str,
    direction: Direction,
    asked: &C,
) -> Envelope {
    command(CommandId { saga, step: step.to_owned(), direction }, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_command_has_one_effect_and_its_first_answer() {
    let shop = Shop::open("repeated").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let ours = saga();
    let reserve = envelope(ours, "reserve-stock", Direction::Action, &wish(&[("cup", 2)]));

    let first = service.ask(std::slice::from_ref(&reserve)).await;
    let again = service.ask(std::slice::from_ref(&reserve)).await;
    // The parcel has the command of another saga twice, with this saga's command in between.
    let other = envelope(saga(), "reserve-stock", Direction::Action, &wish(&[("cup", 1)]));
    let both = service.ask(&[other.clone(), reserve.clone(), other]).await;

    let [(data, Outcome::Done, false)] = &first[..] else { panic!("{first:?}") };
    assert!(data.contains(r#""total":{"minorUnits":"600","currency":"EUR"}"#), "{data}");
    assert_eq!(again, [(data.clone(), Outcome::Done, true)]);
    let mut repeats: Vec<bool> = both.iter().map(|(_, _, repeat)| *repeat).collect();
    repeats.sort_unstable();
    assert_eq!(repeats, [false, true, true]);
    assert_eq!(
        shop.levels("cup").await,
        Levels { received: 10, available: 7, reserved: 3, sold: 0 }
    );
    assert_eq!(shop.count("SELECT count(*) FROM movements WHERE kind = 'reserved'").await, 2);
    shop.audit().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_goes_its_two_ways_through_the_kit() {
    let shop = Shop::open("ways").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let (kept, undone) = (saga(), saga());
    let reserve = |saga| envelope(saga, "reserve-stock", Direction::Action, &wish(&[("cup", 2)]));
    let commit = envelope(kept, "commit-stock", Direction::Action, &CommitStock {});
    let release = envelope(undone, "reserve-stock", Direction::Compensation, &ReleaseStock {});

    service.ask(&[reserve(kept), reserve(undone)]).await;
    let answers = service.ask(&[commit, release]).await;
    assert!(answers.iter().all(|(_, outcome, repeat)| *outcome == Outcome::Done && !repeat));
    assert_eq!(
        shop.levels("cup").await,
        Levels { received: 10, available: 8, reserved: 0, sold: 2 }
    );
    eventually("the events", ANSWERED_WITHIN, async || {
        let events = service.line.events();
        let told = |key: &str| events.iter().any(|event| event == key);
        (told("stock.reserved") && told("stock.committed") && told("stock.released")).then_some(())
    })
    .await;
    shop.audit().await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_comes_after_its_release_is_too_late() {
    let shop = Shop::open("late").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let ours = saga();
    let release = envelope(ours, "reserve-stock", Direction::Compensation, &ReleaseStock {});
    let reserve = envelope(ours, "reserve-stock", Direction::Action, &wish(&[("cup", 2)]));

    let released = service.ask(&[release]).await;
    assert!(matches!(released[..], [(_, Outcome::Done, false)]), "{released:?}");
    let late = service.ask(&[reserve]).await;
    assert!(matches!(late[..], [(_, Outcome::TooLate, _)]), "{late:?}");
    assert_eq!(shop.levels("cup").await.available, 10);
    assert_eq!(service.line.events(), Vec::<String>::new(), "nothing happened");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_without_a_reservation_is_refused_and_holds_nobody_up() {
    let shop = Shop::open("nothing").await;
    shop.product("cup", 300, 10).await;
    let service = Running::start(&shop);
    let commit = |saga| envelope(saga, "commit-stock", Direction::Action, &CommitStock {});
    let ours = saga();
    let reserve = envelope(ours, "reserve-stock", Direction::Action, &wish(&[("cup", 1)]));
    service.ask(&[reserve]).await;

    let answers = service.ask(&[commit(saga()), commit(ours)]).await;
    let count = |wanted| answers.iter().filter(|(_, outcome, _)| *outcome == wanted).count();
    assert_eq!((count(Outcome::Done), count(Outcome::Refused)), (1, 1), "{answers:?}");
    assert_eq!(shop.levels("cup").await.sold, 1);
    service.stop().await;
}

/// If a product's stock does not balance, every transaction that touches the product fails.
#[tokio::test(flavor = "multi_thread")]
async fn one_culprit_among_many_costs_its_neighbours_few_transactions() {
    let shop = Shop::open("culprit").await;
    for sku in ["cup", "pot"] {
        shop.product(sku, 300, 1_000).await;
    }
    let service = Running::start(&shop);
    let sagas: Vec<_> = (0..64).map(|_| saga()).collect();
    let sku = |n: usize| if n == 23 { "pot" } else { "cup" };
    let reserve = |(n, saga): (usize, &SagaId)| {
        envelope(*saga, "reserve-stock", Direction::Action, &wish(&[(sku(n), 2)]))
    };
    let release =
        |saga: &SagaId| envelope(*saga, "reserve-stock", Direction::Compensation, &ReleaseStock {});
    service.ask(&sagas.iter().enumerate().map(reserve).collect::<Vec<_>>()).await;
    sqlx::query("UPDATE products SET available = 999, reserved = 1 WHERE sku = 'pot'")
        .execute(&shop.pool)
        .await
        .expect("somebody meddles");
    let answers = service.ask(&sagas.iter().map(release).collect::<Vec<_>>()).await;
    assert_eq!(answers.len(), 63, "everybody but the culprit is answered");
    let undone =
        "SELECT count(DISTINCT xmin::text) FROM inbox WHERE compensation_answer IS NOT NULL";
    let transactions = shop.count(undone).await;
    assert!(transactions <= 6, "{transactions}: halves of halves, not one by one");
    assert_eq!(shop.levels("cup").await.reserved, 0);
    service.stop().await;
}
