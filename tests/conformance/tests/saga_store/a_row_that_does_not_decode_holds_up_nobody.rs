//! Damaged rows are put off, and those beside them go on.

use super::{Beneath, Damage, HOSTED, PAST, Sagas, Store, due_at, look, move_on};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let mut all: Vec<_> = (0..5).map(|_| due_at(PAST)).collect();
    all.sort_by_key(|saga| saga.id);
    sagas.admit(&all).await;
    let ids: Vec<_> = all.iter().map(|saga| saga.id).collect();
    let (sound, damaged) = (ids[2], [ids[0], ids[1], ids[3], ids[4]]);
    for (id, damage) in damaged.into_iter().zip(Damage::ALL) {
        sagas.beneath.damage(id, damage).await;
    }
    // In a turn: the sound one is decided on, the others are left as they are.
    assert_eq!(sagas.store.turn(&ids, move_on).await, Ok(vec![sound]));
    assert_eq!(sagas.version(sound).await, 2);
    for id in damaged {
        assert_eq!(sagas.history(id).await.len(), 1, "it was written");
        let read = sagas.store.find(&[id]).await;
        assert!(read.is_err(), "made of a damaged row: {read:?}");
    }
    // That has put them off: the limit is not used up by what never decodes.
    let fresh = due_at(PAST);
    sagas.admit(std::slice::from_ref(&fresh)).await;
    let claimed = sagas.store.claim(&HOSTED, 2, look).await.expect("a claim");
    assert_eq!(claimed.len(), 2, "{claimed:?}");
    assert!(claimed.contains(&sound) && claimed.contains(&fresh.id), "{claimed:?}");
}

/// Claims put off as well, and a list leaves out.
async fn claimed_and_listed(sagas: Sagas<impl Store, impl Beneath>) {
    let mut all: Vec<_> = (0..3).map(|_| due_at(PAST)).collect();
    all.sort_by_key(|saga| saga.id);
    sagas.admit(&all).await;
    let [oldest, broken, newest] = [all[0].id, all[1].id, all[2].id];
    sagas.beneath.damage(broken, Damage::Progress).await;
    let mut claimed = sagas.store.claim(&HOSTED, 3, look).await.expect("a claim");
    claimed.sort();
    assert_eq!(claimed, [oldest, newest]);
    let mut again = sagas.store.claim(&HOSTED, 2, look).await.expect("a claim");
    again.sort();
    assert_eq!(again, [oldest, newest]);

    let filter = |limit| saga_engine::ListFilter { limit, ..Default::default() };
    for limit in [2, 3] {
        let listed = sagas.store.list(&filter(limit)).await.expect("a list");
        let listed: Vec<_> = listed.iter().map(|saga| saga.id).collect();
        assert_eq!(listed, [newest, oldest], "the broken one shortens no page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_and_listed_on_postgres() {
    claimed_and_listed(super::on_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claimed_and_listed_on_sqlite() {
    claimed_and_listed(super::on_sqlite()).await;
}

super::over_each_adapter_that_reads!();
