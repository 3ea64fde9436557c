//! Running, stuck or paused: what has not ended holds the watermark back, and what
//! has ended does not. It never goes back.

use saga_core::{Cause, Direction, Instance, Phase, SagaId, Stuck, StuckReason, Timestamp};

use super::{Beneath, DAY, FUTURE, PAST, Sagas, Store, made, saga};

const WEEK_MILLIS: u64 = 7 * 86_400_000;

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    assert_eq!(sagas.store.watermark().await, Ok(saga_core::Watermark::NONE));
    let now = sagas.now().await;
    let stuck = Phase::Stuck(Stuck {
        unwinding: None,
        step: "confirm-order".to_owned(),
        direction: Direction::Action,
        reason: StuckReason::Unanswered,
        since: PAST,
        remind_at: FUTURE,
        alerts: 2,
    });
    let at = |days: i64, phase: Phase| Instance { id: made(now, days), phase, ..saga() };
    let holding = [
        // Paused: nothing is due, and yet it has not ended.
        Instance { wake_at: None, ..at(50, Phase::Running) },
        at(40, stuck),
        at(30, Phase::Compensating(Cause::Deadline)),
        at(20, Phase::Running),
    ];
    sagas.admit(&holding).await;
    sagas.admit(&[at(60, Phase::Running)]).await;
    end(&sagas, made(now, 60)).await;

    let mut last = saga_core::Watermark::NONE;
    for saga in &holding {
        let standing = sagas.store.advance(WEEK_MILLIS).await.expect("raised");
        assert_eq!(standing.oldest, Some(saga.id));
        let expected = saga.id.made_at().0 - 7 * DAY;
        assert_eq!(standing.watermark.instant(), Timestamp(expected / 1_000 * 1_000));
        assert_eq!(sagas.store.watermark().await, Ok(standing.watermark));
        assert!(standing.watermark > last);
        last = standing.watermark;
        end(&sagas, saga.id).await;
    }
    // Nothing is left but the retention; the clock is the store's own.
    let standing = sagas.store.advance(WEEK_MILLIS).await.expect("raised");
    assert_eq!(standing.oldest, None);
    let behind = standing.now.0 - standing.watermark.instant().0 - 7 * DAY;
    assert!((0..1_000).contains(&behind), "{behind}");
    // A longer retention, or an older saga that appears, moves it no more.
    let again = sagas.store.advance(20 * WEEK_MILLIS).await.expect("it stands");
    assert_eq!(again.watermark, standing.watermark);
    sagas.admit(&[at(90, Phase::Running)]).await;
    let again = sagas.store.advance(WEEK_MILLIS).await.expect("it stands");
    assert_eq!((again.watermark, again.oldest), (standing.watermark, Some(made(now, 90))));
}

async fn end(sagas: &Sagas<impl Store, impl Beneath>, id: SagaId) {
    let end = |_: Timestamp, found: Vec<Instance>| {
        (found.into_iter().map(super::ended).collect::<Vec<_>>(), ())
    };
    sagas.store.turn(&[id], end).await.expect("it ends");
}

super::over_each_adapter!();
