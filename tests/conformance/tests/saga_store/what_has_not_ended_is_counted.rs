//! How many sagas are in flight (the stuck ones are not: they wait for a person), and the
//! census of what has not ended.

use saga_core::{Cause, Direction, Instance, Phase, State, Stuck, StuckReason, Timestamp};
use saga_engine::{Census, NewQuarantined};

use super::{Beneath, FUTURE, PAST, Sagas, Store, saga};

/// What a database's own clock may be off, and what a test may take.
const SLACK_MILLIS: u64 = 600_000;

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    assert_eq!(sagas.store.in_flight().await, Ok(0));
    assert_eq!(sagas.store.census().await, Ok(Census::default()));
    let now = sagas.store.turn(&[], |now, _| (vec![], now)).await.expect("a turn");
    let stuck = Phase::Stuck(Stuck {
        unwinding: None,
        step: "confirm-order".to_owned(),
        direction: Direction::Action,
        reason: StuckReason::Unanswered,
        since: PAST,
        remind_at: FUTURE,
        alerts: 2,
    });
    let began = |hours: i64, phase: Phase| {
        let started_at = Timestamp(now.0 - hours * 3_600_000_000);
        let wake_at = phase.ended().is_none().then_some(FUTURE);
        Instance { phase, started_at, wake_at, ..saga() }
    };
    let returned = |saga: Instance| Instance { definition: "return-order".to_owned(), ..saga };
    sagas
        .admit(&[
            began(2, Phase::Running),
            began(5, Phase::Running),
            began(1, Phase::Running),
            returned(began(9, Phase::Running)),
            began(3, Phase::Compensating(Cause::Deadline)),
            began(4, stuck.clone()),
            // Paused: nothing is due.
            Instance { wake_at: None, ..began(8, stuck) },
            Instance { wake_at: None, ..began(99, Phase::Running) },
            began(99, Phase::Completed),
            began(99, Phase::Compensated(Cause::Deadline)),
        ])
        .await;
    assert_eq!(sagas.store.in_flight().await, Ok(6));
    let message = |id: &str| NewQuarantined {
        id: id.to_owned(),
        reason: String::new(),
        from: String::new(),
        reply_to: None,
        body: vec![],
    };
    sagas.store.quarantine(&[message("1"), message("2")]).await.expect("kept");

    let census = sagas.store.census().await.expect("a census");
    assert_eq!(census.quarantined, 2);
    let mut found: Vec<_> = census
        .unfinished
        .iter()
        .inspect(|head| assert_eq!(head.definition_version, saga().definition_version))
        .map(|head| {
            let (name, state) = (head.definition.as_str(), head.state.code());
            (name, state, head.count, head.oldest_millis, head.paused)
        })
        .collect();
    found.sort();
    let expected = [
        ("place-order", State::Running, 1, 99, true),
        ("place-order", State::Running, 3, 5, false),
        ("place-order", State::Compensating, 1, 3, false),
        ("place-order", State::Stuck, 1, 4, false),
        ("place-order", State::Stuck, 1, 8, true),
        ("return-order", State::Running, 1, 9, false),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, (definition, state, count, hours, paused)) in found.into_iter().zip(expected) {
        let expected = (definition, state.code(), count, paused);
        assert_eq!((found.0, found.1, found.2, found.4), expected);
        let least = hours * 3_600_000;
        assert!((least..least + SLACK_MILLIS).contains(&found.3), "{found:?}");
    }
}

super::over_each_adapter!();
