use std::time::Duration;

use super::*;
use crate::{
    floor::Floor,
    limits::{BrokerLimit, Mix},
    observe::{Observer, Used},
    path::{self, Costs},
};

async fn nothing_used() -> Used {
    let observer = Observer::default();
    let before = observer.look().await.expect("there is nothing to look at");
    observer.look().await.expect("there is nothing to look at").since(&before)
}

async fn run(measured: Tally, rest: Tally) -> Run {
    let completed = measured.completed();
    let time = Duration::from_secs(2);
    Run { measured, rest, completed, time, held_back: 0, used: nothing_used().await }
}

async fn report(sold: i64, reserved: i64) -> Report {
    let rounds = vec![run(Tally::of(90, 10), Tally::of(9, 1)).await];
    Report {
        run: Uuid::nil(),
        of: "a test".to_owned(),
        measured: vec![Measured { load: Load::Closed { in_flight: 1 }, rounds }],
        unmeasured: vec![],
        books: Books { sold, reserved, unbalanced: 0 },
        events: None,
        limits: None,
    }
}

#[tokio::test]
async fn what_was_confirmed_is_what_was_sold() {
    assert_eq!(report(99, 0).await.problems(), Vec::<String>::new());
    assert!(report(99, 0).await.text(&[]).ends_with("the catalogue sold 99."));
    for (sold, reserved) in [(98, 0), (100, 0), (-1, 0), (99, 1)] {
        let report = report(sold, reserved).await;
        let problems = report.problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(report.json(&problems)["addsUp"], false);
    }
}

#[tokio::test]
async fn an_order_whose_end_is_unknown_may_or_may_not_have_been_sold() {
    for sold in [99, 100] {
        let mut report = report(sold, 1).await;
        let tally = &mut report.measured[0].rounds[0].measured;
        tally.unknown.insert("UNAVAILABLE", 1);
        tally.sent += 1;
        assert_eq!(report.problems(), ["1 in flight: the end of 1 is unknown: UNAVAILABLE."]);
    }
}

#[tokio::test]
async fn an_order_that_nobody_counted_is_missed() {
    let mut report = report(99, 0).await;
    report.measured[0].rounds[0].measured.sent += 1;
    let missed = "1 in flight: 101 orders were sent, and 100 are accounted for.";
    assert_eq!(report.problems(), [missed]);
}

#[tokio::test]
async fn every_figure_is_told_beside_what_it_stands_on() {
    let mut report = report(99, 0).await;
    let milli = path::Timing::always(Duration::from_millis(1));
    report.limits = Some(Limits {
        floor: Floor {
            sagas_a_second: 500.0,
            local_transactions_a_saga: 5.9,
            commits_a_batch: 10,
            rows_a_saga: 40.0,
            commit: milli,
        },
        broker: Some(BrokerLimit {
            messages_a_second: 3_000.0,
            sagas_a_second: 200.0,
            mix: Mix::default(),
            events_are_consumed: false,
        }),
        path: path::of_a_confirmed_order(),
        costs: Costs { commit: milli, hop: milli, confirm: milli, provider: milli },
    });
    let json = report.json(&[]);
    let level = &json["levels"][0];
    assert_eq!(level["sagasPerSecond"], 50.0);
    assert_eq!(level["localTransactionsPerSecond"], 50.0 * 5.9);
    assert_eq!(level["ratios"]["ofFloor"], 0.1);
    assert_eq!(level["ratios"]["ofBroker"], 0.25);
    assert_eq!(json["limits"]["unavoidable"]["millis"], 30.0);
    let text = report.text(&[]);
    assert!(text.contains("13 × commit") || text.contains(" 5 × commit"), "{text}");
}

#[test]
fn a_ratio_to_nothing_is_none() {
    assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
    assert_eq!(ratio(Some(3.0), Some(0.0)), None);
    assert_eq!(ratio(None, Some(1.0)), None);
    assert_eq!(ratio(Some(1.0), None), None);
}

#[tokio::test]
async fn saturation_is_the_best_closed_level_and_no_open_one() {
    let mut report = report(99, 0).await;
    let fast = run(Tally::of(900, 100), Tally::new()).await;
    report.measured.push(Measured { load: Load::Closed { in_flight: 64 }, rounds: vec![fast] });
    let open = run(Tally::of(9_000, 0), Tally::new()).await;
    let load = Load::Open { a_second: 4_500.0, share: None };
    report.measured.push(Measured { load, rounds: vec![open] });
    assert_eq!((saturation(&report.measured), busiest(&report.measured)), (500.0, 64));
    assert_eq!((saturation(&[]), busiest(&[])), (0.0, 1));
}
