//! What waiters are told: a saga's version, and whether that is its last.

use saga_core::{Cause, Direction, Instance, Phase, Stuck, StuckReason};

use super::{Beneath, FUTURE, PAST, Sagas, Store, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let stuck = Phase::Stuck(Stuck {
        unwinding: None,
        step: "confirm-order".to_owned(),
        direction: Direction::Action,
        reason: StuckReason::Unanswered,
        since: PAST,
        remind_at: FUTURE,
        alerts: 2,
    });
    let phases = [
        (Phase::Running, false),
        (Phase::Compensating(Cause::Deadline), false),
        (Phase::Completed, true),
        (Phase::Compensated(Cause::Deadline), true),
        (stuck, false),
    ];
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for ((phase, ended), version) in phases.into_iter().zip(7..) {
        let saga = Instance { phase, version, ..saga() };
        expected.push((saga.id, version, ended));
        all.push(saga);
    }
    sagas.admit(&all).await;
    let ids: Vec<_> = all.iter().map(|saga| saga.id).collect();
    let mut versions = sagas.store.versions(&ids).await.expect("a read");
    versions.sort();
    expected.sort();
    assert_eq!(versions, expected);
}

super::over_each_adapter!();
